// Must not compile: the sum would depend on the order of threads.
#include "prelude.cuh"

struct Numbers {
    float* x;
};

KERNEL(32, planted_float_atomic, Numbers) {
    atomicAdd(arguments.x, 1.0f);
}
