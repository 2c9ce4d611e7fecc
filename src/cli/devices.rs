//! `godiff devices`: where this machine can compute.

use super::common::{Threads, print};
use clap::Args;
use godiff::Result;

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
        print(format!("cpu      f32, {threads} threads, {}", simd()))?;
        print(format!("cpu-f64  f64, {threads} threads, {}: the reference, for checking", simd()))?;
        print("cuda     none: this build of godiff has no CUDA engine")
    }
}

/// The widest vector instructions of this CPU that the compiler's detection knows.
fn simd() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "avx512";
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return "avx2";
        }
        "sse2"
    }
    #[cfg(target_arch = "aarch64")]
    return "neon";
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return "no vector instructions";
}
