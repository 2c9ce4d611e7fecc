//! The results of the runs of one method: successes with their interval, the cost of a success, and when it came.

use crate::run::Summary;
use serde::Serialize;

/// Two-sided 95% point of the normal distribution.
const Z: f64 = 1.959963984540054;

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Whether it went to its end.
    pub finished: bool,
    /// Evaluations by the potential.
    pub evaluations: u64,
    /// Evaluations up to and with the first that matched the target; null without success.
    pub target_first_evaluation: Option<u64>,
    /// Lowest energy, eV.
    pub best_energy_ev: Option<f64>,
    /// Wall-clock time, s.
    pub seconds: f64,
    /// Part of it in which the run did not wait for the potential, s; null if nobody has measured it.
    pub outside_seconds: Option<f64>,
}

impl Outcome {
    /// The run with this summary; `finished` if it has nothing left to do.
    pub fn new(summary: &Summary, finished: bool) -> Self {
        Outcome {
            seed: summary.seed,
            finished,
            evaluations: summary.evaluations,
            target_first_evaluation: summary.target_first_evaluation,
            best_energy_ev: summary.best_energy_ev,
            seconds: summary.seconds,
            outside_seconds: summary.seconds_outside_potential,
        }
    }

    /// Evaluations until success, or all of them.
    pub fn cost(&self) -> u64 {
        self.target_first_evaluation.unwrap_or(self.evaluations)
    }

    /// The share of the run until success, or 1: evaluations are taken to be spread evenly over its time.
    fn share(&self) -> f64 {
        if self.evaluations == 0 { 1.0 } else { self.cost() as f64 / self.evaluations as f64 }
    }
}

/// One line of the table. Unfinished runs count in `n_unfinished` only.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Name of the configuration, with the method unless that is `search`.
    pub name: String,
    /// Method.
    pub method: String,
    /// Finished runs.
    pub n_runs: usize,
    /// Runs that were started and are not finished.
    pub n_unfinished: usize,
    /// Runs that found the target.
    pub n_hits: usize,
    /// Most evaluations that a run made.
    pub evaluations: u64,
    /// 95% interval of the probability of success ([`wilson`]); null without runs.
    pub success_interval: Option<[f64; 2]>,
    /// Mean evaluation of the first success, over the runs with one.
    pub mean_success_evaluation: Option<f64>,
    /// Standard deviation of that evaluation (n − 1 in the denominator); null with fewer than two.
    pub success_evaluation_spread: Option<f64>,
    /// Evaluations of all runs, until success or the end, divided by the successes; null without one.
    pub evaluations_per_hit: Option<f64>,
    /// Mean of the runs' lowest energies, eV.
    pub mean_best_energy_ev: Option<f64>,
    /// Seconds of all runs, until success or the end, divided by the successes; null without one.
    pub seconds_per_hit: Option<f64>,
    /// The same without those in which a run waited for the potential; null also if a run has not measured them.
    pub outside_seconds_per_hit: Option<f64>,
}

impl Row {
    /// The line of `runs`.
    pub fn new(name: &str, method: &str, runs: &[Outcome]) -> Self {
        let finished: Vec<&Outcome> = runs.iter().filter(|run| run.finished).collect();
        let successes: Vec<f64> =
            finished.iter().filter_map(|run| run.target_first_evaluation).map(|e| e as f64).collect();
        let energies: Vec<f64> = finished.iter().filter_map(|run| run.best_energy_ev).collect();
        let cost: u64 = finished.iter().map(|run| run.cost()).sum();
        let n_hits = successes.len();
        let seconds: f64 = finished.iter().map(|run| run.share() * run.seconds).sum();
        let outside: Option<f64> = finished.iter().map(|run| Some(run.share() * run.outside_seconds?)).sum();
        let per_hit = |total: f64| (n_hits > 0).then(|| total / n_hits as f64);
        Row {
            name: name.to_owned(),
            method: method.to_owned(),
            n_runs: finished.len(),
            n_unfinished: runs.len() - finished.len(),
            n_hits,
            evaluations: finished.iter().map(|run| run.evaluations).max().unwrap_or(0),
            success_interval: (!finished.is_empty()).then(|| wilson(n_hits, finished.len())),
            mean_success_evaluation: mean(&successes),
            success_evaluation_spread: standard_deviation(&successes),
            evaluations_per_hit: per_hit(cost as f64),
            mean_best_energy_ev: mean(&energies),
            seconds_per_hit: per_hit(seconds),
            outside_seconds_per_hit: outside.and_then(per_hit),
        }
    }
}

/// The 95% score interval of a probability from `n_hits` in `n` trials (Wilson, J. Am. Stat. Assoc. 22, 209, 1927).
///
/// # Panics
/// If `n` is 0 or less than `n_hits`.
pub fn wilson(n_hits: usize, n: usize) -> [f64; 2] {
    assert!(n > 0 && n_hits <= n, "{n_hits} hits of {n}");
    let (p, n, z2) = (n_hits as f64 / n as f64, n as f64, Z * Z);
    let centre = p + z2 / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    [((centre - half) / (1.0 + z2 / n)).max(0.0), ((centre + half) / (1.0 + z2 / n)).min(1.0)]
}

pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

pub(super) fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, evaluations: u64, target: Option<u64>) -> Outcome {
        let energy = Some(25.0 + seed as f64);
        Outcome {
            seed,
            finished: true,
            evaluations,
            target_first_evaluation: target,
            best_energy_ev: energy,
            seconds: 1.0,
            outside_seconds: Some(0.25),
        }
    }

    /// Worked out by hand; the intervals agree with Newcombe's tables (Stat. Med. 17, 857, 1998: 81 of 263 and 0 of 20).
    #[test]
    fn a_row_agrees_with_sums_by_hand() {
        let mut runs =
            vec![run(0, 1000, Some(300)), run(1, 2000, None), run(2, 700, Some(700)), run(3, 2000, Some(500))];
        runs.push(Outcome { finished: false, ..run(4, 50, None) });
        let row = Row::new("pt7", "rss", &runs);
        assert_eq!((row.n_runs, row.n_unfinished, row.n_hits, row.evaluations), (4, 1, 3, 2000));
        assert_eq!(row.mean_success_evaluation, Some(500.0));
        // √((200² + 200² + 0²)/2)
        assert_eq!(row.success_evaluation_spread, Some(200.0));
        // (300 + 2000 + 700 + 500)/3
        assert!((row.evaluations_per_hit.unwrap() - 3500.0 / 3.0).abs() < 1e-12);
        assert_eq!(row.mean_best_energy_ev, Some(26.5));
        // (300/1000 + 1 + 1 + 500/2000)/3, and a quarter of it.
        assert!((row.seconds_per_hit.unwrap() - 0.85).abs() < 1e-12);
        assert!((row.outside_seconds_per_hit.unwrap() - 0.2125).abs() < 1e-12);
        runs[0].outside_seconds = None;
        assert_eq!(Row::new("pt7", "rss", &runs).outside_seconds_per_hit, None);
        let [low, high] = row.success_interval.unwrap();
        assert!((low - 0.300642).abs() < 1e-6 && (high - 0.954413).abs() < 1e-6, "{low} {high}");
    }

    #[test]
    fn intervals_are_wilsons() {
        for (hits, n, low, high) in [(81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (8, 8, 0.6756, 1.0)] {
            let [a, b] = wilson(hits, n);
            assert!((a - low).abs() < 5e-5 && (b - high).abs() < 5e-5, "{hits}/{n}: {a} {b}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let row = Row::new("pt7", "rss", &[run(0, 1000, None)]);
        assert_eq!((row.evaluations_per_hit, row.mean_success_evaluation), (None, None));
        assert_eq!(Row::new("pt7", "rss", &[run(0, 10, Some(3))]).success_evaluation_spread, None);
        let nothing = Row::new("pt7", "rss", &[]);
        assert_eq!((nothing.n_runs, nothing.success_interval, nothing.mean_best_energy_ev), (0, None, None));
    }
}
