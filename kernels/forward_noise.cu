// Noisy batches of many training steps: x_t = x_0 + σ_t·ε on the free atoms, t uniform in (1e-5, 1), and the numbers that the score
// loss needs: loss = Σ scale·(offset + factor·score)² (Weighting in src/engine/mod.rs). Noise does not depend on the weights, so
// one launch noises the batches of many steps. If wanted, clean structures follow whose forces a step compares. Each is drawn
// uniformly: loss = Σ scale·Huber(offset + factor·force) with offset = −target.
//
// CPU twins: noisy_batch and force_batch in src/engine/cpu/train.rs, src/engine/cpu/loss.rs, ForceSet::members in src/engine/mod.rs,
// src/diffusion/reverse.rs, src/objective/target_score.rs.
#include "diffusion.cuh"

// S = n_steps·width structures a launch; structure s is slot s % width of its step. The first `batch` slots are noisy: an epoch
// visits the M members in a given order, batch by batch; the slots that its last step leaves empty hold member 0 without noise and
// have weight 0. The other slots, as many or none, compare forces; with batch = 0 all do. Everything is overwritten, and n_steps is
// added to `steps`.
struct ForwardNoiseArguments {
    // Positions, Å, and Boltzmann weights of the training set: [M, n, 3], [M].
    const double* clean;
    const double* weights;
    // Positions, Å, and forces, eV/Å, of the force set; unused if width = batch: [M', n, 3].
    const double* force_clean;
    const double* force_targets;
    // Labels of the force set for the readout; null: none: [M'].
    const double* force_labels;
    // F/kT, 1/Å, that the noise is mixed with; null: the noise alone: [M, n, 3].
    const double* scores;
    // Members in the order of visiting: [epochs, M].
    const unsigned* order;
    // Training step of every structure: [S].
    unsigned* steps;
    // x_t, Å: [S, n, 3].
    double* positions;
    // ε or its mixture with F/kT, or −target: [S, n, 3].
    float* offset;
    // sin πt, cos πt: [S, 2].
    float* time_features;
    // Factor of the output in the residual, and of the residual's square (or Huber's function of it) in the loss: [S], [S].
    float* factor;
    float* scale;
    // Labels of the structures that compare forces, where the force set has labels: [S].
    float* labels;
    Region region;
    Mobile mobile;
    Sde sde;
    // Mean square of F/kT, 1/Å², and the factor on the share of least variance.
    double mean_square, force_share;
    NoiseKey time_key, forward_key, force_key;
    unsigned n_members, n_force_members, batch, width, n_steps, n_free;
    // Atoms over which the loss is a mean; the power of σ_t that multiplies the score in the residual, 1 or 2.
    unsigned n_averaged, exponent;
    // Structures in all, and in a block.
    unsigned n_structures, per_block;
    // Steps that the order covers; later ones are empty.
    unsigned n_ordered;
};

// Smallest diffusion time.
constexpr double T_MIN = 1e-5;

// One structure of a batch.
struct Slot {
    unsigned step, index;
    // Member of the training set, or of the force set for slots that compare forces.
    unsigned member;
    // Structures in the step's batch; 0 for an empty slot.
    unsigned n_filled;
    // Diffusion time, and σ_t in Å; 0 for an empty slot and for one that compares forces.
    double t, sigma;
};

__device__ __forceinline__ Slot slot_of(const ForwardNoiseArguments& arguments, unsigned structure) {
    const unsigned n_members = arguments.n_members, batch = arguments.batch;
    const unsigned step = arguments.steps[structure], index = structure % arguments.width;
    if (step >= arguments.n_ordered) return {step, index, 0, 0, 0.0, 0.0};
    if (index >= batch) {
        const Words words = philox4x32_10({index - batch, step, 0, 0}, arguments.force_key);
        return {step, index, __umulhi(words.w0, arguments.n_force_members), arguments.width - batch, 0.0, 0.0};
    }
    const unsigned steps_per_epoch = (n_members + batch - 1) / batch;
    const unsigned first = step % steps_per_epoch * batch;
    if (first + index >= n_members) return {step, index, 0, 0, 0.0, 0.0};
    const unsigned member = arguments.order[u64(step / steps_per_epoch) * n_members + first + index];
    const double t = T_MIN + (1.0 - T_MIN) * uniforms(arguments.time_key, index, step, 0).u0;
    return {step, index, member, min(batch, n_members - first), t, noise_scale(arguments.sde, t)};
}

// Factor of the slot's output in the residual, and of the residual in the loss.
__device__ __forceinline__ float2 factor_and_scale(const ForwardNoiseArguments& arguments, const Slot& slot) {
    if (slot.index >= arguments.batch) {
        const double n_averaged = 3.0 * double(arguments.width - arguments.batch) * double(arguments.n_free);
        return make_float2(1.0f, slot.n_filled > 0 ? float(1.0 / n_averaged) : 0.0f);
    }
    double factor = 1.0;
    for (unsigned k = 0; k < arguments.exponent; ++k) factor *= slot.sigma;
    const double n_averaged = double(slot.n_filled) * double(arguments.n_averaged);
    return make_float2(float(factor), slot.n_filled > 0 ? float(arguments.weights[slot.member] / n_averaged) : 0.0f);
}

// −σ_t·s* for one atom: its noise, or the mixture of that with F/kT. Along z the forces count only if both bounds are further than
// 4·σ_t from x0.
__device__ __forceinline__ Vector offset_of(
    const ForwardNoiseArguments& arguments, const Slot& slot, unsigned atom, Vector x0, Vector noise) {
    if (arguments.scores == nullptr || slot.n_filled == 0) return noise;
    const Vector score = vector_at(arguments.scores, u64(slot.member) * arguments.n_free + atom);
    const double sigma = slot.sigma, reach = 4.0 * sigma;
    const double share = arguments.force_share / (1.0 + sigma * sigma * arguments.mean_square);
    const Region bounds = region_of(arguments.region, arguments.mobile, atom);
    const bool clear = bounds.kind != CONFINED || (x0.z - bounds.z_lo > reach && bounds.z_hi - x0.z > reach);
    const double along_z = clear ? share : 0.0;
    return {(1.0 - share) * noise.x - share * sigma * score.x, (1.0 - share) * noise.y - share * sigma * score.y,
            (1.0 - along_z) * noise.z - along_z * sigma * score.z};
}

// Blocks of `per_block` structures; shared memory: per_block × Slot, and for a free cluster (n + 1)·per_block × 3 doubles.
KERNEL(128, forward_noise, ForwardNoiseArguments) {
    const unsigned n_free = arguments.n_free, first = blockIdx.x * arguments.per_block;
    const unsigned n_here = min(arguments.per_block, arguments.n_structures - first);
    const bool centred = arguments.region.kind == FREE_CLUSTER;
    Slot* slots = shared_memory<Slot>();
    double* normals = reinterpret_cast<double*>(slots + arguments.per_block);
    double* means = normals + 3 * arguments.per_block * n_free;

    for (unsigned k = threadIdx.x; k < n_here; k += blockDim.x) {
        const unsigned structure = first + k;
        const Slot slot = slot_of(arguments, structure);
        const float2 factors = factor_and_scale(arguments, slot);
        arguments.factor[structure] = factors.x;
        arguments.scale[structure] = factors.y;
        store_time_features(arguments.time_features, structure, slot.t);
        if (arguments.force_labels != nullptr && slot.index >= arguments.batch) {
            arguments.labels[structure] = float(arguments.force_labels[slot.member]);
        }
        arguments.steps[structure] = slot.step + arguments.n_steps;
        slots[k] = slot;
    }
    __syncthreads();
    for (unsigned k = threadIdx.x; k < n_here * n_free; k += blockDim.x) {
        const unsigned atom = k % n_free;
        const u64 row = u64(first) * n_free + k;
        const Slot& slot = slots[k / n_free];
        const u64 member_row = u64(slot.member) * n_free + atom;
        if (slot.index >= arguments.batch) {
            store_vector(arguments.positions, row, vector_at(arguments.force_clean, member_row));
            store_vector(arguments.offset, row, scale(-1.0, vector_at(arguments.force_targets, member_row)));
            if (centred) store_vector(normals, k, {0.0, 0.0, 0.0});
            continue;
        }
        const Vector x0 = vector_at(arguments.clean, member_row);
        Forward noised = {x0, {0.0, 0.0, 0.0}};
        if (slot.n_filled > 0) {
            const Uniforms u = uniforms(arguments.forward_key, slot.index, slot.step, atom);
            const double sigma = noise_factor(arguments.mobile, atom) * slot.sigma;
            noised = forward_noise_of(x0, sigma, u, region_of(arguments.region, arguments.mobile, atom));
        }
        if (centred) {
            store_vector(normals, k, noised.noise);
        } else {
            store_vector(arguments.positions, row, noised.position);
            store_vector(arguments.offset, row, offset_of(arguments, slot, atom, x0, noised.noise));
        }
    }
    if (!centred) return;
    // The model sees differences of positions only: it cannot know the motion of the whole cluster.
    __syncthreads();
    remove_centres(normals, means, n_here, n_free);
    for (unsigned k = threadIdx.x; k < n_here * n_free; k += blockDim.x) {
        const u64 row = u64(first) * n_free + k;
        const Slot& slot = slots[k / n_free];
        if (slot.index >= arguments.batch) continue;
        const Vector x0 = vector_at(arguments.clean, u64(slot.member) * n_free + k % n_free);
        const Vector noise = vector_at(normals, k);
        store_vector(arguments.positions, row, add(x0, scale(slot.sigma, noise)));
        store_vector(arguments.offset, row, offset_of(arguments, slot, k % n_free, x0, noise));
    }
}
