// Gradients of all weight matrices and biases: d W = Σ_rows d y ⊗ x, d b = Σ_rows d y, over the atoms (or pairs) of a batch.
// CPU twin: Linear::backward_weight in src/engine/cpu/linear.rs.
//
// Each matrix is one job. Its rows are split over the slices of the batch. Every slice writes its own sum, and gradient_sum
// (adamw.cu) adds these in order. A block of the grid makes 64 × 64 entries of one slice.
#include "products.cuh"

constexpr unsigned OUT_TILE = 64;
constexpr unsigned IN_TILE = 64;
constexpr unsigned ROWS = 16;

// Rows that two arrays share: segment s (a structure) has counts[s·count_stride] of them, at s·segment_rows + (list ? its entry : k).
// Lists and counts that are equal in all structures have stride 0.
struct RowSource {
    const float* d_y;        // row r, component d: d_y[r·d_y_stride + d·d_y_component …]
    const float* x;          // the same for x
    const unsigned* list;    // [segments][list_stride], or null
    const unsigned* counts;  // [segments·count_stride]
    unsigned first_segment;
    unsigned n_segments;     // 0: no rows
    unsigned segment_rows;
    unsigned list_stride;
    unsigned count_stride;
    unsigned n_components;   // 3 for vectors, else 1
    unsigned d_y_stride;
    unsigned d_y_component;
    unsigned x_stride;
    unsigned x_component;
    unsigned x_is_hidden;    // x goes through silu
    unsigned x_is_half;      // x is of Half; only if weight_gradient_mixed reads it
};

struct WeightJob {
    RowSource source;
    RowSource shared;    // rows outside the batch, added to the first slice: the template's filters
    unsigned n_out;      // a multiple of 4
    unsigned n_in;       // a multiple of 4
    unsigned at_weight;  // start of [n_out][weight_stride] in a slice
    unsigned weight_stride;
    unsigned at_bias;    // start of [n_out] in a slice; NO_BIAS: none
    unsigned first_tile;  // tiles of the jobs before
};

constexpr unsigned NO_BIAS = 0xffffffffu;

struct WeightGradient {
    const WeightJob* jobs;  // [n_jobs]
    float* slices;          // writes the jobs' entries of [n_slices][slice_len]
    unsigned n_jobs;
    unsigned slice_len;
    unsigned first_structure;  // added to the structure in lists and counts with a stride
};

// Four neighbours of x, from element `at` on.
template <bool MIXED>
__device__ __forceinline__ float4 load_x(const RowSource& source, u64 at) {
    if (MIXED && source.x_is_half != 0) return load4(reinterpret_cast<const Half*>(source.x) + at);
    return load4(source.x + at);
}

// Adds the rows of segments first..last, whose lists and counts begin at structure `listed`, to the thread's 4 × 4 entries.
template <bool MIXED>
__device__ __forceinline__ void add_rows(const RowSource source, unsigned first, unsigned last, unsigned listed,
                                         unsigned out, unsigned n_out, unsigned in, unsigned n_in, float (&sum)[4][4],
                                         float (&bias)[4]) {
    float* d_y_tile = shared_memory<float>();      // [ROWS][OUT_TILE]
    float* x_tile = d_y_tile + ROWS * OUT_TILE;    // [ROWS][IN_TILE]
    const unsigned row = threadIdx.x / 16, quad = threadIdx.x % 16 * 4;
    const unsigned my_out = threadIdx.x / 16 * 4, my_in = quad;
    for (unsigned s = first; s < last; ++s) {
        const unsigned n_rows = source.counts[(listed + s) * source.count_stride] * source.n_components;
        for (unsigned start = 0; start < n_rows; start += ROWS) {
            // Each thread loads four neighbours of one row of both tiles.
            const unsigned r = start + row;
            float4 d_y = make_float4(0.0f, 0.0f, 0.0f, 0.0f), x = d_y;
            if (r < n_rows) {
                const unsigned k = r / source.n_components, d = r % source.n_components;
                const u64 at = static_cast<u64>(s) * source.segment_rows +
                               (source.list == nullptr ? k : source.list[(listed + s) * source.list_stride + k]);
                if (out + quad < n_out) {
                    d_y = load4(source.d_y + at * source.d_y_stride + d * source.d_y_component + out + quad);
                }
                if (in + quad < n_in) {
                    x = load_x<MIXED>(source, at * source.x_stride + d * source.x_component + in + quad);
                    if (source.x_is_hidden != 0) x = silu4(x);
                }
            }
            __syncthreads();
            store4(d_y_tile + row * OUT_TILE + quad, d_y);
            store4(x_tile + row * IN_TILE + quad, x);
            __syncthreads();
#pragma unroll 4
            for (unsigned n = 0; n < ROWS; ++n) {
                const float4 d4 = load4(d_y_tile + n * OUT_TILE + my_out), x4 = load4(x_tile + n * IN_TILE + my_in);
                const float ds[4] = {d4.x, d4.y, d4.z, d4.w};
#pragma unroll
                for (unsigned o = 0; o < 4; ++o) {
                    sum[o][0] += ds[o] * x4.x;
                    sum[o][1] += ds[o] * x4.y;
                    sum[o][2] += ds[o] * x4.z;
                    sum[o][3] += ds[o] * x4.w;
                    bias[o] += ds[o];
                }
            }
        }
    }
}

template <bool MIXED>
__device__ __forceinline__ void weight_tile(const WeightGradient& a) {
    unsigned j = 0;
    for (unsigned end = a.n_jobs; end - j > 1;) {
        const unsigned middle = (j + end) / 2;
        if (a.jobs[middle].first_tile <= blockIdx.x) {
            j = middle;
        } else {
            end = middle;
        }
    }
    const WeightJob& job = a.jobs[j];
    const unsigned tile = blockIdx.x - job.first_tile, n_across = (job.n_in + IN_TILE - 1) / IN_TILE;
    const unsigned out = tile / n_across * OUT_TILE, in = tile % n_across * IN_TILE;
    const unsigned slice = blockIdx.y, n_slices = gridDim.y;

    float sum[4][4] = {}, bias[4] = {};
    const unsigned n = job.source.n_segments, first = job.source.first_segment;
    add_rows<MIXED>(job.source, first + slice * n / n_slices, first + (slice + 1) * n / n_slices, a.first_structure,
                    out, job.n_out, in, job.n_in, sum, bias);
    if (slice == 0) {
        add_rows<MIXED>(job.shared, 0, job.shared.n_segments, 0, out, job.n_out, in, job.n_in, sum, bias);
    }

    float* slice_out = a.slices + static_cast<u64>(slice) * a.slice_len;
    const unsigned my_out = out + threadIdx.x / 16 * 4, my_in = in + threadIdx.x % 16 * 4;
    for (unsigned o = 0; o < 4 && my_out + o < job.n_out; ++o) {
        if (my_in < job.n_in) {
            store4(slice_out + job.at_weight + (my_out + o) * job.weight_stride + my_in,
                   make_float4(sum[o][0], sum[o][1], sum[o][2], sum[o][3]));
        }
        if (job.at_bias != NO_BIAS && my_in == 0) slice_out[job.at_bias + my_out + o] = bias[o];
    }
}

// Grid (tiles of all jobs, slices), 256 threads, 8192 bytes of shared memory.
KERNEL(256, weight_gradient, WeightGradient) { weight_tile<false>(arguments); }

KERNEL(256, weight_gradient_mixed, WeightGradient) { weight_tile<true>(arguments); }
