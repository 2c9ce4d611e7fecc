//! `[proposals]`: where samples come from, in addition to the reverse process, and how they relax on learned forces.

use super::GuidanceSection;
use super::keys::{Keys, LARGEST_COUNT};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Most hops of a sample: if so many end in known minima, more hops bring nothing new.
const MOST_HOP_TRIES: usize = 100;

/// Most candidates for a sample.
const MOST_CANDIDATES: usize = 100;

/// Most parents of hops that share the draws.
const MOST_EFFECTIVE_PARENTS: f64 = 128.0;

/// The structures that hops start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parents {
    /// Members of the buffer that the model last learned from, with their Boltzmann weights.
    Buffer,
    /// The lowest known structure of every basin, with weights that keep a number of different parents.
    Basins,
}

/// How the kinds of hops share the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HopMoves {
    /// As the configuration says.
    Fixed,
    /// By what has paid so far.
    Learned,
}

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
    /// The structures that hops start from.
    pub hop_parents: Parents,
    /// With `hop_parents = "basins"`: effective number of different parents.
    pub effective_parents: f64,
    /// With `hop_parents = "basins"`: structures in a row without a lower basin, after which the population begins anew; 0: never.
    pub restart_after: usize,
    /// How the kinds of hops share the samples.
    pub hop_moves: HopMoves,
    /// Share of the hops that cut two parents and splice their halves.
    pub splice_share: f64,
    /// Share of the hops that make a free cluster symmetric, where the free atoms are one.
    pub symmetrise_share: f64,
    /// Most hops of a sample. After these it is evaluated, even if it is at rest where an evaluated structure was.
    pub hop_tries: usize,
    /// Candidates for every sample of a round with hops; the readout of the model chooses among them. 1: no choice.
    #[serde(skip_serializing_if = "is_one")]
    pub screen: usize,
}

fn is_one(value: &usize) -> bool {
    *value == 1
}

impl Default for ProposalSection {
    fn default() -> Self {
        ProposalSection {
            relax_steps: 0,
            hop_share: 0.0,
            hop_angstrom: 1.5,
            exchange_share: 0.25,
            hop_parents: Parents::Basins,
            effective_parents: 8.0,
            restart_after: 0,
            hop_moves: HopMoves::Learned,
            splice_share: 0.0,
            symmetrise_share: 0.0,
            hop_tries: 5,
            screen: 1,
        }
    }
}

impl ProposalSection {
    /// `guidance` is the section `[guidance]`.
    pub(super) fn check(&self, keys: Keys, guidance: Option<&GuidanceSection>) -> Result<()> {
        let guided = guidance.is_some();
        let message = format!("{} is above {LARGEST_COUNT}", self.relax_steps);
        keys.require(self.relax_steps <= LARGEST_COUNT, "relax_steps", message)?;
        keys.share("hop_share", self.hop_share)?;
        let unrelaxed = "hops need relax_steps: where they end is not relaxed otherwise";
        keys.require(self.hop_share == 0.0 || self.relax_steps > 0, "hop_share", unrelaxed)?;
        let unguided = "relaxing on learned forces needs a model that learns forces: add the section [guidance]";
        keys.require(self.relax_steps == 0 || guided, "relax_steps", unguided)?;
        keys.positive("hop_angstrom", self.hop_angstrom)?;
        keys.share("exchange_share", self.exchange_share)?;
        keys.share("splice_share", self.splice_share)?;
        keys.share("symmetrise_share", self.symmetrise_share)?;
        let sum = self.exchange_share + self.splice_share + self.symmetrise_share;
        let together = format!("exchange_share, splice_share and symmetrise_share are {sum} together, above 1");
        keys.require(sum <= 1.0, "splice_share", together)?;
        let range = format!("{} is not between 1 and {MOST_EFFECTIVE_PARENTS}", self.effective_parents);
        let in_range = (1.0..=MOST_EFFECTIVE_PARENTS).contains(&self.effective_parents);
        keys.require(in_range, "effective_parents", range)?;
        let message = format!("{} is above {LARGEST_COUNT}", self.restart_after);
        keys.require(self.restart_after <= LARGEST_COUNT, "restart_after", message)?;
        let unused = "only a population begins anew: leave out hop_parents, or restart_after";
        keys.require(self.restart_after == 0 || self.hop_parents == Parents::Basins, "restart_after", unused)?;
        keys.count("hop_tries", self.hop_tries, MOST_HOP_TRIES)?;
        keys.count("screen", self.screen, MOST_CANDIDATES)?;
        let unhopped = "only rounds with hops are screened: set hop_share, or leave out screen";
        keys.require(self.screen == 1 || self.hop_share > 0.0, "screen", unhopped)?;
        let unread = "screening chooses by learned energies: set energy_weight in [guidance], or leave out screen";
        let learns_energies = guidance.is_some_and(|guidance| guidance.energy_weight > 0.0);
        keys.require(self.screen == 1 || learns_energies, "screen", unread)
    }
}
