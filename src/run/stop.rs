//! When a run ends although work is left: its user wants it, or its time is up.

use crate::error::{Error, Result, stop_if};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What may end a run at its next safe point.
#[derive(Debug, Clone, Copy)]
pub struct Stop<'a> {
    /// Set by the user who wants the run to end.
    interrupted: &'a AtomicBool,
    /// When the time limit is reached, if there is one.
    deadline: Option<Instant>,
}

impl<'a> Stop<'a> {
    /// The run ends when `interrupted` is set; it has no time limit.
    pub fn new(interrupted: &'a AtomicBool) -> Self {
        Stop { interrupted, deadline: None }
    }

    /// The same with a time limit, `seconds` from now; a time that has passed already is over now.
    pub fn after(self, seconds: f64) -> Self {
        let time = Duration::try_from_secs_f64(seconds.max(0.0)).ok();
        Stop { deadline: time.and_then(|time| Instant::now().checked_add(time)), ..self }
    }

    /// `Err(Interrupted)` once the run has to end, for either reason.
    ///
    /// # Errors
    /// `Interrupted`.
    pub fn check(&self) -> Result<()> {
        stop_if(self.interrupted)?;
        if self.time_is_up() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// `Err(Interrupted)` once the user wants the run to end.
    ///
    /// # Errors
    /// `Interrupted`.
    pub fn check_user(&self) -> Result<()> {
        stop_if(self.interrupted)
    }

    /// Whether the time limit alone ends the run: an interruption by the user has precedence.
    pub fn is_by_time(&self) -> bool {
        self.time_is_up() && !self.interrupted.load(Ordering::Relaxed)
    }

    fn time_is_up(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_by_its_user_or_by_its_limit() {
        let interrupted = AtomicBool::new(false);
        let (no_limit, late, over) =
            (Stop::new(&interrupted), Stop::new(&interrupted).after(1e6), Stop::new(&interrupted).after(-1.0));
        assert!(
            no_limit.check().is_ok() && late.check().is_ok() && Stop::new(&interrupted).after(1e300).check().is_ok()
        );
        assert!(!late.is_by_time() && over.check().is_err() && over.is_by_time());
        interrupted.store(true, Ordering::Relaxed);
        assert!(no_limit.check().is_err() && late.check().is_err() && over.check().is_err());
        assert!(!over.is_by_time() && !late.is_by_time());
    }
}
