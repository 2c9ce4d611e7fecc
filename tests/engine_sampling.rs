//! The reverse process as a whole: bounds, periodic axes, centre of mass, and diffusion with a known answer where the score
//! is 0.

mod reference;

use godiff::diffusion::ReverseSchedule;
use godiff::engine::cpu::Cpu;
use godiff::engine::cpu::simd::Real;
use godiff::engine::{Engine, FreePositions, RandomStream, ReverseSettings, Sampler, Setup};
use godiff::model::Layout;
use godiff::system::vector::{norm, sub};
use godiff::system::{Cell, Confinement, System, Vec3};
use godiff::{Error, Result};
use reference::systems::{
    channel, cluster, heptamer, mobile_slab, random_engine, random_state, setup, slab, stepped_adatom, thin_bulk,
};

const STREAM: RandomStream = RandomStream { seed: 5, iteration: 2 };

fn sample(engine: &mut impl Engine, n: usize) -> Vec<FreePositions> {
    engine.sample(STREAM, 0..n, Sampler::Plain, &mut |_| Ok(())).unwrap()
}

/// Positions inside the confinement, inside the cell along the axes that are wrapped, and finite; mobile atoms near home.
fn assert_inside(what: &str, system: &System, samples: &[FreePositions]) {
    let wrapped = [true, true, system.confinement.is_none()];
    for (atom, x) in samples.iter().flat_map(|free| free.iter().enumerate()) {
        assert!(x.iter().all(|x| x.is_finite()), "{what}: {x:?}");
        if let Some(&home) = system.mobile.homes.get(atom) {
            assert!(norm(sub(*x, home)) < 8.0 * system.mobile.noise_angstrom, "{what}: {x:?} far from {home:?}");
            continue;
        }
        if let Some(Confinement { z_lo, z_hi }) = system.confinement {
            assert!((z_lo..=z_hi).contains(&x[2]), "{what}: {x:?} leaves the confinement");
        }
        let fraction = system.cell.fractional(*x);
        for k in (0..3).filter(|&k| wrapped[k] && system.cell.periodic[k]) {
            assert!((-1e-12..=1.0 + 1e-12).contains(&fraction[k]), "{what}: fraction {fraction:?}");
        }
    }
}

fn untrained<T: Real>() {
    for (name, system) in [
        ("slab", slab()),
        ("mobile slab", mobile_slab()),
        ("bulk", thin_bulk()),
        ("channel", channel()),
        ("cluster", cluster()),
        ("Pt7", heptamer()),
    ] {
        let setup = setup(system, [16, 2, 8]);
        for seed in 0..3 {
            let samples = sample(&mut random_engine::<T>(&setup, seed), 12);
            assert_eq!(samples.len(), 12);
            assert!(samples.iter().all(|free| free.len() == setup.system.n_free()));
            assert_inside(name, &setup.system, &samples);
        }
    }
}

#[test]
fn untrained_models_give_sound_structures_f64() {
    untrained::<f64>();
}

#[test]
fn untrained_models_give_sound_structures_f32() {
    untrained::<f32>();
}

/// A periodic third axis is not wrapped under confinement: the heights are absolute and may span several cells.
#[test]
fn heights_are_never_wrapped() {
    let mut system = slab();
    system.cell.periodic = [true; 3];
    system.confinement = Some(Confinement { z_lo: 20.0, z_hi: 52.0 });
    let setup = setup(system, [5, 1, 8]);
    let samples = sample(&mut random_engine::<f32>(&setup, 1), 40);
    assert_inside("slab", &setup.system, &samples);
    let heights: Vec<f64> = samples.iter().flatten().map(|x| x[2]).collect();
    assert!(heights.iter().any(|z| *z < 25.0) && heights.iter().any(|z| *z > 47.0));
}

/// An engine on the slab with the tensors that `chosen` names scaled by `factor`.
fn scaled<T: Real>(chosen: &str, factor: f64) -> (Cpu<T>, Setup) {
    let setup = setup(slab(), [16, 2, 8]);
    let mut state = random_state(&setup, 2);
    for tensor in Layout::new(&setup.sizes).tensors.iter().filter(|tensor| tensor.name.contains(chosen)) {
        state.parameters[tensor.range()].iter_mut().for_each(|p| *p *= factor);
    }
    let mut engine = Cpu::new(&setup).unwrap();
    engine.restore(&state).unwrap();
    (engine, setup)
}

/// A score that counts three times is that of a model whose last layer is three times as large, as long as no step is held back;
/// held back at every step, it is the score itself.
#[test]
fn scaled_scores_are_those_of_a_larger_last_layer() {
    let samples = |factor: f64, score_scale: f64, t_min: f64, steps: usize| {
        let (engine, mut setup) = scaled::<f64>("score.2.scalar_net.1", factor);
        setup.reverse = ReverseSettings { steps, t_min, score_scale, basin_variance: None };
        let mut again = Cpu::<f64>::new(&setup).unwrap();
        again.restore(&engine.state().unwrap()).unwrap();
        sample(&mut again, 6)
    };
    let distance = |a: Vec<FreePositions>, b: Vec<FreePositions>| {
        let pairs = a.into_iter().flatten().flatten().zip(b.into_iter().flatten().flatten());
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    // From t = 1 to 0.6 in 39 steps of 0.01, σ_t²/(g²dt) falls from 48 to 29.
    assert!(distance(samples(90.0, 1.0, 0.6, 40), samples(30.0, 3.0, 0.6, 40)) < 1e-9);
    assert!(distance(samples(30.0, 1.0, 0.6, 40), samples(30.0, 3.0, 0.6, 40)) > 0.01);
    // One step and the last at σ_t²/(g²dt) < 1.
    assert_eq!(samples(30.0, 1.0, 0.005, 2), samples(30.0, 3.0, 0.005, 2));
}

/// Scores that drive atoms by several Å a step leave them at the bounds, and inside the cell.
#[test]
fn strong_scores_stay_inside() {
    let (mut engine, setup) = scaled::<f32>("score.2.mix_vectors", 1e4);
    let samples = sample(&mut engine, 20);
    assert_inside("strong", &setup.system, &samples);
    let Confinement { z_lo, z_hi } = setup.system.confinement.unwrap();
    assert!(samples.iter().flatten().any(|x| x[2] == z_lo || x[2] == z_hi), "nothing reached a bound");
}

/// A model gone mad gives positions that are no numbers, for the search to drop, but neither panics nor hangs.
#[test]
fn absurd_models_still_end() {
    for factor in [1e5, 1e20, f64::INFINITY, f64::NAN] {
        let (mut narrow, _) = scaled::<f32>("", factor);
        assert_eq!(sample(&mut narrow, 6).len(), 6);
        let (mut wide, _) = scaled::<f64>("", factor);
        let samples = sample(&mut wide, 6);
        assert!(factor < 1e10 || samples.iter().flatten().any(|x| !x[0].is_finite()), "NaN stays visible");
    }
}

/// χ² of the counts of `values` in [0, 1) over `n_bins` equal bins.
fn chi_square(values: &[f64], n_bins: usize) -> f64 {
    let mut counts = vec![0.0; n_bins];
    values.iter().for_each(|x| counts[((x * n_bins as f64) as usize).min(n_bins - 1)] += 1.0);
    let expected = values.len() as f64 / n_bins as f64;
    counts.iter().map(|c| (c - expected) * (c - expected) / expected).sum()
}

/// Beyond this χ² of 9 degrees of freedom lies one value in ten million.
const IMPROBABLE: f64 = 50.0;

/// An engine whose parameters are all 0, and so is its score.
fn scoreless(system: System, steps: usize) -> (Cpu<f32>, Setup) {
    let mut setup = setup(system, [1, 1, 1]);
    setup.reverse.steps = steps;
    (Cpu::new(&setup).unwrap(), setup)
}

/// Without score the reverse process is diffusion: uniform in a periodic cell stays uniform, skewed as it may be.
#[test]
fn uniform_stays_uniform() {
    for (name, system) in [("slab", slab()), ("bulk", thin_bulk()), ("stepped", stepped_adatom())] {
        let (mut engine, setup) = scoreless(system, 12);
        let samples = sample(&mut engine, 3000 / setup.system.n_free());
        assert_inside(name, &setup.system, &samples);
        let fractions: Vec<Vec3> = samples.iter().flatten().map(|&x| setup.system.cell.fractional(x)).collect();
        for k in (0..3).filter(|&k| setup.system.cell.periodic[k]) {
            let along: Vec<f64> = fractions.iter().map(|f| f[k]).collect();
            let found = chi_square(&along, 10);
            assert!(found < IMPROBABLE, "{name} axis {k}: {found}");
        }
        let across: Vec<f64> = fractions.iter().map(|f| (f[0] + f[1]) % 1.0).collect();
        assert!(chi_square(&across, 10) < IMPROBABLE, "{name}: the axes are independent");
    }
    let biased: Vec<f64> = (0..3000).map(|k| (f64::from(k) / 3000.0).powf(1.2)).collect();
    assert!(chi_square(&biased, 10) > IMPROBABLE, "the test would notice a slight bias");
}

/// Atoms between the bounds diffuse there: all heights occur, and none piles up at a bound as clamping would have it.
#[test]
fn heights_fill_the_confinement() {
    let (mut engine, setup) = scoreless(slab(), 12);
    let samples = sample(&mut engine, 500);
    let Confinement { z_lo, z_hi } = setup.system.confinement.unwrap();
    let heights: Vec<f64> = samples.iter().flatten().map(|x| (x[2] - z_lo) / (z_hi - z_lo)).collect();
    for tenth in 0..10 {
        let share = heights.iter().filter(|z| (**z * 10.0) as usize == tenth).count() as f64 / heights.len() as f64;
        assert!((0.03..0.2).contains(&share), "{share} of the heights in tenth {tenth}");
    }
    assert!(heights.iter().all(|z| *z > 0.0 && *z < 1.0), "on a bound exactly");
}

/// Without periodic axes the spread has a known end: that of the prior and Σ g²dt of all steps but the last.
#[test]
fn clusters_spread_as_diffusion_says_and_stay_centred() {
    let (mut engine, setup) = scoreless(cluster(), 10);
    let samples = sample(&mut engine, 4000);
    let n = setup.system.n_free() as f64;
    let mut sum = 0.0;
    for structure in &samples {
        for d in 0..3 {
            let centre: f64 = structure.iter().map(|x| x[d]).sum::<f64>() / n;
            assert!(centre.abs() < 1e-12, "centre {centre}");
        }
        sum += structure.iter().flatten().map(|x| x * x).sum::<f64>();
    }
    let schedule = ReverseSchedule::new(10, setup.reverse.t_min).unwrap();
    let added: f64 = (0..9).map(|k| setup.sde.diffusion_squared(schedule.time(k)) * schedule.dt()).sum();
    let expected = 0.64 * n.powf(2.0 / 3.0) + added;
    // The centre takes one of n degrees of freedom along each axis.
    let found = sum / (3.0 * (n - 1.0) * samples.len() as f64);
    assert!((found / expected - 1.0).abs() < 0.02, "variance {found}, not {expected}");
}

/// The score moves atoms, too, without moving the centre.
#[test]
fn scores_leave_clusters_centred() {
    let setup = setup(cluster(), [16, 2, 8]);
    let mut engine = random_engine::<f64>(&setup, 3);
    let with = sample(&mut engine, 8);
    let without = sample(&mut scoreless(cluster(), setup.reverse.steps).0, 8);
    for (with, without) in with.iter().zip(&without) {
        assert_ne!(with, without);
        for d in 0..3 {
            assert!(with.iter().map(|x| x[d]).sum::<f64>().abs() < 1e-11);
        }
    }
}

/// An atom in a cell that repeats along one axis alone wanders off along the others.
#[test]
fn axes_that_do_not_repeat_are_not_wrapped() {
    let cell = Cell { vectors: [[1.5, 0.0, 0.0], [0.0, 1.5, 0.0], [0.0, 0.0, 1.5]], periodic: [false, true, false] };
    let (mut engine, setup) = scoreless(System { cell, free_numbers: vec![78; 2], ..thin_bulk() }, 10);
    let samples = sample(&mut engine, 100);
    assert_inside("row", &setup.system, &samples);
    for k in [0, 2] {
        assert!(samples.iter().flatten().any(|x| x[k] < -0.1) && samples.iter().flatten().any(|x| x[k] > 1.6));
    }
}

#[test]
fn progress_hears_of_every_step_and_can_stop() {
    let setup = setup(slab(), [5, 1, 1]);
    let mut engine = random_engine::<f32>(&setup, 1);
    let mut heard = Vec::new();
    engine
        .sample(STREAM, 0..3, Sampler::Plain, &mut |step| {
            heard.push(step);
            Ok(())
        })
        .unwrap();
    assert_eq!(heard, (1..=setup.reverse.steps).collect::<Vec<_>>());

    let before = engine.state().unwrap();
    let mut n_calls = 0;
    let stopped: Result<_> = engine.sample(STREAM, 0..3, Sampler::Plain, &mut |step| {
        n_calls += 1;
        if step == 4 { Err(Error::Interrupted) } else { Ok(()) }
    });
    assert!(matches!(stopped, Err(Error::Interrupted)));
    assert_eq!(n_calls, 4);
    assert_eq!(engine.state().unwrap(), before);
    assert!(sample(&mut engine, 0).is_empty());
}

#[test]
fn impossible_schedules_are_refused() {
    let mut setup = setup(slab(), [5, 1, 1]);
    setup.reverse.steps = 1;
    let error = random_engine::<f32>(&setup, 1).sample(STREAM, 0..1, Sampler::Plain, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert_eq!(error.to_string(), "the reverse process needs at least 2 steps, not 1");
}
