//! The radius graph: the atoms, and the periodic images of others within the cutoff of each.

use super::images::Images;
use super::vector::sub;
use super::{Cell, Vec3};

/// A directed edge: receiver i sees the image of sender j.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    /// Receiver.
    pub i: u32,
    /// Sender.
    pub j: u32,
    /// Whole lattice vectors by which the sender is moved.
    pub shift: [i32; 3],
    /// R_j + shift·cell − R_i, Å.
    pub vector: Vec3,
    /// Length of `vector`, Å.
    pub distance: f64,
}

/// Finds the periodic images of one atom around another within a cutoff. It is prepared once for a cell, and then allocates
/// nothing.
#[derive(Debug, Clone)]
pub struct PairSearch {
    images: Images,
    cutoff: f64,
}

impl PairSearch {
    /// Pairs in `cell` closer than `cutoff` (Å).
    ///
    /// # Panics
    /// For a cell that [`Cell::completed`] refuses; no validated structure or system has one.
    pub fn new(cell: &Cell, cutoff: f64) -> Self {
        PairSearch { images: Images::new(cell), cutoff }
    }

    /// Calls `visit(shift, vector, distance)` for every image of an atom at `rj` around one at `ri` (Å, anywhere) with
    /// 0 < distance < cutoff, in ascending order of the shift; vector = rj + shift·cell − ri. With `rj` and `ri` exchanged the
    /// same images come with exactly negated shifts and vectors.
    #[inline]
    pub fn for_each_pair(&self, ri: Vec3, rj: Vec3, mut visit: impl FnMut([i32; 3], Vec3, f64)) {
        self.images.for_each_within(sub(rj, ri), self.cutoff, |image| {
            let distance = image.squared.sqrt();
            // Underflow can make the square 0 for tiny vectors too: they have no direction either.
            if distance > 0.0 && distance < self.cutoff {
                visit(image.shift, image.vector, distance);
            }
        });
    }
}

/// All directed edges (i, j, shift) with 0 < |R_j + shift·cell − R_i| < `cutoff` (Å), images of an atom around itself included,
/// sorted by i, j and shift. Positions (Å) may lie outside the cell. Both directions of every edge are present.
///
/// # Panics
/// For a cell that [`Cell::completed`] refuses; no validated structure or system has one.
pub fn radius_graph(cell: &Cell, positions: &[Vec3], cutoff: f64) -> Vec<Edge> {
    let search = PairSearch::new(cell, cutoff);
    let mut edges = Vec::new();
    for (i, &ri) in (0..).zip(positions) {
        for (j, &rj) in (0..).zip(positions) {
            search.for_each_pair(ri, rj, |shift, vector, distance| edges.push(Edge { i, j, shift, vector, distance }));
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::super::vector::{add, combine, norm};
    use super::*;
    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    #[derive(serde::Deserialize)]
    struct Reference {
        name: String,
        cutoff_angstrom: f64,
        cell_angstrom: [Vec3; 3],
        pbc: [bool; 3],
        positions_angstrom: Vec<Vec3>,
        edges_i_j_shift: Vec<[i32; 5]>,
    }

    /// Lists made with matscipy and checked against ASE's own (tests/fixtures/README.md).
    #[test]
    fn reference_lists_are_reproduced() {
        let all: Vec<Reference> =
            serde_json::from_reader(GzDecoder::new(&include_bytes!("../../tests/fixtures/radius_graph.json.gz")[..]))
                .unwrap();
        assert_eq!(all.len(), 10);
        for case in all {
            let cell = Cell { vectors: case.cell_angstrom, periodic: case.pbc };
            let edges = radius_graph(&cell, &case.positions_angstrom, case.cutoff_angstrom);
            let found: Vec<[i32; 5]> =
                edges.iter().map(|e| [e.i as i32, e.j as i32, e.shift[0], e.shift[1], e.shift[2]]).collect();
            assert_eq!(found, case.edges_i_j_shift, "{}", case.name);
            for edge in &edges {
                let [ri, rj] = [edge.i, edge.j].map(|k| case.positions_angstrom[k as usize]);
                let expected = sub(add(rj, combine(edge.shift.map(f64::from), &cell.vectors)), ri);
                assert!(norm(sub(edge.vector, expected)) < 1e-12, "{}", case.name);
                assert!((norm(expected) - edge.distance).abs() < 1e-12, "{}", case.name);
            }
        }
    }

    #[test]
    fn coincident_atoms_have_no_edge_but_their_images_do() {
        let cell = Cell { vectors: [[3.0, 0.0, 0.0], [0.0; 3], [0.0; 3]], periodic: [true, false, false] };
        let edges = radius_graph(&cell, &[[1.0, 2.0, 3.0]; 2], 3.5);
        assert_eq!(edges.len(), 8);
        assert!(edges.iter().all(|e| e.shift[0].abs() == 1 && e.distance == 3.0));
    }

    #[test]
    fn a_distance_equal_to_the_cutoff_is_outside() {
        let pair = [[0.0; 3], [0.0, 0.0, 2.0]];
        assert!(radius_graph(&Cell::NONE, &pair, 2.0).is_empty());
        assert_eq!(radius_graph(&Cell::NONE, &pair, 2.0 + 1e-9).len(), 2);
    }

    #[test]
    fn very_thin_and_very_skewed_cells() {
        // One chain of period 0.7 Å: 8 images each way within 6 Å.
        let thin = Cell { vectors: [[0.7, 0.0, 0.0], [0.0, 30.0, 0.0], [0.0, 0.0, 30.0]], periodic: [true; 3] };
        assert_eq!(radius_graph(&thin, &[[0.1; 3]], 6.0).len(), 16);
        // The square lattice again, in a basis sheared by many lattice vectors.
        let square = Cell { vectors: [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0; 3]], periodic: [true, true, false] };
        let sheared = Cell { vectors: [[3.0, 0.0, 0.0], [120.0, 3.0, 0.0], [0.0; 3]], ..square };
        assert_eq!(radius_graph(&sheared, &[[0.1; 3]], 6.5).len(), radius_graph(&square, &[[0.1; 3]], 6.5).len());
    }

    /// A cell of any shape and periodicity with a few atoms in and around it.
    fn structures() -> impl Strategy<Value = (Cell, Vec<Vec3>)> {
        let cells = (prop::array::uniform3(prop::array::uniform3(-5.0..5.0f64)), prop::array::uniform3(any::<bool>()))
            .prop_map(|(vectors, periodic)| Cell { vectors, periodic })
            .prop_filter("a volume", |cell| cell.volume() > 10.0);
        (cells, prop::collection::vec(prop::array::uniform3(-9.0..9.0f64), 1..5))
    }

    const CUTOFF: f64 = 4.5;

    /// The edges with their distances, and whether none is so close to the cutoff that rounding could decide.
    fn distances(cell: &Cell, positions: &[Vec3]) -> (Vec<(u32, u32, f64)>, bool) {
        let edges = radius_graph(cell, positions, CUTOFF + 1e-6);
        let clear = edges.iter().all(|e| e.distance < CUTOFF - 1e-6);
        let mut list: Vec<_> = edges.iter().map(|e| (e.i, e.j, e.distance)).collect();
        sort(&mut list);
        (list, clear)
    }

    fn sort(list: &mut [(u32, u32, f64)]) {
        list.sort_by(|x, y| (x.0, x.1).cmp(&(y.0, y.1)).then(x.2.total_cmp(&y.2)));
    }

    fn agree(x: &[(u32, u32, f64)], y: &[(u32, u32, f64)]) -> bool {
        x.len() == y.len() && x.iter().zip(y).all(|(x, y)| (x.0, x.1) == (y.0, y.1) && (x.2 - y.2).abs() < 1e-9)
    }

    /// Rotation about the axis (1, 2, 3) composed with one about z.
    fn rotation(angle: f64) -> [Vec3; 3] {
        let (sin, cos) = angle.sin_cos();
        let k = [1.0, 2.0, 3.0].map(|x: f64| x / 14f64.sqrt());
        std::array::from_fn(|row| {
            let mut e = [0.0; 3];
            e[row] = 1.0;
            let kxe = super::super::vector::cross(k, e);
            std::array::from_fn(|x| cos * e[x] + sin * kxe[x] + (1.0 - cos) * k[row] * k[x])
        })
    }

    proptest! {
        #[test]
        fn every_image_by_brute_force((cell, positions) in structures()) {
            let heights = cell.heights();
            let found = radius_graph(&cell, &positions, CUTOFF);
            // Differences reach 18·√3 Å, so no shift beyond (18·√3 + cutoff)/height can be in range.
            let reach: [i32; 3] =
                std::array::from_fn(|k| if cell.periodic[k] { ((32.0 + CUTOFF) / heights[k]) as i32 + 1 } else { 0 });
            prop_assume!(reach.iter().map(|&r| f64::from(2 * r + 1)).product::<f64>() < 3e5);
            let mut expected = Vec::new();
            for (i, &ri) in positions.iter().enumerate() {
                for (j, &rj) in positions.iter().enumerate() {
                    for a in -reach[0]..=reach[0] {
                        for b in -reach[1]..=reach[1] {
                            for c in -reach[2]..=reach[2] {
                                let shifted = combine([a, b, c].map(f64::from), &cell.vectors);
                                let distance = norm(add(sub(rj, ri), shifted));
                                if distance > 0.0 && distance < CUTOFF {
                                    expected.push((i as u32, j as u32, [a, b, c]));
                                }
                            }
                        }
                    }
                }
            }
            let found: Vec<_> = found.iter().map(|e| (e.i, e.j, e.shift)).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn both_directions_are_exact_opposites((cell, positions) in structures()) {
            let edges = radius_graph(&cell, &positions, CUTOFF);
            for e in &edges {
                let back = (e.j, e.i, e.shift.map(|s| -s));
                let k = edges.binary_search_by(|o| (o.i, o.j, o.shift).cmp(&back));
                prop_assert!(k.is_ok());
                let opposite = edges[k.unwrap_or(0)];
                prop_assert_eq!(opposite.vector, e.vector.map(|x| -x));
                prop_assert_eq!(opposite.distance, e.distance);
            }
        }

        #[test]
        fn rotation_changes_no_distance((cell, positions) in structures(), angle in 0.0..6.3f64) {
            let turn = rotation(angle);
            let turned = Cell { vectors: cell.vectors.map(|v| combine(v, &turn)), ..cell };
            let moved: Vec<Vec3> = positions.iter().map(|&p| combine(p, &turn)).collect();
            let (before, clear) = distances(&cell, &positions);
            prop_assume!(clear);
            prop_assert!(agree(&before, &distances(&turned, &moved).0));
        }

        #[test]
        fn translation_changes_no_distance((cell, positions) in structures(), by in prop::array::uniform3(-40.0..40.0f64)) {
            let moved: Vec<Vec3> = positions.iter().map(|&p| add(p, by)).collect();
            let (before, clear) = distances(&cell, &positions);
            prop_assume!(clear);
            prop_assert!(agree(&before, &distances(&cell, &moved).0));
        }

        #[test]
        fn permutation_relabels((cell, positions) in structures(), turn in 0usize..4) {
            let n = positions.len();
            let order: Vec<usize> = (0..n).map(|k| (k + turn) % n).rev().collect();
            let moved: Vec<Vec3> = order.iter().map(|&k| positions[k]).collect();
            let (before, _) = distances(&cell, &positions);
            let mut relabelled: Vec<_> = distances(&cell, &moved)
                .0
                .iter()
                .map(|&(i, j, d)| (order[i as usize] as u32, order[j as usize] as u32, d))
                .collect();
            sort(&mut relabelled);
            prop_assert!(agree(&before, &relabelled));
        }

        #[test]
        fn lattice_vectors_change_no_distance(
            (cell, positions) in structures(), steps in prop::collection::vec(prop::array::uniform3(-7i32..7), 4)
        ) {
            let allowed = |s: [i32; 3]| -> [f64; 3] {
                std::array::from_fn(|k| if cell.periodic[k] { f64::from(s[k]) } else { 0.0 })
            };
            let moved: Vec<Vec3> =
                positions.iter().zip(&steps).map(|(&p, &s)| add(p, combine(allowed(s), &cell.vectors))).collect();
            let (before, clear) = distances(&cell, &positions);
            prop_assume!(clear);
            prop_assert!(agree(&before, &distances(&cell, &moved).0));
            let wrapped: Vec<Vec3> = moved.iter().map(|&p| cell.wrap(p, [true; 3])).collect();
            prop_assert!(agree(&before, &distances(&cell, &wrapped).0));
        }
    }
}
