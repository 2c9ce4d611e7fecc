//! Radius graph, scores, training step and reverse step of the CPU engine on the paper's two systems.
//!
//! `cargo bench --bench engine`; criterion prints the time of one call: a training step, or a reverse step of all structures.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use godiff::diffusion::{Sde, prior};
use godiff::engine::cpu::Cpu;
use godiff::engine::{
    Decay, Engine, FreePositions, ModelState, PlateauSchedule, RandomStream, ReverseSettings, Sampler, Setup, Storage,
    TrainingSet, TrainingSettings, Weighting,
};
use godiff::model::{Layout, ModelSizes, RadialBasis, initial_parameters};
use godiff::random::{Noise, Purpose};
use godiff::system::{ConfinementSpec, System, radius_graph, read_structure};
use std::path::Path;
use std::time::{Duration, Instant};

struct Case {
    name: &'static str,
    setup: Setup,
    n_samples: usize,
    n_buffer: usize,
}

fn case(name: &'static str, template: &str, free: &str, heights: [f64; 2], batch: usize, n_samples: usize) -> Case {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/structures").join(template);
    let template = read_structure(&path).expect("template");
    let system =
        System::new(Some(&template), free, Some(ConfinementSpec::AboveTemplate(heights)), None).expect("system");
    let sizes = ModelSizes { features: 64, blocks: 4, radial_functions: 30, cutoff_angstrom: 6.0, force_head: false };
    let setup = Setup {
        system,
        sizes,
        radial_basis: RadialBasis::even(30, 6.0),
        sde: Sde { sigma_min: 0.01, sigma_max: 1.0, rho: 1 },
        reverse: ReverseSettings { steps: 50, t_min: 0.005, score_scale: 1.0, basin_variance: None },
        training: TrainingSettings {
            batch,
            learning_rate: 1e-4,
            decay: Decay::NONE,
            weight_decay: 0.01,
            gradient_clip: 10.0,
            weighting: Weighting::Published,
            stop: None,
        },
        guidance: None,
        precision: Storage::F32,
    };
    Case { name, setup, n_samples, n_buffer: n_samples / 2 }
}

fn cases() -> [Case; 2] {
    [
        case("adatom", "pt-stepped.xyz", "Pt", [0.0, 4.0], 8, 32),
        case("heptamer", "pt111-6x6x2.xyz", "Pt7", [1.0, 6.0], 16, 128),
    ]
}

impl Case {
    fn engine(&self) -> Cpu<f32> {
        let mut engine = Cpu::new(&self.setup).expect("engine");
        let parameters = initial_parameters(&Layout::new(&self.setup.sizes), 0);
        let zeros = vec![0.0; parameters.len()];
        let state = ModelState {
            parameters,
            first_moment: zeros.clone(),
            second_moment: zeros,
            steps: 0,
            schedule: PlateauSchedule::new(1e-4),
        };
        engine.restore(&state).expect("state");
        engine
    }

    fn structures(&self, n: usize) -> Vec<FreePositions> {
        let noise = Noise::new(0, Purpose::Prior, 0);
        (0..n as u32).map(|s| prior(&self.setup.system, &noise, s)).collect()
    }
}

const STREAM: RandomStream = RandomStream { seed: 0, iteration: 0 };

fn training_step(c: &mut Criterion) {
    for case in cases() {
        let mut engine = case.engine();
        let set = TrainingSet {
            positions: case.structures(case.n_buffer),
            weights: vec![1.0; case.n_buffer],
            forces: None,
            targets: Default::default(),
        };
        c.bench_function(&format!("training_step/{}", case.name), |b| {
            b.iter_custom(|n| {
                let start = Instant::now();
                engine.train(STREAM, &set, n as usize, &mut |_| Ok(())).expect("training");
                start.elapsed()
            });
        });
    }
}

fn reverse_step(c: &mut Criterion) {
    for case in cases() {
        let mut engine = case.engine();
        let n_steps = case.setup.reverse.steps as u32;
        c.bench_function(&format!("reverse_step/{}", case.name), |b| {
            b.iter_custom(|n| {
                let mut total = Duration::ZERO;
                for _ in 0..n {
                    let start = Instant::now();
                    engine.sample(STREAM, 0..case.n_samples, Sampler::Plain, &mut |_| Ok(())).expect("samples");
                    total += start.elapsed() / n_steps;
                }
                total
            });
        });
    }
}

fn forward(c: &mut Criterion) {
    for case in cases() {
        let mut engine = case.engine();
        let structures = case.structures(case.setup.training.batch);
        let times = vec![0.5; structures.len()];
        c.bench_function(&format!("score/{}", case.name), |b| {
            b.iter(|| engine.score(&structures, &times).expect("scores"));
        });
    }
}

fn graph(c: &mut Criterion) {
    for case in cases() {
        let system = &case.setup.system;
        let structures = case.structures(1);
        let positions = system.structure(&structures[0]).positions;
        c.bench_function(&format!("radius_graph/{}", case.name), |b| {
            b.iter_batched(
                || positions.clone(),
                |positions| radius_graph(&system.cell, &positions, 6.0),
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(5));
    targets = graph, forward, training_step, reverse_step
}
criterion_main!(benches);
