//! Targets that mix the noise with the forces on the clean structure (target score matching, arXiv:2402.08667).
//!
//! s* = c·F(x_0)/kT − (1 − c)·ε/σ_t has the same mean for every c that does not depend on x_0 and ε. Forces on clean structures and
//! the noise are independent, so the variance is least for c = 1/(1 + σ_t²·b²), where b² is the mean square of F/kT. Forces thus
//! count at small noise, and the noise alone far from equilibrium, where forces are large.

use crate::diffusion::{AtomProcess, Sde, remove_centre};
use crate::system::vector::{norm, scale};
use crate::system::{Confinement, System, Vec3};

/// An atom learns from forces along z only if both bounds of the confinement are further away than this many σ_t: nearer, the
/// truncated noise would add terms of its own to the identity.
const CLEAR_OF_WALLS: f64 = 4.0;

/// F/kT of one structure as the model's output should be (1/Å), for `forces` (eV/Å, n × 3) at `kt_ev`: no atom's vector is longer
/// than `longest` (1/Å); the mean of a free cluster's is removed; that of a mobile atom is scaled like its noise ([`AtomProcess`]).
pub fn force_scores(system: &System, sde: &Sde, forces: &[Vec3], kt_ev: f64, longest: f64) -> Vec<Vec3> {
    let clipped = |&force: &Vec3| {
        let score = scale(1.0 / kt_ev, force);
        let length = norm(score);
        if length > longest { scale(longest / length, score) } else { score }
    };
    let mut scores: Vec<Vec3> = forces.iter().map(clipped).collect();
    if system.is_free_cluster() {
        remove_centre(&mut scores);
    }
    for (atom, score) in scores.iter_mut().enumerate() {
        *score = scale(AtomProcess::of(system, sde, atom).factor, *score);
    }
    scores
}

/// b² = Σ w·|s|²/(3n·Σ w), 1/Å², of the `scores` (M × n × 3, 1/Å) with these `weights`.
pub fn mean_square(scores: &[Vec<Vec3>], weights: &[f64]) -> f64 {
    let square = |scores: &[Vec3]| scores.iter().flatten().map(|x| x * x).sum::<f64>();
    let n_components = scores.first().map_or(1, |scores| 3 * scores.len().max(1)) as f64;
    let sum: f64 = scores.iter().zip(weights).map(|(scores, weight)| weight * square(scores)).sum();
    sum / (n_components * weights.iter().sum::<f64>())
}

/// How much the forces count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixture {
    /// b², the mean square of F/kT over atoms and axes, 1/Å².
    pub mean_square: f64,
    /// Factor on the share of least variance, 0 to 1.
    pub force_share: f64,
}

impl Mixture {
    /// c along each axis for an atom that was at height `z` (Å) before noise of the width `sigma` (Å) was added.
    pub fn shares(&self, sigma: f64, z: f64, confinement: Option<&Confinement>) -> Vec3 {
        let share = self.force_share / (1.0 + sigma * sigma * self.mean_square);
        let reach = CLEAR_OF_WALLS * sigma;
        let clear = confinement.is_none_or(|bounds| z - bounds.z_lo > reach && bounds.z_hi - z > reach);
        [share, share, if clear { share } else { 0.0 }]
    }

    /// −σ_t·s*, the part of the residual that does not depend on the model, from the atom's `noise` ε and the `score` F/kT (1/Å).
    pub fn offset(&self, noise: Vec3, score: Vec3, sigma: f64, z: f64, confinement: Option<&Confinement>) -> Vec3 {
        let shares = self.shares(sigma, z, confinement);
        std::array::from_fn(|d| (1.0 - shares[d]) * noise[d] - shares[d] * sigma * score[d])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use crate::random::{Noise, Purpose};
    use crate::system::{Cell, Mobile};

    fn structures(file: &Fixture, name: &str, n_atoms: usize) -> Vec<Vec<Vec3>> {
        file.vectors(name).chunks_exact(n_atoms).map(<[Vec3]>::to_vec).collect()
    }

    fn near(found: &[Vec3], expected: &[Vec3], tolerance: f64) -> bool {
        let (found, expected) = (found.as_flattened(), expected.as_flattened());
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance * b.abs().max(1e-3);
        found.len() == expected.len() && found.iter().zip(expected).all(close)
    }

    fn slab(z_lo: f64, z_hi: f64) -> System {
        let cell =
            Cell { vectors: [[11.0, 0.0, 0.0], [0.0, 9.6, 0.0], [0.0, 0.0, 30.0]], periodic: [true, true, false] };
        System {
            cell,
            template_numbers: vec![],
            template_positions: vec![],
            free_numbers: vec![78; 4],
            mobile: Mobile::default(),
            extras: None,
            molecules: Default::default(),
            confinement: Some(Confinement { z_lo, z_hi }),
        }
    }

    #[test]
    fn a_cluster_follows_the_reference() {
        let file = Fixture::read("mixed_target.safetensors");
        let system = System::new(None, "Ar13", None, None).unwrap();
        let (kt_ev, longest) = (file.setting("lj13.kt_ev"), file.setting("max_score"));
        let of = |forces: &Vec<Vec3>| force_scores(&system, &Sde::default(), forces, kt_ev, longest);
        let scores: Vec<Vec<Vec3>> = structures(&file, "lj13.forces", 13).iter().map(of).collect();
        let b2 = mean_square(&scores, &file.numbers("lj13.weights"));
        assert!((b2 / file.numbers("lj13.b2")[0] - 1.0).abs() < 1e-12, "{b2}");
        let mixture = Mixture { mean_square: b2, force_share: 1.0 };
        let (noise, shares) = (structures(&file, "lj13.noise", 13), structures(&file, "lj13.share", 13));
        for (k, (t, expected)) in
            file.numbers("lj13.times").into_iter().zip(structures(&file, "lj13.offset", 13)).enumerate()
        {
            let sigma = Sde::default().noise_scale(t);
            let offset = |atom: usize| mixture.offset(noise[k][atom], scores[0][atom], sigma, 0.0, None);
            let found: Vec<Vec3> = (0..13).map(offset).collect();
            assert!(near(&found, &expected, 1e-10), "t = {t}");
            assert!(!near(&found, &noise[k], 1e-10), "without forces the test must fail");
            assert!(near(&[mixture.shares(sigma, 0.0, None)], &shares[k][..1], 1e-12));
        }
    }

    #[test]
    fn atoms_near_walls_learn_from_the_noise_along_z() {
        let file = Fixture::read("mixed_target.safetensors");
        let system = slab(file.setting("slab.z_lo"), file.setting("slab.z_hi"));
        let sde = Sde { sigma_min: 0.01, sigma_max: 3.0, rho: 3 };
        let forces = structures(&file, "slab.forces", 4);
        let scores = force_scores(&system, &sde, &forces[0], file.setting("slab.kt_ev"), file.setting("max_score"));
        let b2 = mean_square(std::slice::from_ref(&scores), &[1.0]);
        assert!((b2 / file.numbers("slab.b2")[0] - 1.0).abs() < 1e-12, "{b2}");
        let mixture = Mixture { mean_square: b2, force_share: 1.0 };
        let (clean, noise) = (structures(&file, "slab.clean", 4), structures(&file, "slab.noise", 4));
        let shares = structures(&file, "slab.share", 4);
        for (k, (t, expected)) in
            file.numbers("slab.times").into_iter().zip(structures(&file, "slab.offset", 4)).enumerate()
        {
            let (sigma, bounds) = (sde.noise_scale(t), system.confinement.as_ref());
            let at = |atom: usize| (noise[k][atom], scores[atom], clean[0][atom][2]);
            let (found, found_shares): (Vec<Vec3>, Vec<Vec3>) = (0..4)
                .map(at)
                .map(|(noise, score, z)| {
                    (mixture.offset(noise, score, sigma, z, bounds), mixture.shares(sigma, z, bounds))
                })
                .unzip();
            assert!(near(&found, &expected, 1e-10) && near(&found_shares, &shares[k], 1e-12), "t = {t}");
        }
        let along_z: Vec<f64> = shares.iter().flatten().map(|share| share[2]).collect();
        assert!(along_z.contains(&0.0) && along_z.iter().any(|&share| share > 0.0), "the reference knows both");
    }

    /// In a harmonic well both targets and every mixture of them have the score of the noised distribution as their mean, and the
    /// mixture spreads least.
    #[test]
    fn the_mean_is_the_score_and_the_spread_is_least() {
        let (stiffness, kt_ev, sigma, x_t) = (2.0, 0.1, 0.2, 0.3);
        let variance = kt_ev / stiffness;
        let mixture = Mixture { mean_square: stiffness / kt_ev, force_share: 1.0 };
        let share = mixture.shares(sigma, 0.0, None)[0];
        let noise = Noise::new(5, Purpose::Forward, 0);
        // x_0 given x_t is normal.
        let total = variance + sigma * sigma;
        let (mean, spread) = (x_t * variance / total, (variance * sigma * sigma / total).sqrt());
        let n = 100_000;
        let moments = |share: f64| {
            let targets = (0..n).map(|k| {
                let [u, v, ..] = noise.uniforms(k, 0, 0, 0);
                let clean = mean + spread * crate::random::normal_pair(u, v)[0];
                let (of_force, of_noise) = (-stiffness * clean / kt_ev, -(x_t - clean) / (sigma * sigma));
                share * of_force + (1.0 - share) * of_noise
            });
            let (sum, squares) = targets.fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
            let mean = sum / f64::from(n);
            [mean, (squares / f64::from(n) - mean * mean).sqrt()]
        };
        let score = -x_t / total;
        let [forces, mixed, denoised] = [1.0, share, 0.0].map(moments);
        for [mean, spread] in [forces, mixed, denoised] {
            assert!((mean - score).abs() < 0.01 + 4.0 * spread / f64::from(n).sqrt(), "{mean} for {score}");
        }
        assert!(mixed[1] < 1e-4 && forces[1] > 1.0 && denoised[1] > 1.0, "{mixed:?} {forces:?} {denoised:?}");
    }

    #[test]
    fn long_forces_are_shortened_and_mobile_atoms_scaled() {
        let system = System { mobile: Mobile { homes: vec![[0.0; 3]], noise_angstrom: 0.25 }, ..slab(0.0, 9.0) };
        let sde = Sde { sigma_min: 0.01, sigma_max: 1.0, rho: 1 };
        let forces = [[0.2, 0.0, 0.0], [0.0, 30.0, 40.0], [0.1, 0.0, 0.0], [0.0; 3]];
        let found = force_scores(&system, &sde, &forces, 0.1, 100.0);
        assert!(near(&found, &[[0.5, 0.0, 0.0], [0.0, 60.0, 80.0], [1.0, 0.0, 0.0], [0.0; 3]], 1e-12), "{found:?}");
    }
}
