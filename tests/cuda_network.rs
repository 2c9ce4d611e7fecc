//! The GPU engine's network against SchNetPack and PyTorch, and against the CPU engine in f64.
#![cfg(feature = "emulator")]

mod reference;

use godiff::engine::cuda::Cuda;
use godiff::engine::{Engine, Loss, Weighting};
use godiff::model::Layout;
use reference::device::device;
use reference::{Reference, assert_close, flat, tolerance};

const FILES: [&str; 3] =
    ["painn_mixed_small.safetensors", "painn_heptamer_full.safetensors", "painn_stepped_published.safetensors"];

fn on_each(check: impl Fn(&Reference, Cuda)) {
    let device = device();
    for name in FILES {
        if let Some(reference) = Reference::open(name) {
            let mut engine = Cuda::new(&device, &reference.setup).unwrap();
            engine.restore(&reference.state()).unwrap();
            check(&reference, engine);
        }
    }
}

#[test]
fn outputs() {
    on_each(|reference, mut engine| {
        let positions = &reference.batch.positions;
        let score = engine.score(positions, &reference.batch.times).unwrap();
        assert_close("score", &flat(&score), &reference.get("out.score").unwrap(), tolerance::F32);
        if let Some(expected) = reference.get("out.forces") {
            let forces = engine.forces(positions).unwrap().expect("a force head");
            assert_close("forces", &flat(&forces), &expected, tolerance::F32);
        }
    });
}

#[test]
fn gradients() {
    on_each(|reference, mut engine| {
        let mut losses = vec![("dsm", Loss::Score(Weighting::Dsm)), ("published", Loss::Score(Weighting::Published))];
        losses.extend(reference.force_target().map(|target| ("force", Loss::Force(target))));
        for (name, loss) in losses {
            let found = engine.loss_and_gradient(&reference.batch, &loss).unwrap();
            assert_close(name, &[found.loss], &reference.get(&format!("out.loss.{name}")).unwrap(), tolerance::F32);
            let mut n_compared = 0;
            for tensor in &Layout::new(&reference.setup.sizes).tensors {
                let gradient = &found.gradient[tensor.range()];
                if reference.assert_gradient(name, &tensor.name, gradient, tolerance::F32) {
                    n_compared += 1;
                } else {
                    assert!(gradient.iter().all(|g| *g == 0.0), "{} has a gradient under {name}", tensor.name);
                }
            }
            assert!(n_compared >= 36, "only {n_compared} gradients compared");
        }
    });
}
