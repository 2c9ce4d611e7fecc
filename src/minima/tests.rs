use super::*;
use crate::archive::{Archive, Entry, Status};
use crate::potential::Emt;
use crate::random::{Noise, Purpose};
use crate::system::vector::{add, scale, sub};
use crate::system::{Cell, System, Vec3, read_structure};
use std::path::PathBuf;
use tempfile::TempDir;

fn shipped(name: &str) -> Structure {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/structures").join(name);
    let mut structure = read_structure(&path).unwrap();
    let n_template = structure.n_atoms() - 7;
    structure.fixed[..n_template].fill(true);
    structure
}

fn system_of(structure: &Structure) -> System {
    let n_template = structure.fixed.iter().filter(|fixed| **fixed).count();
    System {
        cell: structure.cell,
        template_numbers: structure.numbers[..n_template].to_vec(),
        template_positions: structure.positions[..n_template].to_vec(),
        free_numbers: structure.numbers[n_template..].to_vec(),
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    }
}

/// The slab under the shipped hexagons.
fn slab() -> System {
    system_of(&shipped("pt7-hexagon-fcc.xyz"))
}

/// An island without any symmetry, on the slab.
fn island() -> Vec<Vec3> {
    let mut free = shipped("pt7-hexagon-fcc.xyz").positions.split_off(72);
    free[1] = add(free[1], [1.3, 0.7, 0.9]);
    free[4] = add(free[4], [-1.1, 1.6, 0.4]);
    free
}

/// The positions after a linear map in the plane about an atom of the slab's top layer.
fn about_an_atom(free: &[Vec3], [xx, xy, yx, yy]: [f64; 4]) -> Vec<Vec3> {
    let system = slab();
    let top = system.template_positions.iter().map(|r| r[2]).fold(f64::NEG_INFINITY, f64::max);
    let centre = *system.template_positions.iter().find(|r| r[2] > top - 0.1).unwrap();
    let turn = |d: Vec3| [xx * d[0] + xy * d[1], yx * d[0] + yy * d[1], d[2]];
    free.iter().map(|&r| add(centre, turn(sub(r, centre)))).collect()
}

fn same(system: &System, a: &[Vec3], b: &[Vec3], tolerance: f64) -> bool {
    let comparison = Comparison::new(&system.structure(a));
    let [a, b] = [a, b].map(|free| comparison.shape(&system.structure(free)));
    let same = comparison.same(&a, &b, tolerance);
    assert_eq!(same, comparison.same(&b, &a, tolerance), "the order of the two does not matter");
    same
}

/// (cos, −sin, sin, cos) of 120°.
fn third_of_a_turn() -> [f64; 4] {
    let half = 0.75f64.sqrt();
    [-0.5, -half, half, -0.5]
}

#[test]
fn equivalent_islands_are_the_same() {
    let system = slab();
    let free = island();
    let [a, b, _] = system.cell.vectors;
    let moved = |by: Vec3| -> Vec<Vec3> { free.iter().map(|&r| add(r, by)).collect() };
    let permuted: Vec<Vec3> = (0..7).map(|k| free[(3 * k + 2) % 7]).collect();
    let mut across = free.clone();
    across[2] = sub(add(across[2], a), scale(2.0, b));
    let wrapped: Vec<Vec3> =
        moved(scale(0.5, a)).into_iter().map(|r| system.cell.wrap(r, [true, true, false])).collect();
    let turned = about_an_atom(&free, third_of_a_turn());
    for (what, other) in [
        ("permuted", permuted),
        ("one atom in another cell", across),
        ("one atom of the surface further", moved(scale(1.0 / 6.0, a))),
        ("further along both", moved(add(scale(-1.0 / 6.0, a), scale(2.0 / 6.0, b)))),
        ("half a cell further, wrapped", wrapped),
        ("mirrored", about_an_atom(&turned, [-1.0, 0.0, 0.0, 1.0])),
        ("turned", turned),
    ] {
        assert!(same(&system, &free, &other, 0.05), "{what}");
        let mut other = other;
        other[5] = add(other[5], [0.0, 0.3, 0.0]);
        assert!(!same(&system, &free, &other, 0.2), "{what}, and one atom moved");
        assert!(same(&system, &free, &other, 0.35), "{what}, and one atom moved within the tolerance");
    }
    // No symmetry of the slab: half a turn, a twelfth of the cell.
    assert!(!same(&system, &free, &about_an_atom(&free, [-1.0, 0.0, 0.0, -1.0]), 0.2));
    assert!(!same(&system, &free, &moved(scale(1.0 / 12.0, a)), 0.2));
}

#[test]
fn hexagons_on_the_two_kinds_of_hollow_sites_differ() {
    let [fcc, hcp] = ["pt7-hexagon-fcc.xyz", "pt7-hexagon-hcp.xyz"].map(|name| shipped(name).positions.split_off(72));
    assert!(same(&slab(), &fcc, &about_an_atom(&fcc, third_of_a_turn()), 0.1));
    assert!(!same(&slab(), &fcc, &hcp, 0.4));
}

#[test]
fn elements_count() {
    let system = System { free_numbers: vec![79, 78, 78, 78, 78, 78, 78], ..slab() };
    let free = island();
    let swapped = |k: usize| {
        let mut free = free.clone();
        free.swap(0, k);
        free
    };
    assert!(!same(&system, &free, &swapped(3), 0.2));
    let mut like = free.clone();
    like.swap(2, 3);
    assert!(same(&system, &free, &like, 0.2));
}

/// Five atoms without symmetry, in empty space.
fn cluster() -> (System, Vec<Vec3>) {
    let free = vec![[0.0; 3], [2.5, 0.1, 0.0], [0.3, 2.7, 0.2], [0.9, 0.8, 2.4], [-1.9, -0.6, 1.5]];
    let system = System {
        cell: Cell::NONE,
        template_numbers: vec![],
        template_positions: vec![],
        free_numbers: vec![29, 29, 29, 29, 79],
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    };
    (system, free)
}

#[test]
fn clusters_may_be_turned_moved_and_mirrored() {
    let (system, free) = cluster();
    let other = |linear: fn(Vec3) -> Vec3| -> Vec<Vec3> {
        let mut free: Vec<Vec3> = free.iter().map(|&r| add(linear(r), [4.0, -7.0, 1.0])).collect();
        free.swap(0, 3);
        free
    };
    for linear in [
        |r: Vec3| r,
        |r: Vec3| [r[1], r[2], r[0]],
        |r: Vec3| [0.6 * r[0] - 0.8 * r[1], 0.8 * r[0] + 0.6 * r[1], r[2]],
        |r: Vec3| [-r[0], r[1], r[2]],
    ] {
        let mut other = other(linear);
        assert!(same(&system, &free, &other, 0.05));
        other[1] = add(other[1], scale(0.4, sub(other[1], other[4])));
        assert!(!same(&system, &free, &other, 0.2));
    }
    // The gold atom elsewhere.
    let mut swapped = free.clone();
    swapped.swap(0, 4);
    assert!(!same(&system, &free, &swapped, 0.2));
}

/// Without template, bulk may be moved as a whole; the stacking distinguishes fcc from hcp.
#[test]
fn bulk_is_compared_by_its_distances() {
    let d = 2.77;
    let height = d * (2.0f64 / 3.0).sqrt();
    let side = |k: f64| [0.5 * d * k, d * k / 12f64.sqrt(), 0.0];
    let stack = |layers: &[f64]| -> Vec<Vec3> {
        layers.iter().enumerate().map(|(k, &shift)| add(side(shift), [0.0, 0.0, height * k as f64])).collect()
    };
    let vectors = [[d, 0.0, 0.0], [0.5 * d, 0.75f64.sqrt() * d, 0.0], [0.0, 0.0, 6.0 * height]];
    let (_, free) = cluster();
    let system =
        System { cell: Cell { vectors, periodic: [true; 3] }, free_numbers: vec![78; free.len() + 1], ..cluster().0 };
    let fcc = stack(&[0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
    let hcp = stack(&[0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    let moved: Vec<Vec3> = fcc.iter().rev().map(|&r| add(r, [0.4, 9.0, -3.3])).collect();
    assert!(same(&system, &fcc, &moved, 0.01));
    assert!(!same(&system, &fcc, &hcp, 0.1));
}

const TIGHT: Tolerances = Tolerances { energy_ev: 0.02, distance_angstrom: 0.2 };

/// A run folder whose archive holds these entries: status, energy and free positions, ten per iteration.
fn run_of(system: &System, rows: &[(Status, f64, Vec<Vec3>)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let mut archive = Archive::create(&folder.path().join("archive.db"), system, "emt", 1).unwrap();
    let entry = |(k, (status, energy, free)): (usize, &(Status, f64, Vec<Vec3>))| {
        let evaluated = *status != Status::TooClose;
        let forces = vec![[0.0, 0.0, if *energy < 5.0 { 0.001 } else { 3.0 }]; system.n_atoms()];
        Entry {
            iteration: (k / 10) as u32,
            index: (k % 10) as u32,
            kt_ev: 1.0,
            status: *status,
            origin: None,
            predicted_ev: None,
            free_positions: free.clone(),
            energy: evaluated.then_some(*energy),
            forces: evaluated.then_some(forces),
        }
    };
    archive.record(&rows.iter().enumerate().map(entry).collect::<Vec<_>>()).unwrap();
    folder
}

/// Two hexagons (fcc twice as found, an energy apart, and turned), an island of another kind, and structures that do not count.
fn rows() -> Vec<(Status, f64, Vec<Vec3>)> {
    let [fcc, hcp] = ["pt7-hexagon-fcc.xyz", "pt7-hexagon-hcp.xyz"].map(|name| shipped(name).positions.split_off(72));
    let turned = about_an_atom(&fcc, third_of_a_turn());
    vec![
        (Status::Ok, 9.0, island()),
        (Status::TooClose, 0.0, fcc.clone()),
        (Status::Ok, 2.010, fcc.clone()),
        (Status::Failed, 0.5, fcc.clone()),
        (Status::Ok, 2.005, hcp),
        (Status::BelowFloor, -7.0, island()),
        (Status::Ok, 2.003, turned),
        (Status::Ok, 3.0, fcc.clone()),
        (Status::Ok, 9.5, island()),
        (Status::Ok, 2.020, fcc),
        (Status::Ok, 9.001, about_an_atom(&island(), third_of_a_turn())),
    ]
}

fn counts(minima: &[Minimum]) -> Vec<(f64, usize)> {
    minima.iter().map(|minimum| (minimum.energy_ev, minimum.count)).collect()
}

#[test]
fn distinct_structures_by_energy_with_count_and_times() {
    let folder = run_of(&slab(), &rows());
    let source = [Source::of(folder.path())];
    let minima = distinct(&source, TIGHT, 50).unwrap();
    assert_eq!(counts(&minima), [(2.003, 3), (2.005, 1), (3.0, 1), (9.0, 2), (9.5, 1)]);
    let at = |evaluation, iteration, index| Occurrence { evaluation, run: 0, iteration, index };
    // Rejected samples are no evaluations; failed ones are.
    assert_eq!((minima[0].first, minima[0].last), (at(2, 0, 2), at(9, 0, 9)));
    assert_eq!((minima[3].first, minima[3].last), (at(1, 0, 0), at(10, 1, 0)));
    assert_eq!(minima[0].structure.energy, Some(2.003));
    assert_eq!(minima[0].structure.positions[72..], rows()[6].2);
    assert!(minima[0].relaxed && !minima[3].relaxed);
    let symmetry = minima[0].symmetry.clone().unwrap();
    assert_eq!((symmetry.kind, symmetry.number, symmetry.symbol.as_str()), (GroupKind::Layer, 69, "p3m1"));
    assert_eq!(minima[3].symmetry.as_ref().unwrap().symbol, "p1");

    // Wider and narrower.
    let all = distinct(&source, Tolerances { energy_ev: 1.0, ..TIGHT }, 50).unwrap();
    assert_eq!(counts(&all), [(2.003, 4), (2.005, 1), (9.0, 3)]);
    let exact = distinct(&source, Tolerances { energy_ev: 0.0, distance_angstrom: 0.2 }, 50).unwrap();
    assert_eq!(exact.len(), 8);
    // The counts of the kept structures do not depend on how many are kept.
    for n in 1..5 {
        assert_eq!(distinct(&source, TIGHT, n).unwrap(), minima[..n]);
    }
}

#[test]
fn several_runs_are_counted_together() {
    let first = run_of(&slab(), &rows()[..3]);
    let second = run_of(&slab(), &rows()[2..9]);
    let sources = [Source::of(first.path()), Source::of(&second.path().join("archive.db"))];
    let minima = distinct(&sources, TIGHT, 50).unwrap();
    assert_eq!(counts(&minima), [(2.003, 3), (2.005, 1), (3.0, 1), (9.0, 1), (9.5, 1)]);
    assert_eq!((&minima[0].runs[..], &minima[1].runs[..]), (&[0, 1][..], &[1][..]));
    assert_eq!((minima[0].first.run, minima[0].first.evaluation), (1, 1));
    let frame = minima[0].frame(2);
    use crate::system::xyz::Value;
    assert_eq!(frame.info("n_runs"), Some(&Value::Integer(2)));
    assert_eq!(frame.info("count"), Some(&Value::Integer(3)));
    assert_eq!(frame.info("layer_group"), Some(&Value::Integer(69)));
    assert_eq!(frame.info("symmetry"), Some(&Value::Text("p3m1".into())));
    assert_eq!(minima[0].frame(1).info("n_runs"), None);

    let stranger = System {
        template_positions: slab().template_positions.iter().map(|r| add(*r, [0.0, 0.0, 0.1])).collect(),
        ..slab()
    };
    let other = run_of(&stranger, &rows()[..1]);
    let error = distinct(&[Source::of(first.path()), Source::of(other.path())], TIGHT, 50).unwrap_err();
    assert!(error.to_string().contains("holds structures with another template than"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

/// Baselines record every step of their relaxations; only the ends count as found.
#[test]
fn of_a_baseline_only_relaxed_structures_count() {
    let folder = run_of(&slab(), &rows());
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "[random_search]\nevaluations = 9\n[relaxation]\nfmax_ev_per_angstrom = 0.01\n").unwrap();
    let source = Source::of(folder.path());
    assert_eq!((source.fmax_ev_per_angstrom, source.tolerances()), (Some(0.01), Tolerances::RELAXED));
    let minima = distinct(&[source], TIGHT, 50).unwrap();
    assert_eq!(counts(&minima), [(2.003, 3), (2.005, 1), (3.0, 1)]);
    std::fs::write(&config, "[search]\niterations = 9\n").unwrap();
    assert_eq!(Source::of(folder.path()).tolerances(), Tolerances::SAMPLES);
}

#[test]
fn nothing_found_and_impossible_tolerances() {
    let folder = run_of(&slab(), &rows()[1..2]);
    assert!(distinct(&[Source::of(folder.path())], TIGHT, 50).unwrap().is_empty());
    write(folder.path()).unwrap();
    assert!(!folder.path().join(MINIMA).exists());
    for (bad, sentence) in [
        (Tolerances { energy_ev: f64::NAN, ..TIGHT }, "the tolerance of the energy is NaN; give a number of eV"),
        (Tolerances { distance_angstrom: -1.0, ..TIGHT }, "the tolerance of the distance is -1; give a number of Å"),
    ] {
        let error = distinct(&[], bad, 50).unwrap_err();
        assert!(error.to_string().contains(sentence), "{error}");
    }
    let missing = distinct(&[Source::of(&PathBuf::from("no/such/run"))], TIGHT, 50).unwrap_err();
    assert!(missing.to_string().contains("no such archive"), "{missing}");
}

#[test]
fn the_run_folder_gets_its_minima() {
    let folder = run_of(&slab(), &rows());
    write(folder.path()).unwrap();
    let frames = crate::system::xyz::read_frames(&folder.path().join(MINIMA)).unwrap();
    let energies: Vec<Option<f64>> = frames.iter().map(|frame| frame.structure.energy).collect();
    // The wider tolerances of samples.
    assert_eq!(energies, [2.003, 2.005, 3.0, 9.0, 9.5].map(Some));
    assert_eq!(frames[0].structure.fixed.iter().filter(|fixed| **fixed).count(), 72);
}

/// Starts around two minima end in two minima.
#[test]
fn relaxed_structures_merge() {
    let noise = Noise::new(3, Purpose::Prior, 0);
    let mut rows = Vec::new();
    for (k, name) in ["pt7-hexagon-fcc.xyz", "pt7-hexagon-hcp.xyz"].into_iter().cycle().take(6).enumerate() {
        let mut free = shipped(name).positions.split_off(72);
        for (atom, r) in free.iter_mut().enumerate() {
            let u = noise.uniforms(k as u32, 0, atom as u32, 0);
            *r = std::array::from_fn(|x| r[x] + 0.3 * (u[x] - 0.5));
        }
        rows.push((Status::Ok, 25.0 + k as f64, free));
    }
    let folder = run_of(&slab(), &rows);
    let starts = distinct(&[Source::of(folder.path())], TIGHT, 50).unwrap();
    assert_eq!(starts.len(), 6);
    let emt = Emt::with_system(false, &slab()).unwrap();
    let settings = RelaxSettings::default();
    let end = relaxed(starts, &emt, &settings, Tolerances::RELAXED, &|| false).unwrap();
    assert_eq!((end.n_unconverged, end.n_failed), (0, 0));
    assert!(end.n_evaluations >= 6 * 5, "{}", end.n_evaluations);
    let [hcp, fcc] = &end.minima[..] else { panic!("{} minima", end.minima.len()) };
    for (minimum, energy) in [(hcp, 24.987430), (fcc, 24.993625)] {
        assert!((minimum.energy_ev - energy).abs() < 3e-4, "{}", minimum.energy_ev);
        assert!(minimum.relaxed && minimum.count == 3);
        assert_eq!(minimum.symmetry.as_ref().unwrap().symbol, "p3m1");
    }
    assert_eq!((fcc.first.evaluation, fcc.last.evaluation), (1, 5));
    let one = RelaxSettings { max_steps: 1, ..settings };
    let starts = distinct(&[Source::of(folder.path())], TIGHT, 2).unwrap();
    let end = relaxed(starts, &emt, &one, Tolerances::RELAXED, &|| false).unwrap();
    assert_eq!((end.n_unconverged, end.minima.iter().filter(|minimum| minimum.relaxed).count()), (2, 0));
    let found = end.minima.clone();
    let end = relaxed(end.minima, &emt, &settings, Tolerances::RELAXED, &|| true).unwrap();
    assert!(matches!(end.stopped, Some(Error::Interrupted)) && end.n_evaluations == 0 && end.n_unconverged == 2);
    assert_eq!(end.minima, found, "an interruption before the first step leaves them as they are");
    let n_asked = std::cell::Cell::new(0);
    let later = || n_asked.replace(n_asked.get() + 1) > 6;
    let end = relaxed(found.clone(), &emt, &settings, Tolerances::RELAXED, &later).unwrap();
    assert!(matches!(end.stopped, Some(Error::Interrupted)) && end.n_evaluations > 0);
    for (end, start) in end.minima.iter().zip(&found) {
        assert!(end.energy_ev < start.energy_ev && !end.relaxed);
    }
}

/// How long it takes: `cargo test --release --lib minima::tests::effort -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn effort() {
    let noise = Noise::new(3, Purpose::Prior, 0);
    for (n, spread) in [(2_560, 0.3), (2_560, 6.0), (100_000, 0.3), (100_000, 6.0)] {
        let fcc = shipped("pt7-hexagon-fcc.xyz").positions.split_off(72);
        let rows: Vec<_> = (0..n)
            .map(|k| {
                let share = spread * (1.0 - 0.9 * k as f64 / n as f64);
                let mut cost = 0.0;
                let mut free = fcc.clone();
                for (atom, r) in free.iter_mut().enumerate() {
                    let u = noise.uniforms(k as u32, 0, atom as u32, 0);
                    let d: Vec3 = std::array::from_fn(|x| share * (u[x] - 0.5));
                    cost += 2.0 * d.iter().map(|x| x * x).sum::<f64>();
                    *r = add(*r, d);
                }
                (Status::Ok, 25.0 + cost, free)
            })
            .collect();
        let folder = run_of(&slab(), &rows);
        let started = std::time::Instant::now();
        write(folder.path()).unwrap();
        let minima = distinct(&[Source::of(folder.path())], Tolerances::SAMPLES, LOWEST).unwrap();
        println!("{n} samples within {spread} Å: twice {} minima, {:?} each", minima.len(), started.elapsed() / 2);
    }
}
