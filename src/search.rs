//! Read this first: the loop of GO-Diff (arXiv:2510.13448).
//!
//! ```text
//! while the plan has another round (a temperature kT, lower than the one before):
//!     propose    structures: from the reverse process of the present model and from the other proposals; once the model has
//!                learned forces, the structures are relaxed on them
//!     evaluate   all structures without atoms on top of each other, while later ones are still drawn; every answer is
//!                recorded durably before anything depends on it
//!     learn      from a buffer, drawn from everything recorded so far with probabilities that follow exp(−E/kT); the force
//!                head learns from all forces so far
//!     close      the round: write metrics, checkpoint and the results so far
//! ```
//!
//! **Where things go.** A [`Plan`] chooses the next round, a [`Proposal`](crate::proposal::Proposal) draws samples, a [`Lesson`]
//! trains the model; each is a file of its own. The [`Session`] is the run: folder, archive, potential. The [`History`] is everything that the run knows.
//!
//! **Resuming.** All random numbers are a pure function of the seed, the round and the structure's index. All other decisions
//! of the loop follow from the history and the model's state. A checkpoint therefore holds that state and the number of rounds
//! done, nothing more. A run that was killed resumes from its last checkpoint. It neither draws nor evaluates the structures
//! again that the archive holds, and it draws the missing ones exactly as before the kill. So it ends bit for bit like a run
//! that was never interrupted.

mod drawing;
pub mod lesson;
pub mod plan;
mod screening;
#[cfg(test)]
mod tests;

use crate::archive::{Counts, Entry};
use crate::config::Settings;
use crate::engine::{Engine, ModelState};
use crate::error::{Error, Result};
use crate::minima::Comparison;
use crate::model::{Layout, ModelFile, Precision, Transferred, initial_parameters};
use crate::potential::Potential;
use crate::proposal::{Proposals, add_batch, registered, share_out};
use crate::run::progress::Phase;
use crate::run::{
    Activity, Afterwards, Best, History, IterationMetrics, PhaseSeconds, Rejections, Reporter, Resumed, Round,
    RunStatus, Session, Summary,
};
use drawing::{Drawing, missing, screening, stretches};
use lesson::{Boltzmann, Lesson, Taught};
use plan::{Adaptive, Annealing, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Rounds in a row without a structure to learn from that end a search: forces learned from little may send all samples of
/// an early one onto each other, and more training mends that.
const MOST_BARREN: usize = 3;

/// A search, opened and ready to continue from where its run folder is.
pub struct Search<'a> {
    session: Session<'a>,
    rounds: Loop<'a>,
}

/// The loop with its parts.
struct Loop<'a> {
    settings: &'a Settings,
    engine: Box<dyn Engine>,
    history: History,
    plan: Box<dyn Plan + 'a>,
    proposals: Proposals<'a>,
    lesson: Box<dyn Lesson + 'a>,
    /// Tells candidates apart; made when the first round is screened.
    comparison: OnceLock<Comparison>,
    /// Candidates for every sample of the present round that is screened.
    n_candidates: usize,
    /// Pairs of elements that the user knows to come too close.
    told: BTreeSet<[u8; 2]>,
}

impl<'a> Search<'a> {
    /// Puts the parts together: opens the archive, restores the checkpoint or, without one, the model of `[transfer]` or an
    /// untrained one. `interrupted` may be set at any time, by a signal handler for example.
    ///
    /// # Errors
    /// `BadInput` if the archive holds structures of another system, and the errors of the engine and the run folder.
    pub fn new(
        settings: &'a Settings,
        mut engine: Box<dyn Engine>,
        potential: Box<dyn Potential>,
        run: Resumed,
        reporter: &'a Reporter,
        interrupted: &'a AtomicBool,
    ) -> Result<Self> {
        let (session, model) = Session::open(settings, potential, run, reporter, interrupted, engine.device())?;
        engine.restore(&model.unwrap_or_else(|| first_model(settings, reporter)))?;
        let (n_template, seed) = (settings.system.n_template(), settings.sections.search.seed);
        let n_closed = session.progress.iterations_done;
        let mut history = History::read(&session.archive, n_template, seed, settings.sections.search.buffer, n_closed)?;
        let segments = session.directory.segments();
        let plan: Box<dyn Plan + 'a> = match settings.sections.adaptive {
            Some(section) => Box::new(Adaptive::new(settings, section, segments)?),
            None => Box::new(Annealing::new(settings, segments)?),
        };
        (0..history.rounds().len()).for_each(|place| history.settle(place, plan.settled(&history, place)));
        let rounds = Loop {
            settings,
            engine,
            history,
            plan,
            proposals: registered(settings),
            lesson: Box::new(Boltzmann::new(settings)),
            comparison: OnceLock::new(),
            n_candidates: 1,
            told: BTreeSet::new(),
        };
        Ok(Search { session, rounds })
    }

    /// With `stop` the run ends, as [`RunStatus::TargetFound`], before the training that would follow the first structure that
    /// matches the target; without it, it continues. The other setting may be used when the run is resumed.
    pub fn stopping_at_target(mut self, stop: bool) -> Self {
        self.session.set_stop_at_target(stop);
        self
    }

    /// Draws samples from `proposals` instead of those that are registered. The last of them must claim what is left.
    pub fn proposing(mut self, proposals: Proposals<'a>) -> Self {
        self.rounds.proposals = proposals;
        self
    }

    /// Runs to the end and writes a summary however it ends; then calls `afterwards` with the folder.
    ///
    /// # Errors
    /// `Failed` if the first round, or three in a row, bring no structure to learn from or training diverges, `BadInput` if the
    /// potential has no energy for the target, `Interrupted`, and the errors of the potential and the run folder. After all of
    /// them the run can be resumed from its last checkpoint.
    pub fn run(&mut self, afterwards: Afterwards) -> Result<Summary> {
        self.session.conduct(&mut self.rounds, afterwards)
    }
}

impl Activity for Loop<'_> {
    fn n_rounds(&self) -> u32 {
        self.plan.n_rounds()
    }

    fn work(&mut self, session: &mut Session) -> Result<RunStatus> {
        while let Some(mut round) = self.plan.next(&self.history) {
            if session.is_over(&[]) {
                return Ok(RunStatus::TargetFound);
            }
            let mut seconds = PhaseSeconds::default();
            share_out(&mut round, &self.proposals);
            self.propose_and_evaluate(session, &mut round, &mut seconds)?;
            if session.is_over(self.history.open()) {
                return self.write_results(session).map(|()| RunStatus::TargetFound);
            }
            let taught = self.learn(session, &round, &mut seconds)?;
            self.close(session, &round, taught, seconds)?;
        }
        self.write_results(session).map(|()| RunStatus::Done)
    }

    fn open(&self) -> &[Entry] {
        self.history.open()
    }
}

impl Loop<'_> {
    /// Draws, evaluates and records the samples of `round`, batch by batch until the plan has enough or the target is found.
    fn propose_and_evaluate(
        &mut self,
        session: &mut Session,
        round: &mut Round,
        seconds: &mut PhaseSeconds,
    ) -> Result<()> {
        let reporter = session.reporter;
        reporter.iteration_started(round.number, round.kt_ev);
        self.history.begin(round);
        self.history.open().iter().for_each(|entry| reporter.recorded(entry.status, entry.energy));
        loop {
            self.draw_and_evaluate(session, round, seconds)?;
            if session.is_over(self.history.open_among(round.n_samples)) {
                break;
            }
            match self.plan.more(round, &self.history) {
                0 => break,
                n_more => add_batch(round, n_more, &self.proposals),
            }
        }
        self.history.sampled(round);
        let place = self.history.rounds().len() - 1;
        self.history.settle(place, self.plan.settled(&self.history, place));
        round.kt_ev = self.history.rounds()[place].kt_ev;
        self.tell_rejections(session);
        self.check_barren(session.reporter)
    }

    /// Draws, evaluates and records the samples of `round` that the archive does not hold yet.
    fn draw_and_evaluate(&mut self, session: &mut Session, round: &Round, seconds: &mut PhaseSeconds) -> Result<()> {
        let Loop { settings, engine, history, proposals, comparison, n_candidates, .. } = self;
        let reporter = session.reporter;
        let n_at_once = session.potential.n_at_once();
        let ranges: Vec<_> = stretches(round, proposals)
            .into_iter()
            .flat_map(|samples| missing(history.open(), samples, n_at_once))
            .collect();
        if !ranges.is_empty() {
            for part in &round.parts {
                proposals[part.proposal].begin(round, history)?;
            }
        }
        let screening = screening(settings, round, history);
        *n_candidates = screening.map_or(1, |(screening, _)| screening.n_candidates());
        let engine = engine.as_mut();
        let chosen = BTreeMap::new();
        let mut drawing = Drawing { settings, engine, proposals, reporter, round, screening, comparison, chosen };
        let (recorded, outcome) =
            session.evaluate(round, seconds, &mut |sender, stop| drawing.draw(&ranges, &sender, stop));
        history.recorded(recorded);
        outcome
    }

    /// Tells the user which elements come too close, once for each pair, where that rejects most samples.
    fn tell_rejections(&mut self, session: &Session) {
        let Some(number) = self.history.last().map(|last| last.number) else { return };
        if let Some(rejections) = Rejections::of(&session.judge, number, self.history.open())
            && self.told.insert(rejections.elements)
        {
            session.reporter.message(&rejections.sentence);
        }
    }

    /// Refuses to learn from nothing: an error if the first round, or several in a row, have no structure that counts.
    fn check_barren(&self, reporter: &Reporter) -> Result<()> {
        let Some((last, before)) = self.history.rounds().split_last() else { return Ok(()) };
        if last.counts.ok > 0 {
            return Ok(());
        }
        let barren = nothing_to_learn_from(last.number, &last.counts);
        if before.iter().rev().take(MOST_BARREN - 1).any(|round| round.counts.ok > 0) {
            reporter.message(&format!("{barren}; training uses the earlier structures"));
            return Ok(());
        }
        let remedy = match last.counts.failed {
            0 => "give the free atoms more room, more samples_per_iteration, or wider bounds",
            _ => {
                "scattered atoms often have no answer: take first_samples = \"placed\", a larger min_distance_angstrom or more \
                 samples_per_iteration"
            }
        };
        Err(Error::Failed(format!("{barren}; {remedy}")))
    }

    fn learn(&mut self, session: &Session, round: &Round, seconds: &mut PhaseSeconds) -> Result<Taught> {
        let started = Instant::now();
        let Session { reporter, stop, .. } = session;
        reporter.phase(Phase::Train, self.lesson.n_steps());
        let taught = self.lesson.teach(round, &self.history, self.engine.as_mut(), &mut |step| {
            reporter.advance(step);
            stop.check()
        })?;
        seconds.train = started.elapsed().as_secs_f64();
        Ok(taught)
    }

    /// Closes `round`: metrics, the checkpoint from which the next one starts, then the results so far.
    fn close(&mut self, session: &mut Session, round: &Round, taught: Taught, seconds: PhaseSeconds) -> Result<()> {
        let entries = self.history.close();
        let counts: Counts = entries.iter().map(|entry| entry.status).collect();
        let known = self.history.last().map_or(&[][..], |last| &self.history.known()[last.n_known_before..]);
        let energies = known.iter().map(|known| known.energy_ev);
        let sections = &self.settings.sections;
        let unit_ev = sections.guidance.unwrap_or_default().energy_unit_ev;
        let quality = self.history.readout_quality(unit_ev);
        let n_chosen = entries.iter().filter(|entry| entry.predicted_ev.is_some()).count();
        let metrics = IterationMetrics {
            readout_rms_ev: quality.map(|quality| unit_ev * quality.error),
            candidates: (n_chosen > 0).then_some((n_chosen * self.n_candidates) as u64),
            buffer: Some(taught.n_structures as u64),
            buffer_median_ev: taught.median_ev,
            effective_sample_size: taught.effective_sample_size,
            training_steps: taught.training.steps as u64,
            loss: sections.training.score.then_some(taught.training.loss),
            force_loss: taught.training.force_loss,
            learning_rate: taught.training.learning_rate,
            ..IterationMetrics::new(round.number, round.kt_ev, counts, energies, seconds)
        };
        session.close_round(round, &entries, metrics, self.engine.state()?)?;
        self.write_results(session)?;
        session.write_summary(RunStatus::Running, &[]).map(|_| ())
    }

    /// Writes `best.xyz` from all recorded structures, and `model.safetensors` as it is after the rounds done.
    fn write_results(&self, session: &Session) -> Result<()> {
        self.write_model(&session.directory.model_path())?;
        let Some(Best { iteration, index, .. }) = session.so_far(self.history.open()).best else { return Ok(()) };
        session.archive.get(iteration, index)?.map_or(Ok(()), |best| session.write_best(&best))
    }

    fn write_model(&self, path: &Path) -> Result<()> {
        let Loop { settings, engine, .. } = self;
        let setup = settings.setup();
        let parameters = engine.state()?.parameters;
        let single = parameters.iter().all(|&x| f64::from(x as f32) == x);
        let mut species = settings.system.numbers();
        species.sort_unstable();
        species.dedup();
        let model = ModelFile {
            sizes: setup.sizes,
            radial_basis: settings.transfer.as_ref().and_then(|model| model.radial_basis.clone()),
            parameters,
            sde: setup.sde,
            weighting: setup.training.weighting,
            species,
            score_learned: settings.sections.training.score,
        };
        model.write(path, if single { Precision::Single } else { Precision::Double })
    }
}

/// The model before the first round. The user is informed where it comes from.
fn first_model(settings: &Settings, reporter: &Reporter) -> ModelState {
    let (sizes, seed) = (settings.setup().sizes, settings.sections.search.seed);
    let weighting = settings.sections.training.weighting;
    let Transferred { parameters, notes } = match &settings.transfer {
        Some(model) => model.transfer(&sizes, weighting, &settings.system.numbers(), seed),
        None => Transferred { parameters: initial_parameters(&Layout::new(&sizes), seed), notes: vec![] },
    };
    notes.iter().for_each(|note| reporter.message(note));
    ModelState::untouched(parameters, settings.sections.training.learning_rate)
}

/// Part of a sentence.
fn nothing_to_learn_from(number: u32, counts: &Counts) -> String {
    let apart = match counts.fallen_apart {
        0 => String::new(),
        n => format!("{n} with a molecule fallen apart, "),
    };
    let Counts { too_close, below_floor, above_ceiling, not_finite, failed, .. } = counts;
    format!(
        "iteration {} brought no structure to learn from ({too_close} too close, {apart}{below_floor} below the energy floor, \
         {above_ceiling} above the ceiling, {not_finite} without finite energy, {failed} failed in the potential)",
        number + 1
    )
}
