//! Molecules among the free atoms.
//!
//! Molecules are placed, moved and turned as a whole, but their atoms are free atoms like the others: the model does not know which
//! carbon belongs to which oxygen. So a molecule of a structure is what its bonds connect, whatever the order of its atoms.

use super::elements::formula;
use super::extras::Column;
use super::vector::{add, scale, sub};
use super::{BondGraph, Extras, Structure, System, Vec3};
use crate::error::{Error, Result};
use std::sync::Arc;

/// Atoms of a molecule are bonded within this multiple of the sum of their covalent radii: H–H up to 0.81 Å, C–O up to 1.85 Å.
const BOND_FACTOR: f64 = 1.3;

/// One molecule as its file gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct Molecule {
    /// Atomic numbers of its m atoms.
    pub numbers: Vec<u8>,
    /// Positions of its atoms around their centre, m × 3, Å.
    pub shape: Vec<Vec3>,
    /// Further columns of its file that calculators may want: charges, moments, tags, …
    pub columns: Vec<Column>,
    /// Its bonds.
    bonds: BondGraph,
}

/// The molecules of a system. Their atoms are the last ones of [`System::free_numbers`], molecule by molecule.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Molecules {
    /// All of them, copies one by one.
    pub all: Vec<Molecule>,
    /// Whether a structure counts only if its molecules are whole.
    pub keep_bonded: bool,
}

impl Molecule {
    /// The molecule of a file's `structure`; its cell is ignored.
    ///
    /// # Errors
    /// `BadInput` for atoms that bonds do not connect.
    pub fn new(structure: &Structure) -> Result<Self> {
        let Structure { cell, numbers, positions, .. } = structure;
        let bonds = BondGraph::within(BOND_FACTOR, cell, numbers, positions);
        let n_pieces = bonds.pieces().len();
        if n_pieces > 1 {
            return Err(Error::bad_input(format!(
                "its atoms are no molecule but {n_pieces} pieces (bonds reach to {BOND_FACTOR} times the sum of the covalent \
                 radii); give each piece a section of its own, or name its atoms in system.free"
            )));
        }
        // Across periodic boundaries too.
        let around: Vec<Vec3> = positions.iter().map(|&r| cell.minimum_image(sub(r, positions[0]))).collect();
        let centre = scale(1.0 / around.len() as f64, around.iter().copied().fold([0.0; 3], add));
        let shape = around.into_iter().map(|r| sub(r, centre)).collect();
        let columns = structure.extras().map_or_else(Vec::new, |extras| extras.clone().inputs().columns);
        Ok(Molecule { numbers: numbers.clone(), shape, columns, bonds })
    }

    /// Whether both have the same atoms at the same places.
    fn is_like(&self, other: &Molecule) -> bool {
        self.numbers == other.numbers && self.shape == other.shape
    }
}

impl Molecules {
    /// The columns of `extras`, those of a system's other `n` atoms, followed by those of the molecules.
    ///
    /// # Errors
    /// `BadInput` if a column has entries of another kind there.
    pub(super) fn columns_after(&self, extras: Option<&Extras>, n: usize) -> Result<Extras> {
        let parts: Vec<(&[Column], usize)> =
            self.all.iter().map(|molecule| (&molecule.columns[..], molecule.numbers.len())).collect();
        let own = extras.cloned().unwrap_or_default();
        own.followed_by(n, &parts).map_err(|cause| Error::bad_input(format!("a molecule's file: {cause}")))
    }
}

impl System {
    /// The system with `molecules` after its other free atoms. Columns of their files that do not fit the system's are left out,
    /// all of them; [`System::of_numbers`] refuses such molecules.
    pub fn with_molecules(mut self, molecules: Molecules) -> System {
        let n = self.n_atoms();
        let order: Vec<usize> = (0..n).collect();
        let more: Vec<u8> = molecules.all.iter().flat_map(|molecule| molecule.numbers.iter().copied()).collect();
        let own = self.extras.as_deref();
        let alone = |_| own.map_or_else(Extras::default, |extras| extras.reordered(&order, more.len()));
        let extended = molecules.columns_after(own, n).unwrap_or_else(alone);
        self.extras = (extended != Extras::default()).then(|| Arc::new(extended));
        self.free_numbers.extend(more);
        self.molecules = molecules;
        self
    }

    /// Number of moving atoms that belong to no molecule. They come first.
    pub fn n_single(&self) -> usize {
        self.n_free() - self.molecules.all.iter().map(|molecule| molecule.numbers.len()).sum::<usize>()
    }

    /// The free atoms in a few letters: Pt7, Au2Cu + 2 CO.
    pub fn free_formula(&self) -> String {
        let single = &self.free_numbers[self.n_mobile()..self.n_single()];
        let molecules = self.molecules.all.chunk_by(Molecule::is_like).map(|same| match same {
            [one] => formula(&one.numbers),
            several => format!("{} {}", several.len(), formula(&several[0].numbers)),
        });
        let single = (!single.is_empty()).then(|| formula(single));
        single.into_iter().chain(molecules).collect::<Vec<_>>().join(" + ")
    }

    /// The moving atoms in groups: each free atom alone, then each molecule. Mobile atoms are in none.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = (self.n_mobile()..self.n_single()).map(|atom| vec![atom]).collect();
        let mut next = self.n_single();
        for molecule in &self.molecules.all {
            groups.push((next..next + molecule.numbers.len()).collect());
            next += molecule.numbers.len();
        }
        groups
    }

    /// [`System::groups`] of the structure with the moving atoms at `free` (n × 3, Å), by its bonds: a group is what bonds connect
    /// among the atoms of molecules.
    pub fn groups_by_bonds(&self, free: &[Vec3]) -> Vec<Vec<usize>> {
        let n_single = self.n_single();
        let single = (self.n_mobile()..n_single).map(|atom| vec![atom]);
        let pieces = self.molecule_bonds(free).pieces().into_iter();
        single.chain(pieces.map(|piece| piece.into_iter().map(|atom| n_single + atom).collect())).collect()
    }

    /// Whether the atoms of the molecules, at the end of `free` (n × 3, Å), are bonded among each other as in separate, whole
    /// molecules.
    pub fn molecules_are_whole(&self, free: &[Vec3]) -> bool {
        let mut pieces: Vec<BondGraph> = self.molecule_bonds(free).into_pieces();
        self.molecules.all.iter().all(|molecule| {
            let found = pieces.iter().position(|piece| piece.is_isomorphic_to(&molecule.bonds));
            found.map(|place| pieces.swap_remove(place)).is_some()
        })
    }

    /// Bonds among the atoms of molecules.
    fn molecule_bonds(&self, free: &[Vec3]) -> BondGraph {
        let n_single = self.n_single();
        BondGraph::within(BOND_FACTOR, &self.cell, &self.free_numbers[n_single..], &free[n_single..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::xyz::Values;
    use crate::system::{Cell, ConfinementSpec};

    fn molecule(atoms: &[(u8, Vec3)]) -> Molecule {
        let (numbers, positions) = atoms.iter().copied().unzip();
        Molecule::new(&Structure::new(Cell::NONE, numbers, positions)).unwrap()
    }

    /// One platinum atom, two CO and a water molecule above a slab with a mobile atom.
    fn system() -> System {
        let cell =
            Cell { vectors: [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 20.0]], periodic: [true, true, false] };
        let slab = Structure::new(cell, vec![78, 79], vec![[0.0, 0.0, 1.0], [2.5, 2.5, 3.0]]);
        let co = molecule(&[(6, [0.0; 3]), (8, [0.0, 0.0, 1.15])]);
        let water = molecule(&[(8, [0.0; 3]), (1, [0.96, 0.0, 0.0]), (1, [-0.24, 0.93, 0.0])]);
        let confinement = Some(ConfinementSpec::AboveTemplate([1.0, 6.0]));
        System::new(Some(&slab), "Pt", confinement, None)
            .unwrap()
            .with_molecules(Molecules { all: vec![co.clone(), co, water], keep_bonded: true })
            .with_mobile(&[1], 0.3)
            .unwrap()
    }

    /// Mobile atom, platinum, then the molecules; one CO lies across the cell's boundary.
    fn whole() -> Vec<Vec3> {
        vec![
            [2.5, 2.5, 3.0],
            [4.0, 4.0, 5.0],
            [0.2, 0.0, 5.0],
            [8.2, 0.0, 5.0],
            [4.0, 0.0, 5.0],
            [4.0, 0.0, 6.2],
            [7.0, 7.0, 6.0],
            [7.9, 7.0, 6.0],
            [6.7, 7.9, 6.0],
        ]
    }

    #[test]
    fn molecules_come_last() {
        let system = system();
        assert_eq!(system.numbers(), [78, 79, 78, 6, 8, 6, 8, 8, 1, 1]);
        assert_eq!((system.n_mobile(), system.n_single(), system.n_free()), (1, 2, 9));
        let groups = [vec![1], vec![2, 3], vec![4, 5], vec![6, 7, 8]];
        assert_eq!(system.groups(), groups);
        assert_eq!(system.groups_by_bonds(&whole()), groups);
        assert_eq!(system.free_formula(), "Pt + 2 CO + OH2");
        let centre = system.molecules.all[0].shape.iter().copied().fold([0.0; 3], add);
        assert!(centre.iter().all(|x| x.abs() < 1e-12));
    }

    /// Molecules are known by their bonds: like atoms may change places, but no bond may break, and none may be added.
    #[test]
    fn whole_molecules_are_known_by_their_bonds() {
        let system = system();
        assert!(system.molecules_are_whole(&whole()));
        let mut renamed = whole();
        renamed.swap(3, 5);
        renamed.swap(7, 8);
        assert!(system.molecules_are_whole(&renamed));
        assert_eq!(system.groups_by_bonds(&renamed)[1..3], [vec![2, 5], vec![3, 4]]);
        let mut broken = whole();
        broken[8][1] += 1.0;
        assert!(!system.molecules_are_whole(&broken));
        let mut joined = whole();
        joined[4] = [1.4, 0.0, 5.0];
        joined[5] = [1.4, 0.0, 6.2];
        assert!(!system.molecules_are_whole(&joined));
        // Bonds to other atoms do not matter.
        let mut adsorbed = whole();
        adsorbed[1] = [4.0, 0.0, 3.2];
        assert!(system.molecules_are_whole(&adsorbed));
    }

    /// Columns of a molecule's file follow its atoms, beside those of the template; results and keys stay behind.
    #[test]
    fn columns_of_the_file_come_along() {
        let mut co = Structure::new(Cell::NONE, vec![6, 8], vec![[0.0; 3], [0.0, 0.0, 1.15]]);
        let column = |name: &str, values| Column { name: name.into(), width: 1, values };
        co.extras_mut().columns = vec![
            column("tags", Values::Integer(vec![3, 4])),
            column("initial_charges", Values::Real(vec![0.2, -0.2])),
            column("magmoms", Values::Real(vec![1.0, 1.0])),
        ];
        let cell =
            Cell { vectors: [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 20.0]], periodic: [true, true, false] };
        let mut slab = Structure::new(cell, vec![78, 79], vec![[0.0, 0.0, 1.0], [2.5, 2.5, 3.0]]);
        slab.extras_mut().columns = vec![column("tags", Values::Integer(vec![1, 2]))];
        let confinement = Some(ConfinementSpec::AboveTemplate([1.0, 6.0]));
        let all = vec![Molecule::new(&co).unwrap(); 2];
        let molecules = Molecules { all, keep_bonded: false };
        let of = |slab: &Structure| System::of_numbers(Some(slab), vec![29], molecules.clone(), confinement, None);
        let system = of(&slab).unwrap().with_mobile(&[0], 0.3).unwrap();
        let extras = system.extras.clone().unwrap();
        assert_eq!(extras.column("tags").unwrap().values, Values::Integer(vec![2, 1, 0, 3, 4, 3, 4]));
        let charges = vec![0.0, 0.0, 0.0, 0.2, -0.2, 0.2, -0.2];
        assert_eq!(extras.column("initial_charges").unwrap().values, Values::Real(charges));
        assert!(extras.column("magmoms").is_none());
        assert_eq!(system.free_formula(), "Cu + 2 CO");
        // Without columns of the template they come along too.
        slab.extras = None;
        assert!(of(&slab).unwrap().extras.unwrap().column("tags").is_some());
        slab.extras_mut().columns = vec![column("tags", Values::Text(vec!["a".into(), "b".into()]))];
        let error = of(&slab).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(error.to_string(), "a molecule's file: the column tags has entries of another kind in another file");
    }

    #[test]
    fn pieces_are_no_molecule() {
        let pair = Structure::new(Cell::NONE, vec![6, 8], vec![[0.0; 3], [0.0, 0.0, 3.0]]);
        let error = Molecule::new(&pair).unwrap_err();
        assert!(error.to_string().starts_with("its atoms are no molecule but 2 pieces"), "{error}");
        let hydrogen = molecule(&[(1, [0.0; 3]), (1, [0.0, 0.0, 0.74])]);
        assert_eq!(hydrogen.shape, [[0.0, 0.0, -0.37], [0.0, 0.0, 0.37]]);
    }
}
