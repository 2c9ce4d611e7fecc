// Must not compile: shared memory of a fixed size would escape the checks of its bounds.
#include "prelude.cuh"

struct Numbers {
    float* x;
};

KERNEL(32, planted_static_shared, Numbers) {
    __shared__ float tile[32];
    tile[threadIdx.x] = arguments.x[threadIdx.x];
}
