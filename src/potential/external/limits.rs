//! Time limits, and pauses after failures.

use std::collections::VecDeque;
use std::time::Duration;

/// Shortest limit of a call, unless the user gives one.
const SHORTEST_LIMIT: Duration = Duration::from_secs(60);
/// A call may take this many times the running median.
const TIMES_MEDIAN: u32 = 10;
/// Number of latest calls in the median.
const REMEMBERED: usize = 101;
/// Number of calls after which the median counts.
const KNOWN_AFTER: usize = 3;
/// Number of failed structures in a row that end everything, unless the user gives one: a worker died, hung or sent nonsense.
const FAILURES: usize = 5;
/// The same for structures at which a calculator raised an exception. Scattered atoms often have no converged answer.
const REFUSALS: usize = 50;
/// Pauses after failures in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Limits of one potential, with the times that they depend on.
#[derive(Debug)]
pub struct Limits {
    /// From the start of a worker to its connection; for i-PI, the longest time without a connected client.
    pub startup: Duration,
    /// For a call, if the user gives it.
    given: Option<Duration>,
    /// Number of failed structures in a row after which no answer is expected any more, if every worker had one of them.
    pub failures: usize,
    /// The same for structures at which the calculator of godiff's own worker raised an exception.
    pub refusals: usize,
    recent: VecDeque<Duration>,
}

impl Limits {
    /// Limits in seconds; without `call_seconds` that limit follows from the times of the calls.
    pub fn new(startup_seconds: f64, call_seconds: Option<f64>) -> Self {
        let duration = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Limits {
            startup: duration(startup_seconds),
            given: call_seconds.map(duration),
            failures: FAILURES,
            refusals: REFUSALS,
            recent: VecDeque::new(),
        }
    }

    /// These limits, with `failures` as the allowed number of failures in a row, if it is given.
    pub fn ending_after(self, failures: Option<usize>) -> Self {
        Limits { failures: failures.unwrap_or(FAILURES), refusals: failures.unwrap_or(REFUSALS), ..self }
    }

    /// A call took `time`.
    pub fn learn(&mut self, time: Duration) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(time);
    }

    /// How long a call may take: the given limit, or else the larger of 60 s and ten times the running median. The first calls,
    /// before there is a median, may take as long as a start.
    pub fn call(&self) -> Duration {
        self.given.unwrap_or_else(|| {
            if self.recent.len() < KNOWN_AFTER {
                return self.startup.max(SHORTEST_LIMIT);
            }
            let mut sorted: Vec<Duration> = self.recent.iter().copied().collect();
            sorted.sort_unstable();
            SHORTEST_LIMIT.max(sorted[sorted.len() / 2].saturating_mul(TIMES_MEDIAN))
        })
    }
}

/// The pause before the next start after `n_failures` in a row: none after the first, then 0.25 s, doubling up to 5 s.
pub fn pause(n_failures: u32) -> Duration {
    match n_failures {
        0 | 1 => Duration::ZERO,
        n => FIRST_PAUSE.saturating_mul(1 << (n - 2).min(10)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_limit_follows_the_median() {
        let mut limits = Limits::new(600.0, None);
        for time in [400, 9, 10] {
            assert_eq!(limits.call(), 600 * SECOND);
            limits.learn(time * SECOND);
        }
        assert_eq!(limits.call(), 100 * SECOND);
        (0..5).for_each(|_| limits.learn(SECOND));
        assert_eq!(limits.call(), 60 * SECOND);
        (0..200).for_each(|_| limits.learn(20 * SECOND));
        assert_eq!(limits.call(), 200 * SECOND);
    }

    #[test]
    fn a_given_limit_stands() {
        let mut limits = Limits::new(600.0, Some(0.5));
        (0..5).for_each(|_| limits.learn(20 * SECOND));
        assert_eq!(limits.call(), SECOND / 2);
        assert_eq!(Limits::new(1e300, None).call(), Duration::MAX);
    }

    #[test]
    fn pauses_grow_and_end() {
        let pauses: Vec<u128> = (0..9).map(|n| pause(n).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
