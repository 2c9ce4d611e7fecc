//! A run: its folder, archive, checkpoints and metrics, its progress display, and its life from start to end.

mod checkpoint;
mod directory;
mod evaluation;
mod history;
mod judge;
mod metrics;
pub mod progress;
mod rejections;
mod round;
mod session;
mod stop;
mod summary;

pub use checkpoint::{Best, Checkpoint, Flaw, SearchProgress};
pub use directory::{Resumed, RunDirectory, Segment};
pub use evaluation::{Drawn, Sample};
pub use history::{History, Known, ReadoutQuality, Sampled};
pub use judge::{Judge, Rejection};
#[cfg(test)]
pub(crate) use metrics::tests::example as metrics_example;
pub use metrics::{IterationMetrics, PhaseSeconds, loss_column, parse_metrics, read_metrics};
pub use progress::Reporter;
pub use rejections::Rejections;
pub use round::{Part, Round};
pub use session::{Activity, Afterwards, Draw, Session};
pub use stop::Stop;
pub use summary::{RunStatus, Summary};
