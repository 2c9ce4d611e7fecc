//! The GPU engine as a whole against the CPU engine: every loss and gradient, training, sampling, growth, determinism.
#![cfg(feature = "emulator")]

mod reference;

use godiff::engine::cpu::Cpu;
use godiff::engine::cuda::Cuda;
use godiff::engine::{Engine, FreePositions, ModelState, RandomStream, Sampler, Setup, TrainingSet, Weighting};
use godiff::error::{Error, Result};
use godiff::gpu::Device;
use godiff::system::System;
use reference::device::device;
use reference::systems::{
    Named, all_losses, assert_follows, channel, cluster, heptamer, mobile_slab, prior_structures, random_batch,
    random_cuda, random_engine, random_state, rattled, setup, slab, stepped_adatom, the_rate_falls, thin_bulk,
};
use reference::{assert_close, difference_within, flat, tolerance};

const STREAM: RandomStream = RandomStream { seed: 5, iteration: 2 };

fn quiet(_: usize) -> Result<()> {
    Ok(())
}

/// Every kind of cell and template, with models of one, two and three blocks and widths that are no multiples of 4.
const SYSTEMS: [Named; 7] = [
    ("slab", slab),
    ("mobile slab", mobile_slab),
    ("relaxed slab", || rattled(slab(), 0.05, 3)),
    ("cluster", cluster),
    ("thin bulk", thin_bulk),
    ("channel", channel),
    ("stepped", stepped_adatom),
];
const SHAPES: [[usize; 3]; 4] = [[16, 2, 8], [7, 3, 5], [12, 1, 9], [5, 1, 3]];

fn each(check: impl Fn(&str, Setup)) {
    for (name, system) in SYSTEMS {
        for shape in SHAPES {
            check(&format!("{name} {shape:?}"), setup(system(), shape));
        }
    }
}

#[test]
fn outputs_follow_the_cpu() {
    each(|what, setup| {
        let positions = prior_structures(&setup.system, 3, 8);
        let times = [0.01, 0.5, 1.0];
        let (mut found, mut expected) = (random_cuda(&setup, 4), random_engine::<f64>(&setup, 4));
        let scores = expected.score(&positions, &times).unwrap();
        assert_close(&format!("{what}: score"), &flat(&found.score(&positions, &times).unwrap()), &flat(&scores), 2e-5);
        let forces = expected.forces(&positions).unwrap().unwrap();
        assert_close(
            &format!("{what}: forces"),
            &flat(&found.forces(&positions).unwrap().unwrap()),
            &flat(&forces),
            2e-5,
        );
    });
}

#[test]
fn gradients_follow_the_cpu() {
    each(|what, setup| {
        let batch = random_batch(&setup.system, 3, 6);
        let mut engine = random_cuda(&setup, 4);
        for (kind, loss) in all_losses(&setup.system, 3, 9) {
            assert_follows(&format!("{what}: {kind}"), &mut engine, &setup, 4, &batch, &loss);
        }
    });
}

fn training_set(setup: &Setup, n: u32) -> TrainingSet {
    let weights = (0..n).map(|k| 0.5 + f64::from(k) / f64::from(n)).collect();
    TrainingSet { positions: prior_structures(&setup.system, n, 7), weights, forces: None, targets: Default::default() }
}

fn trained(engine: &mut dyn Engine, set: &TrainingSet, steps: usize) -> (f64, ModelState) {
    let report = engine.train(STREAM, set, steps, &mut quiet).unwrap();
    (report.loss, engine.state().unwrap())
}

/// Steps on the same batches with the same noise: the parameters stay together as far as AdamW lets rounding be.
#[test]
fn training_follows_the_cpu() {
    for (name, system) in SYSTEMS {
        for weighting in [Weighting::Dsm, Weighting::Published] {
            let mut setup = setup(system(), [16, 2, 8]);
            setup.training.weighting = weighting;
            // Six members in batches of four: every second step of an epoch has two.
            let set = training_set(&setup, 6);
            let (loss, state) = trained(&mut random_cuda(&setup, 4), &set, 5);
            let (expected_loss, expected) = trained(&mut random_engine::<f64>(&setup, 4), &set, 5);
            assert_close(&format!("{name}: loss"), &[loss], &[expected_loss], 1e-4);
            assert_eq!(state.steps, 5);
            // The sign of a tiny gradient may differ in each step; most parameters have none.
            let bound = 5.0 * tolerance::ADAMW_OF_RATE * setup.training.learning_rate;
            if let Some(wrong) = difference_within(&state.parameters, &expected.parameters, bound) {
                panic!("{name}: {wrong}");
            }
            let before = random_state(&setup, 4).parameters;
            let moved = expected.parameters.iter().zip(&before);
            let farthest = moved.fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
            assert!(
                farthest > 2.0 * bound,
                "{name}: the bound of {bound} must be below what training does, {farthest}"
            );
            let (schedule, found) = (expected.schedule, state.schedule);
            assert_eq!((schedule.learning_rate, schedule.bad_epochs), (found.learning_rate, found.bad_epochs));
            assert_close("best", &[found.best.unwrap()], &[schedule.best.unwrap()], 1e-4);
        }
    }
}

#[test]
fn the_learning_rate_falls_along_half_a_cosine() {
    the_rate_falls(|setup| random_cuda(setup, 3), STREAM);
}

fn sampled(engine: &mut dyn Engine, range: std::ops::Range<usize>) -> Vec<FreePositions> {
    engine.sample(STREAM, range, Sampler::Plain, &mut quiet).unwrap()
}

/// Twenty reverse steps from the same prior with the same noise.
#[test]
fn sampling_follows_the_cpu() {
    for (name, system) in SYSTEMS {
        let setup = setup(system(), [16, 2, 8]);
        let found = sampled(&mut random_cuda(&setup, 4), 3..8);
        let expected = sampled(&mut random_engine::<f64>(&setup, 4), 3..8);
        let bound = 1e-4;
        if let Some(wrong) = difference_within(&flat(&found), &flat(&expected), bound) {
            panic!("{name}: {wrong}");
        }
    }
}

#[test]
fn a_structure_depends_on_its_index_alone() {
    for system in [slab, cluster, thin_bulk] {
        let setup = setup(system(), [16, 2, 8]);
        let mut engine = random_cuda(&setup, 4);
        let whole = sampled(&mut engine, 0..6);
        assert_eq!(sampled(&mut engine, 0..2), whole[..2]);
        assert_eq!(sampled(&mut engine, 5..6), whole[5..]);
        assert_eq!(sampled(&mut random_cuda(&setup, 4), 2..5), whole[2..5]);
    }
}

/// Same seed, same bits: twice in one engine, in a new one, and with launches that were not captured.
#[test]
fn captured_or_not_every_bit_is_the_same() {
    let setup = setup(slab(), [16, 3, 8]);
    let set = training_set(&setup, 6);
    let run = |engine: &mut Cuda| {
        engine.restore(&random_state(&setup, 4)).unwrap();
        let (loss, state) = trained(engine, &set, 7);
        (loss, state, sampled(engine, 0..3))
    };
    let mut engine = random_cuda(&setup, 4);
    let first = run(&mut engine);
    assert!(run(&mut engine) == first, "a second time");
    assert!(run(&mut random_cuda(&setup, 1)) == first, "in a new engine");
    let mut direct = random_cuda(&setup, 1);
    direct.capture_launches(false);
    assert!(run(&mut direct) == first, "without captured launches");
}

/// Rooms are made for so few pairs that they must grow in every verb.
#[test]
fn rooms_grow_where_structures_have_more_pairs() {
    let setup = setup(thin_bulk(), [8, 2, 8]);
    let set = training_set(&setup, 6);
    let run = |engine: &mut Cuda| {
        let samples = sampled(engine, 0..3);
        let (loss, state) = trained(engine, &set, 3);
        let scores = engine.score(&set.positions, &[0.5; 6]).unwrap();
        (samples, loss, state, scores)
    };
    let expected = run(&mut random_cuda(&setup, 4));
    let mut narrow = random_cuda(&setup, 4);
    narrow.expect_pairs(3);
    assert!(run(&mut narrow) == expected, "with room for 3 pairs at first");
}

/// Several searches share one device: each engine has its own queue, and no bit depends on the others.
#[test]
fn replicas_share_a_device() {
    let setup = setup(slab(), [16, 2, 8]);
    let set = training_set(&setup, 6);
    let run = |device: &Device, seed: u64| {
        let mut engine = Cuda::new(device, &setup).unwrap();
        engine.restore(&random_state(&setup, seed)).unwrap();
        (trained(&mut engine, &set, 4), sampled(&mut engine, 0..3))
    };
    let device = device();
    let alone: Vec<_> = (0..3).map(|seed| run(&device, seed)).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let replicas: Vec<_> = (0..3)
            .map(|seed| {
                scope.spawn({
                    let (run, device) = (&run, &device);
                    move || run(device, seed)
                })
            })
            .collect();
        replicas.into_iter().map(|replica| replica.join().unwrap()).collect()
    });
    assert!(together == alone);
}

#[test]
fn saved_states_continue_bitwise() {
    let setup = setup(slab(), [16, 2, 8]);
    let set = training_set(&setup, 6);
    let mut engine = random_cuda(&setup, 4);
    trained(&mut engine, &set, 4);
    let saved = engine.state().unwrap();
    let mut other = random_cuda(&setup, 9);
    other.restore(&saved).unwrap();
    assert!(other.state().unwrap() == saved, "the round trip keeps every bit");
    assert!(trained(&mut other, &set, 3) == trained(&mut engine, &set, 3));
    let gradient: Vec<f64> = (0..saved.parameters.len()).map(|k| (k as f64).sin()).collect();
    assert_eq!(engine.apply_gradient(&gradient).unwrap(), other.apply_gradient(&gradient).unwrap());
    assert!(engine.state().unwrap() == other.state().unwrap());
    assert_eq!(engine.state().unwrap().steps, 4);
}

#[test]
fn steps_with_a_given_gradient_follow_the_cpu() {
    let setup = setup(slab(), [16, 2, 8]);
    let (mut engine, mut oracle) = (random_cuda(&setup, 4), random_engine::<f64>(&setup, 4));
    for scale in [1e-3, 1.0, 50.0] {
        let n = oracle.state().unwrap().parameters.len();
        let gradient: Vec<f64> = (0..n).map(|k| scale * (0.1 * k as f64).sin()).collect();
        let (found, expected) = (engine.apply_gradient(&gradient).unwrap(), oracle.apply_gradient(&gradient).unwrap());
        assert!((found / expected - 1.0).abs() < 1e-6, "norm {found} instead of {expected}");
    }
    let (found, expected) = (engine.state().unwrap(), oracle.state().unwrap());
    assert_close("parameters", &found.parameters, &expected.parameters, 1e-6);
    assert_close("first moments", &found.first_moment, &expected.first_moment, 1e-6);
    assert_close("second moments", &found.second_moment, &expected.second_moment, 1e-6);
    assert_eq!(found.steps, 3);
}

#[test]
fn divergence_is_one_sentence_and_changes_nothing() {
    let careful = setup(slab(), [16, 2, 8]);
    let set = training_set(&careful, 6);
    let mut reckless = careful.clone();
    reckless.training.learning_rate = 1e30;
    let mut engine = random_cuda(&reckless, 4);
    let before = engine.state().unwrap();
    let error = engine.train(STREAM, &set, 5, &mut quiet).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let sentence = error.to_string();
    assert!(
        sentence.starts_with("training diverged: the loss became ") && sentence.contains("of iteration 3; lower"),
        "{sentence}"
    );
    assert!(engine.state().unwrap() == before);
}

#[test]
fn an_interrupted_call_changes_nothing() {
    let setup = setup(slab(), [16, 2, 8]);
    let mut engine = random_cuda(&setup, 4);
    let before = engine.state().unwrap();
    let stop = |_: usize| Err(Error::Interrupted);
    assert!(matches!(engine.train(STREAM, &training_set(&setup, 6), 3, &mut { stop }), Err(Error::Interrupted)));
    assert!(engine.state().unwrap() == before);
    assert!(matches!(engine.sample(STREAM, 0..2, Sampler::Plain, &mut { stop }), Err(Error::Interrupted)));
    let expected = sampled(&mut random_cuda(&setup, 4), 0..2);
    assert_eq!(sampled(&mut engine, 0..2), expected);
}

/// Both ways to the gradient of template filters meet the same oracle above; this one has many rows on a real slab.
#[test]
fn the_papers_slab_with_many_filter_rows() {
    let system: System = rattled(heptamer(), 0.05, 1);
    let setup = setup(system, [8, 3, 6]);
    let set = training_set(&setup, 4);
    let (loss, state) = trained(&mut random_cuda(&setup, 4), &set, 1);
    let (expected_loss, expected) = trained(&mut random_engine::<f64>(&setup, 4), &set, 1);
    assert_close("loss", &[loss], &[expected_loss], 1e-5);
    assert_close("moments", &state.first_moment, &expected.first_moment, 1e-4);
}

#[test]
fn bad_input_is_refused_as_on_the_cpu() {
    let setup = setup(slab(), [8, 1, 4]);
    let (mut engine, mut cpu) = (random_cuda(&setup, 4), Cpu::<f32>::new(&setup).unwrap());
    let short = vec![vec![[0.0; 3]; 2]];
    let sentence = |engine: &mut dyn Engine| {
        [
            engine.score(&short, &[0.5]).unwrap_err().to_string(),
            engine.score(&prior_structures(&slab(), 2, 1), &[0.5]).unwrap_err().to_string(),
            engine.apply_gradient(&[0.0]).unwrap_err().to_string(),
            engine
                .train(
                    STREAM,
                    &TrainingSet { positions: vec![], weights: vec![], forces: None, targets: Default::default() },
                    1,
                    &mut quiet,
                )
                .unwrap_err()
                .to_string(),
        ]
    };
    assert_eq!(sentence(&mut engine), sentence(&mut cpu));
}
