// Relaxation of S structures on effective medium theory by L-BFGS (Nocedal, Math. Comp. 35, 773, 1980), in f64: each block moves
// its structure by many steps in one launch. The algorithm is the CPU's; sums have another order.
//
// CPU twins: Walker in src/potential/relax.rs, Curvature in src/lbfgs.rs, which also give the reasons.
#include "emt.cuh"

// As in src/potential/relax.rs.
constexpr double SUFFICIENT_DECREASE = 1e-4, ENERGY_NOISE = 1e-6, OVERSHOOT = 0.8, FIRST_STEP = 0.03;
constexpr unsigned MAX_SHORTENINGS = 12;

// Why a relaxation ended (see RelaxState::end in src/potential/emt/launch.rs).
constexpr unsigned MOVING = 0, CONVERGED = 1, MAX_STEPS = 2, STUCK = 3, NOT_FINITE = 4;

// State of a relaxation. Before the first evaluation the lowest energy is infinite, and everything else is zero.
struct RelaxState {
    // Energy of the accepted positions, and the lowest accepted so far, eV.
    double energy, lowest_energy;
    unsigned status, n_steps, n_evaluations, n_shortenings;
    // Number of stored pairs, and place of the oldest.
    unsigned n_pairs, oldest;
};

struct RelaxArguments {
    EmtSystem system;
    EmtRoom room;
    RelaxState* states;
    // [S, n, 3] each: accepted positions and those to try, Å; the step to them, Å; gradient at the accepted ones, eV/Å; forces at the
    // tried ones, eV/Å.
    double* positions;
    double* trials;
    double* steps;
    double* gradients;
    double* forces;
    // Stored steps (Å) and changes of the gradient (eV/Å) along them, as a ring: [S, history, n, 3]; 1/(s·y): [S, history].
    double* past_steps;
    double* past_changes;
    double* inverses;
    // eV/Å, Å.
    double largest_force, longest_step;
    unsigned max_steps, history;
    // Evaluations of a launch.
    unsigned n_rounds;
};

// One structure's part of the above, n × 3 each. A lane of the first warp handles the atoms lane, lane + WARP, ….
struct Walker {
    double *positions, *trial, *step, *gradient, *forces, *past_steps, *past_changes, *inverses;
    // Weights of the two loops, in shared memory, [history].
    double* weights;
    unsigned n_free, history;
};

// Calls work(k) for every coordinate of this lane's atoms.
template <class Work>
__device__ __forceinline__ void for_each_coordinate(unsigned n_free, Work work) {
    for (unsigned a = threadIdx.x % WARP; a < n_free; a += WARP) {
        for (unsigned x = 0; x < 3; ++x) work(3 * a + x);
    }
}

// Σ_k term(k) over all coordinates, the same bits in all lanes.
template <class Term>
__device__ __forceinline__ double sum_over(unsigned n_free, Term term) {
    double sum = 0.0;
    for_each_coordinate(n_free, [&](unsigned k) { sum += term(k); });
    return warp_sum(sum);
}

// Length of the longest of the vectors of three.
__device__ __forceinline__ double farthest(const double* vectors, unsigned n_free) {
    double longest = 0.0;
    for (unsigned a = threadIdx.x % WARP; a < n_free; a += WARP) {
        const Vector v = vector_at(vectors, a);
        longest = fmax(longest, dot(v, v));
    }
    return sqrt(warp_max(longest));
}

__device__ __forceinline__ void propose(const Walker& walker) {
    for_each_coordinate(walker.n_free, [&](unsigned k) { walker.trial[k] = walker.positions[k] + walker.step[k]; });
}

__device__ __forceinline__ void go_downhill(const Walker& walker) {
    for_each_coordinate(walker.n_free, [&](unsigned k) { walker.step[k] = -FIRST_STEP * walker.gradient[k]; });
}

// The step −H·gradient; false if the history is empty, or if the step does not point downhill.
__device__ __forceinline__ bool go_by_history(const Walker& walker, const RelaxState& state) {
    if (state.n_pairs == 0) return false;
    const unsigned n_free = walker.n_free, length = 3 * n_free;
    double* step = walker.step;
    for_each_coordinate(n_free, [&](unsigned k) { step[k] = -walker.gradient[k]; });
    for (unsigned back = state.n_pairs; back-- > 0;) {
        const unsigned slot = (state.oldest + back) % walker.history;
        const double* past_step = walker.past_steps + u64(slot) * length;
        const double* change = walker.past_changes + u64(slot) * length;
        const double weight = walker.inverses[slot] * sum_over(n_free, [&](unsigned k) { return past_step[k] * step[k]; });
        for_each_coordinate(n_free, [&](unsigned k) { step[k] += -weight * change[k]; });
        if (threadIdx.x == 0) walker.weights[back] = weight;
    }
    const unsigned newest = (state.oldest + state.n_pairs - 1) % walker.history;
    const double* change = walker.past_changes + u64(newest) * length;
    const double squared = sum_over(n_free, [&](unsigned k) { return change[k] * change[k]; });
    const double factor = 1.0 / (walker.inverses[newest] * squared);
    for_each_coordinate(n_free, [&](unsigned k) { step[k] *= factor; });
    __syncwarp();
    for (unsigned age = 0; age < state.n_pairs; ++age) {
        const unsigned slot = (state.oldest + age) % walker.history;
        const double* past_step = walker.past_steps + u64(slot) * length;
        const double* past_change = walker.past_changes + u64(slot) * length;
        const double along = sum_over(n_free, [&](unsigned k) { return past_change[k] * step[k]; });
        const double correction = walker.weights[age] - walker.inverses[slot] * along;
        for_each_coordinate(n_free, [&](unsigned k) { step[k] += correction * past_step[k]; });
    }
    const double slope = sum_over(n_free, [&](unsigned k) { return step[k] * walker.gradient[k]; });
    return slope < 0.0 && isfinite(slope);
}

// Stores the step with the change of the gradient along it if the curvature is positive.
__device__ __forceinline__ void remember(const Walker& walker, RelaxState& state) {
    const auto change = [&](unsigned k) { return -walker.forces[k] - walker.gradient[k]; };
    const double curvature = sum_over(walker.n_free, [&](unsigned k) { return walker.step[k] * change(k); });
    const double step_squared = sum_over(walker.n_free, [&](unsigned k) { return walker.step[k] * walker.step[k]; });
    const double change_squared = sum_over(walker.n_free, [&](unsigned k) { return change(k) * change(k); });
    const bool positive = curvature > 1e-12 * sqrt(step_squared) * sqrt(change_squared) && isfinite(curvature);
    if (!positive || walker.history == 0) return;
    unsigned slot = state.oldest;
    if (state.n_pairs < walker.history) {
        slot = (state.oldest + state.n_pairs++) % walker.history;
    } else {
        state.oldest = (state.oldest + 1) % walker.history;
    }
    const u64 first = u64(slot) * 3 * walker.n_free;
    for_each_coordinate(walker.n_free, [&](unsigned k) {
        walker.past_steps[first + k] = walker.step[k];
        walker.past_changes[first + k] = change(k);
    });
    if (threadIdx.x == 0) walker.inverses[slot] = 1.0 / curvature;
    __syncwarp();
}

// Rejects the step. The next one is shorter by `factor` along the same line; after the last shorter one, it goes downhill without
// history.
__device__ __forceinline__ void shorten(const Walker& walker, RelaxState& state, double factor) {
    double shrink = isfinite(factor) ? fmin(fmax(factor, 0.1), 0.5) : 0.1;
    if (++state.n_shortenings > MAX_SHORTENINGS) {
        if (state.n_pairs == 0) {
            state.status = STUCK;
            return;
        }
        const double squared = sum_over(walker.n_free, [&](unsigned k) { return walker.step[k] * walker.step[k]; });
        state.n_pairs = 0;
        state.n_shortenings = 0;
        go_downhill(walker);
        const double downhill = sum_over(walker.n_free, [&](unsigned k) { return walker.step[k] * walker.step[k]; });
        shrink = fmin(sqrt(squared) / sqrt(downhill), 1.0);
    }
    for_each_coordinate(walker.n_free, [&](unsigned k) { walker.step[k] *= shrink; });
    propose(walker);
}

// Takes energy and forces of the tried positions, and ends the relaxation or sets the next positions. The first warp runs this; all
// lanes have the same numbers.
__device__ __forceinline__ void advance(const Walker& walker, RelaxState& state, double energy, const RelaxArguments& settings) {
    const unsigned n_free = walker.n_free;
    const bool first = state.n_evaluations++ == 0;
    bool finite = isfinite(energy);
    for_each_coordinate(n_free, [&](unsigned k) { finite = finite && isfinite(walker.forces[k]); });
    finite = __all_sync(0xffffffffu, finite);
    if (!finite) {
        if (first) {
            state.status = NOT_FINITE;
        } else {
            shorten(walker, state, 0.1);
        }
        return;
    }
    if (!first) {
        const double rise = energy - state.energy;
        const double slope = sum_over(n_free, [&](unsigned k) { return walker.gradient[k] * walker.step[k]; });
        const double slope_after = sum_over(n_free, [&](unsigned k) { return -walker.forces[k] * walker.step[k]; });
        const bool lower = rise <= SUFFICIENT_DECREASE * slope;
        const bool level = energy <= state.lowest_energy + ENERGY_NOISE * fabs(state.lowest_energy);
        if (!(lower || (level && slope_after <= OVERSHOOT * fabs(slope)))) {
            shorten(walker, state, -slope / (2.0 * (rise - slope)));
            return;
        }
        remember(walker, state);
        for_each_coordinate(n_free, [&](unsigned k) { walker.positions[k] = walker.trial[k]; });
        ++state.n_steps;
    }
    state.energy = energy;
    state.lowest_energy = fmin(state.lowest_energy, energy);
    for_each_coordinate(n_free, [&](unsigned k) { walker.gradient[k] = -walker.forces[k]; });
    if (farthest(walker.gradient, n_free) < settings.largest_force) {
        state.status = CONVERGED;
    } else if (state.n_steps >= settings.max_steps) {
        state.status = MAX_STEPS;
    } else {
        if (!go_by_history(walker, state)) {
            state.n_pairs = 0;
            go_downhill(walker);
        }
        const double longest = farthest(walker.step, n_free);
        if (longest > settings.longest_step) {
            const double factor = settings.longest_step / longest;
            for_each_coordinate(n_free, [&](unsigned k) { walker.step[k] *= factor; });
        }
        state.n_shortenings = 0;
        propose(walker);
    }
}

// One block a structure, whole warps; blocks of finished structures return at once. Shared memory: [history]
// doubles, then EmtShared. A structure whose pairs overflow waits with its positions to try.
KERNEL(256, emt_relax, RelaxArguments) {
    const EmtSystem& system = arguments.system;
    const u64 structure = blockIdx.x;
    RelaxState state = arguments.states[structure];
    if (state.status != MOVING) return;
    const u64 first = structure * 3 * system.n_free, past = first * arguments.history;
    Walker walker;
    walker.positions = arguments.positions + first;
    walker.trial = arguments.trials + first;
    walker.step = arguments.steps + first;
    walker.gradient = arguments.gradients + first;
    walker.forces = arguments.forces + first;
    walker.past_steps = arguments.past_steps + past;
    walker.past_changes = arguments.past_changes + past;
    walker.inverses = arguments.inverses + structure * arguments.history;
    walker.weights = shared_memory<double>();
    walker.n_free = system.n_free;
    walker.history = arguments.history;
    double* shared = walker.weights + arguments.history;

    for (unsigned round = 0; round < arguments.n_rounds; ++round) {
        double energy = 0.0;
        if (!emt_evaluate(system, arguments.room, structure, shared, walker.trial, walker.forces, nullptr, energy)) break;
        __syncthreads();
        if (threadIdx.x < WARP) advance(walker, state, energy, arguments);
        const bool ended = __syncthreads_or(threadIdx.x == 0 && state.status != MOVING);
        if (ended) break;
    }
    if (threadIdx.x == 0) arguments.states[structure] = state;
}
