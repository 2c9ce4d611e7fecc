//! `precision = "mixed"`: the conversions, results against the CPU engine in f64, training, and what happens beyond the range of 16 bits.
#![cfg(feature = "emulator")]

#[path = "reference/halves.rs"]
mod halves;
mod reference;

use godiff::engine::cuda::Cuda;
use godiff::engine::{
    Engine, ForceSet, FreePositions, Loss, ModelState, RandomStream, Sampler, Setup, Storage, TrainingSet, Weighting,
};
use godiff::error::Result;
use godiff::model::Layout;
use half::f16;
use halves::converted;
use reference::device::device;
use reference::systems::{
    Named, Random, all_losses, cluster, gradient_magnitude, learns_a_site, prior_structures, random_batch, random_cuda,
    random_engine, random_state, random_vectors, rattled, setup, slab, stepped_adatom, thin_bulk,
};
use reference::{Reference, assert_close, difference, difference_within, flat, largest, tolerance};

const STREAM: RandomStream = RandomStream { seed: 5, iteration: 2 };

fn mixed(setup: Setup) -> Setup {
    Setup { precision: Storage::Mixed, ..setup }
}

fn as_f32(setup: &Setup) -> Setup {
    Setup { precision: Storage::F32, ..setup.clone() }
}

fn quiet(_: usize) -> Result<()> {
    Ok(())
}

const SYSTEMS: [Named; 5] = [
    ("slab", slab),
    ("relaxed slab", || rattled(slab(), 0.05, 3)),
    ("cluster", cluster),
    ("thin bulk", thin_bulk),
    ("stepped", stepped_adatom),
];
const SHAPES: [[usize; 3]; 3] = [[16, 2, 8], [7, 3, 5], [5, 1, 3]];

fn each(mut check: impl FnMut(&str, Setup)) {
    for (name, system) in SYSTEMS {
        for shape in SHAPES {
            check(&format!("{name} {shape:?}"), mixed(setup(system(), shape)));
        }
    }
}

/// All numbers of 16 bits, and every f32 next to one of them or to the middle between two, besides random ones: what a rounding
/// could get wrong.
#[test]
fn conversions_are_those_of_ieee() {
    let halves: Vec<u16> = (0..=u16::MAX).collect();
    let mut values: Vec<f32> = vec![f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, 65519.996, 65520.0, -65520.0, 1e9];
    for &bits in &halves {
        let (low, high) = (f16::from_bits(bits).to_f32(), f16::from_bits(bits.wrapping_add(1)).to_f32());
        for around in [low, 0.5 * (low + high)] {
            let bits = around.to_bits();
            values.extend([bits.wrapping_sub(1), bits, bits.wrapping_add(1)].map(f32::from_bits));
        }
    }
    let mut random = Random::new(11);
    values.extend((0..100_001).map(|_| f32::from_bits(random.below(1 << 32) as u32)));
    let (narrowed, paired, widened) = converted(&device(), &values, &halves);
    for ((&value, &bits), &in_pair) in values.iter().zip(&narrowed).zip(&paired) {
        let kept = if value.is_finite() { value.clamp(-65504.0, 65504.0) } else { value };
        let expected = f16::from_f32(kept);
        let (found, in_pair) = (f16::from_bits(bits), f16::from_bits(in_pair));
        let same = |found: f16| found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
        assert!(same(found) && same(in_pair), "{value:e} becomes {found:e} and {in_pair:e}, not {expected:e}");
    }
    for (&bits, &value) in halves.iter().zip(&widened) {
        let expected = f16::from_bits(bits).to_f32();
        let same = value.to_bits() == expected.to_bits() || (value.is_nan() && expected.is_nan());
        assert!(same, "{bits:#06x} is {value:e}, not {expected:e}");
    }
}

/// Errors relative to the largest entry, of many comparisons.
#[derive(Default)]
struct Errors(Vec<(f64, String)>);

impl Errors {
    fn push(&mut self, what: String, found: &[f64], expected: &[f64], largest: f64) {
        assert_eq!(found.len(), expected.len(), "{what}");
        if largest > 0.0 {
            let farthest = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, max_or_nan);
            self.0.push((farthest / largest, what));
        } else {
            assert!(found.iter().all(|x| *x == 0.0), "{what} must be 0");
        }
    }

    /// Every error is within [`tolerance::MIXED`], half of them within [`tolerance::MIXED_TYPICAL`].
    fn assert_small(mut self) {
        self.0.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (worst, what) = self.0.last().expect("a comparison");
        assert!(*worst <= tolerance::MIXED, "{what}: {worst:e} of the largest entry");
        let middle = self.0[self.0.len() / 2].0;
        assert!(middle <= tolerance::MIXED_TYPICAL, "half of all errors are above {middle:e}");
    }
}

fn max_or_nan(a: f64, b: f64) -> f64 {
    if b.is_nan() || b > a { b } else { a }
}

/// Score and forces of `setup`'s engine and of the oracle, and the same in f32.
#[test]
fn outputs_follow_the_cpu() {
    let mut errors = Errors::default();
    each(|what, setup| {
        let positions = prior_structures(&setup.system, 3, 8);
        let times = [0.01, 0.5, 1.0];
        let (mut engine, mut oracle) = (random_cuda(&setup, 4), random_engine::<f64>(&as_f32(&setup), 4));
        let score = flat(&engine.score(&positions, &times).unwrap());
        let expected = flat(&oracle.score(&positions, &times).unwrap());
        errors.push(format!("{what}: score"), &score, &expected, largest(&expected));
        let all_in_f32 = difference(&score, &expected, tolerance::F32).is_none();
        assert!(!all_in_f32, "{what}: these are results of f32, nothing was kept in 16 bits");
        let forces = flat(&engine.forces(&positions).unwrap().unwrap());
        let expected = flat(&oracle.forces(&positions).unwrap().unwrap());
        errors.push(format!("{what}: forces"), &forces, &expected, largest(&expected));
    });
    errors.assert_small();
}

/// As in f32: measured by the mean magnitude of single structures' gradients.
#[test]
fn gradients_follow_the_cpu() {
    let mut errors = Errors::default();
    each(|what, setup| {
        let batch = random_batch(&setup.system, 3, 6);
        let (mut engine, mut oracle) = (random_cuda(&setup, 4), random_engine::<f64>(&as_f32(&setup), 4));
        for (kind, loss) in all_losses(&setup.system, 3, 9) {
            let found = engine.loss_and_gradient(&batch, &loss).unwrap();
            let expected = oracle.loss_and_gradient(&batch, &loss).unwrap();
            errors.push(format!("{what}: {kind}"), &[found.loss], &[expected.loss], expected.loss.abs());
            let magnitude = gradient_magnitude(&mut oracle, &batch, &loss);
            for tensor in &Layout::new(&setup.sizes).tensors {
                let part = |values: &[f64]| values[tensor.range()].to_vec();
                let (found, expected) = (part(&found.gradient), part(&expected.gradient));
                let what = format!("{what}: {kind}: {}", tensor.name);
                errors.push(what, &found, &expected, largest(&magnitude[tensor.range()]));
            }
        }
    });
    errors.assert_small();
}

/// Models of the size that is used, among them the published one.
#[test]
fn models_of_full_size_follow_the_reference() {
    for name in ["painn_heptamer_full.safetensors", "painn_stepped_published.safetensors"] {
        let Some(reference) = Reference::open(name) else { continue };
        let mut engine = Cuda::new(&device(), &mixed(reference.setup.clone())).unwrap();
        engine.restore(&reference.state()).unwrap();
        let score = engine.score(&reference.batch.positions, &reference.batch.times).unwrap();
        assert_close(name, &flat(&score), &reference.get("out.score").unwrap(), tolerance::MIXED);
        let found = engine.loss_and_gradient(&reference.batch, &Loss::Score(Weighting::Dsm)).unwrap();
        for tensor in &Layout::new(&reference.setup.sizes).tensors {
            if let Some(expected) = reference.get(&format!("grad.dsm.{}", tensor.name)) {
                let what = format!("{name}: {}", tensor.name);
                assert_close(&what, &found.gradient[tensor.range()], &expected, tolerance::MIXED);
            }
        }
    }
}

fn training_set(setup: &Setup, n: u32) -> TrainingSet {
    let weights = (0..n).map(|k| 0.5 + f64::from(k) / f64::from(n)).collect();
    TrainingSet { positions: prior_structures(&setup.system, n, 7), weights, forces: None, targets: Default::default() }
}

fn trained(engine: &mut dyn Engine, set: &TrainingSet, steps: usize) -> (f64, ModelState) {
    let report = engine.train(STREAM, set, steps, &mut quiet).unwrap();
    (report.loss, engine.state().unwrap())
}

fn sampled(engine: &mut dyn Engine, range: std::ops::Range<usize>) -> Vec<FreePositions> {
    engine.sample(STREAM, range, Sampler::Plain, &mut quiet).unwrap()
}

/// Steps on the same batches with the same noise. AdamW moves a parameter by about the learning rate whatever its gradient's size, so
/// the moments, not the parameters, are compared.
#[test]
fn training_follows_the_cpu() {
    for (name, system) in SYSTEMS {
        for weighting in [Weighting::Dsm, Weighting::Published] {
            let mut setup = mixed(setup(system(), [16, 2, 8]));
            setup.training.weighting = weighting;
            let set = training_set(&setup, 6);
            let (loss, state) = trained(&mut random_cuda(&setup, 4), &set, 5);
            let (expected_loss, expected) = trained(&mut random_engine::<f64>(&as_f32(&setup), 4), &set, 5);
            assert_close(&format!("{name}: loss"), &[loss], &[expected_loss], tolerance::MIXED);
            for tensor in &Layout::new(&setup.sizes).tensors {
                let part = |values: &[f64]| values[tensor.range()].to_vec();
                let what = format!("{name}: {}", tensor.name);
                let (found, expected) = (part(&state.first_moment), part(&expected.first_moment));
                assert_close(&what, &found, &expected, 3.0 * tolerance::MIXED);
            }
        }
    }
}

/// Both heads in a step, and the corrector along the predicted forces.
#[test]
fn guidance_follows_the_cpu() {
    let setup = mixed(setup(slab(), [16, 2, 8]));
    let known = ForceSet {
        positions: prior_structures(&setup.system, 6, 9),
        forces: random_vectors(&setup.system, 6, 10),
        ..Default::default()
    };
    let set = TrainingSet { forces: Some(known), ..training_set(&setup, 6) };
    let run = |engine: &mut dyn Engine| {
        let report = engine.train(STREAM, &set, 5, &mut quiet).unwrap();
        let samples = engine.sample(STREAM, 0..4, Sampler::Guided, &mut quiet).unwrap();
        ([report.loss, report.force_loss.unwrap()], flat(&samples))
    };
    let (losses, samples) = run(&mut random_cuda(&setup, 4));
    let (expected_losses, expected) = run(&mut random_engine::<f64>(&as_f32(&setup), 4));
    assert_close("losses", &losses, &expected_losses, tolerance::MIXED);
    if let Some(wrong) = difference_within(&samples, &expected, 0.05) {
        panic!("{wrong}");
    }
}

/// Twenty reverse steps from the same prior with the same noise.
#[test]
fn sampling_follows_the_cpu() {
    for (name, system) in SYSTEMS {
        let setup = mixed(setup(system(), [16, 2, 8]));
        let found = flat(&sampled(&mut random_cuda(&setup, 4), 3..8));
        let expected = flat(&sampled(&mut random_engine::<f64>(&as_f32(&setup), 4), 3..8));
        if let Some(wrong) = difference_within(&found, &expected, 0.01) {
            panic!("{name}: {wrong}");
        }
    }
}

/// Same seed, same bits: again, in a new engine, without captured launches, in rooms that had to grow, and in parts.
#[test]
fn every_bit_is_the_same() {
    let setup = mixed(setup(thin_bulk(), [16, 3, 8]));
    let set = training_set(&setup, 6);
    let run = |engine: &mut Cuda| {
        engine.restore(&random_state(&setup, 4)).unwrap();
        let (loss, state) = trained(engine, &set, 7);
        (loss, state, sampled(engine, 0..3))
    };
    let mut engine = random_cuda(&setup, 4);
    let first = run(&mut engine);
    assert!(run(&mut engine) == first, "a second time");
    assert_eq!(sampled(&mut engine, 1..2), first.2[1..2]);
    let mut direct = random_cuda(&setup, 1);
    direct.capture_launches(false);
    assert!(run(&mut direct) == first, "without captured launches");
    let mut narrow = random_cuda(&setup, 1);
    narrow.expect_pairs(3);
    assert!(run(&mut narrow) == first, "with room for 3 pairs at first");
}

/// [`random_state`] with all filters `factor` times as large, and all that they are multiplied with as much smaller: in exact arithmetic
/// the same model.
fn with_large_filters(setup: &Setup, factor: f64) -> ModelState {
    let mut state = random_state(setup, 4);
    for tensor in &Layout::new(&setup.sizes).tensors {
        let by = match &tensor.name {
            name if name.contains("filter_net") => factor,
            name if name.contains("interatomic_context_net.1") => 1.0 / factor,
            _ => 1.0,
        };
        state.parameters[tensor.range()].iter_mut().for_each(|w| *w = f64::from((*w * by) as f32));
    }
    state
}

/// What 16 bits cannot hold is kept as the largest number that they can: results stay finite, and are no longer those of f32.
#[test]
fn values_beyond_the_range_saturate() {
    let setup = mixed(setup(slab(), [16, 2, 8]));
    let batch = random_batch(&setup.system, 3, 6);
    let computed = |setup: &Setup, factor: f64| {
        let mut engine = random_cuda(setup, 4);
        engine.restore(&with_large_filters(setup, factor)).unwrap();
        let gradient = engine.loss_and_gradient(&batch, &Loss::Score(Weighting::Dsm)).unwrap().gradient;
        (flat(&engine.score(&batch.positions, &batch.times).unwrap()), gradient)
    };
    let (expected, _) = computed(&as_f32(&setup), 1.0);
    let (within, _) = computed(&setup, 1e3);
    assert_close("within the range", &within, &expected, tolerance::MIXED);
    let (beyond, gradient) = computed(&setup, 4e5);
    assert!(beyond.iter().chain(&gradient).all(|x| x.is_finite()), "beyond the range all is finite");
    let wrong = difference(&beyond, &expected, 0.2);
    assert!(wrong.is_some(), "beyond the range the filters are cut off, which must be seen");
    assert_close("f32 has that range", &computed(&as_f32(&setup), 4e5).0, &expected, 1e-4);
}

/// As in f32: saturation does not hide that training failed.
#[test]
fn divergence_is_found() {
    let mut reckless = mixed(setup(slab(), [16, 2, 8]));
    reckless.training.learning_rate = 1e30;
    let mut engine = random_cuda(&reckless, 4);
    let before = engine.state().unwrap();
    let error = engine.train(STREAM, &training_set(&reckless, 6), 5, &mut quiet).unwrap_err();
    let sentence = error.to_string();
    assert!(error.exit_code() == 1 && sentence.starts_with("training diverged: "), "{sentence}");
    assert!(engine.state().unwrap() == before);
}

/// Trained on one site of the stepped surface, the model leads atoms there, as in tests/engine_training.rs.
#[test]
fn training_leads_to_the_site() {
    let change = |setup: &mut Setup| {
        (setup.precision, setup.training.weighting) = (Storage::Mixed, Weighting::Published);
    };
    learns_a_site(change, |setup| random_cuda(setup, 3), STREAM, 16, 0.5);
}

#[test]
fn the_device_says_so() {
    let setup = setup(slab(), [8, 1, 4]);
    let device = |setup: &Setup| random_cuda(setup, 1).device();
    assert!(device(&setup).contains("f32"), "{}", device(&setup));
    assert!(device(&mixed(setup.clone())).contains("mixed precision"));
}
