//! `[diffusion]`.

use super::keys::{Keys, LARGEST_COUNT};
use crate::diffusion::Sde;
use crate::error::Result;
use serde::{Deserialize, Serialize};

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
            steps: 300,
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

impl DiffusionSection {
    pub(super) fn check(&self, keys: Keys) -> Result<()> {
        keys.whole(self.sde().check())?;
        keys.count("steps", self.steps, LARGEST_COUNT)?;
        keys.require(self.steps >= 2, "steps", "the reverse process needs at least 2 steps")?;
        let inside = self.t_min > 0.0 && self.t_min < 1.0;
        keys.require(inside, "t_min", format!("{} is not between 0 and 1", self.t_min))?;
        keys.positive("score_scale", self.score_scale)
    }
}
