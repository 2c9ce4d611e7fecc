//! Small programs whose clocks are known.

use super::*;
use crate::gpu::emulator::ptx::{Operands, Path, Visit};
use crate::gpu::emulator::speed::cards::CARDS;
use crate::gpu::emulator::speed::order::order;
use crate::gpu::emulator::speed::steps::steps;

/// Clocks of `blocks` blocks of so many warps that execute `run` once, on the first card; line 0 is that of every load.
fn clocks(run: &[Operands], warps: usize, blocks: u64) -> f64 {
    let steps = steps(run);
    let visit = |(at, step): (usize, &Step)| match step.unit {
        Unit::Global => Visit { at: at as u32, transactions: 4, lines: [0, 1] },
        _ => Visit { at: at as u32, transactions: 0, lines: [0, 0] },
    };
    let path = Path { visits: steps.iter().enumerate().map(visit).collect(), lines: vec![0] };
    let program = Program::new(&steps, &order(&steps, 64), &[vec![path; warps]], &[[0, 128]]);
    let work = Work { blocks, threads: 32 * warps as u64, shared_bytes: 0, registers: 64 };
    simulate(&program, &work, &CARDS[0]).microseconds * CARDS[0].ghz * 1e3
}

#[test]
fn dependent_instructions_wait_and_others_do_not() {
    let chain: Vec<Operands> = (0..100).map(|k| Operands::plain("fma.rn.f32", &[k + 1], &[k])).collect();
    let free: Vec<Operands> = (0..100).map(|k| Operands::plain("fma.rn.f32", &[k + 1], &[0])).collect();
    assert!((clocks(&chain, 1, 1) - 397.0).abs() < 8.0, "{}", clocks(&chain, 1, 1));
    assert!((clocks(&free, 1, 1) - 100.0).abs() < 8.0, "{}", clocks(&free, 1, 1));
    // Four schedulers take four warps at once; eight take twice as long, or hide the waiting of one another.
    assert!((clocks(&free, 4, 1) - 100.0).abs() < 8.0);
    assert!((clocks(&free, 8, 1) - 200.0).abs() < 8.0);
    assert!((clocks(&chain, 8, 1) - 400.0).abs() < 12.0);
    // As many blocks as the card has multiprocessors take no longer than one; more than are resident take several turns.
    assert_eq!(clocks(&free, 8, 82), clocks(&free, 8, 1));
    assert!(clocks(&free, 8, 82 * 8) > 6.0 * clocks(&free, 8, 1));
}

#[test]
fn a_line_comes_from_the_second_level_once() {
    let load = |k: u32| {
        [
            Operands::plain("ld.global.nc.f32", &[2 * k + 1], &[2 * k]),
            Operands::plain("fma.rn.f32", &[2 * k + 2], &[2 * k + 1]),
        ]
    };
    let run: Vec<Operands> = (0..10).flat_map(load).collect();
    let latency = CARDS[0].second_level_latency as f64;
    let found = clocks(&run, 1, 1);
    assert!(found > latency + 9.0 * FIRST_LEVEL_LATENCY as f64 && found < latency + 10.0 * 60.0, "{found}");
}
