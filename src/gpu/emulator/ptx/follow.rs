//! Follows some blocks of a launch: what their warps executed, in order, and what each access asks of the memory.

use super::instruction::{Operation, Space};
use super::kernel::{Kernel, LANES};
use super::memory::SHARED_WINDOW;
use std::collections::{BTreeSet, HashMap};

/// Bytes of a line of the first-level cache, and of the sectors that it is filled by.
pub const LINE: u64 = 128;
const SECTOR: u64 = 32;
/// Banks of shared memory, 4 bytes each.
const BANKS: usize = 32;

/// What threads of a block did.
#[derive(Debug, Default)]
pub struct Trace {
    /// Of each thread, the instructions in order.
    paths: Vec<Vec<u32>>,
    /// Of each thread, the addresses of its loads, stores and atomics in order.
    addresses: Vec<Vec<u64>>,
}

/// An instruction that a warp executed.
#[derive(Debug, Clone, Copy)]
pub struct Visit {
    pub at: u32,
    /// Sectors of global memory, or passes over the banks of shared memory; 0 for what does not touch memory.
    pub transactions: u32,
    /// Its lines of global memory: a range of the path's lines.
    pub lines: [u32; 2],
}

/// What a warp executed: the way of the lane that executed most.
#[derive(Debug, Clone, Default)]
pub struct Path {
    pub visits: Vec<Visit>,
    /// Addresses divided by the bytes of a line.
    pub lines: Vec<u64>,
}

impl Trace {
    pub fn new(n_threads: usize) -> Self {
        Trace { paths: vec![Vec::new(); n_threads], addresses: vec![Vec::new(); n_threads] }
    }

    #[inline(always)]
    pub fn step(&mut self, thread: usize, at: usize) {
        self.paths[thread].push(at as u32);
    }

    #[inline(always)]
    pub fn access(&mut self, thread: usize, address: u64) {
        self.addresses[thread].push(address);
    }

    /// The paths of the block's warps.
    pub(super) fn warps(&self, kernel: &Kernel) -> Vec<Path> {
        let warps = self.paths.chunks(LANES).zip(self.addresses.chunks(LANES));
        warps.map(|(paths, addresses)| warp(kernel, paths, addresses)).collect()
    }
}

fn touches_memory(kernel: &Kernel, at: u32) -> bool {
    matches!(kernel.code[at as usize].operation, Operation::Load(_) | Operation::Store(_) | Operation::AtomicLargest)
}

fn warp(kernel: &Kernel, paths: &[Vec<u32>], addresses: &[Vec<u64>]) -> Path {
    // Lanes that execute an instruction for the n-th time do so together.
    let mut together: HashMap<(u32, u32), Vec<u64>> = HashMap::new();
    for (path, addresses) in paths.iter().zip(addresses) {
        let mut times: HashMap<u32, u32> = HashMap::new();
        for (&at, &address) in path.iter().filter(|&&at| touches_memory(kernel, at)).zip(addresses) {
            let time = times.entry(at).or_default();
            together.entry((at, *time)).or_default().push(address);
            *time += 1;
        }
    }
    let mut found = Path::default();
    let longest = paths.iter().max_by_key(|path| path.len()).map_or(&[][..], Vec::as_slice);
    let mut times: HashMap<u32, u32> = HashMap::new();
    for &at in longest {
        let mut visit = Visit { at, transactions: 0, lines: [0; 2] };
        if touches_memory(kernel, at) {
            let time = times.entry(at).or_default();
            let asked = &together[&(at, *time)];
            *time += 1;
            let first = found.lines.len() as u32;
            visit.transactions = transactions(kernel, at, asked, &mut found.lines);
            visit.lines = [first, found.lines.len() as u32];
        }
        found.visits.push(visit);
    }
    found
}

/// The transactions of an access to `addresses`; lines of global memory are added to `lines`.
fn transactions(kernel: &Kernel, at: u32, addresses: &[u64], lines: &mut Vec<u64>) -> u32 {
    let now = &kernel.code[at as usize];
    let bytes = (now.kind.bytes() * usize::from(now.count.max(1))) as u64;
    let space = match now.operation {
        Operation::Load(space) | Operation::Store(space) => space,
        _ => Space::Global,
    };
    let is_shared = space == Space::Shared || (space == Space::Generic && addresses[0] >= SHARED_WINDOW);
    if space == Space::Parameter {
        return 0;
    }
    if is_shared {
        return passes(addresses, bytes);
    }
    let of = |size: u64| addresses.iter().map(|address| address / size).collect::<BTreeSet<u64>>();
    lines.extend(of(LINE));
    of(SECTOR).len() as u32
}

/// Passes over the banks: each bank gives one of its words to all lanes that ask for it.
fn passes(addresses: &[u64], bytes: u64) -> u32 {
    let words = bytes.div_ceil(4);
    let distinct: BTreeSet<u64> =
        addresses.iter().flat_map(|address| (0..words).map(move |k| address / 4 + k)).collect();
    let mut banks = [0; BANKS];
    for word in distinct {
        banks[word as usize % BANKS] += 1;
    }
    banks.into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banks_are_passed_once_or_more() {
        let strided = |stride: u64| (0..32).map(|lane| lane * stride).collect::<Vec<u64>>();
        assert_eq!(passes(&strided(4), 4), 1);
        assert_eq!(passes(&strided(0), 4), 1);
        assert_eq!(passes(&strided(8), 4), 2);
        assert_eq!(passes(&strided(128), 4), 32);
        assert_eq!(passes(&strided(16), 16), 4);
        assert_eq!(passes(&strided(0), 16), 1);
        assert_eq!(passes(&[0], 16), 1);
    }
}
