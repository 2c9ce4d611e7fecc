//! Edges of a chunk of structures. Template–template edges are kept once, edges with a free atom per structure.

use super::simd::Real;
use crate::system::PairSearch;
use crate::system::{System, Vec3, radius_graph};

/// A directed edge seen from its receiver.
#[derive(Debug, Clone, Copy)]
pub struct Directed<T> {
    /// Sending atom: within the structure for template edges, within the chunk for the others.
    pub sender: u32,
    /// Filter row of the edge.
    pub row: u32,
    /// Unit vector from receiver to sender.
    pub unit: [T; 3],
}

/// Edges of one receiver that share a filter row.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// The shared filter row.
    pub row: u32,
    /// One past the group's last edge; it starts where the group before ends.
    pub end: u32,
}

/// Template–template edges: the same in every structure of a search.
///
/// Receiver i owns groups `group_starts[i]..group_starts[i + 1]`, and its edges start at `edge_starts[i]`.
#[derive(Debug, Clone)]
pub struct TemplateGraph<T> {
    /// First group of every template atom; T + 1.
    pub group_starts: Vec<u32>,
    /// First edge of every template atom; T + 1.
    pub edge_starts: Vec<u32>,
    /// Groups of edges with one filter row, receiver by receiver.
    pub groups: Vec<Group>,
    /// Edges, receiver by receiver, sorted by filter row.
    pub edges: Vec<Directed<T>>,
    /// Distance of every filter row, Å.
    pub distances: Vec<f64>,
}

impl<T: Real> TemplateGraph<T> {
    /// The template's edges within `cutoff` (Å). Distances within [`Real::SHARED_DISTANCE_TOLERANCE`] share a row; the two
    /// directions of an edge always do.
    pub fn new(system: &System, cutoff: f64) -> Self {
        let edges = radius_graph(&system.cell, &system.template_positions, cutoff);
        // Both directions of an edge have the same difference vector up to its sign, so equal distances are neighbours here.
        let mut by_distance: Vec<usize> = (0..edges.len()).collect();
        by_distance.sort_by(|&a, &b| edges[a].distance.total_cmp(&edges[b].distance).then(a.cmp(&b)));
        let mut distances: Vec<f64> = Vec::new();
        let mut rows = vec![0u32; edges.len()];
        for &e in &by_distance {
            if distances.last().is_none_or(|first: &f64| edges[e].distance - *first > T::SHARED_DISTANCE_TOLERANCE) {
                distances.push(edges[e].distance);
            }
            rows[e] = (distances.len() - 1) as u32;
        }
        let mut order: Vec<usize> = (0..edges.len()).collect();
        order.sort_by_key(|&e| (edges[e].i, rows[e], edges[e].j, edges[e].shift));
        let n_template = system.n_template();
        let mut graph = TemplateGraph {
            group_starts: vec![0],
            edge_starts: vec![0],
            groups: Vec::new(),
            edges: Vec::with_capacity(edges.len()),
            distances,
        };
        let mut next = order.into_iter().peekable();
        for i in 0..n_template as u32 {
            let first_group = graph.groups.len();
            while let Some(e) = next.next_if(|&e| edges[e].i == i) {
                let edge = &edges[e];
                graph.edges.push(Directed {
                    sender: edge.j,
                    row: rows[e],
                    unit: edge.vector.map(|x| T::of(x / edge.distance)),
                });
                let end = graph.edges.len() as u32;
                match graph.groups[first_group..].last_mut() {
                    Some(group) if group.row == rows[e] => group.end = end,
                    _ => graph.groups.push(Group { row: rows[e], end }),
                }
            }
            graph.group_starts.push(graph.groups.len() as u32);
            graph.edge_starts.push(graph.edges.len() as u32);
        }
        graph
    }

    /// Senders of the template edges that template atom `i` receives.
    pub fn senders(&self, i: usize) -> impl Iterator<Item = usize> + '_ {
        self.edges[self.edge_starts[i] as usize..self.edge_starts[i + 1] as usize].iter().map(|e| e.sender as usize)
    }
}

/// Edges with a free atom of all structures in a chunk; atoms count through the chunk.
#[derive(Debug, Clone)]
pub struct FreeGraph<T> {
    /// First edge of every atom of the chunk as receiver; one more entry than atoms.
    pub starts: Vec<u32>,
    /// Edges, receiver by receiver.
    pub edges: Vec<Directed<T>>,
    /// Distance of every filter row, Å: one row for both directions.
    pub distances: Vec<f64>,
    pairs: Vec<(u32, u32, [T; 3])>,
}

impl<T: Real> Default for FreeGraph<T> {
    fn default() -> Self {
        FreeGraph { starts: vec![0], edges: Vec::new(), distances: Vec::new(), pairs: Vec::new() }
    }
}

impl<T: Real> FreeGraph<T> {
    /// Finds the edges of structures with these free positions (each n × 3, Å).
    pub fn rebuild(&mut self, system: &System, search: &PairSearch, structures: &[&[Vec3]]) {
        let (n_template, n_atoms) = (system.n_template(), system.n_atoms());
        self.pairs.clear();
        self.distances.clear();
        for (s, free) in structures.iter().enumerate() {
            let base = s * n_atoms;
            for (f, &position) in free.iter().enumerate() {
                let receiver = base + n_template + f;
                for (a, &other) in system.template_positions.iter().enumerate() {
                    self.add_pairs(search, receiver, position, base + a, other);
                }
                for (g, &other) in free.iter().enumerate().skip(f) {
                    self.add_pairs(search, receiver, position, base + n_template + g, other);
                }
            }
        }
        self.sort_by_receiver(structures.len() * n_atoms);
    }

    /// Adds every image of atom `j` that atom `i` sees. If i = j, it adds one image of each opposite pair.
    fn add_pairs(&mut self, search: &PairSearch, i: usize, r_i: Vec3, j: usize, r_j: Vec3) {
        search.for_each_pair(r_i, r_j, |shift, vector, distance| {
            if i != j || shift > [0; 3] {
                let unit = vector.map(|x| T::of(x / distance));
                self.pairs.push((i as u32, j as u32, unit));
                self.distances.push(distance);
            }
        });
    }

    /// Stores both directions of every pair by counting sort.
    fn sort_by_receiver(&mut self, n_atoms: usize) {
        self.starts.clear();
        self.starts.resize(n_atoms + 1, 0);
        for &(i, j, _) in &self.pairs {
            self.starts[i as usize + 1] += 1;
            self.starts[j as usize + 1] += 1;
        }
        for a in 0..n_atoms {
            self.starts[a + 1] += self.starts[a];
        }
        self.edges.clear();
        self.edges.resize(2 * self.pairs.len(), Directed { sender: 0, row: 0, unit: [T::ZERO; 3] });
        let mut next = self.starts.clone();
        for (row, &(i, j, unit)) in self.pairs.iter().enumerate() {
            for (receiver, sender, unit) in [(i, j, unit), (j, i, unit.map(|x| -x))] {
                let slot = &mut next[receiver as usize];
                self.edges[*slot as usize] = Directed { sender, row: row as u32, unit };
                *slot += 1;
            }
        }
    }

    /// Edges that atom `a` of the chunk receives.
    pub fn received(&self, a: usize) -> &[Directed<T>] {
        &self.edges[self.starts[a] as usize..self.starts[a + 1] as usize]
    }
}

/// The atoms that each block must compute, found backwards from the wanted ones: a block needs its receivers and all their senders.
#[derive(Debug, Clone, Default)]
pub struct Levels {
    /// Atoms of the chunk whose state is needed after block l (index l; index 0: before the first), ascending.
    pub atoms: Vec<Vec<u32>>,
    /// Row of every atom of the chunk in that list; atoms outside get the row one past the last.
    pub rows: Vec<Vec<u32>>,
    /// Whether the list holds template atoms.
    pub has_template: Vec<bool>,
    marked: Vec<bool>,
}

impl Levels {
    /// Levels for `n_structures` structures whose free atoms (or all, with `all_atoms`) are wanted after `blocks` blocks.
    pub fn rebuild<T: Real>(
        &mut self,
        blocks: usize,
        [n_structures, n_template, n_atoms]: [usize; 3],
        template: &TemplateGraph<T>,
        free: &FreeGraph<T>,
        all_atoms: bool,
    ) {
        let total = n_structures * n_atoms;
        self.atoms.resize(blocks + 1, Vec::new());
        self.rows.resize(blocks + 1, Vec::new());
        self.has_template.resize(blocks + 1, false);
        self.marked.clear();
        self.marked.extend((0..total).map(|a| all_atoms || a % n_atoms >= n_template));
        for l in (0..=blocks).rev() {
            if l < blocks && self.atoms[l + 1].len() < total {
                for k in 0..self.atoms[l + 1].len() {
                    let a = self.atoms[l + 1][k] as usize;
                    let (base, i) = (a - a % n_atoms, a % n_atoms);
                    if i < n_template {
                        template.senders(i).for_each(|j| self.marked[base + j] = true);
                    }
                    free.received(a).iter().for_each(|edge| self.marked[edge.sender as usize] = true);
                }
            }
            let (atoms, rows) = (&mut self.atoms[l], &mut self.rows[l]);
            atoms.clear();
            atoms.extend((0..total as u32).filter(|&a| self.marked[a as usize]));
            rows.clear();
            rows.resize(total, atoms.len() as u32);
            for (row, &a) in atoms.iter().enumerate() {
                rows[a as usize] = row as u32;
            }
            self.has_template[l] = atoms.iter().any(|&a| (a as usize) % n_atoms < n_template);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{Cell, Edge};

    const CUTOFF: f64 = 6.0;

    /// A hexagonal slab of two layers, each atom moved by up to `rattle` Å, and two free atoms above it.
    fn system(rattle: f64) -> System {
        let a = 2.77;
        let vectors = [[3.0 * a, 0.0, 0.0], [1.5 * a, 1.5 * 3f64.sqrt() * a, 0.0], [0.0, 0.0, 20.0]];
        let cell = Cell { vectors, periodic: [true, true, false] };
        let mut template_positions = Vec::new();
        for layer in 0..2 {
            for k in 0..9 {
                let shift = f64::from(layer) / 9.0;
                let [x, y, _] = cell.cartesian([f64::from(k % 3) / 3.0 + shift, f64::from(k / 3) / 3.0 + shift, 0.0]);
                let noise = |by: f64| rattle * (by * f64::from(9 * layer + k + 1)).sin();
                template_positions.push([x + noise(1.0), y + noise(2.3), 2.26 * f64::from(layer) + noise(3.7)]);
            }
        }
        System {
            cell,
            template_numbers: vec![78; 18],
            template_positions,
            free_numbers: vec![78; 2],
            mobile: Default::default(),
            extras: None,
            molecules: Default::default(),
            confinement: None,
        }
    }

    const FREE: [[Vec3; 2]; 2] = [[[1.0, 2.0, 4.3], [3.5, 2.5, 4.6]], [[-7.0, 0.4, 4.0], [2.0, 2.0, 30.0]]];

    fn check_template<T: Real>(rattle: f64) -> (usize, usize) {
        let system = system(rattle);
        let graph = TemplateGraph::<T>::new(&system, CUTOFF);
        let expected = radius_graph(&system.cell, &system.template_positions, CUTOFF);
        assert_eq!(graph.edges.len(), expected.len());
        let mut left: Vec<Edge> = expected;
        let mut e = 0;
        for i in 0..system.n_template() {
            assert_eq!(e, graph.edge_starts[i] as usize);
            let groups = &graph.groups[graph.group_starts[i] as usize..graph.group_starts[i + 1] as usize];
            assert!(groups.windows(2).all(|pair| pair[0].row < pair[1].row), "one group a row");
            for group in groups {
                assert!(e < group.end as usize, "no group is empty");
                for edge in &graph.edges[e..group.end as usize] {
                    assert_eq!(edge.row, group.row);
                    let distance = graph.distances[edge.row as usize];
                    let known = left.iter().position(|known| {
                        let along = |d: usize| T::of(known.vector[d] / known.distance) == edge.unit[d];
                        known.i as usize == i
                            && known.j == edge.sender
                            && (known.distance - distance).abs() <= T::SHARED_DISTANCE_TOLERANCE.max(1e-12)
                            && (0..3).all(along)
                    });
                    left.swap_remove(known.expect("an edge of the radius graph"));
                }
                e = group.end as usize;
            }
        }
        assert!(left.is_empty());
        assert_eq!(e, graph.edge_starts[system.n_template()] as usize);
        (graph.distances.len(), graph.edges.len())
    }

    #[test]
    fn template_edges_are_the_radius_graph() {
        for rattle in [0.0, 0.1] {
            check_template::<f64>(rattle);
            check_template::<f32>(rattle);
        }
    }

    #[test]
    fn equal_distances_share_a_row() {
        let (n_rows, n_edges) = check_template::<f32>(0.0);
        assert!(n_rows < 10 && n_edges > 400, "{n_rows} rows for {n_edges} edges of a crystal");
        let (n_rows, n_edges) = check_template::<f32>(0.1);
        assert!(2 * n_rows <= n_edges, "both directions of an edge share a row");
        // Images of an atom along a lattice vector keep their distance under rattling: 3a is out of reach here.
        assert!(2 * n_rows > n_edges - n_edges / 50, "{n_rows} rows for {n_edges} edges of a rattled crystal");
    }

    #[test]
    fn free_edges_are_the_radius_graph() {
        let system = system(0.1);
        let (n_template, n_atoms) = (system.n_template(), system.n_atoms());
        let structures: Vec<&[Vec3]> = FREE.iter().map(|free| &free[..]).collect();
        let mut graph = FreeGraph::<f64>::default();
        // The second call must keep nothing of the first.
        graph.rebuild(&system, &PairSearch::new(&system.cell, CUTOFF), &structures[1..]);
        graph.rebuild(&system, &PairSearch::new(&system.cell, CUTOFF), &structures);
        assert_eq!(graph.edges.len(), 2 * graph.distances.len());
        let mut n_found = 0;
        for (s, free) in FREE.iter().enumerate() {
            let mut left = radius_graph(&system.cell, &[&system.template_positions[..], free].concat(), CUTOFF);
            left.retain(|edge| edge.i.max(edge.j) as usize >= n_template);
            n_found += left.len();
            for i in 0..n_atoms {
                for edge in graph.received(s * n_atoms + i) {
                    let known = left.iter().position(|known| {
                        (known.i as usize, known.j as usize) == (i, edge.sender as usize - s * n_atoms)
                            && known.distance == graph.distances[edge.row as usize]
                            && (0..3).all(|d| known.vector[d] / known.distance == edge.unit[d])
                    });
                    left.swap_remove(known.expect("an edge of the radius graph"));
                }
            }
            assert!(left.is_empty(), "structure {s} lacks {left:?}");
        }
        assert_eq!(n_found, graph.edges.len());
    }

    /// From the free atoms back, each level holds the senders of the next one, and nothing else.
    #[test]
    fn levels_hold_what_the_next_block_needs() {
        let system = system(0.0);
        let (n_template, n_atoms) = (system.n_template(), system.n_atoms());
        let cutoff = 3.0;
        let template = TemplateGraph::<f64>::new(&system, cutoff);
        let structures: Vec<&[Vec3]> = FREE.iter().map(|free| &free[..]).collect();
        let mut free = FreeGraph::default();
        free.rebuild(&system, &PairSearch::new(&system.cell, cutoff), &structures);
        let mut levels = Levels::default();
        levels.rebuild(3, [2, n_template, n_atoms], &template, &free, true);
        assert!(levels.atoms.iter().all(|atoms| atoms.len() == 2 * n_atoms), "all are wanted");
        levels.rebuild(3, [2, n_template, n_atoms], &template, &free, false);
        let mut expected: Vec<u32> = (0..2 * n_atoms as u32).filter(|a| *a as usize % n_atoms >= n_template).collect();
        for l in (0..=3).rev() {
            assert_eq!(levels.atoms[l], expected, "level {l}");
            for a in 0..2 * n_atoms as u32 {
                let row = expected.binary_search(&a).unwrap_or(expected.len());
                assert_eq!(levels.rows[l][a as usize] as usize, row);
            }
            assert_eq!(levels.has_template[l], l < 3);
            for (s, positions) in FREE.iter().enumerate() {
                let positions = [&system.template_positions[..], positions].concat();
                for edge in radius_graph(&system.cell, &positions, cutoff) {
                    let [i, j] = [edge.i, edge.j].map(|k| k + (s * n_atoms) as u32);
                    if levels.atoms[l].contains(&i) && !expected.contains(&j) {
                        expected.push(j);
                    }
                }
            }
            expected.sort_unstable();
        }
        assert!(levels.atoms[2].len() < levels.atoms[1].len() && levels.atoms[1].len() < 2 * n_atoms);
    }
}
