//! The whole score model on a chunk of structures, forward and backward.
//!
//! The part that all structures of a search share is computed once for given weights ([`Shared`]): filters of template edges, the
//! first block's network (its input depends on the species alone), and the first block's message between template atoms. A chunk
//! ([`Chunk`]) then adds its free atoms; its gradients of the shared part are summed over the batch before they are passed further
//! back.

use super::filters::Filters;
use super::gemm::{Onto, matrix, matrix_mut};
use super::graph::{FreeGraph, Levels, TemplateGraph};
use super::head::{Head, HeadBuffers};
use super::linear::{Linear, Mlp, MlpBuffers, Weights};
use super::message::{
    Edges, FilterRows, MessageGradients, Rows, message_backward, message_forward, pack_gradients, pack_senders,
};
use super::simd::{Real, add_assign};
use super::update::{Update, UpdateBuffers};
use crate::engine::Setup;
use crate::model::Layout;
use crate::system::PairSearch;
use crate::system::{System, Vec3};
use std::ops::Range;

/// The model's shape bound to a system: everything that stays the same while weights change.
pub struct Network<T> {
    /// Template, free atoms, cell.
    pub system: System,
    /// Tensors of the flat parameter array.
    pub layout: Layout,
    /// F.
    pub features: usize,
    /// L.
    pub blocks: usize,
    filters: Filters<T>,
    filter_layer: Linear,
    embedding: usize,
    contexts: Vec<Mlp>,
    updates: Vec<Update>,
    score: Head,
    force: Option<Head>,
    search: PairSearch,
    template: TemplateGraph<T>,
    template_phi: Vec<T>,
    /// Species in the order of their atomic numbers, and the species of every atom of a structure.
    species: Vec<u8>,
    species_of: Vec<u32>,
    parts: GradientParts,
}

/// Places of the pieces of a chunk's gradient in one array: parameters first, then gradients of shared intermediate results.
#[derive(Debug, Clone)]
struct GradientParts {
    /// Extended filter matrix, arranged.
    filters: Range<usize>,
    /// Filter rows of template edges.
    template_rows: Range<usize>,
    /// First message's start: [n atoms, 4F].
    base: Range<usize>,
    /// First context network's output: [n atoms, 3F].
    x: Range<usize>,
}

/// Results that depend on the weights but not on the structure.
#[derive(Debug, Clone, Default)]
pub struct Shared<T> {
    arranged_filters: Vec<T>,
    template_rows: Vec<T>,
    species_q: Vec<T>,
    species_net: MlpBuffers<T>,
    /// First block's senders, one row an atom.
    x: Vec<T>,
    packed: Vec<T>,
    /// State after the first message, with the template's messages alone: [n atoms, 4F].
    base: Vec<T>,
}

/// The head of the model that a chunk runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Score, at one time a structure.
    Score,
    /// Forces.
    Force,
}

/// Buffers of one chunk of structures.
#[derive(Debug, Clone, Default)]
pub struct Chunk<T: Real> {
    graph: FreeGraph<T>,
    phi: Vec<T>,
    rows: Vec<T>,
    levels: Levels,
    /// Row of every atom of the chunk in a table with one row an atom of a structure.
    local: Vec<u32>,
    /// State after every block; index 0 unused.
    states: Vec<Vec<T>>,
    blocks: Vec<BlockBuffers<T>>,
    head: HeadBuffers<T>,
    d_state: Vec<T>,
    d_before: Vec<T>,
    d_packed: Vec<T>,
    d_x: Vec<T>,
    d_rows: Vec<T>,
}

#[derive(Debug, Clone, Default)]
struct BlockBuffers<T> {
    context: MlpBuffers<T>,
    packed: Vec<T>,
    /// State between message and update.
    middle: Vec<T>,
    update: UpdateBuffers<T>,
}

impl<T: Real> Network<T> {
    /// Binds a model to a system.
    pub fn new(setup: &Setup) -> Self {
        let (sizes, system) = (&setup.sizes, &setup.system);
        let (f, blocks) = (sizes.features, sizes.blocks);
        let layout = Layout::new(sizes);
        let filters = Filters::new(sizes, &setup.radial_basis);
        let template = TemplateGraph::new(system, sizes.cutoff_angstrom);
        let mut template_phi = Vec::new();
        filters.radial_rows(&template.distances, &mut template_phi);
        let numbers = system.numbers();
        let mut species = numbers.clone();
        species.sort_unstable();
        species.dedup();
        let species_of = numbers.iter().map(|z| species.partition_point(|s| s < z) as u32).collect();
        let mut end = layout.n_parameters();
        let mut part = |len: usize| {
            end += len;
            end - len..end
        };
        let parts = GradientParts {
            filters: part(filters.row_len * filters.n_columns),
            template_rows: part(template.distances.len() * filters.row_len),
            base: part(system.n_atoms() * 4 * f),
            x: part(system.n_atoms() * 3 * f),
        };
        Network {
            features: f,
            blocks,
            filter_layer: Linear::find(&layout, "representation.filter_net"),
            embedding: layout.find("representation.embedding.weight").map_or(0, |tensor| tensor.offset),
            contexts: (0..blocks)
                .map(|l| Mlp::find(&layout, &format!("representation.interactions.{l}.interatomic_context_net")))
                .collect(),
            updates: (0..blocks).map(|l| Update::find(&layout, f, l)).collect(),
            score: Head::find(&layout, "score", f, 2),
            force: sizes.force_head.then(|| Head::find(&layout, "force", f, 0)),
            search: PairSearch::new(&system.cell, sizes.cutoff_angstrom),
            system: system.clone(),
            layout,
            filters,
            template,
            template_phi,
            species,
            species_of,
            parts,
        }
    }

    /// Whether the model predicts forces.
    pub fn has_forces(&self) -> bool {
        self.force.is_some()
    }

    /// Length of a chunk's gradient array; its first `n_parameters` elements are the parameters' own.
    pub fn gradient_len(&self) -> usize {
        self.parts.x.end
    }

    /// Layers whose transposed matrices a forward pass reads.
    pub fn transposed_layers(&self) -> Vec<Linear> {
        let mut layers = Vec::new();
        for (context, update) in self.contexts.iter().zip(&self.updates) {
            layers.extend([context.first, context.second, update.mix, update.net.first, update.net.second]);
        }
        layers.extend(self.score.layers());
        layers.extend(self.force.iter().flat_map(Head::layers));
        layers
    }

    /// Computes the part that all structures share under `weights`.
    pub fn prepare(&self, weights: &Weights<T>, shared: &mut Shared<T>) {
        let (f, n, t) = (self.features, self.system.n_atoms(), self.system.n_template());
        let layer = &self.filter_layer;
        let bias = layer.bias.unwrap_or(layer.weight);
        shared.arranged_filters.resize(self.filters.n_columns * self.filters.row_len, T::ZERO);
        self.filters.arrange(
            &weights.flat[layer.weight..layer.weight + layer.n_out * layer.n_in],
            &weights.flat[bias..bias + layer.n_out],
            &mut shared.arranged_filters,
        );
        self.filters.forward(&self.template_phi, &shared.arranged_filters, &mut shared.template_rows);

        shared.species_q.clear();
        for &z in &self.species {
            shared.species_q.extend_from_slice(&weights.flat[self.embedding + z as usize * f..][..f]);
        }
        let parts = [(matrix(&shared.species_q, f), 0..f)];
        self.contexts[0].forward(weights, self.species.len(), &parts, &mut shared.species_net);
        shared.x.clear();
        let mut start = vec![T::ZERO; n * 4 * f];
        for (i, &s) in self.species_of.iter().enumerate() {
            shared.x.extend_from_slice(&shared.species_net.out[s as usize * 3 * f..][..3 * f]);
            start[i * 4 * f..][..f].copy_from_slice(&shared.species_q[s as usize * f..][..f]);
        }
        pack_senders(f, n, &shared.x, None, &mut shared.packed);
        let identity: Vec<u32> = (0..n as u32).collect();
        let edges = self.edges(Some(&shared.template_rows), None, 0);
        shared.base.clear();
        shared.base.extend_from_slice(&start);
        let senders = Rows { packed: &shared.packed, n, of: &identity };
        message_forward(edges, &identity[..t], &start, &identity, senders, &mut shared.base);
    }

    fn edges<'a>(
        &'a self,
        template_rows: Option<&'a [T]>,
        free: Option<(&'a FreeGraph<T>, &'a [T])>,
        block: usize,
    ) -> Edges<'a, T> {
        let filter = |rows| FilterRows { rows, row_len: self.filters.row_len, offset: block * self.filters.block_len };
        Edges {
            template: template_rows.map(|rows| (&self.template, filter(rows))),
            free: free.map(|(graph, rows)| (graph, filter(rows))),
            n_atoms: self.system.n_atoms(),
            n_template: self.system.n_template(),
            features: self.features,
        }
    }

    /// Runs the backbone on structures with these free positions (n × 3, Å each): states of the free atoms, or of all atoms with
    /// `all_atoms`. With `keep` the chunk keeps everything that a backward pass needs.
    pub fn backbone(
        &self,
        weights: &Weights<T>,
        shared: &Shared<T>,
        chunk: &mut Chunk<T>,
        structures: &[&[Vec3]],
        all_atoms: bool,
        keep: bool,
    ) {
        let (f, n) = (self.features, self.system.n_atoms());
        let size = [structures.len(), self.system.n_template(), n];
        chunk.graph.rebuild(&self.system, &self.search, structures);
        self.filters.radial_rows(&chunk.graph.distances, &mut chunk.phi);
        self.filters.forward(&chunk.phi, &shared.arranged_filters, &mut chunk.rows);
        chunk.levels.rebuild(self.blocks, size, &self.template, &chunk.graph, all_atoms);
        chunk.local.clear();
        chunk.local.extend((0..structures.len() * n).map(|a| (a % n) as u32));
        chunk.states.resize_with(self.blocks + 1, Vec::new);
        chunk.blocks.resize_with(if keep { self.blocks } else { 1 }, BlockBuffers::default);
        let free = Some((&chunk.graph, &chunk.rows[..]));
        for l in 1..=self.blocks {
            let buffers = &mut chunk.blocks[if keep { l - 1 } else { 0 }];
            let (receivers, n_receivers) = (&chunk.levels.atoms[l], chunk.levels.atoms[l].len());
            buffers.middle.resize(n_receivers * 4 * f, T::ZERO);
            if l == 1 {
                let edges = self.edges(None, free, 0);
                let (start, local) = (&shared.base, &chunk.local);
                let senders = Rows { packed: &shared.packed, n, of: local };
                message_forward(edges, receivers, start, local, senders, &mut buffers.middle);
            } else {
                let (state, rows) = (&chunk.states[l - 1], &chunk.levels.rows[l - 1]);
                let n_senders = chunk.levels.atoms[l - 1].len();
                let parts = [(matrix(state, 4 * f), 0..f)];
                self.contexts[l - 1].forward(weights, n_senders, &parts, &mut buffers.context);
                pack_senders(f, n_senders, &buffers.context.out, Some(state), &mut buffers.packed);
                let template_rows = chunk.levels.has_template[l].then_some(&shared.template_rows[..]);
                let edges = self.edges(template_rows, free, l - 1);
                let senders = Rows { packed: &buffers.packed, n: n_senders, of: rows };
                message_forward(edges, receivers, state, rows, senders, &mut buffers.middle);
            }
            let state = &mut chunk.states[l];
            state.resize(n_receivers * 4 * f, T::ZERO);
            self.updates[l - 1].forward(weights, n_receivers, &buffers.middle, &mut buffers.update, state);
        }
    }

    /// Runs a head on the backbone's states; `times` has one entry a structure. Returns the vectors of the wanted atoms, row by
    /// row.
    pub fn head<'a>(&self, weights: &Weights<T>, chunk: &'a mut Chunk<T>, output: Output, times: &[f64]) -> &'a [T] {
        let n_atoms = self.system.n_atoms();
        let wanted = &chunk.levels.atoms[self.blocks];
        let time = |row: usize| {
            let t = times.get(wanted[row] as usize / n_atoms).copied().unwrap_or(0.0);
            let (sin, cos) = (std::f64::consts::PI * t).sin_cos();
            [T::of(sin), T::of(cos)]
        };
        let head = self.head_of(output);
        head.forward(weights, wanted.len(), &chunk.states[self.blocks], time, &mut chunk.head);
        &chunk.head.out
    }

    /// The scalars of the wanted atoms that the last [`Network::head`] gives beside its vectors, row by row.
    pub fn scalars<'a>(&self, chunk: &'a Chunk<T>, output: Output) -> impl Iterator<Item = T> + 'a {
        self.head_of(output).scalars(chunk.levels.atoms[self.blocks].len(), &chunk.head)
    }

    fn head_of(&self, output: Output) -> &Head {
        match output {
            Output::Score => &self.score,
            Output::Force => self.force.as_ref().expect("callers ask for forces only of models that have the head"),
        }
    }

    /// Adds the chunk's gradient (`gradient_len` elements), given d loss / d output vectors of the last [`Network::head`], and d loss
    /// / d scalars where the loss has them.
    pub fn backward(
        &self,
        weights: &Weights<T>,
        shared: &Shared<T>,
        chunk: &mut Chunk<T>,
        output: Output,
        d_out: (&[T], Option<&[T]>),
        gradient: &mut [T],
    ) {
        let (f, n) = (self.features, self.system.n_atoms());
        let Chunk {
            graph,
            phi,
            rows,
            levels,
            local,
            states,
            blocks,
            head,
            d_state,
            d_before,
            d_packed,
            d_x,
            d_rows,
            ..
        } = chunk;
        let parts = &self.parts;
        let (parameters, rest) = gradient.split_at_mut(parts.filters.start);
        let (d_filters, rest) = rest.split_at_mut(parts.filters.len());
        let (d_template_rows, rest) = rest.split_at_mut(parts.template_rows.len());
        let (d_base, d_shared_x) = rest.split_at_mut(parts.base.len());
        let n_wanted = levels.atoms[self.blocks].len();
        d_state.resize(n_wanted * 4 * f, T::ZERO);
        self.head_of(output).backward(weights, n_wanted, d_out, head, d_state, parameters);
        d_rows.clear();
        d_rows.resize(rows.len(), T::ZERO);
        for l in (1..=self.blocks).rev() {
            let buffers = &mut blocks[l - 1];
            let n_receivers = levels.atoms[l].len();
            self.updates[l - 1].backward(
                weights,
                n_receivers,
                &buffers.middle,
                d_state,
                &mut buffers.update,
                parameters,
            );
            pack_gradients(f, n_receivers, &d_state[..n_receivers * 4 * f], d_packed);
            let receivers = Rows { packed: d_packed, n: n_receivers + 1, of: &levels.rows[l] };
            if l == 1 {
                for (row, &a) in levels.atoms[1].iter().enumerate() {
                    add_assign(&mut d_base[a as usize % n * 4 * f..][..4 * f], &d_state[row * 4 * f..][..4 * f]);
                }
                let atoms: Vec<u32> = (0..local.len() as u32).collect();
                let senders = Rows { packed: &shared.packed, n, of: local };
                let gradients =
                    MessageGradients { x: d_shared_x, state: None, template_filters: &mut [], free_filters: d_rows };
                let edges = self.edges(None, Some((graph, rows)), 0);
                message_backward(edges, &atoms, senders, &shared.x, None, receivers, gradients);
            } else {
                let (atoms, sender_rows) = (&levels.atoms[l - 1], &levels.rows[l - 1]);
                let (n_senders, state) = (atoms.len(), &states[l - 1]);
                let senders = Rows { packed: &buffers.packed, n: n_senders, of: sender_rows };
                d_before.clear();
                d_before.resize(n_senders * 4 * f, T::ZERO);
                for (row, &a) in levels.atoms[l].iter().enumerate() {
                    let to = sender_rows[a as usize] as usize;
                    d_before[to * 4 * f..][..4 * f].copy_from_slice(&d_state[row * 4 * f..][..4 * f]);
                }
                d_x.clear();
                d_x.resize(n_senders * 3 * f, T::ZERO);
                let template_rows = levels.has_template[l].then_some(&shared.template_rows[..]);
                let edges = self.edges(template_rows, Some((graph, rows)), l - 1);
                let gradients = MessageGradients {
                    x: d_x,
                    state: Some(d_before),
                    template_filters: d_template_rows,
                    free_filters: d_rows,
                };
                message_backward(edges, atoms, senders, &buffers.context.out, Some(state), receivers, gradients);
                let (net, parts) = (&self.contexts[l - 1], [(matrix(state, 4 * f), 0..f)]);
                net.backward(weights, n_senders, &parts, d_x, &mut buffers.context, parameters);
                net.backward_input(weights, n_senders, 0..f, &buffers.context, Onto::Sum, matrix_mut(d_before, 4 * f));
                std::mem::swap(d_state, d_before);
            }
        }
        self.filters.backward(phi, d_rows, d_filters);
    }

    /// Carries the batch's summed gradient through the shared part: afterwards its first `n_parameters` elements are complete.
    pub fn backward_shared(&self, weights: &Weights<T>, shared: &mut Shared<T>, gradient: &mut [T]) {
        let (f, n, t) = (self.features, self.system.n_atoms(), self.system.n_template());
        let parts = &self.parts;
        let (parameters, rest) = gradient.split_at_mut(parts.filters.start);
        let (d_filters, rest) = rest.split_at_mut(parts.filters.len());
        let (d_template_rows, rest) = rest.split_at_mut(parts.template_rows.len());
        let (d_base, d_x) = rest.split_at_mut(parts.base.len());
        if t > 0 {
            let identity: Vec<u32> = (0..n as u32).collect();
            let mut d_packed = Vec::new();
            pack_gradients(f, n, d_base, &mut d_packed);
            let edges = self.edges(Some(&shared.template_rows), None, 0);
            let gradients =
                MessageGradients { x: d_x, state: None, template_filters: d_template_rows, free_filters: &mut [] };
            let senders = Rows { packed: &shared.packed, n, of: &identity };
            let receivers = Rows { packed: &d_packed, n: n + 1, of: &identity };
            message_backward(edges, &identity[..t], senders, &shared.x, None, receivers, gradients);
        }
        self.filters.backward(&self.template_phi, d_template_rows, d_filters);
        let layer = &self.filter_layer;
        let bias = layer.bias.unwrap_or(layer.weight);
        let (before_bias, from_bias) = parameters.split_at_mut(bias);
        let d_weight = &mut before_bias[layer.weight..layer.weight + layer.n_out * layer.n_in];
        self.filters.scatter_gradient(d_filters, d_weight, &mut from_bias[..layer.n_out]);

        let n_species = self.species.len();
        let mut d_species_x = vec![T::ZERO; n_species * 3 * f];
        for (i, &s) in self.species_of.iter().enumerate() {
            add_assign(&mut d_species_x[s as usize * 3 * f..][..3 * f], &d_x[i * 3 * f..][..3 * f]);
        }
        let mut d_q = vec![T::ZERO; n_species * f];
        for (i, &s) in self.species_of.iter().enumerate() {
            add_assign(&mut d_q[s as usize * f..][..f], &d_base[i * 4 * f..][..f]);
        }
        let Shared { species_q, species_net, .. } = shared;
        let inputs = [(matrix(species_q, f), 0..f)];
        self.contexts[0].backward(weights, n_species, &inputs, &d_species_x, species_net, parameters);
        self.contexts[0].backward_input(weights, n_species, 0..f, species_net, Onto::Sum, matrix_mut(&mut d_q, f));
        for (s, &z) in self.species.iter().enumerate() {
            add_assign(&mut parameters[self.embedding + z as usize * f..][..f], &d_q[s * f..][..f]);
        }
    }

    /// Scalars [rows, F] and vectors [rows, 3, F] of the wanted atoms after the backbone, for comparison.
    pub fn representation(&self, chunk: &Chunk<T>) -> (Vec<f64>, Vec<f64>) {
        let f = self.features;
        let rows = chunk.states[self.blocks].chunks_exact(4 * f);
        let scalar = rows.clone().flat_map(|row| row[..f].iter().map(|x| x.wide())).collect();
        let vector = rows.flat_map(|row| row[f..].iter().map(|x| x.wide())).collect();
        (scalar, vector)
    }
}
