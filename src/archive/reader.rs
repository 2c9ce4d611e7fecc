//! An archive opened without its configuration, to look up single structures.

use super::ArchiveFile;
use super::entry::Status;
use super::export::{STORED_COLUMNS, Stored, read};
use super::rows::{StatusText, key_value_pairs};
use super::sentences::storage_error;
use crate::error::Result;
use rusqlite::{OptionalExtension, Row};
use std::path::Path;

/// An archive of any system, open for reading.
#[derive(Debug)]
pub struct Reader {
    file: ArchiveFile,
}

/// What became of a structure, without its atoms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Listed {
    /// Iteration of the search, from 0.
    pub iteration: u32,
    /// Index within the iteration's samples, from 0.
    pub index: u32,
    /// What became of it.
    pub status: Status,
    /// Potential energy, eV.
    pub energy: Option<f64>,
    /// Largest force on a free atom, eV/Å.
    pub fmax: Option<f64>,
}

impl Reader {
    /// Opens the archive at `path`.
    ///
    /// # Errors
    /// `BadInput` if `path` is missing, not an archive of godiff, or of a newer format; `Storage` if reading fails.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Reader { file: ArchiveFile::open(path)? })
    }

    /// As [`Reader::open`]; `None` if a run was killed before its archive was made.
    ///
    /// # Errors
    /// Those of [`Reader::open`] but for a missing archive.
    pub fn open_made(path: &Path) -> Result<Option<Self>> {
        if super::is_made(path)? { Reader::open(path).map(Some) } else { Ok(None) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Every entry in order of (iteration, index).
    ///
    /// # Errors
    /// `Storage` if reading fails or a status is unknown.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let sql = "SELECT unique_id, t.value, energy, fmax FROM systems JOIN text_key_values t ON t.id = systems.id
                   WHERE t.key = 'status' AND unique_id BETWEEN ?1 AND ?2 ORDER BY unique_id";
        let key = self.file.key;
        self.file.query(sql, key.of_archive(), |row| {
            let (iteration, index) = key.parse(row.get_ref(0)?.as_str()?)?;
            Ok(Listed {
                iteration,
                index,
                status: row.get::<_, StatusText>(1)?.0,
                energy: row.get(2)?,
                fmax: row.get(3)?,
            })
        })
    }

    /// Iteration and temperature (eV) of the last entry by (iteration, index); `None` without entries.
    ///
    /// # Errors
    /// `Storage` if reading fails or the row is damaged.
    pub fn last(&self) -> Result<Option<(u32, f64)>> {
        let sql = "SELECT unique_id, key_value_pairs FROM systems WHERE unique_id BETWEEN ?1 AND ?2
                   ORDER BY unique_id DESC LIMIT 1";
        let key = self.file.key;
        let read = |row: &Row| Ok((key.parse(row.get_ref(0)?.as_str()?)?.0, key_value_pairs(row, 1)?.kt_ev));
        Ok(self.file.query(sql, key.of_archive(), read)?.pop())
    }

    /// Every entry that was evaluated, with the number of its evaluation, from 1, in that order. Archives of baselines may lack
    /// rows; then `an_iteration` is the number of evaluations in an iteration. With `None` the entries that have a row are
    /// counted.
    ///
    /// # Errors
    /// Those of [`Reader::list`].
    pub fn evaluations(&self, an_iteration: Option<u64>) -> Result<Vec<(u64, Listed)>> {
        let mut rows = self.list()?;
        rows.retain(|row| row.status.is_evaluated());
        let number = |(place, row): (usize, Listed)| {
            let before = match an_iteration {
                Some(n) => u64::from(row.iteration) * n + u64::from(row.index),
                None => place as u64,
            };
            (before + 1, row)
        };
        Ok(rows.into_iter().enumerate().map(number).collect())
    }

    /// The structure (`iteration`, `index`), if it is stored.
    ///
    /// # Errors
    /// `Storage` if reading fails or the row is damaged.
    pub fn get(&self, iteration: u32, index: u32) -> Result<Option<Stored>> {
        let sql = format!("SELECT {STORED_COLUMNS} FROM systems WHERE unique_id = ?1");
        let id = self.file.key.unique_id(iteration, index);
        let find = || -> rusqlite::Result<Option<Stored>> {
            let mut statement = self.file.connection.prepare_cached(&sql)?;
            statement.query_row([id], |row| read(&self.file, row)).optional()
        };
        find().map_err(|error| storage_error(&self.file.path, &error))
    }
}
