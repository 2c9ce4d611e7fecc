//! Archives: single values of their rows replaced, and whole databases damaged.

use super::engine::{Form, Parser};
use super::parsers::template;
use godiff::archive::{Archive, Entry, Reader, Selection, Status, export};
use godiff::system::xyz::format_frames;
use godiff::system::{ConfinementSpec, System};
use rusqlite::Connection;
use rusqlite::types::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;

/// Columns of `systems` that are read, then the rows of `information`, then the table of statuses.
const COLUMNS: [&str; 9] =
    ["key_value_pairs", "numbers", "positions", "cell", "pbc", "constraints", "energy", "forces", "unique_id"];
const INFORMATION: [&str; 4] = ["godiff_format", "godiff_seed", "godiff_archive", "godiff_calculator"];

fn system() -> System {
    System::new(Some(&template()), "Pt2", Some(ConfinementSpec::AboveTemplate([0.0, 4.0])), None).unwrap()
}

/// A folder, in memory where the system has such a place.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
}

/// A small archive at `path`.
fn create(path: &Path) {
    let system = system();
    let mut archive = Archive::create(path, &system, "emt", 7).unwrap();
    let entries =
        [Status::Ok, Status::TooClose, Status::Failed, Status::Ok].iter().zip(0..).map(|(&status, index)| Entry {
            iteration: index / 2,
            index: index % 2,
            kt_ev: 0.5,
            status,
            origin: None,
            predicted_ev: None,
            free_positions: vec![[1.0, 2.0, 9.5], [3.0, 2.0, f64::from(index)]],
            energy: (status == Status::Ok).then_some(f64::from(index) - 2.5),
            forces: (status == Status::Ok).then(|| vec![[0.125; 3]; system.n_atoms()]),
        });
    archive.record(&entries.collect::<Vec<_>>()).unwrap();
}

/// All that commands read from an archive.
fn read(path: &Path, system: &System) -> Result<(), String> {
    let sentence = |error: godiff::Error| {
        assert!([2, 4].contains(&error.exit_code()), "{error}");
        error.to_string().replace(&*path.to_string_lossy(), "archive.db")
    };
    let exported = export(path, Selection::All, &mut |stored| {
        assert!(!format_frames(&[stored.structure.into()]).is_empty());
        Ok(())
    });
    let lowest = export(path, Selection::Lowest(2), &mut |_| Ok(()));
    let archive = Archive::open(path, system).map_err(sentence)?;
    let checks = [
        archive.entries(0).map(drop),
        archive.all_ok().map(drop),
        archive.candidates().map(drop),
        Reader::open(path).and_then(|reader| reader.list()).map(drop),
        archive.best().map(drop),
        archive.counts().map(drop),
        exported,
        lowest,
    ];
    checks.into_iter().collect::<godiff::Result<()>>().map_err(sentence)
}

/// A value as bytes: which it is, its type, its content.
fn record(which: usize, value: &Value) -> Vec<u8> {
    let (kind, content) = match value {
        Value::Null => (0, Vec::new()),
        Value::Integer(x) => (1, x.to_le_bytes().to_vec()),
        Value::Real(x) => (2, x.to_le_bytes().to_vec()),
        Value::Text(text) => (3, text.clone().into_bytes()),
        Value::Blob(bytes) => (4, bytes.clone()),
    };
    [&[which as u8, kind][..], &content].concat()
}

fn value(kind: u8, content: &[u8]) -> Value {
    let number = || content.first_chunk().copied().unwrap_or_default();
    match kind % 5 {
        0 => Value::Null,
        1 => Value::Integer(i64::from_le_bytes(number())),
        2 => Value::Real(f64::from_le_bytes(number())),
        3 => Value::Text(String::from_utf8_lossy(content).into_owned()),
        _ => Value::Blob(content.to_vec()),
    }
}

/// Rows of which one value is something else.
pub fn rows() -> Parser {
    let folder = folder();
    let path = folder.path().join("archive.db");
    create(&path);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY").unwrap();
    let select = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Value>(0)).unwrap();
    let places: Vec<(String, Value)> = COLUMNS
        .iter()
        .map(|column| {
            (
                format!("SELECT {column} FROM systems WHERE id = 1"),
                format!("UPDATE systems SET {column} = ?1 WHERE id = 1"),
            )
        })
        .chain(INFORMATION.iter().map(|name| {
            let from = format!("WHERE name = '{name}'");
            (format!("SELECT value FROM information {from}"), format!("UPDATE information SET value = ?1 {from}"))
        }))
        .chain([(
            "SELECT value FROM text_key_values WHERE id = 1".into(),
            "UPDATE text_key_values SET value = ?1 WHERE id = 1".into(),
        )])
        .map(|(question, update)| (update, select(&question)))
        .collect();
    let seeds = places.iter().enumerate().map(|(k, (_, value))| record(k, value)).collect();
    let (system, connection) = (system(), Mutex::new(connection));
    Parser {
        name: "rows",
        forms: vec![Form::raw(seeds)],
        tokens: vec![
            b"{",
            b"}",
            b"[",
            b"]",
            b":",
            b",",
            b"\"",
            b"null",
            b"-1",
            b"1e999",
            b"\"status\":\"ok\"",
            b"\"kt_ev\":",
            b"FixAtoms",
            b"indices",
            b"\xff\xff\xff\xff",
            b"\0\0\0\0\0\0\xf8\x7f",
            b"\0\0\0\0",
            b"18446744073709551615",
        ],
        read: Box::new(move |bytes| {
            let _keep = &folder;
            let [which, kind, content @ ..] = bytes else { return Err("no record".into()) };
            let (update, original) = &places[usize::from(*which) % places.len()];
            let connection = connection.lock().unwrap();
            // Two rows with one id are beyond SQLite.
            connection
                .execute(update, [value(*kind, content)])
                .map_err(|error| error.to_string().replace('\0', " "))?;
            let outcome = read(&path, &system);
            connection.execute(update, [original]).expect("the row can be changed back");
            outcome
        }),
        memory: (300_000, 100),
        longest: 100_000,
    }
}

/// Whole databases with damaged pages.
pub fn database() -> Parser {
    let folder = folder();
    let path: PathBuf = folder.path().join("archive.db");
    create(&path);
    let whole = fs::read(&path).unwrap();
    let system = system();
    Parser {
        name: "database",
        forms: vec![Form::raw(vec![whole])],
        tokens: vec![
            b"SQLite format 3\0",
            b"CREATE TABLE systems",
            b"CREATE VIEW ",
            b"unique_id",
            b"information",
            b"godiff_format",
            b"\x0d\0\0\0",
            b"\x05\0\0\0",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ],
        read: Box::new(move |bytes| {
            let _keep = &folder;
            fs::write(&path, bytes).expect("the file can be written");
            let _ = fs::remove_file(path.with_file_name("archive.db-journal"));
            read(&path, &system)
        }),
        memory: (1_000_000, 100),
        longest: 300_000,
    }
}
