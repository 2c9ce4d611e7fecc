//! Launches of kernels/block.cu: one block of PaiNN for a tile of atoms, and its gradient.

pub use crate::gpu::arguments::block::{AtomList, BlockBackward, BlockBiases, BlockForward, BlockSaved, BlockWeights};
pub use crate::gpu::arguments::message::{FreeEdges, TemplateEdges};

use crate::engine::Storage;
use crate::error::Result;
use crate::gpu::Stream;
use crate::gpu::arguments::block::{
    BLOCK_BACKWARD, BLOCK_BACKWARD_MIXED, BLOCK_BACKWARD_SMALL, BLOCK_BACKWARD_SMALL_MIXED, BLOCK_FORWARD,
    BLOCK_FORWARD_MIXED, BLOCK_FORWARD_SMALL, BLOCK_FORWARD_SMALL_MIXED,
};

/// Atoms of a tile, large and small.
pub const TILE: usize = 16;
/// See [`TILE`].
pub const SMALL_TILE: usize = 4;

/// Tiles of `longest` atoms: their number and size. Few atoms are spread over more multiprocessors.
pub fn tiles(longest: usize, small: bool) -> (usize, usize) {
    let tile = if small { SMALL_TILE } else { TILE };
    (longest.div_ceil(tile), tile)
}

/// Bytes of shared memory that a forward tile needs.
pub fn forward_shared_bytes(features: usize, tile: usize) -> usize {
    4 * 16 * tile * features
}

/// Bytes of shared memory that a backward tile needs to gather the gradient of `n_filter_rows` rows of template filters.
pub fn backward_shared_bytes(features: usize, tile: usize, n_filter_rows: usize) -> usize {
    let update = tile * 9 * features;
    let accumulators = BLOCK_BACKWARD.warps() * n_filter_rows * 3 * features;
    4 * (tile * 7 * features + update.max(accumulators))
}

impl BlockForward {
    /// Queues it in `precision` for `n_structures` structures of at most `longest` listed atoms.
    pub fn launch(
        &self,
        stream: &Stream,
        precision: Storage,
        n_structures: usize,
        longest: usize,
        small: bool,
    ) -> Result<()> {
        let (n_tiles, tile) = tiles(longest, small);
        let kernel = precision.kernel(match small {
            true => [BLOCK_FORWARD_SMALL, BLOCK_FORWARD_SMALL_MIXED],
            false => [BLOCK_FORWARD, BLOCK_FORWARD_MIXED],
        });
        let shared_bytes = forward_shared_bytes(self.features as usize, tile);
        stream.launch(kernel, kernel.grid([n_tiles, n_structures], shared_bytes), self)
    }
}

impl BlockBackward {
    /// Queues it in `precision` for `n_structures` structures of at most `longest` listed atoms.
    pub fn launch(
        &self,
        stream: &Stream,
        precision: Storage,
        n_structures: usize,
        longest: usize,
        small: bool,
    ) -> Result<()> {
        let (n_tiles, tile) = tiles(longest, small);
        let kernel = precision.kernel(match small {
            true => [BLOCK_BACKWARD_SMALL, BLOCK_BACKWARD_SMALL_MIXED],
            false => [BLOCK_BACKWARD, BLOCK_BACKWARD_MIXED],
        });
        let shared = backward_shared_bytes(self.features as usize, tile, self.n_filter_rows as usize);
        let shared_bytes = shared.max(4 * self.n_atoms as usize);
        stream.launch(kernel, kernel.grid([n_tiles, n_structures], shared_bytes), self)
    }
}
