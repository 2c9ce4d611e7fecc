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

    /// Clips the gradient, takes a step and gives the norm before clipping. A parameter without gradient decays too.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Decay, Weighting};

    const SETTINGS: TrainingSettings = TrainingSettings {
        batch: 1,
        learning_rate: 0.0,
        decay: Decay::NONE,
        weight_decay: 0.01,
        gradient_clip: 10.0,
        weighting: Weighting::Dsm,
        stop: None,
    };

    /// Compares steps on few parameters with the textbook's formulas, for sizes around the vector width and the range.
    fn follows_the_formulas<T: Real>(tolerance: f64) {
        for n in [1, 15, 33, RANGE, RANGE + 5] {
            let gradient = |step: i32| -> Vec<f64> {
                (0..n)
                    .map(|k| 30.0 / f64::from(step * step) * ((k as f64 + 7.0 * f64::from(step)) * 0.37).sin())
                    .collect()
            };
            let mut parameters: Vec<T> = (0..n).map(|k| T::of((k as f64 * 0.11).cos())).collect();
            let mut expected: Vec<f64> = parameters.iter().map(|p| p.wide()).collect();
            let (mut first, mut second) = (vec![0.0; n], vec![0.0; n]);
            let mut optimizer = AdamW::<T>::new(n);
            for step in 1..=4i32 {
                let rate = 0.1 / f64::from(step);
                let narrow: Vec<T> = gradient(step).iter().map(|&g| T::of(g)).collect();
                let norm = optimizer.step(&mut parameters, &narrow, rate, &SETTINGS);
                let exact = narrow.iter().map(|g| g.wide() * g.wide()).sum::<f64>().sqrt();
                assert!((norm / exact - 1.0).abs() < 1e-12);
                let clip = if exact > 10.0 { 10.0 / exact } else { 1.0 };
                for k in 0..n {
                    let g = clip * narrow[k].wide();
                    first[k] = 0.9 * first[k] + 0.1 * g;
                    second[k] = 0.999 * second[k] + 0.001 * g * g;
                    let mean = first[k] / (1.0 - 0.9f64.powi(step));
                    let root = (second[k] / (1.0 - 0.999f64.powi(step))).sqrt();
                    expected[k] = expected[k] * (1.0 - rate * 0.01) - rate * mean / (root + 1e-8);
                }
            }
            assert_eq!(optimizer.steps, 4);
            for (found, expected) in parameters.iter().zip(&expected) {
                assert!((found.wide() - expected).abs() < tolerance, "{} instead of {expected}", found.wide());
            }
        }
    }

    #[test]
    fn steps_follow_the_formulas() {
        // The clip adds 1e-6 to the norm: that is the difference in f64.
        follows_the_formulas::<f64>(1e-6);
        follows_the_formulas::<f32>(1e-5);
    }

    #[test]
    fn parameters_without_gradient_decay() {
        let mut parameters = [2.0f64, -3.0];
        AdamW::new(2).step(&mut parameters, &[0.0, 0.0], 0.5, &SETTINGS);
        assert_eq!(parameters, [2.0 * (1.0 - 0.005), -3.0 * (1.0 - 0.005)]);
    }
}
