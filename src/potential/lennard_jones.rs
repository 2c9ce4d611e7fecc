//! The Lennard-Jones pair potential 4ε((σ/r)¹² − (σ/r)⁶), the same for all elements, shifted to 0 at the cutoff.

use super::batch::evaluate_in_chunks;
use super::image_list::{ImageList, Wrapped};
use super::kind::{Form, Kind, Parameter, check_positive};
use super::{Answer, Evaluation, Potential};
use crate::error::{Error, Result};
use crate::gpu::Place;
use crate::system::vector::{add, dot, is_finite, scale, sub};
use crate::system::{Structure, System, Vec3};
use serde::{Deserialize, Serialize};

/// Parameters of the Lennard-Jones potential; by default ε = σ = 1 without a cutoff.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LennardJonesSettings {
    /// Depth of the well ε, eV.
    pub epsilon_ev: f64,
    /// Distance σ at which the energy crosses 0, Å.
    pub sigma_angstrom: f64,
    /// Distance beyond which atoms do not interact, Å. `None`: all pairs interact, which needs a system without periodicity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutoff_angstrom: Option<f64>,
}

impl Default for LennardJonesSettings {
    fn default() -> Self {
        LennardJonesSettings { epsilon_ev: 1.0, sigma_angstrom: 1.0, cutoff_angstrom: None }
    }
}

impl Kind for LennardJonesSettings {
    const NAME: &'static str = "lennard-jones";
    const FORM: Option<Form> = Some(Form {
        examples: &["lennard-jones:epsilon=E,sigma=S,cutoff=C (eV and Å)"],
        parameters: &[
            Parameter::Number { name: "epsilon", key: "epsilon_ev" },
            Parameter::Number { name: "sigma", key: "sigma_angstrom" },
            Parameter::Number { name: "cutoff", key: "cutoff_angstrom" },
        ],
    });

    fn check(&self) -> Result<()> {
        let of = |key: &str| format!("{key} of the Lennard-Jones potential");
        check_positive(&of("epsilon_ev"), self.epsilon_ev, "eV")?;
        check_positive(&of("sigma_angstrom"), self.sigma_angstrom, "Å")?;
        check_positive(&of("cutoff_angstrom"), self.cutoff_angstrom, "Å")
    }

    fn describe(&self) -> String {
        "Lennard-Jones".into()
    }

    fn open(&self, system: Option<&System>, _place: &Place) -> Result<Box<dyn Potential>> {
        let potential = LennardJones::new(*self)?;
        let periodic = system.is_some_and(|system| system.cell.periodic.contains(&true));
        if periodic && self.cutoff_angstrom.is_none() {
            return Err(needs_cutoff());
        }
        Ok(Box::new(potential))
    }
}

/// The Lennard-Jones potential; every element counts the same.
#[derive(Debug, Clone)]
pub struct LennardJones {
    settings: LennardJonesSettings,
    /// Unshifted energy at the cutoff, eV; 0 without one.
    energy_at_cutoff: f64,
}

impl LennardJones {
    /// The potential with these parameters.
    ///
    /// # Errors
    /// `BadInput` for a parameter that is not a positive number.
    pub fn new(settings: LennardJonesSettings) -> Result<Self> {
        settings.check()?;
        let mut potential = LennardJones { settings, energy_at_cutoff: 0.0 };
        if let Some(cutoff) = settings.cutoff_angstrom {
            (potential.energy_at_cutoff, _) = potential.pair(cutoff * cutoff);
        }
        Ok(potential)
    }

    /// Energy and forces of one structure. If two atoms share one place, the energy is infinite and the forces are not numbers.
    /// If a position is not finite, energy and forces are not numbers.
    ///
    /// # Errors
    /// `BadInput` for a periodic structure when there is no cutoff, and for a cell without volume or much thinner than it.
    pub fn energy_and_forces(&self, structure: &Structure) -> Result<Evaluation> {
        let n = structure.positions.len();
        if structure.cell.periodic.contains(&true) && self.settings.cutoff_angstrom.is_none() {
            return Err(needs_cutoff());
        }
        let cutoff = self.settings.cutoff_angstrom.unwrap_or(f64::INFINITY);
        let images = ImageList::new(&structure.cell, cutoff)?;
        if !structure.positions.iter().all(|&position| is_finite(position)) {
            return Ok(Evaluation { energy: f64::NAN, forces: vec![[f64::NAN; 3]; n] });
        }
        let wrapped: Vec<Wrapped> = structure.positions.iter().map(|&position| images.wrap(position)).collect();
        let mut energy = 0.0;
        let mut forces: Vec<Vec3> = vec![[0.0; 3]; n];
        for i in 0..n {
            for r in images.self_distances() {
                energy += 0.5 * self.pair(r * r).0;
            }
            for j in 0..i {
                let reduced = images.reduced(&wrapped[i], &wrapped[j]);
                for &translation in images.translations() {
                    let difference = add(reduced, translation);
                    let r_squared = dot(difference, difference);
                    if r_squared >= cutoff * cutoff {
                        continue;
                    }
                    let (pair_energy, slope_over_r) = self.pair(r_squared);
                    energy += pair_energy;
                    let pull = scale(slope_over_r, difference);
                    forces[i] = add(forces[i], pull);
                    forces[j] = sub(forces[j], pull);
                }
            }
        }
        Ok(Evaluation { energy, forces })
    }

    /// Energy (eV) of a pair at the squared distance `r_squared` (Å²), and its slope by r over r (eV/Å²).
    fn pair(&self, r_squared: f64) -> (f64, f64) {
        let LennardJonesSettings { epsilon_ev, sigma_angstrom, .. } = self.settings;
        let sixth = (sigma_angstrom * sigma_angstrom / r_squared).powi(3);
        let energy = 4.0 * epsilon_ev * sixth * (sixth - 1.0);
        let slope_over_r = -24.0 * epsilon_ev * sixth * (2.0 * sixth - 1.0) / r_squared;
        (energy - self.energy_at_cutoff, slope_over_r)
    }
}

/// The sentence for a periodic system without cutoff.
fn needs_cutoff() -> Error {
    Error::bad_input(
        "the Lennard-Jones potential has no cutoff but the system is periodic; give cutoff_angstrom in the configuration \
         (cutoff=… on the command line), or a system without periodic axes",
    )
}

impl Potential for LennardJones {
    fn name(&self) -> String {
        "lennard-jones".into()
    }

    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()> {
        evaluate_in_chunks(structures, deliver, |structure, (): &mut ()| {
            self.energy_and_forces(structure).map(Answer::Done)
        })
    }
}
