//! Launcher of `kernels/forward_noise.cu`: noisy batches of many training steps at once.

use super::diffusion::Blocks;
use crate::engine::{self, Setup, Targets, TrainingSet};
use crate::error::{Error, Result};
use crate::gpu::arguments::diffusion::{Mobile, Region, Sde};
use crate::gpu::arguments::forward_noise::{FORWARD_NOISE, ForwardNoiseArguments};
use crate::gpu::arguments::random::NoiseKey;
use crate::gpu::{Buffer, Pointer, Stream};
use crate::objective::Mixture;
use crate::random::{Noise, Purpose, host_generator};
use crate::system::Vec3;
use rand::seq::SliceRandom;

/// Bytes of the kernel's `Slot`.
const SLOT_BYTES: u32 = 32;

/// Batches of `n_steps` training steps with `width` structures each: S = n_steps·width. Structure s is slot s % width of its step.
/// The first `batch` slots are noisy, or none if the force head alone learns; slots that an epoch's last step leaves empty have
/// weight 0. With forces to learn from, clean structures follow, and their forces are compared.
pub struct ForwardNoise {
    n_steps: usize,
    batch: usize,
    width: usize,
    n_free: usize,
    constants: ForwardNoiseArguments,
    set: Option<Set>,
    steps: Buffer<u32>,
    /// x_t, Å: \[S, n, 3\].
    pub positions: Buffer<f64>,
    /// ε or its mixture with F/kT, or minus the target forces, eV/Å: \[S, n, 3\].
    pub offset: Buffer<f32>,
    /// sin πt, cos πt: \[S, 2\].
    pub time_features: Buffer<f32>,
    /// The residual is offset + factor·output: \[S\].
    pub factor: Buffer<f32>,
    /// Labels of the structures whose forces are compared, where the set has labels: \[S\].
    pub labels: Buffer<f32>,
    /// The score loss of a step is the sum of scale·residual², the force loss that of scale·Huber(residual): \[S\].
    pub scale: Buffer<f32>,
}

/// The training set on the device.
struct Set {
    clean: Buffer<f64>,
    weights: Buffer<f64>,
    /// Positions and forces.
    forces: Option<[Buffer<f64>; 2]>,
    labels: Option<Buffer<f64>>,
    mixed: Option<(Buffer<f64>, Mixture)>,
    order: Buffer<u32>,
    n_members: u32,
    n_force_members: u32,
    n_steps: u32,
    time_key: NoiseKey,
    forward_key: NoiseKey,
    force_key: NoiseKey,
}

impl ForwardNoise {
    /// Room for `n_steps` steps of `setup`'s batch if there is a `score` to learn, and with `forces` for as many structures whose
    /// forces are compared.
    ///
    /// # Errors
    /// `Failed` without memory.
    pub fn new(stream: &Stream, setup: &Setup, n_steps: usize, [score, forces]: [bool; 2]) -> Result<Self> {
        let n_free = setup.system.n_free();
        let room = |wanted| if wanted { setup.training.batch } else { 0 };
        let (batch, width) = (room(score), room(score) + room(forces));
        let n_structures = n_steps * width;
        let weighting = setup.training.weighting;
        Ok(ForwardNoise {
            n_steps,
            batch,
            width,
            n_free,
            constants: ForwardNoiseArguments {
                region: Region::new(&setup.system),
                mobile: Mobile::new(setup),
                sde: Sde::new(&setup.sde),
                batch: batch as u32,
                width: width as u32,
                n_steps: n_steps as u32,
                n_free: n_free as u32,
                n_averaged: weighting.n_averaged(&setup.system) as u32,
                exponent: weighting.exponent(),
                n_structures: n_structures as u32,
                per_block: Blocks::new(FORWARD_NOISE, n_free as u32).per_block,
                ..ForwardNoiseArguments::default()
            },
            set: None,
            steps: stream.zeros(n_structures)?,
            positions: stream.zeros(3 * n_structures * n_free)?,
            offset: stream.zeros(3 * n_structures * n_free)?,
            time_features: stream.zeros(2 * n_structures)?,
            factor: stream.zeros(n_structures)?,
            labels: stream.zeros(n_structures)?,
            scale: stream.zeros(n_structures)?,
        })
    }

    /// Structures of a step.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Noisy structures of a step, which come first.
    pub fn n_noisy(&self) -> usize {
        self.batch
    }

    /// Takes `set` for the next `steps` training steps with the noise of `noise`, from step 0 on. Launches that were captured
    /// before must be captured again.
    ///
    /// # Errors
    /// `Failed` for an empty set, for a set with forces without room for them, for a set without forces with room for them, and
    /// without memory.
    pub fn load(
        &mut self,
        stream: &Stream,
        noise: engine::RandomStream,
        set: &TrainingSet,
        steps: usize,
    ) -> Result<()> {
        let n_members = set.positions.len();
        if n_members == 0 && set.forces.is_none() {
            return Err(Error::Failed("there is nothing to train on: the training set is empty".into()));
        }
        if [n_members > 0, set.forces.is_some()] != [self.batch > 0, self.width > self.batch] {
            return Err(Error::Failed("internal error: the training set and its room disagree about forces".into()));
        }
        let n_epochs = if n_members > 0 { steps.div_ceil(n_members.div_ceil(self.batch)) } else { 0 };
        let upload = |vectors: &[Vec<Vec3>]| -> Result<Buffer<f64>> {
            stream.upload_some(&vectors.iter().flatten().flatten().copied().collect::<Vec<f64>>())
        };
        let forces = set.forces.as_ref().map(|set| Ok([upload(&set.positions)?, upload(&set.forces)?]));
        let labels = set.forces.as_ref().filter(|set| !set.labels.is_empty()).map(|set| stream.upload(&set.labels));
        let mixed = match &set.targets {
            Targets::Noise => None,
            Targets::Mixed { scores, mixture } => Some((upload(scores)?, *mixture)),
        };
        let key = |purpose| NoiseKey::new(Noise::new(noise.seed, purpose, noise.iteration));
        self.set = Some(Set {
            clean: upload(&set.positions)?,
            weights: stream.upload_some(&set.weights)?,
            forces: forces.transpose()?,
            labels: labels.transpose()?,
            mixed,
            order: stream.upload_some(&visiting_order(noise, n_members, n_epochs))?,
            n_members: n_members as u32,
            n_force_members: set.forces.as_ref().map_or(0, |forces| forces.positions.len()) as u32,
            n_steps: steps as u32,
            time_key: key(Purpose::Time),
            forward_key: key(Purpose::Forward),
            force_key: key(Purpose::ForceBatch),
        });
        self.start(stream, 0)
    }

    /// The next launch begins at training step `first_step`.
    pub fn start(&self, stream: &Stream, first_step: usize) -> Result<()> {
        let steps: Vec<u32> = (0..self.n_steps * self.width).map(|s| (first_step + s / self.width) as u32).collect();
        stream.write(&self.steps, 0, &steps)
    }

    /// Noises the next `n_steps` steps and moves on by `n_steps`. Steps after the last one loaded are empty: they have weight 0.
    ///
    /// # Errors
    /// `Failed` if nothing was loaded, or the launch fails.
    pub fn run(&self, stream: &Stream) -> Result<()> {
        let Some(set) = &self.set else {
            return Err(Error::Failed("internal error: there is no training set to noise".into()));
        };
        let of_forces = |k: usize| set.forces.as_ref().map_or(Pointer::NULL, |buffers| buffers[k].pointer());
        let mixture =
            set.mixed.as_ref().map_or(Mixture { mean_square: 0.0, force_share: 0.0 }, |(_, mixture)| *mixture);
        let arguments = ForwardNoiseArguments {
            clean: set.clean.pointer(),
            weights: set.weights.pointer(),
            force_clean: of_forces(0),
            force_targets: of_forces(1),
            force_labels: set.labels.as_ref().map_or(Pointer::NULL, Buffer::pointer),
            scores: set.mixed.as_ref().map_or(Pointer::NULL, |(scores, _)| scores.pointer()),
            mean_square: mixture.mean_square,
            force_share: mixture.force_share,
            order: set.order.pointer(),
            steps: self.steps.pointer(),
            positions: self.positions.pointer(),
            offset: self.offset.pointer(),
            time_features: self.time_features.pointer(),
            factor: self.factor.pointer(),
            labels: self.labels.pointer(),
            scale: self.scale.pointer(),
            time_key: set.time_key,
            forward_key: set.forward_key,
            force_key: set.force_key,
            n_members: set.n_members,
            n_force_members: set.n_force_members,
            n_ordered: set.n_steps,
            ..self.constants
        };
        let n_free = self.n_free as u32;
        let vectors = if self.constants.region.is_free_cluster() { 24 * (n_free + 1) } else { 0 };
        let blocks = Blocks::new(FORWARD_NOISE, n_free);
        stream.launch(FORWARD_NOISE, blocks.shape(arguments.n_structures, SLOT_BYTES + vectors), &arguments)
    }
}

/// Members in the order in which `n_epochs` epochs visit them. Each epoch shuffles the order of the one before, as on the CPU.
pub fn visiting_order(noise: engine::RandomStream, n_members: usize, n_epochs: usize) -> Vec<u32> {
    let mut generator = host_generator(noise.seed, Purpose::Shuffle, noise.iteration);
    let mut order: Vec<u32> = (0..n_members as u32).collect();
    let mut visits = Vec::with_capacity(n_members * n_epochs);
    for _ in 0..n_epochs {
        order.shuffle(&mut generator);
        visits.extend_from_slice(&order);
    }
    visits
}
