//! The buffer that the model is trained on: Boltzmann weights, and a weighted draw without replacement from the archive.
//!
//! All calculations use logarithms relative to the lowest energy: at kT = 0.02 eV the weights of energies 1000 eV apart differ by
//! a factor e^50000, and the draw still orders them correctly.

use crate::random::{Noise, Purpose};

/// An `ok` structure of the archive that may enter the buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Iteration that sampled it.
    pub iteration: u32,
    /// Its index within that iteration.
    pub index: u32,
    /// Its energy, eV; finite.
    pub energy: f64,
}

/// Boltzmann weights w_i = softmax(−E_i/kT)·size of `energies` (eV) at `kt` (eV): their mean is 1 (arXiv:2510.13448, eq. 5).
/// Weights far below the largest may be 0.
pub fn boltzmann_weights(energies: &[f64], kt: f64) -> Vec<f64> {
    let lowest = lowest(energies.iter().copied());
    let factors: Vec<f64> = energies.iter().map(|energy| libm::exp(-(energy - lowest) / kt)).collect();
    let scale = energies.len() as f64 / factors.iter().sum::<f64>();
    factors.into_iter().map(|factor| factor * scale).collect()
}

/// Kish's effective sample size (Σw)²/Σw²: between 1 (one weight dominates) and the number of weights (all equal); 0 without
/// weights.
pub fn effective_sample_size(weights: &[f64]) -> f64 {
    let sum: f64 = weights.iter().sum();
    let squares: f64 = weights.iter().map(|w| w * w).sum();
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// Draws `size` of `candidates` without replacement with weights exp(−E/kT), or all of them if there are fewer. Gives their
/// places in `candidates`, ordered by (iteration, index).
///
/// The largest keys u^(1/w) win (Efraimidis and Spirakis, Inf. Process. Lett. 97, 181 (2006)). Here they are compared as
/// ln(−ln u) − ln w, the smallest winning, with ln w = −(E − E_min)/kT. The number u belongs to the candidate's (iteration,
/// index) under `seed` and the drawing `iteration`, so the draw does not depend on the order of `candidates`.
pub fn draw(candidates: &[Candidate], kt: f64, size: usize, seed: u64, iteration: u64) -> Vec<usize> {
    let lowest = lowest(candidates.iter().map(|candidate| candidate.energy));
    let noise = Noise::new(seed, Purpose::Reservoir, iteration);
    let key = |candidate: &Candidate| {
        let [high, low, ..] = noise.words(candidate.index, candidate.iteration, 0, 0);
        // libm's logarithm gives the same bits on every platform.
        let exponential = -libm::log(open_unit(high, low));
        libm::log(exponential) + (candidate.energy - lowest) / kt
    };
    let place = |candidate: &Candidate| (candidate.iteration, candidate.index);
    let mut order: Vec<(f64, usize)> = candidates.iter().map(key).zip(0..).collect();
    order.sort_unstable_by(|(key_a, a), (key_b, b)| {
        key_a.total_cmp(key_b).then_with(|| place(&candidates[*a]).cmp(&place(&candidates[*b])))
    });
    let mut drawn: Vec<usize> = order.into_iter().take(size).map(|(_, candidate)| candidate).collect();
    drawn.sort_unstable_by_key(|&k| place(&candidates[k]));
    drawn
}

fn lowest(energies: impl Iterator<Item = f64>) -> f64 {
    energies.fold(f64::INFINITY, f64::min)
}

/// A number in (0, 1) from 52 random bits, never 0 or 1: 2^52 halves fit a double exactly.
fn open_unit(high: u32, low: u32) -> f64 {
    let bits = (u64::from(high) << 32 | u64::from(low)) >> 12;
    (bits as f64 + 0.5) / (1u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(energies: &[f64]) -> Vec<Candidate> {
        (0..).zip(energies).map(|(index, &energy)| Candidate { iteration: 0, index, energy }).collect()
    }

    /// Pearson's χ² of counts against probabilities.
    fn chi_square(counts: &[u32], probabilities: &[f64]) -> f64 {
        let n: u32 = counts.iter().sum();
        let terms = counts.iter().zip(probabilities).map(|(&count, p)| {
            let expected = f64::from(n) * p;
            (f64::from(count) - expected).powi(2) / expected
        });
        terms.sum()
    }

    #[test]
    fn weights_are_a_softmax_with_mean_one() {
        let kt = 0.5;
        let weights = boltzmann_weights(&[-1.0, -1.0 + kt * 2f64.ln(), -1.0 + kt * 4f64.ln()], kt);
        for (weight, exact) in weights.iter().zip([12.0 / 7.0, 6.0 / 7.0, 3.0 / 7.0]) {
            assert!((weight - exact).abs() < 1e-14, "{weight} {exact}");
        }
    }

    #[test]
    fn weights_survive_extreme_energies() {
        assert_eq!(boltzmann_weights(&[-1e3, 0.0, 1e3], 0.02), [3.0, 0.0, 0.0]);
        assert_eq!(boltzmann_weights(&[1e300, -1e300], 0.02), [0.0, 2.0]);
        assert_eq!(boltzmann_weights(&[7.0], 0.02), [1.0]);
        assert!(boltzmann_weights(&[], 1.0).is_empty());
    }

    #[test]
    fn effective_sample_size_between_one_and_all() {
        assert_eq!(effective_sample_size(&[1.0; 5]), 5.0);
        assert_eq!(effective_sample_size(&[3.0, 0.0, 0.0]), 1.0);
        assert!((effective_sample_size(&[1.5, 0.5]) - 1.6).abs() < 1e-15);
        assert_eq!(effective_sample_size(&[]), 0.0);
    }

    /// Pairs drawn one after the other with probability proportional to the weight: p_i p_j/(1 − p_i) + p_j p_i/(1 − p_j).
    #[test]
    fn pairs_come_with_their_exact_probabilities() {
        let kt = 0.1;
        let p: [f64; 4] = [0.1, 0.2, 0.3, 0.4];
        let candidates = candidates(&p.map(|p| -kt * p.ln()));
        let pairs = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]];
        let exact = pairs.map(|[i, j]| p[i] * p[j] * (1.0 / (1.0 - p[i]) + 1.0 / (1.0 - p[j])));
        let mut counts = [0u32; 6];
        for iteration in 0..20_000 {
            let drawn = draw(&candidates, kt, 2, 11, iteration);
            counts[pairs.iter().position(|pair| pair[..] == drawn).unwrap()] += 1;
        }
        // The 0.1% point of χ² with five degrees of freedom; wrong weights give hundreds.
        let good = chi_square(&counts, &exact);
        assert!(good < 20.5, "χ² = {good}, {counts:?}");
        let uniform = chi_square(&counts, &[1.0 / 6.0; 6]);
        assert!(uniform > 1000.0, "the test cannot fail: {uniform}");
    }

    /// Far above the rest, the order is by energy alone, although every weight underflows.
    #[test]
    fn extreme_energies_never_underflow() {
        let candidates = candidates(&[0.0, 3e3, 1e3, 2e3, -1e3]);
        for seed in 0..50 {
            assert_eq!(draw(&candidates, 0.02, 1, seed, 0), [4]);
            assert_eq!(draw(&candidates, 0.02, 2, seed, 0), [0, 4]);
            assert_eq!(draw(&candidates, 0.02, 3, seed, 0), [0, 2, 4]);
            assert_eq!(draw(&candidates, 0.02, 4, seed, 0), [0, 2, 3, 4]);
        }
    }

    /// Two equal energies below the rest: each is drawn equally often.
    #[test]
    fn equal_energies_share_evenly() {
        let candidates = candidates(&[-5e3, -5e3, 0.0]);
        let mut counts = [0u32; 2];
        for seed in 0..4000 {
            counts[draw(&candidates, 0.02, 1, seed, 3)[0]] += 1;
        }
        assert!(chi_square(&counts, &[0.5, 0.5]) < 10.8, "{counts:?}");
    }

    #[test]
    fn few_candidates_are_all_taken() {
        assert_eq!(draw(&candidates(&[3.0]), 0.02, 1, 0, 0), [0]);
        assert_eq!(draw(&candidates(&[3.0, 1.0, 2.0]), 0.02, 64, 0, 0), [0, 1, 2]);
        assert!(draw(&[], 0.02, 64, 0, 0).is_empty());
        assert!(draw(&candidates(&[3.0]), 0.02, 0, 0, 0).is_empty());
    }

    #[test]
    fn iterations_and_seeds_draw_anew() {
        let candidates = candidates(&[0.0; 40]);
        let base = draw(&candidates, 1.0, 20, 1, 1);
        assert_eq!(base, draw(&candidates, 1.0, 20, 1, 1));
        assert_ne!(base, draw(&candidates, 1.0, 20, 1, 2));
        assert_ne!(base, draw(&candidates, 1.0, 20, 2, 1));
    }

    proptest! {
        /// The drawn set depends neither on the order of the candidates nor on a shift of all energies by a power of two.
        #[test]
        fn permutation_leaves_the_draw(
            energies in prop::collection::vec(-50i32..50, 1..40), size in 1usize..20, rotate in 0usize..40,
        ) {
            let straight = candidates(&energies.iter().map(|&e| f64::from(e)).collect::<Vec<_>>());
            let mut turned = straight.clone();
            turned.rotate_left(rotate % straight.len());
            turned.reverse();
            let chosen = |from: &[Candidate]| -> Vec<u32> {
                draw(from, 5.0, size, 4, 2).into_iter().map(|k| from[k].index).collect()
            };
            prop_assert_eq!(chosen(&straight), chosen(&turned));
            let shifted: Vec<_> = straight.iter().map(|c| Candidate { energy: c.energy + 1024.0, ..*c }).collect();
            prop_assert_eq!(chosen(&straight), chosen(&shifted));
        }

        /// A larger buffer holds the smaller one.
        #[test]
        fn growing_the_buffer_keeps_its_members(energies in prop::collection::vec(-5f64..5.0, 2..40), seed in 0u64..100) {
            let candidates = candidates(&energies);
            let small = draw(&candidates, 0.3, energies.len() / 2, seed, 0);
            let large = draw(&candidates, 0.3, energies.len() / 2 + 1, seed, 0);
            prop_assert!(small.iter().all(|k| large.contains(k)));
        }
    }
}
