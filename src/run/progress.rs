//! How a search shows where it is: a bar on a terminal, plain lines in a log, JSON events for programs, or nothing.
//!
//! A broken pipe or a full disk behind the output never ends a search: failed writes are dropped.

use super::metrics::IterationMetrics;
use super::summary::{RunStatus, Summary};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Redraws of the bar a second, at most.
const DRAWS_PER_SECOND: u8 = 10;
/// Between two progress events of a phase.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);
/// Between two lines of a log within a phase.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

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

/// What is known when a run starts.
#[derive(Debug, Clone, Serialize)]
pub struct RunInfo<'a> {
    /// Its folder.
    pub directory: &'a Path,
    /// What it runs on.
    pub device: &'a str,
    /// Source of the energies.
    pub potential: &'a str,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Iterations of the whole search.
    pub iterations: u32,
    /// The iteration it starts with, from 0; more than 0 after a resume.
    pub first_iteration: u32,
}

/// Shows the progress of a search. All methods may be called from any thread.
#[derive(Debug)]
pub struct Reporter {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    view: View,
    started: Instant,
    /// Iterations of the whole search, and the one that this process began with.
    iterations: u32,
    first_iteration: u32,
    iteration: u32,
    kt_ev: f64,
    phase: Phase,
    total: usize,
    done: usize,
    iteration_started: Instant,
    phase_started: Instant,
    last_shown: Instant,
    best_ev: Option<f64>,
    /// `ok` structures and samples of the latest evaluation.
    accepted: Option<(usize, usize)>,
}

enum View {
    Bar(ProgressBar),
    Lines(Box<dyn Write + Send>),
    Events(Box<dyn Write + Send>),
    Quiet,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            View::Bar(_) => "Bar",
            View::Lines(_) => "Lines",
            View::Events(_) => "Events",
            View::Quiet => "Quiet",
        })
    }
}

/// One line of `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'a> {
    RunStarted(&'a RunInfo<'a>),
    Phase { iteration: u32, kt_ev: f64, phase: Phase, total: usize },
    Progress { iteration: u32, phase: Phase, done: usize, total: usize },
    IterationDone(&'a IterationMetrics),
    Message { text: &'a str },
    Finished(&'a Summary),
}

impl Reporter {
    /// The reporter for the command line: JSON events on stdout with `json`, nothing with `quiet`, else on stderr, a bar if
    /// that is a terminal and lines if not.
    pub fn new(json: bool, quiet: bool) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        match (json, quiet) {
            (true, _) => Reporter::events(io::stdout()),
            (false, true) => Reporter::quiet(),
            (false, false) if io::stderr().is_terminal() => Reporter::bar(target),
            (false, false) => Reporter::lines(io::stderr()),
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

    /// Draws a bar, with a line above it for every iteration and message.
    pub fn bar(target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(None, target).with_style(style("{prefix}")).with_prefix("starting");
        Reporter::with(View::Bar(bar))
    }

    fn with(view: View) -> Self {
        let now = Instant::now();
        let state = State {
            view,
            started: now,
            iterations: 0,
            first_iteration: 0,
            iteration: 0,
            kt_ev: 0.0,
            phase: Phase::Sample,
            total: 0,
            done: 0,
            iteration_started: now,
            phase_started: now,
            last_shown: now,
            best_ev: None,
            accepted: None,
        };
        Reporter { state: Mutex::new(state) }
    }

    /// A run starts.
    pub fn run_started(&self, info: &RunInfo) {
        let mut state = self.lock();
        state.started = Instant::now();
        (state.iterations, state.first_iteration) = (info.iterations, info.first_iteration);
        state.event(&Event::RunStarted(info));
        let RunInfo { directory, device, potential, seed, .. } = info;
        state.line(&format!("{}: {device}, potential {potential}, seed {seed}", directory.display()));
        if info.first_iteration > 0 {
            state.line(&format!("going on after iteration {}/{}", info.first_iteration, info.iterations));
        }
    }

    /// Iteration `iteration` (from 0) starts at `kt_ev` (eV).
    pub fn iteration_started(&self, iteration: u32, kt_ev: f64) {
        let mut state = self.lock();
        (state.iteration, state.kt_ev, state.iteration_started) = (iteration, kt_ev, Instant::now());
        state.accepted = None;
    }

    /// A phase of `total` steps (or structures) starts.
    pub fn phase(&self, phase: Phase, total: usize) {
        let mut state = self.lock();
        let now = Instant::now();
        (state.phase, state.total, state.done, state.phase_started, state.last_shown) = (phase, total, 0, now, now);
        let State { iteration, kt_ev, .. } = *state;
        state.event(&Event::Phase { iteration, kt_ev, phase, total });
        if let View::Bar(bar) = &state.view {
            bar.set_style(style("{prefix} [{bar:8}] {percent:>3}%{wide_msg}"));
            bar.set_length(total as u64);
            bar.set_position(0);
            bar.set_prefix(format!("{}  kT {kt_ev:.3} eV  {:<8}", state.which(), phase.name()));
            bar.set_message(state.tail());
        }
    }

    /// `done` steps (or structures) of the phase are done.
    pub fn advance(&self, done: usize) {
        let mut state = self.lock();
        let interval = match state.view {
            View::Quiet => return,
            View::Bar(_) => Duration::from_secs(1) / u32::from(DRAWS_PER_SECOND),
            View::Events(_) => EVENT_INTERVAL,
            View::Lines(_) => LINE_INTERVAL,
        };
        if state.last_shown.elapsed() < interval {
            return;
        }
        (state.done, state.last_shown) = (done, Instant::now());
        let State { iteration, kt_ev, phase, total, .. } = *state;
        if let View::Bar(bar) = &state.view {
            bar.set_position(done as u64);
            bar.set_message(state.tail());
        } else {
            state.event(&Event::Progress { iteration, phase, done, total });
            let line = format!("{}  kT {kt_ev:.3} eV  {} {done}/{total}{}", state.which(), phase.name(), state.tail());
            state.line(&line);
        }
    }

    /// Of `n_samples` structures of the iteration `n_ok` are `ok` so far; `best_ev` is the run's lowest energy, eV.
    pub fn evaluated(&self, n_ok: usize, n_samples: usize, best_ev: Option<f64>) {
        let mut state = self.lock();
        state.accepted = Some((n_ok, n_samples));
        state.best_ev = best_ev;
    }

    /// An iteration is finished.
    pub fn iteration_done(&self, metrics: &IterationMetrics) {
        let mut state = self.lock();
        state.iteration = metrics.iteration;
        state.best_ev = metrics.best_energy_ev;
        state.event(&Event::IterationDone(metrics));
        let line = format!("{}  {}", state.which(), describe(metrics));
        state.line(&line);
    }

    /// Something that the user should read.
    pub fn message(&self, text: &str) {
        let mut state = self.lock();
        state.event(&Event::Message { text });
        state.line(text);
    }

    /// The run ends with `summary`. The bar disappears.
    pub fn finished(&self, summary: &Summary) {
        let mut state = self.lock();
        state.event(&Event::Finished(summary));
        let iterations = state.iterations;
        state.line(&conclude(summary, iterations));
        if let View::Bar(bar) = &state.view {
            bar.finish_and_clear();
        }
    }

    /// A panic elsewhere leaves the state usable: nothing here is half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn event(&mut self, event: &Event) {
        if let View::Events(output) = &mut self.view {
            let mut line = serde_json::to_vec(event).expect("numbers and text are JSON");
            line.push(b'\n');
            let _ = output.write_all(&line).and_then(|()| output.flush());
        }
    }

    fn line(&mut self, text: &str) {
        match &mut self.view {
            View::Bar(bar) => bar.println(text),
            View::Lines(output) => {
                let _ = writeln!(output, "{text}").and_then(|()| output.flush());
            }
            View::Events(_) | View::Quiet => {}
        }
    }

    /// "iteration 3/20", counted from 1 as people do.
    fn which(&self) -> String {
        let width = self.iterations.to_string().len();
        format!("iteration {:>width$}/{}", self.iteration + 1, self.iterations)
    }

    /// What follows the bar: best energy, accepted structures, time left.
    fn tail(&self) -> String {
        let best = self.best_ev.map(|best| format!("  best {best:.4} eV"));
        let accepted = self.accepted.map(|(n_ok, n_samples)| format!("  ok {n_ok}/{n_samples}"));
        let done = self.iteration.saturating_sub(self.first_iteration);
        let left = self.iterations.saturating_sub(self.iteration);
        let finished = self.iteration_started.saturating_duration_since(self.started);
        let run = time_left(done, left, finished, self.iteration_started.elapsed());
        let time = run.map(|left| format!("  {} left", duration(left))).or_else(|| {
            let per_step = self.phase_started.elapsed().div_f64((self.done > 0).then_some(self.done as f64)?);
            let left = per_step.mul_f64(self.total.saturating_sub(self.done) as f64);
            Some(format!("  {} left in this phase", duration(left)))
        });
        [best, time, accepted].into_iter().flatten().collect()
    }
}

/// The bar's look, from a constant template.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a constant template").progress_chars("=> ")
}

/// Time for `left` iterations, of which the first has been running for `present`, when `done` iterations took `finished`.
/// Unknown before the first is done.
fn time_left(done: u32, left: u32, finished: Duration, present: Duration) -> Option<Duration> {
    (done > 0).then(|| (finished / done * left).saturating_sub(present))
}

/// "45 s", "12 min 05 s", "3 h 20 min".
fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, min, s) => format!("{min} min {s:02} s"),
        (h, min, _) => format!("{h} h {min:02} min"),
    }
}

fn describe(metrics: &IterationMetrics) -> String {
    let ev = |energy: Option<f64>| energy.map_or("-".to_owned(), |energy| format!("{energy:.4}"));
    let IterationMetrics { kt_ev, samples, counts, seconds, .. } = metrics;
    let mut text = format!(
        "kT {kt_ev:.3} eV  ok {}/{samples}  lowest {}  median {}  best {} eV",
        counts.ok,
        ev(metrics.energy_min_ev),
        ev(metrics.energy_median_ev),
        ev(metrics.best_energy_ev),
    );
    for (name, value) in [("loss", metrics.loss), ("force loss", metrics.force_loss)] {
        text.extend(value.map(|value| format!("  {name} {value:.4}")));
    }
    if counts.failed > 0 {
        text += &format!("  failed {}", counts.failed);
    }
    let time = |seconds| duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    text += &format!("  {}", time(seconds.sample + seconds.wait + seconds.train));
    // Built-in potentials answer faster than anybody would care to read.
    if seconds.wait >= 1.0 {
        text += &format!(" ({} waiting for energies)", time(seconds.wait));
    }
    text
}

fn conclude(summary: &Summary, iterations: u32) -> String {
    let status = match summary.status {
        RunStatus::Running => "running",
        RunStatus::Done => "done",
        RunStatus::TargetFound => "target found; --resume goes on from here",
        RunStatus::Interrupted => "interrupted; --resume goes on from here",
        RunStatus::Failed => "failed",
    };
    let time = duration(Duration::try_from_secs_f64(summary.seconds).unwrap_or_default());
    let mut text = format!("{status}: {} samples, {} evaluations in {time}", summary.samples, summary.evaluations);
    if let (Some(energy), Some(iteration), Some(index)) =
        (summary.best_energy_ev, summary.best_iteration, summary.best_index)
    {
        text += &format!("; lowest energy {energy:.6} eV (iteration {}/{iterations}, sample {index})", iteration + 1);
    }
    if let Some(evaluation) = summary.target_first_evaluation {
        text += &format!("; target reached at evaluation {evaluation}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::metrics::tests::example as metrics;
    use super::*;
    use indicatif::TermLike;
    use std::sync::Arc;

    /// Output that the test can read; also a terminal of 120 columns that remembers whole lines.
    #[derive(Debug, Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl TermLike for Page {
        fn width(&self) -> u16 {
            120
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            writeln!(self.clone(), "{text}")
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            write!(self.clone(), "{text}")
        }

        fn clear_line(&self) -> io::Result<()> {
            self.write_str("\r")
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn summary() -> Summary {
        let best = (Some(5.505790), Some(7), Some(14));
        Summary {
            status: RunStatus::Done,
            seconds: 252.4,
            evaluations: 311,
            samples: 320,
            best_energy_ev: best.0,
            best_iteration: best.1,
            best_index: best.2,
            target_first_evaluation: Some(143),
            ..Summary::new(3, "cpu")
        }
    }

    fn play(reporter: &Reporter) {
        let directory = Path::new("runs/pt-adatom-001");
        reporter.run_started(&RunInfo {
            directory,
            device: "cpu f32",
            potential: "emt",
            seed: 3,
            iterations: 10,
            first_iteration: 4,
        });
        reporter.iteration_started(4, 1.0 / 3.0);
        reporter.phase(Phase::Sample, 500);
        for step in 1..=500 {
            reporter.advance(step);
        }
        reporter.evaluated(27, 32, Some(5.4375));
        reporter.message("the disk is nearly full");
        reporter.iteration_done(&metrics(4));
        reporter.finished(&summary());
    }

    #[test]
    fn a_log_has_a_line_for_every_iteration() {
        let page = Page::default();
        play(&Reporter::lines(page.clone()));
        let expected = "\
runs/pt-adatom-001: cpu f32, potential emt, seed 3
going on after iteration 4/10
the disk is nearly full
iteration  5/10  kT 0.333 eV  ok 27/32  lowest 5.5000  median 6.2500  best 5.4375 eV  loss 0.8750  failed 3  10 s
done: 320 samples, 311 evaluations in 4 min 12 s; lowest energy 5.505790 eV (iteration 8/10, sample 14); target reached at evaluation 143
";
        assert_eq!(page.text(), expected);
    }

    #[test]
    fn events_are_one_object_a_line() {
        let page = Page::default();
        play(&Reporter::events(page.clone()));
        let mut lines: Vec<serde_json::Value> =
            page.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // A slow machine may have found time for these.
        lines.retain(|line| line["event"] != "progress");
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["run_started", "phase", "message", "iteration_done", "finished"]);
        assert_eq!(lines[0]["directory"], "runs/pt-adatom-001");
        assert_eq!((&lines[1]["phase"], &lines[1]["total"]), (&"sample".into(), &500.into()));
        assert_eq!((&lines[3]["ok"], &lines[3]["seconds"]["train"]), (&27.into(), &8.0.into()));
        assert_eq!((&lines[4]["status"], &lines[4]["best_index"]), (&"done".into(), &14.into()));
    }

    /// 500 calls within a moment draw a few times at most, and messages come out as lines of their own.
    #[test]
    fn the_bar_does_not_flicker() {
        let page = Page::default();
        play(&Reporter::bar(ProgressDrawTarget::term_like_with_hz(Box::new(page.clone()), DRAWS_PER_SECOND)));
        let text = page.text();
        let draws = text.matches("%").count();
        assert!((1..20).contains(&draws), "{draws} draws: {text:?}");
        assert!(text.contains("the disk is nearly full"), "{text:?}");
        assert!(text.contains("iteration  5/10  kT 0.333 eV  sample"), "{text:?}");
        assert!(text.contains("done: 320 samples"), "{text:?}");
    }

    #[test]
    fn quiet_is_quiet_and_a_broken_pipe_is_no_error() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        play(&Reporter::quiet());
        play(&Reporter::lines(Broken));
        play(&Reporter::events(Broken));
    }

    #[test]
    fn time_left_is_known_after_an_iteration() {
        let seconds = Duration::from_secs;
        assert_eq!(time_left(0, 10, seconds(0), seconds(5)), None);
        assert_eq!(time_left(2, 8, seconds(20), seconds(4)), Some(seconds(76)));
        assert_eq!(time_left(2, 1, seconds(20), seconds(40)), Some(seconds(0)));
    }

    #[test]
    fn durations_read_well() {
        for (seconds, text) in [(0.4, "0 s"), (59.4, "59 s"), (65.0, "1 min 05 s"), (12_000.0, "3 h 20 min")] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
    }

    #[test]
    fn endings_are_told_apart() {
        let text = |status| conclude(&Summary { status, ..Summary::new(1, "cpu") }, 10);
        assert_eq!(
            text(RunStatus::Interrupted),
            "interrupted; --resume goes on from here: 0 samples, 0 evaluations in 0 s"
        );
        assert_eq!(text(RunStatus::Failed), "failed: 0 samples, 0 evaluations in 0 s");
    }
}
