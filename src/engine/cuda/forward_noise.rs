//! Launcher of `kernels/forward_noise.cu`: noisy batches of many training steps at once.

use super::diffusion::{Blocks, Region, Sde};
use super::driver::{Arguments, Buffer, Pointer, Stream};
use crate::engine::{self, Setup, TrainingSet, Weighting};
use crate::error::{Error, Result};
use crate::random::{Noise, Purpose, host_generator};
use bytemuck::{Pod, Zeroable};
use rand::seq::SliceRandom;

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ForwardNoiseArguments {
    clean: Pointer<f64>,
    weights: Pointer<f64>,
    order: Pointer<u32>,
    steps: Pointer<u32>,
    positions: Pointer<f64>,
    offset: Pointer<f32>,
    time_features: Pointer<f32>,
    factor: Pointer<f32>,
    scale: Pointer<f32>,
    region: Region,
    sde: Sde,
    time_key: [u32; 2],
    forward_key: [u32; 2],
    n_members: u32,
    batch: u32,
    n_steps: u32,
    n_free: u32,
    n_averaged: u32,
    squared: u32,
    n_structures: u32,
    per_block: u32,
    n_ordered: u32,
    unused: u32,
}

impl Arguments for ForwardNoiseArguments {
    const KERNEL: &'static str = "forward_noise";
}

/// Bytes of the kernel's `Slot`.
const SLOT_BYTES: u32 = 32;

/// Noisy batches of `n_steps` training steps of `batch` structures each: S = n_steps·batch. Structure s is slot s % batch of
/// its step; slots that an epoch's last step leaves empty weigh nothing.
pub struct ForwardNoise {
    n_steps: usize,
    batch: usize,
    n_free: usize,
    constants: ForwardNoiseArguments,
    set: Option<Set>,
    steps: Buffer<u32>,
    /// x_t, Å: \[S, n, 3\].
    pub positions: Buffer<f64>,
    /// ε: \[S, n, 3\].
    pub offset: Buffer<f32>,
    /// sin πt, cos πt: \[S, 2\].
    pub time_features: Buffer<f32>,
    /// The residual is offset + factor·score: \[S\].
    pub factor: Buffer<f32>,
    /// The loss of a step is the sum of scale·residual²: \[S\].
    pub scale: Buffer<f32>,
}

/// What is trained on.
struct Set {
    clean: Buffer<f64>,
    weights: Buffer<f64>,
    order: Buffer<u32>,
    n_members: u32,
    n_steps: u32,
    time_key: [u32; 2],
    forward_key: [u32; 2],
}

impl ForwardNoise {
    /// Room for `n_steps` steps of `setup`'s batch.
    ///
    /// # Errors
    /// `Failed` without memory.
    pub fn new(stream: &Stream, setup: &Setup, n_steps: usize) -> Result<Self> {
        let (batch, n_free) = (setup.training.batch, setup.system.n_free());
        let n_structures = n_steps * batch;
        let (n_averaged, squared) = match setup.training.weighting {
            Weighting::Dsm => (n_free, 0),
            Weighting::Published => (setup.system.n_atoms(), 1),
        };
        Ok(ForwardNoise {
            n_steps,
            batch,
            n_free,
            constants: ForwardNoiseArguments {
                region: Region::new(&setup.system),
                sde: Sde::new(&setup.sde),
                batch: batch as u32,
                n_steps: n_steps as u32,
                n_free: n_free as u32,
                n_averaged: n_averaged as u32,
                squared,
                n_structures: n_structures as u32,
                per_block: Blocks::new(n_free as u32).per_block,
                ..Zeroable::zeroed()
            },
            set: None,
            steps: stream.zeros(n_structures)?,
            positions: stream.zeros(3 * n_structures * n_free)?,
            offset: stream.zeros(3 * n_structures * n_free)?,
            time_features: stream.zeros(2 * n_structures)?,
            factor: stream.zeros(n_structures)?,
            scale: stream.zeros(n_structures)?,
        })
    }

    /// Takes `set` for the next `steps` training steps with the noise of `noise`, from step 0 on. Launches captured before must
    /// be captured anew.
    ///
    /// # Errors
    /// `Failed` for an empty set, or without memory.
    pub fn load(&mut self, stream: &Stream, noise: engine::Stream, set: &TrainingSet, steps: usize) -> Result<()> {
        let n_members = set.positions.len();
        if n_members == 0 {
            return Err(Error::Failed("there is nothing to train on: the training set is empty".into()));
        }
        let n_epochs = steps.div_ceil(n_members.div_ceil(self.batch));
        let clean: Vec<f64> = set.positions.iter().flatten().flatten().copied().collect();
        self.set = Some(Set {
            clean: stream.upload(&clean)?,
            weights: stream.upload(&set.weights)?,
            order: stream.upload(&visiting_order(noise, n_members, n_epochs))?,
            n_members: n_members as u32,
            n_steps: steps as u32,
            time_key: Noise::new(noise.seed, Purpose::Time, noise.iteration).key(),
            forward_key: Noise::new(noise.seed, Purpose::Forward, noise.iteration).key(),
        });
        self.start(stream, 0)
    }

    /// The next launch begins at training step `first_step`.
    pub fn start(&self, stream: &Stream, first_step: usize) -> Result<()> {
        let steps: Vec<u32> = (0..self.n_steps * self.batch).map(|s| (first_step + s / self.batch) as u32).collect();
        stream.write(&self.steps, 0, &steps)
    }

    /// Noises the next `n_steps` steps and moves on by as many. Those after the last one loaded are empty: they weigh nothing.
    ///
    /// # Errors
    /// `Failed` if nothing was loaded, or the launch fails.
    pub fn run(&self, stream: &Stream) -> Result<()> {
        let Some(set) = &self.set else {
            return Err(Error::Failed("internal error: there is no training set to noise".into()));
        };
        let arguments = ForwardNoiseArguments {
            clean: set.clean.pointer(),
            weights: set.weights.pointer(),
            order: set.order.pointer(),
            steps: self.steps.pointer(),
            positions: self.positions.pointer(),
            offset: self.offset.pointer(),
            time_features: self.time_features.pointer(),
            factor: self.factor.pointer(),
            scale: self.scale.pointer(),
            time_key: set.time_key,
            forward_key: set.forward_key,
            n_members: set.n_members,
            n_ordered: set.n_steps,
            ..self.constants
        };
        let n_free = self.n_free as u32;
        let vectors = if self.constants.region.is_free_cluster() { 24 * (n_free + 1) } else { 0 };
        let blocks = Blocks::new(n_free);
        stream.launch(blocks.shape(arguments.n_structures, SLOT_BYTES + vectors), &arguments)
    }
}

/// Members in the order in which `n_epochs` epochs visit them: a shuffle of the order before, as on the CPU.
pub fn visiting_order(noise: engine::Stream, n_members: usize, n_epochs: usize) -> Vec<u32> {
    let mut generator = host_generator(noise.seed, Purpose::Shuffle, noise.iteration);
    let mut order: Vec<u32> = (0..n_members as u32).collect();
    let mut visits = Vec::with_capacity(n_members * n_epochs);
    for _ in 0..n_epochs {
        order.shuffle(&mut generator);
        visits.extend_from_slice(&order);
    }
    visits
}
