// Counter-based noise: the same integers as the CPU draws for the same (key, structure, step, atom, draw).
// CPU twin: src/random.rs.
#pragma once

#include "prelude.cuh"

struct Words {
    unsigned w0, w1, w2, w3;
};

// Key of one stream (seed, purpose, iteration), mixed on the host.
struct NoiseKey {
    unsigned low, high;
};

// Philox4x32 with ten rounds (Salmon et al., SC 2011).
__device__ __forceinline__ Words philox4x32_10(Words counter, NoiseKey key) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const u64 p0 = u64(counter.w0) * 0xd2511f53u;
        const u64 p1 = u64(counter.w2) * 0xcd9e8d57u;
        counter = {unsigned(p1 >> 32) ^ counter.w1 ^ key.low, unsigned(p1), unsigned(p0 >> 32) ^ counter.w3 ^ key.high,
                   unsigned(p0)};
        key.low += 0x9e3779b9u;
        key.high += 0xbb67ae85u;
    }
    return counter;
}

struct Uniforms {
    double u0, u1, u2, u3;
};

// A uniform number in (0, 1), never 0 or 1: the middle of one of 2^32 equal parts.
__device__ __forceinline__ double open_unit(unsigned word) { return (double(word) + 0.5) / 4294967296.0; }

// Four uniform numbers in (0, 1) for (structure, step, atom), draw 0.
__device__ __forceinline__ Uniforms uniforms(NoiseKey key, unsigned structure, unsigned step, unsigned atom) {
    const Words words = philox4x32_10({structure, step, atom, 0}, key);
    return {open_unit(words.w0), open_unit(words.w1), open_unit(words.w2), open_unit(words.w3)};
}

struct NormalPair {
    double x, y;
};

// Two independent standard normal numbers from two uniform ones in (0, 1) (Box and Muller).
__device__ __forceinline__ NormalPair normal_pair(double u, double v) {
    const double radius = sqrt(-2.0 * log(u));
    double sine, cosine;
    sincospi(2.0 * v, &sine, &cosine);
    return {radius * cosine, radius * sine};
}
