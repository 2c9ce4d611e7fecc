//! Dense products for small matrices: linear layers forward, their input gradients and their weight gradients.
//!
//! All matrices are row-major slices with a row stride. A tile of the result stays in registers while the inner dimension runs.

use super::simd::{Real, madd, simd};
use bytemuck::{cast_slice, cast_slice_mut};

/// The start of a result, to which the product is added.
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

/// A matrix to be written: its elements and the distance between rows.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    /// Elements, row-major.
    pub data: &'a mut [T],
    /// Elements from one row to the next.
    pub stride: usize,
}

/// A matrix to be written that `data` holds with rows `stride` apart.
pub fn matrix_mut<T>(data: &mut [T], stride: usize) -> MatrixMut<'_, T> {
    MatrixMut { data, stride }
}

/// C[m, n] = onto + A[m, k] · B[k, n].
pub fn multiply<T: Real>(size: [usize; 3], a: Matrix<'_, T>, b: Matrix<'_, T>, onto: Onto<'_, T>, c: MatrixMut<'_, T>) {
    let left = Left { data: a.data, row: a.stride, column: 1 };
    product(Product { size, left, right: b, onto, c_stride: c.stride }, c.data);
}

/// C[m, n] += A[k, m]ᵀ · B[k, n]: a weight gradient from k rows.
pub fn add_transposed_product<T: Real>(size: [usize; 3], a: Matrix<'_, T>, b: Matrix<'_, T>, c: MatrixMut<'_, T>) {
    let left = Left { data: a.data, row: 1, column: a.stride };
    product(Product { size, left, right: b, onto: Onto::Sum, c_stride: c.stride }, c.data);
}

/// The left factor: A[i, p] = data[i·row + p·column].
#[derive(Debug, Clone, Copy)]
struct Left<'a, T> {
    data: &'a [T],
    row: usize,
    column: usize,
}

/// A product C[m, n] = onto + A[m, k]·B[k, n], without C.
#[derive(Debug, Clone, Copy)]
struct Product<'a, T> {
    size: [usize; 3],
    left: Left<'a, T>,
    right: Matrix<'a, T>,
    onto: Onto<'a, T>,
    c_stride: usize,
}

impl<T> Product<'_, T> {
    /// Panics unless every element of the product lies inside its slice: the tiles rely on it.
    fn check(&self, c: &[T]) {
        let [m, n, k] = self.size;
        if m == 0 || n == 0 {
            return;
        }
        assert!(self.c_stride >= n && (m - 1) * self.c_stride + n <= c.len(), "C holds the product");
        if let Onto::Row(row) = self.onto {
            assert!(row.len() >= n, "the row is as wide as C");
        }
        if k > 0 {
            let Left { data, row, column } = self.left;
            assert!((m - 1) * row + (k - 1) * column < data.len(), "A holds the left factor");
            assert!((k - 1) * self.right.stride + n <= self.right.data.len(), "B holds the right factor");
        }
    }
}

impl<'a, T: Real> Product<'a, T> {
    /// The same product where T is f32.
    fn narrow(self) -> Product<'a, f32> {
        Product {
            size: self.size,
            left: Left { data: cast_slice(self.left.data), row: self.left.row, column: self.left.column },
            right: matrix(cast_slice(self.right.data), self.right.stride),
            onto: match self.onto {
                Onto::Zero => Onto::Zero,
                Onto::Sum => Onto::Sum,
                Onto::Row(row) => Onto::Row(cast_slice(row)),
            },
            c_stride: self.c_stride,
        }
    }
}

fn product<T: Real>(product: Product<'_, T>, c: &mut [T]) {
    product.check(c);
    if !(T::NARROW && in_registers(product.narrow(), cast_slice_mut(c))) {
        portable(product, c);
    }
}

/// Computes the product with explicit vector code if the machine can run one; returns whether it did. The product was checked.
fn in_registers(product: Product<'_, f32>, c: &mut [f32]) -> bool {
    #[cfg(target_arch = "x86_64")]
    match super::simd::detected() {
        // SAFETY: `detected` found AVX-512, and the product was checked against its slices.
        super::simd::AVX512 => unsafe { x86::multiply_avx512(product, c) },
        // SAFETY: `detected` found AVX2 and FMA, and the product was checked against its slices.
        super::simd::FMA => unsafe { x86::multiply_avx2(product, c) },
        _ => return false,
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (product, c);
    cfg!(target_arch = "x86_64")
}

/// Tiles in explicit vector registers. Without them the compiler vectorises some tile shapes along the wrong dimension, which is
/// twenty times slower.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Onto, Product};
    use std::arch::x86_64::*;

    macro_rules! tiles {
        ($name:ident, $features:literal, $vector:ty, $lanes:literal, $load:ident, $store:ident, $masked_load:ident,
         $masked_store:ident, $mask:ident, $splat:ident, $fma:ident, $zero:ident, [$(($v:literal, [$($m:literal),*])),*]) => {
            /// Does the whole product.
            ///
            /// # Safety
            /// The CPU has the features, and `product.check(c)` holds.
            #[target_feature(enable = $features)]
            pub unsafe fn $name(product: Product<'_, f32>, c: &mut [f32]) {
                /// # Safety
                /// As for the caller. Rows `i..i + M` and columns `j..j + V·lanes` lie inside the product; with `MASKED` elements
                /// beyond its last column are neither read nor written.
                #[inline]
                #[target_feature(enable = $features)]
                unsafe fn tile<const M: usize, const V: usize, const MASKED: bool>(
                    product: &Product<'_, f32>,
                    i: usize,
                    j: usize,
                    c: *mut f32,
                ) {
                    let [_, n, k] = product.size;
                    let mask = $mask(if MASKED { n - j } else { $lanes });
                    // SAFETY: the caller names an element inside, and the mask hides elements beyond the product.
                    let load = |at: *const f32| unsafe { if MASKED { $masked_load(mask, at) } else { $load(at) } };
                    let mut sum = [[$zero(); V]; M];
                    for m in 0..M {
                        for v in 0..V {
                            // SAFETY: row i + m and columns j + V·lanes lie inside C and the row, as checked.
                            sum[m][v] = unsafe {
                                match product.onto {
                                    Onto::Zero => $zero(),
                                    Onto::Sum => load(c.add((i + m) * product.c_stride + j + v * $lanes)),
                                    Onto::Row(row) => load(row.as_ptr().add(j + v * $lanes)),
                                }
                            };
                        }
                    }
                    let (a, b) = (product.left, product.right);
                    let (a_ptr, b_ptr) = (a.data.as_ptr(), b.data.as_ptr());
                    for p in 0..k {
                        // SAFETY: p < k, and the rows and columns lie inside A and B, as checked.
                        unsafe {
                            let mut right = [$zero(); V];
                            for v in 0..V {
                                right[v] = load(b_ptr.add(p * b.stride + j + v * $lanes));
                            }
                            for m in 0..M {
                                let left = $splat(*a_ptr.add((i + m) * a.row + p * a.column));
                                for v in 0..V {
                                    sum[m][v] = $fma(left, right[v], sum[m][v]);
                                }
                            }
                        }
                    }
                    for m in 0..M {
                        for v in 0..V {
                            // SAFETY: as for loading.
                            unsafe {
                                let at = c.add((i + m) * product.c_stride + j + v * $lanes);
                                if MASKED { $masked_store(at, mask, sum[m][v]) } else { $store(at, sum[m][v]) }
                            };
                        }
                    }
                }
                let [rows, columns, _] = product.size;
                let c = c.as_mut_ptr();
                let mut j = 0;
                $(
                    while j + $v * $lanes <= columns {
                        let mut i = 0;
                        $(
                            while i + ($m - 1) < rows {
                                // SAFETY: the tile's rows and columns were just compared with the product's.
                                unsafe { tile::<$m, $v, false>(&product, i, j, c) };
                                i += $m;
                            }
                        )*
                        j += $v * $lanes;
                    }
                )*
                if j < columns {
                    let mut i = 0;
                    while i + 6 <= rows {
                        // SAFETY: as above; fewer columns than a vector has are left.
                        unsafe { tile::<6, 1, true>(&product, i, j, c) };
                        i += 6;
                    }
                    while i < rows {
                        // SAFETY: as above.
                        unsafe { tile::<1, 1, true>(&product, i, j, c) };
                        i += 1;
                    }
                }
            }
        };
    }

    /// The first `n` lanes.
    #[inline]
    fn mask_512(n: usize) -> __mmask16 {
        ((1u32 << n) - 1) as __mmask16
    }

    /// The first `n` lanes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn mask_256(n: usize) -> __m256i {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }

    /// # Safety
    /// The masked elements at `at` may be read.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn masked_load_256(mask: __m256i, at: *const f32) -> __m256 {
        // SAFETY: the caller's.
        unsafe { _mm256_maskload_ps(at, mask) }
    }

    tiles!(
        multiply_avx512,
        "avx512f",
        __m512,
        16,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_maskz_loadu_ps,
        _mm512_mask_storeu_ps,
        mask_512,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_setzero_ps,
        [(4, [6, 3, 1]), (2, [12, 6, 3, 1]), (1, [12, 6, 3, 1])]
    );
    tiles!(
        multiply_avx2,
        "avx2,fma",
        __m256,
        8,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        masked_load_256,
        _mm256_maskstore_ps,
        mask_256,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_setzero_ps,
        [(2, [6, 3, 1]), (1, [6, 3, 1])]
    );
}

simd! {
    /// The product for any type and machine.
    fn portable<T>(product: Product<'_, T>, c: &mut [T]) {
        const WIDTH: usize = 16;
        let Product { size: [m, n, k], left, right, onto, c_stride } = product;
        for i in 0..m {
            for j in (0..n).step_by(WIDTH) {
                let width = WIDTH.min(n - j);
                let c = &mut c[i * c_stride + j..][..width];
                let mut sum = [T::ZERO; WIDTH];
                match onto {
                    Onto::Zero => {}
                    Onto::Sum => sum[..width].copy_from_slice(c),
                    Onto::Row(row) => sum[..width].copy_from_slice(&row[j..][..width]),
                }
                for p in 0..k {
                    let a = left.data[i * left.row + p * left.column];
                    let b = &right.data[p * right.stride + j..][..width];
                    if let Ok(b) = <&[T; WIDTH]>::try_from(b) {
                        for (sum, &b) in sum.iter_mut().zip(b) {
                            *sum = madd::<T, ISA>(a, b, *sum);
                        }
                    } else {
                        for (sum, &b) in sum.iter_mut().zip(b) {
                            *sum = madd::<T, ISA>(a, b, *sum);
                        }
                    }
                }
                c.copy_from_slice(&sum[..width]);
            }
        }
    }
}

simd! {
    /// `bias[n]` += column sums of the m × n matrix `rows`.
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
                    0 => multiply(
                        [m, n, k],
                        matrix(&a, a_stride),
                        matrix(&b, b_stride),
                        Onto::Zero,
                        matrix_mut(&mut c, c_stride),
                    ),
                    1 => multiply(
                        [m, n, k],
                        matrix(&a, a_stride),
                        matrix(&b, b_stride),
                        Onto::Sum,
                        matrix_mut(&mut c, c_stride),
                    ),
                    2 => multiply(
                        [m, n, k],
                        matrix(&a, a_stride),
                        matrix(&b, b_stride),
                        Onto::Row(&bias),
                        matrix_mut(&mut c, c_stride),
                    ),
                    _ => add_transposed_product(
                        [m, n, k],
                        matrix(&a_t, m),
                        matrix(&b, b_stride),
                        matrix_mut(&mut c, c_stride),
                    ),
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

    type Kernel = fn(Product<'_, f32>, &mut [f32]);

    /// Kernels that this machine can run, each as a function that does a whole product.
    fn kernels() -> Vec<(&'static str, Kernel)> {
        let mut kernels: Vec<(&'static str, Kernel)> = vec![
            ("portable", |product, c| {
                product.check(c);
                portable(product, c);
            }),
            ("chosen", |product, c| super::product(product, c)),
        ];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                kernels.push(("avx2", |product, c| {
                    product.check(c);
                    // SAFETY: the CPU has the features, and the product was checked.
                    unsafe { x86::multiply_avx2(product, c) };
                }));
            }
            if is_x86_feature_detected!("avx512f") {
                kernels.push(("avx512", |product, c| {
                    product.check(c);
                    // SAFETY: the CPU has the features, and the product was checked.
                    unsafe { x86::multiply_avx512(product, c) };
                }));
            }
        }
        kernels
    }

    /// Every remainder of rows and columns, on slices without an element to spare.
    #[test]
    fn every_kernel_does_every_remainder() {
        for (name, kernel) in kernels() {
            for (m, n, k) in (1..=14).map(|m| (m, 21, 3)).chain((1..=82).map(|n| (7, n, 4))).chain([
                (5, 37, 0),
                (1, 1, 0),
                (0, 5, 3),
                (5, 0, 3),
                (2, 3, 40),
                (13, 80, 17),
            ]) {
                for transposed in [false, true] {
                    let (row, column) = if transposed { (1, m + 2) } else { (k + 2, 1) };
                    let (b_stride, c_stride) = (n + 3, n + 5);
                    let last = |a: usize, b: usize| a.saturating_sub(1) * b;
                    let a: Vec<f32> = numbers(last(m, row) + last(k, column) + 1, 0.7);
                    let b: Vec<f32> = numbers(last(k, b_stride) + n, 1.3);
                    let bias: Vec<f32> = numbers(n, 2.1);
                    let start: Vec<f32> = numbers(last(m, c_stride) + n + 16, 0.3);
                    for onto in [Onto::Zero, Onto::Sum, Onto::Row(&bias)] {
                        let left = Left { data: &a, row, column };
                        let product = Product { size: [m, n, k], left, right: matrix(&b, b_stride), onto, c_stride };
                        let mut c = start.clone();
                        let end = c.len() - 8;
                        kernel(product, &mut c[8..end]);
                        for (at, (&found, &before)) in c.iter().zip(&start).enumerate() {
                            let place = at.checked_sub(8).map(|at| (at / c_stride, at % c_stride));
                            let inside = place.filter(|&(i, j)| i < m && j < n);
                            let expected = inside.map_or(f64::from(before), |(i, j)| {
                                let base = match onto {
                                    Onto::Zero => 0.0,
                                    Onto::Sum => f64::from(before),
                                    Onto::Row(row) => f64::from(row[j]),
                                };
                                let term =
                                    |p: usize| f64::from(a[i * row + p * column]) * f64::from(b[p * b_stride + j]);
                                base + (0..k).map(term).sum::<f64>()
                            });
                            let bound = if inside.is_some() { 1e-6 * (1.0 + k as f64) } else { 0.0 };
                            let error = (f64::from(found) - expected).abs();
                            assert!(error <= bound, "{name} {m}x{n}x{k} at {place:?}: {found}, not {expected}");
                        }
                    }
                }
            }
        }
    }

    /// Structures must not depend on the others in their chunk: a row's bits are the same alone and among others.
    #[test]
    fn rows_do_not_depend_on_other_rows() {
        let (n, k) = (53, 19);
        let a: Vec<f32> = numbers(29 * k, 0.7);
        let b: Vec<f32> = numbers(k * n, 1.3);
        for (name, kernel) in kernels() {
            let run = |first: usize, m: usize| {
                let left = Left { data: &a[first * k..], row: k, column: 1 };
                let mut c = vec![0.5; m * n];
                let right = matrix(&b, n);
                kernel(Product { size: [m, n, k], left, right, onto: Onto::Sum, c_stride: n }, &mut c);
                c
            };
            let whole = run(0, 29);
            for (first, m) in [(0, 1), (28, 1), (3, 2), (5, 7), (11, 12), (1, 28)] {
                assert_eq!(run(first, m), whole[first * n..][..m * n], "{name}, rows {first} and {m} on");
            }
        }
    }

    /// The tiles rely on these bounds.
    #[test]
    fn slices_too_short_for_the_product_are_noticed() {
        let (m, n, k) = (3, 10, 4);
        let run = |a: usize, b: usize, c: usize, row: usize, c_stride: usize| {
            std::panic::catch_unwind(|| {
                let (a, b, row) = (vec![1.0f32; a], vec![1.0; b], vec![1.0; row]);
                let onto = Onto::Row(&row);
                multiply([m, n, k], matrix(&a, 5), matrix(&b, 11), onto, matrix_mut(&mut vec![0.0; c], c_stride));
            })
            .is_ok()
        };
        let (a, b, c) = (2 * 5 + 4, 3 * 11 + 10, 2 * 12 + 10);
        assert!(run(a, b, c, n, 12), "exactly enough");
        assert!(!run(a - 1, b, c, n, 12), "A");
        assert!(!run(a, b - 1, c, n, 12), "B");
        assert!(!run(a, b, c - 1, n, 12), "C");
        assert!(!run(a, b, c, n - 1, 12), "the row");
        assert!(!run(a, b, 1000, n, n - 1), "rows of C that overlap");
        assert!(!run(0, b, c, n, 12) && !run(a, 0, c, n, 12) && !run(a, b, 0, n, 12), "nothing at all");
    }

    #[test]
    fn transposes_and_column_sums_of_odd_shapes() {
        for (rows, columns) in [(1, 1), (1, 40), (40, 1), (17, 33), (16, 16), (0, 5)] {
            let x: Vec<f64> = numbers(rows * columns, 0.9);
            let mut t = vec![0.0; x.len()];
            transpose(rows, columns, &x, &mut t);
            assert!((0..rows).all(|r| (0..columns).all(|c| t[c * rows + r] == x[r * columns + c])));
            let mut sums = vec![1.0; columns];
            add_column_sums(rows, matrix(&x, columns), &mut sums);
            for (c, sum) in sums.iter().enumerate() {
                let expected = 1.0 + (0..rows).map(|r| x[r * columns + c]).sum::<f64>();
                assert!((sum - expected).abs() < 1e-13);
            }
        }
    }
}
