//! Structures made up as in a random structure search, for the first round.

use super::{Placement, Proposal};
use crate::config::{FirstSamples, Settings};
use crate::engine::{Engine, FreePositions, Progress};
use crate::error::Result;
use crate::run::Round;
use std::ops::Range;

/// Atoms put next to one another: all samples of the first round, with `first_samples = "placed"` in `[search]`.
#[derive(Debug)]
pub struct Placed<'a> {
    placement: Placement<'a>,
    wanted: bool,
}

impl<'a> Placed<'a> {
    /// For the sections `[search]` and `[placement]` of `settings`.
    pub fn new(settings: &'a Settings) -> Self {
        let wanted = settings.sections.search.first_samples == FirstSamples::Placed;
        Placed { placement: Placement::new(settings), wanted }
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
        samples.map(|sample| self.placement.structure(sample as u64)).collect()
    }
}
