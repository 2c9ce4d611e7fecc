//! Where the samples of a round come from: the proposals, each a file, and the list of them.
//!
//! A new proposal is a file with a type that implements [`Proposal`], and a line in [`registered`]. Its structures are relaxed on
//! learned forces, judged, evaluated and recorded like all other samples.

mod hop;
mod moves;
mod placed;
mod placement;
mod population;
mod reverse;
mod seeds;
mod shares;
mod splice;
mod symmetrise;
#[cfg(test)]
mod tests;

pub use hop::Hop;
pub use moves::{Random, below, displaced, exchange, relocate, shake, uniform, weighted};
pub use placed::Placed;
pub use placement::Placement;
pub use reverse::Reverse;
pub use seeds::Seeds;
pub use splice::splice;

use crate::archive::Origin;
use crate::config::Settings;
use crate::engine::{Engine, FreePositions, Progress};
use crate::error::Result;
use crate::minima::Shape;
use crate::run::{History, Part, Round};
use std::ops::Range;

/// A way to draw samples. It depends on the seed and the history alone, so a resumed search draws the same samples.
pub trait Proposal: Send {
    /// Number of samples that it wants to draw in `round`. Earlier proposals have left `n_left` samples.
    fn claim(&self, round: &Round, n_left: usize) -> usize;

    /// Prepares for `round`, in which it draws at least one sample.
    ///
    /// # Errors
    /// Any error that prevents drawing.
    fn begin(&mut self, _round: &Round, _history: &History) -> Result<()> {
        Ok(())
    }

    /// Free positions (n × 3, Å) of the samples whose indices in `round` are `samples`. `progress` hears of steps on the way.
    /// In a round that is screened an index also tells which candidate for the sample it is ([`candidate`]).
    ///
    /// # Errors
    /// Those of the engine and of `progress`, `Failed` if it finds no structure.
    fn draw(
        &mut self,
        round: &Round,
        samples: Range<usize>,
        engine: &mut dyn Engine,
        progress: Progress,
    ) -> Result<Vec<FreePositions>>;

    /// Whether its samples are relaxed on learned forces, once there are any, before they are evaluated.
    fn relaxes(&self) -> bool {
        true
    }

    /// What the archive notes about the origin of sample `index` of the round, which it has drawn.
    fn origin(&self, _index: usize) -> Option<Origin> {
        None
    }

    /// Whether an evaluation of a sample that came to rest as `at_rest` on learned forces would bring nothing new.
    fn knows(&self, _at_rest: &Shape) -> bool {
        false
    }

    /// Another start for the relaxation of sample `index` of `round`, for the `attempt`th time (from 1). The sample came to rest
    /// at `at_rest` (n × 3, Å) on learned forces; gives a start if an evaluation there would bring nothing new. Called for every
    /// sample that was relaxed in a round in which the proposal draws.
    fn again(
        &mut self,
        _round: &Round,
        _index: usize,
        _attempt: usize,
        _at_rest: &FreePositions,
    ) -> Option<FreePositions> {
        None
    }
}

/// Most samples of a round, so that a candidate's index says which sample it is for.
const MOST_SAMPLES: usize = 1 << 24;

/// The index of candidate `number`, from 0, for sample `index` of a round.
pub fn candidate(number: usize, index: usize) -> usize {
    number * MOST_SAMPLES + index
}

/// The proposals of a search.
pub type Proposals<'a> = Vec<Box<dyn Proposal + 'a>>;

/// The proposals that a search of `settings` may use. Earlier ones claim first; the last draws all samples that are left.
pub fn registered(settings: &Settings) -> Proposals<'_> {
    let (seeds, hop, placed) = (Seeds::new(settings), Hop::new(settings), Placed::new(settings));
    vec![Box::new(seeds), Box::new(hop), Box::new(placed), Box::new(Reverse::new(settings))]
}

/// Divides the samples of `round` among `proposals`, in their order.
pub fn share_out(round: &mut Round, proposals: &[Box<dyn Proposal + '_>]) {
    let n_samples = round.n_samples;
    round.n_samples = 0;
    round.parts.clear();
    add_batch(round, n_samples, proposals);
}

/// Adds `n_samples` samples to `round` and divides them among `proposals` as those of a round of that many samples.
pub fn add_batch(round: &mut Round, n_samples: usize, proposals: &[Box<dyn Proposal + '_>]) {
    let first = round.n_samples;
    let batch = Round { n_samples, ..round.clone() };
    let mut next = 0;
    for (number, proposal) in proposals.iter().enumerate() {
        let n_left = n_samples - next;
        let samples = next..next + proposal.claim(&batch, n_left).min(n_left);
        next = samples.end;
        if !samples.is_empty() {
            let samples = first + samples.start..first + samples.end;
            round.parts.push(Part { proposal: number, samples });
        }
    }
    round.n_samples += n_samples;
}
