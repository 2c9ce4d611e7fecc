//! Atoms of the template that may move.

use super::{Confinement, Structure, System, Vec3};
use crate::error::{Error, Result};
use std::sync::Arc;

/// Heights further apart than this, Å, belong to different layers.
const LAYER_GAP: f64 = 0.5;

/// The mobile atoms of a system: they belong to the template, start from their places there, and may move. They are the first
/// of the atoms that [`System::free_numbers`] lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Mobile {
    /// Their places in the template, m × 3, Å.
    pub homes: Vec<Vec3>,
    /// Standard deviation of their noise at diffusion time 1, Å.
    pub noise_angstrom: f64,
}

impl Default for Mobile {
    /// No atom; noise of 0.3 Å.
    fn default() -> Self {
        Mobile { homes: Vec::new(), noise_angstrom: 0.3 }
    }
}

impl System {
    /// The system in which the template's atoms with the indices `atoms` (from 0, ascending) may move. Structures hold the atoms
    /// that stay first, in their order, then the mobile atoms, then the free atoms of the formula: the order of [`fixed_first`].
    ///
    /// # Errors
    /// `BadInput` for an index that the template does not have, one that comes twice, and noise that is not a positive number.
    pub fn with_mobile(mut self, atoms: &[usize], noise_angstrom: f64) -> Result<System> {
        if !(noise_angstrom.is_finite() && noise_angstrom > 0.0) {
            return Err(Error::bad_input(format!(
                "mobile_noise_angstrom = {noise_angstrom} is impossible; give a positive number of Å"
            )));
        }
        let n = self.n_template();
        check_mobile(n, atoms)?;
        let order = fixed_first(n, atoms);
        let n_fixed = n - atoms.len();
        let (numbers, positions) = (&self.template_numbers, &self.template_positions);
        let moving: Vec<u8> = order[n_fixed..].iter().map(|&atom| numbers[atom]).collect();
        self.mobile = Mobile { homes: order[n_fixed..].iter().map(|&atom| positions[atom]).collect(), noise_angstrom };
        self.template_positions = order[..n_fixed].iter().map(|&atom| positions[atom]).collect();
        self.template_numbers = order[..n_fixed].iter().map(|&atom| numbers[atom]).collect();
        self.extras = self.extras.map(|extras| {
            let whole: Vec<usize> = order.iter().copied().chain(n..n + self.free_numbers.len()).collect();
            Arc::new(extras.reordered(&whole, 0))
        });
        self.free_numbers = [moving, self.free_numbers].concat();
        Ok(self)
    }

    /// The system in which the mobile atoms, at `places` (m × 3, Å), are fixed atoms of the template like the others.
    pub fn holding_mobile(&self, places: &[Vec3]) -> System {
        let (moving, free) = self.free_numbers.split_at(self.n_mobile());
        System {
            template_numbers: [&self.template_numbers[..], moving].concat(),
            template_positions: [&self.template_positions[..], places].concat(),
            free_numbers: free.to_vec(),
            mobile: Mobile { homes: Vec::new(), ..self.mobile },
            ..self.clone()
        }
    }

    /// m, the number of mobile atoms.
    pub fn n_mobile(&self) -> usize {
        self.mobile.homes.len()
    }

    /// Whether moving atom `atom` belongs to the template.
    pub fn is_mobile(&self, atom: usize) -> bool {
        atom < self.n_mobile()
    }

    /// Atomic numbers of the free atoms: those of the formula and of the molecules.
    pub fn formula_numbers(&self) -> &[u8] {
        &self.free_numbers[self.n_mobile()..]
    }

    /// The heights allowed for moving atom `atom`: mobile atoms have no limits.
    pub fn confinement_of(&self, atom: usize) -> Option<&Confinement> {
        self.confinement.as_ref().filter(|_| !self.is_mobile(atom))
    }

    /// `position` (Å) of moving atom `atom` as structures hold it: in the cell along the axes that repeat, under a confinement in
    /// the plane alone. A mobile atom is left where it is, next to its place in the template.
    pub fn wrap(&self, atom: usize, position: Vec3) -> Vec3 {
        if self.is_mobile(atom) {
            return position;
        }
        self.cell.wrap(position, [true, true, self.confinement.is_none()])
    }
}

/// Checks the indices, ascending, of mobile atoms of a template of `n` atoms.
///
/// # Errors
/// `BadInput` for an index that the template does not have, and one that comes twice.
pub fn check_mobile(n: usize, atoms: &[usize]) -> Result<()> {
    if let Some(&atom) = atoms.iter().find(|&&atom| atom >= n) {
        return Err(Error::bad_input(format!(
            "the template has no atom with the index {atom}; its {n} atoms have the indices 0 to {}",
            n.saturating_sub(1)
        )));
    }
    match atoms.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(Error::bad_input(format!("the mobile atom with the index {} is given twice", pair[1]))),
        None => Ok(()),
    }
}

/// The indices of a template's `n` atoms in the order of a system's structures: those of `mobile` (ascending) come last.
pub fn fixed_first(n: usize, mobile: &[usize]) -> Vec<usize> {
    let stays = |atom: &usize| mobile.binary_search(atom).is_err();
    (0..n).filter(stays).chain(mobile.iter().copied()).collect()
}

/// The indices, ascending, of the atoms of `template` in its `n` uppermost layers along z. A layer ends where the next atom below
/// is more than 0.5 Å lower.
///
/// # Errors
/// `BadInput` for no layer, and for as many as the template has or more: an atom must stay.
pub fn upper_layers(template: &Structure, n: usize) -> Result<Vec<usize>> {
    let height = |atom: usize| template.positions[atom][2];
    let mut order: Vec<usize> = (0..template.n_atoms()).collect();
    order.sort_by(|&a, &b| height(b).total_cmp(&height(a)).then(a.cmp(&b)));
    let layers: Vec<&[usize]> = order.chunk_by(|&above, &below| height(above) - height(below) <= LAYER_GAP).collect();
    if n == 0 || n >= layers.len() {
        return Err(Error::bad_input(format!(
            "mobile = {{ layers = {n} }} is impossible for a template of {} layers along z (heights at most {LAYER_GAP} Å apart \
             are one layer); give at least 1, and leave one layer fixed",
            layers.len()
        )));
    }
    let mut atoms = layers[..n].concat();
    atoms.sort_unstable();
    Ok(atoms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{Cell, ConfinementSpec};

    /// Three layers; the middle one is uneven, and the atoms are not in the order of their heights.
    fn slab() -> Structure {
        let cell =
            Cell { vectors: [[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 20.0]], periodic: [true, true, false] };
        let heights = [6.0, 2.1, 4.0, 4.4, 2.0];
        let positions = heights.iter().zip(0..).map(|(&z, k)| [f64::from(k), 0.0, z]).collect();
        Structure::new(cell, vec![78, 29, 79, 47, 28], positions)
    }

    fn system() -> System {
        System::new(Some(&slab()), "Pt2", Some(ConfinementSpec::AboveTemplate([1.0, 4.0])), None).unwrap()
    }

    #[test]
    fn layers_count_from_above() {
        assert_eq!(upper_layers(&slab(), 1).unwrap(), [0]);
        assert_eq!(upper_layers(&slab(), 2).unwrap(), [0, 2, 3]);
        for n in [0, 3, 9] {
            let error = upper_layers(&slab(), n).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let sentence = format!("mobile = {{ layers = {n} }} is impossible for a template of 3 layers along z");
            assert!(error.to_string().starts_with(&sentence), "{error}");
        }
    }

    #[test]
    fn structures_hold_what_stays_then_what_moves() {
        let mobile = system().with_mobile(&[0, 2], 0.2).unwrap();
        assert_eq!(mobile.numbers(), [29, 47, 28, 78, 79, 78, 78]);
        assert_eq!((mobile.n_template(), mobile.n_mobile(), mobile.n_free()), (3, 2, 4));
        assert_eq!(mobile.formula_numbers(), [78, 78]);
        assert_eq!(mobile.mobile.homes, [[0.0, 0.0, 6.0], [2.0, 0.0, 4.0]]);
        // The confinement lies above the highest atom, though that one may move.
        assert_eq!(mobile.confinement, system().confinement);
        let structure = mobile.structure(&[[0.0; 3]; 4]);
        assert_eq!(structure.fixed, [true, true, true, false, false, false, false]);
        assert_eq!(fixed_first(5, &[0, 2]), [1, 3, 4, 0, 2]);
        assert_eq!(system().with_mobile(&[], 0.3).unwrap(), system());
        let held = mobile.holding_mobile(&mobile.mobile.homes);
        assert_eq!((held.numbers(), held.n_mobile(), held.n_template()), (mobile.numbers(), 0, 5));
        let free = [[1.0; 3], [2.0; 3]];
        let places = [&mobile.mobile.homes[..], &free].concat();
        assert_eq!(held.structure(&free).positions, mobile.structure(&places).positions);
    }

    #[test]
    fn confinement_and_cell_are_those_of_free_atoms() {
        let system = system().with_mobile(&[0], 0.2).unwrap();
        assert!(system.confinement_of(0).is_none() && system.confinement_of(1).is_some());
        assert_eq!(system.wrap(0, [-0.1, 0.0, 6.0]), [-0.1, 0.0, 6.0]);
        assert_eq!(system.wrap(1, [-0.1, 0.0, 6.0]), [4.9, 0.0, 6.0]);
        // A template whose atoms all move is no free cluster: its atoms have places.
        let cell = Cell { periodic: [false; 3], ..slab().cell };
        let all = System::new(Some(&Structure { cell, ..slab() }), "Pt", None, None).unwrap();
        assert!(!all.with_mobile(&[0, 1, 2, 3, 4], 0.2).unwrap().is_free_cluster());
    }

    #[test]
    fn impossible_mobile_atoms_are_refused() {
        for (atoms, noise, sentence) in [
            (&[5][..], 0.3, "the template has no atom with the index 5; its 5 atoms have the indices 0 to 4"),
            (&[1, 1], 0.3, "the mobile atom with the index 1 is given twice"),
            (&[1], 0.0, "mobile_noise_angstrom = 0 is impossible; give a positive number of Å"),
            (&[1], f64::NAN, "mobile_noise_angstrom = NaN is impossible; give a positive number of Å"),
        ] {
            let error = system().with_mobile(atoms, noise).unwrap_err();
            assert_eq!((error.exit_code(), error.to_string()), (2, sentence.to_owned()));
        }
    }
}
