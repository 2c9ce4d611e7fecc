//! The reverse process: from the prior to structures.

use super::Cpu;
use super::network::{Chunk, Output};
use super::simd::Real;
use crate::diffusion::{
    AtomProcess, Corrector, CorrectorSettings, ReverseSchedule, centred_normals, corrector_strength, prior,
    remove_centre, reverse_mean, reverse_step,
};
use crate::engine::{FreePositions, GuidanceSettings, Progress, RandomStream, Setup};
use crate::error::Result;
use crate::random::{Noise, Purpose};
use crate::system::vector::scale;
use crate::system::{System, Vec3};
use rayon::prelude::*;
use std::ops::Range;

impl<T: Real> Cpu<T> {
    /// See [`crate::engine::Engine::sample`]. Chunks of structures run in parallel; each structure has its own noise and corrector.
    pub(super) fn run_reverse(
        &mut self,
        stream: RandomStream,
        range: Range<usize>,
        guidance: Option<GuidanceSettings>,
        progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        let schedule = ReverseSchedule::new(self.setup.reverse.steps, self.setup.reverse.t_min)?;
        let (system, setup) = (&self.network.system, &self.setup);
        let start = Noise::new(stream.seed, Purpose::Prior, stream.iteration);
        let noise = Noise::new(stream.seed, Purpose::Reverse, stream.iteration);
        let indices: Vec<u32> = range.map(|s| s as u32).collect();
        let mut positions: Vec<FreePositions> = indices.iter().map(|&s| prior(system, &start, s)).collect();
        let mut correctors = vec![Corrector::default(); indices.len()];
        let size = self.chunk_size(indices.len());
        self.chunks.resize_with(self.chunks.len().max(indices.len().div_ceil(size)), Chunk::default);
        let (network, weights, shared) = (&self.network, &self.weights, &self.shared);
        for k in 0..schedule.n_steps() {
            let step =
                ReverseStep { k: k as u32, t: schedule.time(k), dt: schedule.dt(), last: schedule.is_last(k), setup };
            let structures = positions.par_chunks_mut(size).zip(indices.par_chunks(size));
            let chunks = structures.zip(correctors.par_chunks_mut(size)).zip(self.chunks.par_iter_mut());
            chunks.for_each(|(((positions, indices), correctors), chunk)| {
                network.backbone(weights, shared, chunk, &as_slices(positions), false, false);
                let scores = network.head(weights, chunk, Output::Score, &vec![step.t; indices.len()]);
                step.move_structures(system, &noise, indices, scores, positions);
                let Some(guidance) = &guidance else { return };
                network.backbone(weights, shared, chunk, &as_slices(positions), false, false);
                let forces = network.head(weights, chunk, Output::Force, &[]);
                step.correct(system, &guidance.corrector(), correctors, forces, positions);
            });
            progress(k + 1)?;
        }
        Ok(positions)
    }
}

fn as_slices(positions: &[FreePositions]) -> Vec<&[Vec3]> {
    positions.iter().map(Vec::as_slice).collect()
}

/// A head's output as vectors.
pub(super) fn vectors<T: Real>(out: &[T]) -> Vec<Vec3> {
    out.chunks_exact(3).map(|v| [v[0].wide(), v[1].wide(), v[2].wide()]).collect()
}

/// One step of the reverse process.
#[derive(Debug, Clone, Copy)]
struct ReverseStep<'a> {
    k: u32,
    t: f64,
    dt: f64,
    last: bool,
    setup: &'a Setup,
}

impl ReverseStep<'_> {
    /// Moves the structures of a chunk by their free atoms' scores, one row of three an atom.
    fn move_structures<T: Real>(
        &self,
        system: &System,
        noise: &Noise,
        indices: &[u32],
        scores: &[T],
        positions: &mut [FreePositions],
    ) {
        let times = self.setup.score_scale(self.t, self.dt);
        let scores = scores.chunks_exact(3 * system.n_free());
        for ((&structure, positions), scores) in indices.iter().zip(positions).zip(scores) {
            let mut scores: Vec<Vec3> = vectors(scores).into_iter().map(|score| scale(times, score)).collect();
            self.move_atoms(system, noise, structure, &mut scores, positions);
        }
    }

    /// Moves the structures of a chunk along the predicted forces on their free atoms, one row of three an atom.
    fn correct<T: Real>(
        &self,
        system: &System,
        corrector_settings: &CorrectorSettings,
        correctors: &mut [Corrector],
        forces: &[T],
        positions: &mut [FreePositions],
    ) {
        let strength = corrector_strength(corrector_settings, self.t);
        let forces = forces.chunks_exact(3 * system.n_free());
        for ((corrector, positions), forces) in correctors.iter_mut().zip(positions).zip(forces) {
            corrector.correct(system, corrector_settings, strength, positions, &vectors(forces));
        }
    }

    fn move_atoms(&self, system: &System, noise: &Noise, structure: u32, scores: &mut [Vec3], positions: &mut [Vec3]) {
        let g2 = self.setup.sde.diffusion_squared(self.t);
        if system.is_free_cluster() {
            remove_centre(scores);
            let scale = if self.last { 0.0 } else { (g2 * self.dt).sqrt() };
            let normals = centred_normals(noise, structure, self.k, positions.len());
            for ((x, &score), normal) in positions.iter_mut().zip(&*scores).zip(normals) {
                let mean = reverse_mean(*x, score, g2, self.dt);
                *x = std::array::from_fn(|d| mean[d] + scale * normal[d]);
            }
            return;
        }
        for (atom, (x, &output)) in positions.iter_mut().zip(&*scores).enumerate() {
            let process = AtomProcess::of(system, &self.setup.sde, atom);
            let uniforms = noise.uniforms(structure, self.k, atom as u32, 0);
            let (score, g2) = (process.score(output), process.diffusion_squared(g2));
            let moved = reverse_step(*x, score, g2, self.dt, uniforms, process.confinement, self.last);
            *x = system.wrap(atom, moved);
        }
    }
}
