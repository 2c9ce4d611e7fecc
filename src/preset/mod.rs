//! A configuration for a task of which only the template, the free atoms and the potential are known.
//!
//! `godiff init` writes it, `godiff search` without a configuration uses it, and Python's `preset="auto"` lays its keywords over it.
//! The numbers that measured best are in `numbers.rs`; what depends on the task is chosen in `heights.rs` (where free atoms may be),
//! `lengths.rs` (distances of a potential without elements) and `energies.rs` (temperatures). `text.rs` writes them, each with its
//! reason.

mod energies;
mod heights;
mod lengths;
mod numbers;
#[cfg(test)]
mod tests;
mod text;

use crate::config::{Settings, in_sections};
use crate::error::Result;
use crate::potential::{self, PotentialSettings};
use crate::system::elements::parse_formula;
use crate::system::read_frame;
use crate::system::xyz::Frame;
use energies::Energies;
use heights::Heights;
use lengths::Lengths;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use toml::{Table, Value};

/// A chosen configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Preset {
    /// The configuration as a file, with a comment at every number.
    pub text: String,
}

/// How energies are computed while a configuration is chosen.
pub struct Means<'a> {
    /// May be set at any time.
    pub interrupted: &'a AtomicBool,
    /// Hears what the potential has to say meanwhile, and at the end how the configuration was chosen.
    pub tell: &'a dyn Fn(&str),
    /// Hands over a calculator that no configuration can name.
    pub give: &'a dyn Fn(&mut PotentialSettings),
}

/// What is chosen without an energy.
#[derive(Debug, Clone, PartialEq)]
struct Geometry {
    heights: Option<Heights>,
    mobile: Mobile,
    lengths: Option<Lengths>,
}

/// What the template's file says about the atoms that may move.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mobile {
    /// The task names them, or there is no template.
    NotAsked,
    /// The file does not tell atoms apart.
    None,
    /// The file fixes some atoms along some axes only.
    Partly,
    /// The file leaves this many atoms free.
    Constraints(usize),
}

/// The configuration for `task`: sections and keys as in a file or as keywords ([`Settings::of_keywords`]), at least the free atoms and
/// the potential. Paths are relative to `folder`. Some structures are placed and relaxed a few steps for it.
///
/// # Errors
/// `BadInput` for a task that cannot be searched, `Failed` if the atoms find no room, `Evaluator` if the potential has no energies for
/// them, `Interrupted`, and those of the potential.
pub fn choose(task: Table, folder: &Path, means: &Means) -> Result<Preset> {
    let task = in_sections(task, Table::new())?;
    let geometry = Geometry::of(&task, folder)?;
    let mut settings = laid_over(&task, &text::text(&task, &geometry, None), folder)?;
    (means.give)(&mut settings.sections.potential);
    let potential = potential::open(&settings.sections.potential, Some(&settings.system), "cpu")?;
    let energies = Energies::measure(&settings, &*potential, means)?;
    energies.notes().iter().for_each(|note| (means.tell)(note));
    Ok(Preset { text: text::text(&task, &geometry, Some(&energies)) })
}

/// The configuration of `task` as far as no energy is needed for it; its temperatures are no choice.
///
/// # Errors
/// `BadInput` for a task that cannot be searched.
pub fn outline(task: Table, folder: &Path) -> Result<Settings> {
    let task = in_sections(task, Table::new())?;
    let geometry = Geometry::of(&task, folder)?;
    laid_over(&task, &text::text(&task, &geometry, None), folder)
}

impl Preset {
    /// The configuration with the `keywords` of a task in place of its values, as [`Settings::of_keywords`].
    ///
    /// # Errors
    /// `BadInput` as there.
    pub fn with(&self, keywords: &Table, folder: &Path) -> Result<Settings> {
        laid_over(keywords, &self.text, folder)
    }
}

/// `keywords` in place of the values of the configuration `text`.
fn laid_over(keywords: &Table, text: &str, folder: &Path) -> Result<Settings> {
    let base: Table = text.parse().map_err(|cause: toml::de::Error| {
        crate::Error::Failed(format!("the chosen configuration cannot be read: {}", cause.message()))
    })?;
    Settings::of_keywords_over(keywords.clone(), base, folder)
}

impl Geometry {
    /// For `task` in sections.
    fn of(task: &Table, folder: &Path) -> Result<Self> {
        let system = task.get("system").and_then(Value::as_table);
        let key = |name: &str| system.and_then(|system| system.get(name));
        let frame = match key("template").and_then(Value::as_str) {
            Some(path) => Some(read_frame(&folder.join(path))?),
            None => None,
        };
        let free = parse_formula(key("free").and_then(Value::as_str).unwrap_or_default()).unwrap_or_default();
        let mobile = match &frame {
            Some(frame) if key("mobile").is_none() => Mobile::of(frame),
            _ => Mobile::NotAsked,
        };
        let moves = key("mobile").is_some() || matches!(mobile, Mobile::Constraints(_));
        let heights = frame.as_ref().filter(|_| key("confinement").is_none());
        Ok(Geometry {
            heights: heights.and_then(|frame| Heights::of(&frame.structure, &free, moves)),
            mobile,
            lengths: Lengths::of(task, &free),
        })
    }
}

impl Mobile {
    fn of(template: &Frame) -> Self {
        let n_free = template.structure.not_fixed().len();
        match template.partly_fixed() {
            Some(_) => Mobile::Partly,
            None if n_free == 0 || n_free == template.structure.n_atoms() => Mobile::None,
            None => Mobile::Constraints(n_free),
        }
    }
}
