//! The GPU engine: hand-written kernels (kernels/*.cu) that keep the whole loop on the device. Start reading in `network`.

#[doc(hidden)]
pub mod adamw;
#[doc(hidden)]
pub mod arrangement;
#[doc(hidden)]
pub mod block;
#[doc(hidden)]
pub mod constants;
#[doc(hidden)]
pub mod corrector;
mod cost;
#[doc(hidden)]
pub mod diffusion;
#[doc(hidden)]
pub mod filters;
#[doc(hidden)]
pub mod first_block;
#[doc(hidden)]
pub mod forward_noise;
#[doc(hidden)]
pub mod head;
#[doc(hidden)]
pub mod network;
pub mod profile;
#[doc(hidden)]
pub mod radius_graph;
#[doc(hidden)]
pub mod reverse_step;
mod sample;
mod speed;
#[doc(hidden)]
pub mod stored;
mod train;
#[doc(hidden)]
pub mod weight_gradient;

use super::{
    Engine, FreePositions, Loss, LossAndGradient, ModelState, NoisyBatch, PlateauSchedule, Progress, RandomStream,
    Sampler, Setup, Storage, TrainingReport, TrainingSet, advance_by_verb, relax_with,
};
use crate::diffusion::CorrectorSettings;
use crate::error::Result;
use crate::gpu::{self, Buffer, Device, Pointer, with_reserve};
use crate::system::Vec3;
use adamw::TrainingState;
use network::{Batch, Network, Output, Term, Wanted, Workspace};
use radius_graph::RadiusGraph;
use sample::SampleRoom;
use std::ops::Range;
use train::TrainRoom;

/// Opens a CUDA device, or the emulator.
///
/// # Errors
/// `BadInput` if this build or machine does not have it, or the model or system is beyond the kernels' limits.
pub fn open(device: &str, setup: &Setup) -> Result<Box<dyn Engine>> {
    Ok(Box::new(Cuda::new(&Device::open(device)?, setup)?))
}

/// Most structures that a diagnostic verb computes at once.
const STRUCTURES_AT_ONCE: usize = 256;

/// The score model on a device. Engines that share one [`Device`] share its context and kernels; each has its own queue.
pub struct Cuda {
    setup: Setup,
    stream: gpu::Stream,
    network: Network,
    training: Buffer<TrainingState>,
    /// Pairs of a structure that buffers have room for; grows when a structure has more.
    max_pairs: usize,
    train_room: Option<TrainRoom>,
    sample_room: Option<SampleRoom>,
    captures: bool,
}

/// Steps ready to be queued again and again.
enum Launches {
    /// One launch for all of them.
    Captured(gpu::Graph),
    /// The steps are queued one by one each time.
    Direct,
}

impl Cuda {
    /// An engine with all parameters 0: [`Engine::restore`] gives it its first ones.
    ///
    /// # Errors
    /// `BadInput` if the radial basis does not fit the model's sizes, or those are beyond the kernels' limits; `Failed` without
    /// memory.
    pub fn new(device: &Device, setup: &Setup) -> Result<Self> {
        setup.check_model()?;
        let stream = device.stream()?;
        let network = Network::new(&stream, setup)?;
        let schedule = PlateauSchedule::new(setup.training.learning_rate);
        let training = stream.upload(&[TrainingState::new(&schedule, 0)])?;
        // A free atom has about twenty neighbours within 6 Å on a surface and about eighty in bulk. Each pair counts once.
        let max_pairs = 32 * setup.system.n_free();
        Ok(Cuda {
            setup: setup.clone(),
            stream,
            network,
            training,
            max_pairs,
            train_room: None,
            sample_room: None,
            captures: true,
        })
    }

    /// Sets whether the steps of a call are captured and launched together. They are by default; the switch is for diagnosis, and
    /// the results are the same.
    pub fn capture_launches(&mut self, captures: bool) {
        self.captures = captures;
    }

    /// Makes room for `max_pairs` pairs a structure from now on. If a structure has more pairs, the engine notices, grows, and does
    /// some work twice.
    pub fn expect_pairs(&mut self, max_pairs: usize) {
        self.max_pairs = max_pairs.max(1);
        self.train_room = None;
        self.sample_room = None;
    }

    fn prepare_launches(&self, queue: impl FnOnce() -> Result<()>) -> Result<Launches> {
        if self.captures { Ok(Launches::Captured(self.stream.capture(queue)?)) } else { Ok(Launches::Direct) }
    }

    fn launch(&self, launches: &Launches, queue: impl FnOnce() -> Result<()>) -> Result<()> {
        match launches {
            Launches::Captured(graph) => self.stream.replay(graph),
            Launches::Direct => queue(),
        }
    }

    /// Edges of these structures, with room for them and a workspace that fits.
    fn graph_of(&mut self, positions: &[FreePositions], tape: bool) -> Result<(RadiusGraph, Workspace)> {
        let flat: Vec<f64> = positions.iter().flatten().flatten().copied().collect();
        let coordinates = self.stream.upload(&flat)?;
        let cutoff = self.setup.sizes.cutoff_angstrom;
        let mut graph = RadiusGraph::new(&self.stream, &self.setup.system, cutoff, positions.len(), self.max_pairs)?;
        graph.run(&self.stream, &coordinates, positions.len())?;
        if let Some(needed) = graph.overflowed(&self.stream)? {
            self.max_pairs = with_reserve(needed);
            graph.grow(&self.stream, self.max_pairs)?;
            graph.run(&self.stream, &coordinates, positions.len())?;
        }
        let work = Workspace::new(&self.stream, &self.network, positions.len(), graph.max_pairs(), tape)?;
        Ok((graph, work))
    }

    /// Edges and workspace of these structures, with the state of the `wanted` atoms after the backbone.
    fn backbone_of(&mut self, positions: &[FreePositions], wanted: Wanted) -> Result<(RadiusGraph, Workspace)> {
        let (graph, work) = self.graph_of(positions, false)?;
        let batch = Batch { graph: &graph, first: 0, n: positions.len() };
        self.network.filters(&self.stream, Some((&work, batch)), true)?;
        self.network.prepare(&self.stream)?;
        self.network.backbone(&self.stream, &work, &batch, wanted)?;
        Ok((graph, work))
    }

    /// Outputs of a head on all atoms, B × (T + n) × 3.
    fn vectors(&mut self, positions: &[FreePositions], times: &[f64], output: Output) -> Result<Vec<Vec<Vec3>>> {
        let n_atoms = self.setup.system.n_atoms();
        let mut vectors = Vec::with_capacity(positions.len());
        for (k, positions) in positions.chunks(STRUCTURES_AT_ONCE).enumerate() {
            let (graph, work) = self.backbone_of(positions, Wanted::All)?;
            let batch = Batch { graph: &graph, first: 0, n: positions.len() };
            let (stream, network) = (&self.stream, &self.network);
            let times = times.iter().skip(k * STRUCTURES_AT_ONCE).take(positions.len());
            let features: Vec<[f32; 2]> = times.map(|&t| time_features(t)).collect();
            let features = stream.upload(&features)?;
            let out = stream.zeros::<f32>(3 * n_atoms * positions.len())?;
            let pointer = Pointer::cast(features.pointer());
            network.head(stream, &work, &batch, (output, Wanted::All), pointer, &out)?;
            let out = stream.read(&out)?;
            let rows: Vec<Vec3> = out.as_chunks::<3>().0.iter().map(|row| row.map(f64::from)).collect();
            vectors.extend(rows.chunks_exact(n_atoms).map(<[Vec3]>::to_vec));
        }
        Ok(vectors)
    }
}

/// sin πt and cos πt.
fn time_features(t: f64) -> [f32; 2] {
    let (sin, cos) = (std::f64::consts::PI * t).sin_cos();
    [sin as f32, cos as f32]
}

impl Engine for Cuda {
    fn device(&self) -> String {
        let properties = self.stream.device().properties();
        let precision = match self.setup.precision {
            Storage::F32 => "f32",
            Storage::Mixed => "mixed precision",
        };
        match properties.name.as_str() {
            name if name.starts_with("emulator") => format!("{name} {precision}"),
            name => format!("cuda {precision}, {name}, sm_{}{}", properties.capability.0, properties.capability.1),
        }
    }

    fn sample(
        &mut self,
        stream: RandomStream,
        range: Range<usize>,
        sampler: Sampler,
        progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        let guidance = self.setup.guidance_of(sampler)?;
        self.run_reverse(stream, range, guidance, progress)
    }

    fn train(
        &mut self,
        stream: RandomStream,
        set: &TrainingSet,
        steps: usize,
        progress: Progress,
    ) -> Result<TrainingReport> {
        self.setup.check_training_set(set)?;
        let before = self.state()?;
        let report = self.run_training(stream, set, steps, progress);
        if report.is_err() {
            // On a lost device this fails too; the first error says why.
            let _ = self.restore(&before);
        }
        report
    }

    fn score(&mut self, positions: &[FreePositions], times: &[f64]) -> Result<Vec<Vec<Vec3>>> {
        self.setup.check_structures(positions, &[("diffusion times", times.len())])?;
        let mut scores = self.vectors(positions, times, Output::Score)?;
        scores.iter_mut().for_each(|score| self.setup.make_scores(score));
        Ok(scores)
    }

    fn forces(&mut self, positions: &[FreePositions]) -> Result<Option<Vec<Vec<Vec3>>>> {
        self.setup.check_structures(positions, &[])?;
        if !self.setup.sizes.force_head {
            return Ok(None);
        }
        self.vectors(positions, &[], Output::Force).map(Some)
    }

    fn readout(&mut self, positions: &[FreePositions]) -> Result<Option<Vec<f64>>> {
        self.setup.check_structures(positions, &[])?;
        if !self.setup.sizes.force_head {
            return Ok(None);
        }
        let n_free = self.setup.system.n_free();
        let mut sums = Vec::with_capacity(positions.len());
        for positions in positions.chunks(STRUCTURES_AT_ONCE) {
            let (graph, work) = self.backbone_of(positions, Wanted::Free)?;
            let batch = Batch { graph: &graph, first: 0, n: positions.len() };
            let (stream, network) = (&self.stream, &self.network);
            let scalars = stream.zeros::<f32>(n_free * positions.len())?;
            network.scalars(stream, &work, &batch, 0, scalars.pointer())?;
            let scalars = stream.read(&scalars)?;
            sums.extend(scalars.chunks_exact(n_free).map(|atoms| atoms.iter().map(|&s| f64::from(s)).sum::<f64>()));
        }
        Ok(Some(sums))
    }

    fn relax(
        &mut self,
        structures: &mut [FreePositions],
        settings: &CorrectorSettings,
        n_steps: usize,
        progress: Progress,
    ) -> Result<()> {
        let system = self.setup.system.clone();
        relax_with(structures, n_steps, progress, &mut |moving| advance_by_verb(self, &system, settings, moving))
    }

    fn set_basin_variance(&mut self, variance: Option<f64>) -> Result<()> {
        self.setup.reverse.basin_variance = variance;
        match &self.sample_room {
            Some(room) => room.process.set_basin_variance(&self.stream, variance),
            None => Ok(()),
        }
    }

    fn loss_and_gradient(&mut self, batch: &NoisyBatch, loss: &Loss) -> Result<LossAndGradient> {
        self.setup.check_loss(batch, loss)?;
        let n = batch.positions.len();
        let (graph, mut work) = self.graph_of(&batch.positions, true)?;
        let structures = Batch { graph: &graph, first: 0, n };
        let (stream, network, system) = (&self.stream, &self.network, &self.setup.system);
        let n_free = system.n_free() as f64;
        let flat = |values: &[Vec<Vec3>], sign: f64| -> Vec<f32> {
            values.iter().flatten().flatten().map(|&x| (sign * x) as f32).collect()
        };
        // As in LossTask of the CPU: residual = offset + factor·out.
        let (output, offset, factor, scale, huber_delta) = match loss {
            Loss::Score(weighting) => {
                let sigma = batch.times.iter().map(|&t| self.setup.sde.noise_scale(t));
                let factor: Vec<f64> = sigma.map(|sigma| weighting.factor(sigma)).collect();
                let n_averaged = weighting.n_averaged(system) as f64;
                let scale: Vec<f64> = batch.weights.iter().map(|w| w / (n as f64 * n_averaged)).collect();
                (Output::Score, flat(&batch.noise, 1.0), factor, scale, 0.0)
            }
            Loss::Force(target) | Loss::Huber { target, .. } | Loss::Readout { target, .. } => {
                let delta = match loss {
                    Loss::Huber { delta, .. } | Loss::Readout { delta, .. } => *delta,
                    Loss::Score(_) | Loss::Force(_) => 0.0,
                };
                let scale = vec![1.0 / (n as f64 * 3.0 * n_free); n];
                (Output::Force, flat(target, -1.0), vec![1.0; n], scale, delta)
            }
        };
        let narrow = |values: Vec<f64>| -> Vec<f32> { values.into_iter().map(|x| x as f32).collect() };
        let (offset, factor, scale) =
            (stream.upload(&offset)?, stream.upload(&narrow(factor))?, stream.upload(&narrow(scale))?);
        let (labels, energy_weight) = match loss {
            Loss::Readout { labels, weight, .. } => (Some(stream.upload(&narrow(labels.clone()))?), *weight),
            Loss::Score(_) | Loss::Force(_) | Loss::Huber { .. } => (None, 0.0),
        };
        let features: Vec<[f32; 2]> = batch.times.iter().map(|&t| time_features(t)).collect();
        let features = stream.upload(&features)?;
        let term = Term {
            output,
            first: 0,
            n,
            offset: offset.pointer(),
            factor: factor.pointer(),
            scale: scale.pointer(),
            time_features: Pointer::cast(features.pointer()),
            huber_delta: huber_delta as f32,
            weight: 1.0,
            labels: labels.as_ref().map_or(Pointer::NULL, Buffer::pointer),
            label_weight: (3.0 * n_free * energy_weight) as f32,
        };
        network.plan(stream, &mut work, &structures, &[term])?;
        network.filters(stream, Some((&work, structures)), true)?;
        network.prepare(stream)?;
        network.backbone(stream, &work, &structures, Wanted::Free)?;
        network.backward(stream, &work, &structures, &[term])?;
        let unused = stream.zeros(1)?;
        network.sum_gradient(stream, &work, &unused, None)?;
        let loss = network.read_loss(stream, &work, output, n)?;
        let gradient = network.read_gradient(stream)?.into_iter().map(f64::from).collect();
        Ok(LossAndGradient { loss, gradient })
    }

    fn apply_gradient(&mut self, gradient: &[f64]) -> Result<f64> {
        self.setup.check_gradient(gradient)?;
        let gradient: Vec<f32> = gradient.iter().map(|&g| g as f32).collect();
        self.network.take_gradient(&self.stream, &self.training, &gradient)?;
        self.network.step(&self.stream, &self.training, &self.setup.training)?;
        self.network.gradient_norm(&self.stream)
    }

    fn state(&self) -> Result<ModelState> {
        let wide = |buffer| -> Result<Vec<f64>> { Ok(self.stream.read(buffer)?.into_iter().map(f64::from).collect()) };
        let training = self.stream.read(&self.training)?[0];
        let weights = &self.network.weights;
        Ok(ModelState {
            parameters: wide(&weights.parameters)?,
            first_moment: wide(&weights.first)?,
            second_moment: wide(&weights.second)?,
            steps: training.optimizer_steps.into(),
            schedule: training.schedule(),
        })
    }

    fn restore(&mut self, state: &ModelState) -> Result<()> {
        self.setup.check_state(state)?;
        self.network.load(&self.stream, state)?;
        self.stream.write(&self.training, 0, &[TrainingState::new(&state.schedule, state.steps as u32)])
    }
}
