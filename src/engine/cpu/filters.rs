//! Filters W = (A φ(d) + b)·f(d) of edges, for all blocks at once, and their gradient.
//!
//! With Φ = [f φ | f | 0…] (one row an edge) and A extended by b as a column, W = Φ·Aᵀ: one product forward, one backward.
//! A filter row is laid out as message kernels read it: `[block][channel block][q, R, μ][LANES]`, zero-padded.

use super::gemm::{Onto, add_transposed_product, matrix, matrix_mut, multiply};
use super::simd::{LANES, Real};
use crate::model::{ModelSizes, RadialBasis};

/// Radial functions below this are taken as 0: subnormal f32 numbers would make every product with them many times slower.
const NEGLIGIBLE: f64 = 1e-30;

/// Radial functions and the layout of filter rows.
#[derive(Debug, Clone)]
pub struct Filters<T> {
    features: usize,
    blocks: usize,
    cutoff: f64,
    basis: RadialBasis,
    /// Width of a Φ row: K radial functions, the cutoff, padding.
    pub n_columns: usize,
    /// Elements of a filter row.
    pub row_len: usize,
    /// Elements of a filter row that belong to one block.
    pub block_len: usize,
    _precision: std::marker::PhantomData<T>,
}

impl<T: Real> Filters<T> {
    /// Filters of a model.
    pub fn new(sizes: &ModelSizes, basis: &RadialBasis) -> Self {
        let block_len = sizes.features.div_ceil(LANES) * 3 * LANES;
        Filters {
            features: sizes.features,
            blocks: sizes.blocks,
            cutoff: sizes.cutoff_angstrom,
            basis: basis.clone(),
            n_columns: (sizes.radial_functions + 1).next_multiple_of(LANES),
            row_len: sizes.blocks * block_len,
            block_len,
            _precision: std::marker::PhantomData,
        }
    }

    /// Φ of these distances (Å) into `phi`, one row of `n_columns` each: φ_k = exp(−(d−μ_k)²/(2w²)), f = ½(cos(πd/r_c)+1).
    pub fn radial_rows(&self, distances: &[f64], phi: &mut Vec<T>) {
        phi.clear();
        phi.resize(distances.len() * self.n_columns, T::ZERO);
        let k = self.basis.offsets.len();
        for (row, &d) in phi.chunks_exact_mut(self.n_columns).zip(distances) {
            let f = 0.5 * ((std::f64::consts::PI * d / self.cutoff).cos() + 1.0);
            for ((phi, offset), width) in row.iter_mut().zip(&self.basis.offsets).zip(&self.basis.widths) {
                let z = (d - offset) / width;
                let value = f * (-0.5 * z * z).exp();
                *phi = if value < NEGLIGIBLE { T::ZERO } else { T::of(value) };
            }
            row[k] = T::of(f);
        }
    }

    /// Place of row `o` of A (in the model's order: block, part, channel) in a filter row.
    fn column(&self, o: usize) -> usize {
        let f = self.features;
        let (block, part, channel) = (o / (3 * f), o / f % 3, o % f);
        block * self.block_len + (channel / LANES * 3 + part) * LANES + channel % LANES
    }

    /// Aᵀ extended by b, `n_columns` × `row_len`, from the model's `weight` [3F·L, K] and `bias` [3F·L].
    pub fn arrange(&self, weight: &[T], bias: &[T], arranged: &mut [T]) {
        let k = self.basis.offsets.len();
        for o in 0..3 * self.features * self.blocks {
            let column = self.column(o);
            for (p, &w) in weight[o * k..(o + 1) * k].iter().chain([&bias[o]]).enumerate() {
                arranged[p * self.row_len + column] = w;
            }
        }
    }

    /// Filter rows of these Φ rows.
    pub fn forward(&self, phi: &[T], arranged: &[T], rows: &mut Vec<T>) {
        let n = phi.len() / self.n_columns;
        rows.resize(n * self.row_len, T::ZERO);
        let k = self.basis.offsets.len() + 1;
        multiply(
            [n, self.row_len, k],
            matrix(phi, self.n_columns),
            matrix(arranged, self.row_len),
            Onto::Zero,
            matrix_mut(rows, self.row_len),
        );
    }

    /// Adds to d A extended (`row_len` × `n_columns`, rows arranged) from the gradient of the filter rows.
    pub fn backward(&self, phi: &[T], d_rows: &[T], d_arranged: &mut [T]) {
        let n = phi.len() / self.n_columns;
        let size = [self.row_len, self.n_columns, n];
        let d_arranged = matrix_mut(d_arranged, self.n_columns);
        add_transposed_product(size, matrix(d_rows, self.row_len), matrix(phi, self.n_columns), d_arranged);
    }

    /// Adds an arranged gradient to those of the model's `weight` and `bias`.
    pub fn scatter_gradient(&self, d_arranged: &[T], d_weight: &mut [T], d_bias: &mut [T]) {
        let k = self.basis.offsets.len();
        for o in 0..3 * self.features * self.blocks {
            let row = &d_arranged[self.column(o) * self.n_columns..][..k + 1];
            for (d, &g) in d_weight[o * k..(o + 1) * k].iter_mut().zip(row) {
                *d += g;
            }
            d_bias[o] += row[k];
        }
    }
}
