//! One iteration's structures, from the model to the archive: evaluation goes on while later ones are still being sampled.
//!
//! Sampling stays on the caller's thread, which holds the device; a second one judges, asks the potential and records.

use super::hops::Hops;
use super::judge::Judge;
use super::{Search, guidance_in, placed_in, stop_if, stream};
use crate::archive::{Archive, Entry, Status};
use crate::baseline::Placement;
use crate::config::Settings;
use crate::engine::{Engine, FreePositions, Sampler, profiler_range, relax_on_predicted_forces};
use crate::error::{Error, Result};
use crate::potential::{Answer, Exchange, Potential};
use crate::run::progress::Phase;
use crate::run::{PhaseSeconds, Reporter, storage_error, write_atomic};
use crate::system::Structure;
use crate::system::xyz::{Frame, format_frames};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Most structures sampled before they are evaluated: what a kill can cost.
const SAMPLES_AT_ONCE: usize = 128;
/// Fewest, where evaluation is slow: engines sample this many about as fast as one.
const FEWEST_AT_ONCE: usize = 16;

/// Samples on the way to evaluation: the first one's index, and positions.
type Sampled = (usize, Vec<FreePositions>);

impl Search<'_> {
    /// Samples, judges, evaluates and records the structures of `iteration` that the archive does not hold yet.
    pub(super) fn complete(&mut self, iteration: usize, kt_ev: f64, seconds: &mut PhaseSeconds) -> Result<()> {
        let recorded = self.archive.entries(iteration as u32)?;
        let n_at_once =
            self.potential.n_at_once().map_or(SAMPLES_AT_ONCE, |n| n.clamp(FEWEST_AT_ONCE, SAMPLES_AT_ONCE));
        recorded.iter().for_each(|entry| self.reporter.recorded(entry.status, entry.energy));
        let ranges = missing(&recorded, self.settings.sections.search.samples_per_iteration, n_at_once);
        let settings = self.settings;
        let hops = if ranges.is_empty() { None } else { self.hops(iteration)? };
        let missing = Missing { hops, ranges };
        let Search { engine, potential, judge, archive, reporter, interrupted, .. } = self;
        let (sampled, arriving) = channel();
        let abandoned = AtomicBool::new(false);
        let mut evaluation = Evaluation {
            settings,
            judge,
            archive,
            reporter,
            potential: &**potential,
            interrupted,
            abandoned: &abandoned,
            failures: self.directory.failures_path(),
            iteration,
            kt_ev,
            arriving,
            sampling: true,
            positions: HashMap::new(),
            n_handed_over: 0,
            n_answered: 0,
            idle: Duration::ZERO,
        };
        let started = Instant::now();
        let (sampling, evaluating, waited) = std::thread::scope(|scope| {
            let evaluating = scope.spawn(|| {
                let outcome = evaluation.run();
                if outcome.is_err() {
                    abandoned.store(true, Ordering::Relaxed);
                }
                outcome
            });
            let sampling =
                sample(settings, engine.as_mut(), reporter, &[interrupted, &abandoned], iteration, missing, sampled);
            seconds.sample += started.elapsed().as_secs_f64();
            if sampling.is_err() {
                abandoned.store(true, Ordering::Relaxed);
            }
            let waiting = Instant::now();
            let evaluating = evaluating.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (sampling, evaluating, waiting.elapsed())
        });
        seconds.wait += waited.as_secs_f64();
        seconds.evaluate += started.elapsed().saturating_sub(evaluation.idle).as_secs_f64();
        // The one that failed first made the other stop with an interruption.
        match (sampling, evaluating) {
            (Err(Error::Interrupted), Err(cause)) => Err(cause),
            (sampling, evaluating) => sampling.and(evaluating),
        }
    }
}

/// What of an iteration is to be sampled.
struct Missing<'a> {
    /// What its first samples do; the others come from the reverse process.
    hops: Option<Hops<'a>>,
    /// Indices of the samples, in parts.
    ranges: Vec<Range<usize>>,
}

/// Samples what is missing of the iteration, part by part, and sends each part as it is done; ends early when one of `stop` is set.
fn sample(
    settings: &Settings,
    engine: &mut dyn Engine,
    reporter: &Reporter,
    stop: &[&AtomicBool],
    iteration: usize,
    missing: Missing<'_>,
    sampled: Sender<Sampled>,
) -> Result<()> {
    let guidance = guidance_in(settings, iteration);
    let sampler = if guidance.is_some() { Sampler::Guided } else { Sampler::Plain };
    let n_steps = settings.sections.diffusion.steps;
    let Missing { hops, ranges } = missing;
    for range in ranges {
        let _range = profiler_range("sample");
        reporter.phase(Phase::Sample, n_steps + guidance.map_or(0, |guidance| guidance.relax_steps));
        let mut advance = |step| {
            reporter.advance(step);
            stop.iter().try_for_each(|stop| stop_if(stop))
        };
        let first = range.start;
        let n_hops = hops.as_ref().map_or(0, Hops::len);
        let hopping = range.start..range.end.min(n_hops);
        let mut structures: Vec<FreePositions> =
            hops.iter().flat_map(|hops| hopping.clone().map(|sample| hops.start(sample, 0))).collect();
        let reversed = range.start.max(n_hops)..range.end;
        if placed_in(settings, iteration) {
            let placement = Placement::new(settings);
            structures.extend(reversed.map(|sample| placement.structure(sample as u64)).collect::<Result<Vec<_>>>()?);
        } else if !reversed.is_empty() {
            structures.extend(engine.sample(stream(settings, iteration), reversed, sampler, &mut advance)?);
        }
        if let Some(guidance) = guidance {
            let mut advance = |step| advance(n_steps + step);
            relax_on_predicted_forces(engine, &settings.system, guidance, &mut structures, &mut advance)?;
            if let Some(hops) = &hops {
                let mut advance = |_| advance(guidance.relax_steps);
                hops.leave_known(engine, guidance, first, &mut structures, &mut advance)?;
            }
        }
        if !structures.iter().flatten().flatten().all(|x| x.is_finite()) {
            return Err(Error::Failed(format!(
                "iteration {}: the model sends atoms to places that are not numbers; lower training.learning_rate",
                iteration + 1
            )));
        }
        if sampled.send((first, structures)).is_err() {
            return Err(Error::Interrupted);
        }
    }
    Ok(())
}

/// Both ends of the potential's work on one iteration.
struct Evaluation<'a> {
    settings: &'a Settings,
    judge: &'a Judge,
    archive: &'a mut Archive,
    reporter: &'a Reporter,
    potential: &'a dyn Potential,
    interrupted: &'a AtomicBool,
    /// Set when sampling or evaluation has failed, so that the other stops.
    abandoned: &'a AtomicBool,
    /// Where the inputs of failed evaluations go.
    failures: PathBuf,
    iteration: usize,
    kt_ev: f64,
    arriving: Receiver<Sampled>,
    /// Whether more may arrive; until then the reporter shows the sampling.
    sampling: bool,
    /// Positions of what is being evaluated.
    positions: HashMap<usize, FreePositions>,
    n_handed_over: usize,
    n_answered: usize,
    /// Time in which there was nothing to evaluate yet.
    idle: Duration,
}

impl Evaluation<'_> {
    fn run(&mut self) -> Result<()> {
        let _range = profiler_range("evaluate");
        let potential = self.potential;
        let outcome = potential.evaluate_stream(self);
        self.tell();
        outcome
    }

    fn entry(&self, index: usize, status: Status, free_positions: FreePositions, answer: Option<Answer>) -> Entry {
        let (energy, forces) = match answer {
            Some(Answer::Done(evaluation)) => (Some(evaluation.energy), Some(evaluation.forces)),
            _ => (None, None),
        };
        let (iteration, index) = (self.iteration as u32, index as u32);
        Entry { iteration, index, kt_ev: self.kt_ev, status, free_positions, energy, forces }
    }

    /// Records what lies too close; gives the others with their indices.
    fn judge(&mut self, (first, sampled): Sampled) -> Result<Vec<(usize, Structure)>> {
        let (mut rejected, mut accepted) = (Vec::new(), Vec::new());
        for (index, free) in (first..).zip(sampled) {
            if self.judge.too_close(&free) {
                self.reporter.recorded(Status::TooClose, None);
                rejected.push(self.entry(index, Status::TooClose, free, None));
            } else {
                accepted.push((index, self.settings.system.structure(&free)));
                self.positions.insert(index, free);
            }
        }
        self.archive.record(&rejected)?;
        self.n_handed_over += accepted.len();
        Ok(accepted)
    }

    /// Tells the user what the potential has to say.
    fn tell(&self) {
        self.potential.notes().iter().for_each(|note| self.reporter.message(note));
    }

    /// Keeps the input of an evaluation that failed.
    fn save_failure(&self, index: usize, reason: &str) -> Result<()> {
        let Some(free) = self.positions.get(&index) else { return Ok(()) };
        std::fs::create_dir_all(&self.failures).map_err(|cause| storage_error(&self.failures, &cause))?;
        let frame = Frame::from(self.settings.system.structure(free)).with_info("reason", reason);
        let path = failure_path(&self.failures, self.iteration, index);
        write_atomic(&path, format_frames(&[frame]).as_bytes())?;
        let number = self.iteration + 1;
        self.reporter
            .message(&format!("a structure of iteration {number} failed: {reason}; kept as {}", path.display()));
        Ok(())
    }
}

fn failure_path(folder: &Path, iteration: usize, index: usize) -> PathBuf {
    folder.join(format!("iteration-{iteration:05}-sample-{index:05}.xyz"))
}

impl Exchange for Evaluation<'_> {
    fn next(&mut self, wait: Duration) -> Result<Option<Vec<(usize, Structure)>>> {
        let started = Instant::now();
        let arrived = self.arriving.recv_timeout(wait);
        if self.n_handed_over == self.n_answered {
            self.idle += started.elapsed();
        }
        match arrived {
            Ok(sampled) => self.judge(sampled).map(Some),
            Err(RecvTimeoutError::Timeout) => self.stop_if_told().map(|()| Some(Vec::new())),
            Err(RecvTimeoutError::Disconnected) => {
                if std::mem::replace(&mut self.sampling, false) {
                    self.reporter.phase(Phase::Evaluate, self.n_handed_over);
                }
                self.stop_if_told().map(|()| None)
            }
        }
    }

    fn deliver(&mut self, answers: Vec<(usize, Answer)>) -> Result<()> {
        if !answers.is_empty() {
            self.n_answered += answers.len();
            let mut entries = Vec::with_capacity(answers.len());
            for (index, answer) in answers {
                if let Answer::Failed(reason) = &answer {
                    self.save_failure(index, reason)?;
                }
                let free = self.positions.remove(&index).unwrap_or_default();
                entries.push(self.entry(index, self.judge.status(&answer), free, Some(answer)));
            }
            self.archive.record(&entries)?;
            entries.iter().for_each(|entry| self.reporter.recorded(entry.status, entry.energy));
        }
        // Also without an answer: where one takes minutes, times go on.
        if !self.sampling {
            self.reporter.advance(self.n_answered);
        }
        self.tell();
        self.stop_if_told()
    }
}

impl Evaluation<'_> {
    fn stop_if_told(&self) -> Result<()> {
        stop_if(self.interrupted)?;
        stop_if(self.abandoned)
    }
}

/// The indices below `n_samples` that are not recorded, in ranges of at most `n_at_once`.
pub(super) fn missing(recorded: &[Entry], n_samples: usize, n_at_once: usize) -> Vec<Range<usize>> {
    let ends = recorded.iter().map(|entry| entry.index as usize).chain([n_samples]);
    let starts = std::iter::once(0).chain(recorded.iter().map(|entry| entry.index as usize + 1));
    let gaps = starts.zip(ends).map(|(start, end)| start..end);
    gaps.flat_map(|gap| {
        let end = gap.end;
        gap.step_by(n_at_once).map(move |start| start..end.min(start + n_at_once))
    })
    .collect()
}
