//! The standard normal truncated to an interval, sampled by inversion.

use std::f64::consts::FRAC_1_SQRT_2;

/// Below this width (while the density varies little) the integral is taken by quadrature, because differences of tail
/// probabilities would lose the digits that are needed.
const NARROW: f64 = 1e-2;

/// Beyond this bound tail probabilities are handled as logarithms; below it they are far from underflow.
const FAR: f64 = 30.0;

/// The quantile for the share `u` of a standard normal truncated to [lo, hi]: an inverse-CDF sample for uniform `u` in (0, 1).
/// Bounds may be infinite and as far out as f64 reaches. The result is in [lo, hi], grows with `u`, and is exact to a few units
/// in its last place or 1e-12 of the interval, whichever is larger. It is NaN for NaN arguments and for lo > hi.
///
/// With Q the upper tail probability, the sample solves Q(x) = (1 − u)·Q(lo) + u·Q(hi): a sum without cancellation, on
/// the side where Q is small. The mirrored interval serves for the other side.
pub fn truncated_normal(u: f64, lo: f64, hi: f64) -> f64 {
    if lo == hi {
        return lo;
    }
    if lo > hi || lo.is_nan() || hi.is_nan() || u.is_nan() {
        return f64::NAN;
    }
    let x = if lo + hi >= 0.0 { upper(u, 1.0 - u, lo, hi) } else { -upper(1.0 - u, u, -hi, -lo) };
    x.max(lo).min(hi)
}

/// The sample for an interval with hi ≥ |lo|; `u` + `v` = 1, both given so that the small one keeps its digits.
fn upper(u: f64, v: f64, lo: f64, hi: f64) -> f64 {
    let width = hi - lo;
    if width < NARROW && (0.5 * (lo + hi)).abs() * width < 0.5 {
        return narrow(u, lo, hi);
    }
    if lo > FAR {
        return lo + far_offset(u, v, lo, hi);
    }
    let upper_tail = v * tail(lo) + u * tail(hi);
    if upper_tail <= 0.5 { -normal_quantile(upper_tail) } else { normal_quantile(v * tail(-lo) + u * tail(-hi)) }
}

/// Upper tail probability Q(x) of the standard normal.
fn tail(x: f64) -> f64 {
    0.5 * libm::erfc(x * FRAC_1_SQRT_2)
}

/// Sample in a short interval over which the density varies by less than e: Newton's method on
/// ∫ exp(−m t − t²/2) dt, t counted from the midpoint m. The start neglects t²/2, an error below 1e-5 of the width.
fn narrow(u: f64, lo: f64, hi: f64) -> f64 {
    let m = 0.5 * (lo + hi);
    let half = 0.5 * (hi - lo);
    let density = |t: f64| (-t * (m + 0.5 * t)).exp();
    let whole = integral(density, -half, half);
    let slope = 2.0 * m * half;
    let share = if slope.abs() < 1e-9 { u } else { -(u * (-slope).exp_m1()).ln_1p() / slope };
    let mut t = half * (2.0 * share - 1.0);
    for _ in 0..2 {
        t -= (integral(density, -half, t) - u * whole) / density(t);
    }
    m + t
}

/// ∫_a^b f by Gauss and Legendre's rule with five points: exact to rounding for the smooth integrand above.
fn integral(f: impl Fn(f64) -> f64, a: f64, b: f64) -> f64 {
    const NODES: [f64; 2] = [0.538_469_310_105_683_1, 0.906_179_845_938_664];
    const WEIGHTS: [f64; 3] = [0.568_888_888_888_888_9, 0.478_628_670_499_366_47, 0.236_926_885_056_189_08];
    let centre = 0.5 * (a + b);
    let half = 0.5 * (b - a);
    let pair = |k: usize| f(centre - half * NODES[k]) + f(centre + half * NODES[k]);
    half * (WEIGHTS[0] * f(centre) + WEIGHTS[1] * pair(0) + WEIGHTS[2] * pair(1))
}

/// x − lo for lo > [`FAR`], where Q itself would underflow. With Q(x) = φ(x)·M(x) and c(x) = x·M(x), the equation
/// ln Q(lo) − ln Q(lo + s) = y reads lo·s + s²/2 + ln(1 + s/lo) − ln(c(lo + s)/c(lo)) = y. Its left side is convex and
/// almost the parabola of its first two terms, so Newton's method from the parabola's root needs three steps.
fn far_offset(u: f64, v: f64, lo: f64, hi: f64) -> f64 {
    let c_lo = scaled_mills(lo);
    let drop = |s: f64| s * (lo + 0.5 * s) + (s / lo).ln_1p() - (scaled_mills(lo + s) / c_lo).ln();
    let width = hi - lo;
    let rest = if width.is_finite() { -drop(width) } else { f64::NEG_INFINITY };
    let y = -if u < 0.5 { (u * rest.exp_m1()).ln_1p() } else { (v + u * rest.exp()).ln() };
    let mut s = 2.0 * y / (lo + lo.hypot((2.0 * y).sqrt()));
    for _ in 0..3 {
        let x = lo + s;
        s = (s - (drop(s) - y) * scaled_mills(x) / x).max(0.0);
    }
    s
}

/// x·Q(x)/φ(x) for x ≥ [`FAR`]: the asymptotic series Σ (−1)^k (2k−1)!!/x^{2k} (Abramowitz and Stegun 26.2.12), whose
/// first neglected term is below 1e-17 there.
fn scaled_mills(x: f64) -> f64 {
    let r = 1.0 / (x * x);
    (1..=8).rev().fold(1.0, |sum, k| 1.0 - f64::from(2 * k - 1) * r * sum)
}

/// Quantile of the standard normal for `p` in (0, 1), to about 1e-15 relative: the rational approximations PPND16 of
/// Wichura (Applied Statistics 37, 1988, algorithm AS 241). −∞ at 0, ∞ at 1, NaN outside.
pub fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * polynomial(&CENTRE.0, r) / polynomial(&CENTRE.1, r);
    }
    let smaller = if q < 0.0 { p } else { 1.0 - p };
    if smaller <= 0.0 || smaller.is_nan() {
        return if smaller == 0.0 { f64::INFINITY.copysign(q) } else { f64::NAN };
    }
    let r = (-smaller.ln()).sqrt();
    let x = if r <= 5.0 {
        polynomial(&MIDDLE.0, r - 1.6) / polynomial(&MIDDLE.1, r - 1.6)
    } else {
        polynomial(&OUTER.0, r - 5.0) / polynomial(&OUTER.1, r - 5.0)
    };
    x.copysign(q)
}

/// Σ c_k x^k.
fn polynomial(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

/// Numerator and denominator for |p − 0.5| ≤ 0.425, in 0.425² − (p − 0.5)².
#[rustfmt::skip]
#[expect(clippy::excessive_precision, reason = "digits as published")]
const CENTRE: ([f64; 8], [f64; 8]) = (
    [3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3],
    [1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3],
);

/// The same for r = sqrt(−ln p) ≤ 5, in r − 1.6.
#[rustfmt::skip]
#[expect(clippy::excessive_precision, reason = "digits as published")]
const MIDDLE: ([f64; 8], [f64; 8]) = (
    [1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4],
    [1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9],
);

/// The same for r > 5, in r − 5.
#[rustfmt::skip]
#[expect(clippy::excessive_precision, reason = "digits as published")]
const OUTER: ([f64; 8], [f64; 8]) = (
    [6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7],
    [1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15],
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Noise, Purpose};

    /// (u, lo, hi, x) from tests/python/truncated_normal.py (mpmath).
    fn table() -> Vec<[f64; 4]> {
        include_str!("../../tests/fixtures/truncated_normal.csv")
            .lines()
            .skip(1)
            .map(|line| {
                let values: Vec<f64> = line.split(',').map(|word| word.parse().unwrap()).collect();
                values.try_into().unwrap()
            })
            .collect()
    }

    /// 1e-12 of the interval (of the density's own scale where that is shorter), or 4 units in the last place.
    fn tolerance(lo: f64, hi: f64, x: f64) -> f64 {
        let nearest = if lo > 0.0 { lo } else { (-hi).max(0.0) };
        let scale = (hi - lo).min(1.0).min(1.0 / nearest.max(1.0));
        (1e-12 * scale).max(4.0 * f64::EPSILON * x.abs())
    }

    #[test]
    fn agrees_with_mpmath() {
        let table = table();
        assert!(table.len() > 300);
        for [u, lo, hi, x] in table {
            let ours = truncated_normal(u, lo, hi);
            let error = (ours - x).abs();
            assert!(error <= tolerance(lo, hi, x), "u {u} in [{lo}, {hi}]: {ours} for {x}, off by {error:e}");
            assert!((lo..=hi).contains(&ours), "u {u} in [{lo}, {hi}]: {ours}");
        }
    }

    #[test]
    fn the_comparison_can_fail() {
        let perturbed =
            table().iter().filter(|[_, lo, hi, x]| 1e-9 * x.abs().max(hi - lo) > tolerance(*lo, *hi, *x)).count();
        assert!(perturbed > 250, "{perturbed}");
        assert!(table().iter().filter(|[_, lo, hi, x]| 2.0 * x.abs() > tolerance(*lo, *hi, *x)).count() > 300);
    }

    #[test]
    fn quantile_agrees_with_mpmath() {
        let mut n = 0;
        for [u, lo, hi, x] in table() {
            if lo == f64::NEG_INFINITY && hi == f64::INFINITY {
                assert!(
                    (normal_quantile(u) - x).abs() <= 1e-15 * x.abs().max(1.0),
                    "{u}: {} for {x}",
                    normal_quantile(u)
                );
                n += 1;
            }
        }
        assert_eq!(n, 8);
        assert_eq!((normal_quantile(0.0), normal_quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(normal_quantile(-0.1).is_nan() && normal_quantile(1.1).is_nan() && normal_quantile(f64::NAN).is_nan());
    }

    #[test]
    fn stays_inside_however_far_the_bounds_are() {
        for (lo, hi) in [
            (1e300, f64::INFINITY),
            (f64::NEG_INFINITY, -1e300),
            (1e300, 2e300),
            (-f64::MAX, f64::MAX),
            (f64::MAX / 2.0, f64::MAX),
            (1e160, 1e160 * (1.0 + 1e-15)),
            (40.0, 40.0f64.next_up()),
            (-1e-320, 1e-320),
            (29.999, 30.001),
            (500.0, 500.0 + 1e-9),
        ] {
            for u in [5e-324, 1e-300, 1e-16, 0.3, 0.5, 0.7, 1.0 - f64::EPSILON / 2.0] {
                let x = truncated_normal(u, lo, hi);
                assert!((lo..=hi).contains(&x), "u {u} in [{lo}, {hi}]: {x}");
            }
        }
        assert_eq!(truncated_normal(0.3, 2.0, 2.0), 2.0);
    }

    #[test]
    fn arguments_that_mean_nothing_give_nan() {
        for (u, lo, hi) in [(0.5, 1.0, 0.0), (0.5, f64::NAN, 1.0), (0.5, 0.0, f64::NAN), (f64::NAN, 0.0, 1.0)] {
            assert!(truncated_normal(u, lo, hi).is_nan());
        }
    }

    #[test]
    fn grows_with_u() {
        for (lo, hi) in [(-20.0, 20.0), (-0.5, 3.0), (25.0, 26.0), (35.0, f64::INFINITY), (-1e-3, 1e-3), (-33.0, -31.0)]
        {
            let samples: Vec<f64> = (1..4096).map(|k| truncated_normal(f64::from(k) / 4096.0, lo, hi)).collect();
            assert!(samples.windows(2).all(|pair| pair[0] < pair[1]), "[{lo}, {hi}]");
        }
    }

    /// Kolmogorov and Smirnov's distance of 20,000 samples from the distribution function by quadrature of the density;
    /// the bound is passed by chance once in 1e5.
    #[test]
    fn samples_follow_the_density() {
        let noise = Noise::new(3, Purpose::Reverse, 0);
        for (lo, hi) in [(-1.0, 2.0), (-8.0, 8.0), (6.0, 6.5), (33.0, 33.1), (-0.003, 0.004)] {
            let n = 20_000;
            let mut samples: Vec<f64> =
                (0..n).map(|k| truncated_normal(noise.uniforms(k, 0, 0, 0)[2], lo, hi)).collect();
            samples.sort_by(f64::total_cmp);
            let near = f64::max(lo, 0.0);
            let cells = 20_000;
            let step = (hi - lo) / f64::from(cells);
            let mut below = vec![0.0];
            for k in 0..cells {
                let x = lo + step * (f64::from(k) + 0.5);
                below.push(below[k as usize] + (-(x - near) * 0.5 * (x + near)).exp());
            }
            let distance = samples
                .iter()
                .enumerate()
                .map(|(rank, x)| {
                    let share = below[((x - lo) / step) as usize] / below[cells as usize];
                    (share - (rank as f64 + 0.5) / f64::from(n)).abs()
                })
                .fold(0.0, f64::max);
            assert!(distance * f64::from(n).sqrt() < 2.5, "[{lo}, {hi}]: {distance}");
        }
    }
}
