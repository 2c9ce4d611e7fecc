//! What a configuration may say about the baselines: one section a method, and what they share.

use crate::relax::RelaxSettings;
use serde::{Deserialize, Serialize};

/// `[placement]`: how structures are made up from nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlacementSettings {
    /// Where atoms are put.
    pub method: PlacementMethod,
    /// Shortest distance between a new atom and any other, as a multiple of the sum of their covalent radii.
    pub shortest_bond: f64,
    /// Longest distance between a new atom and the nearest other, as a multiple of the sum of their covalent radii.
    pub longest_bond: f64,
}

/// Where atoms are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlacementMethod {
    /// Each next to one that is placed already.
    Neighbour,
    /// Each anywhere in the allowed region.
    Uniform,
}

impl Default for PlacementSettings {
    fn default() -> Self {
        PlacementSettings { method: PlacementMethod::Neighbour, shortest_bond: 0.75, longest_bond: 1.25 }
    }
}

/// `[relaxation]`: when relaxations of a baseline end and how far they go at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelaxationSection {
    /// A relaxation ends when no free atom feels a larger force, eV/Å.
    pub fmax_ev_per_angstrom: f64,
    /// Steps after which it ends anyway.
    pub max_steps: usize,
    /// Largest displacement of an atom in one step, Å.
    pub max_step_angstrom: f64,
    /// Steps that the curvature is learnt from.
    pub history: usize,
    /// Which evaluations the archive keeps.
    pub record: Record,
}

/// Which evaluations of a baseline the archive keeps. All count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// Every one: a run that goes on asks the potential for nothing twice.
    All,
    /// The last one of every relaxation, every one lower in energy than all before, and the first that matches the target: for
    /// cheap potentials, of which a run that goes on asks the rest again.
    Minima,
}

impl Default for RelaxationSection {
    fn default() -> Self {
        RelaxationSection {
            fmax_ev_per_angstrom: 0.05,
            max_steps: 500,
            max_step_angstrom: 0.2,
            history: 10,
            record: Record::All,
        }
    }
}

impl From<RelaxationSection> for RelaxSettings {
    fn from(section: RelaxationSection) -> Self {
        let RelaxationSection { fmax_ev_per_angstrom, max_steps, max_step_angstrom, history, record: _ } = section;
        RelaxSettings { fmax_ev_per_angstrom, max_steps, max_step_angstrom, history }
    }
}

/// `[random_search]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomSearchSettings {
    /// Evaluations after which the search ends.
    pub evaluations: u64,
    /// Relaxations side by side.
    pub side_by_side: usize,
}

impl Default for RandomSearchSettings {
    fn default() -> Self {
        RandomSearchSettings { evaluations: 10_000, side_by_side: 16 }
    }
}

/// `[basin_hopping]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BasinHoppingSettings {
    /// Evaluations after which the search ends.
    pub evaluations: u64,
    /// Independent walkers, whose relaxations go side by side.
    pub walkers: usize,
    /// kT of the Metropolis rule between relaxed energies, eV.
    pub kt_ev: f64,
    /// Largest displacement of an atom in a hop along each axis, Å.
    pub step_angstrom: f64,
    /// Share of the hops that move one atom next to others instead of shaking all.
    pub relocate_share: f64,
    /// Hops without a new lowest energy after which a walker starts afresh; 0: never.
    pub restart_after: usize,
}

impl Default for BasinHoppingSettings {
    fn default() -> Self {
        BasinHoppingSettings {
            evaluations: 10_000,
            walkers: 1,
            kt_ev: 0.15,
            step_angstrom: 1.5,
            relocate_share: 0.5,
            restart_after: 0,
        }
    }
}

/// `[evolution]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvolutionSettings {
    /// Evaluations after which the search ends.
    pub evaluations: u64,
    /// Relaxations side by side.
    pub side_by_side: usize,
    /// Different minima that parents are chosen from.
    pub population: usize,
    /// Share of the offspring cut and spliced from two parents; the others are mutants of one.
    pub crossover_share: f64,
    /// Largest displacement of an atom in a shaken mutant along each axis, Å.
    pub step_angstrom: f64,
    /// Minima whose energies differ by less, eV, and whose bonds are the same, count as one.
    pub same_energy_ev: f64,
}

impl Default for EvolutionSettings {
    fn default() -> Self {
        EvolutionSettings {
            evaluations: 10_000,
            side_by_side: 4,
            population: 10,
            crossover_share: 0.5,
            step_angstrom: 1.0,
            same_energy_ev: 0.01,
        }
    }
}
