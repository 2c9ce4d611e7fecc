//! The arithmetic of single instructions. Results are exact to the last bit where the PTX ISA fixes them. Of `ex2.approx`,
//! `rcp.approx.ftz.f64` and `rsqrt.approx.ftz.f64` it fixes a bound of the error; here they are rounded to nearest.

use super::instruction::{Instruction, Real, Relation, Rounding, Type, Whole};

/// The upper half of an f64.
const UPPER: u64 = 0xffff_ffff_0000_0000;

/// The result of an operation on whole numbers; `None` for a division by zero. `d` is the fourth source.
#[inline(always)]
pub fn whole(operation: Whole, kind: Type, [a, b, c]: [u64; 3], d: u64) -> Option<u64> {
    let mask = kind.mask();
    Some(match operation {
        Whole::Add => a.wrapping_add(b) & mask,
        Whole::Subtract => a.wrapping_sub(b) & mask,
        Whole::Multiply => a.wrapping_mul(b) & mask,
        Whole::MultiplyAdd => a.wrapping_mul(b).wrapping_add(c) & mask,
        // The result has twice the width of the sources.
        Whole::MultiplyWide => match kind {
            Type::U16 => u64::from(a as u16) * u64::from(b as u16),
            Type::S32 => (i64::from(a as i32) * i64::from(b as i32)) as u64,
            _ => u64::from(a as u32) * u64::from(b as u32),
        },
        Whole::MultiplyHigh => ((kind.whole(a) * kind.whole(b)) >> (8 * kind.bytes())) as u64 & mask,
        Whole::Divide => (a & mask).checked_div(b & mask)?,
        Whole::Remainder => (a & mask).checked_rem(b & mask)?,
        Whole::Negate => a.wrapping_neg() & mask,
        Whole::And => a & b & mask,
        Whole::Or => (a | b) & mask,
        Whole::Xor => (a ^ b) & mask,
        Whole::Not => !a & mask,
        Whole::ShiftLeft => a.checked_shl(b as u32).unwrap_or(0) & mask,
        Whole::ShiftRight => {
            let most = 8 * kind.bytes() as u32 - u32::from(kind.is_signed());
            let by = (b as u32).min(most);
            (kind.whole(a) >> by) as u64 & mask
        }
        Whole::Permute => permute(a & Type::U32.mask() | b << 32, c),
        Whole::Insert => insert(kind, a, b, [c as u32 & 0xff, d as u32 & 0xff]) & mask,
    })
}

/// Four of the eight `bytes`: each of the lowest four hexadecimal digits of `selector` names one; from 8 on, the sign of that byte.
fn permute(bytes: u64, selector: u64) -> u64 {
    let byte = |k: u32| {
        let digit = selector >> (4 * k) & 0xf;
        let chosen = (bytes >> (8 * (digit & 7))) as u8;
        u64::from(if digit & 8 == 0 { chosen } else { (chosen as i8 >> 7) as u8 }) << (8 * k)
    };
    (0..4).map(byte).sum()
}

/// `into` with the lowest `length` bits of `bits` from bit `first` on.
fn insert(kind: Type, bits: u64, into: u64, [first, length]: [u32; 2]) -> u64 {
    let width = 8 * kind.bytes() as u32;
    if first >= width || length == 0 {
        return into;
    }
    let field = (u64::MAX >> (64 - length.min(64))) << first;
    (into & !field) | (bits << first & field)
}

/// The result of an operation on f32.
#[inline(always)]
pub fn single(operation: Real, [a, b, c]: [f32; 3]) -> f32 {
    match operation {
        Real::Add => a + b,
        Real::Subtract => a - b,
        Real::Multiply => a * b,
        Real::MultiplyAdd => a.mul_add(b, c),
        Real::MultiplyAddDown => multiply_add_down(a, b, c),
        Real::Divide => a / b,
        Real::Reciprocal => 1.0 / a,
        Real::Root => a.sqrt(),
        Real::Exp2Approx => exp2_flushed(a),
        Real::Absolute => a.abs(),
        Real::Negate => -a,
        Real::CopySign => b.copysign(a),
        // The reader makes none of these.
        Real::AddTowardsZero | Real::ReciprocalApprox | Real::RootReciprocalApprox => f32::NAN,
    }
}

/// The result of an operation on f64.
#[inline(always)]
pub fn double(operation: Real, [a, b, c]: [f64; 3]) -> f64 {
    match operation {
        Real::Add => a + b,
        Real::AddTowardsZero => add_towards_zero(a, b),
        Real::Subtract => a - b,
        Real::Multiply => a * b,
        Real::MultiplyAdd => a.mul_add(b, c),
        Real::Divide => a / b,
        Real::Reciprocal => 1.0 / a,
        Real::ReciprocalApprox => upper_half(1.0 / flushed(a)),
        Real::Root => a.sqrt(),
        Real::RootReciprocalApprox => upper_half(1.0 / flushed(a).sqrt()),
        Real::Absolute => a.abs(),
        Real::Negate => -a,
        Real::CopySign => b.copysign(a),
        // The reader makes none of these.
        Real::MultiplyAddDown | Real::Exp2Approx => f64::NAN,
    }
}

/// 2ˣ without subnormal numbers, as `.ftz` has it.
fn exp2_flushed(x: f32) -> f32 {
    let x = if x.is_subnormal() { 0.0 } else { x };
    let y = f64::from(x).exp2() as f32;
    if y.is_subnormal() { 0.0 } else { y }
}

/// a + b rounded to nearest, and what the rounding took away (Knuth's sum of two numbers).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

fn add_towards_zero(a: f64, b: f64) -> f64 {
    let (sum, rest) = two_sum(a, b);
    let away = (sum > 0.0 && rest < 0.0) || (sum < 0.0 && rest > 0.0);
    if sum.is_finite() && away { f64::from_bits(sum.to_bits() - 1) } else { sum }
}

fn multiply_add_down(a: f32, b: f32, c: f32) -> f32 {
    // The product of two f32 is exact in f64.
    let (sum, rest) = two_sum(f64::from(a) * f64::from(b), f64::from(c));
    let nearest = sum as f32;
    let wide = f64::from(nearest);
    let above = nearest.is_finite() && (wide > sum || (wide == sum && rest < 0.0));
    if above { nearest.next_down() } else { nearest }
}

/// `x` rounded to the upper half of its bits, subnormal numbers to 0.
fn upper_half(x: f64) -> f64 {
    if !x.is_finite() {
        return x;
    }
    if x.abs() < f64::MIN_POSITIVE {
        return 0f64.copysign(x);
    }
    f64::from_bits((x.to_bits() + 0x8000_0000) & UPPER)
}

/// The upper half of `x`, subnormal numbers as 0.
fn flushed(x: f64) -> f64 {
    let x = f64::from_bits(x.to_bits() & UPPER);
    if x.abs() < f64::MIN_POSITIVE { 0f64.copysign(x) } else { x }
}

/// The half `bits` as f32, exactly.
pub fn half_to_single(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, mantissa) = (u32::from(bits >> 10 & 31), u32::from(bits & 0x3ff));
    f32::from_bits(match exponent {
        31 if mantissa == 0 => sign | 0x7f80_0000,
        31 => 0x7fff_ffff,
        0 => (mantissa as f32 * 2f32.powi(-24)).to_bits() | sign,
        exponent => sign | (exponent + 112) << 23 | mantissa << 13,
    })
}

/// `x` as a half: to nearest, ties to even.
pub fn single_to_half(x: f32) -> u16 {
    if x.is_nan() {
        return 0x7fff;
    }
    let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
    let size = f64::from(x.abs());
    if size >= 65520.0 {
        return sign | 0x7c00;
    }
    let exponent = if size == 0.0 { -14 } else { ((size.to_bits() >> 52) as i32 - 1023).max(-14) };
    // A half is a whole number of steps. Steps are powers of two, so the division is exact.
    let steps = (size / 2f64.powi(exponent - 10)).round_ties_even() as u16;
    // 2048 steps are the first number of the next exponent: the sum carries by itself.
    sign | if exponent == -14 { steps } else { (((exponent + 14) as u16) << 10).wrapping_add(steps) }
}

fn integral(x: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => x.round_ties_even(),
        Rounding::Zero => x.trunc(),
        Rounding::Down => x.floor(),
        Rounding::Up => x.ceil(),
        Rounding::NotNamed => x,
    }
}

/// The result of a conversion; `None` if the reader should have refused it.
pub fn convert(bits: u64, instruction: &Instruction) -> Option<u64> {
    let (to, from, rounding) = (instruction.kind, instruction.from, instruction.rounding);
    if !from.is_float() {
        let value = from.whole(bits);
        return Some(match to {
            Type::F32 if rounding == Rounding::Nearest => u64::from((value as f32).to_bits()),
            Type::F64 if rounding == Rounding::Nearest => (value as f64).to_bits(),
            _ if to.is_float() || to == Type::Pred || instruction.saturates => return None,
            _ if to.is_signed() => value as u64,
            _ => value as u64 & to.mask(),
        });
    }
    let x = match from {
        Type::F16 => f64::from(half_to_single(bits as u16)),
        Type::F32 => f64::from(f32::from_bits(bits as u32)),
        _ => f64::from_bits(bits),
    };
    // All f32 are exact in f64, so are their integral parts.
    let y = if to == from || !to.is_float() { integral(x, rounding) } else { x };
    Some(match to {
        Type::F64 => y.to_bits(),
        Type::F32 if from == Type::F32 && instruction.saturates => {
            // NaN becomes 0.
            u64::from((if y > 0.0 { y.min(1.0) as f32 } else { 0.0 }).to_bits())
        }
        Type::F32 if from != Type::F64 || rounding == Rounding::Nearest => u64::from((y as f32).to_bits()),
        Type::F16 if from == Type::F32 && rounding == Rounding::Nearest => u64::from(single_to_half(y as f32)),
        Type::S32 => u64::from(y as i32 as u32),
        Type::U32 => u64::from(y as u32),
        Type::S64 => y as i64 as u64,
        Type::U64 => y as u64,
        _ => return None,
    })
}

fn related<T: PartialOrd>(relation: Relation, a: T, b: T, has_nan: bool) -> bool {
    match relation {
        Relation::Equal => a == b,
        Relation::NotEqual => a != b && !has_nan,
        Relation::Less => a < b,
        Relation::LessEqual => a <= b,
        Relation::Greater => a > b,
        Relation::GreaterEqual => a >= b,
        Relation::EqualU => a == b || has_nan,
        Relation::NotEqualU => a != b || has_nan,
        Relation::LessU => a < b || has_nan,
        Relation::LessEqualU => a <= b || has_nan,
        Relation::GreaterU => a > b || has_nan,
        Relation::GreaterEqualU => a >= b || has_nan,
        Relation::AnyNan => has_nan,
        Relation::NoNan => !has_nan,
    }
}

/// The result of a comparison of two registers.
#[inline(always)]
pub fn compare(relation: Relation, kind: Type, a: u64, b: u64) -> bool {
    match kind {
        Type::F32 => {
            let (x, y) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
            related(relation, x, y, x.is_nan() || y.is_nan())
        }
        Type::F64 => {
            let (x, y) = (f64::from_bits(a), f64::from_bits(b));
            related(relation, x, y, x.is_nan() || y.is_nan())
        }
        _ if kind.is_signed() => related(relation, kind.whole(a) as i64, kind.whole(b) as i64, false),
        _ => related(relation, a & kind.mask(), b & kind.mask(), false),
    }
}

/// The smaller or larger of two registers. Of floats, NaN loses, and −0 is smaller than 0.
pub fn extreme(kind: Type, a: u64, b: u64, largest: bool) -> u64 {
    if !kind.is_float() {
        let relation = if largest { Relation::GreaterEqual } else { Relation::LessEqual };
        return if compare(relation, kind, a, b) { a } else { b };
    }
    let wide =
        |bits: u64| if kind == Type::F32 { f64::from(f32::from_bits(bits as u32)) } else { f64::from_bits(bits) };
    let (x, y) = (wide(a), wide(b));
    let takes_first = if x.is_nan() || y.is_nan() {
        y.is_nan()
    } else if x == y {
        x.is_sign_negative() != largest
    } else {
        (x > y) == largest
    };
    if takes_first { a } else { b }
}
