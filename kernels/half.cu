// The conversions of half.cuh alone, for the test that compares a card's instructions and the emulator's twins with one reference.
#include "half.cuh"

struct HalfConversion {
    const float* values;      // [n]
    unsigned short* bits;     // writes [n] each value's 16 bits, kept within the finite ones
    unsigned* pairs;          // writes [⌈n/2⌉] the same two by two
    const unsigned* halves;   // [⌈m/2⌉] m elements of 16 bits
    float* widened;           // writes [m]
    unsigned n;
    unsigned m;               // even
};

// Grid-wide, 256 threads a block.
KERNEL(256, half_conversion, HalfConversion) {
    const HalfConversion& a = arguments;
    const unsigned n_threads = gridDim.x * blockDim.x, first = blockIdx.x * blockDim.x + threadIdx.x;
    for (unsigned k = first; k < a.n; k += n_threads) {
        store1(reinterpret_cast<Half*>(a.bits)[k], a.values[k]);
        if (k % 2 == 0) a.pairs[k / 2] = narrow2(a.values[k], k + 1 < a.n ? a.values[k + 1] : 0.0f);
    }
    for (unsigned k = first; k < a.m / 2; k += n_threads) {
        const float2 pair = widen2(a.halves[k]);
        a.widened[2 * k] = pair.x;
        a.widened[2 * k + 1] = pair.y;
    }
}
