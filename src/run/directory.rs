//! The folder of one run: made once, locked while in use, reopened to resume.
//!
//! `config.toml` (as resolved) makes a folder a run. `summary.json` is there before it and knows the seed, so a run can be
//! resumed from its first moment on. The lock is held on `.lock` by the operating system and dies with the process.

mod differences;
mod extension;
mod lock;
mod segments;

pub use segments::Segment;

use super::checkpoint::{Checkpoint, CheckpointFolder, SearchProgress};
use super::metrics::{IterationMetrics, MetricsFile};
use super::summary::Summary;
use crate::config::Settings;
use crate::disk::{
    folder_of, make_folder, output_folder_error, remove_unfinished, storage_error, sync_folder, write_atomic,
    write_whole,
};
use crate::engine::ModelState;
use crate::error::{Error, Result};
use differences::{Differences, HOURS, refused};
use extension::Asked;
use lock::lock;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.toml";
const SUMMARY: &str = "summary.json";
const METRICS: &str = "metrics.jsonl";
const CHECKPOINTS: &str = "checkpoint";
const ARCHIVE: &str = "archive.db";
const BEST: &str = "best.xyz";
const MODEL: &str = "model.safetensors";
const REPORT: &str = "report.html";
const SEGMENTS: &str = "segments.json";
/// Folder for the structures that the potential gave up on.
const FAILED: &str = "failed";

/// Files that show that a folder holds a run. A kill in the first moment leaves `summary.json` alone.
const MARKS: [&str; 7] = [CONFIG, METRICS, CHECKPOINTS, ARCHIVE, BEST, MODEL, REPORT];

/// The folder of a run that this process alone writes to.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    config_checksum: u32,
    /// The segments of a run that was extended; empty for every other run.
    segments: Vec<Segment>,
    metrics: MetricsFile,
    checkpoints: CheckpointFolder,
    /// The lock ends when this file is closed.
    _lock: File,
}

/// A run that is resumed.
#[derive(Debug)]
pub struct Resumed {
    /// Its folder.
    pub directory: RunDirectory,
    /// Its seed.
    pub seed: u64,
    /// Its newest whole checkpoint; `None` if no iteration was finished.
    pub checkpoint: Option<Checkpoint>,
    /// Sentences that the user should see, for example that an older checkpoint was used.
    pub notes: Vec<String>,
}

impl RunDirectory {
    /// A new run in the folder `path`, which is made if it is missing. `config_toml` is the configuration as resolved,
    /// `summary` the one to start with ([`Summary::new`]).
    ///
    /// # Errors
    /// `BadInput` if the folder cannot be made or written, holds a run already or is in use; `Storage` for a full disk.
    pub fn create(path: &Path, config_toml: &str, summary: &Summary) -> Result<Self> {
        let failed = |error: io::Error| output_folder_error(path, &error);
        make_folder(path).map_err(failed)?;
        let lock = lock(path, failed)?;
        if let Some(mark) = MARKS.iter().find(|mark| path.join(mark).exists()) {
            let message =
                format!("holds another run already ({mark}); continue it with --resume or name another folder");
            return Err(Error::bad_file(path, message));
        }
        remove_unfinished(path).map_err(failed)?;
        write_whole(&path.join(SUMMARY), &summary_bytes(summary)).map_err(failed)?;
        write_whole(&path.join(CONFIG), config_toml.as_bytes()).map_err(failed)?;
        let checkpoints = CheckpointFolder::open(path.join(CHECKPOINTS)).map_err(failed)?;
        sync_folder(folder_of(path)).map_err(failed)?;
        let (metrics, _) = MetricsFile::resume(path.join(METRICS), 0)?;
        let config_checksum = checksum(config_toml);
        let (path, segments) = (path.to_owned(), Vec::new());
        Ok(RunDirectory { path, config_checksum, segments, metrics, checkpoints, _lock: lock })
    }

    /// A new run in `runs/<name>-NNN`, NNN the number after the highest in use. Processes that start together get different
    /// numbers.
    ///
    /// # Errors
    /// Those of [`RunDirectory::create`].
    pub fn create_next(runs: &Path, name: &str, config_toml: &str, summary: &Summary) -> Result<Self> {
        RunDirectory::create(&RunDirectory::next_folder(runs, name)?, config_toml, summary)
    }

    /// Makes the folder `runs/<name>-NNN`, numbered as for [`RunDirectory::create_next`].
    ///
    /// # Errors
    /// `BadInput` if it cannot be made, `Storage` for a full disk.
    pub fn next_folder(runs: &Path, name: &str) -> Result<PathBuf> {
        let failed = |error: io::Error| output_folder_error(runs, &error);
        make_folder(runs).map_err(failed)?;
        let mut number = numbered(runs, name).map_err(failed)?.last().map_or(1, |(highest, _)| highest + 1);
        loop {
            let path = runs.join(format!("{name}-{number:03}"));
            match fs::create_dir(&path) {
                Ok(()) => return sync_folder(runs).map_err(failed).map(|()| path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(output_folder_error(&path, &error)),
            }
        }
    }

    /// The folder of the latest run `runs/<name>-NNN`: what `--resume` means without `--out`.
    ///
    /// # Errors
    /// `BadInput` if there is none.
    pub fn latest(runs: &Path, name: &str) -> Result<PathBuf> {
        let newest = numbered(runs, name).unwrap_or_default().pop();
        newest.map(|(_, path)| path).ok_or_else(|| {
            let message =
                format!("has no run {name}-NNN to resume; name the run's folder with --out, or start without --resume");
            Error::bad_file(runs, message)
        })
    }

    /// The run in the folder `path`, to resume with the configuration `config_toml` (as resolved), which must be that of the run. Lines
    /// of `metrics.jsonl` after the checkpoint are cut off.
    ///
    /// # Errors
    /// `BadInput` if there is no run, it is in use, the configuration has changed, or no checkpoint is whole or of this format;
    /// `Storage` if the folder cannot be written.
    pub fn resume(path: &Path, config_toml: &str) -> Result<Resumed> {
        let lock = RunDirectory::hold(path)?;
        let segments = segments::read(&path.join(SEGMENTS))?;
        let started = Differences::started_of(path, &segments)?;
        match Differences::between(path, &started, config_toml)?.first() {
            Some(difference) => Err(refused(path, difference)),
            None => RunDirectory::reopen(path, lock, config_toml, &started, segments),
        }
    }

    /// As [`RunDirectory::resume`], with the configuration of `settings`. It may differ from that of the run in the keys that extend a
    /// run: its budget, its last temperature, its time limit and its target. The folder then has a new [`Segment`].
    ///
    /// # Errors
    /// Those of [`RunDirectory::resume`]; `BadInput` if the new budget is smaller than what is done, or the new keys change nothing.
    pub fn extend(path: &Path, settings: &Settings) -> Result<Resumed> {
        let lock = RunDirectory::hold(path)?;
        let segments = segments::read(&path.join(SEGMENTS))?;
        let started = Differences::started_of(path, &segments)?;
        let asked = Asked::new(path, settings, &segments);
        let differences = Differences::between(path, &started, &asked.config_toml)?;
        if let Some(difference) = differences.iter().find(|difference| !difference.extends) {
            return Err(refused(path, difference));
        }
        settings.check_copies(path)?;
        let (segments, notes) = asked.extend(path, &started, &differences, segments)?;
        let mut resumed = RunDirectory::reopen(path, lock, &asked.config_toml, &started, segments)?;
        resumed.notes.extend(notes);
        Ok(resumed)
    }

    /// Locks the folder of an old run until the file is closed, and removes what a kill left half written there.
    ///
    /// # Errors
    /// `BadInput` if there is no run or it is in use, `Storage`.
    pub fn hold(path: &Path) -> Result<File> {
        if !path.join(CONFIG).is_file() {
            return Err(Error::bad_file(
                path,
                "holds no run to resume; name the folder of a run, or start without --resume",
            ));
        }
        let failed = |error: io::Error| storage_error(path, &error);
        let lock = lock(path, failed)?;
        remove_unfinished(path).map_err(failed)?;
        // A missing folder holds no rubbish.
        let _ = remove_unfinished(&path.join(FAILED));
        Ok(lock)
    }

    fn reopen(path: &Path, lock: File, config: &str, started: &str, segments: Vec<Segment>) -> Result<Resumed> {
        let failed = |error: io::Error| storage_error(path, &error);
        let checkpoints = CheckpointFolder::open(path.join(CHECKPOINTS)).map_err(failed)?;
        let earlier = segments.iter().map(|segment| segment.config.as_str());
        let checksums: Vec<u32> = [config, started].into_iter().chain(earlier).map(checksum).collect();
        let (checkpoint, notes) = checkpoints.newest(&checksums)?.unzip();
        let seed =
            checkpoint.as_ref().map_or_else(|| seed_of_summary(path), |checkpoint| Ok(checkpoint.progress.seed))?;
        let n_done = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.progress.iterations_done);
        let (metrics, n_lost) = MetricsFile::resume(path.join(METRICS), n_done)?;
        let mut notes = notes.unwrap_or_default();
        if n_lost > 0 {
            let file = path.join(METRICS);
            let file = file.display();
            notes.push(format!(
                "{file}: {n_lost} of {n_done} lines are missing or damaged; the search does not need them"
            ));
        }
        let (path, config_checksum) = (path.to_owned(), checksum(config));
        let directory = RunDirectory { path, config_checksum, segments, metrics, checkpoints, _lock: lock };
        Ok(Resumed { directory, seed, checkpoint, notes })
    }

    /// Puts a finished iteration on the disk: its line of metrics, then the checkpoint. A kill in between leaves a line that
    /// [`RunDirectory::resume`] cuts off, since the iteration is then done again.
    ///
    /// # Errors
    /// `Storage`.
    pub fn finish_iteration(
        &mut self,
        metrics: &IterationMetrics,
        progress: SearchProgress,
        model: ModelState,
    ) -> Result<()> {
        self.metrics.append(std::slice::from_ref(metrics))?;
        self.checkpoints.write(&Checkpoint { progress, config_checksum: self.config_checksum, model })
    }

    /// Appends lines to the metrics of a run that has no checkpoints.
    ///
    /// # Errors
    /// `Storage`.
    pub fn append_metrics(&mut self, metrics: &[IterationMetrics]) -> Result<()> {
        self.metrics.append(metrics)
    }

    /// The segments of a run that was extended, in their order; empty for every other run.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// [`RunDirectory::segments`] of the run in `folder`.
    ///
    /// # Errors
    /// `BadInput` if the file is damaged.
    pub fn segments_of(folder: &Path) -> Result<Vec<Segment>> {
        segments::read(&folder.join(SEGMENTS))
    }

    /// The present `summary.json`, if it can be read.
    pub fn summary(&self) -> Option<Summary> {
        RunDirectory::summary_of(&self.path)
    }

    /// The summary of the run in `folder`, if that can be read.
    pub fn summary_of(folder: &Path) -> Option<Summary> {
        fs::read(folder.join(SUMMARY)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    /// Whether the run in `folder` has the configuration and the target of `settings`, time limits apart: if it is done, nothing is
    /// left to do.
    pub fn has_settings(folder: &Path, settings: &Settings) -> bool {
        let compare = || -> Result<bool> {
            let segments = segments::read(&folder.join(SEGMENTS))?;
            let started = Differences::started_of(folder, &segments)?;
            let asked = Asked::new(folder, settings, &segments);
            let differences = Differences::between(folder, &started, &asked.config_toml)?;
            Ok(!asked.has_new_target() && differences.iter().all(|difference| difference.key == HOURS))
        };
        compare().unwrap_or(false)
    }

    /// Whether two configurations ask the same of a run, as far as its method uses them.
    pub fn is_same_run(before: &Settings, now: &Settings) -> bool {
        let differences = Differences::between(Path::new(""), &before.to_toml(), &now.to_toml());
        differences.is_ok_and(|differences| differences.is_empty())
    }

    /// Whether `folder` holds a run that can be resumed.
    pub fn exists(folder: &Path) -> bool {
        folder.join(CONFIG).is_file()
    }

    /// Whether a process works in `folder` now, as far as this machine can see. On file systems without locks between machines,
    /// work of another machine stays hidden.
    pub fn is_in_use(folder: &Path) -> bool {
        lock::is_held(folder)
    }

    /// `failed/`: structures that the potential gave up on.
    pub fn failures_path(&self) -> PathBuf {
        self.path.join(FAILED)
    }

    /// `archive.db` of the run in `folder`.
    pub fn archive_of(folder: &Path) -> PathBuf {
        folder.join(ARCHIVE)
    }

    /// `config.toml` of the run in `folder`.
    pub fn config_of(folder: &Path) -> PathBuf {
        folder.join(CONFIG)
    }

    /// `metrics.jsonl` of the run in `folder`: a line for every iteration.
    pub fn metrics_of(folder: &Path) -> PathBuf {
        folder.join(METRICS)
    }

    /// `report.html` of the run in `folder`.
    pub fn report_of(folder: &Path) -> PathBuf {
        folder.join(REPORT)
    }

    /// Replaces `summary.json`.
    ///
    /// # Errors
    /// `Storage`.
    pub fn write_summary(&self, summary: &Summary) -> Result<()> {
        write_atomic(&self.path.join(SUMMARY), &summary_bytes(summary))
    }

    /// Replaces `best.xyz` by `xyz`.
    ///
    /// # Errors
    /// `Storage`.
    pub fn write_best(&self, xyz: &[u8]) -> Result<()> {
        write_atomic(&self.best_path(), xyz)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `archive.db`: everything evaluated.
    pub fn archive_path(&self) -> PathBuf {
        self.path.join(ARCHIVE)
    }

    /// `best.xyz`: the structure of lowest energy.
    pub fn best_path(&self) -> PathBuf {
        self.path.join(BEST)
    }

    /// `model.safetensors`: the model after the last iteration.
    pub fn model_path(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// `metrics.jsonl`: a line for every iteration.
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join(METRICS)
    }
}

fn checksum(config_toml: &str) -> u32 {
    crc32fast::hash(config_toml.as_bytes())
}

fn summary_bytes(summary: &Summary) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(summary).expect("numbers and text are JSON");
    bytes.push(b'\n');
    bytes
}

fn seed_of_summary(folder: &Path) -> Result<u64> {
    let path = folder.join(SUMMARY);
    RunDirectory::summary_of(folder).map(|summary| summary.seed).ok_or_else(|| {
        let message = "is needed for the seed of a run without checkpoint, but is missing or damaged; start a new run";
        Error::bad_file(&path, message)
    })
}

/// The folders `runs/<name>-NNN` by number.
fn numbered(runs: &Path, name: &str) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(runs)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let number = file_name.to_str().and_then(|text| text.strip_prefix(name)?.strip_prefix('-')?.parse().ok());
        found.extend(number.map(|number: u32| (number, entry.path())));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
