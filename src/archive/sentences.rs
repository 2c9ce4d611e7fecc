//! What SQLite's errors mean to the user of a run.

use super::schema::FORMAT;
use crate::error::Error;
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_READONLY_DBMOVED;
use std::path::Path;

/// The sentence for an error while a run reads or writes its archive.
pub fn storage_error(path: &Path, error: &rusqlite::Error) -> Error {
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
            format!("is damaged ({error}); restore it from a copy, or recover what is left with sqlite3's .recover")
        }
        Some(_) => format!("reading or writing failed ({error}); check the disk, then continue with --resume"),
        None => format!("holds a row that godiff did not write ({error}); restore the file from a copy"),
    };
    Error::storage(path, sentence)
}

/// The sentence for an error while an archive is opened.
pub fn open_error(path: &Path, error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
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
