//! One run from its configuration to its end, for the commands and for the Python package alike.

use crate::baseline::BaselineRun;
use crate::benchmark::{Agreement, Benchmark, Method, Resources, Watch};
use crate::check;
use crate::config::Settings;
use crate::engine;
use crate::error::{Error, Result};
use crate::potential;
use crate::report::{self, write_after_run};
use crate::run::{Reporter, Resumed, RunDirectory, Summary};
use crate::search::Search;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// The folder of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder {
    /// A new run at this path.
    New(PathBuf),
    /// A new run in `runs/<name>-NNN`, with the next free number.
    Next {
        /// The folder of all runs.
        runs: PathBuf,
        /// The name.
        name: String,
    },
    /// A run to resume or to extend.
    Old(PathBuf),
}

/// A run that is to be done.
#[derive(Debug)]
pub struct Job<'a> {
    /// The method.
    pub method: Method,
    /// Its configuration, after [`prepare`].
    pub settings: &'a Settings,
    /// The device, by the names of [`engine::open`].
    pub device: &'a str,
    /// The run folder.
    pub folder: Folder,
    /// Whether a baseline ends when it finds the target.
    pub stop_at_target: bool,
    /// The file that is named if the potential does not suit; `None` if there is none.
    pub config: Option<&'a Path>,
}

/// Reduces `settings` to what a run of `method` depends on.
///
/// # Errors
/// Those of [`crate::baseline::Baseline::resolve`].
pub fn prepare(method: Method, settings: &mut Settings) -> Result<()> {
    match method {
        Method::Search => {
            settings.sections.forget_baselines();
            Ok(())
        }
        Method::Baseline(baseline) => baseline.resolve(&mut settings.sections),
    }
}

impl Job<'_> {
    /// Starts or resumes the run and works to its end. `opened` hears the folder before the work begins. `interrupted` may be set
    /// at any time.
    ///
    /// # Errors
    /// `BadInput` for a device, a potential or a folder that does not suit; the errors of [`Search::run`] and [`BaselineRun::run`].
    pub fn run(&self, reporter: &Reporter, interrupted: &AtomicBool, opened: &mut dyn FnMut(&Path)) -> Result<Summary> {
        let settings = self.settings;
        // The potential is opened after the engine, so that a wrong device is not blamed on the configuration.
        let engine = match self.method {
            Method::Search => Some(engine::open(self.device, &settings.setup())?),
            Method::Baseline(_) => None,
        };
        let place = if engine.is_some() { self.device } else { "cpu" };
        let potential =
            potential::open(&settings.sections.potential, Some(&settings.system), place).map_err(|cause| match self
                .config
            {
                Some(file) => cause.in_file(file),
                None => cause,
            })?;
        let device = engine.as_ref().map_or_else(|| "cpu".to_owned(), |engine| engine.device());
        let run = self.open(&device)?;
        opened(run.directory.path());
        match (self.method, engine) {
            (Method::Baseline(baseline), _) => {
                let stop = self.stop_at_target;
                BaselineRun::new(baseline, settings, potential, run, reporter, stop, interrupted)?.run(&write_after_run)
            }
            (Method::Search, Some(engine)) => {
                Search::new(settings, engine, potential, run, reporter, interrupted)?.run(&write_after_run)
            }
            (Method::Search, None) => Err(Error::Failed("a search needs an engine".into())),
        }
    }

    /// Opens the folder and copies the files that the configuration names into it. `device` is the one that computes.
    fn open(&self, device: &str) -> Result<Resumed> {
        let settings = self.settings;
        let (seed, toml) = (settings.sections.search.seed, settings.to_toml());
        let start = || Summary::new(seed, device);
        let directory = match &self.folder {
            Folder::Old(folder) => return self.reopen(folder, device),
            Folder::New(folder) => RunDirectory::create(folder, &toml, &start())?,
            Folder::Next { runs, name } => RunDirectory::create_next(runs, name, &toml, &start())?,
        };
        settings.copy_files(directory.path())?;
        let most_evaluations = match self.method {
            Method::Search => check::Facts::of(settings).most_evaluations,
            Method::Baseline(baseline) => baseline.budget(&settings.sections),
        };
        let notes = check::short(settings, most_evaluations);
        Ok(Resumed { directory, seed, checkpoint: None, notes })
    }

    /// The run to resume. Another device than before is allowed and leads to a note: a queue may assign another card.
    fn reopen(&self, folder: &Path, device: &str) -> Result<Resumed> {
        let mut run = RunDirectory::extend(folder, self.settings)?;
        let before = run.directory.summary().map(|summary| summary.device);
        if let Some(before) = before.filter(|before| hardware(before) != hardware(device)) {
            run.notes.push(format!(
                "computed on {before} until now, and on {device} from here on: the search goes on all the same, but does not end \
                 bit for bit as on one device"
            ));
        }
        self.settings.copy_files(run.directory.path())?;
        Ok(run)
    }
}

/// Does all runs of `benchmark`, one configuration with several seeds, and writes what they agree on and a page about them. Gives the
/// comparison, also after an interruption.
///
/// # Errors
/// Those of [`Benchmark::run`] and [`Benchmark::write_agreements`]; an interruption comes beside the comparison.
pub fn compare_seeds(
    benchmark: &Benchmark,
    resources: &Resources,
    watch: &Watch,
) -> Result<(Vec<Agreement>, Result<()>)> {
    let outcome = benchmark.run(resources, watch);
    if !matches!(outcome, Ok(()) | Err(Error::Interrupted)) {
        return outcome.map(|()| (Vec::new(), Ok(())));
    }
    let agreements = benchmark.agreements()?;
    benchmark.write_agreements(&agreements)?;
    // The results are complete without a page.
    let request = report::Request { folders: vec![benchmark.folder.clone()], ..report::Request::default() };
    match report::write(&request) {
        Ok(written) => written.notes.into_iter().for_each(watch.say),
        Err(error) => (watch.say)(format!("no report.html was written: {error}")),
    }
    Ok((agreements, outcome))
}

/// The folder of the runs of several seeds: `out`, or `runs/<name>-NNN`, the next free one, or with `resume` the latest.
///
/// # Errors
/// `BadInput` for the folder of one run, for one that holds runs unless they are resumed, and for nothing to resume.
pub fn seeds_folder(out: Option<&Path>, runs: &Path, name: &str, resume: bool) -> Result<PathBuf> {
    let folder = match (out, resume) {
        (Some(folder), _) => folder,
        (None, true) => return RunDirectory::latest(runs, name),
        (None, false) => return RunDirectory::next_folder(runs, name),
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut held: Vec<String> = entries
        .filter(|entry| RunDirectory::exists(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    held.sort();
    let refused = |message: String| Err(Error::bad_file(folder, message));
    match (held.first(), resume) {
        _ if RunDirectory::exists(folder) => {
            refused("is the folder of one run; --seeds needs a folder for several, so name another one".into())
        }
        (Some(first), false) => {
            refused(format!("holds runs already ({first}); continue them with --resume or name another folder"))
        }
        (None, true) => {
            refused("holds no runs to resume; name the folder of the runs, or start without --resume".into())
        }
        _ => Ok(folder.to_owned()),
    }
}

/// Starts the pool of threads that everything in this process shares, with `n` threads, or one for every core.
///
/// # Errors
/// `Failed` if the pool runs already or threads cannot be started.
pub fn start_threads(n: Option<usize>) -> Result<()> {
    // 0 is rayon's word for all cores.
    let count = n.unwrap_or(0);
    rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .build_global()
        .map_err(|cause| Error::Failed(format!("cannot start {count} threads: {cause}")))
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
