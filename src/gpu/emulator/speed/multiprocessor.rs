//! The busiest multiprocessor of a launch, clock by clock.

use super::cards::Card;
use super::program::{Executed, Line, Program};
use super::steps::{Step, Unit};
use crate::gpu::emulator::ptx::LINE;
use std::collections::{HashMap, HashSet, VecDeque};

const SCHEDULERS: usize = 4;
/// Blocks that are simulated of those that a multiprocessor runs; more of them take as long in proportion.
const MOST_BLOCKS: u64 = 12;
/// Bytes of a sector.
const SECTOR: f64 = 32.0;
/// Bytes a clock that a multiprocessor takes from the second level at most.
const PORT: f64 = 64.0;
/// Clocks of a hit in the first level.
const FIRST_LEVEL_LATENCY: u64 = 39;
/// A launch that takes longer is not simulated to its end.
const MOST_CLOCKS: u64 = 400_000_000;

/// A launch.
pub struct Work {
    pub blocks: u64,
    pub threads: u64,
    pub shared_bytes: u64,
    pub registers: u64,
}

/// What a simulation found.
pub struct Time {
    pub microseconds: f64,
    /// Lines in flight of a warp that waits for one.
    pub in_flight: f64,
    pub bound: &'static str,
}

/// A warp on its way.
struct Warp<'a> {
    path: &'a [Executed],
    next: usize,
    /// When each register can be read.
    ready: Vec<u64>,
    /// When the operands of the next instruction are there.
    can: u64,
    at_barrier: bool,
    block: u64,
    /// Loads on their way: when they arrive.
    in_flight: Vec<u64>,
}

impl Warp<'_> {
    fn is_done(&self) -> bool {
        self.next >= self.path.len()
    }

    /// Passes what is free, and finds when the next instruction can issue; not before `from`.
    fn look(&mut self, steps: &[Step], from: u64) {
        while let Some(work) = self.path.get(self.next) {
            let step = &steps[work.at as usize];
            let operands = &step.operands;
            let registers = operands.read.iter().chain(&operands.written);
            let ready = registers.map(|&register| self.ready[register as usize]).max().unwrap_or(0);
            if step.unit != Unit::Free {
                self.can = ready.max(from);
                return;
            }
            operands.written.iter().for_each(|&register| self.ready[register as usize] = ready);
            self.next += 1;
        }
    }
}

/// When the units of a multiprocessor are free again.
#[derive(Default)]
struct Units {
    f32: [u64; SCHEDULERS],
    whole: [u64; SCHEDULERS],
    special: [u64; SCHEDULERS],
    /// In half clocks.
    f64: u64,
    memory: u64,
    second_level: f64,
    /// Clocks for which the second level was busy.
    second_level_busy: f64,
}

/// The first-level cache: lines and when they were last read.
struct Cache {
    lines: HashMap<(u64, u64), u64>,
    order: VecDeque<((u64, u64), u64)>,
    kept: usize,
    reads: u64,
}

impl Cache {
    /// True if it has `line`; then, or later, it has.
    fn read(&mut self, line: (u64, u64)) -> bool {
        self.reads += 1;
        let had = self.lines.insert(line, self.reads).is_some();
        self.order.push_back((line, self.reads));
        while self.lines.len() > self.kept {
            let Some((oldest, read)) = self.order.pop_front() else { break };
            if self.lines.get(&oldest) == Some(&read) {
                self.lines.remove(&oldest);
            }
        }
        had
    }
}

struct Multiprocessor<'a> {
    program: &'a Program,
    card: &'a Card,
    warps: Vec<Warp<'a>>,
    units: Units,
    cache: Cache,
    /// Clocks of the second level a sector.
    sector_clocks: f64,
    now: u64,
    issued: u64,
    simulated: u64,
    /// Sums over loads: those in flight of their warp, and loads.
    in_flight: [u64; 2],
}

/// The time of `work` on `card`, whose blocks do what those of `program` do in turn.
pub fn simulate(program: &Program, work: &Work, card: &Card) -> Time {
    let a_multiprocessor = work.blocks.div_ceil(card.multiprocessors);
    let registers = work.registers.next_multiple_of(8) * work.threads.next_multiple_of(32);
    let resident = (65536 / registers.max(1))
        .min((card.shared_bytes + 1024) / (work.shared_bytes + 1024))
        .min(card.threads / work.threads)
        .clamp(1, 16);
    let cache_bytes = card.first_level_bytes.saturating_sub(resident * work.shared_bytes + 8192);
    let busy = work.blocks.min(card.multiprocessors) as f64;
    let share = card.second_level_bandwidth / (card.ghz * 1e9 * busy);
    let mut machine = Multiprocessor {
        program,
        card,
        warps: Vec::new(),
        units: Units::default(),
        cache: Cache {
            lines: HashMap::new(),
            order: VecDeque::new(),
            kept: (cache_bytes / LINE).max(64) as usize,
            reads: 0,
        },
        sector_clocks: SECTOR / share.min(PORT),
        now: 0,
        issued: 0,
        simulated: a_multiprocessor.min(MOST_BLOCKS),
        in_flight: [0; 2],
    };
    machine.run(resident);
    let scale = a_multiprocessor as f64 / machine.simulated as f64;
    let clocks = machine.now.max(machine.units.second_level as u64);
    let [sum, loads] = machine.in_flight;
    Time {
        microseconds: clocks as f64 * scale / (card.ghz * 1e3),
        in_flight: sum as f64 / loads.max(1) as f64,
        bound: machine.bound(clocks),
    }
}

impl<'a> Multiprocessor<'a> {
    fn run(&mut self, resident: u64) {
        let (mut started, n_blocks) = (0, self.simulated);
        loop {
            self.warps.retain(|warp| !warp.is_done());
            let mut alive: HashSet<u64> = self.warps.iter().map(|warp| warp.block).collect();
            while (alive.len() as u64) < resident && started < n_blocks {
                self.start(started);
                alive.insert(started);
                started += 1;
            }
            if self.warps.is_empty() || self.now > MOST_CLOCKS {
                return;
            }
            // Until a block ends, so that the next one can start.
            let before = alive.len();
            while self.warps.iter().any(|warp| !warp.is_done()) && self.now <= MOST_CLOCKS {
                let has_ended = self.clock();
                if has_ended && started < n_blocks {
                    let left: HashSet<u64> = self.warps.iter().filter(|w| !w.is_done()).map(|w| w.block).collect();
                    if left.len() < before {
                        break;
                    }
                }
            }
        }
    }

    fn start(&mut self, block: u64) {
        let program = self.program;
        for path in &program.blocks[block as usize % program.blocks.len()] {
            let mut warp = Warp {
                path,
                next: 0,
                ready: vec![0; program.n_registers],
                can: 0,
                at_barrier: false,
                block,
                in_flight: Vec::new(),
            };
            warp.look(&program.steps, self.now);
            if !warp.is_done() {
                self.warps.push(warp);
            }
        }
    }

    /// One clock, or more where nothing can issue. True if a warp has ended.
    fn clock(&mut self) -> bool {
        let (mut any, mut has_ended, mut soonest) = (false, false, u64::MAX);
        let n = self.warps.len();
        for scheduler in 0..SCHEDULERS.min(n) {
            // Warps of a scheduler take turns.
            let own = (n - scheduler).div_ceil(SCHEDULERS);
            let mut chosen = None;
            for turn in 0..own {
                let k = scheduler + (turn + self.now as usize) % own * SCHEDULERS;
                let warp = &self.warps[k];
                if warp.is_done() || warp.at_barrier {
                    continue;
                }
                let step = &self.program.steps[warp.path[warp.next].at as usize];
                let can = warp.can.max(self.free(step.unit, scheduler));
                if can <= self.now {
                    chosen = Some(k);
                    break;
                }
                soonest = soonest.min(can);
            }
            if let Some(k) = chosen {
                any = true;
                self.issue(k, scheduler);
                has_ended |= self.warps[k].is_done();
            }
        }
        self.now = if any || soonest == u64::MAX { self.now + 1 } else { soonest.max(self.now + 1) };
        if has_ended || !any {
            self.pass_barriers();
        }
        has_ended
    }

    /// When `unit` takes another instruction; queues of some depth are before the shared ones.
    fn free(&self, unit: Unit, scheduler: usize) -> u64 {
        match unit {
            Unit::F32 => self.units.f32[scheduler],
            Unit::Whole => self.units.whole[scheduler],
            Unit::Special => self.units.special[scheduler],
            Unit::F64 => (self.units.f64 / 2).saturating_sub(64),
            Unit::Shared | Unit::Global | Unit::Lanes => self.units.memory.saturating_sub(32),
            Unit::Free | Unit::Barrier | Unit::Jump => 0,
        }
    }

    fn issue(&mut self, k: usize, scheduler: usize) {
        let program = self.program;
        let work = &self.warps[k].path[self.warps[k].next];
        let step = &program.steps[work.at as usize];
        let done = self.execute(k, step, work, scheduler);
        self.issued += 1;
        let warp = &mut self.warps[k];
        for &register in &step.operands.written {
            warp.ready[register as usize] = done;
        }
        warp.next += 1;
        let from = self.now + if step.unit == Unit::Jump { step.latency } else { 1 };
        warp.look(&program.steps, from);
        if step.unit == Unit::Barrier {
            self.warps[k].at_barrier = true;
            self.pass_barriers();
        }
    }

    /// When the result of `step` can be read.
    fn execute(&mut self, k: usize, step: &Step, work: &Executed, scheduler: usize) -> u64 {
        let (now, card, units) = (self.now, self.card, &mut self.units);
        match step.unit {
            Unit::F32 => units.f32[scheduler] = now + card.f32_clocks * step.slots,
            Unit::Whole => units.whole[scheduler] = now + 2 * step.slots,
            Unit::Special => units.special[scheduler] = now + 8,
            Unit::F64 => {
                units.f64 = units.f64.max(2 * now) + card.f64_half_clocks * step.slots;
                return (units.f64 / 2).max(now) + card.f64_latency * step.latency;
            }
            Unit::Shared => {
                units.memory = units.memory.max(now) + u64::from(work.transactions).max(1);
                return units.memory + step.latency - 1;
            }
            Unit::Lanes => {
                units.memory = units.memory.max(now) + 1;
                return units.memory + step.latency - 1;
            }
            Unit::Global => return self.access(k, step, work),
            Unit::Free | Unit::Barrier | Unit::Jump => {}
        }
        now + step.latency
    }

    /// An access to global memory.
    fn access(&mut self, k: usize, step: &Step, work: &Executed) -> u64 {
        let transactions = u64::from(work.transactions);
        let start = self.units.memory.max(self.now);
        self.units.memory = start + (transactions / 4).max(1);
        if step.is_store {
            self.second_level(transactions as f64, self.now);
            return start;
        }
        let block = self.warps[k].block + 1;
        let owned = |line: &Line| (line.address, if line.is_shared { 0 } else { block });
        let missed = work.lines.iter().filter(|line| !self.cache.read(owned(line))).count();
        let mut done = start + FIRST_LEVEL_LATENCY;
        if missed > 0 {
            let sectors = transactions as f64 * missed as f64 / work.lines.len() as f64;
            self.second_level(sectors, start);
            done = self.units.second_level as u64 + self.card.second_level_latency;
        }
        let (now, warp) = (self.now, &mut self.warps[k]);
        warp.in_flight.retain(|&arrives| arrives > now);
        warp.in_flight.push(done);
        self.in_flight[0] += warp.in_flight.len() as u64;
        self.in_flight[1] += 1;
        done
    }

    /// Takes the second level for so many sectors, from `start` on or when it is free.
    fn second_level(&mut self, sectors: f64, start: u64) {
        let clocks = sectors * self.sector_clocks;
        self.units.second_level = self.units.second_level.max(start as f64) + clocks;
        self.units.second_level_busy += clocks;
    }

    /// Lets the warps of blocks go on of which all wait.
    fn pass_barriers(&mut self) {
        let waits: HashSet<u64> = self.warps.iter().filter(|warp| warp.at_barrier).map(|warp| warp.block).collect();
        for block in waits {
            let all = self.warps.iter().filter(|w| w.block == block && !w.is_done()).all(|warp| warp.at_barrier);
            for warp in self.warps.iter_mut().filter(|warp| all && warp.block == block) {
                warp.at_barrier = false;
                warp.can = warp.can.max(self.now + 20);
            }
        }
    }

    /// The unit that was busy for half of the time or more; latency if none was.
    fn bound(&self, clocks: u64) -> &'static str {
        let clocks = clocks.max(1) as f64;
        let share = |busy: f64| busy / clocks;
        let shares = [
            ("issue", share(self.issued as f64 / SCHEDULERS as f64)),
            ("f64", share(self.work_of(Unit::F64) * self.card.f64_half_clocks as f64 / 2.0)),
            ("shared", share(self.work_of(Unit::Shared))),
            ("L2", share(self.units.second_level_busy)),
            ("L1", share(self.work_of(Unit::Global) / 4.0)),
        ];
        let largest = shares.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        largest.filter(|(_, share)| *share >= 0.5).map_or("latency", |(name, _)| name)
    }

    /// Slots or transactions of a unit, of the blocks that were simulated.
    fn work_of(&self, unit: Unit) -> f64 {
        let program = self.program;
        let of_block = |warps: &Vec<Vec<Executed>>| -> f64 {
            let all = warps.iter().flatten().map(|work| (&program.steps[work.at as usize], work));
            let found = all.filter(|(step, _)| step.unit == unit);
            found
                .map(|(step, work)| if unit == Unit::F64 { step.slots } else { u64::from(work.transactions) } as f64)
                .sum()
        };
        (0..self.simulated).map(|block| of_block(&program.blocks[block as usize % program.blocks.len()])).sum()
    }
}

#[cfg(test)]
mod tests;
