//! The reverse process on the device: many steps of all structures in one launch.

use super::corrector::Correctors;
use super::network::{Batch, Output, Wanted, Workspace};
use super::radius_graph::RadiusGraph;
use super::reverse_step::ReverseProcess;
use super::{Cuda, Launches};
use crate::engine::{FreePositions, GuidanceSettings, Progress, RandomStream};
use crate::error::Result;
use crate::gpu::with_reserve;
use crate::gpu::{Buffer, Pointer};
use crate::system::Vec3;
use std::ops::Range;

/// Reverse steps a launch.
pub(super) const STEPS_PER_LAUNCH: usize = 50;

/// Buffers that sampling keeps between calls.
pub(super) struct SampleRoom {
    pub(super) process: ReverseProcess,
    /// `Some` after the first guided call.
    correctors: Option<Correctors>,
    pub(super) graph: RadiusGraph,
    work: Workspace,
    /// Scores or forces of the free atoms.
    vectors: Buffer<f32>,
    n_structures: usize,
}

impl Cuda {
    /// See [`crate::engine::Engine::sample`].
    pub(super) fn run_reverse(
        &mut self,
        noise: RandomStream,
        range: Range<usize>,
        guidance: Option<GuidanceSettings>,
        progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        let (n, n_free, n_steps) = (range.len(), self.setup.system.n_free(), self.setup.reverse.steps);
        if n == 0 {
            return Ok(Vec::new());
        }
        let mut room = self.sample_room(n, guidance)?;
        let guided = guidance.is_some();
        self.network.filters(&self.stream, None, true)?;
        self.network.prepare(&self.stream)?;
        room.process.prior(&self.stream, noise, range.clone())?;
        if let Some(correctors) = &room.correctors {
            correctors.reset(&self.stream)?;
        }
        let mut captured: Option<(usize, Launches)> = None;
        let mut done = 0;
        while done < n_steps {
            let steps = STEPS_PER_LAUNCH.min(n_steps - done);
            let queue = || {
                room.process.save(&self.stream)?;
                if let Some(correctors) = room.correctors.as_ref().filter(|_| guided) {
                    correctors.save(&self.stream)?;
                }
                (0..steps).try_for_each(|_| {
                    self.queue_reverse_step(&room, noise, range.clone())?;
                    if guided { self.queue_correction(&room, n) } else { Ok(()) }
                })
            };
            if captured.as_ref().is_none_or(|(n, _)| *n != steps) {
                captured = Some((steps, self.prepare_launches(queue)?));
            }
            if let Some((_, launches)) = &captured {
                self.launch(launches, queue)?;
            }
            if let Some(needed) = room.graph.overflowed(&self.stream)? {
                // A structure was left without edges: the launch is repeated from its beginning, with more room.
                room.process.rewind(&self.stream)?;
                if let Some(correctors) = room.correctors.as_ref().filter(|_| guided) {
                    correctors.rewind(&self.stream)?;
                }
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

    /// The buffers of the last call if they are large enough, else new ones.
    pub(super) fn sample_room(
        &mut self,
        n_structures: usize,
        guidance: Option<GuidanceSettings>,
    ) -> Result<SampleRoom> {
        let (stream, setup) = (&self.stream, &self.setup);
        let correctors = |n| guidance.map(|guidance| Correctors::new(stream, setup, &guidance, n)).transpose();
        if let Some(mut room) = self.sample_room.take().filter(|room| room.n_structures >= n_structures) {
            if room.correctors.is_none() {
                room.correctors = correctors(room.n_structures)?;
            }
            return Ok(room);
        }
        let cutoff = setup.sizes.cutoff_angstrom;
        Ok(SampleRoom {
            process: ReverseProcess::new(stream, setup, n_structures)?,
            correctors: correctors(n_structures)?,
            graph: RadiusGraph::new(stream, &setup.system, cutoff, n_structures, self.max_pairs)?,
            work: Workspace::new(stream, &self.network, n_structures, self.max_pairs, false)?,
            vectors: stream.zeros(3 * n_structures * setup.system.n_free())?,
            n_structures,
        })
    }

    /// Queues edges and states of the first `n` structures at their present positions, and the head that `output` names.
    fn queue_vectors(&self, room: &SampleRoom, n: usize, output: Output) -> Result<()> {
        let (stream, network, work) = (&self.stream, &self.network, &room.work);
        let batch = Batch { graph: &room.graph, first: 0, n };
        room.graph.run(stream, &room.process.positions, n)?;
        network.filters(stream, Some((work, batch)), false)?;
        network.backbone(stream, work, &batch, Wanted::Free)?;
        let time_features = match output {
            Output::Score => room.process.time_features.pointer(),
            Output::Force => Pointer::NULL,
        };
        network.head(stream, work, &batch, (output, Wanted::Free), time_features, &room.vectors)
    }

    pub(super) fn queue_reverse_step(&self, room: &SampleRoom, noise: RandomStream, range: Range<usize>) -> Result<()> {
        self.queue_vectors(room, range.len(), Output::Score)?;
        room.process.step(&self.stream, noise, range, &room.vectors)
    }

    /// Queues the correction that follows a reverse step of a guided call.
    fn queue_correction(&self, room: &SampleRoom, n: usize) -> Result<()> {
        let Some(correctors) = &room.correctors else { return Ok(()) };
        self.queue_vectors(room, n, Output::Force)?;
        correctors.step(&self.stream, n, &room.process.positions, &room.vectors)
    }
}
