//! The derivatives of a loss with respect to everything but the weights, from the heads back to the species.

use super::workspace::Tape;
use super::{Batch, Network, Term, Wanted, Workspace};
use crate::engine::LABEL_DELTA;
use crate::engine::cuda::block::{BlockBackward, BlockWeights, tiles};
use crate::engine::cuda::constants::{Constants, Sizes};
use crate::engine::cuda::filters::{BlockGradient, PairFilterGradient, TemplateFilterGradient, TemplateFilterSum};
use crate::engine::cuda::first_block::{FirstBackward, FirstTemplateBackward, SpeciesBackward, n_shares};
use crate::engine::cuda::head::Head;
use crate::engine::cuda::weight_gradient::WeightGradient;
use crate::error::Result;
use crate::gpu::{Buffer, Pointer, StoredPointer, Stream};

impl Network {
    /// Computes the losses of `terms` and the gradient of their weighted sum, which stays in the slices. [`Network::backbone`] must
    /// have run on a workspace with a tape. The terms' structures are the whole batch.
    pub fn backward(&self, stream: &Stream, work: &Workspace, batch: &Batch, terms: &[Term]) -> Result<()> {
        let Some(tape) = &work.tape else { return Ok(()) };
        let Sizes { features: f, n_atoms, n_free, n_template, .. } = self.constants.sizes;
        for term in terms {
            let losses = &tape.losses[term.output as usize];
            let part = Batch { first: batch.first + term.first, n: term.n, ..*batch };
            if term.labels != Pointer::NULL {
                self.scalars(stream, work, &part, term.first, tape.scalars.pointer())?;
            }
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
                scalars: tape.scalars.pointer(),
                labels: term.labels,
                label_weight: term.label_weight,
                label_delta: LABEL_DELTA as f32,
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
        };
        arguments.launch(stream, self.precision, *n_tiles)
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
        };
        arguments.launch(stream, self.precision)?;
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
        arguments.launch(stream, self.precision)?;
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
        arguments.launch(stream, sizes.n_species)
    }

    fn backward_filters(&self, stream: &Stream, work: &Workspace, tape: &Tape, batch: &Batch) -> Result<()> {
        let Constants { sizes, row_starts, row_edges, .. } = &self.constants;
        let (f, n_rows) = (sizes.features, sizes.n_template_rows);
        let nothing = BlockGradient::default();
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
        };
        arguments.launch(stream, self.precision, sizes.blocks)?;
        if n_rows == 0 {
            return Ok(());
        }
        if let Some(first_shares) = &tape.first_shares {
            let mut arguments = TemplateFilterSum {
                d_rows: tape.d_template_rows.pointer(),
                features: f as u32,
                n_template_rows: n_rows as u32,
                n_blocks: sizes.blocks as u32,
                filter_stride: sizes.filter_stride as u32,
                ..TemplateFilterSum::default()
            };
            arguments.shares[0] = first_shares.pointer();
            arguments.n_shares[0] = n_shares(sizes.n_template) as u32;
            for l in 1..sizes.blocks {
                if let Some(shares) = &tape.blocks[l - 1].d_template_filters {
                    let level = self.level(batch, l - 1, Wanted::Free);
                    arguments.shares[l] = shares.pointer();
                    arguments.n_shares[l] = (batch.n * tiles(level.longest, level.small).0) as u32;
                }
            }
            return arguments.launch(stream);
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
        arguments.launch(stream, self.precision)
    }
}
