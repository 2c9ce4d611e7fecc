//! Random structure search: independent relaxations from random structures.

use super::{Minimum, Strategy};
use crate::config::Settings;
use crate::error::Result;
use crate::proposal::Placement;
use crate::system::Vec3;

pub struct RandomSearch<'a> {
    placement: Placement<'a>,
    side_by_side: usize,
}

impl<'a> RandomSearch<'a> {
    pub fn new(settings: &'a Settings) -> Self {
        let side_by_side = settings.sections.random_search.unwrap_or_default().side_by_side;
        RandomSearch { placement: Placement::new(settings), side_by_side }
    }
}

impl Strategy for RandomSearch<'_> {
    fn n_slots(&self) -> usize {
        self.side_by_side
    }

    fn start(&mut self, _: usize, attempt: u64) -> Result<Vec<Vec3>> {
        self.placement.structure(attempt)
    }

    fn relaxed(&mut self, _: usize, _: Option<Minimum>) {}
}
