//! What each instruction of PTX asks of a multiprocessor.
//!
//! Throughputs are those of the CUDA Programming Guide by compute capability, latencies those of published microbenchmarks; divisions
//! and roots cost what they expand to.

use crate::gpu::emulator::ptx::Operands;

/// What executes an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nothing: the assembler folds it away.
    Free,
    F32,
    Whole,
    F64,
    /// Reciprocals, roots and conversions, a quarter of a warp at a time.
    Special,
    Shared,
    Global,
    /// Shuffles and votes.
    Lanes,
    Barrier,
    Jump,
}

/// An instruction.
#[derive(Debug, Clone)]
pub struct Step {
    pub unit: Unit,
    /// Slots of its unit.
    pub slots: u64,
    /// Clocks until its result can be read. That of f64 is the card's, times `slots`; that of global memory is the cache's.
    pub latency: u64,
    pub is_store: bool,
    /// A load that no store of the kernel changes.
    pub is_constant: bool,
    pub operands: Operands,
}

/// Conversions that only name a register in another way.
const RENAMED: [&str; 5] = ["cvt.u64.u32", "cvt.u16.u32", "cvt.u32.u64", "cvt.u32.u16", "cvt.u64.u16"];

pub fn steps(all: &[Operands]) -> Vec<Step> {
    all.iter().map(step).collect()
}

fn step(operands: &Operands) -> Step {
    let opcode = operands.opcode.as_str();
    let (unit, slots, latency) =
        if opcode.is_empty() { (Unit::Free, 0, 0) } else { cost(opcode, operands.by_constant) };
    Step {
        unit,
        slots,
        latency,
        is_store: opcode.starts_with("st.") || opcode.starts_with("atom."),
        is_constant: opcode.starts_with("ld.global.nc"),
        operands: operands.clone(),
    }
}

/// Unit, slots and latency of an opcode whose second source is or is not a constant.
fn cost(opcode: &str, by_constant: bool) -> (Unit, u64, u64) {
    let name = opcode.split('.').next().unwrap_or_default();
    let kind = opcode.rsplit('.').next().unwrap_or_default();
    let has = |part: &str| opcode.split('.').any(|found| found == part);
    let is_wide = ["s64", "b64", "u64"].contains(&kind);
    match name {
        "mov" | "cvta" | "ret" | "exit" | "call" | "neg" | "abs" => (Unit::Free, 0, 0),
        "ld" | "st" if has("param") => (Unit::Free, 0, 0),
        "ld" | "st" if has("shared") => (Unit::Shared, 1, 29),
        "ld" | "st" | "atom" => (Unit::Global, 1, 39),
        "cvt" if RENAMED.contains(&opcode) => (Unit::Free, 0, 0),
        "cvt" if has("f64") => (Unit::F64, 1, 1),
        "cvt" if has("sat") => (Unit::F32, 1, 4),
        "cvt" => (Unit::Special, 1, 20),
        "bar" if has("warp") => (Unit::Lanes, 1, 24),
        "bar" => (Unit::Barrier, 1, 20),
        "bra" => (Unit::Jump, 1, 6),
        "shfl" | "vote" => (Unit::Lanes, 1, 24),
        // Offsets of addresses are part of the access.
        "add" if is_wide && by_constant => (Unit::Free, 0, 0),
        "mul" if has("wide") => (Unit::Free, 0, 0),
        "shl" if is_wide => (Unit::Free, 0, 0),
        "rcp" | "rsqrt" if kind == "f64" && has("approx") => (Unit::Special, 1, 40),
        "div" | "sqrt" if kind == "f64" => (Unit::F64, 9, 9),
        "rcp" if kind == "f64" => (Unit::F64, 6, 6),
        _ if kind == "f64" && name != "selp" => (Unit::F64, 1, 1),
        "div" if kind == "f32" => (Unit::F32, 9, 60),
        "sqrt" if kind == "f32" => (Unit::F32, 7, 50),
        "rcp" if kind == "f32" => (Unit::F32, 5, 40),
        "ex2" => (Unit::Special, 1, 21),
        "div" | "rem" => (Unit::Whole, 15, 80),
        "fma" | "add" | "sub" | "mul" if kind == "f32" => (Unit::F32, 1, 4),
        _ if kind == "s64" && has("lo") => (Unit::Whole, 3, 10),
        _ if is_wide => (Unit::Whole, 2, 6),
        _ => (Unit::Whole, 1, 5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_have_the_units_of_the_guide() {
        assert_eq!(cost("fma.rn.f32", false), (Unit::F32, 1, 4));
        assert_eq!(cost("fma.rn.f64", false), (Unit::F64, 1, 1));
        assert_eq!(cost("setp.lt.f64", false).0, Unit::F64);
        assert_eq!(cost("div.rn.f64", false), (Unit::F64, 9, 9));
        assert_eq!(cost("add.s64", true).0, Unit::Free);
        assert_eq!(cost("add.s64", false), (Unit::Whole, 2, 6));
        assert_eq!(cost("ld.global.nc.v4.f32", false).0, Unit::Global);
        assert_eq!(cost("ld.shared.v4.f32", false).0, Unit::Shared);
        assert_eq!(cost("ld.param.u32", false).0, Unit::Free);
    }
}
