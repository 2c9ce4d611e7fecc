//! Training as a whole: it learns a site, its loss starts where noise puts it, it stops where it diverges or is told to, and
//! then nothing has changed.

mod reference;

use godiff::diffusion::{AtomProcess, forward_noise, remove_centre};
use godiff::engine::cpu::Cpu;
use godiff::engine::cpu::simd::Real;
use godiff::engine::{Engine, Loss, NoisyBatch, RandomStream, Setup, Targets, TrainingSet, Weighting};
use godiff::error::{Error, Result};
use godiff::objective::{Mixture, force_scores};
use godiff::random::{Noise, Purpose};
use godiff::system::Vec3;
use reference::systems::{
    channel, cluster, learns_a_site, mobile_slab, prior_structures, random_engine, random_state, random_vectors, setup,
    slab, the_rate_falls,
};

const STREAM: RandomStream = RandomStream { seed: 1, iteration: 0 };

fn leads_to_the_site<T: Real>(weighting: Weighting, within: f64) {
    let change = |setup: &mut Setup| setup.training.weighting = weighting;
    learns_a_site(change, |setup| random_engine::<T>(setup, 3), STREAM, 32, within);
}

#[test]
fn training_leads_to_the_site_f32() {
    leads_to_the_site::<f32>(Weighting::Published, 0.5);
    leads_to_the_site::<f32>(Weighting::Dsm, 1.2);
}

#[test]
fn training_leads_to_the_site_f64() {
    leads_to_the_site::<f64>(Weighting::Published, 0.5);
}

#[test]
fn the_learning_rate_falls_along_half_a_cosine() {
    the_rate_falls(|setup| random_engine::<f64>(setup, 3), STREAM);
    the_rate_falls(|setup| random_engine::<f32>(setup, 3), STREAM);
}

/// A model whose parameters are all 0 leaves the whole noise as its loss: 1 for each component that is free to move, times the
/// weight.
#[test]
fn loss_of_no_model_is_the_noise() {
    let (published, dsm) = (Weighting::Published, Weighting::Dsm);
    let mut half = channel();
    half.template_numbers.truncate(1);
    half.template_positions.truncate(1);
    // In a cluster of n atoms the centre stays: n − 1 of n are free. The published loss divides by fixed atoms, too.
    for (system, weighting, weight, expected) in [
        (channel(), dsm, 1.0, 3.0),
        (channel(), dsm, 2.5, 7.5),
        (cluster(), dsm, 1.0, 3.0 * 4.0 / 5.0),
        (cluster(), published, 1.0, 3.0 * 4.0 / 5.0),
        (channel(), published, 1.0, 3.0 * 3.0 / 6.0),
        (half, published, 1.0, 3.0 * 3.0 / 4.0),
    ] {
        let mut setup = setup(system, [1, 1, 1]);
        setup.training.weighting = weighting;
        setup.training.learning_rate = 0.0;
        let mut engine = Cpu::<f64>::new(&setup).unwrap();
        let set = TrainingSet {
            positions: prior_structures(&setup.system, 8, 1),
            weights: vec![weight; 8],
            forces: None,
            targets: Default::default(),
        };
        let loss = engine.train(STREAM, &set, 1000, &mut |_| Ok(())).unwrap().loss;
        assert!((loss / expected - 1.0).abs() < 0.03, "{weighting:?}: {loss} instead of {expected}");
        assert!(engine.state().unwrap().parameters.iter().all(|p| *p == 0.0));
    }
}

/// The batch of step 0, made by hand from `clean` structures that are all alike, with the offsets of `mixture`.
fn mixed_batch(setup: &Setup, clean: &[Vec3], scores: &[Vec3], mixture: Mixture) -> NoisyBatch {
    let stream = |purpose| Noise::new(STREAM.seed, purpose, STREAM.iteration);
    let (time, forward, system) = (stream(Purpose::Time), stream(Purpose::Forward), &setup.system);
    let n = setup.training.batch;
    let mut batch = NoisyBatch { positions: vec![], times: vec![], noise: vec![], weights: vec![1.0; n] };
    for slot in 0..n as u32 {
        let t = 1e-5 + (1.0 - 1e-5) * time.uniforms(slot, 0, 0, 0)[0];
        let sigma = setup.sde.noise_scale(t);
        let noised = |atom: usize| {
            let process = AtomProcess::of(system, &setup.sde, atom);
            let uniforms = forward.uniforms(slot, 0, atom as u32, 0);
            let noised = forward_noise(clean[atom], process.factor * sigma, uniforms, process.confinement);
            (noised.position, noised.noise)
        };
        let (mut positions, mut noise): (Vec<Vec3>, Vec<Vec3>) = (0..clean.len()).map(noised).unzip();
        if system.is_free_cluster() {
            remove_centre(&mut noise);
            let moved = |(x, e): (&Vec3, &Vec3)| std::array::from_fn(|d| x[d] + sigma * e[d]);
            positions = clean.iter().zip(&noise).map(moved).collect();
        }
        let offset = |(atom, &noise): (usize, &Vec3)| {
            mixture.offset(noise, scores[atom], sigma, clean[atom][2], system.confinement_of(atom))
        };
        batch.noise.push(noise.iter().enumerate().map(offset).collect());
        batch.positions.push(positions);
        batch.times.push(t);
    }
    batch
}

/// A training step compares the model with the mixture of noise and forces, and without forces with the noise.
#[test]
fn mixed_targets_are_what_a_step_compares_with() {
    for (name, system) in [("slab", slab()), ("mobile slab", mobile_slab()), ("cluster", cluster())] {
        for weighting in [Weighting::Dsm, Weighting::Published] {
            let mut setup = setup(system.clone(), [5, 2, 4]);
            setup.training.weighting = weighting;
            let clean = prior_structures(&setup.system, 1, 3).remove(0);
            let forces = random_vectors(&setup.system, 1, 6).remove(0);
            let scores = force_scores(&setup.system, &setup.sde, &forces, 0.1, 15.0);
            let n = setup.training.batch;
            let loss_by_hand = |mixture| {
                let batch = mixed_batch(&setup, &clean, &scores, mixture);
                random_engine::<f64>(&setup, 3).loss_and_gradient(&batch, &Loss::Score(weighting)).unwrap().loss
            };
            let loss_of_step = |targets| {
                let (positions, weights) = (vec![clean.clone(); n], vec![1.0; n]);
                let set = TrainingSet { positions, weights, forces: None, targets };
                random_engine::<f64>(&setup, 3).train(STREAM, &set, 1, &mut |_| Ok(())).unwrap().loss
            };
            let mixture = Mixture { mean_square: 2.0, force_share: 0.8 };
            let of_noise = Mixture { force_share: 0.0, ..mixture };
            let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-9;
            let mixed = loss_of_step(Targets::Mixed { scores: vec![scores.clone(); n], mixture });
            assert!(near(mixed, loss_by_hand(mixture)), "{name} {weighting:?}: {mixed}");
            let plain = loss_of_step(Targets::Noise);
            assert!(
                near(plain, loss_by_hand(of_noise)) && (mixed / plain - 1.0).abs() > 1e-3,
                "{name}: {mixed} {plain}"
            );
        }
    }
}

fn small_set(setup: &Setup) -> TrainingSet {
    TrainingSet {
        positions: prior_structures(&setup.system, 6, 3),
        weights: vec![1.0; 6],
        forces: None,
        targets: Default::default(),
    }
}

/// Trains with `learning_rate` until it fails; then state and outputs must be those from before.
fn diverges<T: Real>(learning_rate: f64, steps: usize) -> Error {
    let careful = setup(slab(), [16, 2, 8]);
    let set = small_set(&careful);
    let mut engine = random_engine::<T>(&careful, 3);
    engine.train(STREAM, &set, 3, &mut |_| Ok(())).unwrap();
    let state = engine.state().unwrap();
    let mut reckless = careful.clone();
    reckless.training.learning_rate = learning_rate;
    let mut engine = Cpu::<T>::new(&reckless).unwrap();
    engine.restore(&state).unwrap();
    let score = engine.score(&set.positions, &[0.5; 6]).unwrap();
    let error = engine.train(RandomStream { iteration: 7, ..STREAM }, &set, steps, &mut |_| Ok(())).unwrap_err();
    assert!(engine.state().unwrap() == state, "parameters, moments, steps and schedule are as before");
    assert_eq!(engine.score(&set.positions, &[0.5; 6]).unwrap(), score, "and so is everything derived from them");
    let mut engine = Cpu::<T>::new(&careful).unwrap();
    engine.restore(&state).unwrap();
    assert!(engine.train(STREAM, &set, 3, &mut |_| Ok(())).unwrap().loss.is_finite(), "and it can go on");
    error
}

#[test]
fn divergence_is_one_sentence_and_changes_nothing() {
    for error in [diverges::<f32>(1e30, 20), diverges::<f64>(1e200, 20)] {
        assert_eq!(error.exit_code(), 1);
        let sentence = error.to_string();
        assert!(sentence.starts_with("training diverged: the loss became "), "{sentence}");
        assert!(sentence.contains(" of iteration 8; lower training.learning_rate"), "{sentence}");
    }
}

/// The last step has no loss after it, but its parameters count.
#[test]
fn divergence_in_the_last_step_is_noticed() {
    for error in [diverges::<f32>(1e300, 1), diverges::<f64>(f64::INFINITY, 1)] {
        assert_eq!(error.exit_code(), 1);
        assert_eq!(
            error.to_string(),
            "training diverged: step 1 of iteration 8 left parameters that are not finite; lower training.learning_rate"
        );
    }
}

fn stopped<T: Real>() {
    let setup = setup(slab(), [16, 2, 8]);
    let set = small_set(&setup);
    let mut engine = random_engine::<T>(&setup, 3);
    let before = engine.state().unwrap();
    let mut heard = Vec::new();
    let result: Result<_> = engine.train(STREAM, &set, 500, &mut |step| {
        heard.push(step);
        if heard.len() == 3 { Err(Error::Interrupted) } else { Ok(()) }
    });
    assert!(matches!(result, Err(Error::Interrupted)), "the caller's own error comes back");
    assert_eq!(heard.len(), 3, "nothing goes on after it");
    assert!(heard.is_sorted() && heard[2] < 500);
    assert!(engine.state().unwrap() == before);
    // As if the call had not been.
    let mut untouched = random_engine::<T>(&setup, 3);
    let expected = untouched.train(STREAM, &set, 5, &mut |_| Ok(())).unwrap();
    assert_eq!(engine.train(STREAM, &set, 5, &mut |_| Ok(())).unwrap(), expected);
    assert!(engine.state().unwrap() == untouched.state().unwrap());
}

#[test]
fn an_interrupted_call_changes_nothing_f64() {
    stopped::<f64>();
}

#[test]
fn an_interrupted_call_changes_nothing_f32() {
    stopped::<f32>();
}

/// A buffer smaller than a batch is one batch; an empty one cannot be trained on.
#[test]
fn small_and_empty_buffers() {
    let setup = setup(slab(), [5, 1, 1]);
    let mut engine = random_engine::<f32>(&setup, 3);
    let set = TrainingSet {
        positions: prior_structures(&setup.system, 2, 3),
        weights: vec![1.0; 2],
        forces: None,
        targets: Default::default(),
    };
    assert!(engine.train(STREAM, &set, 4, &mut |_| Ok(())).unwrap().loss.is_finite());
    assert_eq!(engine.state().unwrap().steps, 4);
    let before = engine.state().unwrap();
    let empty = TrainingSet { positions: vec![], weights: vec![], forces: None, targets: Default::default() };
    let error = engine.train(STREAM, &empty, 4, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.to_string(), "there is nothing to train on: the training set is empty");
    assert_eq!(error.exit_code(), 1);
    assert_eq!(engine.state().unwrap(), before);
    assert_eq!(random_state(&setup, 3).steps, 0);
}
