//! How far a run has come: the data behind every view of it.

use super::Phase;
use crate::archive::{Counts, Status};
use std::time::{Duration, Instant};

/// Number of latest iterations from which the time left is estimated. Only the latest count, since guidance sets in after the
/// first.
const N_RECENT: usize = 3;

/// The lowest energy so far.
#[derive(Debug, Clone, Copy)]
pub struct BestSoFar {
    /// Energy, eV.
    pub energy_ev: f64,
    /// When it was found, and the evaluations of this process up to then; `None` if an earlier process found it.
    found: Option<(Instant, u64)>,
}

/// How long ago something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// Evaluations since.
    pub evaluations: u64,
    /// Wall-clock time since.
    pub time: Duration,
}

/// Time left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Of the whole run.
    InRun(Duration),
    /// Of the present phase: nothing more is known before the first iteration is done.
    InPhase(Duration),
}

/// How far a run has come.
#[derive(Debug)]
pub struct Standing {
    /// Iterations of the whole run.
    pub iterations: u32,
    /// The present one, from 0.
    pub iteration: u32,
    /// Its temperature, eV; 0 where there is none.
    pub kt_ev: f64,
    /// Its structures so far, by status.
    pub counts: Counts,
    /// The present phase.
    pub phase: Phase,
    /// Steps (or structures) of the phase that are done.
    pub done: usize,
    /// All of them.
    pub total: usize,
    /// The lowest energy so far.
    pub best: Option<BestSoFar>,
    /// Evaluations of this process.
    n_evaluations: u64,
    iteration_started: Instant,
    phase_started: Instant,
    /// How long the latest iterations took.
    recent: Vec<Duration>,
}

impl Standing {
    /// Before the start.
    pub fn new() -> Self {
        let now = Instant::now();
        Standing {
            iterations: 0,
            iteration: 0,
            kt_ev: 0.0,
            counts: Counts::default(),
            phase: Phase::Sample,
            done: 0,
            total: 0,
            best: None,
            n_evaluations: 0,
            iteration_started: now,
            phase_started: now,
            recent: Vec::new(),
        }
    }

    /// A run of `iterations` starts, in which earlier processes have found `best_ev`.
    pub fn start(&mut self, iterations: u32, best_ev: Option<f64>) {
        self.iterations = iterations;
        self.best = best_ev.map(|energy_ev| BestSoFar { energy_ev, found: None });
    }

    /// Iteration `iteration` (from 0) starts at `kt_ev` (eV).
    pub fn start_iteration(&mut self, iteration: u32, kt_ev: f64) {
        (self.iteration, self.kt_ev, self.iteration_started) = (iteration, kt_ev, Instant::now());
        self.counts = Counts::default();
    }

    /// A phase of `total` steps (or structures) starts.
    pub fn start_phase(&mut self, phase: Phase, total: usize) {
        (self.phase, self.total, self.done, self.phase_started) = (phase, total, 0, Instant::now());
    }

    /// A structure was judged, and evaluated if it came so far.
    pub fn count(&mut self, status: Status, energy: Option<f64>) {
        *self.counts.of_mut(status) += 1;
        self.n_evaluations += u64::from(status.is_evaluated());
        let Some(energy_ev) = energy.filter(|_| status == Status::Ok) else { return };
        if self.best.is_none_or(|best| energy_ev < best.energy_ev) {
            self.best = Some(BestSoFar { energy_ev, found: Some((Instant::now(), self.n_evaluations)) });
        }
    }

    /// The present iteration is done.
    pub fn finish_iteration(&mut self) {
        if self.recent.len() == N_RECENT {
            self.recent.remove(0);
        }
        self.recent.push(self.iteration_started.elapsed());
    }

    /// Age of the lowest energy; `None` if an earlier process found it, or there is none.
    pub fn age(&self) -> Option<Age> {
        let (found, n_evaluations) = self.best?.found?;
        Some(Age { evaluations: self.n_evaluations - n_evaluations, time: found.elapsed() })
    }

    /// Steps (or structures) of the phase in a second.
    pub fn rate(&self) -> Option<f64> {
        rate(self.done, self.phase_started.elapsed())
    }

    /// Time left, as the latest iterations or else the present phase suggest.
    pub fn left(&self) -> Option<Left> {
        let n_left = self.iterations.saturating_sub(self.iteration);
        let in_run = time_left(&self.recent, n_left, self.iteration_started.elapsed()).map(Left::InRun);
        in_run.or_else(|| {
            let seconds = self.total.saturating_sub(self.done) as f64 / self.rate()?;
            Duration::try_from_secs_f64(seconds).ok().map(Left::InPhase)
        })
    }
}

/// `done` in `time`, a second; unknown while that would be a guess.
fn rate(done: usize, time: Duration) -> Option<f64> {
    (done > 0 && !time.is_zero()).then(|| done as f64 / time.as_secs_f64())
}

/// Time for `n_left` iterations. The first of them has been running for `present`, and the latest ones took `recent` each.
fn time_left(recent: &[Duration], n_left: u32, present: Duration) -> Option<Duration> {
    let n_recent = u32::try_from(recent.len()).ok().filter(|n| *n > 0)?;
    let each = recent.iter().sum::<Duration>() / n_recent;
    let n_after = n_left.checked_sub(1)?;
    Some(each * n_after + each.saturating_sub(present))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_known_after_an_iteration() {
        let seconds = Duration::from_secs;
        assert_eq!(time_left(&[], 10, seconds(5)), None);
        assert_eq!(time_left(&[seconds(8), seconds(12)], 8, seconds(4)), Some(seconds(76)));
        // A present iteration that is slower than those before does not shorten the estimate for the remaining ones.
        assert_eq!(time_left(&[seconds(10)], 3, seconds(40)), Some(seconds(20)));
        assert_eq!(time_left(&[seconds(10)], 1, seconds(40)), Some(seconds(0)));
    }

    #[test]
    fn time_left_follows_the_latest_iterations() {
        let mut standing = Standing::new();
        standing.start(10, None);
        standing.recent = vec![Duration::from_secs(1), Duration::from_secs(1000), Duration::from_secs(1000)];
        standing.finish_iteration();
        assert_eq!(standing.recent.len(), N_RECENT);
        assert!(standing.recent[0] > Duration::from_secs(999), "{:?}", standing.recent);
    }

    #[test]
    fn rates_need_a_step() {
        assert_eq!(rate(0, Duration::from_secs(3)), None);
        assert_eq!(rate(5, Duration::ZERO), None);
        assert_eq!(rate(6, Duration::from_secs(3)), Some(2.0));
    }

    /// Evaluations are counted, rejected structures are not; only `ok` ones can be the best.
    #[test]
    fn the_best_energy_has_an_age() {
        let mut standing = Standing::new();
        standing.start(10, None);
        standing.start_iteration(0, 1.0);
        assert!(standing.age().is_none());
        standing.count(Status::Ok, Some(5.0));
        standing.count(Status::TooClose, None);
        standing.count(Status::BelowFloor, Some(-900.0));
        standing.count(Status::Ok, Some(6.0));
        assert_eq!(standing.best.unwrap().energy_ev, 5.0);
        assert_eq!(standing.age().unwrap().evaluations, 2);
        assert_eq!((standing.counts.ok, standing.counts.samples()), (2, 4));
        standing.start_iteration(1, 0.5);
        standing.count(Status::Ok, Some(4.0));
        assert_eq!((standing.age().unwrap().evaluations, standing.counts.samples()), (0, 1));
    }

    #[test]
    fn what_an_earlier_process_found_has_no_age() {
        let mut standing = Standing::new();
        standing.start(10, Some(4.5));
        standing.count(Status::Ok, Some(5.0));
        assert!(standing.age().is_none() && standing.best.unwrap().energy_ev == 4.5);
        standing.count(Status::Ok, Some(4.0));
        assert_eq!(standing.age().unwrap().evaluations, 0);
    }
}
