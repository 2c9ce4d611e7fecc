//! `[guidance]`: a force head trained with the score, and a corrector along its forces.

use super::keys::{Keys, LARGEST_COUNT};
use crate::engine::GuidanceSettings;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// `[guidance]`: force-field guidance (arXiv:2510.13448, eq. 7).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuidanceSection {
    /// η, the corrector's strength at t = 0.
    pub eta: f64,
    /// ζ: how late the corrector sets in.
    pub zeta: f64,
    /// Pairs of displacements and force changes that one structure's L-BFGS remembers.
    pub history: usize,
    /// No atom moves further in one step of the corrector, Å.
    pub max_step_angstrom: f64,
    /// λ, the weight of the force loss relative to the score loss.
    pub force_weight: f64,
    /// Huber's δ, eV/Å: residuals above it count linearly.
    pub huber_delta_ev_per_angstrom: f64,
    /// Longer target forces are scaled down to this, eV/Å.
    pub max_force_ev_per_angstrom: f64,
    /// λ_E, the weight of the energies relative to the forces that the force head learns; 0: it learns no energies.
    #[serde(skip_serializing_if = "is_zero")]
    pub energy_weight: f64,
    /// Energies this far above the lowest known one, eV, are learned about as they are; higher ones by their logarithm.
    #[serde(skip_serializing_if = "is_one")]
    pub energy_unit_ev: f64,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

impl Default for GuidanceSection {
    fn default() -> Self {
        let GuidanceSettings {
            eta,
            zeta,
            history,
            max_step_angstrom,
            force_weight,
            huber_delta_ev_per_angstrom,
            energy_weight,
        } = GuidanceSettings::default();
        GuidanceSection {
            eta,
            zeta,
            history,
            max_step_angstrom,
            force_weight,
            huber_delta_ev_per_angstrom,
            max_force_ev_per_angstrom: 10.0,
            energy_weight,
            energy_unit_ev: 1.0,
        }
    }
}

impl GuidanceSection {
    /// The part that the engine uses.
    pub fn settings(&self) -> GuidanceSettings {
        let GuidanceSection {
            eta,
            zeta,
            history,
            max_step_angstrom,
            force_weight,
            huber_delta_ev_per_angstrom,
            energy_weight,
            ..
        } = *self;
        GuidanceSettings {
            eta,
            zeta,
            history,
            max_step_angstrom,
            force_weight,
            huber_delta_ev_per_angstrom,
            energy_weight,
        }
    }

    pub(super) fn check(&self, keys: Keys) -> Result<()> {
        keys.not_negative("eta", self.eta)?;
        keys.not_negative("zeta", self.zeta)?;
        keys.count("history", self.history, LARGEST_COUNT)?;
        keys.positive("max_step_angstrom", self.max_step_angstrom)?;
        keys.positive("force_weight", self.force_weight)?;
        keys.positive("huber_delta_ev_per_angstrom", self.huber_delta_ev_per_angstrom)?;
        keys.positive("max_force_ev_per_angstrom", self.max_force_ev_per_angstrom)?;
        keys.not_negative("energy_weight", self.energy_weight)?;
        keys.positive("energy_unit_ev", self.energy_unit_ev)
    }
}
