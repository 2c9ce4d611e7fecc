//! The corrector of force-field guidance (arXiv:2510.13448, eq. 7), the plain reading in f64 that engines are held to.
//!
//! After every predictor step x ← x + η(1−t)^ζ·p, where p is the L-BFGS direction of the predicted forces: the longer the
//! reverse process has run, the more the samples slide downhill on the learned forces.

use super::reverse::{clamp, remove_centre};
use crate::engine::GuidanceSettings;
use crate::lbfgs::{self, History};
use crate::system::vector::{scale, sub};
use crate::system::{Cell, System, Vec3};

/// η(1−t)^ζ.
pub fn corrector_strength(settings: &GuidanceSettings, t: f64) -> f64 {
    settings.eta * (1.0 - t).powf(settings.zeta)
}

/// One structure's corrector on its way through the reverse process.
#[derive(Debug, Clone, Default)]
pub struct Corrector {
    history: History,
    /// Positions (Å) and forces (eV/Å) of the call before.
    last: Option<(Vec<Vec3>, Vec<Vec3>)>,
}

impl Corrector {
    /// Moves the free atoms at `positions` (Å) by `strength`·p, given the predicted `forces` (eV/Å) there, then wraps and
    /// clamps them as the reverse process does.
    ///
    /// p is −H·∇E with H from the displacements since the call before, each to its nearest periodic image, and the changes of
    /// the force along them; without history max_step·F/max‖F_i‖. It is scaled as a whole so that no atom's part is longer than
    /// `settings.max_step_angstrom`. A free cluster's forces lose their mean: its centre stays.
    pub fn correct(
        &mut self,
        system: &System,
        settings: &GuidanceSettings,
        strength: f64,
        positions: &mut [Vec3],
        forces: &[Vec3],
    ) {
        let mut forces = forces.to_vec();
        if system.is_free_cluster() {
            remove_centre(&mut forces);
        }
        if let Some((positions_before, forces_before)) = &self.last {
            let moved = |(&x, &before): (&Vec3, &Vec3)| displacement(&system.cell, before, x);
            let step = positions.iter().zip(positions_before).flat_map(moved).collect();
            let change = forces.iter().zip(forces_before).flat_map(|(&now, &before)| sub(before, now)).collect();
            self.history.remember(step, change, settings.history);
        }
        let direction = self.direction(&forces, settings.max_step_angstrom);
        self.last = Some((positions.to_vec(), forces));
        let confinement = system.confinement.as_ref();
        for (x, p) in positions.iter_mut().zip(direction.as_chunks::<3>().0) {
            let moved: Vec3 = std::array::from_fn(|d| x[d] + strength * p[d]);
            *x = if system.is_free_cluster() {
                moved
            } else {
                system.cell.wrap(moved, [true, true, confinement.is_none()])
            };
            x[2] = confinement.map_or(x[2], |confinement| clamp(x[2], confinement));
        }
    }

    /// p, 3 n numbers, Å.
    fn direction(&self, forces: &[Vec3], max_step: f64) -> Vec<f64> {
        let gradient: Vec<f64> = forces.iter().flat_map(|force| force.map(|f| -f)).collect();
        let mut direction = self.history.direction(&gradient).unwrap_or_else(|| {
            let farthest = lbfgs::farthest(&gradient);
            let factor = if farthest > 0.0 { max_step / farthest } else { 0.0 };
            gradient.iter().map(|g| -factor * g).collect()
        });
        lbfgs::limit(&mut direction, max_step);
        direction
    }
}

/// The way (Å) from one place to another past the boundaries that repeat. Exact for ways shorter than half of the cell's
/// perpendicular widths; steps of the reverse process are far shorter.
fn displacement(cell: &Cell, from: Vec3, to: Vec3) -> Vec3 {
    let difference = sub(to, from);
    let fraction = cell.fractional(difference);
    (0..3)
        .filter(|&k| cell.periodic[k])
        .fold(difference, |way, k| sub(way, scale(fraction[k].round(), cell.vectors[k])))
}
