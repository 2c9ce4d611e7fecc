// Filters W = (A φ(d) + b)·f(d) of edges, for all blocks at once, and the gradient of filter rows. CPU twin:
// src/engine/cpu/filters.rs.
//
// With Φ = [f φ_1 … f φ_K | f | 0…] (one row an edge, n_columns a multiple of 4) and A extended by b as a column, W = Φ·Aᵀ. A filter
// row is [block][q, R, μ][F], filter_stride = 3·F·L long. Filter rows and senders are kept as Stored, float or Half (half.cuh).
#include "message.cuh"
#include "products.cuh"

// Radial functions below this are taken as 0, as on the CPU.
constexpr float NEGLIGIBLE = 1e-30f;

// Rows a block computes.
constexpr unsigned FILTER_TILE = 32;

template <class Stored>
struct FiltersForward {
    const float* free_distances;      // [S][max_pairs], Å
    const unsigned* n_pairs;          // [S]
    const float* template_distances;  // [n_template_rows], Å
    const float* offsets;             // [K] centres of the radial functions, Å
    const float* widths;              // [K], Å
    const float* weights;             // [n_columns][filter_stride]
    float* free_phi;                  // writes [S][max_pairs][n_columns]; null: not kept
    float* template_phi;              // writes [n_template_rows][n_columns]
    Stored* free_rows;                // writes [S][max_pairs][filter_stride]
    Stored* template_rows;            // writes [n_template_rows][filter_stride]
    unsigned n_structures;            // 0: the template's rows alone
    unsigned max_pairs;
    unsigned n_template_rows;         // 0: those of free edges alone
    unsigned n_radial;                // K
    unsigned n_columns;
    unsigned filter_stride;
    float cutoff;  // Å
};

template <class Stored>
__device__ __forceinline__ void filter_tile(const FiltersForward<Stored>& a) {
    const unsigned s = blockIdx.y, first = blockIdx.x * FILTER_TILE, m = a.n_columns;
    const bool is_template = s == a.n_structures;
    const unsigned n_rows = is_template ? a.n_template_rows : a.n_pairs[s];
    if (first >= n_rows) return;
    const unsigned count = min(n_rows - first, FILTER_TILE);
    const u64 first_row = is_template ? first : static_cast<u64>(s) * a.max_pairs + first;
    const float* distances = (is_template ? a.template_distances : a.free_distances) + first_row;
    float* phi_out = is_template ? a.template_phi : a.free_phi;
    Stored* rows_out = (is_template ? a.template_rows : a.free_rows) + first_row * a.filter_stride;

    float* phi = shared_memory<float>();  // [32][n_columns]
    for (unsigned item = threadIdx.x; item < FILTER_TILE * m; item += blockDim.x) {
        const unsigned r = item / m, k = item % m;
        float value = 0.0f;
        if (r < count && k <= a.n_radial) {
            const float d = distances[r];
            value = 0.5f * (cospif(d / a.cutoff) + 1.0f);
            if (k < a.n_radial) {
                const float z = (d - a.offsets[k]) / a.widths[k];
                value *= expf(-0.5f * z * z);
                if (value < NEGLIGIBLE) value = 0.0f;
            }
        }
        phi[item] = value;
        if (r < count && phi_out != nullptr) phi_out[(first_row + r) * m + k] = value;
    }
    __syncthreads();
    tile_product<8>(phi, 8 * m, m, FILTER_TILE / 8, m, a.weights, a.filter_stride,
                    [&](unsigned group, unsigned r, unsigned column, float4 sum) {
                        const unsigned row = 8 * group + r;
                        if (row < count) store4(rows_out + static_cast<u64>(row) * a.filter_stride + column, sum);
                    });
}

// Grid (⌈longest/32⌉, S + 1 with the template, S without), 256 threads, 32·n_columns floats of shared memory.
KERNEL(256, filters_forward, FiltersForward<float>) { filter_tile(arguments); }

KERNEL(256, filters_forward_mixed, FiltersForward<Half>) { filter_tile(arguments); }

// Gradient of the filter row of a pair in two channels: the messages that i received from j along the unit vector, and that j
// received from i against it.
struct FilterGradient2 {
    float2 q;
    float2 radial;
    float2 mu;
};

__device__ __forceinline__ void add_direction(FilterGradient2& d_w, const State2& d, const Sender2& x,
                                              const float unit[3]) {
    add_product2(d_w.q, d.q, x.q);
    for (unsigned k = 0; k < 3; ++k) {
        add_product2(d_w.radial, make_float2(unit[k] * d.mu[k].x, unit[k] * d.mu[k].y), x.radial);
        add_product2(d_w.mu, d.mu[k], x.y[k]);
    }
}

// Gradients d middle and senders of one block, for kernels that run over blocks.
template <class Stored>
struct BlockGradient {
    const float* d_middle;  // [S·N][4F], or [N][4F] summed over the structures in the first block for template edges
    const Stored* senders;       // [S·N][5F], in the first block [N][5F]
};

// Most blocks of a model on the GPU.
constexpr unsigned MAX_BLOCKS = 16;

template <class Stored>
struct PairFilterGradient {
    const float4* pairs;      // [S][max_pairs] {unit vector from i to j, i | j·2^16 as integer bits}
    const unsigned* n_pairs;  // [S]
    float* d_rows;            // writes [S][max_pairs][filter_stride]
    BlockGradient<Stored> blocks[MAX_BLOCKS];
    unsigned features;
    unsigned n_atoms;
    unsigned n_structures;
    unsigned max_pairs;
    unsigned filter_stride;
};

template <class Stored>
__device__ __forceinline__ void add_pair_directions(const PairFilterGradient<Stored>& a) {
    const unsigned f = a.features, s = blockIdx.y % a.n_structures, l = blockIdx.y / a.n_structures;
    const unsigned p = (blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    if (p >= a.n_pairs[s]) return;
    const u64 slot = static_cast<u64>(s) * a.max_pairs + p, first_row = static_cast<u64>(s) * a.n_atoms;
    const float4 pair = __ldg(a.pairs + slot);
    const unsigned i = __float_as_uint(pair.w) & 0xffff, j = __float_as_uint(pair.w) >> 16;
    const float forth[3] = {pair.x, pair.y, pair.z}, back[3] = {-pair.x, -pair.y, -pair.z};
    for (unsigned c = 2 * (threadIdx.x % WARP); c < f; c += 2 * WARP) {
        const float* d_middle = a.blocks[l].d_middle + first_row * 4 * f + c;
        const Stored* senders = a.blocks[l].senders + (l == 0 ? 0 : first_row * 5 * f) + c;
        FilterGradient2 d_w = {zero2(), zero2(), zero2()};
        add_direction(d_w, load_state2(d_middle + i * 4 * f, f), load_sender2(senders + j * 5 * f, f), forth);
        add_direction(d_w, load_state2(d_middle + j * 4 * f, f), load_sender2(senders + i * 5 * f, f), back);
        float* out = a.d_rows + slot * a.filter_stride + l * 3 * f + c;
        store2(out, d_w.q);
        store2(out + f, d_w.radial);
        store2(out + 2 * f, d_w.mu);
    }
}

// Gradient of the filter rows of edges with free atoms. Grid (⌈max_pairs/8⌉, L·S), 256 threads, one warp a pair.
KERNEL(256, pair_filter_gradient, PairFilterGradient<float>) { add_pair_directions(arguments); }

KERNEL(256, pair_filter_gradient_mixed, PairFilterGradient<Half>) { add_pair_directions(arguments); }

template <class Stored>
struct TemplateFilterGradient {
    const unsigned* row_starts;  // [n_template_rows + 1]
    const float4* edges;         // {unit vector from receiver to sender, receiver | sender·2^16 as integer bits}, by row
    float* d_rows;               // writes [n_template_rows][filter_stride]
    BlockGradient<Stored> blocks[MAX_BLOCKS];
    unsigned features;
    unsigned n_atoms;
    unsigned n_structures;
    unsigned n_template_rows;
    unsigned n_blocks;
    unsigned filter_stride;
};

template <class Stored>
__device__ __forceinline__ void sum_row_directions(const TemplateFilterGradient<Stored>& a) {
    const unsigned f = a.features, r = blockIdx.x, l = blockIdx.y;
    const unsigned warp = threadIdx.x / WARP, n_warps = blockDim.x / WARP;
    // The last block's receivers are free atoms; the first block's gradients are already summed over the structures.
    const bool takes_part = l == 0 || l + 1 < a.n_blocks;
    const unsigned n_structures = l == 0 ? 1 : a.n_structures;
    const unsigned first = a.row_starts[r], n_edges = a.row_starts[r + 1] - first;
    float* sums = shared_memory<float>();  // [warps][3F]
    for (unsigned c = 2 * (threadIdx.x % WARP); c < f; c += 2 * WARP) {
        FilterGradient2 d_w = {zero2(), zero2(), zero2()};
        for (unsigned item = warp; takes_part && item < n_edges * n_structures; item += n_warps) {
            const unsigned s = item / n_edges;
            const float4 edge = __ldg(a.edges + first + item % n_edges);
            const unsigned i = __float_as_uint(edge.w) & 0xffff, j = __float_as_uint(edge.w) >> 16;
            const float unit[3] = {edge.x, edge.y, edge.z};
            const u64 first_row = static_cast<u64>(s) * a.n_atoms;
            add_direction(d_w, load_state2(a.blocks[l].d_middle + (first_row + i) * 4 * f + c, f),
                          load_sender2(a.blocks[l].senders + (first_row + j) * 5 * f + c, f), unit);
        }
        float* mine = sums + warp * 3 * f + c;
        store2(mine, d_w.q);
        store2(mine + f, d_w.radial);
        store2(mine + 2 * f, d_w.mu);
    }
    __syncthreads();
    for (unsigned c = threadIdx.x; c < 3 * f; c += blockDim.x) {
        float sum = 0.0f;
        for (unsigned w = 0; w < n_warps; ++w) sum += sums[w * 3 * f + c];
        a.d_rows[static_cast<u64>(r) * a.filter_stride + l * 3 * f + c] = sum;
    }
}

// Gradient of the filter rows of template edges if there are many rows: each row sums over its edges and the structures. Grid
// (n_template_rows, L), 256 threads, 8·3·F floats of shared memory.
KERNEL(256, template_filter_gradient, TemplateFilterGradient<float>) { sum_row_directions(arguments); }

KERNEL(256, template_filter_gradient_mixed, TemplateFilterGradient<Half>) { sum_row_directions(arguments); }

struct TemplateFilterSum {
    const float* shares[MAX_BLOCKS];  // [n_shares][n_template_rows][3F]; null: the block's template atoms took no part
    float* d_rows;                    // writes [n_template_rows][filter_stride]
    unsigned n_shares[MAX_BLOCKS];
    unsigned features;
    unsigned n_template_rows;
    unsigned n_blocks;
    unsigned filter_stride;
};

// The same if there are few rows: it sums the shares of block_backward and first_template_backward, in their order. Grid
// (⌈n_template_rows·3F/32⌉, L), 256 threads, 8·32 floats of shared memory.
KERNEL(256, template_filter_sum, TemplateFilterSum) {
    const TemplateFilterSum& a = arguments;
    const unsigned l = blockIdx.y, n = a.n_template_rows * 3 * a.features;
    const unsigned warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, n_warps = blockDim.x / WARP;
    const unsigned k = blockIdx.x * WARP + lane;
    float* sums = shared_memory<float>();  // [warps][32]
    float sum = 0.0f;
    if (k < n && a.shares[l] != nullptr) {
        for (unsigned share = warp; share < a.n_shares[l]; share += n_warps) {
            sum += __ldg(a.shares[l] + static_cast<u64>(share) * n + k);
        }
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (warp != 0 || k >= n) return;
    for (unsigned w = 1; w < n_warps; ++w) sum += sums[w * WARP + lane];
    a.d_rows[static_cast<u64>(k / (3 * a.features)) * a.filter_stride + l * 3 * a.features + k % (3 * a.features)] = sum;
}
