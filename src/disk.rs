//! Files that are either whole or missing, and sentences for the operating system's errors.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

/// Ending of files that are being written; after a kill, files with this ending are rubbish.
const UNFINISHED: &str = ".unfinished";

/// Writes `bytes` to `path` so that a reader, also after a kill or a power cut, finds either the old file or the new one. The
/// steps are: temporary file in the same folder, sync, rename, sync of the folder. A path that is not a regular file (a pipe, a
/// terminal) is written directly.
///
/// # Errors
/// `Storage`.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, bytes).map_err(|error| storage_error(path, &error))
}

/// [`write_atomic`] with the operating system's error.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, |error| error, |file| file.write_all(bytes))
}

/// [`write_atomic`] in the pieces that `make` gives one after the other.
///
/// # Errors
/// `Storage`, and those of `make`; then the file is as it was before.
pub fn write_growing(path: &Path, make: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>) -> Result<()> {
    let failed = |cause: io::Error| Error::storage(path, format!("cannot be written: {cause}"));
    replace(path, failed, |file| {
        let mut buffered = BufWriter::new(file);
        make(&mut |piece| buffered.write_all(piece).map_err(failed))?;
        buffered.flush().map_err(failed)
    })
}

/// Replaces the file `path` by one that `fill` writes, in the steps of [`write_atomic`]; `failed` makes an error of the operating
/// system's.
fn replace<E>(
    path: &Path,
    failed: impl Fn(io::Error) -> E,
    fill: impl FnOnce(&mut File) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return fill(&mut File::options().write(true).open(path).map_err(failed)?);
    }
    let name = path.file_name().ok_or_else(|| failed(ErrorKind::IsADirectory.into()))?.to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}.{}{UNFINISHED}", std::process::id()));
    let write = || {
        let mut file = File::create(&unfinished).map_err(&failed)?;
        fill(&mut file)?;
        file.sync_all().and_then(|()| fs::rename(&unfinished, path)).map_err(&failed)
    };
    write().inspect_err(|_| {
        // A full disk leaves half a file. If removing it fails too, nothing changes.
        let _ = fs::remove_file(&unfinished);
    })?;
    sync_folder(folder_of(path)).map_err(failed)
}

/// Makes the folder `path`, and those above it that are missing, with names that are durable: otherwise a power cut could take away
/// a folder with all that was synced in it.
pub fn make_folder(path: &Path) -> io::Result<()> {
    let is_missing = |folder: &&Path| *folder != Path::new("") && !folder.exists();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    fs::create_dir_all(path)?;
    missing.into_iter().rev().try_for_each(|folder| sync_folder(folder_of(folder)))
}

/// Makes names in `folder` durable, if the system can.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot sync folders.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

/// Removes the files that [`write_whole`] left in `folder` when it was killed.
pub fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') && name.to_string_lossy().ends_with(UNFINISHED) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The folder that holds `path`.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The sentence for a failed read or write of a run's file.
pub fn storage_error(path: &Path, error: &io::Error) -> Error {
    let sentence = match error.kind() {
        ErrorKind::StorageFull => "the disk is full; free some space and resume (a search with --resume)".to_owned(),
        ErrorKind::QuotaExceeded => {
            "your disk quota is used up; free some space and resume (a search with --resume)".to_owned()
        }
        ErrorKind::NotFound => "its folder is not there (any more); put it back or name another one".to_owned(),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            format!("cannot be written ({error}); make it and its folder writable or name another one")
        }
        _ => format!("writing failed ({error}); check the disk or name another place"),
    };
    Error::storage(path, sentence)
}

/// The sentence for an output folder that cannot be used at the start of a run.
pub fn output_folder_error(folder: &Path, error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => storage_error(folder, error),
        _ => Error::bad_file(folder, format!("cannot be used as output folder ({error}); name another one with --out")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_replaced_whole() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("best.xyz");
        for text in ["first", "", "a longer third text"] {
            write_atomic(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(names(folder.path()), ["best.xyz"]);
        }
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_rubbish() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        let error = write_atomic(&path, b"text").unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains("taken: writing failed"), "{error}");
        assert_eq!(names(folder.path()), ["taken"]);
    }

    #[test]
    fn a_removed_folder_is_named() {
        let folder = TempDir::new().unwrap();
        let error = write_atomic(&folder.path().join("gone/best.xyz"), b"text").unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains("gone/best.xyz: its folder is not there (any more)"), "{error}");
    }

    #[test]
    fn every_kind_of_error_has_its_sentence() {
        let path = Path::new("runs/a");
        for (kind, sentence) in [
            (ErrorKind::StorageFull, "the disk is full"),
            (ErrorKind::QuotaExceeded, "your disk quota is used up"),
            (ErrorKind::PermissionDenied, "make it and its folder writable"),
            (ErrorKind::ReadOnlyFilesystem, "make it and its folder writable"),
            (ErrorKind::Other, "check the disk"),
        ] {
            let error = storage_error(path, &kind.into());
            assert_eq!(error.exit_code(), 4);
            assert!(error.to_string().starts_with("runs/a: ") && error.to_string().contains(sentence), "{error}");
        }
        assert_eq!(output_folder_error(path, &ErrorKind::StorageFull.into()).exit_code(), 4);
        let error = output_folder_error(path, &ErrorKind::PermissionDenied.into());
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("runs/a: cannot be used as output folder (permission denied)"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn devices_are_written_directly() {
        write_atomic(Path::new("/dev/null"), b"text").unwrap();
        let error = write_atomic(Path::new("/dev/full"), b"text").unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains("/dev/full: the disk is full"), "{error}");
    }

    #[test]
    fn folders_are_made_with_those_above_them() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a/b/c");
        for _ in 0..2 {
            make_folder(&path).unwrap();
            assert!(path.is_dir());
        }
        make_folder(Path::new(".")).unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(make_folder(&folder.path().join("file")).is_err());
        assert!(make_folder(&folder.path().join("file/d")).is_err());
    }

    #[test]
    fn leftovers_of_a_kill_are_removed() {
        let folder = TempDir::new().unwrap();
        for name in [".best.xyz.123.unfinished", "best.xyz", ".lock", "notes.unfinished"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove_unfinished(folder.path()).unwrap();
        assert_eq!(names(folder.path()), [".lock", "best.xyz", "notes.unfinished"]);
    }
}
