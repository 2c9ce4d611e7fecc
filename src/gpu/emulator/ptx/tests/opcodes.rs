use super::super::numbers::{half_to_single, single_to_half};
use super::result;
use half::f16;

/// Each instruction gives the last number on the others.
fn check(cases: &[(&str, &[u64], u64)]) {
    for (instruction, inputs, expected) in cases {
        let found = result(instruction, inputs);
        assert_eq!(found, *expected, "{instruction} {inputs:x?}: {found:#x}, not {expected:#x}");
    }
}

fn f(x: f32) -> u64 {
    u64::from(x.to_bits())
}

fn d(x: f64) -> u64 {
    x.to_bits()
}

/// A negative number in 32 bits.
fn n(x: i32) -> u64 {
    u64::from(x as u32)
}

#[test]
fn whole_numbers_wrap_at_their_width() {
    check(&[
        ("add.s32 %r, %a, %b;", &[0xffff_ffff, 2], 1),
        ("add.s64 %r, %a, %b;", &[0xffff_ffff, 2], 0x1_0000_0001),
        ("add.s16 %r, %a, %b;", &[0xffff, 2], 1),
        ("sub.s32 %r, %a, %b;", &[1, 2], 0xffff_ffff),
        ("sub.s64 %r, %a, %b;", &[1, 2], u64::MAX),
        ("mul.lo.s32 %r, %a, %b;", &[0x10001, 0x10000], 0x10000),
        ("mul.lo.s64 %r, %a, %b;", &[0x10001, 0x10000], 0x1_0001_0000),
        ("mul.lo.s16 %r, %a, %b;", &[0x101, 0x100], 0x100),
        ("mul.wide.s32 %r, %a, %b;", &[n(-3), 5], -15_i64 as u64),
        ("mul.wide.u32 %r, %a, %b;", &[n(-3), 5], 21_474_836_465),
        ("mul.wide.u16 %r, %a, %b;", &[0xffff, 0xffff], 0xfffe_0001),
        ("mul.hi.u32 %r, %a, %b;", &[0x8000_0000, 6], 3),
        ("mad.lo.s32 %r, %a, %b, %c;", &[7, 6, n(-1)], 41),
        ("div.u32 %r, %a, %b;", &[n(-1), 10], 429_496_729),
        ("rem.u32 %r, %a, %b;", &[n(-1), 10], 5),
        ("neg.s32 %r, %a;", &[5], n(-5)),
        ("neg.s64 %r, %a;", &[5], -5_i64 as u64),
        ("min.s32 %r, %a, %b;", &[n(-1), 1], n(-1)),
        ("min.u32 %r, %a, %b;", &[n(-1), 1], 1),
        ("max.s64 %r, %a, %b;", &[-1_i64 as u64, 1], 1),
        ("max.u64 %r, %a, %b;", &[-1_i64 as u64, 1], u64::MAX),
    ]);
}

#[test]
fn bits_shift_out() {
    check(&[
        ("and.b32 %r, %a, %b;", &[0b1100, 0b1010], 0b1000),
        ("or.b64 %r, %a, %b;", &[0b1100, 0b1010], 0b1110),
        ("xor.b32 %r, %a, %b;", &[0b1100, 0b1010], 0b0110),
        ("not.b32 %r, %a;", &[1], 0xffff_fffe),
        ("not.b16 %r, %a;", &[1], 0xfffe),
        ("not.pred %r, %a;", &[1], 0),
        ("shl.b32 %r, %a, 31;", &[3], 0x8000_0000),
        ("shl.b32 %r, %a, 32;", &[3], 0),
        ("shl.b64 %r, %a, 63;", &[3], 1 << 63),
        ("shr.u32 %r, %a, 1;", &[n(-8)], 0x7fff_fffc),
        ("shr.u32 %r, %a, 32;", &[n(-8)], 0),
        ("shr.s32 %r, %a, 1;", &[n(-8)], n(-4)),
        ("shr.s32 %r, %a, 40;", &[n(-8)], n(-1)),
        ("shr.u64 %r, %a, 64;", &[u64::MAX], 0),
        ("shr.s64 %r, %a, 64;", &[1 << 63], u64::MAX),
        ("bfi.b32 %r, %a, %b, 4, 4;", &[0xf5, 0xffff_0000], 0xffff_0050),
        ("bfi.b32 %r, %a, %b, 28, 8;", &[0x77, 0xffff_ffff], 0x7fff_ffff),
        ("bfi.b32 %r, %a, %b, 4, 0;", &[0xf5, 0xffff_0000], 0xffff_0000),
        ("bfi.b64 %r, %a, %b, 32, 32;", &[0x1234_5678, 9], 0x1234_5678_0000_0009),
        ("prmt.b32 %r, %a, %b, 8452;", &[0x4433_2211, 0x8877_6655], 0x3322_1155),
        ("prmt.b32 %r, %a, %b, 0x7610;", &[0x4433_2211, 0x8877_6655], 0x8877_2211),
        ("prmt.b32 %r, %a, %b, 0xf8;", &[0x4433_2211, 0x8877_6655], 0x1111_ff00),
        ("mov.b64 %r, {%a, %b};", &[0x1_0000_0002, 3], 0x3_0000_0002),
        ("mov.b32 %r, {%a, %b};", &[0x12, 0x34], 0x34_0012),
        ("mov.b64 {%x, %r}, %a;", &[0x3_0000_0002], 3),
        ("mov.b64 {%r, _}, %a;", &[0x3_0000_0002], 2),
        ("selp.b32 %r, %a, %b, %c;", &[7, 8, 1], 7),
        ("selp.b32 %r, %a, %b, %c;", &[7, 8, 0], 8),
    ]);
}

#[test]
fn floats_round_once_and_as_told() {
    let up = 1.0 + 2f32.powi(-12);
    check(&[
        ("add.f32 %r, %a, %b;", &[f(1.0), f(2f32.powi(-24))], f(1.0)),
        ("sub.f32 %r, %a, %b;", &[f(1.0), f(0.25)], f(0.75)),
        // (1 + 2⁻¹²)² − 1 is 2⁻¹¹ + 2⁻²⁴; a rounded product would lose the second part.
        ("fma.rn.f32 %r, %a, %a, %b;", &[f(up), f(-1.0)], 0x3a00_0400),
        ("mul.f32 %r, %a, %a;", &[f(up)], f(1.0 + 2f32.powi(-11))),
        ("fma.rm.f32 %r, %a, %a, %b;", &[f(1.0), f(2f32.powi(-30))], f(1.0)),
        ("fma.rm.f32 %r, %a, %a, %b;", &[f(1.0), f(-2f32.powi(-30))], 0x3f7f_ffff),
        ("add.f64 %r, %a, %b;", &[d(1.0), d(-2f64.powi(-60))], d(1.0)),
        ("add.rz.f64 %r, %a, %b;", &[d(1.0), d(-2f64.powi(-60))], 0x3fef_ffff_ffff_ffff),
        ("add.rz.f64 %r, %a, %b;", &[d(-1.0), d(2f64.powi(-60))], 0xbfef_ffff_ffff_ffff),
        ("add.rz.f64 %r, %a, %b;", &[d(1.0), d(2f64.powi(-60))], d(1.0)),
        ("fma.rn.f64 %r, %a, %b, %c;", &[d(2.0), d(3.0), d(4.0)], d(10.0)),
        ("div.rn.f32 %r, %a, %b;", &[f(1.0), f(3.0)], 0x3eaa_aaab),
        ("div.rn.f64 %r, %a, %b;", &[d(1.0), d(3.0)], 0x3fd5_5555_5555_5555),
        ("rcp.rn.f32 %r, %a;", &[f(3.0)], 0x3eaa_aaab),
        ("rcp.rn.f64 %r, %a;", &[d(3.0)], 0x3fd5_5555_5555_5555),
        ("rcp.approx.ftz.f64 %r, %a;", &[d(3.0)], 0x3fd5_5555_0000_0000),
        ("rcp.approx.ftz.f64 %r, %a;", &[d(1.5)], 0x3fe5_5555_0000_0000),
        ("rsqrt.approx.ftz.f64 %r, %a;", &[d(4.0)], d(0.5)),
        ("sqrt.rn.f32 %r, %a;", &[f(2.0)], 0x3fb5_04f3),
        ("sqrt.rn.f64 %r, %a;", &[d(2.0)], 0x3ff6_a09e_667f_3bcd),
        ("ex2.approx.ftz.f32 %r, %a;", &[f(3.0)], f(8.0)),
        ("ex2.approx.ftz.f32 %r, %a;", &[f(-130.0)], f(0.0)),
        ("abs.f32 %r, %a;", &[f(-2.0)], f(2.0)),
        ("neg.f64 %r, %a;", &[d(0.0)], d(-0.0)),
        ("copysign.f32 %r, %a, %b;", &[f(-3.0), f(2.0)], f(-2.0)),
        ("copysign.f64 %r, %a, %b;", &[d(3.0), d(-2.0)], d(2.0)),
    ]);
}

#[test]
fn nan_loses_and_compares_as_unordered() {
    let nan = f(f32::NAN);
    check(&[
        ("min.f32 %r, %a, %b;", &[nan, f(1.0)], f(1.0)),
        ("max.f32 %r, %a, %b;", &[f(1.0), nan], f(1.0)),
        ("min.f32 %r, %a, %b;", &[f(0.0), f(-0.0)], f(-0.0)),
        ("max.f64 %r, %a, %b;", &[d(-0.0), d(0.0)], d(0.0)),
        ("max.f64 %r, %a, %b;", &[d(-1.0), d(-2.0)], d(-1.0)),
        ("setp.lt.f32 %r, %a, %b;", &[f(1.0), f(2.0)], 1),
        ("setp.lt.f32 %r, %a, %b;", &[f(1.0), nan], 0),
        ("setp.ltu.f32 %r, %a, %b;", &[f(1.0), nan], 1),
        ("setp.ne.f32 %r, %a, %b;", &[f(1.0), nan], 0),
        ("setp.neu.f32 %r, %a, %b;", &[f(1.0), nan], 1),
        ("setp.nan.f32 %r, %a, %b;", &[f(1.0), nan], 1),
        ("setp.num.f64 %r, %a, %b;", &[d(1.0), d(2.0)], 1),
        ("setp.gt.s32 %r, %a, %b;", &[n(-1), 1], 0),
        ("setp.gt.u32 %r, %a, %b;", &[n(-1), 1], 1),
        ("setp.hi.u32 %r, %a, %b;", &[0x1_0000_0000, 1], 0),
        ("setp.eq.s16 %r, %a, %b;", &[0x1_0001, 1], 1),
        ("setp.ge.s64 %r, %a, 0;", &[-1_i64 as u64], 0),
    ]);
}

#[test]
fn conversions_round_and_saturate() {
    check(&[
        ("cvt.rni.s32.f32 %r, %a;", &[f(2.5)], 2),
        ("cvt.rni.s32.f32 %r, %a;", &[f(3.5)], 4),
        ("cvt.rzi.s32.f32 %r, %a;", &[f(-2.7)], n(-2)),
        ("cvt.rmi.s32.f32 %r, %a;", &[f(-2.1)], n(-3)),
        ("cvt.rpi.s32.f64 %r, %a;", &[d(2.1)], 3),
        ("cvt.rzi.u32.f32 %r, %a;", &[f(-1.0)], 0),
        ("cvt.rzi.u32.f32 %r, %a;", &[f(5e9)], 0xffff_ffff),
        ("cvt.rzi.u64.f64 %r, %a;", &[d(5e9)], 5_000_000_000),
        ("cvt.rmi.f64.f64 %r, %a;", &[d(-2.5)], d(-3.0)),
        ("cvt.rni.f32.f32 %r, %a;", &[f(2.5)], f(2.0)),
        ("cvt.sat.f32.f32 %r, %a;", &[f(1.5)], f(1.0)),
        ("cvt.sat.f32.f32 %r, %a;", &[f(f32::NAN)], f(0.0)),
        ("cvt.rn.f32.f64 %r, %a;", &[d(0.1)], 0x3dcc_cccd),
        ("cvt.f64.f32 %r, %a;", &[f(0.5)], d(0.5)),
        ("cvt.rn.f32.s32 %r, %a;", &[n(-3)], f(-3.0)),
        ("cvt.rn.f32.u32 %r, %a;", &[0x0100_0001], f(16_777_216.0)),
        ("cvt.rn.f64.u64 %r, %a;", &[1 << 40], d(2f64.powi(40))),
        ("cvt.s64.s32 %r, %a;", &[n(-3)], -3_i64 as u64),
        ("cvt.u64.u32 %r, %a;", &[n(-3)], 0xffff_fffd),
        ("cvt.u16.u32 %r, %a;", &[0x12_3456], 0x3456),
        ("cvt.rn.f16.f32 %r, %a;", &[f(0.1)], 0x2e66),
        ("cvt.f32.f16 %r, %a;", &[0x3555], f(0.333_251_95)),
        ("cvt.rn.f16x2.f32 %r, %a, %b;", &[f(1.0), f(2.0)], 0x3c00_4000),
    ]);
}

/// Values of numpy 2.4: `np.float32(x).astype(np.float16).view(np.uint16)`.
#[test]
fn halves_at_the_edges_of_their_range() {
    let tie = 2f32.powi(-25);
    let cases: [(f32, u16); 9] = [
        (0.1, 0x2e66),
        (1.0 / 3.0, 0x3555),
        (65519.99, 0x7bff),
        (65520.0, 0x7c00),
        (-1e30, 0xfc00),
        (tie, 0x0000),
        (tie.next_up(), 0x0001),
        (3.0 * tie, 0x0002),
        (-0.0, 0x8000),
    ];
    for (x, bits) in cases {
        assert_eq!(single_to_half(x), bits, "{x}");
    }
}

/// Every half, the middles between neighbours and what is next to them.
#[test]
fn halves_are_those_of_the_crate_half() {
    for bits in 0..=u16::MAX {
        let (own, theirs) = (half_to_single(bits), f16::from_bits(bits).to_f32());
        assert!(own.to_bits() == theirs.to_bits() || (own.is_nan() && theirs.is_nan()), "{bits:#x}: {own} {theirs}");
        let middle = (own + f16::from_bits(bits.wrapping_add(1)).to_f32()) / 2.0;
        for x in [own, middle, middle.next_up(), middle.next_down()].into_iter().filter(|x| !x.is_nan()) {
            assert_eq!(single_to_half(x), f16::from_f32(x).to_bits(), "{x}");
        }
    }
}
