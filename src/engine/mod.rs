//! The seam between the search and the hardware: whole verbs, not tensor operations.
//!
//! Everything crosses in f64 and in the layout of [`crate::model::Layout`]; an engine narrows and rearranges as it likes.

mod check;
pub mod cpu;
pub mod cuda;

mod loss;
mod relaxation;
mod schedule;
mod stopping;

pub use crate::model::Weighting;
pub use loss::{LABEL_DELTA, Loss, LossAndGradient, NoisyBatch};
pub use relaxation::{advance_by_verb, no_force_head, relax_with};
pub use schedule::{Decay, PlateauSchedule};
pub use stopping::{Consensus, StoppingRule, Watch};

use crate::diffusion::{AtomProcess, CorrectorSettings, Sde, basin_score_scale, limited_score_scale};
use crate::error::Result;
use crate::gpu::Place;
use crate::model::{ModelSizes, RadialBasis};
use crate::objective::Mixture;
use crate::random::{Noise, Purpose};
use crate::system::vector::{norm, scale};
use crate::system::{System, Vec3};
use std::ops::Range;

/// Positions of the n free atoms of one structure, Å.
pub type FreePositions = Vec<Vec3>;

/// The number format in which a GPU engine keeps the arrays that it moves most: filters, messages, and the rows that the forward
/// pass saves for the backward pass. Arithmetic, weights, outputs and gradients are f32 under both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// All in f32.
    #[default]
    F32,
    /// Those arrays in 16 bits (IEEE binary16): half the traffic, three decimal digits. A value beyond ±65504 is kept as ±65504.
    Mixed,
}

/// The reverse process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReverseSettings {
    /// Reverse steps.
    pub steps: usize,
    /// Diffusion time of the last step.
    pub t_min: f64,
    /// Factor on the score in each reverse step ([`limited_score_scale`]).
    pub score_scale: f64,
    /// Variance of the basins that this factor cools, Å²: at larger noise it is less ([`basin_score_scale`]). `None`: it is the
    /// same at all noise.
    pub basin_variance: Option<f64>,
}

/// The optimiser and the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingSettings {
    /// Structures a step.
    pub batch: usize,
    /// AdamW's first learning rate.
    pub learning_rate: f64,
    /// Decay of the learning rate over the steps of a call of [`Engine::train`].
    pub decay: Decay,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// Largest global norm of the gradient.
    pub gradient_clip: f64,
    /// Weighting of the noise levels.
    pub weighting: Weighting,
    /// What ends a call of [`Engine::train`] before its last step, if anything does.
    pub stop: Option<StoppingRule>,
}

/// Force-field guidance (arXiv:2510.13448, eq. 7): a force head trained together with the score, and a corrector after every
/// reverse step, x ← x + η(1−t)^ζ·p with p the L-BFGS direction of the predicted forces ([`crate::diffusion::Corrector`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuidanceSettings {
    /// η, the corrector's strength at t = 0.
    pub eta: f64,
    /// ζ: the larger it is, the later the corrector sets in.
    pub zeta: f64,
    /// Pairs of displacements and force changes that one structure's L-BFGS remembers.
    pub history: usize,
    /// No atom's part of p is longer than this, Å.
    pub max_step_angstrom: f64,
    /// λ, the weight of the force loss added to the score loss.
    pub force_weight: f64,
    /// Huber's δ, eV/Å: residuals above it count linearly.
    pub huber_delta_ev_per_angstrom: f64,
    /// λ_E, the weight of the readout's loss within the force loss; 0: the force head learns no energies.
    pub energy_weight: f64,
}

impl GuidanceSettings {
    /// The part that concerns the corrector.
    pub fn corrector(&self) -> CorrectorSettings {
        let GuidanceSettings { eta, zeta, history, max_step_angstrom, .. } = *self;
        CorrectorSettings { eta, zeta, history, max_step_angstrom }
    }
}

impl Default for GuidanceSettings {
    fn default() -> Self {
        GuidanceSettings {
            eta: 0.2,
            zeta: 3.0,
            history: 10,
            max_step_angstrom: 0.1,
            force_weight: 1.0,
            huber_delta_ev_per_angstrom: 1.0,
            energy_weight: 0.0,
        }
    }
}

/// How structures are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampler {
    /// The reverse process alone.
    Plain,
    /// The reverse process with a corrector along the predicted forces after each step, by the engine's [`GuidanceSettings`].
    Guided,
}

/// Everything an engine needs to be opened.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Template, free atoms, cell, confinement.
    pub system: System,
    /// Sizes of the model.
    pub sizes: ModelSizes,
    /// Radial functions.
    pub radial_basis: RadialBasis,
    /// Noise levels.
    pub sde: Sde,
    /// Reverse process.
    pub reverse: ReverseSettings,
    /// Optimiser and loss.
    pub training: TrainingSettings,
    /// Force-field guidance; needs a model with a force head.
    pub guidance: Option<GuidanceSettings>,
    /// Storage on a GPU; the CPU has f32 alone.
    pub precision: Storage,
}

impl Setup {
    /// Factor on the score in the reverse step of length `dt` at time `t`.
    fn score_scale(&self, t: f64, dt: f64) -> f64 {
        let (sigma, g2) = (self.sde.noise_scale(t), self.sde.diffusion_squared(t));
        let scale = self.reverse.score_scale;
        let scale = self.reverse.basin_variance.map_or(scale, |variance| basin_score_scale(scale, variance, sigma));
        limited_score_scale(scale, sigma, g2, dt)
    }

    /// Makes scores of all atoms (1/Å) of the model's output for one structure: 0 on the template, and those of [`AtomProcess`].
    fn make_scores(&self, output: &mut [Vec3]) {
        let (template, free) = output.split_at_mut(self.system.n_template());
        template.fill([0.0; 3]);
        for (atom, output) in free.iter_mut().enumerate() {
            *output = AtomProcess::of(&self.system, &self.sde, atom).score(*output);
        }
    }
}

/// Parameters and optimiser: everything that training changes. f32 values keep their bits in the conversion to f64 and back.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelState {
    /// Parameters in the order of [`crate::model::Layout`].
    pub parameters: Vec<f64>,
    /// AdamW's first moments, as long as the parameters.
    pub first_moment: Vec<f64>,
    /// AdamW's second moments, as long as the parameters.
    pub second_moment: Vec<f64>,
    /// Optimiser steps taken.
    pub steps: u64,
    /// The plateau schedule.
    pub schedule: PlateauSchedule,
}

impl ModelState {
    /// `parameters` that no optimiser has touched yet, to be trained from `learning_rate` on.
    pub fn untouched(parameters: Vec<f64>, learning_rate: f64) -> Self {
        let zeros = vec![0.0; parameters.len()];
        let schedule = PlateauSchedule::new(learning_rate);
        ModelState { parameters, first_moment: zeros.clone(), second_moment: zeros, steps: 0, schedule }
    }
}

/// The random numbers that a call uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomStream {
    /// Seed of the run.
    pub seed: u64,
    /// Iteration of the annealing loop.
    pub iteration: u64,
}

/// Called between steps with the number of steps done; returning `Err` (usually [`crate::Error::Interrupted`]) stops the verb.
pub type Progress<'a> = &'a mut dyn FnMut(usize) -> Result<()>;

/// The training set of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingSet {
    /// Free positions of every buffer member; empty if the force head alone is to learn.
    pub positions: Vec<FreePositions>,
    /// Boltzmann weight of every member, mean 1.
    pub weights: Vec<f64>,
    /// Structures that the force head learns from; needs [`Setup::guidance`].
    pub forces: Option<ForceSet>,
    /// What the score is trained towards.
    pub targets: Targets,
}

impl TrainingSet {
    /// Structures that the steps of an epoch visit: the members for the score, or those for the forces where there are no others.
    pub(crate) fn n_visited(&self) -> usize {
        match self.positions.len() {
            0 => self.forces.as_ref().map_or(1, |forces| forces.positions.len()),
            n_members => n_members,
        }
    }
}

/// What the score of a noisy structure is trained towards.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Targets {
    /// −ε/σ_t of the noise that was added.
    #[default]
    Noise,
    /// The noise mixed with the forces on the clean structure.
    Mixed {
        /// F/kT on the free atoms of every member as [`crate::objective::force_scores`] gives it, M × n × 3, 1/Å.
        scores: Vec<Vec<Vec3>>,
        /// How much they count.
        mixture: Mixture,
    },
}

/// Structures with known forces.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ForceSet {
    /// Free positions, M × n × 3, Å.
    pub positions: Vec<FreePositions>,
    /// Forces on the free atoms, M × n × 3, eV/Å.
    pub forces: Vec<Vec<Vec3>>,
    /// What the readout learns ([`Engine::readout`]): [`crate::objective::EnergyScale::label`] of every energy, M; empty unless
    /// [`GuidanceSettings::energy_weight`] asks for it.
    pub labels: Vec<f64>,
}

impl ForceSet {
    /// Adds a structure; forces longer than `max_force` (eV/Å) are scaled down to it, their direction kept.
    pub fn push(&mut self, positions: FreePositions, forces: &[Vec3], max_force: f64) {
        let shortened = |&force: &Vec3| {
            let length = norm(force);
            if length > max_force { scale(max_force / length, force) } else { force }
        };
        self.positions.push(positions);
        self.forces.push(forces.iter().map(shortened).collect());
    }

    /// The places of the `batch` structures that training step `step` of `stream` compares forces on. Each is drawn uniformly from
    /// all, so a structure may come twice. Every engine draws the same ones. The set must not be empty.
    pub fn members(&self, stream: RandomStream, step: u32, batch: usize) -> Vec<usize> {
        let noise = Noise::new(stream.seed, Purpose::ForceBatch, stream.iteration);
        let n = self.positions.len() as u64;
        let draw = |slot: u32| ((u64::from(noise.words(slot, step, 0, 0)[0]) * n) >> 32) as usize;
        (0..batch as u32).map(draw).collect()
    }
}

/// Report of a call of [`Engine::train`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingReport {
    /// Optimiser steps taken: fewer than asked for if a [`StoppingRule`] ended the call.
    pub steps: usize,
    /// Mean score loss over the steps of the call; 0 if the force head alone learned.
    pub loss: f64,
    /// Mean force loss over them, with the readout's part and before its weight λ; `None` without forces to learn from.
    pub force_loss: Option<f64>,
    /// Learning rate after the last step.
    pub learning_rate: f64,
}

/// The score model on some hardware.
pub trait Engine: Send {
    /// Description of the engine, such as "cpu f32, 2 threads, avx512".
    fn device(&self) -> String;

    /// Samples structures `range` of the iteration by the reverse process, from the prior on. A structure depends on `stream`, its
    /// index and `sampler` alone. `progress` is called after every reverse step.
    ///
    /// # Errors
    /// `BadInput` for [`Sampler::Guided`] where [`Setup::guidance`] is `None`.
    fn sample(
        &mut self,
        stream: RandomStream,
        range: Range<usize>,
        sampler: Sampler,
        progress: Progress,
    ) -> Result<Vec<FreePositions>>;

    /// Takes `steps` optimiser steps on `set`, or fewer if [`TrainingSettings::stop`] says so, from the present parameters, with a fresh optimiser and learning rate. Every
    /// iteration has its own loss, and a schedule that remembered earlier losses would soon stop all learning. (The authors'
    /// release does the same: the optimiser in its last checkpoint has counted 2,000 steps of 20,000, its schedule 1,000 epochs.)
    ///
    /// With a force set the loss of a step is score loss + λ·[`Loss::Huber`], or λ·[`Loss::Readout`] with labels. The force loss is taken on the `batch` structures
    /// that [`ForceSet::members`] names, at their clean positions. The gradients are added before clipping, and the plateau
    /// schedule watches the sum. [`TrainingSettings::decay`] runs once from its first to its last value over all `steps`. Without
    /// positions in the set there is no score loss, and an epoch is as many steps as the force set has batches.
    ///
    /// `progress` is called from time to time.
    ///
    /// # Errors
    /// `BadInput` for a force set where [`Setup::guidance`] is `None`, `Failed` if the loss or a parameter is no longer finite,
    /// or a set is empty. After any error the state is as before the call.
    fn train(
        &mut self,
        stream: RandomStream,
        set: &TrainingSet,
        steps: usize,
        progress: Progress,
    ) -> Result<TrainingReport>;

    /// Scores of all atoms (0 on the template), one time for each structure; B × (T + n) × 3.
    fn score(&mut self, positions: &[FreePositions], times: &[f64]) -> Result<Vec<Vec<Vec3>>>;

    /// Predicted forces on all atoms, template included; B × (T + n) × 3, eV/Å. `None` without a force head.
    fn forces(&mut self, positions: &[FreePositions]) -> Result<Option<Vec<Vec<Vec3>>>>;

    /// The readout of the force head: the sum over the free atoms of the scalars that its last block gives beside the forces, one
    /// number a structure. Trained with [`ForceSet::labels`], it predicts the label of the energy. `None` without a force head.
    fn readout(&mut self, positions: &[FreePositions]) -> Result<Option<Vec<f64>>>;

    /// Moves each of `structures` (n × 3, Å) along the predicted forces until no predicted force on a free atom is above 0.05 eV/Å.
    /// It takes at most `n_steps` steps of L-BFGS ([`crate::diffusion::Corrector`] at full strength), and no atom moves further
    /// than `settings.max_step_angstrom` in one step. Predictions have no energy that could judge a step, so every step is taken. A
    /// structure moves as it would alone. `progress` is called after every step; if it returns an error, the structures stay where
    /// they are.
    ///
    /// # Errors
    /// `BadInput` for a model without force head, and what `progress` returns.
    fn relax(
        &mut self,
        structures: &mut [FreePositions],
        settings: &CorrectorSettings,
        n_steps: usize,
        progress: Progress,
    ) -> Result<()>;

    /// Sets [`ReverseSettings::basin_variance`] for the samples from here on.
    ///
    /// # Errors
    /// `Failed` if the device is lost.
    fn set_basin_variance(&mut self, variance: Option<f64>) -> Result<()>;

    /// Loss and gradient of given noisy structures, without a step.
    fn loss_and_gradient(&mut self, batch: &NoisyBatch, loss: &Loss) -> Result<LossAndGradient>;

    /// Takes one clipped AdamW step with this gradient; returns its norm before clipping.
    fn apply_gradient(&mut self, gradient: &[f64]) -> Result<f64>;

    /// Parameters and optimiser.
    ///
    /// # Errors
    /// `Failed` if the device that holds them is lost.
    fn state(&self) -> Result<ModelState>;

    /// Restores a state that [`Engine::state`] gave.
    fn restore(&mut self, state: &ModelState) -> Result<()>;
}

/// Opens the device that [`Place::of`] finds.
///
/// # Errors
/// `BadInput` for an unknown device and for one that this build or machine does not have.
pub fn open(device: &str, setup: &Setup) -> Result<Box<dyn Engine>> {
    match Place::of(device)? {
        Place::Cpu => Ok(Box::new(cpu::Cpu::<f32>::new(setup)?)),
        Place::CpuF64 => Ok(Box::new(cpu::Cpu::<f64>::new(setup)?)),
        Place::Gpu(name) => cuda::open(&name, setup),
    }
}
