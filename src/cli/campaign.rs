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
The folder holds campaign.json (every run; its place in the list is the number of its task),
configurations/ (copies of all that the runs need), NAME/seed-S (a run folder each) and log/. It may
be moved, to shared storage for instance. A task may be killed and started again at any time: it
goes on with its run and ends as if nothing had happened; once its run is finished it has nothing
to do. The same command again, with more --runs or other configurations, adds runs; what it writes
for the scheduler then names these; with nothing new it names all that are not finished. More in
docs/campaigns.md.

Examples:
  godiff campaign configs/pt-heptamer.toml --runs 8 --out pt7 --for slurm --gpus 0.25
  godiff campaign configs/pt-heptamer.toml --runs 100 --out pt7 --for hyperqueue --cpus 2
  godiff campaign configs/lj13.toml:rss --seeds 0-9,20 --out lj13 --for local
  godiff campaign status pt7
  godiff campaign run pt7 --task 3
  godiff campaign run pt7 --run pt-heptamer/seed-3")]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    plan: Box<plan::Plan>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(work::Arguments),
    Status(status::Arguments),
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        match self.command {
            Some(Command::Run(arguments)) => arguments.run(),
            Some(Command::Status(arguments)) => arguments.run(),
            None => self.plan.run(),
        }
    }
}
