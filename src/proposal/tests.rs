//! Placement and moves on a slab of one layer, and how samples are divided among proposals.

use super::*;
use crate::engine::RandomStream;
use crate::random::{Purpose, host_generator};
use crate::system::elements::covalent_radius;
use crate::system::vector::{norm, sub};
use crate::system::{Cell, Molecule, Molecules, ShortestDistance, Structure, System, Vec3};
use tempfile::TempDir;

/// Free atoms `free` above nine of copper; `placement` is the section's text.
fn settings(free: &str, placement: &str) -> Settings {
    let folder = TempDir::new().unwrap();
    let lattice = "Lattice=\"8.0 0.0 0.0 0.0 8.0 0.0 0.0 0.0 20.0\" Properties=species:S:1:pos:R:3 pbc=\"T T F\"";
    let place = |k: u8| format!("Cu {:.4} {:.4} 5.0\n", f64::from(k / 3) * 8.0 / 3.0, f64::from(k % 3) * 8.0 / 3.0);
    let slab: String = (0..9).map(place).collect();
    std::fs::write(folder.path().join("slab.xyz"), format!("9\n{lattice}\n{slab}")).unwrap();
    let text = format!(
        "[system]\ntemplate = 'slab.xyz'\nfree = '{free}'\nconfinement = {{ above_template_angstrom = [0.5, 5.0] }}\n\
         [potential]\nkind = 'emt'\n[search]\nseed = 5\n[placement]\n{placement}\n"
    );
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
    Settings::load(&folder.path().join("config.toml")).unwrap()
}

#[test]
fn atoms_are_placed_next_to_one_another() {
    let settings = settings("CuAu6", "");
    let placement = Placement::new(&settings);
    let system = &settings.system;
    let confinement = system.confinement.unwrap();
    for attempt in 0..50 {
        let free = placement.structure(attempt).unwrap();
        assert_eq!(free, placement.structure(attempt).unwrap());
        assert_ne!(free, placement.structure(attempt + 1).unwrap());
        for (i, &ri) in free.iter().enumerate() {
            assert!((confinement.z_lo..=confinement.z_hi).contains(&ri[2]));
            let ratio = |number: u8, other: Vec3| {
                let bond = covalent_radius(system.free_numbers[i]) + covalent_radius(number);
                norm(system.cell.minimum_image(sub(other, ri))) / bond
            };
            let others = (0..free.len()).filter(|&j| j != i).map(|j| ratio(system.free_numbers[j], free[j]));
            let nearest_free = others.fold(f64::INFINITY, f64::min);
            let template = system.template_positions.iter().map(|&r| ratio(29, r)).fold(f64::INFINITY, f64::min);
            assert!(nearest_free.min(template) > 0.75 - 1e-12);
            assert!(nearest_free < 1.25, "atom {i} of {attempt} is alone");
        }
    }
}

#[test]
fn uniform_placement_scatters_them() {
    let settings = settings("CuAu2", "method = 'uniform'");
    let placement = Placement::new(&settings);
    let heights: Vec<f64> = (0..200).flat_map(|attempt| placement.structure(attempt).unwrap()).map(|r| r[2]).collect();
    let mean = heights.iter().sum::<f64>() / heights.len() as f64;
    // Between 5.5 and 10 Å; the template takes the lowest places.
    assert!((7.3..8.6).contains(&mean), "{mean}");
}

#[test]
fn no_room_is_said() {
    let settings = settings("CuAu2", "shortest_bond = 3.0\nlongest_bond = 4.0");
    let error = Placement::new(&settings).structure(0).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("no room was found for the free atoms in 100 random structures"), "{error}");
}

#[test]
fn children_have_the_atoms_of_their_parents() {
    let settings = settings("CuAu6", "");
    let placement = Placement::new(&settings);
    let [a, b] = [0, 1].map(|attempt| placement.structure(attempt).unwrap());
    let mut random = host_generator(1, Purpose::Move, 0);
    let (mut n_from_a, n_children) = (0, 200);
    for _ in 0..n_children {
        let child = splice(&settings.system, [&a, &b], &mut random);
        assert_eq!(child.len(), 7);
        assert!(child.iter().flatten().all(|x| x.is_finite()));
        let of_a = |r: &&Vec3| a.iter().any(|&q| norm(settings.system.cell.minimum_image(sub(q, **r))) < 1e-9);
        n_from_a += child.iter().filter(of_a).count();
    }
    // One to six of seven, evenly. More would mean that the second parent is ignored.
    let share = n_from_a as f64 / f64::from(7 * n_children);
    assert!((0.42..0.58).contains(&share), "{share}");
    let twin = splice(&settings.system, [&a, &a], &mut random);
    let close = |q: &Vec3| a.iter().any(|&r| norm(settings.system.cell.minimum_image(sub(r, *q))) < 1e-9);
    assert!(twin.iter().all(close), "a structure spliced with itself is itself");
}

#[test]
fn loosely_bound_atoms_are_put_elsewhere() {
    let settings = settings("Au4", "");
    let placement = Placement::new(&settings);
    let d = 2.2;
    let high = settings.system.confinement.unwrap().z_hi;
    let free = [[0.0, 0.0, high], [d, 0.0, high], [0.5 * d, 0.8 * d, high], [-d, 0.0, high]];
    // A triangle, one atom next to it, and the template out of reach.
    assert_eq!([0, 1, 2, 3].map(|atom| placement.bonds(&[atom], &free)), [3, 2, 2, 1]);
    let (mut moves, n_moves) = ([0; 4], 2000);
    for attempt in 0..n_moves {
        let mut random = host_generator(1, Purpose::Move, attempt);
        let moved = relocate(&placement, &free, &mut random).unwrap();
        let changed: Vec<usize> =
            (0..4).filter(|&k| norm(settings.system.cell.minimum_image(sub(moved[k], free[k]))) > 1e-9).collect();
        assert_eq!(changed.len(), 1);
        moves[changed[0]] += 1;
    }
    let weights = [-2.0f64, -1.0, -1.0, 0.0].map(f64::exp);
    for (found, weight) in moves.into_iter().zip(weights) {
        let expected = weight / weights.iter().sum::<f64>();
        // Five standard deviations.
        assert!(
            (f64::from(found) / n_moves as f64 - expected).abs() < 5.0 * (expected / n_moves as f64).sqrt(),
            "{moves:?}"
        );
    }
}

#[test]
fn moves_stay_in_bounds() {
    let settings = settings("CuAu2", "");
    let free = Placement::new(&settings).structure(0).unwrap();
    let system = &settings.system;
    let confinement = system.confinement.unwrap();
    let mut random = host_generator(1, Purpose::Move, 0);
    for _ in 0..100 {
        let shaken = shake(system, &free, 1.5, ShortestDistance::Same(1.0), &mut random);
        assert!(system.closest_contact(&shaken) >= 1.0);
        for (before, after) in free.iter().zip(&shaken) {
            assert!((confinement.z_lo..=confinement.z_hi).contains(&after[2]));
            let moved = system.cell.minimum_image(sub(*after, *before));
            assert!(moved.iter().all(|x| x.abs() <= 1.5 + 1e-12), "{moved:?}");
        }
        let exchanged = exchange(system, &free, &mut random).unwrap();
        assert!(
            exchanged[0] == free[1] && exchanged[1] == free[0] || exchanged[0] == free[2] && exchanged[2] == free[0]
        );
    }
    let one_species =
        Settings { system: crate::system::System { free_numbers: vec![79; 3], ..system.clone() }, ..settings.clone() };
    assert_eq!(exchange(&one_species.system, &free, &mut random), None);
}

/// Mobile atoms of the template stay at home in random structures, shake a little, and are exchanged but not relocated.
#[test]
fn mobile_atoms_belong_to_the_template() {
    let mut settings = settings("CuAu2", "");
    settings.system = settings.system.with_mobile(&[0, 2, 4, 6, 8], 0.2).unwrap();
    let (system, placement) = (&settings.system, Placement::new(&settings));
    let (n_mobile, homes) = (system.n_mobile(), &system.mobile.homes);
    assert!(n_mobile > 3 && system.n_free() == n_mobile + 3);
    let free = placement.structure(0).unwrap();
    assert_eq!(free[..n_mobile], homes[..]);
    let reach = |a: &Vec3, b: &Vec3| norm(system.cell.minimum_image(sub(*a, *b)));
    let contact = |free: &[Vec3]| system.closest_contact(free) > 1.5;
    assert!(contact(&free), "placed next to the template, mobile atoms included");
    let mut random = host_generator(1, Purpose::Move, 0);
    let mut n_exchanged = 0;
    for _ in 0..200 {
        let shaken = shake(system, &free, 1.5, ShortestDistance::Same(1.0), &mut random);
        assert!(shaken[..n_mobile].iter().zip(homes).all(|(x, home)| reach(x, home) <= 0.2 * 3f64.sqrt() + 1e-12));
        assert!(shaken[..n_mobile].iter().zip(homes).all(|(x, home)| x != home));
        let moved = relocate(&placement, &free, &mut random).unwrap();
        assert!(moved[..n_mobile] == homes[..] && moved != free && contact(&moved));
        let exchanged = exchange(system, &free, &mut random).unwrap();
        n_exchanged += usize::from(exchanged[..n_mobile] != homes[..]);
        let child = splice(system, [&shaken, &free], &mut random);
        assert_eq!(child[..n_mobile], shaken[..n_mobile]);
    }
    assert!(n_exchanged > 100, "{n_exchanged}");
}

/// Copper and two CO on the slab, with a distance of 1.15 Å between C and O.
fn with_molecules() -> Settings {
    let mut settings = settings("Cu2", "");
    let co = Structure::new(Cell::NONE, vec![6, 8], vec![[0.0; 3], [0.0, 0.0, 1.15]]);
    let all = vec![Molecule::new(&co).unwrap(); 2];
    settings.system = settings.system.with_molecules(Molecules { all, keep_bonded: true });
    settings
}

/// Distances between C and O of the molecules in `free`, by the order of the atoms, Å.
fn lengths(system: &System, free: &[Vec3]) -> [f64; 2] {
    [(2, 3), (4, 5)].map(|(c, o)| norm(system.cell.minimum_image(sub(free[o], free[c]))))
}

#[test]
fn molecules_are_placed_as_wholes() {
    let settings = with_molecules();
    let (system, placement) = (&settings.system, Placement::new(&settings));
    let confinement = system.confinement.unwrap();
    let (mut upright, mut at_the_bottom) = (0, 0);
    for attempt in 0..60 {
        let free = placement.structure(attempt).unwrap();
        assert!(system.molecules_are_whole(&free));
        assert!(lengths(system, &free).iter().all(|length| (length - 1.15).abs() < 1e-9));
        assert!(free.iter().all(|r| (confinement.z_lo..=confinement.z_hi).contains(&r[2])));
        let tilt = (free[3][2] - free[2][2]) / 1.15;
        upright += usize::from(tilt.abs() > 0.5);
        at_the_bottom += usize::from(tilt > 0.0);
    }
    // Of random directions half are within 60° of the axis. On the other side of it are as many; five standard deviations.
    assert!((11..50).contains(&upright) && (11..50).contains(&at_the_bottom), "{upright} {at_the_bottom}");
}

/// Half of the moves treat a molecule as a whole: it keeps its length, whoever else moves.
#[test]
fn molecules_are_moved_as_wholes_by_half_of_the_moves() {
    let settings = with_molecules();
    let (system, placement) = (&settings.system, Placement::new(&settings));
    let free = placement.structure(3).unwrap();
    let mut random = host_generator(1, Purpose::Move, 0);
    let whole = |moved: &[Vec3]| lengths(system, moved).iter().all(|length| (length - 1.15).abs() < 1e-9);
    let (mut n_whole, mut n_turned, mut n_relocated) = (0, 0, 0);
    for _ in 0..300 {
        let shaken = shake(system, &free, 0.3, ShortestDistance::Same(0.5), &mut random);
        if whole(&shaken) {
            n_whole += 1;
            let along = |free: &[Vec3]| system.cell.minimum_image(sub(free[3], free[2]));
            n_turned += usize::from(norm(sub(along(&shaken), along(&free))) > 0.02);
            let farthest = shaken.iter().zip(&free).map(|(a, b)| norm(system.cell.minimum_image(sub(*a, *b))));
            // Both the displacement and the turn are bounded by the step.
            assert!(farthest.fold(0.0, f64::max) < 0.3 * 3f64.sqrt() + 0.3 + 1e-9);
        }
        let moved = relocate(&placement, &free, &mut random).unwrap();
        let changed: Vec<usize> =
            (0..6).filter(|&k| norm(system.cell.minimum_image(sub(moved[k], free[k]))) > 1e-9).collect();
        assert!(matches!(changed[..], [0] | [1] | [2, 3] | [4, 5]), "{changed:?}");
        n_relocated += usize::from(changed.len() == 2);
        assert!(system.molecules_are_whole(&moved));
    }
    // 150 expected; five standard deviations of a draw of one half.
    assert!((107..194).contains(&n_whole), "{n_whole}");
    assert!(n_turned > n_whole / 2 && n_relocated > 20, "{n_turned} {n_relocated}");
    let mut may_break = settings.clone();
    may_break.system.molecules.keep_bonded = false;
    let placement = Placement::new(&may_break);
    let n_broken = (0..200)
        .filter(|_| !may_break.system.molecules_are_whole(&relocate(&placement, &free, &mut random).unwrap()))
        .count();
    assert!(n_broken > 20, "{n_broken}");
    assert!(!system.has_unlike_atoms(), "atoms of molecules are not exchanged");
    assert_eq!(exchange(system, &free, &mut random), None);
}

/// Atoms of one molecule stay together, also where they stand in another order.
#[test]
fn children_inherit_whole_molecules() {
    let settings = with_molecules();
    let (system, placement) = (&settings.system, Placement::new(&settings));
    let mut random = host_generator(2, Purpose::Move, 0);
    let (a, mut b) = (placement.structure(5).unwrap(), placement.structure(6).unwrap());
    b.swap(3, 5);
    let mut n_whole = 0;
    assert!(system.molecules_are_whole(&a) && system.molecules_are_whole(&b));
    for _ in 0..100 {
        let child = splice(system, [&a, &b], &mut random);
        // Two molecules from different parents may come to lie in one place.
        n_whole += usize::from(system.molecules_are_whole(&child));
        let lengths = lengths(system, &child);
        assert!(lengths.iter().all(|length| (length - 1.15).abs() < 1e-9), "{lengths:?}");
    }
    assert!(n_whole > 50, "{n_whole}");
    // A parent with a broken molecule lends single atoms.
    let mut broken = b.clone();
    broken[2][2] += 2.0;
    assert_eq!(splice(system, [&a, &broken], &mut random).len(), 6);
}

#[test]
fn what_weighs_nothing_is_not_drawn() {
    let mut random = host_generator(1, Purpose::Move, 0);
    let drawn: Vec<usize> = (0..300).map(|_| weighted(&mut random, &[0.0, 2.0, 0.0, 1.0])).collect();
    assert!(drawn.iter().all(|place| [1, 3].contains(place)));
    let ones = drawn.iter().filter(|&&place| place == 1).count();
    assert!((170..230).contains(&ones), "{ones}");
}

/// Wants this many samples.
struct Wants(usize);

impl Proposal for Wants {
    fn claim(&self, _round: &Round, _n_left: usize) -> usize {
        self.0
    }

    fn draw(
        &mut self,
        _round: &Round,
        samples: Range<usize>,
        _engine: &mut dyn Engine,
        _progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        Ok(samples.map(|_| Vec::new()).collect())
    }
}

#[test]
fn samples_are_shared_out_in_order() {
    let stream = RandomStream { seed: 0, iteration: 0 };
    let mut round = Round { number: 0, kt_ev: 1.0, stream, n_samples: 10, forces_learned: false, parts: Vec::new() };
    for (wants, expected) in [
        ([4, 0, 99], vec![(0, 0..4), (2, 4..10)]),
        ([0, 3, 99], vec![(1, 0..3), (2, 3..10)]),
        ([99, 3, 99], vec![(0, 0..10)]),
    ] {
        let proposals = wants.map(|n| Box::new(Wants(n)) as Box<dyn Proposal>);
        share_out(&mut round, &proposals);
        let expected = expected.into_iter().map(|(proposal, samples)| Part { proposal, samples });
        assert_eq!(round.parts, expected.collect::<Vec<_>>());
    }
}
