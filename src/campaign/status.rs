//! How the runs of a campaign stand, from their summaries alone: nobody who works on them is disturbed.

use super::Campaign;
use crate::benchmark::{Results, compare_with_first};
use crate::run::{RunDirectory, RunStatus};
use serde::Serialize;

/// How one run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Nothing left to do.
    Finished,
    /// A process works on it.
    Running,
    /// Begun, but nobody works on it: interrupted, killed, or running on a machine whose locks are not seen here.
    Stopped,
    /// Ended by an error; started again, it goes on from its last checkpoint.
    Failed,
    /// Not begun.
    Waiting,
}

/// How many runs stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the states of `RunState`")]
pub struct States {
    pub finished: usize,
    pub running: usize,
    pub stopped: usize,
    pub failed: usize,
    pub waiting: usize,
}

impl FromIterator<RunState> for States {
    fn from_iter<I: IntoIterator<Item = RunState>>(states: I) -> Self {
        let mut counts = States::default();
        for state in states {
            *match state {
                RunState::Finished => &mut counts.finished,
                RunState::Running => &mut counts.running,
                RunState::Stopped => &mut counts.stopped,
                RunState::Failed => &mut counts.failed,
                RunState::Waiting => &mut counts.waiting,
            } += 1;
        }
        counts
    }
}

impl Campaign {
    /// How task `task` stands.
    pub fn state(&self, task: usize) -> RunState {
        let (entrant, seed) = self.run_of(task);
        let folder = self.benchmark.run_folder(entrant, seed);
        let status = RunDirectory::summary_of(&folder).map(|summary| summary.status);
        match status {
            _ if self.is_finished(task) => RunState::Finished,
            _ if RunDirectory::is_in_use(&folder) => RunState::Running,
            Some(RunStatus::Failed) => RunState::Failed,
            Some(_) => RunState::Stopped,
            None => RunState::Waiting,
        }
    }

    /// How all tasks stand.
    pub fn states(&self) -> Vec<RunState> {
        (0..self.n_tasks()).map(|task| self.state(task)).collect()
    }

    /// What the benchmark has come to so far, without courses: an element for every entrant with its finished runs, the others begun
    /// counted as unfinished.
    pub fn results(&self) -> Vec<Results> {
        let results = |number: usize| {
            let entrant = &self.benchmark.entrants[number];
            let mut seeds: Vec<u64> =
                self.runs.iter().filter(|&&(entrant, _)| entrant == number).map(|&(_, seed)| seed).collect();
            seeds.sort_unstable();
            let runs = seeds.into_iter().filter_map(|seed| self.benchmark.outcome(entrant, seed)).collect();
            Results::new(&entrant.name, entrant.method, runs, Vec::new())
        };
        compare_with_first((0..self.benchmark.entrants.len()).map(results).collect())
    }
}
