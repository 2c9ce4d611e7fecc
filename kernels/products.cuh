// Products of a tile in shared memory with a weight matrix in global memory, and the activation between two of them.
#pragma once
#include "half.cuh"

// y = x·W for the rows of a tile, four columns and ROWS rows a thread.
//
// x       shared; group g of ROWS rows starts at x + g·group_stride, its rows lie row_stride apart; multiples of 4
// weights [n_inner][n_columns] in global memory; both multiples of 4
// store   called as store(group, row in group, first of four columns, float4)
template <unsigned ROWS, class Store>
__device__ __forceinline__ void tile_product(const float* x, unsigned group_stride, unsigned row_stride,
                                             unsigned n_groups, unsigned n_inner, const float* __restrict__ weights,
                                             unsigned n_columns, Store store) {
    const unsigned n_quads = n_columns / 4;
    for (unsigned item = threadIdx.x; item < n_groups * n_quads; item += blockDim.x) {
        const unsigned group = item / n_quads, column = item % n_quads * 4;
        const float* rows = x + group * group_stride;
        const float* w = weights + column;
        float4 sum[ROWS];
#pragma unroll
        for (unsigned r = 0; r < ROWS; ++r) sum[r] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        // With few rows a thread the latency of the loads is not hidden, so more loads are kept in flight. The compiler moves the
        // loads of unrolled turns together only if it knows the number of turns: the callers' widths are constants then.
#pragma unroll(ROWS <= 3 ? 4 : 2)
        for (unsigned k = 0; k < n_inner; k += 4) {
            float4 w4[4];
#pragma unroll
            for (unsigned n = 0; n < 4; ++n) w4[n] = __ldg(reinterpret_cast<const float4*>(w + (k + n) * n_columns));
#pragma unroll
            for (unsigned r = 0; r < ROWS; ++r) {
                const float4 x4 = *reinterpret_cast<const float4*>(rows + r * row_stride + k);
                const float xs[4] = {x4.x, x4.y, x4.z, x4.w};
#pragma unroll
                for (unsigned n = 0; n < 4; ++n) {
                    sum[r].x += xs[n] * w4[n].x;
                    sum[r].y += xs[n] * w4[n].y;
                    sum[r].z += xs[n] * w4[n].z;
                    sum[r].w += xs[n] * w4[n].w;
                }
            }
        }
#pragma unroll
        for (unsigned r = 0; r < ROWS; ++r) store(group, r, column, sum[r]);
    }
}

// One step of a tree over the lanes that hold parts of the same sums: of 2·KEPT rows, the lane keeps the first half or the second
// and gets its partner's part of these. Returns the first row kept. `distance` is that of the partner's lane.
template <unsigned KEPT>
__device__ __forceinline__ unsigned add_half(float4* sum, bool keeps_second, unsigned distance) {
#pragma unroll
    for (unsigned r = 0; r < KEPT; ++r) {
        const float4 sent = keeps_second ? sum[r] : sum[KEPT + r];
        sum[r] = keeps_second ? sum[KEPT + r] : sum[r];
        sum[r].x += __shfl_xor_sync(0xffffffffu, sent.x, distance);
        sum[r].y += __shfl_xor_sync(0xffffffffu, sent.y, distance);
        sum[r].z += __shfl_xor_sync(0xffffffffu, sent.z, distance);
        sum[r].w += __shfl_xor_sync(0xffffffffu, sent.w, distance);
    }
    return keeps_second ? KEPT : 0;
}

// y = x·W like tile_product, four columns and ROWS rows a thread; SPLIT lanes of a warp (2 or 4, a divisor of ROWS) share the inner
// dimension. Lane s takes its quads s, s + SPLIT, …; then the lanes add their sums, and each keeps its share of the rows. So a
// weight that is read serves ROWS rows, and a loop is shorter by SPLIT. The order of a sum depends on SPLIT alone.
//
// row_of  called as row_of(group, row in group): start of the row in shared memory; a multiple of 4
template <unsigned ROWS, unsigned SPLIT, class RowOf, class Store>
__device__ __forceinline__ void split_product(RowOf row_of, unsigned n_groups, unsigned n_inner,
                                              const float* __restrict__ weights, unsigned n_columns, Store store) {
    static_assert((SPLIT == 2 || SPLIT == 4) && ROWS % SPLIT == 0, "the lanes share the rows");
    constexpr unsigned LANES = WARP / SPLIT;
    const unsigned n_quads = n_columns / 4, n_items = n_groups * n_quads, n_turns = n_inner / (4 * SPLIT);
    const unsigned lane = threadIdx.x % WARP, part = lane / LANES;
    // The lanes of a warp exchange sums, so they stay together.
    for (unsigned first = threadIdx.x / WARP * LANES; first < n_items; first += blockDim.x / SPLIT) {
        const unsigned item = first + lane % LANES, group = item / n_quads, column = item % n_quads * 4;
        float4 sum[ROWS];
#pragma unroll
        for (unsigned r = 0; r < ROWS; ++r) sum[r] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        const auto add_quad = [&](unsigned k) {
            float4 w[4];
#pragma unroll
            for (unsigned n = 0; n < 4; ++n) {
                w[n] = __ldg(reinterpret_cast<const float4*>(weights + (k + n) * n_columns + column));
            }
#pragma unroll
            for (unsigned r = 0; r < ROWS; ++r) {
                const float4 x4 = *reinterpret_cast<const float4*>(row_of(group, r) + k);
                const float x[4] = {x4.x, x4.y, x4.z, x4.w};
#pragma unroll
                for (unsigned n = 0; n < 4; ++n) {
                    sum[r].x += x[n] * w[n].x;
                    sum[r].y += x[n] * w[n].y;
                    sum[r].z += x[n] * w[n].z;
                    sum[r].w += x[n] * w[n].w;
                }
            }
        };
        if (item < n_items) {
#pragma unroll 2
            for (unsigned turn = 0; turn < n_turns; ++turn) add_quad(4 * (turn * SPLIT + part));
            const unsigned rest = 4 * (n_turns * SPLIT + part);
            if (n_inner % (4 * SPLIT) != 0 && rest < n_inner) add_quad(rest);
        }
        unsigned row = add_half<ROWS / 2>(sum, part >= SPLIT / 2, SPLIT / 2 * LANES);
        if (SPLIT == 4) row += add_half<ROWS / SPLIT>(sum, (part & 1) != 0, LANES);
        if (item < n_items) {
#pragma unroll
            for (unsigned r = 0; r < ROWS / SPLIT; ++r) store(group, row + r, column, sum[r]);
        }
    }
}

// y = x·W for one row by all threads of a block: each takes four columns and a share of the inner dimension, and the shares are
// added in order. There are as many shares as the block's threads make; n_columns is at most 4·blockDim.x.
//
// x      shared; parts: blockDim.x·4 floats of shared memory
// store  called as store(first of four columns, float4), by the first threads
template <class Store>
__device__ __forceinline__ void row_product(const float* x, unsigned n_inner, const float* __restrict__ weights,
                                            unsigned n_columns, float* parts, Store store) {
    const unsigned n_quads = n_columns / 4, n_shares = min(blockDim.x / n_quads, n_inner);
    const unsigned share = threadIdx.x / n_quads, column = threadIdx.x % n_quads * 4;
    if (share < n_shares) {
        float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 4
        for (unsigned k = share; k < n_inner; k += n_shares) {
            const float4 w = __ldg(reinterpret_cast<const float4*>(weights + k * n_columns + column));
            sum.x += x[k] * w.x;
            sum.y += x[k] * w.y;
            sum.z += x[k] * w.z;
            sum.w += x[k] * w.w;
        }
        *reinterpret_cast<float4*>(parts + share * n_columns + column) = sum;
    }
    __syncthreads();
    if (threadIdx.x < n_quads) {
        float4 sum = *reinterpret_cast<const float4*>(parts + column);
        for (unsigned s = 1; s < n_shares; ++s) {
            const float4 more = *reinterpret_cast<const float4*>(parts + s * n_columns + column);
            sum = make_float4(sum.x + more.x, sum.y + more.y, sum.z + more.z, sum.w + more.w);
        }
        store(column, sum);
    }
}

__device__ __forceinline__ float4 add4(float4 a, float4 b) {
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

// silu(x) = x/(1 + e^-x)
__device__ __forceinline__ float silu(float x) { return x / (1.0f + expf(-x)); }

__device__ __forceinline__ float4 silu4(float4 x) { return make_float4(silu(x.x), silu(x.y), silu(x.z), silu(x.w)); }

// d silu(x)/dx
__device__ __forceinline__ float silu_slope(float x) {
    const float s = 1.0f / (1.0f + expf(-x));
    return s * (1.0f + x * (1.0f - s));
}

// d y ⊙ silu'(x)
__device__ __forceinline__ float4 silu_gradient4(float4 d_y, float4 x) {
    return make_float4(d_y.x * silu_slope(x.x), d_y.y * silu_slope(x.y), d_y.z * silu_slope(x.z),
                       d_y.w * silu_slope(x.w));
}
