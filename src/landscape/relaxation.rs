//! The height of the atom and the places of the mobile atoms, relaxed together at a point of the grid.
//!
//! The relaxation sees another energy surface than the potential's: the atom is held at its point in the plane, so the forces on it
//! along x and y are 0, and above and below the confinement the energy is that at its end. A structure in which atoms are too close
//! has no energy there, so that the step which led to it is shortened.

use super::{ScanSettings, counts};
use crate::error::{Error, Result};
use crate::potential::relax::{Ending, RelaxSettings, relax_while};
use crate::potential::{Answer, Evaluation, Potential};
use crate::system::{Confinement, Structure, System, Vec3};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Steps after which a point is left as it is. An atom above some layers needs 10 to 40.
const MAX_STEPS: usize = 300;

/// Where a point's relaxation has led.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rest {
    /// Positions of the mobile atoms, then of the atom, Å.
    pub moving: Vec<Vec3>,
    /// Energy, eV.
    pub energy: f64,
    /// Whether forces are small there.
    pub is_converged: bool,
}

/// The surface on which points are relaxed.
struct Held<'a> {
    system: &'a System,
    potential: &'a dyn Potential,
    settings: &'a ScanSettings,
    confinement: Confinement,
    n_evaluations: AtomicUsize,
}

/// Relaxes the heights and mobile atoms of `starts`: positions of the mobile atoms, then of the atom, Å. `None` where the relaxation
/// was stopped before its end. The second number is that of the evaluations, the third what stopped it.
pub(super) fn relax_points(
    system: &System,
    potential: &dyn Potential,
    settings: &ScanSettings,
    confinement: Confinement,
    starts: &[Vec<Vec3>],
    interrupted: &dyn Fn() -> bool,
) -> Result<(Vec<Option<Rest>>, usize, Option<Error>)> {
    let held = Held { system, potential, settings, confinement, n_evaluations: AtomicUsize::new(0) };
    let structures: Vec<Structure> = starts.iter().map(|moving| system.structure(moving)).collect();
    let fmax_ev_per_angstrom = settings.fmax_ev_per_angstrom;
    let limits = RelaxSettings { fmax_ev_per_angstrom, max_steps: MAX_STEPS, ..RelaxSettings::default() };
    let (ended, stopped) = relax_while(&structures, &held, &limits, interrupted)?;
    let rests = ended.into_iter().map(|relaxed| {
        let mut moving = relaxed.structure.positions[system.n_template()..].to_vec();
        held.clamp(&mut moving);
        let is_known = relaxed.ending != Ending::Stopped && relaxed.energy.is_finite();
        is_known.then(|| Rest { moving, energy: relaxed.energy, is_converged: relaxed.converged() })
    });
    Ok((rests.collect(), held.n_evaluations.into_inner(), stopped))
}

impl Held<'_> {
    /// Moves the atom, the last of `positions`, to the end of the confinement if it is outside.
    fn clamp(&self, positions: &mut [Vec3]) {
        if let Some(atom) = positions.last_mut() {
            atom[2] = atom[2].clamp(self.confinement.z_lo, self.confinement.z_hi);
        }
    }

    /// `answer`, for a structure whose atom was asked for at height `z`, on this surface.
    fn here(&self, z: f64, answer: Answer) -> Answer {
        let Answer::Done(Evaluation { energy, mut forces }) = answer else { return answer };
        if !counts(energy, &forces, self.settings) {
            return Answer::Failed("its energy does not count".into());
        }
        if let Some(force) = forces.last_mut() {
            let leaves = z >= self.confinement.z_hi && force[2] > 0.0 || z <= self.confinement.z_lo && force[2] < 0.0;
            *force = [0.0, 0.0, if leaves { 0.0 } else { force[2] }];
        }
        Answer::Done(Evaluation { energy, forces })
    }
}

impl Potential for Held<'_> {
    fn name(&self) -> String {
        self.potential.name()
    }

    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()> {
        let n_template = self.system.n_template();
        let height = |structure: &Structure| structure.positions.last().map_or(f64::NAN, |atom| atom[2]);
        let (mut asked, mut places, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (k, structure) in structures.iter().enumerate() {
            let mut inside = structure.clone();
            self.clamp(&mut inside.positions);
            if self.system.has_room(&inside.positions[n_template..], self.settings.shortest) {
                asked.push(inside);
                places.push(k);
            } else {
                refused.push((k, Answer::Failed("atoms are too close".into())));
            }
        }
        deliver(refused)?;
        self.n_evaluations.fetch_add(asked.len(), Ordering::Relaxed);
        self.potential.evaluate(&asked, &mut |answers| {
            let here = |(k, answer): (usize, Answer)| (places[k], self.here(height(&structures[places[k]]), answer));
            deliver(answers.into_iter().map(here).collect())
        })
    }

    fn n_at_once(&self) -> Option<usize> {
        self.potential.n_at_once()
    }
}
