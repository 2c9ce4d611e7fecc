//! Weightings of the score loss.

use crate::system::System;
use serde::{Deserialize, Serialize};

/// How the score loss weighs noise levels. One way is denoising score matching, which makes the output the true score (Vincent,
/// Neural Comput. 23, 1661, 2011). The other way is that of the code that the authors of GO-Diff released with arXiv:2510.13448.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighting {
    /// Mean over free atoms of w·‖ε + σ_t s‖².
    Dsm,
    /// Mean over all atoms, fixed ones contributing 0, of w·‖ε + σ_t² s‖².
    Published,
}

impl Weighting {
    /// The power of σ_t that multiplies the score in the residual.
    pub fn exponent(self) -> u32 {
        match self {
            Weighting::Dsm => 1,
            Weighting::Published => 2,
        }
    }

    /// The factor on the score in the residual, for noise of standard deviation `sigma` (Å).
    pub fn factor(self, sigma: f64) -> f64 {
        sigma.powi(self.exponent() as i32)
    }

    /// Number of atoms of a structure in the mean.
    pub fn n_averaged(self, system: &System) -> usize {
        match self {
            Weighting::Dsm => system.n_free(),
            Weighting::Published => system.n_atoms(),
        }
    }
}
