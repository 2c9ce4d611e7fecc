//! Launches of kernels/block.cu: one block of PaiNN for a tile of atoms, and its gradient.

use super::stored::StoredPointer;
use crate::engine::Precision;
use crate::error::Result;
use crate::gpu::{Arguments, Pointer, Shape, Stream};
use bytemuck::{Pod, Zeroable};

/// Atoms of a tile, large and small.
pub const TILE: usize = 16;
/// See [`TILE`].
pub const SMALL_TILE: usize = 4;
/// Threads of a block of the grid.
pub const THREADS: usize = 256;
/// Warps of a block of the grid.
pub const WARPS: usize = THREADS / 32;

/// Atoms a launch computes.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct AtomList {
    /// Structure s's begin at s·list_stride.
    pub list: Pointer<u32>,
    /// How many, at s·count_stride.
    pub counts: Pointer<u32>,
}

/// Template–template edges.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct TemplateEdges {
    /// \[T + 1\].
    pub group_starts: Pointer<u32>,
    /// \[T + 1\].
    pub edge_starts: Pointer<u32>,
    /// {filter row, one past the last edge}.
    pub groups: Pointer<[u32; 2]>,
    /// {unit vector to the sender, sender}.
    pub edges: Pointer<[f32; 4]>,
}

/// Edges with a free atom.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct FreeEdges {
    /// \[S\]\[N + 1\].
    pub starts: Pointer<u32>,
    /// \[S\]\[2·max_pairs\].
    pub edges: Pointer<[f32; 4]>,
    /// \[S\]\[2·max_pairs\].
    pub rows: Pointer<u32>,
}

/// Matrices of the update and of the next senders.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct BlockWeights {
    /// M.
    pub mix: Pointer<f32>,
    /// W₁.
    pub net_1: Pointer<f32>,
    /// W₂.
    pub net_2: Pointer<f32>,
    /// C₁.
    pub context_1: Pointer<f32>,
    /// C₂.
    pub context_2: Pointer<f32>,
}

/// Their biases.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct BlockBiases {
    /// b₁.
    pub net_1: Pointer<f32>,
    /// b₂.
    pub net_2: Pointer<f32>,
    /// c₁.
    pub context_1: Pointer<f32>,
    /// c₂.
    pub context_2: Pointer<f32>,
}

/// What the backward pass reads again.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct BlockSaved {
    /// \[S·N\]\[4F\] state between message and update.
    pub middle: StoredPointer,
    /// \[S·N\]\[3\]\[2F\].
    pub mixed: StoredPointer,
    /// \[S·N\]\[F\].
    pub norm: StoredPointer,
    /// \[S·N\]\[F\].
    pub hidden: StoredPointer,
    /// \[S·N\]\[3F\].
    pub net: StoredPointer,
    /// \[S·N\]\[F\].
    pub context_hidden: StoredPointer,
    /// \[S·N\]\[F\].
    pub x_mu: StoredPointer,
}

/// Arguments of `block_forward` and its variants; see kernels/block.cu.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct BlockForward {
    pub atoms: AtomList,
    pub template_edges: TemplateEdges,
    pub free_edges: FreeEdges,
    pub start: Pointer<f32>,
    pub senders: StoredPointer,
    pub template_filters: StoredPointer,
    pub free_filters: StoredPointer,
    pub weights: BlockWeights,
    pub biases: BlockBiases,
    pub state: Pointer<f32>,
    pub senders_out: StoredPointer,
    pub saved: BlockSaved,
    pub features: u32,
    pub n_atoms: u32,
    pub n_template: u32,
    pub start_rows: u32,
    pub filter_stride: u32,
    pub max_pairs: u32,
    pub list_stride: u32,
    pub count_stride: u32,
}

impl Arguments for BlockForward {
    const KERNEL: &'static str = "block_forward";
}

/// Arguments of `block_backward` and its variants; see kernels/block.cu.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct BlockBackward {
    pub atoms: AtomList,
    pub template_edges: TemplateEdges,
    pub free_edges: FreeEdges,
    pub d_above: Pointer<f32>,
    pub template_filters: StoredPointer,
    pub free_filters: StoredPointer,
    pub senders: StoredPointer,
    pub state: Pointer<f32>,
    pub saved: BlockSaved,
    pub weights: BlockWeights,
    pub d_state: Pointer<f32>,
    pub d_x: Pointer<f32>,
    pub d_context_hidden: Pointer<f32>,
    pub d_net: Pointer<f32>,
    pub d_hidden: Pointer<f32>,
    pub d_mixed: Pointer<f32>,
    pub d_middle: Pointer<f32>,
    pub d_template_filters: Pointer<f32>,
    pub features: u32,
    pub n_atoms: u32,
    pub n_template: u32,
    pub filter_stride: u32,
    pub max_pairs: u32,
    pub list_stride: u32,
    pub count_stride: u32,
    pub n_filter_rows: u32,
}

impl Arguments for BlockBackward {
    const KERNEL: &'static str = "block_backward";
}

/// Tiles of `longest` atoms: their number and size. Few atoms are spread over more multiprocessors.
pub fn tiles(longest: usize, small: bool) -> (usize, usize) {
    let tile = if small { SMALL_TILE } else { TILE };
    (longest.div_ceil(tile), tile)
}

/// Bytes of shared memory that a backward tile needs to gather the gradient of `n_filter_rows` rows of template filters.
pub fn backward_shared_bytes(features: usize, tile: usize, n_filter_rows: usize) -> usize {
    let update = tile * 9 * features;
    let accumulators = WARPS * n_filter_rows * 3 * features;
    4 * (tile * 7 * features + update.max(accumulators))
}

impl BlockForward {
    /// Queues it in `precision` for `n_structures` structures of at most `longest` listed atoms.
    pub fn launch(
        &self,
        stream: &Stream,
        precision: Precision,
        n_structures: usize,
        longest: usize,
        small: bool,
    ) -> Result<()> {
        let (n_tiles, tile) = tiles(longest, small);
        let shared_bytes = 4 * 16 * tile as u32 * self.features;
        let shape = Shape { blocks: [n_tiles as u32, n_structures as u32], threads: THREADS as u32, shared_bytes };
        let kernels = match small {
            true => ["block_forward_small", "block_forward_small_mixed"],
            false => ["block_forward", "block_forward_mixed"],
        };
        stream.launch_variant(precision.kernel(kernels), shape, self)
    }
}

impl BlockBackward {
    /// Queues it in `precision` for `n_structures` structures of at most `longest` listed atoms.
    pub fn launch(
        &self,
        stream: &Stream,
        precision: Precision,
        n_structures: usize,
        longest: usize,
        small: bool,
    ) -> Result<()> {
        let (n_tiles, tile) = tiles(longest, small);
        let shared = backward_shared_bytes(self.features as usize, tile, self.n_filter_rows as usize);
        let shared_bytes = shared.max(4 * self.n_atoms as usize) as u32;
        let shape = Shape { blocks: [n_tiles as u32, n_structures as u32], threads: THREADS as u32, shared_bytes };
        let kernels = match small {
            true => ["block_backward_small", "block_backward_small_mixed"],
            false => ["block_backward", "block_backward_mixed"],
        };
        stream.launch_variant(precision.kernel(kernels), shape, self)
    }
}
