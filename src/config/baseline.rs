//! `[random_search]`, `[basin_hopping]`, `[evolution]`, `[annealing]`.

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

/// `[annealing]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnnealingSettings {
    /// Evaluations after which the search ends.
    pub evaluations: u64,
    /// Independent chains, side by side.
    pub chains: usize,
    /// Moves of a chain from the first temperature to the last.
    pub moves_per_cooling: usize,
    /// First temperature kT, eV.
    pub kt_initial_ev: f64,
    /// Last temperature kT, eV.
    pub kt_final_ev: f64,
    /// What a move displaces.
    pub moves: AnnealingMoves,
    /// Largest displacement of an atom along each axis, Å, at first; it follows the share of accepted moves.
    pub step_angstrom: f64,
    /// Share of the moves that put one atom next to another instead.
    pub relocate_share: f64,
    /// No free atom of a free cluster moves further than this from the centre of all, Å.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_angstrom: Option<f64>,
    /// Whether the lowest structure of each cooling is relaxed.
    pub relax_lowest: bool,
}

/// What a move of simulated annealing displaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnnealingMoves {
    /// One atom.
    OneAtom,
    /// All atoms at once.
    AllAtoms,
}

impl Default for AnnealingSettings {
    fn default() -> Self {
        AnnealingSettings {
            evaluations: 10_000,
            chains: 4,
            moves_per_cooling: 2000,
            kt_initial_ev: 0.5,
            kt_final_ev: 0.05,
            moves: AnnealingMoves::OneAtom,
            step_angstrom: 0.4,
            relocate_share: 0.1,
            container_angstrom: None,
            relax_lowest: true,
        }
    }
}

impl AnnealingSettings {
    pub(super) fn check(&self, keys: Keys, is_free_cluster: bool) -> Result<()> {
        budget(keys, self.evaluations)?;
        keys.count("chains", self.chains, LARGEST_COUNT)?;
        keys.count("moves_per_cooling", self.moves_per_cooling, LARGEST_COUNT)?;
        keys.require(self.moves_per_cooling >= 2, "moves_per_cooling", "two temperatures need at least 2 moves")?;
        keys.positive("kt_initial_ev", self.kt_initial_ev)?;
        keys.positive("kt_final_ev", self.kt_final_ev)?;
        let (first, last) = (self.kt_initial_ev, self.kt_final_ev);
        let message = format!("{last} is above kt_initial_ev = {first}: annealing cools");
        keys.require(last <= first, "kt_final_ev", message)?;
        keys.positive("step_angstrom", self.step_angstrom)?;
        keys.share("relocate_share", self.relocate_share)?;
        let Some(radius) = self.container_angstrom else { return Ok(()) };
        keys.positive("container_angstrom", radius)?;
        let message =
            "only a free cluster has a container: a cell or a template holds the atoms already; leave this key out";
        keys.require(is_free_cluster, "container_angstrom", message)
    }
}
