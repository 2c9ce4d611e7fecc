//! What the model learns from a round, and when it stops. Each lesson is a file.

mod boltzmann;
mod renewal;
mod targets;

pub use boltzmann::Boltzmann;

use crate::engine::{Engine, Progress, TrainingReport};
use crate::error::Result;
use crate::run::{History, Round};

/// Teaches the model after a round. A lesson depends on the settings, the history and the model alone, so a resumed search learns
/// the same.
pub trait Lesson: Send {
    /// Optimiser steps of a round, at most.
    fn n_steps(&self) -> usize;

    /// Trains the model of `engine` on the `history` after `round`. `progress` hears of the optimiser steps.
    ///
    /// # Errors
    /// Those of [`Engine::train`].
    fn teach(
        &mut self,
        round: &Round,
        history: &History,
        engine: &mut dyn Engine,
        progress: Progress,
    ) -> Result<Taught>;
}

/// The results of a lesson.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taught {
    /// Of the optimiser.
    pub training: TrainingReport,
    /// Structures in the buffer.
    pub n_structures: usize,
    /// Median energy of the structures that the model learned from, eV.
    pub median_ev: Option<f64>,
    /// (Σw)²/Σw² of their weights.
    pub effective_sample_size: Option<f64>,
}
