//! The system of a search: a template of fixed atoms, free atoms, one cell, a confinement.

mod build;
mod cell;
mod contacts;
pub mod elements;
mod files;
mod graph;
mod images;
mod matching;
mod parts;
pub mod poscar;
mod structure;
pub mod vector;
pub mod xyz;

pub use build::ConfinementSpec;
pub use cell::Cell;
pub use contacts::{Contact, ShortestDistance};
pub use files::{Format, read_frame, read_frames, read_structure, read_structures};
pub use graph::{Edge, PairSearch, radius_graph};
pub use images::{Image, Images, image_range};
pub use matching::{BondGraph, same_bond_graph};
pub use structure::Structure;

/// A point or vector in Å (or eV/Å for forces).
pub type Vec3 = [f64; 3];

/// Height interval [lo, hi] in Å (absolute z) that the free atoms may not leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Confinement {
    /// Lower bound, Å.
    pub z_lo: f64,
    /// Upper bound, Å.
    pub z_hi: f64,
}

/// The search's fixed frame: every structure is the template followed by the free atoms.
#[derive(Debug, Clone, PartialEq)]
pub struct System {
    /// Cell shared by all structures.
    pub cell: Cell,
    /// Atomic numbers of the template's T atoms.
    pub template_numbers: Vec<u8>,
    /// Positions of the template's T atoms, Å.
    pub template_positions: Vec<Vec3>,
    /// Atomic numbers of the n free atoms, in the order of the formula.
    pub free_numbers: Vec<u8>,
    /// Heights allowed for the free atoms.
    pub confinement: Option<Confinement>,
}

impl System {
    /// T, the number of template atoms.
    pub fn n_template(&self) -> usize {
        self.template_numbers.len()
    }

    /// n, the number of free atoms.
    pub fn n_free(&self) -> usize {
        self.free_numbers.len()
    }

    /// T + n.
    pub fn n_atoms(&self) -> usize {
        self.n_template() + self.n_free()
    }

    /// Atomic numbers of a whole structure, template first.
    pub fn numbers(&self) -> Vec<u8> {
        [&self.template_numbers[..], &self.free_numbers[..]].concat()
    }

    /// The whole structure with the free atoms at `free` (n positions, Å); template atoms are fixed.
    pub fn structure(&self, free: &[Vec3]) -> Structure {
        assert_eq!(free.len(), self.n_free(), "one position per free atom");
        let mut structure = Structure::new(self.cell, self.numbers(), [&self.template_positions[..], free].concat());
        structure.fixed[..self.n_template()].fill(true);
        structure
    }

    /// True for a system without template and without periodic axes, whose centre of mass is meaningless.
    pub fn is_free_cluster(&self) -> bool {
        self.n_template() == 0 && !self.cell.periodic.contains(&true) && self.confinement.is_none()
    }
}
