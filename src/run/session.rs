//! The life of a run, the same for a search and for every baseline: it is opened, worked on, ended and resumed.

use super::evaluation::{Drawn, Handled, RoundEvaluation};
use super::progress::RunInfo;
use super::{
    Checkpoint, IterationMetrics, Judge, PhaseSeconds, Reporter, Resumed, Round, RunDirectory, RunStatus,
    SearchProgress, Stop, Summary, read_metrics,
};
use crate::archive::{Archive, Entry, Status};
use crate::config::Settings;
use crate::engine::ModelState;
use crate::error::{Error, Result, stop_if};
use crate::potential::Potential;
use crate::system::xyz::format_frames;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// A run that this process works on: its folder and archive, its potential, its criteria and its results.
pub struct Session<'a> {
    /// The task and the method's keys.
    pub settings: &'a Settings,
    /// Source of the energies.
    pub potential: Box<dyn Potential>,
    /// Which structures count, and which is the target.
    pub judge: Judge,
    /// The run folder.
    pub directory: RunDirectory,
    /// Everything recorded.
    pub archive: Archive,
    /// Shows the progress.
    pub reporter: &'a Reporter,
    /// What ends the run before its work is done.
    pub stop: Stop<'a>,
    /// Results of the closed rounds.
    pub progress: SearchProgress,
    /// Whether the run ends when it finds the target.
    stop_at_target: bool,
    /// What the user should read when the run starts.
    notes: Vec<String>,
    device: String,
    started: Instant,
    /// Wall-clock time before the checkpoint, s.
    seconds_before: f64,
    /// Time in which the run waited for the potential, also before the checkpoint, s.
    waited: f64,
}

/// The part of a session that depends on the method of searching.
pub trait Activity {
    /// Rounds of the whole run.
    fn n_rounds(&self) -> u32;

    /// Works until the end; gives the reason of the end.
    ///
    /// # Errors
    /// Any error that ends the run early.
    fn work(&mut self, session: &mut Session) -> Result<RunStatus>;

    /// Structures recorded in the round that is not closed, in order of their index.
    fn open(&self) -> &[Entry] {
        &[]
    }

    /// Puts on the disk all that is not there yet, however the run ended.
    ///
    /// # Errors
    /// `Storage`. Then no summary is written: a summary that counted structures which are not stored would prevent the run from
    /// being resumed.
    fn settle(&mut self, _session: &mut Session, _status: RunStatus) -> Result<()> {
        Ok(())
    }
}

/// Draws structures and sends them; ends early with the error of the function, which it calls often.
pub type Draw<'a> = &'a mut dyn FnMut(Sender<Drawn>, &dyn Fn() -> Result<()>) -> Result<()>;

/// Work of a command in the folder of a run that has ended, before the user reads about the end: write a report, for example.
pub type Afterwards<'a> = &'a (dyn Fn(&Path, &Reporter) -> Result<()> + Sync);

impl<'a> Session<'a> {
    /// Opens the archive of `run`, whose results are computed on `device`; gives the checkpoint to resume from, if there is one.
    /// `interrupted` may be set at any time, by a signal handler for example.
    ///
    /// # Errors
    /// `BadInput` if the archive holds structures of another system, `Storage` if it lacks structures that the run has recorded.
    pub fn open(
        settings: &'a Settings,
        potential: Box<dyn Potential>,
        run: Resumed,
        reporter: &'a Reporter,
        interrupted: &'a AtomicBool,
        device: String,
    ) -> Result<(Self, Option<ModelState>)> {
        let Resumed { directory, checkpoint, notes, .. } = run;
        // External evaluators start with the folder that they may write to.
        potential.begin(directory.path())?;
        let seed = settings.sections.search.seed;
        let archive = Archive::open_or_create(&directory.archive_path(), &settings.system, &potential.name(), seed)?;
        if let Some(Checkpoint { progress, .. }) = &checkpoint {
            archive.check_complete(progress.iterations_done, progress.samples)?;
        }
        let (progress, model) = match checkpoint {
            Some(checkpoint) => (checkpoint.progress, Some(checkpoint.model)),
            None => (SearchProgress::new(seed), None),
        };
        // A summary also knows the time of an iteration that was not closed.
        let before = directory.summary();
        let seconds_before = before.as_ref().map_or(0.0, |summary| summary.seconds).max(progress.seconds);
        let waited = waited_before(&directory, before.filter(|summary| summary.seconds >= progress.seconds));
        let session = Session {
            settings,
            potential,
            judge: Judge::new(settings),
            directory,
            archive,
            reporter,
            stop: Stop::new(interrupted),
            stop_at_target: false,
            notes,
            progress,
            device,
            started: Instant::now(),
            seconds_before,
            waited,
        };
        Ok((session, model))
    }

    /// With `stop` the run ends when it finds the target; without it, it continues to the end of its budget. The other setting
    /// may be used when the run is resumed.
    pub fn set_stop_at_target(&mut self, stop: bool) {
        self.stop_at_target = stop;
    }

    /// Whether the run ends here because it has found the target, in a closed round or among `open`, as for [`Session::so_far`].
    pub fn is_over(&self, open: &[Entry]) -> bool {
        self.stop_at_target && self.so_far(open).target_first_evaluation.is_some()
    }

    /// Lets `method` work to the end and writes a summary however it ends; then calls `afterwards` with the folder.
    ///
    /// # Errors
    /// Those of the method, `BadInput` if the potential has no energy for the target, and the errors of the run folder. After all
    /// of them the run can be resumed.
    pub fn conduct(&mut self, method: &mut dyn Activity, afterwards: Afterwards) -> Result<Summary> {
        self.reporter.run_started(&RunInfo {
            directory: self.directory.path(),
            device: &self.device,
            potential: &self.potential.name(),
            seed: self.progress.seed,
            iterations: method.n_rounds(),
            first_iteration: self.progress.iterations_done,
            best_ev: self.archive.best()?.and_then(|entry| entry.energy),
        });
        std::mem::take(&mut self.notes).iter().for_each(|note| self.reporter.message(note));
        self.set_limit();
        let is_done = self.directory.summary().is_some_and(|summary| summary.status == RunStatus::Done);
        if self.stop.is_by_time() && !is_done {
            return self.end_at_once(method);
        }
        if self.target_is_new() {
            self.progress.target_first_evaluation = None;
        }
        let outcome = self
            .write_summary(RunStatus::Running, method.open())
            .and_then(|_| self.evaluate_target())
            .and_then(|()| method.work(self));
        let outcome = match outcome {
            Err(Error::Interrupted) if self.stop.is_by_time() => Ok(RunStatus::TimeLimit),
            outcome => outcome,
        };
        let status = match outcome {
            Ok(status) => status,
            Err(Error::Interrupted) => RunStatus::Interrupted,
            Err(_) => RunStatus::Failed,
        };
        let summary = method.settle(self, status).and_then(|()| self.write_summary(status, method.open()));
        let afterwards = afterwards(self.directory.path(), self.reporter);
        let summary = summary.inspect(|summary| self.reporter.finished(summary));
        outcome.and(afterwards).and(summary)
    }

    /// Asks the potential for the target's energy, if the criteria need it.
    fn evaluate_target(&mut self) -> Result<()> {
        self.potential.notes().iter().for_each(|note| self.reporter.message(note));
        self.judge.evaluate_target(self.settings, &*self.potential, self.stop)?;
        if self.target_is_new() { self.look_for_target() } else { Ok(()) }
    }

    /// Whether the run was extended by a target, so that what it counted before may be about another one.
    fn target_is_new(&self) -> bool {
        self.directory.segments().windows(2).any(|pair| pair[1].changes_target(&pair[0]))
    }

    /// Counts again, in all closed rounds, the evaluations up to the first that matches the target.
    fn look_for_target(&mut self) -> Result<()> {
        let (n_closed, judge) = (self.progress.iterations_done, &self.judge);
        let (mut n_evaluations, mut found) = (0, None);
        self.archive.visit(&mut |entry| {
            if entry.iteration < n_closed && entry.status != Status::TooClose {
                n_evaluations += 1;
                if found.is_none() && judge.is_target(&entry) {
                    found = Some(n_evaluations);
                }
            }
        })?;
        self.progress.target_first_evaluation = found;
        Ok(())
    }

    /// Starts the clock of the time limit.
    fn set_limit(&mut self) {
        if let Some(hours) = self.settings.sections.search.hours {
            self.stop = self.stop.after(hours * 3600.0 - self.seconds());
        }
    }

    /// Ends a run whose time was up before this session; its summary stays but for status and time.
    fn end_at_once(&self, method: &dyn Activity) -> Result<Summary> {
        self.reporter.message("the time limit of this run is reached already; --hours sets another");
        let before = self.directory.summary();
        let summary = before.unwrap_or_else(|| self.so_far(method.open()).summary(RunStatus::TimeLimit, &self.device));
        let (seconds, seconds_outside_potential) = (self.seconds(), Some(self.seconds_outside()));
        let summary = Summary { status: RunStatus::TimeLimit, seconds, seconds_outside_potential, ..summary };
        self.directory.write_summary(&summary)?;
        self.reporter.finished(&summary);
        Ok(summary)
    }

    /// Evaluates and records the structures of `round` that `draw` sends, while `draw` makes later ones. `draw` stays on this
    /// thread, which holds the device; a second thread judges, asks the potential and records. The flags say when to stop
    /// drawing. Adds to `seconds`; gives the recorded structures, also before an error.
    pub fn evaluate(&mut self, round: &Round, seconds: &mut PhaseSeconds, draw: Draw) -> (Vec<Entry>, Result<()>) {
        let Session { settings, judge, archive, reporter, potential, stop, directory, .. } = self;
        let stop = *stop;
        let (drawn, arriving) = channel();
        let abandoned = AtomicBool::new(false);
        let mut evaluation = RoundEvaluation {
            system: &settings.system,
            judge,
            archive,
            reporter,
            potential: &**potential,
            stop,
            abandoned: &abandoned,
            failures: directory.failures_path(),
            round,
            arriving,
            work: Handled::default(),
        };
        let started = Instant::now();
        let (drawing, evaluating, waited) = std::thread::scope(|scope| {
            let evaluating = scope.spawn(|| {
                let outcome = evaluation.run();
                if outcome.is_err() {
                    abandoned.store(true, Ordering::Relaxed);
                }
                outcome
            });
            let drawing = draw(drawn, &|| stop.check().and_then(|()| stop_if(&abandoned)));
            seconds.sample += started.elapsed().as_secs_f64();
            if drawing.is_err() {
                abandoned.store(true, Ordering::Relaxed);
            }
            let waiting = Instant::now();
            let evaluating = evaluating.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (drawing, evaluating, waiting.elapsed())
        });
        let Handled { idle, recorded, .. } = evaluation.work;
        seconds.wait += waited.as_secs_f64();
        self.waited += waited.as_secs_f64();
        seconds.evaluate += started.elapsed().saturating_sub(idle).as_secs_f64();
        // The side that failed first made the other one stop with an interruption.
        let outcome = match (drawing, evaluating) {
            (Err(Error::Interrupted), Err(cause)) => Err(cause),
            (drawing, evaluating) => drawing.and(evaluating),
        };
        (recorded, outcome)
    }

    /// Closes a round of a search: `metrics`, the checkpoint from which the next one starts, the summary. `entries` are its
    /// structures, in order of their index.
    ///
    /// # Errors
    /// `Storage`.
    pub fn close_round(
        &mut self,
        round: &Round,
        entries: &[Entry],
        mut metrics: IterationMetrics,
        model: ModelState,
    ) -> Result<()> {
        let progress = self.so_far(entries);
        let training_steps = progress.training_steps + metrics.training_steps;
        self.progress = SearchProgress { iterations_done: round.checkpoint(), training_steps, ..progress };
        metrics.best_energy_ev = self.progress.best.map(|best| best.energy_ev);
        self.directory.finish_iteration(&metrics, self.progress, model)?;
        self.reporter.iteration_done(&metrics);
        Ok(())
    }

    /// The results of the run so far with `open`, the structures of the round that is not closed, in order of their index.
    pub fn so_far(&self, open: &[Entry]) -> SearchProgress {
        let mut progress = self.progress;
        open.iter().for_each(|entry| self.judge.count(&mut progress, entry));
        SearchProgress { seconds: self.seconds(), ..progress }
    }

    /// Writes `best.xyz`.
    ///
    /// # Errors
    /// `Storage`.
    pub fn write_best(&self, best: &Entry) -> Result<()> {
        let mut structure = self.settings.system.structure(&best.free_positions);
        (structure.energy, structure.forces) = (best.energy, best.forces.clone());
        self.directory.write_best(format_frames(&[structure.into()]).as_bytes())
    }

    /// Writes `summary.json`, with `open` as for [`Session::so_far`].
    ///
    /// # Errors
    /// `Storage`.
    pub fn write_summary(&self, status: RunStatus, open: &[Entry]) -> Result<Summary> {
        let segments = self.directory.segments().len().max(1);
        let seconds_outside_potential = Some(self.seconds_outside());
        let so_far = self.so_far(open).summary(status, &self.device);
        let summary = Summary { segments, seconds_outside_potential, ..so_far };
        self.directory.write_summary(&summary)?;
        Ok(summary)
    }

    /// Wall-clock time of the run, s.
    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    /// Counts `time` as spent on waiting for the potential.
    pub fn add_waiting(&mut self, time: Duration) {
        self.waited += time.as_secs_f64();
    }

    /// Part of the run's time in which it did not wait for the potential, s.
    fn seconds_outside(&self) -> f64 {
        (self.seconds() - self.waited).max(0.0)
    }
}

/// Time that the run in `directory` waited for its potential until now, s: as `summary` says, or after a kill the sum over the
/// iterations that are done.
fn waited_before(directory: &RunDirectory, summary: Option<Summary>) -> f64 {
    let known = summary.and_then(|summary| Some(summary.seconds - summary.seconds_outside_potential?));
    // Metrics that are lost or damaged make a time less exact, and nothing else.
    let of_iterations = || read_metrics(&directory.metrics_path()).unwrap_or_default();
    known.unwrap_or_else(|| of_iterations().iter().map(|metrics| metrics.seconds.wait).sum())
}
