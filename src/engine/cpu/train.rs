//! Training: noisy batches, loss, gradient over chunks, AdamW with its learning rate.

use super::Cpu;
use super::adamw::{AdamW, RANGE};
use super::loss::LossTask;
use super::network::{Chunk, Output};
use super::simd::{Real, add_assign};
use crate::diffusion::{AtomProcess, forward_noise, remove_centre};
use crate::engine::{
    Consensus, Loss, LossAndGradient, NoisyBatch, PlateauSchedule, Progress, RandomStream, Targets, TrainingReport,
    TrainingSet, Watch,
};
use crate::error::Result;
use crate::random::{Noise, Purpose, host_generator};
use crate::system::Vec3;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;
use std::ops::Range;

/// Smallest diffusion time of a training batch.
const T_MIN: f64 = 1e-5;

impl<T: Real> Cpu<T> {
    /// See [`crate::engine::Engine::train`].
    pub(super) fn run_training(
        &mut self,
        stream: RandomStream,
        set: &TrainingSet,
        steps: usize,
        progress: Progress,
    ) -> Result<TrainingReport> {
        self.optimizer = AdamW::new(self.network.layout.n_parameters());
        self.schedule = PlateauSchedule::new(self.setup.training.learning_rate);
        let decay = self.setup.training.decay;
        let force_weight = self.setup.guidance.map_or(0.0, |guidance| guidance.force_weight);
        let mut visits = Visits::new(stream, set, self.setup.training.batch);
        let mut watch = self.setup.training.stop.map(Watch::new);
        let (mut n_done, mut epoch, mut total, mut total_force) = (0, Vec::new(), 0.0, 0.0);
        for step in 0..steps {
            let (members, ends_epoch) = visits.next();
            let batches = self.step_batches(stream, step as u32, set, members);
            let losses = self.gradient(&batches.iter().map(StepBatch::term).collect::<Vec<_>>());
            let loss_of = |wanted: bool| {
                let of = batches.iter().zip(&losses).filter(|(batch, _)| batch.compares_forces() == wanted);
                of.map(|(_, loss)| loss).sum::<f64>()
            };
            let (score_loss, force_loss) = (loss_of(false), loss_of(true));
            let loss = score_loss + force_weight * force_loss;
            if !loss.is_finite() {
                return Err(stream.diverged(step + 1, loss));
            }
            let products =
                watch.and_then(|watch| watch.checks(step)).map(|consensus| self.consensus(consensus, &batches));
            self.optimizer_step(decay.share(step, steps));
            n_done = step + 1;
            total += score_loss;
            total_force += force_loss;
            epoch.push(loss);
            if ends_epoch {
                self.schedule.epoch(epoch.iter().sum::<f64>() / epoch.len() as f64);
                epoch.clear();
            }
            progress(n_done)?;
            if products.zip(watch.as_mut()).is_some_and(|(products, watch)| watch.is_last(products)) {
                break;
            }
        }
        if !self.weights.flat.iter().all(|p| p.wide().is_finite()) {
            return Err(stream.lost_parameters(n_done));
        }
        let n_steps = n_done.max(1) as f64;
        Ok(TrainingReport {
            steps: n_done,
            loss: total / n_steps,
            force_loss: set.forces.is_some().then_some(total_force / n_steps),
            learning_rate: self.schedule.learning_rate * decay.share(n_done, steps),
        })
    }

    /// The batches of `step`: noisy structures for the score, clean ones for the forces.
    fn step_batches(&self, stream: RandomStream, step: u32, set: &TrainingSet, members: &[usize]) -> Vec<StepBatch> {
        let score = (!members.is_empty()).then(|| StepBatch {
            batch: self.noisy_batch(stream, step, set, members),
            loss: Loss::Score(self.setup.training.weighting),
            weight: 1.0,
        });
        let force_weight = self.setup.guidance.map_or(0.0, |guidance| guidance.force_weight);
        let forces = self.force_batch(stream, step, set);
        let forces = forces.map(|(batch, loss)| StepBatch { batch, loss, weight: force_weight });
        score.into_iter().chain(forces).collect()
    }

    /// Σa², Σab and Σb² of the two vectors that `consensus` compares in a step of `batches`, whose gradient [`Cpu::gradient`] has
    /// left and finds there again.
    fn consensus(&mut self, consensus: Consensus, batches: &[StepBatch]) -> [f64; 3] {
        let n = self.network.layout.n_parameters();
        if consensus == Consensus::Momentum {
            return products(&self.optimizer.first, &self.gradients[0][..n]);
        }
        let whole = self.gradients[0][..n].to_vec();
        let half: Vec<StepBatch> = batches.iter().map(StepBatch::even_half).collect();
        self.gradient(&half.iter().map(StepBatch::term).collect::<Vec<_>>());
        let mut other = whole.clone();
        other.iter_mut().zip(&self.gradients[0]).for_each(|(g, &of_half)| *g = *g - of_half);
        let products = products(&self.gradients[0][..n], &other);
        self.gradients[0][..n].copy_from_slice(&whole);
        products
    }

    /// The structures whose forces `step` compares, at their clean positions, with the loss that compares them.
    fn force_batch(&self, stream: RandomStream, step: u32, set: &TrainingSet) -> Option<(NoisyBatch, Loss)> {
        let (forces, guidance) = (set.forces.as_ref()?, self.setup.guidance?);
        let members = forces.members(stream, step, self.setup.training.batch);
        let batch = NoisyBatch {
            positions: members.iter().map(|&member| forces.positions[member].clone()).collect(),
            times: vec![0.0; members.len()],
            noise: vec![],
            weights: vec![],
        };
        let target = members.iter().map(|&member| forces.forces[member].clone()).collect();
        let delta = guidance.huber_delta_ev_per_angstrom;
        if guidance.energy_weight == 0.0 {
            return Some((batch, Loss::Huber { target, delta }));
        }
        let labels = members.iter().map(|&member| forces.labels[member]).collect();
        Some((batch, Loss::Readout { target, delta, labels, weight: guidance.energy_weight }))
    }

    /// Noises the members of a batch, each at its own time.
    fn noisy_batch(&self, stream: RandomStream, step: u32, set: &TrainingSet, members: &[usize]) -> NoisyBatch {
        let time = Noise::new(stream.seed, Purpose::Time, stream.iteration);
        let forward = Noise::new(stream.seed, Purpose::Forward, stream.iteration);
        let system = &self.network.system;
        let mut batch = NoisyBatch { positions: vec![], times: vec![], noise: vec![], weights: vec![] };
        for (slot, &member) in members.iter().enumerate() {
            let slot = slot as u32;
            let t = T_MIN + (1.0 - T_MIN) * time.uniforms(slot, step, 0, 0)[0];
            let sigma = self.setup.sde.noise_scale(t);
            let clean = &set.positions[member];
            let (mut positions, mut noise): (Vec<Vec3>, Vec<Vec3>) = (0usize..)
                .zip(clean)
                .map(|(atom, &x)| {
                    let process = AtomProcess::of(system, &self.setup.sde, atom);
                    let uniforms = forward.uniforms(slot, step, atom as u32, 0);
                    forward_noise(x, process.factor * sigma, uniforms, process.confinement)
                })
                .map(|noised| (noised.position, noised.noise))
                .unzip();
            if system.is_free_cluster() {
                // The model sees differences of positions only: it cannot know how the whole cluster moved.
                remove_centre(&mut noise);
                for ((x, clean), e) in positions.iter_mut().zip(clean).zip(&noise) {
                    *x = std::array::from_fn(|d| clean[d] + sigma * e[d]);
                }
            }
            if let Targets::Mixed { scores, mixture } = &set.targets {
                for (atom, offset) in noise.iter_mut().enumerate() {
                    let (score, bounds) = (scores[member][atom], system.confinement_of(atom));
                    *offset = mixture.offset(*offset, score, sigma, clean[atom][2], bounds);
                }
            }
            batch.positions.push(positions);
            batch.noise.push(noise);
            batch.times.push(t);
            batch.weights.push(set.weights[member]);
        }
        batch
    }

    /// The losses of `terms`; the whole gradient of their weighted sum is left in the first chunk's array. Chunks of all terms run
    /// in parallel, and the part that all structures share is computed once.
    pub(super) fn gradient(&mut self, terms: &[Term]) -> Vec<f64> {
        let parts: Vec<(usize, Range<usize>)> = (terms.iter().enumerate())
            .flat_map(|(k, term)| {
                let n_structures = term.batch.positions.len();
                let size = self.chunk_size(n_structures);
                (0..n_structures).step_by(size).map(move |start| (k, start..n_structures.min(start + size)))
            })
            .collect();
        self.chunks.resize_with(self.chunks.len().max(parts.len()), Chunk::default);
        self.gradients.resize_with(self.gradients.len().max(parts.len()), Vec::new);
        let (network, weights, shared, sde) = (&self.network, &self.weights, &self.shared, self.setup.sde);
        let partial: Vec<f64> = (parts.par_iter())
            .zip(self.chunks.par_iter_mut().zip(self.gradients.par_iter_mut()))
            .map(|((k, range), (chunk, gradient))| {
                let Term { batch, loss, weight } = terms[*k];
                let task = LossTask { batch, loss, weight, sde, system: &network.system };
                let output = if loss.target_forces().is_some() { Output::Force } else { Output::Score };
                gradient.clear();
                gradient.resize(network.gradient_len(), T::ZERO);
                let structures: Vec<&[Vec3]> = batch.positions[range.clone()].iter().map(Vec::as_slice).collect();
                network.backbone(weights, shared, chunk, &structures, false, true);
                let out = network.head(weights, chunk, output, &batch.times[range.clone()]);
                let (loss, d_out) = task.loss_and_gradient(range.start, out);
                let scalars = network.scalars(chunk, output);
                let (readout_loss, d_scalars) = task.readout_loss_and_gradient(range.clone(), scalars);
                network.backward(weights, shared, chunk, output, (&d_out, d_scalars.as_deref()), gradient);
                loss + readout_loss
            })
            .collect();
        let (sum, others) = self.gradients[..parts.len()].split_at_mut(1);
        sum[0].par_chunks_mut(RANGE).enumerate().for_each(|(k, sum)| {
            for other in others.iter() {
                add_assign(sum, &other[k * RANGE..][..sum.len()]);
            }
        });
        self.network.backward_shared(&self.weights, &mut self.shared, &mut self.gradients[0]);
        let loss_of = |term| partial.iter().zip(&parts).filter(|(_, (k, _))| *k == term).map(|(loss, _)| loss).sum();
        (0..terms.len()).map(loss_of).collect()
    }

    /// Takes a clipped AdamW step with the gradient of [`Cpu::gradient`], at this share of the schedule's learning rate. Returns
    /// the gradient's norm before clipping.
    pub(super) fn optimizer_step(&mut self, share: f64) -> f64 {
        let n = self.network.layout.n_parameters();
        let rate = self.schedule.learning_rate * share;
        let norm = self.optimizer.step(&mut self.weights.flat, &self.gradients[0][..n], rate, &self.setup.training);
        self.refresh();
        norm
    }

    /// See [`crate::engine::Engine::loss_and_gradient`].
    pub(super) fn run_loss_and_gradient(&mut self, batch: &NoisyBatch, loss: &Loss) -> LossAndGradient {
        let value = self.gradient(&[Term { batch, loss, weight: 1.0 }])[0];
        let n = self.network.layout.n_parameters();
        LossAndGradient { loss: value, gradient: self.gradients[0][..n].iter().map(|g| g.wide()).collect() }
    }
}

/// The order in which the steps of a call visit the members of a training set: each epoch shuffles the order of the one before.
struct Visits {
    generator: Xoshiro256PlusPlus,
    order: Vec<usize>,
    next: usize,
    batch: usize,
    /// Steps of an epoch that are left, and all of them, where there are no members for the score.
    forces_alone: Option<[usize; 2]>,
}

impl Visits {
    fn new(stream: RandomStream, set: &TrainingSet, batch: usize) -> Self {
        let n_members = set.positions.len();
        Visits {
            generator: host_generator(stream.seed, Purpose::Shuffle, stream.iteration),
            order: (0..n_members).collect(),
            next: n_members,
            batch: batch.min(n_members),
            forces_alone: (n_members == 0).then_some([set.n_visited().div_ceil(batch); 2]),
        }
    }

    /// The members that the next step takes, and whether an epoch ends with it.
    fn next(&mut self) -> (&[usize], bool) {
        if let Some([left, all]) = &mut self.forces_alone {
            *left = if *left == 1 { *all } else { *left - 1 };
            return (&[], left == all);
        }
        if self.next >= self.order.len() {
            self.order.shuffle(&mut self.generator);
            self.next = 0;
        }
        let members = self.next..(self.next + self.batch).min(self.order.len());
        self.next = members.end;
        (&self.order[members], self.next >= self.order.len())
    }
}

/// Structures of a step with a loss, and its weight in the sum of the step's losses.
struct StepBatch {
    batch: NoisyBatch,
    loss: Loss,
    weight: f64,
}

impl StepBatch {
    fn term(&self) -> Term<'_> {
        Term { batch: &self.batch, loss: &self.loss, weight: self.weight }
    }

    fn compares_forces(&self) -> bool {
        self.loss.target_forces().is_some()
    }

    /// The structures in even places, with the weight that they have in the whole batch.
    fn even_half(&self) -> StepBatch {
        fn even<V: Clone>(values: &[V]) -> Vec<V> {
            values.iter().step_by(2).cloned().collect()
        }
        let NoisyBatch { positions, times, noise, weights } = &self.batch;
        let batch =
            NoisyBatch { positions: even(positions), times: even(times), noise: even(noise), weights: even(weights) };
        let loss = match &self.loss {
            Loss::Score(weighting) => Loss::Score(*weighting),
            Loss::Force(target) => Loss::Force(even(target)),
            Loss::Huber { target, delta } => Loss::Huber { target: even(target), delta: *delta },
            Loss::Readout { target, delta, labels, weight } => {
                Loss::Readout { target: even(target), delta: *delta, labels: even(labels), weight: *weight }
            }
        };
        let share = batch.positions.len() as f64 / positions.len() as f64;
        StepBatch { batch, loss, weight: share * self.weight }
    }
}

/// Σa², Σab and Σb², added in f64 range by range.
fn products<T: Real>(a: &[T], b: &[T]) -> [f64; 3] {
    let of_range = |(a, b): (&[T], &[T])| {
        a.iter().zip(b).fold([0.0; 3], |[aa, ab, bb], (a, b)| {
            let (a, b) = (a.wide(), b.wide());
            [aa + a * a, ab + a * b, bb + b * b]
        })
    };
    let ranges: Vec<[f64; 3]> = a.par_chunks(RANGE).zip(b.par_chunks(RANGE)).map(of_range).collect();
    ranges.iter().fold([0.0; 3], |sum, range| std::array::from_fn(|k| sum[k] + range[k]))
}

/// A batch, its loss, and the weight of this loss in the sum of several.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term<'a> {
    batch: &'a NoisyBatch,
    loss: &'a Loss,
    weight: f64,
}
