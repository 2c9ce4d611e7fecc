//! The potential's side of one round: structures arrive while later ones are still drawn, answers go to the archive.

use super::progress::Phase;
use super::{Judge, Reporter, Round, Stop};
use crate::archive::{Archive, Entry, Origin, Status};
use crate::disk::{make_folder, storage_error, write_atomic};
use crate::error::{Result, stop_if};
use crate::gpu::profiler_range;
use crate::potential::{Answer, Exchange, Potential};
use crate::system::xyz::{Frame, format_frames};
use crate::system::{Structure, System, Vec3};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Samples on the way to evaluation: the first one's index, and all of them.
pub type Drawn = (usize, Vec<Sample>);

/// A sample that is not evaluated yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Positions of the n free atoms, Å.
    pub free: Vec<Vec3>,
    /// What the archive notes about its origin.
    pub origin: Option<Origin>,
    /// Its energy as the model predicts it, eV, if the sample was chosen for that.
    pub predicted_ev: Option<f64>,
}

/// Both ends of the potential's work on one round.
pub(super) struct RoundEvaluation<'a> {
    pub system: &'a System,
    pub judge: &'a Judge,
    pub archive: &'a mut Archive,
    pub reporter: &'a Reporter,
    pub potential: &'a dyn Potential,
    pub stop: Stop<'a>,
    /// Set when drawing or evaluation has failed, so that the other one stops.
    pub abandoned: &'a AtomicBool,
    /// Where the inputs of failed evaluations go.
    pub failures: PathBuf,
    pub round: &'a Round,
    pub arriving: Receiver<Drawn>,
    pub work: Handled,
}

/// How far the evaluation of a round has come.
#[derive(Debug, Default)]
pub(super) struct Handled {
    /// Set once no more structures arrive; until then the reporter shows how they are drawn.
    all_drawn: bool,
    /// The samples that are being evaluated, by their index.
    asked: HashMap<usize, Sample>,
    n_handed_over: usize,
    n_answered: usize,
    /// Time in which there was nothing to evaluate yet.
    pub idle: Duration,
    /// The recorded structures.
    pub recorded: Vec<Entry>,
}

impl RoundEvaluation<'_> {
    pub fn run(&mut self) -> Result<()> {
        let _range = profiler_range("evaluate");
        let potential = self.potential;
        let outcome = potential.evaluate_stream(self);
        self.tell();
        outcome
    }

    fn entry(&self, index: usize, status: Status, sample: Sample, answer: Option<Answer>) -> Entry {
        let (energy, forces) = match answer {
            Some(Answer::Done(evaluation)) => (Some(evaluation.energy), Some(evaluation.forces)),
            _ => (None, None),
        };
        let (iteration, kt_ev, index) = (self.round.archive_key(), self.round.kt_ev, index as u32);
        let Sample { free: free_positions, origin, predicted_ev } = sample;
        Entry { iteration, index, kt_ev, status, origin, predicted_ev, free_positions, energy, forces }
    }

    /// Records structures that need no evaluation, since they do not count; gives the rest with their indices.
    fn judge(&mut self, (first, drawn): Drawn) -> Result<Vec<(usize, Structure)>> {
        let (mut rejected, mut accepted) = (Vec::new(), Vec::new());
        for (index, sample) in (first..).zip(drawn) {
            if let Some(rejection) = self.judge.rejects(&sample.free) {
                let status = rejection.status();
                self.reporter.recorded(status, None);
                self.tell_own(index, sample.origin, &rejection.describe());
                rejected.push(self.entry(index, status, sample, None));
            } else {
                accepted.push((index, self.system.structure(&sample.free)));
                self.work.asked.insert(index, sample);
            }
        }
        self.archive.record(&rejected)?;
        self.work.recorded.extend(rejected);
        self.work.n_handed_over += accepted.len();
        Ok(accepted)
    }

    /// Tells the user why sample `index` does not count, if it is one of their own structures.
    fn tell_own(&self, index: usize, origin: Option<Origin>, why: &str) {
        if origin == Some(Origin::Own) {
            self.reporter
                .message(&format!("the search does not learn from structure {} of seeds.xyz: {why}", index + 1));
        }
    }

    /// Passes the potential's messages on to the user.
    fn tell(&self) {
        self.potential.notes().iter().for_each(|note| self.reporter.message(note));
    }

    /// Keeps the input of an evaluation that failed.
    fn save_failure(&self, index: usize, reason: &str) -> Result<()> {
        let Some(Sample { free, .. }) = self.work.asked.get(&index) else { return Ok(()) };
        make_folder(&self.failures).map_err(|cause| storage_error(&self.failures, &cause))?;
        let frame = Frame::from(self.system.structure(free)).with_info("reason", reason);
        let path = failure_path(&self.failures, self.round.number, index);
        write_atomic(&path, format_frames(&[frame]).as_bytes())?;
        let number = self.round.number + 1;
        self.reporter
            .message(&format!("a structure of iteration {number} failed: {reason}; kept as {}", path.display()));
        Ok(())
    }
}

/// Why the search does not learn from an evaluated structure of this status. Failures are told in any case.
fn unusable(status: Status) -> Option<&'static str> {
    match status {
        Status::Ok | Status::TooClose | Status::FallenApart | Status::Failed => None,
        Status::BelowFloor => Some("its energy is below search.energy_floor_ev"),
        Status::AboveCeiling => Some("its energy is above search.energy_ceiling_ev"),
        Status::NotFinite => Some("its energy or a force is not finite"),
    }
}

fn failure_path(folder: &Path, iteration: u32, index: usize) -> PathBuf {
    folder.join(format!("iteration-{iteration:05}-sample-{index:05}.xyz"))
}

impl Exchange for RoundEvaluation<'_> {
    fn next(&mut self, wait: Duration) -> Result<Option<Vec<(usize, Structure)>>> {
        let started = Instant::now();
        let arrived = self.arriving.recv_timeout(wait);
        if self.work.n_handed_over == self.work.n_answered {
            self.work.idle += started.elapsed();
        }
        match arrived {
            Ok(drawn) => self.judge(drawn).map(Some),
            Err(RecvTimeoutError::Timeout) => self.stop_if_told().map(|()| Some(Vec::new())),
            Err(RecvTimeoutError::Disconnected) => {
                if !std::mem::replace(&mut self.work.all_drawn, true) {
                    self.reporter.phase(Phase::Evaluate, self.work.n_handed_over);
                }
                self.stop_if_told().map(|()| None)
            }
        }
    }

    fn deliver(&mut self, answers: Vec<(usize, Answer)>) -> Result<()> {
        if !answers.is_empty() {
            self.work.n_answered += answers.len();
            let mut entries = Vec::with_capacity(answers.len());
            for (index, answer) in answers {
                if let Answer::Failed(reason) = &answer {
                    self.save_failure(index, reason)?;
                }
                let Some(sample) = self.work.asked.remove(&index) else { continue };
                entries.push(self.entry(index, self.judge.status(&answer), sample, Some(answer)));
            }
            self.archive.record(&entries)?;
            for entry in &entries {
                self.reporter.recorded(entry.status, entry.energy);
                if let Some(why) = unusable(entry.status) {
                    self.tell_own(entry.index as usize, entry.origin, why);
                }
            }
            self.work.recorded.extend(entries);
        }
        // Also without an answer: where one takes minutes, the times shown must keep up.
        if self.work.all_drawn {
            self.reporter.advance(self.work.n_answered);
        }
        self.tell();
        self.stop_if_told()
    }
}

impl RoundEvaluation<'_> {
    fn stop_if_told(&self) -> Result<()> {
        self.stop.check()?;
        stop_if(self.abandoned)
    }
}
