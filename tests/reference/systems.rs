//! Small made-up systems, models and batches: every kind of cell, template and species list that the engine can meet.

use super::device::device;
use super::{assert_close, difference_within, fresh_state, largest, tolerance};
use godiff::diffusion::{Sde, prior};
use godiff::engine::cpu::Cpu;
use godiff::engine::cpu::simd::Real;
use godiff::engine::cuda::Cuda;
use godiff::engine::{
    Decay, Engine, FreePositions, GuidanceSettings, Loss, ModelState, NoisyBatch, RandomStream, ReverseSettings,
    Sampler, Setup, Storage, TrainingSet, TrainingSettings, Weighting,
};
use godiff::model::{Layout, ModelSizes, RadialBasis, initial_parameters};
use godiff::random::{Noise, Purpose, normal_pair};
use godiff::system::vector::sub;
use godiff::system::{Cell, Confinement, ConfinementSpec, Images, System, Vec3, read_structure};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::path::Path;

/// Seeded numbers.
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Random(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Uniform in (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        normal_pair(self.uniform(), self.uniform())[0]
    }

    /// Three standard normal numbers.
    pub fn vector(&mut self) -> Vec3 {
        [self.normal(), self.normal(), self.normal()]
    }

    /// One of 0..n.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.uniform() * n as f64) as usize).min(n - 1)
    }
}

/// Two layers of four atoms, two species, periodic in the plane; three free species above, confined.
pub fn slab() -> System {
    let (a, b, up) = ([5.6, 0.0, 0.0], [2.8, 4.85, 0.0], 2.3);
    let mut template_positions = Vec::new();
    for layer in 0..2 {
        for (u, v) in [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)] {
            let (u, v) = (u + f64::from(layer) / 6.0, v + f64::from(layer) / 6.0);
            template_positions.push([u * a[0] + v * b[0], u * a[1] + v * b[1], f64::from(layer) * up]);
        }
    }
    System {
        cell: Cell { vectors: [a, b, [0.0, 0.0, 15.0]], periodic: [true, true, false] },
        template_numbers: vec![78, 29, 78, 78, 78, 78, 29, 78],
        template_positions,
        free_numbers: vec![78, 8, 78, 79],
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: Some(Confinement { z_lo: 2.8, z_hi: 6.0 }),
    }
}

/// [`slab`] with two mobile atoms of different species; one of them lies at the cell's edge and below.
pub fn mobile_slab() -> System {
    let mut slab = slab();
    slab.template_positions[6] = [-0.2, 0.1, 2.3];
    slab.with_mobile(&[4, 6], 0.3).unwrap()
}

/// A free cluster: no template, no cell.
pub fn cluster() -> System {
    System {
        cell: Cell::NONE,
        template_numbers: vec![],
        template_positions: vec![],
        free_numbers: vec![13, 79, 13, 6, 13],
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    }
}

/// A skewed left-handed bulk cell thinner than the cutoff: every atom sees images of itself.
pub fn thin_bulk() -> System {
    System {
        cell: Cell { vectors: [[2.5, 0.0, 0.0], [0.7, 2.9, 0.0], [-0.4, 0.6, -3.3]], periodic: [true; 3] },
        template_numbers: vec![],
        template_positions: vec![],
        free_numbers: vec![22, 8, 22],
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    }
}

/// A template of three atoms in a cell that repeats along a and c alone and is thinner than the cutoff along a; no
/// confinement.
pub fn channel() -> System {
    System {
        cell: Cell { vectors: [[3.1, 0.2, 0.0], [0.0, 9.0, 0.5], [0.3, 0.0, 6.0]], periodic: [true, false, true] },
        template_numbers: vec![46, 1, 46],
        template_positions: vec![[0.1, 0.2, 0.3], [1.7, 1.1, 2.9], [-0.8, 2.4, 4.6]],
        free_numbers: vec![46, 1, 1],
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    }
}

/// One Pt atom on the stepped Pt surface of the paper's first task, 0 to 4 Å above its top.
pub fn stepped_adatom() -> System {
    from_template("pt-stepped.xyz", "Pt", [0.0, 4.0])
}

/// Seven Pt atoms on the 72 atoms of Pt(111), 1 to 6 Å above its top: the paper's second task.
pub fn heptamer() -> System {
    from_template("pt111-6x6x2.xyz", "Pt7", [1.0, 6.0])
}

fn from_template(name: &str, free: &str, heights: [f64; 2]) -> System {
    // Where the tests were carried to another machine, they run beside `configs`.
    let folders = [Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(".")].map(|root| root.join("configs/structures"));
    let folder = folders.iter().find(|folder| folder.is_dir()).expect("the repository's structures");
    let template = read_structure(&folder.join(name)).expect("a template of the repository");
    System::new(Some(&template), free, Some(ConfinementSpec::AboveTemplate(heights)), None).expect("a sound system")
}

/// `system` with every template atom moved by normal noise of `spread` Å, so that no two distances are equal.
pub fn rattled(mut system: System, spread: f64, seed: u64) -> System {
    let mut random = Random::new(seed);
    for x in &mut system.template_positions {
        let noise = random.vector();
        *x = std::array::from_fn(|d| x[d] + spread * noise[d]);
    }
    system
}

/// F, L, K of a test model.
pub type Shape = [usize; 3];

/// A system and what it is called in messages.
pub type Named = (&'static str, fn() -> System);

/// A model of `shape` with both heads and a cutoff of 4 Å on `system`.
pub fn setup(system: System, [features, blocks, radial_functions]: Shape) -> Setup {
    Setup {
        system,
        sizes: ModelSizes { features, blocks, radial_functions, cutoff_angstrom: 4.0, force_head: true },
        radial_basis: RadialBasis::even(radial_functions, 4.0),
        sde: Sde::default(),
        reverse: ReverseSettings { steps: 20, t_min: 0.005, score_scale: 1.0, basin_variance: None },
        training: TrainingSettings {
            batch: 4,
            learning_rate: 1e-3,
            decay: Decay::NONE,
            weight_decay: 0.01,
            gradient_clip: 10.0,
            weighting: Weighting::Dsm,
            stop: None,
        },
        guidance: Some(GuidanceSettings::default()),
        precision: Storage::F32,
    }
}

/// Random parameters, biases too, and a fresh optimiser. Exact in f32, so that both precisions start alike.
pub fn random_state(setup: &Setup, seed: u64) -> ModelState {
    let layout = Layout::new(&setup.sizes);
    let mut parameters = initial_parameters(&layout, seed);
    let mut random = Random::new(seed);
    for tensor in layout.tensors.iter().filter(|tensor| tensor.name.ends_with("bias")) {
        parameters[tensor.range()].iter_mut().for_each(|b| *b = f64::from((0.2 * random.normal()) as f32));
    }
    fresh_state(parameters, setup)
}

/// An engine on `setup` with [`random_state`].
pub fn random_engine<T: Real>(setup: &Setup, seed: u64) -> Cpu<T> {
    let mut engine = Cpu::new(setup).expect("an engine");
    engine.restore(&random_state(setup, seed)).expect("its state");
    engine
}

/// A GPU engine on `setup` with [`random_state`], on the device under test.
pub fn random_cuda(setup: &Setup, seed: u64) -> Cuda {
    let mut engine = Cuda::new(&device(), setup).expect("an engine");
    engine.restore(&random_state(setup, seed)).expect("its state");
    engine
}

/// Trains for eight steps with a learning rate that falls to a fifth, on the engine that `open` gives with random parameters. What no
/// atom uses, such as the embedding of uranium, feels AdamW's decay alone, 1 − rate·decay a step, and so tells the rates.
pub fn the_rate_falls<E: Engine>(open: impl Fn(&Setup) -> E, stream: RandomStream) {
    const STEPS: usize = 8;
    let mut setup = setup(channel(), [6, 2, 4]);
    setup.training.weight_decay = 50.0;
    setup.training.decay = Decay { last: 0.2 };
    let rate = setup.training.learning_rate;
    let set = TrainingSet {
        positions: prior_structures(&setup.system, 6, 3),
        weights: vec![1.0; 6],
        forces: None,
        targets: Default::default(),
    };
    let mut engine = open(&setup);
    let embedding = Layout::new(&setup.sizes).find("representation.embedding.weight").unwrap().offset;
    let uranium = |engine: &E| engine.state().unwrap().parameters[embedding + 92 * 6..][..6].to_vec();
    let before = uranium(&engine);
    let report = engine.train(stream, &set, STEPS, &mut |_| Ok(())).unwrap();
    let share = |step: f64| 0.2 + 0.8 * 0.5 * (1.0 + (std::f64::consts::PI * step / STEPS as f64).cos());
    let left: f64 = (0..STEPS).map(|step| 1.0 - 50.0 * rate * share(step as f64)).product();
    for (after, before) in uranium(&engine).iter().zip(before) {
        assert!(before != 0.0 && (after / before / left - 1.0).abs() < 2e-6, "{} is left, not {left}", after / before);
    }
    assert!((report.learning_rate / (0.2 * rate) - 1.0).abs() < 1e-12, "{}", report.learning_rate);
}

/// Trains a model of 16 features and two blocks on one site of the stepped surface, set up as `change` leaves it, on the engine
/// that `open` gives with random parameters: the loss falls below three quarters, and of `n_samples` structures the median atom ends
/// within `within` (Å) of the site or its equal, half a lattice vector along b, where it was more than 2 Å away before.
pub fn learns_a_site<E: Engine>(
    change: impl Fn(&mut Setup),
    open: impl Fn(&Setup) -> E,
    stream: RandomStream,
    n_samples: usize,
    within: f64,
) {
    let mut setup = setup(stepped_adatom(), [16, 2, 16]);
    setup.sizes.cutoff_angstrom = 5.0;
    setup.radial_basis = RadialBasis::even(16, 5.0);
    setup.training.batch = 8;
    setup.training.learning_rate = 3e-3;
    setup.reverse.steps = 100;
    change(&mut setup);
    let height = setup.system.confinement.unwrap().z_lo + 0.463;
    let sites = [0.3821, 0.8821].map(|v| {
        let [x, y, _] = setup.system.cell.cartesian([0.2358, v, 0.0]);
        [x, y, height]
    });
    let set = TrainingSet {
        positions: vec![vec![sites[0]]; 8],
        weights: vec![1.0; 8],
        forces: None,
        targets: Default::default(),
    };
    let mut engine = open(&setup);
    let distance = |engine: &mut E| {
        let samples = engine.sample(stream, 0..n_samples, Sampler::Plain, &mut |_| Ok(())).unwrap();
        median_distance(&setup.system, &samples, &sites)
    };
    let before = distance(&mut engine);
    let losses: Vec<f64> = (0..9)
        .map(|k| engine.train(RandomStream { iteration: k, ..stream }, &set, 100, &mut |_| Ok(())).unwrap().loss)
        .collect();
    let after = distance(&mut engine);
    assert!(losses[8] < 0.75 * losses[0], "losses {losses:?}");
    assert!(before > 2.0 && after < within, "median distance {before} Å before training, {after} Å after");
}

/// Median distance (Å) of the samples' atoms to the nearest of `sites`, periodic images counted.
fn median_distance(system: &System, samples: &[FreePositions], sites: &[Vec3]) -> f64 {
    let images = Images::new(&system.cell);
    let mut distances: Vec<f64> = samples
        .iter()
        .flatten()
        .map(|&x| sites.iter().map(|&s| images.nearest(sub(s, x)).squared.sqrt()).fold(f64::INFINITY, f64::min))
        .collect();
    distances.sort_by(f64::total_cmp);
    distances[distances.len() / 2]
}

/// The first `n` structures of the prior.
pub fn prior_structures(system: &System, n: u32, seed: u64) -> Vec<FreePositions> {
    let noise = Noise::new(seed, Purpose::Prior, 0);
    (0..n).map(|s| prior(system, &noise, s)).collect()
}

/// `n` structures of the prior with random times, noise and weights.
pub fn random_batch(system: &System, n: u32, seed: u64) -> NoisyBatch {
    let mut random = Random::new(seed);
    NoisyBatch {
        positions: prior_structures(system, n, seed),
        times: (0..n).map(|_| 0.05 + 0.9 * random.uniform()).collect(),
        noise: random_vectors(system, n, seed + 1),
        weights: (0..n).map(|_| 0.2 + random.uniform()).collect(),
    }
}

/// Normal vectors, `n` × free atoms × 3.
pub fn random_vectors(system: &System, n: u32, seed: u64) -> Vec<Vec<Vec3>> {
    let mut random = Random::new(seed);
    (0..n).map(|_| (0..system.n_free()).map(|_| random.vector()).collect()).collect()
}

/// The losses of the diagnostic verb, those of the force head with random targets for `n` structures.
pub fn all_losses(system: &System, n: u32, seed: u64) -> [(&'static str, Loss); 5] {
    let mut random = Random::new(seed + 7);
    let labels = (0..n).map(|_| 0.3 * random.uniform()).collect();
    [
        ("dsm", Loss::Score(Weighting::Dsm)),
        ("published", Loss::Score(Weighting::Published)),
        ("force", Loss::Force(random_vectors(system, n, seed))),
        // Some residuals lie below δ and some above.
        ("force", Loss::Huber { target: random_vectors(system, n, seed), delta: 1.0 }),
        ("force", Loss::Readout { target: random_vectors(system, n, seed), delta: 1.0, labels, weight: 3.0 }),
    ]
}

/// The same structures as one without template: every atom free, no confinement.
pub fn all_free(system: &System) -> System {
    System {
        cell: system.cell,
        template_numbers: vec![],
        template_positions: vec![],
        free_numbers: system.numbers(),
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    }
}

/// Free positions of [`all_free`] that equal `positions`.
pub fn whole_structures(system: &System, positions: &[FreePositions]) -> Vec<FreePositions> {
    positions.iter().map(|free| [&system.template_positions[..], free].concat()).collect()
}

/// Every structure of a batch with its loss alone.
pub fn single_structures(batch: &NoisyBatch, loss: &Loss) -> Vec<(NoisyBatch, Loss)> {
    (0..batch.positions.len())
        .map(|s| {
            let single = NoisyBatch {
                positions: vec![batch.positions[s].clone()],
                times: vec![batch.times[s]],
                noise: vec![batch.noise[s].clone()],
                weights: vec![batch.weights[s]],
            };
            let loss = match loss {
                Loss::Force(target) => Loss::Force(vec![target[s].clone()]),
                Loss::Huber { target, delta } => Loss::Huber { target: vec![target[s].clone()], delta: *delta },
                Loss::Readout { target, delta, labels, weight } => Loss::Readout {
                    target: vec![target[s].clone()],
                    delta: *delta,
                    labels: vec![labels[s]],
                    weight: *weight,
                },
                score => score.clone(),
            };
            (single, loss)
        })
        .collect()
}

/// Mean magnitude of the gradients that the structures of a batch have alone. Random noise makes them cancel, and rounding stays
/// behind: errors of their sum are measured by this.
pub fn gradient_magnitude(oracle: &mut Cpu<f64>, batch: &NoisyBatch, loss: &Loss) -> Vec<f64> {
    let singles = single_structures(batch, loss);
    let mut magnitude = Vec::new();
    for (single, loss) in &singles {
        let gradient = oracle.loss_and_gradient(single, loss).expect("f64").gradient;
        magnitude.resize(gradient.len(), 0.0);
        magnitude.iter_mut().zip(&gradient).for_each(|(sum, g)| *sum += g.abs() / singles.len() as f64);
    }
    magnitude
}

/// Asserts that `engine`, which computes in f32 from [`random_state`] of `seed`, finds loss and gradient of the f64 oracle, tensor by
/// tensor, relative to [`gradient_magnitude`].
pub fn assert_follows(what: &str, engine: &mut dyn Engine, setup: &Setup, seed: u64, batch: &NoisyBatch, loss: &Loss) {
    let found = engine.loss_and_gradient(batch, loss).expect("f32");
    let mut oracle = random_engine::<f64>(setup, seed);
    let expected = oracle.loss_and_gradient(batch, loss).expect("f64");
    assert_close(&format!("{what}: loss"), &[found.loss], &[expected.loss], tolerance::F32);
    let magnitude = gradient_magnitude(&mut oracle, batch, loss);
    for tensor in &Layout::new(&setup.sizes).tensors {
        let bound = tolerance::F32 * largest(&magnitude[tensor.range()]);
        let wrong = difference_within(&found.gradient[tensor.range()], &expected.gradient[tensor.range()], bound);
        if let Some(wrong) = wrong {
            panic!("{what}: {}: {wrong}", tensor.name);
        }
    }
}

/// [`assert_follows`] for the CPU engine.
pub fn assert_narrow_follows(what: &str, setup: &Setup, seed: u64, batch: &NoisyBatch, loss: &Loss) {
    assert_follows(what, &mut random_engine::<f32>(setup, seed), setup, seed, batch, loss);
}
