//! Random numbers and the moves that turn one structure into the start of another relaxation.

use super::placement::Placement;
use crate::random::normal_pair;
use crate::system::vector::{add, cross, dot, norm, scale, sub};
use crate::system::{ShortestDistance, System, Vec3};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::Rng;

/// The host generator of one relaxation.
pub type Random = Xoshiro256PlusPlus;

/// Share of the moves that treat each molecule as a whole.
const WHOLE_SHARE: f64 = 0.5;

/// Molecules are turned as if they had at least this radius, Å.
const SMALLEST_RADIUS: f64 = 0.5;

/// Attempts to shake a structure; the last one is used even with atoms too close.
const TRIES: usize = 100;

/// Uniform in [0, 1).
pub fn uniform(random: &mut Random) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Uniform in 0 … n − 1.
pub fn below(random: &mut Random, n: usize) -> usize {
    ((uniform(random) * n as f64) as usize).min(n.saturating_sub(1))
}

/// An index into `weights`, drawn with probabilities that are proportional to them; 0 where rounding leaves none.
pub fn weighted(random: &mut Random, weights: &[f64]) -> usize {
    let mut left = uniform(random) * weights.iter().sum::<f64>();
    let drawn = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    drawn.unwrap_or(0)
}

/// A unit vector of random direction.
pub fn direction(random: &mut Random) -> Vec3 {
    loop {
        // 1 − u is never 0.
        let [x, y] = normal_pair(1.0 - uniform(random), uniform(random));
        let [z, _] = normal_pair(1.0 - uniform(random), uniform(random));
        let length = norm([x, y, z]);
        if length > 0.0 {
            return scale(1.0 / length, [x, y, z]);
        }
    }
}

/// The atoms at `free` (n × 3, Å) moved to the nearest allowed heights and back into the cell.
pub fn confined(system: &System, free: &[Vec3]) -> Vec<Vec3> {
    free.iter().enumerate().map(|(atom, &position)| confine(system, atom, position)).collect()
}

/// The `position` of moving atom `atom` moved to the nearest allowed height and back into the cell.
fn confine(system: &System, atom: usize, mut position: Vec3) -> Vec3 {
    if let Some(confinement) = system.confinement_of(atom) {
        position[2] = position[2].clamp(confinement.z_lo, confinement.z_hi);
    }
    system.wrap(atom, position)
}

/// The groups of atoms that a move treats as one, of the structure with the moving atoms at `free` (n × 3, Å): in `share` of the
/// moves each molecule as a whole, else every atom alone. Mobile atoms are in none.
fn groups(system: &System, free: &[Vec3], share: f64, random: &mut Random) -> Vec<Vec<usize>> {
    if !system.molecules.all.is_empty() && uniform(random) < share {
        return system.groups_by_bonds(free);
    }
    (system.n_mobile()..free.len()).map(|atom| vec![atom]).collect()
}

/// The structure with the moving atoms at `free` (n × 3, Å) after one of them, `atom`, is displaced by `by` (Å) and confined. A
/// mobile atom moves along each axis by no more than the width of its noise.
pub fn displaced(system: &System, free: &[Vec3], atom: usize, by: Vec3) -> Vec<Vec3> {
    let most = if system.is_mobile(atom) { system.mobile.noise_angstrom } else { f64::INFINITY };
    let mut moved = free.to_vec();
    moved[atom] = confine(system, atom, add(free[atom], by.map(|x| x.clamp(-most, most))));
    moved
}

/// Every free atom moved by up to `step` Å along each axis, at allowed heights and with no atoms nearer than `shortest`; in
/// half of the cases every molecule as a whole, turned so that its atoms move by about as much. Mobile atoms move by no more
/// than the width of their noise.
pub fn shake(system: &System, free: &[Vec3], step: f64, shortest: ShortestDistance, random: &mut Random) -> Vec<Vec3> {
    let mut shaken = Vec::new();
    let mut groups = groups(system, free, WHOLE_SHARE, random);
    groups.retain(|group| group.len() > 1);
    for _ in 0..TRIES {
        let moved = |(atom, r): (usize, &Vec3)| {
            let step = if system.is_mobile(atom) { step.min(system.mobile.noise_angstrom) } else { step };
            confine(system, atom, r.map(|x| x + step * (2.0 * uniform(random) - 1.0)))
        };
        shaken = free.iter().enumerate().map(moved).collect();
        groups.iter().for_each(|group| shake_whole(system, free, group, step, &mut shaken, random));
        if system.has_room(&shaken, shortest) {
            break;
        }
    }
    shaken
}

/// Displaces the atoms of molecules by normal numbers of this `width`, Å.
pub(super) fn vibrate(system: &System, free: &mut [Vec3], width: f64, random: &mut Random) {
    for (atom, position) in free.iter_mut().enumerate().skip(system.n_single()) {
        let mut normal = || normal_pair(1.0 - uniform(random), uniform(random))[0];
        *position = confine(system, atom, position.map(|x| x + width * normal()));
    }
}

/// Puts the atoms of `group` where they are after one common displacement from `free` of up to `step` Å along each axis, and a turn.
fn shake_whole(system: &System, free: &[Vec3], group: &[usize], step: f64, shaken: &mut [Vec3], random: &mut Random) {
    let Whole { centre, around } = whole(system, free, group);
    let radius = around.iter().map(|&r| norm(r)).fold(SMALLEST_RADIUS, f64::max);
    let turn = turn(direction(random), step / radius * (2.0 * uniform(random) - 1.0));
    let moved = centre.map(|x| x + step * (2.0 * uniform(random) - 1.0));
    for (&atom, &r) in group.iter().zip(&around) {
        shaken[atom] = confine(system, atom, add(moved, turned(&turn, r)));
    }
}

/// A group of atoms around its centre, not cut by periodic boundaries.
pub(super) struct Whole {
    /// Å.
    pub centre: Vec3,
    /// Å, in the order of the group.
    pub around: Vec<Vec3>,
}

/// The atoms of `group`, at `free` (n × 3, Å), each in the periodic image that is nearest to the first one.
pub(super) fn whole(system: &System, free: &[Vec3], group: &[usize]) -> Whole {
    let reference = group.first().map_or([0.0; 3], |&atom| free[atom]);
    let relative: Vec<Vec3> = group.iter().map(|&atom| system.cell.minimum_image(sub(free[atom], reference))).collect();
    let sum = relative.iter().fold([0.0; 3], |sum, &r| add(sum, r));
    let mean = scale(1.0 / group.len().max(1) as f64, sum);
    Whole { centre: add(reference, mean), around: relative.into_iter().map(|r| sub(r, mean)).collect() }
}

/// A rotation drawn uniformly: a random axis, and [`frame`] about it.
pub(super) fn rotation(random: &mut Random) -> [Vec3; 3] {
    let axis = direction(random);
    frame(axis, random)
}

/// Three unit vectors at right angles, the first being the unit vector `axis`, orthogonalised with a random direction.
pub(super) fn frame(axis: Vec3, random: &mut Random) -> [Vec3; 3] {
    loop {
        let other = direction(random);
        let b = sub(other, scale(dot(other, axis), axis));
        let length = norm(b);
        if length > 1e-3 {
            let b = scale(1.0 / length, b);
            return [axis, b, cross(axis, b)];
        }
    }
}

/// The rotation by `angle` around the unit vector `axis` (Rodrigues).
fn turn(axis: Vec3, angle: f64) -> [Vec3; 3] {
    let (sine, cosine) = (libm::sin(angle), libm::cos(angle));
    std::array::from_fn(|i| {
        let unit: Vec3 = std::array::from_fn(|k| f64::from(u8::from(i == k)));
        let across = cross(axis, unit);
        let along = scale((1.0 - cosine) * axis[i], axis);
        // The ith row of the matrix is the ith column of its transpose, the turn by −angle.
        sub(add(scale(cosine, unit), along), scale(sine, across))
    })
}

/// `r` after `rotation`.
pub(super) fn turned(rotation: &[Vec3; 3], r: Vec3) -> Vec3 {
    rotation.map(|row| dot(row, r))
}

/// One free atom of the formula, or one molecule, moved next to another one; `None` if there is no room or only one. One with one bond less is e times
/// as likely to be chosen: loosely bound atoms have better places to go to (Wales and Doye, J. Phys. Chem. A 101, 5111, 1997,
/// move those of clusters over the surface).
pub fn relocate(placement: &Placement, free: &[Vec3], random: &mut Random) -> Option<Vec<Vec3>> {
    let system = placement.system();
    let mut moved = confined(system, free);
    // An atom of a molecule that must stay whole has nowhere else to go.
    let share = if system.molecules.keep_bonded { 1.0 } else { WHOLE_SHARE };
    let groups = groups(system, &moved, share, random);
    let bonds: Vec<usize> = groups.iter().map(|group| placement.bonds(group, &moved)).collect();
    let fewest = bonds.iter().copied().min().unwrap_or(0);
    let looseness: Vec<f64> = bonds.iter().map(|&n| libm::exp(-((n - fewest) as f64))).collect();
    let group = &groups[weighted(random, &looseness)];
    for (atom, position) in placement.relocated(group, &moved, random)? {
        moved[atom] = position;
    }
    Some(moved)
}

/// Two atoms of different species exchanged, mobile atoms of the template among them but no atoms of molecules; `None` if there is
/// only one species.
pub fn exchange(system: &System, free: &[Vec3], random: &mut Random) -> Option<Vec<Vec3>> {
    let numbers = &system.free_numbers;
    let pairs: Vec<(usize, usize)> = (0..system.n_single())
        .flat_map(|i| (0..i).map(move |j| (i, j)))
        .filter(|&(i, j)| numbers[i] != numbers[j])
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let (i, j) = pairs[below(random, pairs.len())];
    let mut exchanged = free.to_vec();
    exchanged.swap(i, j);
    Some(confined(system, &exchanged))
}
