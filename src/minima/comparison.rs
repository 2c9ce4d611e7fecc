//! When two structures of one system are the same arrangement.
//!
//! Over a periodic template: two structures are the same if one of the template's symmetry operations brings like free atoms
//! together, each within a distance. Elsewhere (clusters, bulk and layers without template): if the sorted distances around like
//! atoms agree. Both ignore the order of like atoms, translations by lattice vectors, and mirroring: mirror images have the same
//! energy and count as one.

use super::symmetry::{Operation, operations};
use crate::system::vector::sub;
use crate::system::{Images, Structure, System, Vec3};

/// How far, Å, a template may be from its symmetry.
const TEMPLATE_TOLERANCE: f64 = 0.01;

/// Number of distances around an atom that are compared for each kind of neighbour, where images repeat without end.
const NEIGHBOURS: usize = 24;

/// Distance, Å, within which neighbours are looked for first.
const REACH: f64 = 6.0;

/// Atoms further away than this, Å, count as if they were at this distance.
const FARTHEST: f64 = 50.0;

/// The part of a structure that is compared.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Positions of the free atoms, Å.
    positions: Vec<Vec3>,
    /// For each free atom, the nearest distances (Å) to every kind of atom, sorted within a kind.
    distances: Vec<Vec<f64>>,
}

/// Compares structures that share cell, elements and fixed atoms.
#[derive(Debug)]
pub struct Comparison {
    images: Images,
    /// Indices of the free atoms, and their elements.
    free: Vec<usize>,
    free_numbers: Vec<u8>,
    /// The atoms of each element; template atoms and free atoms are separate kinds.
    kinds: Vec<Vec<usize>>,
    endless: bool,
    /// The template's symmetry; `None` if distances decide alone.
    operations: Option<Vec<Operation>>,
}

impl Comparison {
    /// Prepares comparisons of structures with the cell, elements and fixed atoms of `example`.
    ///
    /// # Panics
    /// For a cell that [`crate::system::Cell::completed`] refuses; no validated structure has one.
    pub fn new(example: &Structure) -> Self {
        let Structure { cell, numbers, positions, fixed, .. } = example;
        let (template, free): (Vec<usize>, Vec<usize>) = (0..numbers.len()).partition(|&atom| fixed[atom]);
        let template_numbers: Vec<u8> = template.iter().map(|&atom| numbers[atom]).collect();
        let template_positions: Vec<Vec3> = template.iter().map(|&atom| positions[atom]).collect();
        let mut kinds: Vec<Vec<usize>> = Vec::new();
        for group in [&template, &free] {
            let mut elements: Vec<u8> = group.iter().map(|&atom| numbers[atom]).collect();
            elements.sort_unstable();
            elements.dedup();
            let of = |element: u8| group.iter().copied().filter(|&atom| numbers[atom] == element).collect();
            kinds.extend(elements.into_iter().map(of));
        }
        Comparison {
            images: Images::new(cell),
            free_numbers: free.iter().map(|&atom| numbers[atom]).collect(),
            free,
            kinds,
            endless: cell.periodic.contains(&true),
            operations: operations(cell, &template_numbers, &template_positions, TEMPLATE_TOLERANCE),
        }
    }

    /// Prepares comparisons of structures of `system`. They depend on its template, elements and cell, not on where free atoms are.
    ///
    /// # Panics
    /// As [`Comparison::new`].
    pub fn of_system(system: &System) -> Self {
        Comparison::new(&system.structure(&vec![[0.0; 3]; system.n_free()]))
    }

    /// The part of `structure` that is compared.
    pub fn shape(&self, structure: &Structure) -> Shape {
        let around = |&atom: &usize| {
            let of_kind = |kind: &Vec<usize>| self.nearest_distances(&structure.positions, atom, kind);
            self.kinds.iter().flat_map(of_kind).collect()
        };
        Shape {
            positions: self.free.iter().map(|&atom| structure.positions[atom]).collect(),
            distances: self.free.iter().map(around).collect(),
        }
    }

    /// Whether the two are the same arrangement: no free atom is further than `tolerance` (Å) from its counterpart or, where
    /// distances decide, no distance differs by more.
    pub fn same(&self, a: &Shape, b: &Shape, tolerance: f64) -> bool {
        let like = |i: usize, j: usize| self.free_numbers[i] == self.free_numbers[j];
        // Atoms that move by no more than the tolerance change their distance, and any sorted list of distances, by no more than
        // twice the tolerance.
        let allowed = if self.operations.is_some() { 2.0 * tolerance } else { tolerance };
        let alike = |i: usize, j: usize| {
            let mut pairs = a.distances[i].iter().zip(&b.distances[j]);
            like(i, j) && pairs.all(|(x, y)| (x - y).abs() <= allowed)
        };
        let n = self.free.len();
        if !can_be_matched(n, alike) {
            return false;
        }
        let Some(operations) = &self.operations else { return true };
        operations.iter().any(|operation| {
            let moved: Vec<Vec3> = a.positions.iter().map(|&position| operation.apply(position)).collect();
            let near = |i: usize, j: usize| {
                let apart = || self.images.nearest(sub(b.positions[j], moved[i])).squared;
                like(i, j) && apart() <= tolerance * tolerance
            };
            can_be_matched(n, near)
        })
    }

    /// The distances, ascending, from `atom` to the other atoms of `kind`, images included: all of them in a cluster, else the
    /// first [`NEIGHBOURS`].
    fn nearest_distances(&self, positions: &[Vec3], atom: usize, kind: &[usize]) -> Vec<f64> {
        let others = || kind.iter().filter(|&&other| other != atom);
        let n_others = others().count();
        if n_others == 0 {
            return Vec::new();
        }
        let n_wanted = if self.endless { NEIGHBOURS } else { n_others };
        let mut reach = REACH;
        loop {
            let mut squares = Vec::new();
            for &other in others() {
                let difference = sub(positions[other], positions[atom]);
                self.images.for_each_within(difference, reach, |image| squares.push(image.squared));
            }
            if squares.len() >= n_wanted || reach >= FARTHEST {
                squares.sort_by(f64::total_cmp);
                squares.resize(n_wanted, FARTHEST * FARTHEST);
                return squares.into_iter().map(f64::sqrt).collect();
            }
            reach = (1.5 * reach).min(FARTHEST);
        }
    }
}

/// Whether n things can be paired one to one with n others. `fits(i, j)` says which pairs are allowed (augmenting paths, Kuhn
/// 1955).
fn can_be_matched(n: usize, fits: impl Fn(usize, usize) -> bool) -> bool {
    let candidates: Vec<Vec<usize>> = {
        let mut lists = Vec::with_capacity(n);
        for i in 0..n {
            let list: Vec<usize> = (0..n).filter(|&j| fits(i, j)).collect();
            if list.is_empty() {
                return false;
            }
            lists.push(list);
        }
        lists
    };
    let mut owner: Vec<Option<usize>> = vec![None; n];
    (0..n).all(|i| assign(i, &candidates, &mut owner, &mut vec![false; n]))
}

/// Finds a partner for `i`, and moves earlier ones to another partner if needed.
fn assign(i: usize, candidates: &[Vec<usize>], owner: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    for &j in &candidates[i] {
        if !std::mem::replace(&mut seen[j], true) && owner[j].is_none_or(|other| assign(other, candidates, owner, seen))
        {
            owner[j] = Some(i);
            return true;
        }
    }
    false
}
