//! Periodic images for pair sums: the translations that can bring two atoms within a cutoff.
//!
//! Atoms are wrapped once. The difference of two wrapped atoms is reduced to fractions in [−½, ½] along the periodic axes. Then
//! only the few translations listed here must be added; if every periodic height is at least twice the cutoff, this is the zero
//! translation alone. Thin, skewed and left-handed cells simply have a longer list.

use crate::error::{Error, Result};
use crate::system::vector::{combine, dot, norm, scale, sub};
use crate::system::{Cell, Vec3, image_range};

/// More translations than this mean a cell so thin that no calculation in it makes sense.
const MAX_TRANSLATIONS: f64 = 1e6;

/// All translations by which periodicity can bring two atoms closer than a cutoff.
#[derive(Debug, Clone)]
pub(super) struct ImageList {
    /// Lattice vectors of the periodic axes, Å; zero for other axes.
    vectors: [Vec3; 3],
    /// Vectors whose product with a position is its fraction along a periodic axis, 1/Å; zero for other axes.
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
    /// Fractions along the periodic axes in [0, 1]; 0 for other axes.
    fraction: Vec3,
}

impl ImageList {
    /// The images of `cell` within `cutoff` (Å, may be infinite where nothing repeats).
    ///
    /// # Errors
    /// `BadInput` when the periodic lattice vectors are not finite and independent, or far thinner than the cutoff.
    pub fn new(cell: &Cell, cutoff: f64) -> Result<Self> {
        let (vectors, duals) = repeating(cell)?;
        // A difference d with |d| < cutoff has |fraction| < cutoff·|dual|, so a reduced one is at most ½ more away.
        let reach: Vec3 = std::array::from_fn(|axis| match cell.periodic[axis] {
            true => cutoff * norm(duals[axis]) + 0.5,
            false => 0.0,
        });
        let n_translations: f64 = reach.iter().map(|reach| 2.0 * reach.floor() + 1.0).product();
        if n_translations > MAX_TRANSLATIONS {
            return Err(Error::bad_input(format!(
                "the cell is too thin for a cutoff of {cutoff} Å; give a larger cell or make the thin axis non-periodic"
            )));
        }
        let mut translations = vec![[0.0; 3]];
        let mut self_distances = Vec::new();
        let farthest_reduced = half_diagonal(&vectors);
        for a in image_range(0.0, reach[0]) {
            for b in image_range(0.0, reach[1]) {
                for c in image_range(0.0, reach[2]) {
                    if [a, b, c] == [0; 3] {
                        continue;
                    }
                    let translation = combine([a, b, c].map(f64::from), &vectors);
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
        Wrapped { position: sub(position, combine(whole, &self.vectors)), fraction: sub(fraction, whole) }
    }

    /// The difference `to − from` (Å) with its fractions reduced to [−½, ½].
    #[inline]
    pub fn reduced(&self, from: &Wrapped, to: &Wrapped) -> Vec3 {
        let fraction = sub(to.fraction, from.fraction);
        let shift = fraction.map(|f| f64::from(u8::from(f < -0.5)) - f64::from(u8::from(f > 0.5)));
        let shifted = combine(shift, &self.vectors);
        std::array::from_fn(|x| to.position[x] - from.position[x] + shifted[x])
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

/// The cell with the lattice vectors of axes without period set to zero, since they may hold anything.
pub(super) fn repeating_part(cell: &Cell) -> Cell {
    let vectors = std::array::from_fn(|axis| if cell.periodic[axis] { cell.vectors[axis] } else { [0.0; 3] });
    Cell { vectors, ..*cell }
}

/// Lattice vectors and duals of the periodic axes, zero for other axes.
fn repeating(cell: &Cell) -> Result<([Vec3; 3], [Vec3; 3])> {
    let keep =
        |vectors: [Vec3; 3]| std::array::from_fn(|axis| scale(f64::from(u8::from(cell.periodic[axis])), vectors[axis]));
    // Without the vectors that do not repeat, the completed cell is at right angles to the periodic axes there. This gives the
    // tightest bounds on the fractions.
    let completed = repeating_part(cell).completed()?;
    let [x, y, z] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].map(|axis| completed.fractional(axis));
    let duals = std::array::from_fn(|k| [x[k], y[k], z[k]]);
    Ok((keep(completed.vectors), keep(duals)))
}

/// Longest vector whose fractions are all within [−½, ½], Å.
fn half_diagonal(vectors: &[Vec3; 3]) -> f64 {
    [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]
        .map(|corner| norm(combine(corner, vectors)))
        .into_iter()
        .fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::PairSearch;
    use crate::system::vector::add;

    /// Distances below `cutoff`, ascending, from the enumeration that the radius graph uses.
    fn expected(cell: &Cell, from: Vec3, to: Vec3, cutoff: f64) -> Vec<f64> {
        let mut found = Vec::new();
        PairSearch::new(cell, cutoff).for_each_pair(from, to, |_, _, distance| found.push(distance));
        found.sort_by(f64::total_cmp);
        found
    }

    fn listed(cell: &Cell, from: Vec3, to: Vec3, cutoff: f64) -> Vec<f64> {
        let images = ImageList::new(cell, cutoff).unwrap();
        let reduced = images.reduced(&images.wrap(from), &images.wrap(to));
        let distances = images.translations().iter().map(|&translation| norm(add(reduced, translation)));
        let mut found: Vec<f64> = distances.filter(|&d| d > 0.0 && d < cutoff).collect();
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
                let mut compare = |found: &[f64], expected: &[f64]| {
                    assert_eq!(found.len(), expected.len(), "{cell:?}");
                    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {expected:?}");
                    total += found.len();
                };
                for (from, to) in [(points[0], points[1]), (points[1], points[2]), (points[2], points[0])] {
                    compare(&listed(&cell, from, to, 5.0), &expected(&cell, from, to, 5.0));
                }
                let mut own = ImageList::new(&cell, 5.0).unwrap().self_distances().to_vec();
                own.sort_by(f64::total_cmp);
                compare(&own, &expected(&cell, points[0], points[0], 5.0));
            }
        }
        assert!(total > 200, "the test compared only {total} distances");
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
        let wafer = [[1e-9, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 5.0]];
        for (vectors, sentence) in [
            (flat.vectors, "the cell has no volume"),
            ([[0.0; 3]; 3], "the cell is periodic along a but has no lattice vector there"),
            ([[f64::NAN; 3]; 3], "the cell holds a number that is not finite"),
            (wafer, "the cell is too thin for a cutoff of 5 Å; give a larger cell"),
        ] {
            let error = ImageList::new(&Cell { vectors, ..flat }, 5.0).unwrap_err();
            assert!(error.to_string().starts_with(sentence), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
        // The vectors of axes that do not repeat do not matter.
        let lying =
            Cell { vectors: [[3.0, 0.0, 0.0], [6.0, 0.0, 0.0], [0.0, 0.0, 5.0]], periodic: [true, false, false] };
        assert_eq!(ImageList::new(&lying, 5.0).unwrap().self_distances(), [3.0, 3.0]);
    }
}
