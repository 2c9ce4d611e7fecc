//! The backend `emulator`.

use super::RawDevice;
use crate::error::{Error, Result};
use std::sync::Arc;

/// Opens the device.
pub fn open() -> Result<Arc<dyn RawDevice>> {
    Err(Error::bad_input("device 'emulator': this build of godiff has no such engine; use --device cpu"))
}
