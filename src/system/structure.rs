//! Atoms in a cell, with their computed energy and forces.

use super::elements::symbol;
use super::vector::is_finite;
use super::{Cell, Extras, Vec3};
use crate::error::{Error, Result};
use std::sync::Arc;

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
    /// Further keys and columns; shared, because all structures of a search have the same.
    pub extras: Option<Arc<Extras>>,
}

impl Structure {
    /// Free atoms without energy and forces.
    pub fn new(cell: Cell, numbers: Vec<u8>, positions: Vec<Vec3>) -> Self {
        assert_eq!(numbers.len(), positions.len(), "one position per atom");
        let fixed = vec![false; numbers.len()];
        Structure { cell, numbers, positions, fixed, energy: None, forces: None, extras: None }
    }

    /// Further keys and columns, if there are any.
    pub fn extras(&self) -> Option<&Extras> {
        self.extras.as_deref()
    }

    /// Further keys and columns, to change them for this structure alone.
    pub fn extras_mut(&mut self) -> &mut Extras {
        Arc::make_mut(self.extras.get_or_insert_default())
    }

    /// The structure with those further keys and columns alone that a calculator may want to know.
    pub fn for_calculator(&self) -> Structure {
        let inputs = self.extras().map(|extras| extras.clone().inputs()).filter(|inputs| *inputs != Extras::default());
        Structure { extras: inputs.map(Arc::new), ..self.clone() }
    }

    /// Indices of the atoms that are not fixed, ascending.
    pub fn not_fixed(&self) -> Vec<usize> {
        (0..self.n_atoms()).filter(|&atom| !self.fixed[atom]).collect()
    }

    /// N, the number of atoms.
    pub fn n_atoms(&self) -> usize {
        self.numbers.len()
    }

    /// The structure with its atoms in another order: atom k is atom `order[k]` of this one. `order` holds every index once.
    pub fn reordered(&self, order: &[usize]) -> Structure {
        Structure {
            numbers: order.iter().map(|&atom| self.numbers[atom]).collect(),
            positions: order.iter().map(|&atom| self.positions[atom]).collect(),
            fixed: order.iter().map(|&atom| self.fixed[atom]).collect(),
            forces: self.forces.as_ref().map(|forces| order.iter().map(|&atom| forces[atom]).collect()),
            extras: self.extras.as_ref().map(|extras| Arc::new(extras.reordered(order, 0))),
            ..*self
        }
    }

    /// Checks the promises of every reader of the crate: at least one atom, one entry per atom in every list, known elements,
    /// finite positions, energy and forces, and a cell that [`Cell::check`]
    /// accepts.
    ///
    /// # Errors
    /// `BadInput` with the first promise that does not hold.
    pub fn check(&self) -> Result<()> {
        let n = self.n_atoms();
        if n == 0 {
            return Err(Error::bad_input("the structure has no atoms"));
        }
        let lengths = [self.positions.len(), self.fixed.len(), self.forces.as_ref().map_or(n, Vec::len)];
        if lengths.iter().any(|&length| length != n) {
            return Err(Error::bad_input(format!("the structure's lists differ in length: {n} atoms, {lengths:?}")));
        }
        for k in 0..n {
            let atom = k + 1;
            if symbol(self.numbers[k]).is_none() {
                return Err(Error::bad_input(format!("atom {atom}: {} is not an atomic number", self.numbers[k])));
            }
            if !is_finite(self.positions[k]) {
                return Err(Error::bad_input(format!("atom {atom}: its position is not finite")));
            }
            if self.forces.as_ref().is_some_and(|forces| !is_finite(forces[k])) {
                return Err(Error::bad_input(format!("atom {atom}: the force on it is not finite")));
            }
        }
        if self.energy.is_some_and(|energy| !energy.is_finite()) {
            return Err(Error::bad_input("the structure's energy is not finite"));
        }
        self.cell.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation_names_what_is_wrong() {
        let good = Structure::new(Cell::NONE, vec![78, 79], vec![[0.0; 3], [2.0; 3]]);
        good.check().unwrap();
        let mut nan = good.clone();
        nan.positions[1][2] = f64::NAN;
        let mut element = good.clone();
        element.numbers[0] = 119;
        let mut force = good.clone();
        force.forces = Some(vec![[0.0; 3], [f64::INFINITY; 3]]);
        let mut short = good.clone();
        short.forces = Some(vec![[0.0; 3]]);
        let mut energy = good.clone();
        energy.energy = Some(f64::NAN);
        let mut cell = good.clone();
        cell.cell.periodic[0] = true;
        for (structure, sentence) in [
            (Structure::new(Cell::NONE, vec![], vec![]), "no atoms"),
            (nan, "atom 2: its position is not finite"),
            (element, "atom 1: 119 is not an atomic number"),
            (force, "atom 2: the force on it is not finite"),
            (short, "differ in length"),
            (energy, "energy is not finite"),
            (cell, "periodic along a but has no lattice vector"),
        ] {
            let error = structure.check().unwrap_err();
            assert!(error.to_string().contains(sentence), "{error}");
        }
    }
}
