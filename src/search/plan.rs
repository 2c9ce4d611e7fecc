//! The choice of the next round. Each plan is a file.

mod annealing;

pub use annealing::Annealing;

use crate::run::{History, Round};

/// Decides the course of a search. A plan depends on the settings and the history alone, so a resumed search takes the same
/// course.
pub trait Plan: Send {
    /// The round after those of `history`, before its samples are shared out; `None` at the end.
    fn next(&mut self, history: &History) -> Option<Round>;

    /// Number of rounds until the end, as far as it is known.
    fn n_rounds(&self) -> u32;
}
