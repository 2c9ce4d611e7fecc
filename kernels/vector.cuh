// Points and vectors of three components in f64, Å. CPU twin: src/system/vector.rs.
#pragma once

#include "prelude.cuh"

struct Vector {
    double x, y, z;
};

__device__ __forceinline__ Vector vector_at(const double* positions, u64 index) {
    return {positions[3 * index], positions[3 * index + 1], positions[3 * index + 2]};
}

__device__ __forceinline__ void store_vector(double* positions, u64 index, Vector v) {
    positions[3 * index] = v.x;
    positions[3 * index + 1] = v.y;
    positions[3 * index + 2] = v.z;
}

__device__ __forceinline__ void store_vector(float* values, u64 index, Vector v) {
    values[3 * index] = float(v.x);
    values[3 * index + 1] = float(v.y);
    values[3 * index + 2] = float(v.z);
}

__device__ __forceinline__ Vector add(Vector u, Vector v) { return {u.x + v.x, u.y + v.y, u.z + v.z}; }

__device__ __forceinline__ Vector sub(Vector u, Vector v) { return {u.x - v.x, u.y - v.y, u.z - v.z}; }

__device__ __forceinline__ Vector scale(double factor, Vector v) { return {factor * v.x, factor * v.y, factor * v.z}; }

__device__ __forceinline__ double dot(Vector u, Vector v) { return u.x * v.x + u.y * v.y + u.z * v.z; }

// Row vector times matrix of rows: Σ_k v_k·rows_k.
__device__ __forceinline__ Vector combine(Vector v, const Vector* rows) {
    return {v.x * rows[0].x + v.y * rows[1].x + v.z * rows[2].x,
            v.x * rows[0].y + v.y * rows[1].y + v.z * rows[2].y,
            v.x * rows[0].z + v.y * rows[1].z + v.z * rows[2].z};
}
