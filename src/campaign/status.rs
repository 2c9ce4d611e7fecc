//! The states of a campaign's runs, from their summaries alone: nothing here disturbs the processes that work on them.

use super::Campaign;
use crate::benchmark::{Results, compare_with_first};
use crate::run::{RunDirectory, RunStatus};
use serde::Serialize;

/// The state of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// The run is finished.
    Finished,
    /// A process works on it.
    Running,
    /// The run was started, but no process works on it: it was interrupted or killed, or its machine's locks are not visible
    /// here.
    Stopped,
    /// The run ended by an error. A new start resumes it from its last checkpoint.
    Failed,
    /// The run was not started.
    Waiting,
}

/// Number of runs in each state.
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
    /// The state of task `task`.
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

    /// The states of all tasks.
    pub fn states(&self) -> Vec<RunState> {
        (0..self.n_tasks()).map(|task| self.state(task)).collect()
    }

    /// The results of the benchmark so far, without courses: an element for every entrant that has a target, with its finished runs. Started runs
    /// that are not finished are counted as unfinished.
    pub fn results(&self) -> Vec<Results> {
        let results = |number: usize| {
            let entrant = &self.benchmark.entrants[number];
            let mut seeds: Vec<u64> =
                self.runs.iter().filter(|&&(entrant, _)| entrant == number).map(|&(_, seed)| seed).collect();
            seeds.sort_unstable();
            let runs = seeds.into_iter().filter_map(|seed| self.benchmark.outcome(entrant, seed)).collect();
            Results::new(&entrant.name, entrant.method, runs, Vec::new())
        };
        let sought = |number: &usize| self.benchmark.entrants[*number].settings.target.is_some();
        compare_with_first((0..self.benchmark.entrants.len()).filter(sought).map(results).collect())
    }
}
