// Scalar formulas of the diffusion process in f64. CPU twins: src/diffusion/{sde,schedule,reverse}.rs.
#pragma once

#include "random.cuh"
#include "truncated_normal.cuh"
#include "vector.cuh"

// Noise levels σ(t) = (start + spread·t)^ρ, Å; start^ρ = σ_min.
struct Sde {
    double sigma_min, start, spread;
    unsigned rho;
};

// Standard deviation of the noise added up to time t, σ_t = sqrt(σ(t)² − σ(0)²), Å. σ(t) − σ(0) is computed as a factored
// difference of powers.
__device__ __forceinline__ double noise_scale(Sde sde, double t) {
    const double rise = sde.spread * t, root = sde.start + rise;
    double sum = 1.0, product = 1.0;
    for (unsigned k = 1; k < sde.rho; ++k) {
        product *= root;
        sum = sum * sde.start + product;
    }
    const double above = rise * sum;
    return sqrt(above * (2.0 * sde.sigma_min + above));
}

// Squared diffusion coefficient g² = dσ²/dt, Å².
__device__ __forceinline__ double diffusion_squared(Sde sde, double t) {
    const double root = sde.start + sde.spread * t;
    double product = 1.0;
    for (unsigned k = 1; k < sde.rho; ++k) product *= root;
    return 2.0 * (product * root) * (double(sde.rho) * product * sde.spread);
}

// The bounds of the free atoms: none, two heights (Å), or a free cluster without a place in space.
constexpr unsigned UNBOUND = 0, CONFINED = 1, FREE_CLUSTER = 2;
struct Region {
    double z_lo, z_hi;
    unsigned kind;
};

// The atoms of the template that may move: the first n_mobile of the free atoms. Their noise is `factor` times as wide as that of
// the others (src/diffusion/atom.rs), and no bounds hold for them.
struct Mobile {
    double factor;
    unsigned n_mobile;
};

__device__ __forceinline__ bool is_mobile(Mobile mobile, unsigned atom) { return atom < mobile.n_mobile; }

__device__ __forceinline__ double noise_factor(Mobile mobile, unsigned atom) {
    return is_mobile(mobile, atom) ? mobile.factor : 1.0;
}

// The bounds of one atom.
__device__ __forceinline__ Region region_of(Region region, Mobile mobile, unsigned atom) {
    if (is_mobile(mobile, atom)) region.kind = UNBOUND;
    return region;
}

// Lattice vectors and the inverse of the completed cell, rows, Å and 1/Å; bit k of `periodic`: axis k repeats.
struct Lattice {
    Vector vectors[3];
    Vector inverse[3];
    unsigned periodic;
};

// Moves a position by whole lattice vectors into the cell, along periodic axes; under confinement only along a and b.
__device__ __forceinline__ Vector wrap(const Lattice& lattice, const Region& region, Vector x) {
    const Vector fraction = combine(x, lattice.inverse);
    const double a = floor(fraction.x), b = floor(fraction.y), c = floor(fraction.z);
    const unsigned axes = region.kind == CONFINED ? lattice.periodic & 3u : lattice.periodic;
    if ((axes & 1u) && a != 0.0) x = sub(x, scale(a, lattice.vectors[0]));
    if ((axes & 2u) && b != 0.0) x = sub(x, scale(b, lattice.vectors[1]));
    if ((axes & 4u) && c != 0.0) x = sub(x, scale(c, lattice.vectors[2]));
    return x;
}

// The vector (Å) from one place to another through the periodic boundaries. It is exact if it is shorter than half of the cell's
// perpendicular widths.
__device__ __forceinline__ Vector displacement(const Lattice& lattice, Vector from, Vector to) {
    Vector way = sub(to, from);
    const Vector fraction = combine(way, lattice.inverse);
    if (lattice.periodic & 1u) way = sub(way, scale(round(fraction.x), lattice.vectors[0]));
    if (lattice.periodic & 2u) way = sub(way, scale(round(fraction.y), lattice.vectors[1]));
    if (lattice.periodic & 4u) way = sub(way, scale(round(fraction.z), lattice.vectors[2]));
    return way;
}

// z moved into the confinement; NaN stays NaN.
__device__ __forceinline__ double clamp_height(double z, Region region) {
    return z < region.z_lo ? region.z_lo : z > region.z_hi ? region.z_hi : z;
}

// A height from the normal of this mean and standard deviation (Å) truncated to the confinement.
__device__ __forceinline__ double truncated_around(double u, double mean, double spread, Region region) {
    if (!(spread > 0.0)) return clamp_height(mean, region);
    const double x = truncated_normal(u, (region.z_lo - mean) / spread, (region.z_hi - mean) / spread);
    return clamp_height(mean + spread * x, region);  // a mean far outside cancels badly
}

// Three independent standard normal numbers.
__device__ __forceinline__ Vector normal_vector(Uniforms u) {
    const NormalPair plane = normal_pair(u.u0, u.u1);
    return {plane.x, plane.y, normal_pair(u.u2, u.u3).x};
}

struct Forward {
    Vector position, noise;
};

// x_t = x_0 + σ_t·ε and ε for one atom at x0 (Å), σ_t > 0 (Å); under confinement z is drawn such that x_t stays inside.
__device__ __forceinline__ Forward forward_noise_of(Vector x0, double sigma_t, Uniforms u, Region region) {
    const NormalPair plane = normal_pair(u.u0, u.u1);
    double z, normal;
    if (region.kind == CONFINED) {
        z = truncated_around(u.u2, x0.z, sigma_t, region);
        normal = (z - x0.z) / sigma_t;
    } else {
        normal = normal_pair(u.u2, u.u3).x;
        z = x0.z + sigma_t * normal;
    }
    return {{x0.x + sigma_t * plane.x, x0.y + sigma_t * plane.y, z}, {plane.x, plane.y, normal}};
}

// x + g²·s·dt: the end of a reverse step without noise.
__device__ __forceinline__ Vector reverse_mean(Vector x, Vector score, double g2, double dt) {
    return add(x, scale(g2 * dt, score));
}

// Factor on the score in a reverse step: `scale`. It is reduced so that no step passes the clean position that a true score
// predicts, unless the step passes it without the factor too.
__device__ __forceinline__ double limited_score_scale(double scale, double sigma, double g2, double dt) {
    return fmin(scale, fmax(sigma * sigma / (g2 * dt), 1.0));
}

// Factor on the score at noise `sigma` (Å) that cools a Gaussian basin of this variance (Å²) by `scale`; `scale` itself for a
// negative variance.
__device__ __forceinline__ double basin_score_scale(double scale, double variance, double sigma) {
    const double noise = sigma * sigma;
    return variance < 0.0 ? scale : (variance + noise) / (variance / scale + noise);
}

// x + g²·s·dt + g·sqrt(dt)·ξ for one atom that is not in a free cluster, not wrapped. The last step adds no noise and clamps z.
__device__ __forceinline__ Vector reverse_step_of(Vector mean, double spread, Uniforms u, Region region, bool last) {
    const bool confined = region.kind == CONFINED;
    if (last) return {mean.x, mean.y, confined ? clamp_height(mean.z, region) : mean.z};
    const NormalPair plane = normal_pair(u.u0, u.u1);
    const double z =
        confined ? truncated_around(u.u2, mean.z, spread, region) : mean.z + spread * normal_pair(u.u2, u.u3).x;
    return {mean.x + spread * plane.x, mean.y + spread * plane.y, z};
}

// Subtracts from each of `n_groups` groups of n vectors its mean. `vectors` [n_groups, n, 3] and `means` [n_groups, 3] are in
// shared memory. Every thread of the block takes part; before the call the vectors are written and a barrier is passed.
__device__ __forceinline__ void remove_centres(double* vectors, double* means, unsigned n_groups, unsigned n) {
    for (unsigned k = threadIdx.x; k < 3 * n_groups; k += blockDim.x) {
        const double* group = vectors + 3 * n * (k / 3) + k % 3;
        double sum = 0.0;
        for (unsigned atom = 0; atom < n; ++atom) sum += group[3 * atom];
        means[k] = sum / double(n);
    }
    __syncthreads();
    for (unsigned k = threadIdx.x; k < 3 * n * n_groups; k += blockDim.x) {
        vectors[k] -= means[3 * (k / (3 * n)) + k % 3];
    }
    __syncthreads();
}

// The score head's inputs of time t: sin πt and cos πt.
__device__ __forceinline__ void store_time_features(float* features, u64 structure, double t) {
    double sine, cosine;
    sincospi(t, &sine, &cosine);
    features[2 * structure] = float(sine);
    features[2 * structure + 1] = float(cosine);
}
