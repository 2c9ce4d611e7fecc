//! Structures made up as in a random structure search, for the first round.

use super::moves::vibrate;
use super::{Placement, Proposal};
use crate::archive::Origin;
use crate::config::{FirstSamples, Settings};
use crate::engine::{Engine, FreePositions, Progress};
use crate::error::Result;
use crate::random::{Purpose, host_generator};
use crate::run::Round;
use std::ops::Range;

/// Width of the displacements of a molecule's atoms, Å, about that of a vibration. From molecules that are all alike the model could
/// not learn what holds them together, and its forces would push their atoms onto each other.
const VIBRATION: f64 = 0.05;

/// Atoms put next to one another: all samples of the first round, with `first_samples = "placed"` in `[search]`.
#[derive(Debug)]
pub struct Placed<'a> {
    placement: Placement<'a>,
    seed: u64,
    wanted: bool,
}

impl<'a> Placed<'a> {
    /// For the sections `[search]` and `[placement]` of `settings`.
    pub fn new(settings: &'a Settings) -> Self {
        let search = &settings.sections.search;
        let wanted = search.first_samples == FirstSamples::Placed;
        Placed { placement: Placement::new(settings), seed: search.seed, wanted }
    }

    fn sample(&self, index: usize) -> Result<FreePositions> {
        let mut free = self.placement.structure(index as u64)?;
        // Hops, which use the same numbers, begin after the first round.
        let mut random = host_generator(self.seed, Purpose::Move, index as u64);
        vibrate(self.placement.system(), &mut free, VIBRATION, &mut random);
        Ok(free)
    }
}

impl Proposal for Placed<'_> {
    fn claim(&self, round: &Round, n_left: usize) -> usize {
        if self.wanted && round.number == 0 { n_left } else { 0 }
    }

    fn draw(
        &mut self,
        _round: &Round,
        samples: Range<usize>,
        _engine: &mut dyn Engine,
        _progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        samples.map(|sample| self.sample(sample)).collect()
    }

    fn origin(&self, _index: usize) -> Option<Origin> {
        Some(Origin::Placed)
    }
}
