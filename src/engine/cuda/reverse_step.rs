//! Launcher of `kernels/reverse_step.cu`: the structures of a sampling call, from the prior to the last reverse step.

use super::diffusion::Blocks;
use crate::diffusion::ReverseSchedule;
use crate::engine::{self, Setup};
use crate::error::{Error, Result};
use crate::gpu::arguments::diffusion::{Lattice, Mobile, Region, Sde};
use crate::gpu::arguments::random::NoiseKey;
use crate::gpu::arguments::reverse_step::{PRIOR, REVERSE_STEP, ReverseArguments};
use crate::gpu::{Buffer, Pointer, Stream};
use crate::random::{Noise, Purpose};
use std::ops::Range;

/// Up to S structures in the reverse process.
pub struct ReverseProcess {
    n_structures: usize,
    /// The places of the mobile atoms, to which `constants` points: \[m, 3\], Å.
    _homes: Buffer<f64>,
    /// Variance of the basins that the scaled score cools, Å²; negative without: \[1\].
    basin_variance: Buffer<f64>,
    constants: ReverseArguments,
    /// Free positions, Å: \[S, n, 3\].
    pub positions: Buffer<f64>,
    /// The step that every structure takes next: \[S\], all alike.
    pub steps: Buffer<u32>,
    /// sin πt, cos πt of that step: \[S, 2\].
    pub time_features: Buffer<f32>,
    saved_positions: Buffer<f64>,
    saved_steps: Buffer<u32>,
    saved_time_features: Buffer<f32>,
}

impl ReverseProcess {
    /// Room for `n_structures` of `setup`.
    ///
    /// # Errors
    /// `BadInput` for an impossible schedule, `Failed` without memory.
    pub fn new(stream: &Stream, setup: &Setup, n_structures: usize) -> Result<Self> {
        let (system, reverse) = (&setup.system, setup.reverse);
        ReverseSchedule::new(reverse.steps, reverse.t_min)?;
        let n_free = system.n_free();
        let n_coordinates = 3 * n_structures * n_free;
        let homes = stream.upload_some(system.mobile.homes.as_flattened())?;
        let basin_variance = stream.upload(&[on_device(reverse.basin_variance)])?;
        Ok(ReverseProcess {
            n_structures,
            constants: ReverseArguments {
                lattice: Lattice::new(&system.cell),
                region: Region::new(system),
                mobile: Mobile::new(setup),
                sde: Sde::new(&setup.sde),
                t_min: reverse.t_min,
                score_scale: reverse.score_scale,
                basin_variance: basin_variance.pointer(),
                prior_spread: 0.8 * (n_free as f64).cbrt(),
                mobile_spread: system.mobile.noise_angstrom,
                homes: homes.pointer(),
                n_steps: reverse.steps as u32,
                n_free: n_free as u32,
                per_block: Blocks::new(REVERSE_STEP, n_free as u32).per_block,
                ..ReverseArguments::default()
            },
            _homes: homes,
            basin_variance,
            positions: stream.zeros(n_coordinates)?,
            steps: stream.zeros(n_structures)?,
            time_features: stream.zeros(2 * n_structures)?,
            saved_positions: stream.zeros(n_coordinates)?,
            saved_steps: stream.zeros(n_structures)?,
            saved_time_features: stream.zeros(2 * n_structures)?,
        })
    }

    /// Sets the variance of the basins that the scaled score cools, Å².
    ///
    /// # Errors
    /// `Failed` if the device is lost.
    pub fn set_basin_variance(&self, stream: &Stream, variance: Option<f64>) -> Result<()> {
        stream.write(&self.basin_variance, 0, &[on_device(variance)])
    }

    /// Sets structures `range` of the iteration to their start in the prior, before step 0.
    ///
    /// # Errors
    /// `Failed` if there is no room for them, or the launch fails.
    pub fn prior(&self, stream: &Stream, noise: engine::RandomStream, range: Range<usize>) -> Result<()> {
        let key = NoiseKey::new(Noise::new(noise.seed, Purpose::Prior, noise.iteration));
        let arguments = self.arguments(key, range, Pointer::NULL)?;
        stream.launch(PRIOR, self.blocks().shape(arguments.n_structures, self.vector_bytes(1)), &arguments)
    }

    /// Moves structures `range` by their score \[range, n, 3\], 1/Å, and advances them to the next step. After the last step
    /// nothing moves.
    ///
    /// # Errors
    /// `Failed` if there is no room for them, or the launch fails.
    pub fn step(
        &self,
        stream: &Stream,
        noise: engine::RandomStream,
        range: Range<usize>,
        score: &Buffer<f32>,
    ) -> Result<()> {
        let key = NoiseKey::new(Noise::new(noise.seed, Purpose::Reverse, noise.iteration));
        let arguments = self.arguments(key, range, score.pointer())?;
        let needed = 3 * (arguments.n_structures * arguments.n_free) as usize;
        if score.len() < needed {
            let found = score.len();
            return Err(Error::Failed(format!("internal error: {found} components of scores instead of {needed}")));
        }
        stream.launch(REVERSE_STEP, self.blocks().shape(arguments.n_structures, self.vector_bytes(2)), &arguments)
    }

    /// Keeps the present state for [`ReverseProcess::rewind`].
    pub fn save(&self, stream: &Stream) -> Result<()> {
        stream.copy(&self.positions, &self.saved_positions)?;
        stream.copy(&self.steps, &self.saved_steps)?;
        stream.copy(&self.time_features, &self.saved_time_features)
    }

    /// Goes back to where [`ReverseProcess::save`] was called.
    pub fn rewind(&self, stream: &Stream) -> Result<()> {
        stream.copy(&self.saved_positions, &self.positions)?;
        stream.copy(&self.saved_steps, &self.steps)?;
        stream.copy(&self.saved_time_features, &self.time_features)
    }

    fn blocks(&self) -> Blocks {
        Blocks::new(REVERSE_STEP, self.constants.n_free)
    }

    /// Shared memory of one structure for `lists` of vectors whose centre is removed.
    fn vector_bytes(&self, lists: u32) -> u32 {
        if self.constants.region.is_free_cluster() { 24 * (lists * self.constants.n_free + 1) } else { 0 }
    }

    fn arguments(&self, key: NoiseKey, range: Range<usize>, score: Pointer<f32>) -> Result<ReverseArguments> {
        if range.len() > self.n_structures {
            let (n, room) = (range.len(), self.n_structures);
            return Err(Error::Failed(format!("internal error: {n} structures in a reverse process of {room}")));
        }
        Ok(ReverseArguments {
            positions: self.positions.pointer(),
            score,
            steps: self.steps.pointer(),
            time_features: self.time_features.pointer(),
            key,
            first_index: range.start as u32,
            n_structures: range.len() as u32,
            ..self.constants
        })
    }
}

/// The variance as the kernel takes it.
fn on_device(variance: Option<f64>) -> f64 {
    variance.unwrap_or(-1.0)
}
