//! `godiff devices`: the devices of this machine.

use super::common::{Threads, print};
use clap::Args;
use godiff::Result;
use godiff::engine::cpu::simd::instruction_set;
use godiff::gpu::cards;

/// Lists the devices that this build can use on this machine
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  godiff devices")]
pub struct Arguments {
    #[command(flatten)]
    threads: Threads,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        self.threads.start()?;
        let threads = rayon::current_num_threads();
        print(format!("cpu      f32, {threads} threads, {}", instruction_set()))?;
        print(format!("cpu-f64  f64, {threads} threads, {}: the reference, for checking", instruction_set()))?;
        let cards = match cards() {
            Ok(cards) => cards,
            Err(reason) => return print(format!("cuda     none: {reason}")),
        };
        for (index, (card, unusable)) in cards.iter().enumerate() {
            let (major, minor) = card.capability;
            let gibibytes = card.memory as f64 / (1_u64 << 30) as f64;
            let multiprocessors = card.multiprocessors;
            let described = format!(
                "{}, compute capability {major}.{minor}, {gibibytes:.1} GiB, {multiprocessors} multiprocessors",
                card.name
            );
            match unusable {
                None => print(format!("cuda:{index}   f32, {described}"))?,
                Some(reason) => print(format!("cuda:{index}   not usable, {described}: {reason}"))?,
            }
        }
        Ok(())
    }
}
