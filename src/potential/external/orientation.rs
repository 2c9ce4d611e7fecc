//! The protocol's form of a cell, and the way to it and back.
//!
//! i-PI needs the first lattice vector along x, the second in the xy plane and the third above it. An orthogonal matrix brings
//! any cell into this form; for left-handed cells it is a reflection. Energies do not change by it, and forces turn with it.

use crate::error::Result;
use crate::system::vector::{combine, dot, norm, scale, sub};
use crate::system::{Cell, Vec3};

/// Axes of the protocol's frame as rows, seen from the structure's own: a point r has the coordinates r · axis there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Orientation {
    axes: [Vec3; 3],
}

impl Orientation {
    /// Changes nothing.
    pub const IDENTITY: Orientation = Orientation { axes: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]] };

    /// The orientation in which `vectors` (rows, Å) have the protocol's form: Gram–Schmidt on the lattice vectors. A cell that
    /// already has this form does not change, to the last bit.
    pub fn of(vectors: &[Vec3; 3]) -> Self {
        let mut axes = [[0.0; 3]; 3];
        for k in 0..3 {
            let rest = axes[..k].iter().fold(vectors[k], |rest, &axis| sub(rest, scale(dot(rest, axis), axis)));
            let length = norm(rest);
            axes[k] = rest.map(|x| x / length);
        }
        Orientation { axes }
    }

    /// A vector of the structure's frame in the protocol's.
    pub fn there(&self, vector: Vec3) -> Vec3 {
        self.axes.map(|axis| dot(vector, axis))
    }

    /// A vector of the protocol's frame in the structure's.
    pub fn back(&self, vector: Vec3) -> Vec3 {
        combine(vector, &self.axes)
    }

    /// Lattice vectors (rows, Å) in the protocol's frame, with exact zeros above the diagonal.
    pub fn cell(&self, vectors: &[Vec3; 3]) -> [Vec3; 3] {
        let mut rows = vectors.map(|vector| self.there(vector));
        (rows[0][1], rows[0][2], rows[1][2]) = (0.0, 0.0, 0.0);
        rows
    }
}

/// The inverse of a lower triangular matrix of rows, such as [`Orientation::cell`] gives.
pub fn triangular_inverse(rows: &[Vec3; 3]) -> [Vec3; 3] {
    let [[a, _, _], [b, c, _], [d, e, f]] = *rows;
    [[1.0 / a, 0.0, 0.0], [-b / (a * c), 1.0 / c, 0.0], [(b * e / c - d) / (a * f), -e / (c * f), 1.0 / f]]
}

/// `cell` with a vector for every axis, as clients need it. Missing vectors are orthogonal to the rest and `box_angstrom` long.
///
/// # Errors
/// `BadInput` as [`Cell::completed`].
pub fn boxed(cell: &Cell, box_angstrom: f64) -> Result<[Vec3; 3]> {
    let mut vectors = cell.completed()?.vectors;
    for (vector, given) in vectors.iter_mut().zip(cell.vectors) {
        if given == [0.0; 3] {
            *vector = scale(box_angstrom, *vector);
        }
    }
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Vec3, b: Vec3) -> bool {
        norm(sub(a, b)) < 1e-12 * (1.0 + norm(a))
    }

    const SKEWED: [Vec3; 3] = [[1.0, 2.0, 2.5], [-3.0, 4.0, 0.3], [0.5, -0.2, 7.0]];

    #[test]
    fn cells_come_into_the_protocols_form() {
        let left_handed = [SKEWED[1], SKEWED[0], SKEWED[2]];
        for vectors in [SKEWED, left_handed] {
            let orientation = Orientation::of(&vectors);
            let rows = orientation.cell(&vectors);
            assert!(rows[0][0] > 0.0 && rows[1][1] > 0.0 && rows[2][2] > 0.0, "{rows:?}");
            assert_eq!((rows[0][1], rows[0][2], rows[1][2]), (0.0, 0.0, 0.0));
            for k in 0..3 {
                assert!(close(orientation.there(vectors[k]), rows[k]));
                let unit: Vec3 = std::array::from_fn(|x| if x == k { 1.0 } else { 0.0 });
                assert!(close(combine(rows[k], &triangular_inverse(&rows)), unit));
                for l in 0..3 {
                    let (before, after) = (dot(vectors[k], vectors[l]), dot(rows[k], rows[l]));
                    assert!((before - after).abs() < 1e-12 * before.abs().max(1.0));
                }
            }
        }
    }

    #[test]
    fn there_and_back() {
        let orientation = Orientation::of(&SKEWED);
        let vector = [0.3, -4.0, 11.0];
        assert!(close(orientation.back(orientation.there(vector)), vector));
        assert!(!close(orientation.there(vector), vector), "the example must turn");
    }

    #[test]
    fn a_cell_in_form_is_left_alone() {
        let hexagonal = [[5.543 * 3.0, 0.0, 0.0], [2.7718585822512665, 4.800999895854, 0.0], [0.1, 0.7, 20.3]];
        let orientation = Orientation::of(&hexagonal);
        assert_eq!(orientation, Orientation::IDENTITY);
        assert_eq!(orientation.cell(&hexagonal), hexagonal);
    }

    #[test]
    fn missing_vectors_become_a_box() {
        assert_eq!(boxed(&Cell::NONE, 30.0).unwrap().map(norm), [30.0; 3]);
        let slab = Cell { vectors: [[4.0, 0.0, 0.0], [1.0, 4.0, 0.0], [0.0; 3]], periodic: [true, true, false] };
        assert_eq!(boxed(&slab, 30.0).unwrap(), [[4.0, 0.0, 0.0], [1.0, 4.0, 0.0], [0.0, 0.0, 30.0]]);
        let flat = Cell { vectors: [[1.0, 0.0, 0.0]; 3], periodic: [true; 3] };
        assert_eq!(boxed(&flat, 30.0).unwrap_err().exit_code(), 2);
    }
}
