// The reverse process from the prior on: x ← x + g²·s·dt + g·sqrt(dt)·ξ at t_k = 1 − (1 − t_min)·k/(n_steps − 1), without noise in
// the last step; then x is wrapped and clamped (Euler and Maruyama). The step's number is in device memory, so that a captured
// launch can be replayed.
//
// CPU twins: ReverseArguments in src/engine/cpu/sample.rs; src/diffusion/{prior,reverse,schedule}.rs; Cell::wrap.
#include "diffusion.cuh"

// S structures; number s is structure first_index + s of the iteration. Everything is overwritten in place.
struct ReverseArguments {
    Lattice lattice;
    Region region;
    Mobile mobile;
    Sde sde;
    double t_min;
    // Factor on the score in a step, and the variance of the basins that it cools, Å²: [1]; negative: the factor is the same at all
    // noise. It is in device memory, so that a captured launch follows it.
    double score_scale;
    const double* basin_variance;
    // Standard deviation of a free cluster's start, Å.
    double prior_spread;
    // Standard deviation of the mobile atoms' start, Å, around their places in the template, Å: [n_mobile, 3].
    double mobile_spread;
    const double* homes;
    // Free atoms, Å: [S, n, 3].
    double* positions;
    // Score of the free atoms, 1/Å: [S, n, 3].
    const float* score;
    // Next step of every structure: [S].
    unsigned* steps;
    // sin πt, cos πt of the next step: [S, 2].
    float* time_features;
    NoiseKey key;
    unsigned n_steps, first_index, n_structures, n_free, per_block;
};

__device__ __forceinline__ double time_of(const ReverseArguments& arguments, unsigned step) {
    return 1.0 - (1.0 - arguments.t_min) * double(step) / double(arguments.n_steps - 1);
}

__device__ __forceinline__ Vector score_at(const ReverseArguments& arguments, u64 row) {
    const float* score = arguments.score + 3 * row;
    return {double(score[0]), double(score[1]), double(score[2])};
}

// Start positions: mobile atoms are normal around their places. Under confinement the others are uniform over the cell in the plane
// and over the heights; those of a free cluster are normal and centred; otherwise they are uniform over the cell. Sets the steps to
// 0. Blocks of `per_block` structures; shared memory for a free cluster alone: (n + 1)·per_block × 3 doubles.
KERNEL(128, prior, ReverseArguments) {
    const unsigned n_free = arguments.n_free, first = blockIdx.x * arguments.per_block;
    const unsigned n_here = min(arguments.per_block, arguments.n_structures - first);
    const Region region = arguments.region;
    double* normals = shared_memory<double>();

    for (unsigned k = threadIdx.x; k < n_here * n_free; k += blockDim.x) {
        const unsigned atom = k % n_free;
        const Uniforms u = uniforms(arguments.key, arguments.first_index + first + k / n_free, 0, atom);
        if (is_mobile(arguments.mobile, atom)) {
            const Vector x = add(vector_at(arguments.homes, atom), scale(arguments.mobile_spread, normal_vector(u)));
            store_vector(arguments.positions, u64(first) * n_free + k, x);
        } else if (region.kind == FREE_CLUSTER) {
            store_vector(normals, k, scale(arguments.prior_spread, normal_vector(u)));
        } else {
            Vector x = combine({u.u0, u.u1, region.kind == CONFINED ? 0.0 : u.u2}, arguments.lattice.vectors);
            if (region.kind == CONFINED) x.z = region.z_lo + (region.z_hi - region.z_lo) * u.u2;
            store_vector(arguments.positions, u64(first) * n_free + k, x);
        }
    }
    if (region.kind == FREE_CLUSTER) {
        __syncthreads();
        remove_centres(normals, normals + 3 * arguments.per_block * n_free, n_here, n_free);
        for (unsigned k = threadIdx.x; k < n_here * n_free; k += blockDim.x) {
            store_vector(arguments.positions, u64(first) * n_free + k, vector_at(normals, k));
        }
    }
    for (unsigned k = threadIdx.x; k < n_here; k += blockDim.x) {
        arguments.steps[first + k] = 0;
        store_time_features(arguments.time_features, first + k, time_of(arguments, 0));
    }
}

// One step; after the last, nothing moves. Blocks of `per_block` structures; shared memory for a free cluster alone:
// (2·n + 1)·per_block × 3 doubles.
KERNEL(128, reverse_step, ReverseArguments) {
    const unsigned n_free = arguments.n_free, first = blockIdx.x * arguments.per_block;
    const unsigned n_here = min(arguments.per_block, arguments.n_structures - first);
    const Region& region = arguments.region;
    const bool centred = region.kind == FREE_CLUSTER;
    const double dt = (1.0 - arguments.t_min) / double(arguments.n_steps - 1);
    double* normals = shared_memory<double>();
    double* scores = normals + 3 * arguments.per_block * n_free;
    double* means = scores + 3 * arguments.per_block * n_free;

    if (centred) {
        for (unsigned k = threadIdx.x; k < n_here * n_free; k += blockDim.x) {
            const unsigned s = first + k / n_free;
            const Uniforms u = uniforms(arguments.key, arguments.first_index + s, arguments.steps[s], k % n_free);
            store_vector(normals, k, normal_vector(u));
            store_vector(scores, k, score_at(arguments, u64(first) * n_free + k));
        }
        __syncthreads();
        remove_centres(normals, means, n_here, n_free);
        remove_centres(scores, means, n_here, n_free);
    }
    for (unsigned k = threadIdx.x; k < n_here * n_free; k += blockDim.x) {
        const unsigned s = first + k / n_free, step = arguments.steps[s];
        if (step >= arguments.n_steps) continue;
        const u64 row = u64(first) * n_free + k;
        const bool last = step + 1 == arguments.n_steps;
        const double t = time_of(arguments, step), g2 = diffusion_squared(arguments.sde, t), spread = sqrt(g2 * dt);
        const double sigma = noise_scale(arguments.sde, t);
        const double cooling = basin_score_scale(arguments.score_scale, *arguments.basin_variance, sigma);
        const double times = limited_score_scale(cooling, sigma, g2, dt);
        const Vector x = vector_at(arguments.positions, row);
        Vector moved;
        if (centred) {
            moved = reverse_mean(x, scale(times, vector_at(scores, k)), g2, dt);
            if (!last) moved = add(moved, scale(spread, vector_at(normals, k)));
        } else {
            // The step of an atom with noise of its own width: the model's output is the score times that factor.
            const unsigned atom = k % n_free;
            const double factor = noise_factor(arguments.mobile, atom);
            const Region bounds = region_of(region, arguments.mobile, atom);
            const Vector mean = reverse_mean(x, scale(times, score_at(arguments, row)), factor * g2, dt);
            const Uniforms u = uniforms(arguments.key, arguments.first_index + s, step, atom);
            moved = reverse_step_of(mean, factor * spread, u, bounds, last);
            if (!is_mobile(arguments.mobile, atom)) moved = wrap(arguments.lattice, region, moved);
        }
        store_vector(arguments.positions, row, moved);
    }
    __syncthreads();
    for (unsigned k = threadIdx.x; k < n_here; k += blockDim.x) {
        const unsigned step = arguments.steps[first + k];
        if (step >= arguments.n_steps) continue;
        arguments.steps[first + k] = step + 1;
        if (step + 1 < arguments.n_steps) store_time_features(arguments.time_features, first + k, time_of(arguments, step + 1));
    }
}
