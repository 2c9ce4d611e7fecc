use super::*;
use crate::potential::Emt;
use crate::potential::relax::relax;
use crate::system::{Cell, ConfinementSpec, ShortestDistance, read_structure};
use std::path::Path;

fn adatom() -> System {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/structures/pt-stepped.xyz");
    let template = read_structure(&path).unwrap();
    System::new(Some(&template), "Pt", Some(ConfinementSpec::AboveTemplate([0.0, 4.0])), None).unwrap()
}

const NEVER: &dyn Fn() -> bool = &|| false;

/// Lowest energy of the adatom with EMT, eV.
const MINIMUM: f64 = 5.505784;

#[test]
fn the_lowest_point_of_the_adatoms_landscape_leads_to_its_minimum() {
    let system = adatom();
    let emt = Emt::with_system(false, &system).unwrap();
    let settings = ScanSettings { grid: Some([20, 12]), ..ScanSettings::default() };
    let landscape = scan(&system, &emt, &settings, NEVER).unwrap();
    assert_eq!((landscape.energies_ev.len(), landscape.heights_angstrom.len()), (240, 240));
    let lowest = landscape.lowest().unwrap();
    let energy = landscape.energies_ev[lowest];
    // No point can be below the minimum, and the next one is at most half a diagonal of the grid away.
    assert!(energy > MINIMUM - 1e-6 && energy < MINIMUM + 0.2, "{energy}");
    let start = landscape.structure(&system, lowest).unwrap();
    let relaxed = relax(&start, &emt, &RelaxSettings::default(), NEVER).unwrap();
    assert!((relaxed.energy - MINIMUM).abs() < 3e-4, "{}", relaxed.energy);
    // Every height is that of a minimum along z, or an end of the confinement.
    let confinement = system.confinement.unwrap();
    for index in (0..240).step_by(7) {
        let position = landscape.position(index);
        let at = |z: f64| emt.energy_and_forces(&system.structure(&[[position[0], position[1], z]])).unwrap();
        let here = at(position[2]);
        assert!((here.energy - landscape.energies_ev[index]).abs() < 1e-9);
        let force = here.forces[system.n_template()][2];
        let held = position[2] == confinement.z_lo && force < 0.0 || position[2] == confinement.z_hi && force > 0.0;
        assert!(held || force.abs() <= settings.fmax_ev_per_angstrom, "point {index}: {force}");
        assert!([-0.05, 0.05].iter().all(|dz| held || at(position[2] + dz).energy > here.energy), "point {index}");
    }
    // Only the best of the tried heights: never lower, and cheaper.
    let coarse = scan(&system, &emt, &ScanSettings { relax: false, ..settings }, NEVER).unwrap();
    let pairs = || landscape.energies_ev.iter().zip(&coarse.energies_ev);
    assert!(pairs().all(|(fine, coarse)| fine <= coarse) && pairs().any(|(fine, coarse)| fine + 0.01 < *coarse));
    assert!(coarse.n_evaluations < landscape.n_evaluations && landscape.n_evaluations < 240 * 20);
}

/// z above the mean plane: a well at a height that depends on the place.
struct Wells;

fn well(x: f64, y: f64) -> f64 {
    3.0 + 0.8 * x - 0.3 * y
}

impl Potential for Wells {
    fn name(&self) -> String {
        "wells".into()
    }

    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()> {
        let answer = |structure: &Structure| {
            let [x, y, z] = structure.positions[1];
            let (d, mut forces) = (z - well(x, y), vec![[0.0; 3]; 2]);
            forces[1][2] = -4.0 * d - 4.0 * d.powi(3);
            match x > 2.9 {
                true => Answer::Failed("out of its depth".into()),
                false => Answer::Done(Evaluation { energy: x + 2.0 * d * d + d.powi(4), forces }),
            }
        };
        deliver(structures.iter().map(answer).enumerate().collect())
    }
}

fn wells(confinement: [f64; 2]) -> System {
    let cell = Cell { vectors: [[4.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.0; 3]], periodic: [true, true, false] };
    let template = Structure::new(cell, vec![78], vec![[0.0; 3]]);
    System::new(Some(&template), "Pt", Some(ConfinementSpec::Absolute(confinement)), None).unwrap()
}

#[test]
fn heights_follow_a_known_surface() {
    let settings = ScanSettings { grid: Some([5, 3]), fmax_ev_per_angstrom: 1e-4, ..ScanSettings::default() };
    let landscape = scan(&wells([0.5, 4.0]), &Wells, &settings, NEVER).unwrap();
    for i in 0..5 {
        for j in 0..3 {
            let index = 3 * i + j;
            let (x, y) = (0.8 * i as f64 + j as f64 / 3.0, j as f64);
            let (energy, height) = (landscape.energies_ev[index], landscape.heights_angstrom[index]);
            if x > 2.9 {
                assert!(energy.is_nan() && height.is_nan() && landscape.structure(&wells([0.5, 4.0]), index).is_none());
                continue;
            }
            let best = well(x, y).min(4.0);
            assert!((height - best).abs() < 1e-3, "({i}, {j}): {height}, not {best}");
            let d = best - well(x, y);
            assert!((energy - (x + 2.0 * d * d + d.powi(4))).abs() < 1e-5, "({i}, {j}): {energy}");
            let position = landscape.position(index);
            assert!((position[0] - x).abs() < 1e-12 && (position[1] - y).abs() < 1e-12 && position[2] == height);
        }
    }
    assert_eq!(landscape.lowest(), Some(0));
    // At its best height at the origin, the atom is too close to the one template atom there.
    let far = ScanSettings { shortest: ShortestDistance::Same(3.1), ..settings };
    let kept_off = scan(&wells([0.5, 4.0]), &Wells, &far, NEVER).unwrap();
    assert!(kept_off.heights_angstrom[0] >= 3.1 && kept_off.energies_ev[0] > landscape.energies_ev[0] + 0.015);
    assert!(kept_off.heights_angstrom[0] < 3.101, "{}", kept_off.heights_angstrom[0]);

    let text = serde_json::to_string(&landscape).unwrap();
    assert!(text.contains("null") && text.starts_with("{\"grid\":[5,3],\"a\":[4.0,0.0,0.0],\"b\":"), "{text}");
    let again: Landscape = serde_json::from_str(&text).unwrap();
    let bits = |l: &Landscape| l.energies_ev.iter().map(|x| x.is_finite().then(|| x.to_bits())).collect::<Vec<_>>();
    assert_eq!(
        (bits(&again), again.grid, again.n_evaluations),
        (bits(&landscape), landscape.grid, landscape.n_evaluations)
    );

    let picture = svg(&landscape, &wells([0.5, 4.0]));
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    // The points, and those that are repeated on the opposite sides.
    assert_eq!(picture.matches("<path fill=\"#").count(), 6 * 4);
    assert!(picture.contains("#cccccc") && picture.contains("<circle") && picture.contains("0.000 eV"));
}

#[test]
fn what_has_no_landscape_is_refused() {
    let settings = ScanSettings { grid: Some([2, 2]), ..ScanSettings::default() };
    let refused = |system: &System, settings: &ScanSettings, code: u8, sentence: &str| {
        let error = scan(system, &Wells, settings, NEVER).expect_err(sentence);
        assert!(error.to_string().contains(sentence), "{error}");
        assert_eq!(error.exit_code(), code);
    };
    let good = wells([0.5, 4.0]);
    let bare = System { template_numbers: vec![], template_positions: vec![], ..good.clone() };
    refused(&bare, &settings, 2, "a landscape needs a template; give one");
    let two = System { free_numbers: vec![78; 2], ..good.clone() };
    refused(&two, &settings, 2, "exactly one free atom, but there are 2");
    let open = System { confinement: None, ..good.clone() };
    refused(&open, &settings, 2, "give system.confinement");
    for grid in [[0, 3], [1_000_000, 2], [usize::MAX, 2]] {
        refused(&good, &ScanSettings { grid: Some(grid), ..settings }, 2, "points is impossible; give at least one");
    }
    let floor = ScanSettings { energy_floor_ev: Some(1e6), ..settings };
    refused(&good, &floor, 3, "the potential wells has no energy that counts");
    assert!(matches!(scan(&good, &Wells, &settings, &|| true), Err(Error::Interrupted)));
    assert!(matches!(scan_while(&good, &Wells, &settings, &|| true), Err(Error::Interrupted)), "nothing to keep");
}

/// Finished points keep the energies of the whole scan, whenever it is interrupted.
#[test]
fn an_interrupted_scan_keeps_its_finished_points() {
    let system = wells([0.5, 4.0]);
    let settings = ScanSettings { grid: Some([40, 40]), ..ScanSettings::default() };
    let whole = scan(&system, &Wells, &settings, NEVER).unwrap();
    let n_of_whole = whole.energies_ev.iter().filter(|energy| energy.is_finite()).count();
    let mut n_partial = 0;
    for n_allowed in [3, 20, 30, 60, 100] {
        let n_asked = std::cell::Cell::new(0);
        let later = || n_asked.replace(n_asked.get() + 1) >= n_allowed;
        let Ok((part, stopped)) = scan_while(&system, &Wells, &settings, &later) else { continue };
        let n_known = part.energies_ev.iter().filter(|energy| energy.is_finite()).count();
        assert_eq!(stopped.is_some(), n_known < n_of_whole);
        n_partial += usize::from(stopped.is_some());
        for (k, energy) in part.energies_ev.iter().enumerate().filter(|(_, energy)| energy.is_finite()) {
            assert_eq!((*energy, part.heights_angstrom[k]), (whole.energies_ev[k], whole.heights_angstrom[k]));
        }
    }
    assert!(n_partial > 0);
}

/// The same with the upper layer of the template mobile.
fn adatom_on_mobile_atoms() -> System {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/structures/pt-stepped.xyz");
    let template = read_structure(&path).unwrap();
    let atoms = crate::system::upper_layers(&template, 1).unwrap();
    adatom().with_mobile(&atoms, 0.3).unwrap()
}

#[test]
fn mobile_atoms_make_room_at_every_point() {
    let system = adatom_on_mobile_atoms();
    let n_mobile = system.n_mobile();
    assert!(n_mobile > 0 && system.n_template() > 0);
    let emt = Emt::with_system(false, &system).unwrap();
    let settings = ScanSettings { grid: Some([5, 3]), ..ScanSettings::default() };
    let landscape = scan(&system, &emt, &settings, NEVER).unwrap();
    assert_eq!((landscape.mobile_angstrom.len(), landscape.n_unconverged), (15, 0));
    // Never higher than with mobile atoms held, and by more than nothing.
    let held = system.holding_mobile(&system.mobile.homes);
    let rigid = scan(&held, &Emt::with_system(false, &held).unwrap(), &settings, NEVER).unwrap();
    assert!(rigid.mobile_angstrom.is_empty() && rigid.n_unconverged == 0);
    let gain = |k: usize| rigid.energies_ev[k] - landscape.energies_ev[k];
    assert!((0..15).all(|k| gain(k) > 0.01), "{:?}", (0..15).map(gain).collect::<Vec<_>>());
    // Every point is a minimum of height and mobile atoms, with the atom where the grid has it.
    let confinement = system.confinement.unwrap();
    for index in 0..15 {
        let structure = landscape.structure(&system, index).unwrap();
        let again = emt.energy_and_forces(&structure).unwrap();
        assert!((again.energy - landscape.energies_ev[index]).abs() < 1e-9);
        let moving = &again.forces[system.n_template()..];
        let small = |force: &Vec3| norm(*force) < settings.fmax_ev_per_angstrom;
        assert!(moving[..n_mobile].iter().all(small), "point {index}: {moving:?}");
        let (z, force) = (landscape.heights_angstrom[index], moving[n_mobile][2]);
        let at_end = z == confinement.z_lo && force < 0.0 || z == confinement.z_hi && force > 0.0;
        assert!(at_end || force.abs() < settings.fmax_ev_per_angstrom, "point {index}: {force}");
        let place = site(landscape.grid, [landscape.a, landscape.b], index);
        assert_eq!(structure.positions.last(), Some(&[place[0], place[1], z]));
        assert_eq!(structure.positions[system.n_template()..][..n_mobile], landscape.mobile_angstrom[index]);
        assert!(system.has_room(&structure.positions[system.n_template()..], settings.shortest));
    }
    // The lowest point leads to a minimum that is lower than that of the rigid template.
    let start = landscape.structure(&system, landscape.lowest().unwrap()).unwrap();
    assert!(relax(&start, &emt, &RelaxSettings::default(), NEVER).unwrap().energy < MINIMUM - 0.01);

    let text = serde_json::to_string(&landscape).unwrap();
    let again: Landscape = serde_json::from_str(&text).unwrap();
    let mobile = |landscape: &Landscape| landscape.mobile_angstrom.clone();
    assert!(text.contains("\"mobile_angstrom\":[[[") && mobile(&again) == mobile(&landscape));
}

/// Where the confinement ends below or above the best height, the atom stays at its end and the mobile atoms relax.
#[test]
fn the_confinement_holds_with_mobile_atoms() {
    let system = adatom_on_mobile_atoms();
    let emt = Emt::with_system(false, &system).unwrap();
    let settings = ScanSettings { grid: Some([2, 2]), ..ScanSettings::default() };
    let best = scan(&system, &emt, &settings, NEVER).unwrap();
    for shift in [-0.3, 0.3] {
        let (lo, hi) = best.heights_angstrom.iter().fold((f64::MAX, f64::MIN), |(lo, hi), z| (z.min(lo), z.max(hi)));
        let [z_lo, z_hi] = if shift < 0.0 { [lo - 2.0, lo + shift] } else { [hi + shift, hi + 2.0] };
        let narrow = System { confinement: Some(Confinement { z_lo, z_hi }), ..system.clone() };
        let landscape = scan(&narrow, &emt, &settings, NEVER).unwrap();
        assert_eq!((landscape.n_unconverged, landscape.lowest().is_some()), (0, true));
        for index in (0..4).filter(|&index| landscape.energies_ev[index].is_finite()) {
            let structure = landscape.structure(&narrow, index).unwrap();
            let forces = emt.energy_and_forces(&structure).unwrap().forces;
            let mobile = &forces[system.n_template()..][..system.n_mobile()];
            assert!(mobile.iter().all(|force| norm(*force) < settings.fmax_ev_per_angstrom));
            let z = landscape.heights_angstrom[index];
            assert!((z_lo..=z_hi).contains(&z));
            assert!(landscape.energies_ev[index] > best.energies_ev[index]);
        }
        assert!(landscape.heights_angstrom.contains(if shift < 0.0 { &z_hi } else { &z_lo }));
    }
}

#[test]
fn scans_with_mobile_atoms_keep_finished_points_or_say_what_lacks() {
    let system = adatom_on_mobile_atoms();
    let emt = Emt::with_system(false, &system).unwrap();
    let settings = ScanSettings { grid: Some([3, 2]), ..ScanSettings::default() };
    let whole = scan(&system, &emt, &settings, NEVER).unwrap();
    let mut n_partial = 0;
    for n_allowed in [4, 40, 60, 70] {
        let n_asked = std::cell::Cell::new(0);
        let later = || n_asked.replace(n_asked.get() + 1) >= n_allowed;
        let Ok((part, stopped)) = scan_while(&system, &emt, &settings, &later) else { continue };
        n_partial += usize::from(stopped.is_some());
        for k in (0..6).filter(|&k| part.energies_ev[k].is_finite()) {
            assert_eq!(part.energies_ev[k], whole.energies_ev[k]);
            assert_eq!(part.mobile_angstrom[k], whole.mobile_angstrom[k]);
        }
    }
    assert!(n_partial > 0);
    let flat = ScanSettings { relax: false, ..settings };
    let unrelaxed = scan(&system, &emt, &flat, NEVER).unwrap();
    assert!(unrelaxed.mobile_angstrom.iter().all(|places| *places == system.mobile.homes));
    let all = adatom().with_mobile(&(0..adatom().n_template()).collect::<Vec<_>>(), 0.3).unwrap();
    let error = scan(&all, &emt, &settings, NEVER).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("needs fixed atoms, but all of the template are"));
}
