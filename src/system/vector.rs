//! Arithmetic on points and vectors of three components.

use super::Vec3;

/// u + v.
pub fn add(u: Vec3, v: Vec3) -> Vec3 {
    [u[0] + v[0], u[1] + v[1], u[2] + v[2]]
}

/// u − v.
pub fn sub(u: Vec3, v: Vec3) -> Vec3 {
    [u[0] - v[0], u[1] - v[1], u[2] - v[2]]
}

/// factor·v.
pub fn scale(factor: f64, v: Vec3) -> Vec3 {
    [factor * v[0], factor * v[1], factor * v[2]]
}

/// u · v.
pub fn dot(u: Vec3, v: Vec3) -> f64 {
    u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
}

/// u × v.
pub fn cross(u: Vec3, v: Vec3) -> Vec3 {
    [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]
}

/// ‖v‖.
pub fn norm(v: Vec3) -> f64 {
    dot(v, v).sqrt()
}

/// Row vector times matrix of rows: Σ_k v_k · rows_k.
pub fn combine(v: Vec3, rows: &[Vec3; 3]) -> Vec3 {
    std::array::from_fn(|x| v[0] * rows[0][x] + v[1] * rows[1][x] + v[2] * rows[2][x])
}

/// True if every component is a finite number.
pub fn is_finite(v: Vec3) -> bool {
    v.iter().all(|x| x.is_finite())
}
