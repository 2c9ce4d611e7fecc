//! Periodic images for pair sums: the translations that can bring two atoms within a cutoff.
//!
//! Atoms are wrapped once. The difference of two wrapped atoms, reduced to fractions in [−½, ½] along the periodic axes,
//! needs only the few translations listed here on top of it; where every periodic height is at least twice the cutoff
//! that is the zero translation alone. Thin, skewed and left-handed cells simply have a longer list.

use crate::error::{Error, Result};
use crate::system::{Cell, Vec3};

/// More translations than this mean a cell so thin that nothing sensible can be computed in it.
const MAX_TRANSLATIONS: f64 = 1e6;

/// Every way in which periodicity can bring two atoms closer than a cutoff.
#[derive(Debug, Clone)]
pub(super) struct ImageList {
    /// Lattice vectors of the periodic axes, Å; zero for the others.
    vectors: [Vec3; 3],
    /// Dual vectors within the span of the periodic axes, 1/Å; zero for the others.
    duals: [Vec3; 3],
    /// Translations to add to a reduced difference, Å; the zero translation comes first.
    translations: Vec<Vec3>,
    /// Distances below the cutoff from an atom to its own images, Å; both signs of a translation counted.
    self_distances: Vec<f64>,
}

/// An atom moved into the cell along the periodic axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wrapped {
    /// Position, Å.
    pub position: Vec3,
    /// Fractions along the periodic axes in [0, 1]; 0 for the others.
    fraction: Vec3,
}

impl ImageList {
    /// The images of `cell` within `cutoff` (Å, may be infinite where nothing repeats).
    ///
    /// # Errors
    /// `BadInput` when the periodic lattice vectors are not finite and independent, or far thinner than the cutoff.
    pub fn new(cell: &Cell, cutoff: f64) -> Result<Self> {
        let mut vectors = [[0.0; 3]; 3];
        for axis in (0..3).filter(|&a| cell.periodic[a]) {
            vectors[axis] = cell.vectors[axis];
        }
        let duals = duals(&vectors, cell.periodic).ok_or_else(|| {
            Error::bad_input(
                "the periodic lattice vectors lie in one plane or line and enclose no volume; \
                 give independent vectors or switch the periodicity of an axis off",
            )
        })?;
        // A difference d with |d| < cutoff has |fraction| < cutoff·|dual|, so a reduced one is at most ½ more away.
        let reach = duals.map(|dual| {
            let n = cutoff * norm(dual) + 0.5;
            if dual == [0.0; 3] { 0.0 } else { n.floor() }
        });
        if reach.iter().map(|n| 2.0 * n + 1.0).product::<f64>() > MAX_TRANSLATIONS {
            return Err(Error::bad_input(format!(
                "the cell is too thin for a cutoff of {cutoff} Å; give a larger cell or switch the periodicity of an axis off"
            )));
        }
        let reach = reach.map(|n| n as i32);

        let mut translations = vec![[0.0; 3]];
        let mut self_distances = Vec::new();
        let farthest_reduced = half_diagonal(&vectors);
        for n0 in -reach[0]..=reach[0] {
            for n1 in -reach[1]..=reach[1] {
                for n2 in -reach[2]..=reach[2] {
                    if (n0, n1, n2) == (0, 0, 0) {
                        continue;
                    }
                    let translation = combine(&vectors, [n0, n1, n2].map(f64::from));
                    let length = norm(translation);
                    if length < cutoff + farthest_reduced {
                        translations.push(translation);
                    }
                    if length < cutoff {
                        self_distances.push(length);
                    }
                }
            }
        }
        Ok(ImageList { vectors, duals, translations, self_distances })
    }

    /// `position` (Å) moved into the cell along the periodic axes.
    pub fn wrap(&self, position: Vec3) -> Wrapped {
        let fraction = self.duals.map(|dual| dot(dual, position));
        let whole = fraction.map(f64::floor);
        Wrapped {
            position: subtract(position, combine(&self.vectors, whole)),
            fraction: [fraction[0] - whole[0], fraction[1] - whole[1], fraction[2] - whole[2]],
        }
    }

    /// The difference `to − from` (Å) with its fractions reduced to [−½, ½].
    #[inline]
    pub fn reduced(&self, from: &Wrapped, to: &Wrapped) -> Vec3 {
        let mut difference = subtract(to.position, from.position);
        for axis in 0..3 {
            let fraction = to.fraction[axis] - from.fraction[axis];
            let shift = f64::from(u8::from(fraction < -0.5)) - f64::from(u8::from(fraction > 0.5));
            for x in 0..3 {
                difference[x] += shift * self.vectors[axis][x];
            }
        }
        difference
    }

    /// Translations (Å) to add to a reduced difference; all images within the cutoff are among the sums.
    #[inline]
    pub fn translations(&self) -> &[Vec3] {
        &self.translations
    }

    /// Distances (Å) below the cutoff from an atom to its own images, one for each image.
    pub fn self_distances(&self) -> &[f64] {
        &self.self_distances
    }
}

/// Dual vectors of the periodic axes within their own span; `None` when they are not independent.
fn duals(vectors: &[Vec3; 3], periodic: [bool; 3]) -> Option<[Vec3; 3]> {
    let mut basis = *vectors;
    // Unit vectors at right angles to everything periodic stand in for the axes that do not repeat.
    let repeating: Vec<usize> = (0..3).filter(|&a| periodic[a]).collect();
    match repeating[..] {
        [] => return Some([[0.0; 3]; 3]),
        [a] => {
            let smallest = (0..3).min_by(|&x, &y| vectors[a][x].abs().total_cmp(&vectors[a][y].abs()))?;
            let mut helper = [0.0; 3];
            helper[smallest] = 1.0;
            basis[(a + 1) % 3] = unit(cross(vectors[a], helper));
            basis[(a + 2) % 3] = unit(cross(vectors[a], basis[(a + 1) % 3]));
        }
        [a, b] => basis[3 - a - b] = unit(cross(vectors[a], vectors[b])),
        _ => {}
    }
    let volume = dot(basis[0], cross(basis[1], basis[2]));
    let scale: f64 = basis.iter().map(|&v| norm(v)).product();
    if !(volume.is_finite() && scale.is_finite() && volume.abs() > 1e-10 * scale) {
        return None;
    }
    let mut duals = [[0.0; 3]; 3];
    for axis in repeating {
        duals[axis] = cross(basis[(axis + 1) % 3], basis[(axis + 2) % 3]).map(|x| x / volume);
    }
    Some(duals)
}

/// Longest vector whose fractions are all within [−½, ½], Å.
fn half_diagonal(vectors: &[Vec3; 3]) -> f64 {
    [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]
        .map(|corner| norm(combine(vectors, corner)))
        .into_iter()
        .fold(0.0, f64::max)
}

fn combine(vectors: &[Vec3; 3], n: Vec3) -> Vec3 {
    [0, 1, 2].map(|x| n[0] * vectors[0][x] + n[1] * vectors[1][x] + n[2] * vectors[2][x])
}

fn subtract(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn unit(a: Vec3) -> Vec3 {
    let length = norm(a);
    a.map(|x| x / length)
}

fn cross(a: Vec3, b: Vec3) -> Vec3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Scalar product.
pub(super) fn dot(a: Vec3, b: Vec3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Euclidean length.
pub(super) fn norm(a: Vec3) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distances below `cutoff` by brute force over a generous block of images.
    fn brute(cell: &Cell, from: Vec3, to: Vec3, cutoff: f64) -> Vec<f64> {
        let n = |axis: usize| if cell.periodic[axis] { 12 } else { 0 };
        let mut found = Vec::new();
        for n0 in -n(0)..=n(0) {
            for n1 in -n(1)..=n(1) {
                for n2 in -n(2)..=n(2) {
                    let shift = combine(&cell.vectors, [n0, n1, n2].map(f64::from));
                    let distance = norm(subtract(subtract(to, shift), from));
                    if distance < cutoff {
                        found.push(distance);
                    }
                }
            }
        }
        found.sort_by(f64::total_cmp);
        found
    }

    fn listed(cell: &Cell, from: Vec3, to: Vec3, cutoff: f64) -> Vec<f64> {
        let images = ImageList::new(cell, cutoff).unwrap();
        let reduced = images.reduced(&images.wrap(from), &images.wrap(to));
        let distances =
            images.translations().iter().map(|t| norm([reduced[0] + t[0], reduced[1] + t[1], reduced[2] + t[2]]));
        let mut found: Vec<f64> = distances.filter(|&d| d < cutoff).collect();
        found.sort_by(f64::total_cmp);
        found
    }

    #[test]
    fn all_images_of_thin_skewed_and_mixed_cells() {
        let skewed = [[3.1, 0.2, 0.0], [2.9, 3.0, 0.1], [-0.4, 1.3, 4.0]];
        let left_handed = [skewed[1], skewed[0], skewed[2]];
        let points = [[0.1, 0.2, 0.3], [-7.3, 2.9, 5.1], [1.5, 11.0, -3.3]];
        let mut total = 0;
        for vectors in [skewed, left_handed, [[30.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]] {
            for mask in 0..8 {
                let periodic = [mask & 1 != 0, mask & 2 != 0, mask & 4 != 0 && vectors[2] != [0.0; 3]];
                let cell = Cell { vectors, periodic };
                for (from, to) in [(points[0], points[1]), (points[1], points[2]), (points[2], points[0])] {
                    let (expected, found) = (brute(&cell, from, to, 5.0), listed(&cell, from, to, 5.0));
                    assert_eq!(found.len(), expected.len(), "{cell:?}");
                    for (a, b) in found.iter().zip(&expected) {
                        assert!((a - b).abs() < 1e-12, "{a} {b}");
                    }
                    total += found.len();
                }
            }
        }
        assert!(total > 100, "the test compared only {total} pairs");
    }

    #[test]
    fn a_wide_cell_needs_one_translation() {
        let cell =
            Cell { vectors: [[12.0, 0.0, 0.0], [6.0, 12.0, 0.0], [0.0, 0.0, 1.0]], periodic: [true, true, false] };
        assert_eq!(ImageList::new(&cell, 5.0).unwrap().translations(), [[0.0; 3]]);
        assert!(ImageList::new(&cell, 5.0).unwrap().self_distances().is_empty());
    }

    #[test]
    fn unusable_cells_are_refused() {
        let flat = Cell { vectors: [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 5.0]], periodic: [true; 3] };
        for vectors in [flat.vectors, [[0.0; 3]; 3], [[f64::NAN; 3]; 3]] {
            let error = ImageList::new(&Cell { vectors, ..flat }, 5.0).unwrap_err();
            assert!(error.to_string().starts_with("the periodic lattice vectors lie in one plane or line"), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
        let wafer = Cell { vectors: [[1e-9, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 5.0]], periodic: [true; 3] };
        let error = ImageList::new(&wafer, 5.0).unwrap_err();
        assert!(error.to_string().starts_with("the cell is too thin for a cutoff of 5 Å"), "{error}");
    }
}
