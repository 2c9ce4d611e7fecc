//! PaiNN, its heads, every gradient and AdamW against SchNetPack and PyTorch in f64.

mod reference;

use godiff::engine::cpu::Cpu;
use godiff::engine::cpu::simd::Real;
use godiff::engine::{Engine, Loss, Weighting};
use godiff::model::Layout;
use reference::{Reference, assert_close, difference, flat, probes, tolerance};

const FILES: [&str; 3] =
    ["painn_mixed_small.safetensors", "painn_heptamer_full.safetensors", "painn_stepped_published.safetensors"];

/// Runs `check` on every reference that is here, with the tolerance of the precision.
fn on_each<T: Real>(check: impl Fn(&Reference, Cpu<T>, f64)) {
    for name in FILES {
        if let Some(reference) = Reference::open(name) {
            let mut engine = Cpu::<T>::new(&reference.setup).unwrap();
            engine.restore(&reference.state()).unwrap();
            let tolerance = if T::NARROW { tolerance::F32 } else { reference.tolerance };
            check(&reference, engine, tolerance);
        }
    }
}

fn outputs<T: Real>() {
    on_each::<T>(|reference, mut engine, tolerance| {
        let positions = &reference.batch.positions;
        let (scalar, vector) = engine.representation(positions);
        assert_close("scalar", &scalar, &reference.get("out.scalar").unwrap(), tolerance);
        assert_close("vector", &vector, &reference.get("out.vector").unwrap(), tolerance);
        let score = engine.score(positions, &reference.batch.times).unwrap();
        assert_close("score", &flat(&score), &reference.get("out.score").unwrap(), tolerance);
        match (engine.forces(positions).unwrap(), reference.get("out.forces")) {
            (Some(forces), Some(expected)) => assert_close("forces", &flat(&forces), &expected, tolerance),
            (None, None) => {}
            _ => panic!("force head on one side only"),
        }
    });
}

fn gradients<T: Real>() {
    on_each::<T>(|reference, mut engine, tolerance| {
        let mut losses = vec![("dsm", Loss::Score(Weighting::Dsm)), ("published", Loss::Score(Weighting::Published))];
        losses.extend(reference.force_target().map(|target| ("force", Loss::Force(target))));
        for (name, loss) in losses {
            let found = engine.loss_and_gradient(&reference.batch, &loss).unwrap();
            assert_close(name, &[found.loss], &reference.get(&format!("out.loss.{name}")).unwrap(), tolerance);
            let mut n_compared = 0;
            for tensor in &Layout::new(&reference.setup.sizes).tensors {
                let gradient = &found.gradient[tensor.range()];
                if reference.assert_gradient(name, &tensor.name, gradient, tolerance) {
                    n_compared += 1;
                } else {
                    assert!(gradient.iter().all(|g| *g == 0.0), "{} has a gradient under {name}", tensor.name);
                }
            }
            assert!(n_compared >= 36, "only {n_compared} gradients compared");
        }
    });
}

fn adamw<T: Real>() {
    on_each::<T>(|reference, mut engine, tolerance| {
        let losses = reference.get("out.adamw.losses").unwrap();
        let norms = reference.get("out.adamw.grad_norms").unwrap();
        for (loss, norm) in losses.iter().zip(&norms) {
            let found = engine.loss_and_gradient(&reference.batch, &Loss::Score(Weighting::Dsm)).unwrap();
            // After a step, parameters differ by what AdamW makes of rounding: allow the loss that much.
            let slack = if T::NARROW { 1e-3 } else { 100.0 * tolerance };
            assert_close("loss", &[found.loss], &[*loss], slack);
            assert_close("norm", &[engine.apply_gradient(&found.gradient).unwrap()], &[*norm], slack);
        }
        let (parameters, rate) = (engine.state().unwrap().parameters, reference.setup.training.learning_rate);
        let mut n_compared = 0;
        for tensor in &Layout::new(&reference.setup.sizes).tensors {
            if let Some(expected) = reference.get(&format!("out.adamw.param.{}", tensor.name)) {
                let bound = if T::NARROW { tolerance::ADAMW_OF_RATE * rate } else { 1e3 * tolerance * rate + 1e-7 };
                for (k, (found, expected)) in parameters[tensor.range()].iter().zip(&expected).enumerate() {
                    assert!((found - expected).abs() < bound, "{}[{k}] is {found}, not {expected}", tensor.name);
                }
                n_compared += 1;
            }
        }
        assert!(n_compared >= 4);
    });
}

#[test]
fn outputs_f64() {
    outputs::<f64>();
}

#[test]
fn outputs_f32() {
    outputs::<f32>();
}

#[test]
fn gradients_f64() {
    gradients::<f64>();
}

#[test]
fn gradients_f32() {
    gradients::<f32>();
}

#[test]
fn adamw_f64() {
    adamw::<f64>();
}

#[test]
fn adamw_f32() {
    adamw::<f32>();
}

/// The comparison itself must fail on a small error, on negative values too.
#[test]
fn comparison_notices_errors() {
    let expected = [1.0, -2.0, 0.0];
    assert!(difference(&[1.0, -2.0, 0.0], &expected, 1e-9).is_none());
    assert!(difference(&[1.0, -2.0 + 1e-8, 0.0], &expected, 1e-9).is_some());
    assert!(difference(&[1.0, -2.0 - 1e-8, 0.0], &expected, 1e-9).is_some());
    assert!(difference(&[1.0, -2.0, -1e-8], &expected, 1e-9).is_some());
    assert!(difference(&[1.0, -2.0, f64::NAN], &expected, 1e-9).is_some());
    assert!(difference(&[1.0, -2.0], &expected, 1e-9).is_some());
}

/// Probes notice an error in any entry, however small a part of the gradient.
#[test]
fn probes_notice_errors() {
    let mut gradient: Vec<f64> = (0..1000).map(|k| f64::from(k) * 1e-3 - 0.4).collect();
    let (largest, sums) = probes(&gradient);
    gradient[617] += 1e-6;
    let (same, others) = probes(&gradient);
    assert_eq!(largest, same);
    assert!(sums.iter().zip(others).all(|(a, b)| ((a - b).abs() - 1e-6).abs() < 1e-12));
}
