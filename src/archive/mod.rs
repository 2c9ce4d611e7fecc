//! Everything evaluated, in one SQLite file with the schema of ASE's own database (version 9), so that `ase db archive.db`,
//! `ase gui archive.db` and `ase.db.connect("archive.db")` open it as it is.
//!
//! A row is keyed by (iteration, index) of the search. The key is the row's `unique_id`: 16 hexadecimal digits of the
//! archive, 8 of the iteration, 8 of the index. ASE's schema demands that ids be unique, so no structure can be stored
//! twice, and their text order is the order of (iteration, index). Rows that somebody adds through ASE have other ids and
//! are left alone. The journal is a rollback journal (a write-ahead log fails on NFS and Lustre), and every
//! [`Archive::record`] is one durable transaction.

mod entry;
mod export;
mod reader;
mod rows;
mod schema;
mod sentences;

pub use entry::{Counts, EVALUATIONS_AN_ITERATION, Entry, Origin, Status};
pub use export::{Selection, Stored, export};
pub use reader::{Listed, Reader};

use crate::buffer::Candidate;
use crate::error::{Error, Result};
use crate::system::System;
use rows::{SharedColumns, StatusText};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};
use schema::Key;
use sentences::{incomplete, older_format, open_error, storage_error};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a write waits while a reader such as `ase db` keeps the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// The archive of one search, open for writing.
#[derive(Debug)]
pub struct Archive {
    file: ArchiveFile,
    columns: SharedColumns,
}

/// An open database that was recognised as an archive of godiff.
#[derive(Debug)]
struct ArchiveFile {
    connection: Connection,
    path: PathBuf,
    key: Key,
    seed: u64,
    calculator: String,
}

impl Archive {
    /// A new archive at `path` for structures of `system` whose energies come from `calculator` (such as "emt").
    ///
    /// # Errors
    /// `BadInput` if `path` holds tables already or cannot be created, `Storage` if writing fails.
    pub fn create(path: &Path, system: &System, calculator: &str, seed: u64) -> Result<Self> {
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        if has_tables(&connection).map_err(|error| open_error(path, &error))? {
            return Err(Error::bad_file(path, "exists already and is not overwritten; choose another output folder"));
        }
        let key = schema::create(&mut connection, calculator, seed).map_err(|error| storage_error(path, &error))?;
        let file = ArchiveFile { connection, path: path.to_owned(), key, seed, calculator: calculator.to_lowercase() };
        Ok(Archive { file, columns: SharedColumns::new(system) })
    }

    /// The archive at `path`, which must hold structures of `system`. A transaction that a kill interrupted is undone here.
    ///
    /// # Errors
    /// `BadInput` if `path` is missing, not an archive of godiff, of another format, or holds structures of another system;
    /// `Storage` if reading fails.
    pub fn open(path: &Path, system: &System) -> Result<Self> {
        let file = ArchiveFile::open(path)?;
        let archive = Archive { file, columns: SharedColumns::new(system) };
        archive.check_columns()?;
        Ok(archive)
    }

    /// [`Archive::open`], or [`Archive::create`] if a run was killed before its archive was made.
    ///
    /// # Errors
    /// Those of the two.
    pub fn open_or_create(path: &Path, system: &System, calculator: &str, seed: u64) -> Result<Self> {
        if is_made(path)? { Archive::open(path, system) } else { Archive::create(path, system, calculator, seed) }
    }

    /// Refuses an archive that holds fewer than the `n_recorded` structures that its run has recorded in its first `n_iterations`
    /// iterations. Such an archive was removed, exchanged or damaged between two parts of the run.
    ///
    /// # Errors
    /// `Storage` for such an archive, and if reading fails.
    pub fn check_complete(&self, n_iterations: u32, n_recorded: u64) -> Result<()> {
        let sql = "SELECT COUNT(*) FROM systems WHERE unique_id >= ?1 AND unique_id < ?2";
        let key = self.file.key;
        let found = self.file.query(sql, (key.unique_id(0, 0), key.unique_id(n_iterations, 0)), |row| row.get(0))?;
        let found = found.first().map_or(0, |&n: &i64| n.unsigned_abs());
        if found < n_recorded { Err(incomplete(&self.file.path, found, n_recorded)) } else { Ok(()) }
    }

    /// Seed of the run that made the archive.
    pub fn seed(&self) -> u64 {
        self.file.seed
    }

    /// Stores `entries` in one transaction that is on the disk when this returns. An entry whose (iteration, index) is
    /// stored already is left as it was.
    ///
    /// Energies that are not finite are stored as NULL and come back as `None`; −0.0 comes back as 0.0; all other values come
    /// back bit for bit.
    ///
    /// # Errors
    /// `Storage` if writing fails; then none of `entries` is stored.
    ///
    /// # Panics
    /// If an entry does not have n free positions, or has forces but not (T + n).
    pub fn record(&mut self, entries: &[Entry]) -> Result<()> {
        let ArchiveFile { connection, path, key, calculator, .. } = &mut self.file;
        let mut store = || -> rusqlite::Result<()> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            self.columns.insert(&transaction, *key, calculator, entries)?;
            transaction.commit()
        };
        store().map_err(|error| storage_error(path, &error))
    }

    /// All entries of `iteration`, in order of their index.
    ///
    /// # Errors
    /// `Storage` if reading fails or a row is damaged.
    pub fn entries(&self, iteration: u32) -> Result<Vec<Entry>> {
        self.select("systems.unique_id BETWEEN ?1 AND ?2", self.file.key.of_iteration(iteration))
    }

    /// All entries with status `ok`, in order of (iteration, index).
    ///
    /// # Errors
    /// `Storage` if reading fails or a row is damaged.
    pub fn all_ok(&self) -> Result<Vec<Entry>> {
        let ok = format!("systems.unique_id BETWEEN ?1 AND ?2 AND {}", schema::STATUS_OK);
        self.select(&ok, self.file.key.of_archive())
    }

    /// Hands every entry to `visit`, in order of (iteration, index), one at a time.
    ///
    /// # Errors
    /// `Storage` if reading fails or a row is damaged.
    pub fn visit(&self, visit: &mut dyn FnMut(Entry)) -> Result<()> {
        let sql =
            format!("SELECT {} FROM systems WHERE unique_id BETWEEN ?1 AND ?2 ORDER BY unique_id", rows::ENTRY_COLUMNS);
        let key = self.file.key;
        let visited = self.file.query(&sql, key.of_archive(), |row| self.columns.read_entry(row, key).map(&mut *visit));
        visited.map(|_: Vec<()>| ())
    }

    /// The entry (`iteration`, `index`), if it is stored.
    ///
    /// # Errors
    /// `Storage` if reading fails or the row is damaged.
    pub fn get(&self, iteration: u32, index: u32) -> Result<Option<Entry>> {
        let id = self.file.key.unique_id(iteration, index);
        Ok(self.select("systems.unique_id BETWEEN ?1 AND ?2", (id.clone(), id))?.pop())
    }

    /// Keys and energies of all `ok` entries in order of (iteration, index): [`crate::buffer::draw`] draws from these.
    ///
    /// # Errors
    /// `Storage` if reading fails or a row is damaged.
    pub fn candidates(&self) -> Result<Vec<Candidate>> {
        let sql = format!(
            "SELECT unique_id, energy FROM systems WHERE unique_id BETWEEN ?1 AND ?2 AND energy IS NOT NULL AND {}
             ORDER BY unique_id",
            schema::STATUS_OK
        );
        self.file.query(&sql, self.file.key.of_archive(), |row| {
            let (iteration, index) = self.file.key.parse(row.get_ref(0)?.as_str()?)?;
            Ok(Candidate { iteration, index, energy: row.get(1)? })
        })
    }

    /// The `ok` entry of lowest energy; of equal ones the first by (iteration, index).
    ///
    /// # Errors
    /// `Storage` if reading fails or a row is damaged.
    pub fn best(&self) -> Result<Option<Entry>> {
        let sql = format!(
            "SELECT unique_id FROM systems WHERE unique_id BETWEEN ?1 AND ?2 AND energy IS NOT NULL AND {}
             ORDER BY energy, unique_id LIMIT 1",
            schema::STATUS_OK
        );
        let key = self.file.key;
        let found = self.file.query(&sql, key.of_archive(), |row| key.parse(row.get_ref(0)?.as_str()?))?;
        found.first().map_or(Ok(None), |&(iteration, index)| self.get(iteration, index))
    }

    /// How many entries have which status.
    ///
    /// # Errors
    /// `Storage` if reading fails or a status is unknown.
    pub fn counts(&self) -> Result<Counts> {
        let sql = "SELECT t.value, COUNT(*) FROM systems JOIN text_key_values t ON t.id = systems.id
                   WHERE t.key = 'status' AND unique_id BETWEEN ?1 AND ?2 GROUP BY t.value";
        let rows = self.file.query(sql, self.file.key.of_archive(), |row| {
            Ok((row.get::<_, StatusText>(0)?.0, row.get::<_, i64>(1)?))
        })?;
        let mut counts = Counts::default();
        for (status, n) in rows {
            *counts.of_mut(status) += n.unsigned_abs();
        }
        Ok(counts)
    }

    fn select(&self, condition: &str, range: (String, String)) -> Result<Vec<Entry>> {
        let sql = format!("SELECT {} FROM systems WHERE {condition} ORDER BY unique_id", rows::ENTRY_COLUMNS);
        self.file.query(&sql, range, |row| self.columns.read_entry(row, self.file.key))
    }

    /// Refuses an archive if its first structure has other atoms, another cell or another template than its system.
    fn check_columns(&self) -> Result<()> {
        let sql = "SELECT numbers, cell, pbc, positions FROM systems WHERE unique_id BETWEEN ?1 AND ?2 LIMIT 1";
        let differs = self.file.query(sql, self.file.key.of_archive(), |row| self.columns.difference(row))?;
        match differs.first() {
            Some(Some(what)) => Err(Error::bad_file(
                &self.file.path,
                format!(
                    "holds structures with {what} than this configuration; resume with the one it was started with"
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// The error for an archive that is not there. Beside it there may be the folders of several runs.
fn missing(path: &Path) -> Error {
    let name = path.file_name().unwrap_or_default();
    let beside = std::fs::read_dir(crate::disk::folder_of(path)).into_iter().flatten().flatten();
    let run = beside.map(|entry| entry.path()).filter(|folder| folder.join(name).is_file()).min();
    Error::bad_file(
        path,
        match run {
            Some(run) => format!(
                "no such archive, but its folder holds runs; name one or more of them, such as {}",
                run.display()
            ),
            None => "no such archive; name the folder of a run or its archive.db".to_owned(),
        },
    )
}

impl ArchiveFile {
    fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(missing(path));
        }
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let foreign = || Error::bad_file(path, "is not an archive written by godiff; give the archive.db of a run");
        if !schema::is_plain(&connection).map_err(|error| open_error(path, &error))? {
            let message = "holds views, triggers or computed columns, which no archive of godiff has; give the archive.db of a run";
            return Err(Error::bad_file(path, message));
        }
        let read = |name: &str| -> Result<String> {
            let sql = "SELECT value FROM information WHERE name = ?1";
            match connection.query_row(sql, [name], |row| row.get(0)).optional() {
                Ok(value) => value.ok_or_else(foreign),
                // SQLite's general error: there is no such table.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => Err(foreign()),
                Err(error) => Err(open_error(path, &error)),
            }
        };
        match read("godiff_format")?.parse::<u32>() {
            Ok(schema::FORMAT) => {}
            Ok(newer) if newer > schema::FORMAT => {
                let message =
                    format!("was written by a newer godiff (archive format {newer}); update godiff to read it");
                return Err(Error::bad_file(path, message));
            }
            Ok(older) => return Err(older_format(path, older)),
            Err(_) => return Err(foreign()),
        }
        let seed = read("godiff_seed")?.parse().map_err(|_| foreign())?;
        let key = Key::from_hex(&read("godiff_archive")?).ok_or_else(foreign)?;
        let calculator = read("godiff_calculator")?;
        Ok(ArchiveFile { connection, path: path.to_owned(), key, seed, calculator })
    }

    fn query<T>(
        &self,
        sql: &str,
        (first, last): (String, String),
        mut read: impl FnMut(&Row) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut collect = || -> rusqlite::Result<Vec<T>> {
            self.connection.prepare_cached(sql)?.query_map(params![first, last], &mut read)?.collect()
        };
        collect().map_err(|error| storage_error(&self.path, &error))
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // EXTRA is FULL and one more sync of the folder. Without it a power cut could bring the journal of a finished transaction
        // back.
        connection.pragma_update(None, "synchronous", "EXTRA")?;
        // The file may come from anywhere. So its schema is not trusted, and its pages are checked.
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        Ok(connection)
    };
    open().map_err(|error| open_error(path, &error))
}

/// Whether the file `path` is there and holds tables: a run that is killed early may leave none.
fn is_made(path: &Path) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    has_tables(&connection).map_err(|error| open_error(path, &error))
}

fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT COUNT(*) > 0 FROM sqlite_master", [], |row| row.get(0))
}

#[cfg(test)]
mod tests;
