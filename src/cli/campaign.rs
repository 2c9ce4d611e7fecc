//! `godiff campaign`: a benchmark as tasks for a scheduler, or for this machine.

mod plan;
mod status;
mod work;

use clap::{Args, Subcommand};
use godiff::Result;

/// Plans methods × seeds as one task a run, for Slurm, HyperQueue or this machine; does tasks; shows how they stand
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
The folder holds campaign.json (every run, whose place in the list is the number of its task), configurations/ (copies of all
that the runs need), NAME/seed-S (a run folder each) and log/. It may be moved, to shared storage for instance. A task may be
killed and started again at any time: it goes on with its run and ends as if nothing had happened; once its run is finished
it has nothing to do. The same command again, with more --runs or other configurations, adds runs; what it writes for the scheduler
then names these; with nothing new it names all that are not finished. See docs/campaigns.md.

Examples:
  godiff campaign configs/pt-heptamer.toml configs/pt-heptamer.toml:rss --runs 8 --out pt7 --for slurm --gpus 0.25 --time 12:00:00
  godiff campaign configs/pt-heptamer.toml --runs 100 --out pt7 --for hyperqueue --cpus 2
  godiff campaign configs/lj13.toml:basin-hopping --seeds 0-9,20 --out lj13 --for local
  godiff campaign status pt7
  godiff campaign run pt7 --task 3")]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    plan: Option<plan::Arguments>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(work::Arguments),
    Status(status::Arguments),
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        match (self.command, self.plan) {
            (Some(Command::Run(arguments)), _) => arguments.run(),
            (Some(Command::Status(arguments)), _) => arguments.run(),
            (None, Some(plan)) => plan.run(),
            (None, None) => Err(godiff::Error::bad_input(
                "godiff campaign needs configurations, --out and --for, or one of run and status; see godiff campaign --help",
            )),
        }
    }
}
