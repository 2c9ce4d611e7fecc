//! Several methods with several seeds each, counted alike: the table of the GO-Diff paper for any system.
//!
//! A benchmark is a folder of run folders, `NAME/seed-S`, and all its results are read from these. A finished run is not touched
//! again, and an interrupted one is resumed. So a benchmark that is started again ends like one that was never interrupted.

mod course;
mod pairs;
mod plot;
mod resources;
mod statistics;
mod table;

pub use course::Course;
pub use pairs::Pairs;
pub use plot::{energy_curves, success_curves};
pub(crate) use resources::Replica;
pub use resources::Resources;
pub use statistics::{Outcome, Row, wilson};
pub use table::{HEADS, PAIR_HEADS, cells, markdown, pairs, text};

use crate::archive::EVALUATIONS_AN_ITERATION;
use crate::baseline::{Baseline, BaselineRun};
use crate::config::{File, Settings};
use crate::disk::{remove_unfinished, write_atomic};
use crate::error::{Error, Result};
use crate::potential;
use crate::run::{Afterwards, Reporter, Resumed, RunDirectory, RunStatus, Summary};
use crate::search::Search;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The method of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GO-Diff.
    Search,
    /// A method to compare with.
    Baseline(Baseline),
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 4] = [
        Method::Search,
        Method::Baseline(Baseline::RandomSearch),
        Method::Baseline(Baseline::BasinHopping),
        Method::Baseline(Baseline::Evolution),
    ];

    /// The name of its command.
    pub fn name(self) -> &'static str {
        match self {
            Method::Search => "search",
            Method::Baseline(baseline) => baseline.name(),
        }
    }

    /// The method that [`Method::name`] calls `name`.
    pub fn named(name: &str) -> Option<Self> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }

    /// The method of the run in a folder with these sections: a run's configuration keeps the sections of its own method only.
    pub fn of(sections: &File) -> Self {
        match sections {
            File { random_search: Some(_), .. } => Method::Baseline(Baseline::RandomSearch),
            File { basin_hopping: Some(_), .. } => Method::Baseline(Baseline::BasinHopping),
            File { evolution: Some(_), .. } => Method::Baseline(Baseline::Evolution),
            _ => Method::Search,
        }
    }

    /// Number of evaluations in an iteration of a run's archive, where rows may be missing; `None` where all have one.
    fn evaluations_an_iteration(self) -> Option<u64> {
        match self {
            Method::Search => None,
            Method::Baseline(_) => Some(EVALUATIONS_AN_ITERATION),
        }
    }

    /// Whether a run with these sections and this summary is finished. Without `to_the_end` a run ends when it finds the target.
    pub fn is_finished(self, sections: &File, summary: &Summary, to_the_end: bool) -> bool {
        let done = summary.status == RunStatus::Done;
        match self {
            Method::Search => done || summary.status == RunStatus::TargetFound && !to_the_end,
            Method::Baseline(baseline) => {
                let found = summary.target_first_evaluation.is_some() && !to_the_end;
                done && (found || summary.evaluations >= baseline.budget(sections))
            }
        }
    }
}

/// A configuration and the method that runs it.
#[derive(Debug, Clone)]
pub struct Entrant {
    /// The configuration's name without its ending, and the method unless that is `search`: the name of the entrant's folder.
    pub name: String,
    /// Method.
    pub method: Method,
    /// Settings with the sections that the method reads.
    pub settings: Settings,
}

impl Entrant {
    /// Reads "CONFIG.toml" or "CONFIG.toml:METHOD".
    ///
    /// # Errors
    /// `BadInput` for an unknown method, for the errors of [`Settings::load`], and for a configuration without `[target]`, which
    /// could not succeed.
    pub fn parse(text: &str) -> Result<Self> {
        let known = || Method::ALL.map(Method::name).join(", ");
        let (path, method) = match text.rsplit_once(':') {
            Some((path, name)) if !name.contains(['/', '\\', '.']) => {
                let unknown =
                    || Error::bad_input(format!("{text}: there is no method '{name}'; write one of {}", known()));
                (Path::new(path), Method::named(name).ok_or_else(unknown)?)
            }
            _ => (Path::new(text), Method::Search),
        };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = match method {
            Method::Search => stem.into_owned(),
            Method::Baseline(baseline) => format!("{stem}-{}", baseline.name()),
        };
        Entrant::load(name, method, path)
    }

    /// The configuration at `path`, run by `method` under the name `name`.
    ///
    /// # Errors
    /// Those of [`Entrant::parse`].
    pub fn load(name: String, method: Method, path: &Path) -> Result<Self> {
        let mut settings = Settings::load(path)?;
        if settings.target.is_none() {
            let message = "a benchmark needs a [target]: without one no run can succeed";
            return Err(Error::bad_file(path, message));
        }
        match method {
            Method::Search => settings.sections.forget_baselines(),
            Method::Baseline(baseline) => {
                baseline.resolve(&mut settings.sections).map_err(|cause| cause.in_file(path))?;
            }
        }
        Ok(Entrant { name, method, settings })
    }

    /// As [`Method::is_finished`].
    pub(crate) fn is_finished(&self, summary: &Summary, to_the_end: bool) -> bool {
        self.method.is_finished(&self.settings.sections, summary, to_the_end)
    }
}

/// A benchmark, planned.
#[derive(Debug)]
pub struct Benchmark {
    /// Its folder.
    pub folder: PathBuf,
    /// The methods that are compared.
    pub entrants: Vec<Entrant>,
    /// Seeds that every entrant runs with.
    pub seeds: Vec<u64>,
    /// Whether runs continue after they have found the target.
    pub to_the_end: bool,
}

/// The results of one entrant.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// Line of the table.
    #[serde(flatten)]
    pub row: Row,
    /// Its runs by seed.
    pub runs: Vec<Outcome>,
    /// The comparison with the first method of the benchmark; the first one has none.
    pub against_first: Option<Pairs>,
    /// The lowest energies of its runs over evaluations.
    #[serde(skip)]
    pub courses: Vec<Course>,
}

impl Results {
    /// The results of `runs` of `method`, compared with no other method.
    pub fn new(name: &str, method: Method, runs: Vec<Outcome>, courses: Vec<Course>) -> Self {
        Results { row: Row::new(name, method.name(), &runs), runs, against_first: None, courses }
    }
}

/// Compares all but the first of `results` with the first.
pub fn compare_with_first(mut results: Vec<Results>) -> Vec<Results> {
    if let Some((first, others)) = results.split_first_mut() {
        others.iter_mut().for_each(|other| other.against_first = Some(Pairs::new(other, first)));
    }
    results
}

impl Benchmark {
    /// Does all runs that are not finished. Seeds are the outer loop, so that all methods have been tried about equally often at
    /// any time. `say` hears a sentence about every run that ends; `afterwards` is called with its folder. A run that fails (exit
    /// code 1) does not stop the rest.
    ///
    /// # Errors
    /// `BadInput` for two entrants of one name or a folder with runs of another configuration, `Interrupted`, and the errors of
    /// the potential and the run folders.
    pub fn run(
        &self,
        resources: &Resources,
        say: &(dyn Fn(String) + Sync),
        afterwards: Afterwards,
        interrupted: &AtomicBool,
    ) -> Result<()> {
        self.check_names()?;
        let tasks: Vec<(&Entrant, u64)> =
            self.seeds.iter().flat_map(|&seed| self.entrants.iter().map(move |entrant| (entrant, seed))).collect();
        resources.share(tasks.len(), &|number, place| {
            let (entrant, seed) = tasks[number];
            if interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            if self.is_finished(entrant, seed) {
                return Ok(());
            }
            let which = format!("{} seed {seed} ({}/{})", entrant.name, number + 1, tasks.len());
            match self.run_one(entrant, seed, place, afterwards, interrupted) {
                Ok(summary) => say(format!("{which}: {}", describe(&summary))),
                Err(Error::Failed(message)) => say(format!("{which} failed: {message}")),
                Err(error) => return Err(error),
            }
            Ok(())
        })
    }

    /// The results of the runs so far; runs that were never started are left out.
    ///
    /// # Errors
    /// `BadInput` or `Storage` if an archive cannot be read.
    pub fn results(&self) -> Result<Vec<Results>> {
        let results = self.entrants.iter().map(|entrant| self.results_of(entrant)).collect::<Result<_>>()?;
        Ok(compare_with_first(results))
    }

    /// Writes `results.json`, `results.md`, `energy.svg` and `success.svg`.
    ///
    /// # Errors
    /// `Storage`.
    pub fn write(&self, results: &[Results]) -> Result<()> {
        // Removes unfinished copies of these files that a kill has left.
        let _ = remove_unfinished(&self.folder);
        let json = serde_json::to_string_pretty(results).map_err(|cause| Error::Failed(cause.to_string()))?;
        write_atomic(&self.folder.join("results.json"), format!("{json}\n").as_bytes())?;
        write_atomic(&self.folder.join("results.md"), markdown(results).as_bytes())?;
        write_atomic(&self.folder.join("energy.svg"), energy_curves(results).file().as_bytes())?;
        write_atomic(&self.folder.join("success.svg"), success_curves(results).file().as_bytes())
    }

    pub(crate) fn check_names(&self) -> Result<()> {
        let twice = (1..self.entrants.len())
            .find(|&k| self.entrants[..k].iter().any(|before| before.name == self.entrants[k].name));
        twice.map_or(Ok(()), |k| {
            let name = &self.entrants[k].name;
            Err(Error::bad_input(format!("{name} is named twice; give the second configuration another file name")))
        })
    }

    /// The folder of `entrant`'s run with `seed`.
    pub fn run_folder(&self, entrant: &Entrant, seed: u64) -> PathBuf {
        self.folder.join(&entrant.name).join(format!("seed-{seed}"))
    }

    pub(crate) fn is_finished(&self, entrant: &Entrant, seed: u64) -> bool {
        let folder = self.run_folder(entrant, seed);
        RunDirectory::summary_of(&folder).is_some_and(|summary| entrant.is_finished(&summary, self.to_the_end))
    }

    /// Starts or resumes the run of `entrant` with `seed`, and works to its end.
    pub(crate) fn run_one(
        &self,
        entrant: &Entrant,
        seed: u64,
        place: &Replica,
        afterwards: Afterwards,
        interrupted: &AtomicBool,
    ) -> Result<Summary> {
        let mut settings = entrant.settings.clone();
        settings.sections.search.seed = seed;
        let folder = self.run_folder(entrant, seed);
        let potential = potential::open(&settings.sections.potential, Some(&settings.system), "cpu")?;
        let open = |device: &str| -> Result<Resumed> {
            let run = if RunDirectory::exists(&folder) {
                RunDirectory::resume(&folder, &settings.to_toml())?
            } else {
                let directory = RunDirectory::create(&folder, &settings.to_toml(), &Summary::new(seed, device))?;
                Resumed { directory, seed, checkpoint: None, notes: Vec::new() }
            };
            settings.copy_files(&folder)?;
            Ok(run)
        };
        let reporter = Reporter::quiet();
        match entrant.method {
            Method::Search => {
                let engine = place.engine(&settings.setup())?;
                let run = open(&engine.device())?;
                let search = Search::new(&settings, engine, potential, run, &reporter, interrupted)?;
                search.stopping_at_target(!self.to_the_end).run(afterwards)
            }
            Method::Baseline(baseline) => {
                let (run, stop) = (open("cpu")?, !self.to_the_end);
                BaselineRun::new(baseline, &settings, potential, run, &reporter, stop, interrupted)?.run(afterwards)
            }
        }
    }

    /// The results of `entrant`'s run with `seed`, from its summary; `None` if it was never started.
    pub(crate) fn outcome(&self, entrant: &Entrant, seed: u64) -> Option<Outcome> {
        let summary = RunDirectory::summary_of(&self.run_folder(entrant, seed))?;
        let finished = entrant.is_finished(&summary, self.to_the_end);
        Some(Outcome { seed, ..Outcome::new(&summary, finished) })
    }

    fn results_of(&self, entrant: &Entrant) -> Result<Results> {
        let (mut runs, mut courses) = (Vec::new(), Vec::new());
        for &seed in &self.seeds {
            let Some(outcome) = self.outcome(entrant, seed) else { continue };
            courses.push(Course::read(&self.run_folder(entrant, seed), entrant.method)?);
            runs.push(outcome);
        }
        Ok(Results::new(&entrant.name, entrant.method, runs, courses))
    }
}

/// The results of a run, in a sentence.
pub(crate) fn describe(summary: &Summary) -> String {
    let energy = summary.best_energy_ev.map_or(String::new(), |energy| format!(", lowest energy {energy:.4} eV"));
    match summary.target_first_evaluation {
        Some(evaluation) => {
            format!("target at evaluation {evaluation} of {}{energy}, {:.1} s", summary.evaluations, summary.seconds)
        }
        None => format!("no target in {} evaluations{energy}, {:.1} s", summary.evaluations, summary.seconds),
    }
}
