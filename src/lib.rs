//! `godiff` finds the lowest-energy arrangement of atoms with a diffusion model trained on its own Boltzmann-weighted samples.

pub mod archive;
pub mod buffer;
pub mod config;
pub mod diffusion;
pub mod engine;
pub mod error;
pub mod model;
pub mod potential;
pub mod random;
pub mod relax;
pub mod run;
pub mod search;
pub mod system;
pub mod version;

pub use error::{Error, Result};
