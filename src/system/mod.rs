//! The system of a search: a template, free atoms, one cell, a confinement.

mod build;
mod cell;
mod contacts;
pub mod elements;
mod extras;
mod files;
mod graph;
mod images;
mod matching;
mod mobile;
mod molecules;
mod parts;
pub mod poscar;
mod structure;
pub mod vector;
pub mod xyz;

pub use build::ConfinementSpec;
pub use cell::Cell;
pub use contacts::{Contact, ShortestDistance};
pub use extras::{Extras, MOMENTS};
pub use files::{Format, read_frame, read_frames, read_structure, read_structures};
pub use graph::{Edge, PairSearch, radius_graph};
pub use images::{Image, Images, image_range};
pub use matching::{BOND_FACTOR, BondGraph, same_bond_graph};
pub use mobile::{Mobile, check_mobile, fixed_first, upper_layers};
pub use molecules::{Molecule, Molecules};
pub use structure::Structure;

use std::sync::Arc;

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

/// The search's fixed frame: every structure is the template's fixed atoms followed by the atoms that move.
///
/// Where the code says "free", it means all atoms that move: first the [`Mobile`] atoms of the template, if there are any, then
/// the free atoms of the formula. Where it says "template", it means the template's fixed atoms.
#[derive(Debug, Clone, PartialEq)]
pub struct System {
    /// Cell shared by all structures.
    pub cell: Cell,
    /// Atomic numbers of the template's T fixed atoms.
    pub template_numbers: Vec<u8>,
    /// Positions of the template's T fixed atoms, Å.
    pub template_positions: Vec<Vec3>,
    /// Atomic numbers of the n atoms that move: the mobile atoms, then the free atoms in the order of the formula, then those of
    /// the molecules.
    pub free_numbers: Vec<u8>,
    /// The mobile atoms of the template.
    pub mobile: Mobile,
    /// The molecules among the free atoms.
    pub molecules: Molecules,
    /// Heights allowed for the free atoms of the formula.
    pub confinement: Option<Confinement>,
    /// Further keys and columns of all structures: those of the template, with empty entries for the free atoms, and
    /// those of the molecules' files.
    pub extras: Option<Arc<Extras>>,
}

impl System {
    /// T, the number of fixed template atoms.
    pub fn n_template(&self) -> usize {
        self.template_numbers.len()
    }

    /// n, the number of atoms that move.
    pub fn n_free(&self) -> usize {
        self.free_numbers.len()
    }

    /// T + n.
    pub fn n_atoms(&self) -> usize {
        self.n_template() + self.n_free()
    }

    /// Whether the atoms that move and belong to no molecule are of different species.
    pub fn has_unlike_atoms(&self) -> bool {
        self.free_numbers[..self.n_single()].windows(2).any(|pair| pair[0] != pair[1])
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
        structure.extras.clone_from(&self.extras);
        structure
    }

    /// True for a system without template and without periodic axes, whose centre of mass is meaningless.
    pub fn is_free_cluster(&self) -> bool {
        let placed = self.n_template() > 0 || self.n_mobile() > 0 || self.confinement.is_some();
        !placed && !self.cell.periodic.contains(&true)
    }
}
