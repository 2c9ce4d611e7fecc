//! The time that each kernel of a training step and of a reverse step takes, against the floor of the card.

use super::Cuda;
use super::adamw::TrainingState;
use super::cost::{Cost, Costs, LAUNCH, Load};
use super::network::Batch;
use super::radius_graph::RadiusGraph;
use super::speed::prediction;
use crate::engine::{Engine, PlateauSchedule, RandomStream, TrainingSet};
use crate::error::{Error, Result};
use crate::gpu::Recorded;
use serde::Serialize;
use std::ops::Range;

/// One launch of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaunchTime {
    /// Its kernel.
    pub kernel: String,
    /// Blocks of its grid.
    pub blocks: u32,
    /// Measured, milliseconds.
    pub milliseconds: f64,
    /// The model's prediction, milliseconds; `None` where the table has none for this card or this load.
    pub predicted_milliseconds: Option<f64>,
    /// f32 operations that it cannot avoid.
    pub flops: f64,
    /// f64 operations that it cannot avoid.
    pub f64s: f64,
    /// Bytes that it cannot avoid.
    pub bytes: f64,
    /// Least time that the card needs for them, milliseconds; `None` where its peaks are unknown.
    pub floor_milliseconds: Option<f64>,
}

/// A step of a phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepProfile {
    /// "training step" or "reverse step".
    pub phase: String,
    /// Structures of a step.
    pub structures: usize,
    /// A step as it runs in a search, many in one launch, milliseconds.
    pub milliseconds: f64,
    /// The model's prediction of the launches and what passes between them, milliseconds.
    pub predicted_milliseconds: Option<f64>,
    /// Sum of the launches' floors and of the least time between launches, milliseconds.
    pub floor_milliseconds: Option<f64>,
    /// Least time for the step's arithmetic and for the bytes that any design moves, milliseconds.
    pub task_floor_milliseconds: Option<f64>,
    /// Its share of the work that is done for many steps at once (training: noise and edges), milliseconds; part of
    /// `milliseconds`.
    pub ahead_milliseconds: f64,
    /// The launches in their order.
    pub launches: Vec<LaunchTime>,
}

/// Repetitions of a launch that are timed together.
const REPEATS: usize = 32;

impl Cuda {
    /// Times `steps` training steps on `set`, and the launches of one. The engine's state is as before.
    ///
    /// # Errors
    /// As [`Engine::train`].
    pub fn profile_training(&mut self, stream: RandomStream, set: &TrainingSet, steps: usize) -> Result<StepProfile> {
        // The first call grows the buffers and loads the code.
        let before = self.state()?;
        self.train(stream, set, steps, &mut |_| Ok(()))?;
        let mut room = self.train_room(steps, [true, false])?;
        let batch = self.setup.training.batch;
        room.noise.load(&self.stream, stream, set, steps)?;
        let queue_ahead = || room.queue_ahead(&self.stream, room.n_steps * batch);
        queue_ahead()?;
        let ahead = f64::from(self.stream.time(queue_ahead)?) / room.n_steps as f64;
        // Every step taken below counts in the training state, which looks up its plan: one recorded step, two rows of a launch,
        // two rows of equal launches.
        let plan = self.stream.zeros(1 + 2 * room.n_steps + 2 * REPEATS)?;
        let schedule = PlateauSchedule::new(self.setup.training.learning_rate);
        self.stream.write(&self.training, 0, &[TrainingState::new(&schedule, 0)])?;
        self.plan_room(&mut room)?;
        let recorded = self.stream.record(|| self.queue_step(&room, 0, &plan))?;
        let n_steps = room.n_steps;
        let launches = self.stream.capture(|| self.queue_steps(&room, n_steps, &plan))?;
        self.stream.replay(&launches)?;
        let step = f64::from(self.stream.time(|| self.stream.replay(&launches))?) / n_steps as f64;
        let load = self.load_of(&room.graph, batch)?;
        let costs = self.costs(load);
        let launches = self.time_launches(&recorded, &costs.training_step())?;
        self.train_room = None;
        self.restore(&before)?;
        Ok(self.step_profile("training step", batch, [step + ahead, ahead], costs.training_task(), launches))
    }

    /// Times the reverse steps of structures `range`, and the launches of one.
    ///
    /// # Errors
    /// As [`Engine::sample`].
    pub fn profile_sampling(&mut self, stream: RandomStream, range: Range<usize>) -> Result<StepProfile> {
        self.sample(stream, range.clone(), crate::engine::Sampler::Plain, &mut |_| Ok(()))?;
        let room = self.sample_room(range.len(), None)?;
        self.network.filters(&self.stream, None, true)?;
        self.network.prepare(&self.stream)?;
        room.process.prior(&self.stream, stream, range.clone())?;
        let n_steps = self.setup.reverse.steps.min(super::sample::STEPS_PER_LAUNCH);
        let queue = || (0..n_steps).try_for_each(|_| self.queue_reverse_step(&room, stream, range.clone()));
        let launches = self.stream.capture(queue)?;
        self.stream.replay(&launches)?;
        let step = f64::from(self.stream.time(|| self.stream.replay(&launches))?) / n_steps as f64;
        let load = self.load_of(&room.graph, range.len())?;
        let recorded = self.stream.record(|| self.queue_reverse_step(&room, stream, range.clone()))?;
        let costs = self.costs(load);
        let launches = self.time_launches(&recorded, &costs.reverse_step())?;
        self.sample_room = None;
        Ok(self.step_profile("reverse step", range.len(), [step, 0.0], costs.reverse_task(), launches))
    }

    fn costs(&self, load: Load) -> Costs {
        let head = &self.network.constants.arrangement.score;
        let of_block = |b: &super::arrangement::Gated| {
            3 * b.mix.n_in * b.mix.n_out + b.net.first.n_in * b.net.first.n_out + b.net.second.n_in * b.net.second.n_out
        };
        let head_weights = head.iter().map(of_block).sum();
        Costs::new(self.network.constants.sizes, load, head_weights, self.setup.precision)
    }

    /// The load of the first `n` structures of `graph`.
    fn load_of(&self, graph: &RadiusGraph, n: usize) -> Result<Load> {
        let batch = Batch { graph, first: 0, n };
        let sum = |counts: Vec<u32>| counts.iter().map(|&n| n as usize).sum();
        Ok(Load {
            n_structures: n,
            n_pairs: sum(self.stream.read_part(&batch.graph.n_pairs, 0, n)?),
            n_neighbours: sum(self.stream.read_part(&batch.graph.n_neighbours, 0, n)?),
            n_template_edges: self.network.constants.n_template_edges(),
            n_terms: 1,
        })
    }

    fn time_launches(&self, recorded: &[Recorded], costs: &[(&'static str, Cost)]) -> Result<Vec<LaunchTime>> {
        let known = |(launch, (kernel, _)): (&Recorded, &(&str, Cost))| launch.kernel.starts_with(kernel);
        if recorded.len() != costs.len() || !recorded.iter().zip(costs).all(known) {
            let names: Vec<&str> = recorded.iter().map(|launch| launch.kernel).collect();
            return Err(Error::Failed(format!(
                "internal error: the launches {names:?} are not those whose cost is known"
            )));
        }
        let card = self.stream.device().properties();
        let times = recorded.iter().zip(costs).map(|(launch, (_, cost))| {
            let many = self.stream.capture(|| (0..REPEATS).try_for_each(|_| self.stream.launch_recorded(launch)))?;
            self.stream.replay(&many)?;
            let milliseconds = f64::from(self.stream.time(|| self.stream.replay(&many))?) / REPEATS as f64;
            Ok(LaunchTime {
                kernel: launch.kernel.to_owned(),
                blocks: launch.shape.blocks.iter().product(),
                milliseconds,
                predicted_milliseconds: None,
                flops: cost.flops,
                f64s: cost.f64s,
                bytes: cost.bytes,
                floor_milliseconds: cost.floor(card),
            })
        });
        times.collect()
    }

    /// The profile of a step of `phase`, with the predictions for it. `times`: the step, and its work ahead.
    fn step_profile(
        &self,
        phase: &str,
        structures: usize,
        times: [f64; 2],
        task: Cost,
        mut launches: Vec<LaunchTime>,
    ) -> StepProfile {
        let card = self.stream.device().properties();
        let shapes: Vec<(&str, u32)> = launches.iter().map(|launch| (launch.kernel.as_str(), launch.blocks)).collect();
        let predicted = prediction(phase, &card.name, self.network.constants.sizes.features, &shapes);
        for (launch, time) in launches.iter_mut().zip(predicted.iter().flat_map(|predicted| &predicted.launches)) {
            launch.predicted_milliseconds = Some(*time);
        }
        let floors: Option<f64> = launches.iter().map(|launch| launch.floor_milliseconds).sum();
        StepProfile {
            phase: phase.to_owned(),
            structures,
            milliseconds: times[0],
            predicted_milliseconds: predicted.map(|predicted| predicted.step),
            floor_milliseconds: floors.map(|sum| sum + LAUNCH * launches.len() as f64),
            task_floor_milliseconds: task.floor(card),
            ahead_milliseconds: times[1],
            launches,
        }
    }
}
