//! Read this first: the annealing loop of GO-Diff (arXiv:2510.13448).
//!
//! ```text
//! for kT from kT_initial down to kT_final:
//!     structures ← reverse diffusion from the prior, with the model as it stands
//!     structures ← those without atoms on top of each other
//!     E, F       ← potential; every answer is recorded durably before anything depends on it
//!     buffer     ← drawn from everything recorded so far, with probabilities that follow exp(−E/kT)
//!     model      ← trained on the buffer, weighted by softmax(−E/kT)
//!     checkpoint
//! ```
//!
//! **Resuming.** Everything random is a pure function of the seed, the iteration and the structure's index, and everything
//! else the loop decides follows from the archive and the model's state. A checkpoint therefore holds that state and the
//! number of iterations done, nothing more. A run that was killed goes on at its checkpoint: structures already in the
//! archive are neither sampled nor evaluated again, the others come out as they would have, and the run ends bit for bit
//! like one that was left alone.

mod judge;

use crate::archive::{Archive, Entry, Status};
use crate::buffer;
use crate::config::Settings;
use crate::diffusion::temperature;
use crate::engine::{Engine, Stream, TrainingReport, TrainingSet};
use crate::error::{Error, Result};
use crate::potential::Potential;
use crate::run::{Checkpoint, IterationMetrics, Reporter, RunDirectory, Seconds, Summary};
use judge::Judge;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Most structures sampled before they are evaluated: what a kill can cost.
const SAMPLES_AT_ONCE: usize = 64;

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
}

impl<'a> Search<'a> {
    /// Puts the parts together. `interrupted` may be set at any time, from a signal handler for example.
    ///
    /// # Errors
    /// What the potential answers when it cannot evaluate the target.
    pub fn new(
        settings: &'a Settings,
        engine: Box<dyn Engine>,
        potential: Box<dyn Potential>,
        directory: RunDirectory,
        archive: Archive,
        reporter: Reporter,
        interrupted: &'a AtomicBool,
    ) -> Result<Self> {
        let judge = Judge::new(settings, &*potential)?;
        Ok(Search { settings, engine, potential, judge, directory, archive, reporter, interrupted })
    }

    /// Runs to the end, and leaves a summary behind however it ends.
    ///
    /// # Errors
    /// `Failed` if an iteration brings no structure to learn from or training diverges, `Interrupted`, and what the potential
    /// and the run folder report. The run can go on from its last checkpoint after all of them.
    pub fn run(&mut self) -> Result<Summary> {
        let started = Instant::now();
        let seconds_before = self.directory.seconds_so_far()?;
        let outcome = self.anneal();
        let status = match outcome {
            Ok(()) => "done",
            Err(Error::Interrupted) => "interrupted",
            Err(_) => "failed",
        };
        let summary = self.summary(status, seconds_before + started.elapsed().as_secs_f64());
        outcome?;
        summary
    }

    fn anneal(&mut self) -> Result<()> {
        let search = &self.settings.sections.search;
        for iteration in self.go_on()?..search.iterations {
            let kt_ev = temperature(iteration, search.iterations, search.kt_initial_ev, search.kt_final_ev);
            let mut seconds = Seconds::default();
            self.sample_and_evaluate(iteration, kt_ev, &mut seconds)?;
            let buffer = self.draw_buffer(iteration, kt_ev)?;
            let report = self.train(iteration, &buffer, &mut seconds)?;
            self.close_iteration(iteration, kt_ev, &buffer, report, seconds)?;
        }
        self.write_results()
    }

    /// Restores the last checkpoint, or the untrained model where there is none; gives the iteration to go on with.
    fn go_on(&mut self) -> Result<usize> {
        let (state, n_done) = match self.directory.read_checkpoint()? {
            Some(checkpoint) => (checkpoint.state, checkpoint.n_iterations),
            None => (untrained(self.settings), 0),
        };
        self.engine.restore(&state)?;
        self.directory.keep_metrics(n_done)?;
        Ok(n_done)
    }

    /// Completes the archive's `iteration`: samples, rejects, evaluates and records what is not recorded yet.
    fn sample_and_evaluate(&mut self, iteration: usize, kt_ev: f64, seconds: &mut Seconds) -> Result<()> {
        let n_samples = self.settings.sections.search.samples_per_iteration;
        let recorded = self.archive.entries(iteration as u32)?;
        for range in missing_ranges(&recorded, n_samples) {
            let started = Instant::now();
            let sampled = self.sample(iteration, range.clone())?;
            seconds.sample += started.elapsed().as_secs_f64();

            let started = Instant::now();
            self.evaluate(iteration, kt_ev, range, sampled)?;
            seconds.evaluate += started.elapsed().as_secs_f64();
        }
        Ok(())
    }

    fn sample(&mut self, iteration: usize, range: Range<usize>) -> Result<Vec<FreePositions>> {
        let Search { settings, engine, reporter, interrupted, .. } = self;
        let n_steps = settings.sections.diffusion.steps;
        reporter.start(Phase::Sample, n_steps);
        let sampled = engine.sample(stream(settings, iteration), range, &mut |step| {
            reporter.update(step);
            stop_if(interrupted)
        })?;
        match sampled.iter().flatten().flatten().all(|x| x.is_finite()) {
            true => Ok(sampled),
            false => Err(Error::Failed(format!(
                "iteration {iteration}: the model moves atoms to places that are not numbers; lower training.learning_rate"
            ))),
        }
    }

    /// Records a status for each of the structures `range` of the iteration.
    fn evaluate(&mut self, iteration: usize, kt_ev: f64, range: Range<usize>, sampled: Vec<FreePositions>) -> Result<()> {
        let Search { settings, potential, judge, archive, reporter, interrupted, .. } = self;
        let entry = |place: usize, status, evaluation: Option<Evaluation>| Entry {
            iteration: iteration as u32,
            index: (range.start + place) as u32,
            kt_ev,
            status,
            free_positions: sampled[place].clone(),
            energy: evaluation.as_ref().map(|evaluation| evaluation.energy),
            forces: evaluation.map(|evaluation| evaluation.forces),
        };
        let (rejected, accepted): (Vec<usize>, Vec<usize>) =
            (0..sampled.len()).partition(|&place| judge.too_close(&sampled[place]));
        let rejected: Vec<Entry> = rejected.into_iter().map(|place| entry(place, Status::TooClose, None)).collect();
        archive.record(&rejected)?;

        let structures: Vec<Structure> =
            accepted.iter().map(|&place| settings.system.structure(&sampled[place])).collect();
        reporter.start(Phase::Evaluate, structures.len());
        let mut n_answered = 0;
        potential.evaluate(&structures, &mut |answers| {
            n_answered += answers.len();
            let entries: Vec<Entry> = answers
                .into_iter()
                .map(|(k, answer)| {
                    let status = judge.status(&answer);
                    entry(accepted[k], status, answer.into_evaluation())
                })
                .collect();
            archive.record(&entries)?;
            reporter.update(n_answered);
            stop_if(interrupted)
        })
    }

    /// Draws the structures to train on from everything recorded so far.
    fn draw_buffer(&self, iteration: usize, kt_ev: f64) -> Result<Vec<Entry>> {
        let search = &self.settings.sections.search;
        let candidates = self.archive.candidates()?;
        let drawn = buffer::draw(&candidates, kt_ev, search.buffer, search.seed, iteration as u64);
        drawn.into_iter().map(|place| self.archive.get(candidates[place]))
    }
