//! The order of the instructions of a straight run of code, as an assembler could choose it: what others wait for longest goes first, as
//! far as the kernel's registers reach.

use super::steps::{Step, Unit};
use std::collections::{BTreeSet, HashMap};

/// Clocks that loads of global memory are thought to take: from the second level.
const GLOBAL_LATENCY: u64 = 250;
/// Registers that the run's values do not get: addresses, counters.
const KEPT_REGISTERS: u32 = 12;

/// Of every instruction, its run and its place within it.
pub fn order(steps: &[Step], registers: u32) -> Vec<(u32, u32)> {
    let mut starts = BTreeSet::from([0]);
    for (at, step) in steps.iter().enumerate() {
        starts.extend(step.operands.jumps_to);
        if step.operands.ends_run {
            starts.insert(at + 1);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([steps.len()]);
    let mut places = vec![(0, 0); steps.len()];
    for (number, (&start, end)) in starts.iter().zip(ends).enumerate().filter(|(_, (start, _))| **start < steps.len()) {
        let run = &steps[start..end.min(steps.len())];
        for (place, at) in Run::new(run, registers).order().into_iter().enumerate() {
            places[start + at] = (number as u32, place as u32);
        }
    }
    places
}

/// A straight run of code.
struct Run<'a> {
    steps: &'a [Step],
    /// Of each instruction, those that must come before it, with the clocks between them.
    before: Vec<Vec<(usize, u64)>>,
    after: Vec<Vec<usize>>,
    /// Clocks from an instruction to the end of the run.
    urgency: Vec<u64>,
    /// How many instructions read the result, and the registers that it takes.
    readers: Vec<u32>,
    widths: Vec<u32>,
    /// Of each instruction, the producers that it reads.
    producers: Vec<Vec<usize>>,
    registers: u32,
}

fn latency(step: &Step) -> u64 {
    match step.unit {
        Unit::Global if !step.is_store => GLOBAL_LATENCY,
        Unit::F64 => 16 * step.latency,
        _ => step.latency,
    }
}

impl<'a> Run<'a> {
    fn new(steps: &'a [Step], registers: u32) -> Self {
        let n = steps.len();
        let mut run = Run {
            steps,
            before: vec![Vec::new(); n],
            after: vec![Vec::new(); n],
            urgency: vec![0; n],
            readers: vec![0; n],
            widths: vec![0; n],
            producers: vec![Vec::new(); n],
            registers,
        };
        run.bind_registers();
        run.bind_memory();
        for at in 0..n {
            // What ends the run stays last.
            if at + 1 < n && steps[n - 1].operands.ends_run {
                run.before[n - 1].push((at, 0));
            }
            for k in 0..run.before[at].len() {
                let (earlier, _) = run.before[at][k];
                run.after[earlier].push(at);
            }
        }
        for at in (0..n).rev() {
            let next = run.after[at].iter().map(|&later| run.urgency[later]).max().unwrap_or(0);
            run.urgency[at] = next + latency(&steps[at]).max(1);
        }
        run
    }

    fn bind_registers(&mut self) {
        let mut writer: HashMap<u32, usize> = HashMap::new();
        let mut readers: HashMap<u32, Vec<usize>> = HashMap::new();
        let mut outside: BTreeSet<u32> = BTreeSet::new();
        for (at, step) in self.steps.iter().enumerate() {
            for register in &step.operands.read {
                if let Some(&earlier) = writer.get(register) {
                    self.before[at].push((earlier, latency(&self.steps[earlier])));
                    self.producers[at].push(earlier);
                    self.readers[earlier] += 1;
                } else if outside.insert(*register) && step.unit == Unit::F32 {
                    self.registers = self.registers.saturating_sub(1);
                }
                readers.entry(*register).or_default().push(at);
            }
            for register in &step.operands.written {
                let others = readers.remove(register).unwrap_or_default().into_iter().filter(|&other| other != at);
                self.before[at].extend(others.map(|other| (other, 0)));
                self.before[at].extend(writer.insert(*register, at).map(|other| (other, 0)));
            }
            let takes = if step.unit == Unit::Free { 0 } else { step.operands.width };
            self.widths[at] = takes * step.operands.written.len() as u32;
        }
        // A result that nothing in the run reads is for later, and takes its registers to the end: the count never reaches zero.
        for (at, readers) in self.readers.iter_mut().enumerate() {
            *readers += u32::from(*readers == 0 && !self.steps[at].operands.written.is_empty());
        }
    }

    fn bind_memory(&mut self) {
        for unit in [Unit::Shared, Unit::Global] {
            let (mut last_store, mut loads) = (None, Vec::new());
            for (at, step) in self.steps.iter().enumerate().filter(|(_, step)| step.unit == unit && !step.is_constant) {
                self.before[at].extend(last_store.map(|store| (store, 0)));
                if step.is_store {
                    self.before[at].extend(loads.drain(..).map(|load| (load, 0)));
                    last_store = Some(at);
                } else {
                    loads.push(at);
                }
            }
        }
    }

    /// The instructions in their order: of those that can issue, the most urgent one; if none can, the one that can soonest. A load waits
    /// while the registers are full.
    fn order(mut self) -> Vec<usize> {
        let n = self.steps.len();
        let mut waits_for: Vec<usize> = self.before.iter().map(Vec::len).collect();
        let mut can = vec![0; n];
        let mut ready: Vec<usize> = (0..n).filter(|&at| waits_for[at] == 0).collect();
        let (mut now, mut live, mut order) = (0u64, 0u32, Vec::with_capacity(n));
        let most = self.registers.saturating_sub(KEPT_REGISTERS).max(8);
        while !ready.is_empty() {
            let fits = |at: usize| live + self.widths[at] <= most || !is_load(&self.steps[at]);
            let any_fits = ready.iter().any(|&at| fits(at));
            let key = |at: usize| {
                let rank = std::cmp::Reverse(at);
                (!any_fits || fits(at), std::cmp::Reverse(can[at].max(now)), self.urgency[at], rank)
            };
            let Some(k) = (0..ready.len()).max_by_key(|&k| key(ready[k])) else { break };
            let at = ready.swap_remove(k);
            order.push(at);
            now = now.max(can[at]) + u64::from(self.steps[at].unit != Unit::Free);
            live += self.widths[at];
            for producer in std::mem::take(&mut self.producers[at]) {
                self.readers[producer] -= 1;
                if self.readers[producer] == 0 {
                    live -= self.widths[producer];
                }
            }
            let issued = now - u64::from(self.steps[at].unit != Unit::Free);
            for later in std::mem::take(&mut self.after[at]) {
                let gap = self.before[later].iter().filter(|(earlier, _)| *earlier == at).map(|(_, gap)| *gap);
                can[later] = can[later].max(issued + gap.max().unwrap_or(0));
                waits_for[later] -= 1;
                if waits_for[later] == 0 {
                    ready.push(later);
                }
            }
        }
        order
    }
}

fn is_load(step: &Step) -> bool {
    matches!(step.unit, Unit::Global | Unit::Shared) && !step.is_store
}

#[cfg(test)]
mod tests {
    use super::super::steps::steps;
    use super::*;
    use crate::gpu::emulator::ptx::Operands;

    /// Two loads, each used at once: both are issued first, unless the registers hold only one of them.
    #[test]
    fn loads_go_ahead_as_far_as_registers_reach() {
        let mut run = Vec::new();
        for k in 0..12 {
            run.push(Operands::plain("ld.global.nc.f32", &[100 + k], &[1]));
            run.push(Operands::plain("fma.rn.f32", &[2], &[100 + k, 2]));
        }
        run.push(Operands::plain("bra", &[], &[]));
        let places = |registers: u32| order(&steps(&run), registers);
        let many = places(100);
        assert!((0..12).all(|k| many[2 * k].1 < 12), "{many:?}");
        assert_eq!(many[24].1, 24);
        let few = places(20);
        assert!((0..12).any(|k| few[2 * k].1 >= 12), "{few:?}");
    }

    #[test]
    fn stores_stay_where_they_are() {
        let run = [
            Operands::plain("ld.shared.f32", &[1], &[9]),
            Operands::plain("st.shared.f32", &[], &[2, 9]),
            Operands::plain("ld.shared.f32", &[3], &[9]),
            Operands::plain("fma.rn.f32", &[4], &[3, 3]),
        ];
        let places: Vec<u32> = order(&steps(&run), 64).into_iter().map(|(_, place)| place).collect();
        assert!(places[0] < places[1] && places[1] < places[2] && places[2] < places[3]);
    }
}
