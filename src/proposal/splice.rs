//! Cut and splice (Deaven and Ho, Phys. Rev. Lett. 75, 288, 1995): one side of a plane from one parent, the other from the other.

use super::moves::{Random, below, confined, direction, rotation, turned, uniform, whole};
use crate::system::vector::{add, dot, scale};
use crate::system::{System, Vec3};
use std::collections::BTreeMap;

/// A child of two `parents` (n × 3 free positions each, Å). From the first it takes the atoms that are furthest along a random
/// direction. From the other end of the second it takes, of every species, as many as are missing. The second is moved so that
/// the centres of the free atoms coincide (in the plane, above a template or under confinement) and, for a free cluster, turned
/// at random. The mobile atoms of the template are those of the first parent. Molecules are taken as wholes, unless a parent has
/// others than the system.
pub fn splice(system: &System, parents: [&[Vec3]; 2], random: &mut Random) -> Vec<Vec3> {
    let in_plane = system.confinement.is_some() || system.n_template() > 0 || system.n_mobile() > 0;
    let (mut slots, mut groups) = (system.groups(), parents.map(|free| system.groups_by_bonds(free)));
    let mut wanted = kinds(system, &slots);
    if groups.iter().any(|groups| kinds(system, groups) != wanted) {
        slots = one_by_one(system);
        groups = [slots.clone(), slots.clone()];
        wanted = kinds(system, &slots);
    }
    let moving: Vec<usize> = (system.n_mobile()..system.n_free()).collect();
    let [first, second] = parents.map(|free| whole(system, free, &moving));
    let turn = if system.is_free_cluster() { mirrored_or_not(random) } else { IDENTITY };
    let mut along = direction(random);
    if in_plane && along[0].abs() + along[1].abs() > 0.0 {
        along = [along[0], along[1], 0.0];
    }
    let mut shift = first.centre;
    if in_plane {
        shift[2] = second.centre[2];
    }
    let around = [first.around, second.around.iter().map(|&r| turned(&turn, r)).collect()];

    let n = slots.len();
    let by_height = |parent: usize| {
        let atoms: &Vec<Vec3> = &around[parent];
        let height = |group: &Vec<usize>| {
            let sum: f64 = group.iter().map(|&atom| dot(atoms[atom - system.n_mobile()], along)).sum();
            sum / group.len() as f64
        };
        let heights: Vec<f64> = groups[parent].iter().map(height).collect();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| heights[b].total_cmp(&heights[a]).then(a.cmp(&b)));
        order
    };
    let n_first = if n < 2 { n } else { 1 + below(random, n - 1) };
    // By kind: groups taken so far, from the upper end of the first parent and the lower end of the second.
    let mut taken: BTreeMap<Vec<u8>, Vec<Group>> = BTreeMap::new();
    let group_of = |parent: usize, group: usize, centre: Vec3| -> Group {
        let atoms = &groups[parent][group];
        atoms
            .iter()
            .map(|&atom| (system.free_numbers[atom], add(around[parent][atom - system.n_mobile()], centre)))
            .collect()
    };
    for &group in by_height(0).iter().take(n_first) {
        taken.entry(kind(system, &groups[0][group])).or_default().push(group_of(0, group, first.centre));
    }
    for &group in by_height(1).iter().rev() {
        let kind = kind(system, &groups[1][group]);
        let of_kind = taken.entry(kind.clone()).or_default();
        if of_kind.len() < wanted.iter().filter(|other| **other == kind).count() {
            of_kind.push(group_of(1, group, shift));
        }
    }
    let mut child = parents[0].to_vec();
    for slot in &slots {
        let mut group = taken.get_mut(&kind(system, slot)).and_then(Vec::pop).unwrap_or_default();
        for &atom in slot {
            let like = group.iter().position(|&(number, _)| number == system.free_numbers[atom]);
            child[atom] = like.map_or(first.centre, |place| group.remove(place).1);
        }
    }
    confined(system, &child)
}

/// Atoms that stay together: their elements and positions, Å.
type Group = Vec<(u8, Vec3)>;

/// Every free atom as a group of its own.
fn one_by_one(system: &System) -> Vec<Vec<usize>> {
    (system.n_mobile()..system.n_free()).map(|atom| vec![atom]).collect()
}

/// The elements of a group, sorted.
fn kind(system: &System, group: &[usize]) -> Vec<u8> {
    let mut kind: Vec<u8> = group.iter().map(|&atom| system.free_numbers[atom]).collect();
    kind.sort_unstable();
    kind
}

/// The kinds of `groups`, sorted.
fn kinds(system: &System, groups: &[Vec<usize>]) -> Vec<Vec<u8>> {
    let mut kinds: Vec<Vec<u8>> = groups.iter().map(|group| kind(system, group)).collect();
    kinds.sort_unstable();
    kinds
}

const IDENTITY: [Vec3; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// A rotation drawn uniformly; half of the time its mirror image, which is as good for a structure as the structure itself.
fn mirrored_or_not(random: &mut Random) -> [Vec3; 3] {
    let [a, b, c] = rotation(random);
    [a, b, if uniform(random) < 0.5 { c } else { scale(-1.0, c) }]
}
