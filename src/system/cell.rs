//! The simulation cell and its periodic axes.

use super::Vec3;

/// Three lattice vectors as rows, Å, and which of them repeat. Vectors of axes that do not repeat may be zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Lattice vectors, one a row, Å.
    pub vectors: [Vec3; 3],
    /// Periodicity per lattice vector.
    pub periodic: [bool; 3],
}
