//! The CPU engine: `Cpu<f32>` is the product, `Cpu<f64>` the oracle.
pub mod gemm;
pub mod simd;
