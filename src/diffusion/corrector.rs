//! The corrector of force-field guidance (arXiv:2510.13448, eq. 7). This is the plain version in f64 that engines are compared
//! with.
//!
//! After every predictor step x ← x + η(1−t)^ζ·p, where p is the L-BFGS direction of the predicted forces. The further the
//! reverse process has come, the more the samples move downhill on the learned forces.

use super::reverse::{clamp, remove_centre};
use crate::lbfgs::{self, Curvature};
use crate::system::vector::{scale, sub};
use crate::system::{Cell, System, Vec3};

/// The strength of the corrector, the memory of its L-BFGS and its longest step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CorrectorSettings {
    /// η, the strength at t = 0.
    pub eta: f64,
    /// ζ: how late the corrector sets in.
    pub zeta: f64,
    /// Pairs of displacements and force changes that one structure's L-BFGS remembers.
    pub history: usize,
    /// No atom moves further than this in a step, Å.
    pub max_step_angstrom: f64,
}

/// η(1−t)^ζ.
pub fn corrector_strength(settings: &CorrectorSettings, t: f64) -> f64 {
    settings.eta * (1.0 - t).powf(settings.zeta)
}

/// The state of one structure's corrector during the reverse process.
#[derive(Debug, Clone, Default)]
pub struct Corrector {
    history: Curvature,
    /// Positions (Å) and forces (eV/Å) of the previous call.
    last: Option<(Vec<Vec3>, Vec<Vec3>)>,
}

impl Corrector {
    /// Moves the free atoms at `positions` (Å) by `strength`·p, given the predicted `forces` (eV/Å) there. Then wraps and clamps
    /// them as the reverse process does.
    ///
    /// p is −H·∇E. H comes from the displacements since the previous call, each to its nearest periodic image, and the changes of
    /// the force along them; without history p is max_step·F/max‖F_i‖. It is scaled as a whole so that no atom moves further than
    /// `settings.max_step_angstrom`. A free cluster's forces lose their mean, so that its centre does not move.
    pub fn correct(
        &mut self,
        system: &System,
        settings: &CorrectorSettings,
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
        for (atom, (x, p)) in positions.iter_mut().zip(direction.as_chunks::<3>().0).enumerate() {
            let moved: Vec3 = std::array::from_fn(|d| x[d] + strength * p[d]);
            *x = if system.is_free_cluster() { moved } else { system.wrap(atom, moved) };
            x[2] = system.confinement_of(atom).map_or(x[2], |confinement| clamp(x[2], confinement));
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

/// The displacement (Å) from one place to another across the boundaries that repeat. It is exact if shorter than half of the
/// cell's perpendicular widths; steps of the reverse process are far shorter.
fn displacement(cell: &Cell, from: Vec3, to: Vec3) -> Vec3 {
    let difference = sub(to, from);
    let fraction = cell.fractional(difference);
    (0..3)
        .filter(|&k| cell.periodic[k])
        .fold(difference, |way, k| sub(way, scale(fraction[k].round(), cell.vectors[k])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Confinement;
    use crate::system::vector::norm;
    use std::f64::consts::TAU;

    const CELL: Cell =
        Cell { vectors: [[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.0, 0.0, 9.0]], periodic: [true, true, false] };
    const SETTINGS: CorrectorSettings = CorrectorSettings { eta: 0.2, zeta: 3.0, history: 10, max_step_angstrom: 0.1 };

    /// `n` free atoms above one template atom.
    fn system(n: usize, cell: Cell) -> System {
        System {
            cell,
            template_numbers: vec![78],
            template_positions: vec![[0.0; 3]],
            free_numbers: vec![78; n],
            mobile: Default::default(),
            extras: None,
            molecules: Default::default(),
            confinement: None,
        }
    }

    /// E = Σ k_d/2·(x_d − c_d)² + ¼Σ x_d⁴ + coupling between the atoms: smooth, anisotropic, one minimum.
    fn bowl(positions: &[Vec3]) -> Vec<Vec3> {
        let stiffness = [6.0, 1.5, 0.4];
        let centre = [0.3, -0.2, 0.5];
        let n = positions.len();
        (0..n)
            .map(|i| {
                let (x, next) = (positions[i], positions[(i + 1) % n]);
                std::array::from_fn(|d| {
                    -stiffness[d] * (x[d] - centre[d]) - x[d].powi(3) - 0.8 * (2.0 * x[d] - next[d])
                })
            })
            .collect()
    }

    /// L-BFGS as textbooks define it: the inverse Hessian as a matrix, H ← VᵀHV + ρssᵀ with V = 1 − ρysᵀ over the last `m` pairs,
    /// from γ·1 with γ = s·y/y·y of the newest.
    fn dense_direction(pairs: &[(Vec<f64>, Vec<f64>)], m: usize, gradient: &[f64]) -> Vec<f64> {
        let n = gradient.len();
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let recent = &pairs[pairs.len().saturating_sub(m)..];
        let (s, y) = recent.last().unwrap();
        let gamma = dot(s, y) / dot(y, y);
        let mut h: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| if i == j { gamma } else { 0.0 }).collect()).collect();
        for (s, y) in recent {
            let rho = 1.0 / dot(s, y);
            let v = |i: usize, j: usize| f64::from(u8::from(i == j)) - rho * y[i] * s[j];
            let hv: Vec<Vec<f64>> =
                (0..n).map(|i| (0..n).map(|j| (0..n).map(|k| h[i][k] * v(k, j)).sum()).collect()).collect();
            h = (0..n)
                .map(|i| (0..n).map(|j| (0..n).map(|k| v(k, i) * hv[k][j]).sum::<f64>() + rho * s[i] * s[j]).collect())
                .collect();
        }
        h.iter().map(|row| -dot(row, gradient)).collect()
    }

    /// In every step the corrector goes where the plain algorithm goes, also if its memory is shorter than the path. It arrives
    /// at the minimum.
    #[test]
    fn the_corrector_is_lbfgs() {
        for history in [2, 10] {
            let settings = CorrectorSettings { history, max_step_angstrom: 0.3, ..SETTINGS };
            let system = system(3, Cell::NONE);
            let mut positions = vec![[1.1, -0.9, 0.2], [-0.6, 0.8, 1.4], [0.9, 0.1, -1.0]];
            let mut corrector = Corrector::default();
            let (mut pairs, mut last) = (Vec::new(), None::<(Vec<f64>, Vec<f64>)>);
            for k in 0..60 {
                let forces = bowl(&positions);
                let (x, g) = (positions.concat(), forces.concat().iter().map(|f| -f).collect::<Vec<f64>>());
                if let Some((x_before, g_before)) = last {
                    let minus = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
                    pairs.push((minus(&x, &x_before), minus(&g, &g_before)));
                }
                let mut expected = match pairs.len() {
                    0 => {
                        let largest = forces.iter().map(|&f| norm(f)).fold(0.0, f64::max);
                        g.iter().map(|g| -0.3 * g / largest).collect()
                    }
                    _ => dense_direction(&pairs, history, &g),
                };
                let farthest = expected.chunks(3).map(|p| norm([p[0], p[1], p[2]])).fold(0.0, f64::max);
                expected.iter_mut().for_each(|p| *p *= (0.3 / farthest).min(1.0));

                corrector.correct(&system, &settings, 1.0, &mut positions, &forces);
                for (found, (x, p)) in positions.concat().iter().zip(x.iter().zip(&expected)) {
                    assert!((found - x - p).abs() < 1e-10, "step {k}: {} instead of {p}", found - x);
                }
                last = Some((x, g));
                if bowl(&positions).iter().all(|&f| norm(f) < 1e-6) {
                    break;
                }
            }
            let left = bowl(&positions).iter().map(|&f| norm(f)).fold(0.0, f64::max);
            assert!(left < 1e-6, "history {history}: {left} eV/Å left");
        }
    }

    /// A corrugated surface with the periodicity of the cell; the atoms drift across several boundaries.
    #[test]
    fn wraps_never_enter_the_history() {
        let forces = |positions: &[Vec3]| -> Vec<Vec3> {
            let pull = |x: &Vec3| {
                let [u, v, _] = CELL.fractional(*x);
                let (du, dv) = (0.8 * (TAU * u).sin(), 0.5 * (TAU * (u - v)).cos());
                [0.9 + du, 0.4 + dv, -0.2 * x[2]]
            };
            positions.iter().map(pull).collect()
        };
        let open = Cell { periodic: [false; 3], ..CELL };
        let mut inside = vec![[3.9, 0.3, 0.4], [0.5, 4.8, 1.0]];
        let mut outside = inside.clone();
        let (mut wrapped, mut free) = (Corrector::default(), Corrector::default());
        let mut n_wraps = 0;
        for _ in 0..120 {
            let before = inside.clone();
            // The forces are the same to the last bit, so all differences come from the corrector.
            let at = forces(&inside);
            wrapped.correct(&system(2, CELL), &SETTINGS, 1.0, &mut inside, &at);
            free.correct(&system(2, open), &SETTINGS, 1.0, &mut outside, &at);
            assert_eq!(wrapped.history.len(), free.history.len());
            for ((&x, &y), &from) in inside.iter().zip(&outside).zip(&before) {
                let apart = CELL.fractional(sub(y, x));
                assert!(
                    apart[..2].iter().all(|f| (f - f.round()).abs() < 1e-9) && (x[2] - y[2]).abs() < 1e-9,
                    "{apart:?}"
                );
                n_wraps += usize::from(norm(sub(x, from)) > 1.0);
            }
        }
        assert!(n_wraps >= 3, "{n_wraps} wraps prove little");
    }

    #[test]
    fn without_history_the_longest_force_decides() {
        let forces = [[3.0, 0.0, 4.0], [0.0, 0.5, 0.0]];
        let mut positions = vec![[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]];
        Corrector::default().correct(&system(2, Cell::NONE), &SETTINGS, 0.5, &mut positions, &forces);
        for (x, expected) in positions.iter().zip([[1.03, 1.0, 1.04], [2.0, 2.005, 2.0]]) {
            assert!(norm(sub(*x, expected)) < 1e-14, "{x:?}");
        }
    }

    /// Uphill curvature gives no pair: every step remains the longest allowed one along the force.
    #[test]
    fn concave_regions_are_left_along_the_force() {
        let mut positions = vec![[0.02, 0.0, 0.01]];
        let mut corrector = Corrector::default();
        for _ in 0..10 {
            let before = positions[0];
            let force = before;
            corrector.correct(&system(1, Cell::NONE), &SETTINGS, 1.0, &mut positions, &[force]);
            let step = sub(positions[0], before);
            assert!(norm(sub(step, scale(0.1 / norm(force), force))) < 1e-12);
        }
        assert!(corrector.history.is_empty());
    }

    #[test]
    fn steps_are_scaled_as_a_whole() {
        let mut corrector = Corrector::default();
        let mut positions = vec![[1.0, 0.0, 0.0], [0.0, 0.1, 0.0]];
        // The surface is so soft that the quasi-Newton step is far too long.
        let forces = |positions: &[Vec3]| -> Vec<Vec3> { positions.iter().map(|&x| scale(-1e-3, x)).collect() };
        for k in 0..4 {
            let before = positions.clone();
            let at = forces(&positions);
            corrector.correct(&system(2, Cell::NONE), &SETTINGS, 0.7, &mut positions, &at);
            let [a, b] = [0, 1].map(|i| norm(sub(positions[i], before[i])));
            assert!((a - 0.07).abs() < 1e-12 && (b - 0.007).abs() < 1e-9, "step {k}: {a} {b}");
        }
    }

    #[test]
    fn a_free_clusters_centre_stays() {
        let cluster = System { template_numbers: vec![], template_positions: vec![], ..system(3, Cell::NONE) };
        assert!(cluster.is_free_cluster());
        let mut positions = vec![[1.0, 0.0, 0.0], [-1.0, 0.5, 0.0], [0.0, -0.5, 0.0]];
        let start = positions.clone();
        let mut corrector = Corrector::default();
        for _ in 0..20 {
            let forces: Vec<Vec3> = bowl(&positions).iter().map(|f| [f[0] + 5.0, f[1] - 1.0, f[2] + 0.3]).collect();
            corrector.correct(&cluster, &SETTINGS, 1.0, &mut positions, &forces);
            for d in 0..3 {
                assert!(positions.iter().map(|x| x[d]).sum::<f64>().abs() < 1e-12);
            }
        }
        assert!(positions.iter().zip(&start).all(|(&x, &from)| norm(sub(x, from)) > 0.1), "they did move");
    }

    #[test]
    fn heights_stay_confined() {
        let confinement = Some(Confinement { z_lo: 1.0, z_hi: 2.0 });
        let system = System { confinement, ..system(2, CELL) };
        let mut positions = vec![[1.0, 1.0, 1.95], [2.0, 2.0, 1.05]];
        let mut corrector = Corrector::default();
        for _ in 0..3 {
            corrector.correct(&system, &SETTINGS, 1.0, &mut positions, &[[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]);
        }
        assert_eq!((positions[0][2], positions[1][2]), (2.0, 1.0));
    }

    /// Predictions of a diverged model appear in the positions, where the search looks for them. Without force nothing moves.
    #[test]
    fn forces_that_are_no_numbers_pass_through() {
        for bad in [f64::NAN, f64::INFINITY, 1e300] {
            let mut positions = vec![[1.0, 1.0, 1.0]];
            let mut corrector = Corrector::default();
            for _ in 0..3 {
                corrector.correct(&system(1, CELL), &SETTINGS, 1.0, &mut positions, &[[bad, 0.0, 1.0]]);
            }
            assert!(!positions[0][0].is_finite() || (positions[0][0] - 1.0).abs() <= 0.3 + 1e-12, "{positions:?}");
        }
        let mut positions = vec![[1.0, 1.0, 1.0]];
        Corrector::default().correct(&system(1, CELL), &SETTINGS, 1.0, &mut positions, &[[0.0; 3]]);
        assert_eq!(positions, [[1.0; 3]]);
    }

    #[test]
    fn the_corrector_sets_in_late() {
        assert_eq!(corrector_strength(&SETTINGS, 1.0), 0.0);
        assert!((corrector_strength(&SETTINGS, 0.5) - 0.025).abs() < 1e-15);
        assert_eq!(corrector_strength(&SETTINGS, 0.0), 0.2);
        assert_eq!(corrector_strength(&CorrectorSettings { zeta: 0.0, ..SETTINGS }, 1.0), 0.2);
    }
}
