//! The calculator that is an object of this process: a thread calls it with tasks from the board.
//!
//! Nothing can end a call that hangs. Whoever waits for its answer therefore watches the clock ([`Desk::check`]), gives up with a
//! sentence, and leaves the thread alone.

use super::board::{Board, Task, Work};
use super::connection::refusal;
use super::{locked, shortened};
use crate::potential::object::Calculator;
use crate::potential::{Answer, Evaluation};
use crate::system::Structure;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest sleep of the idle thread before it looks whether it should end.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// The calculator is the one worker.
const ID: usize = 0;

/// What the calculator's thread and the thread that waits for answers share.
pub(super) struct Desk {
    calculator: Arc<dyn Calculator>,
    batch: usize,
    /// When the present call began.
    call: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("batch", &self.batch).finish_non_exhaustive()
    }
}

impl Desk {
    pub fn new(calculator: Arc<dyn Calculator>, batch: usize) -> Self {
        Desk { calculator, batch, call: Mutex::new(None) }
    }

    /// Calls the calculator for the tasks on `board` until that closes.
    pub fn serve(&self, board: &Board) {
        board.joined(Some(ID));
        loop {
            match board.take(ID, self.batch, LONGEST_SLEEP) {
                Work::Tasks(round, tasks) => self.answer(board, round, tasks),
                Work::Nothing => {}
                Work::Closing => return board.left(ID),
            }
        }
    }

    /// Whether a call is under way.
    pub fn is_busy(&self) -> bool {
        locked(&self.call).is_some()
    }

    /// Gives up if the present call takes longer than its limit.
    pub fn check(&self, board: &Board) {
        let limit = board.call_limit();
        let began = *locked(&self.call);
        if began.is_some_and(|began| began.elapsed() > limit) {
            board.give_up(format!(
                "the calculator gave no answer within {:.3} s, and a call in this process cannot be ended; mend it and resume, raise \
                 potential.call_limit_seconds, or give an import path instead of the object: workers are ended and started again",
                limit.as_secs_f64()
            ));
        }
    }

    fn answer(&self, board: &Board, round: u64, tasks: Vec<Task>) {
        let structures: Vec<Structure> = tasks.iter().map(|task| task.structure.clone()).collect();
        let began = Instant::now();
        *locked(&self.call) = Some(began);
        let answers = self.calculator.evaluate(&structures);
        let time = began.elapsed();
        match answers {
            Ok(answers) if answers.len() == tasks.len() => {
                let (mut good, mut bad) = (Vec::new(), Vec::new());
                for (task, answer) in tasks.into_iter().zip(answers) {
                    match answer {
                        Answer::Done(evaluation) if is_number(&evaluation) => good.push((task, evaluation)),
                        Answer::Done(_) => bad.push((task, refusal(""))),
                        Answer::Failed(why) => bad.push((task, format!("raised {}", shortened(&why)))),
                    }
                }
                board.answered(round, good, time);
                board.refused(round, ID, bad, false);
            }
            Ok(answers) => {
                board.give_up(format!("the calculator gave {} answers for {} structures", answers.len(), tasks.len()));
            }
            Err(sentence) => board.give_up(sentence),
        }
        *locked(&self.call) = None;
    }
}

fn is_number(evaluation: &Evaluation) -> bool {
    evaluation.energy.is_finite() && evaluation.forces.iter().flatten().all(|x| x.is_finite())
}
