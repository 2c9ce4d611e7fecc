//! Guidance on the GPU engine: its corrector against the plain one, guided sampling and joint training against the CPU engine in f64.
//!
//! On `GODIFF_TEST_DEVICE`; without it on the emulator.
#![cfg(feature = "emulator")]

mod reference;

use godiff::diffusion::{Corrector, ReverseSchedule, corrector_strength};
use godiff::engine::cuda::Cuda;
use godiff::engine::cuda::corrector::Correctors;
use godiff::engine::{
    Engine, ForceSet, FreePositions, GuidanceSettings, ModelState, RandomStream, Sampler, Setup, TrainingReport,
    TrainingSet,
};
use godiff::gpu::{self, Device};
use godiff::model::RadialBasis;
use godiff::system::vector::{add, norm, scale, sub};
use godiff::system::{System, Vec3, radius_graph};
use reference::device::{device, device_names};
use reference::systems::{
    Named, Random, all_free, channel, cluster, heptamer, mobile_slab, prior_structures, random_cuda, random_engine,
    random_state, random_vectors, setup, slab, thin_bulk,
};
use reference::{assert_close, difference_within, flat, tolerance};
use std::ops::Range;

const STREAM: RandomStream = RandomStream { seed: 21, iteration: 4 };

const SYSTEMS: [Named; 5] = [
    ("slab", slab),
    ("mobile slab", mobile_slab),
    ("cluster", cluster),
    ("thin bulk", thin_bulk),
    ("channel", channel),
];

/// The devices under test.
fn devices() -> Vec<Device> {
    device_names().iter().map(|name| Device::open(name).expect("a device")).collect()
}

fn guided(system: System, guidance: GuidanceSettings) -> Setup {
    Setup { guidance: Some(guidance), ..setup(system, [16, 2, 8]) }
}

fn cuda(setup: &Setup) -> Cuda {
    random_cuda(setup, 2)
}

/// Rough ground: hills and valleys, and forces that no energy has, so that curvatures of both signs are met.
fn forces_at(positions: &[Vec3], random: &mut Random) -> Vec<Vec3> {
    let pull = |x: &Vec3| -> Vec3 { std::array::from_fn(|d| 1.5 * (x[d] + x[(d + 1) % 3]).sin() - 0.3 * x[d]) };
    positions.iter().map(|x| add(pull(x), scale(0.3, random.vector())).map(|f| f64::from(f as f32))).collect()
}

/// Seventy-nine free atoms: more than two warps of them.
fn many_free() -> System {
    all_free(&heptamer())
}

/// Call by call, from the same positions, with moves in between as the reverse process makes them, over boundaries too.
#[test]
fn correctors_equal_those_of_the_cpu() {
    let (n, n_steps, history) = (5, 15, 4);
    let (mut n_wraps, mut n_bounds) = (0, 0);
    for (name, system) in SYSTEMS.into_iter().chain([("heptamer", heptamer as fn() -> System), ("many", many_free)]) {
        let guidance = GuidanceSettings { eta: 2.0, zeta: 1.0, history, ..Default::default() };
        let mut setup = guided(system(), guidance);
        setup.reverse.steps = n_steps;
        let (system, n_free) = (&setup.system, setup.system.n_free());
        let schedule = ReverseSchedule::new(n_steps, setup.reverse.t_min).unwrap();
        for device in devices() {
            let stream = device.stream().unwrap();
            let correctors = Correctors::new(&stream, &setup, &guidance, n).unwrap();
            let positions = stream.zeros::<f64>(3 * n * n_free).unwrap();
            let mut random = Random::new(5);
            let mut expected = prior_structures(system, n as u32, 3);
            let mut oracles = vec![Corrector::default(); n];
            for k in 0..n_steps {
                let mut forces = Vec::new();
                for structure in &mut expected {
                    for (atom, x) in structure.iter_mut().enumerate() {
                        *x = add(*x, scale(0.1, random.vector()));
                        if !system.is_free_cluster() {
                            *x = system.wrap(atom, *x);
                        }
                    }
                    forces.push(forces_at(structure, &mut random));
                }
                stream.write(&positions, 0, &flat(&expected)).unwrap();
                let narrow: Vec<f32> = flat(&forces).iter().map(|&f| f as f32).collect();
                correctors.step(&stream, n, &positions, &stream.upload(&narrow).unwrap()).unwrap();

                let strength = corrector_strength(&guidance.corrector(), schedule.time(k));
                for ((structure, oracle), forces) in expected.iter_mut().zip(&mut oracles).zip(&forces) {
                    let before = structure.clone();
                    oracle.correct(system, &guidance.corrector(), strength, structure, forces);
                    n_wraps += before.iter().zip(&*structure).filter(|&(&a, &b)| norm(sub(a, b)) > 1.0).count();
                    let bounds = system.confinement.map(|heights| [heights.z_lo, heights.z_hi]);
                    n_bounds += structure.iter().filter(|x| bounds.is_some_and(|z| z.contains(&x[2]))).count();
                }
                let found = stream.read(&positions).unwrap();
                if let Some(wrong) = difference_within(&found, &flat(&expected), 1e-9) {
                    panic!("{name}, call {k}: {wrong}");
                }
            }
            // After the last step nothing moves.
            let done = stream.read(&positions).unwrap();
            let forces = stream.upload(&vec![1.0; 3 * n * n_free]).unwrap();
            correctors.step(&stream, n, &positions, &forces).unwrap();
            assert_eq!(stream.read(&positions).unwrap(), done, "{name}");
        }
    }
    assert!(n_wraps > 20 && n_bounds > 20, "{n_wraps} wraps and {n_bounds} atoms at a bound prove little");
}

/// No force, no move; forces that are no numbers pass through, as on the CPU.
#[test]
fn odd_forces() {
    let guidance = GuidanceSettings { eta: 1.0, zeta: 0.0, history: 0, ..Default::default() };
    let setup = guided(slab(), guidance);
    let stream = device().stream().unwrap();
    for bad in [0.0, f32::NAN, f32::INFINITY, 1e38] {
        let correctors = Correctors::new(&stream, &setup, &guidance, 1).unwrap();
        let mut expected = prior_structures(&setup.system, 1, 3).remove(0);
        let positions = stream.upload(&expected.concat()).unwrap();
        let mut oracle = Corrector::default();
        for _ in 0..3 {
            let mut forces = vec![0.0; 3 * expected.len()];
            forces[4] = bad;
            correctors.step(&stream, 1, &positions, &stream.upload(&forces).unwrap()).unwrap();
            let wide: Vec<Vec3> = forces.as_chunks::<3>().0.iter().map(|f| f.map(f64::from)).collect();
            oracle.correct(&setup.system, &guidance.corrector(), 1.0, &mut expected, &wide);
        }
        for (k, (x, y)) in stream.read(&positions).unwrap().iter().zip(expected.concat()).enumerate() {
            assert!((x - y).abs() < 1e-12 || (x.is_nan() && y.is_nan()), "{bad}: {x} for {y} at {k}");
        }
    }
}

/// Captured calls replay, go back to where they were saved, and do not depend on who else is corrected.
#[test]
fn captured_correctors_and_rewinding() {
    let guidance = GuidanceSettings { history: 3, eta: 1.0, zeta: 0.5, ..Default::default() };
    let setup = guided(slab(), guidance);
    let start = prior_structures(&setup.system, 4, 3);
    // Other forces in every call, so that there is something to remember.
    let forces: [Vec<f32>; 4] =
        [9, 10, 11, 12].map(|seed| flat(&random_vectors(&setup.system, 4, seed)).iter().map(|&f| f as f32).collect());
    let opened = |n: usize| -> (gpu::Stream, Correctors) {
        let stream = device().stream().unwrap();
        let correctors = Correctors::new(&stream, &setup, &guidance, n).unwrap();
        (stream, correctors)
    };
    let (stream, correctors) = opened(4);
    let positions = stream.upload(&flat(&start)).unwrap();
    let uploaded = forces.each_ref().map(|forces| stream.upload(forces).unwrap());
    let four_steps = || uploaded.iter().try_for_each(|forces| correctors.step(&stream, 4, &positions, forces));
    (0..2).for_each(|_| four_steps().unwrap());
    let expected = stream.read(&positions).unwrap();

    stream.write(&positions, 0, &flat(&start)).unwrap();
    correctors.reset(&stream).unwrap();
    let saved = stream.zeros::<f64>(positions.len()).unwrap();
    let graph = stream
        .capture(|| {
            correctors.save(&stream)?;
            stream.copy(&positions, &saved)?;
            four_steps()
        })
        .unwrap();
    (0..2).for_each(|_| stream.replay(&graph).unwrap());
    assert_eq!(stream.read(&positions).unwrap(), expected);
    correctors.rewind(&stream).unwrap();
    stream.copy(&saved, &positions).unwrap();
    stream.replay(&graph).unwrap();
    assert_eq!(stream.read(&positions).unwrap(), expected);

    let n_coordinates = expected.len() / 4;
    let (stream, correctors) = opened(2);
    let positions = stream.upload(&flat(&start[1..3])).unwrap();
    for forces in forces.iter().chain(&forces) {
        let forces = stream.upload(&forces[n_coordinates..3 * n_coordinates]).unwrap();
        correctors.step(&stream, 2, &positions, &forces).unwrap();
    }
    assert_eq!(stream.read(&positions).unwrap(), expected[n_coordinates..3 * n_coordinates]);
}

fn sample(engine: &mut impl Engine, range: Range<usize>, sampler: Sampler) -> Vec<FreePositions> {
    engine.sample(STREAM, range, sampler, &mut |_| Ok(())).unwrap()
}

/// f32 scores and forces are all that differs: what is left of it after eight steps, Å. The corrector moves atoms by a thousand
/// times as much.
const AFTER_EIGHT_STEPS: f64 = 1e-5;

#[test]
fn guided_samples_follow_the_cpu() {
    for (name, system) in SYSTEMS {
        let mut setup = guided(system(), GuidanceSettings { eta: 1.0, zeta: 1.0, history: 3, ..Default::default() });
        setup.reverse.steps = 8;
        let expected = sample(&mut random_engine::<f64>(&setup, 2), 5..8, Sampler::Guided);
        let mut engine = cuda(&setup);
        // A plain call first: its room has no correctors yet.
        let plain = sample(&mut engine, 5..8, Sampler::Plain);
        let found = sample(&mut engine, 5..8, Sampler::Guided);
        let apart = |a: &[FreePositions], b: &[FreePositions]| -> f64 {
            let difference = |(&x, &y): (&Vec3, &Vec3)| {
                let way = sub(x, y);
                norm(if setup.system.cell.periodic.contains(&true) {
                    setup.system.cell.minimum_image(way)
                } else {
                    way
                })
            };
            a.iter().flatten().zip(b.iter().flatten()).map(difference).fold(0.0, f64::max)
        };
        assert!(apart(&found, &expected) < AFTER_EIGHT_STEPS, "{name}: {} Å", apart(&found, &expected));
        assert!(apart(&found, &plain) > 1000.0 * AFTER_EIGHT_STEPS, "{name}: the corrector must matter");
        assert_eq!(sample(&mut engine, 5..8, Sampler::Plain), plain, "{name}: plain again");
    }
}

/// Many launches of captured steps: a structure depends on its index alone, bit for bit.
#[test]
fn guided_batches_do_not_matter() {
    for (name, system) in [SYSTEMS[0], SYSTEMS[1]] {
        let mut setup = Setup { guidance: Some(GuidanceSettings::default()), ..setup(system(), [8, 1, 4]) };
        setup.reverse.steps = 60;
        let mut engine = cuda(&setup);
        let whole = sample(&mut engine, 0..5, Sampler::Guided);
        let parts: Vec<FreePositions> =
            [0..1, 1..3, 3..5].into_iter().flat_map(|range| sample(&mut engine, range, Sampler::Guided)).collect();
        assert_eq!(whole, parts, "{name}");
        assert_eq!(whole, sample(&mut cuda(&setup), 0..5, Sampler::Guided), "{name}");
    }
}

/// A crowded cell has more pairs than rooms are made for at first.
fn crowded() -> Setup {
    let mut setup = guided(thin_bulk(), GuidanceSettings::default());
    setup.sizes.cutoff_angstrom = 7.0;
    setup.radial_basis = RadialBasis::even(setup.sizes.radial_functions, 7.0);
    let system = &setup.system;
    let n_pairs = radius_graph(&system.cell, &prior_structures(system, 1, 1)[0], 7.0).len() / 2;
    assert!(n_pairs > 32 * system.n_free(), "{n_pairs} pairs fit");
    setup
}

/// The second call finds room enough; both give the same, which is what the CPU gives.
#[test]
fn growth_under_guidance() {
    let mut setup = crowded();
    setup.reverse.steps = 8;
    let mut engine = cuda(&setup);
    let grown = sample(&mut engine, 0..3, Sampler::Guided);
    assert_eq!(sample(&mut engine, 0..3, Sampler::Guided), grown);
    let expected = sample(&mut random_engine::<f64>(&setup, 2), 0..3, Sampler::Guided);
    // Sums over hundreds of neighbours: `Cpu<f32>` is as far off.
    assert_close("crowded", &flat(&grown), &flat(&expected), 10.0 * AFTER_EIGHT_STEPS);
}

fn training_set(system: &System) -> TrainingSet {
    let (positions, forces) = (prior_structures(system, 9, 8), random_vectors(system, 9, 9));
    let forces = ForceSet { positions, forces, labels: vec![] };
    TrainingSet {
        positions: prior_structures(system, 6, 3),
        weights: vec![0.4, 1.3, 0.9, 1.1, 1.6, 0.7],
        forces: Some(forces),
        targets: Default::default(),
    }
}

fn train(engine: &mut impl Engine, set: &TrainingSet, steps: usize) -> (TrainingReport, ModelState) {
    let report = engine.train(STREAM, set, steps, &mut |_| Ok(())).unwrap();
    (report, engine.state().unwrap())
}

/// Losses, the gradient of the first step (a tenth of it is the first moment), and parameters after six, of which every second
/// has fewer noisy structures than the batch.
#[test]
fn joint_training_follows_the_cpu() {
    let uncrowded = SYSTEMS.map(|(name, system)| {
        let guidance = GuidanceSettings { force_weight: 0.7, huber_delta_ev_per_angstrom: 0.4, ..Default::default() };
        (name, guided(system(), guidance))
    });
    for (name, mut setup) in uncrowded.into_iter().chain([("crowded", crowded())]) {
        setup.training.gradient_clip = 1e9;
        let set = training_set(&setup.system);
        let (one, narrow) = train(&mut cuda(&setup), &set, 1);
        let (one_wide, wide) = train(&mut random_engine::<f64>(&setup, 2), &set, 1);
        let both = |report: TrainingReport| [report.loss, report.force_loss.expect("a force loss")];
        assert_close(name, &both(one), &both(one_wide), tolerance::F32);
        assert_close(name, &narrow.first_moment, &wide.first_moment, tolerance::F32);

        let (six, narrow) = train(&mut cuda(&setup), &set, 6);
        let (six_wide, wide) = train(&mut random_engine::<f64>(&setup, 2), &set, 6);
        assert_close(name, &both(six), &both(six_wide), tolerance::F32);
        let rate = setup.training.learning_rate;
        let wrong = difference_within(&narrow.parameters, &wide.parameters, tolerance::ADAMW_OF_RATE * rate);
        assert_eq!(wrong, None, "{name}");
        assert_eq!(six.learning_rate, six_wide.learning_rate);
    }
}

/// With labels, a step's gradient contains the readout's, and the readout of the trained model is the CPU's.
#[test]
fn energies_are_learned_as_on_the_cpu() {
    for (name, system) in SYSTEMS {
        let guidance = GuidanceSettings { energy_weight: 2.5, force_weight: 0.7, ..Default::default() };
        let mut setup = guided(system(), guidance);
        setup.training.gradient_clip = 1e9;
        let mut set = training_set(&setup.system);
        set.forces.as_mut().unwrap().labels = (0..9).map(|k| 0.1 * f64::from(k) - 0.2).collect();
        let mut oracle = random_engine::<f64>(&setup, 2);
        let (one, narrow) = train(&mut cuda(&setup), &set, 1);
        let (one_wide, wide) = train(&mut oracle, &set, 1);
        assert_close(name, &[one.force_loss.unwrap()], &[one_wide.force_loss.unwrap()], tolerance::F32);
        assert_close(name, &narrow.first_moment, &wide.first_moment, tolerance::F32);
        let mut engine = cuda(&setup);
        engine.restore(&wide).unwrap();
        let at = prior_structures(&setup.system, 5, 4);
        let (found, expected) = (engine.readout(&at).unwrap().unwrap(), oracle.readout(&at).unwrap().unwrap());
        assert_close(name, &found, &expected, tolerance::F32);
        assert!(expected.iter().all(|readout| readout.abs() > 1e-3), "{name}: {expected:?}");
        set.forces.as_mut().unwrap().labels.pop();
        let error = engine.train(STREAM, &set, 1, &mut |_| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "the readout learns from 9 labels, but the set has 8");
    }
}

/// With and without forces in turn, on one engine: each call is as on a fresh one, bit for bit.
#[test]
fn joint_training_is_reproducible() {
    let setup = Setup { guidance: Some(GuidanceSettings::default()), ..setup(slab(), [8, 1, 4]) };
    let joint = training_set(&setup.system);
    let alone = TrainingSet { forces: None, ..joint.clone() };
    let mut engine = cuda(&setup);
    for set in [&joint, &alone, &joint] {
        engine.restore(&random_state(&setup, 2)).unwrap();
        let again = train(&mut engine, set, 3);
        assert_eq!(again, train(&mut cuda(&setup), set, 3));
        assert_eq!(again.0.force_loss.is_some(), set.forces.is_some());
    }
}

#[test]
fn guidance_without_its_needs_is_refused() {
    let without = Setup { guidance: None, ..guided(slab(), GuidanceSettings::default()) };
    let mut engine = cuda(&without);
    let error = engine.sample(STREAM, 0..1, Sampler::Guided, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert_eq!(error.to_string(), "sampling needs guidance, but the engine was opened without it");
    let error = engine.train(STREAM, &training_set(&without.system), 1, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert_eq!(error.to_string(), "training on forces needs guidance, but the engine was opened without it");

    let long = GuidanceSettings { history: 1_000_000, ..Default::default() };
    let error = cuda(&guided(slab(), long)).sample(STREAM, 0..1, Sampler::Guided, &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("lower guidance.history or use --device cpu"), "{error}");
    assert_eq!(error.exit_code(), 2);
}
