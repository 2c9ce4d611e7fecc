//! `godiff` finds the arrangement of atoms with the lowest energy, from an energy function alone. A diffusion model is trained on
//! its own samples, weighted by their Boltzmann factor, while the temperature falls (GO-Diff, arXiv:2510.13448).
//!
//! This is the library behind the command `godiff`. Where to start reading:
//!
//! - [`search`]: the loop, short enough to read as the paper's pseudocode; [`proposal`]: where its samples come from;
//! - [`system`]: the task of a search: template, free atoms, cell, confinement, structure files, radius graph;
//! - [`engine`]: the seam to the hardware, and the CPU and GPU engines behind it;
//! - [`gpu`]: devices, queues and kernels, used by all code for GPUs;
//! - [`diffusion`]: noise levels, the prior, forward and reverse steps, as formulas;
//! - [`model`]: sizes, parameters and files of the score model; [`objective`]: what it is trained towards;
//! - [`potential`]: sources of energies and forces;
//! - [`potential::relax`], [`lbfgs`]: local relaxation;
//! - [`baseline`]: random structure search, basin hopping, an evolutionary search and simulated annealing, to compare with;
//! - [`benchmark`]: methods × seeds, counted alike; [`campaign`]: the same on clusters;
//! - [`minima`]: the distinct structures that runs have found, symmetry-equivalent ones merged;
//! - [`check`]: a look at a task before its search; [`job`]: a run from its configuration to its end;
//!   [`inference`]: a trained model without a search; [`program`]: the command;
//! - [`landscape`]: the energy of one atom over its template;
//! - [`archive`], [`buffer`], [`run`]: the records of a run, its training structures, its folder;
//! - [`report`], [`plot`]: the page about a run, and its pictures; [`columns`]: tables on a screen.
//!
//! Units are Å, eV and eV/Å throughout; temperatures are kT in eV. Lattice vectors are rows. Every error is one sentence for
//! the user, with the exit code of its kind: [`Error`].
//!
//! Energies and forces of a structure, and a relaxation:
//!
//! ```
//! use godiff::potential::Emt;
//! use godiff::potential::relax::{RelaxSettings, relax_all};
//! use godiff::system::read_structure;
//! use std::path::Path;
//!
//! # fn main() -> godiff::Result<()> {
//! let mut structure = read_structure(Path::new("configs/structures/pt-adatom-minimum.xyz"))?;
//! let emt = Emt::new(false);
//! assert!((emt.energy_and_forces(&structure)?.energy - 5.505784).abs() < 1e-4);
//!
//! let adatom = structure.n_atoms() - 1;
//! structure.fixed[..adatom].fill(true);
//! structure.positions[adatom][2] += 0.3;
//! let relaxed = relax_all(&[structure], &emt, &RelaxSettings::default(), &|| false)?.remove(0);
//! assert!((relaxed.energy - 5.505784).abs() < 1e-3);
//! # Ok(())
//! # }
//! ```

// The commands name the library as another crate would.
extern crate self as godiff;

pub mod archive;
pub mod baseline;
pub mod benchmark;
pub mod buffer;
pub mod campaign;
pub mod check;
mod cli;
pub mod columns;
pub mod config;
pub mod diffusion;
pub mod disk;
pub mod engine;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod gpu;
pub mod inference;
pub mod job;
pub mod landscape;
pub mod lbfgs;
pub mod minima;
pub mod model;
pub mod objective;
pub mod plot;
pub mod potential;
pub mod preset;
pub mod proposal;
pub mod random;
pub mod report;
pub mod run;
pub mod search;
pub mod statistics;
pub mod system;
pub mod version;

pub use cli::program;
pub use error::{Error, Result};
