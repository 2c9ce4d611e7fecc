//! Reading an archive without its configuration.

use super::entry::{Origin, Status};
use super::rows::{damaged, fixed_atoms, key_value_pairs, vectors};
use super::sentences::storage_error;
use super::{ArchiveFile, schema};
use crate::error::{Error, Result};
use crate::system::{Cell, Structure};
use rusqlite::{Row, params};
use std::path::Path;

/// Columns that [`read`] expects.
pub(super) const STORED_COLUMNS: &str =
    "unique_id, key_value_pairs, numbers, positions, cell, pbc, constraints, energy, forces";

/// Which structures to read, and in what order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All, by (iteration, index).
    All,
    /// Those with status `ok`, by (iteration, index).
    Ok,
    /// At most so many with status `ok`, from the lowest energy on.
    Lowest(usize),
}

/// A structure as the archive holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Iteration of the search, from 0.
    pub iteration: u32,
    /// Index within the iteration's samples, from 0.
    pub index: u32,
    /// Temperature of the iteration, eV.
    pub kt_ev: f64,
    /// What became of it.
    pub status: Status,
    /// Where it comes from, if that is noted.
    pub origin: Option<Origin>,
    /// All atoms with energy and forces where they are known.
    pub structure: Structure,
}

/// Calls `visit` for every selected structure of the archive at `path`, one at a time: memory does not grow with the archive.
///
/// # Errors
/// `BadInput` if `path` is not an archive of godiff, `Storage` if reading fails, and what `visit` returns.
pub fn export(path: &Path, selection: Selection, visit: &mut dyn FnMut(Stored) -> Result<()>) -> Result<()> {
    let file = ArchiveFile::open(path)?;
    let (condition, order, limit) = match selection {
        Selection::All => ("TRUE", "unique_id", -1),
        Selection::Ok => (schema::STATUS_OK, "unique_id", -1),
        // SQLite takes -1 for no limit.
        Selection::Lowest(n) => {
            (schema::STATUS_OK, "energy IS NULL, energy, unique_id", i64::try_from(n).unwrap_or(-1))
        }
    };
    let sql = format!(
        "SELECT {STORED_COLUMNS} FROM systems
         WHERE unique_id BETWEEN ?1 AND ?2 AND {condition} ORDER BY {order} LIMIT ?3"
    );
    let (first, last) = file.key.of_archive();
    let failed = |error: rusqlite::Error| storage_error(path, &error);
    let mut statement = file.connection.prepare(&sql).map_err(failed)?;
    let mut rows = statement.query(params![first, last, limit]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        visit(read(&file, row).map_err(failed)?)?;
    }
    Ok::<(), Error>(())
}

/// The structure in a row of [`STORED_COLUMNS`].
pub(super) fn read(file: &ArchiveFile, row: &Row) -> rusqlite::Result<Stored> {
    let (iteration, index) = file.key.parse(row.get_ref(0)?.as_str()?)?;
    let pairs = key_value_pairs(row, 1)?;
    let broken = |what: &str| damaged(format!("{what} of iteration {iteration}, sample {index}"));
    let numbers: Option<Vec<u8>> = {
        let (numbers, rest) = row.get_ref(2)?.as_blob()?.as_chunks::<4>();
        let number = |&bytes: &[u8; 4]| u8::try_from(i32::from_le_bytes(bytes)).ok();
        if rest.is_empty() { numbers.iter().map(number).collect() } else { None }
    };
    let numbers = numbers.ok_or_else(|| broken("atomic numbers"))?;
    let n_atoms = numbers.len();
    let positions = vectors(row, 3)?.filter(|positions| positions.len() == n_atoms);
    let vectors_of_cell = vectors(row, 4)?.and_then(|cell| <[_; 3]>::try_from(cell).ok());
    let pbc: u8 = row.get(5)?;
    let cell = Cell {
        vectors: vectors_of_cell.ok_or_else(|| broken("cell"))?,
        periodic: std::array::from_fn(|axis| pbc >> axis & 1 == 1),
    };
    let mut structure = Structure::new(cell, numbers, positions.ok_or_else(|| broken("positions"))?);
    if let Some(constraints) = row.get_ref(6)?.as_str_or_null()? {
        for atom in fixed_atoms(constraints).ok_or_else(|| broken("constraints"))? {
            *structure.fixed.get_mut(atom).ok_or_else(|| broken("constraints"))? = true;
        }
    }
    structure.energy = row.get(7)?;
    structure.forces = vectors(row, 8)?;
    if structure.forces.as_ref().is_some_and(|forces| forces.len() != n_atoms) {
        return Err(broken("forces"));
    }
    Ok(Stored { iteration, index, kt_ev: pairs.kt_ev, status: pairs.status, origin: pairs.origin, structure })
}
