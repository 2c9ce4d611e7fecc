//! The page of several runs, or of a benchmark.

use super::data::summary;
use super::folders::{RunFolder, name_of};
use super::page::{Page, count, duration, energy};
use super::run::{describe, status_name};
use super::slug;
use super::structures::Shown;
use crate::archive::Archive;
use crate::benchmark::{
    Agreement, CLOCK_HEADS, Course, HEADS, Method, Outcome, PAIR_HEADS, Results, SEED_HEADS, cells, clock,
    compare_with_first, energy_curves, pairs, success_curves,
};
use crate::config::Settings;
use crate::error::Result;
use crate::plot::style::N_SERIES;
use crate::plot::{Axis, Chart, Layer, Picture, Scale, escape, views};
use crate::run::{RunDirectory, Summary};
use crate::statistics::sorted;
use crate::system::{Structure, Vec3};
use std::path::PathBuf;

/// Most runs that are drawn one by one.
const MOST_CURVES: usize = 40;

/// The part of a run that a comparison needs.
struct Outline {
    name: String,
    folder: PathBuf,
    settings: Settings,
    summary: Summary,
    outcome: Outcome,
    course: Course,
    /// Free atoms of the lowest structure, Å.
    best: Option<Vec<Vec3>>,
}

/// Runs that differ by their seed alone.
struct Group {
    name: String,
    /// Their configuration with the seed taken out.
    config: String,
    method: Method,
    runs: Vec<Outline>,
}

/// Groups that search the same system, so that their energies can be compared.
struct Field {
    title: String,
    groups: Vec<Group>,
}

/// The page of `folders`, and a sentence about every run that had to be left out.
///
/// # Errors
/// Why the first run cannot be read, if none can.
pub fn page(folders: &[RunFolder]) -> Result<(Page, Vec<String>)> {
    let (mut fields, mut failures): (Vec<Field>, Vec<_>) = (Vec::new(), Vec::new());
    for folder in folders {
        match outline(folder) {
            Ok(outline) => put(&mut fields, &folder.group, outline),
            Err(error) => failures.push(error),
        }
    }
    if fields.is_empty()
        && let Some(error) = failures.pop()
    {
        return Err(error);
    }
    let notes: Vec<String> = failures.iter().map(|error| format!("left out: {error}")).collect();
    let mut page = Page::new("Comparison of runs · godiff");
    header(&mut page, &fields, &notes);
    let several = fields.len() > 1;
    for field in &fields {
        field_section(&mut page, field, several);
    }
    runs_section(&mut page, &fields);
    Ok((page, notes))
}

fn outline(folder: &RunFolder) -> Result<Outline> {
    let settings = Settings::load(&RunDirectory::config_of(&folder.path))?;
    let summary = summary(&folder.path)?;
    let method = Method::of(&settings.sections);
    let outcome = Outcome::new(&summary, method.is_finished(&settings.sections, &summary, false));
    let course = Course::read(&folder.path, method)?;
    let path = RunDirectory::archive_of(&folder.path);
    let best = match path.exists() {
        true => Archive::open(&path, &settings.system)?.best()?.map(|entry| entry.free_positions),
        false => None,
    };
    let (name, folder) = (name_of(&folder.path), folder.path.clone());
    Ok(Outline { name, folder, settings, summary, outcome, course, best })
}

/// Adds `run` to the runs of its kind.
fn put(fields: &mut Vec<Field>, name: &str, run: Outline) {
    let title = format!("{}, potential {}", describe(&run.settings.system), run.settings.sections.potential.describe());
    let mut sections = run.settings.sections.clone();
    sections.search.seed = 0;
    let config = toml::to_string(&sections).unwrap_or_default();
    let field = match fields.iter().position(|field| field.title == title) {
        Some(place) => &mut fields[place],
        None => {
            fields.push(Field { title, groups: Vec::new() });
            let last = fields.len() - 1;
            &mut fields[last]
        }
    };
    // Folders like runs/benchmark/NAME/seed-S share their NAME; other runs of one configuration are grouped too.
    let alike = |group: &Group| group.config == config && (group.name == name || !run.name.starts_with("seed-"));
    match field.groups.iter_mut().find(|group| alike(group)) {
        Some(group) => group.runs.push(run),
        None => {
            let n_same = field.groups.iter().filter(|group| group.name == name).count();
            let name = if n_same == 0 { name.to_owned() } else { format!("{name} ({})", n_same + 1) };
            let method = Method::of(&run.settings.sections);
            field.groups.push(Group { name, config, method, runs: vec![run] });
        }
    }
}

impl Group {
    fn results(&self) -> Results {
        let runs: Vec<Outcome> = self.runs.iter().map(|run| run.outcome.clone()).collect();
        let courses = self.runs.iter().map(|run| run.course.clone()).collect();
        Results::new(&self.name, self.method, runs, courses)
    }

    fn best(&self) -> Option<&Outline> {
        let lowest = |run: &&Outline| run.summary.best_energy_ev.unwrap_or(f64::INFINITY);
        self.runs.iter().filter(|run| run.best.is_some()).min_by(|a, b| lowest(a).total_cmp(&lowest(b)))
    }
}

fn header(page: &mut Page, fields: &[Field], notes: &[String]) {
    let groups = || fields.iter().flat_map(|field| &field.groups);
    let runs: Vec<&Outline> = groups().flat_map(|group| &group.runs).collect();
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let n_finished = runs.iter().filter(|run| run.outcome.finished).count();
    let with_target: Vec<&&Outline> = runs.iter().filter(|run| run.settings.target.is_some()).collect();
    let n_found = with_target.iter().filter(|run| run.summary.target_first_evaluation.is_some()).count();
    let evaluations = runs.iter().map(|run| run.summary.evaluations).sum();
    let seconds: f64 = runs.iter().map(|run| run.summary.seconds).sum();
    page.add(&format!("<h1>{}</h1>", escape(&plural(runs.len(), "run"))));
    let titles: Vec<&str> = fields.iter().map(|field| &field.title[..]).collect();
    page.add(&format!("<p class=\"lead\">{}</p>", escape(&titles.join("; "))));
    let lowest = match fields {
        [field] => field.groups.iter().filter_map(Group::best).min_by(|a, b| {
            let energy = |run: &Outline| run.summary.best_energy_ev.unwrap_or(f64::INFINITY);
            energy(a).total_cmp(&energy(b))
        }),
        // Energies of different systems cannot be compared.
        _ => None,
    };
    page.add("<section class=\"card\">");
    let mut facts = vec![
        (
            "runs",
            runs.len().to_string(),
            format!("{n_finished} finished, {}", plural(groups().count(), "configuration")),
        ),
        ("evaluations", count(evaluations), format!("in {}", duration(seconds))),
    ];
    if let Some(run) = lowest {
        facts.insert(0, ("lowest energy", energy(run.summary.best_energy_ev, 4), format!("eV, {}", run.name)));
    }
    if !with_target.is_empty() {
        facts.push(("target", format!("{n_found} of {}", with_target.len()), "runs found it".into()));
    }
    page.facts(&facts);
    page.add("</section>");
    for note in notes {
        page.add(&format!("<p>{}</p>", escape(note)));
    }
}

fn field_section(page: &mut Page, field: &Field, several: bool) {
    page.heading(if several { &field.title } else { "Comparison" });
    let results = compare_with_first(field.groups.iter().map(Group::results).collect());
    let targets = field.groups.iter().flat_map(|group| &group.runs).any(|run| run.settings.target.is_some());
    if targets {
        page.add("<div class=\"card\">");
        page.table(
            &HEADS,
            &results.iter().map(|results| cells(&results.row).map(typeset).to_vec()).collect::<Vec<_>>(),
        );
        if let Some((title, rows)) = pairs(&results) {
            page.add(&format!("<p>{}</p>", escape(&title)));
            page.table(&PAIR_HEADS, &rows.into_iter().map(|row| row.map(typeset).to_vec()).collect::<Vec<_>>());
        }
        if let Some((title, rows)) = clock(&results) {
            page.add(&format!("<p>{}</p>", escape(&title)));
            page.table(&CLOCK_HEADS, &rows.into_iter().map(|row| row.map(typeset).to_vec()).collect::<Vec<_>>());
        }
        page.add("</div>");
    }
    field.groups.iter().for_each(|group| agreement_section(page, group));
    page.add("<div class=\"charts\">");
    let prefix = if several { format!("{}-", slug(&field.groups[0].name)) } else { String::new() };
    let mut figure = |title: &str, caption: &str, mut picture: Picture| {
        picture.name = format!("{prefix}{}", picture.name);
        page.figure(title, caption, picture);
    };
    if results.iter().any(|results| results.runs.len() > 1) {
        let caption = "Mean over the runs of the lowest energy so far, above the lowest of all; the band extends from the best run \
                       to the worst.";
        figure("Mean lowest energy", caption, energy_curves(&results));
    }
    if targets {
        let caption = "Finished runs that have found the target, against evaluations.";
        figure("Success", caption, success_curves(&results));
    }
    if let Some(picture) = every_run(field) {
        figure("Every run", "The lowest energy so far of each run.", picture);
    }
    page.add("</div>");
    page.add("<h2>Lowest structure of each</h2>\n<div class=\"minima\">");
    for group in &field.groups {
        let Some((run, free)) = group.best().and_then(|run| Some((run, run.best.as_ref()?))) else { continue };
        let label = format!("Lowest structure of {}", group.name);
        let views = views(&run.settings.system, free, &format!("{prefix}{}-best", slug(&group.name)), &label);
        let shown = energy(run.summary.best_energy_ev, 4);
        page.add(&format!("<div class=\"card\"><h3>{} eV</h3>", escape(&shown)));
        let structure = Structure { energy: run.summary.best_energy_ev, ..run.settings.system.structure(free) };
        let (title, file) = (format!("{label}, {shown} eV"), format!("{prefix}{}-best.xyz", slug(&group.name)));
        let shown = Shown { system: &run.settings.system, frame: &structure.into(), file, title };
        page.structure(&shown, views, &format!("{}, seed {}", group.name, run.summary.seed));
        page.add("</div>");
    }
    page.add("</div>");
}

/// What the seeds of `group` agree on, if their structures were relaxed.
fn agreement_section(page: &mut Page, group: &Group) {
    let Some(first) = group.runs.first() else { return };
    let runs: Vec<(u64, PathBuf)> = group.runs.iter().map(|run| (run.summary.seed, run.folder.clone())).collect();
    // Files that are damaged cost this table alone.
    let Ok(agreement) = Agreement::of(&group.name, &first.settings, &runs) else { return };
    if agreement.n_relaxed == 0 {
        return;
    }
    page.add(&format!("<div class=\"card\"><p>{}: {}.</p>", escape(&group.name), escape(&agreement.conclusion())));
    page.table(&SEED_HEADS, &agreement.rows().into_iter().map(|row| row.map(typeset).to_vec()).collect::<Vec<_>>());
    page.add("</div>");
}

/// A cell of a plain table with the minus signs and dashes of a page.
fn typeset(cell: String) -> String {
    match cell.strip_prefix('-') {
        Some("") => "–".into(),
        Some(number) => format!("\u{2212}{number}"),
        None => cell,
    }
}

/// The staircases of all runs, in the colour of their group. With one group every run has its own colour.
fn every_run(field: &Field) -> Option<Picture> {
    let alone = field.groups.len() == 1;
    let runs = || field.groups.iter().enumerate().flat_map(|(k, group)| group.runs.iter().map(move |run| (k, run)));
    if runs().count() > MOST_CURVES {
        return None;
    }
    let mut curves: Vec<(usize, Vec<[f64; 2]>)> = Vec::new();
    for (place, (group, run)) in runs().enumerate() {
        let mut points: Vec<[f64; 2]> = Vec::new();
        for evaluation in run.course.falls() {
            let Some(energy) = run.course.at(evaluation) else { continue };
            let at = evaluation as f64;
            points.extend(points.last().map(|&[_, before]| [at, before]));
            points.push([at, energy]);
        }
        points.extend(points.last().map(|&[_, energy]| [run.summary.evaluations as f64, energy]));
        curves.push((if alone { place } else { group } % N_SERIES, points));
    }
    let ends = || curves.iter().filter_map(|(_, points)| points.last());
    let (shortest, longest) = ends().fold((f64::INFINITY, 0f64), |(a, b), [n, _]| (a.min(*n), b.max(*n)));
    let lowest = ends().map(|end| end[1]).reduce(f64::min)?;
    // The lowest energies after a twentieth of the runs' evaluations. Earlier ones can be arbitrarily high.
    let early = |points: &Vec<[f64; 2]>| {
        points.iter().rev().find(|[n, _]| *n <= (0.05 * longest).max(1.0)).map(|point| point[1])
    };
    let tops = sorted(curves.iter().filter_map(|(_, points)| early(points).or(Some(points.last()?[1]))));
    let span = (tops.last()? - lowest).max(1e-3);
    let x = if longest > 5.0 * shortest { Scale::logarithmic(1.0, longest) } else { Scale::linear(0.0, longest) };
    let name = |k: usize| format!("s{}", k % N_SERIES);
    let legend: Vec<(String, String)> = if !alone {
        field.groups.iter().enumerate().map(|(k, group)| (name(k), group.name.clone())).collect()
    } else if curves.len() <= N_SERIES {
        runs().enumerate().map(|(k, (_, run))| (name(k), run.name.clone())).collect()
    } else {
        Vec::new()
    };
    let lines = curves.into_iter().map(|(k, points)| Layer::Line { class: name(k), points, width: 1.6 });
    let chart = Chart {
        name: "runs".into(),
        label: "Lowest energy so far of every run against evaluations".into(),
        x: Axis::new(x, "evaluations"),
        y: Axis::new(Scale::linear(lowest - 0.05 * span, lowest + 1.1 * span), "lowest energy / eV"),
        layers: lines.collect(),
        legend,
    };
    Some(chart.draw())
}

fn runs_section(page: &mut Page, fields: &[Field]) {
    page.heading("Runs");
    let groups = || fields.iter().flat_map(|field| &field.groups);
    let mut rows: Vec<Vec<String>> =
        groups().flat_map(|group| group.runs.iter().map(|run| (&group.name, run))).map(row).collect();
    let mut heads = vec!["run", "seed", "state", "evaluations", "lowest / eV", "target at", "time"];
    page.add("<div class=\"card\">");
    // What all runs share needs no column.
    let mut shared = Vec::new();
    let device = |run: &Outline| run.summary.device.clone();
    let version = |run: &Outline| format!("godiff {}", run.summary.version);
    for (name, of) in [("device", &device as &dyn Fn(&Outline) -> String), ("version", &version)] {
        let cells: Vec<String> = groups().flat_map(|group| &group.runs).map(of).collect();
        if cells.windows(2).all(|pair| pair[0] == pair[1]) {
            shared.extend(cells.into_iter().next());
        } else {
            heads.push(name);
            rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
        }
    }
    page.table(&heads, &rows);
    if !shared.is_empty() {
        page.add(&format!("<p class=\"shared\">All runs: {}</p>", escape(&shared.join(", "))));
    }
    page.add("</div>");
}

fn row((group, run): (&String, &Outline)) -> Vec<String> {
    let Summary { seed, status, seconds, evaluations, best_energy_ev, target_first_evaluation, .. } = &run.summary;
    vec![
        if *group == run.name { run.name.clone() } else { format!("{group} / {}", run.name) },
        seed.to_string(),
        status_name(*status).0.to_owned(),
        count(*evaluations),
        energy(*best_energy_ev, 4),
        target_first_evaluation.map_or("–".into(), count),
        duration(*seconds),
    ]
}
