//! The room of the GPU engine. This build has none: asking for it is answered, not faked.

#[doc(hidden)]
pub mod diffusion;
pub mod driver;
#[doc(hidden)]
pub mod forward_noise;
#[doc(hidden)]
pub mod radius_graph;
#[doc(hidden)]
pub mod reverse_step;

use super::{Engine, Setup};
use crate::error::{Error, Result};

/// Opens a CUDA device.
///
/// # Errors
/// Always `BadInput`: this build has no CUDA engine.
pub fn open(device: &str, _setup: &Setup) -> Result<Box<dyn Engine>> {
    Err(Error::bad_input(format!("device '{device}': this build of godiff has no CUDA engine; use --device cpu")))
}
