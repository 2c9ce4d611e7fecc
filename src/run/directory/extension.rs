//! Extending a run: what may follow on what is done, and writing it down.

use super::differences::{Difference, HOURS};
use super::{
    ARCHIVE, CHECKPOINTS, CONFIG, CheckpointFolder, RunDirectory, SEGMENTS, SUMMARY, Segment, segments, summary_bytes,
};
use crate::archive::Reader;
use crate::config::{SearchSection, Settings};
use crate::disk::write_atomic;
use crate::error::{Error, Result};
use crate::run::summary::{RunStatus, Summary};
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a run is asked for now.
pub struct Asked {
    /// The configuration as resolved.
    pub config_toml: String,
    search: SearchSection,
    /// Evaluations after which a baseline ends; `None` for a search.
    budget: Option<(&'static str, u64)>,
    /// The target structure, as `target.xyz` holds it.
    target: Option<String>,
    /// CRC-32 of the target that the run has.
    target_before: Option<u32>,
}

/// How far the run has come.
struct Done {
    iterations: u32,
    reached_kt_ev: Option<f64>,
    evaluations: u64,
    seconds: f64,
}

impl Asked {
    /// What `settings` ask of the run in `folder`, which has `segments`.
    pub fn new(folder: &Path, settings: &Settings, segments: &[Segment]) -> Self {
        let sections = &settings.sections;
        let budgets = [
            ("random_search.evaluations", sections.random_search.map(|section| section.evaluations)),
            ("basin_hopping.evaluations", sections.basin_hopping.map(|section| section.evaluations)),
            ("evolution.evaluations", sections.evolution.map(|section| section.evaluations)),
            ("annealing.evaluations", sections.annealing.map(|section| section.evaluations)),
        ];
        let target = settings.target_copy();
        // A copy that is missing is written again, as it was.
        let target_before = match segments.last() {
            Some(last) => last.target_checksum,
            None => fs::read(Settings::target_of_run(folder)).ok().or(target.clone().map(String::into_bytes)).map(crc),
        };
        Asked {
            config_toml: settings.to_toml(),
            search: sections.search.clone(),
            budget: budgets.into_iter().find_map(|(key, evaluations)| Some((key, evaluations?))),
            target,
            target_before,
        }
    }

    /// Whether the target is another structure than that of the run.
    pub fn has_new_target(&self) -> bool {
        self.target.as_ref().map(crc) != self.target_before
    }

    /// Adds a segment to the run in `folder`, if something differs from its configuration `started`, and brings the folder up to
    /// date. Gives the segments, and sentences about what has changed.
    ///
    /// # Errors
    /// `BadInput` if this cannot follow on what is done, `Storage`.
    pub fn extend(
        &self,
        folder: &Path,
        started: &str,
        differences: &[Difference],
        mut segments: Vec<Segment>,
    ) -> Result<(Vec<Segment>, Vec<String>)> {
        let mut changes: Vec<String> = differences.iter().map(Difference::describe).collect();
        // A new target is named by the keys of its section already.
        if self.has_new_target() && !changes.iter().any(|change| change.starts_with("target.structure")) {
            changes.push("target.structure is another structure".to_owned());
        }
        if !changes.is_empty() {
            let done = self.done(folder)?;
            self.check(folder, differences, &done)?;
            if segments.is_empty() {
                let is_new = differences.iter().any(|difference| difference.key == "target.structure");
                segments.push(Segment {
                    asked_unix_seconds: None,
                    first_iteration: 0,
                    reached_kt_ev: None,
                    evaluations: 0,
                    changes: Vec::new(),
                    target_checksum: self.target_before.filter(|_| !is_new),
                    config: started.to_owned(),
                });
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            segments.push(Segment {
                asked_unix_seconds: Some(now),
                first_iteration: done.iterations,
                reached_kt_ev: done.reached_kt_ev,
                evaluations: done.evaluations,
                changes: changes.clone(),
                target_checksum: self.target.as_ref().map(crc),
                config: self.config_toml.clone(),
            });
            // Whoever reads the summary from here on must not take the run for a finished one.
            if let Some(summary) = RunDirectory::summary_of(folder) {
                let running = Summary { status: RunStatus::Running, ..summary };
                write_atomic(&folder.join(SUMMARY), &summary_bytes(&running))?;
            }
            segments::write(&folder.join(SEGMENTS), segments.clone())?;
        }
        if !segments.is_empty() {
            self.update(folder)?;
        }
        let after = segments.last().map_or(0, |segment| segment.first_iteration);
        let notes = changes.into_iter().map(|change| match self.budget {
            None if after > 0 => format!("extended after iteration {after}: {change}"),
            _ => format!("extended: {change}"),
        });
        Ok((segments, notes.collect()))
    }

    /// Writes the target and the configuration of the last segment, unless they are there. Readers of the folder rely on them.
    fn update(&self, folder: &Path) -> Result<()> {
        let files = [
            self.target.as_deref().map(|text| (Settings::target_of_run(folder), text)),
            Some((folder.join(CONFIG), self.config_toml.as_str())),
        ];
        files.into_iter().flatten().try_for_each(|(path, text)| match fs::read_to_string(&path) {
            Ok(present) if present == text => Ok(()),
            _ => write_atomic(&path, text.as_bytes()),
        })
    }

    /// How far the run in `folder` has come. An iteration of a search counts once it has begun: it ends as it was planned.
    fn done(&self, folder: &Path) -> Result<Done> {
        let summary = RunDirectory::summary_of(folder);
        let (evaluations, seconds) = summary.map_or((0, 0.0), |summary| (summary.evaluations, summary.seconds));
        let archive = folder.join(ARCHIVE);
        let reader = if self.budget.is_none() { Reader::open_made(&archive)? } else { None };
        let last = reader.map_or(Ok(None), |reader| reader.last())?;
        let begun = last.map_or(0, |(iteration, _)| iteration + 1);
        let closed = CheckpointFolder::last_number(&folder.join(CHECKPOINTS));
        if self.budget.is_none() && closed > begun {
            let message = format!(
                "holds {begun} iterations where the run has recorded {closed}; put the archive of this run back and resume then"
            );
            return Err(Error::storage(&archive, message));
        }
        Ok(Done { iterations: begun, reached_kt_ev: last.map(|(_, kt_ev)| kt_ev), evaluations, seconds })
    }

    /// Refuses what cannot follow on what is `done`.
    fn check(&self, folder: &Path, differences: &[Difference], done: &Done) -> Result<()> {
        let differs = |key: &str| differences.iter().any(|difference| difference.key == key);
        let refuse = |message: String| Err(Error::bad_file(folder, message));
        if let Some(hours) = self.search.hours.filter(|hours| differs(HOURS) && hours * 3600.0 < done.seconds) {
            let taken = done.seconds / 3600.0;
            return refuse(format!("this run has taken {taken:.3} h and {HOURS} is now {hours}; give a larger limit"));
        }
        if let Some((key, budget)) = self.budget {
            let n = done.evaluations;
            return match budget < n {
                true => {
                    refuse(format!("this run has made {n} evaluations and {key} is now {budget}; give at least {n}"))
                }
                false => Ok(()),
            };
        }
        let (n, iterations) = (done.iterations as usize, self.search.iterations);
        if iterations < n {
            let message = format!("this run has begun {n} iterations and search.iterations is now {iterations}");
            return refuse(format!("{message}; give at least {n}"));
        }
        let planned = ["search.kt_final_ev", "search.samples_per_iteration"].into_iter().find(|key| differs(key));
        if let Some(key) = planned.filter(|_| iterations == n) {
            return refuse(format!(
                "all {n} iterations of this run have begun, so another {key} changes nothing; raise search.iterations too"
            ));
        }
        match done.reached_kt_ev.filter(|&kt_ev| self.search.kt_final_ev > kt_ev) {
            Some(kt_ev) => refuse(format!(
                "this run has reached kT = {kt_ev} eV and search.kt_final_ev is {}: the temperature falls; give at most {kt_ev}",
                self.search.kt_final_ev
            )),
            None => Ok(()),
        }
    }
}

fn crc(text: impl AsRef<[u8]>) -> u32 {
    crc32fast::hash(text.as_ref())
}
