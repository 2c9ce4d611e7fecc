//! What warps execute, in the order of an assembler, and the memory that they touch.

use super::steps::Step;
use crate::gpu::emulator::ptx::{LINE, Path, Visit};
use std::collections::{HashMap, HashSet};

/// What the warps of some blocks of a launch do.
pub struct Program {
    /// Block, warp, instruction.
    pub blocks: Vec<Vec<Vec<Executed>>>,
    pub n_registers: usize,
    pub steps: Vec<Step>,
    /// Of each allocation: its bytes, the lines that several blocks touch, and those that one alone touches, on average over the blocks.
    allocations: Vec<[f64; 3]>,
}

/// An instruction that a warp executes.
pub struct Executed {
    pub at: u32,
    pub transactions: u32,
    pub lines: Vec<Line>,
}

/// A line of global memory, and whether other blocks read it too.
#[derive(Clone, Copy)]
pub struct Line {
    pub address: u64,
    pub is_shared: bool,
}

impl Program {
    /// `paths` in the order of runs and places that `order` gives.
    pub fn new(steps: &[Step], order: &[(u32, u32)], paths: &[Vec<Path>], extents: &[[u64; 2]]) -> Self {
        let mut readers: HashMap<u64, HashSet<usize>> = HashMap::new();
        for (block, path) in paths.iter().enumerate().flat_map(|(b, warps)| warps.iter().map(move |path| (b, path))) {
            for &line in &path.lines {
                readers.entry(line).or_default().insert(block);
            }
        }
        let line = |&address: &u64| Line { address, is_shared: readers[&address].len() > 1 };
        let warp = |path: &Path| {
            let mut visits: Vec<_> = path.visits.iter().collect();
            // A run ends where another begins, or where the same one begins again.
            let same = |a: &&Visit, b: &&Visit| order[a.at as usize].0 == order[b.at as usize].0 && a.at < b.at;
            visits.chunk_by_mut(same).for_each(|run| run.sort_by_key(|visit| order[visit.at as usize].1));
            let work = visits.into_iter().map(|visit| {
                let [first, last] = visit.lines.map(|k| k as usize);
                Executed {
                    at: visit.at,
                    transactions: visit.transactions,
                    lines: path.lines[first..last].iter().map(line).collect(),
                }
            });
            work.collect()
        };
        let n_registers = steps.iter().flat_map(|step| step.operands.written.iter().chain(&step.operands.read)).max();
        let mut allocations: Vec<[f64; 3]> = extents.iter().map(|[from, to]| [(to - from) as f64, 0.0, 0.0]).collect();
        for (line, blocks) in &readers {
            let at = extents.partition_point(|[from, _]| from / LINE <= *line).saturating_sub(1);
            if let Some([_, common, own]) = allocations.get_mut(at) {
                *common += f64::from(u8::from(blocks.len() > 1));
                *own += if blocks.len() > 1 { 0.0 } else { 1.0 / paths.len() as f64 };
            }
        }
        Program {
            allocations,
            blocks: paths.iter().map(|warps| warps.iter().map(warp).collect()).collect(),
            n_registers: n_registers.map_or(0, |&last| last as usize + 1),
            steps: steps.to_vec(),
        }
    }

    /// Bytes of global memory that `n` blocks of a load touch for which the allocations hold `held` blocks.
    pub fn bytes(&self, n: u64, held: u64) -> f64 {
        let of = |[bytes, common, own]: &[f64; 3]| {
            (LINE as f64 * (common + n as f64 * own)).min(bytes * n as f64 / held as f64)
        };
        self.allocations.iter().map(of).sum()
    }
}
