//! The score model on the device: which kernels run, in which order, forward and backward. READ FIRST of the GPU engine.
//!
//! What all structures share under given weights is computed once; [`Workspace`] holds what a batch of structures
//! needs. As on the CPU, template atoms that nothing reads are left out: the last block runs on the free atoms alone, the block before
//! on those that send to them.

use super::adamw::{Adamw, GradientSum, TrainingState, shape};
use super::arrangement::{Gated, Matrix};
use super::block::{
    AtomList, BlockBackward, BlockBiases, BlockForward, BlockSaved, BlockWeights, FreeEdges, WARPS, tiles,
};
use super::constants::{ALL, Constants, FREE, SPECIES, Sizes, TEMPLATE_ROWS};
use super::driver::{Buffer, Pointer, Shape, Stream};
use super::filters::{
    BlockGradient, FILTER_TILE, FiltersForward, MAX_BLOCKS, PairFilterGradient, TemplateFilterGradient,
    TemplateFilterSum,
};
use super::first_block::{FirstBackward, FirstMessage, FirstTemplateBackward, SpeciesBackward, SpeciesForward};
use super::head::{GatedSaved, Head, gated_blocks};
use super::radius_graph::RadiusGraph;
use super::stored::{Stored, StoredPointer};
use super::weight_gradient::{Columns, Jobs, Rows, SLICES, WeightGradient, WeightJob};
use crate::engine::{ModelState, Precision, Setup, TrainingSettings};
use crate::error::Result;
use bytemuck::Zeroable;

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

/// What depends on the weights but not on the structure.
struct Shared {
    template_phi: Buffer<f32>,
    template_rows: Stored,
    species_q: Buffer<f32>,
    species_hidden: Buffer<f32>,
    /// \[N\]\[5F\] senders of the first block.
    senders: Stored,
    /// \[N\]\[4F\] state after the first message as far as the template makes it.
    start: Buffer<f32>,
}

/// Constants, weights and what follows from both alone.
pub struct Network {
    /// Constants.
    pub constants: Constants,
    /// Weights.
    pub weights: Weights,
    shared: Shared,
    /// How filters, senders and what is saved for the backward pass are kept.
    precision: Precision,
    n_multiprocessors: usize,
}

/// Which atoms the last block must give.
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
    /// The first one's place in the graph's arrays.
    pub first: usize,
    /// How many.
    pub n: usize,
}

/// Which head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Score, with the time features.
    Score,
    /// Forces.
    Force,
}

/// A loss on structures `first..first + n` of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    /// The head it is about.
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

/// One block's results for a batch.
struct BlockBuffers {
    /// \[S·N\]\[4F\] after the block.
    state: Buffer<f32>,
    /// \[S·N\]\[5F\] of the next block.
    senders: Stored,
}

/// What the backward pass reads and writes of one block; \[S·N\] rows each.
struct BlockTape {
    middle: Stored,
    mixed: Stored,
    norm: Stored,
    hidden: Stored,
    net: Stored,
    context_hidden: Stored,
    x_mu: Stored,
    d_net: Buffer<f32>,
    d_hidden: Buffer<f32>,
    d_mixed: Buffer<f32>,
    d_middle: Buffer<f32>,
    /// Of the network that made the next block's senders.
    d_context_hidden: Buffer<f32>,
    d_x: Buffer<f32>,
    /// Shares of the next block's template filters, a tile each.
    d_template_filters: Option<Buffer<f32>>,
}

/// What a training step needs beyond the forward pass.
struct Tape {
    blocks: Vec<BlockTape>,
    free_phi: Buffer<f32>,
    d_free_rows: Buffer<f32>,
    d_template_rows: Buffer<f32>,
    first_shares: Option<Buffer<f32>>,
    score: Vec<GatedSaved>,
    force: Vec<GatedSaved>,
    d_state: Buffer<f32>,
    d_start: Buffer<f32>,
    d_first_x: Buffer<f32>,
    d_species_x: Buffer<f32>,
    d_species_hidden: Buffer<f32>,
    slices: Buffer<f32>,
    jobs: Option<(Buffer<WeightJob>, usize)>,
    losses: [Buffer<f32>; 2],
}

/// Buffers of a batch of S structures.
pub struct Workspace {
    n_structures: usize,
    max_pairs: usize,
    free_rows: Stored,
    blocks: Vec<BlockBuffers>,
    tape: Option<Tape>,
}

impl Workspace {
    /// Room for `n_structures` of `max_pairs` pairs each; with `tape` for training too.
    ///
    /// # Errors
    /// `Failed` without memory.
    pub fn new(stream: &Stream, network: &Network, n_structures: usize, max_pairs: usize, tape: bool) -> Result<Self> {
        let sizes = network.constants.sizes;
        let (f, rows) = (sizes.features, n_structures * sizes.n_atoms);
        // Without a tape two blocks' results suffice: each reads what the one before wrote.
        let n_kept = if tape { sizes.blocks } else { sizes.blocks.min(2) };
        let stored = |len: usize| Stored::zeros(stream, network.precision, len);
        let block = |_| Ok(BlockBuffers { state: stream.zeros(rows * 4 * f)?, senders: stored(rows * 5 * f)? });
        let blocks = (0..n_kept).map(block).collect::<Result<_>>()?;
        let n_filter_elements = n_structures * max_pairs * sizes.filter_stride;
        Ok(Workspace {
            n_structures,
            max_pairs,
            free_rows: stored(n_filter_elements)?,
            blocks,
            tape: if tape { Some(Tape::new(stream, network, n_structures, max_pairs)?) } else { None },
        })
    }

    /// Structures it has room for, and pairs of each.
    pub fn room(&self) -> [usize; 2] {
        [self.n_structures, self.max_pairs]
    }

    fn block(&self, l: usize) -> &BlockBuffers {
        &self.blocks[l % self.blocks.len()]
    }
}

impl Tape {
    fn new(stream: &Stream, network: &Network, n_structures: usize, max_pairs: usize) -> Result<Self> {
        let Constants { sizes, arrangement, few_template_rows, .. } = &network.constants;
        let (f, rows, n) = (sizes.features, n_structures * sizes.n_atoms, sizes.n_atoms);
        let n_template_row_elements = (sizes.n_template_rows * sizes.filter_stride).max(1);
        // Tiles may be small: their number is bounded by that of small tiles.
        let n_shares = n_structures * tiles(n, true).0;
        let share = sizes.n_template_rows * 3 * f;
        let zeros = |width: usize| stream.zeros(rows * width);
        let stored = |width: usize| Stored::zeros(stream, network.precision, rows * width);
        let block = |l: usize| {
            let shares = *few_template_rows && sizes.n_template_rows > 0 && l + 2 < sizes.blocks;
            Ok(BlockTape {
                middle: stored(4 * f)?,
                mixed: stored(6 * f)?,
                norm: stored(f)?,
                hidden: stored(f)?,
                net: stored(3 * f)?,
                context_hidden: stored(f)?,
                x_mu: stored(f)?,
                d_net: zeros(3 * f)?,
                d_hidden: zeros(f)?,
                d_mixed: zeros(6 * f)?,
                d_middle: zeros(4 * f)?,
                d_context_hidden: zeros(f)?,
                d_x: zeros(3 * f)?,
                d_template_filters: if shares { Some(stream.zeros(n_shares * share)?) } else { None },
            })
        };
        let saved = |blocks: &[Gated]| blocks.iter().map(|b| GatedSaved::new(stream, b, rows)).collect::<Result<_>>();
        let n_first_shares = sizes.n_template.div_ceil(WARPS);
        Ok(Tape {
            blocks: (0..sizes.blocks).map(block).collect::<Result<_>>()?,
            free_phi: stream.zeros(n_structures * max_pairs * sizes.n_columns)?,
            d_free_rows: stream.zeros(n_structures * max_pairs * sizes.filter_stride)?,
            d_template_rows: stream.zeros(n_template_row_elements)?,
            first_shares: if *few_template_rows && share > 0 {
                Some(stream.zeros(n_first_shares * share)?)
            } else {
                None
            },
            score: saved(&arrangement.score)?,
            force: saved(&arrangement.force)?,
            d_state: zeros(4 * f)?,
            d_start: stream.zeros(n * 4 * f)?,
            d_first_x: stream.zeros(n * 2 * f)?,
            d_species_x: stream.zeros(sizes.n_species * 3 * f)?,
            d_species_hidden: stream.zeros(sizes.n_species * f)?,
            slices: stream.zeros(SLICES * arrangement.plain_len)?,
            jobs: None,
            losses: [
                stream.zeros(n_structures * Head::n_tiles(sizes.n_free))?,
                stream.zeros(n_structures * Head::n_tiles(sizes.n_free))?,
            ],
        })
    }
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
            squares: stream.zeros(shape(sizes.n_parameters).blocks[0] as usize)?,
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
        let n_multiprocessors = stream.device().properties().multiprocessors as usize;
        Ok(Network { constants, weights, shared, precision, n_multiprocessors })
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

    /// Tiles are small where large ones would leave multiprocessors idle.
    fn small(&self, n_structures: usize, longest: usize) -> bool {
        2 * n_structures * tiles(longest, false).0 < self.n_multiprocessors
    }

    /// Atoms that block `l` (from 0) must compute.
    fn level(&self, batch: &Batch, l: usize, wanted: Wanted) -> Level {
        let Sizes { n_atoms, n_template, n_free, blocks, .. } = self.constants.sizes;
        let (atoms, counts) = (self.constants.atoms.pointer(), self.constants.counts.pointer());
        if wanted == Wanted::Free && l + 1 == blocks {
            let atoms = AtomList { list: atoms.plus(n_template), counts: counts.plus(FREE) };
            return Level { atoms, list_stride: 0, count_stride: 0, longest: n_free, small: true };
        }
        let small = self.small(batch.n, n_atoms);
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

    /// Filter rows of the batch's free edges, of the template's, or of both.
    pub fn filters(&self, stream: &Stream, work: Option<(&Workspace, Batch)>, template: bool) -> Result<()> {
        let Constants { sizes, arrangement, offsets, widths, template_distances, cutoff, .. } = &self.constants;
        let Some(filters) = &arrangement.filters else { return Ok(()) };
        let n_template_rows = if template { sizes.n_template_rows } else { 0 };
        let (n_structures, max_pairs) = work.as_ref().map_or((0, 0), |(work, batch)| (batch.n, work.max_pairs));
        let n_tiles = max_pairs.max(n_template_rows).div_ceil(FILTER_TILE);
        let free_phi = work.as_ref().and_then(|(work, _)| work.tape.as_ref());
        let of_batch = |batch: &Batch| {
            let first = batch.first;
            (batch.graph.distances.pointer().plus(first * max_pairs), batch.graph.n_pairs.pointer().plus(first))
        };
        let (free_distances, n_pairs) =
            work.as_ref().map_or((Pointer::NULL, Pointer::NULL), |(_, batch)| of_batch(batch));
        let arguments = FiltersForward {
            free_distances,
            n_pairs,
            template_distances: template_distances.pointer(),
            offsets: offsets.pointer(),
            widths: widths.pointer(),
            weights: self.transposed(filters),
            free_phi: free_phi.map_or(Pointer::NULL, |tape| tape.free_phi.pointer()),
            template_phi: self.shared.template_phi.pointer(),
            free_rows: work.as_ref().map_or(StoredPointer::NULL, |(work, _)| work.free_rows.pointer()),
            template_rows: self.shared.template_rows.pointer(),
            n_structures: n_structures as u32,
            max_pairs: max_pairs as u32,
            n_template_rows: n_template_rows as u32,
            n_radial: sizes.n_radial as u32,
            n_columns: sizes.n_columns as u32,
            filter_stride: sizes.filter_stride as u32,
            cutoff: *cutoff as f32,
            unused: 0,
        };
        let n_segments = n_structures + usize::from(n_template_rows > 0);
        let shared_bytes = 4 * (FILTER_TILE * sizes.n_columns) as u32;
        let shape = Shape { blocks: [n_tiles as u32, n_segments as u32], threads: 256, shared_bytes };
        let kernel = self.precision.kernel(["filters_forward", "filters_forward_mixed"]);
        stream.launch_variant(kernel, shape, &arguments)
    }

    /// What the first block of all structures shares; needs the template's filters.
    pub fn prepare(&self, stream: &Stream) -> Result<()> {
        let Constants { sizes, arrangement, numbers, species_of, .. } = &self.constants;
        let (f, context) = (sizes.features, &arrangement.contexts[0]);
        let arguments = SpeciesForward {
            numbers: numbers.pointer(),
            species_of: species_of.pointer(),
            embedding: self.plain(arrangement.embedding),
            context_1: self.transposed(&context.first),
            bias_1: self.bias(&context.first),
            context_2: self.transposed(&context.second),
            bias_2: self.bias(&context.second),
            q: self.shared.species_q.pointer(),
            hidden: self.shared.species_hidden.pointer(),
            senders: self.shared.senders.pointer(),
            start: self.shared.start.pointer(),
            features: f as u32,
            n_atoms: sizes.n_atoms as u32,
        };
        let shape = Shape { blocks: [sizes.n_species as u32, 1], threads: 256, shared_bytes: 4 * 5 * f as u32 };
        let kernel = self.precision.kernel(["species_forward", "species_forward_mixed"]);
        stream.launch_variant(kernel, shape, &arguments)?;
        let arguments = FirstMessage {
            template_edges: self.constants.template_edges(),
            senders: self.shared.senders.pointer(),
            template_filters: self.shared.template_rows.pointer(),
            start: self.shared.start.pointer(),
            features: f as u32,
            n_template: sizes.n_template as u32,
            filter_stride: sizes.filter_stride as u32,
            unused: 0,
        };
        let n_blocks = sizes.n_template.div_ceil(WARPS) as u32;
        let kernel = self.precision.kernel(["first_message", "first_message_mixed"]);
        stream.launch_variant(kernel, Shape { blocks: [n_blocks, 1], threads: 256, shared_bytes: 0 }, &arguments)
    }

    /// Runs all blocks on a batch; needs [`Network::prepare`] and the batch's filters.
    pub fn backbone(&self, stream: &Stream, work: &Workspace, batch: &Batch, wanted: Wanted) -> Result<()> {
        let Constants { sizes, arrangement, .. } = &self.constants;
        let f = sizes.features;
        for l in 0..sizes.blocks {
            let (level, is_last) = (self.level(batch, l, wanted), l + 1 == sizes.blocks);
            let (mix, update) = (&arrangement.mixes[l], &arrangement.updates[l]);
            let context = arrangement.contexts.get(l + 1);
            // In the first block the message between template atoms is in the start already.
            let template = l > 0 && (wanted == Wanted::All || !is_last);
            let (start, senders) = match l.checked_sub(1).map(|before| work.block(before)) {
                Some(before) => (before.state.pointer(), before.senders.pointer()),
                None => (self.shared.start.pointer(), self.shared.senders.pointer()),
            };
            let of_context = |part: fn(&super::arrangement::Net) -> &Matrix| context.map(part);
            let arguments = BlockForward {
                atoms: level.atoms,
                template_edges: self.constants.template_edges(),
                free_edges: self.free_edges(batch),
                start,
                senders,
                template_filters: if template { self.template_filters(l) } else { StoredPointer::NULL },
                free_filters: work.free_rows.at(3 * f * l),
                weights: BlockWeights {
                    mix: self.transposed(mix),
                    net_1: self.transposed(&update.first),
                    net_2: self.transposed(&update.second),
                    context_1: of_context(|net| &net.first).map_or(Pointer::NULL, |m| self.transposed(m)),
                    context_2: of_context(|net| &net.second).map_or(Pointer::NULL, |m| self.transposed(m)),
                },
                biases: BlockBiases {
                    net_1: self.bias(&update.first),
                    net_2: self.bias(&update.second),
                    context_1: of_context(|net| &net.first).map_or(Pointer::NULL, |m| self.bias(m)),
                    context_2: of_context(|net| &net.second).map_or(Pointer::NULL, |m| self.bias(m)),
                },
                state: work.block(l).state.pointer(),
                senders_out: work.block(l).senders.pointer(),
                saved: work.tape.as_ref().map_or(BlockSaved::zeroed(), |tape| tape.blocks[l].saved()),
                features: f as u32,
                n_atoms: sizes.n_atoms as u32,
                n_template: sizes.n_template as u32,
                start_rows: if l > 0 { sizes.n_atoms as u32 } else { 0 },
                filter_stride: sizes.filter_stride as u32,
                max_pairs: work.max_pairs as u32,
                list_stride: level.list_stride as u32,
                count_stride: level.count_stride as u32,
            };
            arguments.launch(stream, self.precision, batch.n, level.longest, level.small)?;
        }
        Ok(())
    }

    fn template_filters(&self, l: usize) -> StoredPointer {
        self.shared.template_rows.at(3 * self.constants.sizes.features * l)
    }

    /// Runs a head on the batch's states: vectors of the wanted atoms, \[structures\]\[atoms\]\[3\], into `out`.
    pub fn head(
        &self,
        stream: &Stream,
        work: &Workspace,
        batch: &Batch,
        (output, wanted): (Output, Wanted),
        time_features: Pointer<f32>,
        out: &Buffer<f32>,
    ) -> Result<()> {
        let Sizes { n_atoms, n_free, n_template, .. } = self.constants.sizes;
        let (out_stride, out_first) = match wanted {
            Wanted::Free => (n_free, n_template),
            Wanted::All => (n_atoms, 0),
        };
        let arguments = Head {
            time_features,
            out: out.pointer(),
            out_stride: out_stride as u32,
            out_first: out_first as u32,
            ..self.head_arguments(work, batch, output, wanted, false)
        };
        arguments.launch(stream, batch.n, out_stride)
    }

    fn gated(&self, output: Output) -> &[Gated] {
        match output {
            Output::Score => &self.constants.arrangement.score,
            Output::Force => &self.constants.arrangement.force,
        }
    }

    fn head_arguments(&self, work: &Workspace, batch: &Batch, output: Output, wanted: Wanted, train: bool) -> Head {
        let sizes = &self.constants.sizes;
        let level = self.level(batch, sizes.blocks - 1, wanted);
        let saved = work.tape.as_ref().filter(|_| train).map(|tape| match output {
            Output::Score => &tape.score[..],
            Output::Force => &tape.force[..],
        });
        let (plain, transposed) = (self.weights.plain.pointer(), self.weights.transposed.pointer());
        let (blocks, at_d_vectors) = gated_blocks(self.gated(output), plain, transposed, saved);
        Head {
            list: level.atoms.list,
            counts: level.atoms.counts,
            state: work.block(sizes.blocks - 1).state.pointer(),
            blocks,
            features: sizes.features as u32,
            n_atoms: sizes.n_atoms as u32,
            list_stride: level.list_stride as u32,
            count_stride: level.count_stride as u32,
            time_stride: 1,
            at_d_vectors: at_d_vectors as u32,
            ..Head::zeroed()
        }
    }

    /// The losses of `terms` and the gradient of their weighted sum, left in the slices; after [`Network::backbone`] on a workspace
    /// with a tape. The terms' structures are the whole batch.
    pub fn backward(&self, stream: &Stream, work: &Workspace, batch: &Batch, terms: &[Term]) -> Result<()> {
        let Some(tape) = &work.tape else { return Ok(()) };
        let Sizes { features: f, n_atoms, n_free, n_template, .. } = self.constants.sizes;
        for (term, losses) in terms.iter().zip(&tape.losses) {
            let part = Batch { first: batch.first + term.first, n: term.n, ..*batch };
            let mut arguments = self.head_arguments(work, &part, term.output, Wanted::Free, true);
            let first_row = term.first * n_atoms;
            arguments.state = arguments.state.plus(first_row * 4 * f);
            for (block, gated) in arguments.blocks.iter_mut().zip(self.gated(term.output)) {
                block.input = block.input.plus(first_row * gated.net.first.n_in);
                block.vectors = block.vectors.plus(first_row * 3 * gated.vectors_in);
                block.hidden = block.hidden.plus(first_row * gated.net.first.n_out);
                block.d_mixed = block.d_mixed.plus(first_row * 3 * gated.mix.n_out);
                block.d_hidden = block.d_hidden.plus(first_row * gated.net.first.n_out);
                block.d_out = block.d_out.plus(first_row * gated.net.second.n_out);
            }
            let arguments = Head {
                time_features: term.time_features,
                offset: term.offset,
                factor: term.factor,
                scale: term.scale,
                loss: losses.pointer(),
                d_state: tape.d_state.pointer().plus(first_row * 4 * f),
                out_stride: n_free as u32,
                out_first: n_template as u32,
                huber_delta: term.huber_delta,
                gradient_weight: term.weight,
                ..arguments
            };
            arguments.launch(stream, term.n, n_free)?;
        }
        self.backward_blocks(stream, work, tape, batch)?;
        self.backward_first(stream, work, tape, batch)?;
        self.backward_filters(stream, work, tape, batch)?;
        let Some((jobs, n_tiles)) = &tape.jobs else { return Ok(()) };
        let arguments = WeightGradient {
            jobs: jobs.pointer(),
            slices: tape.slices.pointer(),
            n_jobs: jobs.len() as u32,
            slice_len: self.constants.arrangement.plain_len as u32,
            first_structure: batch.first as u32,
            unused: 0,
        };
        let shape = Shape { blocks: [*n_tiles as u32, SLICES as u32], threads: 256, shared_bytes: 8192 };
        stream.launch_variant(self.precision.kernel(["weight_gradient", "weight_gradient_mixed"]), shape, &arguments)
    }

    fn backward_blocks(&self, stream: &Stream, work: &Workspace, tape: &Tape, batch: &Batch) -> Result<()> {
        let Constants { sizes, arrangement, .. } = &self.constants;
        let f = sizes.features;
        for l in (0..sizes.blocks).rev() {
            let level = self.level(batch, l, Wanted::Free);
            let (buffers, above) = (&tape.blocks[l], tape.blocks.get(l + 1));
            let (mix, update, context) =
                (&arrangement.mixes[l], &arrangement.updates[l], arrangement.contexts.get(l + 1));
            let template = l + 2 < sizes.blocks;
            let shares = buffers.d_template_filters.as_ref();
            let arguments = BlockBackward {
                atoms: level.atoms,
                template_edges: self.constants.template_edges(),
                free_edges: self.free_edges(batch),
                d_above: above.map_or(Pointer::NULL, |above| above.d_middle.pointer()),
                template_filters: if template { self.template_filters(l + 1) } else { StoredPointer::NULL },
                free_filters: work.free_rows.at(3 * f * (l + 1)),
                senders: work.block(l).senders.pointer(),
                state: work.block(l).state.pointer(),
                saved: buffers.saved(),
                weights: BlockWeights {
                    mix: self.plain(mix.plain),
                    net_1: self.plain(update.first.plain),
                    net_2: self.plain(update.second.plain),
                    context_1: context.map_or(Pointer::NULL, |net| self.plain(net.first.plain)),
                    context_2: context.map_or(Pointer::NULL, |net| self.plain(net.second.plain)),
                },
                d_state: tape.d_state.pointer(),
                d_x: buffers.d_x.pointer(),
                d_context_hidden: buffers.d_context_hidden.pointer(),
                d_net: buffers.d_net.pointer(),
                d_hidden: buffers.d_hidden.pointer(),
                d_mixed: buffers.d_mixed.pointer(),
                d_middle: buffers.d_middle.pointer(),
                d_template_filters: shares.map_or(Pointer::NULL, Buffer::pointer),
                features: f as u32,
                n_atoms: sizes.n_atoms as u32,
                n_template: sizes.n_template as u32,
                filter_stride: sizes.filter_stride as u32,
                max_pairs: work.max_pairs as u32,
                list_stride: level.list_stride as u32,
                count_stride: level.count_stride as u32,
                n_filter_rows: if shares.is_some() { sizes.n_template_rows as u32 } else { 0 },
            };
            arguments.launch(stream, self.precision, batch.n, level.longest, level.small)?;
        }
        Ok(())
    }

    fn backward_first(&self, stream: &Stream, work: &Workspace, tape: &Tape, batch: &Batch) -> Result<()> {
        let Constants { sizes, arrangement, numbers, species_of, .. } = &self.constants;
        let f = sizes.features;
        let arguments = FirstBackward {
            free_edges: self.free_edges(batch),
            d_middle: tape.blocks[0].d_middle.pointer(),
            free_filters: work.free_rows.pointer(),
            d_start: tape.d_start.pointer(),
            d_x: tape.d_first_x.pointer(),
            features: f as u32,
            n_atoms: sizes.n_atoms as u32,
            n_structures: batch.n as u32,
            filter_stride: sizes.filter_stride as u32,
            max_pairs: work.max_pairs as u32,
            unused: 0,
        };
        let shared_bytes = (4 * WARPS * 6 * f) as u32;
        let shape = Shape { blocks: [sizes.n_atoms as u32, 1], threads: 256, shared_bytes };
        stream.launch_variant(self.precision.kernel(["first_backward", "first_backward_mixed"]), shape, &arguments)?;
        let shares = tape.first_shares.as_ref();
        let n_filter_rows = if shares.is_some() { sizes.n_template_rows } else { 0 };
        let arguments = FirstTemplateBackward {
            template_edges: self.constants.template_edges(),
            senders: self.shared.senders.pointer(),
            d_start: tape.d_start.pointer(),
            template_filters: self.shared.template_rows.pointer(),
            d_x: tape.d_first_x.pointer(),
            d_template_filters: shares.map_or(Pointer::NULL, Buffer::pointer),
            features: f as u32,
            n_template: sizes.n_template as u32,
            filter_stride: sizes.filter_stride as u32,
            n_filter_rows: n_filter_rows as u32,
        };
        let shared_bytes = (4 * WARPS * n_filter_rows * 3 * f) as u32;
        let n_blocks = sizes.n_template.div_ceil(WARPS) as u32;
        let kernel = self.precision.kernel(["first_template_backward", "first_template_backward_mixed"]);
        stream.launch_variant(kernel, Shape { blocks: [n_blocks, 1], threads: 256, shared_bytes }, &arguments)?;
        let context = &arrangement.contexts[0];
        let arguments = SpeciesBackward {
            numbers: numbers.pointer(),
            species_of: species_of.pointer(),
            d_start: tape.d_start.pointer(),
            d_x: tape.d_first_x.pointer(),
            hidden: self.shared.species_hidden.pointer(),
            context_1: self.plain(context.first.plain),
            context_2: self.plain(context.second.plain),
            d_species_x: tape.d_species_x.pointer(),
            d_hidden: tape.d_species_hidden.pointer(),
            d_embedding: tape.slices.pointer().plus(arrangement.embedding),
            features: f as u32,
            n_atoms: sizes.n_atoms as u32,
        };
        let shape = Shape { blocks: [sizes.n_species as u32, 1], threads: 256, shared_bytes: 4 * 5 * f as u32 };
        stream.launch(shape, &arguments)
    }

    fn backward_filters(&self, stream: &Stream, work: &Workspace, tape: &Tape, batch: &Batch) -> Result<()> {
        let Constants { sizes, row_starts, row_edges, .. } = &self.constants;
        let (f, n_rows) = (sizes.features, sizes.n_template_rows);
        let nothing = BlockGradient { d_middle: Pointer::NULL, senders: StoredPointer::NULL };
        let of_block = |l: usize, d_first: &Buffer<f32>| match l {
            _ if l >= sizes.blocks => nothing,
            0 => BlockGradient { d_middle: d_first.pointer(), senders: self.shared.senders.pointer() },
            _ => BlockGradient {
                d_middle: tape.blocks[l].d_middle.pointer(),
                senders: work.block(l - 1).senders.pointer(),
            },
        };
        let arguments = PairFilterGradient {
            pairs: batch.graph.pairs.pointer().plus(batch.first * work.max_pairs),
            n_pairs: batch.graph.n_pairs.pointer().plus(batch.first),
            d_rows: tape.d_free_rows.pointer(),
            blocks: std::array::from_fn(|l| of_block(l, &tape.blocks[0].d_middle)),
            features: f as u32,
            n_atoms: sizes.n_atoms as u32,
            n_structures: batch.n as u32,
            max_pairs: work.max_pairs as u32,
            filter_stride: sizes.filter_stride as u32,
            unused: 0,
        };
        let blocks = [work.max_pairs.div_ceil(WARPS) as u32, (batch.n * sizes.blocks) as u32];
        let kernel = self.precision.kernel(["pair_filter_gradient", "pair_filter_gradient_mixed"]);
        stream.launch_variant(kernel, Shape { blocks, threads: 256, shared_bytes: 0 }, &arguments)?;
        if n_rows == 0 {
            return Ok(());
        }
        if let Some(first_shares) = &tape.first_shares {
            let mut arguments = TemplateFilterSum {
                shares: [Pointer::NULL; MAX_BLOCKS],
                d_rows: tape.d_template_rows.pointer(),
                n_shares: [0; MAX_BLOCKS],
                features: f as u32,
                n_template_rows: n_rows as u32,
                n_blocks: sizes.blocks as u32,
                filter_stride: sizes.filter_stride as u32,
            };
            arguments.shares[0] = first_shares.pointer();
            arguments.n_shares[0] = sizes.n_template.div_ceil(WARPS) as u32;
            for l in 1..sizes.blocks {
                if let Some(shares) = &tape.blocks[l - 1].d_template_filters {
                    let level = self.level(batch, l - 1, Wanted::Free);
                    arguments.shares[l] = shares.pointer();
                    arguments.n_shares[l] = (batch.n * tiles(level.longest, level.small).0) as u32;
                }
            }
            let blocks = [(n_rows * 3 * f).div_ceil(32) as u32, sizes.blocks as u32];
            return stream.launch(Shape { blocks, threads: 256, shared_bytes: 4 * 256 }, &arguments);
        }
        let arguments = TemplateFilterGradient {
            row_starts: row_starts.pointer(),
            edges: row_edges.pointer(),
            d_rows: tape.d_template_rows.pointer(),
            blocks: std::array::from_fn(|l| of_block(l, &tape.d_start)),
            features: f as u32,
            n_atoms: sizes.n_atoms as u32,
            n_structures: batch.n as u32,
            n_template_rows: n_rows as u32,
            n_blocks: sizes.blocks as u32,
            filter_stride: sizes.filter_stride as u32,
        };
        let shared_bytes = (4 * WARPS * 3 * f) as u32;
        let shape = Shape { blocks: [n_rows as u32, sizes.blocks as u32], threads: 256, shared_bytes };
        let kernel = self.precision.kernel(["template_filter_gradient", "template_filter_gradient_mixed"]);
        stream.launch_variant(kernel, shape, &arguments)
    }

    /// Makes the table of weight gradients for batches of `graph` with `terms`, whose places in the batch stay. Gradients of heads
    /// without a term become 0.
    pub fn plan(&self, stream: &Stream, work: &mut Workspace, batch: &Batch, terms: &[Term]) -> Result<()> {
        let Some(tape) = &work.tape else { return Ok(()) };
        let Constants { sizes, arrangement, counts, .. } = &self.constants;
        let (f, n) = (sizes.features, sizes.n_atoms);
        let origin = Batch { first: 0, ..*batch };
        let rows_of = |level: Level, segments: [usize; 2]| Rows {
            list: level.atoms.list,
            counts: level.atoms.counts,
            segments,
            segment_rows: n,
            strides: [level.list_stride, level.count_stride],
        };
        let (scalars, vectors, stored) = (Columns::scalars, Columns::vectors, Columns::stored);
        let mut jobs = Jobs::default();
        for l in 0..sizes.blocks {
            let (t, mix, update) = (&tape.blocks[l], &arrangement.mixes[l], &arrangement.updates[l]);
            let rows = rows_of(self.level(&origin, l, Wanted::Free), [0, batch.n]);
            let d_mixed = vectors(t.d_mixed.pointer(), 6 * f, 2 * f);
            let mu = Columns::stored_vectors(&t.middle, f, 4 * f, f);
            jobs.push(&rows, mix, [0, f], d_mixed, mu, false);
            let d_hidden = scalars(t.d_hidden.pointer(), f);
            jobs.push(&rows, &update.first, [0, f], d_hidden, stored(&t.middle, 4 * f), false);
            jobs.push(&rows, &update.first, [f, f], d_hidden, stored(&t.norm, f), false);
            let d_net = scalars(t.d_net.pointer(), 3 * f);
            jobs.push(&rows, &update.second, [0, f], d_net, stored(&t.hidden, f), true);
            if let Some(context) = arrangement.contexts.get(l + 1) {
                let d_hidden = scalars(t.d_context_hidden.pointer(), f);
                let q = scalars(work.block(l).state.pointer(), 4 * f);
                jobs.push(&rows, &context.first, [0, f], d_hidden, q, false);
                let (d_x, hidden) = (scalars(t.d_x.pointer(), 3 * f), stored(&t.context_hidden, f));
                jobs.push(&rows, &context.second, [0, f], d_x, hidden, true);
            }
        }
        let fixed = |place: usize| Rows {
            list: Pointer::NULL,
            counts: counts.pointer().plus(place),
            segments: [0, 1],
            segment_rows: 0,
            strides: [0, 0],
        };
        let context = &arrangement.contexts[0];
        let d_hidden = scalars(tape.d_species_hidden.pointer(), f);
        jobs.push(
            &fixed(SPECIES),
            &context.first,
            [0, f],
            d_hidden,
            scalars(self.shared.species_q.pointer(), f),
            false,
        );
        let (d_x, hidden) = (&tape.d_species_x, &self.shared.species_hidden);
        let (d_x, hidden) = (scalars(d_x.pointer(), 3 * f), scalars(hidden.pointer(), f));
        jobs.push(&fixed(SPECIES), &context.second, [0, f], d_x, hidden, true);
        if let Some(filters) = &arrangement.filters {
            let (stride, m) = (sizes.filter_stride, sizes.n_columns);
            let pairs = Rows {
                list: Pointer::NULL,
                counts: batch.graph.n_pairs.pointer(),
                segments: [0, batch.n],
                segment_rows: work.max_pairs,
                strides: [0, 1],
            };
            let (d_rows, phi) = (scalars(tape.d_free_rows.pointer(), stride), scalars(tape.free_phi.pointer(), m));
            jobs.push(&pairs, filters, [0, m], d_rows, phi, false);
            if sizes.n_template_rows > 0 {
                let (d_rows, phi) = (tape.d_template_rows.pointer(), self.shared.template_phi.pointer());
                jobs.add_shared(&fixed(TEMPLATE_ROWS), scalars(d_rows, stride), scalars(phi, m));
            }
        }
        for term in terms {
            let saved = if term.output == Output::Score { &tape.score } else { &tape.force };
            let rows = rows_of(self.level(&origin, sizes.blocks - 1, Wanted::Free), [term.first, term.n]);
            for (b, kept) in self.gated(term.output).iter().zip(saved) {
                let (v, v_in) = (b.mix.n_out, b.vectors_in);
                let (d_mixed, x) =
                    (vectors(kept.d_mixed.pointer(), 3 * v, v), vectors(kept.vectors.pointer(), 3 * v_in, v_in));
                jobs.push(&rows, &b.mix, [0, v_in], d_mixed, x, false);
                let (n_in, n_hidden) = (b.net.first.n_in, b.net.first.n_out);
                let (d_hidden, input) =
                    (scalars(kept.d_hidden.pointer(), n_hidden), scalars(kept.input.pointer(), n_in));
                jobs.push(&rows, &b.net.first, [0, n_in], d_hidden, input, false);
                let d_out = scalars(kept.d_out.pointer(), b.net.second.n_out);
                jobs.push(&rows, &b.net.second, [0, n_hidden], d_out, scalars(kept.hidden.pointer(), n_hidden), true);
            }
        }
        stream.clear(&tape.slices)?;
        let (jobs, n_tiles) = jobs.finish();
        let jobs = stream.upload(&jobs)?;
        if let Some(tape) = &mut work.tape {
            tape.jobs = Some((jobs, n_tiles));
        }
        Ok(())
    }

    /// Adds up the gradient that [`Network::backward`] left; hears of the losses of `n_losses` structures each of the score and of the
    /// forces, if `ends_epoch` is given.
    pub fn sum_gradient(
        &self,
        stream: &Stream,
        work: &Workspace,
        training: &Buffer<TrainingState>,
        losses: Option<(&Buffer<u32>, [usize; 2], f32)>,
    ) -> Result<()> {
        let Some(tape) = &work.tape else { return Ok(()) };
        let Constants { sizes, arrangement, plain_at, .. } = &self.constants;
        let (ends_epoch, n_structures, force_weight) =
            losses.map_or((Pointer::NULL, [0, 0], 0.0), |(ends, n, weight)| (ends.pointer(), n, weight));
        let n_tiles = Head::n_tiles(sizes.n_free);
        let arguments = GradientSum {
            slices: tape.slices.pointer(),
            plain_at: plain_at.pointer(),
            gradient: self.weights.gradient.pointer(),
            squares: self.weights.squares.pointer(),
            losses: if losses.is_some() { tape.losses[0].pointer() } else { Pointer::NULL },
            force_losses: tape.losses[1].pointer(),
            ends_epoch,
            training: training.pointer(),
            n_parameters: sizes.n_parameters as u32,
            n_slices: SLICES as u32,
            slice_len: arrangement.plain_len as u32,
            n_losses: (n_structures[0] * n_tiles) as u32,
            n_force_losses: (n_structures[1] * n_tiles) as u32,
            force_weight,
        };
        stream.launch(shape(sizes.n_parameters), &arguments)
    }

    /// Takes `gradient` \[P\] for a step, in place of one that was computed.
    pub fn take_gradient(&self, stream: &Stream, training: &Buffer<TrainingState>, gradient: &[f32]) -> Result<()> {
        stream.write(&self.weights.gradient, 0, gradient)?;
        let arguments = GradientSum {
            gradient: self.weights.gradient.pointer(),
            squares: self.weights.squares.pointer(),
            training: training.pointer(),
            n_parameters: self.constants.sizes.n_parameters as u32,
            ..GradientSum::zeroed()
        };
        stream.launch(shape(self.constants.sizes.n_parameters), &arguments)
    }

    /// One AdamW step with the gradient summed last.
    pub fn step(&self, stream: &Stream, training: &Buffer<TrainingState>, settings: &TrainingSettings) -> Result<()> {
        let Constants { sizes, plain_at, transposed_at, .. } = &self.constants;
        let weights = &self.weights;
        let arguments = Adamw {
            gradient: weights.gradient.pointer(),
            squares: weights.squares.pointer(),
            training: training.pointer(),
            plain_at: plain_at.pointer(),
            transposed_at: transposed_at.pointer(),
            parameters: weights.parameters.pointer(),
            first: weights.first.pointer(),
            second: weights.second.pointer(),
            plain: weights.plain.pointer(),
            transposed: weights.transposed.pointer(),
            n_parameters: sizes.n_parameters as u32,
            n_squares: shape(sizes.n_parameters).blocks[0],
            weight_decay: settings.weight_decay as f32,
            gradient_clip: settings.gradient_clip as f32,
        };
        stream.launch(shape(sizes.n_parameters), &arguments)
    }

    /// The summed gradient \[P\], read back.
    pub fn read_gradient(&self, stream: &Stream) -> Result<Vec<f32>> {
        stream.read(&self.weights.gradient)
    }

    /// Norm of the gradient summed or taken last.
    pub fn gradient_norm(&self, stream: &Stream) -> Result<f64> {
        Ok(stream.read(&self.weights.squares)?.iter().sum::<f64>().sqrt())
    }

    /// Sum of the losses of `n` structures of the term `k`.
    pub fn read_loss(&self, stream: &Stream, work: &Workspace, k: usize, n: usize) -> Result<f64> {
        let Some(tape) = &work.tape else { return Ok(0.0) };
        let n_tiles = Head::n_tiles(self.constants.sizes.n_free);
        Ok(stream.read_part(&tape.losses[k], 0, n * n_tiles)?.iter().map(|&loss| f64::from(loss)).sum())
    }
}

impl BlockTape {
    fn saved(&self) -> BlockSaved {
        BlockSaved {
            middle: self.middle.pointer(),
            mixed: self.mixed.pointer(),
            norm: self.norm.pointer(),
            hidden: self.hidden.pointer(),
            net: self.net.pointer(),
            context_hidden: self.context_hidden.pointer(),
            x_mu: self.x_mu.pointer(),
        }
    }
}
