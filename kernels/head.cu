// A head: three gated equivariant blocks that end in one vector an atom, and in training the loss and its gradient. One block:
// [V|U] = M μ; (s′, g) = W₂·silu(W₁[s | ‖V‖] + b₁) + b₂; μ′ = g⊙U; s′ through silu but in the last block. ‖V‖ has no epsilon, and
// its gradient at 0 is 0 (SchNetPack's GatedEquivariantBlock, after arXiv:2102.03150, fig. 3). CPU twin: src/engine/cpu/head.rs,
// and src/engine/cpu/loss.rs.
//
// Widths are rounded up to multiples of 4; channels beyond the model's are zero. S structures of N atoms; atoms keep their row s·N
// + a in the arrays kept for the gradients of the weights.
#include "products.cuh"

constexpr unsigned HEAD_BLOCKS = 3;

// Atoms a block of the grid computes.
constexpr unsigned HEAD_TILE = 4;

struct GatedBlock {
    const float* mix;      // [vectors in][2·vectors out]
    const float* net_1;    // [scalars in + vectors out][hidden]
    const float* net_2;    // [hidden][scalars out + vectors out]
    const float* d_mix;    // the same transposed, for the gradient
    const float* d_net_1;
    const float* d_net_2;
    const float* bias_1;   // [hidden]
    const float* bias_2;   // [scalars out + vectors out]
    // Kept for the gradients of the weights, S·N rows each; null in sampling.
    float* input;     // [scalars in + vectors out] s | ‖V‖
    float* vectors;   // [3][vectors in]
    float* hidden;    // [hidden] before silu
    float* d_mixed;   // [3][2·vectors out]
    float* d_hidden;  // [hidden]
    float* d_out;     // [scalars out + vectors out]
    unsigned n_scalars_in;
    unsigned n_vectors_in;
    unsigned n_hidden;
    unsigned n_scalars_out;
    unsigned n_vectors_out;
    // Starts of the block's arrays in shared memory, floats an atom.
    unsigned at_input;
    unsigned at_vectors;
    unsigned at_mixed;
    unsigned at_hidden;
    unsigned at_active;
    unsigned at_out;
};

struct Head {
    const unsigned* list;        // [S][list_stride] atoms to compute, ascending
    const unsigned* counts;      // [S·count_stride] how many
    const float* state;          // [S·N][4F]
    const float* time_features;  // [S·time_stride][2] sin πt, cos πt; null for heads without time
    float* out;                  // writes [S][out_stride][3] for atoms out_first…; null: not wanted
    // Residuals r = offset + factor·out of the atoms out_first…, loss = Σ scale·r², or with huber_delta > 0 Σ scale·h(r) with
    // h = ½r² up to |r| = δ and δ(|r| − ½δ) above; null without training.
    const float* offset;  // [S][out_stride][3]
    const float* factor;  // [S]
    const float* scale;   // [S]
    float* loss;          // writes [S][tiles]
    // The readout of a structure is the sum over its listed atoms of the last block's first scalar. A pass without training writes
    // the scalars of the atoms out_first… if there is room for them; training reads those of an earlier pass if it has labels, and
    // adds label_weight·scale·h(readout − label), with label_delta for δ, to the loss.
    float* scalars;       // [S][out_stride]; null: no readout
    const float* labels;  // [S]; null: the readout is not trained
    float* d_state;       // writes [S·N][4F] of the listed atoms: gradient_weight times the gradient of the loss
    GatedBlock blocks[HEAD_BLOCKS];
    unsigned features;
    unsigned n_atoms;
    unsigned list_stride;
    unsigned count_stride;
    unsigned time_stride;
    unsigned out_stride;
    unsigned out_first;
    unsigned at_d_vectors;  // shared memory behind the blocks' arrays, floats an atom
    float huber_delta;
    float gradient_weight;
    float label_weight;
    float label_delta;
};

// One block's arrays in shared memory.
struct GatedArrays {
    float* input;    // [tile][scalars in + vectors out]
    float* vectors;  // [tile][3][vectors in]
    float* mixed;    // [tile][3][2·vectors out] V | U
    float* hidden;   // [tile][hidden]
    float* active;   // [tile][hidden]
    float* out;      // [tile][scalars out + vectors out]
};

__device__ __forceinline__ GatedArrays arrays_of(const GatedBlock& b) {
    float* shared = shared_memory<float>();
    return GatedArrays{shared + HEAD_TILE * b.at_input,  shared + HEAD_TILE * b.at_vectors,
                       shared + HEAD_TILE * b.at_mixed,  shared + HEAD_TILE * b.at_hidden,
                       shared + HEAD_TILE * b.at_active, shared + HEAD_TILE * b.at_out};
}

// From s in `input` and μ in `vectors` to [s′ | g] in `out`.
__device__ __forceinline__ void gated_forward(const GatedBlock& b, u64 structure, const unsigned* list, unsigned count,
                                              bool keep) {
    const unsigned v_in = b.n_vectors_in, v = b.n_vectors_out, s_in = b.n_scalars_in;
    const unsigned n_input = s_in + v, n_out = b.n_scalars_out + v, n_hidden = b.n_hidden;
    const GatedArrays x = arrays_of(b);
    tile_product<3>(x.vectors, 3 * v_in, v_in, HEAD_TILE, v_in, b.mix, 2 * v,
                    [&](unsigned k, unsigned d, unsigned column, float4 sum) {
                        store4(x.mixed + (k * 3 + d) * 2 * v + column, sum);
                    });
    __syncthreads();
    for (unsigned item = threadIdx.x; item < HEAD_TILE * v; item += blockDim.x) {
        const unsigned k = item / v, c = item % v;
        const float* m = x.mixed + k * 6 * v + c;
        x.input[k * n_input + s_in + c] = sqrtf(m[0] * m[0] + m[2 * v] * m[2 * v] + m[4 * v] * m[4 * v]);
    }
    __syncthreads();
    for (unsigned item = threadIdx.x; keep && item < count * n_input; item += blockDim.x) {
        b.input[(structure + list[item / n_input]) * n_input + item % n_input] = x.input[item];
    }
    for (unsigned item = threadIdx.x; keep && item < count * 3 * v_in; item += blockDim.x) {
        b.vectors[(structure + list[item / (3 * v_in)]) * 3 * v_in + item % (3 * v_in)] = x.vectors[item];
    }
    tile_product<1>(x.input, n_input, 0, HEAD_TILE, n_input, b.net_1, n_hidden,
                    [&](unsigned k, unsigned, unsigned column, float4 sum) {
                        sum = add4(sum, __ldg(reinterpret_cast<const float4*>(b.bias_1 + column)));
                        store4(x.hidden + k * n_hidden + column, sum);
                        store4(x.active + k * n_hidden + column, silu4(sum));
                        if (keep && k < count) store4(b.hidden + (structure + list[k]) * n_hidden + column, sum);
                    });
    __syncthreads();
    tile_product<1>(x.active, n_hidden, 0, HEAD_TILE, n_hidden, b.net_2, n_out,
                    [&](unsigned k, unsigned, unsigned column, float4 sum) {
                        sum = add4(sum, __ldg(reinterpret_cast<const float4*>(b.bias_2 + column)));
                        store4(x.out + k * n_out + column, sum);
                    });
    __syncthreads();
}

// Computes the gradients of s and μ from those of silu(s′) ([tile] rows of d_scalars_stride; null: those of s′ itself are d_readout
// for the first channel and 0) and of μ′ ([tile][3][vectors out]). They replace s and μ.
__device__ __forceinline__ void gated_backward(const GatedBlock& b, u64 structure, const unsigned* list, unsigned count,
                                               const float* d_scalars, unsigned d_scalars_stride,
                                               float d_readout, const float* d_vectors) {
    const unsigned v_in = b.n_vectors_in, v = b.n_vectors_out, s_in = b.n_scalars_in, s_out = b.n_scalars_out;
    const unsigned n_input = s_in + v, n_out = s_out + v, n_hidden = b.n_hidden;
    const GatedArrays x = arrays_of(b);
    // d g = Σ dμ′·U and d U = g⊙dμ′ (it replaces U; V is kept until d‖V‖ is known).
    for (unsigned item = threadIdx.x; item < HEAD_TILE * v; item += blockDim.x) {
        const unsigned k = item / v, c = item % v;
        float* gate = x.out + k * n_out + s_out + c;
        float d_gate = 0.0f;
        for (unsigned d = 0; d < 3; ++d) {
            float* u = x.mixed + (k * 3 + d) * 2 * v + v + c;
            const float d_v = d_vectors[(k * 3 + d) * v + c];
            d_gate += d_v * *u;
            *u = *gate * d_v;
        }
        *gate = d_gate;
    }
    for (unsigned item = threadIdx.x; item < HEAD_TILE * s_out; item += blockDim.x) {
        const unsigned k = item / s_out, c = item % s_out;
        float* s = x.out + k * n_out + c;
        if (d_scalars == nullptr) {
            *s = c == 0 ? d_readout : 0.0f;
        } else {
            *s = d_scalars[k * d_scalars_stride + c] * silu_slope(*s);
        }
    }
    __syncthreads();
    for (unsigned item = threadIdx.x; item < count * n_out; item += blockDim.x) {
        b.d_out[(structure + list[item / n_out]) * n_out + item % n_out] = x.out[item];
    }
    tile_product<1>(x.out, n_out, 0, HEAD_TILE, n_out, b.d_net_2, n_hidden,
                    [&](unsigned k, unsigned, unsigned column, float4 sum) {
                        float* hidden = x.hidden + k * n_hidden + column;
                        sum = silu_gradient4(sum, load4(hidden));
                        store4(hidden, sum);
                        if (k < count) store4(b.d_hidden + (structure + list[k]) * n_hidden + column, sum);
                    });
    __syncthreads();
    tile_product<1>(x.hidden, n_hidden, 0, HEAD_TILE, n_hidden, b.d_net_1, n_input,
                    [&](unsigned k, unsigned, unsigned column, float4 sum) {
                        float* input = x.input + k * n_input + column;
                        if (column >= s_in) {
                            // The factor on V, d‖V‖/‖V‖, replaces ‖V‖.
                            const float4 norm = load4(input);
                            sum = make_float4(norm.x > 0.0f ? sum.x / norm.x : 0.0f, norm.y > 0.0f ? sum.y / norm.y : 0.0f,
                                              norm.z > 0.0f ? sum.z / norm.z : 0.0f, norm.w > 0.0f ? sum.w / norm.w : 0.0f);
                        }
                        store4(input, sum);
                    });
    __syncthreads();
    for (unsigned item = threadIdx.x; item < HEAD_TILE * 3 * v; item += blockDim.x) {
        const unsigned k = item / (3 * v), d = item / v % 3, c = item % v;
        x.mixed[(k * 3 + d) * 2 * v + c] *= x.input[k * n_input + s_in + c];
    }
    __syncthreads();
    for (unsigned item = threadIdx.x; item < count * 6 * v; item += blockDim.x) {
        b.d_mixed[(structure + list[item / (6 * v)]) * 6 * v + item % (6 * v)] = x.mixed[item];
    }
    tile_product<3>(x.mixed, 6 * v, 2 * v, HEAD_TILE, 2 * v, b.d_mix, v_in,
                    [&](unsigned k, unsigned d, unsigned column, float4 sum) {
                        store4(x.vectors + (k * 3 + d) * v_in + column, sum);
                    });
    __syncthreads();
}

// Huber's function of a residual and its slope.
__device__ __forceinline__ float2 huber(float residual, float delta) {
    if (fabsf(residual) > delta) return make_float2(delta * (fabsf(residual) - 0.5f * delta), copysignf(delta, residual));
    return make_float2(0.5f * residual * residual, residual);
}

// Loss of a structure's readout, and its gradient with respect to every scalar.
__device__ __forceinline__ float2 readout_loss(const Head& a, unsigned s) {
    float sum = 0.0f;
    for (unsigned atom = 0; atom < a.out_stride; ++atom) sum += a.scalars[static_cast<u64>(s) * a.out_stride + atom];
    const float2 value = huber(sum - a.labels[s], a.label_delta);
    const float weight = a.label_weight * a.scale[s];
    return make_float2(weight * value.x, a.gradient_weight * weight * value.y);
}

// Grid (⌈longest list/4⌉, S), 256 threads, 16 bytes of shared memory for every float an atom.
KERNEL(256, head, Head) {
    const Head& a = arguments;
    const unsigned f = a.features, s = blockIdx.y, first = blockIdx.x * HEAD_TILE;
    const unsigned n_listed = a.counts[s * a.count_stride];
    const bool train = a.loss != nullptr;
    if (first >= n_listed) {
        if (train && threadIdx.x == 0) a.loss[s * gridDim.x + blockIdx.x] = 0.0f;
        return;
    }
    const unsigned count = min(n_listed - first, HEAD_TILE);
    const unsigned* list = a.list + s * a.list_stride + first;
    const u64 structure = static_cast<u64>(s) * a.n_atoms;

    const GatedBlock& b0 = a.blocks[0];
    const GatedArrays x0 = arrays_of(b0);
    const unsigned n_input = b0.n_scalars_in + b0.n_vectors_out;
    for (unsigned item = threadIdx.x; item < HEAD_TILE * b0.n_scalars_in; item += blockDim.x) {
        const unsigned k = item / b0.n_scalars_in, c = item % b0.n_scalars_in;
        float value = 0.0f;
        if (k < count && c < f) {
            value = a.state[(structure + list[k]) * 4 * f + c];
        } else if (k < count && c < f + 2) {
            value = a.time_features[2 * s * a.time_stride + c - f];
        }
        x0.input[k * n_input + c] = value;
    }
    for (unsigned item = threadIdx.x; item < HEAD_TILE * 3 * f; item += blockDim.x) {
        const unsigned k = item / (3 * f);
        x0.vectors[item] = k < count ? a.state[(structure + list[k]) * 4 * f + f + item % (3 * f)] : 0.0f;
    }
    __syncthreads();

    for (unsigned block = 0; block < HEAD_BLOCKS; ++block) {
        const GatedBlock& b = a.blocks[block];
        gated_forward(b, structure, list, count, train);
        const bool is_last = block + 1 == HEAD_BLOCKS;
        const GatedArrays x = arrays_of(b);
        const unsigned v = b.n_vectors_out, s_out = b.n_scalars_out, n_out = s_out + v;
        if (is_last) break;
        const GatedBlock& next = a.blocks[block + 1];
        const GatedArrays y = arrays_of(next);
        for (unsigned item = threadIdx.x; item < HEAD_TILE * 3 * v; item += blockDim.x) {
            const unsigned k = item / (3 * v), d = item / v % 3, c = item % v;
            y.vectors[item] = x.out[k * n_out + s_out + c] * x.mixed[(k * 3 + d) * 2 * v + v + c];
        }
        for (unsigned item = threadIdx.x; item < HEAD_TILE * s_out; item += blockDim.x) {
            const unsigned k = item / s_out, c = item % s_out;
            y.input[k * (next.n_scalars_in + next.n_vectors_out) + c] = silu(x.out[k * n_out + c]);
        }
        __syncthreads();
    }

    // The one output vector of an atom, and its residual.
    const GatedBlock& last = a.blocks[HEAD_BLOCKS - 1];
    const GatedArrays x = arrays_of(last);
    const unsigned v = last.n_vectors_out, s_out = last.n_scalars_out;
    float* d_vectors = shared_memory<float>() + HEAD_TILE * a.at_d_vectors;  // [tile][3][v], and the losses behind
    float* losses = d_vectors + HEAD_TILE * 3 * v;                           // [tile][3], and the readout's gradient behind
    if (!train && a.scalars != nullptr && threadIdx.x < count) {
        const u64 at = static_cast<u64>(s) * a.out_stride + list[threadIdx.x] - a.out_first;
        a.scalars[at] = x.out[threadIdx.x * (s_out + v)];
    }
    for (unsigned item = threadIdx.x; item < HEAD_TILE * 3 * v; item += blockDim.x) {
        const unsigned k = item / (3 * v), d = item / v % 3, c = item % v;
        float gradient = 0.0f, loss = 0.0f;
        if (k < count && c == 0) {
            const float out = x.out[k * (s_out + v) + s_out] * x.mixed[(k * 3 + d) * 2 * v + v];
            const u64 at = (static_cast<u64>(s) * a.out_stride + list[k] - a.out_first) * 3 + d;
            if (a.out != nullptr) a.out[at] = out;
            if (train) {
                const float residual = a.offset[at] + a.factor[s] * out, delta = a.huber_delta;
                float value = residual * residual, slope = 2.0f * residual;
                if (delta > 0.0f && fabsf(residual) > delta) {
                    value = delta * (fabsf(residual) - 0.5f * delta);
                    slope = copysignf(delta, residual);
                } else if (delta > 0.0f) {
                    value *= 0.5f;
                    slope = residual;
                }
                loss = a.scale[s] * value;
                gradient = a.gradient_weight * a.scale[s] * a.factor[s] * slope;
            }
        }
        d_vectors[item] = gradient;
        if (c == 0) losses[k * 3 + d] = loss;
    }
    if (!train) return;
    __syncthreads();
    if (threadIdx.x == 0) {
        float sum = 0.0f;
        for (unsigned item = 0; item < 3 * count; ++item) sum += losses[item];
        float d_readout = 0.0f;
        if (a.labels != nullptr) {
            const float2 readout = readout_loss(a, s);
            if (first == 0) sum += readout.x;
            d_readout = readout.y;
        }
        losses[3 * HEAD_TILE] = d_readout;
        a.loss[s * gridDim.x + blockIdx.x] = sum;
    }
    __syncthreads();
    const float d_readout = losses[3 * HEAD_TILE];

    const float* d_scalars = nullptr;
    unsigned d_scalars_stride = 0;
    const float* d_above = d_vectors;
    for (unsigned block = HEAD_BLOCKS; block-- > 0;) {
        const GatedBlock& b = a.blocks[block];
        gated_backward(b, structure, list, count, d_scalars, d_scalars_stride, d_readout, d_above);
        const GatedArrays y = arrays_of(b);
        d_scalars = y.input;
        d_scalars_stride = b.n_scalars_in + b.n_vectors_out;
        d_above = y.vectors;
    }
    for (unsigned item = threadIdx.x; item < count * 4 * f; item += blockDim.x) {
        const unsigned k = item / (4 * f), c = item % (4 * f);
        const float d = c < f ? d_scalars[k * d_scalars_stride + c] : d_above[k * 3 * f + c - f];
        a.d_state[(structure + list[k]) * 4 * f + c] = d;
    }
}
