//! What is to be evaluated and what came back: the one place that workers, clients and the caller share.
//!
//! A structure that failed goes to another worker at most twice, then it is set aside. Failures of one structure count once,
//! so a single bad structure never ends a search; five different ones in a row, without any answer between them, do. Until there
//! was a first answer a failed structure waits behind all others, so that a potential that never works is recognised after
//! five calls; later it goes first, so that a few bad ones do not gather at the end.

use super::limits::Limits;
use crate::error::{Error, Result};
use crate::potential::{Answer, Evaluation};
use crate::system::Structure;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Times that a structure is tried.
const ATTEMPTS: usize = 3;
/// Failures in a row after which nothing is expected any more, if every worker had its share in them.
const FAILURES_IN_A_ROW: usize = 5;
/// The same, whoever failed: clients that come back are not recognised.
const FAILURES_OF_ANYBODY: usize = 25;

/// Identity of a worker, which it keeps when it is started again, or of a client's connection.
pub type WorkerId = usize;

/// A structure on its way.
#[derive(Debug, Clone)]
pub struct Task {
    /// The caller's number.
    pub number: usize,
    /// What to evaluate.
    pub structure: Structure,
    /// Who failed at it.
    failed_at: Vec<WorkerId>,
}

impl Task {
    /// Tasks that may share a batch: fresh, with the same elements and periodicity.
    fn goes_with(&self, other: &Task) -> bool {
        self.failed_at.is_empty()
            && other.failed_at.is_empty()
            && self.structure.numbers == other.structure.numbers
            && self.structure.cell.periodic == other.structure.cell.periodic
    }
}

/// What a worker gets to do.
#[derive(Debug)]
pub enum Work {
    /// These tasks, at least one, from this round of evaluations.
    Tasks(u64, Vec<Task>),
    /// Nothing for now.
    Nothing,
    /// The end.
    Closing,
}

/// The shared state.
#[derive(Debug)]
pub struct Board {
    state: Mutex<State>,
    changed: Condvar,
    /// For how long there may be no worker at all; `None` where others watch over that.
    abandoned_after: Option<Duration>,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    /// Answers of earlier rounds, which were broken off, are dropped.
    round: u64,
    queue: VecDeque<Task>,
    answers: Vec<(usize, Answer)>,
    workers: BTreeSet<WorkerId>,
    next_client: WorkerId,
    /// Since when there has been no worker that is asked for.
    abandoned_since: Instant,
    answered_once: bool,
    failed_in_a_row: BTreeSet<usize>,
    /// Who failed since the last answer.
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

    /// A panic elsewhere leaves the state usable: every change is complete before the lock is released.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a new round: what was asked before is forgotten.
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

    /// Answers of this round, at most after `wait`; none is possible.
    ///
    /// # Errors
    /// `Evaluator` when nothing can be expected any more.
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
                "no client has been connected for {seconds} s while structures wait for their energies; start one and go on \
                 (a search with --resume), or raise potential.startup_limit_seconds"
            ));
        }
        match (&state.fatal, state.answers.is_empty()) {
            // What was answered before the end is not lost.
            (Some(sentence), true) => Err(Error::Evaluator(sentence.clone())),
            _ => Ok(std::mem::take(&mut state.answers)),
        }
    }

    /// What happened since the last call, a sentence each.
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

    /// Tells all workers to end.
    pub fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    /// Whether the workers should end: the owner closes, or nothing is expected any more.
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
        // What only this one was spared may go to others now.
        self.changed.notify_all();
    }

    /// How many workers are ready.
    pub fn n_workers(&self) -> usize {
        self.lock().workers.len()
    }

    /// Up to `most` structures for worker `id`, which share elements and periodicity; waits up to `wait` for them. Work is shared
    /// out evenly. Structures that failed before come alone, and not to one that failed at them if there is another.
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

    /// Structures of `round` were evaluated in one call that took `time`; an empty list only tells the time.
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

    /// Worker `id` failed at `tasks` of `round`, for the reason `why`, which completes the sentence "it …".
    pub fn failed(&self, round: u64, id: WorkerId, tasks: Vec<Task>, why: &str) {
        let mut state = self.lock();
        if round != state.round {
            return;
        }
        if let Some(first) = tasks.first() {
            // One call is one failure, whatever its size.
            state.failed_in_a_row.insert(first.number);
            state.culprits.insert(id);
        }
        for mut task in tasks {
            task.failed_at.push(id);
            if task.failed_at.len() >= ATTEMPTS {
                let reason = format!("given up after {ATTEMPTS} attempts, the last of which {why}");
                state.answers.push((task.number, Answer::Failed(reason)));
            } else if state.answered_once {
                state.queue.push_front(task);
            } else {
                state.queue.push_back(task);
            }
        }
        let n_failures = state.failed_in_a_row.len();
        let enough = if state.workers.is_subset(&state.culprits) { FAILURES_IN_A_ROW } else { FAILURES_OF_ANYBODY };
        if n_failures >= enough {
            state.fatal.get_or_insert(format!(
                "the potential failed at {n_failures} structures in a row, the last time because it {why}; mend it and go on (a \
                 search with --resume, which keeps everything evaluated so far)"
            ));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// A worker did not come up, for the reason `why`, a clause of its own.
    pub fn start_failed(&self, why: &str) {
        let mut state = self.lock();
        state.failed_starts_in_a_row += 1;
        if state.failed_starts_in_a_row >= FAILURES_IN_A_ROW {
            state.fatal.get_or_insert(format!(
                "no worker could be started in {FAILURES_IN_A_ROW} attempts: {why}; mend that and go on (a search with --resume)"
            ));
        }
        drop(state);
        self.changed.notify_all();
    }
}

impl State {
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
mod tests {
    use super::*;
    use crate::system::Cell;

    const NOW: Duration = Duration::ZERO;

    fn structure(number: u8) -> Structure {
        Structure::new(Cell::NONE, vec![number], vec![[0.0; 3]])
    }

    fn board(n_structures: usize) -> Board {
        let board = Board::new(Limits::new(600.0, None), None);
        board.open_round();
        board.add((0..n_structures).map(|k| (k, structure(78))).collect());
        board
    }

    fn take(board: &Board, id: WorkerId, most: usize) -> (u64, Vec<Task>) {
        match board.take(id, most, NOW) {
            Work::Tasks(round, tasks) => (round, tasks),
            other => panic!("{other:?}"),
        }
    }

    fn numbers(tasks: &[Task]) -> Vec<usize> {
        tasks.iter().map(|task| task.number).collect()
    }

    fn answer(board: &Board, round: u64, tasks: Vec<Task>) {
        let evaluation = Evaluation { energy: 1.0, forces: vec![[0.0; 3]] };
        board.answered(round, tasks.into_iter().map(|task| (task, evaluation.clone())).collect(), NOW);
    }

    #[test]
    fn work_is_shared_out() {
        let board = board(10);
        let (a, b) = (board.joined(None), board.joined(None));
        assert_eq!(numbers(&take(&board, a, 16).1), [0, 1, 2, 3, 4]);
        assert_eq!(numbers(&take(&board, b, 2).1), [5, 6]);
        assert_eq!(numbers(&take(&board, b, 2).1), [7, 8]);
        board.add(vec![(10, structure(79)), (11, structure(79))]);
        assert_eq!(numbers(&take(&board, b, 2).1), [9], "another element comes apart");
        board.left(a);
        assert_eq!(numbers(&take(&board, b, 2).1), [10, 11]);
        assert!(matches!(board.take(b, 2, NOW), Work::Nothing));
        board.close();
        assert!(matches!(board.take(b, 2, NOW), Work::Closing));
    }

    /// Another worker first; then whoever is there; after the third time it is set aside.
    #[test]
    fn a_failed_structure_goes_to_others_twice() {
        let board = board(1);
        let (a, b) = (board.joined(None), board.joined(None));
        let (round, tasks) = take(&board, a, 4);
        board.failed(round, a, tasks, "died");
        assert!(matches!(board.take(a, 4, NOW), Work::Nothing));
        let (round, tasks) = take(&board, b, 4);
        board.failed(round, b, tasks, "died");
        assert!(board.collect(NOW).unwrap().is_empty());
        let (round, tasks) = take(&board, a, 4);
        board.failed(round, a, tasks, "hung");
        let answers = board.collect(NOW).unwrap();
        let reason = "given up after 3 attempts, the last of which hung";
        assert_eq!(answers, [(0, Answer::Failed(reason.into()))]);
    }

    /// After a batch died each of its structures goes alone.
    #[test]
    fn a_failed_batch_comes_apart() {
        let board = board(4);
        let a = board.joined(None);
        let (round, tasks) = take(&board, a, 3);
        board.failed(round, a, tasks, "died");
        let b = board.joined(None);
        board.left(a);
        assert_eq!(numbers(&take(&board, b, 3).1), [3]);
        for number in 0..3 {
            assert_eq!(numbers(&take(&board, b, 3).1), [number]);
        }
    }

    #[test]
    fn five_structures_in_a_row_end_it() {
        let board = board(20);
        let a = board.joined(None);
        for number in 0..4 {
            let (round, tasks) = take(&board, a, 1);
            assert_eq!(numbers(&tasks), [number], "before the first answer failures wait");
            board.failed(round, a, tasks, "died");
        }
        let (round, tasks) = take(&board, a, 1);
        answer(&board, round, tasks);
        assert_eq!(board.collect(NOW).unwrap().len(), 1);
        // From now on they go first, and one structure counts once: four are set aside, the fifth ends it.
        let mut n_failed = 0;
        while !board.closing() {
            let (round, tasks) = take(&board, a, 1);
            board.failed(round, a, tasks, "sent rubbish");
            n_failed += 1;
        }
        assert_eq!(n_failed, 13);
        assert_eq!(board.collect(NOW).unwrap().len(), 4);
        let error = board.collect(NOW).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(
            error
                .to_string()
                .starts_with("the potential failed at 5 structures in a row, the last time because it sent")
        );
    }

    /// One that always fails does not speak for others that have not been heard yet.
    #[test]
    fn failures_of_one_are_not_those_of_all() {
        let board = board(40);
        let (a, b) = (board.joined(None), board.joined(None));
        for _ in 0..24 {
            let (round, tasks) = take(&board, a, 1);
            board.failed(round, a, tasks, "died");
        }
        assert!(!board.closing());
        let (round, tasks) = take(&board, b, 1);
        board.failed(round, b, tasks, "died");
        assert!(board.closing());
    }

    #[test]
    fn five_failed_starts_end_it() {
        let board = board(1);
        (0..4).for_each(|_| board.start_failed("no memory"));
        board.joined(None);
        (0..4).for_each(|_| board.start_failed("no memory"));
        assert!(!board.closing());
        board.start_failed("no memory");
        let message = board.collect(NOW).unwrap_err().to_string();
        assert_eq!(
            message,
            "no worker could be started in 5 attempts: no memory; mend that and go on (a search with --resume)"
        );
    }

    #[test]
    fn answers_of_a_round_that_was_broken_off_are_dropped() {
        let board = board(3);
        let a = board.joined(None);
        let (round, first) = take(&board, a, 1);
        let (_, second) = take(&board, a, 1);
        board.open_round();
        board.add(vec![(0, structure(78))]);
        answer(&board, round, first);
        board.failed(round, a, second, "died");
        assert!(board.collect(NOW).unwrap().is_empty());
        assert_eq!(numbers(&take(&board, a, 9).1), [0]);
    }

    #[test]
    fn without_clients_the_wait_ends() {
        let board = Board::new(Limits::new(0.0, None), Some(Duration::ZERO));
        board.open_round();
        board.add(vec![(0, structure(78))]);
        let a = board.joined(None);
        assert!(board.collect(Duration::from_millis(2)).unwrap().is_empty());
        board.left(a);
        let error = board.collect(Duration::from_millis(2)).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().starts_with("no client has been connected for 0 s while structures wait"), "{error}");
    }
}
