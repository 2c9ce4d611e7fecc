//! Symmetric clusters: a sector of a cluster repeated about an axis.
//!
//! The lowest structures of most clusters are symmetric, and a cluster that is nearly right often lacks only what some of its
//! sectors have already (Oakley, Johnston, Wales, Phys. Chem. Chem. Phys. 15, 3965, 2013, symmetrise cores of clusters).

use super::moves::{Random, below, direction, frame, uniform};
use crate::system::vector::{add, dot, norm, scale, sub};
use crate::system::{System, Vec3};
use std::f64::consts::TAU;

/// Orders of the axes.
const ORDERS: [u32; 4] = [2, 3, 4, 5];

/// Atoms of the new structure are no nearer than this share of the nearest-neighbour distance; learned forces part them further.
const NEAREST: f64 = 0.7;

/// How far from the others atoms without place in the symmetric part are put, in units of the nearest-neighbour distance.
const BESIDE: f64 = 0.9;

/// The atoms of a structure under way.
struct Growing {
    atoms: Vec<(u8, Vec3)>,
    /// Atoms of each element that are still to be placed.
    left: Vec<(u8, usize)>,
    /// Å.
    nearest: f64,
}

/// A free cluster (n × 3, Å) made symmetric about an axis of random order through its centre and an atom, the middle of two or of
/// three neighbours: the atoms in one sector, those nearest to the centre first, are repeated about the axis until all atoms are
/// placed. What is left over goes to the surface. `None` for other systems, and for fewer than four atoms.
pub fn symmetrise(system: &System, free: &[Vec3], random: &mut Random) -> Option<Vec<Vec3>> {
    if !can_be_symmetrised(system) {
        return None;
    }
    let n = free.len();
    let centre = scale(1.0 / n as f64, free.iter().fold([0.0; 3], |sum, &r| add(sum, r)));
    let around: Vec<Vec3> = free.iter().map(|&r| sub(r, centre)).collect();
    let spacing = spacing(&around);
    let [axis, e1, e2] = frame(axis(&around, random), random);
    let order = ORDERS[below(random, ORDERS.len())];
    let (sector, first) = (TAU / f64::from(order), TAU * uniform(random));

    let mut generators: Vec<usize> = (0..n).collect();
    let is_outside = |atom: usize| {
        let angle = libm::atan2(dot(around[atom], e2), dot(around[atom], e1));
        (angle - first).rem_euclid(TAU) >= sector
    };
    generators.sort_by(|&a, &b| {
        is_outside(a).cmp(&is_outside(b)).then(norm(around[a]).total_cmp(&norm(around[b]))).then(a.cmp(&b))
    });
    let mut growing = Growing { atoms: Vec::with_capacity(n), left: elements(system), nearest: NEAREST * spacing };
    for atom in generators {
        let (x, y, z) = (dot(around[atom], e1), dot(around[atom], e2), dot(around[atom], axis));
        let at = |k: u32| {
            let (sine, cosine) = (libm::sin(f64::from(k) * sector), libm::cos(f64::from(k) * sector));
            let (x, y) = (cosine * x - sine * y, sine * x + cosine * y);
            add(add(scale(x, e1), scale(y, e2)), scale(z, axis))
        };
        // Atoms near the axis would come too close to their images: one goes onto the axis.
        let apart = 2.0 * libm::hypot(x, y) * libm::sin(0.5 * sector);
        let orbit: Vec<Vec3> =
            if apart < growing.nearest { vec![scale(z, axis)] } else { (0..order).map(at).collect() };
        growing.add(system.free_numbers[atom], &orbit);
    }
    growing.fill_up(BESIDE * spacing, random);
    Some(growing.in_order(system, centre))
}

/// Whether the atoms of `system` are a free cluster of at least four atoms without molecules.
pub fn can_be_symmetrised(system: &System) -> bool {
    system.is_free_cluster() && system.molecules.all.is_empty() && system.n_free() > 3
}

impl Growing {
    /// Adds an orbit, of the wanted `element` or of another that has enough atoms left, if there is room.
    fn add(&mut self, element: u8, orbit: &[Vec3]) {
        let has_room = |&r: &Vec3| self.atoms.iter().all(|&(_, other)| norm(sub(r, other)) >= self.nearest);
        if !orbit.iter().all(has_room) {
            return;
        }
        let mut having: Vec<&mut (u8, usize)> = self.left.iter_mut().filter(|kind| kind.1 >= orbit.len()).collect();
        let Some(place) = having.iter().position(|kind| kind.0 == element).or((!having.is_empty()).then_some(0)) else {
            return;
        };
        having[place].1 -= orbit.len();
        let number = having[place].0;
        self.atoms.extend(orbit.iter().map(|&r| (number, r)));
    }

    /// Puts each atom that is left where a ray of random direction from the centre is first `beside` Å from all others.
    fn fill_up(&mut self, beside: f64, random: &mut Random) {
        for (number, left) in std::mem::take(&mut self.left) {
            for _ in 0..left {
                let along = direction(random);
                let is_free = |r: &Vec3| self.atoms.iter().all(|&(_, other)| norm(sub(*r, other)) >= beside);
                let farthest = self.atoms.iter().map(|&(_, r)| norm(r)).fold(0.0, f64::max);
                // The ray ends outside of the cluster, from where everything is at least that far.
                let steps = (0..).map(|k| 0.05 * f64::from(k) * beside).take_while(|&reach| reach < farthest + beside);
                let place = steps.map(|reach| scale(reach, along)).find(is_free);
                self.atoms.push((number, place.unwrap_or(scale(farthest + beside, along))));
            }
        }
    }

    /// The atoms in the order of `system`, around `centre`.
    fn in_order(mut self, system: &System, centre: Vec3) -> Vec<Vec3> {
        let take = |&number: &u8| {
            let place = self.atoms.iter().position(|&(other, _)| other == number);
            place.map_or(centre, |place| add(centre, self.atoms.remove(place).1))
        };
        system.free_numbers.iter().map(take).collect()
    }
}

/// The elements of the free atoms of `system` with their numbers of atoms.
fn elements(system: &System) -> Vec<(u8, usize)> {
    let mut elements = system.free_numbers.clone();
    elements.sort_unstable();
    elements.chunk_by(|a, b| a == b).map(|alike| (alike[0], alike.len())).collect()
}

/// Median of the distances from each atom to its nearest neighbour, Å.
fn spacing(atoms: &[Vec3]) -> f64 {
    let nearest = |(i, &r): (usize, &Vec3)| {
        let others = atoms.iter().enumerate().filter(|&(j, _)| j != i);
        others.map(|(_, &other)| norm(sub(r, other))).fold(f64::INFINITY, f64::min)
    };
    let mut all: Vec<f64> = atoms.iter().enumerate().map(nearest).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// The unit vector from the centre to the middle of one, two or three atoms that are nearest to one another; a random one if that
/// is the centre.
fn axis(around: &[Vec3], random: &mut Random) -> Vec3 {
    let (first, n_atoms) = (around[below(random, around.len())], 1 + below(random, 3));
    let mut near: Vec<Vec3> = around.to_vec();
    near.sort_by(|&a, &b| norm(sub(a, first)).total_cmp(&norm(sub(b, first))));
    let middle = near[..n_atoms].iter().fold([0.0; 3], |sum, &r| add(sum, r));
    let length = norm(middle);
    if length > 1e-3 { scale(1.0 / length, middle) } else { direction(random) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::random::{Purpose, host_generator};
    use std::path::Path;

    fn system(free: &str) -> System {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, format!("[system]\nfree = '{free}'\n[potential]\nkind = 'emt'\n")).unwrap();
        Settings::load(Path::new(&path)).unwrap().system
    }

    /// Atoms scattered at least 1 Å apart.
    fn scattered(n: usize, seed: u64) -> Vec<Vec3> {
        let mut random = host_generator(seed, Purpose::Move, 0);
        let mut atoms: Vec<Vec3> = Vec::new();
        while atoms.len() < n {
            let r = scale(4.0 * uniform(&mut random), direction(&mut random));
            if atoms.iter().all(|&other| norm(sub(r, other)) > 1.0) {
                atoms.push(r);
            }
        }
        atoms
    }

    #[test]
    fn atoms_keep_their_elements_and_room() {
        let system = system("Cu7Pt6");
        for seed in 0..50 {
            let free = scattered(13, seed);
            let draw = || symmetrise(&system, &free, &mut host_generator(seed, Purpose::Move, 1)).unwrap();
            let symmetric = draw();
            assert_eq!((symmetric.len(), &symmetric), (13, &draw()));
            let shortest = NEAREST * spacing(&free) - 1e-9;
            for i in 0..13 {
                assert!((0..i).all(|j| norm(sub(symmetric[i], symmetric[j])) >= shortest), "seed {seed}, atom {i}");
            }
        }
    }

    /// Most of the atoms of a scattered cluster have images at the same distances from the centre afterwards.
    #[test]
    fn scattered_clusters_become_symmetric() {
        let system = system("Cu12");
        let mut n_paired = 0;
        for seed in 0..50 {
            let free = scattered(12, seed);
            let symmetric = symmetrise(&system, &free, &mut host_generator(seed, Purpose::Move, 1)).unwrap();
            let centre = scale(1.0 / 12.0, free.iter().fold([0.0; 3], |sum, &r| add(sum, r)));
            let radii: Vec<f64> = symmetric.iter().map(|&r| norm(sub(r, centre))).collect();
            let is_paired = |i: usize| (0..12).any(|j| j != i && (radii[i] - radii[j]).abs() < 1e-9);
            n_paired += (0..12).filter(|&i| is_paired(i)).count();
        }
        assert!(n_paired > 300, "{n_paired} of 600");
    }

    #[test]
    fn a_symmetric_cluster_can_come_back() {
        // A square about z, and one atom on the axis: orders 2 and 4 about the atom on the axis give it again.
        let square = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]].map(|r| scale(1.8, r));
        let free: Vec<Vec3> = square.into_iter().chain([[0.0, 0.0, 1.8]]).collect();
        let system = system("Cu5");
        let comparison = crate::minima::Comparison::new(&system.structure(&free));
        let shape = |free: &Vec<Vec3>| comparison.shape(&system.structure(free));
        let comes_back = |seed: u64| {
            let symmetric = symmetrise(&system, &free, &mut host_generator(seed, Purpose::Move, 1)).unwrap();
            comparison.same(&shape(&free), &shape(&symmetric), 1e-6)
        };
        let n_back = (0..400).filter(|&seed| comes_back(seed)).count();
        assert!(n_back > 3, "{n_back} of 400");
    }

    #[test]
    fn other_systems_are_left_alone() {
        let free = scattered(3, 0);
        assert!(symmetrise(&system("Cu3"), &free, &mut host_generator(0, Purpose::Move, 1)).is_none());
    }
}
