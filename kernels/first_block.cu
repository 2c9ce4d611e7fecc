// The part of the first block that all structures of a search share (μ = 0, and q is the species' embedding): the senders of every
// species, the message between template atoms, and the gradients of both. CPU twin: Network::prepare and Network::backward_shared
// in src/engine/cpu/network.rs.
//
// Shapes: N atoms of a structure, T of them template; P species; S structures; F features (a multiple of 4). Filter rows and senders are
// kept as Stored, float or Half (half.cuh).
#include "message.cuh"
#include "products.cuh"

template <class Stored>
struct SpeciesForward {
    const unsigned* numbers;     // [P] atomic numbers
    const unsigned* species_of;  // [N] species of every atom
    const float* embedding;      // [100][F]
    const float* context_1;      // [F in][F out]
    const float* bias_1;         // [F]
    const float* context_2;      // [F in][3F out]
    const float* bias_2;         // [3F]
    float* q;                    // writes [P][F]
    float* hidden;               // writes [P][F] before silu
    Stored* senders;             // writes [N][5F]
    float* start;                // writes [N][4F]: q, and μ = 0
    unsigned features;
    unsigned n_atoms;
};

template <class Stored>
__device__ __forceinline__ void send_species(const SpeciesForward<Stored>& a) {
    const unsigned f = a.features, p = blockIdx.x;
    float* q = shared_memory<float>();  // [F]
    float* hidden = q + f;              // [F]
    float* x = hidden + f;              // [3F]
    float* parts = x + 3 * f;           // [4·threads]
    for (unsigned c = threadIdx.x; c < f; c += blockDim.x) {
        q[c] = a.embedding[a.numbers[p] * f + c];
        if (blockIdx.y == 0) a.q[p * f + c] = q[c];
    }
    __syncthreads();
    row_product(q, f, a.context_1, f, parts, [&](unsigned column, float4 sum) {
        sum = add4(sum, load4(a.bias_1 + column));
        if (blockIdx.y == 0) store4(a.hidden + p * f + column, sum);
        store4(hidden + column, silu4(sum));
    });
    __syncthreads();
    row_product(hidden, f, a.context_2, 3 * f, parts,
                [&](unsigned column, float4 sum) { store4(x + column, add4(sum, load4(a.bias_2 + column))); });
    __syncthreads();
    // Every block of a species makes the same senders, and writes those of its share of the atoms.
    for (unsigned i = blockIdx.y; i < a.n_atoms; i += gridDim.y) {
        if (a.species_of[i] != p) continue;
        for (unsigned c = threadIdx.x; c < 5 * f; c += blockDim.x) {
            store1(a.senders[i * 5 * f + c], c < 2 * f ? x[c] : 0.0f);
            if (c < 4 * f) a.start[i * 4 * f + c] = c < f ? q[c] : 0.0f;
        }
    }
}

// Grid (P, shares of the atoms), 256 threads, 5·F + 4·256 floats of shared memory.
KERNEL(256, species_forward, SpeciesForward<float>) { send_species(arguments); }

KERNEL(256, species_forward_mixed, SpeciesForward<Half>) { send_species(arguments); }

template <class Stored>
struct FirstMessage {
    TemplateEdges template_edges;
    const Stored* senders;           // [N][5F]
    const Stored* template_filters;  // [rows][filter_stride], at the first block
    float* start;                    // [N][4F]; the rows of template atoms are added to
    unsigned features;
    unsigned n_template;
    unsigned filter_stride;
};

template <class Stored>
__device__ __forceinline__ void add_template_message(const FirstMessage<Stored>& a) {
    const unsigned f = a.features, i = (blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    if (i >= a.n_template) return;
    for (unsigned c = 2 * (threadIdx.x % WARP); c < f; c += 2 * WARP) {
        float* row = a.start + i * 4 * f + c;
        State2 state = {*reinterpret_cast<const float2*>(row), {zero2(), zero2(), zero2()}};
        receive_from_template(state, a.template_edges, i, a.senders + c, a.template_filters + c, a.filter_stride, f);
        store_state2(row, f, state);
    }
}

// The message between template atoms. Grid (⌈T/8⌉), 256 threads, one warp an atom.
KERNEL(256, first_message, FirstMessage<float>) { add_template_message(arguments); }

KERNEL(256, first_message_mixed, FirstMessage<Half>) { add_template_message(arguments); }

template <class Stored>
struct FirstBackward {
    FreeEdges free_edges;
    const float* d_middle;       // [S·N][4F] of the first block
    const Stored* free_filters;  // [S][max_pairs][filter_stride], at the first block
    float* d_start;              // writes [N][4F], summed over the structures
    float* d_x;                  // writes [N][2F] gradient of (x_q, x_R) from edges with free atoms
    unsigned features;
    unsigned n_atoms;
    unsigned n_structures;
    unsigned filter_stride;
    unsigned max_pairs;
};

template <class Stored>
__device__ __forceinline__ void sum_over_structures(const FirstBackward<Stored>& a) {
    const unsigned f = a.features, n = a.n_atoms, j = blockIdx.x;
    const unsigned warp = threadIdx.x / WARP, n_warps = blockDim.x / WARP;
    float* sums = shared_memory<float>();  // [warps][6F]
    for (unsigned c = 2 * (threadIdx.x % WARP); c < f; c += 2 * WARP) {
        State2 start = {zero2(), {zero2(), zero2(), zero2()}};
        SentGradient2 sent = {zero2(), zero2(), {zero2(), zero2(), zero2()}};
        for (unsigned s = warp; s < a.n_structures; s += n_warps) {
            const u64 slots = static_cast<u64>(s) * a.max_pairs;
            const float* d_middle = a.d_middle + static_cast<u64>(s) * n * 4 * f + c;
            const State2 own = load_state2(d_middle + j * 4 * f, f);
            add2(start.q, own.q);
            for (unsigned x = 0; x < 3; ++x) add2(start.mu[x], own.mu[x]);
            const unsigned* starts = a.free_edges.starts + s * (n + 1) + j;
            gather_over_free_edges(sent, a.free_edges.edges + 2 * slots, a.free_edges.rows + 2 * slots, starts[0],
                                   starts[1], d_middle, a.free_filters + slots * a.filter_stride + c, a.filter_stride,
                                   f);
        }
        float* mine = sums + warp * 6 * f + c;
        store_state2(mine, f, start);
        store2(mine + 4 * f, sent.q);
        store2(mine + 5 * f, sent.radial);
    }
    __syncthreads();
    for (unsigned c = threadIdx.x; c < 6 * f; c += blockDim.x) {
        float sum = 0.0f;
        for (unsigned w = 0; w < n_warps; ++w) sum += sums[w * 6 * f + c];
        if (c < 4 * f) {
            a.d_start[j * 4 * f + c] = sum;
        } else {
            a.d_x[j * 2 * f + c - 4 * f] = sum;
        }
    }
}

// Sums over the structures the gradients of an atom's start and of its senders. Grid (N), 256 threads, 8·6·F floats of shared
// memory.
KERNEL(256, first_backward, FirstBackward<float>) { sum_over_structures(arguments); }

KERNEL(256, first_backward_mixed, FirstBackward<Half>) { sum_over_structures(arguments); }

template <class Stored>
struct FirstTemplateBackward {
    TemplateEdges template_edges;
    const Stored* senders;           // [N][5F]
    const float* d_start;            // [N][4F] summed over the structures
    const Stored* template_filters;  // [rows][filter_stride], at the first block
    float* d_x;                      // [N][2F]; the rows of template atoms are added to
    float* d_template_filters;       // writes [blocks of the grid][n_filter_rows][3F]; null: not wanted
    unsigned features;
    unsigned n_template;
    unsigned filter_stride;
    unsigned n_filter_rows;
};

template <class Stored>
__device__ __forceinline__ void gather_template_message(const FirstTemplateBackward<Stored>& a) {
    const unsigned f = a.features, warp = threadIdx.x / WARP, n_warps = blockDim.x / WARP;
    const unsigned j = blockIdx.x * n_warps + warp, n_accumulated = a.n_filter_rows * 3 * f;
    const bool accumulate = a.d_template_filters != nullptr;
    float* d_filters = shared_memory<float>();  // [warps][n_filter_rows][3F]
    for (unsigned k = threadIdx.x; accumulate && k < n_warps * n_accumulated; k += blockDim.x) d_filters[k] = 0.0f;
    __syncthreads();
    for (unsigned c = 2 * (threadIdx.x % WARP); j < a.n_template && c < f; c += 2 * WARP) {
        const Sender2 sender = load_sender2(a.senders + j * 5 * f + c, f);
        SentGradient2 sent = {zero2(), zero2(), {zero2(), zero2(), zero2()}};
        gather_from_template(sent, a.template_edges, j, a.d_start + c, a.template_filters + c, a.filter_stride, f, sender,
                             accumulate ? d_filters + warp * n_accumulated + c : nullptr);
        float2* d_x = reinterpret_cast<float2*>(a.d_x + j * 2 * f + c);
        add2(d_x[0], sent.q);
        add2(d_x[f / 2], sent.radial);
    }
    __syncthreads();
    for (unsigned k = threadIdx.x; accumulate && k < n_accumulated; k += blockDim.x) {
        float sum = 0.0f;
        for (unsigned w = 0; w < n_warps; ++w) sum += d_filters[w * n_accumulated + k];
        a.d_template_filters[blockIdx.x * n_accumulated + k] = sum;
    }
}

// Gradient of the message between template atoms. Grid (⌈T/8⌉), 256 threads, one warp an atom; 8·n_filter_rows·3F floats of shared
// memory if the gradient of the filters is wanted.
KERNEL(256, first_template_backward, FirstTemplateBackward<float>) { gather_template_message(arguments); }

KERNEL(256, first_template_backward_mixed, FirstTemplateBackward<Half>) { gather_template_message(arguments); }

struct SpeciesBackward {
    const unsigned* numbers;     // [P]
    const unsigned* species_of;  // [N]
    const float* d_start;        // [N][4F]
    const float* d_x;            // [N][2F]
    const float* hidden;         // [P][F] before silu
    const float* context_1;      // [F out][F in]
    const float* context_2;      // [3F out][F in]
    float* d_species_x;          // writes [P][3F]; the part of μ is 0
    float* d_hidden;             // writes [P][F]
    float* d_embedding;          // writes rows of [100][F]: the first slice of the gradient
    unsigned features;
    unsigned n_atoms;
};

// Atoms whose gradients a thread has in flight.
constexpr unsigned ATOMS = 4;

// Gradient of a species' senders and embedding. Grid (P), 256 threads, 5·F + 4·256 floats of shared memory.
KERNEL(256, species_backward, SpeciesBackward) {
    const SpeciesBackward& a = arguments;
    const unsigned f = a.features, n = a.n_atoms, p = blockIdx.x;
    float* d_x = shared_memory<float>();  // [3F]
    float* d_hidden = d_x + 3 * f;        // [F]
    float* d_q = d_hidden + f;            // [F]
    float* parts = d_q + f;               // [4·threads]
    // Four channels of d_x or of d q a thread, and a share of the atoms; then the shares in order.
    const unsigned n_quads = 3 * f / 4, n_shares = blockDim.x / n_quads;
    const unsigned share = threadIdx.x / n_quads, c = threadIdx.x % n_quads * 4;
    if (share < n_shares) {
        const bool is_x = c < 2 * f;
        const float* row = is_x ? a.d_x + c : a.d_start + c - 2 * f;
        const unsigned stride = (is_x ? 2 : 4) * f;
        float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        for (unsigned first = share; first < n; first += ATOMS * n_shares) {
            float4 of_atom[ATOMS];
            bool is_own[ATOMS];
#pragma unroll
            for (unsigned k = 0; k < ATOMS; ++k) {
                const unsigned i = min(first + k * n_shares, n - 1);
                is_own[k] = first + k * n_shares < n && __ldg(a.species_of + i) == p;
                of_atom[k] = __ldg(reinterpret_cast<const float4*>(row + static_cast<u64>(i) * stride));
            }
#pragma unroll
            for (unsigned k = 0; k < ATOMS; ++k) {
                sum = is_own[k] ? add4(sum, of_atom[k]) : sum;
            }
        }
        store4(parts + share * 3 * f + c, sum);
    }
    __syncthreads();
    for (unsigned k = threadIdx.x; k < 3 * f; k += blockDim.x) {
        float sum = 0.0f;
        for (unsigned s = 0; s < n_shares; ++s) sum += parts[s * 3 * f + k];
        d_x[k] = k < 2 * f ? sum : 0.0f;
        a.d_species_x[p * 3 * f + k] = d_x[k];
        if (k >= 2 * f) d_q[k - 2 * f] = sum;
    }
    __syncthreads();
    row_product(d_x, 3 * f, a.context_2, f, parts, [&](unsigned column, float4 sum) {
        sum = silu_gradient4(sum, load4(a.hidden + p * f + column));
        store4(a.d_hidden + p * f + column, sum);
        store4(d_hidden + column, sum);
    });
    __syncthreads();
    row_product(d_hidden, f, a.context_1, f, parts, [&](unsigned column, float4 sum) {
        store4(a.d_embedding + a.numbers[p] * f + column, add4(sum, load4(d_q + column)));
    });
}
