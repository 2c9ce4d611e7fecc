//! The configuration file as it is written. Each section has a file here, with its keys, units, defaults and checks.

use super::keys::Keys;
use super::source::SourceFile;
use super::{
    AdaptiveSection, AnnealingSettings, BasinHoppingSettings, DiffusionSection, EngineSection, EvolutionSettings,
    FragmentSection, GuidanceSection, ModelSection, ObjectiveSection, PlacementSettings, ProposalSection,
    RandomSearchSettings, RelaxationSection, SearchSection, SeedsSection, StoppingSection, SystemSection,
    TargetSection, TrainingSection, TransferSection,
};
use crate::error::Result;
use crate::potential::PotentialSettings;
use serde::{Deserialize, Serialize};

/// Keys that have moved: the old place and the new one.
const MOVED: [(&str, &str); 4] = [
    ("guidance.relax_steps", "proposals.relax_steps"),
    ("guidance.hop_share", "proposals.hop_share"),
    ("guidance.hop_angstrom", "proposals.hop_angstrom"),
    ("guidance.hop_tries", "proposals.hop_tries"),
];

/// A whole configuration file. Unknown sections and keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The system that is searched.
    pub system: SystemSection,
    /// Molecules among the free atoms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fragments: Vec<FragmentSection>,
    /// The source of energies and forces.
    pub potential: PotentialSettings,
    /// Sizes of the score model.
    #[serde(default)]
    pub model: ModelSection,
    /// Noise levels and reverse process.
    #[serde(default)]
    pub diffusion: DiffusionSection,
    /// The annealing loop.
    #[serde(default)]
    pub search: SearchSection,
    /// What the score is trained towards, if it is not the noise alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<ObjectiveSection>,
    /// What follows from what the search finds, in place of keys of `[search]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveSection>,
    /// The optimiser.
    #[serde(default)]
    pub training: TrainingSection,
    /// When training ends early, if it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopping: Option<StoppingSection>,
    /// How a GPU computes.
    #[serde(default)]
    pub engine: EngineSection,
    /// Force-field guidance, if it is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<GuidanceSection>,
    /// Where samples come from, in addition to the reverse process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposals: Option<ProposalSection>,
    /// The model to start from, if it is not an untrained one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferSection>,
    /// Structures of the user's own that the search begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seeds: Option<SeedsSection>,
    /// When a search counts as successful, if the answer is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetSection>,
    /// How structures are made up from nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementSettings>,
    /// How the baselines relax structures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relaxation: Option<RelaxationSection>,
    /// Random structure search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_search: Option<RandomSearchSettings>,
    /// Basin hopping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basin_hopping: Option<BasinHoppingSettings>,
    /// Evolutionary search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evolution: Option<EvolutionSettings>,
    /// Simulated annealing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annealing: Option<AnnealingSettings>,
}

impl File {
    /// Reads and checks the sections in `source`.
    ///
    /// # Errors
    /// `BadInput` with the line of the first key or value that cannot be used.
    pub(super) fn read(source: &SourceFile) -> Result<Self> {
        refuse_moved(source)?;
        let table: toml::Table = source.parse()?;
        if table.get("fragments").is_some_and(toml::Value::is_table) {
            let message =
                "write the name of this section in two pairs of brackets, [[fragments]]: there may be several";
            return Err(source.error("fragments", message));
        }
        let mut sections: File = source.parse()?;
        sections.check(source)?;
        sections.training.fill_in();
        Ok(sections)
    }

    /// Takes out the sections of all baselines: a search by GO-Diff does not depend on them.
    pub fn forget_baselines(&mut self) {
        (self.random_search, self.basin_hopping, self.evolution, self.annealing) = (None, None, None, None);
    }

    fn check(&self, source: &SourceFile) -> Result<()> {
        let keys = |section| Keys::new(source, section);
        let guided = self.guidance.is_some();
        self.system.check(keys("system"), !self.fragments.is_empty())?;
        let knows_moments =
            self.system.initial_moments.is_none() || matches!(self.potential, PotentialSettings::Ase(_));
        let message = "only calculators of ASE know magnetic moments (kind = \"ase\"); leave this key out";
        keys("system").require(knows_moments, "initial_moments", message)?;
        self.fragments.iter().try_for_each(|section| section.check(keys("fragments")))?;
        self.model.check(keys("model"), guided)?;
        self.diffusion.check(keys("diffusion"))?;
        self.search.check(keys("search"))?;
        self.adaptive.map_or(Ok(()), |section| section.check(keys("adaptive"), &self.search, self.training.batch))?;
        self.training.check(keys("training"), self.search.buffer, self.transfer.is_some())?;
        self.training.check_score(keys("training"), &self.search, self.proposals)?;
        self.stopping.map_or(Ok(()), |section| section.check(keys("stopping"), &self.training))?;
        self.objective.map_or(Ok(()), |section| section.check(keys("objective")))?;
        let without_score = "no score is trained with training.score = false; leave out this section or that key";
        keys("objective").require(self.training.score || self.objective.is_none(), "kind", without_score)?;
        self.guidance.map_or(Ok(()), |section| section.check(keys("guidance")))?;
        self.proposals.map_or(Ok(()), |section| section.check(keys("proposals"), self.guidance.as_ref()))?;
        self.target.as_ref().map_or(Ok(()), |section| section.check(keys("target")))?;
        self.placement.map_or(Ok(()), |section| section.check(keys("placement")))?;
        self.relaxation.map_or(Ok(()), |section| section.check(keys("relaxation")))?;
        self.random_search.map_or(Ok(()), |section| section.check(keys("random_search")))?;
        self.basin_hopping.map_or(Ok(()), |section| section.check(keys("basin_hopping")))?;
        self.evolution.map_or(Ok(()), |section| section.check(keys("evolution")))?;
        let is_free_cluster = self.system.template.is_none() && self.system.cell_angstrom.is_none();
        self.annealing.map_or(Ok(()), |section| section.check(keys("annealing"), is_free_cluster))
    }
}

/// The error for a key of an older godiff: where the key is now.
fn refuse_moved(source: &SourceFile) -> Result<()> {
    let table: toml::Table = source.parse()?;
    let stands = |path: &str| {
        let (section, key) = path.split_once('.').unwrap_or((path, ""));
        table.get(section).and_then(toml::Value::as_table).is_some_and(|section| section.contains_key(key))
    };
    match MOVED.into_iter().find(|(old, _)| stands(old)) {
        Some((old, new)) => Err(source.error(old, format!("this key is now {new}; move it there"))),
        None => Ok(()),
    }
}
