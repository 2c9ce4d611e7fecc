//! What an instruction reads and writes: for whoever puts instructions in another order.

use super::instruction::{NOTHING, Operation, Whole};
use super::kernel::Kernel;

/// An instruction, as its registers and the order of memory bind it.
#[derive(Debug, Clone)]
pub struct Operands {
    pub opcode: String,
    /// Registers that it writes.
    pub written: Vec<u32>,
    /// Registers that it reads, without constants.
    pub read: Vec<u32>,
    /// True if its second source is a constant.
    pub by_constant: bool,
    /// 32-bit registers of one result.
    pub width: u32,
    /// The place it jumps to.
    pub jumps_to: Option<usize>,
    /// True if the next instruction may be another one than the next of the text.
    pub ends_run: bool,
    /// True if it is the guard of the next instruction.
    pub is_guard: bool,
}

#[cfg(test)]
impl Operands {
    /// Of an instruction that reads and writes these registers, one each; a jump ends its run.
    pub fn plain(opcode: &str, written: &[u32], read: &[u32]) -> Self {
        Operands {
            opcode: opcode.to_owned(),
            written: written.to_vec(),
            read: read.to_vec(),
            by_constant: false,
            width: 1,
            jumps_to: None,
            ends_run: opcode.starts_with("bra"),
            is_guard: false,
        }
    }
}

impl Kernel {
    /// The operands of all instructions; `opcodes` are their names.
    pub(super) fn operands(&self, opcodes: &[&str]) -> Vec<Operands> {
        let mut all: Vec<Operands> = (0..self.code.len()).map(|at| self.operands_of(at, opcodes[at])).collect();
        // A guarded instruction needs its guard, and what it would leave as it was.
        for at in 1..all.len() {
            if all[at - 1].is_guard {
                let guard = all[at - 1].read.clone();
                let kept = all[at].written.clone();
                all[at].read.extend(guard.into_iter().chain(kept));
            }
        }
        all
    }

    fn operands_of(&self, at: usize, opcode: &str) -> Operands {
        let now = &self.code[at];
        let list = |place: u32, count: usize| self.lists[place as usize][..count].to_vec();
        let count = usize::from(now.count);
        let (written, read) = match now.operation {
            Operation::Load(_) => (list(now.target, count), vec![now.a]),
            Operation::Store(_) => (Vec::new(), [list(now.target, count), vec![now.a]].concat()),
            Operation::Pack => (vec![now.target], list(now.a, count)),
            Operation::Unpack => (list(now.target, count), vec![now.a]),
            Operation::Shuffle(_) => (vec![now.target, self.lists[now.b as usize][3]], vec![now.a]),
            Operation::VoteAll | Operation::BarrierOr => (vec![now.target], vec![now.a]),
            Operation::Jump | Operation::Barrier | Operation::MeetWarp | Operation::Call | Operation::Return => {
                (Vec::new(), Vec::new())
            }
            Operation::JumpIf | Operation::JumpUnless | Operation::SkipIf | Operation::SkipUnless => {
                (Vec::new(), vec![now.a])
            }
            Operation::Whole(Whole::Insert) => (vec![now.target], vec![now.a, now.b, now.c, now.extra as u32]),
            _ => (vec![now.target], vec![now.a, now.b, now.c]),
        };
        let is_constant = |register: u32| self.constants.iter().any(|&(constant, _)| constant == register);
        let jumps =
            matches!(now.operation, Operation::Jump | Operation::JumpIf | Operation::JumpUnless | Operation::Call);
        let waits = matches!(
            now.operation,
            Operation::Barrier | Operation::BarrierOr | Operation::MeetWarp | Operation::Return
        );
        Operands {
            opcode: opcode.to_owned(),
            written: written.into_iter().filter(|&register| register != NOTHING).collect(),
            read: read.into_iter().filter(|&register| register != NOTHING && !is_constant(register)).collect(),
            by_constant: now.b != NOTHING && is_constant(now.b),
            width: now.kind.bytes().div_ceil(4) as u32,
            jumps_to: jumps.then_some(now.extra as usize),
            ends_run: jumps || waits,
            is_guard: matches!(now.operation, Operation::SkipIf | Operation::SkipUnless),
        }
    }
}
