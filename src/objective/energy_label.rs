//! What a readout of energies learns: labels that resolve low energies and do not let repulsive structures dominate.

/// The scale of the labels of a round. The label of an energy E is y = (E − E_r)/u below the reference E_r, and ln(1 + (E − E_r)/u)
/// above it: nearly linear where structures compete, logarithmic where atoms repel each other, and smooth between. The reference is
/// the lowest energy known when the model is trained. So labels begin at 0 however far the energies have fallen, and the readout
/// need not learn how far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnergyScale {
    /// E_r, eV.
    pub reference_ev: f64,
    /// u, eV.
    pub unit_ev: f64,
}

impl EnergyScale {
    /// The label of `energy_ev`.
    pub fn label(&self, energy_ev: f64) -> f64 {
        let excess = (energy_ev - self.reference_ev) / self.unit_ev;
        if excess > 0.0 { excess.ln_1p() } else { excess }
    }

    /// The energy with this label, eV.
    pub fn energy(&self, label: f64) -> f64 {
        let excess = if label > 0.0 { label.exp_m1() } else { label };
        self.reference_ev + self.unit_ev * excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_smooth_and_lead_back_to_energies() {
        let scale = EnergyScale { reference_ev: -3.0, unit_ev: 0.5 };
        for (energy, label) in [(-4.0, -2.0), (-3.0, 0.0), (-2.5, 2.0_f64.ln()), (47.0, 101.0_f64.ln())] {
            assert!((scale.label(energy) - label).abs() < 1e-15, "{energy}");
            assert!((scale.energy(label) - energy).abs() < 1e-12, "{energy}");
        }
        let slope = |energy: f64| (scale.label(energy + 1e-6) - scale.label(energy - 1e-6)) / 2e-6;
        assert!((slope(-3.0) - 2.0).abs() < 1e-5 && (slope(-5.0) - 2.0).abs() < 1e-5);
        assert!(scale.label(f64::NAN).is_nan() && scale.energy(f64::NAN).is_nan());
    }
}
