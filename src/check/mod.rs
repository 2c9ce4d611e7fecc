//! A look at a task before a search spends its evaluations: what the system is, and what looks wrong.
//!
//! A warning never stops a search: what is unusual may be meant. Tasks that cannot be searched are refused when the configuration
//! is read.

mod heights;
mod template;
#[cfg(test)]
mod tests;
mod timing;

pub use timing::{Timing, readable, time_one_energy};

use crate::config::Settings;
use crate::run::{Judge, Rejection};
use crate::system::elements::{covalent_radius, formula};
use crate::system::{Confinement, System};
use serde::Serialize;

/// A task in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    /// Formula of the free atoms.
    pub free: String,
    /// Formula of the template's atoms, by element; empty without template.
    pub template: String,
    /// Number of free atoms.
    pub n_free_atoms: usize,
    /// Number of the template's atoms.
    pub n_template_atoms: usize,
    /// How many of them may move.
    pub n_mobile_atoms: usize,
    /// Lattice vectors as rows, Å.
    pub cell_angstrom: [[f64; 3]; 3],
    /// Which of them repeat.
    pub periodic: [bool; 3],
    /// Lowest and highest place of free atoms under a confinement, Å.
    pub heights_angstrom: Option<[f64; 2]>,
    /// The same, counted from the template's highest atom, Å.
    pub heights_above_template_angstrom: Option<[f64; 2]>,
    /// Empty height along c between the template and its next image, Å; none without c or template.
    pub vacuum_angstrom: Option<f64>,
    /// Structures of the user's own that a search begins with.
    pub n_own_structures: usize,
    /// Largest number of evaluations.
    pub most_evaluations: u64,
}

impl Facts {
    /// Of a search with these settings.
    pub fn of(settings: &Settings) -> Self {
        let n_mobile_atoms = settings.system.n_mobile();
        let system = &as_given(settings);
        let mut template = system.template_numbers.clone();
        template.sort_unstable();
        let extent = heights::Extent::of(system);
        let above = |Confinement { z_lo, z_hi }| Some([z_lo - extent?.top, z_hi - extent?.top]);
        let search = &settings.sections.search;
        let adaptive = settings.sections.adaptive.unwrap_or_default();
        let one = adaptive.most_samples.unwrap_or(search.samples_per_iteration) as u64;
        let first = adaptive.first_iteration_samples.unwrap_or(search.samples_per_iteration) as u64;
        let n_samples = first + (search.iterations as u64 - 1) * one;
        Facts {
            free: system.free_formula(),
            template: formula(&template),
            n_free_atoms: system.n_free(),
            n_template_atoms: system.n_template(),
            n_mobile_atoms,
            cell_angstrom: system.cell.vectors,
            periodic: system.cell.periodic,
            heights_angstrom: system.confinement.map(|Confinement { z_lo, z_hi }| [z_lo, z_hi]),
            heights_above_template_angstrom: system.confinement.and_then(above),
            vacuum_angstrom: extent.and_then(|extent| extent.vacuum()),
            n_own_structures: settings.seeds.len(),
            most_evaluations: n_samples + settings.seeds.len() as u64,
        }
    }

    /// "Au3 on Cu32", "Pt7 as a free cluster".
    pub fn system(&self) -> String {
        match (self.n_template_atoms, self.cell_angstrom == [[0.0; 3]; 3]) {
            (0, true) => format!("{} as a free cluster", self.free),
            (0, false) => format!("{} in a cell", self.free),
            _ if self.n_mobile_atoms > 0 => {
                format!("{} on {} with {} mobile atoms", self.free, self.template, self.n_mobile_atoms)
            }
            _ => format!("{} on {}", self.free, self.template),
        }
    }

    /// The lattice vectors and the axes that repeat.
    pub fn cell(&self) -> String {
        let lengths: Vec<String> =
            self.cell_angstrom.iter().map(|v| format!("{:.2}", crate::system::vector::norm(*v))).collect();
        let axes: Vec<&str> = (0..3).filter(|&k| self.periodic[k]).map(|k| AXES[k]).collect();
        match (self.cell_angstrom == [[0.0; 3]; 3], &axes[..]) {
            (true, _) => "no cell".into(),
            (false, []) => format!("{} Å, repeats nowhere", lengths.join(" × ")),
            (false, axes) => format!("{} Å, repeats along {}", lengths.join(" × "), listed(axes)),
        }
    }

    /// The heights of free atoms, if they are confined.
    pub fn heights(&self) -> Option<String> {
        let [lo, hi] = self.heights_angstrom?;
        let above = self
            .heights_above_template_angstrom
            .map_or(String::new(), |[lo, hi]| format!(", {lo:.2} to {hi:.2} Å above the template's highest atom"));
        Some(format!("{lo:.2} to {hi:.2} Å{above}"))
    }
}

/// What looks wrong in a task: a sentence each, with a remedy.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let system = &as_given(settings);
    let mut warnings = Vec::new();
    warnings.extend(template::too_close(system));
    warnings.extend(template::does_not_repeat(system));
    warnings.extend(template::small_cell(system));
    warnings.extend(heights::warnings(system));
    warnings.extend(template::unused(&settings.template_extras));
    warnings.extend(settings.sections.potential.doubt(&system.numbers()));
    warnings
}

/// The system with the whole template as its file has it, mobile atoms at their places.
fn as_given(settings: &Settings) -> System {
    settings.system.holding_mobile(&settings.system.mobile.homes)
}

/// Own structures that the search will reject, a sentence each. The search says so itself when it comes to them.
pub fn rejected_seeds(settings: &Settings) -> Vec<String> {
    let judge = Judge::new(settings);
    let numbered = (1..).zip(&settings.seeds).filter_map(|(number, free)| Some((number, judge.rejects(free)?)));
    let sentence = |(number, rejection): (usize, Rejection)| {
        format!("own structure {number} will not be evaluated: {}", rejection.describe())
    };
    numbered.map(sentence).collect()
}

/// What a user reads when a run of at most `most_evaluations` starts: the system in a line, and each warning.
pub fn short(settings: &Settings, most_evaluations: u64) -> Vec<String> {
    let facts = Facts::of(settings);
    let heights =
        facts.heights_angstrom.map_or(String::new(), |[lo, hi]| format!("; free atoms at {lo:.2} to {hi:.2} Å"));
    let system = format!("{} ({}){heights}; at most {most_evaluations} evaluations", facts.system(), facts.cell());
    let warnings = warnings(settings).into_iter().map(|warning| format!("warning: {warning}"));
    [system].into_iter().chain(warnings).collect()
}

const AXES: [&str; 3] = ["a", "b", "c"];

/// "a", "a and b", "a, b and c".
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// The longest bond that a free atom can form: the largest sum of the covalent radii of a free atom and any atom, Å.
fn longest_bond(system: &System) -> f64 {
    let largest = |numbers: &[u8]| numbers.iter().map(|&number| covalent_radius(number)).fold(0.0, f64::max);
    let free = largest(&system.free_numbers);
    free + free.max(largest(&system.template_numbers))
}
