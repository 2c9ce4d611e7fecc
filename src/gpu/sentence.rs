//! Messages to the user for errors that every backend can have.

use crate::error::Error;

/// Advice after the device died.
pub const CHECKPOINT_IS_KEPT: &str = "the last checkpoint of a search is kept, and --resume continues from it";

/// Advice for needing less memory.
pub const LESS_MEMORY: &str =
    "lower training.batch or search.samples_per_iteration, or end other programs on the GPU; see nvidia-smi";

/// The error if `bytes` more could not be allocated. `memory` is the free and the total memory, if the driver gives them.
pub fn out_of_memory(bytes: usize, memory: Option<(usize, usize)>) -> Error {
    let there = match memory {
        Some((free, total)) => format!("{} of {} are free", readable(free), readable(total)),
        None => "less is free".to_owned(),
    };
    Error::Failed(format!("the GPU has not enough memory: {} more are needed, {there}; {LESS_MEMORY}", readable(bytes)))
}

/// A number of bytes with about three digits.
fn readable(bytes: usize) -> String {
    let mut amount = bytes as f64;
    for unit in ["bytes", "KiB", "MiB"] {
        if amount < 1024.0 {
            return if unit == "bytes" { format!("{bytes} bytes") } else { format!("{amount:.1} {unit}") };
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} GiB")
}
