//! Rows of `systems` and its side tables: how ASE lays out arrays, constraints and key-value pairs.
//!
//! Arrays are little-endian blobs, positions and forces N × 3 f64, the cell 3 × 3 f64 by rows, numbers N i32; the
//! periodicity is a bit field 1, 2, 4; times are years since 1 January 2000.

use super::entry::{Entry, Origin, Status};
use super::schema::Key;
use crate::system::{Cell, System, Vec3};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, Type, ValueRef};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Columns that [`SharedColumns::read_entry`] expects.
pub const ENTRY_COLUMNS: &str = "unique_id, key_value_pairs, positions, energy, forces";

/// ASE's `data` column for a row without data: the offset of the JSON text, then the text.
const NO_DATA: &[u8] = b"\x08\0\0\0\0\0\0\0{}";

/// Key-value pairs of a row. Pairs that a user adds through ASE are not read.
#[derive(Serialize, Deserialize)]
pub struct KeyValuePairs {
    /// Iteration of the search.
    pub iteration: u32,
    /// Index within the iteration (ASE users know `index` as something else).
    pub sample: u32,
    /// Temperature, eV.
    pub kt_ev: f64,
    /// What became of the structure.
    pub status: Status,
    /// Where the structure comes from. A user may have added a key of this name with another text.
    #[serde(default, deserialize_with = "known_origin", skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The predicted energy, eV. A user may have added a key of this name with another value.
    #[serde(default, deserialize_with = "known_number", skip_serializing_if = "Option::is_none")]
    pub predicted_ev: Option<f64>,
}

fn known_origin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Origin>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().and_then(Origin::from_text))
}

fn known_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.as_f64())
}

/// The columns that are the same in all rows of an archive, encoded once.
#[derive(Debug)]
pub struct SharedColumns {
    numbers: Vec<u8>,
    template: Vec<u8>,
    cell: Vec<u8>,
    pbc: u8,
    constraints: Option<String>,
    volume: Option<f64>,
    species: Vec<(u8, u32)>,
    n_template: usize,
    n_free: usize,
}

impl SharedColumns {
    /// The shared columns for `system`.
    pub fn new(system: &System) -> Self {
        let numbers = system.numbers();
        let mut species = BTreeMap::<u8, u32>::new();
        for &number in &numbers {
            *species.entry(number).or_default() += 1;
        }
        let n_template = system.n_template();
        SharedColumns {
            numbers: numbers.iter().flat_map(|&number| i32::from(number).to_le_bytes()).collect(),
            template: encode(&system.template_positions),
            cell: encode(&system.cell.vectors),
            pbc: (0..3).map(|axis| u8::from(system.cell.periodic[axis]) << axis).sum(),
            constraints: (n_template > 0).then(|| fix_atoms(n_template)),
            volume: volume(&system.cell),
            species: species.into_iter().collect(),
            n_template,
            n_free: system.n_free(),
        }
    }

    /// Inserts `entries` where they are not stored yet.
    pub fn insert(
        &self,
        connection: &Connection,
        key: Key,
        calculator: &str,
        entries: &[Entry],
    ) -> rusqlite::Result<()> {
        let mut system = connection.prepare_cached(
            "INSERT INTO systems (unique_id, ctime, mtime, username, numbers, positions, cell, pbc, constraints,
                 calculator, calculator_parameters, energy, forces, key_value_pairs, data, natoms, fmax, volume, charge)
             VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, '{}', ?10, ?11, ?12, ?13, ?14, ?15, ?16, 0.0)
             ON CONFLICT (unique_id) DO NOTHING",
        )?;
        let mut species = connection.prepare_cached("INSERT INTO species VALUES (?1, ?2, ?3)")?;
        let mut text = connection.prepare_cached("INSERT INTO text_key_values VALUES (?1, ?2, ?3)")?;
        let mut number = connection.prepare_cached("INSERT INTO number_key_values VALUES (?1, ?2, ?3)")?;
        let mut keys = connection.prepare_cached("INSERT INTO keys VALUES (?1, ?2)")?;
        let (time, user) = (years_since_2000(), std::env::var("USER").ok());
        for entry in entries {
            assert_eq!(entry.free_positions.len(), self.n_free, "one position per free atom");
            let forces = entry.forces.as_deref();
            assert!(forces.is_none_or(|forces| forces.len() == self.n_template + self.n_free), "one force per atom");
            let pairs = KeyValuePairs {
                iteration: entry.iteration,
                sample: entry.index,
                kt_ev: entry.kt_ev,
                status: entry.status,
                origin: entry.origin,
                predicted_ev: entry.predicted_ev,
            };
            let added = system.execute(params![
                key.unique_id(entry.iteration, entry.index),
                time,
                user,
                self.numbers,
                [&self.template[..], &encode(&entry.free_positions)].concat(),
                self.cell,
                self.pbc,
                self.constraints,
                calculator,
                entry.energy.filter(|energy| energy.is_finite()),
                forces.map(encode),
                serde_json::to_string(&pairs).expect("numbers and text are JSON"),
                NO_DATA,
                self.numbers.len() as i64 / 4,
                forces.and_then(|forces| largest_norm(&forces[self.n_template..])),
                self.volume,
            ])?;
            if added == 0 {
                continue;
            }
            let id = connection.last_insert_rowid();
            for &(z, n) in &self.species {
                species.execute(params![z, n, id])?;
            }
            text.execute(params!["status", entry.status.as_str(), id])?;
            for (name, value) in
                [("iteration", f64::from(entry.iteration)), ("sample", f64::from(entry.index)), ("kt_ev", entry.kt_ev)]
            {
                number.execute(params![name, value, id])?;
            }
            for name in ["iteration", "sample", "kt_ev", "status"] {
                keys.execute(params![name, id])?;
            }
            if let Some(origin) = entry.origin {
                text.execute(params!["origin", origin.as_str(), id])?;
                keys.execute(params!["origin", id])?;
            }
            if let Some(predicted) = entry.predicted_ev {
                number.execute(params!["predicted_ev", predicted, id])?;
                keys.execute(params!["predicted_ev", id])?;
            }
        }
        Ok(())
    }

    /// The entry in a row of [`ENTRY_COLUMNS`].
    pub fn read_entry(&self, row: &Row, key: Key) -> rusqlite::Result<Entry> {
        let (iteration, index) = key.parse(row.get_ref(0)?.as_str()?)?;
        let KeyValuePairs { kt_ev, status, origin, predicted_ev, .. } = key_value_pairs(row, 1)?;
        let n_atoms = self.n_template + self.n_free;
        let positions = vectors(row, 2)?.filter(|positions| positions.len() == n_atoms);
        let forces = vectors(row, 4)?;
        let whole = forces.as_ref().is_none_or(|forces| forces.len() == n_atoms);
        let Some(mut positions) = positions.filter(|_| whole) else {
            return Err(damaged(format!("positions or forces of iteration {iteration}, sample {index}")));
        };
        let free_positions = positions.split_off(self.n_template);
        let energy = row.get(3)?;
        Ok(Entry { iteration, index, kt_ev, status, origin, predicted_ev, free_positions, energy, forces })
    }

    /// The first property (numbers, cell, pbc, positions) in which a row differs from these, if it does.
    pub fn difference(&self, row: &Row) -> rusqlite::Result<Option<&'static str>> {
        Ok(if row.get_ref(0)?.as_blob()? != self.numbers {
            Some("other atoms")
        } else if row.get_ref(1)?.as_blob()? != self.cell || row.get::<_, u8>(2)? != self.pbc {
            Some("another cell")
        } else if !row.get_ref(3)?.as_blob()?.starts_with(&self.template) {
            Some("another template")
        } else {
            None
        })
    }
}

/// A status in a text column.
pub struct StatusText(pub Status);

impl FromSql for StatusText {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Status::from_text(text).map(StatusText).ok_or_else(|| FromSqlError::Other(format!("status '{text}'").into()))
    }
}

/// The error for a row that godiff cannot have written.
pub fn damaged(what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, what.into())
}

/// Key-value pairs in column `column`.
pub fn key_value_pairs(row: &Row, column: usize) -> rusqlite::Result<KeyValuePairs> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| damaged(format!("key-value pairs {text}: {error}")))
}

/// The N × 3 array in column `column`, if it is not NULL.
pub fn vectors(row: &Row, column: usize) -> rusqlite::Result<Option<Vec<Vec3>>> {
    let Some(blob) = row.get_ref(column)?.as_blob_or_null()? else { return Ok(None) };
    let (rows, rest) = blob.as_chunks::<24>();
    if !rest.is_empty() {
        return Err(damaged(format!("an array of {} bytes", blob.len())));
    }
    let float = |bytes: &[u8; 24], k: usize| f64::from_le_bytes(std::array::from_fn(|b| bytes[8 * k + b]));
    Ok(Some(rows.iter().map(|bytes| std::array::from_fn(|k| float(bytes, k))).collect()))
}

fn encode(vectors: &[Vec3]) -> Vec<u8> {
    vectors.iter().flatten().flat_map(|x| x.to_le_bytes()).collect()
}

/// ASE's JSON of a `FixAtoms` constraint on the first `n` atoms.
fn fix_atoms(n: usize) -> String {
    let indices: Vec<usize> = (0..n).collect();
    serde_json::json!([{ "name": "FixAtoms", "kwargs": { "indices": indices } }]).to_string()
}

/// Atoms that ASE's `constraints` text fixes with `FixAtoms`.
pub fn fixed_atoms(constraints: &str) -> Option<Vec<usize>> {
    #[derive(Deserialize)]
    struct Constraint {
        name: String,
        kwargs: Indices,
    }
    #[derive(Deserialize)]
    struct Indices {
        #[serde(default)]
        indices: Vec<usize>,
    }
    let constraints: Vec<Constraint> = serde_json::from_str(constraints).ok()?;
    Some(constraints.into_iter().filter(|c| c.name == "FixAtoms").flat_map(|c| c.kwargs.indices).collect())
}

/// |det| of the cell, Å³; `None` for a cell without volume, as ASE has it.
fn volume(cell: &Cell) -> Option<f64> {
    let [a, b, c] = cell.vectors;
    let det =
        a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
    (det != 0.0).then(|| det.abs())
}

/// Largest norm of a force, eV/Å; over the free atoms this is ASE's `fmax`, which counts constrained forces as 0.
fn largest_norm(forces: &[Vec3]) -> Option<f64> {
    let squares = forces.iter().map(|f| f.iter().map(|x| x * x).sum::<f64>());
    squares.reduce(|a, b| if b > a || b.is_nan() { b } else { a }).map(f64::sqrt)
}

/// ASE's clock.
fn years_since_2000() -> f64 {
    const UNIX_SECONDS_OF_2000: f64 = 946_681_200.0;
    const SECONDS_PER_YEAR: f64 = 31_557_600.0;
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    (unix - UNIX_SECONDS_OF_2000) / SECONDS_PER_YEAR
}
