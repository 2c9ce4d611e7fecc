//! Structures that wait for evaluation, and answers: the one place that workers, clients and the caller share.
//!
//! If the call for a structure failed (a worker died, hung or sent nonsense), the structure goes to another worker, twice at
//! most. Then it counts as failed. If an answer has no numbers, its structure counts as failed at once, unless another client may
//! have numbers. Failures of one structure count once, so a single bad structure never ends a search; several different ones in a
//! row, without any answer between them, do. Before the first answer a failed structure waits behind all structures, so that a
//! potential that never works is recognised after a few calls. Later it goes first, so that bad ones do not gather at the end.

use super::limits::Limits;
use crate::error::{Error, Result};
use crate::potential::{Answer, Evaluation};
use crate::system::Structure;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a structure is tried.
const ATTEMPTS: usize = 3;
/// Number of failed starts in a row after which no worker is expected any more.
const STARTS_IN_A_ROW: usize = 5;
/// Failed structures in a row count for this much less while some worker had none of them, because clients that connect again are
/// not recognised.
const TIMES_OF_ANYBODY: usize = 5;

/// Identity of a worker, which it keeps when it is started again, or of a client's connection.
pub type WorkerId = usize;

/// A structure that waits for its answer.
#[derive(Debug, Clone)]
pub struct Task {
    /// The caller's number.
    pub number: usize,
    /// The structure to evaluate.
    pub structure: Structure,
    /// The workers that failed at it.
    failed_at: Vec<WorkerId>,
}

impl Task {
    /// Whether two tasks may share a batch: both are fresh and have the same elements, periodicity, and further keys and columns.
    fn goes_with(&self, other: &Task) -> bool {
        self.failed_at.is_empty()
            && other.failed_at.is_empty()
            && self.structure.numbers == other.structure.numbers
            && self.structure.cell.periodic == other.structure.cell.periodic
            && self.structure.extras == other.structure.extras
    }
}

/// The next work of a worker.
#[derive(Debug)]
pub enum Work {
    /// These tasks, at least one, from this round of evaluations.
    Tasks(u64, Vec<Task>),
    /// Nothing at the moment.
    Nothing,
    /// The end.
    Closing,
}

/// The shared state.
#[derive(Debug)]
pub struct Board {
    state: Mutex<State>,
    changed: Condvar,
    /// How long there may be no worker at all; `None` if other code checks this.
    abandoned_after: Option<Duration>,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    /// Answers of earlier, interrupted rounds are dropped.
    round: u64,
    queue: VecDeque<Task>,
    answers: Vec<(usize, Answer)>,
    workers: BTreeSet<WorkerId>,
    next_client: WorkerId,
    /// Since when no worker has been there to be asked.
    abandoned_since: Instant,
    answered_once: bool,
    failed_in_a_row: BTreeSet<usize>,
    /// The workers that failed since the last answer.
    culprits: BTreeSet<WorkerId>,
    failed_starts_in_a_row: usize,
    /// The sentence that ends everything.
    fatal: Option<String>,
    notes: Vec<String>,
    closing: bool,
}

impl Board {
    /// An empty board.
    pub fn new(limits: Limits, abandoned_after: Option<Duration>) -> Self {
        let state = State {
            limits,
            round: 0,
            queue: VecDeque::new(),
            answers: Vec::new(),
            workers: BTreeSet::new(),
            next_client: 0,
            abandoned_since: Instant::now(),
            answered_once: false,
            failed_in_a_row: BTreeSet::new(),
            culprits: BTreeSet::new(),
            failed_starts_in_a_row: 0,
            fatal: None,
            notes: Vec::new(),
            closing: false,
        };
        Board { state: Mutex::new(state), changed: Condvar::new(), abandoned_after }
    }

    /// A panic elsewhere leaves the state usable, because every change is complete before the lock is released.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a new round and forgets the tasks of the one before.
    pub fn open_round(&self) {
        let mut state = self.lock();
        state.round += 1;
        state.queue.clear();
        state.answers.clear();
        state.failed_in_a_row.clear();
        state.culprits.clear();
        state.abandoned_since = Instant::now();
    }

    /// Asks for structures of this round.
    pub fn add(&self, structures: Vec<(usize, Structure)>) {
        let tasks = structures.into_iter();
        self.lock().queue.extend(tasks.map(|(number, structure)| Task { number, structure, failed_at: Vec::new() }));
        self.changed.notify_all();
    }

    /// Takes back the structures of this round that nobody works on.
    pub fn withdraw(&self) {
        self.lock().queue.clear();
    }

    /// Answers of this round, after `wait` at the latest; the list may be empty.
    ///
    /// # Errors
    /// `Evaluator` when no answer can be expected any more.
    pub fn collect(&self, wait: Duration) -> Result<Vec<(usize, Answer)>> {
        let mut state = self.lock();
        if state.answers.is_empty() && state.fatal.is_none() {
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Some(limit) = self.abandoned_after
            && state.workers.is_empty()
            && !state.queue.is_empty()
            && state.abandoned_since.elapsed() > limit
        {
            let seconds = limit.as_secs_f64();
            state.fatal = Some(format!(
                "no client has been connected for {seconds} s while structures wait for their energies; start one and resume \
                 (a search with --resume), or raise potential.startup_limit_seconds"
            ));
        }
        match (&state.fatal, state.answers.is_empty()) {
            // Answers from before the end are not lost.
            (Some(sentence), true) => Err(Error::Evaluator(sentence.clone())),
            _ => Ok(std::mem::take(&mut state.answers)),
        }
    }

    /// Events since the last call, one sentence each.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().notes)
    }

    /// Adds a sentence for the user.
    pub fn note(&self, sentence: String) {
        self.lock().notes.push(sentence);
    }

    /// Ends everything with `sentence`.
    pub fn give_up(&self, sentence: String) {
        self.lock().fatal.get_or_insert(sentence);
        self.changed.notify_all();
    }

    /// Asks all workers to end.
    pub fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    /// Whether the workers should end: the owner closes the board, or no answer is expected any more.
    pub fn closing(&self) -> bool {
        let state = self.lock();
        state.closing || state.fatal.is_some()
    }

    /// Sleeps for `time` or until the board closes.
    pub fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut state = self.lock();
        while !state.closing && state.fatal.is_none() {
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { return };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How long a start may take.
    pub fn startup_limit(&self) -> Duration {
        self.lock().limits.startup
    }

    /// How long a call may take now.
    pub fn call_limit(&self) -> Duration {
        self.lock().limits.call()
    }

    /// Worker `id` is ready; a client gets the next free identity.
    pub fn joined(&self, id: Option<WorkerId>) -> WorkerId {
        let mut state = self.lock();
        let id = id.unwrap_or(state.next_client);
        state.next_client = state.next_client.max(id + 1);
        state.workers.insert(id);
        state.failed_starts_in_a_row = 0;
        id
    }

    /// A worker is gone.
    pub fn left(&self, id: WorkerId) {
        let mut state = self.lock();
        state.workers.remove(&id);
        if state.workers.is_empty() {
            state.abandoned_since = Instant::now();
        }
        drop(state);
        // Tasks that only this worker had not failed at may go to other workers now.
        self.changed.notify_all();
    }

    /// How many workers are ready.
    pub fn n_workers(&self) -> usize {
        self.lock().workers.len()
    }

    /// Up to `most` structures for worker `id`, which share elements and periodicity; waits up to `wait` for them. Work is
    /// divided evenly. A structure that failed before comes alone, and not to a worker that failed at it if there is another one.
    pub fn take(&self, id: WorkerId, most: usize, wait: Duration) -> Work {
        let mut state = self.lock();
        for waited in [false, true] {
            if state.closing || state.fatal.is_some() {
                return Work::Closing;
            }
            let tasks = state.next_for(id, most);
            if !tasks.is_empty() {
                return Work::Tasks(state.round, tasks);
            }
            if !waited {
                state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        Work::Nothing
    }

    /// Structures of `round` were evaluated in one call that took `time`; an empty list reports the time only.
    pub fn answered(&self, round: u64, answers: Vec<(Task, Evaluation)>, time: Duration) {
        let mut state = self.lock();
        state.limits.learn(time);
        if !answers.is_empty() {
            state.answered_once = true;
            state.failed_in_a_row.clear();
            state.culprits.clear();
            state.failed_starts_in_a_row = 0;
        }
        if round == state.round {
            state.answers.extend(answers.into_iter().map(|(task, evaluation)| (task.number, Answer::Done(evaluation))));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// `tasks` of `round` were taken but never asked for.
    pub fn give_back(&self, round: u64, tasks: Vec<Task>) {
        let mut state = self.lock();
        if round == state.round {
            tasks.into_iter().rev().for_each(|task| state.queue.push_front(task));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The calls of worker `id` for `tasks` of `round` failed for the reason `why`, which completes the sentence "it …".
    pub fn failed(&self, round: u64, id: WorkerId, tasks: Vec<Task>, why: &str) {
        let mut state = self.lock();
        if round == state.round {
            let allowed = state.limits.failures;
            state.count_failure(id, &tasks, allowed, why);
            for mut task in tasks {
                task.failed_at.push(id);
                if task.failed_at.len() >= ATTEMPTS {
                    let reason = format!("given up after {ATTEMPTS} attempts; the last one {why}");
                    state.answers.push((task.number, Answer::Failed(reason)));
                } else {
                    state.ask_again(task);
                }
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Worker `id` answered `tasks` of `round`, but none of the answers is a number. Each comes with its reason, which completes
    /// the sentence "it …". With `others_may_know` the task goes to another worker, if there is one that was not asked.
    pub fn refused(&self, round: u64, id: WorkerId, tasks: Vec<(Task, String)>, others_may_know: bool) {
        let mut state = self.lock();
        if round == state.round
            && let Some((first, why)) = tasks.first()
        {
            let allowed = if others_may_know { state.limits.failures } else { state.limits.refusals };
            state.count_failure(id, std::slice::from_ref(first), allowed, why);
            for (mut task, why) in tasks {
                task.failed_at.push(id);
                let asked_all = state.workers.iter().all(|worker| task.failed_at.contains(worker));
                if others_may_know && !asked_all && task.failed_at.len() < ATTEMPTS {
                    state.ask_again(task);
                } else {
                    let reason = format!("given up because the potential {why}");
                    state.answers.push((task.number, Answer::Failed(reason)));
                }
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// A worker did not start, for the reason `why`, a complete clause.
    pub fn start_failed(&self, why: &str) {
        let mut state = self.lock();
        state.failed_starts_in_a_row += 1;
        if state.failed_starts_in_a_row >= STARTS_IN_A_ROW {
            state.fatal.get_or_insert(format!(
                "no worker could be started in {STARTS_IN_A_ROW} attempts: {why}; mend that and resume (a search with --resume)"
            ));
        }
        drop(state);
        self.changed.notify_all();
    }
}

impl State {
    /// Worker `id` had no numbers for `tasks`, which were in one call. This is one failure, whatever its size. The search ends if
    /// there are more than `allowed` in a row.
    fn count_failure(&mut self, id: WorkerId, tasks: &[Task], allowed: usize, why: &str) {
        self.failed_in_a_row.extend(tasks.first().map(|task| task.number));
        self.culprits.insert(id);
        let n_failures = self.failed_in_a_row.len();
        let all_had_a_share = self.workers.is_subset(&self.culprits);
        let enough = allowed.saturating_mul(if all_had_a_share { 1 } else { TIMES_OF_ANYBODY });
        if n_failures >= enough {
            self.fatal.get_or_insert_with(|| {
                format!(
                    "the potential failed at {n_failures} structures in a row, the last time because it {why}; mend it and resume \
                     (a search with --resume, which keeps everything evaluated so far), or allow more in a new run with \
                     potential.end_after_failures; scattered atoms often have no answer: first_samples = \"placed\" and a larger \
                     min_distance_angstrom in [search] help"
                )
            });
        }
    }

    /// Puts a failed task back into the queue.
    fn ask_again(&mut self, task: Task) {
        if self.answered_once {
            self.queue.push_front(task);
        } else {
            self.queue.push_back(task);
        }
    }

    fn next_for(&mut self, id: WorkerId, most: usize) -> Vec<Task> {
        let State { queue, workers, .. } = self;
        let suits =
            |task: &Task| !task.failed_at.contains(&id) || workers.iter().all(|worker| task.failed_at.contains(worker));
        let Some(place) = queue.iter().position(suits) else { return Vec::new() };
        let share = queue.len().div_ceil(workers.len().max(1)).min(most);
        let Some(first) = queue.remove(place) else { return Vec::new() };
        let mut tasks = vec![first];
        while tasks.len() < share
            && queue.get(place).is_some_and(|task| task.goes_with(&tasks[0]))
            && let Some(task) = queue.remove(place)
        {
            tasks.push(task);
        }
        tasks
    }
}

#[cfg(test)]
mod tests;
