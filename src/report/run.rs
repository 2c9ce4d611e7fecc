//! The page of one run.

use super::data::RunData;
use super::page::{Page, count, duration, energy};
use super::plots;
use super::slug;
use super::structures::Shown;
use crate::archive::{Counts, Status};
use crate::check::warnings;
use crate::landscape::Landscape;
use crate::minima::Minimum;
use crate::plot::map::{Projection, has_surface};
use crate::plot::{escape, views};
use crate::run::{RunStatus, loss_column};
use crate::system::elements::formula;
use crate::system::{Structure, System, Vec3};

/// The page of `run`. If one atom is free, `landscape` is drawn under its map.
pub fn page(run: &RunData, landscape: Option<&Landscape>) -> Page {
    let mut page = Page::new(&format!("{} · godiff", run.name));
    header(&mut page, run);
    charts(&mut page, run, landscape);
    structures(&mut page, run);
    course(&mut page, run);
    settings(&mut page, run);
    page
}

/// The words for `status`, and the class of its badge.
pub fn status_name(status: RunStatus) -> (&'static str, &'static str) {
    match status {
        RunStatus::Running => ("running or killed", ""),
        RunStatus::Done => ("done", "done"),
        RunStatus::TargetFound => ("target found", "done"),
        RunStatus::TimeLimit => ("time limit reached", ""),
        RunStatus::Interrupted => ("interrupted", ""),
        RunStatus::Failed => ("failed", ""),
    }
}

/// The system in a few words.
pub fn describe(system: &System) -> String {
    let free = system.free_formula();
    let mut template = system.holding_mobile(&system.mobile.homes).template_numbers;
    template.sort_unstable();
    let template = formula(&template);
    match (system.n_template(), system.n_mobile(), system.is_free_cluster()) {
        (0, 0, true) => format!("{free}, a free cluster"),
        (0, 0, false) => format!("{free} in a cell"),
        (n, 0, _) => format!("{free} on {template} ({n} fixed atoms)"),
        (n, m, _) => format!("{free} on {template} ({n} fixed atoms, {m} mobile)"),
    }
}

fn header(page: &mut Page, run: &RunData) {
    let summary = &run.summary;
    let (status, class) = status_name(summary.status);
    page.add(&format!("<h1>{} <span class=\"badge {class}\">{status}</span></h1>", escape(&run.name)));
    let what = format!(
        "{} by {}, potential {}, seed {}, on {}",
        describe(&run.settings.system),
        run.method.name(),
        run.settings.sections.potential.describe(),
        summary.seed,
        summary.device
    );
    page.add(&format!("<p class=\"lead\">{}</p>", escape(&what)));
    for extension in &run.extensions {
        page.add(&format!("<p>This run was {}.</p>", escape(extension)));
    }
    for warning in warnings(&run.settings) {
        page.add(&format!("<p>Warning: {}</p>", escape(&warning)));
    }
    let best_sample = run.best();
    let found = best_sample.map_or("no structure counts yet".into(), |sample| {
        format!(
            "eV, evaluation {} (iteration {}, sample {})",
            count(sample.evaluation),
            sample.iteration + 1,
            sample.index + 1
        )
    });
    let target = match (&run.settings.target, summary.target_first_evaluation) {
        (None, _) => ("–".into(), "none is given".into()),
        (Some(_), None) => ("not found".into(), format!("in {} evaluations", count(summary.evaluations))),
        (Some(_), Some(evaluation)) => ("found".into(), format!("at evaluation {}", count(evaluation))),
    };
    let counts: Counts = run.samples.iter().map(|sample| sample.status).collect();
    let facts = [
        ("lowest energy", energy(best_sample.and_then(|sample| sample.energy), 4), found),
        ("target", target.0, target.1),
        ("evaluations", count(summary.evaluations), samples(run)),
        ("accepted", share(counts.ok, counts.samples()), rejected(&counts)),
        ("time", duration(summary.seconds), iterations(run)),
    ];
    page.add("<section class=\"card outcome\">");
    page.facts(&facts);
    if let Some(best) = best_sample {
        let [mut top, _] = views(&run.settings.system, &best.free, "best", "The structure of lowest energy");
        top.name = "best".into();
        let structure = Structure { energy: best.energy, ..run.settings.system.structure(&best.free) };
        let title = format!("Lowest energy, {} eV", energy(best.energy, 4));
        let file = format!("{}-best.xyz", slug(&run.name));
        let shown = Shown { system: &run.settings.system, frame: &structure.into(), file, title };
        page.structure(&shown, [top], "lowest energy, from above");
    }
    page.add("</section>");
}

fn samples(run: &RunData) -> String {
    let own = match run.settings.seeds.len() as u64 {
        0 => String::new(),
        n => format!(", {} of them your own", count(n)),
    };
    format!("of {} samples{own}", count(run.summary.samples))
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "–".into() } else { format!("{:.0}%", 100.0 * part as f64 / whole as f64) }
}

fn rejected(counts: &Counts) -> String {
    let mut counts = *counts;
    let parts: Vec<String> = Status::ALL[1..]
        .iter()
        .map(|&status| (*counts.of_mut(status), status.as_str().replace('_', " ")))
        .filter(|(n, _)| *n > 0)
        .map(|(n, name)| format!("{} {name}", count(n)))
        .collect();
    if parts.is_empty() { "no sample rejected".into() } else { parts.join(", ") }
}

fn iterations(run: &RunData) -> String {
    match run.method {
        crate::benchmark::Method::Search => {
            format!("{} of {} iterations", run.metrics.len(), run.settings.sections.search.iterations)
        }
        crate::benchmark::Method::Baseline(baseline) => {
            format!("budget {} evaluations", count(baseline.budget(&run.settings.sections)))
        }
    }
}

fn charts(page: &mut Page, run: &RunData, landscape: Option<&Landscape>) {
    if run.samples.is_empty() {
        page.add("<p>The run was stopped before anything was sampled.</p>");
        return;
    }
    page.heading("Course");
    page.add("<div class=\"charts\">");
    if let Some(picture) = plots::energy(run) {
        let caption = "The lowest energy so far, and every structure that counts; those above the frame are not shown.";
        page.figure("Best energy", caption, picture);
    }
    if let Some(picture) = plots::temperatures(run) {
        let caption = "Each column is a temperature: samples on its left, the buffer drawn for training on its right. \
                       Energies beyond the ends of the axis are drawn at its ends.";
        page.figure("Energies by temperature", caption, picture);
    }
    let system = &run.settings.system;
    if has_surface(system) {
        let clouds = plots::clouds(run);
        let projection = Projection { system, clouds: &clouds, kt_range: plots::kt_range(&clouds) };
        let n_free = system.formula_numbers().len();
        let some = plots::stride(run.samples.len() * n_free) > 1;
        let which = if some { "A part of the structures that count" } else { "All structures that count" };
        let caption = format!("{which}, wrapped into the cell, over the template.");
        page.figure(
            "Places of the free atoms",
            &caption,
            projection.draw("map", "Places of the free atoms over the template", None),
        );
        if let Some(landscape) = landscape.filter(|_| n_free == 1) {
            let label = "Places of the free atom over the landscape of its energy";
            let caption = "The same over the lowest energy that the atom reaches above each point.";
            page.figure("Places and energy landscape", caption, projection.draw("landscape", label, Some(landscape)));
        }
    }
    if let Some(picture) = plots::losses(run) {
        page.figure("Loss", "Means over the training steps of each iteration.", picture);
    }
    if let Some(picture) = plots::times(run) {
        let caption = "Waiting is the time in which the search did nothing but wait for energies.";
        page.figure("Time per phase", caption, picture);
    }
    page.add("</div>");
}

fn structures(page: &mut Page, run: &RunData) {
    let Some(lowest) = run.minima.first() else { return };
    page.heading("Lowest structures");
    let what = if run.minima.iter().all(|minimum| minimum.relaxed) { "Relaxed" } else { "As sampled, not relaxed" };
    let lead = format!(
        "{what}. Structures count as one within {} eV and {} Å, symmetry-equivalent ones too.",
        run.tolerances.energy_ev, run.tolerances.distance_angstrom
    );
    page.add(&format!("<p class=\"lead\">{}</p>", escape(&lead)));
    page.add("<div class=\"minima\">");
    let n = run.minima.len();
    for (k, minimum) in run.minima.iter().enumerate() {
        let rank = k + 1;
        let label = format!("Structure {rank} of lowest energy, {:.4} eV", minimum.energy_ev);
        let free = free_atoms(&minimum.structure);
        let above = match k {
            0 => String::new(),
            _ => format!("+{:.3}", minimum.energy_ev - lowest.energy_ev),
        };
        page.add(&format!(
            "<div class=\"card\"><h3>{} eV<span>{above}</span></h3>",
            escape(&energy(Some(minimum.energy_ev), 4))
        ));
        let title = format!("Structure {rank} of {n}, {} eV", energy(Some(minimum.energy_ev), 4));
        let file = format!("{}-structure-{rank}.xyz", slug(&run.name));
        let shown = Shown { system: &run.settings.system, frame: &minimum.frame(1), file, title };
        let pictures = views(&run.settings.system, &free, &format!("structure-{rank}"), &label);
        page.structure(&shown, pictures, &history(minimum));
        page.add("</div>");
    }
    page.add("</div>");
}

/// Positions of the free atoms, Å.
fn free_atoms(structure: &Structure) -> Vec<Vec3> {
    let atoms = structure.positions.iter().zip(&structure.fixed);
    atoms.filter(|(_, fixed)| !**fixed).map(|(position, _)| *position).collect()
}

/// How often a structure was found, when it was first found, and its symmetry.
fn history(minimum: &Minimum) -> String {
    let times = match minimum.count {
        1 => "found once,".to_owned(),
        n => format!("found {} times, first", count(n as u64)),
    };
    let first = minimum.first;
    let place = format!("iteration {}, sample {}", first.iteration + 1, first.index + 1);
    let symmetry = minimum.symmetry.as_ref().map(|symmetry| format!("; symmetry {symmetry}")).unwrap_or_default();
    format!("{times} at evaluation {} ({place}){symmetry}", count(first.evaluation))
}

fn course(page: &mut Page, run: &RunData) {
    if run.metrics.is_empty() {
        return;
    }
    page.heading("Iterations");
    let (loss_heading, losses) = loss_column(&run.metrics);
    let heads = [
        "iteration",
        "kT / eV",
        "samples",
        "ok",
        "lowest / eV",
        "median / eV",
        "buffer median / eV",
        "effective size",
        loss_heading,
        "time",
    ];
    let number = |value: Option<f64>, digits: usize| energy(value, digits);
    let rows: Vec<Vec<String>> = run
        .metrics
        .iter()
        .zip(losses)
        .map(|(m, loss)| {
            let seconds: f64 = plots::phases(m).iter().map(|(_, seconds)| seconds).sum();
            vec![
                (m.iteration + 1).to_string(),
                format!("{:.4}", m.kt_ev),
                count(m.samples),
                count(m.counts.ok),
                number(m.energy_min_ev, 4),
                number(m.energy_median_ev, 4),
                number(m.buffer_median_ev, 4),
                number(m.effective_sample_size, 1),
                number(loss, 4),
                duration(seconds),
            ]
        })
        .collect();
    page.add("<div class=\"card\">");
    page.table(&heads, &rows);
    page.add("</div>");
}

fn settings(page: &mut Page, run: &RunData) {
    page.heading("Settings and versions");
    let summary = &run.summary;
    page.add("<div class=\"card\">");
    let whole = run.folder.canonicalize().unwrap_or_else(|_| run.folder.clone());
    let rows = [
        ("run with", format!("godiff {}", summary.version)),
        ("device", summary.device.clone()),
        ("seed", summary.seed.to_string()),
        ("potential", run.settings.sections.potential.describe()),
        ("folder", whole.display().to_string()),
    ];
    page.pairs(&rows);
    let toml = escape(&run.settings.to_toml());
    page.add(&format!(
        "<details><summary>Configuration, every default written out</summary><pre>{toml}</pre></details></div>"
    ));
}
