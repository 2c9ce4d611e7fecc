//! `[proposals]`: where samples come from besides the reverse process, and how they relax on learned forces.

use super::keys::{Keys, LARGEST_COUNT};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Most hops of a sample: where so many come to rest in known minima, more tell nothing.
const MOST_HOP_TRIES: usize = 100;

/// `[proposals]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProposalSection {
    /// Steps of relaxation on the predicted forces that every sample takes before it is evaluated.
    pub relax_steps: usize,
    /// Share of the samples that hop from known structures instead of coming from the prior.
    pub hop_share: f64,
    /// Farthest that a hop displaces an atom along each axis, Å.
    pub hop_angstrom: f64,
    /// Hops of a sample until it is evaluated although it rests where an evaluated structure did.
    pub hop_tries: usize,
}

impl Default for ProposalSection {
    fn default() -> Self {
        ProposalSection { relax_steps: 0, hop_share: 0.0, hop_angstrom: 1.5, hop_tries: 5 }
    }
}

impl ProposalSection {
    /// `guided` says whether there is a section `[guidance]`.
    pub(super) fn check(&self, keys: Keys, guided: bool) -> Result<()> {
        let message = format!("{} is above {LARGEST_COUNT}", self.relax_steps);
        keys.require(self.relax_steps <= LARGEST_COUNT, "relax_steps", message)?;
        keys.share("hop_share", self.hop_share)?;
        let unrelaxed = "hops need relax_steps: where they end is not relaxed otherwise";
        keys.require(self.hop_share == 0.0 || self.relax_steps > 0, "hop_share", unrelaxed)?;
        let unguided = "relaxing on learned forces needs a model that learns forces: add the section [guidance]";
        keys.require(self.relax_steps == 0 || guided, "relax_steps", unguided)?;
        keys.positive("hop_angstrom", self.hop_angstrom)?;
        keys.count("hop_tries", self.hop_tries, MOST_HOP_TRIES)
    }
}
