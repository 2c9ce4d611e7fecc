//! `godiff campaign`: a benchmark as tasks for a scheduler, or for this machine.

mod plan;
mod status;
mod work;

use clap::{Args, Subcommand};
use godiff::Result;

/// Plans methods × seeds as one task for each run, for Slurm, HyperQueue or this machine; runs tasks; shows their status
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
The folder holds campaign.json (every run; its place in the list is the number of its task),
configurations/ (copies of the files that the runs need), NAME/seed-S (a run folder each) and log/.
You may move it, for instance to shared storage. A task may be killed and started again at any time:
it resumes its run, and the result is that of a run without interruption. The task of a finished run
ends at once. The same command with more --runs or other configurations adds runs, and the file for
the scheduler then names only these. If nothing is new, it names all unfinished runs. Without [target]
a task also relaxes the lowest structures of its run, and the table shows how many seeds agree on the
lowest minimum. More in docs/campaigns.md.

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
