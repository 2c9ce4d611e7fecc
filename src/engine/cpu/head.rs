//! Heads: three gated equivariant blocks that end in one vector an atom (SchNetPack's GatedEquivariantBlock, after
//! arXiv:2102.03150, fig. 3).
//!
//! One block: [V|U] = M μ; (s′, g) = net[s | ‖V‖]; μ′ = g⊙U; s′ through silu but in the last block. ‖V‖ has no epsilon and
//! gradient 0 at 0.

use super::gemm::{Onto, matrix, matrix_mut};
use super::linear::{Linear, Mlp, MlpBuffers, Weights};
use super::simd::{Real, silu_backward, silu_forward};
use crate::model::{HEAD_BLOCKS, Layout, head_sizes};

#[derive(Debug, Clone, Copy)]
struct GatedBlock {
    mix: Linear,
    net: Mlp,
    scalars_in: usize,
    vectors_in: usize,
    scalars_out: usize,
    vectors_out: usize,
    last: bool,
}

/// Intermediate results that a block's backward pass reads.
#[derive(Debug, Clone, Default)]
struct GatedBuffers<T> {
    /// [s | ‖V‖], scalars_in + vectors_out a row.
    input: Vec<T>,
    /// μ, [rows, 3, vectors_in].
    vectors: Vec<T>,
    /// [V|U], [rows, 3, 2·vectors_out].
    mixed: Vec<T>,
    net: MlpBuffers<T>,
}

/// A head's layers.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    blocks: [GatedBlock; HEAD_BLOCKS],
    features: usize,
    n_time: usize,
}

/// Intermediate results that the backward pass of a head reads.
#[derive(Debug, Clone, Default)]
pub struct HeadBuffers<T> {
    blocks: [GatedBuffers<T>; HEAD_BLOCKS],
    d_scalars: Vec<T>,
    d_vectors: Vec<T>,
    d_net: Vec<T>,
    d_input: Vec<T>,
    d_mixed: Vec<T>,
    /// The output vectors, [rows, 3].
    pub out: Vec<T>,
}

impl Head {
    /// The head `name` ("score" with two extra scalars of time, "force" with none).
    pub fn find(layout: &Layout, name: &str, features: usize, n_time: usize) -> Self {
        let sizes = head_sizes(features + n_time, features);
        let blocks = std::array::from_fn(|b| GatedBlock {
            mix: Linear::find(layout, &format!("{name}.{b}.mix_vectors")),
            net: Mlp::find(layout, &format!("{name}.{b}.scalar_net")),
            scalars_in: sizes[b].scalars_in,
            vectors_in: sizes[b].vectors_in,
            scalars_out: sizes[b].scalars_out,
            vectors_out: sizes[b].vectors_out,
            last: b == HEAD_BLOCKS - 1,
        });
        Head { blocks, features, n_time }
    }

    /// All linear layers.
    pub fn layers(&self) -> impl Iterator<Item = Linear> + '_ {
        self.blocks.iter().flat_map(|block| [block.mix, block.net.first, block.net.second])
    }

    /// Output vectors of `n` state rows [q | μ] (4F); `time` gives a row's extra scalars.
    pub fn forward<T: Real>(
        &self,
        weights: &Weights<T>,
        n: usize,
        state: &[T],
        time: impl Fn(usize) -> [T; 2],
        buffers: &mut HeadBuffers<T>,
    ) {
        let f = self.features;
        let stride = self.blocks[0].scalars_in + self.blocks[0].vectors_out;
        let first = &mut buffers.blocks[0];
        first.input.resize(n * stride, T::ZERO);
        first.vectors.resize(n * 3 * f, T::ZERO);
        for row in 0..n {
            let (q, mu) = state[row * 4 * f..][..4 * f].split_at(f);
            let input = &mut first.input[row * stride..][..stride];
            input[..f].copy_from_slice(q);
            input[f..f + self.n_time].copy_from_slice(&time(row)[..self.n_time]);
            first.vectors[row * 3 * f..][..3 * f].copy_from_slice(mu);
        }
        for b in 0..HEAD_BLOCKS {
            let (done, rest) = buffers.blocks.split_at_mut(b + 1);
            self.blocks[b].forward(weights, n, &mut done[b]);
            match rest.first_mut() {
                Some(next) => self.blocks[b].hand_on(n, &done[b], &self.blocks[b + 1], next),
                None => self.blocks[b].vectors(n, &done[b], &mut buffers.out),
            }
        }
    }

    /// The scalars s′ of the last block for the `n` rows of the last [`Head::forward`].
    pub fn scalars<'a, T: Real>(&self, n: usize, buffers: &'a HeadBuffers<T>) -> impl Iterator<Item = T> + 'a {
        let GatedBlock { scalars_out, vectors_out, .. } = self.blocks[HEAD_BLOCKS - 1];
        let out = &buffers.blocks[HEAD_BLOCKS - 1].net.out[..n * (scalars_out + vectors_out)];
        out.chunks_exact(scalars_out + vectors_out).map(|row| row[0])
    }

    /// d state [n, 4F] (overwritten) from d out [n, 3] and the gradient of the last block's scalars (\[n\]; `None`: 0); adds the
    /// weights' gradients.
    pub fn backward<T: Real>(
        &self,
        weights: &Weights<T>,
        n: usize,
        (d_out, d_readout): (&[T], Option<&[T]>),
        buffers: &mut HeadBuffers<T>,
        d_state: &mut [T],
        gradient: &mut [T],
    ) {
        let HeadBuffers { blocks, d_scalars, d_vectors, d_net, d_input, d_mixed, .. } = buffers;
        d_vectors.clear();
        d_vectors.extend_from_slice(&d_out[..n * 3]);
        d_scalars.clear();
        match d_readout {
            Some(d_readout) => d_scalars.extend_from_slice(d_readout),
            None => d_scalars.resize(n, T::ZERO),
        }
        for b in (0..HEAD_BLOCKS).rev() {
            let scratch = Scratch { d_scalars, d_vectors, d_net, d_input, d_mixed };
            self.blocks[b].backward(weights, n, &mut blocks[b], scratch, gradient);
        }
        let (f, s) = (self.features, self.blocks[0].scalars_in);
        for row in 0..n {
            let d_state = &mut d_state[row * 4 * f..][..4 * f];
            d_state[..f].copy_from_slice(&d_scalars[row * s..][..f]);
            d_state[f..].copy_from_slice(&d_vectors[row * 3 * f..][..3 * f]);
        }
    }
}

/// Gradients in the backward pass: of a block's outputs before the block's pass, of its inputs after it.
struct Scratch<'a, T> {
    d_scalars: &'a mut Vec<T>,
    d_vectors: &'a mut Vec<T>,
    d_net: &'a mut Vec<T>,
    d_input: &'a mut Vec<T>,
    d_mixed: &'a mut Vec<T>,
}

impl GatedBlock {
    fn forward<T: Real>(&self, weights: &Weights<T>, n: usize, buffers: &mut GatedBuffers<T>) {
        let (v, v_in) = (self.vectors_out, self.vectors_in);
        let stride = self.scalars_in + v;
        buffers.mixed.resize(n * 6 * v, T::ZERO);
        let vectors = matrix(&buffers.vectors, v_in);
        self.mix.forward(weights, 3 * n, vectors, 0..v_in, Onto::Zero, matrix_mut(&mut buffers.mixed, 2 * v));
        for row in 0..n {
            let mixed = &buffers.mixed[row * 6 * v..][..6 * v];
            for c in 0..v {
                let square = |d: usize| mixed[2 * d * v + c] * mixed[2 * d * v + c];
                buffers.input[row * stride + self.scalars_in + c] = (square(0) + square(1) + square(2)).sqrt();
            }
        }
        self.net.forward(weights, n, &[(matrix(&buffers.input, stride), 0..stride)], &mut buffers.net);
    }

    /// g⊙U, [n, 3, vectors_out].
    fn vectors<T: Real>(&self, n: usize, buffers: &GatedBuffers<T>, out: &mut Vec<T>) {
        let (s, v) = (self.scalars_out, self.vectors_out);
        out.clear();
        for row in 0..n {
            let gate = &buffers.net.out[row * (s + v) + s..][..v];
            for d in 0..3 {
                let u = &buffers.mixed[row * 6 * v + 2 * d * v + v..][..v];
                out.extend(gate.iter().zip(u).map(|(&g, &u)| g * u));
            }
        }
    }

    fn hand_on<T: Real>(&self, n: usize, buffers: &GatedBuffers<T>, next: &GatedBlock, to: &mut GatedBuffers<T>) {
        self.vectors(n, buffers, &mut to.vectors);
        let (s, v) = (self.scalars_out, self.vectors_out);
        let stride = next.scalars_in + next.vectors_out;
        to.input.resize(n * stride, T::ZERO);
        for row in 0..n {
            silu_forward(&buffers.net.out[row * (s + v)..][..s], &mut to.input[row * stride..][..s]);
        }
    }

    fn backward<T: Real>(
        &self,
        weights: &Weights<T>,
        n: usize,
        buffers: &mut GatedBuffers<T>,
        scratch: Scratch<'_, T>,
        gradient: &mut [T],
    ) {
        let Scratch { d_scalars, d_vectors, d_net, d_input, d_mixed } = scratch;
        let (s, v, v_in) = (self.scalars_out, self.vectors_out, self.vectors_in);
        let stride = self.scalars_in + v;
        d_net.clear();
        d_net.resize(n * (s + v), T::ZERO);
        d_mixed.clear();
        d_mixed.resize(n * 6 * v, T::ZERO);
        for row in 0..n {
            let out = &buffers.net.out[row * (s + v)..][..s + v];
            let d_row = &mut d_net[row * (s + v)..][..s + v];
            d_row[..s].copy_from_slice(&d_scalars[row * s..][..s]);
            if !self.last {
                silu_backward(&out[..s], &mut d_row[..s]);
            }
            for d in 0..3 {
                for c in 0..v {
                    let u = row * 6 * v + 2 * d * v + v + c;
                    let d_vector = d_vectors[row * 3 * v + d * v + c];
                    d_row[s + c] += d_vector * buffers.mixed[u];
                    d_mixed[u] = d_vector * out[s + c];
                }
            }
        }
        d_input.clear();
        d_input.resize(n * stride, T::ZERO);
        let parts = [(matrix(&buffers.input, stride), 0..stride)];
        self.net.backward(weights, n, &parts, d_net, &mut buffers.net, gradient);
        self.net.backward_input(weights, n, 0..stride, &buffers.net, Onto::Zero, matrix_mut(d_input, stride));
        d_scalars.clear();
        for row in 0..n {
            let (d_s, d_norm) = d_input[row * stride..][..stride].split_at(self.scalars_in);
            d_scalars.extend_from_slice(d_s);
            let norm = &buffers.input[row * stride + self.scalars_in..][..v];
            for c in 0..v {
                if norm[c] > T::ZERO {
                    for d in 0..3 {
                        let at = row * 6 * v + 2 * d * v + c;
                        d_mixed[at] += d_norm[c] / norm[c] * buffers.mixed[at];
                    }
                }
            }
        }
        let d_mixed = matrix(d_mixed, 2 * v);
        self.mix.backward_weight(3 * n, matrix(&buffers.vectors, v_in), 0..v_in, d_mixed, gradient);
        d_vectors.clear();
        d_vectors.resize(3 * n * v_in, T::ZERO);
        self.mix.backward_input(weights, 3 * n, d_mixed, 0..v_in, Onto::Zero, matrix_mut(d_vectors, v_in));
    }
}
