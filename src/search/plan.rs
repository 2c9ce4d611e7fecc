//! Which round comes next: one file a plan.

mod annealing;

pub use annealing::Annealing;

use crate::run::{History, Round};

/// Decides the course of a search. All that it does follows from the settings and the history: a resumed search takes the same
/// course.
pub trait Plan: Send {
    /// The round after those of `history`, without shares of its samples; `None` at the end.
    fn next(&mut self, history: &History) -> Option<Round>;

    /// Rounds until the end, as far as it is known.
    fn n_rounds(&self) -> u32;
}
