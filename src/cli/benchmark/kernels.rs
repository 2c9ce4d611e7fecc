//! `godiff benchmark --kernels`: the times of a search's steps on this machine, kernel by kernel.

use crate::cli::common::print;
use godiff::config::Settings;
use godiff::disk::write_atomic;
use godiff::engine::cuda::Cuda;
use godiff::engine::cuda::profile::{LaunchTime, StepProfile};
use godiff::engine::{Engine, ModelState, RandomStream, TrainingSet};
use godiff::gpu::Device;
use godiff::model::{Layout, initial_parameters};
use godiff::{Error, Result, version};
use serde::Serialize;
use std::path::Path;

/// Content of the JSON.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    device: String,
    config: String,
    steps: Vec<StepProfile>,
}

/// Times the kernels of `config` on `device`, `steps` training steps a launch. Shows a table or JSON, and writes the JSON to `out`.
pub fn profile(config: &Path, device: &str, steps: u32, out: Option<&Path>, as_json: bool) -> Result<()> {
    if !(device.starts_with("cuda") || device == "emulator") {
        return Err(Error::bad_input(format!("--device {device}: kernels run on a GPU; name one, such as cuda:0")));
    }
    let settings = Settings::load(config)?;
    let mut setup = settings.setup();
    // It ends training early, so a launch would have steps that do nothing.
    setup.training.stop = None;
    let mut engine = Cuda::new(&Device::open(device)?, &setup)?;
    let parameters = initial_parameters(&Layout::new(&setup.sizes), 0);
    engine.restore(&ModelState::untouched(parameters, setup.training.learning_rate))?;
    // Structures of the prior are good enough: the times do not depend on their quality.
    let stream = RandomStream { seed: 0, iteration: 0 };
    let search = &settings.sections.search;
    let noise = godiff::random::Noise::new(0, godiff::random::Purpose::Prior, 0);
    let members = (0..search.buffer as u32).map(|s| godiff::diffusion::prior(&setup.system, &noise, s));
    let set = TrainingSet {
        positions: members.collect(),
        weights: vec![1.0; search.buffer],
        forces: None,
        targets: Default::default(),
    };
    let report = Report {
        version: version::BUILD,
        device: engine.device(),
        config: config.display().to_string(),
        steps: vec![
            engine.profile_training(stream, &set, steps as usize)?,
            engine.profile_sampling(stream, 0..search.samples_per_iteration)?,
        ],
    };
    let json = || serde_json::to_string_pretty(&report).map_err(|cause| Error::Failed(cause.to_string()));
    if let Some(out) = out {
        write_atomic(out, format!("{}\n", json()?).as_bytes())?;
    }
    if as_json {
        return print(json()?);
    }
    print(format!("{}, {}", report.device, report.config))?;
    report.steps.iter().try_for_each(|step| print(table(step)))
}

fn table(step: &StepProfile) -> String {
    let mut text = format!("\n{}, {} structures: {:.4} ms", step.phase, step.structures, step.milliseconds);
    if let Some(predicted) = step.predicted_milliseconds {
        text += &format!("; the model without a card predicts {predicted:.4} ms");
    }
    let floors = [(step.floor_milliseconds, "the kernels'"), (step.task_floor_milliseconds, "the task's")];
    for (floor, whose) in floors.into_iter().filter_map(|(floor, whose)| Some((floor.filter(|f| *f > 0.0)?, whose))) {
        text += &format!(", {:.1} times {whose} floor of {floor:.4} ms", step.milliseconds / floor);
    }
    if step.ahead_milliseconds > 0.0 {
        let share = 100.0 * step.ahead_milliseconds / step.milliseconds;
        text += &format!(
            "\nof it noise and edges, made for many steps at once: {:.4} ms ({share:.1}%)",
            step.ahead_milliseconds
        );
    }
    text += &format!(
        "\n{:<26}{:>8}{:>12}{:>14}{:>11}{:>11}{:>12}{:>9}",
        "kernel", "blocks", "ms", "predicted ms", "MFLOP", "MB", "floor ms", "of floor"
    );
    step.launches.iter().for_each(|launch| text += &row(launch));
    text
}

fn row(launch: &LaunchTime) -> String {
    let LaunchTime { kernel, blocks, milliseconds, flops, bytes, floor_milliseconds, .. } = launch;
    let or_dash = |time: &Option<f64>| time.map_or("-".into(), |time| format!("{time:.5}"));
    let (floor, predicted) = (or_dash(floor_milliseconds), or_dash(&launch.predicted_milliseconds));
    let share = floor_milliseconds.map_or("-".into(), |floor| format!("{:.0}%", 100.0 * floor / milliseconds));
    let (mflop, mb) = (flops / 1e6, bytes / 1e6);
    format!("\n{kernel:<26}{blocks:>8}{milliseconds:>12.5}{predicted:>14}{mflop:>11.2}{mb:>11.3}{floor:>12}{share:>9}")
}
