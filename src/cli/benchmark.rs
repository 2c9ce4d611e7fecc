//! `godiff benchmark`: how fast a search's steps are on this machine, kernel by kernel.

use super::common::{Threads, print};
use clap::Args;
use godiff::config::Settings;
use godiff::engine::cuda::Cuda;
use godiff::engine::cuda::driver::Device;
use godiff::engine::cuda::profile::{LaunchTime, StepProfile};
use godiff::engine::{Engine, ModelState, Stream, TrainingSet};
use godiff::model::{Layout, initial_parameters};
use godiff::run::write_atomic;
use godiff::{Error, Result, version};
use serde::Serialize;
use std::path::PathBuf;

/// Times every kernel of a training step and of a reverse step on a GPU, against the floor of the card
#[derive(Debug, Args)]
#[command(after_help = "\
The floor is the time that a kernel's arithmetic or its bytes, each counted once, take at the card's peak. A step's own
time is measured as a search runs it, many steps in one launch; single kernels are timed in rows of equal launches.

Examples:
  godiff benchmark --kernels configs/pt-heptamer.toml
  godiff benchmark --kernels configs/pt-heptamer.toml --device cuda:1 -o kernels.json")]
pub struct Arguments {
    /// The configuration: its system, model, batch and samples per iteration are what is timed
    #[arg(value_name = "CONFIG.toml")]
    config: PathBuf,
    /// Time the kernels of a step
    #[arg(long, required = true)]
    kernels: bool,
    /// cuda[:INDEX]; see `godiff devices`
    #[arg(long, value_name = "DEVICE", default_value = "cuda")]
    device: String,
    /// Training steps of a timed launch
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: u32,
    /// Write the numbers as JSON to this file too
    #[arg(short, long, value_name = "OUT.json")]
    out: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: Threads,
}

/// What the JSON holds.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    device: String,
    config: String,
    steps: Vec<StepProfile>,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        self.threads.start()?;
        if !(self.device.starts_with("cuda") || self.device == "emulator") {
            let device = &self.device;
            return Err(Error::bad_input(format!("--device {device}: kernels run on a GPU; name one, such as cuda:0")));
        }
        let settings = Settings::load(&self.config)?;
        let setup = settings.setup();
        let mut engine = Cuda::new(&Device::open(&self.device)?, &setup)?;
        let parameters = initial_parameters(&Layout::new(&setup.sizes), 0);
        engine.restore(&ModelState::untouched(parameters, setup.training.learning_rate))?;
        // Structures of the prior serve: what is timed does not depend on how good they are.
        let stream = Stream { seed: 0, iteration: 0 };
        let search = &settings.sections.search;
        let noise = godiff::random::Noise::new(0, godiff::random::Purpose::Prior, 0);
        let members = (0..search.buffer as u32).map(|s| godiff::diffusion::prior(&setup.system, &noise, s));
        let set = TrainingSet { positions: members.collect(), weights: vec![1.0; search.buffer], forces: None };
        let report = Report {
            version: version::BUILD,
            device: engine.device(),
            config: self.config.display().to_string(),
            steps: vec![
                engine.profile_training(stream, &set, self.steps as usize)?,
                engine.profile_sampling(stream, 0..search.samples_per_iteration)?,
            ],
        };
        let json = || serde_json::to_string_pretty(&report).map_err(|cause| Error::Failed(cause.to_string()));
        if let Some(out) = &self.out {
            write_atomic(out, format!("{}\n", json()?).as_bytes())?;
        }
        if self.json {
            return print(json()?);
        }
        print(format!("{}, {}", report.device, report.config))?;
        report.steps.iter().try_for_each(|step| print(table(step)))
    }
}

fn table(step: &StepProfile) -> String {
    let mut text = format!("\n{}, {} structures: {:.4} ms", step.phase, step.structures, step.milliseconds);
    if let Some(floor) = step.floor_milliseconds.filter(|floor| *floor > 0.0) {
        text += &format!(", {:.1} times the kernels' floor of {floor:.4} ms", step.milliseconds / floor);
    }
    if step.ahead_milliseconds > 0.0 {
        let share = 100.0 * step.ahead_milliseconds / step.milliseconds;
        text += &format!(
            "\nof it noise and edges, made for many steps at once: {:.4} ms ({share:.1}%)",
            step.ahead_milliseconds
        );
    }
    text += &format!(
        "\n{:<26}{:>8}{:>12}{:>11}{:>11}{:>12}{:>9}",
        "kernel", "blocks", "ms", "MFLOP", "MB", "floor ms", "of floor"
    );
    step.launches.iter().for_each(|launch| text += &row(launch));
    text
}

fn row(launch: &LaunchTime) -> String {
    let LaunchTime { kernel, blocks, milliseconds, flops, bytes, floor_milliseconds } = launch;
    let floor = floor_milliseconds.map_or("-".into(), |floor| format!("{floor:.5}"));
    let share = floor_milliseconds.map_or("-".into(), |floor| format!("{:.0}%", 100.0 * floor / milliseconds));
    let (mflop, mb) = (flops / 1e6, bytes / 1e6);
    format!("\n{kernel:<26}{blocks:>8}{milliseconds:>12.5}{mflop:>11.2}{mb:>11.3}{floor:>12}{share:>9}")
}
