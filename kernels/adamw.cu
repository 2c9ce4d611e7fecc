// Sum of the gradient's slices, clipping by the global norm, AdamW with PyTorch's conventions (arXiv:1711.05101), the plateau
// schedule of the learning rate, and the rule that ends training early. CPU twins: src/engine/cpu/adamw.rs, PlateauSchedule in
// src/engine/schedule.rs, Watch in src/engine/stopping.rs.
//
// P parameters in the model's order; kernels read them from two arranged copies. One has the matrices as they are ([out][in],
// widths rounded up), the other has them transposed.
#include "sums.cuh"

constexpr double BETA_1 = 0.9;
constexpr double BETA_2 = 0.999;
constexpr float EPSILON = 1e-8f;
constexpr double PLATEAU_FACTOR = 0.95;
constexpr double PLATEAU_THRESHOLD = 1e-4;
constexpr unsigned PATIENCE = 100;

// Parameters that a block of gradient_sum and adamw handles, four a thread.
constexpr unsigned PARAMETERS_PER_BLOCK = 1024;

// The state of a training call on the device.
struct TrainingState {
    double learning_rate;
    double best;             // lowest epoch loss so far, if has_best
    double epoch_loss;       // sum over the steps of the epoch
    double total_loss;       // sum of the score loss over the steps of the call
    double total_force_loss;  // the same of the force loss
    double loss;             // of the last step
    double step_rate;        // learning rate of the present step
    double step_size;        // the same over 1 - β₁ⁿ, n the steps of the optimiser
    double correction;       // 1/√(1 - β₂ⁿ)
    double consensus;        // mean cosine that the stopping rule watches, and its peak, if there were checks
    double consensus_peak;
    unsigned has_best;
    unsigned bad_epochs;
    unsigned epoch_steps;
    unsigned steps;          // of the call
    unsigned optimizer_steps;
    unsigned bad_step;       // one more than the first step whose loss was not finite, 0: none; no step is taken after it
    unsigned n_checks;       // of the stopping rule
    unsigned since_peak;     // checks since the peak
    unsigned stopped;        // 1 if the rule has ended training: no step is taken from then on
    unsigned reserved;       // fills up the last eight bytes
};

// The plan of a step, made before the call.
struct StepPlan {
    double rate_share;    // share of the schedule's learning rate
    u64 ends_epoch;       // 1 if an epoch ends with the step, else 0
};

struct GradientSum {
    const float* slices;       // [n_slices][slice_len]; null: the gradient is given
    const unsigned* plain_at;  // [P] place of a parameter in a slice
    float* gradient;           // [P]; written, unless given
    double* squares;           // writes [blocks] Σ g²
    const float* losses;       // [n_losses] shares of the step's score loss; null: no loss, and the schedule stays
    const float* force_losses;  // [n_force_losses] the same of the force loss
    const StepPlan* plan;      // [steps of the call]; read if there are losses
    TrainingState* training;
    unsigned n_parameters;
    unsigned n_slices;
    unsigned slice_len;
    unsigned n_losses;
    unsigned n_force_losses;
    float force_weight;
};

// Grid (⌈P/1024⌉), 256 threads, 8 doubles of shared memory.
KERNEL(256, gradient_sum, GradientSum) {
    const GradientSum& a = arguments;
    double* sums = shared_memory<double>();  // [warps]
    double square = 0.0;
    for (unsigned k = 0; k < PARAMETERS_PER_BLOCK / 256; ++k) {
        const unsigned p = blockIdx.x * PARAMETERS_PER_BLOCK + k * 256 + threadIdx.x;
        if (p >= a.n_parameters) break;
        float g = 0.0f;
        if (a.slices == nullptr) {
            g = a.gradient[p];
        } else {
            const unsigned at = a.plain_at[p];
            for (unsigned s = 0; s < a.n_slices; ++s) g += a.slices[static_cast<u64>(s) * a.slice_len + at];
            a.gradient[p] = g;
        }
        square += static_cast<double>(g) * g;
    }
    for (unsigned step = WARP / 2; step > 0; step /= 2) square += __shfl_down_sync(0xffffffffu, square, step);
    if (threadIdx.x % WARP == 0) sums[threadIdx.x / WARP] = square;
    __syncthreads();
    if (threadIdx.x != 0) return;
    square = 0.0;
    for (unsigned w = 0; w < blockDim.x / WARP; ++w) square += sums[w];
    a.squares[blockIdx.x] = square;
    if (blockIdx.x != 0) return;

    TrainingState& t = *a.training;
    if (t.bad_step != 0 || t.stopped != 0) return;
    t.step_rate = t.learning_rate;
    t.optimizer_steps += 1;
    // One thread computes what all parameters of the step need: consumer cards do f64 at 1/64 of the rate of f32.
    t.correction = 1.0 / sqrt(1.0 - pow(BETA_2, static_cast<double>(t.optimizer_steps)));
    const double bias = 1.0 - pow(BETA_1, static_cast<double>(t.optimizer_steps));
    t.step_size = t.step_rate / bias;
    if (a.losses == nullptr) return;
    const StepPlan plan = a.plan[t.steps];
    t.step_rate *= plan.rate_share;
    t.step_size = t.step_rate / bias;
    double score_loss = 0.0, force_loss = 0.0;
    for (unsigned k = 0; k < a.n_losses; ++k) score_loss += a.losses[k];
    for (unsigned k = 0; k < a.n_force_losses; ++k) force_loss += a.force_losses[k];
    const double loss = score_loss + a.force_weight * force_loss;
    t.loss = loss;
    if (!isfinite(loss)) {
        t.bad_step = t.steps + 1;
        return;
    }
    t.total_loss += score_loss;
    t.total_force_loss += force_loss;
    t.epoch_loss += loss;
    t.epoch_steps += 1;
    if (plan.ends_epoch != 0) {
        const double mean = t.epoch_loss / t.epoch_steps;
        t.epoch_loss = 0.0;
        t.epoch_steps = 0;
        if (t.has_best == 0 || mean < t.best * (1.0 - PLATEAU_THRESHOLD)) {
            t.best = mean;
            t.has_best = 1;
            t.bad_epochs = 0;
        } else if (++t.bad_epochs > PATIENCE) {
            t.learning_rate *= PLATEAU_FACTOR;
            t.bad_epochs = 0;
        }
    }
    t.steps += 1;
}

struct Adamw {
    const float* gradient;           // [P]
    const double* squares;           // [n_squares]
    const TrainingState* training;
    const unsigned* plain_at;        // [P] place of a parameter in `plain`
    const unsigned* transposed_at;   // [P] the same in `transposed`; NOWHERE: not there
    float* parameters;               // [P]
    float* first;                    // [P] moments
    float* second;                   // [P]
    float* plain;                    // writes
    float* transposed;               // writes
    unsigned n_parameters;
    unsigned n_squares;
    float weight_decay;
    float gradient_clip;
};

constexpr unsigned NOWHERE = 0xffffffffu;

// Grid (⌈P/1024⌉), 256 threads, 9 doubles of shared memory.
KERNEL(256, adamw, Adamw) {
    const Adamw& a = arguments;
    if (a.training->bad_step != 0 || a.training->stopped != 0) return;
    // Every block adds the same numbers in the same order.
    double* sums = shared_memory<double>();  // [warps]
    double square = 0.0;
    for (unsigned k = threadIdx.x; k < a.n_squares; k += blockDim.x) square += a.squares[k];
    for (unsigned step = WARP / 2; step > 0; step /= 2) square += __shfl_down_sync(0xffffffffu, square, step);
    if (threadIdx.x % WARP == 0) sums[threadIdx.x / WARP] = square;
    __syncthreads();
    // One thread of a block computes in f64 what all need in f32, for the reason above.
    float* factors = reinterpret_cast<float*>(sums + blockDim.x / WARP);  // [2]
    if (threadIdx.x == 0) {
        square = 0.0;
        for (unsigned w = 0; w < blockDim.x / WARP; ++w) square += sums[w];
        factors[0] = static_cast<float>(fmin(1.0, a.gradient_clip / (sqrt(square) + 1e-6)));
        factors[1] = static_cast<float>(1.0 - a.training->step_rate * a.weight_decay);
    }
    __syncthreads();
    const float clip = factors[0], decay = factors[1];
    const float step_size = static_cast<float>(a.training->step_size);
    const float correction = static_cast<float>(a.training->correction);
    for (unsigned k = 0; k < PARAMETERS_PER_BLOCK / 256; ++k) {
        const unsigned p = blockIdx.x * PARAMETERS_PER_BLOCK + k * 256 + threadIdx.x;
        if (p >= a.n_parameters) break;
        const float g = a.gradient[p] * clip;
        const float first = static_cast<float>(BETA_1) * a.first[p] + static_cast<float>(1.0 - BETA_1) * g;
        const float second = static_cast<float>(BETA_2) * a.second[p] + static_cast<float>(1.0 - BETA_2) * g * g;
        const float value = a.parameters[p] * decay - step_size * first / (sqrtf(second) * correction + EPSILON);
        a.first[p] = first;
        a.second[p] = second;
        a.parameters[p] = value;
        a.plain[a.plain_at[p]] = value;
        if (a.transposed_at[p] != NOWHERE) a.transposed[a.transposed_at[p]] = value;
    }
}

struct EvenScale {
    const float* scale;  // [S]
    float* even;         // [S]; writes scale where a structure is in an even place of its batch, else 0
    unsigned n_structures;
    unsigned width;      // structures of a step: the noisy ones, then those whose forces are compared
    unsigned n_noisy;
};

// Grid (⌈S/256⌉), 256 threads.
KERNEL(256, even_scale, EvenScale) {
    const EvenScale& a = arguments;
    const unsigned s = blockIdx.x * 256 + threadIdx.x;
    if (s >= a.n_structures) return;
    const unsigned slot = s % a.width, place = slot < a.n_noisy ? slot : slot - a.n_noisy;
    a.even[s] = place % 2 == 0 ? a.scale[s] : 0.0f;
}

struct HalfGradient {
    const float* slices;       // [n_slices][slice_len]
    const unsigned* plain_at;  // [P] place of a parameter in a slice
    float* half;               // [P] writes
    unsigned n_parameters;
    unsigned n_slices;
    unsigned slice_len;
};

// Grid (⌈P/1024⌉), 256 threads.
KERNEL(256, half_gradient, HalfGradient) {
    const HalfGradient& a = arguments;
    for (unsigned k = 0; k < PARAMETERS_PER_BLOCK / 256; ++k) {
        const unsigned p = blockIdx.x * PARAMETERS_PER_BLOCK + k * 256 + threadIdx.x;
        if (p >= a.n_parameters) break;
        const unsigned at = a.plain_at[p];
        float g = 0.0f;
        for (unsigned s = 0; s < a.n_slices; ++s) g += a.slices[static_cast<u64>(s) * a.slice_len + at];
        a.half[p] = g;
    }
}

struct GradientCosine {
    const float* a;         // [P]
    const float* b;         // [P]
    double* products;       // writes [blocks][3] Σ a², Σ ab, Σ b²
    unsigned n_parameters;
    unsigned b_holds_both;  // 1: b is the sum of a and the other vector, else 0
};

// Grid (⌈P/1024⌉), 256 threads, 32 doubles of shared memory.
KERNEL(256, gradient_cosine, GradientCosine) {
    const GradientCosine& v = arguments;
    double* sums = shared_memory<double>();  // [WARP]
    double products[3] = {0.0, 0.0, 0.0};
    for (unsigned k = 0; k < PARAMETERS_PER_BLOCK / 256; ++k) {
        const unsigned p = blockIdx.x * PARAMETERS_PER_BLOCK + k * 256 + threadIdx.x;
        if (p >= v.n_parameters) break;
        const double a = v.a[p], b = v.b_holds_both != 0 ? v.b[p] - v.a[p] : v.b[p];
        products[0] += a * a;
        products[1] += a * b;
        products[2] += b * b;
    }
#pragma unroll
    for (unsigned k = 0; k < 3; ++k) {
        const double sum = block_sum(products[k], sums);
        if (threadIdx.x == 0) v.products[3 * blockIdx.x + k] = sum;
        __syncthreads();
    }
}

struct Stopping {
    const double* products;   // [n_products][3] of gradient_cosine
    TrainingState* training;
    double memory;            // weight of the earlier checks in the mean
    double drop;              // share of the peak
    unsigned n_products;
    unsigned free_steps;
    unsigned patience;
};

// Runs after adamw: the step that it judges is taken. Grid (1), 32 threads.
KERNEL(32, stopping, Stopping) {
    const Stopping& a = arguments;
    double products[3] = {0.0, 0.0, 0.0};
    for (unsigned k = threadIdx.x; k < a.n_products; k += WARP) {
        for (unsigned j = 0; j < 3; ++j) products[j] += a.products[3 * k + j];
    }
    for (unsigned j = 0; j < 3; ++j) products[j] = warp_sum(products[j]);
    TrainingState& t = *a.training;
    if (threadIdx.x != 0 || t.bad_step != 0 || t.stopped != 0 || t.steps <= a.free_steps) return;
    const double norms = sqrt(products[0] * products[2]);
    if (norms == 0.0) return;
    const double cosine = products[1] / norms;
    if (t.n_checks++ == 0) {
        t.consensus = t.consensus_peak = cosine;
    } else {
        t.consensus = a.memory * t.consensus + (1.0 - a.memory) * cosine;
        t.since_peak = t.consensus > t.consensus_peak ? 0 : t.since_peak + 1;
        t.consensus_peak = fmax(t.consensus_peak, t.consensus);
    }
    if (t.since_peak >= a.patience && t.consensus < a.drop * t.consensus_peak) t.stopped = 1;
}
