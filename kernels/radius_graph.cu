// The edges with a free atom of every structure, with all periodic images.
//
// A pair is a free atom i and an image of an atom j at 0 < d = |R_j + shift·cell − R_i| < cutoff. Atom j is a template atom, or a
// free atom that does not come before i. If i = j, one image of each opposite pair counts. Each pair is two directed edges that
// share a filter row. Pairs are ordered by i, j and shift, and the edges of a receiver by pair. This is the order of the CPU twin;
// it does not depend on the order of threads.
//
// CPU twin: FreeGraph and Levels in src/engine/cpu/graph.rs; images: src/system/images.rs.
#include "images.cuh"
#include "scan.cuh"

// Atoms count within the structure, the T template atoms first, then the n free ones; N = T + n. The part of structure s starts at
// s times the length in brackets. Everything but `overflow` is overwritten; slots without a pair or edge are not.
struct RadiusGraphArguments {
    CellConstants cell;
    // [S, n, 3] and [T, 3], Å.
    const double* positions;
    const double* template_positions;
    // Distance of every pair, Å: [S, max_pairs].
    float* distances;
    // Unit vector from i to j, and i | j << 16 as bits: [S, max_pairs].
    float4* pairs;
    // [S].
    unsigned* n_pairs;
    // First edge of every receiver within the structure's slots: [S, N + 1].
    unsigned* edge_starts;
    // Unit vector from receiver to sender, and the sender as bits: [S, 2·max_pairs].
    float4* edges;
    // The edge's pair within the structure: [S, 2·max_pairs].
    unsigned* edge_rows;
    // Atoms that are free or send to a free one, ascending, [S, N], and how many: [S].
    unsigned* neighbours;
    unsigned* n_neighbours;
    // Grows to the largest number of pairs that did not fit; such a structure gets no pairs: [1].
    unsigned* overflow;
    // Room for the counts if shared memory has none, else null: [S, 2·n·N + 1].
    unsigned* scratch;
    unsigned n_free, n_template, max_pairs;
};

__device__ __forceinline__ const double* position_of(const RadiusGraphArguments& arguments, const double* free_positions, unsigned atom) {
    const unsigned n_template = arguments.n_template;
    return atom < n_template ? arguments.template_positions + 3 * atom : free_positions + 3 * (atom - n_template);
}

// Images of one atom around another that belong to the graph; half of an atom's own images belong.
template <class Visit>
__device__ __forceinline__ void for_each_pair(const RadiusGraphArguments& arguments, const double* free_positions, const Folded* folded,
                                              unsigned f, unsigned j, Visit visit) {
    const unsigned n_template = arguments.n_template, i = n_template + f;
    const double* r_j = position_of(arguments, free_positions, j);
    for_each_within(arguments.cell, free_positions + 3 * f, folded[i], r_j, folded[j], [&](Shift shift) {
        const bool positive = shift.a != 0 ? shift.a > 0 : shift.b != 0 ? shift.b > 0 : shift.c > 0;
        if (i != j || positive) visit(shift);
    });
}

// One block a structure, whole warps; shared memory: N × Folded, WARP + (N + 1) × 2 unsigned, and another 2·n·N + 1 if `scratch` is
// null.
KERNEL(256, radius_graph, RadiusGraphArguments) {
    const unsigned n_free = arguments.n_free, n_template = arguments.n_template, n_atoms = n_template + n_free;
    const unsigned n_candidates = n_free * n_atoms, max_pairs = arguments.max_pairs;
    const u64 structure = blockIdx.x;
    const double* free_positions = arguments.positions + 3 * structure * n_free;

    Folded* folded = shared_memory<Folded>();
    unsigned* warp_sums = reinterpret_cast<unsigned*>(folded + n_atoms);
    unsigned* starts = warp_sums + WARP;
    unsigned* listed = starts + n_atoms + 1;
    // Candidate f·N + j is free atom f with atom j. Its first pair, and the number of pairs that the free atoms before f have with
    // j.
    unsigned* first_pair = arguments.scratch ? arguments.scratch + structure * (2 * u64(n_candidates) + 1) : listed + n_atoms + 1;
    unsigned* before = first_pair + n_candidates + 1;

    for (unsigned a = threadIdx.x; a < n_atoms; a += blockDim.x) {
        const Vector r = vector_at(position_of(arguments, free_positions, a), 0);
        folded[a] = fold(arguments.cell, sub(r, arguments.cell.origin));
    }
    __syncthreads();

    for (unsigned c = threadIdx.x; c < n_candidates; c += blockDim.x) {
        const unsigned f = c / n_atoms, j = c % n_atoms;
        unsigned count = 0;
        if (j < n_template || j >= n_template + f) {
            for_each_pair(arguments, free_positions, folded, f, j, [&](Shift) { ++count; });
        }
        first_pair[c] = count;
    }
    __syncthreads();
    unsigned n_pairs = exclusive_scan(first_pair, n_candidates, warp_sums);
    const bool fits = n_pairs <= max_pairs;
    if (!fits) {
        if (threadIdx.x == 0) atomicMax(arguments.overflow, n_pairs);
        n_pairs = 0;
    }

    // Number of edges that every atom receives.
    for (unsigned a = threadIdx.x; a < n_atoms; a += blockDim.x) {
        unsigned degree = 0;
        for (unsigned f = 0; f < n_free; ++f) {
            const unsigned c = f * n_atoms + a;
            before[c] = degree;
            degree += first_pair[c + 1] - first_pair[c];
        }
        if (a >= n_template) {
            const unsigned row = (a - n_template) * n_atoms;
            degree += first_pair[row + n_atoms] - first_pair[row];
        }
        starts[a] = fits ? degree : 0;
        listed[a] = a >= n_template || starts[a] > 0;
    }
    __syncthreads();
    exclusive_scan(starts, n_atoms, warp_sums);
    const unsigned n_listed = exclusive_scan(listed, n_atoms, warp_sums);
    unsigned* edge_starts = arguments.edge_starts + structure * (n_atoms + 1);
    unsigned* neighbours = arguments.neighbours + structure * n_atoms;
    for (unsigned a = threadIdx.x; a < n_atoms; a += blockDim.x) {
        edge_starts[a] = starts[a];
        if (listed[a + 1] > listed[a]) neighbours[listed[a]] = a;
    }
    if (threadIdx.x == 0) {
        edge_starts[n_atoms] = starts[n_atoms];
        arguments.n_pairs[structure] = n_pairs;
        arguments.n_neighbours[structure] = n_listed;
    }

    if (!fits) return;
    float* distances = arguments.distances + structure * max_pairs;
    float4* pairs = arguments.pairs + structure * max_pairs;
    float4* edges = arguments.edges + 2 * structure * max_pairs;
    unsigned* edge_rows = arguments.edge_rows + 2 * structure * max_pairs;
    for (unsigned c = threadIdx.x; c < n_candidates; c += blockDim.x) {
        unsigned pair = first_pair[c];
        if (first_pair[c + 1] == pair) continue;
        const unsigned f = c / n_atoms, j = c % n_atoms, i = n_template + f;
        // Edges that i receives earlier: as j of earlier free atoms, as i, and the backward ones of its own images.
        const unsigned own = f * n_atoms + i;
        unsigned received_i = starts[i] + before[own] + (pair - first_pair[f * n_atoms]);
        if (j > i) received_i += first_pair[own + 1] - first_pair[own];
        unsigned received_j = starts[j] + before[c];
        const Vector r_i = vector_at(free_positions, f);
        const Vector r_j = vector_at(position_of(arguments, free_positions, j), 0);
        for_each_pair(arguments, free_positions, folded, f, j, [&](Shift shift) {
            const Vector v = image_vector(arguments.cell, r_i, r_j, shift);
            const double distance = sqrt(dot(v, v)), per_distance = 1.0 / distance;
            const float x = float(v.x * per_distance), y = float(v.y * per_distance), z = float(v.z * per_distance);
            distances[pair] = float(distance);
            pairs[pair] = make_float4(x, y, z, __uint_as_float(i | j << 16));
            edges[received_i] = make_float4(x, y, z, __uint_as_float(j));
            edge_rows[received_i] = pair;
            const unsigned back = i == j ? received_i + 1 : received_j;
            edges[back] = make_float4(-x, -y, -z, __uint_as_float(i));
            edge_rows[back] = pair;
            ++pair;
            ++received_j;
            received_i += i == j ? 2 : 1;
        });
    }
}
