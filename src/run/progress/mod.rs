//! How a run shows where it is: on a terminal, as plain lines in a log, as JSON events for programs, or not at all.
//!
//! A broken pipe or a full disk behind the output never ends a search: failed writes are dropped.

mod screen;
mod standing;
#[cfg(test)]
mod tests;
pub mod text;
mod view;

use super::metrics::IterationMetrics;
use super::summary::Summary;
use crate::archive::Status;
use screen::Screen;
use serde::Serialize;
use standing::Standing;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use view::{Event, View};

/// Part of an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The reverse process; counts its steps.
    Sample,
    /// The potential; counts structures.
    Evaluate,
    /// Training; counts optimiser steps.
    Train,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Sample => "sample",
            Phase::Evaluate => "evaluate",
            Phase::Train => "train",
        }
    }
}

/// The facts that are known when a run starts.
#[derive(Debug, Clone, Serialize)]
pub struct RunInfo<'a> {
    /// Its folder.
    pub directory: &'a Path,
    /// The device it runs on.
    pub device: &'a str,
    /// Source of the energies.
    pub potential: &'a str,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Iterations of the whole search.
    pub iterations: u32,
    /// The iteration it starts with, from 0; more than 0 after a resume.
    pub first_iteration: u32,
    /// Lowest energy that is recorded already, eV. Events leave it out.
    #[serde(skip)]
    pub best_ev: Option<f64>,
}

/// Shows the progress of a run. All methods may be called from any thread.
#[derive(Debug)]
pub struct Reporter {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    view: View,
    standing: Standing,
    last_shown: Instant,
}

impl Reporter {
    /// The reporter for the command line: JSON events on stdout with `json`, nothing with `quiet`, else on stderr: redrawn in
    /// place if that is a terminal, and lines if not.
    pub fn new(json: bool, quiet: bool) -> Self {
        match (json, quiet) {
            (true, _) => Reporter::events(io::stdout()),
            (false, true) => Reporter::quiet(),
            (false, false) => match Screen::of_stderr() {
                Some(screen) => Reporter::with(View::Screen(screen)),
                None => Reporter::lines(io::stderr()),
            },
        }
    }

    /// Shows nothing.
    pub fn quiet() -> Self {
        Reporter::with(View::Quiet)
    }

    /// Writes a line for every iteration, message and, in long phases, half minute.
    pub fn lines(output: impl Write + Send + 'static) -> Self {
        Reporter::with(View::Lines(Box::new(output)))
    }

    /// Writes JSON objects, one a line, each with the key `event`.
    pub fn events(output: impl Write + Send + 'static) -> Self {
        Reporter::with(View::Events(Box::new(output)))
    }

    fn with(view: View) -> Self {
        Reporter { state: Mutex::new(State { view, standing: Standing::new(), last_shown: Instant::now() }) }
    }

    /// A run starts.
    pub fn run_started(&self, info: &RunInfo) {
        let State { view, standing, .. } = &mut *self.lock();
        standing.start(info.iterations, info.best_ev);
        view.event(&Event::RunStarted(info));
        view.lines(&text::begin(info));
    }

    /// Iteration `iteration` (from 0) starts at `kt_ev` (eV; 0 where there is no temperature).
    pub fn iteration_started(&self, iteration: u32, kt_ev: f64) {
        self.lock().standing.start_iteration(iteration, kt_ev);
    }

    /// A phase of `total` steps (or structures) starts.
    pub fn phase(&self, phase: Phase, total: usize) {
        let State { view, standing, last_shown } = &mut *self.lock();
        standing.start_phase(phase, total);
        *last_shown = Instant::now();
        view.phase(standing);
    }

    /// `done` steps (or structures) of the phase are done.
    pub fn advance(&self, done: usize) {
        let State { view, standing, last_shown } = &mut *self.lock();
        standing.done = done;
        if view.interval().is_some_and(|interval| last_shown.elapsed() >= interval) {
            *last_shown = Instant::now();
            view.progress(standing);
        }
    }

    /// A structure of the iteration was judged and, if it passed, evaluated: `energy` is in eV.
    pub fn recorded(&self, status: Status, energy: Option<f64>) {
        self.lock().standing.count(status, energy);
    }

    /// An iteration is finished.
    pub fn iteration_done(&self, metrics: &IterationMetrics) {
        let State { view, standing, .. } = &mut *self.lock();
        standing.iteration = metrics.iteration;
        standing.finish_iteration();
        view.event(&Event::IterationDone(metrics));
        view.lines(&format!("{}  {}", text::which(standing), text::describe(metrics)));
    }

    /// Something that the user should read.
    pub fn message(&self, text: &str) {
        let view = &mut self.lock().view;
        view.event(&Event::Message { text });
        view.lines(text);
    }

    /// The run ends with `summary`. Nothing is redrawn any more.
    pub fn finished(&self, summary: &Summary) {
        let State { view, standing, .. } = &mut *self.lock();
        view.event(&Event::Finished(summary));
        view.lines(&text::conclude(summary, standing.iterations));
        view.close();
    }

    /// A panic elsewhere leaves the state usable, because no change here can stay half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
