//! Relaxation on predicted forces: the backbone computes the free atoms alone.

use super::Cpu;
use super::network::Output;
use super::sample::vectors;
use super::simd::Real;
use crate::diffusion::CorrectorSettings;
use crate::engine::relaxation::Moving;
use crate::system::Vec3;
use rayon::prelude::*;

impl<T: Real> Cpu<T> {
    /// Takes one step for each of `moving`. Chunks of structures run in parallel.
    pub(super) fn advance(&mut self, settings: &CorrectorSettings, moving: &mut [Moving]) {
        let size = self.chunk_size(moving.len());
        self.chunks.resize_with(self.chunks.len().max(moving.len().div_ceil(size)), Default::default);
        let (network, weights, shared) = (&self.network, &self.weights, &self.shared);
        let system = &network.system;
        moving.par_chunks_mut(size).zip(self.chunks.par_iter_mut()).for_each(|(moving, chunk)| {
            let structures: Vec<&[Vec3]> = moving.iter().map(|it| &it.positions[..]).collect();
            network.backbone(weights, shared, chunk, &structures, false, false);
            let forces = vectors(network.head(weights, chunk, Output::Force, &[]));
            let forces = forces.chunks_exact(system.n_free());
            moving.iter_mut().zip(forces).for_each(|(it, forces)| it.advance(system, settings, forces));
        });
    }
}
