//! Symmetries of the score and the forces: rotations, reflections, translations, permutations, lattice vectors.

mod reference;

use godiff::engine::cpu::simd::Real;
use godiff::engine::{Engine, FreePositions, Setup};
use godiff::system::vector::{add, combine};
use godiff::system::{Cell, System, Vec3};
use reference::systems::{
    Named, Shape, channel, cluster, prior_structures, random_engine, setup, slab, stepped_adatom, thin_bulk,
};
use reference::{assert_close, difference, flat, largest, tolerance};

const SYSTEMS: [Named; 5] =
    [("slab", slab), ("cluster", cluster), ("thin bulk", thin_bulk), ("channel", channel), ("stepped", stepped_adatom)];
const SHAPES: [Shape; 2] = [[20, 3, 8], [5, 1, 8]];
const N: u32 = 3;
const TIMES: [f64; N as usize] = [0.1, 0.5, 0.9];

/// Score and forces, all components.
fn outputs<T: Real>(setup: &Setup, positions: &[FreePositions]) -> [Vec<Vec<Vec3>>; 2] {
    let mut engine = random_engine::<T>(setup, 2);
    [engine.score(positions, &TIMES).unwrap(), engine.forces(positions).unwrap().unwrap()]
}

/// Runs `check` on every system and shape with its structures, outputs and the tolerance of the precision.
fn on_each<T: Real>(check: impl Fn(&str, &Setup, &[FreePositions], [Vec<Vec<Vec3>>; 2], f64)) {
    for (name, system) in SYSTEMS {
        for shape in SHAPES {
            let setup = setup(system(), shape);
            let positions = prior_structures(&setup.system, N, 7);
            let before = outputs::<T>(&setup, &positions);
            for output in &before {
                assert!(largest(&flat(output)) > 1e-8, "{name} {shape:?}: an output of size");
            }
            let tolerance = if T::NARROW { tolerance::F32 } else { tolerance::REORDERED_F64 };
            check(name, &setup, &positions, before, tolerance);
        }
    }
}

fn map(values: &[Vec<Vec3>], f: impl Fn(Vec3) -> Vec3) -> Vec<Vec<Vec3>> {
    values.iter().map(|structure| structure.iter().map(|&v| f(v)).collect()).collect()
}

/// Every atom of a system moved by `f`, its cell by `turn`; without the confinement, which a turn would break.
fn moved(system: &System, f: impl Fn(Vec3) -> Vec3, turn: &[Vec3; 3]) -> System {
    System {
        cell: Cell { vectors: system.cell.vectors.map(|v| combine(v, turn)), ..system.cell },
        template_positions: system.template_positions.iter().map(|&x| f(x)).collect(),
        confinement: None,
        ..system.clone()
    }
}

/// Rotation by `angle` about the axis (1, 2, 3), as rows (Rodrigues), with the whole of space reflected if `reflected`.
fn rotation(angle: f64, reflected: bool) -> [Vec3; 3] {
    let (sin, cos) = angle.sin_cos();
    let k = [1.0, 2.0, 3.0].map(|x: f64| x / 14f64.sqrt());
    let across = [[0.0, k[2], -k[1]], [-k[2], 0.0, k[0]], [k[1], -k[0], 0.0]];
    let sign = if reflected { -1.0 } else { 1.0 };
    std::array::from_fn(|i| {
        std::array::from_fn(|x| {
            sign * (if i == x { cos } else { 0.0 } + sin * across[i][x] + (1.0 - cos) * k[i] * k[x])
        })
    })
}

fn turned<T: Real>() {
    on_each::<T>(|name, setup, positions, before, tolerance| {
        for (angle, reflected) in [(0.7, false), (2.9, false), (0.0, true), (1.3, true)] {
            let turn = rotation(angle, reflected);
            let by = [3.7, -12.3, 0.9];
            let there = |x: Vec3| add(combine(x, &turn), by);
            let elsewhere = Setup { system: moved(&setup.system, there, &turn), ..setup.clone() };
            let after = outputs::<T>(&elsewhere, &map(positions, there));
            for (before, after) in before.iter().zip(&after) {
                let expected = map(before, |v| combine(v, &turn));
                let what = format!("{name}, angle {angle}, reflected {reflected}");
                assert_close(&what, &flat(after), &flat(&expected), tolerance);
            }
        }
    });
}

#[test]
fn outputs_turn_along_f64() {
    turned::<f64>();
}

#[test]
fn outputs_turn_along_f32() {
    turned::<f32>();
}

/// The test above must fail for an output that does not turn.
#[test]
fn turning_is_noticed() {
    let setup = setup(slab(), SHAPES[0]);
    let [score, _] = outputs::<f64>(&setup, &prior_structures(&setup.system, N, 7));
    let turned = map(&score, |v| combine(v, &rotation(1e-4, false)));
    assert!(difference(&flat(&score), &flat(&turned), tolerance::F32).is_some());
}

fn permuted<T: Real>() {
    on_each::<T>(|name, setup, positions, before, tolerance| {
        let system = &setup.system;
        let n_template = system.n_template();
        // The first two free atoms of one species; a lone free atom leaves the template to be permuted.
        let n = system.n_free();
        let equal = (0..n).flat_map(|i| (0..i).map(move |j| (i, j)));
        if let Some((i, j)) = equal.clone().find(|&(i, j)| system.free_numbers[i] == system.free_numbers[j]) {
            let mut swapped = positions.to_vec();
            swapped.iter_mut().for_each(|free| free.swap(i, j));
            let after = outputs::<T>(setup, &swapped);
            for (before, mut after) in before.iter().zip(after) {
                after.iter_mut().for_each(|output| output.swap(n_template + i, n_template + j));
                assert_close(&format!("{name}, free {i} and {j}"), &flat(&after), &flat(before), tolerance);
            }
        }
        if n_template > 0 {
            let mut reversed = setup.clone();
            reversed.system.template_numbers.reverse();
            reversed.system.template_positions.reverse();
            let after = outputs::<T>(&reversed, positions);
            for (before, mut after) in before.iter().zip(after) {
                after.iter_mut().for_each(|output| output[..n_template].reverse());
                assert_close(&format!("{name}, template reversed"), &flat(&after), &flat(before), tolerance);
            }
        }
    });
}

#[test]
fn permutations_relabel_f64() {
    permuted::<f64>();
}

#[test]
fn permutations_relabel_f32() {
    permuted::<f32>();
}

fn wrapped<T: Real>() {
    on_each::<T>(|name, setup, positions, before, tolerance| {
        let cell = &setup.system.cell;
        let steps = [[1.0, 0.0, 0.0], [-3.0, 2.0, 1.0], [0.0, 0.0, -5.0], [7.0, -9.0, 0.0]];
        let allowed = |s: Vec3| -> Vec3 { std::array::from_fn(|k| if cell.periodic[k] { s[k] } else { 0.0 }) };
        let moved: Vec<FreePositions> = (positions.iter().enumerate())
            .map(|(s, free)| {
                (free.iter().enumerate())
                    .map(|(f, &x)| add(x, combine(allowed(steps[(s + f) % steps.len()]), &cell.vectors)))
                    .collect()
            })
            .collect();
        for (before, after) in before.iter().zip(&outputs::<T>(setup, &moved)) {
            assert_close(name, &flat(after), &flat(before), tolerance);
        }
    });
}

#[test]
fn lattice_vectors_change_nothing_f64() {
    wrapped::<f64>();
}

#[test]
fn lattice_vectors_change_nothing_f32() {
    wrapped::<f32>();
}

/// Physics with a known answer: where inversion maps a structure onto itself, the vectors of the centre vanish, and those of
/// partners are opposite.
#[test]
fn inversion_centres_have_no_score() {
    let system =
        System { free_numbers: vec![78, 29, 29], template_numbers: vec![], template_positions: vec![], ..thin_bulk() };
    let (centre, offset) = ([0.4, -0.3, 1.1], [0.9, 0.7, -0.8]);
    let positions = vec![vec![centre, add(centre, offset), add(centre, offset.map(|x| -x))]; N as usize];
    for output in outputs::<f64>(&setup(system, SHAPES[0]), &positions) {
        for structure in output {
            let size = largest(&flat(std::slice::from_ref(&structure)));
            assert!(size > 1e-3);
            for d in 0..3 {
                assert!(structure[0][d].abs() < tolerance::EXACT_F64 * size, "{structure:?}");
                assert!((structure[1][d] + structure[2][d]).abs() < tolerance::EXACT_F64 * size, "{structure:?}");
            }
        }
    }
}
