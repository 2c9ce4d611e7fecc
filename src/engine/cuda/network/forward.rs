//! Filters, the part that all structures share, the blocks and the heads.

use super::{Batch, Network, Output, Wanted, Workspace};
use crate::engine::cuda::arrangement::{Matrix, Net};
use crate::engine::cuda::block::{BlockBiases, BlockForward, BlockSaved, BlockWeights};
use crate::engine::cuda::constants::{Constants, Sizes};
use crate::engine::cuda::filters::FiltersForward;
use crate::engine::cuda::first_block::{FirstMessage, SpeciesForward};
use crate::engine::cuda::head::{Head, gated_blocks};
use crate::error::Result;
use crate::gpu::{Buffer, Pointer, StoredPointer, Stream};

impl Network {
    /// Filter rows of the batch's free edges, of the template's, or of both.
    pub fn filters(&self, stream: &Stream, work: Option<(&Workspace, Batch)>, template: bool) -> Result<()> {
        let Constants { sizes, arrangement, offsets, widths, template_distances, cutoff, .. } = &self.constants;
        let Some(filters) = &arrangement.filters else { return Ok(()) };
        let n_template_rows = if template { sizes.n_template_rows } else { 0 };
        let (n_structures, max_pairs) = work.as_ref().map_or((0, 0), |(work, batch)| (batch.n, work.max_pairs));
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
        };
        arguments.launch(stream, self.precision)
    }

    /// Computes the part of the first block that all structures share; needs the template's filters.
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
        arguments.launch(stream, self.precision, sizes.n_species)?;
        let arguments = FirstMessage {
            template_edges: self.constants.template_edges(),
            senders: self.shared.senders.pointer(),
            template_filters: self.shared.template_rows.pointer(),
            start: self.shared.start.pointer(),
            features: f as u32,
            n_template: sizes.n_template as u32,
            filter_stride: sizes.filter_stride as u32,
        };
        arguments.launch(stream, self.precision)
    }

    /// Runs all blocks on a batch; needs [`Network::prepare`] and the batch's filters.
    pub fn backbone(&self, stream: &Stream, work: &Workspace, batch: &Batch, wanted: Wanted) -> Result<()> {
        let Constants { sizes, arrangement, .. } = &self.constants;
        let f = sizes.features;
        for l in 0..sizes.blocks {
            let (level, is_last) = (self.level(batch, l, wanted), l + 1 == sizes.blocks);
            let (mix, update) = (&arrangement.mixes[l], &arrangement.updates[l]);
            let context = arrangement.contexts.get(l + 1);
            // In the first block the start already contains the message between template atoms.
            let template = l > 0 && (wanted == Wanted::All || !is_last);
            let (start, senders) = match l.checked_sub(1).map(|before| work.block(before)) {
                Some(before) => (before.state.pointer(), before.senders.pointer()),
                None => (self.shared.start.pointer(), self.shared.senders.pointer()),
            };
            let of_context = |part: fn(&Net) -> &Matrix| context.map(part);
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
                saved: work.tape.as_ref().map_or(BlockSaved::default(), |tape| tape.blocks[l].saved()),
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

    pub(super) fn template_filters(&self, l: usize) -> StoredPointer {
        self.shared.template_rows.at(3 * self.constants.sizes.features * l)
    }

    /// Runs a head on the batch's states and writes the vectors of the wanted atoms, \[structures\]\[atoms\]\[3\], into `out`.
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

    /// Writes the scalars of the force head on the free atoms of a batch, \[S\]\[free atoms\], which a readout sums. The batch begins with
    /// structure `first` of the workspace.
    pub fn scalars(
        &self,
        stream: &Stream,
        work: &Workspace,
        batch: &Batch,
        first: usize,
        to: Pointer<f32>,
    ) -> Result<()> {
        let Sizes { features: f, n_atoms, n_free, n_template, .. } = self.constants.sizes;
        let arguments = self.head_arguments(work, batch, Output::Force, Wanted::Free, false);
        let arguments = Head {
            state: arguments.state.plus(first * n_atoms * 4 * f),
            scalars: to,
            out_stride: n_free as u32,
            out_first: n_template as u32,
            ..arguments
        };
        arguments.launch(stream, batch.n, n_free)
    }

    pub(super) fn head_arguments(
        &self,
        work: &Workspace,
        batch: &Batch,
        output: Output,
        wanted: Wanted,
        train: bool,
    ) -> Head {
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
            ..Head::default()
        }
    }
}
