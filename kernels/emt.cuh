// Effective medium theory (K. W. Jacobsen, P. Stoltze and J. K. Nørskov, Surf. Sci. 366, 394, 1996) of one structure by one
// block, in f64. Pairs between template atoms are not computed: their share is constant, and comes from the CPU.
//
// With n_i = Σ_j ρ_j(r_ij) the density at atom i, the energy is Σ_i F_i(n_i) + Σ_{i<j} φ_ij(r_ij). A pair's terms are computed once
// and kept. Each atom gathers them in a fixed order, so sums do not depend on the order of threads.
//
// CPU twins: Model in src/potential/emt/elements.rs, TemplateShare in src/potential/emt/template_share.rs.
#pragma once

#include "images.cuh"
#include "scan.cuh"
#include "sums.cuh"

// Constants of an element for one cutoff. The CPU uses the same structure (src/potential/emt/elements.rs makes it).
struct EmtElement {
    double density;              // P, 1/Å³
    double density_decay;        // η, 1/Å
    double tail;                 // T, 1/Å³
    double tail_decay;           // k, 1/Å
    double tail_weight;          // u, eV·Å³
    double equilibrium_density;  // density in the equilibrium crystal, 1/Å³
    double cohesive;             // E0, eV
    double cohesive_shape;       // λ/(βη), so that λ·δs = −shape·ln(n/n_eq)
    double repulsive;            // 6 V0, eV
    double repulsive_shape;      // κ/(βη), so that κ·δs = −shape·ln(n/n_eq)
};

// T template atoms, then n free ones; N = T + n. Constant for all structures.
struct EmtSystem {
    // The cutoff is the model's range, Å.
    CellConstants cell;
    // Cutoff function: ½ at `midpoint` (Å), `steepness` (1/Å), 1 below `plateau` (Å).
    double midpoint, steepness, plateau;
    // Pair energy within the template and of free atoms with their own images, eV.
    double pair_energy;
    // [T, 3], Å.
    const double* template_positions;
    const EmtElement* elements;
    // Place among the elements, [N].
    const unsigned* element_of;
    // Density from the template at its atoms, and from their own images at free ones, [N], 1/Å³.
    const double* density;
    // F (eV) and F' (eV·Å³) of the template atoms at that density, [T].
    const double2* embedding;
    // Forces of the template alone, [T, 3], eV/Å.
    const double* forces;
    // Σ_j ∂n_i/∂R_j, [T, 3], 1/Å⁴.
    const double* gradient_sum;
    // For each template atom j the template atoms i whose density it changes: their start, [T + 1], the atoms, and ∂n_i/∂R_j, 1/Å⁴.
    const unsigned* gradient_starts;
    const unsigned* gradient_atoms;
    const double* gradients;
    unsigned n_free, n_template;
};

// Rows kept for every pair: unit vector from i to j, ∂φ/∂r (eV/Å), ∂n_i/∂r and ∂n_j/∂r (1/Å⁴), n_i and n_j (1/Å³).
constexpr unsigned EMT_X = 0, EMT_Y = 1, EMT_Z = 2, EMT_ENERGY_SLOPE = 3, EMT_DENSITY_SLOPE = 4, EMT_DENSITY = 6, EMT_TERMS = 8;

// Buffers in device memory. The part of structure s starts at s times the length in brackets. Everything is overwritten.
struct EmtRoom {
    // f | j << 16, and the shift, of every pair of free atom f with atom j: [S, max_pairs].
    uint4* pairs;
    // [S, EMT_TERMS, max_pairs].
    double* terms;
    // Grows to the largest number of pairs that did not fit: [1].
    unsigned* overflow;
    // Room for the counts if shared memory has none, else null: [S, n·N + 1].
    unsigned* scratch;
    unsigned max_pairs;
};

// Shared memory of a block, from `start` on: WARP and N doubles, N × Folded, WARP unsigned, and n·N + 1 without scratch.
struct EmtShared {
    double* sums;
    // F' of every atom, eV·Å³.
    double* slope;
    Folded* folded;
    unsigned* warp_sums;
    // First pair of every candidate; candidate f·N + j is free atom f with atom j.
    unsigned* first_pair;
};

__device__ __forceinline__ EmtShared emt_shared(const EmtSystem& system, const EmtRoom& room, u64 structure, double* start) {
    const unsigned n_atoms = system.n_template + system.n_free;
    EmtShared shared;
    shared.sums = start;
    shared.slope = shared.sums + WARP;
    shared.folded = reinterpret_cast<Folded*>(shared.slope + n_atoms);
    shared.warp_sums = reinterpret_cast<unsigned*>(shared.folded + n_atoms);
    shared.first_pair =
        room.scratch ? room.scratch + structure * (u64(system.n_free) * n_atoms + 1) : shared.warp_sums + WARP;
    return shared;
}

// Density (1/Å³) and tail (1/Å³) of an atom at distance r, if the cutoff function is w there.
struct EmtSpread {
    double density, tail;
};

__device__ __forceinline__ EmtSpread emt_spread(const EmtElement& element, double w, double r) {
    return {w * element.density * exp(-element.density_decay * r), w * element.tail * exp(-element.tail_decay * r)};
}

// F(n), eV, and F'(n), eV·Å³.
__device__ __forceinline__ double2 emt_embed(const EmtElement& element, double n) {
    if (n == 0.0) return make_double2(-element.cohesive, 0.0);
    const double logarithm = log(n / element.equilibrium_density);
    const double x = -element.cohesive_shape * logarithm;
    const double cohesive = element.cohesive * exp(-x);
    const double repulsive = element.repulsive * exp(element.repulsive_shape * logarithm);
    return make_double2(cohesive * (1.0 + x) + repulsive - element.cohesive,
                        (cohesive * x * element.cohesive_shape + repulsive * element.repulsive_shape) / n);
}

__device__ __forceinline__ const double* emt_position(const EmtSystem& system, const double* free_positions, unsigned atom) {
    return atom < system.n_template ? system.template_positions + 3 * atom : free_positions + 3 * (atom - system.n_template);
}

// Calls visit(shift) for every image of atom j within range of free atom f, which is another atom. `coincident` becomes true if an
// image lies on f.
template <class Visit>
__device__ __forceinline__ void emt_for_each_image(const EmtSystem& system, const double* free_positions, const Folded* folded,
                                                   unsigned f, unsigned j, bool& coincident, Visit visit) {
    const double *r_i = free_positions + 3 * f, *r_j = emt_position(system, free_positions, j);
    for_each_near(system.cell, r_i, folded[system.n_template + f], r_j, folded[j], [&](Shift shift, bool sure) {
        if (!sure) {
            const Vector v = image_vector(system.cell, vector_at(r_i, 0), vector_at(r_j, 0), shift);
            const double squared = dot(v, v);
            if (!(squared < system.cell.cutoff * system.cell.cutoff)) return;
            if (squared == 0.0) {
                coincident = true;
                return;
            }
        }
        visit(shift);
    });
}

// Computes the terms of pair p; returns its energy, eV.
__device__ __forceinline__ double emt_pair(const EmtSystem& system, const double* free_positions, uint4 pair, double* terms,
                                           unsigned max_pairs, unsigned p) {
    const unsigned f = pair.x & 0xffffu, j = pair.x >> 16;
    const Shift shift = {int(pair.y), int(pair.z), int(pair.w)};
    const Vector r_i = vector_at(free_positions, f), r_j = vector_at(emt_position(system, free_positions, j), 0);
    const Vector v = image_vector(system.cell, r_i, r_j, shift);
    const double r = sqrt(dot(v, v));
    const Vector unit = scale(1.0 / r, v);
    double w = 1.0, fall = 0.0;
    if (r >= system.plateau) {
        w = 1.0 / (1.0 + exp(system.steepness * (r - system.midpoint)));
        fall = system.steepness * (w - 1.0);
    }
    const unsigned element_i = system.element_of[system.n_template + f], element_j = system.element_of[j];
    const EmtElement& a = system.elements[element_i];
    const EmtElement& b = system.elements[element_j];
    const EmtSpread spread_j = emt_spread(b, w, r);
    const EmtSpread spread_i = element_i == element_j ? spread_j : emt_spread(a, w, r);
    const double energy_i = b.tail_weight * spread_i.tail, energy_j = a.tail_weight * spread_j.tail;
    terms[EMT_X * max_pairs + p] = unit.x;
    terms[EMT_Y * max_pairs + p] = unit.y;
    terms[EMT_Z * max_pairs + p] = unit.z;
    terms[EMT_ENERGY_SLOPE * max_pairs + p] = energy_i * (fall - a.tail_decay) + energy_j * (fall - b.tail_decay);
    terms[EMT_DENSITY_SLOPE * max_pairs + p] = spread_j.density * (fall - b.density_decay);
    terms[(EMT_DENSITY_SLOPE + 1) * max_pairs + p] = spread_i.density * (fall - a.density_decay);
    terms[EMT_DENSITY * max_pairs + p] = spread_j.density;
    terms[(EMT_DENSITY + 1) * max_pairs + p] = spread_i.density;
    return energy_i + energy_j;
}

// Calls visit(pair, second) for the pairs of `atom`, split among TEAM lanes; this lane is number `member`. `second` is 1 if the
// atom is the second of the pair.
template <unsigned TEAM, class Visit>
__device__ __forceinline__ void emt_for_each_pair_of(const EmtSystem& system, const unsigned* first_pair, unsigned atom,
                                                     unsigned member, Visit visit) {
    const unsigned n_template = system.n_template, n_atoms = n_template + system.n_free;
    const unsigned n_before = atom < n_template ? system.n_free : atom - n_template;
    for (unsigned f = member; f < n_before; f += TEAM) {
        const unsigned candidate = f * n_atoms + atom;
        for (unsigned p = first_pair[candidate]; p < first_pair[candidate + 1]; ++p) visit(p, 1u);
    }
    if (atom >= n_template) {
        const unsigned row = (atom - n_template) * n_atoms;
        for (unsigned p = first_pair[row] + member; p < first_pair[row + n_atoms]; p += TEAM) visit(p, 0u);
    }
}

// The density at `atom` from its pairs, 1/Å³, in all lanes of the team.
template <unsigned TEAM>
__device__ __forceinline__ double emt_density(const EmtSystem& system, const unsigned* first_pair, const double* terms,
                                              unsigned max_pairs, unsigned atom, bool is_atom) {
    double density = 0.0;
    if (is_atom) {
        emt_for_each_pair_of<TEAM>(system, first_pair, atom, threadIdx.x % TEAM, [&](unsigned p, unsigned second) {
            density += terms[(EMT_DENSITY + second) * max_pairs + p];
        });
    }
    return team_sum<TEAM>(density);
}

// This lane's share of the force on `atom` from its pairs, eV/Å.
template <unsigned TEAM>
__device__ __forceinline__ Vector emt_pull(const EmtSystem& system, const unsigned* first_pair, const uint4* pairs,
                                           const double* terms, unsigned max_pairs, const double* slope, unsigned atom) {
    Vector force = {0.0, 0.0, 0.0};
    emt_for_each_pair_of<TEAM>(system, first_pair, atom, threadIdx.x % TEAM, [&](unsigned p, unsigned second) {
        const unsigned i = system.n_template + (pairs[p].x & 0xffffu), j = pairs[p].x >> 16;
        const double pull = terms[EMT_ENERGY_SLOPE * max_pairs + p] +
                            slope[i] * terms[EMT_DENSITY_SLOPE * max_pairs + p] +
                            slope[j] * terms[(EMT_DENSITY_SLOPE + 1) * max_pairs + p];
        const Vector unit = {terms[EMT_X * max_pairs + p], terms[EMT_Y * max_pairs + p], terms[EMT_Z * max_pairs + p]};
        force = add(force, scale(second ? -pull : pull, unit));
    });
    return force;
}

template <unsigned TEAM>
__device__ __forceinline__ Vector emt_team_sum(Vector v) {
    return {team_sum<TEAM>(v.x), team_sum<TEAM>(v.y), team_sum<TEAM>(v.z)};
}

// Computes the energy (eV, in all threads) and the forces of `structure` with its free atoms at `free_positions` (Å). Forces (eV/Å)
// are those on the free atoms, and if `template_forces` is not null those on the template atoms too. If two atoms share one place,
// the energy is infinite and the forces are NaN. If a position is not finite, energy and forces are not finite either. If there are
// more pairs than slots, it returns false and writes only the overflow. Every thread of the block takes part; after a barrier all
// see the forces. Shared memory from `shared_start` on is that of EmtShared.
__device__ __forceinline__ bool emt_evaluate(const EmtSystem& system, const EmtRoom& room, u64 structure,
                                             double* shared_start, const double* free_positions, double* free_forces,
                                             double* template_forces, double& energy) {
    const unsigned n_free = system.n_free, n_template = system.n_template, n_atoms = n_template + n_free;
    const unsigned n_candidates = n_free * n_atoms, max_pairs = room.max_pairs;
    const EmtShared shared = emt_shared(system, room, structure, shared_start);
    uint4* pairs = room.pairs + structure * max_pairs;
    double* terms = room.terms + structure * EMT_TERMS * max_pairs;

    bool finite = true;
    for (unsigned a = threadIdx.x; a < n_atoms; a += blockDim.x) {
        const Vector r = vector_at(emt_position(system, free_positions, a), 0);
        finite = finite && isfinite(r.x) && isfinite(r.y) && isfinite(r.z);
        shared.folded[a] = fold(system.cell, sub(r, system.cell.origin));
    }
    const bool undefined = __syncthreads_or(!finite);

    bool coincident = false;
    for (unsigned c = threadIdx.x; c < n_candidates && !undefined; c += blockDim.x) {
        const unsigned f = c / n_atoms, j = c % n_atoms;
        unsigned count = 0;
        if (j < n_template || j > n_template + f) {
            emt_for_each_image(system, free_positions, shared.folded, f, j, coincident, [&](Shift) { ++count; });
        }
        shared.first_pair[c] = count;
    }
    coincident = __syncthreads_or(coincident);
    if (undefined || coincident) {
        const double nowhere = __longlong_as_double(0x7ff8000000000000ll);
        for (unsigned k = threadIdx.x; k < 3 * n_free; k += blockDim.x) free_forces[k] = nowhere;
        for (unsigned k = threadIdx.x; template_forces && k < 3 * n_template; k += blockDim.x) template_forces[k] = nowhere;
        energy = undefined ? nowhere : __longlong_as_double(0x7ff0000000000000ll);
        return true;
    }
    const unsigned n_pairs = exclusive_scan(shared.first_pair, n_candidates, shared.warp_sums);
    if (n_pairs > max_pairs) {
        if (threadIdx.x == 0) atomicMax(room.overflow, n_pairs);
        return false;
    }
    for (unsigned c = threadIdx.x; c < n_candidates; c += blockDim.x) {
        unsigned p = shared.first_pair[c];
        if (shared.first_pair[c + 1] == p) continue;
        const unsigned f = c / n_atoms, j = c % n_atoms;
        emt_for_each_image(system, free_positions, shared.folded, f, j, coincident, [&](Shift shift) {
            pairs[p++] = make_uint4(f | j << 16, unsigned(shift.a), unsigned(shift.b), unsigned(shift.c));
        });
    }
    __syncthreads();

    double own_energy = 0.0;
    for (unsigned p = threadIdx.x; p < n_pairs; p += blockDim.x) {
        own_energy += emt_pair(system, free_positions, pairs[p], terms, max_pairs, p);
    }
    __syncthreads();

    constexpr unsigned TEAM = 4;
    const unsigned team = threadIdx.x / TEAM, n_teams = blockDim.x / TEAM;
    const unsigned warp = threadIdx.x / WARP, n_warps = blockDim.x / WARP;
    for (unsigned first = 0; first < n_template; first += n_teams) {
        const unsigned a = first + team;
        const bool is_atom = a < n_template;
        const double density = emt_density<TEAM>(system, shared.first_pair, terms, max_pairs, a, is_atom);
        if (is_atom && threadIdx.x % TEAM == 0) {
            // A template atom out of reach of the free atoms keeps its embedding.
            const double2 embedding = density == 0.0
                                          ? system.embedding[a]
                                          : emt_embed(system.elements[system.element_of[a]], system.density[a] + density);
            own_energy += embedding.x;
            shared.slope[a] = embedding.y;
        }
    }
    for (unsigned f = warp; f < n_free; f += n_warps) {
        const unsigned a = n_template + f;
        const double density = emt_density<WARP>(system, shared.first_pair, terms, max_pairs, a, true);
        if (threadIdx.x % WARP == 0) {
            const double2 embedding = emt_embed(system.elements[system.element_of[a]], system.density[a] + density);
            own_energy += embedding.x;
            shared.slope[a] = embedding.y;
        }
    }
    energy = system.pair_energy + block_sum(own_energy, shared.sums);

    for (unsigned f = warp; f < n_free; f += n_warps) {
        const Vector force = emt_team_sum<WARP>(
            emt_pull<WARP>(system, shared.first_pair, pairs, terms, max_pairs, shared.slope, n_template + f));
        if (threadIdx.x % WARP == 0) store_vector(free_forces, f, force);
    }
    for (unsigned first = 0; template_forces && first < n_template; first += n_teams) {
        const unsigned a = first + team, member = threadIdx.x % TEAM;
        Vector force = {0.0, 0.0, 0.0};
        if (a < n_template) {
            force = emt_pull<TEAM>(system, shared.first_pair, pairs, terms, max_pairs, shared.slope, a);
            // The force of a density on an atom is −F'(n_i)·∂n_i/∂R. With the template's own F' it is already in the template's
            // forces.
            for (unsigned k = system.gradient_starts[a] + member; k < system.gradient_starts[a + 1]; k += TEAM) {
                const unsigned i = system.gradient_atoms[k];
                const double change = shared.slope[i] - system.embedding[i].y;
                if (change != 0.0) force = sub(force, scale(change, vector_at(system.gradients, k)));
            }
            if (member == 0) {
                const double change = shared.slope[a] - system.embedding[a].y;
                force = add(force, add(vector_at(system.forces, a), scale(change, vector_at(system.gradient_sum, a))));
            }
        }
        force = emt_team_sum<TEAM>(force);
        if (a < n_template && member == 0) store_vector(template_forces, a, force);
    }
    return true;
}
