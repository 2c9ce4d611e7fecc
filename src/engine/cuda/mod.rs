//! The room of the GPU engine. This build has none: asking for it is answered, not faked.

#[allow(dead_code, reason = "the engine above is being built")]
pub(crate) mod driver;
pub mod kernels;

pub use driver::{Properties, cards};

use super::{Engine, Setup};
use crate::error::{Error, Result};

/// Opens a CUDA device.
///
/// # Errors
/// Always `BadInput`: what keeps the device from being used, or else that this build has no CUDA engine.
pub fn open(device: &str, _setup: &Setup) -> Result<Box<dyn Engine>> {
    driver::Device::open(device)?;
    Err(Error::bad_input(format!("device '{device}': this build of godiff has no CUDA engine; use --device cpu")))
}
