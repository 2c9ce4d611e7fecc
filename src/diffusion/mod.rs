//! The variance-exploding diffusion process: noise levels, schedules, truncated normal, prior. Scalar formulas in f64.

/// Noise levels σ(t) = σ_min + (σ_max − σ_min)·t, Å.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sde {
    /// σ(0), Å.
    pub sigma_min: f64,
    /// σ(1), Å.
    pub sigma_max: f64,
}
