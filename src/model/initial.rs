//! Start values of the parameters.

use super::{Layout, Tensor};
use crate::random::{Purpose, host_generator, normal_pair};
use rand_xoshiro::rand_core::Rng;

/// Start values in the order of `layout`: weights uniform in ±sqrt(6/(in + out)) (Glorot and Bengio 2010), biases 0, embedding
/// rows N(0, 1) except for the unused row 0, which is 0. All values are exact in f32, so that engines of both precisions start
/// alike.
pub fn initial_parameters(layout: &Layout, seed: u64) -> Vec<f64> {
    fresh_parameters(layout, seed, 0)
}

/// [`initial_parameters`] for a start in `iteration` of the run with `seed`, others in each.
pub fn fresh_parameters(layout: &Layout, seed: u64, iteration: u64) -> Vec<f64> {
    let mut generator = host_generator(seed, Purpose::Weights, iteration);
    // in (0, 1), as Box and Muller's logarithm needs
    let mut uniform = || ((generator.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let mut parameters = Vec::with_capacity(layout.n_parameters());
    for Tensor { name, shape, .. } in &layout.tensors {
        match shape[..] {
            [rows, features] if name == "representation.embedding.weight" => {
                parameters.extend(std::iter::repeat_n(0.0, features));
                parameters.extend((features..rows * features).map(|_| normal_pair(uniform(), uniform())[0]));
            }
            [out, inputs] => {
                let bound = (6.0 / (inputs + out) as f64).sqrt();
                parameters.extend((0..out * inputs).map(|_| bound * (2.0 * uniform() - 1.0)));
            }
            _ => parameters.extend(std::iter::repeat_n(0.0, shape.iter().product())),
        }
    }
    parameters.iter_mut().for_each(|x| *x = f64::from(*x as f32));
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelSizes;

    fn layout() -> Layout {
        Layout::new(&ModelSizes {
            features: 32,
            blocks: 2,
            radial_functions: 10,
            cutoff_angstrom: 5.0,
            force_head: true,
        })
    }

    #[test]
    fn moments_and_bounds() {
        let layout = layout();
        let parameters = initial_parameters(&layout, 1);
        assert_eq!(parameters.len(), layout.n_parameters());
        for tensor in &layout.tensors {
            let values = &parameters[tensor.range()];
            let variance = values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64;
            if tensor.name.ends_with("bias") {
                assert!(values.iter().all(|x| *x == 0.0));
            } else if tensor.name.ends_with("embedding.weight") {
                assert!(values[..32].iter().all(|x| *x == 0.0));
                assert!((variance / 0.99 - 1.0).abs() < 0.1, "{variance}");
            } else {
                let bound = (6.0 / (tensor.shape[0] + tensor.shape[1]) as f64).sqrt();
                assert!(values.iter().all(|x| x.abs() <= bound * (1.0 + 1e-7)));
                if values.len() > 500 {
                    assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.2, "{}: {variance}", tensor.name);
                }
            }
        }
    }

    #[test]
    fn seeds_decide() {
        let layout = layout();
        assert_eq!(initial_parameters(&layout, 4), initial_parameters(&layout, 4));
        assert_ne!(initial_parameters(&layout, 4), initial_parameters(&layout, 5));
    }

    #[test]
    fn values_are_exact_in_single_precision() {
        assert!(initial_parameters(&layout(), 2).iter().all(|x| f64::from(*x as f32) == *x));
    }
}
