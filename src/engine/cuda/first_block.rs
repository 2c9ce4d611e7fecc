//! Arguments of kernels/first_block.cu: what all structures of a search share in the first block, and its gradient.

use super::block::{FreeEdges, TemplateEdges};
use super::stored::StoredPointer;
use crate::gpu::{Arguments, Pointer};
use bytemuck::{Pod, Zeroable};

/// Arguments of `species_forward` and `species_forward_mixed`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct SpeciesForward {
    pub numbers: Pointer<u32>,
    pub species_of: Pointer<u32>,
    pub embedding: Pointer<f32>,
    pub context_1: Pointer<f32>,
    pub bias_1: Pointer<f32>,
    pub context_2: Pointer<f32>,
    pub bias_2: Pointer<f32>,
    pub q: Pointer<f32>,
    pub hidden: Pointer<f32>,
    pub senders: StoredPointer,
    pub start: Pointer<f32>,
    pub features: u32,
    pub n_atoms: u32,
}

impl Arguments for SpeciesForward {
    const KERNEL: &'static str = "species_forward";
}

/// Arguments of `first_message` and `first_message_mixed`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct FirstMessage {
    pub template_edges: TemplateEdges,
    pub senders: StoredPointer,
    pub template_filters: StoredPointer,
    pub start: Pointer<f32>,
    pub features: u32,
    pub n_template: u32,
    pub filter_stride: u32,
    pub unused: u32,
}

impl Arguments for FirstMessage {
    const KERNEL: &'static str = "first_message";
}

/// Arguments of `first_backward` and `first_backward_mixed`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct FirstBackward {
    pub free_edges: FreeEdges,
    pub d_middle: Pointer<f32>,
    pub free_filters: StoredPointer,
    pub d_start: Pointer<f32>,
    pub d_x: Pointer<f32>,
    pub features: u32,
    pub n_atoms: u32,
    pub n_structures: u32,
    pub filter_stride: u32,
    pub max_pairs: u32,
    pub unused: u32,
}

impl Arguments for FirstBackward {
    const KERNEL: &'static str = "first_backward";
}

/// Arguments of `first_template_backward` and `first_template_backward_mixed`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct FirstTemplateBackward {
    pub template_edges: TemplateEdges,
    pub senders: StoredPointer,
    pub d_start: Pointer<f32>,
    pub template_filters: StoredPointer,
    pub d_x: Pointer<f32>,
    pub d_template_filters: Pointer<f32>,
    pub features: u32,
    pub n_template: u32,
    pub filter_stride: u32,
    pub n_filter_rows: u32,
}

impl Arguments for FirstTemplateBackward {
    const KERNEL: &'static str = "first_template_backward";
}

/// Arguments of `species_backward`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct SpeciesBackward {
    pub numbers: Pointer<u32>,
    pub species_of: Pointer<u32>,
    pub d_start: Pointer<f32>,
    pub d_x: Pointer<f32>,
    pub hidden: Pointer<f32>,
    pub context_1: Pointer<f32>,
    pub context_2: Pointer<f32>,
    pub d_species_x: Pointer<f32>,
    pub d_hidden: Pointer<f32>,
    pub d_embedding: Pointer<f32>,
    pub features: u32,
    pub n_atoms: u32,
}

impl Arguments for SpeciesBackward {
    const KERNEL: &'static str = "species_backward";
}
