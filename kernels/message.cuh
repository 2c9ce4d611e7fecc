// PaiNN message, one atom and two channels a thread: q_i += Σ_j W_q⊙x_q, μ_i += Σ_j u_ij ⊗ (W_R⊙x_R) + W_μ⊙x_μ⊙μ_j
// (arXiv:2102.03150, eqs. 7 and 8), and its gradient gathered over the symmetric graph. CPU twin: src/engine/cpu/message.rs.
//
// F is the number of features rounded up to a multiple of 4; the channels beyond the model's are zero everywhere.
// A state row is [q | μ_x | μ_y | μ_z], 4F; a sender row is [x_q | x_R | x_μ⊙μ_x | x_μ⊙μ_y | x_μ⊙μ_z], 5F; a filter row of one block
// is [q | R | μ], 3F, within rows of `filter_stride`. Sender and filter rows are kept as Stored, float or Half (half.cuh).
#pragma once
#include "half.cuh"

// Template–template edges, the same in every structure. Atom i receives groups group_starts[i]..group_starts[i + 1]. Each group has
// the edges of one filter row; the atom's first edge is edge_starts[i].
struct TemplateEdges {
    const unsigned* group_starts;  // [T + 1]
    const unsigned* edge_starts;   // [T + 1]
    const uint2* groups;           // {filter row, one past the last edge}
    const float4* edges;           // {unit vector to the sender, sender as integer bits}
};

// Edges with a free atom: slots of every structure of the batch.
struct FreeEdges {
    const unsigned* starts;  // [S][N + 1], within the structure's slots
    const float4* edges;     // [S][2·max_pairs] {unit vector to the sender, sender as integer bits}
    const unsigned* rows;    // [S][2·max_pairs] filter row within the structure
};

// The four parts of a state row in two channels.
struct State2 {
    float2 q;
    float2 mu[3];
};

__device__ __forceinline__ float2 zero2() { return make_float2(0.0f, 0.0f); }

__device__ __forceinline__ void add2(float2& sum, float2 a) {
    sum.x += a.x;
    sum.y += a.y;
}

// sum += a⊙b
__device__ __forceinline__ void add_product2(float2& sum, float2 a, float2 b) {
    sum.x += a.x * b.x;
    sum.y += a.y * b.y;
}

// sum += k·a
__device__ __forceinline__ void add_scaled2(float2& sum, float k, float2 a) {
    sum.x += k * a.x;
    sum.y += k * a.y;
}

__device__ __forceinline__ float2 product2(float2 a, float2 b) { return make_float2(a.x * b.x, a.y * b.y); }

__device__ __forceinline__ State2 load_state2(const float* row, unsigned f) {
    return State2{load2(row), {load2(row + f), load2(row + 2 * f), load2(row + 3 * f)}};
}

template <class Stored>
__device__ __forceinline__ void store_state2(Stored* row, unsigned f, const State2& state) {
    store2(row, state.q);
    for (unsigned d = 0; d < 3; ++d) store2(row + (1 + d) * f, state.mu[d]);
}

// Edges whose senders are loaded together. The edges of the next batch are loaded before those of this one are used, so a batch waits
// once. Sums take the edges in their order.
constexpr unsigned BATCH = 3;

// The edges first, first + 1, … of a batch, none beyond `last`.
__device__ __forceinline__ void load_edges(float4 (&edges)[BATCH], const float4* all, unsigned first, unsigned last) {
#pragma unroll
    for (unsigned k = 0; k < BATCH; ++k) edges[k] = __ldg(all + min(first + k, last));
}

// Adds to `state` the messages of the template to template atom i. `senders` and `filters` point at the thread's channel.
template <class Stored>
__device__ __forceinline__ void receive_from_template(State2& state, const TemplateEdges& graph, unsigned i,
                                                      const Stored* senders, const Stored* filters, unsigned filter_stride,
                                                      unsigned f) {
    unsigned e = graph.edge_starts[i];
    const unsigned end = graph.edge_starts[i + 1];
    if (e == end) return;
    float4 next[BATCH];
    load_edges(next, graph.edges, e, end - 1);
    for (unsigned g = graph.group_starts[i]; g < graph.group_starts[i + 1]; ++g) {
        const uint2 group = __ldg(graph.groups + g);
        float2 q = zero2(), radial[3] = {zero2(), zero2(), zero2()}, mu[3] = {zero2(), zero2(), zero2()};
        while (e < group.y) {
            float2 x[BATCH][5];
            float4 edge[BATCH];
#pragma unroll
            for (unsigned k = 0; k < BATCH; ++k) {
                edge[k] = next[k];
                const Stored* row = senders + static_cast<u64>(__float_as_uint(edge[k].w)) * 5 * f;
#pragma unroll
                for (unsigned part = 0; part < 5; ++part) x[k][part] = load2(row + part * f);
            }
            const unsigned first = e;
            e = min(e + BATCH, group.y);
            load_edges(next, graph.edges, e, end - 1);
#pragma unroll
            for (unsigned k = 0; k < BATCH; ++k) {
                // An edge beyond the group counts nothing.
                const float is_edge = first + k < group.y ? 1.0f : 0.0f;
                const float unit[3] = {is_edge * edge[k].x, is_edge * edge[k].y, is_edge * edge[k].z};
                add_scaled2(q, is_edge, x[k][0]);
#pragma unroll
                for (unsigned d = 0; d < 3; ++d) {
                    add_scaled2(radial[d], unit[d], x[k][1]);
                    add_scaled2(mu[d], is_edge, x[k][2 + d]);
                }
            }
        }
        const Stored* w = filters + static_cast<u64>(group.x) * filter_stride;
        const float2 w_radial = load2(w + f), w_mu = load2(w + 2 * f);
        add_product2(state.q, load2(w), q);
        for (unsigned d = 0; d < 3; ++d) {
            add_product2(state.mu[d], w_radial, radial[d]);
            add_product2(state.mu[d], w_mu, mu[d]);
        }
    }
}

// Adds to `state` the messages to an atom over edges first..last with free atoms. All pointers are at the structure and the
// channel.
template <class Stored>
__device__ __forceinline__ void receive_over_free_edges(State2& state, const float4* edges, const unsigned* rows,
                                                        unsigned first, unsigned last, const Stored* senders,
                                                        const Stored* filters, unsigned filter_stride, unsigned f) {
    if (first == last) return;
    float4 next = __ldg(edges + first);
    unsigned next_row = __ldg(rows + first);
    for (unsigned e = first; e < last; ++e) {
        const float4 edge = next;
        const Stored* x = senders + static_cast<u64>(__float_as_uint(edge.w)) * 5 * f;
        const Stored* w = filters + static_cast<u64>(next_row) * filter_stride;
        const float2 w_q = load2(w), w_radial = load2(w + f), w_mu = load2(w + 2 * f);
        const float2 x_q = load2(x), x_radial = load2(x + f);
        const float2 x_mu[3] = {load2(x + 2 * f), load2(x + 3 * f), load2(x + 4 * f)};
        next = __ldg(edges + min(e + 1, last - 1));
        next_row = __ldg(rows + min(e + 1, last - 1));
        const float2 radial = product2(w_radial, x_radial);
        const float unit[3] = {edge.x, edge.y, edge.z};
        add_product2(state.q, w_q, x_q);
        for (unsigned d = 0; d < 3; ++d) {
            add_scaled2(state.mu[d], unit[d], radial);
            add_product2(state.mu[d], w_mu, x_mu[d]);
        }
    }
}

// Gradient of an atom's sender row: of x_q, of x_R and of y = x_μ⊙μ.
struct SentGradient2 {
    float2 q;
    float2 radial;
    float2 y[3];
};

// A sender row in two channels.
struct Sender2 {
    float2 q;
    float2 radial;
    float2 y[3];
};

template <class Stored>
__device__ __forceinline__ Sender2 load_sender2(const Stored* row, unsigned f) {
    return Sender2{load2(row), load2(row + f), {load2(row + 2 * f), load2(row + 3 * f), load2(row + 4 * f)}};
}

// Adds to `sent` the gradient of template atom j as a sender to the template. `d_middle` ([atom][4F]) and `filters` point at the
// structure and the channel. If `d_filters` is given (the warp's own [rows][3F] in shared memory, at the channel), the gradient of
// the filter rows is added there.
template <class Stored>
__device__ __forceinline__ void gather_from_template(SentGradient2& sent, const TemplateEdges& graph, unsigned j,
                                                     const float* d_middle, const Stored* filters, unsigned filter_stride,
                                                     unsigned f, const Sender2& sender, float* d_filters) {
    unsigned e = graph.edge_starts[j];
    const unsigned end = graph.edge_starts[j + 1];
    if (e == end) return;
    float4 next[BATCH];
    load_edges(next, graph.edges, e, end - 1);
    for (unsigned g = graph.group_starts[j]; g < graph.group_starts[j + 1]; ++g) {
        const uint2 group = __ldg(graph.groups + g);
        // The edge from j to receiver i is the reverse of the one that j receives from i: its unit vector has the other sign.
        float2 q = zero2(), radial = zero2(), mu[3] = {zero2(), zero2(), zero2()};
        while (e < group.y) {
            State2 d[BATCH];
            float4 edge[BATCH];
#pragma unroll
            for (unsigned k = 0; k < BATCH; ++k) {
                edge[k] = next[k];
                d[k] = load_state2(d_middle + static_cast<u64>(__float_as_uint(edge[k].w)) * 4 * f, f);
            }
            const unsigned first = e;
            e = min(e + BATCH, group.y);
            load_edges(next, graph.edges, e, end - 1);
#pragma unroll
            for (unsigned k = 0; k < BATCH; ++k) {
                const float is_edge = first + k < group.y ? 1.0f : 0.0f;
                const float unit[3] = {is_edge * edge[k].x, is_edge * edge[k].y, is_edge * edge[k].z};
                add_scaled2(q, is_edge, d[k].q);
#pragma unroll
                for (unsigned x = 0; x < 3; ++x) {
                    add_scaled2(radial, -unit[x], d[k].mu[x]);
                    add_scaled2(mu[x], is_edge, d[k].mu[x]);
                }
            }
        }
        const Stored* w = filters + static_cast<u64>(group.x) * filter_stride;
        const float2 w_mu = load2(w + 2 * f);
        add_product2(sent.q, load2(w), q);
        add_product2(sent.radial, load2(w + f), radial);
        for (unsigned k = 0; k < 3; ++k) add_product2(sent.y[k], w_mu, mu[k]);
        if (d_filters != nullptr) {
            float2* d_w = reinterpret_cast<float2*>(d_filters + group.x * 3 * f);
            add_product2(d_w[0], q, sender.q);
            add_product2(d_w[f / 2], radial, sender.radial);
            for (unsigned k = 0; k < 3; ++k) add_product2(d_w[f], mu[k], sender.y[k]);
        }
    }
}

// Adds to `sent` the gradient of an atom as a sender over edges with free atoms.
template <class Stored>
__device__ __forceinline__ void gather_over_free_edges(SentGradient2& sent, const float4* edges, const unsigned* rows,
                                                       unsigned first, unsigned last, const float* d_middle,
                                                       const Stored* filters, unsigned filter_stride, unsigned f) {
    if (first == last) return;
    float4 next = __ldg(edges + first);
    unsigned next_row = __ldg(rows + first);
    for (unsigned e = first; e < last; ++e) {
        const float4 edge = next;
        const State2 d = load_state2(d_middle + static_cast<u64>(__float_as_uint(edge.w)) * 4 * f, f);
        const Stored* w = filters + static_cast<u64>(next_row) * filter_stride;
        const float2 w_q = load2(w), w_radial = load2(w + f), w_mu = load2(w + 2 * f);
        next = __ldg(edges + min(e + 1, last - 1));
        next_row = __ldg(rows + min(e + 1, last - 1));
        const float unit[3] = {edge.x, edge.y, edge.z};
        float2 radial = zero2();
        for (unsigned k = 0; k < 3; ++k) {
            add_scaled2(radial, -unit[k], d.mu[k]);
            add_product2(sent.y[k], w_mu, d.mu[k]);
        }
        add_product2(sent.q, w_q, d.q);
        add_product2(sent.radial, w_radial, radial);
    }
}
