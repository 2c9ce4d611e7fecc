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
