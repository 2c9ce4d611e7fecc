//! The same seed gives the same bits: however a range of structures is cut, with any number of threads, and after a state was
//! saved and put back.

mod reference;

use godiff::engine::cpu::Cpu;
use godiff::engine::cpu::simd::Real;
use godiff::engine::{
    Engine, ForceSet, FreePositions, Loss, ModelState, RandomStream, Sampler, Setup, TrainingReport, TrainingSet,
    Weighting,
};
use godiff::system::System;
use reference::systems::{
    Named, channel, cluster, heptamer, prior_structures, random_batch, random_engine, random_state, random_vectors,
    setup, slab, thin_bulk,
};

const STREAM: RandomStream = RandomStream { seed: 17, iteration: 3 };

/// Systems of few and of many atoms, so that a chunk holds many structures or one.
const SYSTEMS: [Named; 5] =
    [("slab", slab), ("cluster", cluster), ("thin bulk", thin_bulk), ("channel", channel), ("heptamer", heptamer)];

fn setup_of(system: fn() -> System) -> Setup {
    let mut setup = setup(system(), [20, 3, 8]);
    setup.reverse.steps = 6;
    setup
}

fn sample<T: Real>(setup: &Setup, range: std::ops::Range<usize>) -> Vec<FreePositions> {
    random_engine::<T>(setup, 5).sample(STREAM, range, Sampler::Guided, &mut |_| Ok(())).unwrap()
}

fn cut_ranges<T: Real>() {
    for (name, system) in SYSTEMS {
        let setup = setup_of(system);
        let whole = sample::<T>(&setup, 0..37);
        assert!(whole.iter().zip(&whole[1..]).all(|(a, b)| a != b), "structures differ");
        for cuts in [vec![0, 2, 6, 37], vec![0, 1, 2, 3, 36, 37], vec![0, 19, 37]] {
            let parts: Vec<_> = cuts.windows(2).flat_map(|cut| sample::<T>(&setup, cut[0]..cut[1])).collect();
            assert_eq!(parts, whole, "{name} cut at {cuts:?}");
        }
        let mut engine = random_engine::<T>(&setup, 5);
        let again: Vec<_> = [5..6, 0..5, 6..37]
            .map(|range| engine.sample(STREAM, range, Sampler::Guided, &mut |_| Ok(())).unwrap())
            .into_iter()
            .collect();
        assert_eq!([&again[1][..], &again[0], &again[2]].concat(), whole, "{name} with one engine, out of order");
    }
}

#[test]
fn a_structure_depends_on_its_index_alone_f64() {
    cut_ranges::<f64>();
}

#[test]
fn a_structure_depends_on_its_index_alone_f32() {
    cut_ranges::<f32>();
}

#[test]
fn streams_differ() {
    let setup = setup_of(slab);
    let mut engine = random_engine::<f32>(&setup, 5);
    let mut of = |stream| engine.sample(stream, 0..3, Sampler::Plain, &mut |_| Ok(())).unwrap();
    let base = of(STREAM);
    assert_eq!(base, of(STREAM));
    assert_ne!(base, of(RandomStream { seed: 18, ..STREAM }));
    assert_ne!(base, of(RandomStream { iteration: 4, ..STREAM }));
}

/// Scores, too, do not depend on what else is in a call.
fn single_scores<T: Real>() {
    for (name, system) in SYSTEMS {
        let setup = setup_of(system);
        let positions = prior_structures(&setup.system, 23, 1);
        let times: Vec<f64> = (0..23).map(|k| f64::from(k) / 22.0).collect();
        let mut engine = random_engine::<T>(&setup, 5);
        let (scores, forces) = (engine.score(&positions, &times).unwrap(), engine.forces(&positions).unwrap().unwrap());
        for s in 0..23 {
            assert_eq!(engine.score(&positions[s..=s], &times[s..=s]).unwrap()[0], scores[s], "{name}");
            assert_eq!(engine.forces(&positions[s..=s]).unwrap().unwrap()[0], forces[s], "{name}");
        }
    }
}

#[test]
fn a_score_depends_on_its_structure_alone_f64() {
    single_scores::<f64>();
}

#[test]
fn a_score_depends_on_its_structure_alone_f32() {
    single_scores::<f32>();
}

/// A buffer of eleven, so that epochs end with a smaller batch.
fn training_set(setup: &Setup) -> TrainingSet {
    TrainingSet {
        positions: prior_structures(&setup.system, 11, 2),
        weights: (0..11).map(|k| 0.5 + f64::from(k) / 10.0).collect(),
        forces: Some(ForceSet {
            positions: prior_structures(&setup.system, 23, 4),
            forces: random_vectors(&setup.system, 23, 5),
            ..Default::default()
        }),
        targets: Default::default(),
    }
}

fn train<T: Real>(engine: &mut Cpu<T>, set: &TrainingSet, iteration: u64, steps: usize) -> TrainingReport {
    engine.train(RandomStream { iteration, ..STREAM }, set, steps, &mut |_| Ok(())).unwrap()
}

/// Everything a run makes: samples, training, samples, gradient.
fn run<T: Real>(setup: &Setup) -> (Vec<FreePositions>, ModelState, TrainingReport, Vec<f64>) {
    let mut engine = random_engine::<T>(setup, 5);
    let mut samples = engine.sample(STREAM, 0..9, Sampler::Plain, &mut |_| Ok(())).unwrap();
    let report = train(&mut engine, &training_set(setup), 3, 7);
    samples.extend(engine.sample(STREAM, 0..9, Sampler::Guided, &mut |_| Ok(())).unwrap());
    let batch = random_batch(&setup.system, 12, 1);
    let gradient = engine.loss_and_gradient(&batch, &Loss::Score(Weighting::Dsm)).unwrap().gradient;
    (samples, engine.state().unwrap(), report, gradient)
}

fn threads<T: Real>() {
    for (name, system) in SYSTEMS {
        let mut setup = setup_of(system);
        setup.training.batch = 9;
        let with =
            |n: usize| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(|| run::<T>(&setup));
        let expected = with(1);
        assert!(expected.1.parameters.iter().all(|p| p.is_finite()));
        assert_ne!(expected.1.parameters, random_state(&setup, 5).parameters, "it learnt");
        for n in [1, 2, 3] {
            assert!(with(n) == expected, "{name} with {n} threads");
        }
    }
}

#[test]
fn threads_change_no_bit_f64() {
    threads::<f64>();
}

#[test]
fn threads_change_no_bit_f32() {
    threads::<f32>();
}

/// A state taken out and put into a new engine continues as if nothing had been.
fn saved_and_restored<T: Real>() {
    for (name, system) in SYSTEMS {
        let setup = setup_of(system);
        let set = training_set(&setup);
        let mut untouched = random_engine::<T>(&setup, 5);
        train(&mut untouched, &set, 0, 5);
        let saved = untouched.state().unwrap();
        assert_eq!(saved.steps, 5);
        assert!(saved.schedule.best.is_some() && saved.first_moment.iter().any(|m| *m != 0.0));

        let mut resumed = Cpu::<T>::new(&setup).unwrap();
        resumed.restore(&saved).unwrap();
        assert!(resumed.state().unwrap() == saved, "{name}: the round trip keeps every bit");
        // Buffers that other work has left behind must not matter.
        let mut used = random_engine::<T>(&setup, 6);
        train(&mut used, &set, 9, 4);
        used.sample(STREAM, 0..13, Sampler::Plain, &mut |_| Ok(())).unwrap();
        used.restore(&saved).unwrap();

        let expected = train(&mut untouched, &set, 1, 5);
        assert_eq!(untouched.state().unwrap().steps, 5, "every call starts the optimiser afresh");
        for engine in [&mut resumed, &mut used] {
            assert_eq!(train(engine, &set, 1, 5), expected, "{name}");
            assert!(engine.state().unwrap() == untouched.state().unwrap(), "{name}: parameters after five more steps");
            let samples = engine.sample(STREAM, 0..5, Sampler::Plain, &mut |_| Ok(())).unwrap();
            assert_eq!(samples, untouched.sample(STREAM, 0..5, Sampler::Plain, &mut |_| Ok(())).unwrap(), "{name}");
        }
    }
}

#[test]
fn saved_states_continue_bitwise_f64() {
    saved_and_restored::<f64>();
}

#[test]
fn saved_states_continue_bitwise_f32() {
    saved_and_restored::<f32>();
}

/// Optimiser and schedule start afresh in every call, whatever the state brought; within a call the schedule works.
#[test]
fn every_call_starts_the_schedule_afresh() {
    let setup = setup_of(channel);
    let set = training_set(&setup);
    let mut tired = random_state(&setup, 5);
    tired.schedule.learning_rate = 3e-9;
    tired.schedule.best = Some(0.0);
    tired.schedule.bad_epochs = 99;
    tired.steps = 1000;
    tired.second_moment.fill(1.0);
    let run = |state: &ModelState, steps: usize| {
        let mut engine = Cpu::<f32>::new(&setup).unwrap();
        engine.restore(state).unwrap();
        let report = train(&mut engine, &set, 0, steps);
        (report, engine.state().unwrap())
    };
    let fresh = random_state(&setup, 5);
    assert!(run(&tired, 6) == run(&fresh, 6));
    // Eleven members in batches of four: three steps an epoch. Some of 900 epochs in a row bring no lower loss.
    let (report, state) = run(&fresh, 2700);
    let factor = report.learning_rate / setup.training.learning_rate;
    let power = factor.ln() / 0.95f64.ln();
    assert!(factor < 1.0 && (power - power.round()).abs() < 1e-9, "{factor} is no power of 0.95");
    assert_eq!(state.schedule.learning_rate, report.learning_rate);
}
