//! The one place through which a baseline asks the potential: counts, records, and answers from the archive what is recorded.

use super::settings::Record;
use crate::archive::{Archive, Counts, Entry, Status};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::potential::{Answer, Evaluation, Potential};
use crate::report::write_for_run;
use crate::run::progress::{Phase, RunInfo};
use crate::run::{IterationMetrics, PhaseSeconds, Reporter, Resumed, RunDirectory, RunStatus, SearchProgress, Summary};
use crate::search::judge::Judge;
use crate::search::report::{median, sorted};
use crate::system::Structure;
use crate::system::xyz::format_frames;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Evaluations that count as one iteration: a line of metrics, a summary.
pub const EVALUATIONS_AN_ITERATION: u64 = 1000;

/// Longest time for which answers are kept back to be stored together: what a kill costs at most, beside the answer it cut
/// short. Slow potentials take longer than this for one answer, which is then stored at once. Fast ones end many iterations in
/// it, which are told together: putting each on the disk would take most of the time.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// When a run ends.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Evaluations.
    pub evaluations: u64,
    /// Whether it ends where the target is found.
    pub stop_at_target: bool,
}

/// The evaluations of a run.
pub struct Ledger<'a> {
    settings: &'a Settings,
    potential: Box<dyn Potential>,
    judge: Judge,
    directory: RunDirectory,
    archive: Archive,
    reporter: Reporter,
    interrupted: &'a AtomicBool,
    kt_ev: f64,
    limits: Limits,
    progress: SearchProgress,
    /// The best structure so far.
    best: Option<Entry>,
    /// Entries of the present iteration that the archive held when it began, by index.
    recorded: HashMap<u32, Entry>,
    record: Record,
    /// Entries that are to be stored and are not yet.
    unsaved: Vec<Entry>,
    /// With [`Record::Minima`], the entries of the last [`Ledger::evaluate`], in its order.
    last: Vec<Entry>,
    saved: Instant,
    /// Iterations that are over and were not told yet, and when the last ones were.
    untold: Vec<IterationMetrics>,
    told: Instant,
    /// Statuses and `ok` energies (eV) of the present iteration.
    counts: Counts,
    energies: Vec<f64>,
    /// Wall-clock times of the present iteration.
    iteration_started: Instant,
    evaluating: Duration,
    started: Instant,
    seconds_before: f64,
}

impl<'a> Ledger<'a> {
    /// Opens the archive.
    pub fn new(
        settings: &'a Settings,
        potential: Box<dyn Potential>,
        run: Resumed,
        reporter: Reporter,
        kt_ev: f64,
        limits: Limits,
        interrupted: &'a AtomicBool,
    ) -> Result<Self> {
        let Resumed { directory, notes, .. } = run;
        // External evaluators start with the folder that they may write to.
        potential.begin(directory.path())?;
        let mut judge = Judge::new(settings);
        judge.evaluate_target(settings, &*potential, interrupted)?;
        let seed = settings.sections.search.seed;
        let archive = Archive::open_or_create(&directory.archive_path(), &settings.system, &potential.name(), seed)?;
        notes.iter().for_each(|note| reporter.message(note));
        let before = directory.summary();
        let record = settings.sections.relaxation.unwrap_or_default().record;
        // What is missing where not all is kept, the run that goes on makes again.
        if record == Record::All {
            archive.check_complete(u32::MAX, before.as_ref().map_or(0, |summary| summary.samples))?;
        }
        let seconds_before = before.map_or(0.0, |summary| summary.seconds);
        let now = Instant::now();
        Ok(Ledger {
            settings,
            potential,
            judge,
            directory,
            archive,
            reporter,
            interrupted,
            kt_ev,
            limits,
            progress: SearchProgress::new(seed),
            best: None,
            recorded: HashMap::new(),
            record,
            unsaved: Vec::new(),
            last: Vec::new(),
            saved: now,
            untold: Vec::new(),
            told: now,
            counts: Counts::default(),
            energies: Vec::new(),
            iteration_started: now,
            evaluating: Duration::ZERO,
            started: now,
            seconds_before,
        })
    }

    /// Shows that the run starts.
    pub fn started(&mut self) -> Result<()> {
        self.reporter.run_started(&RunInfo {
            directory: self.directory.path(),
            device: DEVICE,
            potential: &self.potential.name(),
            seed: self.progress.seed,
            iterations: self.limits.evaluations.div_ceil(EVALUATIONS_AN_ITERATION) as u32,
            first_iteration: 0,
            best_ev: self.archive.best()?.and_then(|entry| entry.energy),
        });
        match (self.archive.counts()?.evaluations(), self.record) {
            (0, _) => {}
            (n_recorded, Record::All) => {
                self.reporter.message(&format!("going on after evaluation {n_recorded}"));
            }
            (n_recorded, Record::Minima) => self.reporter.message(&format!(
                "going on: {n_recorded} evaluations are in the archive, the others are made again on the way"
            )),
        }
        self.directory.write_summary(&self.summary(RunStatus::Running))?;
        self.begin_iteration()
    }

    /// The answers for `structures`, one for each in their order. `None` at the end of the run: then only as many were
    /// evaluated as the budget had left.
    pub fn evaluate(&mut self, structures: &[Structure]) -> Result<Option<Vec<Answer>>> {
        let left = (self.limits.evaluations - self.progress.evaluations).min(structures.len() as u64) as usize;
        let mut answers = Vec::with_capacity(structures.len());
        self.last.clear();
        while answers.len() < left {
            let index = self.progress.evaluations % EVALUATIONS_AN_ITERATION;
            let room = (EVALUATIONS_AN_ITERATION - index) as usize;
            let end = left.min(answers.len() + room);
            answers.extend(self.evaluate_within_iteration(&structures[answers.len()..end])?);
            if self.progress.evaluations.is_multiple_of(EVALUATIONS_AN_ITERATION) {
                self.close_iteration()?;
                self.begin_iteration()?;
            }
        }
        let found = self.limits.stop_at_target && self.progress.target_first_evaluation.is_some();
        Ok((self.progress.evaluations < self.limits.evaluations && !found).then_some(answers))
    }

    /// Says that structure `place` of the last [`Ledger::evaluate`] was the last of its relaxation.
    pub fn relaxation_ended(&mut self, place: usize) {
        self.unsaved.extend(self.last.get(place).cloned());
    }

    /// What becomes of a structure with its energy and forces.
    pub fn status_of(&self, structure: &Structure) -> Status {
        let forces = structure.forces.clone().unwrap_or_default();
        self.judge.status(&Answer::Done(Evaluation { energy: structure.energy.unwrap_or(f64::NAN), forces }))
    }

    /// The run folder.
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// Puts on the disk what is not there yet.
    pub fn save(&mut self) -> Result<()> {
        self.archive.record(&self.unsaved)?;
        self.unsaved.clear();
        self.saved = Instant::now();
        Ok(())
    }

    /// Closes the run: the last, shorter iteration, the best structure, the summary.
    pub fn finished(&mut self, status: RunStatus) -> Result<Summary> {
        if status == RunStatus::Done && self.counts.samples() > 0 {
            self.close_iteration()?;
        }
        self.tell()?;
        let summary = self.summary(status);
        self.directory.write_summary(&summary)?;
        if let Err(error) = write_for_run(self.directory.path()) {
            self.reporter.message(&format!("no report.html was written: {error}"));
        }
        self.reporter.finished(&summary);
        Ok(summary)
    }

    fn evaluate_within_iteration(&mut self, structures: &[Structure]) -> Result<Vec<Answer>> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let first = (self.progress.evaluations % EVALUATIONS_AN_ITERATION) as u32;
        let mut entries: Vec<Option<Entry>> = Vec::with_capacity(structures.len());
        for (index, structure) in (first..).zip(structures) {
            let entry = self.recorded.remove(&index);
            if entry.as_ref().is_some_and(|entry| entry.free_positions != self.free(structure)) {
                return Err(self.another_run());
            }
            entries.push(entry);
        }
        let missing: Vec<usize> = (0..structures.len()).filter(|&k| entries[k].is_none()).collect();
        let asked = if missing.len() == structures.len() {
            self.ask(structures, first, &missing, &mut entries)
        } else {
            let unanswered: Vec<Structure> = missing.iter().map(|&k| structures[k].clone()).collect();
            self.ask(&unanswered, first, &missing, &mut entries)
        };
        if let Err(error) = asked {
            // What was answered before is recorded, so the summary counts it.
            entries.into_iter().flatten().try_for_each(|entry| self.count(entry).map(|_| ()))?;
            return Err(error);
        }
        entries.into_iter().map(|entry| self.count(entry.ok_or_else(|| self.no_answer())?)).collect()
    }

    /// Asks the potential for `structures`, which stand at `places` of a batch whose first evaluation has the index `first`.
    fn ask(
        &mut self,
        structures: &[Structure],
        first: u32,
        places: &[usize],
        entries: &mut [Option<Entry>],
    ) -> Result<()> {
        if structures.is_empty() {
            return Ok(());
        }
        let asked = Instant::now();
        let n_template = self.settings.system.n_template();
        let iteration = self.iteration();
        let Ledger { potential, judge, archive, record, unsaved, saved, interrupted, kt_ev, .. } = self;
        potential.evaluate(structures, &mut |answers| {
            for (k, answer) in answers {
                let status = judge.status(&answer);
                let (energy, forces) = match answer {
                    Answer::Done(evaluation) => (Some(evaluation.energy), Some(evaluation.forces)),
                    Answer::Failed(_) => (None, None),
                };
                let free_positions = structures[k].positions[n_template..].to_vec();
                let index = first + places[k] as u32;
                let entry = Entry { iteration, index, kt_ev: *kt_ev, status, free_positions, energy, forces };
                if *record == Record::All {
                    unsaved.push(entry.clone());
                }
                entries[places[k]] = Some(entry);
            }
            if saved.elapsed() >= SAVE_INTERVAL {
                archive.record(unsaved)?;
                unsaved.clear();
                *saved = Instant::now();
            }
            if interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
        })?;
        self.evaluating += asked.elapsed();
        Ok(())
    }

    /// Counts the run's next evaluation; gives its answer back.
    fn count(&mut self, entry: Entry) -> Result<Answer> {
        let before = (self.progress.best, self.progress.target_first_evaluation);
        self.judge.count(&mut self.progress, &entry);
        let is_best = self.progress.best != before.0;
        if self.record == Record::Minima {
            if is_best || self.progress.target_first_evaluation != before.1 {
                self.unsaved.push(entry.clone());
            }
            self.last.push(entry.clone());
        }
        *self.counts.of_mut(entry.status) += 1;
        if let (Status::Ok, Some(energy)) = (entry.status, entry.energy) {
            self.energies.push(energy);
        }
        self.reporter.recorded(entry.status, entry.energy);
        // What is shown is what a kill leaves.
        self.reporter.advance((self.counts.samples() as usize).saturating_sub(self.unsaved.len()));
        if is_best {
            self.best = Some(entry.clone());
        }
        // The archive has no number for energies that are not finite.
        Ok(match (entry.status, entry.energy, entry.forces) {
            (Status::Failed, ..) | (_, _, None) => Answer::Failed("the potential has no answer".into()),
            (_, energy, Some(forces)) => Answer::Done(Evaluation { energy: energy.unwrap_or(f64::NAN), forces }),
        })
    }

    fn begin_iteration(&mut self) -> Result<()> {
        let iteration = self.iteration();
        self.recorded = self.archive.entries(iteration)?.into_iter().map(|entry| (entry.index, entry)).collect();
        (self.counts, self.evaluating, self.iteration_started) = (Counts::default(), Duration::ZERO, Instant::now());
        self.energies.clear();
        let left = self.limits.evaluations - self.progress.evaluations;
        if left > 0 && self.untold.is_empty() {
            self.reporter.iteration_started(iteration, self.kt_ev);
            self.reporter.phase(Phase::Evaluate, left.min(EVALUATIONS_AN_ITERATION) as usize);
        }
        Ok(())
    }

    fn close_iteration(&mut self) -> Result<()> {
        let energies = sorted(self.energies.iter().copied());
        let evaluate = self.evaluating.as_secs_f64();
        let metrics = IterationMetrics {
            iteration: self.progress.iterations_done,
            kt_ev: self.kt_ev,
            samples: self.counts.samples(),
            counts: self.counts,
            energy_min_ev: energies.first().copied(),
            energy_median_ev: median(&energies),
            energy_max_ev: energies.last().copied(),
            buffer_median_ev: None,
            effective_sample_size: None,
            loss: None,
            force_loss: None,
            learning_rate: 0.0,
            best_energy_ev: self.progress.best.map(|best| best.energy_ev),
            seconds: PhaseSeconds {
                sample: self.iteration_started.elapsed().as_secs_f64() - evaluate,
                evaluate,
                wait: evaluate,
                train: 0.0,
            },
        };
        self.progress.iterations_done += 1;
        self.counts = Counts::default();
        self.untold.push(metrics);
        if self.told.elapsed() < SAVE_INTERVAL {
            return Ok(());
        }
        self.tell()?;
        self.directory.write_summary(&self.summary(RunStatus::Running))
    }

    /// Tells of the iterations that are over, once they are on the disk.
    fn tell(&mut self) -> Result<()> {
        self.save()?;
        self.directory.append_metrics(&self.untold)?;
        self.untold.drain(..).for_each(|metrics| self.reporter.iteration_done(&metrics));
        self.told = Instant::now();
        self.write_best()
    }

    fn write_best(&self) -> Result<()> {
        let Some(best) = &self.best else { return Ok(()) };
        let mut structure = self.settings.system.structure(&best.free_positions);
        (structure.energy, structure.forces) = (best.energy, best.forces.clone());
        self.directory.write_best(format_frames(&[structure.into()]).as_bytes())
    }

    fn summary(&self, status: RunStatus) -> Summary {
        let seconds = self.seconds_before + self.started.elapsed().as_secs_f64();
        SearchProgress { seconds, ..self.progress }.summary(status, DEVICE)
    }

    /// The iteration of the next evaluation.
    fn iteration(&self) -> u32 {
        (self.progress.evaluations / EVALUATIONS_AN_ITERATION) as u32
    }

    fn free<'s>(&self, structure: &'s Structure) -> &'s [crate::system::Vec3] {
        &structure.positions[self.settings.system.n_template()..]
    }

    fn another_run(&self) -> Error {
        let message = "holds other structures than this run makes up, which another version of godiff may have made; start a \
                       new run without --resume";
        Error::bad_file(&self.directory.archive_path(), message)
    }

    fn no_answer(&self) -> Error {
        Error::Evaluator(format!("the potential {} left a structure without an answer", self.potential.name()))
    }
}

/// What summaries name as device.
const DEVICE: &str = "cpu";
