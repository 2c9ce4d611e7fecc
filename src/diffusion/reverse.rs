//! One step of the forward and of the reverse process for one atom.
//!
//! The four uniform numbers of an atom have the same use everywhere: the first two give x and y (Box and Muller). Under
//! confinement the third gives z by inversion; otherwise the last two give z (Box and Muller).

use super::truncated_normal;
use crate::random::{Noise, normal_pair};
use crate::system::{Confinement, Vec3};

/// A noised atom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forward {
    /// x_t, Å.
    pub position: Vec3,
    /// ε = (x_t − x_0)/σ_t, the noise that was really added.
    pub noise: Vec3,
}

/// Three independent standard normal numbers.
pub fn normal_vector(uniforms: [f64; 4]) -> Vec3 {
    let [x, y] = normal_pair(uniforms[0], uniforms[1]);
    let [z, _] = normal_pair(uniforms[2], uniforms[3]);
    [x, y, z]
}

/// Noise of a free cluster: a standard normal vector for each of `n_atoms` atoms, their mean removed.
pub fn centred_normals(noise: &Noise, structure: u32, step: u32, n_atoms: usize) -> Vec<Vec3> {
    let mut normals: Vec<Vec3> =
        (0..n_atoms as u32).map(|atom| normal_vector(noise.uniforms(structure, step, atom, 0))).collect();
    remove_centre(&mut normals);
    normals
}

/// Subtracts the mean, with equal weights for all atoms, as free clusters do with their positions, noise and scores. (Masses
/// would break the isotropy of the noise.)
pub fn remove_centre(vectors: &mut [Vec3]) {
    let n = vectors.len() as f64;
    for x in 0..3 {
        let mean = vectors.iter().map(|v| v[x]).sum::<f64>() / n;
        vectors.iter_mut().for_each(|v| v[x] -= mean);
    }
}

/// A height from the normal of this `mean` and standard deviation `scale` (Å) truncated to the confinement. NaN means
/// give NaN; without spread the mean is clamped.
pub fn truncated_around(u: f64, mean: f64, scale: f64, confinement: &Confinement) -> f64 {
    let Confinement { z_lo, z_hi } = *confinement;
    if scale > 0.0 {
        // A mean far outside leads to cancellation, hence the clamp.
        clamp(mean + scale * truncated_normal(u, (z_lo - mean) / scale, (z_hi - mean) / scale), confinement)
    } else {
        clamp(mean, confinement)
    }
}

/// x_t = x_0 + σ_t·ε for one atom at `x0` (Å) with `sigma_t` > 0 (Å): ε standard normal, under confinement its z drawn
/// such that x_t stays inside.
pub fn forward_noise(x0: Vec3, sigma_t: f64, uniforms: [f64; 4], confinement: Option<&Confinement>) -> Forward {
    let [x, y] = normal_pair(uniforms[0], uniforms[1]);
    let moved = |k: usize, normal: f64| x0[k] + sigma_t * normal;
    let (z, normal_z) = match confinement {
        Some(confinement) => {
            let z = truncated_around(uniforms[2], x0[2], sigma_t, confinement);
            (z, (z - x0[2]) / sigma_t)
        }
        None => {
            let [normal, _] = normal_pair(uniforms[2], uniforms[3]);
            (moved(2, normal), normal)
        }
    };
    let (position, noise) = ([moved(0, x), moved(1, y), z], [x, y, normal_z]);
    Forward { position, noise }
}

/// x + g²·s·dt: the end of a reverse step without noise. `g2` in Å², `score` in 1/Å.
pub fn reverse_mean(x: Vec3, score: Vec3, g2: f64, dt: f64) -> Vec3 {
    std::array::from_fn(|k| x[k] + g2 * dt * score[k])
}

/// The factor on the score in a reverse step. It is `scale`: samples are drawn as if at a lower temperature than that of the
/// learned distribution (low-temperature sampling, as in Nature 623, 1070, 2023). It is less where the step would otherwise go
/// beyond x + σ_t²·s, the clean position that a true score predicts, and the step without scale would not. `sigma` in Å, `g2` in
/// Å².
pub fn limited_score_scale(scale: f64, sigma: f64, g2: f64, dt: f64) -> f64 {
    scale.min((sigma * sigma / (g2 * dt)).max(1.0))
}

/// The factor on the score at noise of standard deviation `sigma` (Å) that cools a basin of this `variance` (Å²) by the factor
/// `scale`: (v + σ²)/(v/k + σ²). It is exact for a Gaussian basin: k where the noise is narrower than the basin, 1 where it is
/// wider (arXiv:2510.01184).
pub fn basin_score_scale(scale: f64, variance: f64, sigma: f64) -> f64 {
    let noise = sigma * sigma;
    (variance + noise) / (variance / scale + noise)
}

/// x + g²·s·dt + g·sqrt(dt)·ξ for one atom (Euler and Maruyama's step of the reverse equation). ξ is standard normal; under
/// confinement z is drawn from the normal truncated around its mean. The `last` step adds no noise and clamps z. Scores that are
/// not finite lead to NaN or to a bound. Free clusters add [`centred_normals`] to [`reverse_mean`] instead. Periodic axes are not
/// wrapped here.
pub fn reverse_step(
    x: Vec3,
    score: Vec3,
    g2: f64,
    dt: f64,
    uniforms: [f64; 4],
    confinement: Option<&Confinement>,
    last: bool,
) -> Vec3 {
    let mean = reverse_mean(x, score, g2, dt);
    if last {
        let z = confinement.map_or(mean[2], |confinement| clamp(mean[2], confinement));
        return [mean[0], mean[1], z];
    }
    let scale = (g2 * dt).sqrt();
    let [x, y] = normal_pair(uniforms[0], uniforms[1]);
    let z = match confinement {
        Some(confinement) => truncated_around(uniforms[2], mean[2], scale, confinement),
        None => mean[2] + scale * normal_pair(uniforms[2], uniforms[3])[0],
    };
    [mean[0] + scale * x, mean[1] + scale * y, z]
}

/// `z` brought into the confinement; NaN stays NaN.
pub(super) fn clamp(z: f64, confinement: &Confinement) -> f64 {
    if z < confinement.z_lo {
        confinement.z_lo
    } else if z > confinement.z_hi {
        confinement.z_hi
    } else {
        z
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use crate::random::Purpose;

    const HEIGHTS: Confinement = Confinement { z_lo: 10.0, z_hi: 14.0 };

    fn uniforms(k: u32) -> [f64; 4] {
        Noise::new(11, Purpose::Reverse, 0).uniforms(k, 1, 2, 0)
    }

    #[test]
    fn forward_noise_is_what_was_added() {
        let x0 = [1.0, -2.0, 13.9];
        for k in 0..500 {
            for confinement in [None, Some(&HEIGHTS)] {
                let Forward { position, noise } = forward_noise(x0, 0.7, uniforms(k), confinement);
                for x in 0..3 {
                    assert!((x0[x] + 0.7 * noise[x] - position[x]).abs() < 1e-12);
                }
                if confinement.is_some() {
                    assert!((10.0..=14.0).contains(&position[2]));
                }
            }
        }
    }

    /// An atom at the upper bound may only go down: ε_z is a half normal with the mean −sqrt(2/π). Clamping would give half of
    /// that.
    #[test]
    fn confined_noise_is_truncated_not_clamped() {
        let n = 20_000;
        let mut sum = 0.0;
        for k in 0..n {
            let noised = forward_noise([0.0, 0.0, 14.0], 0.1, uniforms(k), Some(&HEIGHTS));
            assert!(noised.position[2] < 14.0);
            sum += noised.noise[2];
        }
        let mean = sum / f64::from(n);
        assert!((mean + (2.0 / std::f64::consts::PI).sqrt()).abs() < 0.02, "{mean}");
    }

    #[test]
    fn reverse_steps_have_the_right_mean_and_spread() {
        let (x, score, g2, dt) = ([1.0, 2.0, 12.0], [0.5, -1.0, 2.0], 1.5, 0.002);
        let mean = [1.0 + 0.0015, 2.0 - 0.003, 12.0 + 0.006];
        let n = 20_000;
        for confinement in [None, Some(&HEIGHTS)] {
            let (mut sum, mut squares) = ([0.0; 3], [0.0; 3]);
            for k in 0..n {
                let moved = reverse_step(x, score, g2, dt, uniforms(k), confinement, false);
                for c in 0..3 {
                    sum[c] += moved[c] - mean[c];
                    squares[c] += (moved[c] - mean[c]).powi(2);
                }
            }
            for c in 0..3 {
                let spread = (squares[c] / f64::from(n)).sqrt() / 0.003f64.sqrt();
                assert!((spread - 1.0).abs() < 0.02, "axis {c}: {spread}");
                assert!((sum[c] / f64::from(n)).abs() < 0.002, "axis {c}");
            }
            let last = reverse_step(x, score, g2, dt, uniforms(0), confinement, true);
            assert!((0..3).all(|c| (last[c] - mean[c]).abs() < 1e-14));
        }
    }

    /// Late steps are held at the clean position that the score predicts. Without scale the steps do not change.
    #[test]
    fn scaled_scores_overshoot_nothing() {
        let (g2, dt) = (0.04, 0.01);
        for (sigma, scale, expected) in
            [(1.0, 8.0, 8.0), (0.05, 8.0, 6.25), (0.01, 8.0, 1.0), (0.01, 1.0, 1.0), (0.01, 0.5, 0.5)]
        {
            let found = limited_score_scale(scale, sigma, g2, dt);
            assert!((found - expected).abs() < 1e-12, "{scale} at {sigma}: {found}");
        }
    }

    /// The values are of an independent program: sqrt(v) = 0.1414 Å, k = 1.5. In the basin the scaled score is that of the colder
    /// Gaussian at every noise.
    #[test]
    fn a_basin_is_cooled_at_every_noise() {
        let file = Fixture::read("temperature.safetensors");
        let squares = file.numbers("sigma_t_squared");
        for (square, expected) in squares.iter().zip(file.numbers("rescale")) {
            let found = basin_score_scale(1.5, 0.02, square.sqrt());
            assert!((found / expected - 1.0).abs() < 1e-10, "{found} for {expected}");
            let (warm, cold) = (-0.3 / (0.02 + square), -0.3 / (0.02 / 1.5 + square));
            assert!((found * warm / cold - 1.0).abs() < 1e-12);
        }
        assert!(squares[0] < 1e-3 && basin_score_scale(1.5, 0.02, squares[0].sqrt()) > 1.45);
    }

    #[test]
    fn heights_never_leave_the_confinement() {
        for score in [-1e300, -1e6, -30.0, 0.0, 30.0, 1e6, 1e300] {
            for last in [false, true] {
                let z =
                    reverse_step([0.0, 0.0, 14.0], [0.0, 0.0, score], 0.03, 0.002, uniforms(3), Some(&HEIGHTS), last)
                        [2];
                assert!((10.0..=14.0).contains(&z), "score {score}: {z}");
            }
        }
    }

    #[test]
    fn scores_that_are_no_numbers_pass_through() {
        for score in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for confinement in [None, Some(&HEIGHTS)] {
                for last in [false, true] {
                    let moved = reverse_step([0.0, 0.0, 12.0], [score; 3], 1.0, 0.01, uniforms(0), confinement, last);
                    assert!(!moved[0].is_finite() && !moved[1].is_finite());
                    assert!(!moved[2].is_finite() || moved[2] == 10.0 || moved[2] == 14.0);
                }
            }
        }
    }

    /// Uniform numbers mean the same in both directions and with or without confinement.
    #[test]
    fn directions_share_their_noise() {
        let x0 = [1.0, 2.0, 12.0];
        for confinement in [None, Some(&HEIGHTS)] {
            let forward = forward_noise(x0, 0.3, uniforms(5), confinement).position;
            let reverse = reverse_step(x0, [0.0; 3], 0.9, 0.1, uniforms(5), confinement, false);
            assert!((0..3).all(|c| (forward[c] - reverse[c]).abs() < 1e-14));
            let plane = normal_vector(uniforms(5));
            assert!((0..2).all(|c| (forward[c] - x0[c] - 0.3 * plane[c]).abs() < 1e-14));
        }
    }

    #[test]
    fn without_spread_the_mean_is_clamped() {
        assert_eq!(truncated_around(0.3, 12.5, 0.0, &HEIGHTS), 12.5);
        assert_eq!(truncated_around(0.3, 17.0, 0.0, &HEIGHTS), 14.0);
        assert_eq!(truncated_around(0.3, -17.0, 0.0, &HEIGHTS), 10.0);
    }
}
