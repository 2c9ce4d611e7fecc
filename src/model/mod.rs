//! Sizes of the score model, the named tensors of its one flat parameter array, their start values, and the files that
//! hold them.

mod file;
mod import;
mod initial;
mod layout;
mod pickle;
mod sizes;
mod torch_archive;
mod transfer;
mod weighting;

pub use file::{ModelFile, Precision};
pub use import::{import, parse_checkpoint};
pub use initial::{fresh_parameters, initial_parameters};
pub use layout::{EMBEDDING_ROWS, GatedSizes, HEAD_BLOCKS, Layout, Tensor, head_sizes};
pub use sizes::{ModelSizes, RadialBasis};
pub use transfer::Transferred;
pub use weighting::Weighting;
