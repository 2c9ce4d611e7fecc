//! Guidance on the engine: what its joint training and its corrector do is what the diagnostic verbs and the formulas say.

mod reference;

use godiff::diffusion::{
    Corrector, ReverseSchedule, centred_normals, corrector_strength, prior, remove_centre, reverse_mean, reverse_step,
};
use godiff::engine::cpu::Cpu;
use godiff::engine::cpu::simd::Real;
use godiff::engine::{
    Engine, ForceSet, FreePositions, GuidanceSettings, Loss, NoisyBatch, RandomStream, Sampler, Setup, TrainingSet,
    advance_by_verb, relax_with,
};
use godiff::random::{Noise, Purpose};
use godiff::system::vector::norm;
use godiff::system::{System, Vec3};
use reference::systems::{
    Named, channel, cluster, prior_structures, random_engine, random_vectors, setup, slab, thin_bulk,
};
use reference::{assert_close, flat, tolerance};

const STREAM: RandomStream = RandomStream { seed: 21, iteration: 4 };

const SYSTEMS: [Named; 4] = [("slab", slab), ("cluster", cluster), ("thin bulk", thin_bulk), ("channel", channel)];

fn guided(system: System, guidance: GuidanceSettings) -> Setup {
    Setup { guidance: Some(guidance), ..setup(system, [16, 2, 8]) }
}

/// The reverse process of one structure, read from the formulas, with scores and forces from the diagnostic verbs.
fn by_hand(engine: &mut Cpu<f64>, setup: &Setup, structure: u32) -> FreePositions {
    let (system, guidance) = (&setup.system, setup.guidance.unwrap());
    let schedule = ReverseSchedule::new(setup.reverse.steps, setup.reverse.t_min).unwrap();
    let noise = Noise::new(STREAM.seed, Purpose::Reverse, STREAM.iteration);
    let mut positions = prior(system, &Noise::new(STREAM.seed, Purpose::Prior, STREAM.iteration), structure);
    let mut corrector = Corrector::default();
    let confinement = system.confinement.as_ref();
    for k in 0..schedule.n_steps() {
        let (t, dt, last) = (schedule.time(k), schedule.dt(), schedule.is_last(k));
        let g2 = setup.sde.diffusion_squared(t);
        let mut score = engine.score(&[positions.clone()], &[t]).unwrap().remove(0).split_off(system.n_template());
        if system.is_free_cluster() {
            remove_centre(&mut score);
            let normals = centred_normals(&noise, structure, k as u32, positions.len());
            let spread = if last { 0.0 } else { (g2 * dt).sqrt() };
            for ((x, score), normal) in positions.iter_mut().zip(score).zip(normals) {
                let mean = reverse_mean(*x, score, g2, dt);
                *x = std::array::from_fn(|d| mean[d] + spread * normal[d]);
            }
        } else {
            for (atom, (x, score)) in positions.iter_mut().zip(score).enumerate() {
                let uniforms = noise.uniforms(structure, k as u32, atom as u32, 0);
                let moved = reverse_step(*x, score, g2, dt, uniforms, confinement, last);
                *x = system.cell.wrap(moved, [true, true, confinement.is_none()]);
            }
        }
        let forces = engine.forces(&[positions.clone()]).unwrap().unwrap().remove(0).split_off(system.n_template());
        let settings = guidance.corrector();
        corrector.correct(system, &settings, corrector_strength(&settings, t), &mut positions, &forces);
    }
    positions
}

#[test]
fn guided_samples_follow_the_formulas() {
    for (name, system) in SYSTEMS {
        let setup = guided(system(), GuidanceSettings { eta: 2.0, zeta: 1.0, history: 3, ..Default::default() });
        let mut engine = random_engine::<f64>(&setup, 2);
        let found = engine.sample(STREAM, 5..8, Sampler::Guided, &mut |_| Ok(())).unwrap();
        let expected: Vec<FreePositions> = (5..8).map(|s| by_hand(&mut engine, &setup, s)).collect();
        assert_close(name, &flat(&found), &flat(&expected), 1e-8);
        let plain = engine.sample(STREAM, 5..8, Sampler::Plain, &mut |_| Ok(())).unwrap();
        assert!(found.iter().zip(&plain).all(|(a, b)| a != b), "{name}: the corrector must matter");
    }
}

/// Without strength the corrector moves nothing, and both samplers agree to the last bit.
#[test]
fn no_strength_no_guidance() {
    for (name, system) in SYSTEMS {
        let setup = guided(system(), GuidanceSettings { eta: 0.0, ..Default::default() });
        let mut engine = random_engine::<f32>(&setup, 2);
        let mut sample = |sampler| engine.sample(STREAM, 0..4, sampler, &mut |_| Ok(())).unwrap();
        assert_eq!(sample(Sampler::Guided), sample(Sampler::Plain), "{name}");
    }
}

fn training_set(setup: &Setup, forces: bool) -> TrainingSet {
    let at = prior_structures(&setup.system, 30, 8);
    let forces =
        forces.then(|| ForceSet { forces: random_vectors(&setup.system, 30, 9), positions: at, ..Default::default() });
    TrainingSet {
        positions: prior_structures(&setup.system, 6, 3),
        weights: vec![1.0; 6],
        forces,
        targets: Default::default(),
    }
}

/// AdamW's first moments after one step are a tenth of the gradient where nothing is clipped: with forces it is the gradient
/// without them plus λ times that of the Huber loss on the structures that the set names.
fn gradients_add_up<T: Real>(bound: f64) {
    for (name, system) in SYSTEMS {
        let (weight, delta) = (0.7, 0.4);
        let guidance =
            GuidanceSettings { force_weight: weight, huber_delta_ev_per_angstrom: delta, ..Default::default() };
        let mut setup = guided(system(), guidance);
        setup.training.gradient_clip = 1e9;
        let step = |forces: bool| {
            let mut engine = random_engine::<T>(&setup, 2);
            let report = engine.train(STREAM, &training_set(&setup, forces), 1, &mut |_| Ok(())).unwrap();
            let gradient: Vec<f64> = engine.state().unwrap().first_moment.iter().map(|m| m / 0.1).collect();
            (gradient, report)
        };
        let ((joint, joint_report), (score, score_report)) = (step(true), step(false));
        assert_eq!((joint_report.loss, score_report.force_loss), (score_report.loss, None), "{name}");

        let set = training_set(&setup, true).forces.unwrap();
        let members = set.members(STREAM, 0, setup.training.batch);
        let pick = |from: &[Vec<Vec3>]| members.iter().map(|&m| from[m].clone()).collect::<Vec<_>>();
        let n = members.len();
        let noise = pick(&set.positions);
        let batch = NoisyBatch { positions: pick(&set.positions), times: vec![0.0; n], noise, weights: vec![1.0; n] };
        let loss = Loss::Huber { target: pick(&set.forces), delta };
        let huber = random_engine::<T>(&setup, 2).loss_and_gradient(&batch, &loss).unwrap();
        assert_close(name, &[joint_report.force_loss.unwrap()], &[huber.loss], bound);
        let expected: Vec<f64> = score.iter().zip(&huber.gradient).map(|(s, h)| s + weight * h).collect();
        assert_close(name, &joint, &expected, bound);
        assert!(huber.gradient.iter().any(|g| *g != 0.0));
    }
}

#[test]
fn gradients_add_up_f64() {
    gradients_add_up::<f64>(tolerance::EXACT_F64);
}

#[test]
fn gradients_add_up_f32() {
    gradients_add_up::<f32>(tolerance::F32);
}

/// Every engine must draw these; each structure is drawn about as often, and every step draws anew.
#[test]
fn force_batches_are_uniform() {
    let set = ForceSet { positions: vec![vec![]; 7], forces: vec![vec![]; 7], ..Default::default() };
    let mut counts = [0u32; 7];
    for step in 0..2000 {
        set.members(STREAM, step, 16).into_iter().for_each(|member| counts[member] += 1);
    }
    let expected = 32_000.0 / 7.0;
    let chi_square: f64 = counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
    // The 0.1% point for six degrees of freedom.
    assert!(chi_square < 22.5, "{counts:?}");
    assert_ne!(set.members(STREAM, 0, 16), set.members(STREAM, 1, 16));
    assert_ne!(set.members(STREAM, 0, 16), set.members(RandomStream { iteration: 5, ..STREAM }, 0, 16));
    assert_eq!(set.members(STREAM, 3, 4), set.members(STREAM, 3, 16)[..4]);
}

#[test]
fn long_forces_are_shortened_with_their_direction() {
    let mut set = ForceSet::default();
    set.push(vec![[1.0; 3]; 3], &[[30.0, 0.0, -40.0], [0.3, 0.0, 0.4], [0.0; 3]], 10.0);
    assert_eq!(set.positions, [vec![[1.0; 3]; 3]]);
    assert_eq!(set.forces, [[[6.0, 0.0, -8.0], [0.3, 0.0, 0.4], [0.0; 3]]]);
}

/// A model that has learnt springs towards a height leads its samples there: guidance brings them nearer than the reverse process alone,
/// relaxation nearer still.
#[test]
fn learnt_forces_lead_to_the_minimum() {
    let mut setup = guided(slab(), GuidanceSettings { eta: 1.0, ..Default::default() });
    // One atom; the template breaks the symmetry, so that the model can tell where it is.
    setup.system.free_numbers.truncate(1);
    setup.training.learning_rate = 3e-3;
    setup.training.batch = 8;
    let system = setup.system.clone();
    let at = prior_structures(&system, 200, 8);
    let top = 4.2;
    let height = |positions: &[FreePositions]| -> Vec<Vec<Vec3>> {
        positions.iter().map(|free| free.iter().map(|x| [0.0, 0.0, top - x[2]]).collect()).collect()
    };
    let set = TrainingSet {
        positions: prior_structures(&system, 8, 3),
        weights: vec![1.0; 8],
        forces: Some(ForceSet { forces: height(&at), positions: at, ..Default::default() }),
        targets: Default::default(),
    };
    let mut engine = random_engine::<f32>(&setup, 2);
    let before = engine.train(STREAM, &set, 5, &mut |_| Ok(())).unwrap().force_loss.unwrap();
    let after = engine.train(STREAM, &set, 900, &mut |_| Ok(())).unwrap().force_loss.unwrap();
    assert!(after < 0.3 * before, "force loss {before} before, {after} after");

    let distance = |samples: &[FreePositions]| {
        samples.iter().flatten().map(|x| (x[2] - top).abs()).sum::<f64>() / samples.len() as f64
    };
    let sample = |engine: &mut Cpu<f32>, sampler| engine.sample(STREAM, 0..48, sampler, &mut |_| Ok(())).unwrap();
    let (plain, mut guided) = (sample(&mut engine, Sampler::Plain), sample(&mut engine, Sampler::Guided));
    let [from_plain, from_guided] = [distance(&plain), distance(&guided)];
    let corrector = setup.guidance.unwrap().corrector();
    let mut heard = Vec::new();
    let mut listen = |step| {
        heard.push(step);
        Ok(())
    };
    let alone = {
        let mut one = guided[..1].to_vec();
        engine.relax(&mut one, &corrector, 40, &mut |_| Ok(())).unwrap();
        one.remove(0)
    };
    engine.relax(&mut guided, &corrector, 40, &mut listen).unwrap();
    assert_eq!(guided[0], alone, "a structure moves as it would alone");
    assert!(heard.len() <= 40 && heard.iter().copied().eq(1..=heard.len()));
    let relaxed = distance(&guided);
    assert!(from_guided < from_plain && relaxed < 0.5 * from_guided, "{from_plain}, {from_guided}, {relaxed} Å");
    let left = engine.forces(&guided).unwrap().unwrap();
    let rest = left.iter().filter(|forces| norm(forces[system.n_template()]) <= 0.05).count();
    assert!(rest >= 40, "{rest} of 48 at rest");
}

/// An engine relaxes as its verb for forces leads, although it asks its network for the free atoms alone.
/// A readout that is trained on energies tells them, alone among structures as among others, and the forces stay learned.
#[test]
fn a_trained_readout_tells_energies() {
    let mut setup = guided(slab(), GuidanceSettings { energy_weight: 10.0, ..Default::default() });
    setup.training.learning_rate = 3e-3;
    let at = prior_structures(&setup.system, 12, 5);
    let labels: Vec<f64> = (0..12).map(|k| 0.25 * f64::from(k) - 0.5).collect();
    let forces =
        ForceSet { positions: at.clone(), forces: random_vectors(&setup.system, 12, 6), labels: labels.clone() };
    let set = TrainingSet { positions: vec![], weights: vec![], forces: Some(forces), targets: Default::default() };
    let mut engine = random_engine::<f32>(&setup, 2);
    let wrong = |engine: &mut Cpu<f32>| -> f64 {
        let readouts = engine.readout(&at).unwrap().unwrap();
        readouts.iter().zip(&labels).map(|(readout, label)| (readout - label).powi(2)).sum::<f64>() / 12.0
    };
    let before = wrong(&mut engine);
    engine.train(STREAM, &set, 600, &mut |_| Ok(())).unwrap();
    let after = wrong(&mut engine);
    assert!(after < 0.1 * before, "{before} {after}");
    let whole = engine.readout(&at).unwrap().unwrap();
    let single: Vec<f64> = at.iter().map(|at| engine.readout(std::slice::from_ref(at)).unwrap().unwrap()[0]).collect();
    assert_eq!(whole, single);
    let mut forceless = setup.clone();
    (forceless.guidance, forceless.sizes.force_head) = (None, false);
    assert_eq!(random_engine::<f32>(&forceless, 2).readout(&at).unwrap(), None);
}

#[test]
fn relaxing_follows_the_predicted_forces() {
    let mut setup = guided(slab(), GuidanceSettings::default());
    setup.training.learning_rate = 3e-3;
    setup.training.batch = 4;
    let mut engine = random_engine::<f64>(&setup, 5);
    let corrector = setup.guidance.unwrap().corrector();
    let at = prior_structures(&setup.system, 7, 5);
    // An untrained model predicts forces too small to move along.
    let upward = vec![vec![[0.0, 0.0, 2.0]; setup.system.n_free()]; 7];
    let forces = Some(ForceSet { positions: at.clone(), forces: upward, ..Default::default() });
    let set = TrainingSet { positions: at.clone(), weights: vec![1.0; 7], forces, targets: Default::default() };
    engine.train(STREAM, &set, 100, &mut |_| Ok(())).unwrap();
    let mut relaxed = at.clone();
    engine.relax(&mut relaxed, &corrector, 12, &mut |_| Ok(())).unwrap();
    let mut expected = at.clone();
    let mut advance = |moving: &mut [_]| advance_by_verb(&mut engine, &setup.system, &corrector, moving);
    relax_with(&mut expected, 12, &mut |_| Ok(()), &mut advance).unwrap();
    assert_ne!(expected, at);
    for (a, b) in relaxed.iter().flatten().flatten().zip(expected.iter().flatten().flatten()) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }
}
