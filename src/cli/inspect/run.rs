//! One run so far: its task, its status, its course, its archive.

use super::{describe_archive, lowest_energy, time};
use crate::cli::common::print;
use godiff::benchmark::Method;
use godiff::config::Settings;
use godiff::run::{RunDirectory, RunStatus, Segment, Summary, loss_column, read_metrics};
use godiff::{Error, Result};
use std::path::Path;

/// Describes the run in `folder`.
pub fn describe(folder: &Path) -> Result<()> {
    let summary = read_summary(folder)?;
    let Summary { version, seed, device, evaluations, samples, seconds, .. } = &summary;
    // A configuration that cannot be read any more, for instance by a later version, does not hide the results.
    let settings = Settings::load(&RunDirectory::config_of(folder)).ok();
    let method = settings.as_ref().map_or("run", |settings| Method::of(&settings.sections).name());
    print(format!("{}: {method}, {}", folder.display(), standing(folder, summary.status)))?;
    print(format!("godiff {version}, {device}, seed {seed}"))?;
    settings.iter().try_for_each(|settings| print(task(settings)))?;
    // A file of a later version does not hide the results either.
    let segments = RunDirectory::segments_of(folder).unwrap_or_default();
    segments.iter().filter_map(Segment::describe).try_for_each(print)?;
    print(format!("{samples} samples, {evaluations} evaluations in {}", time(*seconds)))?;
    if let (Some(energy), Some(iteration), Some(index)) =
        (summary.best_energy_ev, summary.best_iteration, summary.best_index)
    {
        print(lowest_energy(energy, iteration, index))?;
    }
    match summary.target_first_evaluation {
        Some(evaluation) => print(format!("target first reached at evaluation {evaluation}"))?,
        None if settings.is_some_and(|settings| settings.target.is_some()) => print("target not reached")?,
        None => {}
    }
    describe_course(folder)?;
    let archive = folder.join("archive.db");
    if archive.exists() { print(format!("\n{}", describe_archive(&archive)?)) } else { Ok(()) }
}

/// `summary.json` of the run in `folder`.
pub fn read_summary(folder: &Path) -> Result<Summary> {
    let path = folder.join("summary.json");
    let text =
        std::fs::read_to_string(&path).map_err(|cause| Error::bad_file(&path, format!("cannot be read: {cause}")))?;
    serde_json::from_str(&text).map_err(|cause| Error::bad_file(&path, format!("is damaged: {cause}")))
}

/// The status of a run in words. A summary that says "running" may be the last one of a killed process.
pub fn standing(folder: &Path, status: RunStatus) -> &'static str {
    match status {
        _ if RunDirectory::is_in_use(folder) => "running",
        RunStatus::Running => "killed; resume it with --resume",
        RunStatus::Done => "done",
        RunStatus::TargetFound => "ended at the target; resume it with --resume",
        RunStatus::TimeLimit => "ended at its time limit; resume it with --resume and another --hours",
        RunStatus::Interrupted => "interrupted; resume it with --resume",
        RunStatus::Failed => "failed",
    }
}

/// The task of a run and its effort.
fn task(settings: &Settings) -> String {
    let sections = &settings.sections;
    let place = match (settings.system.n_template(), settings.system.n_mobile()) {
        (0, 0) => String::new(),
        (n_fixed, 0) => format!(" on {n_fixed} template atoms"),
        (n_fixed, n_mobile) => format!(" on {} template atoms, {n_mobile} of them mobile", n_fixed + n_mobile),
    };
    let potential = sections.potential.describe();
    let effort = match Method::of(sections) {
        Method::Baseline(baseline) => format!("{} evaluations", baseline.budget(sections)),
        Method::Search => {
            let search = &sections.search;
            let guided = if sections.guidance.is_some() { ", guided" } else { "" };
            format!(
                "{} iterations of {} samples, kT {} to {} eV{guided}",
                search.iterations, search.samples_per_iteration, search.kt_initial_ev, search.kt_final_ev
            )
        }
    };
    format!("{}{place}, potential {potential}\n{effort}", settings.system.free_formula())
}

/// A line for every finished iteration.
fn describe_course(folder: &Path) -> Result<()> {
    let metrics = RunDirectory::metrics_of(folder);
    if !metrics.exists() {
        return Ok(());
    }
    let metrics = read_metrics(&metrics)?;
    let (heading, losses) = loss_column(&metrics);
    print(format!("\niteration     kT/eV   ok/samples   lowest/eV   median/eV     best/eV {heading:>10}"))?;
    let ev = |energy: Option<f64>| energy.map_or("-".to_owned(), |energy| format!("{energy:.4}"));
    metrics.iter().zip(losses).try_for_each(|(line, loss)| {
        print(format!(
            "{:>9} {:>9.4} {:>12} {:>11} {:>11} {:>11} {:>10}",
            line.iteration + 1,
            line.kt_ev,
            format!("{}/{}", line.counts.ok, line.samples),
            ev(line.energy_min_ev),
            ev(line.energy_median_ev),
            ev(line.best_energy_ev),
            ev(loss)
        ))
    })
}
