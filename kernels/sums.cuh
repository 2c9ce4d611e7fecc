// Sums over lanes and blocks in f64, in an order that depends only on the number of threads.
#pragma once

#include "prelude.cuh"

// Sum over the TEAM neighbouring lanes around the calling one, with the same bits in all of them. The whole warp takes part.
template <unsigned TEAM>
__device__ __forceinline__ double team_sum(double value) {
#pragma unroll
    for (unsigned by = TEAM / 2; by > 0; by /= 2) value += __shfl_xor_sync(0xffffffffu, value, by);
    return value;
}

__device__ __forceinline__ double warp_sum(double value) { return team_sum<WARP>(value); }

// Largest of a warp.
__device__ __forceinline__ double warp_max(double value) {
#pragma unroll
    for (unsigned by = WARP / 2; by > 0; by /= 2) value = fmax(value, __shfl_xor_sync(0xffffffffu, value, by));
    return value;
}

// Sum over the block, whole warps, with the same bits in all threads. `sums`: WARP numbers in shared memory, reserved until the
// next barrier after this.
__device__ __forceinline__ double block_sum(double value, double* sums) {
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0) sums[threadIdx.x / WARP] = value;
    __syncthreads();
    double total = 0.0;
    for (unsigned w = 0; w < blockDim.x / WARP; ++w) total += sums[w];
    return total;
}
