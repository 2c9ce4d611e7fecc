//! The reverse process of the diffusion model, from the prior on.

use super::Proposal;
use crate::archive::Origin;
use crate::engine::{Engine, FreePositions, Progress, Sampler};
use crate::error::Result;
use crate::run::Round;
use std::ops::Range;

/// Samples of the present model. With `[guidance]`, once the model has learned forces, a corrector follows them after every step.
#[derive(Debug)]
pub struct Reverse;

impl Proposal for Reverse {
    fn claim(&self, _round: &Round, n_left: usize) -> usize {
        n_left
    }

    fn draw(
        &mut self,
        round: &Round,
        samples: Range<usize>,
        engine: &mut dyn Engine,
        progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        let sampler = if round.forces_learned { Sampler::Guided } else { Sampler::Plain };
        engine.sample(round.stream, samples, sampler, progress)
    }

    fn origin(&self, _index: usize) -> Option<Origin> {
        Some(Origin::Reverse)
    }
}
