//! Read this first: the annealing loop of GO-Diff (arXiv:2510.13448).
//!
//! ```text
//! for kT from kT_initial down to kT_final:
//!     structures ← reverse diffusion from the prior, with the model as it stands; with guidance, as soon as it has learned
//!                  forces, a corrector along those that it predicts after every step; the first ones, if so configured, atoms
//!                  put next to one another
//!     structures ← those without atoms on top of each other
//!     E, F       ← potential, while later structures are still drawn; every answer is recorded durably before anything
//!                  depends on it
//!     buffer     ← drawn from everything recorded so far, with probabilities that follow exp(−E/kT)
//!     model      ← trained on the buffer, weighted by softmax(−E/kT); with guidance, its force head on all F so far
//!     checkpoint
//! ```
//!
//! **Resuming.** Everything random is a pure function of the seed, the iteration and the structure's index, and all else that
//! the loop decides follows from the archive and the model's state. A checkpoint therefore holds that state and the number of
//! iterations done, nothing more. A run that was killed goes on from its last checkpoint: structures that the archive holds
//! are neither sampled nor evaluated again, the others come out as they would have, and the run ends bit for bit like one
//! that was left alone.

mod evaluation;
mod hops;
pub(crate) mod judge;
pub(crate) mod report;
#[cfg(test)]
mod tests;

use crate::archive::{Archive, Counts, Entry};
use crate::buffer::{self, Candidate};
use crate::config::{FirstSamples, Settings};
use crate::diffusion::temperature;
use crate::engine::{
    Engine, ForceSet, GuidanceSettings, ModelState, Stream, TrainingReport, TrainingSet, profiler_range,
};
use crate::error::{Error, Result};
use crate::minima;
use crate::model::{Layout, Transferred, initial_parameters};
use crate::potential::Potential;
use crate::run::progress::{Phase, RunInfo};
use crate::run::{Checkpoint, PhaseSeconds, Reporter, Resumed, RunDirectory, RunStatus, SearchProgress, Summary};
use judge::Judge;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Iterations in a row without a structure to learn from that end a search: forces learned from little may send all samples of
/// an early one onto each other, and more training mends that.
const MOST_BARREN: usize = 3;

/// A search, opened and ready to go on from where its run folder stands.
pub struct Search<'a> {
    settings: &'a Settings,
    engine: Box<dyn Engine>,
    potential: Box<dyn Potential>,
    judge: Judge,
    directory: RunDirectory,
    archive: Archive,
    reporter: Reporter,
    interrupted: &'a AtomicBool,
    /// Whether the run ends where it finds the target.
    stop_at_target: bool,
    /// What the iterations done have come to.
    progress: SearchProgress,
    started: Instant,
    /// Wall-clock time before the checkpoint, s.
    seconds_before: f64,
}

impl<'a> Search<'a> {
    /// Puts the parts together: opens the archive, restores the checkpoint or, without one, the model of `[transfer]` or an
    /// untrained one.
    /// `interrupted` may be set at any time, by a signal handler for example.
    ///
    /// # Errors
    /// `BadInput` if the archive holds structures of another system, and what the engine and the run folder report.
    pub fn new(
        settings: &'a Settings,
        mut engine: Box<dyn Engine>,
        potential: Box<dyn Potential>,
        run: Resumed,
        reporter: Reporter,
        interrupted: &'a AtomicBool,
    ) -> Result<Self> {
        let Resumed { directory, checkpoint, notes, .. } = run;
        potential.begin(directory.path())?;
        let judge = Judge::new(settings);
        let seed = settings.sections.search.seed;
        let path = directory.archive_path();
        let archive = Archive::open_or_create(&path, &settings.system, &potential.name(), seed)?;
        if let Some(Checkpoint { progress, .. }) = &checkpoint {
            archive.check_complete(progress.iterations_done, progress.samples)?;
        }
        notes.iter().for_each(|note| reporter.message(note));
        let (progress, state) = match checkpoint {
            Some(checkpoint) => (checkpoint.progress, checkpoint.model),
            None => {
                let Transferred { parameters, notes } = start_values(settings);
                notes.iter().for_each(|note| reporter.message(note));
                let state = ModelState::untouched(parameters, settings.sections.training.learning_rate);
                (SearchProgress::new(seed), state)
            }
        };
        engine.restore(&state)?;
        let (started, seconds_before) = (Instant::now(), progress.seconds);
        Ok(Search {
            settings,
            engine,
            potential,
            judge,
            directory,
            archive,
            reporter,
            interrupted,
            stop_at_target: false,
            progress,
            started,
            seconds_before,
        })
    }

    /// With `stop` the run ends, as [`RunStatus::TargetFound`], before the training that would follow the first structure
    /// that matches the target; without it, it goes on. Either can take over from the other in the same run folder.
    pub fn stopping_at_target(mut self, stop: bool) -> Self {
        self.stop_at_target = stop;
        self
    }

    /// Runs to the end, and leaves a summary behind however it ends.
    ///
    /// # Errors
    /// `Failed` if the first iteration, or three in a row, bring no structure to learn from or training diverges, `BadInput` if the potential has no energy
    /// for the target, `Interrupted`, and what the potential and the run folder report. After all of them the run can go on from its last checkpoint.
    pub fn run(&mut self) -> Result<Summary> {
        self.reporter.run_started(&RunInfo {
            directory: self.directory.path(),
            device: &self.engine.device(),
            potential: &self.potential.name(),
            seed: self.progress.seed,
            iterations: self.settings.sections.search.iterations as u32,
            first_iteration: self.progress.iterations_done,
            best_ev: self.archive.best()?.and_then(|entry| entry.energy),
        });
        let outcome =
            self.write_summary(RunStatus::Running).and_then(|_| self.evaluate_target()).and_then(|()| self.anneal());
        let status = match outcome {
            Ok(status) => status,
            Err(Error::Interrupted) => RunStatus::Interrupted,
            Err(_) => RunStatus::Failed,
        };
        let summary = self.write_summary(status);
        let minima = minima::write(self.directory.path());
        let summary = summary.inspect(|summary| {
            self.write_report();
            self.reporter.finished(summary);
        });
        outcome.and(minima).and(summary)
    }

    /// Asks the potential for the target's energy, if that is what is sought.
    fn evaluate_target(&mut self) -> Result<()> {
        let Search { settings, potential, judge, reporter, interrupted, .. } = self;
        potential.notes().iter().for_each(|note| reporter.message(note));
        judge.evaluate_target(settings, &**potential, interrupted)
    }

    /// Goes through the temperatures that are left; says how that ended.
    fn anneal(&mut self) -> Result<RunStatus> {
        let search = &self.settings.sections.search;
        for iteration in self.progress.iterations_done as usize..search.iterations {
            if self.stop_at_target && self.progress.target_first_evaluation.is_some() {
                return Ok(RunStatus::TargetFound);
            }
            let kt_ev = temperature_of(self.settings, iteration);
            let mut seconds = PhaseSeconds::default();
            self.reporter.iteration_started(iteration as u32, kt_ev);
            self.sample_and_evaluate(iteration, kt_ev, &mut seconds)?;
            if self.stop_at_target && self.so_far()?.target_first_evaluation.is_some() {
                return self.write_results().map(|()| RunStatus::TargetFound);
            }
            let buffer = self.draw_buffer(iteration, kt_ev)?;
            let report = self.train(iteration, kt_ev, &buffer, &mut seconds)?;
            self.close_iteration(iteration, kt_ev, &buffer, report, seconds)?;
        }
        self.write_results().map(|()| RunStatus::Done)
    }

    /// Completes the archive's `iteration`: samples, rejects, evaluates and records what is not recorded yet.
    fn sample_and_evaluate(&mut self, iteration: usize, kt_ev: f64, seconds: &mut PhaseSeconds) -> Result<()> {
        self.complete(iteration, kt_ev, seconds)?;
        let counts_of = |iteration: usize| -> Result<Counts> {
            Ok(self.archive.entries(iteration as u32)?.iter().map(|entry| entry.status).collect())
        };
        let counts = counts_of(iteration)?;
        if counts.ok > 0 {
            return Ok(());
        }
        let barren = nothing_to_learn_from(iteration, &counts);
        for before in iteration.saturating_sub(MOST_BARREN - 1)..iteration {
            if counts_of(before)?.ok > 0 {
                self.reporter.message(&format!("{barren}; training goes on with what came before"));
                return Ok(());
            }
        }
        let remedy = "give the free atoms more room, more samples_per_iteration, or wider bounds";
        Err(Error::Failed(format!("{barren}; {remedy}")))
    }

    /// Draws the structures to train on from everything recorded so far.
    fn draw_buffer(&self, iteration: usize, kt_ev: f64) -> Result<Vec<Entry>> {
        let _range = profiler_range("buffer");
        let search = &self.settings.sections.search;
        let mut candidates = self.archive.candidates()?;
        // A run that fell back to an older checkpoint finds answers of later iterations in its archive.
        candidates.retain(|candidate| candidate.iteration as usize <= iteration);
        let drawn = buffer::draw(&candidates, kt_ev, search.buffer, search.seed, iteration as u64);
        let member = |&place: &usize| {
            let Candidate { iteration, index, .. } = candidates[place];
            let lost = || Error::storage(&self.directory.archive_path(), "lost a row while the run used it");
            self.archive.get(iteration, index)?.ok_or_else(lost)
        };
        drawn.iter().map(member).collect()
    }

    /// What the force head learns from: every structure recorded so far whose energy counts, in the archive's order.
    fn force_set(&self, iteration: usize) -> Result<Option<ForceSet>> {
        let Some(guidance) = &self.settings.sections.guidance else { return Ok(None) };
        let n_template = self.settings.system.n_template();
        let mut set = ForceSet::default();
        for entry in self.archive.all_ok()? {
            // As in [`Search::draw_buffer`].
            if let (true, Some(forces)) = (entry.iteration as usize <= iteration, &entry.forces) {
                set.push(entry.free_positions, &forces[n_template..], guidance.max_force_ev_per_angstrom);
            }
        }
        Ok(Some(set))
    }

    fn train(
        &mut self,
        iteration: usize,
        kt_ev: f64,
        buffer: &[Entry],
        seconds: &mut PhaseSeconds,
    ) -> Result<TrainingReport> {
        let started = Instant::now();
        let _range = profiler_range("train");
        let forces = self.force_set(iteration)?;
        let Search { settings, engine, reporter, interrupted, .. } = self;
        let n_steps = settings.sections.training.steps_per_iteration;
        let set = TrainingSet {
            positions: buffer.iter().map(|entry| entry.free_positions.clone()).collect(),
            weights: weights(buffer, kt_ev),
            forces,
        };
        reporter.phase(Phase::Train, n_steps);
        let report = engine.train(stream(settings, iteration), &set, n_steps, &mut |step| {
            reporter.advance(step);
            stop_if(interrupted)
        })?;
        seconds.train = started.elapsed().as_secs_f64();
        Ok(report)
    }
}

/// kT of `iteration`, eV.
fn temperature_of(settings: &Settings, iteration: usize) -> f64 {
    let search = &settings.sections.search;
    temperature(iteration, search.iterations, search.kt_initial_ev, search.kt_final_ev)
}

/// The random numbers of `iteration`.
fn stream(settings: &Settings, iteration: usize) -> Stream {
    Stream { seed: settings.sections.search.seed, iteration: iteration as u64 }
}

/// The guidance of `iteration`: in the first there is none, unless a transferred model knows forces already.
fn guidance_in(settings: &Settings, iteration: usize) -> Option<&GuidanceSettings> {
    let known = || settings.transfer.as_ref().is_some_and(|model| model.knows_forces(&settings.system.numbers()));
    settings.sections.guidance.as_ref().filter(|_| iteration > 0 || known())
}

/// Whether the structures of `iteration` are made up as a random structure search does it: those of the first may be.
fn placed_in(settings: &Settings, iteration: usize) -> bool {
    iteration == 0 && settings.sections.search.first_samples == FirstSamples::Placed
}

/// The model before the first iteration, and what there is to say about it.
fn start_values(settings: &Settings) -> Transferred {
    let (sizes, seed) = (settings.setup().sizes, settings.sections.search.seed);
    let weighting = settings.sections.training.weighting;
    match &settings.transfer {
        Some(model) => model.transfer(&sizes, weighting, &settings.system.numbers(), seed),
        None => Transferred { parameters: initial_parameters(&Layout::new(&sizes), seed), notes: vec![] },
    }
}

/// Boltzmann weights of the buffer, mean 1.
fn weights(buffer: &[Entry], kt_ev: f64) -> Vec<f64> {
    let energies: Vec<f64> = buffer.iter().filter_map(|entry| entry.energy).collect();
    buffer::boltzmann_weights(&energies, kt_ev)
}

/// Part of a sentence.
fn nothing_to_learn_from(iteration: usize, counts: &Counts) -> String {
    let Counts { too_close, below_floor, above_ceiling, not_finite, failed, .. } = counts;
    format!(
        "iteration {} brought no structure to learn from ({too_close} too close, {below_floor} below the energy floor, \
         {above_ceiling} above the ceiling, {not_finite} without finite energy, {failed} failed in the potential)",
        iteration + 1
    )
}

fn stop_if(interrupted: &AtomicBool) -> Result<()> {
    if interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}
