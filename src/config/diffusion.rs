//! `[diffusion]`.

use super::keys::{Keys, LARGEST_COUNT};
use crate::diffusion::Sde;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Widest basin, Å: the square of a width must be a number.
const WIDEST_BASIN: f64 = 1000.0;

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
    /// The noise up to which it counts so often; without it, at all noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_basin_angstrom: Option<ScoreBasin>,
}

/// The width of the basins that a scaled score cools.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a width in Å or \"auto\"")]
pub enum ScoreBasin {
    /// Å.
    Width(f64),
    /// `"auto"`.
    Known(KnownBasin),
}

/// A width that a search finds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnownBasin {
    /// From the forces on the structures of the last buffer.
    Auto,
}

impl Default for DiffusionSection {
    fn default() -> Self {
        DiffusionSection {
            sigma_min_angstrom: 0.01,
            sigma_max_angstrom: 1.0,
            rho: 1,
            steps: 300,
            t_min: 0.005,
            score_scale: 1.0,
            score_basin_angstrom: None,
        }
    }
}

impl DiffusionSection {
    /// The noise levels.
    pub fn sde(&self) -> Sde {
        Sde { sigma_min: self.sigma_min_angstrom, sigma_max: self.sigma_max_angstrom, rho: self.rho }
    }
}

impl DiffusionSection {
    /// The variance of the basins that a scaled score cools, Å², where the configuration gives it.
    pub fn basin_variance(&self) -> Option<f64> {
        match self.score_basin_angstrom? {
            ScoreBasin::Width(width) => Some(width * width),
            ScoreBasin::Known(KnownBasin::Auto) => None,
        }
    }

    /// Whether a search finds the variance out.
    pub fn finds_basin(&self) -> bool {
        matches!(self.score_basin_angstrom, Some(ScoreBasin::Known(KnownBasin::Auto)))
    }

    pub(super) fn check(&self, keys: Keys) -> Result<()> {
        keys.whole(self.sde().check())?;
        keys.count("steps", self.steps, LARGEST_COUNT)?;
        keys.require(self.steps >= 2, "steps", "the reverse process needs at least 2 steps")?;
        let inside = self.t_min > 0.0 && self.t_min < 1.0;
        keys.require(inside, "t_min", format!("{} is not between 0 and 1", self.t_min))?;
        keys.positive("score_scale", self.score_scale)?;
        let Some(basin) = self.score_basin_angstrom else { return Ok(()) };
        if let ScoreBasin::Width(width) = basin {
            keys.positive("score_basin_angstrom", width)?;
            let message = format!("{width} is more than {WIDEST_BASIN}: no basin is that wide");
            keys.require(width <= WIDEST_BASIN, "score_basin_angstrom", message)?;
        }
        let message = "has no effect where score_scale is 1; give score_scale too, or leave this key out";
        keys.require(self.score_scale != 1.0, "score_basin_angstrom", message)
    }
}
