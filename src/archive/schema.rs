//! Tables of ASE's database, version 9 (`ase/db/sqlite.py` of ASE 3.29), and the keys of godiff's rows.

use rusqlite::{Connection, TransactionBehavior, params};
use std::hash::{BuildHasher, Hasher, RandomState};

/// Version of ASE's schema that is written.
const ASE_VERSION: &str = "9";

/// Version of godiff's additions: the form of `unique_id` and the keys of a row.
pub const FORMAT: u32 = 1;

/// Condition on `systems` for entries with status `ok`.
pub const STATUS_OK: &str = "systems.id IN (SELECT id FROM text_key_values WHERE key = 'status' AND value = 'ok')";

/// Tables and indices under ASE's names, with columns in ASE's order (it reads them by position). AUTOINCREMENT is needed: ASE
/// learns the id of a new row from `sqlite_sequence`.
const TABLES: &str = "
CREATE TABLE systems (
    id INTEGER PRIMARY KEY AUTOINCREMENT, unique_id TEXT UNIQUE, ctime REAL, mtime REAL, username TEXT,
    numbers BLOB, positions BLOB, cell BLOB, pbc INTEGER, initial_magmoms BLOB, initial_charges BLOB, masses BLOB,
    tags BLOB, momenta BLOB, constraints TEXT, calculator TEXT, calculator_parameters TEXT,
    energy REAL, free_energy REAL, forces BLOB, stress BLOB, dipole BLOB, magmoms BLOB, magmom REAL, charges BLOB,
    key_value_pairs TEXT, data BLOB, natoms INTEGER, fmax REAL, smax REAL, volume REAL, mass REAL, charge REAL);
CREATE TABLE species (Z INTEGER, n INTEGER, id INTEGER, FOREIGN KEY (id) REFERENCES systems(id));
CREATE TABLE keys (key TEXT, id INTEGER, FOREIGN KEY (id) REFERENCES systems(id));
CREATE TABLE text_key_values (key TEXT, value TEXT, id INTEGER, FOREIGN KEY (id) REFERENCES systems(id));
CREATE TABLE number_key_values (key TEXT, value REAL, id INTEGER, FOREIGN KEY (id) REFERENCES systems(id));
CREATE TABLE information (name TEXT, value TEXT);
CREATE INDEX unique_id_index ON systems(unique_id);
CREATE INDEX ctime_index ON systems(ctime);
CREATE INDEX username_index ON systems(username);
CREATE INDEX calculator_index ON systems(calculator);
CREATE INDEX species_index ON species(Z);
CREATE INDEX key_index ON keys(key);
CREATE INDEX text_index ON text_key_values(key);
CREATE INDEX number_index ON number_key_values(key);
";

/// Makes the tables in one transaction, so that a kill leaves all of them or none.
pub fn create(connection: &mut Connection, calculator: &str, seed: u64) -> rusqlite::Result<Key> {
    let key = Key::random(seed);
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    let metadata = serde_json::json!({ "title": "GO-Diff search", "key_descriptions": {
        "iteration": ["Iteration", "Iteration of the search, from 0", ""],
        "sample": ["Sample", "Index within the iteration, from 0", ""],
        "kt_ev": ["kT", "Temperature of the iteration", "eV"],
        "status": ["Status", "What became of the sample", ""],
        "origin": ["Origin", "Where the sample comes from; own: a structure that the user gave", ""],
    }});
    for (name, value) in [
        ("version", ASE_VERSION.to_owned()),
        ("metadata", metadata.to_string()),
        ("godiff_format", FORMAT.to_string()),
        ("godiff_archive", key.to_hex()),
        ("godiff_seed", seed.to_string()),
        ("godiff_calculator", calculator.to_lowercase()),
    ] {
        transaction.execute("INSERT INTO information VALUES (?1, ?2)", params![name, value])?;
    }
    transaction.commit()?;
    Ok(key)
}

/// Whether all names of the schema belong to plain tables. A view, a virtual table or a generated column computes anything its
/// author wanted, possibly without end, and a trigger acts when a row is written.
pub fn is_plain(connection: &Connection) -> rusqlite::Result<bool> {
    // Views and virtual tables have no root page.
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'trigger' OR rootpage = 0)
                  AND NOT EXISTS (SELECT 1 FROM sqlite_master t JOIN pragma_table_xinfo(t.name) c
                                  WHERE t.type = 'table' AND c.hidden <> 0)";
    connection.query_row(sql, [], |row| row.get(0))
}

/// The archive's own half of every `unique_id`, so that archives can be merged with `ase db`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    fn random(seed: u64) -> Self {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(seed);
        Key(hasher.finish())
    }

    /// Reads what [`Key::to_hex`] wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Key)
    }

    /// 16 hexadecimal digits.
    pub fn to_hex(self) -> String {
        format!("{:016x}", self.0)
    }

    /// The id of (iteration, index): 32 hexadecimal digits, as ASE's own are.
    pub fn unique_id(self, iteration: u32, index: u32) -> String {
        format!("{:016x}{iteration:08x}{index:08x}", self.0)
    }

    /// First and last id of `iteration`.
    pub fn of_iteration(self, iteration: u32) -> (String, String) {
        (self.unique_id(iteration, 0), self.unique_id(iteration, u32::MAX))
    }

    /// First and last id of the archive.
    pub fn of_archive(self) -> (String, String) {
        (self.unique_id(0, 0), self.unique_id(u32::MAX, u32::MAX))
    }

    /// (iteration, index) of an id.
    pub fn parse(self, unique_id: &str) -> rusqlite::Result<(u32, u32)> {
        let part = |range| unique_id.get(range).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match (part(16..24), part(24..32)) {
            (Some(iteration), Some(index)) => Ok((iteration, index)),
            _ => Err(super::rows::damaged(format!("unique_id '{unique_id}'"))),
        }
    }
}
