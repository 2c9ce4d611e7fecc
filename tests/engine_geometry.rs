//! Degenerate geometry: coincident and isolated atoms, no edges at all, atoms far outside the cell. No output, loss or
//! gradient may be other than a finite number.

mod reference;

use godiff::engine::cpu::simd::Real;
use godiff::engine::{Engine, FreePositions, NoisyBatch, Setup};
use godiff::system::vector::add;
use godiff::system::{Cell, System, Vec3};
use reference::systems::{
    Named, Shape, all_losses, channel, cluster, prior_structures, random_engine, random_vectors, setup, slab, thin_bulk,
};
use reference::{assert_close, flat, tolerance};

const SYSTEMS: [Named; 4] = [("slab", slab), ("cluster", cluster), ("thin bulk", thin_bulk), ("channel", channel)];
const SHAPES: [Shape; 3] = [[5, 1, 1], [16, 2, 8], [20, 3, 8]];

/// Score of each structure at two times, after everything was found finite.
fn finite<T: Real>(what: &str, setup: &Setup, structures: &[FreePositions]) -> [Vec<Vec<Vec3>>; 2] {
    let n = structures.len() as u32;
    let batch = NoisyBatch {
        positions: structures.to_vec(),
        times: vec![1e-5; structures.len()],
        noise: random_vectors(&setup.system, n, 1),
        weights: vec![1.0; structures.len()],
    };
    let mut engine = random_engine::<T>(setup, 3);
    let all_finite = |values: &[f64]| values.iter().all(|x| x.is_finite());
    for (kind, loss) in all_losses(&setup.system, n, 2) {
        let found = engine.loss_and_gradient(&batch, &loss).unwrap();
        assert!(found.loss.is_finite() && all_finite(&found.gradient), "{what} {}: {kind}", T::NAME);
    }
    let forces = engine.forces(structures).unwrap().unwrap();
    assert!(all_finite(&flat(&forces)), "{what} {}: forces {forces:?}", T::NAME);
    [0.0, 1.0].map(|t| {
        let score = engine.score(structures, &vec![t; structures.len()]).unwrap();
        assert!(all_finite(&flat(&score)), "{what} {}: score {score:?}", T::NAME);
        score
    })
}

/// Free atoms on each other and on template atoms, exactly and to the last digits.
fn crowded<T: Real>() {
    for (name, system) in SYSTEMS {
        for shape in SHAPES {
            let setup = setup(system(), shape);
            let free = prior_structures(&setup.system, 1, 5).remove(0);
            let n = free.len();
            let mut structures = vec![vec![free[0]; n]];
            for tiny in [1e-9, 1e-30, 1e-161, 5e-324] {
                structures.push((0..n).map(|k| add(free[0], [0.0, 0.0, tiny * k as f64])).collect());
                structures.push((0..n).map(|k| [tiny * k as f64, 0.0, 0.0]).collect());
            }
            if let Some(&x) = setup.system.template_positions.first() {
                structures.push([&[x], &free[1..]].concat());
                structures.push(vec![x; n]);
                structures.push((0..n).map(|k| add(x, setup.system.cell.vectors[k % 2])).collect());
            }
            finite::<T>(name, &setup, &structures);
        }
    }
}

#[test]
fn coincident_atoms_f64() {
    crowded::<f64>();
}

#[test]
fn coincident_atoms_f32() {
    crowded::<f32>();
}

/// An atom that sees nothing has no direction: its score is 0. The others do not notice it.
fn isolated<T: Real>() {
    for shape in SHAPES {
        let setup = setup(System { confinement: None, ..slab() }, shape);
        let n_template = setup.system.n_template();
        let near = prior_structures(&slab(), 1, 6).remove(0);
        let some_away: FreePositions = [&near[..2], &[[0.3, 0.2, 60.0], [2.0, 2.0, -80.0]]].concat();
        let all_away: FreePositions = (0..4).map(|k| [0.0, 0.0, 50.0 + 10.0 * f64::from(k)]).collect();
        let [score, _] = finite::<T>("isolated atoms", &setup, &[some_away, all_away]);
        assert!(score[0][n_template..n_template + 2].iter().flatten().all(|x| *x != 0.0), "{:?}", score[0]);
        assert_eq!(score[0][n_template + 2..], [[0.0; 3]; 2]);
        assert_eq!(score[1][n_template..], [[0.0; 3]; 4]);

        let alone = System { free_numbers: setup.system.free_numbers[..2].to_vec(), ..setup.system.clone() };
        let alone = Setup { system: alone, ..setup.clone() };
        let [expected, _] = finite::<T>("without them", &alone, &[near[..2].to_vec()]);
        let tolerance = if T::NARROW { tolerance::F32 } else { tolerance::EXACT_F64 };
        let (found, expected) = (score[0][n_template..n_template + 2].to_vec(), expected[0][n_template..].to_vec());
        assert_close("the others", &flat(&[found]), &flat(&[expected]), tolerance);
    }
}

#[test]
fn isolated_atoms_f64() {
    isolated::<f64>();
}

#[test]
fn isolated_atoms_f32() {
    isolated::<f32>();
}

/// Systems without a single edge: one atom in a big cell, a cluster blown apart, a template too sparse for edges.
fn edgeless<T: Real>() {
    let big = Cell { vectors: [[30.0, 0.0, 0.0], [0.0, 30.0, 0.0], [0.0, 0.0, 30.0]], periodic: [true; 3] };
    let one = System { cell: big, free_numbers: vec![78], ..cluster() };
    let lonely = System { cell: Cell::NONE, ..one.clone() };
    let sparse = System {
        template_numbers: vec![78, 29],
        template_positions: vec![[0.0; 3], [10.0, 10.0, 10.0]],
        ..one.clone()
    };
    for shape in SHAPES {
        for system in [one.clone(), lonely.clone(), sparse.clone()] {
            let [score, _] =
                finite::<T>("one atom", &setup(system, shape), &[vec![[20.0, 20.0, 20.0]], vec![[21.0; 3]]]);
            assert!(flat(&score).iter().all(|x| *x == 0.0), "{score:?}");
        }
        let apart: FreePositions = (0..5).map(|k| [100.0 * f64::from(k), 0.0, 0.0]).collect();
        let [score, _] = finite::<T>("a cluster apart", &setup(cluster(), shape), &[apart]);
        assert!(flat(&score).iter().all(|x| *x == 0.0), "{score:?}");
    }
}

#[test]
fn no_edges_at_all_f64() {
    edgeless::<f64>();
}

#[test]
fn no_edges_at_all_f32() {
    edgeless::<f32>();
}

/// Atoms many cells away, along periodic axes and others.
fn far_away<T: Real>() {
    for (name, system) in SYSTEMS {
        let setup = setup(system(), SHAPES[1]);
        let free = prior_structures(&setup.system, 1, 8).remove(0);
        let structures: Vec<FreePositions> = [1e3, -1e6, 1e9, 1e13, -1e300]
            .into_iter()
            .flat_map(|far| {
                let one = |by: Vec3| [&[add(free[0], by)], &free[1..]].concat();
                [one([far, 0.0, 0.0]), one([0.0, far, far]), free.iter().map(|&x| add(x, [far; 3])).collect()]
            })
            .collect();
        finite::<T>(name, &setup, &structures);
    }
}

#[test]
fn far_away_atoms_f64() {
    far_away::<f64>();
}

#[test]
fn far_away_atoms_f32() {
    far_away::<f32>();
}
