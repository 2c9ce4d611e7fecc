//! A model of speed: how long a launch would take on a card, from what its warps executed (`ptx/follow.rs`).
//!
//! A multiprocessor has four schedulers. Each issues one instruction a clock, of a warp whose next instruction has its operands and
//! finds its unit free. Instructions are those of PTX in an order that an assembler could choose (`order.rs`). What the assembler
//! folds away costs nothing. Global memory has a first-level cache of whole lines, a second level with a latency and a share of the
//! card's bandwidth. No card has calibrated it: trust the ranking more than the figures.

mod cards;
mod multiprocessor;
mod order;
mod program;
mod steps;

pub use cards::{CARDS, Card};

use super::ptx::{Module, Path};
use crate::gpu::Shape;
use crate::gpu::kernels::Kernel;
use multiprocessor::{Work, simulate};
use program::Program;
use std::sync::{Mutex, PoisonError};
use steps::{Unit, steps};

/// Blocks of a launch that are followed, spread over its grid.
const FOLLOWED: u32 = 4;

/// What a launch asks of a multiprocessor, and how long cards would take.
#[derive(Debug, Clone)]
pub struct FollowedLaunch {
    /// Its kernel.
    pub kernel: &'static str,
    /// Its shape.
    pub shape: Shape,
    /// Of a block: instructions of its warps that take an issue slot.
    pub issued: f64,
    /// Of them f32 arithmetic, whole numbers, f64.
    pub units: [f64; 3],
    /// Sectors of 32 bytes of global memory.
    pub sectors: f64,
    /// Passes over the banks of shared memory.
    pub passes: f64,
    /// Lines of global memory in flight of a warp that waits for one, as modelled for the first card.
    pub in_flight: f64,
    /// For each of [`CARDS`]: µs of the launch, and of one with eight times as many structures.
    pub microseconds: [[f64; 2]; CARDS.len()],
    /// What bounds the launch on each card.
    pub bound: [&'static str; CARDS.len()],
}

static FOLLOWED_LAUNCHES: Mutex<Vec<FollowedLaunch>> = Mutex::new(Vec::new());

/// The launches that were followed in this process, in their order.
pub fn followed_launches() -> Vec<FollowedLaunch> {
    FOLLOWED_LAUNCHES.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The blocks of a grid that are followed. Their stride has no factor in common with its width.
pub fn followed_blocks([x, y]: [u32; 2]) -> Vec<[u32; 2]> {
    let n = x * y;
    let mut stride = (n / FOLLOWED).max(1);
    while stride > 1 && (x.is_multiple_of(stride) || stride.is_multiple_of(x)) && x > 1 {
        stride += 1;
    }
    (0..n.min(FOLLOWED)).map(|k| k * stride % n).map(|block| [block % x, block / x]).collect()
}

/// Models the launch whose followed blocks took `paths`, and keeps the result. `extents`: first address of each allocation, and one
/// past the last, in ascending order.
pub fn record(module: &Module, (kernel, shape): (&'static str, Shape), paths: &[Vec<Path>], extents: &[[u64; 2]]) {
    let steps = steps(&module.operands(kernel));
    let registers = registers_of(kernel);
    let order = order::order(&steps, registers(86));
    let program = Program::new(&steps, &order, paths, extents);
    let n = paths.len().max(1) as f64;
    let sum = |count: &dyn Fn(&Unit, u64) -> u64| {
        let visits = paths.iter().flatten().flat_map(|path| &path.visits);
        let counted = visits.map(|visit| count(&steps[visit.at as usize].unit, u64::from(visit.transactions)));
        counted.sum::<u64>() as f64 / n
    };
    let of = |unit: Unit| sum(&|u, _| u64::from(*u == unit));
    let mut launch = FollowedLaunch {
        kernel,
        shape,
        issued: sum(&|u, _| u64::from(*u != Unit::Free)),
        units: [Unit::F32, Unit::Whole, Unit::F64].map(of),
        sectors: sum(&|u, transactions| if *u == Unit::Global { transactions } else { 0 }),
        passes: sum(&|u, transactions| if *u == Unit::Shared { transactions } else { 0 }),
        in_flight: 0.0,
        microseconds: [[0.0; 2]; CARDS.len()],
        bound: [""; CARDS.len()],
    };
    let blocks = u64::from(shape.blocks[0]) * u64::from(shape.blocks[1]);
    for (at, card) in CARDS.iter().enumerate() {
        for (many, microseconds) in [1, 8].into_iter().zip(&mut launch.microseconds[at]) {
            let work = Work {
                blocks: many * blocks,
                threads: u64::from(shape.threads),
                shared_bytes: u64::from(shape.shared_bytes),
                registers: u64::from(registers(card.architecture)),
            };
            let time = simulate(&program, &work, card);
            // What the second level cannot hold comes from the memory.
            let bytes = program.bytes(many * blocks, blocks);
            let of_memory = if bytes > card.second_level_bytes { 1e6 * bytes / card.bandwidth } else { 0.0 };
            *microseconds = time.microseconds.max(of_memory);
            if many == 1 {
                launch.bound[at] = if of_memory > time.microseconds { "memory" } else { time.bound };
                launch.in_flight = if at == 0 { time.in_flight } else { launch.in_flight };
            }
        }
    }
    FOLLOWED_LAUNCHES.lock().unwrap_or_else(PoisonError::into_inner).push(launch);
}

/// Registers of `kernel` by architecture; 64 where it was not assembled.
fn registers_of(kernel: &str) -> impl Fn(u32) -> u32 {
    let found: Option<&'static Kernel> =
        crate::gpu::kernels::modules().iter().flat_map(|module| module.kernels).find(|found| found.name == kernel);
    move |architecture| {
        let assembled = found.and_then(|kernel| kernel.assembled.iter().find(|a| a.architecture == architecture));
        assembled.map_or(64, |assembled| assembled.registers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followed_blocks_are_in_the_grid_and_differ() {
        for grid in [[1, 1], [5, 16], [2, 16], [227, 1], [71, 8], [28, 64], [3, 1]] {
            let blocks = followed_blocks(grid);
            assert_eq!(blocks.len(), (grid[0] * grid[1]).min(FOLLOWED) as usize);
            assert!(blocks.iter().all(|block| block[0] < grid[0] && block[1] < grid[1]), "{grid:?}");
            let distinct: std::collections::BTreeSet<_> = blocks.iter().collect();
            assert_eq!(distinct.len(), blocks.len(), "{grid:?}");
        }
    }
}
