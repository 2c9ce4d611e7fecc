//! A kernel that can run, and one launch of it: block after block, in each warp after warp.
//!
//! Blocks, warps and lanes run from the last to the first, one thread at a time until it waits. The C++ side of the emulator runs
//! them from the first to the last unless it is told otherwise, so that a result that depends on the order shows in the comparison.

use super::Launch;
use super::follow::{Path, Trace};
use super::instruction::{Instruction, Operation};
use super::memory::{Memory, POISON, Region};
use super::thread::State;

/// Lanes of a warp.
pub const LANES: usize = 32;

/// Registers that the launch sets.
pub const SPECIAL_NAMES: [&str; 8] =
    ["%tid.x", "%ntid.x", "%ctaid.x", "%ctaid.y", "%nctaid.x", "%nctaid.y", "%tid.y", "%laneid"];

/// A kernel, ready to run.
pub struct Kernel {
    pub name: String,
    pub argument_bytes: usize,
    pub max_threads: u32,
    pub(super) code: Vec<Instruction>,
    /// Operands of vectors; what a shuffle needs beside its source.
    pub(super) lists: Vec<[u32; 4]>,
    pub(super) n_registers: usize,
    /// Registers that hold constants.
    pub(super) constants: Vec<(u32, u64)>,
    /// The registers of [`SPECIAL_NAMES`].
    pub(super) specials: [u32; 8],
}

/// What ended a launch.
#[derive(Debug)]
pub struct Fault {
    /// Thread of the block.
    pub thread: usize,
    /// Place of the instruction.
    pub at: usize,
    /// What it did, as the end of a sentence that begins with the thread.
    pub cause: String,
}

/// The threads of a block.
pub(super) struct Block<'k> {
    pub(super) kernel: &'k Kernel,
    /// Registers, thread after thread.
    pub(super) frames: Vec<u64>,
    /// The next instruction of each thread.
    pub(super) next: Vec<usize>,
    pub(super) states: Vec<State>,
    /// What its threads do, if it is followed.
    pub(super) trace: Option<Trace>,
}

impl Kernel {
    /// Runs `launch` on `regions`. `executed` counts how often threads executed each instruction.
    ///
    /// # Errors
    /// What a card would refuse, or end the launch for, as a sentence.
    pub fn run(&self, launch: &Launch, regions: &mut [Region], executed: &mut Vec<u64>) -> Result<(), (String, usize)> {
        self.check(launch).map_err(|sentence| (sentence, usize::MAX))?;
        executed.resize(self.code.len(), 0);
        let mut memory = Memory::new(regions, launch.shared_bytes as usize, launch.arguments, self.code.len());
        let mut block = Block::new(self, launch);
        for y in (0..launch.blocks[1]).rev() {
            for x in (0..launch.blocks[0]).rev() {
                block.run_at([x, y], &mut memory, executed)?;
            }
        }
        Ok(())
    }

    /// Runs the blocks `followed` of `launch`, and gives the paths of their warps.
    ///
    /// # Errors
    /// As [`Kernel::run`].
    pub fn follow(
        &self,
        launch: &Launch,
        regions: &mut [Region],
        followed: &[[u32; 2]],
    ) -> Result<Vec<Vec<Path>>, (String, usize)> {
        self.check(launch).map_err(|sentence| (sentence, usize::MAX))?;
        let mut executed = vec![0; self.code.len()];
        let mut memory = Memory::new(regions, launch.shared_bytes as usize, launch.arguments, self.code.len());
        let mut block = Block::new(self, launch);
        let mut paths = Vec::with_capacity(followed.len());
        for &at in followed {
            block.trace = Some(Trace::new(launch.threads as usize));
            block.run_at(at, &mut memory, &mut executed)?;
            paths.extend(block.trace.take().map(|trace| trace.warps(self)));
        }
        Ok(paths)
    }

    /// Refuses what a card would refuse.
    fn check(&self, launch: &Launch) -> Result<(), String> {
        let name = &self.name;
        let given = launch.arguments.len();
        if given != self.argument_bytes {
            let takes = self.argument_bytes;
            return Err(format!("kernel {name} takes {takes} bytes of arguments and was given {given}"));
        }
        if launch.threads == 0 || launch.threads > self.max_threads {
            let most = self.max_threads;
            return Err(format!(
                "kernel {name} runs with 1 to {most} threads a block and was given {}",
                launch.threads
            ));
        }
        Ok(())
    }
}

impl<'k> Block<'k> {
    fn new(kernel: &'k Kernel, launch: &Launch) -> Self {
        let n = launch.threads as usize;
        let mut block = Block {
            kernel,
            frames: vec![POISON; n * kernel.n_registers],
            next: vec![0; n],
            states: vec![State::Ready; n],
            trace: None,
        };
        for k in 0..n {
            for &(register, bits) in &kernel.constants {
                *block.register(k, register) = bits;
            }
            let values = [k as u64, u64::from(launch.threads), 0, 0, 0, 0, 0, (k % LANES) as u64];
            for (&register, value) in kernel.specials.iter().zip(values) {
                *block.register(k, register) = value;
            }
            for d in 0..2 {
                *block.register(k, kernel.specials[4 + d]) = u64::from(launch.blocks[d]);
            }
        }
        block
    }

    /// The register of thread `k`.
    pub(super) fn register(&mut self, k: usize, register: u32) -> &mut u64 {
        &mut self.frames[k * self.kernel.n_registers + register as usize]
    }

    /// The start of the block `at`. Registers keep what the last block left, as they do on a card.
    fn begin(&mut self, at: [u32; 2]) {
        for k in 0..self.states.len() {
            for (&register, at) in self.kernel.specials[2..4].iter().zip(at) {
                *self.register(k, register) = u64::from(at);
            }
        }
        self.next.fill(0);
        self.states.fill(State::Ready);
    }

    /// Runs the block `at` of the grid.
    fn run_at(&mut self, at: [u32; 2], memory: &mut Memory, executed: &mut [u64]) -> Result<(), (String, usize)> {
        memory.poison_shared();
        self.begin(at);
        self.run(memory, executed).map_err(|fault| {
            let (name, [x, y]) = (&self.kernel.name, at);
            (format!("kernel {name}: thread {} of block ({x}, {y}) {}", fault.thread, fault.cause), fault.at)
        })
    }

    /// Runs all threads to their end.
    fn run(&mut self, memory: &mut Memory, executed: &mut [u64]) -> Result<(), Fault> {
        let n = self.states.len();
        loop {
            for first in (0..n).step_by(LANES).rev() {
                let lanes = first..(first + LANES).min(n);
                loop {
                    for k in lanes.clone().rev().filter(|&k| self.states[k] == State::Ready).collect::<Vec<_>>() {
                        self.thread(k, memory, executed)?;
                    }
                    if !self.states[lanes.clone()].iter().any(|state| matches!(state, State::Lanes(_))) {
                        break;
                    }
                    self.meet(lanes.clone())?;
                }
            }
            if !self.pass_barrier()? {
                return Ok(());
            }
        }
    }

    /// Lets all threads go on that wait at a barrier; false if none does.
    fn pass_barrier(&mut self) -> Result<bool, Fault> {
        let waits = |state: &State| if let State::Barrier(at) = state { Some(*at) } else { None };
        let Some(at) = self.states.iter().find_map(waits) else { return Ok(false) };
        let fault = |thread: usize, cause: &str| Err(Fault { thread, at, cause: cause.to_owned() });
        if let Some(k) = self.states.iter().position(|state| waits(state).is_some_and(|other| other != at)) {
            return fault(k, "waits at another barrier than the threads before it");
        }
        if let Some(k) = self.states.iter().position(|state| *state == State::Ended) {
            return fault(k, "has returned, but others wait for it at a barrier");
        }
        let now = self.kernel.code[at];
        if now.operation == Operation::BarrierOr {
            let any = (0..self.states.len()).any(|k| *self.register(k, now.a) & 1 == 1);
            for k in 0..self.states.len() {
                *self.register(k, now.target) = u64::from(any);
            }
        }
        self.states.fill(State::Ready);
        Ok(true)
    }
}
