//! `godiff check`: a look at a configuration before a search.

use super::common::{Compute, print, watch_interrupts};
use clap::Args;
use godiff::check::{Facts, Timing, readable, rejected_seeds, time_one_energy, warnings};
use godiff::config::Settings;
use godiff::run::progress::text::duration;
use godiff::{Result, engine, potential};
use std::path::PathBuf;
use std::time::Duration;

/// Describes the task of a configuration, times one energy, and says what looks wrong
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is written. A search shows the same warnings when it starts. The exit code is 0 even with warnings, 2 for what a
search would refuse, 3 if the potential fails.

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
        let facts = Facts::of(&settings);
        let show = |(name, text): (&str, String)| if self.json { Ok(()) } else { print(format!("{name:<14}{text}")) };
        rows(&settings, &facts).into_iter().try_for_each(show)?;
        let timed = if self.no_potential { Ok((None, None)) } else { self.time(&settings) };
        let (timing, warning, outcome) = match timed {
            Ok((timing, warning)) => (timing, warning, Ok(())),
            Err(cause) => (None, None, Err(cause)),
        };
        show(("potential", potential_row(&settings, &facts, timing.as_ref())))?;
        let warnings: Vec<String> =
            warnings(&settings).into_iter().chain(rejected_seeds(&settings)).chain(warning).collect();
        if self.json {
            let object = serde_json::json!({ "system": facts, "energy": timing, "warnings": warnings });
            print(serde_json::to_string_pretty(&object).expect("numbers and text are JSON"))?;
        } else {
            warnings.iter().try_for_each(|warning| print(format!("warning: {warning}")))?;
        }
        // A potential that cannot be used hides no warning.
        outcome
    }

    /// One energy, and what is wrong with it.
    fn time(&self, settings: &Settings) -> Result<(Option<Timing>, Option<String>)> {
        let interrupted = watch_interrupts()?;
        let potential = potential::open(&settings.sections.potential, Some(&settings.system), &self.compute.device)
            .map_err(|cause| cause.in_file(&self.config))?;
        time_one_energy(settings, &*potential, interrupted, &|note| eprintln!("{note}"))
    }
}

fn rows(settings: &Settings, facts: &Facts) -> Vec<(&'static str, String)> {
    let search = &settings.sections.search;
    let atoms = facts.n_template_atoms + facts.n_free_atoms;
    let own = match facts.n_own_structures {
        0 => String::new(),
        n => format!(" and {n} of your own"),
    };
    let most = settings.sections.adaptive.and_then(|adaptive| adaptive.most_samples);
    let samples = match (most, search.samples_per_iteration) {
        (Some(most), one) => format!("{one} to {most} samples"),
        (None, one) => format!("{one} samples"),
    };
    let evaluations = format!("at most {}: {} iterations of {samples}{own}", facts.most_evaluations, search.iterations);
    let rows = [
        ("system", Some(format!("{}, {atoms} atoms ({} of them free)", facts.system(), facts.n_free_atoms))),
        ("cell", Some(facts.cell())),
        ("vacuum", facts.vacuum_angstrom.map(|vacuum| format!("{vacuum:.2} Å along c"))),
        ("free atoms", facts.heights()),
        ("evaluations", Some(evaluations)),
    ];
    rows.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

fn potential_row(settings: &Settings, facts: &Facts, timing: Option<&Timing>) -> String {
    let potential = settings.sections.potential.describe();
    let Some(&Timing { seconds: time, includes_start, .. }) = timing else { return potential };
    let start = if includes_start { ", with the start of the potential" } else { "" };
    let all = seconds(time * facts.most_evaluations as f64);
    format!("{potential}: {} for one energy with forces{start}; {all} for all, one after the other", seconds(time))
}

/// A time in s, in readable units.
fn seconds(time: f64) -> String {
    match time {
        time if time < 60.0 => readable(time),
        time => duration(Duration::try_from_secs_f64(time).unwrap_or(Duration::MAX)),
    }
}
