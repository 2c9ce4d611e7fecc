//! `[search]`.

use super::keys::{Keys, LARGEST_COUNT};
use crate::error::Result;
use crate::system::ShortestDistance;
use serde::{Deserialize, Serialize};

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
    /// Where the structures of the first temperature come from.
    pub first_samples: FirstSamples,
    /// Structures that the model is trained on at each temperature.
    pub buffer: usize,
    /// First temperature kT, eV.
    pub kt_initial_ev: f64,
    /// Last temperature kT, eV.
    pub kt_final_ev: f64,
    /// A structure is not evaluated if a free atom is nearer to any other atom than this, Å. Without it, the shortest distance of
    /// two atoms follows from their elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_distance_angstrom: Option<f64>,
    /// Energies below this, eV, count as failures of the potential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_floor_ev: Option<f64>,
    /// The model does not learn from structures with energies above this, eV.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_ceiling_ev: Option<f64>,
    /// Wall-clock time of the run, over all sessions, after which it ends, h; `--hours` overrides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<f64>,
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
            min_distance_angstrom: None,
            energy_floor_ev: None,
            energy_ceiling_ev: None,
            hours: None,
        }
    }
}

/// Where the structures of the first temperature come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirstSamples {
    /// From the reverse process, as in all later iterations; with an untrained model the structures are little but noise.
    Sampled,
    /// Random structures as in a random structure search, made by `[placement]`.
    Placed,
}

impl SearchSection {
    /// The shortest distance that two atoms may have.
    pub fn shortest_distance(&self) -> ShortestDistance {
        self.min_distance_angstrom.map_or_else(ShortestDistance::default, ShortestDistance::Same)
    }

    pub(super) fn check(&self, keys: Keys) -> Result<()> {
        keys.require(self.seed <= i64::MAX as u64, "seed", format!("{} is above {}", self.seed, i64::MAX))?;
        keys.count("iterations", self.iterations, LARGEST_COUNT)?;
        keys.count("samples_per_iteration", self.samples_per_iteration, LARGEST_COUNT)?;
        keys.count("buffer", self.buffer, LARGEST_COUNT)?;
        let all = self.samples_per_iteration.saturating_mul(self.iterations);
        let message = format!("{} is more than the {all} structures that all iterations sample together", self.buffer);
        keys.require(self.buffer <= all, "buffer", message)?;
        self.hours.map_or(Ok(()), |hours| keys.positive("hours", hours))?;
        self.check_energies(keys)
    }

    fn check_energies(&self, keys: Keys) -> Result<()> {
        keys.positive("kt_initial_ev", self.kt_initial_ev)?;
        keys.positive("kt_final_ev", self.kt_final_ev)?;
        let falls = self.kt_final_ev <= self.kt_initial_ev;
        let message =
            format!("{} is above kt_initial_ev = {}: the temperature falls", self.kt_final_ev, self.kt_initial_ev);
        keys.require(falls, "kt_final_ev", message)?;
        self.min_distance_angstrom.map_or(Ok(()), |distance| keys.not_negative("min_distance_angstrom", distance))?;
        match (self.energy_floor_ev, self.energy_ceiling_ev) {
            (Some(floor), Some(ceiling)) => {
                let message = format!("{floor} must be below energy_ceiling_ev = {ceiling}");
                keys.require(floor < ceiling, "energy_floor_ev", message)
            }
            _ => Ok(()),
        }
    }
}
