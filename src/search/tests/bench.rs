//! A run folder with an engine of a few lines and a potential that counts.

use crate::archive::Archive;
use crate::config::FirstSamples;
use crate::diffusion::CorrectorSettings;
use crate::engine::{
    ForceSet, FreePositions, Loss, LossAndGradient, NoisyBatch, Progress, RandomStream, Sampler, Targets,
    TrainingReport, TrainingSet, advance_by_verb, relax_with,
};
use crate::minima;
use crate::potential::{Answer, Evaluation};
use crate::random::{Noise, Purpose};
use crate::run::{RunDirectory, read_metrics};
use crate::search::*;
use crate::system::{Structure, System, Vec3};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

pub const CONFIG: &str = "
[system]
free = 'Pt2'
cell_angstrom = [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]
[potential]
kind = 'emt'
[model]
features = 2
blocks = 1
radial_functions = 2
cutoff_angstrom = 3.0
[diffusion]
steps = 3
[search]
seed = 5
iterations = 3
samples_per_iteration = 5
buffer = 4
min_distance_angstrom = 3.0
[training]
steps_per_iteration = 4
batch = 2
";

/// Presses Ctrl-C after this many steps of any kind.
pub struct Fuse {
    pub steps_left: AtomicUsize,
    pub interrupted: AtomicBool,
}

impl Fuse {
    fn burn(&self) {
        if self.steps_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.interrupted.store(true, Ordering::Relaxed);
        }
    }
}

/// An engine that samples uniform noise, moved by the first parameter; training shifts this parameter by a value that it is
/// given. It predicts forces that lead back by half a step, and remembers how it was asked to sample and which forces it got.
pub struct Toy {
    system: System,
    state: ModelState,
    basin_variance: Option<f64>,
    diverges_at: Option<u64>,
    heard: &'static Mutex<Heard>,
    fuse: &'static Fuse,
}

#[derive(Default)]
pub struct Heard {
    pub samplers: Vec<(u64, Sampler)>,
    pub force_sets: Vec<(u64, Option<ForceSet>)>,
    pub n_forces: usize,
    pub targets: Vec<(u64, Targets)>,
    pub restored: Vec<Vec<f64>>,
}

impl Toy {
    fn steps(&self, n: usize, progress: Progress) -> Result<()> {
        (0..n).try_for_each(|step| {
            self.fuse.burn();
            progress(step)
        })
    }
}

impl Engine for Toy {
    fn device(&self) -> String {
        "toy".into()
    }

    fn sample(
        &mut self,
        stream: RandomStream,
        range: Range<usize>,
        sampler: Sampler,
        progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        self.heard.lock().unwrap().samplers.push((stream.iteration, sampler));
        self.steps(3, progress)?;
        let noise = Noise::new(stream.seed, Purpose::Prior, stream.iteration);
        let atom = |structure: usize, atom: u32| -> Vec3 {
            let [x, y, z, _] = noise.uniforms(structure as u32, 0, atom, 0);
            [9.0 * x + self.state.parameters[0] + self.basin_variance.unwrap_or(0.0), 9.0 * y, 9.0 * z]
        };
        Ok(range.map(|structure| vec![atom(structure, 0), atom(structure, 1)]).collect())
    }

    fn train(
        &mut self,
        stream: RandomStream,
        set: &TrainingSet,
        steps: usize,
        progress: Progress,
    ) -> Result<TrainingReport> {
        let n_weights = set.weights.len() as f64;
        assert!(n_weights == 0.0 || (set.weights.iter().sum::<f64>() / n_weights - 1.0).abs() < 1e-12);
        self.heard.lock().unwrap().force_sets.push((stream.iteration, set.forces.clone()));
        self.steps(steps, progress)?;
        if self.diverges_at == Some(stream.iteration) {
            return Err(Error::Failed("the loss is no longer finite".into()));
        }
        let n_forces = set.forces.as_ref().map_or(0, |forces| forces.positions.len());
        let labels: f64 = set.forces.iter().flat_map(|forces| &forces.labels).sum();
        let shift: f64 = set.positions.iter().zip(&set.weights).map(|(atoms, weight)| weight * atoms[0][0]).sum();
        let targets = match &set.targets {
            Targets::Noise => 0.0,
            Targets::Mixed { scores, mixture } => scores[0][0][0] + mixture.mean_square,
        };
        self.heard.lock().unwrap().targets.push((stream.iteration, set.targets.clone()));
        self.state.parameters[0] += shift + n_forces as f64 + 1e-3 * (targets + labels);
        self.state.steps += steps as u64;
        let force_loss = set.forces.as_ref().map(|_| 0.25);
        Ok(TrainingReport { steps, loss: shift, force_loss, learning_rate: 1e-4 })
    }

    fn set_basin_variance(&mut self, variance: Option<f64>) -> Result<()> {
        self.basin_variance = variance;
        Ok(())
    }

    fn state(&self) -> Result<ModelState> {
        Ok(self.state.clone())
    }

    fn restore(&mut self, state: &ModelState) -> Result<()> {
        self.state = state.clone();
        self.heard.lock().unwrap().restored.push(state.parameters.clone());
        Ok(())
    }

    fn score(&mut self, _: &[FreePositions], _: &[f64]) -> Result<Vec<Vec<Vec3>>> {
        unreachable!("a search asks for no scores")
    }

    fn forces(&mut self, positions: &[FreePositions]) -> Result<Option<Vec<Vec<Vec3>>>> {
        self.heard.lock().unwrap().n_forces += positions.len();
        Ok(Some(positions.iter().map(|free| free.iter().map(|x| [4.5 - x[0], 0.0, 0.0]).collect()).collect()))
    }

    fn readout(&mut self, positions: &[FreePositions]) -> Result<Option<Vec<f64>>> {
        self.steps(1, &mut |_| Ok(()))?;
        let distance = |free: &FreePositions| (0..3).map(|x| (free[0][x] - free[1][x]).powi(2)).sum::<f64>().sqrt();
        let drift = 1e-3 * self.state.parameters[0].sin();
        Ok(Some(positions.iter().map(|free| 0.4 * distance(free) - 3.0 + drift).collect()))
    }

    fn relax(
        &mut self,
        structures: &mut [FreePositions],
        settings: &CorrectorSettings,
        n_steps: usize,
        progress: Progress,
    ) -> Result<()> {
        let system = self.system.clone();
        relax_with(structures, n_steps, progress, &mut |moving| advance_by_verb(self, &system, settings, moving))
    }

    fn loss_and_gradient(&mut self, _: &NoisyBatch, _: &Loss) -> Result<LossAndGradient> {
        unreachable!("a search asks for no gradients")
    }

    fn apply_gradient(&mut self, _: &[f64]) -> Result<f64> {
        unreachable!("a search applies no gradients")
    }
}

/// The distance of the two atoms decides the energy; answers one at a time, last first, and remembers its calls.
pub struct Spring {
    pub energy: fn(f64) -> f64,
    pub force: f64,
    pub calls: &'static Mutex<Vec<Structure>>,
    pub fuse: &'static Fuse,
}

impl Potential for Spring {
    fn name(&self) -> String {
        "spring".into()
    }

    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()> {
        for (k, structure) in structures.iter().enumerate().rev() {
            self.calls.lock().unwrap().push(structure.clone());
            self.fuse.burn();
            let (a, b) = (structure.positions[0], structure.positions[1]);
            let distance = (0..3).map(|x| (a[x] - b[x]).powi(2)).sum::<f64>().sqrt();
            let evaluation = Evaluation { energy: (self.energy)(distance), forces: vec![[self.force; 3]; 2] };
            deliver(vec![(k, Answer::Done(evaluation))])?;
        }
        Ok(())
    }
}

/// A run folder with its engine and its potential.
pub struct Bench {
    pub root: TempDir,
    pub settings: Settings,
    pub calls: &'static Mutex<Vec<Structure>>,
    pub heard: &'static Mutex<Heard>,
    pub energy: fn(f64) -> f64,
    /// Force along each axis on every atom.
    pub force: f64,
    pub diverges_at: Option<u64>,
    pub stop_at_target: bool,
    /// What the user reads.
    pub said: Said,
}

/// Text that a reporter has written.
#[derive(Clone, Default)]
pub struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Bench {
    pub fn new() -> Self {
        Bench::with("")
    }

    /// A search with these `sections` added to its configuration.
    pub fn with(sections: &str) -> Self {
        let root = TempDir::new().unwrap();
        let path = root.path().join("search.toml");
        std::fs::write(&path, format!("{CONFIG}{sections}")).unwrap();
        let settings = Settings::load(&path).unwrap();
        Bench {
            root,
            settings,
            calls: Box::leak(Box::default()),
            heard: Box::leak(Box::default()),
            energy: |distance| distance,
            force: 0.5,
            diverges_at: None,
            stop_at_target: false,
            said: Said::default(),
        }
    }

    pub fn folder(&self) -> std::path::PathBuf {
        self.root.path().join("run")
    }

    /// Starts or resumes the run; Ctrl-C comes after `steps`.
    pub fn run(&self, steps: usize) -> Result<Summary> {
        let fuse: &'static Fuse =
            Box::leak(Box::new(Fuse { steps_left: AtomicUsize::new(steps), interrupted: AtomicBool::new(false) }));
        let toml = self.settings.to_toml();
        let run = if self.folder().exists() {
            RunDirectory::extend(&self.folder(), &self.settings)?
        } else {
            let directory = RunDirectory::create(&self.folder(), &toml, &Summary::new(5, "toy"))?;
            Resumed { directory, seed: 5, checkpoint: None, notes: vec![] }
        };
        let reporter = Reporter::lines(self.said.clone());
        let state = first_model(&self.settings, &reporter);
        let system = self.settings.system.clone();
        let engine =
            Toy { system, state, basin_variance: None, diverges_at: self.diverges_at, heard: self.heard, fuse };
        let potential = Spring { energy: self.energy, force: self.force, calls: self.calls, fuse };
        let interrupted = &fuse.interrupted;
        let search = Search::new(&self.settings, Box::new(engine), Box::new(potential), run, &reporter, interrupted)?;
        search.stopping_at_target(self.stop_at_target).run(&|folder, _| minima::write(folder))
    }

    /// Everything that must not depend on interruptions: archive, metrics without times, best structure, model.
    pub fn results(&self) -> (Vec<Entry>, Vec<String>, Vec<u8>, ModelFile) {
        let archive = Archive::open(&self.folder().join("archive.db"), &self.settings.system).unwrap();
        let entries = (0..9).flat_map(|iteration| archive.entries(iteration).unwrap()).collect();
        let metrics = read_metrics(&self.folder().join("metrics.jsonl")).unwrap();
        let metrics = metrics
            .into_iter()
            .map(|line| format!("{:?}", IterationMetrics { seconds: PhaseSeconds::default(), ..line }));
        let best = std::fs::read(self.folder().join("best.xyz")).unwrap();
        let model = ModelFile::read(&self.folder().join("model.safetensors")).unwrap();
        (entries, metrics.collect(), best, model)
    }
}

pub const NEVER: usize = usize::MAX;

pub fn bench_from_placed_atoms() -> Bench {
    let mut bench = Bench::new();
    bench.settings.sections.search.first_samples = FirstSamples::Placed;
    bench
}

/// Three candidates for a sample, half of them hops.
pub fn screening_bench() -> Bench {
    Bench::with("[guidance]\nenergy_weight = 1.0\n[proposals]\nrelax_steps = 3\nhop_share = 0.5\nscreen = 3\n")
}
