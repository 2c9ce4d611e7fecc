//! The reverse process on the device: many steps of all structures in one launch.

use super::driver::Buffer;
use super::network::{Batch, Output, Wanted, Workspace};
use super::radius_graph::RadiusGraph;
use super::reverse_step::ReverseProcess;
use super::{Cuda, Launches, with_reserve};
use crate::engine::{FreePositions, Progress, Sampler, Stream};
use crate::error::Result;
use crate::system::Vec3;
use std::ops::Range;

/// Reverse steps a launch.
pub(super) const STEPS_PER_LAUNCH: usize = 50;

/// What sampling keeps between calls.
pub(super) struct SampleRoom {
    pub(super) process: ReverseProcess,
    pub(super) graph: RadiusGraph,
    work: Workspace,
    score: Buffer<f32>,
    n_structures: usize,
}

impl Cuda {
    /// See [`crate::engine::Engine::sample`].
    pub(super) fn run_reverse(
        &mut self,
        noise: Stream,
        range: Range<usize>,
        _sampler: Sampler,
        progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        let (n, n_free, n_steps) = (range.len(), self.setup.system.n_free(), self.setup.reverse.steps);
        if n == 0 {
            return Ok(Vec::new());
        }
        let mut room = self.sample_room(n)?;
        self.network.filters(&self.stream, None, true)?;
        self.network.prepare(&self.stream)?;
        room.process.prior(&self.stream, noise, range.clone())?;
        let mut captured: Option<(usize, Launches)> = None;
        let mut done = 0;
        while done < n_steps {
            let steps = STEPS_PER_LAUNCH.min(n_steps - done);
            let queue = || {
                room.process.save(&self.stream)?;
                (0..steps).try_for_each(|_| self.queue_reverse_step(&room, noise, range.clone()))
            };
            if captured.as_ref().is_none_or(|(n, _)| *n != steps) {
                captured = Some((steps, self.prepare_launches(queue)?));
            }
            if let Some((_, launches)) = &captured {
                self.launch(launches, queue)?;
            }
            if let Some(needed) = room.graph.overflowed(&self.stream)? {
                // Some structure was left without edges: back to where the launch began, with more room.
                room.process.rewind(&self.stream)?;
                self.max_pairs = with_reserve(needed);
                room.graph.grow(&self.stream, self.max_pairs)?;
                room.work = Workspace::new(&self.stream, &self.network, room.n_structures, self.max_pairs, false)?;
                captured = None;
                continue;
            }
            done += steps;
            progress(done)?;
        }
        let coordinates = self.stream.read_part(&room.process.positions, 0, 3 * n * n_free)?;
        self.sample_room = Some(room);
        let positions: &[Vec3] = coordinates.as_chunks::<3>().0;
        Ok(positions.chunks_exact(n_free).map(<[Vec3]>::to_vec).collect())
    }

    /// The room of the last call if it serves, else a new one.
    pub(super) fn sample_room(&mut self, n_structures: usize) -> Result<SampleRoom> {
        if let Some(room) = self.sample_room.take().filter(|room| room.n_structures >= n_structures) {
            return Ok(room);
        }
        let (stream, setup) = (&self.stream, &self.setup);
        let cutoff = setup.sizes.cutoff_angstrom;
        Ok(SampleRoom {
            process: ReverseProcess::new(stream, setup, n_structures)?,
            graph: RadiusGraph::new(stream, &setup.system, cutoff, n_structures, self.max_pairs)?,
            work: Workspace::new(stream, &self.network, n_structures, self.max_pairs, false)?,
            score: stream.zeros(3 * n_structures * setup.system.n_free())?,
            n_structures,
        })
    }

    pub(super) fn queue_reverse_step(&self, room: &SampleRoom, noise: Stream, range: Range<usize>) -> Result<()> {
        let (stream, network, work) = (&self.stream, &self.network, &room.work);
        let batch = Batch { graph: &room.graph, first: 0, n: range.len() };
        room.graph.run(stream, &room.process.positions, batch.n)?;
        network.filters(stream, Some((work, batch)), false)?;
        network.backbone(stream, work, &batch, Wanted::Free)?;
        let time_features = room.process.time_features.pointer();
        network.head(stream, work, &batch, (Output::Score, Wanted::Free), time_features, &room.score)?;
        room.process.step(stream, noise, range, &room.score)
    }
}
