//! The arrangement of the parameters on the device. Widths are rounded up to multiples of 4 and filled with zeros, so that kernels
//! read four at a time. Every matrix is kept twice: as it is (\[out\]\[in\], for gradients) and transposed (\[in\]\[out\], for
//! products).

use crate::model::{HEAD_BLOCKS, Layout, ModelSizes, Tensor, head_sizes};

/// Marks a parameter that has no place in the transposed array.
pub const NOWHERE: u32 = u32::MAX;

/// Places of a matrix and its bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// First element of \[n_out\]\[n_in\] in the plain array.
    pub plain: usize,
    /// First element of \[n_in\]\[n_out\] in the transposed array.
    pub transposed: usize,
    /// First element of the bias in the plain array; `None` without one.
    pub bias: Option<usize>,
    /// Rows, rounded up.
    pub n_out: usize,
    /// Columns, rounded up.
    pub n_in: usize,
}

/// A two-layer network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    /// W₁, b₁.
    pub first: Matrix,
    /// W₂, b₂.
    pub second: Matrix,
}

/// A gated equivariant block of a head; widths rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gated {
    /// M.
    pub mix: Matrix,
    /// The network on \[s | ‖V‖\].
    pub net: Net,
    /// Scalars in.
    pub scalars_in: usize,
    /// Scalars out.
    pub scalars_out: usize,
    /// Vectors in.
    pub vectors_in: usize,
    /// Vectors out.
    pub vectors_out: usize,
}

/// Places of all parameters.
#[derive(Debug, Clone, Default)]
pub struct Arrangement {
    /// Length of the plain array.
    pub plain_len: usize,
    /// Length of the transposed array.
    pub transposed_len: usize,
    /// Place of every parameter in the plain array.
    pub plain_at: Vec<u32>,
    /// Place of every parameter in the transposed array, or [`NOWHERE`].
    pub transposed_at: Vec<u32>,
    /// First element of the embedding, \[100\]\[F\], in the plain array.
    pub embedding: usize,
    /// The filters of all blocks; the bias is the column behind the K radial functions.
    pub filters: Option<Matrix>,
    /// Networks that make the senders, block by block.
    pub contexts: Vec<Net>,
    /// M of every block.
    pub mixes: Vec<Matrix>,
    /// Networks of the updates, block by block.
    pub updates: Vec<Net>,
    /// Blocks of the score head.
    pub score: Vec<Gated>,
    /// Blocks of the force head; empty without one.
    pub force: Vec<Gated>,
}

/// `n` rounded up to a multiple of 4.
pub fn padded(n: usize) -> usize {
    n.next_multiple_of(4)
}

/// Parts of the same real width, each rounded up: index `k` counts through the real entries.
fn in_parts(width: usize) -> impl Fn(usize) -> usize {
    move |k| k / width * padded(width) + k % width
}

/// Two parts: the first `n_first` real entries, and the others from `at_second` on.
fn in_two(n_first: usize, at_second: usize) -> impl Fn(usize) -> usize {
    move |k| if k < n_first { k } else { at_second + k - n_first }
}

impl Arrangement {
    /// Places of the parameters of a model of `sizes`.
    pub fn new(sizes: &ModelSizes) -> Self {
        let layout = Layout::new(sizes);
        let n = layout.n_parameters();
        let mut places =
            Arrangement { plain_at: vec![0; n], transposed_at: vec![NOWHERE; n], ..Arrangement::default() };
        let (f, k) = (sizes.features, sizes.radial_functions);
        let p = padded(f);

        if let Some(tensor) = layout.find("representation.embedding.weight") {
            places.embedding = places.plain_len;
            for r in 0..tensor.shape[0] * f {
                places.plain_at[tensor.offset + r] = (places.embedding + r / f * p + r % f) as u32;
            }
            places.plain_len += tensor.shape[0] * p;
        }
        let n_rows = 3 * p * sizes.blocks;
        let filters =
            places.matrix(&layout, "representation.filter_net", n_rows, in_parts(f), padded(k + 1), |c| c, false);
        if let Some(bias) = layout.find("representation.filter_net.bias") {
            for (o, parameter) in bias.range().enumerate() {
                let row = in_parts(f)(o);
                places.plain_at[parameter] = (filters.plain + row * filters.n_in + k) as u32;
                places.transposed_at[parameter] = (filters.transposed + k * filters.n_out + row) as u32;
            }
        }
        places.filters = Some(filters);
        for l in 0..sizes.blocks {
            let name = format!("representation.interactions.{l}.interatomic_context_net");
            let first = places.matrix(&layout, &format!("{name}.0"), p, |o| o, p, |c| c, true);
            let second = places.matrix(&layout, &format!("{name}.1"), 3 * p, in_parts(f), p, |c| c, true);
            places.contexts.push(Net { first, second });
        }
        for l in 0..sizes.blocks {
            let name = format!("representation.mixing.{l}");
            let mix = places.matrix(&layout, &format!("{name}.mu_channel_mix"), 2 * p, in_parts(f), p, |c| c, false);
            let net = format!("{name}.intraatomic_context_net");
            let first = places.matrix(&layout, &format!("{net}.0"), p, |o| o, 2 * p, in_parts(f), true);
            let second = places.matrix(&layout, &format!("{net}.1"), 3 * p, in_parts(f), p, |c| c, true);
            places.mixes.push(mix);
            places.updates.push(Net { first, second });
        }
        places.score = places.head(&layout, "score", f, 2);
        if sizes.force_head {
            places.force = places.head(&layout, "force", f, 0);
        }
        places
    }

    /// A head on `features` scalars and vectors and `n_time` more scalars, which follow the rounded-up features.
    fn head(&mut self, layout: &Layout, name: &str, features: usize, n_time: usize) -> Vec<Gated> {
        let sizes = head_sizes(features + n_time, features);
        let blocks = (0..HEAD_BLOCKS).map(|b| {
            let size = sizes[b];
            let (scalars_out, vectors_out) = (padded(size.scalars_out), padded(size.vectors_out));
            let (vectors_in, hidden) = (padded(size.vectors_in), padded(size.scalars_in));
            let n_first = if b == 0 { features } else { size.scalars_in };
            let scalars_in = if b == 0 { padded(features) + padded(n_time) } else { padded(size.scalars_in) };
            // Columns of [s | ‖V‖]: in the first block s is [q | time].
            let columns = |c: usize| match c {
                _ if c < n_first => c,
                _ if c < size.scalars_in => padded(features) + c - n_first,
                _ => scalars_in + c - size.scalars_in,
            };
            let mix = format!("{name}.{b}.mix_vectors");
            let mix = self.matrix(layout, &mix, 2 * vectors_out, in_parts(size.vectors_out), vectors_in, |c| c, false);
            let (first, second) = (format!("{name}.{b}.scalar_net.0"), format!("{name}.{b}.scalar_net.1"));
            let first = self.matrix(layout, &first, hidden, |o| o, scalars_in + vectors_out, columns, true);
            let rows = in_two(size.scalars_out, scalars_out);
            let second = self.matrix(layout, &second, scalars_out + vectors_out, rows, hidden, |c| c, true);
            Gated { mix, net: Net { first, second }, scalars_in, scalars_out, vectors_in, vectors_out }
        });
        blocks.collect()
    }

    /// Places the layer `name`: model row o goes to `row(o)` of `n_out`, model column c to `column(c)` of `n_in`.
    #[expect(clippy::too_many_arguments, reason = "two axes of one matrix")]
    fn matrix(
        &mut self,
        layout: &Layout,
        name: &str,
        n_out: usize,
        row: impl Fn(usize) -> usize,
        n_in: usize,
        column: impl Fn(usize) -> usize,
        has_bias: bool,
    ) -> Matrix {
        let weight = layout.find(&format!("{name}.weight")).expect("layouts hold every layer of their sizes");
        let (plain, transposed) = (self.plain_len, self.transposed_len);
        let width = weight.shape[1];
        for (k, parameter) in weight.range().enumerate() {
            let (o, c) = (row(k / width), column(k % width));
            self.plain_at[parameter] = (plain + o * n_in + c) as u32;
            self.transposed_at[parameter] = (transposed + c * n_out + o) as u32;
        }
        self.plain_len += n_out * n_in;
        self.transposed_len += n_out * n_in;
        let bias: Option<&Tensor> = layout.find(&format!("{name}.bias")).filter(|_| has_bias);
        let bias = bias.map(|tensor| {
            let at = self.plain_len;
            for (o, parameter) in tensor.range().enumerate() {
                self.plain_at[parameter] = (at + row(o)) as u32;
            }
            self.plain_len += n_out;
            at
        });
        Matrix { plain, transposed, bias, n_out, n_in }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Every parameter has its own place, and a matrix has two places that mirror each other. Widths are and are not multiples of
    /// 4.
    #[test]
    fn every_parameter_has_its_own_place() {
        for (features, blocks, radial_functions, force_head) in [(64, 4, 30, false), (16, 2, 8, true), (7, 1, 3, true)]
        {
            let sizes = ModelSizes { features, blocks, radial_functions, cutoff_angstrom: 5.0, force_head };
            let (layout, places) = (Layout::new(&sizes), Arrangement::new(&sizes));
            let distinct = |places: &[u32]| places.iter().collect::<HashSet<_>>().len();
            assert_eq!(distinct(&places.plain_at), layout.n_parameters());
            assert!(places.plain_at.iter().all(|&at| (at as usize) < places.plain_len));
            let twice: Vec<u32> = places.transposed_at.iter().copied().filter(|&at| at != NOWHERE).collect();
            assert_eq!(distinct(&twice), twice.len());
            assert!(twice.iter().all(|&at| (at as usize) < places.transposed_len));
            for (l, net) in places.updates.iter().enumerate() {
                let name = format!("representation.mixing.{l}.intraatomic_context_net.0.weight");
                let weight = layout.find(&name).unwrap();
                for (k, parameter) in weight.range().enumerate() {
                    let (o, c) = (k / (2 * features), k % (2 * features));
                    let c = c / features * padded(features) + c % features;
                    assert_eq!(places.plain_at[parameter] as usize, net.first.plain + o * net.first.n_in + c);
                    assert_eq!(
                        places.transposed_at[parameter] as usize,
                        net.first.transposed + c * net.first.n_out + o
                    );
                }
            }
        }
    }
}
