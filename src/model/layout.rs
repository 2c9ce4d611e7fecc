//! The place of each named tensor in the flat parameter array.

use super::ModelSizes;
use std::ops::Range;

/// Rows of the embedding table: one per atomic number, 0 unused.
pub const EMBEDDING_ROWS: usize = 100;

/// Gated equivariant blocks of a head.
pub const HEAD_BLOCKS: usize = 3;

/// One named tensor, row-major: `[out, in]` for matrices, `[out]` for biases.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// SchNetPack's name, such as `representation.filter_net.weight`.
    pub name: String,
    /// Shape, one or two entries.
    pub shape: Vec<usize>,
    /// First element in the flat array.
    pub offset: usize,
}

impl Tensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Never true: every tensor has elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements in the flat array.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// All tensors of a model in their order in the flat array: backbone, score head, force head.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The tensors, without gaps.
    pub tensors: Vec<Tensor>,
}

/// Widths of one gated equivariant block (SchNetPack's GatedEquivariantBlock).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatedSizes {
    /// Scalars in; also the hidden width.
    pub scalars_in: usize,
    /// Vectors in.
    pub vectors_in: usize,
    /// Scalars out.
    pub scalars_out: usize,
    /// Vectors out.
    pub vectors_out: usize,
}

/// Widths of a head's three blocks: each halves scalars and vectors, the last gives one of each.
pub fn head_sizes(scalars: usize, vectors: usize) -> [GatedSizes; HEAD_BLOCKS] {
    let (mut s, mut v) = (scalars, vectors);
    std::array::from_fn(|block| {
        let last = block == HEAD_BLOCKS - 1;
        let (s2, v2) = if last { (1, 1) } else { ((s / 2).max(1), (v / 2).max(1)) };
        let sizes = GatedSizes { scalars_in: s, vectors_in: v, scalars_out: s2, vectors_out: v2 };
        (s, v) = (s2, v2);
        sizes
    })
}

impl Layout {
    /// The tensors of a model of `sizes`.
    pub fn new(sizes: &ModelSizes) -> Self {
        let f = sizes.features;
        let mut layout = Layout { tensors: Vec::new() };
        layout.push("representation.embedding.weight", &[EMBEDDING_ROWS, f]);
        layout.push_linear("representation.filter_net", 3 * f * sizes.blocks, sizes.radial_functions);
        for l in 0..sizes.blocks {
            layout.push_linear(&format!("representation.interactions.{l}.interatomic_context_net.0"), f, f);
            layout.push_linear(&format!("representation.interactions.{l}.interatomic_context_net.1"), 3 * f, f);
        }
        for l in 0..sizes.blocks {
            layout.push(&format!("representation.mixing.{l}.mu_channel_mix.weight"), &[2 * f, f]);
            layout.push_linear(&format!("representation.mixing.{l}.intraatomic_context_net.0"), f, 2 * f);
            layout.push_linear(&format!("representation.mixing.{l}.intraatomic_context_net.1"), 3 * f, f);
        }
        layout.push_head("score", f + 2, f);
        if sizes.force_head {
            layout.push_head("force", f, f);
        }
        layout
    }

    /// Number of parameters.
    pub fn n_parameters(&self) -> usize {
        self.tensors.last().map_or(0, |last| last.range().end)
    }

    /// The tensor called `name`, if the model has it.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    fn push(&mut self, name: &str, shape: &[usize]) {
        let offset = self.n_parameters();
        self.tensors.push(Tensor { name: name.to_owned(), shape: shape.to_vec(), offset });
    }

    fn push_linear(&mut self, name: &str, out: usize, inputs: usize) {
        self.push(&format!("{name}.weight"), &[out, inputs]);
        self.push(&format!("{name}.bias"), &[out]);
    }

    fn push_head(&mut self, name: &str, scalars: usize, vectors: usize) {
        for (b, sizes) in head_sizes(scalars, vectors).iter().enumerate() {
            self.push(&format!("{name}.{b}.mix_vectors.weight"), &[2 * sizes.vectors_out, sizes.vectors_in]);
            let hidden = sizes.scalars_in;
            self.push_linear(&format!("{name}.{b}.scalar_net.0"), hidden, sizes.scalars_in + sizes.vectors_out);
            self.push_linear(&format!("{name}.{b}.scalar_net.1"), sizes.scalars_out + sizes.vectors_out, hidden);
        }
    }
}
