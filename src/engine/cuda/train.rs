//! Training on the device: noise and edges of many steps at once, then all those steps in one launch.

use super::adamw::{StepPlan, TrainingState};
use super::forward_noise::ForwardNoise;
use super::network::{Batch, Output, Term, Wanted, Workspace};
use super::radius_graph::RadiusGraph;
use super::{Cuda, Launches};
use crate::engine::{GuidanceSettings, PlateauSchedule, Progress, RandomStream, TrainingReport, TrainingSet};
use crate::error::Result;
use crate::gpu::with_reserve;
use crate::gpu::{Buffer, Pointer};

/// Most training steps of a launch. Noise and edges do not depend on the weights, so a launch makes those of all its steps
/// together.
const STEPS_PER_LAUNCH: usize = 200;
/// Most structures of all steps of a launch: their edges must fit into memory.
const STRUCTURES_PER_LAUNCH: usize = 4096;

/// Buffers that training keeps between calls.
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
        stream: RandomStream,
        set: &TrainingSet,
        steps: usize,
        progress: Progress,
    ) -> Result<TrainingReport> {
        let n_members = set.positions.len();
        let batch = self.setup.training.batch;
        let mut room = self.train_room(steps, set.forces.is_some())?;
        let width = room.noise.width();
        room.noise.load(&self.stream, stream, set, steps)?;
        let schedule = PlateauSchedule::new(self.setup.training.learning_rate);
        self.stream.write(&self.training, 0, &[TrainingState::new(&schedule, 0)])?;
        self.stream.clear(&self.network.weights.first)?;
        self.stream.clear(&self.network.weights.second)?;
        let steps_per_epoch = n_members.div_ceil(batch);
        let decay = self.setup.training.decay;
        let plan = self.stream.upload(&StepPlan::of_call(steps, steps_per_epoch, decay))?;

        let mut captured: Option<(usize, Launches)> = None;
        let mut done = 0;
        while done < steps {
            let n_steps = room.n_steps.min(steps - done);
            room.queue_ahead(&self.stream, n_steps * width)?;
            if let Some(needed) = room.graph.overflowed(&self.stream)? {
                self.max_pairs = with_reserve(needed);
                room.graph.grow(&self.stream, self.max_pairs)?;
                room.work = Workspace::new(&self.stream, &self.network, width, self.max_pairs, true)?;
                captured = None;
                room.graph.run(&self.stream, &room.noise.positions, n_steps * width)?;
            }
            if captured.as_ref().is_none_or(|(n, _)| *n != n_steps) {
                self.plan_room(&mut room)?;
                let launches = self.prepare_launches(|| self.queue_steps(&room, n_steps, &plan))?;
                captured = Some((n_steps, launches));
            }
            if let Some((_, launches)) = &captured {
                self.launch(launches, || self.queue_steps(&room, n_steps, &plan))?;
            }
            done += n_steps;
            let training = self.stream.read(&self.training)?[0];
            if training.bad_step > 0 {
                return Err(stream.diverged(training.bad_step as usize, training.loss));
            }
            progress(done)?;
        }
        drop(captured);
        self.train_room = Some(room);
        let training = self.stream.read(&self.training)?[0];
        if !self.stream.read(&self.network.weights.parameters)?.iter().all(|p| p.is_finite()) {
            return Err(stream.lost_parameters(steps));
        }
        Ok(TrainingReport {
            loss: training.total_loss / steps.max(1) as f64,
            force_loss: set.forces.is_some().then_some(training.total_force_loss / steps.max(1) as f64),
            learning_rate: training.learning_rate * decay.share(steps, steps),
        })
    }

    /// Makes the table of weight gradients.
    pub(super) fn plan_room(&self, room: &mut TrainRoom) -> Result<()> {
        let terms = room.terms(self.setup.training.batch, 0, self.setup.guidance.as_ref());
        let whole = Batch { graph: &room.graph, first: 0, n: room.noise.width() };
        self.network.plan(&self.stream, &mut room.work, &whole, &terms)
    }

    /// The buffers of the last call if they fit this one, else new ones.
    pub(super) fn train_room(&mut self, steps: usize, forces: bool) -> Result<TrainRoom> {
        let structures = self.setup.training.batch * if forces { 2 } else { 1 };
        let n_steps = steps.min(STEPS_PER_LAUNCH).min(STRUCTURES_PER_LAUNCH / structures).max(1);
        let serves =
            |room: &TrainRoom| room.n_steps == n_steps && room.compares_forces(self.setup.training.batch) == forces;
        if let Some(room) = self.train_room.take().filter(serves) {
            return Ok(room);
        }
        let (stream, setup) = (&self.stream, &self.setup);
        let noise = ForwardNoise::new(stream, setup, n_steps, forces)?;
        let (width, cutoff) = (noise.width(), setup.sizes.cutoff_angstrom);
        Ok(TrainRoom {
            noise,
            graph: RadiusGraph::new(stream, &setup.system, cutoff, n_steps * width, self.max_pairs)?,
            work: Workspace::new(stream, &self.network, width, self.max_pairs, true)?,
            n_steps,
        })
    }

    pub(super) fn queue_steps(&self, room: &TrainRoom, n_steps: usize, plan: &Buffer<StepPlan>) -> Result<()> {
        (0..n_steps).try_for_each(|k| self.queue_step(room, k, plan))
    }

    /// Queues step `k` of a launch.
    pub(super) fn queue_step(&self, room: &TrainRoom, k: usize, plan: &Buffer<StepPlan>) -> Result<()> {
        let (stream, network, work) = (&self.stream, &self.network, &room.work);
        let (n, width, guidance) = (self.setup.training.batch, room.noise.width(), self.setup.guidance.as_ref());
        let batch = Batch { graph: &room.graph, first: k * width, n: width };
        network.filters(stream, Some((work, batch)), true)?;
        network.prepare(stream)?;
        network.backbone(stream, work, &batch, Wanted::Free)?;
        network.backward(stream, work, &batch, &room.terms(n, k, guidance))?;
        let force_weight = guidance.map_or(0.0, |guidance| guidance.force_weight as f32);
        network.sum_gradient(stream, work, &self.training, Some((plan, [n, width - n], force_weight)))?;
        network.step(stream, &self.training, &self.setup.training)
    }
}

impl TrainRoom {
    /// Queues the work that does not depend on the weights: noise and edges of the next steps. The first `n_structures` structures
    /// count.
    pub(super) fn queue_ahead(&self, stream: &crate::gpu::Stream, n_structures: usize) -> Result<()> {
        self.noise.run(stream)?;
        self.graph.run(stream, &self.noise.positions, n_structures)
    }

    /// True if steps of `batch` noisy structures also compare forces.
    fn compares_forces(&self, batch: usize) -> bool {
        self.noise.width() > batch
    }

    /// The losses of step `k` of a launch: of the score on `n` noisy structures, and of the forces on the clean ones behind them.
    fn terms(&self, n: usize, k: usize, guidance: Option<&GuidanceSettings>) -> Vec<Term> {
        let (noise, width) = (&self.noise, self.noise.width());
        let n_coordinates = noise.offset.len() / noise.factor.len();
        let term = |first: usize| {
            let at = k * width + first;
            Term {
                output: Output::Score,
                first,
                n,
                offset: noise.offset.pointer().plus(at * n_coordinates),
                factor: noise.factor.pointer().plus(at),
                scale: noise.scale.pointer().plus(at),
                time_features: noise.time_features.pointer().plus(2 * at),
                huber_delta: 0.0,
                weight: 1.0,
            }
        };
        let mut terms = vec![term(0)];
        terms.extend(guidance.filter(|_| self.compares_forces(n)).map(|guidance| Term {
            output: Output::Force,
            time_features: Pointer::NULL,
            huber_delta: guidance.huber_delta_ev_per_angstrom as f32,
            weight: guidance.force_weight as f32,
            ..term(n)
        }));
        terms
    }
}
