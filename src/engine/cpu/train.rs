//! Training: noisy batches, loss, gradient over chunks, AdamW, plateau schedule.

use super::Cpu;
use super::adamw::{AdamW, RANGE};
use super::network::{Chunk, Output};
use super::simd::{Real, add_assign};
use crate::diffusion::{forward_noise, remove_centre};
use crate::engine::{
    Loss, LossAndGradient, NoisyBatch, PlateauSchedule, Progress, Stream, TrainingReport, TrainingSet, Weighting,
};
use crate::error::{Error, Result};
use crate::random::{Noise, Purpose, host_generator};
use crate::system::Vec3;
use rand::seq::SliceRandom;
use rayon::prelude::*;

/// Smallest diffusion time of a training batch.
const T_MIN: f64 = 1e-5;
/// Epochs without improvement before the learning rate falls, and what it is multiplied by then.
const PATIENCE: u32 = 100;
const PLATEAU_FACTOR: f64 = 0.95;
/// An epoch improves on the best if it is lower by this share (PyTorch's ReduceLROnPlateau).
const PLATEAU_THRESHOLD: f64 = 1e-4;

impl PlateauSchedule {
    /// Starts at `learning_rate`.
    pub fn new(learning_rate: f64) -> Self {
        PlateauSchedule { learning_rate, best: None, bad_epochs: 0 }
    }

    /// Hears of an epoch's mean loss.
    pub fn epoch(&mut self, loss: f64) {
        if self.best.is_none_or(|best| loss < best * (1.0 - PLATEAU_THRESHOLD)) {
            self.best = Some(loss);
            self.bad_epochs = 0;
            return;
        }
        self.bad_epochs += 1;
        if self.bad_epochs > PATIENCE {
            self.learning_rate *= PLATEAU_FACTOR;
            self.bad_epochs = 0;
        }
    }
}

impl<T: Real> Cpu<T> {
    /// See [`crate::engine::Engine::train`].
    pub(super) fn run_training(
        &mut self,
        stream: Stream,
        set: &TrainingSet,
        steps: usize,
        progress: Progress,
    ) -> Result<TrainingReport> {
        let batch = self.setup.training.batch.min(set.positions.len());
        if batch == 0 {
            return Err(Error::Failed("there is nothing to train on: the training set is empty".into()));
        }
        self.optimizer = AdamW::new(self.network.layout.n_parameters());
        self.schedule = PlateauSchedule::new(self.setup.training.learning_rate);
        let loss_kind = Loss::Score(self.setup.training.weighting);
        let mut generator = host_generator(stream.seed, Purpose::Shuffle, stream.iteration);
        let mut order: Vec<usize> = (0..set.positions.len()).collect();
        let (mut next, mut epoch, mut total) = (order.len(), Vec::new(), 0.0);
        for step in 0..steps {
            if next >= order.len() {
                order.shuffle(&mut generator);
                next = 0;
            }
            let members = &order[next..(next + batch).min(order.len())];
            next += members.len();
            let noisy = self.noisy_batch(stream, step as u32, set, members);
            let loss = self.gradient(&noisy, &loss_kind);
            if !loss.is_finite() {
                return Err(Error::Failed(format!(
                    "training diverged: the loss became {loss} in step {} of iteration {}; lower training.learning_rate",
                    step + 1,
                    stream.iteration
                )));
            }
            self.optimizer_step();
            total += loss;
            epoch.push(loss);
            if next >= order.len() {
                self.schedule.epoch(epoch.iter().sum::<f64>() / epoch.len() as f64);
                epoch.clear();
            }
            progress(step + 1)?;
        }
        if !self.weights.flat.iter().all(|p| p.wide().is_finite()) {
            return Err(Error::Failed(format!(
                "training diverged: step {steps} of iteration {} left parameters that are not finite; lower \
                 training.learning_rate",
                stream.iteration
            )));
        }
        Ok(TrainingReport { loss: total / steps.max(1) as f64, learning_rate: self.schedule.learning_rate })
    }

    /// Noises the members of a batch, each at a time of its own.
    fn noisy_batch(&self, stream: Stream, step: u32, set: &TrainingSet, members: &[usize]) -> NoisyBatch {
        let time = Noise::new(stream.seed, Purpose::Time, stream.iteration);
        let forward = Noise::new(stream.seed, Purpose::Forward, stream.iteration);
        let system = &self.network.system;
        let mut batch = NoisyBatch { positions: vec![], times: vec![], noise: vec![], weights: vec![] };
        for (slot, &member) in members.iter().enumerate() {
            let slot = slot as u32;
            let t = T_MIN + (1.0 - T_MIN) * time.uniforms(slot, step, 0, 0)[0];
            let sigma = self.setup.sde.noise_scale(t);
            let clean = &set.positions[member];
            let (mut positions, mut noise): (Vec<Vec3>, Vec<Vec3>) = (0..)
                .zip(clean)
                .map(|(atom, &x)| {
                    forward_noise(x, sigma, forward.uniforms(slot, step, atom, 0), system.confinement.as_ref())
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
            batch.positions.push(positions);
            batch.noise.push(noise);
            batch.times.push(t);
            batch.weights.push(set.weights[member]);
        }
        batch
    }

    /// Loss of a batch; its whole gradient is left in the first chunk's array.
    pub(super) fn gradient(&mut self, batch: &NoisyBatch, loss: &Loss) -> f64 {
        let n_structures = batch.positions.len();
        let size = self.chunk_size(n_structures);
        let n_chunks = n_structures.div_ceil(size);
        self.chunks.resize_with(self.chunks.len().max(n_chunks), Chunk::default);
        self.gradients.resize_with(self.gradients.len().max(n_chunks), Vec::new);
        let (network, weights, shared, sde) = (&self.network, &self.weights, &self.shared, self.setup.sde);
        let task = LossTask { batch, loss, sde, n_free: network.system.n_free(), n_atoms: network.system.n_atoms() };
        let output = match loss {
            Loss::Score(_) => Output::Score,
            Loss::Force(_) => Output::Force,
        };
        let partial: Vec<f64> = (self.chunks[..n_chunks].par_iter_mut())
            .zip(self.gradients[..n_chunks].par_iter_mut())
            .enumerate()
            .map(|(c, (chunk, gradient))| {
                let range = c * size..((c + 1) * size).min(n_structures);
                gradient.clear();
                gradient.resize(network.gradient_len(), T::ZERO);
                let structures: Vec<&[Vec3]> = batch.positions[range.clone()].iter().map(Vec::as_slice).collect();
                network.backbone(weights, shared, chunk, &structures, false, true);
                let out = network.head(weights, chunk, output, &batch.times[range.clone()]);
                let (loss, d_out) = task.loss_and_gradient(range.start, out);
                network.backward(weights, shared, chunk, output, &d_out, gradient);
                loss
            })
            .collect();
        let (sum, others) = self.gradients[..n_chunks].split_at_mut(1);
        sum[0].par_chunks_mut(RANGE).enumerate().for_each(|(k, sum)| {
            for other in others.iter() {
                add_assign(sum, &other[k * RANGE..][..sum.len()]);
            }
        });
        self.network.backward_shared(&self.weights, &mut self.shared, &mut self.gradients[0]);
        partial.iter().sum()
    }

    /// Clipped AdamW step with the gradient of [`Cpu::gradient`]; gives its norm before clipping.
    pub(super) fn optimizer_step(&mut self) -> f64 {
        let n = self.network.layout.n_parameters();
        let rate = self.schedule.learning_rate;
        let norm = self.optimizer.step(&mut self.weights.flat, &self.gradients[0][..n], rate, &self.setup.training);
        self.refresh();
        norm
    }

    /// See [`crate::engine::Engine::loss_and_gradient`].
    pub(super) fn run_loss_and_gradient(&mut self, batch: &NoisyBatch, loss: &Loss) -> LossAndGradient {
        let value = self.gradient(batch, loss);
        let n = self.network.layout.n_parameters();
        LossAndGradient { loss: value, gradient: self.gradients[0][..n].iter().map(|g| g.wide()).collect() }
    }
}

/// The loss of one batch, of which a chunk computes a part.
struct LossTask<'a> {
    batch: &'a NoisyBatch,
    loss: &'a Loss,
    sde: crate::diffusion::Sde,
    n_free: usize,
    n_atoms: usize,
}

impl LossTask<'_> {
    /// The share in the loss of the structures from `first` on, and its gradient with respect to their outputs [rows, 3].
    fn loss_and_gradient<T: Real>(&self, first: usize, out: &[T]) -> (f64, Vec<T>) {
        let (mut loss, n_structures) = (0.0, self.batch.positions.len() as f64);
        let mut d_out = Vec::with_capacity(out.len());
        for (row, out) in out.chunks_exact(3).enumerate() {
            let (b, atom) = (first + row / self.n_free, row % self.n_free);
            // residual = offset + factor·out; the loss is the sum of scale·residual².
            let (offset, factor, scale) = match self.loss {
                Loss::Score(weighting) => {
                    let sigma = self.sde.noise_scale(self.batch.times[b]);
                    let (factor, n) = match weighting {
                        Weighting::Dsm => (sigma, self.n_free),
                        Weighting::Published => (sigma * sigma, self.n_atoms),
                    };
                    (self.batch.noise[b][atom], factor, self.batch.weights[b] / (n_structures * n as f64))
                }
                Loss::Force(target) => {
                    (target[b][atom].map(|f| -f), 1.0, 1.0 / (n_structures * 3.0 * self.n_free as f64))
                }
            };
            for d in 0..3 {
                let residual = offset[d] + factor * out[d].wide();
                loss += scale * residual * residual;
                d_out.push(T::of(2.0 * scale * factor * residual));
            }
        }
        (loss, d_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred epochs without improvement are borne; the next one lowers the rate, and the counting starts again.
    #[test]
    fn plateaus_lower_the_rate() {
        let mut schedule = PlateauSchedule::new(1e-4);
        schedule.epoch(2.0);
        for _ in 0..100 {
            schedule.epoch(2.0);
        }
        assert_eq!((schedule.learning_rate, schedule.bad_epochs), (1e-4, 100));
        schedule.epoch(3.0);
        assert_eq!((schedule.learning_rate, schedule.bad_epochs), (0.95e-4, 0));
        for _ in 0..101 {
            schedule.epoch(2.0);
        }
        assert!((schedule.learning_rate / (0.95 * 0.95e-4) - 1.0).abs() < 1e-12);
        assert_eq!(schedule.best, Some(2.0));
    }

    #[test]
    fn improvements_reset_the_count() {
        let mut schedule = PlateauSchedule::new(1e-4);
        for loss in [1.0, 1.1, 1.2] {
            schedule.epoch(loss);
        }
        assert_eq!((schedule.best, schedule.bad_epochs), (Some(1.0), 2));
        schedule.epoch(1.0 - 0.5e-4);
        assert_eq!((schedule.best, schedule.bad_epochs), (Some(1.0), 3), "less than the threshold is none");
        schedule.epoch(1.0 - 2e-4);
        assert_eq!((schedule.best, schedule.bad_epochs), (Some(1.0 - 2e-4), 0));
    }
}
