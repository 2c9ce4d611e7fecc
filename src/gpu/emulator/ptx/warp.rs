//! Lanes that exchange values or wait for one another.

use super::instruction::{Instruction, NOTHING, Operation, Shuffle};
use super::kernel::{Block, Fault, LANES};
use super::thread::State;
use std::ops::Range;

impl Block<'_> {
    /// Lets those of `lanes` that have met all others of their mask exchange values and go on.
    pub(super) fn meet(&mut self, lanes: Range<usize>) -> Result<(), Fault> {
        let mut any = false;
        for k in lanes.clone() {
            let State::Lanes(at) = self.states[k] else { continue };
            let fault = |thread: usize, cause: String| Fault { thread, at, cause };
            let now = self.kernel.code[at];
            let first = lanes.start;
            let mask = self.mask(k, &now);
            let is_named = |m: usize| mask >> (m - first) & 1 == 1;
            if !is_named(k) {
                return Err(fault(k, format!("names lanes {mask:#010x}, without its own")));
            }
            let members: Vec<usize> = lanes.clone().filter(|&m| is_named(m)).collect();
            // A mask may name lanes beyond the block's last thread.
            if let Some(&gone) = members.iter().find(|&&m| self.states[m] == State::Ended) {
                return Err(fault(k, format!("waits for lanes {mask:#010x}, but thread {gone} has returned")));
            }
            let is_here = |&m: &usize| self.states[m] == State::Lanes(at) && self.mask(m, &now) == mask;
            if members.iter().all(is_here) {
                any = true;
                self.exchange(&now, &members, first).map_err(|(thread, cause)| fault(thread, cause))?;
            }
        }
        let waiting =
            lanes.clone().find_map(|k| if let State::Lanes(at) = self.states[k] { Some((k, at)) } else { None });
        match waiting {
            Some((thread, at)) if !any => {
                let mask = self.mask(thread, &self.kernel.code[at]);
                Err(Fault { thread, at, cause: format!("waits for lanes {mask:#010x}, and some never come") })
            }
            _ => Ok(()),
        }
    }

    /// The register of thread `k`, read.
    fn value(&self, k: usize, register: u32) -> u64 {
        self.frames[k * self.kernel.n_registers + register as usize]
    }

    /// The lanes that `now` names in thread `k`.
    fn mask(&self, k: usize, now: &Instruction) -> u32 {
        let register = match now.operation {
            Operation::Shuffle(_) => self.kernel.lists[now.b as usize][2],
            Operation::VoteAll => now.c,
            _ => now.a,
        };
        self.value(k, register) as u32
    }

    fn exchange(&mut self, now: &Instruction, members: &[usize], first: usize) -> Result<(), (usize, String)> {
        let everyone = members.iter().all(|&m| now.operation == Operation::VoteAll && self.value(m, now.a) & 1 == 1);
        let mut results = Vec::with_capacity(LANES);
        for &m in members {
            results.push(match now.operation {
                Operation::Shuffle(shuffle) => {
                    let [lane, clamp, ..] = self.kernel.lists[now.b as usize];
                    let (j, is_inside) =
                        partner(shuffle, m - first, self.value(m, lane) as u32, self.value(m, clamp) as u32);
                    if !members.contains(&(first + j)) {
                        return Err((m, format!("reads lane {j} in a shuffle, which does not take part")));
                    }
                    (self.value(first + j, now.a) & u64::from(u32::MAX), is_inside)
                }
                _ => (u64::from(everyone), false),
            });
        }
        for (&m, (value, is_inside)) in members.iter().zip(results) {
            if now.operation != Operation::MeetWarp {
                *self.register(m, now.target) = value;
            }
            if let Operation::Shuffle(_) = now.operation {
                let register = self.kernel.lists[now.b as usize][3];
                if register != NOTHING {
                    *self.register(m, register) = u64::from(is_inside);
                }
            }
            self.states[m] = State::Ready;
        }
        Ok(())
    }
}

/// The lane that `lane` reads, and whether the one it asked for is in its segment (PTX ISA, `shfl.sync`).
pub fn partner(shuffle: Shuffle, lane: usize, by: u32, clamp: u32) -> (usize, bool) {
    let (lane, by) = (lane as i32, (by & 31) as i32);
    let (clamp, segment) = ((clamp & 31) as i32, (clamp >> 8 & 31) as i32);
    let first = lane & segment;
    let last = first | (clamp & !segment);
    let (asked, is_inside) = match shuffle {
        Shuffle::Up => (lane - by, lane - by >= last),
        Shuffle::Down => (lane + by, lane + by <= last),
        Shuffle::Butterfly => (lane ^ by, lane ^ by <= last),
        Shuffle::Index => {
            let asked = first | (by & !segment);
            (asked, asked <= last)
        }
    };
    (if is_inside { asked } else { lane } as usize, is_inside)
}
