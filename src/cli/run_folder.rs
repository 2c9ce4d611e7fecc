//! Parts shared by all commands that work in a run folder: seed, folder, resuming, display of progress.

use super::numbers::{LARGEST, real, whole};
use clap::Args;
use godiff::Result;
use godiff::config::Settings;
use godiff::job::Folder;
use godiff::run::{Reporter, RunDirectory};
use std::path::{Path, PathBuf};

/// Folder of runs without `--out`.
pub const RUNS: &str = "runs";

/// A run, new or resumed.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Seed of all random numbers [default: search.seed of the configuration, or 0]
    #[arg(long, value_name = "S", value_parser = whole::<u64>(0..=LARGEST), allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// The run folder [default: the next free one in runs/, with the name of the configuration; with --resume the latest]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Resume a run that was interrupted or killed, or extend it: more iterations, samples or evaluations, another last
    /// temperature, time limit or target
    #[arg(long)]
    pub resume: bool,
    /// End the run cleanly after this wall-clock time, over all sessions, h [default: search.hours of the configuration]
    #[arg(long, value_name = "H", value_parser = hours, allow_negative_numbers = true)]
    pub hours: Option<f64>,
    /// Show nothing but errors
    #[arg(long, conflicts_with = "json")]
    pub quiet: bool,
    /// Write progress and summary to standard output as JSON, one object on each line
    #[arg(long)]
    pub json: bool,
}

impl RunArguments {
    /// `settings` with the run's seed, that of `--seed`, of the run to resume, or its own, and with its time limit. `name` is that of the
    /// configuration, with a suffix that distinguishes the folders of its methods.
    pub fn complete(&self, mut settings: Settings, name: &str) -> Result<Settings> {
        let (seed_before, hours_before) = match self.resume {
            true => {
                let folder = self.folder_to_resume(name)?;
                (Settings::seed_of_run(&folder), Settings::hours_of_run(&folder))
            }
            false => (None, None),
        };
        let search = &mut settings.sections.search;
        search.hours = self.hours.or(search.hours).or(hours_before);
        search.seed = self.seed.or(seed_before).unwrap_or(search.seed);
        Ok(settings)
    }

    /// Takes the own structures in the file `given` into `settings`. A resumed run keeps its own without being told.
    pub fn take_seeds(&self, settings: &mut Settings, name: &str, given: Option<&Path>) -> Result<()> {
        let before = match self.resume && settings.sections.seeds.is_none() {
            true => Settings::seeds_of_run(&self.folder_to_resume(name)?),
            false => None,
        };
        given.or(before.as_deref()).map_or(Ok(()), |path| settings.seed_with(path))
    }

    /// The folder of the run.
    pub fn folder(&self, name: &str) -> Result<Folder> {
        match (self.resume, &self.out) {
            (true, _) => self.folder_to_resume(name).map(Folder::Old),
            (false, Some(folder)) => Ok(Folder::New(folder.clone())),
            (false, None) => Ok(Folder::Next { runs: RUNS.into(), name: name.into() }),
        }
    }

    /// The display of progress.
    pub fn reporter(&self) -> Reporter {
        Reporter::new(self.json, self.quiet)
    }

    /// The folder of the run to resume.
    pub fn folder_to_resume(&self, name: &str) -> Result<PathBuf> {
        match &self.out {
            Some(folder) => Ok(folder.clone()),
            None => RunDirectory::latest(Path::new(RUNS), name),
        }
    }
}

/// The name of the configuration at `path` without its ending, and the suffix.
pub fn name_of(path: &Path, suffix: &str) -> String {
    format!("{}{suffix}", path.file_stem().unwrap_or_default().to_string_lossy())
}

/// Reads a time limit.
fn hours(text: &str) -> std::result::Result<f64, String> {
    real(text)
        .ok()
        .filter(|hours| *hours > 0.0)
        .ok_or_else(|| "give a number of hours above 0, such as 12 or 0.5".into())
}
