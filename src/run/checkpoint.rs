//! Checkpoints: together with its archive, a run resumes from one bit for bit.
//!
//! A file, all numbers little-endian:
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `GODIFFCP` |
//! | 4 | format version, u32 |
//! | 8 | H, length of the header, u64 |
//! | 8 | P, number of parameters, u64 |
//! | H | header, JSON |
//! | 3·8·P | parameters, first moments, second moments, f64 |
//! | 4 | CRC-32 of all bytes before, u32 |
//!
//! Every later version keeps the first 12 bytes and the last 4, so that damage can be distinguished from a newer format. A CRC-32
//! notices every change within 32 neighbouring bits.

use super::summary::{RunStatus, Summary};
use crate::disk::{folder_of, make_folder, remove_unfinished, storage_error, write_atomic};
use crate::engine::{ModelState, PlateauSchedule};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"GODIFFCP";
const VERSION: u32 = 1;
/// Bytes before the header (`PREFIX`) and after the arrays (`SUFFIX`).
const PREFIX: usize = 28;
const SUFFIX: usize = 4;

/// The lowest energy so far and where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Energy, eV.
    pub energy_ev: f64,
    /// Iteration, from 0.
    pub iteration: u32,
    /// Index within the iteration, from 0.
    pub index: u32,
}

/// How far a search has come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SearchProgress {
    /// Iterations finished. The next one has this number.
    pub iterations_done: u32,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Evaluations by the potential.
    pub evaluations: u64,
    /// Structures sampled.
    pub samples: u64,
    /// Training steps taken.
    #[serde(default)]
    pub training_steps: u64,
    /// The lowest energy.
    pub best: Option<Best>,
    /// Evaluations up to and with the first that matched the target.
    pub target_first_evaluation: Option<u64>,
    /// Wall-clock time so far, s.
    pub seconds: f64,
}

impl SearchProgress {
    /// The progress of a run that has not started.
    pub fn new(seed: u64) -> Self {
        SearchProgress {
            iterations_done: 0,
            seed,
            evaluations: 0,
            samples: 0,
            training_steps: 0,
            best: None,
            target_first_evaluation: None,
            seconds: 0.0,
        }
    }

    /// The summary of a run on `device` that has come this far.
    pub fn summary(&self, status: RunStatus, device: &str) -> Summary {
        Summary {
            status,
            seconds: self.seconds,
            evaluations: self.evaluations,
            samples: self.samples,
            training_steps: self.training_steps,
            best_energy_ev: self.best.map(|best| best.energy_ev),
            best_iteration: self.best.map(|best| best.iteration),
            best_index: self.best.map(|best| best.index),
            target_first_evaluation: self.target_first_evaluation,
            ..Summary::new(self.seed, device)
        }
    }
}

/// A run after a finished iteration.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// How far the search has come.
    pub progress: SearchProgress,
    /// CRC-32 of the configuration as the run resolved it.
    pub config_checksum: u32,
    /// Parameters and optimiser.
    pub model: ModelState,
}

#[derive(Serialize, Deserialize)]
struct Header {
    progress: SearchProgress,
    config_checksum: u32,
    optimiser_steps: u64,
    schedule: PlateauSchedule,
}

/// Why this program cannot use a file as a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// The file is truncated, changed or something else; the reason in a few words.
    Damaged(String),
    /// The file is whole, but of this later format version.
    Newer(u32),
    /// The file is whole, but of this earlier format version.
    Older(u32),
}

impl Checkpoint {
    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let ModelState { parameters, first_moment, second_moment, steps, schedule } = &self.model;
        let (progress, config_checksum) = (self.progress, self.config_checksum);
        let header = Header { progress, config_checksum, optimiser_steps: *steps, schedule: *schedule };
        let header = serde_json::to_vec(&header).expect("numbers are JSON");
        let n = parameters.len();
        let mut bytes = Vec::with_capacity(PREFIX + header.len() + 24 * n + SUFFIX);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&(n as u64).to_le_bytes());
        bytes.extend_from_slice(&header);
        for array in [parameters, first_moment, second_moment] {
            assert_eq!(array.len(), n, "one moment per parameter");
            bytes.extend(array.iter().flat_map(|x| x.to_le_bytes()));
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// The checkpoint in `bytes`. Allocates no more memory than `bytes` takes.
    pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, Flaw> {
        let damaged = |what: &str| Flaw::Damaged(what.to_owned());
        let (content, checksum) = bytes.split_last_chunk::<SUFFIX>().ok_or_else(|| damaged("it is truncated"))?;
        let rest = content.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin as a checkpoint does"))?;
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return Err(damaged("its checksum does not match: it is truncated or was changed"));
        }
        let (version, rest) = rest.split_first_chunk().ok_or_else(|| damaged("it is truncated"))?;
        match u32::from_le_bytes(*version) {
            VERSION => {}
            newer if newer > VERSION => return Err(Flaw::Newer(newer)),
            older => return Err(Flaw::Older(older)),
        }
        let mut rest = rest;
        let mut length = || {
            let (bytes, tail) = rest.split_first_chunk().ok_or_else(|| damaged("it is truncated"))?;
            rest = tail;
            usize::try_from(u64::from_le_bytes(*bytes)).map_err(|_| damaged("its lengths are impossible"))
        };
        let (n_header, n) = (length()?, length()?);
        let whole = n.checked_mul(24).and_then(|arrays| arrays.checked_add(n_header)) == Some(rest.len());
        if !whole {
            return Err(damaged("its lengths do not fit"));
        }
        let (header, arrays) = rest.split_at(n_header);
        let header: Header = serde_json::from_slice(header)
            .map_err(|error| Flaw::Damaged(format!("its header is not readable ({error})")))?;
        let array = |k: usize| -> Vec<f64> {
            let (numbers, _) = arrays[8 * n * k..8 * n * (k + 1)].as_chunks();
            numbers.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
        };
        let model = ModelState {
            parameters: array(0),
            first_moment: array(1),
            second_moment: array(2),
            steps: header.optimiser_steps,
            schedule: header.schedule,
        };
        Ok(Checkpoint { progress: header.progress, config_checksum: header.config_checksum, model })
    }

    /// The checkpoint in the file `path`.
    ///
    /// # Errors
    /// `BadInput` if the file cannot be read, is damaged or of another format.
    pub fn read(path: &Path) -> Result<Self> {
        read(path).map_err(|flaw| match flaw {
            Flaw::Damaged(why) => Error::bad_file(path, format!("is not a usable checkpoint: {why}; give another one")),
            Flaw::Newer(version) => newer_format(path, version),
            Flaw::Older(version) => older_format(path, version),
        })
    }
}

fn read(path: &Path) -> std::result::Result<Checkpoint, Flaw> {
    let bytes = fs::read(path).map_err(|error| Flaw::Damaged(format!("it cannot be read ({error})")))?;
    Checkpoint::from_bytes(&bytes)
}

fn newer_format(path: &Path, version: u32) -> Error {
    let message = format!("was written by a newer godiff (checkpoint format {version}); update godiff to use it");
    Error::bad_file(path, message)
}

fn older_format(path: &Path, version: u32) -> Error {
    let message = format!(
        "was written by an older godiff (checkpoint format {version}), and this one resumes from format {VERSION} only; finish \
         the run with the godiff that started it, or start a new run"
    );
    Error::bad_file(path, message)
}

/// Renames the file at `path` to a free name that no checkpoint has; gives the new name.
fn set_aside(path: &Path) -> io::Result<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut aside = format!("{name}.unusable");
    for number in 2.. {
        if fs::symlink_metadata(path.with_file_name(&aside)).is_err() {
            break;
        }
        aside = format!("{name}.unusable-{number}");
    }
    fs::rename(path, path.with_file_name(&aside))?;
    Ok(aside)
}

/// The folder `checkpoint/` of a run: the last two checkpoints, `iteration-NNNNN.bin` by iterations done.
#[derive(Debug)]
pub struct CheckpointFolder {
    path: PathBuf,
}

impl CheckpointFolder {
    /// The folder at `path`, made if it is missing. Files that a kill left half written are removed.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        make_folder(&path)?;
        remove_unfinished(&path)?;
        Ok(CheckpointFolder { path })
    }

    /// Writes `checkpoint` and keeps only the one before it as fallback. A kill at any moment leaves the older one readable.
    pub fn write(&self, checkpoint: &Checkpoint) -> Result<()> {
        let number = checkpoint.progress.iterations_done;
        let path = self.path.join(format!("iteration-{number:05}.bin"));
        write_atomic(&path, &checkpoint.to_bytes())?;
        let failed = |error: io::Error| storage_error(&self.path, &error);
        let others: Vec<_> = self.files().map_err(failed)?.into_iter().filter(|&(other, _)| other != number).collect();
        let fallback = others.iter().map(|&(other, _)| other).filter(|&other| other < number).max();
        for (_, path) in others.iter().filter(|&&(other, _)| Some(other) != fallback) {
            fs::remove_file(path).map_err(failed)?;
        }
        Ok(())
    }

    /// The newest checkpoint that is whole, has its own number and belongs to a configuration with one of `config_checksums`;
    /// `None` if there is no file. Each newer file is renamed, since the run will write its own under that name, and a sentence
    /// about it is returned too.
    ///
    /// # Errors
    /// `BadInput` if there are files and none can be used, or the newest whole one is of another format; `Storage`.
    pub fn newest(&self, config_checksums: &[u32]) -> Result<Option<(Checkpoint, Vec<String>)>> {
        let failed = |error: io::Error| storage_error(&self.path, &error);
        let mut files = self.files().map_err(failed)?;
        files.sort_by_key(|&(number, _)| std::cmp::Reverse(number));
        let mut unusable: Vec<(PathBuf, String)> = Vec::new();
        let mut another_configuration = false;
        for (number, path) in files {
            let why = match read(&path) {
                Ok(checkpoint) if checkpoint.progress.iterations_done != number => {
                    format!("it is the one after iteration {}", checkpoint.progress.iterations_done)
                }
                Ok(checkpoint) if !config_checksums.contains(&checkpoint.config_checksum) => {
                    another_configuration = true;
                    "it belongs to another configuration".to_owned()
                }
                Ok(checkpoint) => {
                    let note = |(path, why): (PathBuf, String)| {
                        let aside = set_aside(&path).map_err(failed)?;
                        let path = path.display();
                        Ok(format!(
                            "{path} is not usable: {why}; resuming from the checkpoint before it, after iteration {number} \
                             (the unusable one is now called {aside})"
                        ))
                    };
                    let notes = unusable.into_iter().map(note).collect::<Result<_>>()?;
                    return Ok(Some((checkpoint, notes)));
                }
                Err(Flaw::Newer(version)) => return Err(newer_format(&path, version)),
                Err(Flaw::Older(version)) => return Err(older_format(&path, version)),
                Err(Flaw::Damaged(why)) => why,
            };
            unusable.push((path, why));
        }
        if unusable.is_empty() {
            return Ok(None);
        }
        if another_configuration {
            let message = "its checkpoint belongs to another configuration than its config.toml, which must have been edited; \
                           undo that or start a new run without --resume";
            return Err(Error::bad_file(folder_of(&self.path), message));
        }
        let reasons: Vec<String> =
            unusable.iter().map(|(path, why)| format!("{} is not usable: {why}", path.display())).collect();
        let message =
            format!("no checkpoint is usable ({}); restore one from a copy or start a new run", reasons.join(", "));
        Err(Error::bad_file(&self.path, message))
    }

    /// All checkpoint files with their numbers.
    fn files(&self) -> io::Result<Vec<(u32, PathBuf)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_prefix("iteration-")?.strip_suffix(".bin")?.parse().ok());
            files.extend(number.map(|number| (number, entry.path())));
        }
        Ok(files)
    }

    /// Iterations done, as the name of the newest checkpoint in the folder `path` says; 0 without one.
    pub fn last_number(path: &Path) -> u32 {
        let files = CheckpointFolder { path: path.to_owned() }.files().unwrap_or_default();
        files.into_iter().map(|(number, _)| number).max().unwrap_or(0)
    }
}

#[cfg(test)]
pub mod tests;
