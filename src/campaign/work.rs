//! Doing tasks here: a scheduler's node does one, this machine may do all.

use super::Campaign;
use crate::benchmark::{Resources, Watch};
use crate::error::{Error, Result};
use crate::run::RunDirectory;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a task waits for another process in its run folder. After a kill the folder's lock may outlive the process for a
/// short time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two attempts.
const LOOK: Duration = Duration::from_millis(100);

impl Campaign {
    /// Does those of `tasks` that are not finished: starts runs, and resumes those that were started before. A task that fails does
    /// not stop the rest.
    ///
    /// # Errors
    /// `Interrupted`; the error of the one task; of several tasks the error of the first that failed, with the number of failed
    /// tasks.
    pub fn work(&self, tasks: &[usize], resources: &Resources, watch: &Watch) -> Result<()> {
        let Watch { say, interrupted, .. } = *watch;
        let failures: Mutex<Vec<Error>> = Mutex::default();
        let outcome = resources.share(tasks.len(), &|number, place| {
            let task = tasks[number];
            let which = format!("task {task}, {}", self.name_of(task));
            if interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            if self.is_finished(task) {
                say(format!("{which}: finished already"));
                return Ok(());
            }
            let (entrant, seed) = self.run_of(task);
            self.wait_for_others(task, interrupted);
            match self.benchmark.run_one(entrant, seed, place, watch) {
                Ok(said) => say(format!("{which}: {said}")),
                Err(Error::Interrupted) => {
                    say(format!("{which}: interrupted; start it again to resume it"));
                    return Err(Error::Interrupted);
                }
                Err(error) => {
                    if tasks.len() > 1 {
                        say(format!("{which} failed: {error}"));
                    }
                    failures.lock().unwrap_or_else(PoisonError::into_inner).push(error);
                }
            }
            Ok(())
        });
        outcome?;
        let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        let n_failed = failures.len();
        match failures.into_iter().next() {
            None => Ok(()),
            Some(first) if tasks.len() == 1 => Err(first),
            Some(first) => {
                let sentence = format!("{n_failed} of {} tasks failed, the first: {first}", tasks.len());
                Err(match first {
                    Error::BadInput(_) => Error::BadInput(sentence),
                    Error::Evaluator(_) => Error::Evaluator(sentence),
                    Error::Storage(_) => Error::Storage(sentence),
                    Error::Failed(_) | Error::Interrupted => Error::Failed(sentence),
                })
            }
        }
    }

    fn wait_for_others(&self, task: usize, interrupted: &AtomicBool) {
        let (entrant, seed) = self.run_of(task);
        let folder = self.benchmark.run_folder(entrant, seed);
        let started = Instant::now();
        while RunDirectory::is_in_use(&folder) && started.elapsed() < PATIENCE && !interrupted.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
        }
    }
}
