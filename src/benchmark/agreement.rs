//! Seeds of one configuration without a known answer: what each of them found, and how many agree on the lowest minimum.
//!
//! Every seed's lowest distinct structures are relaxed on the run's own potential ([`Relaxed`]). Minima of different seeds are
//! equal by the project's [`Comparison`](crate::minima::Comparison), within [`Tolerances::RELAXED`]. A seed agrees if one of its
//! minima is the lowest of all seeds.

use super::relaxed::Relaxed;
use super::{Method, Outcome};
use crate::columns::aligned;
use crate::config::Settings;
use crate::disk::write_atomic;
use crate::error::{Error, Result};
use crate::minima::{Minimum, Tolerances, merged};
use crate::run::{RunDirectory, RunStatus};
use crate::system::xyz::{Frame, format_frames};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What one seed found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeedResult {
    /// Its run, which is relaxed only when it is finished.
    #[serde(flatten)]
    pub run: Outcome,
    /// The state of the run.
    pub status: RunStatus,
    /// Energy of the seed's lowest minimum, eV; null before its structures are relaxed.
    pub lowest_minimum_ev: Option<f64>,
    /// Whether the forces of that minimum are small.
    pub converged: bool,
    /// Whether a minimum of the seed is the lowest of all seeds.
    pub agrees: bool,
    /// Evaluations of the relaxations, which `evaluations` leaves out.
    pub relaxation_evaluations: Option<u64>,
}

/// A minimum that at least one seed found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SharedMinimum {
    /// eV.
    pub energy_ev: f64,
    /// The seeds that found it.
    pub seeds: Vec<u64>,
    /// How many samples of all seeds are equal to it or relaxed to it.
    pub count: usize,
    /// Whether its forces are small.
    pub relaxed: bool,
    /// Symbol of the symmetry of all atoms; null for clusters and wires.
    pub symmetry: Option<String>,
}

/// The seeds of one configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Agreement {
    /// Name of the configuration, with the method unless that is `search`; empty if there is one alone.
    pub name: String,
    /// By seed; runs that were never started are left out.
    pub seeds: Vec<SeedResult>,
    /// Seeds whose runs are finished and relaxed.
    pub n_relaxed: usize,
    /// How many of them agree on the lowest minimum.
    pub n_agree: usize,
    /// The lowest minimum, eV.
    pub lowest_minimum_ev: Option<f64>,
    /// Evaluations of all runs.
    pub evaluations: u64,
    /// Evaluations of all relaxations.
    pub relaxation_evaluations: u64,
    /// The distinct minima of all seeds, by energy.
    pub minima: Vec<SharedMinimum>,
    /// Whether the configuration has a target.
    #[serde(skip)]
    has_target: bool,
    #[serde(skip)]
    frames: Vec<Frame>,
}

/// Heads of the table's columns.
pub const SEED_HEADS: [&str; 7] =
    ["seed", "status", "evaluations", "best sample / eV", "lowest minimum / eV", "agrees", "relaxation evaluations"];

/// The same on a screen.
const SCREEN_SEED_HEADS: [[&str; 2]; 7] = [
    ["", "seed"],
    ["", "status"],
    ["", "evaluations"],
    ["best", "sample/eV"],
    ["lowest", "minimum/eV"],
    ["", "agrees"],
    ["evaluations", "to relax"],
];

impl Agreement {
    /// What the runs of `settings` in the folders `runs`, by their seeds, have found so far.
    ///
    /// # Errors
    /// `BadInput` if the relaxed structures of a run cannot be read.
    pub fn of(name: &str, settings: &Settings, runs: &[(u64, PathBuf)]) -> Result<Self> {
        let method = Method::of(&settings.sections);
        let (mut seeds, mut all, mut own) = (Vec::new(), Vec::new(), Vec::new());
        for (seed, folder) in runs {
            let Some(summary) = RunDirectory::summary_of(folder) else { continue };
            let mut sections = settings.sections.clone();
            sections.search.hours = sections.search.hours.or_else(|| Settings::hours_of_run(folder));
            let finished = method.is_finished(&sections, &summary, true);
            let relaxed = Relaxed::read(folder, &summary).filter(|_| finished);
            let minima = if relaxed.is_some() { Relaxed::minima(folder, seeds.len())? } else { Vec::new() };
            seeds.push(SeedResult {
                run: Outcome { seed: *seed, ..Outcome::new(&summary, finished) },
                status: summary.status,
                lowest_minimum_ev: minima.first().map(|minimum| minimum.energy_ev),
                converged: minima.first().is_some_and(|minimum| minimum.relaxed),
                agrees: false,
                relaxation_evaluations: relaxed.map(|relaxed| relaxed.evaluations),
            });
            own.push(*seed);
            all.extend(minima);
        }
        let minima = merged(all, Tolerances::RELAXED);
        for &place in minima.first().iter().flat_map(|lowest| &lowest.runs) {
            seeds[place].agrees = true;
        }
        Ok(Agreement::new(name, settings.target.is_some(), seeds, minima, &own))
    }

    /// `seed_of` has the seed of each run by the place that `minima` name.
    fn new(name: &str, has_target: bool, seeds: Vec<SeedResult>, minima: Vec<Minimum>, seed_of: &[u64]) -> Self {
        let named = |minimum: &Minimum| -> Vec<u64> { minimum.runs.iter().map(|&place| seed_of[place]).collect() };
        let frame = |minimum: &Minimum| {
            let list: Vec<String> = named(minimum).iter().map(u64::to_string).collect();
            minimum.frame(seed_of.len()).with_info("seeds", list.join(",").as_str())
        };
        let shared = |minimum: &Minimum| SharedMinimum {
            energy_ev: minimum.energy_ev,
            seeds: named(minimum),
            count: minimum.count,
            relaxed: minimum.relaxed,
            symmetry: minimum.symmetry.as_ref().map(|symmetry| symmetry.symbol.clone()),
        };
        Agreement {
            name: name.to_owned(),
            n_relaxed: seeds.iter().filter(|seed| seed.relaxation_evaluations.is_some()).count(),
            n_agree: seeds.iter().filter(|seed| seed.agrees).count(),
            lowest_minimum_ev: minima.first().map(|minimum| minimum.energy_ev),
            evaluations: seeds.iter().map(|seed| seed.run.evaluations).sum(),
            relaxation_evaluations: seeds.iter().filter_map(|seed| seed.relaxation_evaluations).sum(),
            frames: minima.iter().map(frame).collect(),
            minima: minima.iter().map(shared).collect(),
            has_target,
            seeds,
        }
    }

    /// The cells of the table, in the order of [`SEED_HEADS`], a row for each seed.
    pub fn rows(&self) -> Vec<[String; 7]> {
        let ev = |energy: Option<f64>| energy.map_or("-".to_owned(), |energy| format!("{energy:.4}"));
        let row = |seed: &SeedResult| {
            let status = match (seed.status, seed.run.finished) {
                (RunStatus::Failed, _) => "failed",
                (RunStatus::TimeLimit, true) => "time limit",
                (_, true) => "finished",
                (_, false) => "unfinished",
            };
            let mark = if seed.lowest_minimum_ev.is_some() && !seed.converged { " (not converged)" } else { "" };
            [
                seed.run.seed.to_string(),
                status.to_owned(),
                seed.run.evaluations.to_string(),
                ev(seed.run.best_energy_ev),
                ev(seed.lowest_minimum_ev) + mark,
                if seed.agrees { "yes" } else { "-" }.to_owned(),
                seed.relaxation_evaluations.map_or("-".to_owned(), |n| n.to_string()),
            ]
        };
        self.seeds.iter().map(row).collect()
    }

    /// The result in a sentence, without its end.
    pub fn conclusion(&self) -> String {
        let Agreement { n_agree, n_relaxed, evaluations, relaxation_evaluations, .. } = self;
        let costs = format!("{evaluations} evaluations in the runs, {relaxation_evaluations} in relaxations");
        let found = match self.lowest_minimum_ev {
            Some(energy) => format!("{n_agree} of {n_relaxed} seeds agree on the lowest minimum, {energy:.4} eV"),
            None if *n_relaxed == 0 => "no minimum is known yet".to_owned(),
            None => "no seed has found a structure that counts".to_owned(),
        };
        let targets = self.seeds.iter().filter(|seed| seed.run.target_first_evaluation.is_some()).count();
        let target = if self.has_target { format!("; {targets} found the target") } else { String::new() };
        let open = match self.seeds.len() - n_relaxed {
            0 => String::new(),
            1 => "; 1 run is not finished and relaxed".to_owned(),
            n => format!("; {n} runs are not finished and relaxed"),
        };
        format!("{found}{target}{open}; {costs}")
    }

    /// The table in columns of equal width, and the conclusion.
    pub fn text(&self) -> String {
        let title = if self.name.is_empty() { String::new() } else { format!("{}\n", self.name) };
        format!("{title}{}\n{}", aligned(&SCREEN_SEED_HEADS, self.rows().into_iter()), self.conclusion())
    }

    /// Writes `seeds.json` and, if there are any, the minima as `minima.xyz` into `folder`.
    ///
    /// # Errors
    /// `Storage`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self).map_err(|cause| Error::Failed(cause.to_string()))?;
        write_atomic(&folder.join("seeds.json"), format!("{json}\n").as_bytes())?;
        match self.frames.is_empty() {
            true => Ok(()),
            false => write_atomic(&folder.join("minima.xyz"), format_frames(&self.frames).as_bytes()),
        }
    }
}
