//! `godiff benchmark`: methods × seeds, counted in the same way; with `--kernels`, the times of a search's steps on a GPU.

mod kernels;

use super::common::{Threads, note, print, watch_interrupts};
use super::numbers::{list, whole};
use clap::Args;
use godiff::benchmark::{Benchmark, Entrant, N_RELAXED, Resources, Results, Watch, text};
use godiff::report::{write_after_benchmark, write_after_run};
use godiff::run::Reporter;
use godiff::{Error, Result};
use std::path::{Path, PathBuf};

/// Compares methods over seeds: evaluations, success, evaluations per hit. With --kernels, times the kernels of a GPU
#[derive(Debug, Args)]
#[command(after_help = "\
A run succeeds at the first evaluation whose structure matches the [target] of its configuration. Seeds are 0, 1, 2, … or
those of --seeds; every method runs with a seed before the next seed. Methods: search (GO-Diff), rss, basin-hopping,
evolve, anneal. The folder holds a run folder for every run, results.json, results.md, energy.svg, success.svg and a page,
report.html. The same command resumes an interrupted benchmark, adds runs with a larger --runs or other --seeds, and
otherwise shows the table. A run ends when it succeeds, a search after the iteration that finds the target; with
--to-the-end runs use their whole budget, also those that ended before.
Every method is compared with the first one in pairs of the same seed, so name the method to beat first.

With --kernels, the time of every kernel of a training step and of a reverse step is compared with the floor of the card: the
time that its arithmetic or its bytes, each counted once, take at the card's peak. The time of a whole step is measured as in
a search, with many steps in one launch. Single kernels are timed in rows of equal launches.

Examples:
  godiff benchmark configs/pt-heptamer.toml configs/pt-heptamer.toml:basin-hopping --runs 8
  godiff benchmark configs/lj13.toml:rss configs/lj13.toml:evolve --runs 20 --out runs/lj13-baselines
  godiff benchmark --kernels configs/pt-heptamer.toml --device cuda:1 -o kernels.json")]
pub struct Arguments {
    /// Configurations, each with its method (default: `search`); with --kernels one configuration, which gives system, model,
    /// batch and samples per iteration
    #[arg(value_name = "CONFIG.toml[:METHOD]", required = true)]
    configs: Vec<String>,
    /// Runs of every method, with the seeds 0 to N − 1
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = whole::<u64>(1..=100_000), allow_negative_numbers = true)]
    runs: u64,
    /// Seeds, such as 100-107, instead of --runs
    #[arg(long, value_name = "LIST", conflicts_with_all = ["runs", "kernels"])]
    seeds: Option<String>,
    /// Runs at the same time [default: one for every thread on a CPU, one for each GPU]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=65535), allow_negative_numbers = true, conflicts_with = "kernels")]
    side_by_side: Option<u16>,
    /// Let runs use their whole budget after they have found the target
    #[arg(long, conflicts_with = "kernels")]
    to_the_end: bool,
    /// Time the kernels of a step instead of comparing methods
    #[arg(long)]
    kernels: bool,
    /// auto, cpu, cpu-f64 or cuda[:INDEX[,INDEX…]]; several GPUs share the runs; see `godiff devices` [default: auto, with
    /// --kernels cuda]
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// With --kernels: number of training steps in a timed launch
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = whole::<u32>(1..=1000), allow_negative_numbers = true)]
    steps: u32,
    /// The benchmark's folder [default: runs/benchmark]; with --kernels a file for the numbers as JSON
    #[arg(short, long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Show nothing but the table
    #[arg(long)]
    quiet: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: Threads,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        self.threads.start()?;
        match (self.kernels, &self.configs[..]) {
            (false, _) => self.compare(),
            (true, [config]) => {
                let device = self.device.as_deref().unwrap_or("cuda");
                kernels::profile(Path::new(config), device, self.steps, self.out.as_deref(), self.json)
            }
            (true, _) => {
                Err(Error::bad_input("--kernels takes one configuration; name the others in calls of their own"))
            }
        }
    }

    fn compare(&self) -> Result<()> {
        let seeds = match &self.seeds {
            Some(seeds) => list(seeds, "--seeds")?,
            None => (0..self.runs).collect(),
        };
        let benchmark = Benchmark {
            folder: self.out.clone().unwrap_or_else(|| "runs/benchmark".into()),
            entrants: self.configs.iter().map(|config| Entrant::parse_with_target(config)).collect::<Result<_>>()?,
            seeds,
            to_the_end: self.to_the_end,
            by_seed: false,
            n_relaxed: N_RELAXED,
        };
        let interrupted = watch_interrupts()?;
        let n_threads = rayon::current_num_threads();
        let resources =
            Resources::new(self.device.as_deref().unwrap_or("auto"), self.side_by_side.map(usize::from), n_threads)?;
        let say = |line: String| {
            if !self.quiet && !self.json {
                note(&line);
            }
        };
        benchmark.warnings().into_iter().for_each(say);
        let watch = Watch { say: &say, reporter: &Reporter::quiet, afterwards: &write_after_run, interrupted };
        let outcome = benchmark.run(&resources, &watch);
        if !matches!(outcome, Ok(()) | Err(Error::Interrupted)) {
            return outcome;
        }
        let results = benchmark.results()?;
        benchmark.write(&results)?;
        write_after_benchmark(&benchmark.folder).into_iter().for_each(say);
        self.show(&results)?;
        outcome
    }

    fn show(&self, results: &[Results]) -> Result<()> {
        if self.json {
            let json = serde_json::to_string_pretty(results).map_err(|cause| Error::Failed(cause.to_string()))?;
            return print(json);
        }
        print(text(results))
    }
}
