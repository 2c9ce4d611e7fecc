//! Gradients of the CPU engine against differences of its loss, on every kind of system and on shapes that do not fill the
//! vector registers.

mod reference;

use godiff::engine::cpu::Cpu;
use godiff::engine::cpu::simd::Real;
use godiff::engine::{Engine, Loss, ModelState, NoisyBatch, Setup, Weighting};
use godiff::model::Layout;
use godiff::system::System;
use reference::systems::{
    Random, Shape, all_losses, assert_narrow_follows, channel, cluster, random_batch, random_engine, random_state,
    setup, single_structures, slab, thin_bulk,
};
use reference::{assert_close, tolerance};

type Case = (&'static str, fn() -> System, Shape);

/// Systems and shapes (F, L, K): F that fill one vector register, less, and one and a part.
const CASES: [Case; 8] = [
    ("slab", slab, [16, 2, 8]),
    ("slab", slab, [5, 3, 1]),
    ("slab", slab, [20, 1, 8]),
    ("cluster", cluster, [20, 2, 1]),
    ("cluster", cluster, [16, 1, 8]),
    ("thin bulk", thin_bulk, [5, 2, 8]),
    ("thin bulk", thin_bulk, [16, 3, 8]),
    ("channel", channel, [20, 3, 8]),
];

const N_STRUCTURES: u32 = 2;

/// d loss / d s at s = 0 of parameters + s·direction, from four points: exact to the fourth order in the step.
fn slope(
    engine: &mut Cpu<f64>,
    state: &ModelState,
    batch: &NoisyBatch,
    loss: &Loss,
    direction: &[(usize, f64)],
) -> f64 {
    const STEP: f64 = 1e-3;
    let mut at = |s: f64| {
        let mut moved = state.clone();
        direction.iter().for_each(|&(k, d)| moved.parameters[k] += s * d);
        engine.restore(&moved).unwrap();
        engine.loss_and_gradient(batch, loss).unwrap().loss
    };
    (8.0 * (at(STEP) - at(-STEP)) - (at(2.0 * STEP) - at(-2.0 * STEP))) / (12.0 * STEP)
}

/// The first thing in `gradient` that differences of the loss contradict: a random direction through each tensor, its
/// largest entry and a random one are looked at.
fn contradiction(
    setup: &Setup,
    engine: &mut Cpu<f64>,
    batch: &NoisyBatch,
    loss: &Loss,
    gradient: &[f64],
) -> Option<String> {
    let state = engine.state().unwrap();
    let value = engine.loss_and_gradient(batch, loss).unwrap().loss;
    let mut random = Random::new(9);
    for tensor in &Layout::new(&setup.sizes).tensors {
        let (range, part) = (tensor.range(), &gradient[tensor.range()]);
        let norm = |values: &[f64]| values.iter().map(|g| g * g).sum::<f64>().sqrt();
        let bound = tolerance::DIFFERENCES * norm(part) + 1e-11 * value;
        let through: Vec<f64> = range.clone().map(|_| random.normal()).collect();
        let largest = (0..part.len()).max_by(|&a, &b| part[a].abs().total_cmp(&part[b].abs())).unwrap();
        let directions = [
            range.clone().zip(through.iter().map(|d| d / norm(&through))).collect::<Vec<_>>(),
            vec![(range.start + largest, 1.0)],
            vec![(range.start + random.below(part.len()), 1.0)],
        ];
        for (direction, kind) in directions.iter().zip(["a random direction", "the largest entry", "a random entry"]) {
            let analytic: f64 = direction.iter().map(|&(k, d)| gradient[k] * d).sum();
            let numeric = slope(engine, &state, batch, loss, direction);
            if (numeric - analytic).is_nan() || (numeric - analytic).abs() > bound {
                engine.restore(&state).unwrap();
                return Some(format!("{} along {kind}: {analytic:e}, differences say {numeric:e}", tensor.name));
            }
        }
    }
    engine.restore(&state).unwrap();
    None
}

#[test]
fn gradients_are_differences_of_the_loss() {
    for (name, system, shape) in CASES {
        let setup = setup(system(), shape);
        let batch = random_batch(&setup.system, N_STRUCTURES, 3);
        let mut engine = random_engine::<f64>(&setup, 1);
        for (kind, loss) in all_losses(&setup.system, N_STRUCTURES, 4) {
            let gradient = engine.loss_and_gradient(&batch, &loss).unwrap().gradient;
            if let Some(wrong) = contradiction(&setup, &mut engine, &batch, &loss, &gradient) {
                panic!("{name} {shape:?} {kind}: {wrong}");
            }
        }
    }
}

/// The differences must notice a gradient that is wrong by one part in ten thousand, or in sign, in any one tensor.
#[test]
fn differences_notice_a_wrong_tensor() {
    let setup = setup(slab(), [5, 2, 1]);
    let batch = random_batch(&setup.system, N_STRUCTURES, 3);
    let mut engine = random_engine::<f64>(&setup, 1);
    let loss = Loss::Score(Weighting::Dsm);
    let gradient = engine.loss_and_gradient(&batch, &loss).unwrap().gradient;
    for tensor in Layout::new(&setup.sizes).tensors.iter().filter(|tensor| !tensor.name.starts_with("force")) {
        for factor in [1.0 + 1e-4, 1.0 - 1e-4, -1.0] {
            let mut wrong = gradient.clone();
            wrong[tensor.range()].iter_mut().for_each(|g| *g *= factor);
            let found = contradiction(&setup, &mut engine, &batch, &loss, &wrong).expect(&tensor.name);
            assert!(found.starts_with(&tensor.name), "{found} instead of {}", tensor.name);
        }
    }
}

/// A head without part in the loss and species that do not occur have no gradient.
#[test]
fn what_does_not_matter_has_no_gradient() {
    let setup = setup(slab(), [5, 2, 8]);
    let batch = random_batch(&setup.system, N_STRUCTURES, 3);
    let mut engine = random_engine::<f64>(&setup, 1);
    for (kind, loss) in all_losses(&setup.system, N_STRUCTURES, 4) {
        let gradient = engine.loss_and_gradient(&batch, &loss).unwrap().gradient;
        let idle = if kind == "force" { "score" } else { "force" };
        for tensor in &Layout::new(&setup.sizes).tensors {
            let part = &gradient[tensor.range()];
            if tensor.name.starts_with(idle) {
                assert!(part.iter().all(|g| *g == 0.0), "{} under {kind}", tensor.name);
            } else {
                assert!(part.iter().any(|g| *g != 0.0), "{} under {kind}", tensor.name);
            }
            if tensor.name.ends_with("embedding.weight") {
                for (z, row) in part.chunks_exact(5).enumerate() {
                    let occurs = setup.system.numbers().contains(&(z as u8));
                    assert_eq!(occurs, row.iter().any(|g| *g != 0.0), "species {z} under {kind}");
                }
            }
        }
    }
}

/// Both precisions: loss and gradient of a batch large enough for several chunks are means over its structures.
fn batch_is_a_mean<T: Real>(tolerance: f64) {
    const N: u32 = 40;
    let setup = setup(slab(), [20, 2, 8]);
    let batch = random_batch(&setup.system, N, 3);
    let mut engine = random_engine::<T>(&setup, 1);
    for (kind, loss) in all_losses(&setup.system, N, 4) {
        let found = engine.loss_and_gradient(&batch, &loss).unwrap();
        let (mut value, mut gradient) = (0.0, vec![0.0; found.gradient.len()]);
        for (single, loss) in single_structures(&batch, &loss) {
            let single = engine.loss_and_gradient(&single, &loss).unwrap();
            value += single.loss / f64::from(N);
            gradient.iter_mut().zip(&single.gradient).for_each(|(sum, g)| *sum += g / f64::from(N));
        }
        assert_close(&format!("{kind} loss"), &[found.loss], &[value], tolerance);
        for tensor in &Layout::new(&setup.sizes).tensors {
            let (found, expected) = (&found.gradient[tensor.range()], &gradient[tensor.range()]);
            assert_close(&format!("{kind} {}", tensor.name), found, expected, tolerance);
        }
    }
}

#[test]
fn batch_is_a_mean_f64() {
    batch_is_a_mean::<f64>(tolerance::EXACT_F64);
}

#[test]
fn batch_is_a_mean_f32() {
    batch_is_a_mean::<f32>(tolerance::F32);
}

/// f32 follows f64 on shapes that the reference values do not cover.
#[test]
fn both_precisions_agree() {
    for (name, system, shape) in CASES {
        let setup = setup(system(), shape);
        let batch = random_batch(&setup.system, 6, 3);
        assert_eq!(
            random_engine::<f32>(&setup, 1).state().unwrap(),
            random_state(&setup, 1),
            "f32 holds the parameters exactly"
        );
        for (kind, loss) in all_losses(&setup.system, 6, 4) {
            assert_narrow_follows(&format!("{name} {shape:?} {kind}"), &setup, 1, &batch, &loss);
        }
    }
}
