//! `godiff search`: the whole search, new or resumed, with one seed or with several.

mod seeds;

use super::common::{Compute, print, watch_interrupts};
use super::run_folder::RunArguments;
use clap::Args;
use godiff::Result;
use godiff::benchmark::Method;
use godiff::job::{self, Job};
use seeds::Seeds;
use std::path::PathBuf;

/// Searches for the structure of lowest energy
#[derive(Debug, Args)]
#[command(after_help = "\
The run folder holds config.toml (with all defaults), archive.db (every sample; `ase db` and
`ase gui` open it), best.xyz, minima.xyz (the distinct structures), model.safetensors, metrics.jsonl,
summary.json and checkpoint/. Ctrl-C ends a run cleanly. --resume resumes it, also after a kill, and
gives the same result as a run without interruption. With a larger budget in the configuration it
extends the run; docs/configuration.md says what may change.

With --seeds, one run follows the other, or --jobs of them work side by side. The folder holds a run
folder for every seed, seed-S. When a run is finished, its lowest distinct structures are relaxed on
its own potential. At the end a table shows the lowest minimum of each seed and how many seeds agree
on the lowest of all. minima.xyz holds the distinct minima of all seeds and which seeds found each,
seeds.json the table, report.html a page about all runs. --resume continues all runs that are not
finished; a longer list adds seeds. --hours limits each run. --json prints the table alone.

Structures of --seed-structures have all atoms in any order, those of the template at its places. They are evaluated first, where
they are, in addition to the samples. The run folder keeps a copy (seeds.xyz), so --resume needs no --seed-structures.

Examples:
  godiff search configs/pt-adatom.toml
  godiff search configs/pt-adatom.toml --seed 3 --out runs/adatom-seed-3
  godiff search configs/pt-adatom.toml --out runs/adatom-seed-3 --resume
  godiff search configs/pt-adatom.toml --seeds 0-9 --jobs 2 --out runs/adatom-seeds
  godiff search configs/pt-adatom.toml --seed-structures known.xyz")]
pub struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// Structures of your own to begin with, as [seeds] of the configuration: extended XYZ or POSCAR, one or more
    #[arg(long, value_name = "FILE")]
    seed_structures: Option<PathBuf>,
    #[command(flatten)]
    seeds: Seeds,
    #[command(flatten)]
    compute: Compute,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        if self.seeds.are_wanted()? {
            return self.seeds.run(&self.run, self.seed_structures.as_deref(), &self.compute);
        }
        let mut settings = self.run.settings("")?;
        self.run.take_seeds(&mut settings, self.seed_structures.as_deref())?;
        let method = Method::Search;
        job::prepare(method, &mut settings)?;

        self.compute.threads.start()?;
        let interrupted = watch_interrupts()?;
        let job = Job {
            method,
            settings: &settings,
            device: &self.compute.device,
            folder: self.run.folder("")?,
            stop_at_target: false,
            config: Some(&self.run.config),
        };
        let mut folder = PathBuf::new();
        job.run(&self.run.reporter(), interrupted, &mut |path| path.clone_into(&mut folder))?;
        if self.run.json || self.run.quiet { Ok(()) } else { print(folder.display()) }
    }
}
