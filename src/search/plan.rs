//! The choice of the next round. Each plan is a file.

mod adaptive;
mod annealing;

pub use adaptive::Adaptive;
pub use annealing::Annealing;

use crate::run::{History, Round};

/// Decides the course of a search. A plan depends on the settings and the history alone, so a resumed search takes the same
/// course.
pub trait Plan: Send {
    /// The round after those of `history`, before its samples are shared out; `None` at the end.
    fn next(&mut self, history: &History) -> Option<Round>;

    /// Further samples that the open `round` draws, now that those it has are recorded; 0 if they are enough.
    fn more(&self, _round: &Round, _history: &History) -> usize {
        0
    }

    /// The temperature (eV) and the size of the buffer at which the model learns from round `place` of [`History::rounds`]. All its
    /// samples are recorded, and the rounds before it are settled.
    fn settled(&self, history: &History, place: usize) -> (f64, f64) {
        let round = history.rounds()[place];
        (round.kt_ev, round.buffer)
    }

    /// Number of rounds until the end, as far as it is known.
    fn n_rounds(&self) -> u32;
}
