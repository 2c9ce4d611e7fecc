//! The CPU engine: `Cpu<f32>` is the product, `Cpu<f64>` is the oracle. Both share one code, with one operation a file. Start
//! reading in `network`.

pub mod adamw;
pub mod filters;
pub mod gemm;
pub mod graph;
pub mod head;
pub mod linear;
mod loss;
pub mod message;
pub mod network;
mod relax;
mod sample;
pub mod simd;
mod train;
pub mod update;

use super::relaxation::no_force_head;
use super::*;
use adamw::AdamW;
use linear::{Linear, Weights};
use network::{Chunk, Network, Output, Shared};
use rayon::prelude::*;
use simd::Real;

/// Atoms a chunk should hold: enough to make its products efficient, few enough to stay in a core's cache. It is fixed, so that
/// sums do not depend on the number of threads.
const ATOMS_PER_CHUNK: usize = 96;

/// The score model on all cores, in precision `T`.
pub struct Cpu<T: Real> {
    setup: Setup,
    network: Network<T>,
    transposed: Vec<Linear>,
    weights: Weights<T>,
    shared: Shared<T>,
    optimizer: AdamW<T>,
    schedule: PlateauSchedule,
    chunks: Vec<Chunk<T>>,
    gradients: Vec<Vec<T>>,
}

impl<T: Real> Cpu<T> {
    /// An engine with all parameters 0: [`Engine::restore`] gives it its first ones.
    ///
    /// # Errors
    /// `BadInput` if the radial basis does not fit the model's sizes, or guidance is asked of a model without force head.
    pub fn new(setup: &Setup) -> Result<Self> {
        setup.check_model()?;
        setup.check_precision_of_cpu()?;
        let network = Network::new(setup);
        let n = network.layout.n_parameters();
        let mut engine = Cpu {
            transposed: network.transposed_layers(),
            weights: Weights::new(vec![T::ZERO; n]),
            shared: Shared::default(),
            optimizer: AdamW::new(n),
            schedule: PlateauSchedule::new(setup.training.learning_rate),
            chunks: Vec::new(),
            gradients: Vec::new(),
            setup: setup.clone(),
            network,
        };
        engine.refresh();
        Ok(engine)
    }

    /// Renews everything derived from the parameters.
    fn refresh(&mut self) {
        self.weights.transpose_all(&self.transposed);
        self.network.prepare(&self.weights, &mut self.shared);
    }

    /// Structures a chunk for `n_structures` in all: the chunks have near [`ATOMS_PER_CHUNK`] atoms each and about equal sizes.
    fn chunk_size(&self, n_structures: usize) -> usize {
        let atoms = n_structures * self.network.system.n_atoms();
        let n_chunks = ((atoms + ATOMS_PER_CHUNK / 2) / ATOMS_PER_CHUNK).clamp(1, n_structures.max(1));
        n_structures.div_ceil(n_chunks).max(1)
    }

    /// Outputs of a head on all atoms, B × (T + n) × 3.
    fn vectors(&mut self, positions: &[FreePositions], times: &[f64], output: Output) -> Vec<Vec<Vec3>> {
        let n_atoms = self.network.system.n_atoms();
        self.on_chunks(positions, true, |network, weights, chunk, first| {
            let out = network.head(weights, chunk, output, times.get(first..).unwrap_or(&[]));
            let vectors = out.chunks_exact(3).map(|v| [v[0].wide(), v[1].wide(), v[2].wide()]);
            vectors.collect::<Vec<Vec3>>().chunks_exact(n_atoms).map(<[Vec3]>::to_vec).collect()
        })
    }

    /// Sums of the force head's scalars over the free atoms, one a structure.
    fn sums_of_scalars(&mut self, positions: &[FreePositions]) -> Vec<f64> {
        let n_free = self.network.system.n_free();
        self.on_chunks(positions, false, |network, weights, chunk, _| {
            network.head(weights, chunk, Output::Force, &[]);
            let scalars: Vec<f64> = network.scalars(chunk, Output::Force).map(Real::wide).collect();
            scalars.chunks_exact(n_free).map(|scalars| scalars.iter().sum()).collect()
        })
    }

    /// What `read` gives for each structure of a chunk whose backbone is computed, for all atoms or the free ones alone. It also
    /// gets the number of the chunk's first structure.
    fn on_chunks<R: Clone + Send>(
        &mut self,
        positions: &[FreePositions],
        all_atoms: bool,
        read: impl Fn(&Network<T>, &Weights<T>, &mut Chunk<T>, usize) -> Vec<R> + Sync,
    ) -> Vec<R> {
        let size = self.chunk_size(positions.len());
        self.chunks.resize_with(self.chunks.len().max(positions.len().div_ceil(size)), Chunk::default);
        let (network, weights, shared) = (&self.network, &self.weights, &self.shared);
        let chunks: Vec<Vec<R>> = (self.chunks.par_iter_mut().zip(positions.par_chunks(size)).enumerate())
            .map(|(c, (chunk, positions))| {
                let structures: Vec<&[Vec3]> = positions.iter().map(Vec::as_slice).collect();
                network.backbone(weights, shared, chunk, &structures, all_atoms, false);
                read(network, weights, chunk, c * size)
            })
            .collect();
        chunks.concat()
    }

    /// Scalars [B·(T + n), F] and vectors [B·(T + n), 3, F] of all atoms after the backbone, for comparison with other codes.
    pub fn representation(&mut self, positions: &[FreePositions]) -> (Vec<f64>, Vec<f64>) {
        let structures: Vec<&[Vec3]> = positions.iter().map(Vec::as_slice).collect();
        let mut chunk = Chunk::default();
        self.network.backbone(&self.weights, &self.shared, &mut chunk, &structures, true, false);
        self.network.representation(&chunk)
    }
}

impl<T: Real> Engine for Cpu<T> {
    fn device(&self) -> String {
        format!("cpu {}, {} threads, {}", T::NAME, rayon::current_num_threads(), simd::instruction_set())
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
        let before = (self.weights.flat.clone(), self.optimizer.clone(), self.schedule);
        let report = self.run_training(stream, set, steps, progress);
        if report.is_err() {
            (self.weights.flat, self.optimizer, self.schedule) = before;
            self.refresh();
        }
        report
    }

    fn score(&mut self, positions: &[FreePositions], times: &[f64]) -> Result<Vec<Vec<Vec3>>> {
        self.setup.check_structures(positions, &[("diffusion times", times.len())])?;
        let mut scores = self.vectors(positions, times, Output::Score);
        scores.iter_mut().for_each(|score| self.setup.make_scores(score));
        Ok(scores)
    }

    fn forces(&mut self, positions: &[FreePositions]) -> Result<Option<Vec<Vec<Vec3>>>> {
        self.setup.check_structures(positions, &[])?;
        Ok(self.network.has_forces().then(|| self.vectors(positions, &[], Output::Force)))
    }

    fn readout(&mut self, positions: &[FreePositions]) -> Result<Option<Vec<f64>>> {
        self.setup.check_structures(positions, &[])?;
        Ok(self.network.has_forces().then(|| self.sums_of_scalars(positions)))
    }

    fn relax(
        &mut self,
        structures: &mut [FreePositions],
        settings: &CorrectorSettings,
        n_steps: usize,
        progress: Progress,
    ) -> Result<()> {
        self.setup.check_structures(structures, &[])?;
        if !self.network.has_forces() {
            return Err(no_force_head());
        }
        relax_with(structures, n_steps, progress, &mut |moving| {
            self.advance(settings, moving);
            Ok(())
        })
    }

    fn set_basin_variance(&mut self, variance: Option<f64>) -> Result<()> {
        self.setup.reverse.basin_variance = variance;
        Ok(())
    }

    fn loss_and_gradient(&mut self, batch: &NoisyBatch, loss: &Loss) -> Result<LossAndGradient> {
        self.setup.check_loss(batch, loss)?;
        Ok(self.run_loss_and_gradient(batch, loss))
    }

    fn apply_gradient(&mut self, gradient: &[f64]) -> Result<f64> {
        self.setup.check_gradient(gradient)?;
        let gradient: Vec<T> = gradient.iter().map(|&g| T::of(g)).collect();
        self.gradients.resize_with(self.gradients.len().max(1), Vec::new);
        self.gradients[0] = gradient;
        Ok(self.optimizer_step(1.0))
    }

    fn state(&self) -> Result<ModelState> {
        let wide = |values: &[T]| values.iter().map(|x| x.wide()).collect();
        Ok(ModelState {
            parameters: wide(&self.weights.flat),
            first_moment: wide(&self.optimizer.first),
            second_moment: wide(&self.optimizer.second),
            steps: self.optimizer.steps,
            schedule: self.schedule,
        })
    }

    fn restore(&mut self, state: &ModelState) -> Result<()> {
        self.setup.check_state(state)?;
        let narrow = |values: &[f64]| values.iter().map(|&x| T::of(x)).collect();
        self.weights.flat = narrow(&state.parameters);
        self.optimizer =
            AdamW { first: narrow(&state.first_moment), second: narrow(&state.second_moment), steps: state.steps };
        self.schedule = state.schedule;
        self.refresh();
        Ok(())
    }
}
