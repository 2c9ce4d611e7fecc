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

struct Neighbour {
    float* x;
    unsigned n;
    unsigned which;
};

// Each thread takes its neighbour's value.
KERNEL(256, planted_neighbour, Neighbour) {
    float* tile = shared_memory<float>();
    const unsigned i = threadIdx.x;
    tile[i] = arguments.x[i];
    __syncthreads();
    arguments.x[i] = tile[(i + 1) % blockDim.x];
}

// The tree of a reduction within a warp through shared memory; 32 threads.
KERNEL(32, planted_warp_tree, Neighbour) {
    float* tile = shared_memory<float>();
    const unsigned i = threadIdx.x;
    tile[i] = arguments.x[i];
    for (unsigned distance = 16; distance > 0; distance /= 2) {
        __syncwarp();
        if (i < distance) {
            tile[i] += tile[i + distance];
        }
    }
    if (i == 0) {
        arguments.x[0] = tile[0];
    }
}

struct Ticket {
    const float* x;
    float* partial;
    float* total;
    unsigned* ticket;
};

// total = sum over all blocks, in order, by whichever block comes last: partial sums, a fence, a ticket.
KERNEL(256, planted_last_block, Ticket) {
    float* tile = shared_memory<float>();
    unsigned* is_last = reinterpret_cast<unsigned*>(tile + blockDim.x);
    tile[threadIdx.x] = arguments.x[blockIdx.x * blockDim.x + threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) {
        float sum = 0.0f;
        for (unsigned i = 0; i < blockDim.x; ++i) {
            sum += tile[i];
        }
        arguments.partial[blockIdx.x] = sum;
        __threadfence();
        *is_last = atomicAdd(arguments.ticket, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (*is_last && threadIdx.x == 0) {
        __threadfence();
        float sum = 0.0f;
        for (unsigned i = 0; i < gridDim.x; ++i) {
            sum += arguments.partial[i];
        }
        *arguments.total = sum;
        *arguments.ticket = 0;
    }
}

struct Lanes {
    unsigned* counts;
    u64* wide;
    unsigned n;
    unsigned unused;
};

// Votes, shuffles of all kinds, atomics and counting barriers, each result to its own place.
KERNEL(64, planted_lanes, Lanes) {
    const unsigned i = threadIdx.x;
    const unsigned lane = i % WARP;
    unsigned* out = arguments.counts + 16 * i;
    out[0] = __ballot_sync(0xffffffffu, lane % 3 == 0);
    out[1] = __any_sync(0xffffffffu, i == 40);
    out[2] = __all_sync(0xffffffffu, i >= 32);
    out[3] = __shfl_sync(0xffffffffu, i, 5);
    out[4] = __shfl_up_sync(0xffffffffu, i, 1);
    out[5] = __shfl_down_sync(0xffffffffu, i, 1);
    out[6] = __shfl_down_sync(0xffffffffu, i, 1, 8);
    out[7] = __shfl_sync(0xffffffffu, i, 9, 8);
    out[8] = static_cast<unsigned>(__syncthreads_count(i % 5 == 0));
    out[9] = static_cast<unsigned>(__syncthreads_or(i == 63));
    out[10] = static_cast<unsigned>(__syncthreads_and(i != 63));
    if (lane < 8) {
        out[11] = __shfl_xor_sync(0x000000ffu, i, 3);
    } else {
        out[11] = __shfl_xor_sync(0xffffff00u, i, 1);
    }
    arguments.wide[i] = __shfl_xor_sync(0xffffffffu, (u64(i) << 32) + 1, 31);
    unsigned* shared = shared_memory<unsigned>();
    if (i < 3) {
        shared[i] = 0;
    }
    __syncthreads();
    atomicAdd(&shared[0], 2u);
    atomicMax(&shared[1], i);
    atomicOr(&shared[2], 1u << lane);
    __syncthreads();
    out[12] = shared[0];
    out[13] = shared[1];
    out[14] = shared[2];
    out[15] = atomicCAS(&arguments.counts[16 * 64], 0u, 1u) == 0 ? 1u : 0u;
}

// n shuffles and nothing else, as below.
KERNEL(256, planted_shuffles, Neighbour) {
    float x = 1.0f;
    for (unsigned i = 0; i < arguments.n; ++i) {
        x = __shfl_xor_sync(0xffffffffu, x, 1);
    }
    if (x == 0.0f) {
        arguments.x[0] = x;
    }
}

// n barriers and nothing else: what a switch costs.
KERNEL(256, planted_barriers, Neighbour) {
    for (unsigned i = 0; i < arguments.n; ++i) {
        __syncthreads();
    }
}
