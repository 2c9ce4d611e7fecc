//! The loss of a chunk of structures, and its gradient with respect to the outputs of a head.

use super::simd::Real;
use crate::diffusion::Sde;
use crate::engine::{LABEL_DELTA, Loss, NoisyBatch};
use crate::system::System;
use std::ops::Range;

/// The loss of one batch; a chunk computes a part of it.
pub(super) struct LossTask<'a> {
    pub batch: &'a NoisyBatch,
    pub loss: &'a Loss,
    /// Factor of the gradient, not of the loss.
    pub weight: f64,
    pub sde: Sde,
    pub system: &'a System,
}

impl LossTask<'_> {
    /// The part of the loss that comes from the structures from `first` on, and the gradient of this part, times the weight, with
    /// respect to their outputs [rows, 3].
    pub fn loss_and_gradient<T: Real>(&self, first: usize, out: &[T]) -> (f64, Vec<T>) {
        let (mut loss, n_structures, n_free) = (0.0, self.batch.positions.len() as f64, self.system.n_free());
        let force_scale = 1.0 / (n_structures * 3.0 * n_free as f64);
        let mut d_out = Vec::with_capacity(out.len());
        for (row, out) in out.chunks_exact(3).enumerate() {
            let (b, atom) = (first + row / n_free, row % n_free);
            // residual = offset + factor·out; the loss is the sum of scale·residual², or of Huber's function of it.
            let (offset, factor, scale) = match self.loss {
                Loss::Score(weighting) => {
                    let sigma = self.sde.noise_scale(self.batch.times[b]);
                    let n = weighting.n_averaged(self.system) as f64;
                    (self.batch.noise[b][atom], weighting.factor(sigma), self.batch.weights[b] / (n_structures * n))
                }
                Loss::Force(target) | Loss::Huber { target, .. } | Loss::Readout { target, .. } => {
                    (target[b][atom].map(|f| -f), 1.0, force_scale)
                }
            };
            for d in 0..3 {
                let residual = offset[d] + factor * out[d].wide();
                let (value, slope) = match self.loss {
                    Loss::Huber { delta, .. } | Loss::Readout { delta, .. } => huber(residual, *delta),
                    Loss::Score(_) | Loss::Force(_) => (residual * residual, 2.0 * residual),
                };
                loss += scale * value;
                d_out.push(T::of(self.weight * scale * factor * slope));
            }
        }
        (loss, d_out)
    }

    /// The part of the readout's loss, with its weight λ_E, that comes from the structures in `range`, whose free atoms have these
    /// `scalars`, and the gradient of this part, times the loss's weight, with respect to the scalars. Without a readout: 0 and `None`.
    pub fn readout_loss_and_gradient<T: Real>(
        &self,
        range: Range<usize>,
        scalars: impl Iterator<Item = T>,
    ) -> (f64, Option<Vec<T>>) {
        let Loss::Readout { labels, weight, .. } = self.loss else { return (0.0, None) };
        let n_free = self.system.n_free();
        let scale = weight / self.batch.positions.len() as f64;
        let scalars: Vec<f64> = scalars.map(Real::wide).collect();
        let (mut loss, mut d_scalars) = (0.0, Vec::with_capacity(scalars.len()));
        for (scalars, label) in scalars.chunks_exact(n_free).zip(&labels[range]) {
            let (value, slope) = huber(scalars.iter().sum::<f64>() - label, LABEL_DELTA);
            loss += scale * value;
            d_scalars.extend(std::iter::repeat_n(T::of(self.weight * scale * slope), n_free));
        }
        (loss, Some(d_scalars))
    }
}

/// Huber's function (Ann. Math. Stat. 35, 73, 1964) and its derivative: ½r² up to |r| = δ, δ(|r| − ½δ) above.
fn huber(residual: f64, delta: f64) -> (f64, f64) {
    // NaN must stay NaN, so that training notices that it diverged.
    if residual.abs() > delta {
        (delta * (residual.abs() - 0.5 * delta), delta * residual.signum())
    } else {
        (0.5 * residual * residual, residual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value and slope are continuous at δ, and infinite residuals give a loss that no sum can hide.
    #[test]
    fn hubers_function() {
        assert_eq!(huber(0.5, 1.0), (0.125, 0.5));
        assert_eq!(huber(-1.0, 1.0), (0.5, -1.0));
        assert_eq!(huber(-3.0, 1.0), (2.5, -1.0));
        assert_eq!(huber(3.0, 2.0), (4.0, 2.0));
        assert!(huber(f64::NAN, 1.0).0.is_nan() && huber(f64::NEG_INFINITY, 1.0).0.is_infinite());
    }
}
