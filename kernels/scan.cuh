// Prefix sums over a block of whole warps.
#pragma once

#include "prelude.cuh"

// Replaces values[k] by the sum of those before it, for k ≤ count: values[count] becomes the sum of all, which is returned.
// `values` (shared or global) holds count + 1 numbers; before the call they are written and a barrier is passed. `warp_sums` has
// WARP numbers in shared memory. Every thread takes part; all see the result.
__device__ inline unsigned exclusive_scan(unsigned* values, unsigned count, unsigned* warp_sums) {
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, n_warps = blockDim.x / WARP;
    const unsigned chunk = (count + blockDim.x - 1) / blockDim.x;
    const unsigned first = min(threadIdx.x * chunk, count), end = min(first + chunk, count);
    unsigned own = 0;
    for (unsigned k = first; k < end; ++k) own += values[k];
    unsigned upto = own;
    for (unsigned by = 1; by < WARP; by *= 2) {
        const unsigned below = __shfl_up_sync(0xffffffffu, upto, by);
        if (lane >= by) upto += below;
    }
    if (lane == WARP - 1) warp_sums[warp] = upto;
    __syncthreads();
    unsigned before = upto - own, total = 0;
    for (unsigned w = 0; w < n_warps; ++w) {
        if (w < warp) before += warp_sums[w];
        total += warp_sums[w];
    }
    for (unsigned k = first; k < end; ++k) {
        const unsigned value = values[k];
        values[k] = before;
        before += value;
    }
    if (threadIdx.x == 0) values[count] = total;
    __syncthreads();
    return total;
}
