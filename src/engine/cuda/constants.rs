//! Constants on the device for a model bound to a system: template edges, species, radial functions, lists of atoms, places of the
//! parameters.

use super::arrangement::{Arrangement, padded};
use super::block::{TILE, TemplateEdges, backward_shared_bytes, forward_shared_bytes};
use super::filters::MAX_BLOCKS;
use crate::engine::Setup;
use crate::engine::cpu::graph::TemplateGraph;
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Stream};

/// Sizes that every launch needs.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// F, rounded up.
    pub features: usize,
    /// L.
    pub blocks: usize,
    /// N.
    pub n_atoms: usize,
    /// T.
    pub n_template: usize,
    /// n.
    pub n_free: usize,
    /// Species among the atoms.
    pub n_species: usize,
    /// Filter rows of the template's edges.
    pub n_template_rows: usize,
    /// K, the radial functions.
    pub n_radial: usize,
    /// Columns of Φ.
    pub n_columns: usize,
    /// Elements of a filter row.
    pub filter_stride: usize,
    /// Parameters of the model.
    pub n_parameters: usize,
}

/// The most filter rows of a template whose gradient tiles gather in shared memory: as many as fit into what the update of a tile
/// needs anyway. It does not depend on the card, so neither do the bits of a training.
pub const FEW_ROWS: usize = 6;

/// The constant part of the network on the device.
pub struct Constants {
    /// Sizes.
    pub sizes: Sizes,
    /// Places of the parameters.
    pub arrangement: Arrangement,
    /// Cutoff radius, Å.
    pub cutoff: f64,
    /// True if the template has few enough filter rows for tiles to gather their gradient in shared memory ([`FEW_ROWS`]).
    pub few_template_rows: bool,
    /// \[P\] see [`Arrangement::plain_at`].
    pub plain_at: Buffer<u32>,
    /// \[P\] see [`Arrangement::transposed_at`].
    pub transposed_at: Buffer<u32>,
    /// Centres of the radial functions, Å, \[K\].
    pub offsets: Buffer<f32>,
    /// Widths of the radial functions, Å, \[K\].
    pub widths: Buffer<f32>,
    /// Atomic numbers of the species.
    pub numbers: Buffer<u32>,
    /// Species of every atom, \[N\].
    pub species_of: Buffer<u32>,
    /// 0, 1, … N − 1; the free atoms begin at T.
    pub atoms: Buffer<u32>,
    /// N, n, species, template rows: counts for lists that are alike in all structures.
    pub counts: Buffer<u32>,
    /// Distances of the template's filter rows, Å.
    pub template_distances: Buffer<f32>,
    /// First edge of every filter row in `row_edges`, and one past the last.
    pub row_starts: Buffer<u32>,
    /// {unit vector from receiver to sender, receiver | sender << 16 as bits}, row by row.
    pub row_edges: Buffer<[f32; 4]>,
    group_starts: Buffer<u32>,
    edge_starts: Buffer<u32>,
    groups: Buffer<[u32; 2]>,
    edges: Buffer<[f32; 4]>,
}

/// Place of N in [`Constants::counts`].
pub const ALL: usize = 0;
/// Place of n.
pub const FREE: usize = 1;
/// Place of the number of species.
pub const SPECIES: usize = 2;
/// Place of the number of template rows.
pub const TEMPLATE_ROWS: usize = 3;

/// A unit vector with an integer next to it, as kernels read them.
fn with_bits(unit: [f32; 3], bits: u32) -> [f32; 4] {
    [unit[0], unit[1], unit[2], f32::from_bits(bits)]
}

/// See [`Constants::row_starts`] and [`Constants::row_edges`].
fn edges_by_row(graph: &TemplateGraph<f32>, n_template: usize) -> (Vec<u32>, Vec<[f32; 4]>) {
    let mut by_row: Vec<(u32, usize, usize)> = Vec::with_capacity(graph.edges.len());
    for i in 0..n_template {
        for e in graph.edge_starts[i] as usize..graph.edge_starts[i + 1] as usize {
            by_row.push((graph.edges[e].row, i, e));
        }
    }
    by_row.sort_unstable();
    let rows = 0..=graph.distances.len() as u32;
    let starts = rows.map(|row| by_row.partition_point(|&(r, ..)| r < row) as u32);
    let edges = by_row.iter().map(|&(_, i, e)| with_bits(graph.edges[e].unit, i as u32 | graph.edges[e].sender << 16));
    (starts.collect(), edges.collect())
}

impl Constants {
    /// Copies the constants of `setup` to the device.
    ///
    /// # Errors
    /// `BadInput` for sizes beyond the kernels', `Failed` without memory.
    pub fn new(stream: &Stream, setup: &Setup) -> Result<Self> {
        let (model, system) = (&setup.sizes, &setup.system);
        if model.blocks > MAX_BLOCKS {
            return Err(Error::bad_input(format!(
                "the GPU engine knows models of up to {MAX_BLOCKS} blocks, not {}; use --device cpu",
                model.blocks
            )));
        }
        let arrangement = Arrangement::new(model);
        let graph = TemplateGraph::<f32>::new(system, model.cutoff_angstrom);
        let numbers = system.numbers();
        let mut species = numbers.clone();
        species.sort_unstable();
        species.dedup();
        let features = padded(model.features);
        let sizes = Sizes {
            features,
            blocks: model.blocks,
            n_atoms: system.n_atoms(),
            n_template: system.n_template(),
            n_free: system.n_free(),
            n_species: species.len(),
            n_template_rows: graph.distances.len(),
            n_radial: model.radial_functions,
            n_columns: padded(model.radial_functions + 1),
            filter_stride: 3 * features * model.blocks,
            n_parameters: arrangement.plain_at.len(),
        };
        let room = stream.device().properties().shared_memory_per_block;
        let needed = backward_shared_bytes(features, TILE, 0).max(forward_shared_bytes(features, TILE));
        if needed > room {
            return Err(Error::bad_input(format!(
                "{} features need {needed} bytes of the GPU's shared memory, which has {room}; choose fewer features or \
                 --device cpu",
                model.features
            )));
        }
        let rows = graph.distances.len();
        let few_template_rows = rows <= FEW_ROWS;

        let edges: Vec<[f32; 4]> = graph.edges.iter().map(|edge| with_bits(edge.unit, edge.sender)).collect();
        let (row_starts, row_edges) = edges_by_row(&graph, sizes.n_template);
        let species_of: Vec<u32> = numbers.iter().map(|z| species.partition_point(|s| s < z) as u32).collect();
        let narrow = |values: &[f64]| -> Vec<f32> { values.iter().map(|&x| x as f32).collect() };
        let groups: Vec<[u32; 2]> = graph.groups.iter().map(|group| [group.row, group.end]).collect();
        let counts = [sizes.n_atoms, sizes.n_free, sizes.n_species, rows].map(|n| n as u32);
        Ok(Constants {
            sizes,
            cutoff: model.cutoff_angstrom,
            few_template_rows,
            plain_at: stream.upload(&arrangement.plain_at)?,
            transposed_at: stream.upload(&arrangement.transposed_at)?,
            arrangement,
            offsets: stream.upload(&narrow(&setup.radial_basis.offsets))?,
            widths: stream.upload(&narrow(&setup.radial_basis.widths))?,
            numbers: stream.upload(&species.iter().map(|&z| u32::from(z)).collect::<Vec<u32>>())?,
            species_of: stream.upload(&species_of)?,
            atoms: stream.upload(&(0..sizes.n_atoms as u32).collect::<Vec<u32>>())?,
            counts: stream.upload(&counts)?,
            template_distances: stream.upload_some(&narrow(&graph.distances))?,
            row_starts: stream.upload(&row_starts)?,
            row_edges: stream.upload_some(&row_edges)?,
            group_starts: stream.upload(&graph.group_starts)?,
            edge_starts: stream.upload(&graph.edge_starts)?,
            groups: stream.upload_some(&groups)?,
            edges: stream.upload_some(&edges)?,
        })
    }

    /// Directed edges between template atoms.
    pub fn n_template_edges(&self) -> usize {
        if self.sizes.n_template_rows > 0 { self.row_edges.len() } else { 0 }
    }

    /// The template's edges for a kernel.
    pub fn template_edges(&self) -> TemplateEdges {
        TemplateEdges {
            group_starts: self.group_starts.pointer(),
            edge_starts: self.edge_starts.pointer(),
            groups: self.groups.pointer(),
            edges: self.edges.pointer(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cuda::first_block::template_backward_shared_bytes;

    /// Gathering the gradients of few rows asks for no more shared memory than a tile has anyway.
    #[test]
    fn few_rows_cost_no_shared_memory() {
        for features in [4, 64, 96] {
            let update = backward_shared_bytes(features, TILE, 0);
            assert_eq!(backward_shared_bytes(features, TILE, FEW_ROWS), update);
            assert!(backward_shared_bytes(features, TILE, FEW_ROWS + 1) > update);
            assert!(template_backward_shared_bytes(features, FEW_ROWS) < update);
        }
    }
}
