//! The memory of L-BFGS and its two-loop recursion (Nocedal, Math. Comp. 35, 773, 1980), shared by relaxations on a potential
//! and by the corrector on predicted forces. Vectors run over the 3 n coordinates of n atoms.

use std::collections::VecDeque;

/// Recent steps s and changes of the gradient y, oldest first, with 1/(s·y).
#[derive(Debug, Clone, Default)]
pub struct Curvature {
    pairs: VecDeque<(Vec<f64>, Vec<f64>, f64)>,
}

impl Curvature {
    /// Adds a step (Å) with the change of the gradient (eV/Å) along it, unless it shows no positive curvature. Forgets the oldest
    /// pair beyond `capacity`.
    pub fn remember(&mut self, step: Vec<f64>, change: Vec<f64>, capacity: usize) {
        let curvature = dot(&step, &change);
        // If s·y is far below the size of its factors, it is rounding error.
        let positive = curvature > 1e-12 * norm(&step) * norm(&change) && curvature.is_finite();
        if !positive {
            return;
        }
        self.pairs.push_back((step, change, 1.0 / curvature));
        while self.pairs.len() > capacity {
            self.pairs.pop_front();
        }
    }

    /// The step −H·gradient (Å), where H is the inverse Hessian as far as the history knows it. `None` if there is no history, or
    /// if the step does not point downhill.
    pub fn direction(&self, gradient: &[f64]) -> Option<Vec<f64>> {
        let (_, change, inverse) = self.pairs.back()?;
        let scale = 1.0 / (inverse * dot(change, change));
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut weights = Vec::with_capacity(self.pairs.len());
        for (step, change, inverse) in self.pairs.iter().rev() {
            let weight = inverse * dot(step, &direction);
            add_scaled(&mut direction, -weight, change);
            weights.push(weight);
        }
        direction.iter_mut().for_each(|x| *x *= scale);
        for ((step, change, inverse), weight) in self.pairs.iter().zip(weights.iter().rev()) {
            let correction = weight - inverse * dot(change, &direction);
            add_scaled(&mut direction, correction, step);
        }
        let slope = dot(&direction, gradient);
        (slope < 0.0 && slope.is_finite()).then_some(direction)
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// True without any pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.pairs.clear();
    }
}

/// Scales a step as a whole so that no atom moves further than `longest` (Å).
pub fn limit(step: &mut [f64], longest: f64) {
    let farthest = farthest(step);
    if farthest > longest {
        let factor = longest / farthest;
        step.iter_mut().for_each(|x| *x *= factor);
    }
}

/// Length of the longest of the vectors of three.
pub fn farthest(vectors: &[f64]) -> f64 {
    vectors.chunks(3).map(norm).fold(0.0, f64::max)
}

/// a · b.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// ‖a‖.
pub fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn add_scaled(a: &mut [f64], factor: f64, b: &[f64]) {
    for (x, y) in a.iter_mut().zip(b) {
        *x += factor * y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a quadratic surface with as many independent pairs as dimensions, the last pair is matched exactly: H·y = s.
    #[test]
    fn the_secant_equation_holds() {
        let hessian = [[4.0, 1.0, 0.5], [1.0, 3.0, -0.7], [0.5, -0.7, 2.0]];
        let times = |v: &[f64]| -> Vec<f64> { hessian.iter().map(|row| dot(row, v)).collect() };
        let mut history = Curvature::default();
        for step in [[0.1, 0.0, 0.0], [0.0, 0.2, 0.1], [0.1, -0.1, 0.3]] {
            history.remember(step.to_vec(), times(&step), 10);
            let found = history.direction(&times(&step)).unwrap();
            assert!(found.iter().zip(&step).all(|(found, s)| (found + s).abs() < 1e-14), "{found:?}");
        }
        assert_eq!(history.len(), 3);
    }

    #[test]
    fn pairs_without_positive_curvature_are_skipped() {
        let mut history = Curvature::default();
        for change in
            [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1e-13, 1.0, 0.0], [f64::NAN, 0.0, 0.0], [f64::INFINITY, 0.0, 0.0]]
        {
            history.remember(vec![1.0, 0.0, 0.0], change.to_vec(), 10);
        }
        assert!(history.is_empty());
        assert_eq!(history.direction(&[1.0, 0.0, 0.0]), None);
    }

    #[test]
    fn the_oldest_pairs_are_forgotten() {
        let mut history = Curvature::default();
        for k in 1..=5 {
            history.remember(vec![f64::from(k), 0.0, 0.0], vec![f64::from(k), 0.0, 0.0], 3);
        }
        assert_eq!((history.len(), history.pairs[0].0[0]), (3, 3.0));
    }

    #[test]
    fn steps_are_limited_as_a_whole() {
        let mut step = [3.0, 4.0, 0.0, 0.0, 0.0, 1.0];
        limit(&mut step, 0.5);
        assert!((farthest(&step) - 0.5).abs() < 1e-15 && (step[5] - 0.1).abs() < 1e-15);
        limit(&mut step, 0.6);
        assert!((farthest(&step) - 0.5).abs() < 1e-15, "shorter steps stay");
    }
}
