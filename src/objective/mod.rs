//! What the score is trained towards, besides the noise that was added: formulas on the host, in f64.
//!
//! For x_t = x_0 + σ_t·ε with x_0 ∝ exp(−E/kT), the score of the noised distribution is the mean of −ε/σ_t over the x_0 that x_t
//! may come from, and equally the mean of F(x_0)/kT. So a network that is trained towards either learns the same score.

mod energy_label;
mod target_score;

pub use energy_label::EnergyScale;
pub use target_score::{Mixture, force_scores, mean_square};
