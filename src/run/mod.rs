//! A run on the disk and on the screen: its folder, checkpoints, metrics, summary and progress.

mod checkpoint;
mod directory;
mod files;
mod metrics;
pub mod progress;
mod summary;

pub use checkpoint::{Best, Checkpoint, Flaw, SearchProgress};
pub use directory::{Resumed, RunDirectory};
pub use files::write_atomic;
pub(crate) use files::{remove_unfinished, storage_error};
#[cfg(test)]
pub(crate) use metrics::tests::example as metrics_example;
pub use metrics::{IterationMetrics, PhaseSeconds, parse_metrics, read_metrics};
pub use progress::Reporter;
pub use summary::{RunStatus, Summary};
