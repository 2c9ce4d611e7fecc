//! Arguments of kernels/filters.cu: filter rows of all edges, and their gradient.

use super::stored::StoredPointer;
use crate::gpu::{Arguments, Pointer};
use bytemuck::{Pod, Zeroable};

/// Rows a block of `filters_forward` computes.
pub const FILTER_TILE: usize = 32;
/// Most interaction blocks of a model on the GPU.
pub const MAX_BLOCKS: usize = 16;

/// Arguments of `filters_forward` and `filters_forward_mixed`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct FiltersForward {
    pub free_distances: Pointer<f32>,
    pub n_pairs: Pointer<u32>,
    pub template_distances: Pointer<f32>,
    pub offsets: Pointer<f32>,
    pub widths: Pointer<f32>,
    pub weights: Pointer<f32>,
    pub free_phi: Pointer<f32>,
    pub template_phi: Pointer<f32>,
    pub free_rows: StoredPointer,
    pub template_rows: StoredPointer,
    pub n_structures: u32,
    pub max_pairs: u32,
    pub n_template_rows: u32,
    pub n_radial: u32,
    pub n_columns: u32,
    pub filter_stride: u32,
    pub cutoff: f32,
    pub unused: u32,
}

impl Arguments for FiltersForward {
    const KERNEL: &'static str = "filters_forward";
}

/// Gradient and senders of one interaction block.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct BlockGradient {
    /// d middle, rows of 4F.
    pub d_middle: Pointer<f32>,
    /// Senders, rows of 5F.
    pub senders: StoredPointer,
}

/// Arguments of `pair_filter_gradient` and `pair_filter_gradient_mixed`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct PairFilterGradient {
    pub pairs: Pointer<[f32; 4]>,
    pub n_pairs: Pointer<u32>,
    pub d_rows: Pointer<f32>,
    pub blocks: [BlockGradient; MAX_BLOCKS],
    pub features: u32,
    pub n_atoms: u32,
    pub n_structures: u32,
    pub max_pairs: u32,
    pub filter_stride: u32,
    pub unused: u32,
}

impl Arguments for PairFilterGradient {
    const KERNEL: &'static str = "pair_filter_gradient";
}

/// Arguments of `template_filter_gradient` and `template_filter_gradient_mixed`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct TemplateFilterGradient {
    pub row_starts: Pointer<u32>,
    pub edges: Pointer<[f32; 4]>,
    pub d_rows: Pointer<f32>,
    pub blocks: [BlockGradient; MAX_BLOCKS],
    pub features: u32,
    pub n_atoms: u32,
    pub n_structures: u32,
    pub n_template_rows: u32,
    pub n_blocks: u32,
    pub filter_stride: u32,
}

impl Arguments for TemplateFilterGradient {
    const KERNEL: &'static str = "template_filter_gradient";
}

/// Arguments of `template_filter_sum`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct TemplateFilterSum {
    pub shares: [Pointer<f32>; MAX_BLOCKS],
    pub d_rows: Pointer<f32>,
    pub n_shares: [u32; MAX_BLOCKS],
    pub features: u32,
    pub n_template_rows: u32,
    pub n_blocks: u32,
    pub filter_stride: u32,
}

impl Arguments for TemplateFilterSum {
    const KERNEL: &'static str = "template_filter_sum";
}
