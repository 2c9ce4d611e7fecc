//! Linear layers and the two-layer networks of PaiNN: W₂·silu(W₁x + b₁) + b₂.

use super::gemm::{
    Matrix, MatrixMut, Onto, add_column_sums, add_transposed_product, matrix, matrix_mut, multiply, transpose,
};
use super::simd::{Real, silu_backward, silu_forward};
use crate::model::Layout;
use std::ops::Range;

/// The flat parameter array, and every matrix in it transposed at the same place.
#[derive(Debug, Clone)]
pub struct Weights<T> {
    /// Parameters in the model's order, matrices [out, in].
    pub flat: Vec<T>,
    /// The same with matrices [in, out].
    pub transposed: Vec<T>,
}

impl<T: Real> Weights<T> {
    /// Takes the parameters over; call [`Weights::transpose_all`] after every change.
    pub fn new(flat: Vec<T>) -> Self {
        let transposed = flat.clone();
        Weights { flat, transposed }
    }

    /// Renews the transposed matrices of these layers.
    pub fn transpose_all(&mut self, layers: &[Linear]) {
        for layer in layers {
            let range = layer.weight..layer.weight + layer.n_out * layer.n_in;
            transpose(layer.n_out, layer.n_in, &self.flat[range.clone()], &mut self.transposed[range]);
        }
    }
}

/// Places of one layer's numbers in the flat array.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    /// First element of the matrix.
    pub weight: usize,
    /// First element of the bias, if there is one.
    pub bias: Option<usize>,
    /// Columns of the matrix.
    pub n_in: usize,
    /// Rows of the matrix.
    pub n_out: usize,
}

impl Linear {
    /// The layer `name` of a layout that has it.
    pub fn find(layout: &Layout, name: &str) -> Self {
        let weight = layout.find(&format!("{name}.weight")).expect("layouts hold every layer of their sizes");
        let bias = layout.find(&format!("{name}.bias")).map(|tensor| tensor.offset);
        Linear { weight: weight.offset, bias, n_in: weight.shape[1], n_out: weight.shape[0] }
    }

    /// y[n, out] = onto + x[n, part] · W[:, part]ᵀ.
    pub fn forward<T: Real>(
        &self,
        weights: &Weights<T>,
        n: usize,
        x: Matrix<'_, T>,
        part: Range<usize>,
        onto: Onto<'_, T>,
        y: MatrixMut<'_, T>,
    ) {
        let w = &weights.transposed[self.weight + part.start * self.n_out..];
        multiply([n, self.n_out, part.len()], x, matrix(w, self.n_out), onto, y);
    }

    /// The bias as the start of a product's result.
    pub fn bias<'a, T: Real>(&self, weights: &'a Weights<T>) -> Onto<'a, T> {
        self.bias.map_or(Onto::Zero, |bias| Onto::Row(&weights.flat[bias..bias + self.n_out]))
    }

    /// d x[n, part] = onto + d y[n, out] · W[:, part].
    pub fn backward_input<T: Real>(
        &self,
        weights: &Weights<T>,
        n: usize,
        d_y: Matrix<'_, T>,
        part: Range<usize>,
        onto: Onto<'_, T>,
        d_x: MatrixMut<'_, T>,
    ) {
        let w = &weights.flat[self.weight + part.start..];
        multiply([n, part.len(), self.n_out], d_y, matrix(w, self.n_in), onto, d_x);
    }

    /// Adds d W[:, part] = d yᵀ · x to the flat `gradient`.
    pub fn backward_weight<T: Real>(
        &self,
        n: usize,
        x: Matrix<'_, T>,
        part: Range<usize>,
        d_y: Matrix<'_, T>,
        gradient: &mut [T],
    ) {
        let d_w = matrix_mut(&mut gradient[self.weight + part.start..], self.n_in);
        add_transposed_product([self.n_out, part.len(), n], d_y, x, d_w);
    }

    /// Adds d b = column sums of d y to the flat `gradient`.
    pub fn backward_bias<T: Real>(&self, n: usize, d_y: Matrix<'_, T>, gradient: &mut [T]) {
        if let Some(bias) = self.bias {
            add_column_sums(n, d_y, &mut gradient[bias..bias + self.n_out]);
        }
    }
}

/// W₂·silu(W₁x + b₁) + b₂. The parts of x may lie in different places.
#[derive(Debug, Clone, Copy)]
pub struct Mlp {
    /// W₁, b₁.
    pub first: Linear,
    /// W₂, b₂.
    pub second: Linear,
}

/// One part of a network's input: some columns of x.
pub type Part<'a, T> = (Matrix<'a, T>, Range<usize>);

/// Intermediate results that the backward pass of an [`Mlp`] reads.
#[derive(Debug, Clone, Default)]
pub struct MlpBuffers<T> {
    hidden: Vec<T>,
    active: Vec<T>,
    d_hidden: Vec<T>,
    /// Output, [n, out].
    pub out: Vec<T>,
}

impl Mlp {
    /// The network whose layers are `name.0` and `name.1`.
    pub fn find(layout: &Layout, name: &str) -> Self {
        Mlp { first: Linear::find(layout, &format!("{name}.0")), second: Linear::find(layout, &format!("{name}.1")) }
    }

    /// Fills `buffers.out`.
    pub fn forward<T: Real>(&self, weights: &Weights<T>, n: usize, parts: &[Part<'_, T>], buffers: &mut MlpBuffers<T>) {
        let width = self.first.n_out;
        buffers.hidden.resize(n * width, T::ZERO);
        buffers.active.resize(n * width, T::ZERO);
        buffers.out.resize(n * self.second.n_out, T::ZERO);
        let mut onto = self.first.bias(weights);
        for (x, part) in parts {
            self.first.forward(weights, n, *x, part.clone(), onto, matrix_mut(&mut buffers.hidden, width));
            onto = Onto::Sum;
        }
        silu_forward(&buffers.hidden, &mut buffers.active);
        let (out, onto) = (matrix_mut(&mut buffers.out, self.second.n_out), self.second.bias(weights));
        self.second.forward(weights, n, matrix(&buffers.active, width), 0..width, onto, out);
    }

    /// Adds the weights' gradients to `gradient`; [`Mlp::backward_input`] then gives those of the inputs.
    pub fn backward<T: Real>(
        &self,
        weights: &Weights<T>,
        n: usize,
        parts: &[Part<'_, T>],
        d_out: &[T],
        buffers: &mut MlpBuffers<T>,
        gradient: &mut [T],
    ) {
        let width = self.first.n_out;
        let d_out = matrix(d_out, self.second.n_out);
        buffers.d_hidden.resize(n * width, T::ZERO);
        self.second.backward_weight(n, matrix(&buffers.active, width), 0..width, d_out, gradient);
        self.second.backward_bias(n, d_out, gradient);
        self.second.backward_input(weights, n, d_out, 0..width, Onto::Zero, matrix_mut(&mut buffers.d_hidden, width));
        silu_backward(&buffers.hidden[..n * width], &mut buffers.d_hidden[..n * width]);
        let d_hidden = matrix(&buffers.d_hidden, width);
        for (x, part) in parts {
            self.first.backward_weight(n, *x, part.clone(), d_hidden, gradient);
        }
        self.first.backward_bias(n, d_hidden, gradient);
    }

    /// d x[n, part] = onto + …, after [`Mlp::backward`].
    pub fn backward_input<T: Real>(
        &self,
        weights: &Weights<T>,
        n: usize,
        part: Range<usize>,
        buffers: &MlpBuffers<T>,
        onto: Onto<'_, T>,
        d_x: MatrixMut<'_, T>,
    ) {
        let d_hidden = matrix(&buffers.d_hidden, self.first.n_out);
        self.first.backward_input(weights, n, d_hidden, part, onto, d_x);
    }
}
