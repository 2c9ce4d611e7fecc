//! Arithmetic and bytes that each kernel of a step cannot avoid, and the least time that a card needs for them.
//!
//! Each launch counts every input as read once and every output as written once, weights included. A fused multiply-add counts as
//! two operations. Repeated reads and savings by caches are not counted: the share of the floor shows them.
//!
//! What launches hand to one another (filters, saved rows, slices of a gradient) belongs to the design and not to the task. The
//! floor of the task ([`Costs::training_task`], [`Costs::reverse_task`]) is without it.

use super::constants::Sizes;
use super::weight_gradient::SLICES;
use crate::engine::Storage;
use crate::gpu::Properties;

/// Operations and bytes of one launch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// f32 operations.
    pub flops: f64,
    /// f64 operations.
    pub f64s: f64,
    /// Bytes moved to or from device memory.
    pub bytes: f64,
}

impl Cost {
    /// Least time that a card needs, in milliseconds: for the arithmetic in f32, in f64 or for the bytes, whichever is longest. `None`
    /// where the card's peaks are unknown.
    pub fn floor(&self, card: &Properties) -> Option<f64> {
        let seconds = (self.flops / peak_flops(card)).max(self.f64s / peak_f64s(card)).max(self.bytes / card.bandwidth);
        (card.clock > 0.0 && card.bandwidth > 0.0).then_some(1e3 * seconds)
    }
}

/// Milliseconds between two launches of a graph, at the least: published measurements of recent cards begin there.
pub const LAUNCH: f64 = 1.0e-3;

/// Peak f32 operations a second: two a lane and clock (CUDA Programming Guide, arithmetic throughput by compute capability).
fn peak_flops(card: &Properties) -> f64 {
    let lanes = if card.capability == (8, 0) { 64.0 } else { 128.0 };
    2.0 * lanes * f64::from(card.multiprocessors) * card.clock
}

/// Peak f64 operations a second, from the same table.
fn peak_f64s(card: &Properties) -> f64 {
    let lanes = match card.capability {
        (8, 0) => 32.0,
        (9, 0) | (10, 0) => 64.0,
        _ => 2.0,
    };
    2.0 * lanes * f64::from(card.multiprocessors) * card.clock
}

/// The amount of work in a batch.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// S.
    pub n_structures: usize,
    /// Pairs with a free atom, all structures together.
    pub n_pairs: usize,
    /// Atoms that send to free ones or are free, all structures together.
    pub n_neighbours: usize,
    /// Directed template edges.
    pub n_template_edges: usize,
    /// Terms of the loss.
    pub n_terms: usize,
}

const FLOAT: f64 = 4.0;
/// f64 operations, counted in the compiled kernels (kernels/speed.md; two an instruction): of an atom in a reverse step, of a pair of atoms that may become an edge, of a
/// parameter in the sum of the gradient and in AdamW.
const F64S_OF_ATOM: f64 = 950.0;
const F64S_OF_PAIR: f64 = 90.0;
const F64S_OF_SUM: f64 = 43.0;
const F64S_OF_ADAMW: f64 = 20.0;

/// Costs for given sizes of a network and a given load.
pub struct Costs {
    sizes: Sizes,
    load: Load,
    /// Elements of a head's matrices.
    head_weights: f64,
    /// Bytes of an element of filters, senders and the rows saved for the backward pass.
    stored: f64,
}

impl Costs {
    /// For a network of this precision whose head has matrices of `head_weights` elements.
    pub fn new(sizes: Sizes, load: Load, head_weights: usize, precision: Storage) -> Self {
        Costs { sizes, load, head_weights: head_weights as f64, stored: precision.stored_bytes() as f64 }
    }

    /// Bytes of so many f32 and so many elements that are kept in the engine's precision.
    fn bytes(&self, floats: f64, stored: f64) -> f64 {
        FLOAT * floats + self.stored * stored
    }

    fn f(&self) -> f64 {
        self.sizes.features as f64
    }

    /// Atoms that block `l` computes.
    fn n_rows(&self, l: usize) -> f64 {
        let s = self.load.n_structures;
        let n = match self.sizes.blocks - l {
            1 => s * self.sizes.n_free,
            2 => self.load.n_neighbours,
            _ => s * self.sizes.n_atoms,
        };
        n as f64
    }

    /// Elements of the matrices of an update, and of a network that makes senders.
    fn update_weights(&self) -> f64 {
        11.0 * self.f() * self.f()
    }

    fn context_weights(&self) -> f64 {
        4.0 * self.f() * self.f()
    }

    /// Operations per row of all matrices of block `l` and of the senders after it; M acts on three components.
    fn row_flops(&self, l: usize) -> f64 {
        let square = self.f() * self.f();
        let context = if l + 1 < self.sizes.blocks { 8.0 } else { 0.0 };
        (22.0 + context) * square
    }

    /// Operations of the message of block `l` in one direction, and whether template edges take part.
    fn message_flops(&self, l: usize) -> f64 {
        let template = l > 0 && l + 1 < self.sizes.blocks;
        let edges = if template { (self.load.n_structures * self.load.n_template_edges) as f64 } else { 0.0 };
        self.f() * (10.0 * edges + 30.0 * self.load.n_pairs as f64)
    }

    /// filters_forward, with the template's rows or without.
    pub fn filters(&self, template: bool, kept: bool) -> Cost {
        let template_rows = if template { self.sizes.n_template_rows } else { 0 };
        let rows = (self.load.n_pairs + template_rows) as f64;
        let (columns, stride) = (self.sizes.n_columns as f64, self.sizes.filter_stride as f64);
        let phi = if kept { columns } else { 0.0 };
        let bytes = self.bytes(rows * (1.0 + phi) + columns * stride, rows * stride);
        Cost { flops: 2.0 * rows * columns * stride, f64s: 0.0, bytes }
    }

    /// species_forward and species_backward.
    pub fn species(&self) -> Cost {
        let n = self.sizes.n_species as f64;
        Cost {
            flops: 2.0 * n * self.context_weights(),
            f64s: 0.0,
            bytes: FLOAT * (self.context_weights() + n * 5.0 * self.f()),
        }
    }

    /// first_message and first_template_backward.
    pub fn first_message(&self) -> Cost {
        let (edges, n) = (self.load.n_template_edges as f64, self.sizes.n_atoms as f64);
        let (state, senders) = (4.0 * n * self.f(), 5.0 * n * self.f());
        Cost { flops: 10.0 * edges * self.f(), f64s: 0.0, bytes: self.bytes(state + 5.0 * edges, senders) }
    }

    /// block_forward of block `l`; with a tape it also writes everything that the backward pass reads.
    pub fn block_forward(&self, l: usize, tape: bool) -> Cost {
        let (f, rows) = (self.f(), self.n_rows(l));
        let rows_read = if l > 0 { rows } else { self.sizes.n_atoms as f64 };
        let senders_out = if l + 1 < self.sizes.blocks { 5.0 } else { 0.0 };
        let kept = if tape { 17.0 } else { 0.0 };
        let state = 4.0 * (rows_read + rows);
        let stored = 5.0 * rows_read + rows * (senders_out + kept) + 3.0 * self.load.n_pairs as f64;
        let weights = self.update_weights() + self.context_weights();
        Cost {
            flops: rows * self.row_flops(l) + self.message_flops(l),
            f64s: 0.0,
            bytes: self.bytes(f * state + weights, f * stored),
        }
    }

    /// head, forward alone or with loss and gradient.
    pub fn head(&self, train: bool) -> Cost {
        let rows = (self.load.n_structures * self.sizes.n_free) as f64;
        let passes = if train { 2.0 } else { 1.0 };
        Cost {
            flops: passes * 2.0 * rows * self.head_weights,
            f64s: 0.0,
            bytes: FLOAT * (rows * passes * 4.0 * self.f() + self.head_weights),
        }
    }

    /// block_backward of block `l`: the message above it, and its update.
    pub fn block_backward(&self, l: usize) -> Cost {
        let (f, rows) = (self.f(), self.n_rows(l));
        let above = if l + 1 < self.sizes.blocks { self.message_flops(l + 1) } else { 0.0 };
        // It reads gradient, senders, state and saved rows, and writes the gradients that the weights need.
        let (floats, stored) = (rows * (4.0 + 3.0 + 18.0), rows * (5.0 + 12.0) + 3.0 * self.load.n_pairs as f64);
        let weights = self.update_weights() + self.context_weights();
        Cost { flops: rows * self.row_flops(l) + above, f64s: 0.0, bytes: self.bytes(f * floats + weights, f * stored) }
    }

    /// first_backward.
    pub fn first_backward(&self) -> Cost {
        let (f, rows) = (self.f(), (self.load.n_structures * self.sizes.n_atoms) as f64);
        let pairs = self.load.n_pairs as f64;
        Cost { flops: f * (4.0 * rows + 30.0 * pairs), f64s: 0.0, bytes: f * self.bytes(4.0 * rows, 3.0 * pairs) }
    }

    /// pair_filter_gradient.
    pub fn pair_filters(&self) -> Cost {
        let (pairs, blocks) = (self.load.n_pairs as f64, self.sizes.blocks as f64);
        let rows: f64 = (0..self.sizes.blocks).map(|l| self.n_rows(l)).sum();
        let bytes = self.f() * self.bytes(4.0 * rows + 3.0 * pairs * blocks, 5.0 * rows);
        Cost { flops: 34.0 * self.f() * pairs * blocks, f64s: 0.0, bytes }
    }

    /// template_filter_sum and template_filter_gradient.
    pub fn template_filters(&self) -> Cost {
        let rows = (self.sizes.n_template_rows * self.sizes.filter_stride) as f64;
        Cost { flops: rows, f64s: 0.0, bytes: FLOAT * rows }
    }

    /// weight_gradient.
    pub fn weight_gradient(&self) -> Cost {
        let rows = |l| self.n_rows(l);
        let blocks: f64 = (0..self.sizes.blocks).map(|l| rows(l) * self.row_flops(l)).sum();
        let head = 2.0 * (self.load.n_structures * self.sizes.n_free) as f64 * self.head_weights;
        let filters = 2.0 * self.load.n_pairs as f64 * (self.sizes.n_columns * self.sizes.filter_stride) as f64;
        // A row has 23 elements a feature. The forward pass saved 7 of them: the state between message and update, the norm, and
        // two hidden layers.
        let all_rows: f64 = (0..self.sizes.blocks).map(|l| rows(l) * self.f()).sum();
        let pairs = self.load.n_pairs as f64 * (self.sizes.n_columns + self.sizes.filter_stride) as f64;
        let floats = 16.0 * all_rows + pairs + (SLICES * self.sizes.n_parameters) as f64;
        Cost { flops: blocks + head + filters, f64s: 0.0, bytes: self.bytes(floats, 7.0 * all_rows) }
    }

    /// gradient_sum.
    pub fn gradient_sum(&self) -> Cost {
        let n = self.sizes.n_parameters as f64;
        Cost { flops: (SLICES + 2) as f64 * n, f64s: F64S_OF_SUM * n, bytes: FLOAT * (SLICES + 2) as f64 * n }
    }

    /// adamw.
    pub fn adamw(&self) -> Cost {
        let n = self.sizes.n_parameters as f64;
        Cost { flops: 14.0 * n, f64s: F64S_OF_ADAMW * n, bytes: FLOAT * 11.0 * n }
    }

    /// The launches of a training step in their order.
    pub fn training_step(&self) -> Vec<(&'static str, Cost)> {
        let template = self.sizes.n_template > 0;
        let blocks = self.sizes.blocks;
        let mut costs = vec![("filters_forward", self.filters(true, true)), ("species_forward", self.species())];
        costs.extend(template.then(|| ("first_message", self.first_message())));
        costs.extend((0..blocks).map(|l| ("block_forward", self.block_forward(l, true))));
        costs.extend((0..self.load.n_terms).map(|_| ("head", self.head(true))));
        costs.extend((0..blocks).rev().map(|l| ("block_backward", self.block_backward(l))));
        costs.push(("first_backward", self.first_backward()));
        costs.extend(template.then(|| ("first_template_backward", self.first_message())));
        costs.push(("species_backward", self.species()));
        costs.push(("pair_filter_gradient", self.pair_filters()));
        costs.extend((self.sizes.n_template_rows > 0).then(|| ("template_filter", self.template_filters())));
        costs.push(("weight_gradient", self.weight_gradient()));
        costs.push(("gradient_sum", self.gradient_sum()));
        costs.push(("adamw", self.adamw()));
        costs
    }

    /// The launches of a reverse step in their order.
    pub fn reverse_step(&self) -> Vec<(&'static str, Cost)> {
        let atoms = (self.load.n_structures * self.sizes.n_free) as f64;
        let pairs = self.load.n_pairs as f64;
        let graph = Cost {
            flops: 0.0,
            f64s: F64S_OF_PAIR * atoms * self.sizes.n_atoms as f64,
            bytes: FLOAT * (15.0 * pairs + 6.0 * atoms),
        };
        let mut costs = vec![("radius_graph", graph), ("filters_forward", self.filters(false, false))];
        costs.extend((0..self.sizes.blocks).map(|l| ("block_forward", self.block_forward(l, false))));
        costs.push(("head", self.head(false)));
        costs.push(("reverse_step", Cost { flops: 0.0, f64s: F64S_OF_ATOM * atoms, bytes: FLOAT * 15.0 * atoms }));
        costs
    }

    /// What a training step cannot avoid whatever its launches are: their arithmetic; parameters and moments, read and written.
    pub fn training_task(&self) -> Cost {
        task(&self.training_step(), FLOAT * 6.0 * self.sizes.n_parameters as f64)
    }

    /// What a reverse step cannot avoid: its arithmetic; parameters read, positions (f64) read and written.
    pub fn reverse_task(&self) -> Cost {
        let atoms = (self.load.n_structures * self.sizes.n_free) as f64;
        task(&self.reverse_step(), FLOAT * (self.sizes.n_parameters as f64 + 12.0 * atoms))
    }
}

/// The arithmetic of `launches` on so many bytes.
fn task(launches: &[(&'static str, Cost)], bytes: f64) -> Cost {
    let sum = |part: fn(&Cost) -> f64| launches.iter().map(|(_, cost)| part(cost)).sum();
    Cost { flops: sum(|cost| cost.flops), f64s: sum(|cost| cost.f64s), bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(capability: (u32, u32)) -> Properties {
        Properties {
            name: "a card".to_owned(),
            capability,
            multiprocessors: 100,
            shared_memory_per_block: 0,
            memory: 0,
            clock: 1e9,
            bandwidth: 1e12,
        }
    }

    #[test]
    fn the_slowest_pipe_is_the_floor() {
        let cost = |flops, f64s, bytes| Cost { flops, f64s, bytes };
        let floor = |cost: Cost, capability| cost.floor(&card(capability)).unwrap();
        assert_eq!(floor(cost(25.6e9, 0.0, 1.0), (8, 6)), 1.0);
        assert_eq!(floor(cost(25.6e9, 0.0, 1.0), (8, 0)), 2.0);
        assert_eq!(floor(cost(1.0, 0.4e9, 1.0), (8, 6)), 1.0);
        assert_eq!(floor(cost(1.0, 12.8e9, 1.0), (9, 0)), 1.0);
        assert_eq!(floor(cost(1.0, 0.0, 1e9), (8, 6)), 1.0);
        assert_eq!(cost(1.0, 1.0, 1.0).floor(&Properties { clock: 0.0, ..card((8, 6)) }), None);
    }

    #[test]
    fn a_task_has_the_arithmetic_of_its_launches() {
        let cost = Cost { flops: 1.0, f64s: 2.0, bytes: 1e9 };
        assert_eq!(task(&[("a", cost), ("b", cost)], 5.0), Cost { flops: 2.0, f64s: 4.0, bytes: 5.0 });
    }
}
