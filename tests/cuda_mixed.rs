//! `precision = "mixed"`: the conversions, results against the CPU engine in f64, training, and what happens beyond the range of 16 bits.
#![cfg(feature = "emulator")]

mod reference;

use godiff::engine::cuda::Cuda;
use godiff::engine::cuda::driver::{Device, Shape};
use godiff::engine::cuda::half::HalfConversion;
use godiff::engine::{
    Engine, FreePositions, Loss, ModelState, Precision, Sampler, Setup, Stream, TrainingSet, Weighting,
};
use godiff::error::Result;
use godiff::model::{Layout, RadialBasis};
use godiff::system::{Images, vector::sub};
use half::f16;
use reference::systems::{
    Named, Random, all_losses, cluster, prior_structures, random_batch, random_engine, random_state, rattled, setup,
    single_structures, slab, stepped_adatom, thin_bulk,
};
use reference::{assert_close, difference, difference_within, flat, largest, tolerance};

const STREAM: Stream = Stream { seed: 5, iteration: 2 };

/// The device under test: the emulator, or what `GODIFF_TEST_DEVICE` names.
fn device() -> Device {
    let name = std::env::var("GODIFF_TEST_DEVICE").unwrap_or_else(|_| "emulator".into());
    Device::open(&name).expect("the device under test")
}

fn engine_with(setup: &Setup, seed: u64) -> Cuda {
    let mut engine = Cuda::new(&device(), setup).expect("an engine");
    engine.restore(&random_state(setup, seed)).expect("its state");
    engine
}

fn mixed(setup: Setup) -> Setup {
    Setup { precision: Precision::Mixed, ..setup }
}

fn as_f32(setup: &Setup) -> Setup {
    Setup { precision: Precision::F32, ..setup.clone() }
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

fn each(check: impl Fn(&str, Setup)) {
    for (name, system) in SYSTEMS {
        for shape in SHAPES {
            check(&format!("{name} {shape:?}"), mixed(setup(system(), shape)));
        }
    }
}

/// f32 → 16 bits → f32 on the device, one by one and in pairs, and the value of each of `halves`.
fn converted(values: &[f32], halves: &[u16]) -> (Vec<u16>, Vec<u16>, Vec<f32>) {
    let stream = device().stream().unwrap();
    let pairs = stream.zeros::<[u16; 2]>(values.len().div_ceil(2)).unwrap();
    let (values_there, bits) = (stream.upload(values).unwrap(), stream.zeros::<u16>(values.len()).unwrap());
    let halves_there = stream.upload(halves.as_chunks::<2>().0).unwrap();
    let widened = stream.zeros::<f32>(halves.len()).unwrap();
    let arguments = HalfConversion {
        values: values_there.pointer(),
        bits: bits.pointer(),
        pairs: pairs.pointer(),
        halves: halves_there.pointer(),
        widened: widened.pointer(),
        n: values.len() as u32,
        m: halves.len() as u32,
    };
    stream.launch(Shape { blocks: [4, 1], threads: 256, shared_bytes: 0 }, &arguments).unwrap();
    let paired = stream.read(&pairs).unwrap().concat();
    (stream.read(&bits).unwrap(), paired[..values.len()].to_vec(), stream.read(&widened).unwrap())
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
    let (narrowed, paired, widened) = converted(&values, &halves);
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

/// Filters and messages of three decimal digits, sums in f32.
#[test]
fn outputs_follow_the_cpu() {
    each(|what, setup| {
        let positions = prior_structures(&setup.system, 3, 8);
        let times = [0.01, 0.5, 1.0];
        let (mut found, mut expected) = (engine_with(&setup, 4), random_engine::<f64>(&as_f32(&setup), 4));
        let found = [found.score(&positions, &times).unwrap(), found.forces(&positions).unwrap().unwrap()];
        let expected = [expected.score(&positions, &times).unwrap(), expected.forces(&positions).unwrap().unwrap()];
        for (name, found, expected) in [("score", &found[0], &expected[0]), ("forces", &found[1], &expected[1])] {
            assert_close(&format!("{what}: {name}"), &flat(found), &flat(expected), tolerance::MIXED);
        }
        assert!(
            difference(&flat(&found[0]), &flat(&expected[0]), tolerance::F32).is_some(),
            "{what}: the results are those of f32: nothing was kept in 16 bits"
        );
    });
}

/// As in f32, with the tolerance of 16 bits.
#[test]
fn gradients_follow_the_cpu() {
    each(|what, setup| {
        let batch = random_batch(&setup.system, 3, 6);
        let (mut engine, mut oracle) = (engine_with(&setup, 4), random_engine::<f64>(&as_f32(&setup), 4));
        for (kind, loss) in all_losses(&setup.system, 3, 9) {
            let found = engine.loss_and_gradient(&batch, &loss).unwrap();
            let expected = oracle.loss_and_gradient(&batch, &loss).unwrap();
            assert_close(&format!("{what}: {kind}"), &[found.loss], &[expected.loss], tolerance::MIXED);
            let mut magnitude = vec![0.0; expected.gradient.len()];
            for (single, loss) in single_structures(&batch, &loss) {
                let gradient = oracle.loss_and_gradient(&single, &loss).unwrap().gradient;
                magnitude.iter_mut().zip(&gradient).for_each(|(sum, g)| *sum += g.abs() / 3.0);
            }
            for tensor in &Layout::new(&setup.sizes).tensors {
                let range = tensor.range();
                let bound = tolerance::MIXED * largest(&magnitude[range.clone()]);
                if let Some(wrong) = difference_within(&found.gradient[range.clone()], &expected.gradient[range], bound)
                {
                    panic!("{what}: {kind}: {}: {wrong}", tensor.name);
                }
            }
        }
    });
}
