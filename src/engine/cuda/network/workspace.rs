//! Buffers of a batch: the results of the forward pass, and the further arrays of a training step.

use super::Network;
use crate::engine::cuda::arrangement::Gated;
use crate::engine::cuda::block::{BlockSaved, tiles};
use crate::engine::cuda::constants::Constants;
use crate::engine::cuda::first_block::n_shares;
use crate::engine::cuda::head::{GatedSaved, Head};
use crate::engine::cuda::stored::Stored;
use crate::engine::cuda::weight_gradient::{SLICES, WeightJob};
use crate::error::Result;
use crate::gpu::{Buffer, Stream};

/// One block's results for a batch.
pub(super) struct BlockBuffers {
    /// \[S·N\]\[4F\] after the block.
    pub(super) state: Buffer<f32>,
    /// \[S·N\]\[5F\] of the next block.
    pub(super) senders: Stored,
}

/// Arrays of one block that the backward pass reads and writes; \[S·N\] rows each.
pub(super) struct BlockTape {
    pub(super) middle: Stored,
    pub(super) mixed: Stored,
    pub(super) norm: Stored,
    pub(super) hidden: Stored,
    pub(super) net: Stored,
    pub(super) context_hidden: Stored,
    pub(super) x_mu: Stored,
    pub(super) d_net: Buffer<f32>,
    pub(super) d_hidden: Buffer<f32>,
    pub(super) d_mixed: Buffer<f32>,
    pub(super) d_middle: Buffer<f32>,
    /// Of the network that made the next block's senders.
    pub(super) d_context_hidden: Buffer<f32>,
    pub(super) d_x: Buffer<f32>,
    /// Shares of the gradient of the next block's template filters, one a tile.
    pub(super) d_template_filters: Option<Buffer<f32>>,
}

/// Arrays that a training step needs in addition to those of the forward pass.
pub(super) struct Tape {
    pub(super) blocks: Vec<BlockTape>,
    pub(super) free_phi: Buffer<f32>,
    pub(super) d_free_rows: Buffer<f32>,
    pub(super) d_template_rows: Buffer<f32>,
    pub(super) first_shares: Option<Buffer<f32>>,
    pub(super) score: Vec<GatedSaved>,
    pub(super) force: Vec<GatedSaved>,
    pub(super) d_state: Buffer<f32>,
    pub(super) d_start: Buffer<f32>,
    pub(super) d_first_x: Buffer<f32>,
    pub(super) d_species_x: Buffer<f32>,
    pub(super) d_species_hidden: Buffer<f32>,
    pub(super) slices: Buffer<f32>,
    pub(super) jobs: Option<(Buffer<WeightJob>, usize)>,
    pub(super) losses: [Buffer<f32>; 2],
    /// \[S\]\[free atoms\] scalars of the force head that the readout sums.
    pub(super) scalars: Buffer<f32>,
}

/// Buffers of a batch of S structures.
pub struct Workspace {
    pub(super) n_structures: usize,
    pub(super) max_pairs: usize,
    pub(super) free_rows: Stored,
    pub(super) blocks: Vec<BlockBuffers>,
    pub(super) tape: Option<Tape>,
}

impl Workspace {
    /// Room for `n_structures` structures of `max_pairs` pairs each; with `tape` also for training.
    ///
    /// # Errors
    /// `Failed` without memory.
    pub fn new(stream: &Stream, network: &Network, n_structures: usize, max_pairs: usize, tape: bool) -> Result<Self> {
        let sizes = network.constants.sizes;
        let (f, rows) = (sizes.features, n_structures * sizes.n_atoms);
        // Without a tape two blocks' results suffice: each block reads the results of the one before.
        let n_kept = if tape { sizes.blocks } else { sizes.blocks.min(2) };
        let stored = |len: usize| Stored::zeros(stream, network.precision, len);
        let block = |_| Ok(BlockBuffers { state: stream.zeros(rows * 4 * f)?, senders: stored(rows * 5 * f)? });
        let blocks = (0..n_kept).map(block).collect::<Result<_>>()?;
        let n_filter_elements = n_structures * max_pairs * sizes.filter_stride;
        Ok(Workspace {
            n_structures,
            max_pairs,
            free_rows: stored(n_filter_elements)?,
            blocks,
            tape: if tape { Some(Tape::new(stream, network, n_structures, max_pairs)?) } else { None },
        })
    }

    /// Structures it has room for, and pairs of each.
    pub fn room(&self) -> [usize; 2] {
        [self.n_structures, self.max_pairs]
    }

    pub(super) fn block(&self, l: usize) -> &BlockBuffers {
        &self.blocks[l % self.blocks.len()]
    }
}

impl Tape {
    pub(super) fn new(stream: &Stream, network: &Network, n_structures: usize, max_pairs: usize) -> Result<Self> {
        let Constants { sizes, arrangement, few_template_rows, .. } = &network.constants;
        let (f, rows, n) = (sizes.features, n_structures * sizes.n_atoms, sizes.n_atoms);
        let n_template_row_elements = (sizes.n_template_rows * sizes.filter_stride).max(1);
        // Tiles may be small: their number is bounded by that of small tiles.
        let n_tile_shares = n_structures * tiles(n, true).0;
        let share = sizes.n_template_rows * 3 * f;
        let zeros = |width: usize| stream.zeros(rows * width);
        let stored = |width: usize| Stored::zeros(stream, network.precision, rows * width);
        let block = |l: usize| {
            let shares = *few_template_rows && sizes.n_template_rows > 0 && l + 2 < sizes.blocks;
            Ok(BlockTape {
                middle: stored(4 * f)?,
                mixed: stored(6 * f)?,
                norm: stored(f)?,
                hidden: stored(f)?,
                net: stored(3 * f)?,
                context_hidden: stored(f)?,
                x_mu: stored(f)?,
                d_net: zeros(3 * f)?,
                d_hidden: zeros(f)?,
                d_mixed: zeros(6 * f)?,
                d_middle: zeros(4 * f)?,
                d_context_hidden: zeros(f)?,
                d_x: zeros(3 * f)?,
                d_template_filters: if shares { Some(stream.zeros(n_tile_shares * share)?) } else { None },
            })
        };
        let saved = |blocks: &[Gated]| blocks.iter().map(|b| GatedSaved::new(stream, b, rows)).collect::<Result<_>>();
        let n_first_shares = n_shares(sizes.n_template);
        Ok(Tape {
            blocks: (0..sizes.blocks).map(block).collect::<Result<_>>()?,
            free_phi: stream.zeros(n_structures * max_pairs * sizes.n_columns)?,
            d_free_rows: stream.zeros(n_structures * max_pairs * sizes.filter_stride)?,
            d_template_rows: stream.zeros(n_template_row_elements)?,
            first_shares: if *few_template_rows && share > 0 {
                Some(stream.zeros(n_first_shares * share)?)
            } else {
                None
            },
            score: saved(&arrangement.score)?,
            force: saved(&arrangement.force)?,
            d_state: zeros(4 * f)?,
            d_start: stream.zeros(n * 4 * f)?,
            d_first_x: stream.zeros(n * 2 * f)?,
            d_species_x: stream.zeros(sizes.n_species * 3 * f)?,
            d_species_hidden: stream.zeros(sizes.n_species * f)?,
            slices: stream.zeros(SLICES * arrangement.plain_len)?,
            jobs: None,
            scalars: stream.zeros(n_structures * sizes.n_free)?,
            losses: [
                stream.zeros(n_structures * Head::n_tiles(sizes.n_free))?,
                stream.zeros(n_structures * Head::n_tiles(sizes.n_free))?,
            ],
        })
    }
}

impl BlockTape {
    pub(super) fn saved(&self) -> BlockSaved {
        BlockSaved {
            middle: self.middle.pointer(),
            mixed: self.mixed.pointer(),
            norm: self.norm.pointer(),
            hidden: self.hidden.pointer(),
            net: self.net.pointer(),
            context_hidden: self.context_hidden.pointer(),
            x_mu: self.x_mu.pointer(),
        }
    }
}
