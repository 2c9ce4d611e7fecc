//! The configuration file as it is written: sections, keys with their units, defaults.

use crate::baseline::{
    BasinHoppingSettings, EvolutionSettings, PlacementSettings, RandomSearchSettings, RelaxationSection,
};
use crate::diffusion::Sde;
use crate::engine::{Decay, GuidanceSettings, Precision, Weighting};
use crate::model::ModelSizes;
use crate::potential::PotentialSettings;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A whole configuration file. Unknown sections and keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// What is searched.
    pub system: SystemSection,
    /// What gives energies and forces.
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
    /// The optimiser.
    #[serde(default)]
    pub training: TrainingSection,
    /// How a GPU computes.
    #[serde(default)]
    pub engine: EngineSection,
    /// Force-field guidance, if it is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<GuidanceSettings>,
    /// The model to start from, if not an untrained one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferSection>,
    /// What counts as success, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetSection>,
    /// How structures are made up from nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementSettings>,
    /// How the baselines relax them.
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
}

/// `[system]`: template, free atoms, confinement; cell and periodicity where there is no template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemSection {
    /// Structure of the fixed atoms, relative to the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<PathBuf>,
    /// Formula of the free atoms, such as "Pt7".
    pub free: String,
    /// Lattice vectors as rows, Å; only without a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell_angstrom: Option<[[f64; 3]; 3]>,
    /// Which lattice vectors repeat; only with `cell_angstrom`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub periodic: Option<[bool; 3]>,
    /// Heights that the free atoms may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confinement: Option<ConfinementSection>,
}

/// `confinement = { above_template_angstrom = [lo, hi] }` or `{ z_angstrom = [lo, hi] }`: exactly one of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfinementSection {
    /// Interval above the template's highest atom, Å.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above_template_angstrom: Option<[f64; 2]>,
    /// Interval of absolute z, Å.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z_angstrom: Option<[f64; 2]>,
}

/// `[model]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSection {
    /// Features per atom.
    pub features: usize,
    /// Interaction blocks.
    pub blocks: usize,
    /// Radial functions.
    pub radial_functions: usize,
    /// Cutoff of the radius graph, Å.
    pub cutoff_angstrom: f64,
}

impl ModelSection {
    /// The sizes of the model, with or without force head.
    pub fn sizes(&self, force_head: bool) -> ModelSizes {
        ModelSizes {
            features: self.features,
            blocks: self.blocks,
            radial_functions: self.radial_functions,
            cutoff_angstrom: self.cutoff_angstrom,
            force_head,
        }
    }
}

impl Default for ModelSection {
    fn default() -> Self {
        ModelSection { features: 64, blocks: 4, radial_functions: 30, cutoff_angstrom: 6.0 }
    }
}

/// `[diffusion]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiffusionSection {
    /// Noise at t = 0, Å.
    pub sigma_min_angstrom: f64,
    /// Noise at t = 1, Å.
    pub sigma_max_angstrom: f64,
    /// Exponent of the noise levels.
    pub rho: u32,
    /// Steps of the reverse process.
    pub steps: usize,
    /// Diffusion time at which the reverse process ends.
    pub t_min: f64,
    /// How often the score counts in the reverse process.
    pub score_scale: f64,
}

impl Default for DiffusionSection {
    fn default() -> Self {
        DiffusionSection {
            sigma_min_angstrom: 0.01,
            sigma_max_angstrom: 1.0,
            rho: 1,
            steps: 500,
            t_min: 0.005,
            score_scale: 1.0,
        }
    }
}

impl DiffusionSection {
    /// The noise levels.
    pub fn sde(&self) -> Sde {
        Sde { sigma_min: self.sigma_min_angstrom, sigma_max: self.sigma_max_angstrom, rho: self.rho }
    }
}

/// `[search]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchSection {
    /// Seed of everything random; `--seed` overrides it.
    pub seed: u64,
    /// Temperatures of the annealing schedule.
    pub iterations: usize,
    /// Structures sampled at each temperature.
    pub samples_per_iteration: usize,
    /// Where those of the first temperature come from.
    pub first_samples: FirstSamples,
    /// Structures that the model is trained on at each temperature.
    pub buffer: usize,
    /// First temperature kT, eV.
    pub kt_initial_ev: f64,
    /// Last temperature kT, eV.
    pub kt_final_ev: f64,
    /// Structures with a free atom nearer to any other atom than this, Å, are not evaluated.
    pub min_distance_angstrom: f64,
    /// Energies below this, eV, are taken for failures of the potential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_floor_ev: Option<f64>,
    /// Structures with energies above this, eV, are not learned from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_ceiling_ev: Option<f64>,
}

impl Default for SearchSection {
    fn default() -> Self {
        SearchSection {
            seed: 0,
            iterations: 20,
            samples_per_iteration: 128,
            first_samples: FirstSamples::Sampled,
            buffer: 64,
            kt_initial_ev: 5.0,
            kt_final_ev: 0.02,
            min_distance_angstrom: 1.0,
            energy_floor_ev: None,
            energy_ceiling_ev: None,
        }
    }
}

/// Where the structures of the first temperature come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirstSamples {
    /// From the reverse process, as all later ones: with an untrained model little but noise.
    Sampled,
    /// Made up as a random structure search does it, by `[placement]`.
    Placed,
}

/// `[training]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSection {
    /// Optimiser steps at each temperature.
    pub steps_per_iteration: usize,
    /// Structures a step.
    pub batch: usize,
    /// First learning rate of AdamW.
    pub learning_rate: f64,
    /// Learning rate that AdamW ends each temperature with, along half a cosine; `None`: it falls on plateaus alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_learning_rate: Option<f64>,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Largest global norm of the gradient.
    pub gradient_clip: f64,
    /// How the loss weighs noise levels.
    pub weighting: Weighting,
}

impl TrainingSection {
    /// How the learning rate falls over the steps of a temperature.
    pub fn decay(&self) -> Decay {
        self.final_learning_rate.map_or(Decay::NONE, |last| Decay { last: last / self.learning_rate })
    }
}

impl Default for TrainingSection {
    fn default() -> Self {
        TrainingSection {
            steps_per_iteration: 8000,
            batch: 16,
            learning_rate: 1e-4,
            final_learning_rate: None,
            weight_decay: 0.01,
            gradient_clip: 10.0,
            weighting: Weighting::Published,
        }
    }
}

/// `[engine]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSection {
    /// What arrays on a GPU are kept in.
    pub precision: Precision,
}

/// `[transfer]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferSection {
    /// Model file of another search or of `godiff import`, relative to the configuration file.
    pub model: PathBuf,
}

/// `[target]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSection {
    /// The structure sought, relative to the configuration file.
    pub structure: PathBuf,
    /// When a structure counts as found.
    #[serde(rename = "match")]
    pub matching: Matching,
}

/// When a structure counts as the target: `"bond-graph"`, `{ energy_within_ev = 0.05 }` or `{ bond_graph_within_ev = 2.0 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Matching {
    /// The free atoms are bonded among each other like the target's.
    #[serde(rename = "bond-graph")]
    BondGraph,
    /// The energy is at most this much, eV, above the target's.
    #[serde(rename = "energy_within_ev")]
    EnergyWithin(f64),
    /// Both: bonded like the target's, and the energy at most this much, eV, above. Samples lie above their minima, and what lies
    /// far above may be bonded alike and stand on the surface otherwise.
    #[serde(rename = "bond_graph_within_ev")]
    BondGraphWithin(f64),
}

impl Matching {
    /// The key of the energy window, and the window, eV.
    pub fn within_ev(self) -> Option<(&'static str, f64)> {
        match self {
            Matching::BondGraph => None,
            Matching::EnergyWithin(within) => Some(("energy_within_ev", within)),
            Matching::BondGraphWithin(within) => Some(("bond_graph_within_ev", within)),
        }
    }

    /// Whether the bonds of the free atoms matter.
    pub fn compares_bonds(self) -> bool {
        matches!(self, Matching::BondGraph | Matching::BondGraphWithin(_))
    }
}
