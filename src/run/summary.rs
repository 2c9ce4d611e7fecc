//! `summary.json`: the results of a run.

use crate::version::VERSION;
use serde::{Deserialize, Serialize};

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// The run is at work, or was killed: `--resume` continues it.
    Running,
    /// All iterations done.
    Done,
    /// The search found the target and was meant to end there: `--resume` continues with the iterations that are left.
    TargetFound,
    /// Its time limit was reached: `--resume` with another one continues it.
    TimeLimit,
    /// Ended by the user: `--resume` continues it.
    Interrupted,
    /// Ended by an error.
    Failed,
}

/// `summary.json`, written at the start and at the end of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Version of godiff, with the commit if it is known.
    pub version: String,
    /// Seed of all random numbers.
    pub seed: u64,
    /// The device it ran on.
    pub device: String,
    /// State of the run.
    pub status: RunStatus,
    /// Wall-clock time, also of the parts before a resume, s.
    pub seconds: f64,
    /// Part of these in which the run did not wait for the potential, s. Left out in the file of a run that an earlier version made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_outside_potential: Option<f64>,
    /// Calls of the potential.
    pub evaluations: u64,
    /// Structures sampled, also those rejected before evaluation.
    pub samples: u64,
    /// Training steps taken; 0 in files of a godiff that did not note them.
    #[serde(default)]
    pub training_steps: u64,
    /// Lowest energy of an `ok` structure, eV.
    pub best_energy_ev: Option<f64>,
    /// Iteration that found it, from 0.
    pub best_iteration: Option<u32>,
    /// Its index within that iteration, from 0.
    pub best_index: Option<u32>,
    /// Evaluations up to and with the first that matched the target; null without success.
    pub target_first_evaluation: Option<u64>,
    /// Segments of the run: 1 more than the number of times that it was extended. Left out in the file if it never was.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub segments: usize,
}

fn one() -> usize {
    1
}

fn is_one(n: &usize) -> bool {
    *n == 1
}

impl Summary {
    /// The summary of a run that starts now.
    pub fn new(seed: u64, device: impl Into<String>) -> Self {
        Summary {
            version: VERSION.to_owned(),
            seed,
            device: device.into(),
            status: RunStatus::Running,
            seconds: 0.0,
            seconds_outside_potential: None,
            evaluations: 0,
            samples: 0,
            training_steps: 0,
            best_energy_ev: None,
            best_iteration: None,
            best_index: None,
            target_first_evaluation: None,
            segments: 1,
        }
    }

    /// This summary without its times, which are no result of a run.
    pub fn untimed(&self) -> Self {
        Summary { seconds: 0.0, seconds_outside_potential: None, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scripts rely on these keys.
    #[test]
    fn keys_are_stable() {
        let text = serde_json::to_string(&Summary::new(7, "cpu")).unwrap();
        let expected = concat!(
            r#"{"version":"VERSION","seed":7,"device":"cpu","status":"running","seconds":0.0,"evaluations":0,"samples":0,"training_steps":0,"#,
            r#""best_energy_ev":null,"best_iteration":null,"best_index":null,"target_first_evaluation":null}"#
        );
        assert_eq!(text, expected.replace("VERSION", VERSION));
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), Summary::new(7, "cpu"));
    }
}
