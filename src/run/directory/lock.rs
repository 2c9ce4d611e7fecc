//! The lock of a run folder, held by the operating system on `.lock`; it dies with the process.

use crate::error::{Error, Result};
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

/// The file that is locked.
pub const LOCK: &str = ".lock";

/// How often a lock that another process holds is tried again, and the pause before each attempt.
const LOCK_RETRIES: usize = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Locks `folder` until the file is closed; `failed` makes an error of the operating system's.
///
/// # Errors
/// `BadInput` if another process holds the lock.
pub fn lock(folder: &Path, failed: impl Fn(io::Error) -> Error) -> Result<File> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(&failed)?;
    match try_lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::bad_file(folder, "another godiff is working in this folder; wait for it or name another folder"))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Locks `file`. [`is_held`] holds the lock for a moment. It must not keep a run from starting, so this tries
/// several times.
fn try_lock(file: &File) -> std::result::Result<(), TryLockError> {
    for _ in 0..LOCK_RETRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            result => return result,
        }
    }
    file.try_lock()
}

/// Whether a process holds the lock of `folder`.
pub fn is_held(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
