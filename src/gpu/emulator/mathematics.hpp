// CUDA's arithmetic under its own names. Functions that the C library has under the same name (expf, erfc, fmaf, ...) come from
// there. Results differ from a card's in the last digits, as results differ between generations of cards.
#pragma once

#include <cmath>
#include <cstring>
#include <math.h>

typedef unsigned long long u64;

// ---- Bits ----

inline unsigned __float_as_uint(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}
inline int __float_as_int(float x) {
    return static_cast<int>(__float_as_uint(x));
}
inline float __int_as_float(int bits) {
    return __uint_as_float(static_cast<unsigned>(bits));
}
inline long long __double_as_longlong(double x) {
    long long bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}
inline double __longlong_as_double(long long bits) {
    double x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}
inline int __double2hiint(double x) {
    return static_cast<int>(static_cast<u64>(__double_as_longlong(x)) >> 32);
}
inline int __double2loint(double x) {
    return static_cast<int>(static_cast<unsigned>(__double_as_longlong(x)));
}
inline double __hiloint2double(int high, int low) {
    return __longlong_as_double(static_cast<long long>(static_cast<u64>(static_cast<unsigned>(high)) << 32 | static_cast<unsigned>(low)));
}

inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<u64>(a) * b >> 32);
}
inline int __mulhi(int a, int b) {
    return static_cast<int>(static_cast<long long>(a) * b >> 32);
}
inline u64 __umul64hi(u64 a, u64 b) {
    __extension__ typedef unsigned __int128 wide;
    return static_cast<u64>(static_cast<wide>(a) * b >> 64);
}
inline int __popc(unsigned x) {
    return __builtin_popcount(x);
}
inline int __popcll(u64 x) {
    return __builtin_popcountll(x);
}
inline int __ffs(int x) {
    return __builtin_ffs(x);
}
inline int __ffsll(long long x) {
    return __builtin_ffsll(x);
}
inline int __clz(int x) {
    return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x));
}
inline int __clzll(long long x) {
    return x == 0 ? 64 : __builtin_clzll(static_cast<u64>(x));
}
inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int bit = 0; bit < 32; ++bit) {
        reversed |= (x >> bit & 1u) << (31 - bit);
    }
    return reversed;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>(((static_cast<u64>(high) << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<u64>(high) << 32 | low) >> (shift & 31));
}

// ---- Overloads that CUDA has in the global namespace ----

#define GODIFF_MIN_MAX(T)                              \
    inline T min(T a, T b) { return b < a ? b : a; }   \
    inline T max(T a, T b) { return a < b ? b : a; }
GODIFF_MIN_MAX(int)
GODIFF_MIN_MAX(unsigned)
GODIFF_MIN_MAX(long)
GODIFF_MIN_MAX(unsigned long)
GODIFF_MIN_MAX(long long)
GODIFF_MIN_MAX(u64)
#undef GODIFF_MIN_MAX
inline float min(float a, float b) {
    return fminf(a, b);
}
inline float max(float a, float b) {
    return fmaxf(a, b);
}
inline double min(double a, double b) {
    return fmin(a, b);
}
inline double max(double a, double b) {
    return fmax(a, b);
}
using std::abs;
using std::isfinite;
using std::isinf;
using std::isnan;

// ---- Functions that the C library lacks ----

inline float rsqrtf(float x) {
    return static_cast<float>(1.0 / sqrt(static_cast<double>(x)));
}
inline double rsqrt(double x) {
    return 1.0 / sqrt(x);
}
inline float rcbrtf(float x) {
    return 1.0f / cbrtf(x);
}
inline double rcbrt(double x) {
    return 1.0 / cbrt(x);
}
// sin(pi x) and cos(pi x), exact at multiples of a half.
inline void sincospi(double x, double* sine, double* cosine) {
    const double quarters = rint(2.0 * x);
    const double angle = M_PI * (x - 0.5 * quarters);
    const double s = sin(angle), c = cos(angle);
    switch (static_cast<int>(quarters - 4.0 * floor(quarters / 4.0))) {
    case 0: *sine = s, *cosine = c; break;
    case 1: *sine = c, *cosine = -s; break;
    case 2: *sine = -s, *cosine = -c; break;
    default: *sine = -c, *cosine = s; break;
    }
}
inline void sincospif(float x, float* sine, float* cosine) {
    double s, c;
    sincospi(static_cast<double>(x), &s, &c);
    *sine = static_cast<float>(s);
    *cosine = static_cast<float>(c);
}
inline double sinpi(double x) {
    double s, c;
    sincospi(x, &s, &c);
    return s;
}
inline double cospi(double x) {
    double s, c;
    sincospi(x, &s, &c);
    return c;
}
inline float sinpif(float x) {
    return static_cast<float>(sinpi(static_cast<double>(x)));
}
inline float cospif(float x) {
    return static_cast<float>(cospi(static_cast<double>(x)));
}
inline float norm3df(float x, float y, float z) {
    return static_cast<float>(sqrt(static_cast<double>(x) * x + static_cast<double>(y) * y + static_cast<double>(z) * z));
}
inline double norm3d(double x, double y, double z) {
    return sqrt(x * x + y * y + z * z);
}
inline float rnorm3df(float x, float y, float z) {
    return 1.0f / norm3df(x, y, z);
}
inline float normcdff(float x) {
    return static_cast<float>(0.5 * erfc(-static_cast<double>(x) * M_SQRT1_2));
}
inline double normcdf(double x) {
    return 0.5 * erfc(-x * M_SQRT1_2);
}

// ---- Fast and rounded forms: here all are as accurate as the exact ones ----

inline float __expf(float x) {
    return expf(x);
}
inline float __exp10f(float x) {
    return exp10f(x);
}
inline float __logf(float x) {
    return logf(x);
}
inline float __log2f(float x) {
    return log2f(x);
}
inline float __powf(float x, float y) {
    return powf(x, y);
}
inline float __sinf(float x) {
    return sinf(x);
}
inline float __cosf(float x) {
    return cosf(x);
}
inline void __sincosf(float x, float* sine, float* cosine) {
    sincosf(x, sine, cosine);
}
inline float __fdividef(float x, float y) {
    return x / y;
}
inline float __saturatef(float x) {
    return fminf(fmaxf(x, 0.0f), 1.0f);
}
inline float __frsqrt_rn(float x) {
    return rsqrtf(x);
}
inline float __fsqrt_rn(float x) {
    return sqrtf(x);
}
inline float __frcp_rn(float x) {
    return 1.0f / x;
}
inline float __fadd_rn(float x, float y) {
    return x + y;
}
inline float __fsub_rn(float x, float y) {
    return x - y;
}
inline float __fmul_rn(float x, float y) {
    return x * y;
}
inline float __fdiv_rn(float x, float y) {
    return x / y;
}
inline float __fmaf_rn(float x, float y, float z) {
    return fmaf(x, y, z);
}
inline double __dadd_rn(double x, double y) {
    return x + y;
}
inline double __dsub_rn(double x, double y) {
    return x - y;
}
inline double __dmul_rn(double x, double y) {
    return x * y;
}
inline double __ddiv_rn(double x, double y) {
    return x / y;
}
inline double __dsqrt_rn(double x) {
    return sqrt(x);
}
inline double __fma_rn(double x, double y, double z) {
    return fma(x, y, z);
}

// ---- Conversions: out of range they saturate, and NaN gives 0, as on a card ----

namespace godiff_emulator {

template <class Integer, class Real>
inline Integer to_integer(Real rounded, Integer lowest, Integer highest) {
    if (isnan(rounded)) {
        return 0;
    }
    if (rounded <= static_cast<Real>(lowest)) {
        return lowest;
    }
    return rounded >= static_cast<Real>(highest) ? highest : static_cast<Integer>(rounded);
}

template <class Real>
inline int to_int(Real rounded) {
    return to_integer<int>(rounded, -2147483647 - 1, 2147483647);
}

template <class Real>
inline unsigned to_unsigned(Real rounded) {
    return to_integer<unsigned>(rounded, 0u, 4294967295u);
}

}  // namespace godiff_emulator

inline int __float2int_rn(float x) {
    return godiff_emulator::to_int(rintf(x));
}
inline int __float2int_rd(float x) {
    return godiff_emulator::to_int(floorf(x));
}
inline int __float2int_ru(float x) {
    return godiff_emulator::to_int(ceilf(x));
}
inline int __float2int_rz(float x) {
    return godiff_emulator::to_int(truncf(x));
}
inline unsigned __float2uint_rn(float x) {
    return godiff_emulator::to_unsigned(rintf(x));
}
inline unsigned __float2uint_rd(float x) {
    return godiff_emulator::to_unsigned(floorf(x));
}
inline unsigned __float2uint_rz(float x) {
    return godiff_emulator::to_unsigned(truncf(x));
}
inline int __double2int_rn(double x) {
    return godiff_emulator::to_int(rint(x));
}
inline int __double2int_rd(double x) {
    return godiff_emulator::to_int(floor(x));
}
inline int __double2int_rz(double x) {
    return godiff_emulator::to_int(trunc(x));
}
inline float __double2float_rn(double x) {
    return static_cast<float>(x);
}
inline float __int2float_rn(int x) {
    return static_cast<float>(x);
}
inline float __uint2float_rn(unsigned x) {
    return static_cast<float>(x);
}
inline double __int2double_rn(int x) {
    return static_cast<double>(x);
}
inline double __uint2double_rn(unsigned x) {
    return static_cast<double>(x);
}
inline double __ull2double_rn(u64 x) {
    return static_cast<double>(x);
}
inline float __ull2float_rn(u64 x) {
    return static_cast<float>(x);
}
