//! Two arrangements count as the same if their bond graphs are equal. The benchmark's success criterion uses this.

use super::elements::covalent_radius;
use super::images::Images;
use super::vector::sub;
use super::{Cell, Vec3};

/// Two atoms are bonded within this multiple of the sum of their covalent radii.
pub const BOND_FACTOR: f64 = 1.1;

/// The bonded pairs of atoms, with their elements: a simple undirected graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BondGraph {
    numbers: Vec<u8>,
    /// Neighbours of each atom, ascending.
    neighbours: Vec<Vec<usize>>,
}

impl BondGraph {
    /// Bonds between the atoms at `positions` (Å) of the elements `numbers`: nearest periodic distance below 1.1 × the sum of the
    /// covalent radii. Several bonds of one pair count once, and an atom's bond to its own image does not count.
    ///
    /// # Panics
    /// If the two lists differ in length, and for a cell that [`Cell::completed`] refuses.
    pub fn new(cell: &Cell, numbers: &[u8], positions: &[Vec3]) -> Self {
        BondGraph::within(BOND_FACTOR, cell, numbers, positions)
    }

    /// [`BondGraph::new`] with bonds up to `factor` × the sum of the covalent radii.
    ///
    /// # Panics
    /// As [`BondGraph::new`].
    pub fn within(factor: f64, cell: &Cell, numbers: &[u8], positions: &[Vec3]) -> Self {
        assert_eq!(numbers.len(), positions.len(), "one position per atom");
        let images = Images::new(cell);
        let mut neighbours = vec![Vec::new(); numbers.len()];
        for i in 0..numbers.len() {
            for j in 0..i {
                let bond = factor * (covalent_radius(numbers[i]) + covalent_radius(numbers[j]));
                if images.nearest(sub(positions[j], positions[i])).squared < bond * bond {
                    neighbours[i].push(j);
                    neighbours[j].push(i);
                }
            }
        }
        BondGraph { numbers: numbers.to_vec(), neighbours }
    }

    /// True if some one-to-one map of the atoms keeps elements, bonds and missing bonds.
    pub fn is_isomorphic_to(&self, other: &BondGraph) -> bool {
        let n = self.numbers.len();
        if n != other.numbers.len() {
            return false;
        }
        let (colours, other_colours) = refine(self, other);
        if sorted(&colours) != sorted(&other_colours) {
            return false;
        }
        let order = self.search_order(&colours);
        Assignment { a: self, b: other, colours: &colours, other_colours: &other_colours, order: &order }.extend(
            &mut vec![None; n],
            &mut vec![false; n],
            0,
        )
    }

    /// A number that isomorphic graphs share. It depends on the elements, the sizes of the connected pieces, the triangles and the
    /// bonds around every atom, refined as in [`BondGraph::is_isomorphic_to`] (Weisfeiler and Leman 1968). Graphs with different
    /// numbers are different. A few different graphs share a number, such as regular graphs of one degree without triangles.
    pub fn fingerprint(&self) -> u64 {
        let n = self.numbers.len();
        let pieces = self.piece_sizes();
        let start = |atom: usize| {
            let around = &self.neighbours[atom];
            let bonded = |&(a, b): &(usize, usize)| self.neighbours[a].binary_search(&b).is_ok();
            let pairs = around.iter().enumerate().flat_map(|(k, &a)| around[k + 1..].iter().map(move |&b| (a, b)));
            let n_triangles = pairs.filter(bonded).count();
            mixed([u64::from(self.numbers[atom]), pieces[atom] as u64, n_triangles as u64])
        };
        let mut colours: Vec<u64> = (0..n).map(start).collect();
        // After n rounds colours depend on the whole piece; fewer rounds are enough if nothing changes any more.
        let mut n_colours = 0;
        loop {
            let mut known = colours.clone();
            known.sort_unstable();
            known.dedup();
            if known.len() == n_colours {
                break;
            }
            n_colours = known.len();
            let refined = |atom: usize| {
                let mut around: Vec<u64> = self.neighbours[atom].iter().map(|&k| colours[k]).collect();
                around.sort_unstable();
                mixed([colours[atom]].into_iter().chain(around))
            };
            colours = (0..n).map(refined).collect();
        }
        colours.sort_unstable();
        mixed(colours)
    }

    /// The atoms in groups that bonds connect, each ascending, by their first atoms.
    pub fn pieces(&self) -> Vec<Vec<usize>> {
        let mut seen = vec![false; self.numbers.len()];
        let mut pieces = Vec::new();
        for first in 0..seen.len() {
            if std::mem::replace(&mut seen[first], true) {
                continue;
            }
            let mut piece = vec![first];
            let mut next = 0;
            while let Some(&atom) = piece.get(next) {
                next += 1;
                for &k in &self.neighbours[atom] {
                    if !std::mem::replace(&mut seen[k], true) {
                        piece.push(k);
                    }
                }
            }
            piece.sort_unstable();
            pieces.push(piece);
        }
        pieces
    }

    /// The graph of each of [`BondGraph::pieces`].
    pub fn into_pieces(self) -> Vec<BondGraph> {
        let place = |piece: &[usize], atom: usize| piece.binary_search(&atom).unwrap_or_default();
        let graph = |piece: Vec<usize>| BondGraph {
            numbers: piece.iter().map(|&atom| self.numbers[atom]).collect(),
            neighbours: { piece.iter() }
                .map(|&atom| self.neighbours[atom].iter().map(|&k| place(&piece, k)).collect())
                .collect(),
        };
        self.pieces().into_iter().map(graph).collect()
    }

    /// For each atom the number of atoms that bonds connect with it, itself among them.
    fn piece_sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.numbers.len()];
        for piece in self.pieces() {
            piece.iter().for_each(|&atom| sizes[atom] = piece.len());
        }
        sizes
    }

    /// Atoms in the order in which the search places them: first those next to placed ones, and among these the rarest colour.
    fn search_order(&self, colours: &[usize]) -> Vec<usize> {
        let n = self.numbers.len();
        let class_size = |atom: usize| colours.iter().filter(|&&c| c == colours[atom]).count();
        let mut order: Vec<usize> = Vec::with_capacity(n);
        while order.len() < n {
            let n_placed = |atom: usize| self.neighbours[atom].iter().filter(|&k| order.contains(k)).count();
            let next = (0..n)
                .filter(|atom| !order.contains(atom))
                .min_by_key(|&atom| (std::cmp::Reverse(n_placed(atom)), class_size(atom), atom));
            order.extend(next);
        }
        order
    }
}

/// True if two arrangements in one cell have the same bond graph up to the order of their atoms: the elements `numbers_*` at
/// `positions_*` (Å), bonded within 1.1 × the sum of their covalent radii across periodic boundaries.
///
/// # Panics
/// If numbers and positions differ in length, and for a cell that [`Cell::completed`] refuses.
pub fn same_bond_graph(
    cell: &Cell,
    numbers_a: &[u8],
    positions_a: &[Vec3],
    numbers_b: &[u8],
    positions_b: &[Vec3],
) -> bool {
    BondGraph::new(cell, numbers_a, positions_a).is_isomorphic_to(&BondGraph::new(cell, numbers_b, positions_b))
}

/// Colours of both graphs' atoms, refined until stable: atoms that an isomorphism can map on each other have equal colours
/// (Weisfeiler and Leman 1968).
fn refine(a: &BondGraph, b: &BondGraph) -> (Vec<usize>, Vec<usize>) {
    let mut colours_a: Vec<usize> = a.numbers.iter().map(|&z| usize::from(z)).collect();
    let mut colours_b: Vec<usize> = b.numbers.iter().map(|&z| usize::from(z)).collect();
    let mut n_colours = 0;
    loop {
        let signature = |graph: &BondGraph, colours: &[usize], atom: usize| {
            let around: Vec<usize> = graph.neighbours[atom].iter().map(|&k| colours[k]).collect();
            (colours[atom], sorted(&around))
        };
        let signatures_a: Vec<_> = (0..colours_a.len()).map(|k| signature(a, &colours_a, k)).collect();
        let signatures_b: Vec<_> = (0..colours_b.len()).map(|k| signature(b, &colours_b, k)).collect();
        let mut known: Vec<_> = signatures_a.iter().chain(&signatures_b).collect();
        known.sort();
        known.dedup();
        let rank = |s| known.partition_point(|&k| k < s);
        (colours_a, colours_b) = (signatures_a.iter().map(rank).collect(), signatures_b.iter().map(rank).collect());
        if known.len() == n_colours {
            return (colours_a, colours_b);
        }
        n_colours = known.len();
    }
}

/// One number for a list; other lists get other numbers (SplitMix64's finaliser, Steele, Lea and Flood 2014). It is written to
/// files, so it never changes.
fn mixed(values: impl IntoIterator<Item = u64>) -> u64 {
    values.into_iter().fold(0x9e37_79b9_7f4a_7c15, |state: u64, value| {
        let mut z = (state ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

fn sorted(values: &[usize]) -> Vec<usize> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values
}

/// The backtracking search for an isomorphism from `a` to `b`.
struct Assignment<'a> {
    a: &'a BondGraph,
    b: &'a BondGraph,
    colours: &'a [usize],
    other_colours: &'a [usize],
    order: &'a [usize],
}

impl Assignment<'_> {
    /// Places the atoms from `order[depth]` on, given the images of those before.
    fn extend(&self, image: &mut [Option<usize>], taken: &mut [bool], depth: usize) -> bool {
        let Some(&atom) = self.order.get(depth) else { return true };
        for candidate in 0..self.b.numbers.len() {
            if !taken[candidate]
                && self.colours[atom] == self.other_colours[candidate]
                && self.keeps_bonds(image, atom, candidate, depth)
            {
                image[atom] = Some(candidate);
                taken[candidate] = true;
                if self.extend(image, taken, depth + 1) {
                    return true;
                }
                image[atom] = None;
                taken[candidate] = false;
            }
        }
        false
    }

    fn keeps_bonds(&self, image: &[Option<usize>], atom: usize, candidate: usize, depth: usize) -> bool {
        self.order[..depth].iter().all(|&placed| {
            let bonded = self.a.neighbours[atom].binary_search(&placed).is_ok();
            let image_bonded = image[placed].is_some_and(|k| self.b.neighbours[candidate].binary_search(&k).is_ok());
            bonded == image_bonded
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_structure;
    use super::*;
    use std::path::Path;

    fn island(name: &str) -> (Cell, Vec<Vec3>) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/structures").join(name);
        let structure = read_structure(&path).unwrap();
        (structure.cell, structure.positions[72..].to_vec())
    }

    fn same_platinum(cell: &Cell, a: &[Vec3], b: &[Vec3]) -> bool {
        same_bond_graph(cell, &vec![78; a.len()], a, &vec![78; b.len()], b)
    }

    #[test]
    fn both_hexagons_match_and_a_broken_one_does_not() {
        let (cell, fcc) = island("pt7-hexagon-fcc.xyz");
        let (_, hcp) = island("pt7-hexagon-hcp.xyz");
        assert!(same_platinum(&cell, &fcc, &hcp));
        let shuffled: Vec<Vec3> = (0..7).map(|k| cell.wrap(fcc[(3 * k + 2) % 7], [true; 3])).collect();
        assert!(same_platinum(&cell, &shuffled, &hcp));
        // The whole island moves by a third of the cell, across the boundary.
        let moved: Vec<Vec3> =
            hcp.iter().map(|p| cell.wrap([p[0] + 8.0, p[1] + 7.0, p[2]], [true, true, false])).collect();
        assert!(same_platinum(&cell, &fcc, &moved));
        for broken in 0..7 {
            let mut island = hcp.clone();
            island[broken][2] += 2.0;
            assert!(!same_platinum(&cell, &fcc, &island), "atom {broken} lifted away");
        }
    }

    #[test]
    fn elements_matter() {
        let line = [[0.0; 3], [2.6, 0.0, 0.0], [5.2, 0.0, 0.0]];
        let same = |a: &[u8], b: &[u8]| same_bond_graph(&Cell::NONE, a, &line, b, &line);
        assert!(same(&[78, 79, 79], &[79, 79, 78]));
        assert!(!same(&[78, 79, 79], &[79, 78, 79]));
        assert!(!same(&[78, 79, 79], &[78, 78, 79]));
        assert!(!same_bond_graph(&Cell::NONE, &[78; 3], &line, &[78; 2], &line[..2]));
    }

    fn graph(n: usize, bonds: &[(usize, usize)]) -> BondGraph {
        let mut neighbours = vec![Vec::new(); n];
        for &(i, j) in bonds {
            neighbours[i].push(j);
            neighbours[j].push(i);
        }
        neighbours.iter_mut().for_each(|list| list.sort());
        BondGraph { numbers: vec![78; n], neighbours }
    }

    fn ring(first: usize, n: usize) -> Vec<(usize, usize)> {
        (0..n).map(|k| (first + k, first + (k + 1) % n)).collect()
    }

    #[test]
    fn equal_degrees_are_not_enough() {
        // Refinement alone cannot distinguish one ring of six from two of three.
        let six = graph(6, &ring(0, 6));
        let threes = graph(6, &[ring(0, 3), ring(3, 3)].concat());
        assert!(!six.is_isomorphic_to(&threes));
        let relabelled = graph(6, &[(0, 3), (3, 1), (1, 5), (5, 2), (2, 4), (4, 0)]);
        assert!(six.is_isomorphic_to(&relabelled));
        let prism = graph(6, &[ring(0, 3), ring(3, 3), vec![(0, 3), (1, 4), (2, 5)]].concat());
        let bipartite = graph(6, &(0..9).map(|k| (k / 3, 3 + k % 3)).collect::<Vec<_>>());
        assert!(!prism.is_isomorphic_to(&bipartite));
    }

    #[test]
    fn fingerprints_tell_graphs_apart_and_keep_the_order_of_atoms_out() {
        let six = graph(6, &ring(0, 6));
        let threes = graph(6, &[ring(0, 3), ring(3, 3)].concat());
        let prism = graph(6, &[ring(0, 3), ring(3, 3), vec![(0, 3), (1, 4), (2, 5)]].concat());
        let bipartite = graph(6, &(0..9).map(|k| (k / 3, 3 + k % 3)).collect::<Vec<_>>());
        let chain = graph(6, &ring(0, 6)[..5]);
        let mut gold = six.clone();
        gold.numbers[2] = 79;
        let all = [&six, &threes, &prism, &bipartite, &chain, &gold, &graph(6, &[])];
        for (i, a) in all.iter().enumerate() {
            for b in &all[..i] {
                assert_ne!(a.fingerprint(), b.fingerprint());
            }
        }
        let relabelled = graph(6, &[(0, 3), (3, 1), (1, 5), (5, 2), (2, 4), (4, 0)]);
        assert_eq!(six.fingerprint(), relabelled.fingerprint());
        gold.numbers.rotate_right(3);
        let turned = gold.fingerprint();
        gold.numbers.rotate_right(1);
        assert_eq!(gold.fingerprint(), turned);
        let (cell, fcc) = island("pt7-hexagon-fcc.xyz");
        let (_, hcp) = island("pt7-hexagon-hcp.xyz");
        let fingerprint = |positions: &[Vec3]| BondGraph::new(&cell, &[78; 7], positions).fingerprint();
        assert_eq!(fingerprint(&fcc), fingerprint(&hcp));
        // Fingerprints are in files that outlive the program.
        assert_eq!(format!("{:016x}", fingerprint(&fcc)), "d5896313d0e4bb92");
    }

    #[test]
    fn fifty_atoms_are_no_burden() {
        let grid = |order: &dyn Fn(usize) -> usize| {
            let right = (0..50).filter(|k| k % 10 != 9).map(|k| (order(k), order(k + 1)));
            let down = (0..40).map(|k| (order(k), order(k + 10)));
            graph(50, &right.chain(down).collect::<Vec<_>>())
        };
        assert!(grid(&|k| k).is_isomorphic_to(&grid(&|k| (7 * k + 3) % 50)));
        let empty = graph(50, &[]);
        assert!(empty.is_isomorphic_to(&empty.clone()));
        assert!(!grid(&|k| k).is_isomorphic_to(&empty));
    }

    #[test]
    fn an_image_bond_counts_once() {
        // The pair is bonded on both sides, through the boundary too.
        let cell = Cell { vectors: [[5.2, 0.0, 0.0], [0.0; 3], [0.0; 3]], periodic: [true, false, false] };
        let bonds = BondGraph::new(&cell, &[78; 2], &[[0.0; 3], [2.6, 0.0, 0.0]]);
        assert_eq!(bonds.neighbours, [vec![1], vec![0]]);
    }
}
