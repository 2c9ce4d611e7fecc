// Kernels as they should be, in several manners: the emulator must find nothing in them.
#include "prelude.cuh"

struct Sum {
    const float* x;
    float* sums;
    unsigned n;
    unsigned unused;
};

// sums[block] of the block's part of x, n floats: shuffles within warps, shared memory between them.
KERNEL(256, planted_sum, Sum) {
    float* partial = shared_memory<float>();
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    float sum = i < arguments.n ? arguments.x[i] : 0.0f;
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    }
    if (threadIdx.x % WARP == 0) {
        partial[threadIdx.x / WARP] = sum;
    }
    __syncthreads();
    if (threadIdx.x < WARP) {
        const unsigned n_warps = blockDim.x / WARP;
        sum = threadIdx.x < n_warps ? partial[threadIdx.x] : 0.0f;
        for (int distance = 16; distance > 0; distance /= 2) {
            sum += __shfl_down_sync(0xffffffffu, sum, distance);
        }
        if (threadIdx.x == 0) {
            arguments.sums[blockIdx.x] = sum;
        }
    }
}

struct Scan {
    const unsigned* x;
    unsigned* sums;
    unsigned n;
    unsigned unused;
};

// Inclusive prefix sums of n <= threads numbers in two shared arrays that change roles.
KERNEL(1024, planted_scan, Scan) {
    unsigned* from = shared_memory<unsigned>();
    unsigned* to = from + blockDim.x;
    const unsigned i = threadIdx.x;
    from[i] = i < arguments.n ? arguments.x[i] : 0;
    __syncthreads();
    for (unsigned distance = 1; distance < blockDim.x; distance *= 2) {
        to[i] = from[i] + (i >= distance ? from[i - distance] : 0);
        __syncthreads();
        unsigned* const swapped = from;
        from = to;
        to = swapped;
    }
    if (i < arguments.n) {
        arguments.sums[i] = from[i];
    }
}
