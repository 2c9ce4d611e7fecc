//! Training that ends early, and training of the force head alone: the CPU engine against the rules written out by hand from its
//! own gradients, the GPU engine (on `GODIFF_TEST_DEVICE`, without it on the emulator) against the CPU engine.

mod reference;

use godiff::engine::cpu::simd::Real;
use godiff::engine::{
    Consensus, Engine, ForceSet, GuidanceSettings, Loss, ModelState, NoisyBatch, RandomStream, Setup, StoppingRule,
    TrainingReport, TrainingSet,
};
use godiff::model::Layout;
#[cfg(feature = "emulator")]
use reference::systems::random_cuda;
use reference::systems::{channel, prior_structures, random_engine, random_vectors, setup};
use reference::{assert_close, tolerance};

const STREAM: RandomStream = RandomStream { seed: 21, iteration: 4 };
/// Most steps of a call.
const STEPS: usize = 30;

fn guided(stop: Option<StoppingRule>) -> Setup {
    let guidance = GuidanceSettings { force_weight: 0.7, huber_delta_ev_per_angstrom: 0.4, ..Default::default() };
    let mut setup = Setup { guidance: Some(guidance), ..setup(channel(), [8, 2, 4]) };
    // The first moments then tell the gradients.
    setup.training.gradient_clip = 1e9;
    setup.training.weight_decay = 0.0;
    setup.training.stop = stop;
    setup
}

fn rule(consensus: Consensus) -> StoppingRule {
    StoppingRule { consensus, free_steps: 2, patience: 2, drop: 0.9 }
}

/// Six members of which every second step has two alone, and nine structures with forces.
fn joint() -> TrainingSet {
    let system = channel();
    let forces = ForceSet {
        positions: prior_structures(&system, 9, 8),
        forces: random_vectors(&system, 9, 9),
        ..Default::default()
    };
    let positions = prior_structures(&system, 6, 3);
    TrainingSet {
        positions,
        weights: vec![0.4, 1.3, 0.9, 1.1, 1.6, 0.7],
        forces: Some(forces),
        targets: Default::default(),
    }
}

fn forces_alone() -> TrainingSet {
    TrainingSet { positions: vec![], weights: vec![], ..joint() }
}

fn train(engine: &mut impl Engine, set: &TrainingSet, steps: usize) -> (TrainingReport, ModelState) {
    let report = engine.train(STREAM, set, steps, &mut |_| Ok(())).unwrap();
    (report, engine.state().unwrap())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cosine(a: &[f64], b: &[f64]) -> Option<f64> {
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    (norms > 0.0).then(|| dot(a, b) / norms)
}

/// The model after each step of a call without a rule, and before the first.
fn states(set: &TrainingSet) -> Vec<ModelState> {
    let after = |steps| train(&mut random_engine::<f64>(&guided(None), 2), set, steps).1;
    std::iter::once(random_engine::<f64>(&guided(None), 2).state().unwrap()).chain((1..=STEPS).map(after)).collect()
}

/// The gradient of step `step` (from 0): AdamW's first moment is 0.9 of the one before plus a tenth of it.
fn gradient(states: &[ModelState], step: usize) -> Vec<f64> {
    let pairs = states[step + 1].first_moment.iter().zip(&states[step].first_moment);
    pairs.map(|(now, before)| (now - 0.9 * before) / 0.1).collect()
}

/// Steps until the rule ends training by these cosines of the steps, as the documentation says it.
fn last_step(rule: StoppingRule, memory: f64, cosines: impl Iterator<Item = Option<f64>>) -> usize {
    let (mut means, mut mean): (Vec<f64>, Option<f64>) = (Vec::new(), None);
    for (step, cosine) in cosines.enumerate() {
        let Some(cosine) = cosine.filter(|_| step >= rule.free_steps) else { continue };
        mean = Some(mean.map_or(cosine, |mean| memory * mean + (1.0 - memory) * cosine));
        means.extend(mean);
        let peak = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let at = means.iter().position(|&mean| mean == peak).unwrap();
        if means.len() - 1 - at >= rule.patience && mean.unwrap() < rule.drop * peak {
            return step + 1;
        }
    }
    panic!("the rule must end training: {means:?}");
}

#[test]
fn training_ends_when_gradients_leave_the_momentum() {
    for set in [joint(), forces_alone()] {
        let states = states(&set);
        let cosines = (0..STEPS).map(|step| cosine(&gradient(&states, step), &states[step].first_moment));
        let expected = last_step(rule(Consensus::Momentum), 0.0, cosines);
        let mut engine = random_engine::<f64>(&guided(Some(rule(Consensus::Momentum))), 2);
        let (report, state) = train(&mut engine, &set, STEPS);
        assert_eq!(report.steps, expected);
        assert_eq!(state, states[expected], "the steps are those of a call without a rule");
        assert_eq!(report.loss > 0.0, !set.positions.is_empty());
        let shorter = train(&mut random_engine::<f64>(&guided(None), 2), &set, expected).0;
        assert_eq!(report, shorter, "means are over the steps that were taken");
    }
}

/// The force loss alone, whose structures are named by the set: the even ones of a batch are one half.
#[test]
fn training_ends_when_the_halves_of_a_batch_disagree() {
    let set = forces_alone();
    let states = states(&set);
    let setup = guided(None);
    let (forces, guidance) = (set.forces.as_ref().unwrap(), setup.guidance.unwrap());
    let mut engine = random_engine::<f64>(&setup, 2);
    let cosines = (0..STEPS).map(|step| {
        let members = forces.members(STREAM, step as u32, setup.training.batch);
        let even: Vec<usize> = members.iter().copied().step_by(2).collect();
        let pick = |from: &[Vec<_>]| even.iter().map(|&m| from[m].clone()).collect::<Vec<_>>();
        let (n, share) = (even.len(), even.len() as f64 / members.len() as f64);
        let positions = pick(&forces.positions);
        let batch = NoisyBatch { noise: positions.clone(), positions, times: vec![0.0; n], weights: vec![1.0; n] };
        let loss = Loss::Huber { target: pick(&forces.forces), delta: guidance.huber_delta_ev_per_angstrom };
        engine.restore(&states[step]).unwrap();
        let found = engine.loss_and_gradient(&batch, &loss).unwrap().gradient;
        let half: Vec<f64> = found.iter().map(|g| share * guidance.force_weight * g).collect();
        let other: Vec<f64> = gradient(&states, step).iter().zip(&half).map(|(g, half)| g - half).collect();
        cosine(&half, &other)
    });
    let expected = last_step(rule(Consensus::Halves), 0.75, cosines);
    let mut engine = random_engine::<f64>(&guided(Some(rule(Consensus::Halves))), 2);
    let (report, state) = train(&mut engine, &set, STEPS);
    assert_eq!(report.steps, expected);
    assert_eq!(state, states[expected], "the steps are those of a call without a rule");
}

/// The gradient of a step is that of the force loss, and what the score alone uses stays as it is.
fn forces_train_alone<E: Engine>(mut engine: E, bound: f64) {
    let setup = guided(None);
    let before = engine.state().unwrap();
    let set = forces_alone();
    let (report, state) = train(&mut engine, &set, 1);
    let (forces, guidance) = (set.forces.unwrap(), setup.guidance.unwrap());
    let members = forces.members(STREAM, 0, setup.training.batch);
    let pick = |from: &[Vec<_>]| members.iter().map(|&m| from[m].clone()).collect::<Vec<_>>();
    let (n, positions) = (members.len(), pick(&forces.positions));
    let batch = NoisyBatch { noise: positions.clone(), positions, times: vec![0.0; n], weights: vec![1.0; n] };
    let loss = Loss::Huber { target: pick(&forces.forces), delta: guidance.huber_delta_ev_per_angstrom };
    let exact = random_engine::<f64>(&setup, 2).loss_and_gradient(&batch, &loss).unwrap();
    assert_close("force loss", &[report.force_loss.unwrap()], &[exact.loss], bound);
    assert_eq!(report.loss, 0.0);
    let found: Vec<f64> = state.first_moment.iter().map(|m| m / 0.1).collect();
    let expected: Vec<f64> = exact.gradient.iter().map(|g| guidance.force_weight * g).collect();
    assert_close("gradient", &found, &expected, bound);
    let layout = Layout::new(&setup.sizes);
    let (mut n_score, mut n_moved) = (0, 0);
    for tensor in &layout.tensors {
        let moved = state.parameters[tensor.range()] != before.parameters[tensor.range()];
        n_moved += usize::from(moved);
        if exact.gradient[tensor.range()].iter().all(|&g| g == 0.0) {
            n_score += 1;
            assert!(!moved, "{}", tensor.name);
        }
    }
    assert!(n_score >= 4 && n_moved >= 4, "{n_score} tensors without gradient, {n_moved} moved");
}

fn on_the_cpu<T: Real>(bound: f64) {
    forces_train_alone(random_engine::<T>(&guided(None), 2), bound);
}

#[test]
fn forces_train_alone_on_the_cpu() {
    on_the_cpu::<f64>(tolerance::EXACT_F64);
    on_the_cpu::<f32>(tolerance::F32);
}

#[cfg(feature = "emulator")]
#[test]
fn forces_train_alone_on_the_gpu() {
    forces_train_alone(random_cuda(&guided(None), 2), tolerance::F32);
}

/// As many steps as the CPU, and the bits of a call without a rule that is asked for just these.
#[cfg(feature = "emulator")]
#[test]
fn the_gpu_ends_training_where_the_cpu_does() {
    for consensus in [Consensus::Momentum, Consensus::Halves] {
        for set in [joint(), forces_alone()] {
            let setup = guided(Some(rule(consensus)));
            let (wide, _) = train(&mut random_engine::<f64>(&setup, 2), &set, STEPS);
            let mut engine = random_cuda(&setup, 2);
            let (report, state) = train(&mut engine, &set, STEPS);
            assert!((3..STEPS).contains(&wide.steps), "the rule must end training: {wide:?}");
            assert_eq!(report.steps, wide.steps, "{consensus:?}");
            assert_close("losses", &[report.loss], &[wide.loss], tolerance::F32);
            let (shorter, expected) = train(&mut random_cuda(&guided(None), 2), &set, wide.steps);
            assert_eq!((report, &state), (shorter, &expected), "{consensus:?}");
            // Training that ended early does not hold back what follows.
            engine.apply_gradient(&vec![1.0; state.parameters.len()]).unwrap();
            assert_ne!(engine.state().unwrap().parameters, state.parameters);
        }
    }
}
