//! The system of a search: a template, free atoms, one cell, a confinement.

mod build;
mod cell;
pub mod elements;
mod files;
mod graph;
mod images;
mod matching;
mod mobile;
pub mod poscar;
mod structure;
pub mod vector;
pub mod xyz;

pub use build::ConfinementSpec;
pub use cell::Cell;
pub use files::{Format, read_frame, read_frames, read_structure, read_structures};
pub use graph::{Edge, PairSearch, radius_graph};
pub use images::{Image, Images, image_range};
pub use matching::{BOND_FACTOR, BondGraph, same_bond_graph};
pub use mobile::{Mobile, check_mobile, fixed_first, upper_layers};
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
    /// Atomic numbers of the n atoms that move: the mobile atoms, then the free atoms in the order of the formula.
    pub free_numbers: Vec<u8>,
    /// The mobile atoms of the template.
    pub mobile: Mobile,
    /// Heights allowed for the free atoms of the formula.
    pub confinement: Option<Confinement>,
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

    /// Whether the atoms that move are of different species.
    pub fn has_unlike_atoms(&self) -> bool {
        self.free_numbers.windows(2).any(|pair| pair[0] != pair[1])
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
        let placed = self.n_template() > 0 || self.n_mobile() > 0 || self.confinement.is_some();
        !placed && !self.cell.periodic.contains(&true)
    }

    /// The smallest distance, Å, of any free atom to any other atom, periodic images and its own ones included, with the free
    /// atoms at `free` (n positions, Å). Infinite for an atom alone in space.
    pub fn closest_contact(&self, free: &[Vec3]) -> f64 {
        assert_eq!(free.len(), self.n_free(), "one position per free atom");
        if free.is_empty() {
            return f64::INFINITY;
        }
        let images = Images::new(&self.cell);
        let mut closest = images.shortest_lattice_vector();
        for (k, &position) in free.iter().enumerate() {
            for &other in self.template_positions.iter().chain(&free[..k]) {
                closest = closest.min(images.nearest(vector::sub(other, position)).squared.sqrt());
            }
        }
        closest
    }
}
