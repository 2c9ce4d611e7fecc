//! How the configuration that a run is asked for differs from the one that it has.

use super::{CONFIG, RunDirectory, Segment};
use crate::config::depth::{TOO_DEEP, too_deep};
use crate::error::{Error, Result};
use crate::run::summary::Summary;
use crate::version::VERSION;
use std::fs;
use std::path::Path;
use toml::{Table, Value};

/// Keys with which a run is extended, as long as both configurations have them.
const EXTENDING: [&str; 7] = [
    "search.iterations",
    "search.samples_per_iteration",
    "search.kt_final_ev",
    "random_search.evaluations",
    "basin_hopping.evaluations",
    "evolution.evaluations",
    "annealing.evaluations",
];
/// The key of the time limit, which may also be new.
pub const HOURS: &str = "search.hours";
/// Sections of the baselines: a run that has one is not planned by `[search]`.
const BASELINES: [&str; 4] = ["random_search", "basin_hopping", "evolution", "annealing"];
/// Sections that are about a model. Baselines have none.
const OF_MODELS: [&str; 7] = ["model", "diffusion", "training", "engine", "guidance", "proposals", "transfer"];
/// Keys of `[search]` that baselines use.
const OF_BASELINES: [&str; 5] = ["seed", "hours", "min_distance_angstrom", "energy_floor_ev", "energy_ceiling_ev"];

/// A key with two different values.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// `section.key`.
    pub key: String,
    /// Its value in the run; `None` without the key.
    pub started: Option<Value>,
    /// Its value now.
    pub present: Option<Value>,
    /// Whether it may extend a run.
    pub extends: bool,
}

impl Difference {
    /// For people: "search.iterations is 50, before 30".
    pub fn describe(&self) -> String {
        let Difference { key, started, present, .. } = self;
        let value = |value: &Option<Value>| value.as_ref().map_or("not set".to_owned(), Value::to_string);
        format!("{key} is {}, before {}", value(present), value(started))
    }
}

/// All keys with two different values.
pub struct Differences;

impl Differences {
    /// The configuration of the run in `folder`, as text.
    ///
    /// # Errors
    /// `BadInput` if it cannot be read.
    pub fn started_of(folder: &Path, segments: &[Segment]) -> Result<String> {
        if let Some(last) = segments.last() {
            return Ok(last.config.clone());
        }
        let path = folder.join(CONFIG);
        fs::read_to_string(&path).map_err(|error| Error::bad_file(&path, format!("cannot be read ({error})")))
    }

    /// The keys, in alphabetical order, in which `present` differs from `started`, the configuration of the run in `folder`, as far
    /// as the run's method uses them.
    ///
    /// # Errors
    /// `BadInput` if the run's configuration is damaged.
    pub fn between(folder: &Path, started: &str, present: &str) -> Result<Vec<Difference>> {
        let path = folder.join(CONFIG);
        let damaged = |why: &str| {
            Error::bad_file(&path, format!("is damaged ({why}); put it back or start a new run without --resume"))
        };
        let parse = |text: &str| match too_deep(text) {
            Some(_) => Err(damaged(TOO_DEEP)),
            None => text.parse::<Table>().map_err(|error| damaged(error.message())),
        };
        let (started, present) = (parse(started)?, parse(present)?);
        let of_search = !BASELINES.iter().any(|section| started.contains_key(*section));
        let has_target = present.contains_key("target");
        let extends = |key: &str, before: Option<&Value>, now: Option<&Value>| match (before, now) {
            _ if key.starts_with("target.") => has_target,
            (_, Some(_)) if key == HOURS => true,
            (Some(_), Some(_)) => EXTENDING.contains(&key) && (of_search || !key.starts_with("search.")),
            _ => false,
        };
        let mut found = Vec::new();
        collect("", &started, &present, &mut |key, before, now| {
            if !of_search && !baselines_use(&key) {
                return;
            }
            let extends = extends(&key, before, now);
            found.push(Difference { key, started: before.cloned(), present: now.cloned(), extends });
        });
        Ok(found)
    }
}

/// Whether what a baseline does depends on `key`, "section.key".
fn baselines_use(key: &str) -> bool {
    match key.split_once('.') {
        Some(("search", name)) => OF_BASELINES.contains(&name),
        Some((section, _)) => !OF_MODELS.contains(&section),
        None => !OF_MODELS.contains(&key),
    }
}

/// The error of a run in `folder` that cannot be resumed with another value.
pub fn refused(folder: &Path, difference: &Difference) -> Error {
    let Difference { key, started, present, .. } = difference;
    let started = started.as_ref().map_or_else(|| format!("without {key}"), |value| format!("with {key} = {value}"));
    let present = present.as_ref().map_or_else(|| "it is not set".to_owned(), |value| format!("it is {value}"));
    let what_to_do = match RunDirectory::summary_of(folder) {
        Some(Summary { version, .. }) if version != VERSION => format!(
            "it was started by godiff {version} and this is godiff {VERSION}, which may know other keys and defaults: finish \
             it with that version, or start a new run without --resume"
        ),
        _ => "a changed configuration needs a new run without --resume".to_owned(),
    };
    Error::bad_file(folder, format!("this run was started {started} and now {present}; {what_to_do}"))
}

/// Takes a key with its values before and now.
type Found<'a> = dyn FnMut(String, Option<&Value>, Option<&Value>) + 'a;

/// Hands every key with two different values to `found`. `above` is empty or ends in a dot.
fn collect(above: &str, old: &Table, new: &Table, found: &mut Found) {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let empty = Table::new();
    for key in keys {
        let path = format!("{above}{key}");
        let (a, b) = (old.get(key), new.get(key));
        let inner = match (a, b) {
            (Some(Value::Table(a)), Some(Value::Table(b))) => Some((a, b)),
            (Some(Value::Table(a)), None) if !a.is_empty() => Some((a, &empty)),
            (None, Some(Value::Table(b))) if !b.is_empty() => Some((&empty, b)),
            _ => None,
        };
        match inner {
            Some((a, b)) => collect(&format!("{path}."), a, b, found),
            None if a == b => {}
            None => found(path, a, b),
        }
    }
}
