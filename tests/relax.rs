//! Relaxation: known minima of EMT and Lennard-Jones, and its behaviour with evaluators that misbehave.

mod common;

use std::cell::Cell as Counter;

use godiff::potential::relax::{Ending, RelaxSettings, Relaxed, relax, relax_all};
use godiff::potential::{Answer, Emt, Evaluation, LennardJones, LennardJonesSettings, Potential};
use godiff::random::{Noise, Purpose};
use godiff::system::{Cell, Structure, System, Vec3};
use godiff::{Error, Result};

const NEVER: &dyn Fn() -> bool = &|| false;

/// The structure with all but its last `n_free` atoms fixed and those moved by up to `by` Å along each axis.
fn shaken(structure: &Structure, n_free: usize, by: f64, seed: u64) -> Structure {
    let noise = Noise::new(seed, Purpose::Prior, 0);
    let mut shaken = structure.clone();
    let n_fixed = structure.positions.len() - n_free;
    shaken.fixed[..n_fixed].fill(true);
    for (k, position) in shaken.positions[n_fixed..].iter_mut().enumerate() {
        let u = noise.uniforms(0, 0, k as u32, 0);
        for x in 0..3 {
            position[x] += by * (2.0 * u[x] - 1.0);
        }
    }
    shaken
}

/// EMT that keeps the share of the fixed atoms.
fn emt_for(structure: &Structure) -> Emt {
    let n_fixed = structure.fixed.iter().filter(|&&fixed| fixed).count();
    let system = System {
        cell: structure.cell,
        template_numbers: structure.numbers[..n_fixed].to_vec(),
        template_positions: structure.positions[..n_fixed].to_vec(),
        free_numbers: structure.numbers[n_fixed..].to_vec(),
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    };
    Emt::with_system(false, &system).unwrap()
}

#[test]
fn islands_and_adatom_relax_to_their_known_energies() {
    for (path, n_free, energy) in [
        ("configs/structures/pt7-hexagon-hcp.xyz", 7, 24.987430),
        ("configs/structures/pt7-hexagon-fcc.xyz", 7, 24.993625),
        ("configs/structures/pt-adatom-minimum.xyz", 1, 5.505784),
    ] {
        let reference = common::read(path).remove(0);
        assert!((reference.energy - energy).abs() < 1e-6);
        let starts: Vec<Structure> = (1..=8).map(|seed| shaken(&reference.structure, n_free, 0.3, seed)).collect();
        let emt = emt_for(&starts[0]);
        let relaxed = relax_all(&starts, &emt, &RelaxSettings::default(), NEVER).unwrap();
        for (start, end) in starts.iter().zip(&relaxed) {
            assert!(end.converged(), "{path}: {:?}", end.ending);
            // 0.01 eV/Å on soft modes of an island leaves up to some 1e-4 eV.
            assert!((end.energy - energy).abs() < 3e-4, "{path}: {}", end.energy);
            assert!(end.energy > energy - 1e-6);
            assert!(end.n_evaluations <= 80, "{path}: {} evaluations", end.n_evaluations);
            let n_fixed = start.positions.len() - n_free;
            assert_eq!(end.structure.positions[..n_fixed], start.positions[..n_fixed]);
            let forces = end.structure.forces.as_ref().unwrap();
            assert!(forces[n_fixed..].iter().all(|f| f.iter().map(|x| x * x).sum::<f64>().sqrt() < 0.01));
        }
        // All the way down.
        let tight = RelaxSettings { fmax_ev_per_angstrom: 1e-5, ..RelaxSettings::default() };
        let end = relax(&starts[0], &emt, &tight, NEVER).unwrap();
        assert!(end.converged() && (end.energy - energy).abs() < 1e-6, "{path}: {}", end.energy);
    }
}

/// The 13-atom Lennard-Jones icosahedron, −44.326801 ε (Hoare and Pal, Adv. Phys. 20, 161, 1971), from a loose one.
#[test]
fn icosahedron_of_13_lennard_jones_atoms() {
    let golden = (1.0 + 5f64.sqrt()) / 2.0;
    let mut positions: Vec<Vec3> = vec![[0.0; 3]];
    for a in [-1.0, 1.0] {
        for b in [-golden, golden] {
            positions.extend([[0.0, a, b], [a, b, 0.0], [b, 0.0, a]]);
        }
    }
    positions.iter_mut().flatten().for_each(|x| *x *= 0.7);
    let cell = Cell { vectors: [[0.0; 3]; 3], periodic: [false; 3] };
    let start = shaken(&Structure::new(cell, vec![18; 13], positions), 13, 0.15, 5);
    let potential = LennardJones::new(LennardJonesSettings::default()).unwrap();
    let settings = RelaxSettings { fmax_ev_per_angstrom: 1e-5, ..RelaxSettings::default() };
    let end = relax(&start, &potential, &settings, NEVER).unwrap();
    assert!(end.converged());
    assert!((end.energy + 44.326801).abs() < 1e-6, "{}", end.energy);
}

/// Random islands, as a random structure search would start them: lock-step changes nothing.
#[test]
fn side_by_side_is_the_same_as_alone() {
    let all = common::read("tests/fixtures/potentials.xyz.gz");
    let starts: Vec<Structure> = all[..6].iter().map(|reference| shaken(&reference.structure, 7, 0.0, 0)).collect();
    let emt = emt_for(&starts[0]);
    let settings = RelaxSettings { max_steps: 300, ..RelaxSettings::default() };
    let together = relax_all(&starts, &emt, &settings, NEVER).unwrap();
    for (start, together) in starts.iter().zip(&together) {
        let before = emt.energy_and_forces(start).unwrap().energy;
        assert_eq!(&relax(start, &emt, &settings, NEVER).unwrap(), together);
        assert!(together.converged() && together.energy < before - 1.0, "{:?} {}", together.ending, together.energy);
    }
    assert!(together.iter().any(|end| end.n_steps != together[0].n_steps));
    assert!(relax_all(&[], &emt, &settings, NEVER).unwrap().is_empty());
}

/// An evaluator made of a function of one structure.
struct Scripted<F>(F);

impl<F: Fn(&Structure) -> Answer + Send + Sync> Potential for Scripted<F> {
    fn name(&self) -> String {
        "scripted".into()
    }

    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()> {
        deliver(structures.iter().map(&self.0).enumerate().collect())
    }
}

fn atom_at(x: f64) -> Structure {
    let cell = Cell { vectors: [[0.0; 3]; 3], periodic: [false; 3] };
    Structure::new(cell, vec![1], vec![[x, 0.0, 0.0]])
}

/// Energy and force of one atom moving along x.
fn along_x(energy: f64, force: f64) -> Answer {
    Answer::Done(Evaluation { energy, forces: vec![[force, 0.0, 0.0]] })
}

fn run(start: f64, answer: impl Fn(f64) -> Answer + Send + Sync) -> Relaxed {
    let potential = Scripted(|structure: &Structure| answer(structure.positions[0][0]));
    relax(&atom_at(start), &potential, &RelaxSettings::default(), NEVER).unwrap()
}

#[test]
fn steps_into_failure_or_infinity_are_shortened() {
    for beyond in [along_x(f64::NEG_INFINITY, 0.0), along_x(0.0, f64::NAN), Answer::Failed("lost".into())] {
        // A harmonic well whose evaluator breaks down past its minimum, which lies just before.
        let end = run(1.0, |x| if x < -1e-3 { beyond.clone() } else { along_x(25.0 * x * x, -50.0 * x) });
        assert!(end.converged() && end.structure.positions[0][0].abs() < 1e-3, "{end:?}");
    }
}

#[test]
fn noise_in_the_energy_does_not_stop_convergence() {
    // Energies in single precision around −500 eV have steps of 3e-5 eV.
    let end = run(0.7, |x| along_x(f64::from((-500.0 + 3.0 * x * x) as f32), -6.0 * x));
    assert!(end.converged(), "{end:?}");
}

#[test]
fn concave_regions_and_far_starts() {
    // A double well from close to its barrier: the first steps show negative curvature.
    let end = run(0.01, |x| along_x(4.0 * (x * x - 1.0).powi(2), -16.0 * x * (x * x - 1.0)));
    assert!(end.converged() && (end.structure.positions[0][0] - 1.0).abs() < 1e-2, "{end:?}");
    // No step is longer than 0.2 Å, so 10 Å take at least 50.
    let end = run(10.0, |x| along_x(x * x, -2.0 * x));
    assert!(end.converged() && end.n_steps >= 50 && end.n_steps < 60, "{end:?}");
}

#[test]
fn every_ending_is_told() {
    let failed = run(1.0, |_| Answer::Failed("no licence".into()));
    assert_eq!((failed.ending, failed.n_evaluations), (Ending::Failed("no licence".into()), 1));
    assert!(failed.energy.is_nan() && failed.structure.energy.is_none());
    let infinite = run(1.0, |_| along_x(f64::INFINITY, 1.0));
    assert_eq!((infinite.ending, infinite.energy), (Ending::NotFinite, f64::INFINITY));
    // Forces that point uphill.
    let stuck = run(1.0, |x| along_x(x * x, 2.0 * x));
    assert_eq!(stuck.ending, Ending::Stuck);
    assert!((stuck.energy - 1.0).abs() < 2e-6, "{stuck:?}");
    let endless = run(0.0, |x| along_x(-x, 1.0));
    assert_eq!((endless.ending, endless.n_steps), (Ending::MaxSteps, 1000));

    let mut fixed = atom_at(1.0);
    fixed.fixed[0] = true;
    let potential = Scripted(|_: &Structure| along_x(3.0, 9.0));
    let end = relax(&fixed, &potential, &RelaxSettings::default(), NEVER).unwrap();
    assert_eq!((end.ending, end.energy, end.n_evaluations), (Ending::Converged, 3.0, 1));
    assert_eq!(end.structure.forces, Some(vec![[9.0, 0.0, 0.0]]));
}

#[test]
fn an_interrupt_and_bad_settings_end_it() {
    let potential = Scripted(|structure: &Structure| along_x(structure.positions[0][0], -1.0));
    let n_asked = Counter::new(0);
    let third = || {
        n_asked.set(n_asked.get() + 1);
        n_asked.get() == 3
    };
    let result = relax(&atom_at(0.0), &potential, &RelaxSettings::default(), &third);
    assert!(matches!(result, Err(Error::Interrupted)));
    for (settings, sentence) in [
        (
            RelaxSettings { fmax_ev_per_angstrom: 0.0, ..RelaxSettings::default() },
            "the largest force of a converged relaxation is 0; give a positive number of eV/Å",
        ),
        (
            RelaxSettings { max_step_angstrom: f64::NAN, ..RelaxSettings::default() },
            "the largest step of a relaxation is NaN; give a positive number of Å",
        ),
    ] {
        let error = relax(&atom_at(0.0), &potential, &settings, NEVER).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.exit_code()), (sentence, 2));
    }
}

/// An evaluator that forgets to answer is told apart from one that answers.
#[test]
fn a_missing_answer_is_an_evaluators_failure() {
    struct Silent;
    impl Potential for Silent {
        fn name(&self) -> String {
            "silent".into()
        }

        fn evaluate(&self, _: &[Structure], _: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>) -> Result<()> {
            Ok(())
        }
    }
    let error = relax(&atom_at(0.0), &Silent, &RelaxSettings::default(), NEVER).unwrap_err();
    assert_eq!(error.to_string(), "the potential silent left a structure without an answer");
    assert_eq!(error.exit_code(), 3);
}
