//! `godiff search`: the whole search, new or resumed, with one seed or with several.

mod seeds;

use super::common::{Compute, in_file, print, watch_interrupts};
use super::run_folder::RunArguments;
use clap::Args;
use godiff::report::write_after_run;
use godiff::search::Search;
use godiff::{Result, engine, potential};
use seeds::Seeds;

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

Examples:
  godiff search configs/pt-adatom.toml
  godiff search configs/pt-adatom.toml --seed 3 --out runs/adatom-seed-3
  godiff search configs/pt-adatom.toml --out runs/adatom-seed-3 --resume
  godiff search configs/pt-adatom.toml --seeds 0-9 --jobs 2 --out runs/adatom-seeds")]
pub struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    seeds: Seeds,
    #[command(flatten)]
    compute: Compute,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        if self.seeds.are_wanted()? {
            return self.seeds.run(&self.run, &self.compute);
        }
        let mut settings = self.run.settings("")?;
        settings.sections.forget_baselines();

        self.compute.threads.start()?;
        let interrupted = watch_interrupts()?;
        let engine = engine::open(&self.compute.device, &settings.setup())?;
        // The potential is opened after the engine, so that a wrong device is not blamed on the configuration.
        let potential = potential::open(&settings.sections.potential, Some(&settings.system), &self.compute.device)
            .map_err(|cause| in_file(&self.run.config, cause))?;
        let run = self.run.open(&settings, &engine.device(), "")?;
        let folder = run.directory.path().to_owned();

        let reporter = self.run.reporter();
        Search::new(&settings, engine, potential, run, &reporter, interrupted)?.run(&write_after_run)?;
        if self.run.json || self.run.quiet { Ok(()) } else { print(folder.display()) }
    }
}
