//! Arguments of kernels/half.cu: the conversions of 16-bit storage alone, which a test compares with the crate `half`.

use crate::gpu::{Arguments, Pointer};
use bytemuck::{Pod, Zeroable};

/// Arguments of `half_conversion`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct HalfConversion {
    pub values: Pointer<f32>,
    pub bits: Pointer<u16>,
    pub pairs: Pointer<[u16; 2]>,
    pub halves: Pointer<[u16; 2]>,
    pub widened: Pointer<f32>,
    pub n: u32,
    pub m: u32,
}

impl Arguments for HalfConversion {
    const KERNEL: &'static str = "half_conversion";
}
