//! What the engine leaves out because the template never moves is exact: the same atoms, all declared free, give the same
//! numbers.

mod reference;

use godiff::diffusion::Sde;
use godiff::engine::cpu::Cpu;
use godiff::engine::{Engine, Loss, NoisyBatch, Setup, Weighting};
use godiff::model::Layout;
use godiff::system::Vec3;
use reference::systems::{
    Named, Shape, all_free, assert_narrow_follows, channel, heptamer, prior_structures, random_batch, random_engine,
    random_vectors, rattled, setup, slab, stepped_adatom, whole_structures,
};
use reference::{assert_close, flat, tolerance};

const SYSTEMS: [Named; 3] = [("slab", slab), ("channel", channel), ("stepped", stepped_adatom)];
const SHAPES: [Shape; 4] = [[16, 1, 8], [5, 2, 8], [20, 3, 1], [16, 4, 8]];
const N: u32 = 5;

/// Engines on a system with its template and with all its atoms free.
fn both(setup: &Setup) -> [Cpu<f64>; 2] {
    let free = Setup { system: all_free(&setup.system), ..setup.clone() };
    [random_engine(setup, 4), random_engine(&free, 4)]
}

fn free_part(values: &[Vec<Vec3>], n_template: usize) -> Vec<f64> {
    values.iter().flat_map(|structure| structure[n_template..].iter().flatten()).copied().collect()
}

#[test]
fn template_changes_no_output() {
    for (name, system) in SYSTEMS {
        for shape in SHAPES {
            let setup = setup(system(), shape);
            let batch = random_batch(&setup.system, N, 2);
            let whole = whole_structures(&setup.system, &batch.positions);
            let [mut with, mut without] = both(&setup);
            let what = format!("{name} {shape:?}");
            let n_template = setup.system.n_template();
            let found = with.score(&batch.positions, &batch.times).unwrap();
            let expected = without.score(&whole, &batch.times).unwrap();
            assert_close(
                &what,
                &free_part(&found, n_template),
                &free_part(&expected, n_template),
                tolerance::EXACT_F64,
            );
            assert!(found.iter().all(|score| score[..n_template].iter().flatten().all(|x| *x == 0.0)));
            assert!(expected.iter().any(|score| score[..n_template].iter().flatten().any(|x| *x != 0.0)));
            let found = with.forces(&batch.positions).unwrap().unwrap();
            let expected = without.forces(&whole).unwrap().unwrap();
            assert_close(&what, &flat(&found), &flat(&expected), tolerance::EXACT_F64);
            let (found, expected) = (with.representation(&batch.positions), without.representation(&whole));
            assert_close(&what, &found.0, &expected.0, tolerance::EXACT_F64);
            assert_close(&what, &found.1, &expected.1, tolerance::EXACT_F64);
        }
    }
}

/// The batch of all-free structures whose template atoms have no share in the loss: their noise is what makes the residual 0.
fn without_template(setup: &Setup, batch: &NoisyBatch, engine: &mut Cpu<f64>, weighting: Weighting) -> NoisyBatch {
    let positions = whole_structures(&setup.system, &batch.positions);
    let score = engine.score(&positions, &batch.times).unwrap();
    let noise = (score.iter().zip(&batch.times).zip(&batch.noise))
        .map(|((score, &t), noise)| {
            let sigma = Sde::default().noise_scale(t);
            let factor = match weighting {
                Weighting::Dsm => sigma,
                Weighting::Published => sigma * sigma,
            };
            let silent = score[..setup.system.n_template()].iter().map(|s| s.map(|s| -factor * s));
            silent.chain(noise.iter().copied()).collect()
        })
        .collect();
    NoisyBatch { positions, times: batch.times.clone(), noise, weights: batch.weights.clone() }
}

#[test]
fn template_changes_no_gradient() {
    for (name, system) in SYSTEMS {
        for shape in SHAPES {
            let setup = setup(system(), shape);
            let batch = random_batch(&setup.system, N, 2);
            let [mut with, mut without] = both(&setup);
            let share = setup.system.n_free() as f64 / setup.system.n_atoms() as f64;
            let targets = random_vectors(&setup.system, N, 3);
            let whole = whole_structures(&setup.system, &batch.positions);
            let forces = without.forces(&whole).unwrap().unwrap();
            let whole_targets = (forces.iter().zip(&targets))
                .map(|(force, target)| [&force[..setup.system.n_template()], target].concat())
                .collect();
            let [dsm, published] = [Weighting::Dsm, Weighting::Published]
                .map(|weighting| without_template(&setup, &batch, &mut without, weighting));
            // Means over free atoms are smaller where all atoms count as free; the published loss always counts all.
            let cases = [
                (Loss::Score(Weighting::Dsm), dsm, Loss::Score(Weighting::Dsm), share),
                (Loss::Score(Weighting::Published), published.clone(), Loss::Score(Weighting::Published), 1.0),
                (Loss::Force(targets), published, Loss::Force(whole_targets), share),
            ];
            for (loss, whole, whole_loss, share) in cases {
                let found = with.loss_and_gradient(&batch, &loss).unwrap();
                let expected = without.loss_and_gradient(&whole, &whole_loss).unwrap();
                let what = format!("{name} {shape:?}");
                assert_close(&what, &[found.loss * share], &[expected.loss], tolerance::EXACT_F64);
                for tensor in &Layout::new(&setup.sizes).tensors {
                    let found: Vec<f64> = found.gradient[tensor.range()].iter().map(|g| g * share).collect();
                    let expected = &expected.gradient[tensor.range()];
                    assert_close(&format!("{what} {}", tensor.name), &found, expected, tolerance::EXACT_F64);
                }
            }
        }
    }
}

/// Pt₇ on 72 atoms as the search has it, as cut from the crystal (all distances shared) and rattled (none): f64 without
/// template, f64 with it, f32 with shared filter rows.
#[test]
fn shared_distances_on_crystal_and_rattled_slabs() {
    for spread in [0.0, 0.05] {
        let mut setup = setup(rattled(heptamer(), spread, 6), [16, 3, 8]);
        setup.sizes.cutoff_angstrom = 6.0;
        setup.radial_basis = godiff::model::RadialBasis::even(8, 6.0);
        let positions = prior_structures(&setup.system, 2, 9);
        let times = [0.2, 0.8];
        let whole = whole_structures(&setup.system, &positions);
        let [mut with, mut without] = both(&setup);
        let mut narrow = random_engine::<f32>(&setup, 4);
        let n_template = setup.system.n_template();
        let score = |engine: &mut dyn Engine| free_part(&engine.score(&positions, &times).unwrap(), n_template);
        let expected = free_part(&without.score(&whole, &times).unwrap(), n_template);
        assert_close("f64 score", &score(&mut with), &expected, tolerance::EXACT_F64);
        assert_close("f32 score", &score(&mut narrow), &expected, tolerance::F32);
        let expected = flat(&without.forces(&whole).unwrap().unwrap());
        assert_close("f64 forces", &flat(&with.forces(&positions).unwrap().unwrap()), &expected, tolerance::EXACT_F64);
        assert_close("f32 forces", &flat(&narrow.forces(&positions).unwrap().unwrap()), &expected, tolerance::F32);
        let batch = random_batch(&setup.system, 3, 5);
        for weighting in [Weighting::Dsm, Weighting::Published] {
            let what = format!("spread {spread} {weighting:?}");
            assert_narrow_follows(&what, &setup, 4, &batch, &Loss::Score(weighting));
        }
    }
}
