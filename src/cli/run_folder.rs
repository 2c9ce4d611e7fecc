//! Parts shared by all commands that work in a run folder: configuration, seed, folder, resuming, display of progress.

use super::numbers::{LARGEST, real, whole};
use clap::Args;
use godiff::Result;
use godiff::config::Settings;
use godiff::run::{Reporter, Resumed, RunDirectory, Summary};
use std::path::{Path, PathBuf};

/// Folder of runs without `--out`.
pub const RUNS: &str = "runs";

/// A run, new or resumed.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The configuration
    #[arg(value_name = "CONFIG.toml")]
    pub config: PathBuf,
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
    /// The configuration with the run's seed: that of `--seed`, of the run to resume, or its own. `suffix` distinguishes the
    /// folders of one configuration's methods.
    pub fn settings(&self, suffix: &str) -> Result<Settings> {
        let mut settings = Settings::load(&self.config)?;
        let seed_before = match self.resume {
            true => Settings::seed_of_run(&self.folder_to_resume(suffix)?),
            false => None,
        };
        let hours_before = match self.resume {
            true => Settings::hours_of_run(&self.folder_to_resume(suffix)?),
            false => None,
        };
        let search = &mut settings.sections.search;
        search.hours = self.hours.or(search.hours).or(hours_before);
        settings.sections.search.seed = self.seed.or(seed_before).unwrap_or(settings.sections.search.seed);
        Ok(settings)
    }

    /// Takes the own structures in the file `given` into `settings`. A resumed run keeps its own without being told.
    pub fn take_seeds(&self, settings: &mut Settings, given: Option<&Path>) -> Result<()> {
        let before = match self.resume && settings.sections.seeds.is_none() {
            true => Settings::seeds_of_run(&self.folder_to_resume("")?),
            false => None,
        };
        given.or(before.as_deref()).map_or(Ok(()), |path| settings.seed_with(path))
    }

    /// Whether the run starts now, and is not resumed.
    pub fn is_new(&self) -> bool {
        !self.resume
    }

    /// Opens the folder and copies the files that `settings` names into it.
    pub fn open(&self, settings: &Settings, device: &str, suffix: &str) -> Result<Resumed> {
        let run = match self.resume {
            true => self.old_run(settings, device, suffix)?,
            false => self.new_run(settings, device, suffix)?,
        };
        settings.copy_files(run.directory.path())?;
        Ok(run)
    }

    /// The display of progress.
    pub fn reporter(&self) -> Reporter {
        Reporter::new(self.json, self.quiet)
    }

    fn folder_to_resume(&self, suffix: &str) -> Result<PathBuf> {
        match &self.out {
            Some(folder) => Ok(folder.clone()),
            None => RunDirectory::latest(Path::new(RUNS), &self.name(suffix)),
        }
    }

    /// The run to resume. Another device than before is allowed and leads to a note: a queue may assign another card.
    fn old_run(&self, settings: &Settings, device: &str, suffix: &str) -> Result<Resumed> {
        let mut run = RunDirectory::extend(&self.folder_to_resume(suffix)?, settings)?;
        let before = run.directory.summary().map(|summary| summary.device);
        if let Some(before) = before.filter(|before| hardware(before) != hardware(device)) {
            run.notes.push(format!(
                "computed on {before} until now, and on {device} from here on: the search goes on all the same, but does not end \
                 bit for bit as on one device"
            ));
        }
        Ok(run)
    }

    fn new_run(&self, settings: &Settings, device: &str, suffix: &str) -> Result<Resumed> {
        let (seed, toml) = (settings.sections.search.seed, settings.to_toml());
        let summary = Summary::new(seed, device);
        let directory = match &self.out {
            Some(folder) => RunDirectory::create(folder, &toml, &summary)?,
            None => RunDirectory::create_next(Path::new(RUNS), &self.name(suffix), &toml, &summary)?,
        };
        Ok(Resumed { directory, seed, checkpoint: None, notes: Vec::new() })
    }

    /// The configuration's name without its ending, and the suffix.
    pub fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.config.file_stem().unwrap_or_default().to_string_lossy())
    }
}

/// Reads a time limit.
fn hours(text: &str) -> std::result::Result<f64, String> {
    real(text)
        .ok()
        .filter(|hours| *hours > 0.0)
        .ok_or_else(|| "give a number of hours above 0, such as 12 or 0.5".into())
}

/// The parts of an engine's description that results depend on; the number of threads is none of them.
fn hardware(device: &str) -> Vec<&str> {
    device.split(", ").filter(|part| !part.ends_with(" threads") && !part.ends_with(" thread")).collect()
}

#[cfg(test)]
mod tests {
    use super::hardware;

    #[test]
    fn threads_are_no_other_hardware() {
        assert_eq!(hardware("cpu f32, 2 threads, avx512"), hardware("cpu f32, 16 threads, avx512"));
        assert_ne!(hardware("cpu f32, 2 threads, avx512"), hardware("cpu f32, 2 threads, avx2"));
        assert_ne!(hardware("cpu f32, 2 threads, avx2"), hardware("cpu f64, 2 threads, avx2"));
    }
}
