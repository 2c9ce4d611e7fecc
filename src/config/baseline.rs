//! `[random_search]`, `[basin_hopping]`, `[evolution]`.

use super::keys::Keys;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Largest number of relaxations side by side, of minima in a population, and of steps of any kind.
pub const LARGEST_COUNT: usize = 1_000_000;
/// Most evaluations of a run: their numbers have to fit the archive's keys.
const MOST_EVALUATIONS: u64 = 1_000_000_000;

fn budget(keys: Keys, evaluations: u64) -> Result<()> {
    let message = format!("{evaluations} is not between 1 and {MOST_EVALUATIONS}");
    keys.require((1..=MOST_EVALUATIONS).contains(&evaluations), "evaluations", message)
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

impl RandomSearchSettings {
    pub(super) fn check(&self, keys: Keys) -> Result<()> {
        budget(keys, self.evaluations)?;
        keys.count("side_by_side", self.side_by_side, LARGEST_COUNT)
    }
}

/// `[basin_hopping]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BasinHoppingSettings {
    /// Evaluations after which the search ends.
    pub evaluations: u64,
    /// Independent walkers; their relaxations run side by side.
    pub walkers: usize,
    /// kT of the Metropolis rule between relaxed energies, eV.
    pub kt_ev: f64,
    /// Largest displacement of an atom in a hop along each axis, Å.
    pub step_angstrom: f64,
    /// Share of the hops that move one atom next to others instead of shaking all.
    pub relocate_share: f64,
    /// Hops without a new lowest energy after which a walker starts again; 0: never.
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

impl BasinHoppingSettings {
    pub(super) fn check(&self, keys: Keys) -> Result<()> {
        budget(keys, self.evaluations)?;
        keys.count("walkers", self.walkers, LARGEST_COUNT)?;
        keys.positive("kt_ev", self.kt_ev)?;
        keys.positive("step_angstrom", self.step_angstrom)?;
        keys.share("relocate_share", self.relocate_share)
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
    /// Share of the offspring that is cut and spliced from two parents; the rest are mutants of one.
    pub crossover_share: f64,
    /// Largest displacement of an atom in a shaken mutant along each axis, Å.
    pub step_angstrom: f64,
    /// Minima count as one if their bonds are the same and their energies differ by less than this, eV.
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

impl EvolutionSettings {
    pub(super) fn check(&self, keys: Keys) -> Result<()> {
        budget(keys, self.evaluations)?;
        keys.count("side_by_side", self.side_by_side, LARGEST_COUNT)?;
        keys.count("population", self.population, LARGEST_COUNT)?;
        keys.require(self.population >= 2, "population", "two parents need a population of at least 2")?;
        keys.share("crossover_share", self.crossover_share)?;
        keys.positive("step_angstrom", self.step_angstrom)?;
        keys.not_negative("same_energy_ev", self.same_energy_ev)
    }
}
