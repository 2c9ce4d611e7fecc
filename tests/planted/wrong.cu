// Kernels with one bug each: the emulator must find it. Each has a twin in correct.cu or differs from a right one by the line marked.
#include "prelude.cuh"

struct Numbers {
    float* x;
    unsigned n;
    unsigned which;
};

// Each thread takes its neighbour's value, n threads, one block.
KERNEL(256, planted_missing_barrier, Numbers) {
    float* tile = shared_memory<float>();
    const unsigned i = threadIdx.x;
    tile[i] = arguments.x[i];
    // wrong: no __syncthreads()
    arguments.x[i] = tile[(i + 1) % blockDim.x];
}

// The tree of a reduction within a warp through shared memory; 32 threads.
KERNEL(32, planted_missing_syncwarp, Numbers) {
    float* tile = shared_memory<float>();
    const unsigned i = threadIdx.x;
    tile[i] = arguments.x[i];
    for (unsigned distance = 16; distance > 0; distance /= 2) {
        __shfl_sync(0xffffffffu, 0, 0);  // wrong: it makes lanes meet, but promises nothing about memory as __syncwarp() does
        if (i < distance) {
            tile[i] += tile[i + distance];
        }
    }
    if (i == 0) {
        arguments.x[0] = tile[0];
    }
}

// All blocks add to the same number.
KERNEL(32, planted_block_race, Numbers) {
    if (threadIdx.x == 0) {
        arguments.x[0] = 0.5f * arguments.x[0] + static_cast<float>(blockIdx.x);  // wrong
    }
}

KERNEL(256, planted_shared_overrun, Numbers) {
    float* tile = shared_memory<float>();
    tile[threadIdx.x] = 1.0f;  // wrong: the shared memory ends with thread n
    __syncthreads();
    arguments.x[0] = tile[0];
}

KERNEL(256, planted_global_overrun, Numbers) {
    const unsigned i = threadIdx.x;
    if (i <= arguments.n) {  // wrong: should be <
        arguments.x[i] = 1.0f;
    }
}

KERNEL(256, planted_global_overread, Numbers) {
    if (threadIdx.x == 0) {
        arguments.x[0] = arguments.x[arguments.n];  // wrong
    }
}

KERNEL(32, planted_wild_pointer, Numbers) {
    if (threadIdx.x == 3) {
        arguments.x[u64(1) << 40] = 1.0f;  // wrong
    }
}

KERNEL(32, planted_misaligned, Numbers) {
    if (threadIdx.x == 0) {
        const float4 quad = *reinterpret_cast<const float4*>(arguments.x + arguments.which);  // wrong unless 4 divides `which`
        arguments.x[0] = quad.x + quad.y + quad.z + quad.w;
    }
}

// which = 0: some threads never reach the barrier; 1: they return before; 2: they wait at another one.
KERNEL(64, planted_divergent_barrier, Numbers) {
    if (arguments.which == 1 && threadIdx.x >= 40) {
        return;
    }
    if (threadIdx.x < 40) {
        __syncthreads();
    } else if (arguments.which == 2) {
        __syncthreads();
    }
    arguments.x[threadIdx.x] = 1.0f;
}

// which = 0: the mask names lanes that do not come; 1: the lanes come to different calls; 2: a lane is read that the mask does not
// name; 3: a lane calls that the mask does not name; 4: one half waits for the block, the other for the warp.
KERNEL(64, planted_divergent_shuffle, Numbers) {
    const unsigned lane = threadIdx.x % WARP;
    float x = static_cast<float>(lane);
    if (arguments.which == 0) {
        if (lane < 16) {
            x = __shfl_xor_sync(0xffffffffu, x, 1);
        }
    } else if (arguments.which == 1) {
        if (lane < 16) {
            x = __shfl_xor_sync(0xffffffffu, x, 1);
        } else {
            x = __shfl_xor_sync(0xffffffffu, x, 2);
        }
    } else if (arguments.which == 2) {
        if (lane < 16) {
            x = __shfl_sync(0x0000ffffu, x, 20);
        }
    } else if (arguments.which == 3) {
        x = __shfl_sync(0x0000ffffu, x, 0);
    } else {
        if (lane < 16) {
            __syncthreads();
        } else {
            __syncwarp();
        }
    }
    arguments.x[threadIdx.x] = x;
}

KERNEL(64, planted_uninitialised_shared, Numbers) {
    float* tile = shared_memory<float>();
    if (threadIdx.x != 7) {
        tile[threadIdx.x] = 1.0f;
    }
    __syncthreads();
    arguments.x[blockIdx.x * blockDim.x + threadIdx.x] = tile[threadIdx.x];  // wrong for thread 7
}

KERNEL(32, planted_spin, Numbers) {
    unsigned* flag = shared_memory<unsigned>();
    if (threadIdx.x == 0) {
        *flag = 0;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        while (atomicAdd(flag, 0u) == 0) {  // wrong: nobody has to run thread 1 before thread 0 has ended
        }
    } else if (threadIdx.x == 1) {
        atomicExch(flag, 1u);
    }
    if (arguments.n == 0) {
        arguments.x[0] = 0.0f;
    }
}

KERNEL(32, planted_divide, Numbers) {
    arguments.x[threadIdx.x] = static_cast<float>(arguments.n / arguments.which);  // wrong for which = 0
}
