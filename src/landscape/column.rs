//! The search for the best height of the atom at one point of the grid.

use crate::system::{Confinement, Vec3};

/// Precision of the heights, Å, unless small forces end the search before.
const HEIGHT_PRECISION: f64 = 1e-5;

/// The atom at one height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Å.
    pub z: f64,
    /// eV.
    pub energy: f64,
    /// Force on the atom along z, eV/Å.
    pub force: f64,
}

/// The search for the best height at one point.
#[derive(Debug)]
pub(super) struct Column {
    pub site: Vec3,
    /// The minimum is between these heights, Å.
    lo: f64,
    hi: f64,
    pub best: Option<Sample>,
    /// Another sample, near the best.
    other: Option<Sample>,
    /// Whether the best height is the end of the search.
    pub is_final: bool,
    /// The relaxed places of the mobile atoms, Å; until then they are those of the template.
    pub mobile: Option<Vec<Vec3>>,
    /// Whether that relaxation ended before the forces were small.
    pub is_unconverged: bool,
}

impl Column {
    pub fn new(site: Vec3, Confinement { z_lo, z_hi }: Confinement) -> Self {
        let (mobile, is_unconverged) = (None, false);
        Column { site, lo: z_lo, hi: z_hi, best: None, other: None, is_final: false, mobile, is_unconverged }
    }

    /// Narrows the bracket around the lowest energy with the sample at height `z`; a missing sample counts as higher than any
    /// energy.
    pub fn take(&mut self, z: f64, sample: Option<Sample>) {
        let better = sample.is_some_and(|sample| self.best.is_none_or(|best| sample.energy < best.energy));
        let bound = if better { self.best.map(|best| best.z) } else { Some(z) };
        let centre = if better { Some(z) } else { self.best.map(|best| best.z) };
        if let (Some(bound), Some(centre)) = (bound, centre) {
            if bound < centre {
                self.lo = self.lo.max(bound);
            } else {
                self.hi = self.hi.min(bound);
            }
        }
        if better {
            (self.other, self.best) = (self.best, sample);
        } else {
            // The nearer of the two samples gives a better slope.
            let apart = |sample: &Sample| self.best.map_or(0.0, |best| (sample.z - best.z).abs());
            self.other = [sample, self.other].into_iter().flatten().min_by(|a, b| apart(a).total_cmp(&apart(b)));
        }
    }

    /// The height to try next; `None` once the force is small or pushes out of the confinement, or the bracket is narrow.
    pub fn next(&self, round: usize, fmax: f64) -> Option<f64> {
        let best = self.best?;
        let end = if best.force > 0.0 { self.hi } else { self.lo };
        if best.force.abs() <= fmax || (end - best.z).abs() < HEIGHT_PRECISION {
            return None;
        }
        let halfway = 0.5 * (best.z + end);
        // The place where the force vanishes if it is linear. Halving in every third round prevents slow progress from a bad
        // guess.
        let secant = self.other.map(|other| best.z - best.force * (best.z - other.z) / (best.force - other.force));
        let within = |z: &f64| (*z - best.z) * (end - best.z) > 0.0 && (*z - best.z).abs() < (end - best.z).abs();
        Some(secant.filter(within).filter(|_| round % 3 != 2).unwrap_or(halfway))
    }
}
