//! SQLite's errors as sentences for the user of a run.

use super::schema::FORMAT;
use crate::disk;
use crate::error::Error;
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_READONLY_DBMOVED;
use std::io::{self, ErrorKind};
use std::path::Path;

/// SQLite's message as part of a sentence. The message may quote a whole table definition, with any bytes that damage has left
/// there.
fn brief(error: &rusqlite::Error) -> String {
    const LONGEST: usize = 120;
    let text = error.to_string();
    let mut words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut brief = words.next().unwrap_or_default().to_owned();
    for word in words {
        brief.push(' ');
        brief.push_str(word);
    }
    match brief.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &brief[..end]),
        None => brief,
    }
}

/// The system's error for a new file next to `path`, if the error is that there is no room. SQLite reports a full disk for data
/// only, not for a journal that cannot be made.
fn no_room(path: &Path) -> Option<Error> {
    let probe = path.with_file_name(format!(".archive.{}.unfinished", std::process::id()));
    let written = std::fs::write(&probe, [0; 8192]);
    let _ = std::fs::remove_file(&probe);
    let full = |error: &io::Error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    written.err().filter(full).map(|error| disk::storage_error(path, &error))
}

/// The sentence for an error while a run reads or writes its archive.
pub fn storage_error(path: &Path, error: &rusqlite::Error) -> Error {
    if let Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) = error.sqlite_error_code()
        && let Some(error) = no_room(path)
    {
        return error;
    }
    let moved = error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_READONLY_DBMOVED);
    let sentence = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full; free some space, then continue with --resume".to_owned(),
        Some(ErrorCode::ReadOnly) if moved => {
            "was moved or removed while the run used it; put it back, then continue with --resume".to_owned()
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "cannot be written; make the file and its folder writable, then continue with --resume".to_owned()
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program keeps it locked; close that program, then continue with --resume".to_owned()
        }
        Some(ErrorCode::CannotOpen) => {
            "cannot be opened; check that its folder still exists and is writable, then continue with --resume"
                .to_owned()
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            format!(
                "is damaged ({}); restore it from a copy, or recover what is left with sqlite3's .recover",
                brief(error)
            )
        }
        Some(_) => format!("reading or writing failed ({}); check the disk, then continue with --resume", brief(error)),
        None => format!("holds a row that godiff did not write ({}); restore the file from a copy", brief(error)),
    };
    Error::storage(path, sentence)
}

/// The sentence for an error while an archive is opened.
pub fn open_error(path: &Path, error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) if no_room(path).is_some() => storage_error(path, error),
        Some(ErrorCode::NotADatabase) => {
            Error::bad_file(path, "is not an SQLite database; give the archive.db of a run")
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            Error::bad_file(path, "cannot be opened; check that it is a file and that you may read and write it")
        }
        _ => storage_error(path, error),
    }
}

/// The sentence for an archive that has lost structures.
pub fn incomplete(path: &Path, n_found: u64, n_recorded: u64) -> Error {
    let message = format!(
        "holds {n_found} of the {n_recorded} structures that this run has recorded; put the run's own archive back, or start a \
         new run without --resume"
    );
    Error::storage(path, message)
}

/// The sentence for an archive of an earlier format.
pub fn older_format(path: &Path, version: u32) -> Error {
    let message = format!(
        "was written by an older godiff (archive format {version}), and this one reads format {FORMAT} only; use the godiff \
         that wrote it, or `ase db`, which reads every format"
    );
    Error::bad_file(path, message)
}
