// The standard normal truncated to an interval, sampled by inversion in f64. CPU twin, with the derivations:
// src/diffusion/truncated_normal.rs.
#pragma once

#include "prelude.cuh"

namespace truncated {

// Below this width (while the density varies little) the integral is computed by quadrature.
constexpr double NARROW = 1e-2;
// Beyond this bound tail probabilities are computed as logarithms.
constexpr double FAR = 30.0;

// Horner's rule in c0 + c1·x + … + c7·x^7.
__device__ __forceinline__ double polynomial(double x, double c0, double c1, double c2, double c3, double c4, double c5,
                                             double c6, double c7) {
    return ((((((c7 * x + c6) * x + c5) * x + c4) * x + c3) * x + c2) * x + c1) * x + c0;
}

// Quantile of the standard normal for p in (0, 1): PPND16 of Wichura (Applied Statistics 37, 1988, algorithm AS 241).
__device__ __forceinline__ double normal_quantile(double p) {
    const double q = p - 0.5;
    if (fabs(q) <= 0.425) {
        const double r = 0.180625 - q * q;
        return q *
               polynomial(r, 3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                          1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                          3.3430575583588128105e4, 2.5090809287301226727e3) /
               polynomial(r, 1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
                          2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4,
                          5.2264952788528545610e3);
    }
    const double smaller = q < 0.0 ? p : 1.0 - p;
    if (!(smaller > 0.0)) return q / sqrt(smaller);  // ±∞ at the ends, NaN outside
    const double r = sqrt(-log(smaller));
    double x;
    if (r <= 5.0) {
        x = polynomial(r - 1.6, 1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
                       3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
                       2.27238449892691845833e-2, 7.74545014278341407640e-4) /
            polynomial(r - 1.6, 1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
                       1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
                       1.05075007164441684324e-9);
    } else {
        x = polynomial(r - 5.0, 6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
                       2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                       2.71155556874348757815e-5, 2.01033439929228813265e-7) /
            polynomial(r - 5.0, 1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
                       7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
                       2.04426310338993978564e-15);
    }
    return copysign(x, q);
}

// Upper tail probability Q(x).
__device__ __forceinline__ double tail(double x) { return 0.5 * erfc(x * 0.70710678118654752440); }

// exp(−t·(m + t/2)): the density around the midpoint m.
__device__ __forceinline__ double density(double m, double t) { return exp(-t * (m + 0.5 * t)); }

// Its integral from a to b by Gauss and Legendre's rule with five points.
__device__ __forceinline__ double integral(double m, double a, double b) {
    const double centre = 0.5 * (a + b);
    const double half = 0.5 * (b - a);
    const double inner = half * 0.5384693101056831, outer = half * 0.906179845938664;
    return half * (0.5688888888888889 * density(m, centre) +
                   0.47862867049936647 * (density(m, centre - inner) + density(m, centre + inner)) +
                   0.23692688505618908 * (density(m, centre - outer) + density(m, centre + outer)));
}

// Sample in a short interval over which the density varies by less than e: two of Newton's steps.
__device__ __forceinline__ double narrow(double u, double lo, double hi) {
    const double m = 0.5 * (lo + hi);
    const double half = 0.5 * (hi - lo);
    const double whole = integral(m, -half, half);
    const double slope = 2.0 * m * half;
    const double share = fabs(slope) < 1e-9 ? u : -log1p(-(u * -expm1(-slope))) / slope;
    double t = half * (2.0 * share - 1.0);
#pragma unroll 1
    for (int k = 0; k < 2; ++k) t -= (integral(m, -half, t) - u * whole) / density(m, t);
    return m + t;
}

// x·Q(x)/φ(x) for x ≥ FAR: the asymptotic series (Abramowitz and Stegun 26.2.12).
__device__ __forceinline__ double scaled_mills(double x) {
    const double r = 1.0 / (x * x);
    double sum = 1.0;
#pragma unroll
    for (int k = 8; k >= 1; --k) sum = 1.0 - double(2 * k - 1) * r * sum;
    return sum;
}

// ln Q(lo) − ln Q(lo + s).
__device__ __forceinline__ double drop(double s, double lo, double c_lo) {
    return s * (lo + 0.5 * s) + log1p(s / lo) - log(scaled_mills(lo + s) / c_lo);
}

// x − lo for lo > FAR, where Q itself would underflow: three of Newton's steps from a parabola's root.
__device__ __forceinline__ double far_offset(double u, double v, double lo, double hi) {
    const double c_lo = scaled_mills(lo);
    const double width = hi - lo;
    const bool bounded = width <= 1.7976931348623157e308;
    const double rest = bounded ? -drop(width, lo, c_lo) : 0.0;
    const double less = bounded ? expm1(rest) : -1.0, left = bounded ? exp(rest) : 0.0;
    const double y = -(u < 0.5 ? log1p(u * less) : log(v + u * left));
    double s = 2.0 * y / (lo + hypot(lo, sqrt(2.0 * y)));
#pragma unroll 1
    for (int k = 0; k < 3; ++k) {
        const double x = lo + s;
        s = fmax(s - (drop(s, lo, c_lo) - y) * scaled_mills(x) / x, 0.0);
    }
    return s;
}

// The sample for an interval with hi ≥ |lo|. u + v = 1; both are given so that the small one keeps its digits.
__device__ __forceinline__ double upper(double u, double v, double lo, double hi) {
    const double width = hi - lo;
    if (width < NARROW && fabs(0.5 * (lo + hi)) * width < 0.5) return narrow(u, lo, hi);
    if (lo > FAR) return lo + far_offset(u, v, lo, hi);
    const double upper_tail = v * tail(lo) + u * tail(hi);
    const bool above = upper_tail <= 0.5;
    const double x = normal_quantile(above ? upper_tail : v * tail(-lo) + u * tail(-hi));
    return above ? -x : x;
}

}  // namespace truncated

// Quantile u of the standard normal truncated to [lo, hi]. NaN for NaN arguments and lo > hi. It is not inlined: inlined, it costs
// its kernels so many registers that some spill.
static __device__ __noinline__ double truncated_normal(double u, double lo, double hi) {
    if (lo == hi) return lo;
    if (!(lo < hi) || u != u) return sqrt(-1.0);
    const bool mirrored = !(lo + hi >= 0.0);
    const double v = 1.0 - u;
    const double x = mirrored ? -truncated::upper(v, u, -hi, -lo) : truncated::upper(u, v, lo, hi);
    return fmin(fmax(x, lo), hi);
}
