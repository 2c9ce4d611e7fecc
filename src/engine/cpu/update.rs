//! PaiNN update: [V|U] = M μ, (a_qq, a_μμ, a_qμ) = net[q | ‖V‖], q += a_qq + a_qμ⊙⟨V,U⟩, μ += a_μμ⊙U (arXiv:2102.03150, eqs. 9
//! and 10; ‖V‖ = sqrt(Σ V² + 1e-8) as SchNetPack has it).
//!
//! A state row is [q | μ_x | μ_y | μ_z], 4F; a mixed row is [V|U] for x, y, z, 6F.

use super::gemm::{Onto, matrix, matrix_mut};
use super::linear::{Linear, Mlp, MlpBuffers, Weights};
use super::simd::{Real, madd, simd};
use crate::model::Layout;

/// SchNetPack's epsilon under the root of the vector norm.
const NORM_EPSILON: f64 = 1e-8;

/// The update's layers.
#[derive(Debug, Clone, Copy)]
pub struct Update {
    features: usize,
    /// M.
    pub mix: Linear,
    /// The network on [q | ‖V‖].
    pub net: Mlp,
}

/// Intermediate results that the backward pass reads.
#[derive(Debug, Clone, Default)]
pub struct UpdateBuffers<T> {
    mixed: Vec<T>,
    norm: Vec<T>,
    dot: Vec<T>,
    net: MlpBuffers<T>,
    d_net: Vec<T>,
    d_norm: Vec<T>,
    d_dot: Vec<T>,
    d_mixed: Vec<T>,
}

impl Update {
    /// The update of block `block`.
    pub fn find(layout: &Layout, features: usize, block: usize) -> Self {
        let name = format!("representation.mixing.{block}");
        Update {
            features,
            mix: Linear::find(layout, &format!("{name}.mu_channel_mix")),
            net: Mlp::find(layout, &format!("{name}.intraatomic_context_net")),
        }
    }

    /// `out` [n, 4F] from `state` [n, 4F].
    pub fn forward<T: Real>(
        &self,
        weights: &Weights<T>,
        n: usize,
        state: &[T],
        buffers: &mut UpdateBuffers<T>,
        out: &mut [T],
    ) {
        let f = self.features;
        buffers.mixed.resize(n * 6 * f, T::ZERO);
        buffers.norm.resize(n * f, T::ZERO);
        buffers.dot.resize(n * f, T::ZERO);
        for d in 0..3 {
            let mu = matrix(&state[(1 + d) * f..], 4 * f);
            let mixed = matrix_mut(&mut buffers.mixed[2 * d * f..], 6 * f);
            self.mix.forward(weights, n, mu, 0..f, Onto::Zero, mixed);
        }
        norms_and_dots(f, &buffers.mixed[..n * 6 * f], &mut buffers.norm, &mut buffers.dot);
        let parts = [(matrix(state, 4 * f), 0..f), (matrix(&buffers.norm, f), f..2 * f)];
        self.net.forward(weights, n, &parts, &mut buffers.net);
        combine(f, &state[..n * 4 * f], &buffers.mixed, &buffers.dot, &buffers.net.out, out);
    }

    /// Replaces d out (in `d_state`, [n, 4F]) by d state and adds the weights' gradients.
    pub fn backward<T: Real>(
        &self,
        weights: &Weights<T>,
        n: usize,
        state: &[T],
        d_state: &mut [T],
        buffers: &mut UpdateBuffers<T>,
        gradient: &mut [T],
    ) {
        let f = self.features;
        buffers.d_net.resize(n * 3 * f, T::ZERO);
        buffers.d_dot.resize(n * f, T::ZERO);
        buffers.d_norm.resize(n * f, T::ZERO);
        buffers.d_mixed.resize(n * 6 * f, T::ZERO);
        let UpdateBuffers { mixed, norm, dot, net, d_net, d_norm, d_dot, d_mixed } = buffers;
        split_gradient(f, &d_state[..n * 4 * f], mixed, dot, &net.out, d_net, d_dot);
        let parts = [(matrix(state, 4 * f), 0..f), (matrix(norm, f), f..2 * f)];
        self.net.backward(weights, n, &parts, d_net, net, gradient);
        self.net.backward_input(weights, n, f..2 * f, net, Onto::Zero, matrix_mut(d_norm, f));
        mixed_gradient(f, &d_state[..n * 4 * f], mixed, norm, &net.out, d_norm, d_dot, d_mixed);
        self.net.backward_input(weights, n, 0..f, net, Onto::Sum, matrix_mut(d_state, 4 * f));
        for d in 0..3 {
            let d_mixed = matrix(&d_mixed[2 * d * f..], 6 * f);
            self.mix.backward_weight(n, matrix(&state[(1 + d) * f..], 4 * f), 0..f, d_mixed, gradient);
            let d_mu = matrix_mut(&mut d_state[(1 + d) * f..], 4 * f);
            self.mix.backward_input(weights, n, d_mixed, 0..f, Onto::Sum, d_mu);
        }
    }
}

simd! {
    fn norms_and_dots<T>(f: usize, mixed: &[T], norm: &mut [T], dot: &mut [T]) {
        let epsilon = T::of(NORM_EPSILON);
        for ((row, norm), dot) in mixed.chunks_exact(6 * f).zip(norm.chunks_exact_mut(f)).zip(dot.chunks_exact_mut(f)) {
            let [vx, ux, vy, uy, vz, uz] = split(row, f);
            for c in 0..f {
                norm[c] = madd::<T, ISA>(vx[c], vx[c], madd::<T, ISA>(vy[c], vy[c], madd::<T, ISA>(vz[c], vz[c], epsilon))).sqrt();
                dot[c] = madd::<T, ISA>(vx[c], ux[c], madd::<T, ISA>(vy[c], uy[c], vz[c] * uz[c]));
            }
        }
    }
}

simd! {
    fn combine<T>(f: usize, state: &[T], mixed: &[T], dot: &[T], net: &[T], out: &mut [T]) {
        for (r, state) in state.chunks_exact(4 * f).enumerate() {
            let [_, ux, _, uy, _, uz] = split(&mixed[r * 6 * f..][..6 * f], f);
            let [a_qq, a_mm, a_qm] = split(&net[r * 3 * f..][..3 * f], f);
            let dot = &dot[r * f..][..f];
            let (out_q, out_mu) = out[r * 4 * f..][..4 * f].split_at_mut(f);
            let (state_q, state_mu) = state.split_at(f);
            for c in 0..f {
                out_q[c] = madd::<T, ISA>(a_qm[c], dot[c], state_q[c] + a_qq[c]);
            }
            for (d, u) in [ux, uy, uz].into_iter().enumerate() {
                let (out, state) = (&mut out_mu[d * f..][..f], &state_mu[d * f..][..f]);
                for c in 0..f {
                    out[c] = madd::<T, ISA>(a_mm[c], u[c], state[c]);
                }
            }
        }
    }
}

simd! {
    /// d a_qq = dq, d a_μμ = Σ dμ·U, d a_qμ = dq⊙⟨V,U⟩, d⟨V,U⟩ = dq⊙a_qμ.
    fn split_gradient<T>(f: usize, d_state: &[T], mixed: &[T], dot: &[T], net: &[T], d_net: &mut [T], d_dot: &mut [T]) {
        for (r, d_state) in d_state.chunks_exact(4 * f).enumerate() {
            let [_, ux, _, uy, _, uz] = split(&mixed[r * 6 * f..][..6 * f], f);
            let [dq, dx, dy, dz] = split(d_state, f);
            let a_qm = &net[r * 3 * f + 2 * f..][..f];
            let dot = &dot[r * f..][..f];
            let d_dot = &mut d_dot[r * f..][..f];
            let (d_qq, rest) = d_net[r * 3 * f..][..3 * f].split_at_mut(f);
            let (d_mm, d_qm) = rest.split_at_mut(f);
            for c in 0..f {
                d_qq[c] = dq[c];
                d_mm[c] = madd::<T, ISA>(dx[c], ux[c], madd::<T, ISA>(dy[c], uy[c], dz[c] * uz[c]));
                d_qm[c] = dq[c] * dot[c];
                d_dot[c] = dq[c] * a_qm[c];
            }
        }
    }
}

simd! {
    /// dV = d‖V‖·V/‖V‖ + d⟨V,U⟩·U, dU = dμ⊙a_μμ + d⟨V,U⟩·V.
    fn mixed_gradient<T>(
        f: usize,
        d_state: &[T],
        mixed: &[T],
        norm: &[T],
        net: &[T],
        d_norm: &[T],
        d_dot: &[T],
        d_mixed: &mut [T],
    ) {
        for (r, d_state) in d_state.chunks_exact(4 * f).enumerate() {
            let a_mm = &net[r * 3 * f + f..][..f];
            let (norm, d_norm, d_dot) = (&norm[r * f..][..f], &d_norm[r * f..][..f], &d_dot[r * f..][..f]);
            for d in 0..3 {
                let (v, u) = mixed[r * 6 * f + 2 * d * f..][..2 * f].split_at(f);
                let (d_v, d_u) = d_mixed[r * 6 * f + 2 * d * f..][..2 * f].split_at_mut(f);
                let d_mu = &d_state[(1 + d) * f..][..f];
                for c in 0..f {
                    d_v[c] = madd::<T, ISA>(d_norm[c] / norm[c], v[c], d_dot[c] * u[c]);
                    d_u[c] = madd::<T, ISA>(d_mu[c], a_mm[c], d_dot[c] * v[c]);
                }
            }
        }
    }
}

/// A row cut into `N` pieces of `f`.
#[inline(always)]
fn split<T, const N: usize>(row: &[T], f: usize) -> [&[T]; N] {
    let mut pieces: [&[T]; N] = [&[]; N];
    for (k, piece) in pieces.iter_mut().enumerate() {
        *piece = &row[k * f..][..f];
    }
    pieces
}
