//! Launches of kernels/first_block.cu: the part of the first block that all structures of a search share, and its gradient.

pub use crate::gpu::arguments::first_block::{
    FirstBackward, FirstMessage, FirstTemplateBackward, SpeciesBackward, SpeciesForward,
};

use crate::engine::Storage;
use crate::error::Result;
use crate::gpu::Stream;
use crate::gpu::arguments::first_block::{
    FIRST_BACKWARD, FIRST_BACKWARD_MIXED, FIRST_MESSAGE, FIRST_MESSAGE_MIXED, FIRST_TEMPLATE_BACKWARD,
    FIRST_TEMPLATE_BACKWARD_MIXED, SPECIES_BACKWARD, SPECIES_FORWARD, SPECIES_FORWARD_MIXED,
};

const FLOAT: usize = size_of::<f32>();

/// Blocks of `first_template_backward` for this number of template atoms. Each block writes one share of the filters' gradient.
pub fn n_shares(n_template: usize) -> usize {
    n_template.div_ceil(FIRST_TEMPLATE_BACKWARD.warps())
}

/// Bytes of shared memory that a block of `first_template_backward` needs to gather the gradient of `n_filter_rows` rows.
pub fn template_backward_shared_bytes(features: usize, n_filter_rows: usize) -> usize {
    FLOAT * FIRST_TEMPLATE_BACKWARD.warps() * n_filter_rows * 3 * features
}

/// Blocks of a species in `species_forward`: each writes its share of the atoms.
const SHARES: usize = 16;

/// Bytes of shared memory of a block of `species_forward` or `species_backward`, which has `threads` threads.
fn species_shared_bytes(features: u32, threads: u32) -> usize {
    FLOAT * (5 * features + 4 * threads) as usize
}

impl SpeciesForward {
    /// Queues it in `precision` for `n_species` species.
    pub fn launch(&self, stream: &Stream, precision: Storage, n_species: usize) -> Result<()> {
        let kernel = precision.kernel([SPECIES_FORWARD, SPECIES_FORWARD_MIXED]);
        let shares = SHARES.min(self.n_atoms as usize);
        let shared_bytes = species_shared_bytes(self.features, kernel.max_threads);
        stream.launch(kernel, kernel.grid([n_species, shares], shared_bytes), self)
    }
}

impl FirstMessage {
    /// Queues it in `precision`.
    pub fn launch(&self, stream: &Stream, precision: Storage) -> Result<()> {
        let kernel = precision.kernel([FIRST_MESSAGE, FIRST_MESSAGE_MIXED]);
        stream.launch(kernel, kernel.grid([(self.n_template as usize).div_ceil(kernel.warps()), 1], 0), self)
    }
}

impl FirstBackward {
    /// Queues it in `precision`.
    pub fn launch(&self, stream: &Stream, precision: Storage) -> Result<()> {
        let kernel = precision.kernel([FIRST_BACKWARD, FIRST_BACKWARD_MIXED]);
        let shared_bytes = FLOAT * kernel.warps() * 6 * self.features as usize;
        stream.launch(kernel, kernel.grid([self.n_atoms as usize, 1], shared_bytes), self)
    }
}

impl FirstTemplateBackward {
    /// Queues it in `precision`.
    pub fn launch(&self, stream: &Stream, precision: Storage) -> Result<()> {
        let kernel = precision.kernel([FIRST_TEMPLATE_BACKWARD, FIRST_TEMPLATE_BACKWARD_MIXED]);
        let shared_bytes = template_backward_shared_bytes(self.features as usize, self.n_filter_rows as usize);
        stream.launch(kernel, kernel.grid([n_shares(self.n_template as usize), 1], shared_bytes), self)
    }
}

impl SpeciesBackward {
    /// Queues it for `n_species` species.
    pub fn launch(&self, stream: &Stream, n_species: usize) -> Result<()> {
        let kernel = SPECIES_BACKWARD;
        let shared_bytes = species_shared_bytes(self.features, kernel.max_threads);
        stream.launch(kernel, kernel.grid([n_species, 1], shared_bytes), self)
    }
}
