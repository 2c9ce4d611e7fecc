//! Where progress goes: a few lines at the foot of a terminal, lines of a log, JSON events, or nowhere.

use super::screen::Screen;
use super::standing::Standing;
use super::{Phase, RunInfo, text};
use crate::columns::wrapped;
use crate::run::metrics::IterationMetrics;
use crate::run::summary::Summary;
use serde::Serialize;
use std::io::Write;
use std::time::Duration;

/// Between two redraws of the screen within a phase.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);
/// Between two progress events of a phase.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);
/// Between two lines of a log within a phase.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// Where progress goes.
pub enum View {
    /// The foot of a terminal, redrawn in place.
    Screen(Screen),
    /// A log.
    Lines(Box<dyn Write + Send>),
    /// Programs.
    Events(Box<dyn Write + Send>),
    /// Nowhere.
    Quiet,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            View::Screen(_) => "Screen",
            View::Lines(_) => "Lines",
            View::Events(_) => "Events",
            View::Quiet => "Quiet",
        })
    }
}

/// One line of `--json`. Iterations count from 0, as in the files of a run.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    RunStarted(&'a RunInfo<'a>),
    Phase { iteration: u32, kt_ev: f64, phase: Phase, total: usize },
    Progress(Progress),
    IterationDone(&'a IterationMetrics),
    Message { text: &'a str },
    Finished(&'a Summary),
}

/// Progress within a phase.
#[derive(Serialize)]
pub struct Progress {
    iteration: u32,
    phase: Phase,
    done: usize,
    total: usize,
    per_second: Option<f64>,
    ok: u64,
    samples: u64,
    best_energy_ev: Option<f64>,
    evaluations_since_best: Option<u64>,
    seconds_since_best: Option<f64>,
}

impl Progress {
    fn of(standing: &Standing) -> Self {
        let Standing { iteration, phase, done, total, counts, best, .. } = standing;
        let age = standing.age();
        Progress {
            iteration: *iteration,
            phase: *phase,
            done: *done,
            total: *total,
            per_second: standing.rate(),
            ok: counts.ok,
            samples: counts.samples(),
            best_energy_ev: best.map(|best| best.energy_ev),
            evaluations_since_best: age.map(|age| age.evaluations),
            seconds_since_best: age.map(|age| age.time.as_secs_f64()),
        }
    }
}

impl View {
    /// Shortest time between two signs of life; `None` where nobody looks.
    pub fn interval(&self) -> Option<Duration> {
        match self {
            View::Screen(_) => Some(DRAW_INTERVAL),
            View::Lines(_) => Some(LINE_INTERVAL),
            View::Events(_) => Some(EVENT_INTERVAL),
            View::Quiet => None,
        }
    }

    /// Shows a phase that begins.
    pub fn phase(&mut self, standing: &Standing) {
        let &Standing { iteration, kt_ev, phase, total, .. } = standing;
        self.event(&Event::Phase { iteration, kt_ev, phase, total });
        self.draw(standing);
    }

    /// Shows how far the run has come within a phase.
    pub fn progress(&mut self, standing: &Standing) {
        self.event(&Event::Progress(Progress::of(standing)));
        self.draw(standing);
        if let View::Lines(_) = self {
            self.lines(&text::log_line(standing));
        }
    }

    fn draw(&mut self, standing: &Standing) {
        if let View::Screen(screen) = self {
            screen.draw(&text::screen(standing, screen.columns()));
        }
    }

    /// Writes an event, where events are wanted.
    pub fn event(&mut self, event: &Event) {
        if let View::Events(output) = self {
            let mut line = serde_json::to_vec(event).expect("numbers and text are JSON");
            line.push(b'\n');
            let _ = output.write_all(&line).and_then(|()| output.flush());
        }
    }

    /// Writes `text` where people read it. On a terminal it stays above the lines that are redrawn.
    pub fn lines(&mut self, text: &str) {
        match self {
            // The last column stays free: some terminals begin a new row there.
            View::Screen(screen) => screen.print_above(&wrapped(text, screen.columns().saturating_sub(1))),
            View::Lines(output) => {
                let _ = writeln!(output, "{text}").and_then(|()| output.flush());
            }
            View::Events(_) | View::Quiet => {}
        }
    }

    /// Clears the lines that are redrawn.
    pub fn close(&mut self) {
        if let View::Screen(screen) = self {
            screen.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Status;

    /// Scripts rely on these keys.
    #[test]
    fn progress_events_say_how_the_run_stands() {
        let mut standing = Standing::new();
        standing.start(20, None);
        standing.start_iteration(2, 0.5);
        standing.start_phase(Phase::Evaluate, 8);
        standing.count(Status::TooClose, None);
        standing.count(Status::Ok, Some(1.5));
        standing.count(Status::Ok, Some(2.5));
        standing.done = 2;
        let mut event = serde_json::to_value(Event::Progress(Progress::of(&standing))).unwrap();
        for clock in ["per_second", "seconds_since_best"] {
            assert!(event[clock].as_f64().is_some_and(|number| number >= 0.0), "{clock}: {event}");
            event.as_object_mut().unwrap().remove(clock);
        }
        let expected = serde_json::json!({
            "event": "progress", "iteration": 2, "phase": "evaluate", "done": 2, "total": 8, "ok": 2, "samples": 3,
            "best_energy_ev": 1.5, "evaluations_since_best": 1,
        });
        assert_eq!(event, expected);
    }
}
