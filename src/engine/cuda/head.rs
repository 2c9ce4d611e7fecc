//! Launches of kernels/head.cu: a head, and in training the loss and its gradient.

pub use crate::gpu::arguments::head::{GatedBlock, Head};

use super::arrangement::Gated;
use crate::error::Result;
use crate::gpu::arguments::head::{HEAD, HEAD_TILE};
use crate::gpu::{Buffer, Pointer, Stream};
use crate::model::HEAD_BLOCKS;

/// Arrays that the gradients of a gated block's weights read, S·N rows each.
pub struct GatedSaved {
    /// s | ‖V‖.
    pub input: Buffer<f32>,
    /// μ, three components.
    pub vectors: Buffer<f32>,
    /// Hidden layer before silu.
    pub hidden: Buffer<f32>,
    /// Gradient of V | U, three components.
    pub d_mixed: Buffer<f32>,
    /// Gradient of the hidden layer.
    pub d_hidden: Buffer<f32>,
    /// Gradient of s′ | g.
    pub d_out: Buffer<f32>,
}

impl GatedSaved {
    /// For `n_rows` atoms.
    pub fn new(stream: &Stream, block: &Gated, n_rows: usize) -> Result<Self> {
        let zeros = |width: usize| stream.zeros(n_rows * width);
        Ok(GatedSaved {
            input: zeros(block.net.first.n_in)?,
            vectors: zeros(3 * block.vectors_in)?,
            hidden: zeros(block.net.first.n_out)?,
            d_mixed: zeros(3 * block.mix.n_out)?,
            d_hidden: zeros(block.net.first.n_out)?,
            d_out: zeros(block.net.second.n_out)?,
        })
    }
}

/// The blocks of a head for the kernel, and the place where the shared memory behind them begins (floats an atom). The weights are
/// in `plain` and `transposed`.
pub fn gated_blocks(
    blocks: &[Gated],
    plain: Pointer<f32>,
    transposed: Pointer<f32>,
    saved: Option<&[GatedSaved]>,
) -> ([GatedBlock; HEAD_BLOCKS], usize) {
    let mut at = 0;
    let mut next = |len: usize| {
        at += len;
        (at - len) as u32
    };
    let arguments = std::array::from_fn(|k| {
        let (b, kept) = (&blocks[k], saved.map(|saved| &saved[k]));
        let keep = |buffer: fn(&GatedSaved) -> &Buffer<f32>| kept.map_or(Pointer::NULL, |kept| buffer(kept).pointer());
        let bias = |at: Option<usize>| at.map_or(Pointer::NULL, |at| plain.plus(at));
        GatedBlock {
            mix: transposed.plus(b.mix.transposed),
            net_1: transposed.plus(b.net.first.transposed),
            net_2: transposed.plus(b.net.second.transposed),
            d_mix: plain.plus(b.mix.plain),
            d_net_1: plain.plus(b.net.first.plain),
            d_net_2: plain.plus(b.net.second.plain),
            bias_1: bias(b.net.first.bias),
            bias_2: bias(b.net.second.bias),
            input: keep(|kept| &kept.input),
            vectors: keep(|kept| &kept.vectors),
            hidden: keep(|kept| &kept.hidden),
            d_mixed: keep(|kept| &kept.d_mixed),
            d_hidden: keep(|kept| &kept.d_hidden),
            d_out: keep(|kept| &kept.d_out),
            n_scalars_in: b.scalars_in as u32,
            n_vectors_in: b.vectors_in as u32,
            n_hidden: b.net.first.n_out as u32,
            n_scalars_out: b.scalars_out as u32,
            n_vectors_out: b.vectors_out as u32,
            at_input: next(b.net.first.n_in),
            at_vectors: next(3 * b.vectors_in),
            at_mixed: next(3 * b.mix.n_out),
            at_hidden: next(b.net.first.n_out),
            at_active: next(b.net.first.n_out),
            at_out: next(b.net.second.n_out),
        }
    });
    (arguments, at)
}

impl Head {
    /// Blocks of the grid for one structure of at most `longest` listed atoms. Each block writes one loss.
    pub fn n_tiles(longest: usize) -> usize {
        longest.div_ceil(HEAD_TILE as usize)
    }

    /// Queues it for `n_structures` structures.
    pub fn launch(&self, stream: &Stream, n_structures: usize, longest: usize) -> Result<()> {
        let last = self.blocks[HEAD_BLOCKS - 1].n_vectors_out;
        let shared_bytes = 4 * HEAD_TILE * (self.at_d_vectors + 3 * last + 4);
        let grid = HEAD.grid([Self::n_tiles(longest), n_structures], shared_bytes as usize);
        stream.launch(HEAD, grid, self)
    }
}
