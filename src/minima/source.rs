//! Where the structures come from: archives, and the choice of rows that count.

use super::{Occurrence, Tolerances};
use crate::archive::{EVALUATIONS_AN_ITERATION, Reader, Status};
use crate::config::depth::too_deep;
use crate::config::{AnnealingSettings, RelaxationSection};
use crate::error::{Error, Result};
use crate::potential::relax::RelaxSettings;
use crate::run::RunDirectory;
use crate::system::Structure;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The archive of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Its `archive.db`.
    pub archive: PathBuf,
    /// If given, a structure counts only if no force on a free atom is larger, eV/Å: these are the ends of relaxations, not the
    /// steps before.
    pub fmax_ev_per_angstrom: Option<f64>,
}

/// The sections of a run's configuration that show whether it relaxes.
#[derive(Deserialize)]
struct Sections {
    random_search: Option<toml::Table>,
    basin_hopping: Option<toml::Table>,
    evolution: Option<toml::Table>,
    annealing: Option<AnnealingSettings>,
    relaxation: Option<RelaxationSection>,
}

impl Source {
    /// The archive of the run in the folder `path`, or the archive `path`. Baselines relax, so only the ends of their relaxations
    /// count; of a search every sample counts. An archive without its run's `config.toml` next to it is treated like a search's.
    pub fn of(path: &Path) -> Source {
        let archive = if path.is_dir() { RunDirectory::archive_of(path) } else { path.to_owned() };
        let config = archive.with_file_name("config.toml");
        let text = std::fs::read_to_string(config).ok().filter(|text| too_deep(text).is_none());
        let sections: Option<Sections> = text.and_then(|text| toml::from_str(&text).ok());
        let limit = sections.and_then(|sections| {
            let Sections { random_search, basin_hopping, evolution, annealing, relaxation } = sections;
            let relaxes = random_search.or(basin_hopping).or(evolution).is_some()
                || annealing.is_some_and(|annealing| annealing.relax_lowest);
            relaxes.then(|| relaxation.unwrap_or_default().fmax_ev_per_angstrom)
        });
        Source { archive, fmax_ev_per_angstrom: limit }
    }

    /// Whether all structures that count are relaxed.
    pub fn is_relaxed(&self) -> bool {
        self.fmax_ev_per_angstrom.is_some()
    }

    /// The tolerances that separate its structures.
    pub fn tolerances(&self) -> Tolerances {
        if self.is_relaxed() { Tolerances::RELAXED } else { Tolerances::SAMPLES }
    }

    /// The structures of this source that count. The source is number `run`, opened as `reader`.
    pub(super) fn candidates(&self, run: usize, reader: &Reader) -> Result<Vec<Counted>> {
        let small = self.fmax_ev_per_angstrom.unwrap_or(RelaxSettings::default().fmax_ev_per_angstrom);
        let mut candidates = Vec::new();
        for (evaluation, row) in reader.evaluations(self.is_relaxed().then_some(EVALUATIONS_AN_ITERATION))? {
            let relaxed = row.fmax.is_some_and(|fmax| fmax <= small);
            let (Status::Ok, Some(energy_ev)) = (row.status, row.energy) else { continue };
            if relaxed || !self.is_relaxed() {
                let at = Occurrence { evaluation, run, iteration: row.iteration, index: row.index };
                candidates.push(Counted { at, energy_ev, relaxed });
            }
        }
        Ok(candidates)
    }
}

/// A structure that counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub at: Occurrence,
    pub energy_ev: f64,
    pub relaxed: bool,
}

impl Counted {
    /// Its atoms, from the reader of its run.
    pub fn structure(&self, readers: &[Reader]) -> Result<Structure> {
        let reader = &readers[self.at.run];
        let stored = reader.get(self.at.iteration, self.at.index)?;
        let lost = || Error::storage(reader.path(), "lost a row while it was read; try again");
        stored.map(|stored| stored.structure).ok_or_else(lost)
    }
}
