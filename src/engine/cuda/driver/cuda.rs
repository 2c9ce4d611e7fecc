//! The backend `cuda`.

use super::RawDevice;
use crate::error::{Error, Result};
use std::sync::Arc;

/// Opens the device.
pub fn open(_name: &str) -> Result<Arc<dyn RawDevice>> {
    Err(Error::bad_input("device 'cuda': this build of godiff has no such engine; use --device cpu"))
}
