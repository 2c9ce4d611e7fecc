//! Several methods with several seeds each, counted alike: the table of the GO-Diff paper for any system.
//!
//! A benchmark is a folder of run folders, `NAME/seed-S`, and all its results are read from these. A finished run is not touched
//! again, and an interrupted one is resumed. So a benchmark that is started again ends like one that was never interrupted.

mod agreement;
mod clock;
mod course;
mod entrant;
mod journal;
mod pairs;
mod plot;
mod relaxed;
mod resources;
mod statistics;
mod table;

pub use agreement::{Agreement, SEED_HEADS, SeedResult, SharedMinimum};
pub use clock::{CLOCK_HEADS, Quickest, clock};
pub use course::Course;
pub use entrant::{Entrant, Method};
pub use pairs::Pairs;
pub use plot::{energy_curves, success_curves};
pub use relaxed::{N_RELAXED, Relaxed};
pub(crate) use resources::Replica;
pub use resources::Resources;
pub use statistics::{Outcome, Row, wilson};
pub use table::{HEADS, PAIR_HEADS, cells, markdown, pairs, text};

use crate::baseline::BaselineRun;
use crate::check;
use crate::config::Settings;
use crate::disk::{remove_unfinished, write_atomic};
use crate::error::{Error, Result};
use crate::potential;
use crate::run::{Afterwards, Reporter, Resumed, RunDirectory, Summary};
use crate::search::Search;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Whether the seeds of one configuration are compared instead of methods: runs may be extended, and the lowest structures of
    /// each run are relaxed, also where there is a target.
    pub by_seed: bool,
    /// Distinct structures of a run that are relaxed where the answer is not known.
    pub n_relaxed: usize,
}

/// What is told of runs while they work, and what may stop them.
pub struct Watch<'a> {
    /// Hears a sentence about every run that ends.
    pub say: &'a (dyn Fn(String) + Sync),
    /// Makes the display of progress of each run.
    pub reporter: &'a (dyn Fn() -> Reporter + Sync),
    /// Called with the folder of every run that ends.
    pub afterwards: Afterwards<'a>,
    /// Set by the user who wants all runs to end.
    pub interrupted: &'a AtomicBool,
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
    /// The times of one energy at which it is the quickest; null where it never is, or if it is alone.
    pub quickest: Option<Quickest>,
    /// The lowest energies of its runs over evaluations.
    #[serde(skip)]
    pub courses: Vec<Course>,
}

impl Results {
    /// The results of `runs` of `method`, compared with no other method.
    pub fn new(name: &str, method: Method, runs: Vec<Outcome>, courses: Vec<Course>) -> Self {
        Results { row: Row::new(name, method.name(), &runs), runs, against_first: None, quickest: None, courses }
    }
}

/// Compares all but the first of `results` with the first, and says when each is the quickest of all.
pub fn compare_with_first(mut results: Vec<Results>) -> Vec<Results> {
    let quickest = clock::quickest(&results.iter().map(|results| &results.row).collect::<Vec<_>>());
    results.iter_mut().zip(quickest).for_each(|(results, quickest)| results.quickest = quickest);
    if let Some((first, others)) = results.split_first_mut() {
        others.iter_mut().for_each(|other| other.against_first = Some(Pairs::new(other, first)));
    }
    results
}

impl Benchmark {
    /// Does all runs that are not finished. Seeds are the outer loop, so that all methods have been tried about equally often at
    /// any time. A run that fails (exit code 1) does not stop the rest.
    ///
    /// # Errors
    /// `BadInput` for two entrants of one name or a folder with runs of another configuration, `Interrupted`, and the errors of
    /// the potential and the run folders.
    pub fn run(&self, resources: &Resources, watch: &Watch) -> Result<()> {
        self.check_names()?;
        let tasks: Vec<(&Entrant, u64)> =
            self.seeds.iter().flat_map(|&seed| self.entrants.iter().map(move |entrant| (entrant, seed))).collect();
        resources.share(tasks.len(), &|number, place| {
            let (entrant, seed) = tasks[number];
            if watch.interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            if self.is_finished(entrant, seed) {
                return Ok(());
            }
            let which = format!("{} seed {seed} ({}/{})", entrant.name, number + 1, tasks.len());
            let which = which.trim_start();
            match self.run_one(entrant, seed, place, watch) {
                Ok(said) => (watch.say)(format!("{which}: {said}")),
                Err(Error::Failed(message)) => (watch.say)(format!("{which} failed: {message}")),
                Err(error) => return Err(error),
            }
            Ok(())
        })
    }

    /// What the seeds of each entrant without a target have found so far, or of every entrant if seeds are compared.
    ///
    /// # Errors
    /// `BadInput` if relaxed structures cannot be read.
    pub fn agreements(&self) -> Result<Vec<Agreement>> {
        let unknown = self.entrants.iter().filter(|entrant| self.n_relaxed(entrant).is_some());
        let agreement = |entrant: &Entrant| {
            let runs: Vec<_> = self.seeds.iter().map(|&seed| (seed, self.run_folder(entrant, seed))).collect();
            Agreement::of(&entrant.name, &entrant.settings, &runs)
        };
        unknown.map(agreement).collect()
    }

    /// Writes each of `agreements` into the folder of its entrant, if it has one: some run was started.
    ///
    /// # Errors
    /// `Storage`.
    pub fn write_agreements(&self, agreements: &[Agreement]) -> Result<()> {
        agreements.iter().filter(|agreement| !agreement.seeds.is_empty()).try_for_each(|agreement| {
            let folder = self.folder.join(&agreement.name);
            // Removes unfinished copies of these files that a kill has left.
            let _ = remove_unfinished(&folder);
            agreement.write(&folder)
        })
    }

    /// The results of the runs with a target so far; runs that were never started are left out.
    ///
    /// # Errors
    /// `BadInput` or `Storage` if an archive cannot be read.
    pub fn results(&self) -> Result<Vec<Results>> {
        let sought = self.entrants.iter().filter(|entrant| entrant.settings.target.is_some());
        let results = sought.map(|entrant| self.results_of(entrant)).collect::<Result<_>>()?;
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

    /// What looks wrong in the tasks, as `godiff check` says it: each sentence once, after the names of the entrants that it is about.
    pub fn warnings(&self) -> Vec<String> {
        let mut found: Vec<(String, Vec<&str>)> = Vec::new();
        for entrant in &self.entrants {
            for warning in check::warnings(&entrant.settings) {
                match found.iter_mut().find(|(known, _)| *known == warning) {
                    Some((_, names)) => names.push(&entrant.name),
                    None => found.push((warning, vec![&entrant.name])),
                }
            }
        }
        let sentence = |(warning, names): (String, Vec<&str>)| match names.concat().is_empty() {
            true => format!("warning: {warning}"),
            false => format!("warning: {}: {warning}", names.join(", ")),
        };
        found.into_iter().map(sentence).collect()
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
        let Some(summary) = self.finished_run(entrant, seed) else { return false };
        let relaxed = || Relaxed::read(&folder, &summary).map(|relaxed| relaxed.structures);
        self.n_relaxed(entrant).is_none_or(|n| relaxed() == Some(n))
    }

    /// The summary of the run of `entrant` with `seed` if it has nothing left to do, whether its structures are relaxed or not.
    fn finished_run(&self, entrant: &Entrant, seed: u64) -> Option<Summary> {
        let (folder, settings) = (self.run_folder(entrant, seed), self.settings_of(entrant, seed));
        let summary = RunDirectory::summary_of(&folder)?;
        let finished = entrant.method.is_finished(&settings.sections, &summary, self.to_the_end);
        (finished && (!self.by_seed || RunDirectory::has_settings(&folder, &settings))).then_some(summary)
    }

    /// How many structures of each run of `entrant` are relaxed; `None` where the target says what was found.
    fn n_relaxed(&self, entrant: &Entrant) -> Option<usize> {
        (self.by_seed || entrant.settings.target.is_none()).then_some(self.n_relaxed)
    }

    /// The settings of the run of `entrant` with `seed`.
    fn settings_of(&self, entrant: &Entrant, seed: u64) -> Settings {
        let mut settings = entrant.settings.clone();
        let search = &mut settings.sections.search;
        search.seed = seed;
        if self.by_seed {
            search.hours = search.hours.or_else(|| Settings::hours_of_run(&self.run_folder(entrant, seed)));
        }
        settings
    }

    /// Starts or resumes the run of `entrant` with `seed`, works to its end, and relaxes its lowest structures if the answer is not
    /// known. Gives a few words about it.
    pub(crate) fn run_one(&self, entrant: &Entrant, seed: u64, place: &Replica, watch: &Watch) -> Result<String> {
        let (folder, settings) = (self.run_folder(entrant, seed), self.settings_of(entrant, seed));
        let summary = match self.finished_run(entrant, seed) {
            Some(summary) => summary,
            None => self.search_one(entrant, &settings, place, watch)?,
        };
        let said = describe(&summary, settings.target.is_some());
        match self.n_relaxed(entrant) {
            Some(n) if entrant.method.is_finished(&settings.sections, &summary, self.to_the_end) => {
                let relaxed = Relaxed::make(&folder, &settings, &summary, n, watch.interrupted)?;
                Ok(format!("{said}; relaxed in {} evaluations", relaxed.evaluations))
            }
            _ => Ok(said),
        }
    }

    /// Starts or resumes the run of `entrant` with `settings`, and works to its end.
    fn search_one(&self, entrant: &Entrant, settings: &Settings, place: &Replica, watch: &Watch) -> Result<Summary> {
        let Watch { afterwards, interrupted, .. } = *watch;
        let seed = settings.sections.search.seed;
        let folder = self.run_folder(entrant, seed);
        let potential = potential::open(&settings.sections.potential, Some(&settings.system), "cpu")?;
        let open = |device: &str| -> Result<Resumed> {
            let run = match RunDirectory::exists(&folder) {
                true if self.by_seed => RunDirectory::extend(&folder, settings)?,
                true => RunDirectory::resume(&folder, &settings.to_toml())?,
                false => {
                    let directory = RunDirectory::create(&folder, &settings.to_toml(), &Summary::new(seed, device))?;
                    Resumed { directory, seed, checkpoint: None, notes: Vec::new() }
                }
            };
            settings.copy_files(&folder)?;
            Ok(run)
        };
        let reporter = (watch.reporter)();
        match entrant.method {
            Method::Search => {
                let engine = place.engine(&settings.setup())?;
                let run = open(&engine.device())?;
                let search = Search::new(settings, engine, potential, run, &reporter, interrupted)?;
                search.stopping_at_target(!self.to_the_end).run(afterwards)
            }
            Method::Baseline(baseline) => {
                let (run, stop) = (open("cpu")?, !self.to_the_end);
                BaselineRun::new(baseline, settings, potential, run, &reporter, stop, interrupted)?.run(afterwards)
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

/// The results of a run, in a sentence; of a run that looks for a target, whether it found it.
fn describe(summary: &Summary, has_target: bool) -> String {
    let energy = summary.best_energy_ev.map_or(String::new(), |energy| format!(", lowest energy {energy:.4} eV"));
    match summary.target_first_evaluation {
        Some(evaluation) => {
            format!("target at evaluation {evaluation} of {}{energy}, {:.1} s", summary.evaluations, summary.seconds)
        }
        None if !has_target => format!("{} evaluations{energy}, {:.1} s", summary.evaluations, summary.seconds),
        None => format!("no target in {} evaluations{energy}, {:.1} s", summary.evaluations, summary.seconds),
    }
}
