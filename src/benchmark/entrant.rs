//! What takes part: a configuration, and the method that runs it.

use crate::archive::EVALUATIONS_AN_ITERATION;
use crate::baseline::Baseline;
use crate::config::{File, Settings};
use crate::error::{Error, Result};
use crate::run::{RunStatus, Summary};
use std::path::Path;

/// The method of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GO-Diff.
    Search,
    /// A method to compare with.
    Baseline(Baseline),
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 5] = [
        Method::Search,
        Method::Baseline(Baseline::RandomSearch),
        Method::Baseline(Baseline::BasinHopping),
        Method::Baseline(Baseline::Evolution),
        Method::Baseline(Baseline::Annealing),
    ];

    /// The name of its command.
    pub fn name(self) -> &'static str {
        match self {
            Method::Search => "search",
            Method::Baseline(baseline) => baseline.name(),
        }
    }

    /// The method that [`Method::name`] calls `name`.
    pub fn named(name: &str) -> Option<Self> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }

    /// The method of the run in a folder with these sections: a run's configuration keeps the sections of its own method only.
    pub fn of(sections: &File) -> Self {
        match sections {
            File { random_search: Some(_), .. } => Method::Baseline(Baseline::RandomSearch),
            File { basin_hopping: Some(_), .. } => Method::Baseline(Baseline::BasinHopping),
            File { evolution: Some(_), .. } => Method::Baseline(Baseline::Evolution),
            File { annealing: Some(_), .. } => Method::Baseline(Baseline::Annealing),
            _ => Method::Search,
        }
    }

    /// Number of evaluations in an iteration of a run's archive, where rows may be missing; `None` where all have one.
    pub(super) fn evaluations_an_iteration(self) -> Option<u64> {
        match self {
            Method::Search => None,
            Method::Baseline(_) => Some(EVALUATIONS_AN_ITERATION),
        }
    }

    /// Whether a run with these sections and this summary is finished: its budget or its time limit is used up. Without `to_the_end` a run ends when it finds the target.
    pub fn is_finished(self, sections: &File, summary: &Summary, to_the_end: bool) -> bool {
        let done = summary.status == RunStatus::Done;
        let is_over = |hours: f64| summary.status == RunStatus::TimeLimit && summary.seconds >= hours * 3600.0;
        if sections.search.hours.is_some_and(is_over) {
            return true;
        }
        match self {
            Method::Search => done || summary.status == RunStatus::TargetFound && !to_the_end,
            Method::Baseline(baseline) => {
                let found = summary.target_first_evaluation.is_some() && !to_the_end;
                done && (found || summary.evaluations >= baseline.budget(sections))
            }
        }
    }
}

/// A configuration and the method that runs it.
#[derive(Debug, Clone)]
pub struct Entrant {
    /// The configuration's name without its ending, and the method unless that is `search`: the name of the entrant's folder.
    pub name: String,
    /// Method.
    pub method: Method,
    /// Settings with the sections that the method reads.
    pub settings: Settings,
}

impl Entrant {
    /// Reads "CONFIG.toml" or "CONFIG.toml:METHOD".
    ///
    /// # Errors
    /// `BadInput` for an unknown method, and for the errors of [`Settings::load`].
    pub fn parse(text: &str) -> Result<Self> {
        let known = || Method::ALL.map(Method::name).join(", ");
        let (path, method) = match text.rsplit_once(':') {
            Some((path, name)) if !name.contains(['/', '\\', '.']) => {
                let unknown =
                    || Error::bad_input(format!("{text}: there is no method '{name}'; write one of {}", known()));
                (Path::new(path), Method::named(name).ok_or_else(unknown)?)
            }
            _ => (Path::new(text), Method::Search),
        };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = match method {
            Method::Search => stem.into_owned(),
            Method::Baseline(baseline) => format!("{stem}-{}", baseline.name()),
        };
        Entrant::load(name, method, path)
    }

    /// The configuration at `path`, run by `method` under the name `name`.
    ///
    /// # Errors
    /// Those of [`Entrant::parse`].
    pub fn load(name: String, method: Method, path: &Path) -> Result<Self> {
        let mut settings = Settings::load(path)?;
        match method {
            Method::Search => settings.sections.forget_baselines(),
            Method::Baseline(baseline) => {
                baseline.resolve(&mut settings.sections).map_err(|cause| cause.in_file(path))?;
            }
        }
        Ok(Entrant { name, method, settings })
    }

    /// [`Entrant::parse`] for a benchmark, which refuses a configuration without `[target]`.
    ///
    /// # Errors
    /// Those of [`Entrant::parse`], and `BadInput` without `[target]`.
    pub fn parse_with_target(text: &str) -> Result<Self> {
        let entrant = Entrant::parse(text)?;
        match entrant.settings.target {
            Some(_) => Ok(entrant),
            None => Err(Error::bad_input(format!(
                "{text}: a benchmark needs a [target]: without one no run can succeed; godiff search --seeds compares seeds \
                 without one"
            ))),
        }
    }

    /// As [`Method::is_finished`].
    pub(super) fn is_finished(&self, summary: &Summary, to_the_end: bool) -> bool {
        self.method.is_finished(&self.settings.sections, summary, to_the_end)
    }
}
