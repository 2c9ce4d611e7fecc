//! Sizes of the score model and the named tensors of its one flat parameter array.

mod layout;

pub use layout::{EMBEDDING_ROWS, GatedSizes, HEAD_BLOCKS, Layout, Tensor, head_sizes};

/// Sizes of PaiNN and its heads (F features, L blocks, K radial functions).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelSizes {
    /// F, features per atom.
    pub features: usize,
    /// L, interaction blocks.
    pub blocks: usize,
    /// K, radial functions.
    pub radial_functions: usize,
    /// Cutoff radius of the graph, Å.
    pub cutoff_angstrom: f64,
    /// Whether the model predicts forces too.
    pub force_head: bool,
}

/// Centres and widths of the Gaussian radial functions, Å; K of each.
#[derive(Debug, Clone, PartialEq)]
pub struct RadialBasis {
    /// Centres μ_k.
    pub offsets: Vec<f64>,
    /// Widths w of exp(−(d−μ)²/(2w²)).
    pub widths: Vec<f64>,
}

impl RadialBasis {
    /// `n` centres evenly from 0 to `cutoff` (Å), all as wide as their spacing (SchNetPack's GaussianRBF).
    pub fn even(n: usize, cutoff: f64) -> Self {
        let spacing = if n > 1 { cutoff / (n - 1) as f64 } else { cutoff };
        RadialBasis { offsets: (0..n).map(|k| k as f64 * spacing).collect(), widths: vec![spacing; n] }
    }
}
