// The dialect of CUDA that kernels are written in, for a C++ compiler: prelude.cuh gets from here the names that NVRTC has built
// in. Each CUDA thread is a fiber; scheduler.cpp runs a block's fibers in turn, and they switch only where threads wait for one
// another.
#pragma once

#include "mathematics.hpp"
#include "vectors.hpp"

#include <cstdint>
#include <cstring>
#include <type_traits>

// This definition comes after the headers above, since they use __noinline__ in their own way.
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

// ---- The grid ----

extern __thread uint3 threadIdx;
extern __thread uint3 blockIdx;
extern __thread uint3 blockDim;
extern __thread uint3 gridDim;
constexpr int warpSize = 32;

namespace godiff_emulator {

// The place in the kernels' source where a thread waits.
struct Site {
    const char* file;
    int line;
};

enum class Exchange : int { sync, ballot, index, exclusive_or, down, up };

// Defined in dialect.cpp.
void barrier(Site site);
// Sum of `value` over the block; it includes a barrier.
int barrier_count(bool value, Site site);
// The value that lane `which` gets after the lanes of `mask` have met: that of the lane that `exchange` and `parameter` name.
u64 exchange_lanes(Exchange exchange, unsigned mask, u64 value, int parameter, int width, Site site);
void* shared_memory_of_block();

struct Kernel {
    const char* name;
    const char* file;
    unsigned max_threads;
    unsigned argument_bytes;
    void (*run)(const void* arguments);
};

// A kernel registers itself before main().
struct Registration {
    explicit Registration(const Kernel& kernel);
};

template <class T>
inline u64 to_bits(T value) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "lanes exchange 4 or 8 bytes");
    static_assert(std::is_trivially_copyable<T>::value, "lanes exchange plain values");
    u64 bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return bits;
}

template <class T>
inline T from_bits(u64 bits) {
    T value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace godiff_emulator

#define KERNEL(max_threads, name, Arguments)                                                                                    \
    static_assert(std::is_trivially_copyable<Arguments>::value, "the arguments are no plain structure");                        \
    static void name(const Arguments arguments);                                                                                \
    static const ::godiff_emulator::Registration name##_registration({#name, __FILE__, max_threads, sizeof(Arguments),          \
                                                                      [](const void* bytes) {                                   \
                                                                          Arguments arguments;                                  \
                                                                          std::memcpy(&arguments, bytes, sizeof arguments);     \
                                                                          name(arguments);                                      \
                                                                      }});                                                      \
    static void name([[maybe_unused]] const Arguments arguments)

#define OFFSET_OF(Structure, field) __builtin_offsetof(Structure, field)

template <class T>
inline T* shared_memory() {
    return static_cast<T*>(godiff_emulator::shared_memory_of_block());
}

// ---- Waiting for one another ----

// The place of the call, passed as default arguments.
#define GODIFF_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(GODIFF_SITE) {
    godiff_emulator::barrier({file, line});
}
inline int __syncthreads_count(int predicate, GODIFF_SITE) {
    return godiff_emulator::barrier_count(predicate != 0, {file, line});
}
inline int __syncthreads_or(int predicate, GODIFF_SITE) {
    return godiff_emulator::barrier_count(predicate != 0, {file, line}) != 0;
}
inline int __syncthreads_and(int predicate, GODIFF_SITE) {
    return godiff_emulator::barrier_count(predicate == 0, {file, line}) == 0;
}

inline void __syncwarp(unsigned mask = 0xffffffffu, GODIFF_SITE) {
    godiff_emulator::exchange_lanes(godiff_emulator::Exchange::sync, mask, 0, 0, 32, {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int predicate, GODIFF_SITE) {
    using namespace godiff_emulator;
    return static_cast<unsigned>(exchange_lanes(Exchange::ballot, mask, predicate != 0, 0, 32, {file, line}));
}
inline int __any_sync(unsigned mask, int predicate, GODIFF_SITE) {
    return __ballot_sync(mask, predicate, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, GODIFF_SITE) {
    return __ballot_sync(mask, predicate, file, line) == mask;
}
template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, GODIFF_SITE) {
    using namespace godiff_emulator;
    return from_bits<T>(exchange_lanes(Exchange::index, mask, to_bits(value), lane, width, {file, line}));
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, GODIFF_SITE) {
    using namespace godiff_emulator;
    return from_bits<T>(exchange_lanes(Exchange::exclusive_or, mask, to_bits(value), lane_mask, width, {file, line}));
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, GODIFF_SITE) {
    using namespace godiff_emulator;
    return from_bits<T>(exchange_lanes(Exchange::down, mask, to_bits(value), static_cast<int>(delta), width, {file, line}));
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, GODIFF_SITE) {
    using namespace godiff_emulator;
    return from_bits<T>(exchange_lanes(Exchange::up, mask, to_bits(value), static_cast<int>(delta), width, {file, line}));
}
unsigned __activemask() = delete;  // a program may not rely on its result

#undef GODIFF_SITE

void __threadfence();
void __threadfence_block();
void __threadfence_system();

// ---- Memory ----

template <class T>
inline T __ldg(const T* address) {
    return *address;
}
template <class T>
inline T __ldca(const T* address) {
    return *address;
}
template <class T>
inline T __ldcg(const T* address) {
    return *address;
}
template <class T>
inline T __ldcs(const T* address) {
    return *address;
}
template <class T>
inline void __stcg(T* address, T value) {
    *address = value;
}
template <class T>
inline void __stcs(T* address, T value) {
    *address = value;
}
template <class T>
inline void __stwb(T* address, T value) {
    *address = value;
}

// Integer atomics. Atomics on floating-point numbers would make results depend on the order of threads, so they do not compile.
#define GODIFF_ATOMICS(T)           \
    T atomicAdd(T* address, T value);  \
    T atomicSub(T* address, T value);  \
    T atomicMin(T* address, T value);  \
    T atomicMax(T* address, T value);  \
    T atomicAnd(T* address, T value);  \
    T atomicOr(T* address, T value);   \
    T atomicXor(T* address, T value);  \
    T atomicExch(T* address, T value); \
    T atomicCAS(T* address, T expected, T value);
GODIFF_ATOMICS(int)
GODIFF_ATOMICS(unsigned)
GODIFF_ATOMICS(u64)
#undef GODIFF_ATOMICS
void atomicAdd(float*, float) = delete;
void atomicAdd(double*, double) = delete;
void atomicExch(float*, float) = delete;
