//! Cut and splice (Deaven and Ho, Phys. Rev. Lett. 75, 288, 1995): one side of a plane from one parent, the other from the other.

use super::moves::{Random, below, confined, direction, uniform};
use crate::system::vector::{add, dot, norm, scale, sub};
use crate::system::{System, Vec3};
use std::collections::BTreeMap;

/// A child of two `parents` (n × 3 free positions each, Å). From the first it takes the atoms that are furthest along a random
/// direction. From the other end of the second it takes, of every species, as many as are missing. The second is moved so that
/// the centres of the free atoms coincide (in the plane, above a template or under confinement) and, for a free cluster, turned
/// at random. The mobile atoms of the template are those of the first parent.
pub fn splice(system: &System, parents: [&[Vec3]; 2], random: &mut Random) -> Vec<Vec3> {
    let numbers = system.formula_numbers();
    let n = numbers.len();
    let in_plane = system.confinement.is_some() || system.n_template() > 0 || system.n_mobile() > 0;
    let mobile = &parents[0][..system.n_mobile()];
    let [first, second] = parents.map(|free| centred(system, &free[system.n_mobile()..]));
    let turn = if system.is_free_cluster() { rotation(random) } else { IDENTITY };
    let mut along = direction(random);
    if in_plane && along[0].abs() + along[1].abs() > 0.0 {
        along = [along[0], along[1], 0.0];
    }
    let mut shift = first.centre;
    if in_plane {
        shift[2] = second.centre[2];
    }
    let first_atoms: Vec<Vec3> = first.around_centre;
    let second_atoms: Vec<Vec3> = second.around_centre.iter().map(|&r| turned(&turn, r)).collect();

    let by_height = |atoms: &[Vec3]| {
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| dot(atoms[b], along).total_cmp(&dot(atoms[a], along)).then(a.cmp(&b)));
        order
    };
    let n_first = if n < 2 { n } else { 1 + below(random, n - 1) };
    // By species: positions taken so far, from the upper end of the first parent and the lower end of the second.
    let mut taken: BTreeMap<u8, Vec<Vec3>> = BTreeMap::new();
    for &atom in by_height(&first_atoms).iter().take(n_first) {
        taken.entry(numbers[atom]).or_default().push(add(first_atoms[atom], first.centre));
    }
    for &atom in by_height(&second_atoms).iter().rev() {
        let number = numbers[atom];
        let of_species = taken.entry(number).or_default();
        if of_species.len() < numbers.iter().filter(|&&z| z == number).count() {
            of_species.push(add(second_atoms[atom], shift));
        }
    }
    let place = |number: &u8| taken.get_mut(number).and_then(Vec::pop).unwrap_or(first.centre);
    let child: Vec<Vec3> = mobile.iter().copied().chain(numbers.iter().map(place)).collect();
    confined(system, &child)
}

/// The atoms around their centre, each in the periodic image that is nearest to one of them.
struct Centred {
    centre: Vec3,
    around_centre: Vec<Vec3>,
}

fn centred(system: &System, free: &[Vec3]) -> Centred {
    let reference = free.first().copied().unwrap_or([0.0; 3]);
    let relative: Vec<Vec3> = free.iter().map(|&r| system.cell.minimum_image(sub(r, reference))).collect();
    let sum = relative.iter().fold([0.0; 3], |sum, &r| add(sum, r));
    let mean = scale(1.0 / free.len().max(1) as f64, sum);
    Centred { centre: add(reference, mean), around_centre: relative.into_iter().map(|r| sub(r, mean)).collect() }
}

const IDENTITY: [Vec3; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// A rotation drawn uniformly: a random axis, orthogonalised with a second random direction.
fn rotation(random: &mut Random) -> [Vec3; 3] {
    let a = direction(random);
    loop {
        let other = direction(random);
        let b = sub(other, scale(dot(other, a), a));
        let length = norm(b);
        if length > 1e-3 {
            let b = scale(1.0 / length, b);
            let c = crate::system::vector::cross(a, b);
            // A mirror image is as good as the structure itself.
            return [a, b, if uniform(random) < 0.5 { c } else { scale(-1.0, c) }];
        }
    }
}

fn turned(rotation: &[Vec3; 3], r: Vec3) -> Vec3 {
    rotation.map(|row| dot(row, r))
}
