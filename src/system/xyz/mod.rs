//! Extended XYZ as ASE reads and writes it: one frame after another, each an atom count, a comment line of `key=value` pairs,
//! and a line per atom with the columns that `Properties` names.
//!
//! ASE guesses; this reader refuses everything that could be misunderstood, with the file and the line.

mod comment;
mod header;
mod moves;
mod read;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use moves::{Axes, Moves};
pub use read::{parse_frames, read_frames};
pub use value::Value;
pub(super) use write::check_frame;
pub use write::{format_frames, write_frames};

pub use super::extras::{Column, Values};
use super::{Structure, Vec3};

/// Keys of the comment line that belong to the structure itself.
const STRUCTURE_KEYS: [&str; 4] = ["Lattice", "Properties", "pbc", "energy"];

/// Columns that belong to the structure itself.
const STRUCTURE_COLUMNS: [&str; 5] = ["species", "Z", "pos", "forces", "move_mask"];

/// One frame: a structure, with the further keys and columns of the file in its [`Extras`](super::Extras).
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Atoms, cell, energy, forces, fixed atoms, further keys and columns.
    pub structure: Structure,
    /// `Some` only if some atom may move along some axes and not along others.
    moves: Option<Moves>,
}

impl From<Structure> for Frame {
    fn from(structure: Structure) -> Self {
        Frame { structure, moves: None }
    }
}

impl Frame {
    /// The frame with `key` set to `value` in its comment line.
    ///
    /// # Panics
    /// If `key` is empty or belongs to the structure (`Lattice`, `Properties`, `pbc`, `energy`).
    pub fn with_info(mut self, key: &str, value: impl Into<Value>) -> Self {
        assert!(!key.is_empty() && !STRUCTURE_KEYS.contains(&key), "'{key}' is not a free key");
        let info = &mut self.structure.extras_mut().info;
        info.retain(|(known, _)| known != key);
        info.push((key.to_string(), value.into()));
        self
    }

    /// The frame with one vector per atom (N × 3) in a column of this name, such as `score:R:3`.
    ///
    /// # Panics
    /// If `name` is empty, holds a colon or belongs to the structure, or the number of vectors is not N.
    pub fn with_vectors(mut self, name: &str, vectors: &[Vec3]) -> Self {
        assert!(!name.is_empty() && !name.contains(':') && !STRUCTURE_COLUMNS.contains(&name), "'{name}' is not free");
        assert_eq!(vectors.len(), self.structure.n_atoms(), "one vector per atom");
        let columns = &mut self.structure.extras_mut().columns;
        columns.retain(|column| column.name != name);
        columns.push(Column { name: name.to_string(), width: 3, values: Values::Real(vectors.concat()) });
        self
    }

    /// The frame with the free axes of each atom. An atom without free axis is fixed. Flags that differ between the axes of an atom
    /// are kept for the output alone; the atom counts as free.
    ///
    /// # Panics
    /// If there is not one set of flags for each atom.
    pub fn with_moves(mut self, moves: Moves) -> Self {
        assert_eq!(moves.flags.len(), self.structure.n_atoms(), "one set of flags per atom");
        self.structure.fixed = moves.flags.iter().map(|&flags| flags == [false; 3]).collect();
        self.moves = Some(moves).filter(|moves| moves.flags.iter().any(|&flags| flags != [flags[0]; 3]));
        self
    }

    /// For each atom the `axes` along which it may move; empty if all atoms move freely. The error is the first atom (from 0) whose
    /// freedom these axes cannot describe.
    pub(super) fn moves_along(&self, axes: Axes) -> Result<Vec<[bool; 3]>, usize> {
        let Structure { cell, fixed, .. } = &self.structure;
        match &self.moves {
            Some(moves) => moves.flags_along(axes, cell),
            None if fixed.contains(&true) => Ok(fixed.iter().map(|&fixed| [!fixed; 3]).collect()),
            None => Ok(Vec::new()),
        }
    }

    /// The first atom, from 0, that may move along some axes and not along others.
    pub fn partly_fixed(&self) -> Option<usize> {
        self.moves.as_ref()?.flags.iter().position(|&flags| flags != [flags[0]; 3])
    }

    /// Fixes all atoms but the last `n_free`, in place of the file's own flags.
    ///
    /// # Panics
    /// If there are fewer atoms.
    pub fn free_last(&mut self, n_free: usize) {
        let n_fixed = self.structure.n_atoms() - n_free;
        self.structure.fixed.fill(true);
        self.structure.fixed[n_fixed..].fill(false);
        self.moves = None;
    }

    /// The frame without results of earlier calculations (`stress`, `magmoms`, …). Energy and forces are the structure's.
    pub fn without_results(mut self) -> Self {
        if self.structure.extras.is_some() {
            self.structure.extras_mut().forget_results();
        }
        self
    }

    /// The keys of the comment line with their values, in order, without those of the structure itself.
    pub fn infos(&self) -> &[(String, Value)] {
        self.structure.extras().map_or(&[], |extras| &extras.info)
    }

    /// The column groups in order, without those of the structure itself.
    pub fn columns(&self) -> &[Column] {
        self.structure.extras().map_or(&[], |extras| &extras.columns)
    }

    /// The value of `key` in the comment line.
    pub fn info(&self, key: &str) -> Option<&Value> {
        self.infos().iter().find_map(|(known, value)| (known == key).then_some(value))
    }

    /// The column group of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns().iter().find(|column| column.name == name)
    }

    /// The vectors of a real column group three wide, N × 3.
    pub fn vectors(&self, name: &str) -> Option<Vec<Vec3>> {
        match self.column(name)? {
            Column { width: 3, values: Values::Real(values), .. } => Some(values.as_chunks().0.to_vec()),
            _ => None,
        }
    }
}
