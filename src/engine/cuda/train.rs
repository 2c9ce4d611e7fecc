//! Training on the device: noise and edges of many steps at once, then all those steps in one launch.

use super::adamw::{EvenScale, StepPlan, TrainingState, n_blocks};
use super::forward_noise::ForwardNoise;
use super::network::{Batch, Output, Term, Wanted, Workspace};
use super::radius_graph::RadiusGraph;
use super::{Cuda, Launches};
use crate::engine::{
    Consensus, GuidanceSettings, PlateauSchedule, Progress, RandomStream, StoppingRule, TrainingReport, TrainingSet,
};
use crate::error::Result;
use crate::gpu::with_reserve;
use crate::gpu::{Buffer, Pointer};
use crate::model::Layout;

/// Most training steps of a launch. Noise and edges do not depend on the weights, so a launch makes those of all its steps
/// together.
const STEPS_PER_LAUNCH: usize = 200;
/// The same where a rule may end training: the steps of a launch after the last one change nothing, but take their time.
const STEPS_PER_JUDGED_LAUNCH: usize = 25;
/// Most structures of all steps of a launch: their edges must fit into memory.
const STRUCTURES_PER_LAUNCH: usize = 4096;

/// Buffers that training keeps between calls.
pub(super) struct TrainRoom {
    pub(super) noise: ForwardNoise,
    pub(super) graph: RadiusGraph,
    work: Workspace,
    pub(super) n_steps: usize,
    stop: Option<StopRoom>,
}

/// Buffers of the rule that may end training.
struct StopRoom {
    rule: StoppingRule,
    /// \[blocks\]\[3\] products that make up the cosine.
    products: Buffer<f64>,
    /// With halves.
    half: Option<HalfRoom>,
}

/// Buffers of one half of the batches.
struct HalfRoom {
    /// \[S\] as the scale of the noise, but 0 for the other half.
    scale: Buffer<f32>,
    /// \[P\].
    gradient: Buffer<f32>,
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
        let (n_members, batch) = (set.positions.len(), self.setup.training.batch);
        let mut room = self.train_room(steps, [n_members > 0, set.forces.is_some()])?;
        let width = room.noise.width();
        room.noise.load(&self.stream, stream, set, steps)?;
        let schedule = PlateauSchedule::new(self.setup.training.learning_rate);
        self.stream.write(&self.training, 0, &[TrainingState::new(&schedule, 0)])?;
        self.stream.clear(&self.network.weights.first)?;
        self.stream.clear(&self.network.weights.second)?;
        let steps_per_epoch = set.n_visited().div_ceil(batch);
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
            progress(training.steps as usize)?;
            if training.stopped != 0 {
                break;
            }
        }
        drop(captured);
        self.train_room = Some(room);
        let training = self.stream.read(&self.training)?[0];
        // A single step that follows must not take itself for one after the last.
        self.stream.write(&self.training, 0, &[TrainingState { stopped: 0, ..training }])?;
        let n_done = training.steps as usize;
        if !self.stream.read(&self.network.weights.parameters)?.iter().all(|p| p.is_finite()) {
            return Err(stream.lost_parameters(n_done));
        }
        Ok(TrainingReport {
            steps: n_done,
            loss: training.total_loss / n_done.max(1) as f64,
            force_loss: set.forces.is_some().then_some(training.total_force_loss / n_done.max(1) as f64),
            learning_rate: training.learning_rate * decay.share(n_done, steps),
        })
    }

    /// Makes the table of weight gradients.
    pub(super) fn plan_room(&self, room: &mut TrainRoom) -> Result<()> {
        let terms = room.terms(0, &room.noise.scale, self.setup.guidance.as_ref());
        let whole = Batch { graph: &room.graph, first: 0, n: room.noise.width() };
        self.network.plan(&self.stream, &mut room.work, &whole, &terms)
    }

    /// The buffers of the last call if they fit this one, else new ones: for batches of noisy structures, of structures whose
    /// forces are compared, or of both.
    pub(super) fn train_room(&mut self, steps: usize, parts: [bool; 2]) -> Result<TrainRoom> {
        let stop = self.setup.training.stop;
        let structures = self.setup.training.batch * parts.map(usize::from).iter().sum::<usize>();
        let most = if stop.is_some() { STEPS_PER_JUDGED_LAUNCH } else { STEPS_PER_LAUNCH };
        let n_steps = steps.min(most).min(STRUCTURES_PER_LAUNCH / structures).max(1);
        let serves = |room: &TrainRoom| room.n_steps == n_steps && room.parts().map(|n| n > 0) == parts;
        if let Some(room) = self.train_room.take().filter(serves) {
            return Ok(room);
        }
        let (stream, setup) = (&self.stream, &self.setup);
        let noise = ForwardNoise::new(stream, setup, n_steps, parts)?;
        let (width, cutoff) = (noise.width(), setup.sizes.cutoff_angstrom);
        let n_parameters = Layout::new(&setup.sizes).n_parameters();
        let half = || -> Result<HalfRoom> {
            Ok(HalfRoom { scale: stream.zeros(n_steps * width)?, gradient: stream.zeros(n_parameters)? })
        };
        let stop = stop.map(|rule| -> Result<StopRoom> {
            Ok(StopRoom {
                rule,
                products: stream.zeros(3 * n_blocks(n_parameters))?,
                half: (rule.consensus == Consensus::Halves).then(half).transpose()?,
            })
        });
        Ok(TrainRoom {
            noise,
            graph: RadiusGraph::new(stream, &setup.system, cutoff, n_steps * width, self.max_pairs)?,
            work: Workspace::new(stream, &self.network, width, self.max_pairs, true)?,
            n_steps,
            stop: stop.transpose()?,
        })
    }

    pub(super) fn queue_steps(&self, room: &TrainRoom, n_steps: usize, plan: &Buffer<StepPlan>) -> Result<()> {
        (0..n_steps).try_for_each(|k| self.queue_step(room, k, plan))
    }

    /// Queues step `k` of a launch.
    pub(super) fn queue_step(&self, room: &TrainRoom, k: usize, plan: &Buffer<StepPlan>) -> Result<()> {
        let (stream, network, work) = (&self.stream, &self.network, &room.work);
        let (width, guidance) = (room.noise.width(), self.setup.guidance.as_ref());
        let batch = Batch { graph: &room.graph, first: k * width, n: width };
        network.filters(stream, Some((work, batch)), true)?;
        network.prepare(stream)?;
        network.backbone(stream, work, &batch, Wanted::Free)?;
        let half = room.stop.as_ref().and_then(|stop| stop.half.as_ref());
        if let Some(half) = half {
            network.backward(stream, work, &batch, &room.terms(k, &half.scale, guidance))?;
            network.half_gradient(stream, work, &half.gradient)?;
        }
        network.backward(stream, work, &batch, &room.terms(k, &room.noise.scale, guidance))?;
        let force_weight = guidance.map_or(0.0, |guidance| guidance.force_weight as f32);
        network.sum_gradient(stream, work, &self.training, Some((plan, room.parts(), force_weight)))?;
        let Some(StopRoom { rule, products, .. }) = &room.stop else {
            return network.step(stream, &self.training, &self.setup.training);
        };
        network.compare(stream, half.map(|half| &half.gradient), products)?;
        network.step(stream, &self.training, &self.setup.training)?;
        network.judge(stream, rule, products, &self.training)
    }
}

impl TrainRoom {
    /// Queues the work that does not depend on the weights: noise and edges of the next steps. The first `n_structures` structures
    /// count.
    pub(super) fn queue_ahead(&self, stream: &crate::gpu::Stream, n_structures: usize) -> Result<()> {
        self.noise.run(stream)?;
        if let Some(half) = self.stop.as_ref().and_then(|stop| stop.half.as_ref()) {
            let arguments = EvenScale {
                scale: self.noise.scale.pointer(),
                even: half.scale.pointer(),
                n_structures: half.scale.len() as u32,
                width: self.noise.width() as u32,
                n_noisy: self.noise.n_noisy() as u32,
            };
            arguments.launch(stream)?;
        }
        self.graph.run(stream, &self.noise.positions, n_structures)
    }

    /// Structures of a step with a score loss, and of those whose forces are compared.
    fn parts(&self) -> [usize; 2] {
        [self.noise.n_noisy(), self.noise.width() - self.noise.n_noisy()]
    }

    /// The losses of step `k` of a launch with these factors of the structures' losses: of the score on noisy structures, and of the
    /// forces on the clean ones behind them.
    fn terms(&self, k: usize, scale: &Buffer<f32>, guidance: Option<&GuidanceSettings>) -> Vec<Term> {
        let (noise, width, [n_noisy, n_clean]) = (&self.noise, self.noise.width(), self.parts());
        let n_coordinates = noise.offset.len() / noise.factor.len();
        let term = |first: usize, n: usize| {
            let at = k * width + first;
            Term {
                output: Output::Score,
                first,
                n,
                offset: noise.offset.pointer().plus(at * n_coordinates),
                factor: noise.factor.pointer().plus(at),
                scale: scale.pointer().plus(at),
                time_features: noise.time_features.pointer().plus(2 * at),
                huber_delta: 0.0,
                weight: 1.0,
                labels: Pointer::NULL,
                label_weight: 0.0,
            }
        };
        let score = (n_noisy > 0).then(|| term(0, n_noisy));
        let forces = guidance.filter(|_| n_clean > 0).map(|guidance| Term {
            output: Output::Force,
            time_features: Pointer::NULL,
            huber_delta: guidance.huber_delta_ev_per_angstrom as f32,
            weight: guidance.force_weight as f32,
            labels: match guidance.energy_weight {
                0.0 => Pointer::NULL,
                _ => noise.labels.pointer().plus(k * width + n_noisy),
            },
            label_weight: (guidance.energy_weight * n_coordinates as f64) as f32,
            ..term(n_noisy, n_clean)
        });
        score.into_iter().chain(forces).collect()
    }
}
