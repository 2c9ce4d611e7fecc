//! Launches of kernels/filters.cu: filter rows of all edges, and their gradient.

pub use crate::gpu::arguments::filters::{
    BlockGradient, FiltersForward, PairFilterGradient, TemplateFilterGradient, TemplateFilterSum,
};

use crate::engine::Storage;
use crate::error::Result;
use crate::gpu::Stream;
use crate::gpu::arguments::filters::{
    self, FILTERS_FORWARD, FILTERS_FORWARD_MIXED, PAIR_FILTER_GRADIENT, PAIR_FILTER_GRADIENT_MIXED,
    TEMPLATE_FILTER_GRADIENT, TEMPLATE_FILTER_GRADIENT_MIXED, TEMPLATE_FILTER_SUM,
};

/// Most interaction blocks of a model on the GPU.
pub const MAX_BLOCKS: usize = filters::MAX_BLOCKS as usize;
/// Rows a block of `filters_forward` computes.
const FILTER_TILE: usize = filters::FILTER_TILE as usize;
/// Elements that a block of `template_filter_sum` sums, each by several threads.
const SUMS_PER_BLOCK: usize = 32;

impl FiltersForward {
    /// Queues it in `precision`.
    pub fn launch(&self, stream: &Stream, precision: Storage) -> Result<()> {
        let kernel = precision.kernel([FILTERS_FORWARD, FILTERS_FORWARD_MIXED]);
        let n_tiles = (self.max_pairs.max(self.n_template_rows) as usize).div_ceil(FILTER_TILE);
        let n_segments = self.n_structures as usize + usize::from(self.n_template_rows > 0);
        let shared_bytes = size_of::<f32>() * FILTER_TILE * self.n_columns as usize;
        stream.launch(kernel, kernel.grid([n_tiles, n_segments], shared_bytes), self)
    }
}

impl PairFilterGradient {
    /// Queues it in `precision` for a model of `n_blocks` blocks.
    pub fn launch(&self, stream: &Stream, precision: Storage, n_blocks: usize) -> Result<()> {
        let kernel = precision.kernel([PAIR_FILTER_GRADIENT, PAIR_FILTER_GRADIENT_MIXED]);
        let n_tiles = (self.max_pairs as usize).div_ceil(kernel.warps());
        stream.launch(kernel, kernel.grid([n_tiles, self.n_structures as usize * n_blocks], 0), self)
    }
}

impl TemplateFilterGradient {
    /// Queues it in `precision`.
    pub fn launch(&self, stream: &Stream, precision: Storage) -> Result<()> {
        let kernel = precision.kernel([TEMPLATE_FILTER_GRADIENT, TEMPLATE_FILTER_GRADIENT_MIXED]);
        let blocks = [self.n_template_rows as usize, self.n_blocks as usize];
        let shared_bytes = size_of::<f32>() * kernel.warps() * 3 * self.features as usize;
        stream.launch(kernel, kernel.grid(blocks, shared_bytes), self)
    }
}

impl TemplateFilterSum {
    /// Queues it.
    pub fn launch(&self, stream: &Stream) -> Result<()> {
        let kernel = TEMPLATE_FILTER_SUM;
        let n_sums = self.n_template_rows as usize * 3 * self.features as usize;
        let shared_bytes = size_of::<f32>() * kernel.max_threads as usize;
        let blocks = [n_sums.div_ceil(SUMS_PER_BLOCK), self.n_blocks as usize];
        stream.launch(kernel, kernel.grid(blocks, shared_bytes), self)
    }
}
