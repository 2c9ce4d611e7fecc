//! The simulation cell and its periodic axes.

use super::Vec3;
use super::images::Images;
use super::vector::{combine, cross, dot, is_finite, norm, scale, sub};
use crate::error::{Error, Result};

/// Three lattice vectors as rows, Å, and which of them repeat. Vectors of axes that do not repeat may be zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Lattice vectors, one a row, Å.
    pub vectors: [Vec3; 3],
    /// Periodicity per lattice vector.
    pub periodic: [bool; 3],
}

/// Shortest period, Å, that a cell may have: no two nuclei come this close, and the number of images within a cutoff stays small.
const SHORTEST_PERIOD: f64 = 0.1;

/// Smallest volume over the product of the three lengths that still counts as a volume.
const FLATTEST: f64 = 1e-8;

impl Cell {
    /// No cell: zero vectors, nothing periodic.
    pub const NONE: Cell = Cell { vectors: [[0.0; 3]; 3], periodic: [false; 3] };

    /// Volume |a · (b × c)| in Å³; 0 where a vector is missing.
    pub fn volume(&self) -> f64 {
        let [a, b, c] = self.vectors;
        dot(a, cross(b, c)).abs()
    }

    /// The cell with each zero vector of a non-periodic axis replaced by a unit vector orthogonal to all others, so that the three
    /// vectors span space. It is right-handed if the handedness is free.
    ///
    /// # Errors
    /// `BadInput` for entries that are not finite, a periodic axis without vector, and vectors that span no volume.
    pub fn completed(&self) -> Result<Cell> {
        if !self.vectors.iter().all(|&v| is_finite(v)) {
            return Err(Error::bad_input("the cell holds a number that is not finite; give nine finite numbers in Å"));
        }
        if let Some(axis) = (0..3).find(|&k| self.periodic[k] && self.vectors[k] == [0.0; 3]) {
            return Err(Error::bad_input(format!(
                "the cell is periodic along {} but has no lattice vector there; give one or make that axis non-periodic",
                ["a", "b", "c"][axis]
            )));
        }
        let completed = Cell { vectors: self.basis(), periodic: self.periodic };
        let lengths: f64 = completed.vectors.map(norm).iter().product();
        // Written so that an overflow to infinity or NaN is refused too.
        if completed.volume() > FLATTEST * lengths && lengths.is_finite() {
            Ok(completed)
        } else {
            Err(Error::bad_input(
                "the cell has no volume: its lattice vectors lie in one plane; give three independent vectors",
            ))
        }
    }

    /// Checks that the cell can hold a structure: the checks of [`Cell::completed`], and that nothing repeats within 0.1 Å.
    ///
    /// # Errors
    /// `BadInput` as [`Cell::completed`], and for a shorter period.
    pub fn check(&self) -> Result<()> {
        self.completed()?;
        let period = Images::new(self).shortest_lattice_vector();
        if period < SHORTEST_PERIOD {
            return Err(Error::bad_input(format!(
                "the cell repeats every {period:.2e} Å, so that atoms meet their own images; give lattice vectors in Å"
            )));
        }
        Ok(())
    }

    /// Coordinates of `position` (Å) along the completed lattice vectors, so that position = Σ_k f_k · vector_k. They are not
    /// finite for a cell that [`Cell::completed`] refuses.
    pub fn fractional(&self, position: Vec3) -> Vec3 {
        combine(position, &inverse(&self.basis()))
    }

    /// The point Σ_k f_k · vector_k (Å) with fractional coordinates `fraction` along the completed lattice vectors.
    pub fn cartesian(&self, fraction: Vec3) -> Vec3 {
        combine(fraction, &self.basis())
    }

    /// `position` (Å) moved by whole lattice vectors of the chosen `axes` that are periodic, so that its fractional coordinates
    /// there lie between 0 and 1 (to rounding). A position already inside comes back bit for bit.
    pub fn wrap(&self, position: Vec3, axes: [bool; 3]) -> Vec3 {
        let fraction = self.fractional(position);
        let mut wrapped = position;
        for k in 0..3 {
            let shift = fraction[k].floor();
            if axes[k] && self.periodic[k] && shift != 0.0 {
                wrapped = sub(wrapped, scale(shift, self.vectors[k]));
            }
        }
        wrapped
    }

    /// The shortest vector, Å, among the periodic images of `displacement`: the true nearest image in skewed cells too.
    ///
    /// # Panics
    /// For a cell that [`Cell::completed`] refuses; no validated structure or system has one.
    pub fn minimum_image(&self, displacement: Vec3) -> Vec3 {
        Images::new(self).nearest(displacement).vector
    }

    /// Perpendicular widths of the completed cell, Å: the distance between the two faces that each axis connects.
    pub fn heights(&self) -> Vec3 {
        let [a, b, c] = self.basis();
        let volume = dot(a, cross(b, c)).abs();
        [volume / norm(cross(b, c)), volume / norm(cross(c, a)), volume / norm(cross(a, b))]
    }

    /// The vectors with zero ones of non-periodic axes replaced, unchecked.
    fn basis(&self) -> [Vec3; 3] {
        let mut basis = self.vectors;
        let missing: [bool; 3] = std::array::from_fn(|k| !self.periodic[k] && basis[k] == [0.0; 3]);
        match missing.iter().filter(|&&m| m).count() {
            0 => {}
            3 => basis = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            2 => {
                let present = (0..3).find(|&k| !missing[k]).unwrap_or(0);
                let along = basis[present];
                // The Cartesian axis least parallel to the present vector is never parallel to it.
                let least = (0..3).min_by(|&x, &y| along[x].abs().total_cmp(&along[y].abs())).unwrap_or(0);
                let mut helper = [0.0; 3];
                helper[least] = 1.0;
                let first = unit(cross(along, helper));
                basis[(present + 1) % 3] = first;
                basis[(present + 2) % 3] = unit(cross(along, first));
            }
            _ => {
                let absent = (0..3).find(|&k| missing[k]).unwrap_or(0);
                basis[absent] = unit(cross(basis[(absent + 1) % 3], basis[(absent + 2) % 3]));
            }
        }
        basis
    }
}

fn unit(v: Vec3) -> Vec3 {
    scale(1.0 / norm(v), v)
}

/// Inverse of the matrix with these rows; not finite for a singular one.
pub(super) fn inverse(rows: &[Vec3; 3]) -> [Vec3; 3] {
    let [a, b, c] = *rows;
    let columns = [cross(b, c), cross(c, a), cross(a, b)];
    let determinant = dot(a, columns[0]);
    std::array::from_fn(|i| std::array::from_fn(|j| columns[j][i] / determinant))
}

#[cfg(test)]
mod tests {
    use super::super::vector::add;
    use super::*;
    use proptest::prelude::*;

    fn close(u: Vec3, v: Vec3) -> bool {
        (0..3).all(|x| (u[x] - v[x]).abs() < 1e-9)
    }

    #[test]
    fn volume_and_heights_of_a_known_cell() {
        let cell = Cell { vectors: [[2.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.5, 0.5, 4.0]], periodic: [true; 3] };
        assert!((cell.volume() - 24.0).abs() < 1e-12);
        let heights = cell.heights();
        assert!((heights[2] - 4.0).abs() < 1e-12);
        assert!((heights[0] - 24.0 / norm(cross(cell.vectors[1], cell.vectors[2]))).abs() < 1e-12);
        assert_eq!(Cell::NONE.volume(), 0.0);
    }

    #[test]
    fn missing_vectors_become_orthogonal_unit_vectors() {
        for vectors in [
            [[0.0; 3]; 3],
            [[0.0; 3], [0.0, 2.0, 1.0], [0.0; 3]],
            [[3.0, 0.0, 0.0], [1.0, 2.0, 0.5], [0.0; 3]],
            [[0.0; 3], [3.0, 0.0, 0.0], [1.0, 2.0, 0.5]],
        ] {
            let periodic = vectors.map(|v| v != [0.0; 3]);
            let completed = Cell { vectors, periodic }.completed().unwrap().vectors;
            let [a, b, c] = completed;
            assert!(dot(a, cross(b, c)) > 0.0, "right-handed");
            for k in 0..3 {
                if periodic[k] {
                    assert_eq!(completed[k], vectors[k]);
                } else {
                    assert!((norm(completed[k]) - 1.0).abs() < 1e-12);
                    assert!(dot(completed[k], completed[(k + 1) % 3]).abs() < 1e-12);
                    assert!(dot(completed[k], completed[(k + 2) % 3]).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn cells_without_volume_are_refused() {
        let flat = Cell { vectors: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]], periodic: [true; 3] };
        assert!(flat.completed().unwrap_err().to_string().starts_with("the cell has no volume"));
        let missing = Cell { vectors: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0; 3]], periodic: [true; 3] };
        assert!(missing.completed().unwrap_err().to_string().contains("periodic along c but has no lattice vector"));
        let not_finite = Cell { vectors: [[f64::NAN, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0; 3]], periodic: [false; 3] };
        assert!(not_finite.completed().unwrap_err().to_string().contains("not finite"));
        let overflowing =
            Cell { vectors: [[1e200, 0.0, 0.0], [0.0, 1e200, 0.0], [0.0, 0.0, 1.0]], periodic: [true; 3] };
        assert_eq!(overflowing.completed().unwrap_err().exit_code(), 2);
        for tiny in [1e-3, 1e-9, 1e-60] {
            let cell = Cell { vectors: [[tiny, 0.0, 0.0], [0.0, tiny, 0.0], [0.0, 0.0, tiny]], periodic: [true; 3] };
            assert!(cell.check().unwrap_err().to_string().starts_with("the cell repeats every "), "{tiny}");
            Cell { periodic: [false; 3], ..cell }.check().unwrap();
        }
    }

    #[test]
    fn wrapping_leaves_other_axes_and_inner_points_alone() {
        let cell = Cell { vectors: [[4.0, 0.0, 0.0], [1.0, 4.0, 0.0], [0.0, 0.0, 9.0]], periodic: [true, true, false] };
        let inside = [2.3, 1.7, -20.0];
        assert_eq!(cell.wrap(inside, [true; 3]), inside);
        let outside = add(inside, [4.0 - 3.0, -12.0, 0.0]);
        assert!(close(cell.wrap(outside, [true; 3]), inside));
        assert!(close(cell.wrap(add(inside, cell.vectors[0]), [false, true, true]), add(inside, cell.vectors[0])));
    }

    proptest! {
        #[test]
        fn fractional_inverts_cartesian(
            rows in prop::array::uniform3(prop::array::uniform3(-5.0..5.0f64)), point in prop::array::uniform3(-9.0..9.0f64)
        ) {
            let cell = Cell { vectors: rows, periodic: [true; 3] };
            prop_assume!(cell.volume() > 1.0);
            prop_assert!(close(cell.cartesian(cell.fractional(point)), point));
        }

        #[test]
        fn minimum_image_is_the_shortest_of_many(
            rows in prop::array::uniform3(prop::array::uniform3(-5.0..5.0f64)), point in prop::array::uniform3(-9.0..9.0f64)
        ) {
            let cell = Cell { vectors: rows, periodic: [true; 3] };
            prop_assume!(cell.volume() > 8.0);
            let nearest = cell.minimum_image(point);
            let steps = cell.fractional(sub(nearest, point));
            prop_assert!(steps.iter().all(|s| (s - s.round()).abs() < 1e-9), "a lattice vector apart: {steps:?}");
            for a in -6..=6 {
                for b in -6..=6 {
                    for c in -6..=6 {
                        let other = add(nearest, cell.cartesian([f64::from(a), f64::from(b), f64::from(c)]));
                        prop_assert!(norm(nearest) <= norm(other) + 1e-9);
                    }
                }
            }
        }
    }
}
