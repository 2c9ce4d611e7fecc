//! `godiff devices`: where this machine can compute.

use super::common::{Threads, print};
use clap::Args;
use godiff::Result;
use godiff::engine::cpu::simd::instruction_set;

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
        print("cuda     none: this build of godiff has no CUDA engine")
    }
}
