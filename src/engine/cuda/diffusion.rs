//! What the kernels of the diffusion process share: the twins of `kernels/diffusion.cuh`, and how their work is cut into blocks.

use crate::diffusion;
use crate::gpu::Shape;
use crate::system::{Cell, Images, System, Vec3};
use bytemuck::{Pod, Zeroable};

/// How free atoms are bound.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Region {
    z_lo: f64,
    z_hi: f64,
    kind: u32,
    unused: u32,
}

const UNBOUND: u32 = 0;
const CONFINED: u32 = 1;
const FREE_CLUSTER: u32 = 2;

impl Region {
    pub(super) fn new(system: &System) -> Self {
        match system.confinement {
            Some(heights) => Region { z_lo: heights.z_lo, z_hi: heights.z_hi, kind: CONFINED, unused: 0 },
            None if system.is_free_cluster() => Region { kind: FREE_CLUSTER, ..Region::zeroed() },
            None => Region { kind: UNBOUND, ..Region::zeroed() },
        }
    }

    pub(super) fn is_free_cluster(&self) -> bool {
        self.kind == FREE_CLUSTER
    }
}

/// Lattice vectors, the inverse of the completed cell, and bit k for a periodic axis k.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Lattice {
    vectors: [Vec3; 3],
    inverse: [Vec3; 3],
    periodic: u32,
    unused: u32,
}

impl Lattice {
    pub(super) fn new(cell: &Cell) -> Self {
        Lattice {
            vectors: cell.vectors,
            inverse: Images::new(cell).inverse,
            periodic: (0..3).map(|k| u32::from(cell.periodic[k]) << k).sum(),
            unused: 0,
        }
    }
}

/// Noise levels.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Sde {
    sigma_min: f64,
    start: f64,
    spread: f64,
    rho: u32,
    unused: u32,
}

impl Sde {
    pub(super) fn new(sde: &diffusion::Sde) -> Self {
        Sde { sigma_min: sde.sigma_min, start: sde.start(), spread: sde.spread(), rho: sde.rho, unused: 0 }
    }
}

/// Blocks that move atoms, one thread an atom: as many small structures as fit share a block of one warp, since a block's
/// double-precision work takes as long for a few atoms as for a warp of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    threads: u32,
    /// Structures a block.
    pub(super) per_block: u32,
}

const WARP: u32 = 32;
const MOST_THREADS: u32 = 128;

impl Blocks {
    pub(super) fn new(n_free: u32) -> Self {
        let threads = n_free.next_multiple_of(WARP).clamp(WARP, MOST_THREADS);
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
