//! `[proposals]`: where samples come from, in addition to the reverse process, and how they relax on learned forces.

use super::keys::{Keys, LARGEST_COUNT};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Most hops of a sample: if so many end in known minima, more hops bring nothing new.
const MOST_HOP_TRIES: usize = 100;

/// `[proposals]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProposalSection {
    /// Steps of relaxation on the learned forces that every sample takes before it is evaluated.
    pub relax_steps: usize,
    /// Share of the samples that hop from known structures instead of coming from the prior.
    pub hop_share: f64,
    /// Largest displacement of an atom in a hop along each axis, Å.
    pub hop_angstrom: f64,
    /// Share of the hops that exchange two atoms of different species, where there are such atoms.
    pub exchange_share: f64,
    /// Most hops of a sample. After these it is evaluated, even if it is at rest where an evaluated structure was.
    pub hop_tries: usize,
}

impl Default for ProposalSection {
    fn default() -> Self {
        ProposalSection { relax_steps: 0, hop_share: 0.0, hop_angstrom: 1.5, exchange_share: 0.25, hop_tries: 5 }
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
        keys.share("exchange_share", self.exchange_share)?;
        keys.count("hop_tries", self.hop_tries, MOST_HOP_TRIES)
    }
}
