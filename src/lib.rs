//! `godiff` finds the lowest-energy arrangement of atoms with a diffusion model trained on its own Boltzmann-weighted samples.
#![allow(missing_docs)]

pub mod archive;
pub mod buffer;
pub mod diffusion;
pub mod engine;
pub mod error;
pub mod model;
pub mod potential;
pub mod random;
pub mod relax;
pub mod run;
pub mod system;

pub use error::{Error, Result};
