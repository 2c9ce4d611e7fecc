//! The chosen configuration as a file: every number with its reason.

use super::energies::Energies;
use super::heights::Heights;
use super::lengths::Lengths;
use super::numbers::{
    CHEAP_SECONDS, ENERGY_WEIGHT, HOPPING_SHARE, HOPS, KT_RATIO, KT_SHARE, LEAST_KT, PLACED_STEPS, Recipe, SCREEN,
    SCREENING, iterations,
};
use super::{Geometry, Mobile};
use crate::system::elements::parse_formula;
use toml::{Table, Value};

/// Column of the comments.
const COLUMN: usize = 50;

/// The keys of the task that the file repeats, in this order: sections, and of `[search]` the seed.
const GIVEN: [&str; 2] = ["system", "potential"];

/// Lines of a configuration.
#[derive(Default)]
struct Page(String);

impl Page {
    fn remark(&mut self, text: &str) {
        self.0 += &format!("# {text}\n");
    }

    fn section(&mut self, name: &str, why: &str) {
        self.0.push('\n');
        self.line(format!("[{name}]"), why);
    }

    fn key(&mut self, key: &str, value: impl std::fmt::Display, why: &str) {
        self.line(format!("{key} = {value}"), why);
    }

    fn line(&mut self, line: String, why: &str) {
        let gap = COLUMN.saturating_sub(line.chars().count()).max(1);
        let why = if why.is_empty() { String::new() } else { format!("{:gap$}# {why}", "") };
        self.0 += &format!("{line}{why}\n");
    }
}

/// The configuration of `task` (in sections). Without `energies` its temperatures are those of seven Pt atoms.
pub fn text(task: &Table, geometry: &Geometry, energies: Option<&Energies>) -> String {
    let mut page = Page::default();
    page.remark("Written by godiff init. Units: Å, eV, eV/Å; temperatures are kT in eV. docs/configuration.md describes every key.");
    page.remark(
        "Search with hops on learned forces (godiff search FILE), or with basin hopping (godiff basin-hopping FILE).",
    );
    given(&mut page, task, geometry);
    let free = task.get("system").and_then(|system| system.get("free")).and_then(Value::as_str).unwrap_or_default();
    let n_free = parse_formula(free).map_or(1, |numbers| numbers.len());
    model(&mut page, &HOPS, geometry.lengths);
    let seed = task.get("search").and_then(|search| search.get("seed")).cloned();
    search(&mut page, &HOPS, n_free, seed, energies);
    if let Some(lengths) = geometry.lengths {
        let distance = format!("{:.2}", lengths.min_distance());
        page.key("min_distance_angstrom", distance, "0.6 bonds of the potential, which knows no covalent radii");
    }
    let dear = energies.filter(|energies| energies.are_dear() && geometry.heights.is_some());
    training(&mut page, &HOPS, geometry.lengths, dear);
    baseline(&mut page, geometry.lengths, energies);
    page.0
}

/// What the task says, with the choices that belong to the same sections.
fn given(page: &mut Page, task: &Table, geometry: &Geometry) {
    for name in GIVEN {
        page.section(name, "");
        for (key, value) in task.get(name).and_then(Value::as_table).into_iter().flatten() {
            page.key(key, value, meaning(name, key));
        }
        if name == "system" {
            system(page, geometry);
        }
    }
}

/// What a key of the task is.
fn meaning(section: &str, key: &str) -> &'static str {
    match (section, key) {
        ("system", "template") => "the given atoms",
        ("system", "free") => "the free atoms, whose places are sought",
        ("potential", "kind") => "the source of energies and forces: godiff --potential",
        _ => "",
    }
}

fn system(page: &mut Page, geometry: &Geometry) {
    if let Some(Heights { from, to, n_layers, rest, moves }) = geometry.heights {
        let begin = match moves {
            true => "a free atom may take the place of a mobile one".to_owned(),
            false => format!("an atom rests {rest:.2} Å above the top where that is lowest"),
        };
        let layers = if n_layers > 1 { format!("{n_layers} layers") } else { "one layer".into() };
        page.remark(&format!(
            "Heights above the highest atom of the template: {begin}; room for {layers} of free atoms."
        ));
        page.key("confinement", format!("{{ above_template_angstrom = [{from:.1}, {to:.1}] }}"), "");
    }
    match geometry.mobile {
        Mobile::NotAsked => {}
        Mobile::None => page.remark("No atom of the template moves: its file does not fix some and leave others free."),
        Mobile::Partly => page.remark("No atom of the template moves: its file fixes some along some axes only."),
        Mobile::Constraints(n) => {
            let why = format!("the {n} atoms that the template's file leaves free");
            page.key("mobile", "{ constraints = true }", &why);
        }
    }
}

fn model(page: &mut Page, recipe: &Recipe, lengths: Option<Lengths>) {
    page.section("model", "");
    page.key("features", recipe.features, &format!("small, so that training is quick: {}", recipe.source));
    page.key("blocks", recipe.blocks, "as there");
    if let Some(lengths) = lengths {
        page.key("cutoff_angstrom", format!("{:.2}", lengths.cutoff()), "2.1 bonds of the potential");
    }
}

fn search(page: &mut Page, recipe: &Recipe, n_free: usize, seed: Option<Value>, energies: Option<&Energies>) {
    let n_iterations = iterations(n_free);
    page.section("search", "");
    if let Some(seed) = seed {
        page.key("seed", seed, "of everything random, also of the structures that chose kT");
    }
    let evaluations = n_iterations * recipe.samples;
    page.key("iterations", n_iterations, &format!("by the number of free atoms: {evaluations} evaluations in all"));
    page.key("samples_per_iteration", recipe.samples, "few at a time: each iteration teaches the next");
    page.key("first_samples", "\"placed\"", "no score is learned, so the first samples are random");
    page.key("buffer", recipe.buffer, "the structures of two iterations");
    let [first, last] = energies.map_or([0.5, 0.02], |energies| energies.kt);
    let why = energies.map_or(String::new(), |Energies { n_structures, spread, n_evaluations, .. }| {
        format!(
            "{KT_SHARE} × the spread, {spread:.3} eV, of {n_structures} placed structures after {PLACED_STEPS} steps ({n_evaluations} \
             evaluations); at least {LEAST_KT}"
        )
    });
    page.key("kt_initial_ev", first, &why);
    page.key("kt_final_ev", last, &format!("kt_initial_ev / {KT_RATIO}"));
}

/// `dear`: energies of a surface that take so long that candidates for every sample pay.
fn training(page: &mut Page, recipe: &Recipe, lengths: Option<Lengths>, dear: Option<&Energies>) {
    page.section("training", &format!("the setting that measured best: {}", recipe.source));
    page.key("steps_per_iteration", recipe.training_steps, "more took no fewer evaluations there");
    page.key("score", "false", "the forces alone are learned");
    page.key("batch", recipe.batch, "half of the buffer");
    page.key("learning_rate", recipe.learning_rate, "as there");
    page.key("final_learning_rate", recipe.learning_rate, "constant: the next iteration goes on from here");
    page.section("guidance", "the model learns forces; all other keys have their defaults");
    if let Some(energies) = dear {
        let why = format!("it learns energies too: one took {}, and {SCREENING} says what that saves", energies.time());
        page.key("energy_weight", ENERGY_WEIGHT, &why);
    }
    page.section("proposals", "");
    page.key("relax_steps", recipe.relax_steps, "steps of a sample on the learned forces, before it is evaluated");
    page.key("hop_share", "1.0", "all samples but the first start from low known structures");
    page.key("hop_parents", "\"basins\"", "different ones, however low kT is");
    page.key("hop_moves", "\"learned\"", "kinds of hops share the samples by what has paid");
    if dear.is_some() {
        page.key("screen", SCREEN, "candidates for every sample; those that the model finds lowest are evaluated");
    }
    if let Some(lengths) = lengths {
        page.key("hop_angstrom", format!("{:.2}", lengths.hop()), "half a bond of the potential");
        placement(page, lengths);
    }
}

fn placement(page: &mut Page, lengths: Lengths) {
    let [shortest, longest] = lengths.placement();
    let why = format!("the bond of the potential is {:.2} sums of the covalent radii", lengths.in_radii);
    page.section("placement", &why);
    page.key("shortest_bond", format!("{shortest:.2}"), "0.77 bonds");
    page.key("longest_bond", format!("{longest:.2}"), "1.05 bonds");
}

fn baseline(page: &mut Page, lengths: Option<Lengths>, energies: Option<&Energies>) {
    page.0.push('\n');
    if let Some(energies) = energies {
        let [lo, hi] = CHEAP_SECONDS.map(|seconds| 1e3 * seconds);
        let time = energies.time();
        page.remark(&format!(
            "One energy took {time} here. Below about {lo} to {hi} ms on two cores basin hopping is quicker:"
        ));
        page.remark("  godiff basin-hopping FILE");
    }
    page.remark("The sections below are for it and for the other methods of comparison.");
    page.section("relaxation", "");
    page.key("record", "\"minima\"", "the archive keeps the ends of relaxations: all steps would take gigabytes");
    page.section("basin_hopping", "");
    page.key("evaluations", 10000, "the default");
    let kt = energies.map_or(0.15, |energies| energies.hopping_kt);
    page.key("kt_ev", kt, &format!("{HOPPING_SHARE} × kt_initial_ev"));
    if let Some(lengths) = lengths {
        page.key("step_angstrom", format!("{:.2}", lengths.hop()), "half a bond of the potential");
    }
}
