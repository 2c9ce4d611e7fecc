//! The reverse process: from the prior to structures.

use super::Cpu;
use super::network::{Chunk, Output};
use super::simd::Real;
use crate::diffusion::{ReverseSchedule, Sde, centred_normals, prior, remove_centre, reverse_mean, reverse_step};
use crate::engine::{FreePositions, Progress, Stream};
use crate::error::Result;
use crate::random::{Noise, Purpose};
use crate::system::{System, Vec3};
use rayon::prelude::*;
use std::ops::Range;

impl<T: Real> Cpu<T> {
    /// See [`crate::engine::Engine::sample`]. Chunks of structures run side by side; each structure's noise is its own.
    pub(super) fn run_reverse(
        &mut self,
        stream: Stream,
        range: Range<usize>,
        progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        let schedule = ReverseSchedule::new(self.setup.reverse.steps, self.setup.reverse.t_min)?;
        let (system, sde) = (&self.network.system, self.setup.sde);
        let start = Noise::new(stream.seed, Purpose::Prior, stream.iteration);
        let noise = Noise::new(stream.seed, Purpose::Reverse, stream.iteration);
        let indices: Vec<u32> = range.map(|s| s as u32).collect();
        let mut positions: Vec<FreePositions> = indices.iter().map(|&s| prior(system, &start, s)).collect();
        let size = self.chunk_size(indices.len());
        self.chunks.resize_with(self.chunks.len().max(indices.len().div_ceil(size)), Chunk::default);
        let (network, weights, shared) = (&self.network, &self.weights, &self.shared);
        for k in 0..schedule.n_steps() {
            let step =
                ReverseStep { k: k as u32, t: schedule.time(k), dt: schedule.dt(), last: schedule.is_last(k), sde };
            let chunks = positions.par_chunks_mut(size).zip(indices.par_chunks(size)).zip(self.chunks.par_iter_mut());
            chunks.for_each(|((positions, indices), chunk)| {
                let structures: Vec<&[Vec3]> = positions.iter().map(Vec::as_slice).collect();
                network.backbone(weights, shared, chunk, &structures, false, false);
                let scores = network.head(weights, chunk, Output::Score, &vec![step.t; indices.len()]);
                step.move_structures(system, &noise, indices, scores, positions);
            });
            progress(k + 1)?;
        }
        Ok(positions)
    }
}

/// One step of the reverse process.
#[derive(Debug, Clone, Copy)]
struct ReverseStep {
    k: u32,
    t: f64,
    dt: f64,
    last: bool,
    sde: Sde,
}

impl ReverseStep {
    /// Moves the structures of a chunk by their free atoms' scores, one row of three an atom.
    fn move_structures<T: Real>(
        &self,
        system: &System,
        noise: &Noise,
        indices: &[u32],
        scores: &[T],
        positions: &mut [FreePositions],
    ) {
        let scores = scores.chunks_exact(3 * system.n_free());
        for ((&structure, positions), scores) in indices.iter().zip(positions).zip(scores) {
            let mut scores: Vec<Vec3> =
                scores.chunks_exact(3).map(|s| [s[0].wide(), s[1].wide(), s[2].wide()]).collect();
            self.move_atoms(system, noise, structure, &mut scores, positions);
        }
    }

    fn move_atoms(&self, system: &System, noise: &Noise, structure: u32, scores: &mut [Vec3], positions: &mut [Vec3]) {
        let g2 = self.sde.diffusion_squared(self.t);
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
        let confinement = system.confinement.as_ref();
        let axes = [true, true, confinement.is_none()];
        for (atom, (x, &score)) in positions.iter_mut().zip(&*scores).enumerate() {
            let uniforms = noise.uniforms(structure, self.k, atom as u32, 0);
            let moved = reverse_step(*x, score, g2, self.dt, uniforms, confinement, self.last);
            *x = system.cell.wrap(moved, axes);
        }
    }
}
