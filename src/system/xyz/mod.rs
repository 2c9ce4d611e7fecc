//! Extended XYZ as ASE reads and writes it: one frame after another, each an atom count, a comment line of `key=value` pairs,
//! and a line per atom with the columns that `Properties` names.
//!
//! The reader is strict where ASE guesses: anything that could be misunderstood is refused with the file and the line.

mod comment;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use comment::Value;
pub use read::{parse_frames, read_frames};
pub use write::{format_frames, write_frames};

use super::{Structure, Vec3};

/// Keys of the comment line that belong to the structure itself.
const STRUCTURE_KEYS: [&str; 4] = ["Lattice", "Properties", "pbc", "energy"];

/// Columns that belong to the structure itself.
const STRUCTURE_COLUMNS: [&str; 5] = ["species", "Z", "pos", "forces", "move_mask"];

/// One frame: a structure, and what else the file says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Atoms, cell, energy, forces and fixed atoms.
    pub structure: Structure,
    info: Vec<(String, Value)>,
    columns: Vec<Column>,
}

/// A further column group of the atom lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name in `Properties`.
    pub name: String,
    /// Numbers or words per atom.
    pub width: usize,
    /// Entries of all atoms, N × `width`.
    pub values: Values,
}

/// Entries of a column group, N × width, atom by atom.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Type R.
    Real(Vec<f64>),
    /// Type I.
    Integer(Vec<i64>),
    /// Type L.
    Flag(Vec<bool>),
    /// Type S.
    Text(Vec<String>),
}

impl From<Structure> for Frame {
    fn from(structure: Structure) -> Self {
        Frame { structure, info: Vec::new(), columns: Vec::new() }
    }
}

impl Frame {
    /// The frame with `key` set to `value` in its comment line.
    ///
    /// # Panics
    /// If `key` is empty or belongs to the structure (`Lattice`, `Properties`, `pbc`, `energy`).
    pub fn with_info(mut self, key: &str, value: impl Into<Value>) -> Self {
        assert!(!key.is_empty() && !STRUCTURE_KEYS.contains(&key), "'{key}' is not a free key");
        self.info.retain(|(known, _)| known != key);
        self.info.push((key.to_string(), value.into()));
        self
    }

    /// The frame with one vector per atom (N × 3) in a column of this name, such as `score:R:3`.
    ///
    /// # Panics
    /// If `name` is empty, holds a colon or belongs to the structure, or the number of vectors is not N.
    pub fn with_vectors(mut self, name: &str, vectors: &[Vec3]) -> Self {
        assert!(!name.is_empty() && !name.contains(':') && !STRUCTURE_COLUMNS.contains(&name), "'{name}' is not free");
        assert_eq!(vectors.len(), self.structure.n_atoms(), "one vector per atom");
        self.columns.retain(|column| column.name != name);
        self.columns.push(Column { name: name.to_string(), width: 3, values: Values::Real(vectors.concat()) });
        self
    }

    /// The value of `key` in the comment line.
    pub fn info(&self, key: &str) -> Option<&Value> {
        self.info.iter().find_map(|(known, value)| (known == key).then_some(value))
    }

    /// The column group of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The vectors of a real column group three wide, N × 3.
    pub fn vectors(&self, name: &str) -> Option<Vec<Vec3>> {
        match self.column(name)? {
            Column { width: 3, values: Values::Real(values), .. } => Some(values.as_chunks().0.to_vec()),
            _ => None,
        }
    }
}
