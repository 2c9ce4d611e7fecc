//! `godiff search`: the whole search, new or resumed.

use super::common::{Compute, in_file, print, watch_interrupts};
use clap::Args;
use godiff::config::Settings;
use godiff::run::{Reporter, Resumed, RunDirectory, Summary};
use godiff::search::Search;
use godiff::{Result, engine, potential};
use std::path::{Path, PathBuf};

/// Searches for the structure of lowest energy
#[derive(Debug, Args)]
#[command(after_help = "\
The run folder holds config.toml (as resolved), archive.db (everything evaluated; `ase db` and `ase gui` open it),
best.xyz, model.safetensors, metrics.jsonl, summary.json and checkpoint/. Ctrl-C ends a run cleanly; --resume goes on,
also after a kill, and ends as if nothing had happened.

Examples:
  godiff search configs/pt-adatom.toml
  godiff search configs/pt-adatom.toml --seed 3 --out runs/adatom-seed-3
  godiff search configs/pt-adatom.toml --out runs/adatom-seed-3 --resume")]
pub struct Arguments {
    /// The configuration
    #[arg(value_name = "CONFIG.toml")]
    config: PathBuf,
    /// Seed of everything random [default: the configuration's search.seed, which is 0 unless given]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// The run folder [default: the next free runs/<config>-NNN; with --resume the latest]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with a run that was interrupted or killed
    #[arg(long)]
    resume: bool,
    /// Show nothing but errors
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
    /// Write progress and summary as JSON, one object a line, to standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

/// Where runs go without `--out`.
const RUNS: &str = "runs";

impl Arguments {
    pub fn run(self) -> Result<()> {
        let mut settings = Settings::load(&self.config)?;
        let resumed = if self.resume { Some(self.folder_to_resume()?) } else { None };
        let seed_before = resumed.as_deref().and_then(Settings::seed_of_run);
        settings.sections.search.seed = self.seed.or(seed_before).unwrap_or(settings.sections.search.seed);

        self.compute.threads.start()?;
        let interrupted = watch_interrupts()?;
        let engine = engine::open(&self.compute.device, &settings.setup())?;
        // After the engine, so that a wrong device is not blamed on the configuration.
        let potential = potential::open(&settings.sections.potential, Some(&settings.system), &self.compute.device)
            .map_err(|cause| in_file(&self.config, cause))?;
        let run = match &resumed {
            Some(folder) => RunDirectory::resume(folder, &settings.to_toml())?,
            None => self.new_run(&settings, &engine.device())?,
        };
        let folder = run.directory.path().to_owned();
        settings.copy_files(&folder)?;

        let reporter = Reporter::new(self.json, self.quiet);
        Search::new(&settings, engine, potential, run, reporter, interrupted)?.run()?;
        if self.json || self.quiet { Ok(()) } else { print(folder.display()) }
    }

    fn folder_to_resume(&self) -> Result<PathBuf> {
        match &self.out {
            Some(folder) => Ok(folder.clone()),
            None => RunDirectory::latest(Path::new(RUNS), &self.name()),
        }
    }

    fn new_run(&self, settings: &Settings, device: &str) -> Result<Resumed> {
        let (seed, toml) = (settings.sections.search.seed, settings.to_toml());
        let summary = Summary::new(seed, device);
        let directory = match &self.out {
            Some(folder) => RunDirectory::create(folder, &toml, &summary)?,
            None => RunDirectory::create_next(Path::new(RUNS), &self.name(), &toml, &summary)?,
        };
        Ok(Resumed { directory, seed, checkpoint: None, notes: Vec::new() })
    }

    /// The configuration's name without its ending.
    fn name(&self) -> String {
        self.config.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }
}
