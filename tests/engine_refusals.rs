//! What the engine refuses, each with its sentence.

mod reference;

use godiff::engine::cpu::Cpu;
use godiff::engine::{
    Engine, ForceSet, FreePositions, Loss, ModelState, NoisyBatch, RandomStream, Sampler, Setup, Storage, TrainingSet,
    Weighting, open,
};
use godiff::error::Error;
use godiff::model::RadialBasis;
use godiff::system::Vec3;
use reference::systems::{channel, prior_structures, random_batch, random_engine, random_state, random_vectors, setup};

fn small() -> Setup {
    setup(channel(), [5, 1, 8])
}

#[track_caller]
fn assert_bad_input(error: Error, sentence: &str) {
    assert_eq!((error.exit_code(), error.to_string()), (2, sentence.to_owned()));
}

#[test]
fn known_devices_open() {
    for (device, starts) in [("auto", "cpu f32, "), ("cpu", "cpu f32, "), ("cpu-f64", "cpu f64, ")] {
        let engine = open(device, &small()).unwrap();
        assert!(engine.device().starts_with(starts), "{device} opens {}", engine.device());
    }
}

#[test]
fn unknown_devices_are_refused() {
    for device in ["", "gpu", "CPU", "cuda0", "cpu:0"] {
        let sentence = format!("unknown device '{device}': known are auto, cpu, cpu-f64 and cuda[:INDEX]");
        assert_bad_input(open(device, &small()).err().expect(device), &sentence);
    }
}

#[cfg(not(feature = "emulator"))]
#[test]
fn a_device_that_was_left_out_is_refused() {
    let sentence = "device 'emulator': this godiff was built without the feature that drives it; use --device cpu";
    assert_bad_input(open("emulator", &small()).err().expect("a refusal"), sentence);
}

/// Storage in 16 bits is a matter of GPUs; ignoring it would compute something else than was asked for.
#[test]
fn mixed_precision_is_refused_on_the_cpu() {
    let sentence = "precision = \"mixed\" is for GPUs, but this would run on the CPU: set precision = \"f32\" in [engine] or use \
                    --device cuda";
    let mixed = Setup { precision: Storage::Mixed, ..small() };
    for device in ["auto", "cpu", "cpu-f64"] {
        assert_bad_input(open(device, &mixed).err().expect(device), sentence);
    }
}

#[test]
fn radial_functions_must_fit_the_model() {
    for wrong in [RadialBasis::even(7, 4.0), RadialBasis { widths: vec![1.0; 9], ..RadialBasis::even(8, 4.0) }] {
        let error = Cpu::<f32>::new(&Setup { radial_basis: wrong, ..small() }).err().expect("a refusal");
        assert_bad_input(error, "the model has 8 radial functions, but its radial basis does not");
    }
}

#[test]
fn states_of_another_length_are_refused() {
    let setup = small();
    let good = random_state(&setup, 1);
    let n = good.parameters.len();
    let mut engine = random_engine::<f32>(&setup, 1);
    for (what, wrong) in [
        ("parameters", ModelState { parameters: vec![0.0; n - 1], ..good.clone() }),
        ("parameters", ModelState { parameters: vec![0.0; n + 1], ..good.clone() }),
        ("moments", ModelState { first_moment: vec![], ..good.clone() }),
        ("moments", ModelState { second_moment: vec![0.0; 1], ..good.clone() }),
    ] {
        let found = match what {
            "parameters" => wrong.parameters.len(),
            _ => wrong.first_moment.len().min(wrong.second_moment.len()),
        };
        let sentence = format!("the model needs {n} {what}, but the saved state has {found}");
        assert_bad_input(engine.restore(&wrong).unwrap_err(), &sentence);
        assert_eq!(engine.state().unwrap(), good, "nothing of it was taken over");
    }
}

#[test]
fn models_without_force_head_have_no_forces() {
    let mut setup = small();
    setup.sizes.force_head = false;
    let error = Cpu::<f32>::new(&setup).err().expect("a refusal");
    assert_bad_input(error, "guidance needs a model with a force head");
    setup.guidance = None;
    let mut engine = random_engine::<f32>(&setup, 1);
    let batch = random_batch(&setup.system, 2, 1);
    assert_eq!(engine.forces(&batch.positions).unwrap(), None);
    let target = random_vectors(&setup.system, 2, 1);
    for loss in [Loss::Force(target.clone()), Loss::Huber { target, delta: 1.0 }] {
        assert_bad_input(engine.loss_and_gradient(&batch, &loss).unwrap_err(), "this model has no force head");
    }
    engine.loss_and_gradient(&batch, &Loss::Score(Weighting::Dsm)).unwrap();
}

#[test]
fn lists_must_fit_the_structures() {
    let setup = small();
    let mut engine = random_engine::<f64>(&setup, 1);
    let before = engine.state().unwrap();
    let positions = prior_structures(&setup.system, 2, 1);
    let short = vec![positions[0].clone(), positions[1][..2].to_vec()];
    let few_atoms = "a structure has 2 free atoms, but the system has 3";

    assert_bad_input(engine.score(&positions, &[0.5]).unwrap_err(), "2 structures come with 1 diffusion times");
    assert_bad_input(engine.score(&short, &[0.5; 2]).unwrap_err(), few_atoms);
    assert_bad_input(engine.forces(&short).unwrap_err(), few_atoms);

    let good = random_batch(&setup.system, 2, 1);
    let score = Loss::Score(Weighting::Dsm);
    for (batch, loss, sentence) in [
        (
            NoisyBatch { positions: vec![], times: vec![], noise: vec![], weights: vec![] },
            score.clone(),
            "a loss needs at least one structure",
        ),
        (NoisyBatch { positions: short.clone(), ..good.clone() }, score.clone(), few_atoms),
        (NoisyBatch { noise: short.clone(), ..good.clone() }, score.clone(), few_atoms),
        (NoisyBatch { times: vec![0.5; 3], ..good.clone() }, score.clone(), "2 structures come with 3 diffusion times"),
        (NoisyBatch { weights: vec![], ..good.clone() }, score.clone(), "2 structures come with 0 weights"),
        (NoisyBatch { noise: vec![], ..good.clone() }, score, "2 structures come with 0 sets of noise"),
        (good.clone(), Loss::Force(short.clone()), few_atoms),
        (good.clone(), Loss::Force(vec![]), "2 structures come with 0 sets of target forces"),
    ] {
        assert_bad_input(engine.loss_and_gradient(&batch, &loss).unwrap_err(), sentence);
    }

    let stream = RandomStream { seed: 1, iteration: 0 };
    let with_forces = |at: Vec<FreePositions>, forces: Vec<Vec<Vec3>>| TrainingSet {
        positions: positions.clone(),
        weights: vec![1.0; 2],
        forces: Some(ForceSet { positions: at, forces, ..Default::default() }),
        targets: Default::default(),
    };
    for (set, sentence) in [
        (
            TrainingSet { positions: short.clone(), weights: vec![1.0; 2], forces: None, targets: Default::default() },
            few_atoms,
        ),
        (
            TrainingSet { positions: positions.clone(), weights: vec![1.0], forces: None, targets: Default::default() },
            "2 structures come with 1 weights",
        ),
        (with_forces(good.positions.clone(), short.clone()), few_atoms),
        (with_forces(short, good.positions.clone()), few_atoms),
        (with_forces(good.positions.clone(), vec![]), "2 structures come with 0 sets of target forces"),
    ] {
        assert_bad_input(engine.train(stream, &set, 1, &mut |_| Ok(())).unwrap_err(), sentence);
    }
    let error = engine.train(stream, &with_forces(vec![], vec![]), 1, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert_eq!(error.to_string(), "there is nothing to train on: the set of forces is empty");

    let mut plain = random_engine::<f64>(&Setup { guidance: None, ..small() }, 1);
    let set = with_forces(good.positions.clone(), good.positions.clone());
    let error = plain.train(stream, &set, 1, &mut |_| Ok(())).unwrap_err();
    assert_bad_input(error, "training on forces needs guidance, but the engine was opened without it");
    let error = plain.sample(stream, 0..1, Sampler::Guided, &mut |_| Ok(())).unwrap_err();
    assert_bad_input(error, "sampling needs guidance, but the engine was opened without it");

    let n = before.parameters.len();
    let sentence = format!("the model has {n} parameters, but the gradient has 3 entries");
    assert_bad_input(engine.apply_gradient(&[0.0; 3]).unwrap_err(), &sentence);
    assert_eq!(engine.state().unwrap(), before);
    assert!(engine.score(&[], &[]).unwrap().is_empty());
}
