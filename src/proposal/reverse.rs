//! The reverse process of the diffusion model, from the prior on.

use super::Proposal;
use crate::archive::Origin;
use crate::config::{MAX_SCORE, Settings};
use crate::engine::{Engine, FreePositions, Progress, Sampler};
use crate::error::Result;
use crate::objective::{force_scores, mean_square};
use crate::run::{History, Round};
use std::ops::Range;

/// Samples of the present model. With `[guidance]`, once the model has learned forces, a corrector follows them after every step.
#[derive(Debug)]
pub struct Reverse<'a> {
    settings: &'a Settings,
    /// Variance of the basins that a scaled score cools in this round, Å², where the search finds it out.
    basin_variance: Option<f64>,
}

impl<'a> Reverse<'a> {
    /// For the section `[diffusion]` of `settings`.
    pub fn new(settings: &'a Settings) -> Self {
        Reverse { settings, basin_variance: None }
    }

    /// The variance of the basins that the last buffer lies in: 1/b², b² being the mean square of F/kT. In a harmonic well at
    /// equilibrium it is that of the displacements. `None` before the first buffer, and without forces.
    fn known_variance(&self, history: &History) -> Option<f64> {
        let kt_ev = history.last()?.kt_ev;
        let (places, weights) = history.draw();
        let sde = self.settings.sections.diffusion.sde();
        let scores = |&place: &usize| {
            let forces = history.known()[place].forces.as_deref()?;
            Some(force_scores(&self.settings.system, &sde, forces, kt_ev, MAX_SCORE))
        };
        let scores = places.iter().map(scores).collect::<Option<Vec<_>>>()?;
        let variance = 1.0 / mean_square(&scores, &weights);
        variance.is_finite().then_some(variance)
    }
}

impl Proposal for Reverse<'_> {
    fn claim(&self, _round: &Round, n_left: usize) -> usize {
        n_left
    }

    fn begin(&mut self, _round: &Round, history: &History) -> Result<()> {
        if self.settings.sections.diffusion.finds_basin() {
            self.basin_variance = self.known_variance(history);
        }
        Ok(())
    }

    fn draw(
        &mut self,
        round: &Round,
        samples: Range<usize>,
        engine: &mut dyn Engine,
        progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        if self.settings.sections.diffusion.finds_basin() {
            engine.set_basin_variance(self.basin_variance)?;
        }
        let sampler = if round.forces_learned { Sampler::Guided } else { Sampler::Plain };
        engine.sample(round.stream, samples, sampler, progress)
    }

    fn origin(&self, _index: usize) -> Option<Origin> {
        Some(Origin::Reverse)
    }
}
