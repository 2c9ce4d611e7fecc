// Arrays kept in 16 bits (IEEE binary16) or in f32: the same loads and stores serve both, so that a kernel is written once for both
// types of element. Arithmetic is always f32.
//
// This file has the only inline PTX of the kernels. Each instruction has its twin in C++ next to it, which the emulator runs.
// tests/cuda_mixed.rs compares both with the crate `half`.
//
// A finite value beyond ±65504 is stored as ±65504, so that storing makes no infinity; a magnitude of 2⁻²⁵ or less becomes 0.
// Infinities and NaN are kept: training that diverges is noticed as in f32.
#pragma once
#include "prelude.cuh"

// An element of 16 bits.
struct Half {
    unsigned short bits;
};

// The largest finite number of 16 bits, and of f32.
constexpr float LARGEST_HALF = 65504.0f;
constexpr float LARGEST_FLOAT = 3.402823466e38f;

#ifdef GODIFF_EMULATOR
// The bits of x rounded to nearest, ties to even.
inline unsigned short half_bits(float x) {
    const unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return 0x7fff;
    // Numbers from halfway between the largest number and the next one on become infinite.
    if (magnitude >= 0x477ff000u) return static_cast<unsigned short>(sign | 0x7c00u);
    // Subnormal halves count in 2⁻²⁴; normal ones keep 10 of 23 bits, their exponent's bias is 112 less.
    const unsigned exponent = magnitude >> 23;
    const bool is_subnormal = exponent < 113;
    const unsigned value = is_subnormal ? (magnitude & 0x7fffffu) | 0x800000u : magnitude - (112u << 23);
    const unsigned shift = is_subnormal ? 126 - exponent : 13;
    if (shift > 24) return static_cast<unsigned short>(sign);
    const unsigned kept = value >> shift, rest = value & ((1u << shift) - 1), halfway = 1u << (shift - 1);
    const bool up = rest > halfway || (rest == halfway && (kept & 1) != 0);
    return static_cast<unsigned short>(sign | (kept + (up ? 1 : 0)));
}

// Low and high half of a word: a and b rounded.
inline unsigned half_bits2(float a, float b) { return half_bits(a) | static_cast<unsigned>(half_bits(b)) << 16; }

inline float float_of_half(unsigned short half) {
    const unsigned sign = (half & 0x8000u) << 16, magnitude = half & 0x7fffu;
    if (magnitude > 0x7c00u) return __uint_as_float(0x7fffffffu);
    if (magnitude == 0x7c00u) return __uint_as_float(sign | 0x7f800000u);
    if (magnitude >= 0x400u) return __uint_as_float(sign | ((magnitude << 13) + (112u << 23)));
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    return __uint_as_float(sign | __float_as_uint(value));
}
#else
__device__ __forceinline__ unsigned short half_bits(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

__device__ __forceinline__ unsigned half_bits2(float a, float b) {
    unsigned bits;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(b), "f"(a));
    return bits;
}

__device__ __forceinline__ float float_of_half(unsigned short half) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(half));
    return x;
}
#endif

// x, or the largest number of 16 bits with the sign of x if x is finite and beyond it.
__device__ __forceinline__ float within_half(float x) {
    const float magnitude = fabsf(x);
    return magnitude > LARGEST_HALF && magnitude <= LARGEST_FLOAT ? copysignf(LARGEST_HALF, x) : x;
}

__device__ __forceinline__ float2 widen2(unsigned bits) {
    return make_float2(float_of_half(static_cast<unsigned short>(bits)), float_of_half(static_cast<unsigned short>(bits >> 16)));
}

__device__ __forceinline__ unsigned narrow2(float a, float b) { return half_bits2(within_half(a), within_half(b)); }

// ---- One element ----

__device__ __forceinline__ float to_float(float x) { return x; }

__device__ __forceinline__ float to_float(Half x) { return float_of_half(x.bits); }

__device__ __forceinline__ void store1(float& to, float value) { to = value; }

__device__ __forceinline__ void store1(Half& to, float value) { to.bits = half_bits(within_half(value)); }

// ---- Two neighbours, the first at an even place; load2 is for arrays that the kernel does not write ----

__device__ __forceinline__ float2 load2(const float* p) { return __ldg(reinterpret_cast<const float2*>(p)); }

__device__ __forceinline__ float2 load2(const Half* p) { return widen2(__ldg(reinterpret_cast<const unsigned*>(p))); }

__device__ __forceinline__ void store2(float* p, float2 value) { *reinterpret_cast<float2*>(p) = value; }

__device__ __forceinline__ void store2(Half* p, float2 value) {
    *reinterpret_cast<unsigned*>(p) = narrow2(value.x, value.y);
}

// ---- Four neighbours, the first at a multiple of 4 ----

__device__ __forceinline__ float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }

__device__ __forceinline__ float4 load4(const Half* p) {
    const uint2 bits = *reinterpret_cast<const uint2*>(p);
    const float2 low = widen2(bits.x), high = widen2(bits.y);
    return make_float4(low.x, low.y, high.x, high.y);
}

__device__ __forceinline__ void store4(float* p, float4 value) { *reinterpret_cast<float4*>(p) = value; }

__device__ __forceinline__ void store4(Half* p, float4 value) {
    *reinterpret_cast<uint2*>(p) = make_uint2(narrow2(value.x, value.y), narrow2(value.z, value.w));
}
