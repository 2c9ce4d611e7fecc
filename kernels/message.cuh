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

// Adds to `state` the messages of the template to template atom i. `senders` and `filters` point at the thread's channel.
template <class Stored>
__device__ __forceinline__ void receive_from_template(State2& state, const TemplateEdges& graph, unsigned i,
                                                      const Stored* senders, const Stored* filters, unsigned filter_stride,
                                                      unsigned f) {
    unsigned e = graph.edge_starts[i];
    for (unsigned g = graph.group_starts[i]; g < graph.group_starts[i + 1]; ++g) {
        const uint2 group = __ldg(graph.groups + g);
        float2 q = zero2(), radial[3] = {zero2(), zero2(), zero2()}, mu[3] = {zero2(), zero2(), zero2()};
#pragma unroll 2
        for (; e < group.y; ++e) {
            const float4 edge = __ldg(graph.edges + e);
            const Stored* x = senders + static_cast<u64>(__float_as_uint(edge.w)) * 5 * f;
            const float2 x_radial = load2(x + f);
            const float unit[3] = {edge.x, edge.y, edge.z};
            add2(q, load2(x));
            for (unsigned d = 0; d < 3; ++d) {
                add_scaled2(radial[d], unit[d], x_radial);
                add2(mu[d], load2(x + (2 + d) * f));
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
#pragma unroll 2
    for (unsigned e = first; e < last; ++e) {
        const float4 edge = __ldg(edges + e);
        const Stored* x = senders + static_cast<u64>(__float_as_uint(edge.w)) * 5 * f;
        const Stored* w = filters + static_cast<u64>(__ldg(rows + e)) * filter_stride;
        const float2 radial = product2(load2(w + f), load2(x + f)), w_mu = load2(w + 2 * f);
        const float unit[3] = {edge.x, edge.y, edge.z};
        add_product2(state.q, load2(w), load2(x));
        for (unsigned d = 0; d < 3; ++d) {
            add_scaled2(state.mu[d], unit[d], radial);
            add_product2(state.mu[d], w_mu, load2(x + (2 + d) * f));
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
    for (unsigned g = graph.group_starts[j]; g < graph.group_starts[j + 1]; ++g) {
        const uint2 group = __ldg(graph.groups + g);
        // The edge from j to receiver i is the reverse of the one that j receives from i: its unit vector has the other sign.
        float2 q = zero2(), radial = zero2(), mu[3] = {zero2(), zero2(), zero2()};
#pragma unroll 2
        for (; e < group.y; ++e) {
            const float4 edge = __ldg(graph.edges + e);
            const State2 d = load_state2(d_middle + static_cast<u64>(__float_as_uint(edge.w)) * 4 * f, f);
            const float unit[3] = {edge.x, edge.y, edge.z};
            add2(q, d.q);
            for (unsigned k = 0; k < 3; ++k) {
                add_scaled2(radial, -unit[k], d.mu[k]);
                add2(mu[k], d.mu[k]);
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
#pragma unroll 2
    for (unsigned e = first; e < last; ++e) {
        const float4 edge = __ldg(edges + e);
        const State2 d = load_state2(d_middle + static_cast<u64>(__float_as_uint(edge.w)) * 4 * f, f);
        const Stored* w = filters + static_cast<u64>(__ldg(rows + e)) * filter_stride;
        const float2 w_mu = load2(w + 2 * f);
        const float unit[3] = {edge.x, edge.y, edge.z};
        float2 radial = zero2();
        for (unsigned k = 0; k < 3; ++k) {
            add_scaled2(radial, -unit[k], d.mu[k]);
            add_product2(sent.y[k], w_mu, d.mu[k]);
        }
        add_product2(sent.q, load2(w), d.q);
        add_product2(sent.radial, load2(w + f), radial);
    }
}
