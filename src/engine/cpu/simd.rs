//! Scalars, and the one way to use wide registers: the same safe Rust, compiled once per instruction set.
//!
//! `simd!` wraps a function so that its body is compiled for AVX-512, AVX2 with FMA, and the build's baseline. The widest version
//! that the machine supports runs. Inside, `ISA` is a constant and [`madd`] fuses a·b + c where that instruction set has FMA. The
//! compiler turns loops over slices and short arrays into vector code; there are no intrinsics.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};
use std::sync::OnceLock;

/// Channels that message kernels hold in registers at once: one AVX-512 register of f32.
pub const LANES: usize = 16;

/// No fused multiply-add.
pub const BASELINE: u8 = 0;
/// 256-bit vectors or another baseline with FMA.
pub const FMA: u8 = 1;
/// 512-bit vectors with FMA.
pub const AVX512: u8 = 2;

/// f32 or f64.
pub trait Real:
    Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + std::fmt::Debug
    + std::iter::Sum
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + bytemuck::Pod
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// "f32" or "f64".
    const NAME: &'static str;
    /// Template distances that differ by at most this (Å) share one filter row; 0: only equal ones do.
    const SHARED_DISTANCE_TOLERANCE: f64;
    /// Whether this type fills [`LANES`] lanes of one 512-bit register.
    const NARROW: bool;
    /// Rounds to this type.
    fn of(value: f64) -> Self;
    /// Widens.
    fn wide(self) -> f64;
    /// Fused a·b + c.
    fn fused(self, b: Self, c: Self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// sum += a ⊙ b on whole lanes.
    #[inline(always)]
    fn add_product<const ISA: u8>(sum: &mut Lane<Self>, a: &Lane<Self>, b: &Lane<Self>) {
        for c in 0..LANES {
            sum[c] = madd::<Self, ISA>(a[c], b[c], sum[c]);
        }
    }
    /// sum += a on whole lanes.
    #[inline(always)]
    fn add_lane<const ISA: u8>(sum: &mut Lane<Self>, a: &Lane<Self>) {
        for c in 0..LANES {
            sum[c] += a[c];
        }
    }
    /// e^self, in a form that vectorises for f32 (2 ulp); saturates instead of overflowing.
    fn exp<const ISA: u8>(self) -> Self;
}

impl Real for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const NAME: &'static str = "f64";
    const SHARED_DISTANCE_TOLERANCE: f64 = 0.0;
    const NARROW: bool = false;
    #[inline(always)]
    fn of(value: f64) -> f64 {
        value
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn fused(self, b: f64, c: f64) -> f64 {
        self.mul_add(b, c)
    }
    #[inline(always)]
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn exp<const ISA: u8>(self) -> f64 {
        f64::exp(self)
    }
}

impl Real for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    const NAME: &'static str = "f32";
    const SHARED_DISTANCE_TOLERANCE: f64 = 1e-6;
    const NARROW: bool = true;
    #[inline(always)]
    fn of(value: f64) -> f32 {
        value as f32
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn fused(self, b: f32, c: f32) -> f32 {
        self.mul_add(b, c)
    }
    #[inline(always)]
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn add_product<const ISA: u8>(sum: &mut Lane<f32>, a: &Lane<f32>, b: &Lane<f32>) {
        #[cfg(target_arch = "x86_64")]
        if ISA != BASELINE {
            // SAFETY: `simd!` compiles bodies with these constants only for CPUs that have the features.
            return unsafe {
                if ISA == AVX512 { lanes::add_product_avx512(sum, a, b) } else { lanes::add_product_avx2(sum, a, b) }
            };
        }
        for c in 0..LANES {
            sum[c] = madd::<f32, ISA>(a[c], b[c], sum[c]);
        }
    }
    #[inline(always)]
    fn add_lane<const ISA: u8>(sum: &mut Lane<f32>, a: &Lane<f32>) {
        #[cfg(target_arch = "x86_64")]
        if ISA != BASELINE {
            // SAFETY: as above.
            return unsafe {
                if ISA == AVX512 { lanes::add_lane_avx512(sum, a) } else { lanes::add_lane_avx2(sum, a) }
            };
        }
        for c in 0..LANES {
            sum[c] += a[c];
        }
    }
    /// Range reduction to |r| ≤ ln2/2 in two parts of ln 2 (Cody and Waite), then the Taylor polynomial of degree 7.
    #[inline(always)]
    fn exp<const ISA: u8>(self) -> f32 {
        /// Adding and subtracting 1.5·2²³ rounds to an integer, left in the low bits.
        const ROUND: f32 = 12_582_912.0;
        let x = if self < -87.0 { -87.0 } else { self };
        let x = if x > 88.0 { 88.0 } else { x };
        let shifted = madd::<f32, ISA>(x, std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = madd::<f32, ISA>(n, -0.693_359_4, x);
        let r = madd::<f32, ISA>(n, 2.121_944_4e-4, r);
        let mut p = 1.0 / 5040.0;
        for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = madd::<f32, ISA>(p, r, coefficient);
        }
        p * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
    }
}

/// Whole lanes in explicit registers. Without them the compiler splits a lane of sixteen into pieces of uneven width.
#[cfg(target_arch = "x86_64")]
mod lanes {
    use super::{LANES, Lane};
    use std::arch::x86_64::*;

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn add_product_avx512(sum: &mut Lane<f32>, a: &Lane<f32>, b: &Lane<f32>) {
        // SAFETY: the arrays hold the sixteen elements that are read and written.
        unsafe {
            let product = _mm512_fmadd_ps(
                _mm512_loadu_ps(a.as_ptr()),
                _mm512_loadu_ps(b.as_ptr()),
                _mm512_loadu_ps(sum.as_ptr()),
            );
            _mm512_storeu_ps(sum.as_mut_ptr(), product);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn add_lane_avx512(sum: &mut Lane<f32>, a: &Lane<f32>) {
        // SAFETY: the arrays hold the sixteen elements that are read and written.
        unsafe {
            let total = _mm512_add_ps(_mm512_loadu_ps(sum.as_ptr()), _mm512_loadu_ps(a.as_ptr()));
            _mm512_storeu_ps(sum.as_mut_ptr(), total);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn add_product_avx2(sum: &mut Lane<f32>, a: &Lane<f32>, b: &Lane<f32>) {
        for at in [0, LANES / 2] {
            // SAFETY: the arrays hold the eight elements from `at` on that are read and written.
            unsafe {
                let (a, b) = (_mm256_loadu_ps(a.as_ptr().add(at)), _mm256_loadu_ps(b.as_ptr().add(at)));
                let product = _mm256_fmadd_ps(a, b, _mm256_loadu_ps(sum.as_ptr().add(at)));
                _mm256_storeu_ps(sum.as_mut_ptr().add(at), product);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn add_lane_avx2(sum: &mut Lane<f32>, a: &Lane<f32>) {
        for at in [0, LANES / 2] {
            // SAFETY: the arrays hold the eight elements from `at` on that are read and written.
            unsafe {
                let total = _mm256_add_ps(_mm256_loadu_ps(sum.as_ptr().add(at)), _mm256_loadu_ps(a.as_ptr().add(at)));
                _mm256_storeu_ps(sum.as_mut_ptr().add(at), total);
            }
        }
    }
}

/// a·b + c, fused where the instruction set has it.
#[inline(always)]
pub fn madd<T: Real, const ISA: u8>(a: T, b: T, c: T) -> T {
    if ISA == BASELINE { a * b + c } else { a.fused(b, c) }
}

/// [`LANES`] channels.
pub type Lane<T> = [T; LANES];

/// The `k`-th lane of a packed slice.
#[inline(always)]
pub fn lane<T: Real>(packed: &[T], k: usize) -> &Lane<T> {
    packed[k * LANES..][..LANES].try_into().expect("LANES elements")
}

/// sum += a ⊙ b.
#[inline(always)]
pub fn add_product<T: Real, const ISA: u8>(sum: &mut Lane<T>, a: &Lane<T>, b: &Lane<T>) {
    T::add_product::<ISA>(sum, a, b);
}

/// sum += a·b with one number a.
#[inline(always)]
pub fn add_scaled<T: Real, const ISA: u8>(sum: &mut Lane<T>, a: T, b: &Lane<T>) {
    T::add_product::<ISA>(sum, &[a; LANES], b);
}

/// sum += a.
#[inline(always)]
pub fn add_lane<T: Real, const ISA: u8>(sum: &mut Lane<T>, a: &Lane<T>) {
    T::add_lane::<ISA>(sum, a);
}

/// a ⊙ b.
#[inline(always)]
pub fn product<T: Real, const ISA: u8>(a: &Lane<T>, b: &Lane<T>) -> Lane<T> {
    let mut out = [T::ZERO; LANES];
    T::add_product::<ISA>(&mut out, a, b);
    out
}

/// Channels `start..` of a row with `n` channels, padded with zeros.
#[inline(always)]
pub fn load_channels<T: Real>(row: &[T], start: usize, n: usize) -> Lane<T> {
    let mut out = [T::ZERO; LANES];
    if start + LANES <= n {
        out.copy_from_slice(&row[start..start + LANES]);
    } else {
        out[..n - start].copy_from_slice(&row[start..n]);
    }
    out
}

/// Writes the part of `channels` that lies inside a row with `n` channels.
#[inline(always)]
pub fn store_channels<T: Real>(row: &mut [T], start: usize, n: usize, channels: &Lane<T>) {
    if start + LANES <= n {
        row[start..start + LANES].copy_from_slice(channels);
    } else {
        row[start..n].copy_from_slice(&channels[..n - start]);
    }
}

/// Logistic function 1/(1 + e^−x).
#[inline(always)]
pub fn sigmoid<T: Real, const ISA: u8>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp::<ISA>())
}

/// Instruction set of this machine: [`AVX512`], [`FMA`] or [`BASELINE`].
pub fn detected() -> u8 {
    static DETECTED: OnceLock<u8> = OnceLock::new();
    *DETECTED.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            match (fma, wide) {
                (true, true) => AVX512,
                (true, false) => FMA,
                _ => BASELINE,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        if cfg!(target_arch = "aarch64") { FMA } else { BASELINE }
    })
}

/// Name of [`detected`] for people.
pub fn instruction_set() -> &'static str {
    match detected() {
        AVX512 => "avx512",
        FMA if cfg!(target_arch = "aarch64") => "neon",
        FMA => "avx2",
        _ => "baseline",
    }
}

/// Compiles a function's body once per instruction set and calls the widest version that the machine supports.
macro_rules! simd {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<T>($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name<T: $crate::engine::cpu::simd::Real>($($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body<T: $crate::engine::cpu::simd::Real, const ISA: u8>($($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512<T: $crate::engine::cpu::simd::Real>($($arg: $ty),*) {
                    body::<T, { $crate::engine::cpu::simd::AVX512 }>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2<T: $crate::engine::cpu::simd::Real>($($arg: $ty),*) {
                    body::<T, { $crate::engine::cpu::simd::FMA }>($($arg),*)
                }
                match $crate::engine::cpu::simd::detected() {
                    // SAFETY: `detected` says AVX512 only where all the features named above are there.
                    $crate::engine::cpu::simd::AVX512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: `detected` says FMA on x86-64 only where AVX2 and FMA are there.
                    $crate::engine::cpu::simd::FMA => return unsafe { avx2($($arg),*) },
                    _ => {}
                }
            }
            if cfg!(target_arch = "aarch64") {
                body::<T, { $crate::engine::cpu::simd::FMA }>($($arg),*)
            } else {
                body::<T, { $crate::engine::cpu::simd::BASELINE }>($($arg),*)
            }
        }
    };
}
pub(crate) use simd;

simd! {
    /// out = silu(h) = h·σ(h), element by element.
    pub fn silu_forward<T>(h: &[T], out: &mut [T]) {
        for (out, &h) in out.iter_mut().zip(h) {
            *out = h * sigmoid::<T, ISA>(h);
        }
    }
}

simd! {
    /// gradient ← gradient · silu′(h), with silu′ = σ·(1 + h·(1 − σ)).
    pub fn silu_backward<T>(h: &[T], gradient: &mut [T]) {
        for (gradient, &h) in gradient.iter_mut().zip(h) {
            let s = sigmoid::<T, ISA>(h);
            *gradient = *gradient * (s * madd::<T, ISA>(h, T::ONE - s, T::ONE));
        }
    }
}

simd! {
    /// sum ← sum + term, element by element.
    pub fn add_assign<T>(sum: &mut [T], term: &[T]) {
        for (sum, &term) in sum.iter_mut().zip(term) {
            *sum += term;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    simd! {
        fn exp_all<T>(x: &[T], out: &mut [T]) {
            for (out, &x) in out.iter_mut().zip(x) {
                *out = x.exp::<ISA>();
            }
        }
    }

    #[test]
    fn exp_is_accurate_and_saturates() {
        let x: Vec<f32> = (-8700..8800).map(|k| k as f32 * 0.01).collect();
        let mut y = vec![0.0f32; x.len()];
        exp_all(&x, &mut y);
        for (&x, &y) in x.iter().zip(&y) {
            let exact = f64::from(x).exp();
            assert!((f64::from(y) - exact).abs() <= 2.5e-7 * exact, "exp({x}) = {y}, not {exact}");
        }
        let mut ends = [0.0f32; 3];
        exp_all(&[-1e30, 1e30, f32::NAN], &mut ends);
        assert!(ends[0] >= 0.0 && ends[0] < 1e-37 && ends[1].is_finite() && ends[1] > 1e38);
        assert!(ends[2].is_nan(), "NaN must stay visible");
    }

    #[test]
    fn silu_backward_is_the_derivative() {
        let h: Vec<f64> = (-40..40).map(|k| f64::from(k) * 0.17).collect();
        let shifted = |by: f64| {
            let moved: Vec<f64> = h.iter().map(|h| h + by).collect();
            let mut out = vec![0.0; h.len()];
            silu_forward(&moved, &mut out);
            out
        };
        let (plus, minus) = (shifted(1e-5), shifted(-1e-5));
        let mut gradient = vec![1.0; h.len()];
        silu_backward(&h, &mut gradient);
        for k in 0..h.len() {
            let numeric = (plus[k] - minus[k]) / 2e-5;
            assert!((numeric - gradient[k]).abs() < 1e-9);
        }
    }
}
