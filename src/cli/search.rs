//! `godiff search`: the whole search, new or resumed, with one seed or with several.

mod seeds;
mod source;

use super::common::{Compute, print, watch_interrupts};
use super::run_folder::RunArguments;
use clap::Args;
use godiff::Result;
use godiff::benchmark::{Entrant, Method};
use godiff::config::Settings;
use godiff::job::{self, Job};
use seeds::Seeds;
use source::Source;
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

Without a configuration, --free and --potential (and --template for a surface) describe the task. The numbers are then chosen as
`godiff init` does, which writes them into a file with the reason of each. To resume such a run, give the same command with --resume,
or --resume and --out alone.

Structures of --seed-structures have all atoms in any order, those of the template at its places. They are evaluated first, where
they are, in addition to the samples. The run folder keeps a copy (seeds.xyz), so --resume needs no --seed-structures.

Examples:
  godiff search configs/pt-adatom.toml
  godiff search --template slab.xyz --free Pt7 --potential emt
  godiff search --free Ar13 --potential lennard-jones
  godiff search configs/pt-adatom.toml --seed 3 --out runs/adatom-seed-3
  godiff search configs/pt-adatom.toml --out runs/adatom-seed-3 --resume
  godiff search configs/pt-adatom.toml --seeds 0-9 --jobs 2 --out runs/adatom-seeds
  godiff search configs/pt-adatom.toml --seed-structures known.xyz")]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
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
        let is_silent = self.run.quiet || self.run.json;
        if self.seeds.are_wanted()? {
            let name = self.source.name(&self.run, "-seeds")?;
            self.seeds.refuse(&self.run)?;
            self.compute.threads.start()?;
            let interrupted = watch_interrupts()?;
            let before = self.seeds.run_before(&self.run, &name)?;
            let settings = self.source.settings(None, before.as_deref(), (interrupted, is_silent))?;
            let entrant = entrant(settings)?;
            return self.seeds.run(
                &self.run,
                &self.source,
                entrant,
                self.seed_structures.as_deref(),
                &self.compute,
                interrupted,
            );
        }
        let name = self.source.name(&self.run, "")?;
        self.compute.threads.start()?;
        let interrupted = watch_interrupts()?;
        let before = self.run.resume.then(|| self.run.folder_to_resume(&name)).transpose()?;
        let settings = self.source.settings(self.run.seed, before.as_deref(), (interrupted, is_silent))?;
        let Entrant { method, settings, .. } = entrant(settings)?;
        let mut settings = self.run.complete(settings, &name)?;
        self.run.take_seeds(&mut settings, &name, self.seed_structures.as_deref())?;

        let job = Job {
            method,
            settings: &settings,
            device: &self.compute.device,
            folder: self.run.folder(&name)?,
            stop_at_target: false,
            config: self.source.config.as_deref(),
        };
        let mut folder = PathBuf::new();
        job.run(&self.run.reporter(), interrupted, &mut |path| path.clone_into(&mut folder))?;
        if self.run.json || self.run.quiet { Ok(()) } else { print(folder.display()) }
    }
}

/// The search with these settings.
fn entrant(mut settings: Settings) -> Result<Entrant> {
    job::prepare(Method::Search, &mut settings)?;
    Ok(Entrant { name: String::new(), method: Method::Search, settings })
}
