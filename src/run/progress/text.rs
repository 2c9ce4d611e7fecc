//! The texts that people read about a run. Iterations and samples count from 1 here.

use super::standing::{Left, Standing};
use super::{Phase, RunInfo};
use crate::run::metrics::IterationMetrics;
use crate::run::summary::{RunStatus, Summary};
use std::time::Duration;

/// From this many columns on, the heading of an iteration and its phase share a line.
const WIDE: usize = 110;
/// Columns left free: room for the `^C` that a terminal shows, so that it does not begin another row.
const MARGIN: usize = 2;
/// Most columns that a phase's name, percentage, speed and time left need, with the brackets of its bar. The bar gets the
/// remaining columns, so its length does not change with these texts.
const PHASE_TEXT: usize = 60;
/// Widest bar, in columns.
const WIDEST_BAR: usize = 24;
/// Narrowest bar that says more than the percentage next to it.
const NARROWEST_BAR: usize = 8;

/// The lines that a terminal with so many `columns` shows during the run. They fit into it, and their number depends on `columns`
/// alone. Where there is little room, the least important parts are left out.
pub fn screen(standing: &Standing, columns: usize) -> String {
    let width = columns.saturating_sub(MARGIN).max(1);
    if columns >= WIDE {
        let heading = format!("{}  ", heading(standing));
        let room = width - heading.len();
        return format!("{heading}{}\n{}", phase_line(standing, room), best_line(standing, width));
    }
    let short = format!("{}/{}", standing.iteration + 1, standing.iterations);
    let heading = first_fit(&[heading(standing), format!("{short}{}", temperature(standing, " ")), short], width);
    format!("{heading}\n{}\n{}", phase_line(standing, width), best_line(standing, width))
}

/// The same for a log, in one line.
pub fn log_line(standing: &Standing) -> String {
    let Standing { phase, done, total, counts, .. } = standing;
    let parts = [
        Some(heading(standing)),
        Some(format!("{} {done}/{total}", phase.name())),
        rate(standing),
        best(standing).map(|best| format!("{best}{}", long_age(standing))),
        (counts.samples() > 0).then(|| format!("ok {}/{}", counts.ok, counts.samples())),
        left(standing),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// "iteration  3/20", counted from 1 as people do.
pub fn which(standing: &Standing) -> String {
    let width = standing.iterations.to_string().len();
    format!("iteration {:>width$}/{}", standing.iteration + 1, standing.iterations)
}

/// The lines that a run begins with.
pub fn begin(info: &RunInfo) -> String {
    let RunInfo { directory, device, potential, seed, first_iteration, iterations, .. } = info;
    let mut text = format!("{}: {device}, potential {potential}, seed {seed}", directory.display());
    if *first_iteration > 0 {
        text += &format!("\nresumed after iteration {first_iteration}/{iterations}");
    }
    text
}

/// The results of an iteration.
pub fn describe(metrics: &IterationMetrics) -> String {
    let ev = |energy: Option<f64>| energy.map_or("-".to_owned(), |energy| format!("{energy:.4}"));
    let IterationMetrics { kt_ev, samples, counts, seconds, .. } = metrics;
    let temperature = if *kt_ev > 0.0 { format!("kT {kt_ev:.3} eV  ") } else { String::new() };
    let mut text = format!(
        "{temperature}ok {}/{samples}  lowest {}  median {}  best {} eV",
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
    // Built-in potentials answer so fast that nobody needs to read the time.
    if seconds.wait >= 1.0 {
        text += &format!(" ({} waiting for energies)", time(seconds.wait));
    }
    text
}

/// The results of a run of `iterations`.
pub fn conclude(summary: &Summary, iterations: u32) -> String {
    let status = match summary.status {
        RunStatus::Running => "running",
        RunStatus::Done => "done",
        RunStatus::TargetFound => "target found; --resume continues from here",
        RunStatus::TimeLimit => "time limit reached; --resume with another --hours continues from here",
        RunStatus::Interrupted => "interrupted; --resume continues from here",
        RunStatus::Failed => "failed",
    };
    let time = duration(Duration::try_from_secs_f64(summary.seconds).unwrap_or_default());
    let mut text = format!("{status}: {} samples, {} evaluations in {time}", summary.samples, summary.evaluations);
    if let (Some(energy), Some(iteration), Some(index)) =
        (summary.best_energy_ev, summary.best_iteration, summary.best_index)
    {
        let (iteration, sample) = (iteration + 1, index + 1);
        text += &format!("; lowest energy {energy:.6} eV (iteration {iteration}/{iterations}, sample {sample})");
    }
    if let Some(evaluation) = summary.target_first_evaluation {
        text += &format!("; target reached at evaluation {evaluation}");
    }
    text
}

/// "45 s", "12 min 05 s", "3 h 20 min".
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, min, s) => format!("{min} min {s:02} s"),
        (h, min, _) => format!("{h} h {min:02} min"),
    }
}

/// [`duration`] without the small units: "45 s", "12 min", "3 h".
fn short_duration(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

fn heading(standing: &Standing) -> String {
    format!("{}{}", which(standing), temperature(standing, "  "))
}

/// kT after `gap`; nothing where there is no temperature.
fn temperature(standing: &Standing, gap: &str) -> String {
    if standing.kt_ev > 0.0 { format!("{gap}kT {:.3} eV", standing.kt_ev) } else { String::new() }
}

/// Phase, how much of it is done, its speed, time left.
fn phase_line(standing: &Standing, width: usize) -> String {
    let Standing { phase, done, total, .. } = standing;
    let share = *done as f64 / (*total).max(1) as f64;
    let name = format!("{:<8}", phase.name());
    let percent = format!("{:>3}%", (100.0 * share) as u32);
    let after =
        |parts: &[Option<String>]| -> String { parts.iter().flatten().map(|part| format!("  {part}")).collect() };
    let (rate, left) = (rate(standing), left(standing));
    let full = format!("{name} {percent}{}", after(&[rate, left.clone()]));
    let room = width.saturating_sub(PHASE_TEXT).min(WIDEST_BAR);
    // Two brackets and a space.
    if room >= NARROWEST_BAR && full.len() + room + 3 <= width {
        let filled = (share * room as f64) as usize;
        let bar = format!("{:<room$}", "=".repeat(filled) + if filled < room { ">" } else { "" });
        return full.replacen(&name, &format!("{name} [{bar}]"), 1);
    }
    let plain = format!("{} {}", phase.name(), percent.trim_start());
    let short =
        standing.left().map(|(Left::InRun(time) | Left::InPhase(time))| format!("{} left", short_duration(time)));
    first_fit(&[full, format!("{plain}{}", after(&[left])), format!("{plain}{}", after(&[short])), plain], width)
}

/// The lowest energy with its age, and how many samples were accepted. Empty at first.
fn best_line(standing: &Standing, width: usize) -> String {
    let counts = &standing.counts;
    let accepted = (counts.samples() > 0).then(|| format!("ok {}/{}", counts.ok, counts.samples()));
    let Some(best) = best(standing) else { return first_fit(&[accepted.unwrap_or_default()], width) };
    let accepted = accepted.map_or(String::new(), |accepted| format!("  {accepted}"));
    let (long, short) = (long_age(standing), short_age(standing));
    first_fit(
        &[format!("{best}{long}{accepted}"), format!("{best}{short}{accepted}"), format!("{best}{short}"), best],
        width,
    )
}

fn best(standing: &Standing) -> Option<String> {
    standing.best.map(|best| format!("best {:.4} eV", best.energy_ev))
}

fn long_age(standing: &Standing) -> String {
    match standing.age() {
        Some(age) => {
            let plural = if age.evaluations == 1 { "" } else { "s" };
            format!(" ({} evaluation{plural}, {} ago)", age.evaluations, duration(age.time))
        }
        None => " (before the resume)".into(),
    }
}

fn short_age(standing: &Standing) -> String {
    standing.age().map_or(String::new(), |age| format!(", {} ago", short_duration(age.time)))
}

/// "41.7 steps/s", or "12.5 s/step" where a step takes long.
fn rate(standing: &Standing) -> Option<String> {
    let unit = match standing.phase {
        Phase::Sample | Phase::Train => "step",
        Phase::Evaluate => "evaluation",
    };
    standing.rate().map(|rate| match rate {
        100.0.. => format!("{rate:.0} {unit}s/s"),
        1.0.. => format!("{rate:.1} {unit}s/s"),
        _ => format!("{:.1} s/{unit}", 1.0 / rate),
    })
}

fn left(standing: &Standing) -> Option<String> {
    standing.left().map(|left| match left {
        Left::InRun(time) => format!("{} left", duration(time)),
        Left::InPhase(time) => format!("{} left in phase", duration(time)),
    })
}

/// The first of `candidates` that fits into `width`; if none does, the last one's beginning.
fn first_fit(candidates: &[String], width: usize) -> String {
    let fits = candidates.iter().find(|candidate| candidate.chars().count() <= width);
    fits.cloned().unwrap_or_else(|| candidates.last().into_iter().flat_map(|last| last.chars()).take(width).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Status;

    fn standing() -> Standing {
        let mut standing = Standing::new();
        standing.start(20, None);
        standing.start_iteration(2, 1.0 / 3.0);
        standing.count(Status::TooClose, None);
        standing.count(Status::Ok, Some(-123.4567));
        standing.count(Status::Ok, Some(-100.0));
        standing.start_phase(Phase::Sample, 500);
        standing.done = 250;
        standing
    }

    /// Without the numbers before these units, which depend on the clock.
    fn timeless(text: &str) -> String {
        let mut words: Vec<&str> = text.split(' ').collect();
        for k in 1..words.len() {
            if ["steps/s", "s/step", "s"].contains(&words[k]) {
                words[k - 1] = "#";
            }
        }
        words.join(" ")
    }

    #[test]
    fn a_wide_terminal_shows_everything_in_two_lines() {
        let text = screen(&standing(), 120);
        let (first, second) = text.split_once('\n').unwrap();
        assert!(first.starts_with("iteration  3/20  kT 0.333 eV  sample   [===="), "{first}");
        assert!(first.contains("]  50%  ") && first.contains(" steps/s  "), "{first}");
        assert!(first.ends_with(" left in phase") && first.len() < 120, "{first}");
        assert_eq!(timeless(second), "best -123.4567 eV (1 evaluation, # s ago)  ok 2/3");
    }

    #[test]
    fn a_narrow_terminal_shows_what_matters() {
        let text = screen(&standing(), 40);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "iteration  3/20  kT 0.333 eV");
        assert_eq!(timeless(lines[1]), "sample 50%  # s left in phase");
        assert_eq!(timeless(lines[2]), "best -123.4567 eV, # s ago  ok 2/3");
    }

    /// At any width, no line is too long, and the number of lines does not depend on how far the run is.
    #[test]
    fn every_width_is_respected() {
        let (late, mut early) = (standing(), Standing::new());
        early.start(20, Some(-123.4567));
        for width in 1..200 {
            for standing in [&late, &early] {
                let text = screen(standing, width);
                assert_eq!(text.split('\n').count(), if width >= WIDE { 2 } else { 3 }, "{width}: {text}");
                assert!(text.split('\n').all(|line| line.len() < width.max(2)), "{width}: {text}");
            }
        }
    }

    #[test]
    fn a_log_says_the_same() {
        assert_eq!(
            timeless(&log_line(&standing())),
            "iteration  3/20  kT 0.333 eV  sample 250/500  # steps/s  best -123.4567 eV (1 evaluation, # s ago)  ok 2/3  \
             # s left in phase"
        );
        let mut resumed = Standing::new();
        resumed.start(5, Some(1.5));
        resumed.start_phase(Phase::Evaluate, 8);
        assert_eq!(log_line(&resumed), "iteration 1/5  evaluate 0/8  best 1.5000 eV (before the resume)");
    }

    #[test]
    fn durations_read_well() {
        for (seconds, long, short) in [
            (0.4, "0 s", "0 s"),
            (59.4, "59 s", "59 s"),
            (65.0, "1 min 05 s", "1 min"),
            (12_000.0, "3 h 20 min", "3 h"),
        ] {
            let time = Duration::from_secs_f64(seconds);
            assert_eq!((duration(time).as_str(), short_duration(time).as_str()), (long, short));
        }
    }

    #[test]
    fn endings_are_told_apart() {
        let text = |status| conclude(&Summary { status, ..Summary::new(1, "cpu") }, 10);
        assert_eq!(
            text(RunStatus::Interrupted),
            "interrupted; --resume continues from here: 0 samples, 0 evaluations in 0 s"
        );
        assert_eq!(text(RunStatus::Failed), "failed: 0 samples, 0 evaluations in 0 s");
    }
}
