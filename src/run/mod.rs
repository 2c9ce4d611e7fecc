//! A run on the disk and on the screen: its folder, checkpoints, metrics, summary and progress.

mod checkpoint;
mod directory;
mod files;
mod metrics;
pub mod progress;
mod summary;

pub use checkpoint::{Best, Checkpoint, SearchProgress};
pub use directory::{Resumed, RunDirectory};
pub(crate) use files::storage_error;
pub use files::{remove_unfinished, write_atomic};
pub use metrics::{IterationMetrics, PhaseSeconds, read_metrics};
pub use progress::Reporter;
pub use summary::{RunStatus, Summary};
