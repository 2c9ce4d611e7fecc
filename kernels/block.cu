// One block of PaiNN for a tile of atoms: message, update, and the network that makes the next block's senders; and its gradient.
//
// [V|U] = M μ, (a_qq, a_μμ, a_qμ) = W₂·silu(W₁[q | ‖V‖] + b₁) + b₂, q += a_qq + a_qμ⊙⟨V,U⟩, μ += a_μμ⊙U with
// ‖V‖ = sqrt(Σ V² + 1e-8); senders x = C₂·silu(C₁q + c₁) + c₂ (arXiv:2102.03150, eqs. 7 to 10, in SchNetPack's form).
// CPU twins: src/engine/cpu/{message,update,linear}.rs.
//
// Shapes: F features (a multiple of 4), S structures of N atoms; the first T atoms are the template. Atoms keep their row s·N + a
// in every array. A list per structure names the atoms that a launch computes. Launch: grid (tiles of the longest list, S), 256
// threads, 64·F bytes of shared memory an atom of the tile; the backward pass needs more for the filter gradients.
//
// Filters, senders and the rows saved for the backward pass are kept as Stored: float, or Half under mixed precision (half.cuh).
#include "message.cuh"
#include "products.cuh"

constexpr float NORM_EPSILON = 1e-8f;

// Atoms a launch computes: structure s's are list[s·list_stride + k], k < counts[s·count_stride], in ascending order.
struct AtomList {
    const unsigned* list;
    const unsigned* counts;
};

// Matrices of the update and of the next senders, [in][out] forward and [out][in] backward, and biases.
struct BlockWeights {
    const float* mix;
    const float* net_1;
    const float* net_2;
    const float* context_1;
    const float* context_2;
};

struct BlockBiases {
    const float* net_1;
    const float* net_2;
    const float* context_1;
    const float* context_2;
};

// Results that the backward pass reads; S·N rows each.
template <class Stored>
struct BlockSaved {
    Stored* middle;          // [4F] state between message and update
    Stored* mixed;           // [3][2F] V|U
    Stored* norm;            // [F] ‖V‖
    Stored* hidden;          // [F] before silu
    Stored* net;             // [3F] a_qq, a_μμ, a_qμ
    Stored* context_hidden;  // [F] before silu
    Stored* x_mu;            // [F] x_μ
};

template <class Stored>
struct BlockForward {
    AtomList atoms;
    TemplateEdges template_edges;
    FreeEdges free_edges;
    const float* start;              // [S or 1][N][4F] state before the message; start_rows atoms a structure, 0: one for all
    const Stored* senders;           // [S or 1][N][5F]
    const Stored* template_filters;  // [rows][filter_stride], at the block; null if no template atom receives
    const Stored* free_filters;      // [S][max_pairs][filter_stride], at the block
    BlockWeights weights;            // context null in the last block
    BlockBiases biases;
    float* state;              // writes [S·N][4F]
    Stored* senders_out;       // writes [S·N][5F], not in the last block
    BlockSaved<Stored> saved;  // writes; all null when sampling
    unsigned features;
    unsigned n_atoms;
    unsigned n_template;
    unsigned start_rows;
    unsigned filter_stride;
    unsigned max_pairs;
    unsigned list_stride;
    unsigned count_stride;
};

// Number of the tile's atoms; 0 for a tile beyond the list.
template <unsigned TILE>
__device__ __forceinline__ unsigned tile_count(const AtomList& atoms, unsigned count_stride) {
    const unsigned n = atoms.counts[blockIdx.y * count_stride], first = blockIdx.x * TILE;
    return n > first ? min(n - first, TILE) : 0;
}

// The width that loops are compiled for; all other widths take the code for ANY.
constexpr unsigned COMMON_FEATURES = 64, ANY = 0;

template <unsigned TILE, unsigned FEATURES, class Stored>
__device__ __forceinline__ void forward_tile(const BlockForward<Stored>& a) {
    const unsigned f = FEATURES == ANY ? a.features : FEATURES, s = blockIdx.y, n = a.n_atoms;
    const unsigned count = tile_count<TILE>(a.atoms, a.count_stride);
    if (count == 0) return;
    const unsigned* list = a.atoms.list + s * a.list_stride + blockIdx.x * TILE;
    const bool keep = a.saved.middle != nullptr;
    const auto row = [&](unsigned k) { return static_cast<u64>(s) * n + list[k]; };

    float* state = shared_memory<float>();  // [TILE][4F]
    float* mixed = state + TILE * 4 * f;    // [TILE][3][2F]
    float* input = mixed + TILE * 6 * f;    // [TILE][2F]
    float* hidden = input + TILE * 2 * f;   // [TILE][F]
    float* net = hidden + TILE * f;         // [TILE][3F]

    const unsigned lane = threadIdx.x % WARP;
    for (unsigned k = threadIdx.x / WARP; k < TILE; k += blockDim.x / WARP) {
        for (unsigned c = 2 * lane; c < f; c += 2 * WARP) {
            State2 sum = {zero2(), {zero2(), zero2(), zero2()}};
            if (k < count) {
                const unsigned i = list[k];
                const u64 first_row = static_cast<u64>(s) * a.start_rows;
                const Stored* senders = a.senders + first_row * 5 * f + c;
                sum = load_state2(a.start + (first_row + i) * 4 * f + c, f);
                if (a.template_filters != nullptr && i < a.n_template) {
                    receive_from_template(sum, a.template_edges, i, senders, a.template_filters + c, a.filter_stride, f);
                }
                const u64 slots = static_cast<u64>(s) * a.max_pairs;
                const unsigned* starts = a.free_edges.starts + s * (n + 1) + i;
                receive_over_free_edges(sum, a.free_edges.edges + 2 * slots, a.free_edges.rows + 2 * slots, starts[0],
                                        starts[1], senders, a.free_filters + slots * a.filter_stride + c,
                                        a.filter_stride, f);
                if (keep) store_state2(a.saved.middle + row(k) * 4 * f + c, f, sum);
            }
            store_state2(state + k * 4 * f + c, f, sum);
        }
    }
    __syncthreads();

    // Six rows are the components of two atoms.
    split_product<6, 2>([&](unsigned g, unsigned r) { return state + (4 * (2 * g + r / 3) + 1 + r % 3) * f; }, TILE / 2,
                        f, a.weights.mix, 2 * f, [&](unsigned g, unsigned r, unsigned column, float4 sum) {
                            const unsigned k = 2 * g + r / 3, d = r % 3;
                            store4(mixed + (k * 3 + d) * 2 * f + column, sum);
                            if (keep && k < count) store4(a.saved.mixed + (row(k) * 3 + d) * 2 * f + column, sum);
                        });
    __syncthreads();

    for (unsigned item = threadIdx.x; item < TILE * f; item += blockDim.x) {
        const unsigned k = item / f, c = item % f;
        const float* v = mixed + k * 6 * f + c;
        const float norm = sqrtf(v[0] * v[0] + v[2 * f] * v[2 * f] + v[4 * f] * v[4 * f] + NORM_EPSILON);
        input[k * 2 * f + c] = state[k * 4 * f + c];
        input[k * 2 * f + f + c] = norm;
        if (keep && k < count) store1(a.saved.norm[row(k) * f + c], norm);
    }
    __syncthreads();

    split_product<4, 4>([&](unsigned g, unsigned r) { return input + (4 * g + r) * 2 * f; }, TILE / 4, 2 * f,
                        a.weights.net_1, f, [&](unsigned g, unsigned r, unsigned column, float4 sum) {
                            const unsigned k = 4 * g + r;
                            sum = add4(sum, __ldg(reinterpret_cast<const float4*>(a.biases.net_1 + column)));
                            store4(hidden + k * f + column, silu4(sum));
                            if (keep && k < count) store4(a.saved.hidden + row(k) * f + column, sum);
                        });
    __syncthreads();

    const auto row_of_hidden = [&](unsigned g, unsigned r) { return hidden + (4 * g + r) * f; };
    split_product<4, 4>(row_of_hidden, TILE / 4, f, a.weights.net_2, 3 * f,
                        [&](unsigned g, unsigned r, unsigned column, float4 sum) {
                            const unsigned k = 4 * g + r;
                            sum = add4(sum, __ldg(reinterpret_cast<const float4*>(a.biases.net_2 + column)));
                            store4(net + k * 3 * f + column, sum);
                            if (keep && k < count) store4(a.saved.net + row(k) * 3 * f + column, sum);
                        });
    __syncthreads();

    for (unsigned item = threadIdx.x; item < TILE * f; item += blockDim.x) {
        const unsigned k = item / f, c = item % f;
        float* q = state + k * 4 * f + c;
        const float *v = mixed + k * 6 * f + c, *u = v + f, *gates = net + k * 3 * f + c;
        const float dot = v[0] * u[0] + v[2 * f] * u[2 * f] + v[4 * f] * u[4 * f];
        q[0] += gates[0] + gates[2 * f] * dot;
        for (unsigned d = 0; d < 3; ++d) q[(1 + d) * f] += gates[f] * u[2 * d * f];
        if (k < count) {
            float* out = a.state + row(k) * 4 * f + c;
            for (unsigned part = 0; part < 4; ++part) out[part * f] = q[part * f];
        }
    }
    if (a.weights.context_1 == nullptr) return;
    __syncthreads();

    split_product<4, 4>([&](unsigned g, unsigned r) { return state + (4 * g + r) * 4 * f; }, TILE / 4, f,
                        a.weights.context_1, f, [&](unsigned g, unsigned r, unsigned column, float4 sum) {
                            const unsigned k = 4 * g + r;
                            sum = add4(sum, __ldg(reinterpret_cast<const float4*>(a.biases.context_1 + column)));
                            store4(hidden + k * f + column, silu4(sum));
                            if (keep && k < count) store4(a.saved.context_hidden + row(k) * f + column, sum);
                        });
    __syncthreads();

    split_product<4, 4>(row_of_hidden, TILE / 4, f, a.weights.context_2, 3 * f,
                        [&](unsigned g, unsigned r, unsigned column, float4 sum) {
                            sum = add4(sum, __ldg(reinterpret_cast<const float4*>(a.biases.context_2 + column)));
                            store4(net + (4 * g + r) * 3 * f + column, sum);
                        });
    __syncthreads();

    for (unsigned item = threadIdx.x; item < count * f; item += blockDim.x) {
        const unsigned k = item / f, c = item % f;
        const float *x = net + k * 3 * f + c, *mu = state + (k * 4 + 1) * f + c;
        Stored* out = a.senders_out + row(k) * 5 * f + c;
        store1(out[0], x[0]);
        store1(out[f], x[f]);
        for (unsigned d = 0; d < 3; ++d) store1(out[(2 + d) * f], x[2 * f] * mu[d * f]);
        if (keep) store1(a.saved.x_mu[row(k) * f + c], x[2 * f]);
    }
}

template <unsigned TILE, class Stored>
__device__ __forceinline__ void forward(const BlockForward<Stored>& a) {
    if (a.features == COMMON_FEATURES) {
        forward_tile<TILE, COMMON_FEATURES>(a);
    } else {
        forward_tile<TILE, ANY>(a);
    }
}

// Every atom of the list.
KERNEL(256, block_forward, BlockForward<float>) { forward<16>(arguments); }

KERNEL(256, block_forward_mixed, BlockForward<Half>) { forward<16>(arguments); }

// The same in tiles of four, for few atoms on many multiprocessors.
KERNEL(256, block_forward_small, BlockForward<float>) { forward<4>(arguments); }

KERNEL(256, block_forward_small_mixed, BlockForward<Half>) { forward<4>(arguments); }

template <class Stored>
struct BlockBackward {
    AtomList atoms;                  // of the block whose update is differentiated: the senders of the block above
    TemplateEdges template_edges;
    FreeEdges free_edges;
    // The message above and the network that made its senders. If d_above is null, d_state is read instead: the gradient of the
    // last block's outputs.
    const float* d_above;            // [S·N][4F] d middle of the block above, 0 for atoms that did not receive
    const Stored* template_filters;  // of the block above, as in the forward pass
    const Stored* free_filters;
    const Stored* senders;           // [S·N][5F] of the block above
    const float* state;              // [S·N][4F] after this block: μ of the senders
    BlockSaved<Stored> saved;        // of this block
    BlockWeights weights;            // [out][in]: the update of this block, the context of the block above
    const float* d_state;            // [S·N][4F]
    float* d_x;                      // writes [S·N][3F] gradient of x of the block above
    float* d_context_hidden;         // writes [S·N][F]
    float* d_net;                    // writes [S·N][3F]
    float* d_hidden;                 // writes [S·N][F]
    float* d_mixed;                  // writes [S·N][3][2F]
    float* d_middle;                 // writes [S·N][4F]; rows of atoms outside the list become 0
    float* d_template_filters;       // writes [S][tiles][n_filter_rows][3F] this tile's share; null: not wanted
    unsigned features;
    unsigned n_atoms;
    unsigned n_template;
    unsigned filter_stride;
    unsigned max_pairs;
    unsigned list_stride;
    unsigned count_stride;
    unsigned n_filter_rows;
};

template <unsigned TILE, unsigned FEATURES, class Stored>
__device__ __forceinline__ void backward_tile(const BlockBackward<Stored>& a) {
    const unsigned f = FEATURES == ANY ? a.features : FEATURES, s = blockIdx.y, n = a.n_atoms;
    const unsigned count = tile_count<TILE>(a.atoms, a.count_stride);
    const unsigned* list = a.atoms.list + s * a.list_stride + blockIdx.x * TILE;
    const unsigned warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, n_warps = blockDim.x / WARP;
    const auto row = [&](unsigned k) { return static_cast<u64>(s) * n + list[k]; };
    const u64 tile = static_cast<u64>(s) * gridDim.x + blockIdx.x;

    float* d_state = shared_memory<float>();     // [TILE][4F]
    float* d_net = d_state + TILE * 4 * f;       // [TILE][3F], d x first
    float* mixed = d_net + TILE * 3 * f;         // [TILE][3][2F], d mixed at the end
    float* d_input = mixed + TILE * 6 * f;       // [TILE][2F]
    float* d_hidden = d_input + TILE * 2 * f;    // [TILE][F]
    float* d_filters = mixed;                    // [warps][n_filter_rows][3F], before the update
    const unsigned n_accumulated = a.n_filter_rows * 3 * f;
    const bool accumulate = a.d_template_filters != nullptr;

    if (count == 0 && blockIdx.x != 0) {
        for (unsigned k = threadIdx.x; accumulate && k < n_accumulated; k += blockDim.x) {
            a.d_template_filters[tile * n_accumulated + k] = 0.0f;
        }
        return;
    }
    if (accumulate) {
        for (unsigned k = threadIdx.x; k < n_warps * n_accumulated; k += blockDim.x) d_filters[k] = 0.0f;
        __syncthreads();
    }
    for (unsigned k = warp; k < TILE; k += n_warps) {
        for (unsigned c = 2 * lane; c < f; c += 2 * WARP) {
            State2 d = {zero2(), {zero2(), zero2(), zero2()}};
            float2 d_x[3] = {zero2(), zero2(), zero2()};
            if (k < count && a.d_above == nullptr) {
                d = load_state2(a.d_state + row(k) * 4 * f + c, f);
            } else if (k < count) {
                const unsigned j = list[k];
                const u64 structure = static_cast<u64>(s) * n, slots = static_cast<u64>(s) * a.max_pairs;
                const float* d_above = a.d_above + structure * 4 * f + c;
                const Sender2 sender = load_sender2(a.senders + row(k) * 5 * f + c, f);
                SentGradient2 sent = {zero2(), zero2(), {zero2(), zero2(), zero2()}};
                if (a.template_filters != nullptr && j < a.n_template) {
                    gather_from_template(sent, a.template_edges, j, d_above, a.template_filters + c, a.filter_stride, f,
                                         sender, accumulate ? d_filters + warp * n_accumulated + c : nullptr);
                }
                const unsigned* starts = a.free_edges.starts + s * (n + 1) + j;
                gather_over_free_edges(sent, a.free_edges.edges + 2 * slots, a.free_edges.rows + 2 * slots, starts[0],
                                       starts[1], d_above, a.free_filters + slots * a.filter_stride + c,
                                       a.filter_stride, f);
                d_x[0] = sent.q;
                d_x[1] = sent.radial;
                d = load_state2(d_above + static_cast<u64>(j) * 4 * f, f);
                const float2 x_mu = load2(a.saved.x_mu + row(k) * f + c);
                const State2 before = load_state2(a.state + row(k) * 4 * f + c, f);
                for (unsigned x = 0; x < 3; ++x) {
                    add_product2(d_x[2], sent.y[x], before.mu[x]);
                    add_product2(d.mu[x], sent.y[x], x_mu);
                }
                for (unsigned part = 0; part < 3; ++part) store2(a.d_x + (row(k) * 3 + part) * f + c, d_x[part]);
            }
            store_state2(d_state + k * 4 * f + c, f, d);
            for (unsigned part = 0; part < 3; ++part) store2(d_net + (k * 3 + part) * f + c, d_x[part]);
        }
    }
    __syncthreads();
    if (accumulate) {
        float* out = a.d_template_filters + tile * n_accumulated;
        for (unsigned k = threadIdx.x; k < n_accumulated; k += blockDim.x) {
            float sum = 0.0f;
            for (unsigned w = 0; w < n_warps; ++w) sum += d_filters[w * n_accumulated + k];
            out[k] = sum;
        }
        __syncthreads();
    }

    const auto row_of_net = [&](unsigned g, unsigned r) { return d_net + (4 * g + r) * 3 * f; };
    const auto row_of_hidden = [&](unsigned g, unsigned r) { return d_hidden + (4 * g + r) * f; };
    if (a.d_above != nullptr) {
        split_product<4, 4>(row_of_net, TILE / 4, 3 * f, a.weights.context_2, f,
                            [&](unsigned g, unsigned r, unsigned column, float4 sum) {
                                const unsigned k = 4 * g + r;
                                if (k < count) {
                                    sum = silu_gradient4(sum, load4(a.saved.context_hidden + row(k) * f + column));
                                    store4(a.d_context_hidden + row(k) * f + column, sum);
                                }
                                store4(d_hidden + k * f + column, sum);
                            });
        __syncthreads();
        split_product<4, 4>(row_of_hidden, TILE / 4, f, a.weights.context_1, f,
                            [&](unsigned g, unsigned r, unsigned column, float4 sum) {
                                float* d_q = d_state + (4 * g + r) * 4 * f + column;
                                store4(d_q, add4(load4(d_q), sum));
                            });
        __syncthreads();
    }

    for (unsigned item = threadIdx.x; item < TILE * f; item += blockDim.x) {
        const unsigned k = item / f, c = item % f;
        const float* d = d_state + k * 4 * f + c;
        float* m = mixed + k * 6 * f + c;
        float* out = d_net + k * 3 * f + c;
        float dot = 0.0f, d_mu_mu = 0.0f;
        for (unsigned x = 0; x < 3; ++x) {
            const Stored* saved = k < count ? a.saved.mixed + (row(k) * 3 + x) * 2 * f + c : nullptr;
            const float v = k < count ? to_float(saved[0]) : 0.0f, u = k < count ? to_float(saved[f]) : 0.0f;
            m[2 * x * f] = v;
            m[(2 * x + 1) * f] = u;
            dot += v * u;
            d_mu_mu += d[(1 + x) * f] * u;
        }
        out[0] = d[0];
        out[f] = d_mu_mu;
        out[2 * f] = d[0] * dot;
        if (k < count) {
            for (unsigned part = 0; part < 3; ++part) a.d_net[(row(k) * 3 + part) * f + c] = out[part * f];
        }
    }
    __syncthreads();

    split_product<4, 4>(row_of_net, TILE / 4, 3 * f, a.weights.net_2, f,
                        [&](unsigned g, unsigned r, unsigned column, float4 sum) {
                            const unsigned k = 4 * g + r;
                            if (k < count) {
                                sum = silu_gradient4(sum, load4(a.saved.hidden + row(k) * f + column));
                                store4(a.d_hidden + row(k) * f + column, sum);
                            }
                            store4(d_hidden + k * f + column, sum);
                        });
    __syncthreads();
    split_product<4, 4>(row_of_hidden, TILE / 4, f, a.weights.net_1, 2 * f,
                        [&](unsigned g, unsigned r, unsigned column, float4 sum) {
                            store4(d_input + (4 * g + r) * 2 * f + column, sum);
                        });
    __syncthreads();

    // d V = d‖V‖·V/‖V‖ + d⟨V,U⟩·U, d U = a_μμ⊙d μ + d⟨V,U⟩·V with d⟨V,U⟩ = a_qμ⊙d q.
    for (unsigned item = threadIdx.x; item < TILE * f; item += blockDim.x) {
        const unsigned k = item / f, c = item % f;
        if (k >= count) continue;
        float *d = d_state + k * 4 * f + c, *m = mixed + k * 6 * f + c;
        const Stored* gates = a.saved.net + row(k) * 3 * f + c;
        const float d_dot = d[0] * to_float(gates[2 * f]);
        const float d_norm = d_input[k * 2 * f + f + c] / to_float(a.saved.norm[row(k) * f + c]);
        d[0] += d_input[k * 2 * f + c];
        for (unsigned x = 0; x < 3; ++x) {
            const float v = m[2 * x * f], u = m[(2 * x + 1) * f];
            m[2 * x * f] = d_norm * v + d_dot * u;
            m[(2 * x + 1) * f] = to_float(gates[f]) * d[(1 + x) * f] + d_dot * v;
            float* out = a.d_mixed + (row(k) * 3 + x) * 2 * f + c;
            out[0] = m[2 * x * f];
            out[f] = m[(2 * x + 1) * f];
        }
    }
    __syncthreads();

    split_product<6, 2>([&](unsigned g, unsigned r) { return mixed + (6 * g + r) * 2 * f; }, TILE / 2, 2 * f,
                        a.weights.mix, f, [&](unsigned g, unsigned r, unsigned column, float4 sum) {
                            const unsigned k = 2 * g + r / 3, x = r % 3;
                            if (k >= count) return;
                            const float* d_mu = d_state + (k * 4 + 1 + x) * f + column;
                            store4(a.d_middle + (row(k) * 4 + 1 + x) * f + column, add4(load4(d_mu), sum));
                        });
    for (unsigned item = threadIdx.x; item < count * f; item += blockDim.x) {
        const unsigned k = item / f, c = item % f;
        a.d_middle[row(k) * 4 * f + c] = d_state[k * 4 * f + c];
    }
    if (blockIdx.x == 0) {
        // The first tile of a structure also clears the rows that no tile writes, so that gathering kernels find zeros there.
        __syncthreads();
        unsigned* listed = shared_memory<unsigned>();
        for (unsigned i = threadIdx.x; i < n; i += blockDim.x) listed[i] = 0;
        __syncthreads();
        const unsigned n_listed = a.atoms.counts[s * a.count_stride];
        for (unsigned k = threadIdx.x; k < n_listed; k += blockDim.x) listed[list[k]] = 1;
        __syncthreads();
        for (unsigned item = threadIdx.x; item < n * 4 * f; item += blockDim.x) {
            if (listed[item / (4 * f)] == 0) a.d_middle[static_cast<u64>(s) * n * 4 * f + item] = 0.0f;
        }
    }
}

template <unsigned TILE, class Stored>
__device__ __forceinline__ void backward(const BlockBackward<Stored>& a) {
    if (a.features == COMMON_FEATURES) {
        backward_tile<TILE, COMMON_FEATURES>(a);
    } else {
        backward_tile<TILE, ANY>(a);
    }
}

KERNEL(256, block_backward, BlockBackward<float>) { backward<16>(arguments); }

KERNEL(256, block_backward_mixed, BlockBackward<Half>) { backward<16>(arguments); }

KERNEL(256, block_backward_small, BlockBackward<float>) { backward<4>(arguments); }

KERNEL(256, block_backward_small_mixed, BlockBackward<Half>) { backward<4>(arguments); }
