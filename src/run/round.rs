//! One turn of a search's loop.

use crate::engine::RandomStream;
use std::ops::Range;

/// One turn of the loop: some samples, the answers to them, one lesson.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// Its number, from 0, in the order in which rounds are done.
    pub number: u32,
    /// Temperature kT at which the model learns from it, eV.
    pub kt_ev: f64,
    /// Random numbers of its samples and its training.
    pub stream: RandomStream,
    /// Samples that it draws.
    pub n_samples: usize,
    /// Whether the model has learned forces that its samples may follow; never without `[guidance]`.
    pub forces_learned: bool,
    /// Which proposal draws which samples; together all of them.
    pub parts: Vec<Part>,
}

/// The samples of a round that come from one proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The proposal, by its place among those of the search.
    pub proposal: usize,
    /// Indices of the samples within the round.
    pub samples: Range<usize>,
}

impl Round {
    /// First half of the key of its structures in the archive; the second half is the sample's index.
    pub fn archive_key(&self) -> u32 {
        self.number
    }

    /// Number of rounds that are done after this one. It is also the number of the checkpoint after this round.
    pub fn checkpoint(&self) -> u32 {
        self.number + 1
    }
}
