//! Atoms in a cell, with what was computed for them.

use super::{Cell, Vec3};

/// One arrangement of N atoms.
#[derive(Debug, Clone, PartialEq)]
pub struct Structure {
    /// Cell and periodicity.
    pub cell: Cell,
    /// Atomic numbers, N.
    pub numbers: Vec<u8>,
    /// Positions, N × 3, Å.
    pub positions: Vec<Vec3>,
    /// Atoms that never move, N.
    pub fixed: Vec<bool>,
    /// Potential energy, eV.
    pub energy: Option<f64>,
    /// Forces, N × 3, eV/Å.
    pub forces: Option<Vec<Vec3>>,
}

impl Structure {
    /// Free atoms without energy and forces.
    pub fn new(cell: Cell, numbers: Vec<u8>, positions: Vec<Vec3>) -> Self {
        assert_eq!(numbers.len(), positions.len(), "one position per atom");
        let fixed = vec![false; numbers.len()];
        Structure { cell, numbers, positions, fixed, energy: None, forces: None }
    }
}
