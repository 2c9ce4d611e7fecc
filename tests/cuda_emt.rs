//! EMT and relaxation on the device against the CPU's and against ASE's values.
//!
//! They run on `GODIFF_TEST_DEVICE`; without it on the emulator, with threads in three orders.
#![cfg(feature = "emulator")]

mod common;
#[path = "common/device.rs"]
mod device;

use device::{device, device_names};
use godiff::gpu::Device;
use godiff::potential::relax::{Ending, RelaxSettings, Relaxed, relax_all};
use godiff::potential::{Answer, Emt, EmtOnDevice, EmtSettings, Evaluation, Potential, PotentialSettings, open};
use godiff::random::{Noise, Purpose};
use godiff::system::{Cell, Structure, System, Vec3, read_structure};
use godiff::{Error, Result};
use std::cell::Cell as Counter;
use std::path::Path;
use std::process::Command;

const NEVER: &dyn Fn() -> bool = &|| false;

fn on_device(asap_cutoff: bool) -> EmtOnDevice {
    EmtOnDevice::new(&device(), asap_cutoff, None).expect("EMT on the device under test")
}

fn evaluate(potential: &dyn Potential, structures: &[Structure]) -> Vec<Evaluation> {
    let mut found: Vec<Option<Evaluation>> = vec![None; structures.len()];
    let mut take = |answers: Vec<(usize, Answer)>| -> Result<()> {
        for (k, answer) in answers {
            let Answer::Done(evaluation) = answer else { panic!("structure {k}: {answer:?}") };
            assert!(found[k].replace(evaluation).is_none(), "structure {k} is answered twice");
        }
        Ok(())
    };
    potential.evaluate(structures, &mut take).unwrap();
    found.into_iter().enumerate().map(|(k, f)| f.unwrap_or_else(|| panic!("structure {k} has no answer"))).collect()
}

/// The structure with its last `n_free` atoms free and moved by up to `by` Å along each axis.
fn shaken(structure: &Structure, n_free: usize, by: f64, seed: u64) -> Structure {
    let noise = Noise::new(seed, Purpose::Prior, 0);
    let mut shaken = structure.clone();
    let n_fixed = structure.n_atoms() - n_free;
    shaken.fixed.fill(false);
    shaken.fixed[..n_fixed].fill(true);
    for (k, position) in shaken.positions[n_fixed..].iter_mut().enumerate() {
        let u = noise.uniforms(0, 0, k as u32, 0);
        *position = std::array::from_fn(|x| position[x] + by * (2.0 * u[x] - 1.0));
    }
    shaken
}

/// How `found` differs from `expected` beyond `energy` and `force`, absolute in eV and eV/Å and relative: exactly in what is not a
/// finite number.
fn difference(found: &Evaluation, expected: &Evaluation, energy: f64, force: f64) -> Option<String> {
    let near = |a: f64, b: f64, tolerance: f64| match b.is_finite() {
        true => (a - b).abs() <= tolerance * b.abs().max(1.0),
        false => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
    };
    if !near(found.energy, expected.energy, energy) {
        return Some(format!("energy {} instead of {}", found.energy, expected.energy));
    }
    if found.forces.len() != expected.forces.len() {
        return Some(format!("{} forces instead of {}", found.forces.len(), expected.forces.len()));
    }
    let wrong = |(a, b): (&Vec3, &Vec3)| !(0..3).all(|x| near(a[x], b[x], force));
    let k = found.forces.iter().zip(&expected.forces).position(wrong)?;
    Some(format!("force {:?} instead of {:?} on atom {k}", found.forces[k], expected.forces[k]))
}

/// All in f64: only the order of sums and the last digits of exponentials differ.
const ENERGY: f64 = 1e-9;
const FORCE: f64 = 1e-8;

fn assert_like_cpu(what: &str, device: &EmtOnDevice, asap_cutoff: bool, structures: &[Structure]) {
    let cpu = Emt::new(asap_cutoff);
    for (k, (found, structure)) in evaluate(device, structures).iter().zip(structures).enumerate() {
        let expected = cpu.energy_and_forces(structure).unwrap();
        if let Some(problem) = difference(found, &expected, ENERGY, FORCE) {
            panic!("{what}, structure {k}: {problem}");
        }
    }
}

#[test]
fn tolerances_fail_on_perturbed_and_negated_values() {
    let value = |energy, x| Evaluation { energy, forces: vec![[x, -0.1, 0.0]] };
    let expected = value(3.0, 0.5);
    assert_eq!(difference(&value(3.0, 0.5), &expected, ENERGY, FORCE), None);
    let far = value(3.0 + 1e-8, 0.5);
    for wrong in [far, value(-3.0, 0.5), value(3.0, 0.5 + 2e-8), value(3.0, -0.5), value(f64::NAN, 0.5)] {
        assert!(difference(&wrong, &expected, ENERGY, FORCE).is_some(), "{wrong:?}");
    }
    let nowhere = value(f64::INFINITY, f64::NAN);
    assert_eq!(difference(&nowhere, &nowhere, ENERGY, FORCE), None);
    assert!(difference(&value(f64::NEG_INFINITY, f64::NAN), &nowhere, ENERGY, FORCE).is_some());
}

/// With every number of fixed atoms, so that pairs within the template, across and among free atoms all carry weight.
#[test]
fn energies_and_forces_are_those_of_ase_and_of_the_cpu() {
    for (path, asap_cutoff) in
        [("tests/fixtures/potentials.xyz.gz", false), ("tests/fixtures/emt_asap_cutoff.xyz", true)]
    {
        let references = common::read(path);
        let references: Vec<_> = references.iter().filter(|r| !r.name.starts_with("LJ")).collect();
        assert!(references.len() >= 10);
        let device = on_device(asap_cutoff);
        for reference in references {
            let n = reference.structure.n_atoms();
            let mut free = vec![n, n - n / 2, n.min(7), 1];
            free.dedup();
            let structures: Vec<Structure> =
                free.iter().map(|&n_free| shaken(&reference.structure, n_free, 0.0, 0)).collect();
            assert_like_cpu(&reference.name, &device, asap_cutoff, &structures);
            let expected = Evaluation { energy: reference.energy, forces: reference.forces.clone() };
            for found in evaluate(&device, &structures) {
                assert_eq!(difference(&found, &expected, 1e-7, 1e-6), None, "{}", reference.name);
            }
        }
    }
}

/// Structures of one search, in every order of threads: the same bits, however they are split into batches.
#[test]
fn results_depend_on_the_structure_alone() {
    let island = read_structure(Path::new("configs/structures/pt7-hexagon-hcp.xyz")).unwrap();
    let structures: Vec<Structure> = (0..5).map(|seed| shaken(&island, 7, 0.6, seed)).collect();
    let mut seen: Option<Vec<Evaluation>> = None;
    for name in device_names() {
        let emt = EmtOnDevice::new(&Device::open(&name).unwrap(), false, None).unwrap();
        assert_like_cpu(&name, &emt, false, &structures);
        let together = evaluate(&emt, &structures);
        assert_eq!(evaluate(&emt, &structures), together, "{name}: again");
        let alone = structures.iter().flat_map(|s| evaluate(&emt, std::slice::from_ref(s)));
        assert_eq!(alone.collect::<Vec<_>>(), together, "{name}: one by one");
        assert_eq!(*seen.get_or_insert_with(|| together.clone()), together, "{name}");
    }
}

/// Cells thinner than the cutoff and skewed, atoms far outside, several elements, and so many pairs that their slots have to grow.
#[test]
fn odd_cells_and_crowds() {
    let device = on_device(false);
    let thin = [[1.9, 0.0, 0.0], [0.6, 2.1, 0.0], [-0.4, 0.6, -2.3]];
    let elements = [78, 28, 46, 8, 79];
    for mask in 0..8 {
        let cell = Cell { vectors: thin, periodic: [mask & 1 != 0, mask & 2 != 0, mask & 4 != 0] };
        let positions = vec![[0.1, 0.2, 0.3], [1.2, -0.9, 1.5], [-2.3, 4.1, 0.2], [7.0, 1.4, -3.1], [0.4, 1.9, -1.1]];
        let structure = Structure::new(cell, elements.to_vec(), positions);
        let mut far = structure.clone();
        for (k, position) in far.positions.iter_mut().enumerate() {
            let moved = cell.cartesian([20.0 * k as f64, -31.0, 7.0]);
            *position = std::array::from_fn(|x| position[x] + moved[x]);
        }
        let structures: Vec<Structure> =
            [&structure, &far].iter().flat_map(|s| [5, 3, 1].map(|n_free| shaken(s, n_free, 0.2, mask))).collect();
        assert_like_cpu(&format!("periodic {:?}", cell.periodic), &device, false, &structures);
    }
    // An axis that does not repeat may be anything.
    let lying = Cell { vectors: [[3.0, 0.0, 0.0], [6.0, 0.0, 0.0], [0.0, 0.0, 5.0]], periodic: [true, false, false] };
    let structure = Structure::new(lying, vec![29, 29], vec![[0.0, 0.0, 0.0], [1.5, 2.2, 0.4]]);
    assert_like_cpu("a lattice vector without meaning", &device, false, &[structure]);
}

/// Distances equal to the cutoff to the last digit, which f32 cannot tell apart.
#[test]
fn atoms_at_the_cutoff() {
    let pair = |distance: f64| {
        let mut pair = Structure::new(Cell::NONE, vec![78, 78], vec![[0.0; 3], [distance, 0.0, 0.0]]);
        pair.fixed[0] = true;
        pair
    };
    let energy = |distance: f64| Emt::new(false).energy_and_forces(&pair(distance)).unwrap().energy;
    let alone = energy(9.0);
    let (mut within, mut beyond) = (5.0_f64, 9.0_f64);
    while within.next_up() < beyond {
        let middle = 0.5 * (within + beyond);
        *(if energy(middle) == alone { &mut beyond } else { &mut within }) = middle;
    }
    assert!((energy(within) - alone).abs() > 10.0 * ENERGY * alone, "{} {alone}", energy(within));
    let device = on_device(false);
    for by in [0.0, 1e-15, 1e-12, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3] {
        let structures = [within * (1.0 - by), beyond * (1.0 + by)].map(pair);
        assert_like_cpu(&format!("by {by}"), &device, false, &structures);
        assert_eq!(evaluate(&device, &structures)[1].energy, alone);
    }
}

#[test]
fn together_or_nowhere_is_as_on_the_cpu() {
    let device = on_device(false);
    let adatom = read_structure(Path::new("configs/structures/pt-adatom-minimum.xyz")).unwrap();
    let sound = shaken(&adatom, 1, 0.0, 0);
    let mut structures = vec![sound.clone()];
    let mut push = |position: Vec3, n_free: usize| {
        let mut structure = shaken(&sound, n_free, 0.0, 0);
        *structure.positions.last_mut().unwrap() = position;
        structures.push(structure);
    };
    for n_free in [1, 2, 21] {
        push(sound.positions[3], n_free);
        push([f64::NAN, 0.0, 0.0], n_free);
        push([0.0, f64::INFINITY, 0.0], n_free);
        push([0.0, 0.0, 1e5], n_free);
    }
    let mut fixed_nowhere = sound.clone();
    fixed_nowhere.positions[0][1] = f64::NAN;
    let mut fixed_together = sound.clone();
    fixed_together.positions[1] = fixed_together.positions[0];
    let mut all_fixed = sound.clone();
    all_fixed.fixed.fill(true);
    structures.extend([fixed_nowhere, fixed_together, all_fixed, sound]);
    assert_like_cpu("odd positions", &device, false, &structures);
}

/// More sets of fixed atoms than are kept, in turn, and fixed atoms between the free ones.
#[test]
fn structures_of_any_kind_in_one_batch() {
    let references = common::read("tests/fixtures/potentials.xyz.gz");
    let mut structures = Vec::new();
    for turn in 0..2 {
        for (k, reference) in references.iter().filter(|r| !r.name.starts_with("LJ")).enumerate().step_by(3) {
            let mut structure = reference.structure.clone();
            for (a, fixed) in structure.fixed.iter_mut().enumerate() {
                *fixed = (a + k) % 3 == 0;
            }
            let last = structure.positions.len() - 1;
            structure.positions[last][0] += 0.05 * f64::from(turn) * f64::from(u8::from(!structure.fixed[last]));
            structures.push(structure);
        }
    }
    structures.push(Structure::new(Cell::NONE, vec![], vec![]));
    assert_like_cpu("an empty one among them", &on_device(false), false, &structures);
    structures.pop();
    assert_like_cpu("mixed", &on_device(false), false, &structures);
}

/// As structures of the search come, and with its target, which names no fixed atoms.
#[test]
fn a_search_on_the_device_gets_its_energies_there() {
    let island = read_structure(Path::new("configs/structures/pt7-hexagon-hcp.xyz")).unwrap();
    let system = System {
        cell: island.cell,
        template_numbers: island.numbers[..72].to_vec(),
        template_positions: island.positions[..72].to_vec(),
        free_numbers: island.numbers[72..].to_vec(),
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    };
    let settings = PotentialSettings::Emt(EmtSettings::default());
    let potential = open(&settings, Some(&system), &device_names()[0]).unwrap();
    assert_eq!(potential.name(), "emt");
    let target = Structure { fixed: vec![false; 79], ..island.clone() };
    let found = evaluate(&*potential, &[system.structure(&island.positions[72..]), target]);
    for evaluation in &found {
        assert!((evaluation.energy - 24.987430).abs() < 1e-6);
        assert_eq!(evaluation.forces.len(), 79);
    }
    let no_parameters = System { free_numbers: vec![26], ..system.clone() };
    let nowhere = System { template_positions: vec![[f64::NAN; 3]; 72], ..system.clone() };
    for (system, sentence) in
        [(no_parameters, "EMT has no parameters for Fe"), (nowhere, "atom 1 of the template has a position")]
    {
        let Err(error) = open(&settings, Some(&system), &device_names()[0]) else { panic!("{sentence}") };
        assert!(error.to_string().starts_with(sentence) && error.exit_code() == 2, "{error}");
    }
    let Err(error) = open(&settings, None, "tpu") else { panic!("an unknown device") };
    assert_eq!(error.to_string(), "unknown device 'tpu': known are auto, cpu, cpu-f64 and cuda[:INDEX]");
}

#[test]
fn structures_beyond_the_device_are_refused() {
    let structure = Structure::new(Cell::NONE, vec![78; 5000], vec![[0.0; 3]; 5000]);
    let error = on_device(false).evaluate(&[structure], &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.to_string(), "a structure has 5000 atoms, too many for EMT on the GPU; use --device cpu");
    assert_eq!(error.exit_code(), 2);
}

fn relaxed(potential: &dyn Potential, starts: &[Structure], settings: &RelaxSettings) -> Vec<Relaxed> {
    relax_all(starts, potential, settings, NEVER).unwrap()
}

/// Starts near the known minima: relaxed together, each ends in its minimum, where the CPU ends too.
#[test]
fn relaxations_end_in_the_known_minima() {
    for (path, n_free, n_starts, energy) in
        [("pt-adatom-minimum.xyz", 1, 6, 5.505784), ("pt7-hexagon-hcp.xyz", 7, 2, 24.987430)]
    {
        let minimum = read_structure(&Path::new("configs/structures").join(path)).unwrap();
        let starts: Vec<Structure> = (1..=n_starts).map(|seed| shaken(&minimum, n_free, 0.3, seed)).collect();
        let device = on_device(false);
        for fmax in [0.01, 1e-5] {
            let settings = RelaxSettings { fmax_ev_per_angstrom: fmax, ..RelaxSettings::default() };
            let found = relaxed(&device, &starts, &settings);
            let expected = relaxed(&Emt::new(false), &starts, &settings);
            for ((start, found), expected) in starts.iter().zip(&found).zip(&expected) {
                assert_eq!(found.ending, Ending::Converged, "{path}");
                assert!(found.energy > energy - 1e-6, "{path}: {}", found.energy);
                let near = if fmax < 1e-4 { 1e-6 } else { 3e-4 };
                assert!((found.energy - energy).abs() < near, "{path}: {}", found.energy);
                assert!((found.energy - expected.energy).abs() < 1e-6, "{path}: {} {}", found.energy, expected.energy);
                let (a, b) = (found.n_evaluations, expected.n_evaluations);
                assert!(a.abs_diff(b) <= b / 5 + 1, "{path}: {a} evaluations, {b} on the CPU");
                assert!(found.n_steps < a && a <= 150);
                let n_fixed = start.n_atoms() - n_free;
                assert_eq!(found.structure.positions[..n_fixed], start.positions[..n_fixed]);
                assert_eq!(found.structure.fixed, start.fixed);
                // What stands there is what an evaluation of the structure gives, bit for bit.
                let again = evaluate(&device, std::slice::from_ref(&found.structure)).remove(0);
                let stored = Evaluation { energy: found.energy, forces: found.structure.forces.clone().unwrap() };
                assert_eq!((found.structure.energy, again), (Some(found.energy), stored));
            }
        }
    }
}

/// Random starts far from a minimum, as a random structure search makes them, and all atoms of a small cluster: step by step as
/// on the CPU as long as rounding has not grown, and never up.
#[test]
fn early_steps_are_those_of_the_cpu() {
    let adatom = read_structure(Path::new("configs/structures/pt-adatom-minimum.xyz")).unwrap();
    let cluster = Structure::new(
        Cell::NONE,
        vec![79, 79, 29, 29, 46],
        vec![[0.0, 0.0, 0.0], [2.4, 0.3, 0.1], [1.1, 2.0, -0.3], [0.9, 0.8, 2.2], [3.0, 2.4, 1.9]],
    );
    let starts: Vec<Structure> =
        (1..4).flat_map(|seed| [shaken(&adatom, 1, 1.5, seed), shaken(&cluster, 5, 0.3, seed)]).collect();
    let device = on_device(false);
    for max_steps in [0, 1, 3, 8] {
        let settings = RelaxSettings { max_steps, history: 4, ..RelaxSettings::default() };
        let found = relaxed(&device, &starts, &settings);
        for (k, (found, expected)) in found.iter().zip(relaxed(&Emt::new(false), &starts, &settings)).enumerate() {
            assert_eq!(
                (found.ending.clone(), found.n_steps, found.n_evaluations),
                (expected.ending, expected.n_steps, expected.n_evaluations),
                "start {k} after {max_steps} steps"
            );
            assert!((found.energy - expected.energy).abs() < 1e-7, "start {k}: {} {}", found.energy, expected.energy);
        }
    }
    // Without memory it is steepest descent.
    let settings = RelaxSettings { max_steps: 5, history: 0, ..RelaxSettings::default() };
    for (found, expected) in
        relaxed(&device, &starts, &settings).iter().zip(relaxed(&Emt::new(false), &starts, &settings))
    {
        assert_eq!((found.n_steps, found.n_evaluations), (expected.n_steps, expected.n_evaluations));
        assert!((found.energy - expected.energy).abs() < 1e-7);
    }
}

/// Starts between sites and on top of atoms, with steps so long that many are rejected.
#[test]
fn hard_starts_take_the_steps_of_the_cpu() {
    let adatom = read_structure(Path::new("configs/structures/pt-adatom-minimum.xyz")).unwrap();
    let positions = vec![[0.0; 3], [1.6, 0.0, 0.0], [0.8, 1.4, 0.0], [0.8, 0.5, 1.3]];
    let cluster = Structure::new(Cell::NONE, vec![28; 4], positions);
    let starts: Vec<Structure> =
        (1..=24).flat_map(|seed| [shaken(&adatom, 1, 2.0, seed), shaken(&cluster, 4, 0.7, seed)]).collect();
    let settings =
        RelaxSettings { max_steps: 25, fmax_ev_per_angstrom: 1e-3, max_step_angstrom: 1.5, ..RelaxSettings::default() };
    let found = relaxed(&on_device(false), &starts, &settings);
    let expected = relaxed(&Emt::new(false), &starts, &settings);
    assert!(expected.iter().filter(|end| end.n_evaluations > end.n_steps + 2).count() > 5, "few steps are rejected");
    for (k, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(
            (&found.ending, found.n_steps, found.n_evaluations),
            (&expected.ending, expected.n_steps, expected.n_evaluations),
            "start {k}"
        );
        assert!((found.energy - expected.energy).abs() < 1e-6, "start {k}: {} {}", found.energy, expected.energy);
    }
}

#[test]
fn a_relaxation_depends_on_its_start_alone() {
    let adatom = read_structure(Path::new("configs/structures/pt-adatom-minimum.xyz")).unwrap();
    let starts: Vec<Structure> = (1..=4).map(|seed| shaken(&adatom, 1, 1.0, seed)).collect();
    let settings = RelaxSettings { max_steps: 200, ..RelaxSettings::default() };
    let mut seen: Option<Vec<Relaxed>> = None;
    for name in device_names() {
        let emt = EmtOnDevice::new(&Device::open(&name).unwrap(), false, None).unwrap();
        let together = relaxed(&emt, &starts, &settings);
        let alone = starts.iter().flat_map(|start| relaxed(&emt, std::slice::from_ref(start), &settings));
        assert_eq!(alone.collect::<Vec<_>>(), together, "{name}: one by one");
        assert_eq!(*seen.get_or_insert_with(|| together.clone()), together, "{name}");
        assert!(together.iter().any(|end| end.n_steps != together[0].n_steps));
    }
}

#[test]
fn every_ending_is_told() {
    let device = on_device(false);
    let adatom = read_structure(Path::new("configs/structures/pt-adatom-minimum.xyz")).unwrap();
    let sound = shaken(&adatom, 1, 0.2, 1);
    let mut nowhere = sound.clone();
    nowhere.positions[20][0] = f64::NAN;
    let mut together = sound.clone();
    together.positions[20] = together.positions[4];
    let mut fixed_together = sound.clone();
    fixed_together.positions[1] = fixed_together.positions[0];
    let starts = [sound.clone(), nowhere, together, fixed_together];
    let found = relaxed(&device, &starts, &RelaxSettings::default());
    let endings: Vec<&Ending> = found.iter().map(|relaxed| &relaxed.ending).collect();
    assert_eq!(endings, [&Ending::Converged, &Ending::NotFinite, &Ending::NotFinite, &Ending::NotFinite]);
    assert!(found[1].energy.is_nan() && found[2].energy == f64::INFINITY && found[3].energy == f64::INFINITY);
    assert!(found[1..].iter().all(|relaxed| (relaxed.n_steps, relaxed.n_evaluations) == (0, 1)));
    // Forces smaller than rounding cannot be had.
    let settings = RelaxSettings { fmax_ev_per_angstrom: 1e-300, ..RelaxSettings::default() };
    let end = relaxed(&device, &starts[..1], &settings).remove(0);
    assert!(matches!(end.ending, Ending::Stuck | Ending::MaxSteps), "{:?}", end.ending);
    assert!((end.energy - 5.505784).abs() < 1e-6);
    let settings = RelaxSettings { max_steps: 3, fmax_ev_per_angstrom: 1e-6, ..RelaxSettings::default() };
    let end = relaxed(&device, &starts[..1], &settings).remove(0);
    assert_eq!((end.ending, end.n_steps), (Ending::MaxSteps, 3));

    let mut all_fixed = sound;
    all_fixed.fixed.fill(true);
    let end = relaxed(&device, &[all_fixed], &RelaxSettings::default()).remove(0);
    assert_eq!((end.ending, end.n_evaluations), (Ending::Converged, 1));
    assert!(relaxed(&device, &[], &RelaxSettings::default()).is_empty());
}

#[test]
fn an_interrupt_ends_it() {
    let adatom = read_structure(Path::new("configs/structures/pt-adatom-minimum.xyz")).unwrap();
    let start = [shaken(&adatom, 1, 0.5, 1)];
    let n_asked = Counter::new(0);
    let second = || {
        n_asked.set(n_asked.get() + 1);
        n_asked.get() == 2
    };
    let settings = RelaxSettings { fmax_ev_per_angstrom: 1e-300, ..RelaxSettings::default() };
    let result = relax_all(&start, &on_device(false), &settings, &second);
    assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
}

#[test]
fn the_commands_take_a_device() {
    let device = device_names().remove(0);
    let place = tempfile::tempdir().unwrap();
    let minimum = format!("{}/configs/structures/pt-adatom-minimum.xyz", env!("CARGO_MANIFEST_DIR"));
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_godiff")).current_dir(&place).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&["evaluate", &minimum, "--potential", "emt", "--device", &device]);
    assert!(code == Some(0) && said.contains(" 5.505784 "), "{said}");
    let relax = ["relax", &minimum, "--potential", "emt", "--free", "1", "--device", &device];
    let (code, said) = run(&relax);
    assert!(code == Some(0) && said.contains(" 5.505784 ") && said.contains("converged"), "{said}");
    for command in ["evaluate", "relax"] {
        let (code, said) = run(&[command, &minimum, "--potential", "emt", "--device", "tpu"]);
        assert_eq!((code, said.trim_end()), (Some(2), UNKNOWN), "{command}");
    }
}

const UNKNOWN: &str = "godiff: unknown device 'tpu': known are auto, cpu, cpu-f64 and cuda[:INDEX]";
