//! `godiff check`: a look at a configuration before a search.

use super::common::{Compute, print, watch_interrupts};
use clap::Args;
use godiff::check::{Facts, Timing, rejected_seeds, time_one_energy, warnings};
use godiff::config::Settings;
use godiff::run::progress::text::duration;
use godiff::{Result, engine, potential};
use std::path::PathBuf;
use std::time::Duration;

/// Describes the task of a configuration, times one energy, and says what looks wrong
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is written. A search shows the same warnings when it starts. The exit code is 0 even with warnings, and 2 for what a
search would refuse.

Examples:
  godiff check configs/pt-adatom.toml
  godiff check configs/pt-adatom.toml --no-potential --json")]
pub struct Arguments {
    /// The configuration
    #[arg(value_name = "CONFIG.toml")]
    config: PathBuf,
    /// Structures of your own to begin with, as for godiff search
    #[arg(long, value_name = "FILE")]
    seed_structures: Option<PathBuf>,
    /// Do not start the potential
    #[arg(long)]
    no_potential: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let mut settings = Settings::load(&self.config)?;
        if let Some(path) = &self.seed_structures {
            settings.seed_with(path)?;
        }
        self.compute.threads.start()?;
        engine::open(&self.compute.device, &settings.setup())?;
        let (facts, mut warnings) = (Facts::of(&settings), warnings(&settings));
        warnings.extend(rejected_seeds(&settings));
        let mut timing = None;
        if !self.no_potential {
            let interrupted = watch_interrupts()?;
            let potential = potential::open(&settings.sections.potential, Some(&settings.system), &self.compute.device)
                .map_err(|cause| cause.in_file(&self.config))?;
            let (timed, warning) = time_one_energy(&settings, &*potential, interrupted)?;
            warnings.extend(warning);
            timing = timed;
        }
        if self.json {
            let object = serde_json::json!({ "system": facts, "energy": timing, "warnings": warnings });
            return print(serde_json::to_string_pretty(&object).expect("numbers and text are JSON"));
        }
        rows(&settings, &facts, timing.as_ref())
            .into_iter()
            .try_for_each(|(name, text)| print(format!("{name:<14}{text}")))?;
        warnings.iter().try_for_each(|warning| print(format!("warning: {warning}")))
    }
}

fn rows(settings: &Settings, facts: &Facts, timing: Option<&Timing>) -> Vec<(&'static str, String)> {
    let search = &settings.sections.search;
    let atoms = facts.n_template_atoms + facts.n_free_atoms;
    let own = match facts.n_own_structures {
        0 => String::new(),
        n => format!(" and {n} of your own"),
    };
    let evaluations = format!(
        "at most {}: {} iterations of {} samples{own}",
        facts.most_evaluations, search.iterations, search.samples_per_iteration
    );
    let potential = settings.sections.potential.describe();
    let energy = match timing {
        None => potential,
        Some(timing) => {
            let start = if timing.includes_start { ", with the start of the potential" } else { "" };
            let all = timing.seconds * facts.most_evaluations as f64;
            format!(
                "{potential}: {} for one energy with forces{start}; {} for all, one after the other",
                seconds(timing.seconds),
                seconds(all)
            )
        }
    };
    let rows = [
        ("system", Some(format!("{}, {atoms} atoms ({} of them free)", facts.system(), facts.n_free_atoms))),
        ("cell", Some(facts.cell())),
        ("vacuum", facts.vacuum_angstrom.map(|vacuum| format!("{vacuum:.2} Å along c"))),
        ("free atoms", facts.heights()),
        ("evaluations", Some(evaluations)),
        ("potential", Some(energy)),
    ];
    rows.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

/// A time in s, in readable units.
fn seconds(time: f64) -> String {
    match time {
        time if time < 1e-3 => format!("{:.0} µs", 1e6 * time),
        time if time < 1.0 => format!("{:.1} ms", 1e3 * time),
        time if time < 60.0 => format!("{time:.1} s"),
        time => duration(Duration::try_from_secs_f64(time).unwrap_or(Duration::MAX)),
    }
}
