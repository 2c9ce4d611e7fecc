//! What the lowest structures of a finished run relax to on its own potential: `relaxed.xyz` and `relaxed.json` in its folder.
//!
//! The second file is written last and belongs to the first: it makes the relaxation count as done, so that none is done twice.
//! Until then `relaxing.journal` holds every answer of the potential, so that a kill loses none.

use super::journal::Journal;
use crate::config::Settings;
use crate::disk::write_atomic;
use crate::error::{Error, Result};
use crate::minima::{Minimum, Relaxation, Source, Tolerances, distinct, relaxed};
use crate::potential;
use crate::potential::relax::RelaxSettings;
use crate::run::{RunDirectory, Summary};
use crate::system::xyz::{Frame, format_frames, parse_frames};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Number of distinct structures of a run that are relaxed unless said otherwise.
pub const N_RELAXED: usize = 10;

const STRUCTURES: &str = "relaxed.xyz";
const COUNTS: &str = "relaxed.json";
const JOURNAL: &str = "relaxing.journal";

/// Answers of the potential are kept in memory up to this long before they go to the journal.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// The relaxation of a run's lowest structures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relaxed {
    /// Samples of the run when its structures were relaxed.
    samples: u64,
    /// Distinct structures that were asked for, the lowest ones.
    pub structures: usize,
    /// Evaluations of the relaxations; those of the run do not count here.
    pub evaluations: u64,
    /// Relaxations that ended before the forces were small.
    pub unconverged: usize,
    /// Structures that the potential could not evaluate.
    pub failed: usize,
    /// CRC-32 of the file of structures.
    checksum: u32,
}

impl Relaxed {
    /// The relaxation of the run in `folder`, if it belongs to the run's present state `summary`.
    pub fn read(folder: &Path, summary: &Summary) -> Option<Self> {
        let relaxed: Relaxed = serde_json::from_slice(&fs::read(folder.join(COUNTS)).ok()?).ok()?;
        let is_whole =
            || fs::read(folder.join(STRUCTURES)).is_ok_and(|bytes| crc32fast::hash(&bytes) == relaxed.checksum);
        (relaxed.samples == summary.samples && is_whole()).then_some(relaxed)
    }

    /// The minima of the run in `folder`, as those of the run at place `run`, by energy.
    ///
    /// # Errors
    /// `BadInput` if they cannot be read.
    pub fn minima(folder: &Path, run: usize) -> Result<Vec<Minimum>> {
        let path = folder.join(STRUCTURES);
        let text =
            fs::read_to_string(&path).map_err(|cause| Error::bad_file(&path, format!("cannot be read ({cause})")))?;
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let damaged =
            || Error::bad_file(&path, "is damaged; remove it, and the next start relaxes the structures again");
        parse_frames(&text, &path)?.iter().map(|frame| Minimum::from_frame(frame, run).ok_or_else(damaged)).collect()
    }

    /// Relaxes the lowest `n` distinct structures of the run in `folder`, which `settings` describe and `summary` sums up, unless
    /// that is done. Relaxations that were interrupted or killed go on where they were, and end as they would have.
    ///
    /// # Errors
    /// `Interrupted`, `BadInput` if another process works in the folder, and the errors of the archive and the potential.
    pub fn make(
        folder: &Path,
        settings: &Settings,
        summary: &Summary,
        n: usize,
        interrupted: &AtomicBool,
    ) -> Result<Self> {
        if let Some(relaxed) = Relaxed::read(folder, summary).filter(|relaxed| relaxed.structures == n) {
            return Ok(relaxed);
        }
        // No other process relaxes the same structures.
        let _lock = RunDirectory::hold(folder)?;
        let source = Source::of(folder);
        let starts = distinct(std::slice::from_ref(&source), source.tolerances(), n)?;
        let ended = match starts.is_empty() {
            true => Relaxation::default(),
            false => {
                let potential = potential::open(&settings.sections.potential, Some(&settings.system), "cpu")?;
                potential.begin(folder)?;
                let (limits, stop) = (RelaxSettings::default(), || interrupted.load(Ordering::Relaxed));
                let journal = Journal::open(&*potential, folder.join(JOURNAL), SAVE_INTERVAL)?;
                let ended = relaxed(starts, &journal, &limits, Tolerances::RELAXED, &stop);
                if !ended.as_ref().is_ok_and(|ended| ended.stopped.is_none()) {
                    journal.save()?;
                }
                ended?
            }
        };
        if let Some(error) = ended.stopped {
            return Err(error);
        }
        let frames: Vec<Frame> = ended.minima.iter().map(|minimum| minimum.frame(1)).collect();
        let text = format_frames(&frames);
        let counts = Relaxed {
            samples: summary.samples,
            structures: n,
            evaluations: ended.n_evaluations as u64,
            unconverged: ended.n_unconverged,
            failed: ended.n_failed,
            checksum: crc32fast::hash(text.as_bytes()),
        };
        let json = serde_json::to_string_pretty(&counts).map_err(|cause| Error::Failed(cause.to_string()))?;
        write_atomic(&folder.join(STRUCTURES), text.as_bytes())?;
        write_atomic(&folder.join(COUNTS), format!("{json}\n").as_bytes())?;
        // One that cannot be removed does no harm: it holds answers of the same potential.
        let _ = fs::remove_file(folder.join(JOURNAL));
        Ok(counts)
    }
}
