//! One thread, from where it stands until it waits or ends.

use super::instruction::{Instruction, NOTHING, Operation, Space};
use super::kernel::{Block, Fault};
use super::memory::{Memory, SHARED_WINDOW, load};
use super::numbers;

/// A thread that executes more instructions between two waits is taken to run for ever.
const MOST_INSTRUCTIONS: u64 = 100_000_000;

/// What a thread does. Places are those of the instruction that it waits at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ready,
    Barrier(usize),
    Lanes(usize),
    Ended,
}

impl Block<'_> {
    /// Runs thread `k` until it waits or ends.
    pub(super) fn thread(&mut self, k: usize, memory: &mut Memory, executed: &mut [u64]) -> Result<(), Fault> {
        let kernel = self.kernel;
        let frame = &mut self.frames[k * kernel.n_registers..(k + 1) * kernel.n_registers];
        let mut next = self.next[k];
        let fault = |at: usize, cause: String| Fault { thread: k, at, cause };
        for _ in 0..MOST_INSTRUCTIONS {
            let at = next;
            let now = &kernel.code[at];
            executed[at] += 1;
            next += 1;
            if let Some(trace) = &mut self.trace {
                trace.step(k, at);
                if let Operation::Load(_) | Operation::Store(_) | Operation::AtomicLargest = now.operation {
                    trace.access(k, frame[now.a as usize].wrapping_add(now.extra as u64));
                }
            }
            let is_set = |frame: &[u64]| frame[now.a as usize] & 1 == 1;
            match now.operation {
                Operation::Load(space) => {
                    read(frame, now, &kernel.lists, memory, at, space).map_err(|cause| fault(at, cause))?;
                }
                Operation::Store(space) => {
                    write(frame, now, &kernel.lists, memory, at, space).map_err(|cause| fault(at, cause))?;
                }
                Operation::AtomicLargest => {
                    atomic_largest(frame, now, memory, at).map_err(|cause| fault(at, cause))?;
                }
                Operation::Jump => next = now.extra as usize,
                Operation::JumpIf if is_set(frame) => next = now.extra as usize,
                Operation::JumpUnless if !is_set(frame) => next = now.extra as usize,
                Operation::SkipIf if is_set(frame) => next += 1,
                Operation::SkipUnless if !is_set(frame) => next += 1,
                Operation::JumpIf | Operation::JumpUnless | Operation::SkipIf | Operation::SkipUnless => {}
                Operation::Barrier | Operation::BarrierOr => {
                    (self.next[k], self.states[k]) = (next, State::Barrier(at));
                    return Ok(());
                }
                Operation::Shuffle(_) | Operation::VoteAll | Operation::MeetWarp => {
                    (self.next[k], self.states[k]) = (next, State::Lanes(at));
                    return Ok(());
                }
                Operation::Call => {
                    frame[now.target as usize] = next as u64;
                    next = now.extra as usize;
                }
                Operation::Return if now.target == NOTHING => {
                    self.states[k] = State::Ended;
                    return Ok(());
                }
                Operation::Return => next = frame[now.target as usize] as usize,
                Operation::Unpack => unpack(frame, now, &kernel.lists),
                _ => {
                    let value = compute(frame, now, &kernel.lists);
                    frame[now.target as usize] =
                        value.ok_or_else(|| fault(at, "divides an integer by zero".to_owned()))?;
                }
            }
        }
        Err(fault(next, "runs without end".to_owned()))
    }
}

/// The value of an instruction with one target; `None` for a division by zero.
#[inline(always)]
fn compute(frame: &[u64], now: &Instruction, lists: &[[u32; 4]]) -> Option<u64> {
    // A register that is left out reads as 0.
    let value = |register: u32| frame.get(register as usize).copied().unwrap_or(0);
    let single = |register: u32| f32::from_bits(value(register) as u32);
    let double = |register: u32| f64::from_bits(value(register));
    let (a, b, c) = (now.a, now.b, now.c);
    Some(match now.operation {
        Operation::F32(operation) => u64::from(numbers::single(operation, [single(a), single(b), single(c)]).to_bits()),
        Operation::F64(operation) => numbers::double(operation, [double(a), double(b), double(c)]).to_bits(),
        Operation::Whole(operation) => {
            numbers::whole(operation, now.kind, [value(a), value(b), value(c)], value(now.extra as u32))?
        }
        Operation::Move => value(a),
        Operation::Select => value(if value(c) & 1 == 1 { a } else { b }),
        Operation::Compare(relation) => u64::from(numbers::compare(relation, now.kind, value(a), value(b))),
        Operation::Smallest => numbers::extreme(now.kind, value(a), value(b), false),
        Operation::Largest => numbers::extreme(now.kind, value(a), value(b), true),
        Operation::Convert => numbers::convert(value(a), now)?,
        Operation::ConvertPair => {
            let half = |register: u32| u64::from(numbers::single_to_half(single(register)));
            half(a) << 16 | half(b)
        }
        Operation::SharedToGeneric => value(a).wrapping_add(SHARED_WINDOW),
        Operation::GenericToShared => value(a).wrapping_sub(SHARED_WINDOW),
        Operation::Pack => {
            let bits = 8 * now.kind.bytes() as u32 / u32::from(now.count);
            let parts = lists[a as usize][..now.count as usize].iter().rev();
            parts.fold(0, |sum, &register| sum << bits | (value(register) & ((1 << bits) - 1)))
        }
        _ => return None,
    })
}

fn unpack(frame: &mut [u64], now: &Instruction, lists: &[[u32; 4]]) {
    let bits = 8 * now.kind.bytes() / now.count as usize;
    let value = frame[now.a as usize];
    for (part, &register) in lists[now.target as usize][..now.count as usize].iter().enumerate() {
        if register != NOTHING {
            frame[register as usize] = value >> (part * bits) & ((1 << bits) - 1);
        }
    }
}

#[inline(always)]
fn read(
    frame: &mut [u64],
    now: &Instruction,
    lists: &[[u32; 4]],
    memory: &mut Memory,
    at: usize,
    space: Space,
) -> Result<(), String> {
    let address = frame[now.a as usize].wrapping_add(now.extra as u64);
    let (width, count) = (now.kind.bytes(), now.count as usize);
    let bytes = memory.slice(at, space, address, width * count)?;
    for (part, &register) in bytes.chunks_exact(width).zip(&lists[now.target as usize]) {
        if register != NOTHING {
            frame[register as usize] = load(now.kind, part);
        }
    }
    Ok(())
}

#[inline(always)]
fn write(
    frame: &[u64],
    now: &Instruction,
    lists: &[[u32; 4]],
    memory: &mut Memory,
    at: usize,
    space: Space,
) -> Result<(), String> {
    let address = frame[now.a as usize].wrapping_add(now.extra as u64);
    let (width, count) = (now.kind.bytes(), now.count as usize);
    let bytes = memory.slice(at, space, address, width * count)?;
    for (part, &register) in bytes.chunks_exact_mut(width).zip(&lists[now.target as usize]) {
        part.copy_from_slice(&frame[register as usize].to_le_bytes()[..width]);
    }
    Ok(())
}

fn atomic_largest(frame: &mut [u64], now: &Instruction, memory: &mut Memory, at: usize) -> Result<(), String> {
    let address = frame[now.a as usize].wrapping_add(now.extra as u64);
    let bytes = memory.slice(at, Space::Global, address, now.kind.bytes())?;
    let before = load(now.kind, bytes);
    let largest = numbers::extreme(now.kind, before, frame[now.b as usize], true);
    bytes.copy_from_slice(&largest.to_le_bytes()[..bytes.len()]);
    frame[now.target as usize] = before;
    Ok(())
}
