//! Random numbers and the moves that turn one structure into the start of another relaxation.

use super::placement::Placement;
use crate::random::normal_pair;
use crate::system::vector::{norm, scale};
use crate::system::{ShortestDistance, System, Vec3};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::Rng;

/// The host generator of one relaxation.
pub type Random = Xoshiro256PlusPlus;

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

/// `position` moved back into the cell along the axes that repeat; under a confinement only in the plane.
pub fn wrap(system: &System, position: Vec3) -> Vec3 {
    system.cell.wrap(position, [true, true, system.confinement.is_none()])
}

/// Whether free atoms may start at `position` (Å): at an allowed height and, along cell axes that do not repeat, inside the cell.
pub fn allowed(system: &System, position: Vec3) -> bool {
    system.allows(position)
}

/// `position` moved to the nearest allowed height and back into the cell.
pub fn confine(system: &System, mut position: Vec3) -> Vec3 {
    if let Some(confinement) = system.confinement {
        position[2] = position[2].clamp(confinement.z_lo, confinement.z_hi);
    }
    wrap(system, position)
}

/// Every free atom moved by up to `step` Å along each axis, at allowed heights and with no atoms nearer than `shortest`.
pub fn shake(system: &System, free: &[Vec3], step: f64, shortest: ShortestDistance, random: &mut Random) -> Vec<Vec3> {
    let mut shaken = Vec::new();
    for _ in 0..TRIES {
        let moved = |r: &Vec3| confine(system, r.map(|x| x + step * (2.0 * uniform(random) - 1.0)));
        shaken = free.iter().map(moved).collect();
        if system.has_room(&shaken, shortest) {
            break;
        }
    }
    shaken
}

/// One free atom moved next to another atom; `None` if there is no room or only one atom. An atom with one bond less is e times
/// as likely to be chosen: loosely bound atoms have better places to go to (Wales and Doye, J. Phys. Chem. A 101, 5111, 1997,
/// move those of clusters over the surface).
pub fn relocate(placement: &Placement, free: &[Vec3], random: &mut Random) -> Option<Vec<Vec3>> {
    let system = placement.system();
    let mut moved: Vec<Vec3> = free.iter().map(|&r| confine(system, r)).collect();
    let bonds = placement.bonds(&moved);
    let fewest = bonds.iter().copied().min().unwrap_or(0);
    let looseness: Vec<f64> = bonds.iter().map(|&n| libm::exp(-((n - fewest) as f64))).collect();
    let atom = weighted(random, &looseness);
    moved[atom] = placement.relocated(atom, &moved, random)?;
    Some(moved)
}

/// Two free atoms of different species exchanged; `None` if there is only one species.
pub fn exchange(system: &System, free: &[Vec3], random: &mut Random) -> Option<Vec<Vec3>> {
    let numbers = &system.free_numbers;
    let pairs: Vec<(usize, usize)> =
        (0..free.len()).flat_map(|i| (0..i).map(move |j| (i, j))).filter(|&(i, j)| numbers[i] != numbers[j]).collect();
    if pairs.is_empty() {
        return None;
    }
    let (i, j) = pairs[below(random, pairs.len())];
    let mut exchanged: Vec<Vec3> = free.iter().map(|&r| confine(system, r)).collect();
    exchanged.swap(i, j);
    Some(exchanged)
}
