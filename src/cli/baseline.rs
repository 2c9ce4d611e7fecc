//! `godiff rss`, `godiff basin-hopping`, `godiff evolve`, `godiff anneal`: the baselines that a search is compared with.

use super::common::{Threads, print, watch_interrupts};
use super::run_folder::{RunArguments, name_of};
use clap::Args;
use godiff::Result;
use godiff::baseline::Baseline;
use godiff::benchmark::Method;
use godiff::config::Settings;
use godiff::job::{self, Job};
use std::path::PathBuf;

/// Random structure search: relaxations from random structures
#[derive(Debug, Args)]
#[command(after_help = "\
The command uses [random_search], [placement] and [relaxation] of the configuration. Every evaluation of a relaxation counts and
enters archive.db. Relaxed structures have small forces: `ase db archive.db 'fmax<0.05'`.

Example:
  godiff rss configs/pt-heptamer.toml --seed 3 --out runs/rss-3")]
pub struct RandomSearch {
    #[command(flatten)]
    arguments: Arguments,
}

/// Basin hopping: a Metropolis walk between relaxed structures
#[derive(Debug, Args)]
#[command(after_help = "\
The command uses [basin_hopping], [placement] and [relaxation] of the configuration. Every evaluation of a relaxation counts and
enters archive.db. Relaxed structures have small forces: `ase db archive.db 'fmax<0.05'`.

Example:
  godiff basin-hopping configs/lj13.toml --seed 3 --out runs/hopping-3")]
pub struct BasinHopping {
    #[command(flatten)]
    arguments: Arguments,
}

/// Evolutionary search: children of a population of minima, made by cut and splice or by mutation
#[derive(Debug, Args)]
#[command(after_help = "\
The command uses [evolution], [placement] and [relaxation] of the configuration. Every evaluation of a relaxation counts and
enters archive.db. Relaxed structures have small forces: `ase db archive.db 'fmax<0.05'`.

Example:
  godiff evolve configs/pt-heptamer.toml --seed 3 --out runs/evolve-3")]
pub struct Evolution {
    #[command(flatten)]
    arguments: Arguments,
}

/// Simulated annealing: Metropolis walks of unrelaxed structures while the temperature falls
#[derive(Debug, Args)]
#[command(after_help = "\
The command uses [annealing], [placement] and [relaxation] of the configuration. Every move that is evaluated counts and enters
archive.db with its temperature, and so does every evaluation of a relaxation.

Example:
  godiff anneal configs/lj13.toml --seed 3 --out runs/annealing-3")]
pub struct Annealing {
    #[command(flatten)]
    arguments: Arguments,
}

#[derive(Debug, Args)]
struct Arguments {
    /// The configuration
    #[arg(value_name = "CONFIG.toml")]
    config: PathBuf,
    #[command(flatten)]
    run: RunArguments,
    /// End when the configuration's [target] is found; --resume can resume the run later
    #[arg(long)]
    stop_at_target: bool,
    #[command(flatten)]
    threads: Threads,
}

impl RandomSearch {
    pub fn run(self) -> Result<()> {
        self.arguments.run(Baseline::RandomSearch)
    }
}

impl BasinHopping {
    pub fn run(self) -> Result<()> {
        self.arguments.run(Baseline::BasinHopping)
    }
}

impl Evolution {
    pub fn run(self) -> Result<()> {
        self.arguments.run(Baseline::Evolution)
    }
}

impl Annealing {
    pub fn run(self) -> Result<()> {
        self.arguments.run(Baseline::Annealing)
    }
}

impl Arguments {
    fn run(self, method: Baseline) -> Result<()> {
        let name = name_of(&self.config, &format!("-{}", method.name()));
        let mut settings = self.run.complete(Settings::load(&self.config)?, &name)?;
        let method = Method::Baseline(method);
        job::prepare(method, &mut settings).map_err(|cause| cause.in_file(&self.config))?;

        self.threads.start()?;
        let interrupted = watch_interrupts()?;
        let job = Job {
            method,
            settings: &settings,
            device: "cpu",
            folder: self.run.folder(&name)?,
            stop_at_target: self.stop_at_target,
            config: Some(&self.config),
        };
        let mut folder = PathBuf::new();
        job.run(&self.run.reporter(), interrupted, &mut |path| path.clone_into(&mut folder))?;
        if self.run.json || self.run.quiet { Ok(()) } else { print(folder.display()) }
    }
}
