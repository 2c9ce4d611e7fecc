// The common start of all kernels. NVRTC compiles it for a card, and a C++ compiler for the emulator (src/gpu/emulator).
//
// Conventions
// - A kernel takes one structure by value, one field or several of one type a line:
//       struct Scale {
//           float* x;  // [n]; multiplied
//           unsigned n;
//       };
//       KERNEL(256, scale, Scale) { if (...) arguments.x[i] *= 2.0f; }
//   256 is the most threads a block may be launched with. The build makes the structure's twin in Rust, its documentation from
//   these comments, and the table of kernels and threads (build/arguments.rs lists the fields that it understands).
// - Shared memory is dynamic only: `float* tile = shared_memory<float>();`, split by hand, with its size given at launch. Its
//   content is undefined (NaN under the emulator) until it is written.
// - No floating-point atomics, no static __shared__, no recursion, no early return before a __syncthreads() that others reach.
// - Integers are `unsigned`/`int`; `u64` for 64 bits. NVRTC has no headers.
#pragma once

typedef unsigned long long u64;

#ifdef GODIFF_EMULATOR
#include "emulator.hpp"
#else
#define KERNEL(max_threads, name, Arguments) \
    extern "C" __global__ void __launch_bounds__(max_threads, 1) name(const __grid_constant__ Arguments arguments)

// NVRTC has no offsetof; this is its front end's form of one. The build needs the places of fields.
#define OFFSET_OF(Structure, field) __INTADDR__(&((Structure*)0)->field)

extern __shared__ float4 godiff_shared_memory[];

template <class T>
__device__ __forceinline__ T* shared_memory() {
    return reinterpret_cast<T*>(godiff_shared_memory);
}
#endif

// Lanes of a warp.
constexpr unsigned WARP = 32;
