// The corrector of force-field guidance (arXiv:2510.13448, eq. 7): x ← x + η(1−t)^ζ·p, where p is the L-BFGS direction of the
// predicted forces (two-loop recursion: Nocedal, Math. Comp. 35, 773, 1980), scaled as a whole so that no atom's part of it is
// longer than max_step. Without history, or if the direction does not point downhill, p = max_step·F/max|F_i|. Then x is wrapped
// and clamped. A free cluster's forces lose their mean. One call follows every reverse step; the calls are counted on the device,
// so that a captured launch can be replayed.
//
// CPU twins: src/diffusion/corrector.rs, src/lbfgs.rs.
#include "diffusion.cuh"

// The history of a structure. Pair k, oldest first, is in slot (oldest + k) % (capacity + 1). There is one slot more than pairs, so
// that a new pair can be judged before it displaces the oldest.
struct History {
    unsigned n_calls, n_pairs, oldest;
};

// Structure s of S, n free atoms each. Everything but the forces is f64.
struct CorrectorArguments {
    Lattice lattice;
    Region region;
    Mobile mobile;
    // Å.
    double max_step;
    // η(1−t)^ζ of every reverse step: [n_steps].
    const double* strengths;
    // Free atoms, Å; moved: [S, n, 3].
    double* positions;
    // Predicted on them, eV/Å: [S, n, 3].
    const float* forces;
    // [S]; all 0 before the first call.
    History* histories;
    // [S, 6n + (capacity + 1)·(6n + 2)]: positions and forces of the call before, then for every slot the step s (Å), the change y
    // of the gradient (eV/Å), 1/(s·y) and s·y/(y·y).
    double* memory;
    unsigned n_steps, n_free, capacity;
};

// One pair of a history.
struct Pair {
    double* step;
    double* change;
    double* factors;
};

__device__ __forceinline__ Pair pair_at(double* slots, unsigned n_free, unsigned slot) {
    double* first = slots + u64(slot) * (6 * n_free + 2);
    return {first, first + 3 * n_free, first + 6 * n_free};
}

// Combines `value` of all threads, in whole warps; every thread gets the same bits. `partial`: one number a warp in shared memory.
template <class Combine>
__device__ __forceinline__ double over_block(double value, double* partial, Combine combine) {
    for (unsigned by = WARP / 2; by > 0; by /= 2) value = combine(value, __shfl_xor_sync(0xffffffffu, value, by));
    if (blockDim.x == WARP) return value;
    if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = value;
    __syncthreads();
    value = partial[0];
    for (unsigned w = 1; w < blockDim.x / WARP; ++w) value = combine(value, partial[w]);
    __syncthreads();
    return value;
}

// Σ a_i·b_i over n vectors each; each thread holds the vectors of its own atoms.
__device__ __forceinline__ double dot_over_block(const double* a, const double* b, unsigned n, double* partial) {
    double sum = 0.0;
    for (unsigned atom = threadIdx.x; atom < n; atom += blockDim.x) sum += dot(vector_at(a, atom), vector_at(b, atom));
    return over_block(sum, partial, [](double x, double y) { return x + y; });
}

// Length of the longest of n vectors; NaN does not count.
__device__ __forceinline__ double farthest(const double* vectors, unsigned n, double* partial) {
    double squared = 0.0;
    for (unsigned atom = threadIdx.x; atom < n; atom += blockDim.x) {
        const Vector v = vector_at(vectors, atom);
        squared = fmax(squared, dot(v, v));
    }
    return sqrt(over_block(squared, partial, [](double x, double y) { return fmax(x, y); }));
}

// a ← a + factor·b.
__device__ __forceinline__ void add_scaled(double* a, double factor, const double* b, unsigned n) {
    for (unsigned atom = threadIdx.x; atom < n; atom += blockDim.x) {
        store_vector(a, atom, add(vector_at(a, atom), scale(factor, vector_at(b, atom))));
    }
}

// a ← factor·b.
__device__ __forceinline__ void set_scaled(double* a, double factor, const double* b, unsigned n) {
    for (unsigned atom = threadIdx.x; atom < n; atom += blockDim.x) store_vector(a, atom, scale(factor, vector_at(b, atom)));
}

// Grid (S), whole warps up to 64 threads; each thread moves its own atoms. Shared memory: 3n + 3 + 2 + capacity doubles.
KERNEL(64, corrector, CorrectorArguments) {
    const unsigned n = arguments.n_free, n_slots = arguments.capacity + 1;
    const u64 structure = blockIdx.x;
    const History before = arguments.histories[structure];
    if (before.n_calls >= arguments.n_steps) return;
    double* positions = arguments.positions + 3 * structure * n;
    const float* forces = arguments.forces + 3 * structure * n;
    double* last_positions = arguments.memory + structure * (6 * n + u64(n_slots) * (6 * n + 2));
    double* last_forces = last_positions + 3 * n;
    double* slots = last_forces + 3 * n;

    double* direction = shared_memory<double>();  // [n][3], at first the forces
    double* means = direction + 3 * n;            // [3]
    double* partial = means + 3;                  // [warps]
    double* weights = partial + 2;                // [capacity]
    for (unsigned atom = threadIdx.x; atom < n; atom += blockDim.x) {
        const float* force = forces + 3 * atom;
        store_vector(direction, atom, {double(force[0]), double(force[1]), double(force[2])});
    }
    if (arguments.region.kind == FREE_CLUSTER) {
        __syncthreads();
        remove_centres(direction, means, 1, n);
    }

    // The pair of this call and the one before is stored if its curvature is positive.
    unsigned n_pairs = before.n_pairs, oldest = before.oldest;
    if (before.n_calls > 0) {
        const Pair pair = pair_at(slots, n, (oldest + n_pairs) % n_slots);
        for (unsigned atom = threadIdx.x; atom < n; atom += blockDim.x) {
            const Vector x = vector_at(positions, atom), force = vector_at(direction, atom);
            store_vector(pair.step, atom, displacement(arguments.lattice, vector_at(last_positions, atom), x));
            store_vector(pair.change, atom, sub(vector_at(last_forces, atom), force));
        }
        const double curvature = dot_over_block(pair.step, pair.change, n, partial);
        const double step = dot_over_block(pair.step, pair.step, n, partial);
        const double change = dot_over_block(pair.change, pair.change, n, partial);
        // If s·y is far below the size of its factors, it is a rounding error.
        if (curvature > 1e-12 * sqrt(step) * sqrt(change) && isfinite(curvature)) {
            if (threadIdx.x == 0) {
                pair.factors[0] = 1.0 / curvature;
                pair.factors[1] = curvature / change;
            }
            if (n_pairs < arguments.capacity) {
                n_pairs += 1;
            } else {
                oldest = (oldest + 1) % n_slots;
            }
            __syncthreads();
        }
    }
    for (unsigned atom = threadIdx.x; atom < n; atom += blockDim.x) {
        store_vector(last_positions, atom, vector_at(positions, atom));
        store_vector(last_forces, atom, vector_at(direction, atom));
    }

    // −H·gradient, where H is the inverse Hessian that the pairs give.
    bool downhill = false;
    if (n_pairs > 0) {
        for (unsigned k = n_pairs; k-- > 0;) {
            const Pair pair = pair_at(slots, n, (oldest + k) % n_slots);
            const double weight = pair.factors[0] * dot_over_block(pair.step, direction, n, partial);
            add_scaled(direction, -weight, pair.change, n);
            if (threadIdx.x == 0) weights[k] = weight;
        }
        __syncthreads();
        set_scaled(direction, pair_at(slots, n, (oldest + n_pairs - 1) % n_slots).factors[1], direction, n);
        for (unsigned k = 0; k < n_pairs; ++k) {
            const Pair pair = pair_at(slots, n, (oldest + k) % n_slots);
            const double along = pair.factors[0] * dot_over_block(pair.change, direction, n, partial);
            add_scaled(direction, weights[k] - along, pair.step, n);
        }
        const double descent = dot_over_block(direction, last_forces, n, partial);
        downhill = descent > 0.0 && isfinite(descent);
    }
    if (!downhill) set_scaled(direction, 1.0, last_forces, n);
    const double longest = farthest(direction, n, partial);
    if (!downhill || longest > arguments.max_step) {
        set_scaled(direction, longest > 0.0 ? arguments.max_step / longest : 0.0, direction, n);
    }

    const double strength = arguments.strengths[before.n_calls];
    for (unsigned atom = threadIdx.x; atom < n; atom += blockDim.x) {
        Vector x = add(vector_at(positions, atom), scale(strength, vector_at(direction, atom)));
        if (!is_mobile(arguments.mobile, atom)) {
            if (arguments.region.kind != FREE_CLUSTER) x = wrap(arguments.lattice, arguments.region, x);
            if (arguments.region.kind == CONFINED) x.z = clamp_height(x.z, arguments.region);
        }
        store_vector(positions, atom, x);
    }
    __syncthreads();
    if (threadIdx.x == 0) arguments.histories[structure] = {before.n_calls + 1, n_pairs, oldest};
}
