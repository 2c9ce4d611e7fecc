//! Dense products for small matrices: linear layers forward, their input gradients and their weight gradients.
//!
//! All matrices are row-major slices with a row stride. A tile of the result stays in registers while the inner dimension runs.

use super::simd::{AVX512, Real, madd, simd};

/// What a product is added to.
#[derive(Debug, Clone, Copy)]
pub enum Onto<'a, T> {
    /// C = A·B.
    Zero,
    /// C = C + A·B.
    Sum,
    /// Every row of C = this row + A·B.
    Row(&'a [T]),
}

/// A matrix: its elements and the distance between rows.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    /// Elements, row-major.
    pub data: &'a [T],
    /// Elements from one row to the next.
    pub stride: usize,
}

/// A matrix that `data` holds with rows `stride` apart.
pub fn matrix<T>(data: &[T], stride: usize) -> Matrix<'_, T> {
    Matrix { data, stride }
}

simd! {
    /// C[m, n] = onto + A[m, k] · B[k, n]; C's rows are `c_stride` apart.
    pub fn multiply<T>(size: [usize; 3], a: Matrix<'_, T>, b: Matrix<'_, T>, onto: Onto<'_, T>, c: &mut [T], c_stride: usize) {
        if ISA == AVX512 && T::NARROW {
            sweep::<T, Straight, ISA, 6, 64>(size, a, b, onto, c, c_stride);
        } else {
            sweep::<T, Straight, ISA, 4, 16>(size, a, b, onto, c, c_stride);
        }
    }
}

simd! {
    /// C[m, n] += A[k, m]ᵀ · B[k, n]: a weight gradient from k rows; C's rows are `c_stride` apart.
    pub fn add_transposed_product<T>(size: [usize; 3], a: Matrix<'_, T>, b: Matrix<'_, T>, c: &mut [T], c_stride: usize) {
        if ISA == AVX512 && T::NARROW {
            sweep::<T, Transposed, ISA, 6, 64>(size, a, b, Onto::Sum, c, c_stride);
        } else {
            sweep::<T, Transposed, ISA, 4, 16>(size, a, b, Onto::Sum, c, c_stride);
        }
    }
}

/// How the left factor is read.
trait Left {
    /// `MR` consecutive columns' worth of the left factor: `column(p)` gives A[i.., p].
    fn view<'a, T: Real, const MR: usize>(a: Matrix<'a, T>, i: usize, k: usize) -> impl Fn(usize) -> [T; MR] + 'a;
}

/// A as it stands: m × k.
struct Straight;

/// A stored k × m.
struct Transposed;

impl Left for Straight {
    #[inline(always)]
    fn view<'a, T: Real, const MR: usize>(a: Matrix<'a, T>, i: usize, k: usize) -> impl Fn(usize) -> [T; MR] + 'a {
        let rows: [&[T]; MR] = std::array::from_fn(|m| &a.data[(i + m) * a.stride..][..k]);
        move |p| std::array::from_fn(|m| rows[m][p])
    }
}

impl Left for Transposed {
    #[inline(always)]
    fn view<'a, T: Real, const MR: usize>(a: Matrix<'a, T>, i: usize, _k: usize) -> impl Fn(usize) -> [T; MR] + 'a {
        move |p| {
            let start = p * a.stride + i;
            a.data[start..start + MR].try_into().expect("MR elements")
        }
    }
}

/// Covers C with tiles of MR × NR, then narrower and lower ones.
#[inline(always)]
fn sweep<T: Real, L: Left, const ISA: u8, const MR: usize, const NR: usize>(
    [m, n, k]: [usize; 3],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    onto: Onto<'_, T>,
    c: &mut [T],
    c_stride: usize,
) {
    let mut j = 0;
    while j + NR <= n {
        column::<T, L, ISA, MR, NR>([m, j, k], a, b, onto, c, c_stride);
        j += NR;
    }
    while NR > 16 && j + 16 <= n {
        column::<T, L, ISA, MR, 16>([m, j, k], a, b, onto, c, c_stride);
        j += 16;
    }
    while j < n {
        column::<T, L, ISA, 4, 1>([m, j, k], a, b, onto, c, c_stride);
        j += 1;
    }
}

/// All rows of the NR columns of C from `j` on.
#[inline(always)]
fn column<T: Real, L: Left, const ISA: u8, const MR: usize, const NR: usize>(
    [m, j, k]: [usize; 3],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    onto: Onto<'_, T>,
    c: &mut [T],
    c_stride: usize,
) {
    let mut i = 0;
    while i + MR <= m {
        tile::<T, L, ISA, MR, NR>([i, j, k], a, b, onto, c, c_stride);
        i += MR;
    }
    while i + 2 <= m {
        tile::<T, L, ISA, 2, NR>([i, j, k], a, b, onto, c, c_stride);
        i += 2;
    }
    if i < m {
        tile::<T, L, ISA, 1, NR>([i, j, k], a, b, onto, c, c_stride);
    }
}

#[inline(always)]
fn tile<T: Real, L: Left, const ISA: u8, const MR: usize, const NR: usize>(
    [i, j, k]: [usize; 3],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    onto: Onto<'_, T>,
    c: &mut [T],
    c_stride: usize,
) {
    let mut sum = [[T::ZERO; NR]; MR];
    match onto {
        Onto::Zero => {}
        Onto::Sum => {
            for (m, sum) in sum.iter_mut().enumerate() {
                sum.copy_from_slice(&c[(i + m) * c_stride + j..][..NR]);
            }
        }
        Onto::Row(row) => {
            for sum in &mut sum {
                sum.copy_from_slice(&row[j..][..NR]);
            }
        }
    }
    let left = L::view::<T, MR>(a, i, k);
    for p in 0..k {
        let right: &[T; NR] = b.data[p * b.stride + j..][..NR].try_into().expect("NR elements");
        let left = left(p);
        for m in 0..MR {
            for n in 0..NR {
                sum[m][n] = madd::<T, ISA>(left[m], right[n], sum[m][n]);
            }
        }
    }
    for (m, sum) in sum.iter().enumerate() {
        c[(i + m) * c_stride + j..][..NR].copy_from_slice(sum);
    }
}

simd! {
    /// bias[n] += column sums of the m × n matrix `rows`.
    pub fn add_column_sums<T>(m: usize, rows: Matrix<'_, T>, bias: &mut [T]) {
        for r in 0..m {
            for (bias, &x) in bias.iter_mut().zip(&rows.data[r * rows.stride..]) {
                *bias += x;
            }
        }
    }
}

/// out[c, r] = rows[r, c] of an `n_rows` × `n_columns` matrix, in blocks that fit the first-level cache.
pub fn transpose<T: Real>(n_rows: usize, n_columns: usize, rows: &[T], out: &mut [T]) {
    const BLOCK: usize = 16;
    for r0 in (0..n_rows).step_by(BLOCK) {
        let r1 = (r0 + BLOCK).min(n_rows);
        for c in 0..n_columns {
            let column = &mut out[c * n_rows + r0..c * n_rows + r1];
            for (k, x) in column.iter_mut().enumerate() {
                *x = rows[(r0 + k) * n_columns + c];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers<T: Real>(n: usize, seed: f64) -> Vec<T> {
        (0..n).map(|k| T::of(((k as f64 + 1.0) * seed).sin())).collect()
    }

    fn check<T: Real>(tolerance: f64) {
        for [m, n, k] in [[1, 1, 1], [7, 65, 5], [13, 192, 64], [6, 64, 30], [3, 17, 2], [29, 98, 66], [4, 33, 0]] {
            let (a_stride, b_stride, c_stride) = (k + 3, n + 2, n + 1);
            let a: Vec<T> = numbers(m * a_stride, 0.7);
            let b: Vec<T> = numbers((k + 1) * b_stride, 1.3);
            let bias: Vec<T> = numbers(n, 2.1);
            let start: Vec<T> = numbers(m * c_stride, 0.3);
            let exact = |i: usize, j: usize| {
                (0..k).map(|p| a[i * a_stride + p].wide() * b[p * b_stride + j].wide()).sum::<f64>()
            };
            let mut a_t = vec![T::ZERO; a.len()];
            transpose(m, a_stride, &a, &mut a_t);
            for case in 0..4 {
                let mut c = start.clone();
                match case {
                    0 => multiply([m, n, k], matrix(&a, a_stride), matrix(&b, b_stride), Onto::Zero, &mut c, c_stride),
                    1 => multiply([m, n, k], matrix(&a, a_stride), matrix(&b, b_stride), Onto::Sum, &mut c, c_stride),
                    2 => multiply(
                        [m, n, k],
                        matrix(&a, a_stride),
                        matrix(&b, b_stride),
                        Onto::Row(&bias),
                        &mut c,
                        c_stride,
                    ),
                    _ => add_transposed_product([m, n, k], matrix(&a_t, m), matrix(&b, b_stride), &mut c, c_stride),
                }
                for i in 0..m {
                    for j in 0..n {
                        let base =
                            [0.0, start[i * c_stride + j].wide(), bias[j].wide(), start[i * c_stride + j].wide()][case];
                        let error = (c[i * c_stride + j].wide() - base - exact(i, j)).abs();
                        assert!(error < tolerance * (1.0 + k as f64), "{m}x{n}x{k} case {case} at {i},{j}: {error}");
                    }
                    assert_eq!(c[i * c_stride + n].wide(), start[i * c_stride + n].wide(), "wrote past the row");
                }
            }
        }
    }

    #[test]
    fn products_match_the_definition() {
        check::<f64>(1e-15);
        check::<f32>(1e-6);
    }
}
