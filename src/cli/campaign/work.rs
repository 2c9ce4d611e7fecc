//! `godiff campaign run`: runs tasks.

use crate::cli::common::{Threads, note, watch_interrupts};
use crate::cli::numbers::{list, whole};
use clap::Args;
use godiff::benchmark::{Resources, Watch};
use godiff::campaign::Campaign;
use godiff::report::write_after_run;
use godiff::run::Reporter;
use godiff::{Error, Result};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// Runs tasks of a campaign on this machine; schedulers call this command
#[derive(Debug, Args)]
#[command(after_help = "\
A task resumes a run that was begun. If its run is finished, it ends at once with exit code 0. Start
a task again after exit code 130 or a signal. Other codes except 0 are errors that another start
would meet again.

Examples:
  godiff campaign run pt7 --task 3
  godiff campaign run pt7 --task 0,1,2,3 --device cuda
  godiff campaign run pt7 --run pt-heptamer-rss/seed-0
  godiff campaign run pt7 --device cuda:0,1")]
pub struct Arguments {
    /// The campaign's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Numbers of tasks, such as 3 or 0-3,8, run at the same time [default: all unfinished tasks]
    #[arg(long, value_name = "LIST")]
    task: Option<String>,
    /// One run by the name of its folder
    #[arg(long, value_name = "NAME/seed-S", conflicts_with = "task")]
    run: Option<String>,
    /// auto, cpu, cpu-f64 or cuda[:INDEX[,INDEX…]]; several GPUs share the runs
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Runs at the same time [default: all of --task; without --task one for every thread on a CPU, one for each GPU]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=65535), allow_negative_numbers = true)]
    side_by_side: Option<u16>,
    #[command(flatten)]
    threads: Threads,
}

/// Tasks say on standard error how they end; `interrupted` stops them.
pub fn watch(interrupted: &AtomicBool) -> Watch<'_> {
    Watch { say: &|line| note(&line), reporter: &Reporter::quiet, afterwards: &write_after_run, interrupted }
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        self.threads.start()?;
        let campaign = Campaign::open(&self.folder)?;
        let (tasks, named) = match (&self.task, &self.run) {
            (Some(list), _) => (self.tasks_listed(list, &campaign)?, true),
            (None, Some(name)) => (vec![campaign.task_named(name)?], true),
            (None, None) => {
                ((0..campaign.n_tasks()).filter(|&task| !campaign.is_finished(task)).collect::<Vec<_>>(), false)
            }
        };
        let interrupted = watch_interrupts()?;
        let side_by_side = self.side_by_side.map(usize::from).or(named.then_some(tasks.len()));
        let resources = Resources::new(&self.device, side_by_side, rayon::current_num_threads())?;
        campaign.work(&tasks, &resources, &watch(interrupted))
    }

    fn tasks_listed(&self, tasks: &str, campaign: &Campaign) -> Result<Vec<usize>> {
        let n_tasks = campaign.n_tasks();
        let task = |number: u64| {
            usize::try_from(number).ok().filter(|&task| task < n_tasks).ok_or_else(|| {
                let message = format!("has no task {number}; its tasks are 0 to {}", n_tasks - 1);
                Error::bad_file(&self.folder, message)
            })
        };
        list(tasks, "--task")?.into_iter().map(task).collect()
    }
}
