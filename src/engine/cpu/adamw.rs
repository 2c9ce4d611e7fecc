//! Gradient clipping by the global norm, and AdamW (arXiv:1711.05101) with PyTorch's conventions.

use super::simd::{Real, madd, simd};
use crate::engine::TrainingSettings;
use rayon::prelude::*;

/// Elements one task handles; fixed, so that sums do not depend on the number of threads.
pub const RANGE: usize = 16 * 1024;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// First and second moments of the gradient, and the steps taken.
#[derive(Debug, Clone)]
pub struct AdamW<T> {
    /// First moments.
    pub first: Vec<T>,
    /// Second moments.
    pub second: Vec<T>,
    /// Steps taken.
    pub steps: u64,
}

/// The factors of one step.
#[derive(Debug, Clone, Copy)]
struct Factors<T> {
    clip: T,
    decay: T,
    rate: T,
    /// 1/sqrt(1 − β₂^t).
    second_correction: T,
}

impl<T: Real> AdamW<T> {
    /// Zero moments for `n` parameters.
    pub fn new(n: usize) -> Self {
        AdamW { first: vec![T::ZERO; n], second: vec![T::ZERO; n], steps: 0 }
    }

    /// Clips and takes a step; gives the norm before clipping. Every parameter decays, also one without gradient.
    pub fn step(
        &mut self,
        parameters: &mut [T],
        gradient: &[T],
        learning_rate: f64,
        settings: &TrainingSettings,
    ) -> f64 {
        let norm = square_sum(gradient).sqrt();
        self.steps += 1;
        let steps = self.steps as f64;
        let factors = Factors {
            clip: T::of((settings.gradient_clip / (norm + 1e-6)).min(1.0)),
            decay: T::of(1.0 - learning_rate * settings.weight_decay),
            rate: T::of(learning_rate / (1.0 - BETA_1.powf(steps))),
            second_correction: T::of(1.0 / (1.0 - BETA_2.powf(steps)).sqrt()),
        };
        let moments = self.first.par_chunks_mut(RANGE).zip(self.second.par_chunks_mut(RANGE));
        parameters
            .par_chunks_mut(RANGE)
            .zip(gradient.par_chunks(RANGE))
            .zip(moments)
            .for_each(|((parameters, gradient), (first, second))| update(parameters, gradient, first, second, factors));
        norm
    }
}

/// Σ x², added in f64 range by range.
fn square_sum<T: Real>(values: &[T]) -> f64 {
    let partial: Vec<f64> = values
        .par_chunks(RANGE)
        .map(|range| {
            let mut sum = [0.0; 16];
            square_sum_range(range, &mut sum);
            sum.iter().sum()
        })
        .collect();
    partial.iter().sum()
}

simd! {
    fn square_sum_range<T>(values: &[T], sum: &mut [f64; 16]) {
        let (whole, rest) = values.as_chunks::<16>();
        for chunk in whole {
            for k in 0..16 {
                let x = chunk[k].wide();
                sum[k] += x * x;
            }
        }
        for (sum, x) in sum.iter_mut().zip(rest) {
            *sum += x.wide() * x.wide();
        }
    }
}

simd! {
    fn update<T>(parameters: &mut [T], gradient: &[T], first: &mut [T], second: &mut [T], factors: Factors<T>) {
        let (b1, b2, epsilon) = (T::of(BETA_1), T::of(BETA_2), T::of(EPSILON));
        let (c1, c2) = (T::of(1.0 - BETA_1), T::of(1.0 - BETA_2));
        let n = parameters.len();
        let (gradient, first, second) = (&gradient[..n], &mut first[..n], &mut second[..n]);
        for k in 0..n {
            let g = gradient[k] * factors.clip;
            first[k] = madd::<T, ISA>(b1, first[k], c1 * g);
            second[k] = madd::<T, ISA>(b2, second[k], c2 * g * g);
            let root = madd::<T, ISA>(second[k].sqrt(), factors.second_correction, epsilon);
            parameters[k] = parameters[k] * factors.decay - factors.rate * first[k] / root;
        }
    }
}
