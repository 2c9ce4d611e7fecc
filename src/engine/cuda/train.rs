//! Training on the device: noise and edges of many steps at once, then all those steps in one launch.

use super::adamw::TrainingState;
use super::driver::Buffer;
use super::forward_noise::ForwardNoise;
use super::network::{Batch, Output, Term, Wanted, Workspace};
use super::radius_graph::RadiusGraph;
use super::{Cuda, Launches, with_reserve};
use crate::engine::{PlateauSchedule, Progress, Stream, TrainingReport, TrainingSet};
use crate::error::{Error, Result};

/// Training steps a launch. Noise and edges do not depend on the weights, so those of all its steps are made together.
const STEPS_PER_LAUNCH: usize = 100;

/// What training keeps between calls.
pub(super) struct TrainRoom {
    pub(super) noise: ForwardNoise,
    pub(super) graph: RadiusGraph,
    work: Workspace,
    pub(super) n_steps: usize,
}

impl Cuda {
    /// See [`crate::engine::Engine::train`].
    pub(super) fn run_training(
        &mut self,
        stream: Stream,
        set: &TrainingSet,
        steps: usize,
        progress: Progress,
    ) -> Result<TrainingReport> {
        let n_members = set.positions.len();
        let batch = self.setup.training.batch;
        let mut room = self.train_room(steps)?;
        room.noise.load(&self.stream, stream, set, steps)?;
        let schedule = PlateauSchedule::new(self.setup.training.learning_rate);
        self.stream.write(&self.training, 0, &[TrainingState::new(&schedule, 0)])?;
        self.stream.clear(&self.network.weights.first)?;
        self.stream.clear(&self.network.weights.second)?;
        let steps_per_epoch = n_members.div_ceil(batch);
        let ends_epoch: Vec<u32> = (1..=steps).map(|step| u32::from(step % steps_per_epoch == 0)).collect();
        let ends_epoch = self.stream.upload(&ends_epoch)?;

        let mut captured: Option<(usize, Launches)> = None;
        let mut done = 0;
        while done < steps {
            let n_steps = room.n_steps.min(steps - done);
            room.queue_ahead(&self.stream, n_steps * batch)?;
            if let Some(needed) = room.graph.overflowed(&self.stream)? {
                self.max_pairs = with_reserve(needed);
                room.graph.grow(&self.stream, self.max_pairs)?;
                room.work = Workspace::new(&self.stream, &self.network, batch, self.max_pairs, true)?;
                captured = None;
                room.graph.run(&self.stream, &room.noise.positions, n_steps * batch)?;
            }
            if captured.as_ref().is_none_or(|(n, _)| *n != n_steps) {
                self.plan_room(&mut room)?;
                let launches = self.prepare_launches(|| self.queue_steps(&room, n_steps, &ends_epoch))?;
                captured = Some((n_steps, launches));
            }
            if let Some((_, launches)) = &captured {
                self.launch(launches, || self.queue_steps(&room, n_steps, &ends_epoch))?;
            }
            done += n_steps;
            let training = self.stream.read(&self.training)?[0];
            if training.bad_step > 0 {
                return Err(Error::Failed(format!(
                    "training diverged: the loss became {} in step {} of iteration {}; lower training.learning_rate",
                    training.loss, training.bad_step, stream.iteration
                )));
            }
            progress(done)?;
        }
        drop(captured);
        self.train_room = Some(room);
        let training = self.stream.read(&self.training)?[0];
        if !self.stream.read(&self.network.weights.parameters)?.iter().all(|p| p.is_finite()) {
            return Err(Error::Failed(format!(
                "training diverged: step {steps} of iteration {} left parameters that are not finite; lower \
                 training.learning_rate",
                stream.iteration
            )));
        }
        Ok(TrainingReport {
            loss: training.total_loss / steps.max(1) as f64,
            force_loss: None,
            learning_rate: training.learning_rate,
        })
    }

    /// Makes the table of weight gradients.
    pub(super) fn plan_room(&self, room: &mut TrainRoom) -> Result<()> {
        let n = self.setup.training.batch;
        let term = room.term(n, 0);
        let whole = Batch { graph: &room.graph, first: 0, n };
        self.network.plan(&self.stream, &mut room.work, &whole, &[term])
    }

    /// The room of the last call if it serves, else a new one.
    pub(super) fn train_room(&mut self, steps: usize) -> Result<TrainRoom> {
        let n_steps = steps.clamp(1, STEPS_PER_LAUNCH);
        if let Some(room) = self.train_room.take().filter(|room| room.n_steps == n_steps) {
            return Ok(room);
        }
        let (stream, setup) = (&self.stream, &self.setup);
        let (batch, cutoff) = (setup.training.batch, setup.sizes.cutoff_angstrom);
        Ok(TrainRoom {
            noise: ForwardNoise::new(stream, setup, n_steps)?,
            graph: RadiusGraph::new(stream, &setup.system, cutoff, n_steps * batch, self.max_pairs)?,
            work: Workspace::new(stream, &self.network, batch, self.max_pairs, true)?,
            n_steps,
        })
    }

    pub(super) fn queue_steps(&self, room: &TrainRoom, n_steps: usize, ends_epoch: &Buffer<u32>) -> Result<()> {
        (0..n_steps).try_for_each(|k| self.queue_step(room, k, ends_epoch))
    }

    /// Queues step `k` of a launch.
    pub(super) fn queue_step(&self, room: &TrainRoom, k: usize, ends_epoch: &Buffer<u32>) -> Result<()> {
        let (stream, network, work) = (&self.stream, &self.network, &room.work);
        let n = self.setup.training.batch;
        let batch = Batch { graph: &room.graph, first: k * n, n };
        network.filters(stream, Some((work, batch)), true)?;
        network.prepare(stream)?;
        network.backbone(stream, work, &batch, Wanted::Free)?;
        network.backward(stream, work, &batch, &[room.term(n, k)])?;
        network.sum_gradient(stream, work, &self.training, Some((ends_epoch, [n, 0], 0.0)))?;
        network.step(stream, &self.training, &self.setup.training)
    }
}

impl TrainRoom {
    /// Queues what does not depend on the weights: noise and edges of the next steps, of which the first `n_structures` count.
    pub(super) fn queue_ahead(&self, stream: &super::driver::Stream, n_structures: usize) -> Result<()> {
        self.noise.run(stream)?;
        self.graph.run(stream, &self.noise.positions, n_structures)
    }

    /// The score loss of step `k` of a launch, `n` structures each.
    fn term(&self, n: usize, k: usize) -> Term {
        let n_coordinates = self.noise.offset.len() / self.noise.factor.len();
        Term {
            output: Output::Score,
            first: 0,
            n,
            offset: self.noise.offset.pointer().plus(k * n * n_coordinates),
            factor: self.noise.factor.pointer().plus(k * n),
            scale: self.noise.scale.pointer().plus(k * n),
            time_features: self.noise.time_features.pointer().plus(2 * k * n),
            huber_delta: 0.0,
            weight: 1.0,
        }
    }
}
