//! Parts that the kernels of the diffusion process share: the filled-in structures of `kernels/diffusion.cuh`, and the split of the
//! work into blocks.

use crate::diffusion;
use crate::engine::Setup;
use crate::gpu::arguments::diffusion::{CONFINED, FREE_CLUSTER, Lattice, Mobile, Region, Sde, UNBOUND};
use crate::gpu::arguments::random::NoiseKey;
use crate::gpu::{Entry, Shape};
use crate::random::Noise;
use crate::system::{Cell, Images, System};

impl Region {
    pub(super) fn new(system: &System) -> Self {
        match system.confinement {
            Some(heights) => Region { z_lo: heights.z_lo, z_hi: heights.z_hi, kind: CONFINED },
            None if system.is_free_cluster() => Region { kind: FREE_CLUSTER, ..Region::default() },
            None => Region { kind: UNBOUND, ..Region::default() },
        }
    }

    pub(super) fn is_free_cluster(&self) -> bool {
        self.kind == FREE_CLUSTER
    }
}

impl Mobile {
    pub(super) fn new(setup: &Setup) -> Self {
        let Setup { system, sde, .. } = setup;
        Mobile { factor: diffusion::mobile_factor(system, sde), n_mobile: system.n_mobile() as u32 }
    }
}

impl Lattice {
    pub(super) fn new(cell: &Cell) -> Self {
        Lattice {
            vectors: cell.vectors,
            inverse: Images::new(cell).inverse,
            periodic: (0..3).map(|k| u32::from(cell.periodic[k]) << k).sum(),
        }
    }
}

impl Sde {
    pub(super) fn new(sde: &diffusion::Sde) -> Self {
        Sde { sigma_min: sde.sigma_min, start: sde.start(), spread: sde.spread(), rho: sde.rho }
    }
}

impl NoiseKey {
    pub(super) fn new(noise: Noise) -> Self {
        let [low, high] = noise.key();
        NoiseKey { low, high }
    }
}

/// Blocks that move atoms, one thread an atom. As many small structures as fit share a block of one warp, since a block's
/// double-precision work takes equally long for a few atoms and for a whole warp.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    threads: u32,
    /// Structures a block.
    pub(super) per_block: u32,
}

impl Blocks {
    pub(super) fn new<A>(kernel: Entry<A>, n_free: u32) -> Self {
        let threads = kernel.threads_for(n_free as usize);
        Blocks { threads, per_block: (threads / n_free.max(1)).max(1) }
    }

    /// The launch for `n_structures` with `shared_bytes` of shared memory for each structure of a block.
    pub(super) fn shape(&self, n_structures: u32, shared_bytes: u32) -> Shape {
        Shape {
            blocks: [n_structures.div_ceil(self.per_block), 1],
            threads: self.threads,
            shared_bytes: self.per_block * shared_bytes,
        }
    }
}
