//! The built-in potentials against independent codes, finite differences, and themselves.
//!
//! `fixtures/potentials.xyz.gz` comes with the project's reference data: energies and forces of ASE 3.29 (EMT with default
//! settings, and Lennard-Jones). `fixtures/emt_asap_cutoff.xyz` is written by `python/emt_asap_cutoff.py` with the same ASE.

mod common;

use common::Reference;
use godiff::Error;
use godiff::potential::{Answer, Emt, Evaluation, LennardJones, LennardJonesSettings, Potential};
use godiff::system::{Cell, Structure, System, Vec3};

/// Whether `found` is `expected` to the larger of both tolerances; never for NaN.
fn within(found: f64, expected: f64, absolute: f64, relative: f64) -> bool {
    (found - expected).abs() <= f64::max(absolute, relative * expected.abs())
}

/// Energies to 1e-7 eV or 1e-9 relative, forces to 1e-6 eV/Å or 1e-6 relative, whichever is larger.
fn disagreement(found: &Evaluation, energy: f64, forces: &[Vec3]) -> Option<String> {
    if !within(found.energy, energy, 1e-7, 1e-9) {
        return Some(format!("energy {} instead of {energy}", found.energy));
    }
    assert_eq!(found.forces.len(), forces.len());
    for (i, (a, b)) in found.forces.iter().zip(forces).enumerate() {
        if !a.iter().zip(b).all(|(&a, &b)| within(a, b, 1e-6, 1e-6)) {
            return Some(format!("force {a:?} instead of {b:?} on atom {i}"));
        }
    }
    None
}

fn check(references: &[&Reference], evaluate: impl Fn(&Structure) -> godiff::Result<Evaluation>) {
    for reference in references {
        let found = evaluate(&reference.structure).unwrap();
        if let Some(problem) = disagreement(&found, reference.energy, &reference.forces) {
            panic!("{}: {problem}", reference.name);
        }
    }
}

#[test]
fn tolerances_fail_on_perturbed_and_negated_values() {
    let forces = vec![[0.5, -0.1, 0.0]];
    let value = |energy, x| Evaluation { energy, forces: vec![[x, -0.1, 0.0]] };
    assert!(disagreement(&value(3.0, 0.5), 3.0, &forces).is_none());
    for wrong in
        [value(3.0 + 2e-7, 0.5), value(-3.0, 0.5), value(3.0, 0.5 + 2e-6), value(3.0, -0.5), value(f64::NAN, 0.5)]
    {
        assert!(disagreement(&wrong, 3.0, &forces).is_some(), "{wrong:?}");
    }
}

#[test]
fn emt_agrees_with_ase() {
    let all = common::read("tests/fixtures/potentials.xyz.gz");
    let emt: Vec<&Reference> = all.iter().filter(|reference| !reference.name.starts_with("LJ")).collect();
    assert_eq!(emt.len(), 28);
    let potential = Emt::new(false);
    check(&emt, |structure| potential.energy_and_forces(structure));
}

#[test]
fn emt_agrees_with_ase_under_the_asap_cutoff() {
    let all = common::read("tests/fixtures/emt_asap_cutoff.xyz");
    assert_eq!(all.len(), 10);
    let all: Vec<&Reference> = all.iter().collect();
    let potential = Emt::new(true);
    check(&all, |structure| potential.energy_and_forces(structure));
    // The rules do differ.
    let other = Emt::new(false);
    let differs = |r: &&&Reference| (other.energy_and_forces(&r.structure).unwrap().energy - r.energy).abs() > 1e-6;
    assert!(all.iter().filter(differs).count() >= 5);
}

#[test]
fn lennard_jones_agrees_with_ase() {
    let all = common::read("tests/fixtures/potentials.xyz.gz");
    let lj: Vec<&Reference> = all.iter().filter(|reference| reference.name.starts_with("LJ")).collect();
    assert_eq!(lj.len(), 3);
    let settings = LennardJonesSettings { cutoff_angstrom: Some(50.0), ..LennardJonesSettings::default() };
    let potential = LennardJones::new(settings).unwrap();
    check(&lj, |structure| potential.energy_and_forces(structure));
}

/// Splits a structure into a system whose template is its first `n_template` atoms.
fn system_of(structure: &Structure, n_template: usize) -> System {
    let (template_numbers, free_numbers) = structure.numbers.split_at(n_template);
    System {
        cell: structure.cell,
        template_numbers: template_numbers.to_vec(),
        template_positions: structure.positions[..n_template].to_vec(),
        free_numbers: free_numbers.to_vec(),
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    }
}

#[test]
fn the_kept_share_of_a_template_changes_nothing() {
    let mut n_checked = 0;
    for (path, asap_cutoff) in
        [("tests/fixtures/potentials.xyz.gz", false), ("tests/fixtures/emt_asap_cutoff.xyz", true)]
    {
        for reference in common::read(path) {
            let n = reference.structure.numbers.len();
            if reference.name.starts_with("LJ") {
                continue;
            }
            for n_template in [0, 1, n / 2, n - n.min(7), n - 1, n] {
                let emt = Emt::with_system(asap_cutoff, &system_of(&reference.structure, n_template)).unwrap();
                check(&[&reference], |structure| emt.energy_and_forces(structure));
                n_checked += 1;
            }
        }
    }
    assert!(n_checked > 200);
}

#[test]
fn a_moved_template_is_computed_whole() {
    let all = common::read("tests/fixtures/potentials.xyz.gz");
    let mut structure = all[0].structure.clone();
    let emt = Emt::with_system(false, &system_of(&structure, 72)).unwrap();
    structure.positions[3][2] += 0.05;
    let mut wider = structure.clone();
    wider.cell.vectors[0][0] += 0.5;
    let mut alloy = structure.clone();
    alloy.numbers[5] = 29;
    let shorter = Structure::new(structure.cell, vec![78; 3], structure.positions[..3].to_vec());
    for changed in [structure, wider, alloy, shorter] {
        let expected = Emt::new(false).energy_and_forces(&changed).unwrap();
        assert_eq!(emt.energy_and_forces(&changed).unwrap(), expected);
    }
}

#[test]
fn a_free_atom_may_set_the_asap_cutoff() {
    let all = common::read("tests/fixtures/emt_asap_cutoff.xyz");
    let silver = all.iter().find(|reference| reference.name == "Ag on Cu(111)").unwrap();
    let mut copper_free = silver.structure.clone();
    *copper_free.numbers.last_mut().unwrap() = 29;
    let emt = Emt::with_system(true, &system_of(&copper_free, 8)).unwrap();
    check(&[silver], |structure| emt.energy_and_forces(structure));
}

/// Largest difference between forces and central differences of the energy.
fn force_error(structure: &Structure, evaluate: impl Fn(&Structure) -> Evaluation) -> f64 {
    let forces = evaluate(structure).forces;
    let step = 1e-5;
    let mut worst: f64 = 0.0;
    for (i, force) in forces.iter().enumerate() {
        for (x, force) in force.iter().enumerate() {
            let energy = |by: f64| {
                let mut moved = structure.clone();
                moved.positions[i][x] += by;
                evaluate(&moved).energy
            };
            let slope = (energy(step) - energy(-step)) / (2.0 * step);
            worst = worst.max((force + slope).abs() / (1.0 + slope.abs()));
        }
    }
    worst
}

#[test]
fn forces_are_minus_the_gradient() {
    let all = common::read("tests/fixtures/potentials.xyz.gz");
    let named = |name: &str| &all.iter().find(|r| r.name.starts_with(name)).unwrap().structure;
    for name in ["alloy Pt-Ni-Pd", "triclinic", "CO on Cu(111)", "light atoms", "primitive bulk"] {
        for asap_cutoff in [false, true] {
            let emt = Emt::new(asap_cutoff);
            let error = force_error(named(name), |s| emt.energy_and_forces(s).unwrap());
            assert!(error < 1e-7, "{name}: {error}");
        }
    }
    let stepped = named("stepped adatom 0");
    let emt = Emt::with_system(false, &system_of(stepped, 20)).unwrap();
    assert!(force_error(stepped, |s| emt.energy_and_forces(s).unwrap()) < 1e-7);

    let argon =
        LennardJones::new(LennardJonesSettings { epsilon_ev: 0.5, sigma_angstrom: 1.1, cutoff_angstrom: Some(4.3) });
    let error = force_error(named("triclinic"), |s| argon.as_ref().unwrap().energy_and_forces(s).unwrap());
    assert!(error < 1e-6, "{error}");
}

/// Lennard-Jones with periodic images against the plain sum over a block of copies.
#[test]
fn lennard_jones_counts_every_image_once() {
    let cell = Cell { vectors: [[1.5, 0.1, 0.0], [1.2, 1.6, 0.0], [0.0; 3]], periodic: [true, true, false] };
    let positions = vec![[0.1, 0.2, 0.3], [4.2, -0.7, 1.2]];
    let settings = LennardJonesSettings { epsilon_ev: 1.3, sigma_angstrom: 0.9, cutoff_angstrom: Some(2.9) };
    let pair = |r: f64| 4.0 * 1.3 * ((0.9 / r).powi(12) - (0.9 / r).powi(6));
    let mut expected = 0.0;
    for a in &positions {
        for b in &positions {
            for n in -12..=12 {
                for m in -12..=12 {
                    let (n, m) = (f64::from(n), f64::from(m));
                    let d: Vec3 =
                        std::array::from_fn(|x| b[x] + n * cell.vectors[0][x] + m * cell.vectors[1][x] - a[x]);
                    let r = d.iter().map(|x| x * x).sum::<f64>().sqrt();
                    if r > 0.0 && r < 2.9 {
                        expected += 0.5 * (pair(r) - pair(2.9));
                    }
                }
            }
        }
    }
    let structure = Structure::new(cell, vec![18, 18], positions);
    let found = LennardJones::new(settings).unwrap().energy_and_forces(&structure).unwrap().energy;
    assert!((found - expected).abs() < 1e-10 * expected.abs(), "{found} {expected}");
}

fn cluster(positions: Vec<Vec3>) -> Structure {
    let cell = Cell { vectors: [[0.0; 3]; 3], periodic: [false; 3] };
    Structure::new(cell, vec![78; positions.len()], positions)
}

#[test]
fn isolated_atoms_have_their_cohesive_energy() {
    let emt = Emt::new(false);
    let alone = emt.energy_and_forces(&cluster(vec![[0.0; 3], [0.0, 0.0, 100.0]])).unwrap();
    assert_eq!(alone, Evaluation { energy: 2.0 * 5.85, forces: vec![[0.0; 3]; 2] });
    assert_eq!(emt.energy_and_forces(&cluster(vec![])).unwrap(), Evaluation { energy: 0.0, forces: vec![] });
    assert_eq!(Emt::new(true).energy_and_forces(&cluster(vec![])).unwrap().energy, 0.0);
    let lj = LennardJones::new(LennardJonesSettings::default()).unwrap();
    assert_eq!(
        lj.energy_and_forces(&cluster(vec![[3.0; 3]])).unwrap(),
        Evaluation { energy: 0.0, forces: vec![[0.0; 3]] }
    );
}

#[test]
fn coincident_and_undefined_positions_are_not_finite() {
    let lj = LennardJones::new(LennardJonesSettings::default()).unwrap();
    let emt = Emt::new(false);
    let system = system_of(&cluster(vec![[0.0; 3], [2.5, 0.0, 0.0], [9.0, 0.0, 0.0]]), 2);
    let with_template = Emt::with_system(false, &system).unwrap();
    for last in [[0.0; 3], [f64::NAN; 3], [f64::INFINITY, 0.0, 0.0]] {
        let structure = cluster(vec![[0.0; 3], [2.5, 0.0, 0.0], last]);
        for found in [
            emt.energy_and_forces(&structure).unwrap(),
            with_template.energy_and_forces(&structure).unwrap(),
            lj.energy_and_forces(&structure).unwrap(),
        ] {
            assert!(!found.energy.is_finite() && found.forces.len() == 3, "{last:?}: {found:?}");
            assert!(found.forces[2].iter().any(|x| !x.is_finite()));
        }
    }
    // Atoms almost on top of each other and absurdly far ones are just numbers.
    let structure = cluster(vec![[0.0; 3], [1e-9, 0.0, 0.0], [1e300, 0.0, 0.0]]);
    assert!(emt.energy_and_forces(&structure).unwrap().energy > 1e3);
}

#[test]
fn unusable_structures_are_refused_with_a_sentence() {
    let flat = Cell { vectors: [[3.0, 0.0, 0.0], [6.0, 0.0, 0.0], [0.0, 0.0, 9.0]], periodic: [true, true, false] };
    let structure = Structure::new(flat, vec![78], vec![[0.0; 3]]);
    let lj = LennardJonesSettings { cutoff_angstrom: Some(3.0), ..LennardJonesSettings::default() };
    for result in
        [Emt::new(false).energy_and_forces(&structure), LennardJones::new(lj).unwrap().energy_and_forces(&structure)]
    {
        let error = result.unwrap_err();
        assert!(error.to_string().starts_with("the cell has no volume"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
    let mut iron = cluster(vec![[0.0; 3]]);
    iron.numbers[0] = 26;
    let error = Emt::new(false).energy_and_forces(&iron).unwrap_err();
    assert!(error.to_string().starts_with("EMT has no parameters for Fe; it knows Al, Cu"), "{error}");

    let periodic = Structure::new(Cell { periodic: [true, false, false], ..flat }, vec![18], vec![[0.0; 3]]);
    let endless = LennardJones::new(LennardJonesSettings::default()).unwrap();
    let error = endless.evaluate(&[periodic], &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().starts_with("the Lennard-Jones potential has no cutoff"), "{error}");
}

fn answers(potential: &dyn Potential, structures: &[Structure]) -> (Vec<Evaluation>, usize) {
    let mut found = vec![None; structures.len()];
    let mut n_deliveries = 0;
    potential
        .evaluate(structures, &mut |batch| {
            n_deliveries += 1;
            for (index, answer) in batch {
                let Answer::Done(evaluation) = answer else { panic!("{answer:?}") };
                assert!(found[index].replace(evaluation).is_none(), "{index} came twice");
            }
            Ok(())
        })
        .unwrap();
    (found.into_iter().map(|evaluation| evaluation.expect("every index comes once")).collect(), n_deliveries)
}

#[test]
fn batches_do_not_depend_on_threads_and_come_in_chunks() {
    let all = common::read("tests/fixtures/potentials.xyz.gz");
    let emt = Emt::with_system(false, &system_of(&all[0].structure, 72)).unwrap();
    let structures: Vec<Structure> = (0..150).map(|k| all[k % 20].structure.clone()).collect();
    let one_by_one: Vec<Evaluation> = structures.iter().map(|s| emt.energy_and_forces(s).unwrap()).collect();
    for n_threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let (found, n_deliveries) = pool.install(|| answers(&emt, &structures));
        assert_eq!(found, one_by_one);
        assert!(n_deliveries >= 3);
    }
}

#[test]
fn the_callers_error_stops_the_batch() {
    let structures = vec![cluster(vec![[0.0; 3]]); 200];
    let mut n_deliveries = 0;
    let result = Emt::new(false).evaluate(&structures, &mut |_| {
        n_deliveries += 1;
        Err(Error::Interrupted)
    });
    assert!(matches!(result, Err(Error::Interrupted)));
    assert_eq!(n_deliveries, 1);
}
