//! The weights' gradient from the results of the backward pass, and the step along it.

use super::workspace::Tape;
use super::{Batch, Network, Output, Term, Wanted, Workspace};
use crate::engine::cuda::adamw::{
    Adamw, GradientCosine, GradientSum, HalfGradient, StepPlan, Stopping, TrainingState, n_blocks,
};
use crate::engine::cuda::constants::{Constants, SPECIES, TEMPLATE_ROWS};
use crate::engine::cuda::head::Head;
use crate::engine::cuda::weight_gradient::{Columns, Jobs, Rows, SLICES};
use crate::engine::{StoppingRule, TrainingSettings};
use crate::error::Result;
use crate::gpu::{Buffer, Pointer, Stream};

impl Network {
    /// Makes the table of weight gradients for batches of `graph` with `terms`, whose places in the batch stay. Gradients of heads
    /// without a term become 0.
    pub fn plan(&self, stream: &Stream, work: &mut Workspace, batch: &Batch, terms: &[Term]) -> Result<()> {
        let Some(tape) = &work.tape else { return Ok(()) };
        let mut jobs = Jobs::default();
        self.plan_blocks(&mut jobs, work, tape, batch);
        self.plan_species(&mut jobs, tape);
        self.plan_filters(&mut jobs, work, tape, batch);
        terms.iter().for_each(|term| self.plan_head(&mut jobs, tape, batch, term));
        stream.clear(&tape.slices)?;
        let (jobs, n_tiles) = jobs.finish();
        let jobs = stream.upload(&jobs)?;
        if let Some(tape) = &mut work.tape {
            tape.jobs = Some((jobs, n_tiles));
        }
        Ok(())
    }

    /// Rows of block `l` for structures `segments` (first and number) of the batch.
    fn rows_of(&self, batch: &Batch, l: usize, segments: [usize; 2]) -> Rows {
        let level = self.level(&Batch { first: 0, ..*batch }, l, Wanted::Free);
        Rows {
            list: level.atoms.list,
            counts: level.atoms.counts,
            segments,
            segment_rows: self.constants.sizes.n_atoms,
            strides: [level.list_stride, level.count_stride],
        }
    }

    /// Rows that all structures share; entry `place` of the counts is their number.
    fn shared_rows(&self, place: usize) -> Rows {
        Rows {
            list: Pointer::NULL,
            counts: self.constants.counts.pointer().plus(place),
            segments: [0, 1],
            segment_rows: 0,
            strides: [0, 0],
        }
    }

    fn plan_blocks(&self, jobs: &mut Jobs, work: &Workspace, tape: &Tape, batch: &Batch) {
        let Constants { sizes, arrangement, .. } = &self.constants;
        let f = sizes.features;
        let (scalars, vectors, stored) = (Columns::scalars, Columns::vectors, Columns::stored);
        for l in 0..sizes.blocks {
            let (t, mix, update) = (&tape.blocks[l], &arrangement.mixes[l], &arrangement.updates[l]);
            let rows = self.rows_of(batch, l, [0, batch.n]);
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
    }

    fn plan_species(&self, jobs: &mut Jobs, tape: &Tape) {
        let (f, context) = (self.constants.sizes.features, &self.constants.arrangement.contexts[0]);
        let (rows, scalars) = (self.shared_rows(SPECIES), Columns::scalars);
        let (d_hidden, q) = (&tape.d_species_hidden, &self.shared.species_q);
        jobs.push(&rows, &context.first, [0, f], scalars(d_hidden.pointer(), f), scalars(q.pointer(), f), false);
        let (d_x, hidden) = (&tape.d_species_x, &self.shared.species_hidden);
        jobs.push(&rows, &context.second, [0, f], scalars(d_x.pointer(), 3 * f), scalars(hidden.pointer(), f), true);
    }

    fn plan_filters(&self, jobs: &mut Jobs, work: &Workspace, tape: &Tape, batch: &Batch) {
        let Constants { sizes, arrangement, .. } = &self.constants;
        let Some(filters) = &arrangement.filters else { return };
        let (stride, m, scalars) = (sizes.filter_stride, sizes.n_columns, Columns::scalars);
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
            jobs.add_shared(&self.shared_rows(TEMPLATE_ROWS), scalars(d_rows, stride), scalars(phi, m));
        }
    }

    fn plan_head(&self, jobs: &mut Jobs, tape: &Tape, batch: &Batch, term: &Term) {
        let (scalars, vectors) = (Columns::scalars, Columns::vectors);
        let saved = if term.output == Output::Score { &tape.score } else { &tape.force };
        let rows = self.rows_of(batch, self.constants.sizes.blocks - 1, [term.first, term.n]);
        for (b, kept) in self.gated(term.output).iter().zip(saved) {
            let (v, v_in) = (b.mix.n_out, b.vectors_in);
            let (d_mixed, x) =
                (vectors(kept.d_mixed.pointer(), 3 * v, v), vectors(kept.vectors.pointer(), 3 * v_in, v_in));
            jobs.push(&rows, &b.mix, [0, v_in], d_mixed, x, false);
            let (n_in, n_hidden) = (b.net.first.n_in, b.net.first.n_out);
            let (d_hidden, input) = (scalars(kept.d_hidden.pointer(), n_hidden), scalars(kept.input.pointer(), n_in));
            jobs.push(&rows, &b.net.first, [0, n_in], d_hidden, input, false);
            let d_out = scalars(kept.d_out.pointer(), b.net.second.n_out);
            jobs.push(&rows, &b.net.second, [0, n_hidden], d_out, scalars(kept.hidden.pointer(), n_hidden), true);
        }
    }

    /// Adds up the gradient that [`Network::backward`] left. `losses` holds the plan of the call, the numbers of structures with a
    /// score loss and with a force loss, and the weight of the force loss. Without `losses` the schedule gets no loss and stays.
    pub fn sum_gradient(
        &self,
        stream: &Stream,
        work: &Workspace,
        training: &Buffer<TrainingState>,
        losses: Option<(&Buffer<StepPlan>, [usize; 2], f32)>,
    ) -> Result<()> {
        let Some(tape) = &work.tape else { return Ok(()) };
        let Constants { sizes, arrangement, plain_at, .. } = &self.constants;
        let (plan, n_structures, force_weight) =
            losses.map_or((Pointer::NULL, [0, 0], 0.0), |(plan, n, weight)| (plan.pointer(), n, weight));
        let n_tiles = Head::n_tiles(sizes.n_free);
        let arguments = GradientSum {
            slices: tape.slices.pointer(),
            plain_at: plain_at.pointer(),
            gradient: self.weights.gradient.pointer(),
            squares: self.weights.squares.pointer(),
            losses: if losses.is_some() { tape.losses[0].pointer() } else { Pointer::NULL },
            force_losses: tape.losses[1].pointer(),
            plan,
            training: training.pointer(),
            n_parameters: sizes.n_parameters as u32,
            n_slices: SLICES as u32,
            slice_len: arrangement.plain_len as u32,
            n_losses: (n_structures[0] * n_tiles) as u32,
            n_force_losses: (n_structures[1] * n_tiles) as u32,
            force_weight,
        };
        arguments.launch(stream)
    }

    /// Takes `gradient` \[P\] for a step, instead of a computed one.
    pub fn take_gradient(&self, stream: &Stream, training: &Buffer<TrainingState>, gradient: &[f32]) -> Result<()> {
        stream.write(&self.weights.gradient, 0, gradient)?;
        let arguments = GradientSum {
            gradient: self.weights.gradient.pointer(),
            squares: self.weights.squares.pointer(),
            training: training.pointer(),
            n_parameters: self.constants.sizes.n_parameters as u32,
            ..GradientSum::default()
        };
        arguments.launch(stream)
    }

    /// Takes one AdamW step with the gradient summed last.
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
            n_squares: n_blocks(sizes.n_parameters) as u32,
            weight_decay: settings.weight_decay as f32,
            gradient_clip: settings.gradient_clip as f32,
        };
        arguments.launch(stream)
    }

    /// The summed gradient \[P\], read back.
    pub fn read_gradient(&self, stream: &Stream) -> Result<Vec<f32>> {
        stream.read(&self.weights.gradient)
    }

    /// Norm of the gradient summed or taken last.
    pub fn gradient_norm(&self, stream: &Stream) -> Result<f64> {
        Ok(stream.read(&self.weights.squares)?.iter().sum::<f64>().sqrt())
    }

    /// Adds up the gradient that [`Network::backward`] left in `half` \[P\], as that of one half of a batch.
    pub fn half_gradient(&self, stream: &Stream, work: &Workspace, half: &Buffer<f32>) -> Result<()> {
        let Some(tape) = &work.tape else { return Ok(()) };
        let Constants { sizes, arrangement, plain_at, .. } = &self.constants;
        let arguments = HalfGradient {
            slices: tape.slices.pointer(),
            plain_at: plain_at.pointer(),
            half: half.pointer(),
            n_parameters: sizes.n_parameters as u32,
            n_slices: SLICES as u32,
            slice_len: arrangement.plain_len as u32,
        };
        arguments.launch(stream)
    }

    /// Leaves in `products` \[blocks\]\[3\] what the cosine of a step needs, before the step is taken: of the summed gradient and the
    /// first moments, or with `half` of the gradients of both halves.
    pub fn compare(&self, stream: &Stream, half: Option<&Buffer<f32>>, products: &Buffer<f64>) -> Result<()> {
        let arguments = GradientCosine {
            a: half.unwrap_or(&self.weights.first).pointer(),
            b: self.weights.gradient.pointer(),
            products: products.pointer(),
            n_parameters: self.constants.sizes.n_parameters as u32,
            b_holds_both: u32::from(half.is_some()),
        };
        arguments.launch(stream)
    }

    /// Lets `rule` judge by `products` whether the step that was taken is the last one.
    pub fn judge(
        &self,
        stream: &Stream,
        rule: &StoppingRule,
        products: &Buffer<f64>,
        training: &Buffer<TrainingState>,
    ) -> Result<()> {
        let arguments = Stopping {
            products: products.pointer(),
            training: training.pointer(),
            memory: rule.consensus.memory(),
            drop: rule.drop,
            n_products: n_blocks(self.constants.sizes.n_parameters) as u32,
            free_steps: rule.free_steps as u32,
            patience: rule.patience as u32,
        };
        arguments.launch(stream)
    }

    /// Sum of the losses of `n` structures whose `output` was judged.
    pub fn read_loss(&self, stream: &Stream, work: &Workspace, output: Output, n: usize) -> Result<f64> {
        let Some(tape) = &work.tape else { return Ok(0.0) };
        let n_tiles = Head::n_tiles(self.constants.sizes.n_free);
        Ok(stream.read_part(&tape.losses[output as usize], 0, n * n_tiles)?.iter().map(|&loss| f64::from(loss)).sum())
    }
}
