//! Launcher of `kernels/radius_graph.cu`: the edges with a free atom of every structure.

use crate::error::{Error, Result};
use crate::gpu::arguments::radius_graph::{RADIUS_GRAPH, RadiusGraphArguments};
use crate::gpu::images::{CellConstants, MOST_ATOMS};
use crate::gpu::{Buffer, Pointer, Shape, Stream};
use crate::system::{System, Vec3};

/// The edges with a free atom of up to S structures, N = T + n atoms each, template first. The part of structure s starts at s
/// times the length in brackets. Slots without a pair or edge keep their old content.
pub struct RadiusGraph {
    constants: CellConstants,
    template_positions: Buffer<Vec3>,
    n_structures: usize,
    n_free: u32,
    n_template: u32,
    max_pairs: usize,
    threads: u32,
    shared_bytes: u32,
    /// Distance of every pair, Å: \[max_pairs\].
    pub distances: Buffer<f32>,
    /// Unit vector from i to j, and i | j << 16 as bits, i the free atom: \[max_pairs\].
    pub pairs: Buffer<[f32; 4]>,
    /// Number of pairs: \[1\].
    pub n_pairs: Buffer<u32>,
    /// First edge of every receiver within the structure's slots: \[N + 1\].
    pub edge_starts: Buffer<u32>,
    /// Unit vector from receiver to sender, and the sender within the structure as bits: \[2·max_pairs\].
    pub edges: Buffer<[f32; 4]>,
    /// The edge's pair within the structure: \[2·max_pairs\].
    pub edge_rows: Buffer<u32>,
    /// Atoms within the structure that are free or send to a free one, ascending: \[N\].
    pub neighbours: Buffer<u32>,
    /// Number of neighbours: \[1\].
    pub n_neighbours: Buffer<u32>,
    overflow: Buffer<u32>,
    scratch: Option<Buffer<u32>>,
}

impl RadiusGraph {
    /// Room for `n_structures` of `system` with at most `max_pairs` pairs closer than `cutoff` (Å) each.
    ///
    /// # Errors
    /// `BadInput` for structures too large for the device, `Failed` without memory.
    pub fn new(stream: &Stream, system: &System, cutoff: f64, n_structures: usize, max_pairs: usize) -> Result<Self> {
        let (n_free, n_atoms) = (system.n_free(), system.n_atoms());
        if n_atoms > MOST_ATOMS {
            return Err(Error::bad_input(format!(
                "a structure has {n_atoms} atoms, more than the {MOST_ATOMS} of the GPU engine; use --device cpu"
            )));
        }
        let n_candidates = n_free * n_atoms;
        let (lists, counts) = (28 * n_atoms + 4 * (32 + 2 * (n_atoms + 1)), 4 * (2 * n_candidates + 1));
        let room = stream.device().properties().shared_memory_per_block;
        if lists > room {
            return Err(Error::bad_input(format!(
                "a structure of {n_atoms} atoms needs {lists} bytes of the GPU's shared memory, which has {room}; use \
                 --device cpu"
            )));
        }
        let inside = lists + counts <= room;
        let template = if system.n_template() > 0 { &system.template_positions[..] } else { &[[0.0; 3]] };
        let max_pairs = max_pairs.max(1);
        Ok(RadiusGraph {
            constants: CellConstants::new(&system.cell, template[0], cutoff),
            template_positions: stream.upload(template)?,
            n_structures,
            n_free: n_free as u32,
            n_template: system.n_template() as u32,
            max_pairs,
            threads: RADIUS_GRAPH.threads_for(n_candidates),
            shared_bytes: (if inside { lists + counts } else { lists }) as u32,
            distances: stream.zeros(n_structures * max_pairs)?,
            pairs: stream.zeros(n_structures * max_pairs)?,
            n_pairs: stream.zeros(n_structures)?,
            edge_starts: stream.zeros(n_structures * (n_atoms + 1))?,
            edges: stream.zeros(2 * n_structures * max_pairs)?,
            edge_rows: stream.zeros(2 * n_structures * max_pairs)?,
            neighbours: stream.zeros(n_structures * n_atoms)?,
            n_neighbours: stream.zeros(n_structures)?,
            overflow: stream.zeros(1)?,
            scratch: if inside { None } else { Some(stream.zeros(n_structures * (2 * n_candidates + 1))?) },
        })
    }

    /// Slots for pairs of a structure.
    pub fn max_pairs(&self) -> usize {
        self.max_pairs
    }

    /// Finds the edges of the first `n_structures` at `positions` \[n_structures, n, 3\], Å.
    ///
    /// # Errors
    /// `Failed` if there are more structures than room, or fewer positions, or the launch fails.
    pub fn run(&self, stream: &Stream, positions: &Buffer<f64>, n_structures: usize) -> Result<()> {
        let needed = 3 * n_structures * self.n_free as usize;
        if n_structures > self.n_structures || positions.len() < needed {
            return Err(Error::Failed(format!(
                "internal error: the radius graph of {n_structures} structures has room for {} and {} coordinates",
                self.n_structures,
                positions.len()
            )));
        }
        let shape = Shape { blocks: [n_structures as u32, 1], threads: self.threads, shared_bytes: self.shared_bytes };
        let arguments = RadiusGraphArguments {
            cell: self.constants,
            positions: positions.pointer(),
            template_positions: Pointer::cast(self.template_positions.pointer()),
            distances: self.distances.pointer(),
            pairs: self.pairs.pointer(),
            n_pairs: self.n_pairs.pointer(),
            edge_starts: self.edge_starts.pointer(),
            edges: self.edges.pointer(),
            edge_rows: self.edge_rows.pointer(),
            neighbours: self.neighbours.pointer(),
            n_neighbours: self.n_neighbours.pointer(),
            overflow: self.overflow.pointer(),
            scratch: self.scratch.as_ref().map_or(Pointer::NULL, Buffer::pointer),
            n_free: self.n_free,
            n_template: self.n_template,
            max_pairs: self.max_pairs as u32,
        };
        stream.launch(RADIUS_GRAPH, shape, &arguments)
    }

    /// Waits for all work so far. `Some(n)` if since the last [`RadiusGraph::grow`] a structure had n pairs, more than there are
    /// slots. Such a structure has no pairs, so everything computed from it must be computed again after growing.
    pub fn overflowed(&self, stream: &Stream) -> Result<Option<usize>> {
        let needed = stream.read(&self.overflow)?[0] as usize;
        Ok((needed > 0).then_some(needed))
    }

    /// Makes room for `max_pairs` pairs a structure. The pairs found so far are lost, and launches that were captured before must
    /// be captured again.
    ///
    /// # Errors
    /// `Failed` without memory; the graph is then as before.
    pub fn grow(&mut self, stream: &Stream, max_pairs: usize) -> Result<()> {
        let distances = stream.zeros(self.n_structures * max_pairs)?;
        let pairs = stream.zeros(self.n_structures * max_pairs)?;
        let edges = stream.zeros(2 * self.n_structures * max_pairs)?;
        let edge_rows = stream.zeros(2 * self.n_structures * max_pairs)?;
        stream.clear(&self.overflow)?;
        (self.distances, self.pairs, self.edges, self.edge_rows) = (distances, pairs, edges, edge_rows);
        self.max_pairs = max_pairs;
        Ok(())
    }
}
