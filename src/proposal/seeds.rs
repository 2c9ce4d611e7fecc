//! The user's own structures, for the first round.

use super::Proposal;
use crate::archive::Origin;
use crate::config::Settings;
use crate::engine::{Engine, FreePositions, Progress};
use crate::error::Result;
use crate::run::Round;
use std::ops::Range;

/// The structures of `[seeds]`: the first samples of the first round. They are evaluated where they are.
#[derive(Debug)]
pub struct Seeds<'a> {
    structures: &'a [FreePositions],
}

impl<'a> Seeds<'a> {
    /// For the section `[seeds]` of `settings`.
    pub fn new(settings: &'a Settings) -> Self {
        Seeds { structures: &settings.seeds }
    }
}

impl Proposal for Seeds<'_> {
    fn claim(&self, round: &Round, _n_left: usize) -> usize {
        if round.number == 0 { self.structures.len() } else { 0 }
    }

    fn draw(
        &mut self,
        _round: &Round,
        samples: Range<usize>,
        _engine: &mut dyn Engine,
        _progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        Ok(self.structures[samples].to_vec())
    }

    fn relaxes(&self) -> bool {
        false
    }

    fn origin(&self, _index: usize) -> Option<Origin> {
        Some(Origin::Own)
    }
}
