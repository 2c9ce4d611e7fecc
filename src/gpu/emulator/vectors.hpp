// CUDA's short vectors, with its alignments: a misaligned access is caught by the undefined-behaviour sanitizer.
#pragma once

#define GODIFF_VECTOR(name, T, bytes)                                  \
    struct alignas(bytes * 2) name##2 {                                \
        T x, y;                                                        \
    };                                                                 \
    struct name##3 {                                                   \
        T x, y, z;                                                     \
    };                                                                 \
    struct alignas(16) name##4 {                                       \
        T x, y, z, w;                                                  \
    };                                                                 \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }         \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

GODIFF_VECTOR(float, float, 4)
GODIFF_VECTOR(int, int, 4)
GODIFF_VECTOR(uint, unsigned, 4)
GODIFF_VECTOR(double, double, 8)
GODIFF_VECTOR(longlong, long long, 8)
GODIFF_VECTOR(ulonglong, unsigned long long, 8)
#undef GODIFF_VECTOR

struct alignas(4) ushort2 {
    unsigned short x, y;
};
struct alignas(8) ushort4 {
    unsigned short x, y, z, w;
};
struct alignas(4) uchar4 {
    unsigned char x, y, z, w;
};
