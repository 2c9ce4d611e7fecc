//! The score model on the device: the kernels that run, in their order, forward and backward. READ FIRST of the GPU engine.
//!
//! The part that all structures share under given weights is computed once; [`Workspace`] holds the buffers of a batch of
//! structures. As on the CPU, template atoms that nothing reads are left out: the last block runs on the free atoms alone, and the
//! block before it on the atoms that send to them.

mod backward;
mod forward;
mod gradient;
mod workspace;

pub use workspace::Workspace;

use super::adamw::n_blocks;
use super::arrangement::{Gated, Matrix};
use super::block::{AtomList, FreeEdges, tiles};
use super::constants::{ALL, Constants, FREE, Sizes};
use super::radius_graph::RadiusGraph;
use super::stored::Stored;
use crate::engine::{ModelState, Setup, Storage};
use crate::error::Result;
use crate::gpu::{Buffer, Pointer, Stream};

/// Parameters, moments, and the arranged copies that kernels read.
pub struct Weights {
    /// \[P\].
    pub parameters: Buffer<f32>,
    /// \[P\] first moments.
    pub first: Buffer<f32>,
    /// \[P\] second moments.
    pub second: Buffer<f32>,
    plain: Buffer<f32>,
    transposed: Buffer<f32>,
    /// \[P\] summed gradient of a step.
    gradient: Buffer<f32>,
    /// Σ g² of its parts.
    squares: Buffer<f64>,
}

/// Results that depend on the weights but not on the structure.
struct Shared {
    template_phi: Buffer<f32>,
    template_rows: Stored,
    species_q: Buffer<f32>,
    species_hidden: Buffer<f32>,
    /// \[N\]\[5F\] senders of the first block.
    senders: Stored,
    /// \[N\]\[4F\] state after the first message, with the template's messages alone.
    start: Buffer<f32>,
}

/// Constants, weights and the results that depend on these alone.
pub struct Network {
    /// Constants.
    pub constants: Constants,
    /// Weights.
    pub weights: Weights,
    shared: Shared,
    /// Storage of the filters, the senders and the rows saved for the backward pass.
    precision: Storage,
}

/// Multiprocessors that large tiles should fill; an RTX 3090 has as many. Tiles have the order of sums in them, so this is a number
/// of godiff's and not the card's: a training has the same bits on every card.
const MULTIPROCESSORS: usize = 82;

/// The atoms that the last block must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Free atoms.
    Free,
    /// All atoms.
    All,
}

/// Structures `first..first + n` of a radius graph.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// Their edges.
    pub graph: &'a RadiusGraph,
    /// Place of the first one in the graph's arrays.
    pub first: usize,
    /// How many.
    pub n: usize,
}

/// Which head. The numbers are places in the lists of a step's losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Score, with the time features.
    Score = 0,
    /// Forces.
    Force = 1,
}

/// A loss on structures `first..first + n` of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    /// The head whose output it judges.
    pub output: Output,
    /// Its first structure in the batch.
    pub first: usize,
    /// Its structures.
    pub n: usize,
    /// \[n\]\[free atoms\]\[3\] see kernels/head.cu.
    pub offset: Pointer<f32>,
    /// \[n\].
    pub factor: Pointer<f32>,
    /// \[n\].
    pub scale: Pointer<f32>,
    /// \[n\]\[2\] sin πt, cos πt; null for forces.
    pub time_features: Pointer<f32>,
    /// Huber's δ; 0 for squares.
    pub huber_delta: f32,
    /// Weight of the loss in the gradient.
    pub weight: f32,
    /// \[n\] labels of the readout; null without one.
    pub labels: Pointer<f32>,
    /// Weight of the readout's loss times that of a component of the force, which `scale` contains: 3·n·λ_E.
    pub label_weight: f32,
}

/// The atoms of a launch.
#[derive(Clone, Copy)]
struct Level {
    atoms: AtomList,
    list_stride: usize,
    count_stride: usize,
    longest: usize,
    small: bool,
}

impl Network {
    /// Binds a model to a system, all parameters 0.
    ///
    /// # Errors
    /// `BadInput` for sizes beyond the kernels', `Failed` without memory.
    pub fn new(stream: &Stream, setup: &Setup) -> Result<Self> {
        let constants = Constants::new(stream, setup)?;
        let (sizes, arrangement) = (constants.sizes, &constants.arrangement);
        let (f, n) = (sizes.features, sizes.n_atoms);
        let weights = Weights {
            parameters: stream.zeros(sizes.n_parameters)?,
            first: stream.zeros(sizes.n_parameters)?,
            second: stream.zeros(sizes.n_parameters)?,
            plain: stream.zeros(arrangement.plain_len)?,
            transposed: stream.zeros(arrangement.transposed_len)?,
            gradient: stream.zeros(sizes.n_parameters)?,
            squares: stream.zeros(n_blocks(sizes.n_parameters))?,
        };
        let precision = setup.precision;
        let stored = |len: usize| Stored::zeros(stream, precision, len);
        let shared = Shared {
            template_phi: stream.zeros((sizes.n_template_rows * sizes.n_columns).max(1))?,
            template_rows: stored((sizes.n_template_rows * sizes.filter_stride).max(1))?,
            species_q: stream.zeros(sizes.n_species * f)?,
            species_hidden: stream.zeros(sizes.n_species * f)?,
            senders: stored(n * 5 * f)?,
            start: stream.zeros(n * 4 * f)?,
        };
        Ok(Network { constants, weights, shared, precision })
    }

    /// Writes parameters and moments, and the copies that kernels read.
    pub fn load(&self, stream: &Stream, state: &ModelState) -> Result<()> {
        let narrow = |values: &[f64]| -> Vec<f32> { values.iter().map(|&x| x as f32).collect() };
        let parameters = narrow(&state.parameters);
        let places = &self.constants.arrangement;
        let (mut plain, mut transposed) = (vec![0.0; places.plain_len], vec![0.0; places.transposed_len]);
        for (p, &value) in parameters.iter().enumerate() {
            plain[places.plain_at[p] as usize] = value;
            if let Some(at) = transposed.get_mut(places.transposed_at[p] as usize) {
                *at = value;
            }
        }
        let weights = &self.weights;
        stream.write(&weights.parameters, 0, &parameters)?;
        stream.write(&weights.first, 0, &narrow(&state.first_moment))?;
        stream.write(&weights.second, 0, &narrow(&state.second_moment))?;
        stream.write(&weights.plain, 0, &plain)?;
        stream.write(&weights.transposed, 0, &transposed)
    }

    fn plain(&self, at: usize) -> Pointer<f32> {
        self.weights.plain.pointer().plus(at)
    }

    fn bias(&self, matrix: &Matrix) -> Pointer<f32> {
        matrix.bias.map_or(Pointer::NULL, |at| self.plain(at))
    }

    fn transposed(&self, matrix: &Matrix) -> Pointer<f32> {
        self.weights.transposed.pointer().plus(matrix.transposed)
    }

    /// Tiles are small if large ones would leave multiprocessors idle.
    fn small(n_structures: usize, longest: usize) -> bool {
        2 * n_structures * tiles(longest, false).0 < MULTIPROCESSORS
    }

    /// Atoms that block `l` (from 0) must compute.
    fn level(&self, batch: &Batch, l: usize, wanted: Wanted) -> Level {
        let Sizes { n_atoms, n_template, n_free, blocks, .. } = self.constants.sizes;
        let (atoms, counts) = (self.constants.atoms.pointer(), self.constants.counts.pointer());
        if wanted == Wanted::Free && l + 1 == blocks {
            let atoms = AtomList { list: atoms.plus(n_template), counts: counts.plus(FREE) };
            return Level { atoms, list_stride: 0, count_stride: 0, longest: n_free, small: true };
        }
        let small = Self::small(batch.n, n_atoms);
        if wanted == Wanted::Free && l + 2 == blocks {
            let list = batch.graph.neighbours.pointer().plus(batch.first * n_atoms);
            let atoms = AtomList { list, counts: batch.graph.n_neighbours.pointer().plus(batch.first) };
            return Level { atoms, list_stride: n_atoms, count_stride: 1, longest: n_atoms, small };
        }
        let atoms = AtomList { list: atoms, counts: counts.plus(ALL) };
        Level { atoms, list_stride: 0, count_stride: 0, longest: n_atoms, small }
    }

    fn free_edges(&self, batch: &Batch) -> FreeEdges {
        let (n, slots) = (self.constants.sizes.n_atoms, 2 * batch.first * batch.graph.max_pairs());
        FreeEdges {
            starts: batch.graph.edge_starts.pointer().plus(batch.first * (n + 1)),
            edges: batch.graph.edges.pointer().plus(slots),
            rows: batch.graph.edge_rows.pointer().plus(slots),
        }
    }

    fn gated(&self, output: Output) -> &[Gated] {
        match output {
            Output::Score => &self.constants.arrangement.score,
            Output::Force => &self.constants.arrangement.force,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pt₇ on 72 atoms has five large tiles a structure.
    #[test]
    fn tiles_follow_from_sizes_alone() {
        assert!(Network::small(8, 79) && !Network::small(9, 79));
        assert!(Network::small(1, 640) && !Network::small(1, 656));
    }
}
