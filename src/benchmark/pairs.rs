//! Two methods compared seed by seed.

use super::Results;
use super::statistics::{Outcome, mean, standard_deviation};
use serde::Serialize;

/// How many more evaluations than another a method needs to reach the target, over the seeds that both have finished. A run
/// without success counts with all of its evaluations, so budgets of different length make no fair pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pairs {
    /// The method's name.
    pub name: String,
    /// The name of the method that it is compared with.
    pub against: String,
    /// Seeds that both have finished.
    pub n_pairs: usize,
    /// Mean difference; below zero where the method needs fewer evaluations. Null without pairs.
    pub mean_difference: Option<f64>,
    /// Standard error of the mean difference; null with fewer than two pairs.
    pub standard_error: Option<f64>,
    /// Number of pairs in which the method needs fewer evaluations.
    pub n_fewer: usize,
    /// Number of pairs in which it needs more.
    pub n_more: usize,
}

impl Pairs {
    /// `method` compared with `other`.
    pub fn new(method: &Results, other: &Results) -> Self {
        let finished = |run: &&Outcome| run.finished;
        let pair = |run: &Outcome| {
            let twin = other.runs.iter().filter(finished).find(|twin| twin.seed == run.seed)?;
            Some(run.cost() as f64 - twin.cost() as f64)
        };
        let differences: Vec<f64> = method.runs.iter().filter(finished).filter_map(pair).collect();
        Pairs {
            name: method.row.name.clone(),
            against: other.row.name.clone(),
            n_pairs: differences.len(),
            mean_difference: mean(&differences),
            standard_error: standard_deviation(&differences).map(|spread| spread / (differences.len() as f64).sqrt()),
            n_fewer: differences.iter().filter(|&&difference| difference < 0.0).count(),
            n_more: differences.iter().filter(|&&difference| difference > 0.0).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Method;
    use super::*;

    fn results(name: &str, runs: &[(u64, bool, u64, Option<u64>)]) -> Results {
        let run = |&(seed, finished, evaluations, target_first_evaluation)| Outcome {
            seed,
            finished,
            evaluations,
            target_first_evaluation,
            best_energy_ev: None,
            seconds: 1.0,
            outside_seconds: None,
        };
        Results::new(name, Method::Search, runs.iter().map(run).collect(), Vec::new())
    }

    /// Differences −100, +40, 0 and −540 worked out by hand; seeds 4 to 6 make no pairs.
    #[test]
    fn pairs_agree_with_sums_by_hand() {
        let runs = [
            (3, true, 600, Some(60)),
            (0, true, 300, Some(200)),
            (1, true, 600, None),
            (2, true, 600, None),
            (4, false, 10, None),
            (6, true, 600, None),
        ];
        let others = [
            (0, true, 300, Some(300)),
            (1, true, 600, Some(560)),
            (2, true, 600, None),
            (3, true, 600, None),
            (4, true, 600, Some(7)),
            (5, true, 600, Some(7)),
            (6, false, 9, None),
        ];
        let pairs = Pairs::new(&results("wide", &runs), &results("placed", &others));
        assert_eq!((pairs.name.as_str(), pairs.against.as_str(), pairs.n_pairs), ("wide", "placed", 4));
        assert_eq!((pairs.mean_difference, pairs.n_fewer, pairs.n_more), (Some(-150.0), 2, 1));
        // Squares of 50, 190, 150 and −390 sum to 213200.
        assert!((pairs.standard_error.unwrap() - (213_200.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-9);

        let one = Pairs::new(&results("wide", &runs[1..2]), &results("placed", &others));
        assert_eq!((one.n_pairs, one.mean_difference, one.standard_error), (1, Some(-100.0), None));
        let none = Pairs::new(&results("wide", &runs[4..]), &results("placed", &others));
        assert_eq!((none.n_pairs, none.mean_difference, none.standard_error), (0, None, None));
    }
}
