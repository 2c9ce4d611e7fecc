//! Losses of given structures, and what they are computed from.

use super::{FreePositions, Weighting};
use crate::system::Vec3;

/// Noisy structures with everything that determines the loss: the diagnostic verb's input.
#[derive(Debug, Clone, PartialEq)]
pub struct NoisyBatch {
    /// Noisy free positions, B × n × 3, Å.
    pub positions: Vec<FreePositions>,
    /// Diffusion times, B.
    pub times: Vec<f64>,
    /// Noise over σ_t, or −σ_t·s* of another target s*, B × n × 3.
    pub noise: Vec<Vec<Vec3>>,
    /// Boltzmann weights, B.
    pub weights: Vec<f64>,
}

/// Loss of a diagnostic batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Loss {
    /// The score loss with this weighting.
    Score(Weighting),
    /// Mean square over free atoms and components of predicted minus these target forces, B × n × 3, eV/Å.
    Force(Vec<Vec<Vec3>>),
    /// Mean of Huber's function over structures, free atoms and components of predicted minus target forces (eV/Å): ½r² up to
    /// |r| = δ, δ(|r| − ½δ) above. Training uses it, on clean positions.
    Huber {
        /// Target forces on the free atoms, B × n × 3, eV/Å.
        target: Vec<Vec<Vec3>>,
        /// δ, eV/Å.
        delta: f64,
    },
    /// [`Loss::Huber`] plus `weight` times the mean over structures of Huber's function, with [`LABEL_DELTA`], of the readout minus
    /// its labels. Training uses it where the force head learns energies too.
    Readout {
        /// Target forces on the free atoms, B × n × 3, eV/Å.
        target: Vec<Vec<Vec3>>,
        /// δ of the forces, eV/Å.
        delta: f64,
        /// Labels, B.
        labels: Vec<f64>,
        /// λ_E.
        weight: f64,
    },
}

/// Huber's δ of the readout: labels have no unit.
pub const LABEL_DELTA: f64 = 0.1;

impl Loss {
    /// The target forces, B × n × 3, if the loss compares forces.
    pub fn target_forces(&self) -> Option<&[Vec<Vec3>]> {
        match self {
            Loss::Score(_) => None,
            Loss::Force(target) | Loss::Huber { target, .. } | Loss::Readout { target, .. } => Some(target),
        }
    }
}

/// A loss, and its gradient in the order of [`crate::model::Layout`].
#[derive(Debug, Clone, PartialEq)]
pub struct LossAndGradient {
    /// Value of the loss.
    pub loss: f64,
    /// d loss / d parameters.
    pub gradient: Vec<f64>,
}
