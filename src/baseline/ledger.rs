//! The one place through which a baseline asks the potential. It counts and records evaluations, and takes answers from the
//! archive where it has them.

use crate::archive::{Counts, EVALUATIONS_AN_ITERATION, Entry, Status};
use crate::config::Record;
use crate::error::{Error, Result};
use crate::potential::{Answer, Evaluation};
use crate::run::progress::Phase;
use crate::run::{IterationMetrics, PhaseSeconds, RunStatus, Session};
use crate::system::{Structure, Vec3};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Answers are buffered up to this long before one commit. A kill loses at most this much, and the answer that it interrupted. A
/// slow potential exceeds it with one answer, which is committed at once. A fast one finishes many iterations in this time, which
/// are then shown together: one commit for each would take most of the time.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// The evaluations of a run.
pub struct Ledger {
    /// Temperature of the last structure, eV.
    kt_ev: f64,
    /// Evaluations after which the run ends.
    budget: u64,
    /// The best structure so far.
    best: Option<Entry>,
    /// Entries of the present iteration that the archive held when it began, by index.
    recorded: HashMap<u32, Entry>,
    record: Record,
    /// Entries that are not stored yet.
    unsaved: Vec<Entry>,
    /// With [`Record::Minima`], the entries of the last [`Ledger::evaluate`], in its order.
    last: Vec<Entry>,
    saved: Instant,
    /// Iterations that are over and were not shown yet, and when iterations were last shown.
    unshown: Vec<IterationMetrics>,
    shown: Instant,
    /// Statuses and `ok` energies (eV) of the present iteration.
    counts: Counts,
    energies: Vec<f64>,
    /// Wall-clock times of the present iteration.
    iteration_started: Instant,
    evaluating: Duration,
}

impl Ledger {
    /// For a run that begins at `kt_ev` and ends after `budget` evaluations.
    pub fn new(kt_ev: f64, budget: u64, record: Record) -> Self {
        let now = Instant::now();
        Ledger {
            kt_ev,
            budget,
            best: None,
            recorded: HashMap::new(),
            record,
            unsaved: Vec::new(),
            last: Vec::new(),
            saved: now,
            unshown: Vec::new(),
            shown: now,
            counts: Counts::default(),
            energies: Vec::new(),
            iteration_started: now,
            evaluating: Duration::ZERO,
        }
    }

    /// Iterations of the whole run.
    pub fn n_iterations(&self) -> u32 {
        self.budget.div_ceil(EVALUATIONS_AN_ITERATION) as u32
    }

    /// Begins the first iteration of `session`.
    pub fn begin(&mut self, session: &Session) -> Result<()> {
        match (session.archive.counts()?.evaluations(), self.record) {
            (0, _) => {}
            (n_recorded, Record::All) => {
                session.reporter.message(&format!("resumed after evaluation {n_recorded}"));
            }
            (n_recorded, Record::Minima) => session.reporter.message(&format!(
                "resumed: {n_recorded} evaluations are in the archive; the missing ones are repeated"
            )),
        }
        self.begin_iteration(session)
    }

    /// The answers for `structures`, one for each in their order; each is recorded with its temperature in `kts_ev`. `None` at
    /// the end of the run: then only as many structures were evaluated as the budget had left.
    pub fn evaluate(
        &mut self,
        session: &mut Session,
        structures: &[Structure],
        kts_ev: &[f64],
    ) -> Result<Option<Vec<Answer>>> {
        let left = (self.budget - session.progress.evaluations).min(structures.len() as u64) as usize;
        let mut answers = Vec::with_capacity(structures.len());
        self.last.clear();
        while answers.len() < left {
            let index = session.progress.evaluations % EVALUATIONS_AN_ITERATION;
            let room = (EVALUATIONS_AN_ITERATION - index) as usize;
            let places = answers.len()..left.min(answers.len() + room);
            answers.extend(self.evaluate_within_iteration(session, &structures[places.clone()], &kts_ev[places])?);
            if session.progress.evaluations.is_multiple_of(EVALUATIONS_AN_ITERATION) {
                self.close_iteration(session)?;
                self.begin_iteration(session)?;
            }
        }
        let goes_on = session.progress.evaluations < self.budget && !session.is_over(&[]);
        Ok(goes_on.then_some(answers))
    }

    /// Says that structure `place` of the last [`Ledger::evaluate`] was the last of its relaxation.
    pub fn relaxation_ended(&mut self, place: usize) {
        self.unsaved.extend(self.last.get(place).cloned());
    }

    /// Puts on the disk all that is not there yet. The last iteration of a finished run may be a shorter one.
    pub fn settle(&mut self, session: &mut Session, status: RunStatus) -> Result<()> {
        self.save(session)?;
        if status == RunStatus::Done && self.counts.samples() > 0 {
            self.close_iteration(session)?;
        }
        self.show(session)
    }

    fn save(&mut self, session: &mut Session) -> Result<()> {
        session.archive.record(&self.unsaved)?;
        self.unsaved.clear();
        self.saved = Instant::now();
        Ok(())
    }

    fn evaluate_within_iteration(
        &mut self,
        session: &mut Session,
        structures: &[Structure],
        kts_ev: &[f64],
    ) -> Result<Vec<Answer>> {
        session.stop.check_user()?;
        let first = (session.progress.evaluations % EVALUATIONS_AN_ITERATION) as u32;
        let mut entries: Vec<Option<Entry>> = Vec::with_capacity(structures.len());
        for (index, structure) in (first..).zip(structures) {
            let entry = self.recorded.remove(&index);
            if entry.as_ref().is_some_and(|entry| entry.free_positions != free(session, structure)) {
                return Err(another_run(session));
            }
            entries.push(entry);
        }
        let missing: Vec<usize> = (0..structures.len()).filter(|&k| entries[k].is_none()).collect();
        let mut ask = |structures: &[Structure]| self.ask(session, structures, kts_ev, first, &missing, &mut entries);
        let asked = if missing.len() == structures.len() {
            ask(structures)
        } else {
            ask(&missing.iter().map(|&k| structures[k].clone()).collect::<Vec<_>>())
        };
        if let Err(error) = asked {
            // Answers from before the resume are recorded, so the summary counts them.
            entries.into_iter().flatten().try_for_each(|entry| self.count(session, entry).map(|_| ()))?;
            return Err(error);
        }
        entries.into_iter().map(|entry| self.count(session, entry.ok_or_else(|| no_answer(session))?)).collect()
    }

    /// Asks the potential for `structures`. Their places in their batch, which has the temperatures `kts_ev`, are `places`, and
    /// the first evaluation of the batch has the index `first`.
    fn ask(
        &mut self,
        session: &mut Session,
        structures: &[Structure],
        kts_ev: &[f64],
        first: u32,
        places: &[usize],
        entries: &mut [Option<Entry>],
    ) -> Result<()> {
        if structures.is_empty() {
            return Ok(());
        }
        // Known answers cost no time, so a time limit ends the run at the first that is missing: its summary then counts all.
        session.stop.check()?;
        let asked = Instant::now();
        let n_template = session.settings.system.n_template();
        let iteration = iteration(session);
        let Session { potential, judge, archive, stop, .. } = session;
        let Ledger { record, unsaved, saved, .. } = self;
        let outcome = potential.evaluate(structures, &mut |answers| {
            for (k, answer) in answers {
                let status = judge.status(&answer);
                let (energy, forces) = match answer {
                    Answer::Done(evaluation) => (Some(evaluation.energy), Some(evaluation.forces)),
                    Answer::Failed(_) => (None, None),
                };
                let free_positions = structures[k].positions[n_template..].to_vec();
                let index = first + places[k] as u32;
                let (kt_ev, origin) = (kts_ev[places[k]], None);
                let entry = Entry {
                    iteration,
                    index,
                    kt_ev,
                    status,
                    origin,
                    predicted_ev: None,
                    free_positions,
                    energy,
                    forces,
                };
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
            stop.check()
        });
        let took = asked.elapsed();
        self.evaluating += took;
        session.add_waiting(took);
        outcome
    }

    /// Counts the run's next evaluation; gives its answer back.
    fn count(&mut self, session: &mut Session, entry: Entry) -> Result<Answer> {
        let before = (session.progress.best, session.progress.target_first_evaluation);
        session.judge.count(&mut session.progress, &entry);
        let is_best = session.progress.best != before.0;
        if self.record == Record::Minima {
            if is_best || session.progress.target_first_evaluation != before.1 {
                self.unsaved.push(entry.clone());
            }
            self.last.push(entry.clone());
        }
        *self.counts.of_mut(entry.status) += 1;
        self.kt_ev = entry.kt_ev;
        if let (Status::Ok, Some(energy)) = (entry.status, entry.energy) {
            self.energies.push(energy);
        }
        session.reporter.recorded(entry.status, entry.energy);
        // Only stored iterations are shown, so a kill loses none of them.
        session.reporter.advance((self.counts.samples() as usize).saturating_sub(self.unsaved.len()));
        if is_best {
            self.best = Some(entry.clone());
        }
        // The archive has no number for energies that are not finite.
        Ok(match (entry.status, entry.energy, entry.forces) {
            (Status::Failed, ..) | (_, _, None) => Answer::Failed("the potential has no answer".into()),
            (_, energy, Some(forces)) => Answer::Done(Evaluation { energy: energy.unwrap_or(f64::NAN), forces }),
        })
    }

    fn begin_iteration(&mut self, session: &Session) -> Result<()> {
        let iteration = iteration(session);
        self.recorded = session.archive.entries(iteration)?.into_iter().map(|entry| (entry.index, entry)).collect();
        (self.counts, self.evaluating, self.iteration_started) = (Counts::default(), Duration::ZERO, Instant::now());
        self.energies.clear();
        let left = self.budget - session.progress.evaluations;
        if left > 0 && self.unshown.is_empty() {
            session.reporter.iteration_started(iteration, self.kt_ev);
            session.reporter.phase(Phase::Evaluate, left.min(EVALUATIONS_AN_ITERATION) as usize);
        }
        Ok(())
    }

    fn close_iteration(&mut self, session: &mut Session) -> Result<()> {
        let evaluate = self.evaluating.as_secs_f64();
        let sample = self.iteration_started.elapsed().as_secs_f64() - evaluate;
        let seconds = PhaseSeconds { sample, evaluate, wait: evaluate, train: 0.0 };
        let (number, energies) = (session.progress.iterations_done, self.energies.iter().copied());
        let metrics = IterationMetrics {
            best_energy_ev: session.progress.best.map(|best| best.energy_ev),
            ..IterationMetrics::new(number, self.kt_ev, self.counts, energies, seconds)
        };
        session.progress.iterations_done += 1;
        self.counts = Counts::default();
        self.unshown.push(metrics);
        if self.shown.elapsed() < SAVE_INTERVAL {
            return Ok(());
        }
        self.show(session)?;
        session.write_summary(RunStatus::Running, &[]).map(|_| ())
    }

    /// Shows the iterations that are over, once they are on the disk.
    fn show(&mut self, session: &mut Session) -> Result<()> {
        self.save(session)?;
        session.directory.append_metrics(&self.unshown)?;
        self.unshown.drain(..).for_each(|metrics| session.reporter.iteration_done(&metrics));
        self.shown = Instant::now();
        self.best.as_ref().map_or(Ok(()), |best| session.write_best(best))
    }
}

/// The iteration of the next evaluation.
fn iteration(session: &Session) -> u32 {
    (session.progress.evaluations / EVALUATIONS_AN_ITERATION) as u32
}

fn free<'s>(session: &Session, structure: &'s Structure) -> &'s [Vec3] {
    &structure.positions[session.settings.system.n_template()..]
}

fn another_run(session: &Session) -> Error {
    let message = "holds other structures than this run makes up, which another version of godiff may have made; start a \
                   new run without --resume";
    Error::bad_file(&session.directory.archive_path(), message)
}

fn no_answer(session: &Session) -> Error {
    Error::Evaluator(format!("the potential {} left a structure without an answer", session.potential.name()))
}
