//! Building a [`System`] from a configuration, with checks of everything that later code relies on.

use super::elements::{fits_the_model, parse_formula, symbol};
use super::extras::{Column, MOMENTS};
use super::vector::{cross, norm, sub};
use super::{Cell, Confinement, Extras, Images, Mobile, Molecules, Structure, System};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Atoms closer than this, Å, are one atom given twice.
const COINCIDENT: f64 = 0.1;

/// Largest part of a lattice vector's length that may point out of the xy plane while the vector still counts as lying in it.
const IN_PLANE: f64 = 1e-6;

/// The heights that the free atoms may take, as configured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ConfinementSpec {
    /// Heights [lo, hi] in Å above the template's highest atom.
    AboveTemplate([f64; 2]),
    /// Absolute heights [lo, hi], Å.
    Absolute([f64; 2]),
}

impl System {
    /// The system of a `template` (its cell, elements and positions; the rest of it is ignored) or of a given `cell`,
    /// and the free atoms of the formula `free`, such as `Pt7`. With neither template nor cell the free atoms are a free cluster.
    ///
    /// # Errors
    /// `BadInput` for a formula that cannot be read and an element that the model has no row for; for a cell given together with a
    /// template, and a cell without volume; for template atoms that coincide; for a confinement that is empty, has no template to
    /// lie above, or is not spanned by a and b in the xy plane; and for free atoms without confinement in a cell that does not
    /// bound them.
    pub fn new(
        template: Option<&Structure>,
        free: &str,
        confinement: Option<ConfinementSpec>,
        cell: Option<Cell>,
    ) -> Result<System> {
        System::of_numbers(template, parse_formula(free)?, Molecules::default(), confinement, cell)
    }

    /// [`System::new`] with the free atoms' atomic numbers, and with molecules after them.
    ///
    /// # Errors
    /// As [`System::new`].
    pub fn of_numbers(
        template: Option<&Structure>,
        free_numbers: Vec<u8>,
        molecules: Molecules,
        confinement: Option<ConfinementSpec>,
        cell: Option<Cell>,
    ) -> Result<System> {
        check_elements("the formula of the free atoms", &free_numbers)?;
        for molecule in &molecules.all {
            check_elements("a molecule", &molecule.numbers)?;
        }
        if let Some(template) = template {
            template.check().map_err(|error| Error::bad_input(format!("the template cannot be used: {error}")))?;
            check_elements("the template", &template.numbers)?;
        }
        let cell = match (template, cell) {
            (Some(_), Some(_)) => {
                return Err(Error::bad_input(
                    "a cell is given together with a template, which brings its own; leave out one of them",
                ));
            }
            (Some(template), None) => template.cell,
            (None, Some(cell)) => cell,
            (None, None) => Cell::NONE,
        };
        cell.check()?;
        let system = System {
            cell,
            template_numbers: template.map_or_else(Vec::new, |t| t.numbers.clone()),
            template_positions: template.map_or_else(Vec::new, |t| t.positions.clone()),
            free_numbers,
            mobile: Mobile::default(),
            molecules: Molecules::default(),
            confinement: confinement.map(|spec| spec.resolve(template)).transpose()?,
            extras: None,
        };
        let n_free = system.n_free();
        let system = System { extras: template.and_then(|template| extras_of(template, n_free)), ..system };
        system.check_template()?;
        system.check_bounds()?;
        molecules.columns_after(system.extras.as_deref(), system.n_atoms())?;
        Ok(system.with_molecules(molecules))
    }

    /// The system in which atoms have the initial magnetic moments (µB) of their elements `moments`, except for those whose file
    /// has a column of moments: the template's if `template_has_some`, and molecules. Comes before [`System::with_mobile`].
    ///
    /// # Errors
    /// `BadInput` for an element that no atom has, and if a file gives moments that are not one number for each atom.
    pub fn with_initial_moments(mut self, moments: &BTreeMap<u8, f64>, template_has_some: bool) -> Result<System> {
        let numbers = self.numbers();
        if let Some(number) = moments.keys().find(|number| !numbers.contains(number)) {
            let name = symbol(*number).unwrap_or("?");
            return Err(Error::bad_input(format!("the system has no {name}; leave it out")));
        }
        let has_some = |columns: &[Column]| columns.iter().any(|column| column.name == MOMENTS);
        let single = self.n_single();
        let of_molecules = self.molecules.all.iter();
        let of_molecules = of_molecules.flat_map(|molecule| vec![!has_some(&molecule.columns); molecule.numbers.len()]);
        let is_asked: Vec<bool> = std::iter::repeat_n(!template_has_some, self.n_template())
            .chain(std::iter::repeat_n(true, single))
            .chain(of_molecules)
            .collect();
        let mut extras = self.extras.as_deref().cloned().unwrap_or_default();
        extras.set_moments(&numbers, moments, &is_asked).map_err(Error::bad_input)?;
        self.extras = Some(Arc::new(extras));
        Ok(self)
    }

    /// Refuses template atoms that coincide, periodic images included.
    fn check_template(&self) -> Result<()> {
        let images = Images::new(&self.cell);
        for (i, &ri) in self.template_positions.iter().enumerate() {
            for (j, &rj) in self.template_positions.iter().enumerate().skip(i + 1) {
                let mut coincide = false;
                images.for_each_within(sub(rj, ri), COINCIDENT, |_| coincide = true);
                if coincide {
                    let (first, second) = (i + 1, j + 1);
                    return Err(Error::bad_input(format!(
                        "the template's atoms {first} and {second} coincide (periodic images counted); remove one of them or \
                         check the cell"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Refuses systems that give the free atoms no finite region to start in.
    fn check_bounds(&self) -> Result<()> {
        let [a, b, _] = self.cell.vectors;
        if self.confinement.is_some() {
            if let Some(k) = (0..2).find(|&k| self.cell.vectors[k][2].abs() > IN_PLANE * norm(self.cell.vectors[k])) {
                let axis = ["a", "b"][k];
                return Err(Error::bad_input(format!(
                    "with a confinement in z the lattice vectors a and b must lie in the xy plane, but {axis} does not; turn the \
                     structure or leave out the confinement"
                )));
            }
            if norm(cross(a, b)) == 0.0 {
                return Err(Error::bad_input(
                    "with a confinement in z the lattice vectors a and b must span an area; give a cell or leave out the \
                     confinement",
                ));
            }
        } else if !self.is_free_cluster() && self.cell.volume() == 0.0 {
            return Err(Error::bad_input(
                "without confinement the free atoms start anywhere in the cell, but a lattice vector is missing; give all three \
                 or a confinement",
            ));
        }
        Ok(())
    }
}

impl ConfinementSpec {
    fn resolve(self, template: Option<&Structure>) -> Result<Confinement> {
        let (ConfinementSpec::AboveTemplate([lo, hi]) | ConfinementSpec::Absolute([lo, hi])) = self;
        if !(lo.is_finite() && hi.is_finite() && lo < hi) {
            return Err(Error::bad_input(format!(
                "the confinement [{lo}, {hi}] is impossible; give two finite heights in Å, the lower one first"
            )));
        }
        let base = match (self, template) {
            (ConfinementSpec::Absolute(_), _) => 0.0,
            (ConfinementSpec::AboveTemplate(_), Some(template)) => {
                template.positions.iter().map(|p| p[2]).fold(f64::NEG_INFINITY, f64::max)
            }
            (ConfinementSpec::AboveTemplate(_), None) => {
                return Err(Error::bad_input(
                    "the confinement is given above the template, but there is none; give absolute heights instead",
                ));
            }
        };
        Ok(Confinement { z_lo: base + lo, z_hi: base + hi })
    }
}

/// Further keys and columns of `template` that calculators may want, for structures with `n_free` more atoms.
fn extras_of(template: &Structure, n_free: usize) -> Option<Arc<Extras>> {
    let inputs = template.extras()?.clone().inputs();
    let order: Vec<usize> = (0..template.n_atoms()).collect();
    (inputs != Extras::default()).then(|| Arc::new(inputs.reordered(&order, n_free)))
}

fn check_elements(place: &str, numbers: &[u8]) -> Result<()> {
    match numbers.iter().find(|&&number| !fits_the_model(number)) {
        None => Ok(()),
        Some(&number) => Err(Error::bad_input(format!(
            "{place} holds {} (atomic number {number}), which the model does not cover; it knows the atomic numbers 1 to 99",
            symbol(number).unwrap_or("an unknown element")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Vec3;

    fn slab() -> Structure {
        let cell =
            Cell { vectors: [[5.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.0, 0.0, 20.0]], periodic: [true, true, false] };
        Structure::new(cell, vec![78, 79], vec![[0.0, 0.0, 1.0], [2.5, 2.5, 3.0]])
    }

    const ABOVE: Option<ConfinementSpec> = Some(ConfinementSpec::AboveTemplate([1.0, 6.0]));
    const FLAT: Option<ConfinementSpec> = Some(ConfinementSpec::Absolute([1.0, 6.0]));

    /// Files go before the key; mobile atoms keep theirs.
    #[test]
    fn moments_belong_to_elements() {
        use crate::system::xyz::Values;
        let moments = BTreeMap::from([(78, 0.5), (26, 2.2)]);
        let made = |template: &Structure, has_some| {
            let system = System::new(Some(template), "Fe2", ABOVE, None).unwrap();
            let system = system.with_initial_moments(&moments, has_some)?.with_mobile(&[0], 0.3)?;
            Ok::<_, Error>(system.structure(&[[0.0; 3]; 3]).extras().unwrap().column(MOMENTS).unwrap().values.clone())
        };
        // Structures hold the fixed Au, the mobile Pt and the free Fe.
        assert_eq!(made(&slab(), false).unwrap(), Values::Real(vec![0.0, 0.5, 2.2, 2.2]));
        let mut given = slab();
        let values = Values::Real(vec![0.1, 0.2]);
        given.extras_mut().columns.push(Column { name: MOMENTS.into(), width: 1, values });
        assert_eq!(made(&given, true).unwrap(), Values::Real(vec![0.2, 0.1, 2.2, 2.2]));
        let error = System::new(Some(&slab()), "Cu", ABOVE, None).unwrap().with_initial_moments(&moments, false);
        let error = error.unwrap_err();
        assert_eq!((error.exit_code(), error.to_string().as_str()), (2, "the system has no Fe; leave it out"));
    }

    #[test]
    fn a_slab_with_free_atoms() {
        let mut template = slab();
        template.energy = Some(3.0);
        let system = System::new(Some(&template), "PtAu2", ABOVE, None).unwrap();
        assert_eq!(system.numbers(), [78, 79, 78, 79, 79]);
        assert_eq!(system.confinement, Some(Confinement { z_lo: 4.0, z_hi: 9.0 }));
        assert_eq!(system.cell, template.cell);
        assert!(!system.is_free_cluster());
        let structure = system.structure(&[[0.0; 3]; 3]);
        assert_eq!(structure.fixed, [true, true, false, false, false]);
        assert_eq!(structure.energy, None);
        let absolute = System::new(Some(&template), "Pt", FLAT, None).unwrap();
        assert_eq!(absolute.confinement, Some(Confinement { z_lo: 1.0, z_hi: 6.0 }));
    }

    #[test]
    fn systems_without_template() {
        let cluster = System::new(None, "Pt13", None, None).unwrap();
        assert!(cluster.is_free_cluster());
        let bulk = Cell { periodic: [true; 3], ..slab().cell };
        let bulk = System::new(None, "Pt4", None, Some(bulk)).unwrap();
        assert!(!bulk.is_free_cluster());
        assert_eq!(bulk.n_template(), 0);
        // A confined layer needs no third vector.
        let layer = Cell { vectors: [[5.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.0; 3]], periodic: [true, false, false] };
        System::new(None, "Pt4", FLAT, Some(layer)).unwrap();
    }

    fn refused(
        template: Option<&Structure>,
        free: &str,
        confinement: Option<ConfinementSpec>,
        cell: Option<Cell>,
        sentence: &str,
    ) {
        let error = System::new(template, free, confinement, cell).expect_err(sentence);
        assert!(error.to_string().contains(sentence), "{error}\n not {sentence}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn impossible_confinements_are_refused() {
        let template = slab();
        for bounds in [[2.0, 2.0], [3.0, 1.0], [f64::NAN, 1.0], [0.0, f64::INFINITY]] {
            let sentence = "is impossible; give two finite heights";
            refused(Some(&template), "Pt", Some(ConfinementSpec::AboveTemplate(bounds)), None, sentence);
            refused(Some(&template), "Pt", Some(ConfinementSpec::Absolute(bounds)), None, sentence);
        }
        refused(None, "Pt", ABOVE, Some(slab().cell), "given above the template, but there is none");
        refused(None, "Pt", FLAT, None, "a and b must span an area");
        let mut tilted = slab();
        tilted.cell.vectors[1][2] = 0.1;
        refused(Some(&tilted), "Pt", ABOVE, None, "must lie in the xy plane, but b does not");
        System::new(Some(&tilted), "Pt", None, None).unwrap();
    }

    #[test]
    fn unusable_cells_are_refused() {
        let flat = Cell { vectors: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]], periodic: [true; 3] };
        refused(None, "Pt", None, Some(flat), "the cell has no volume");
        let missing = Cell { vectors: [[0.0; 3]; 3], periodic: [true, false, false] };
        refused(None, "Pt", None, Some(missing), "periodic along a but has no lattice vector");
        refused(Some(&slab()), "Pt", ABOVE, Some(slab().cell), "a cell is given together with a template");
        let mut periodic = slab();
        periodic.cell = Cell { vectors: [[0.0; 3]; 3], periodic: [true; 3] };
        refused(Some(&periodic), "Pt", ABOVE, None, "the template cannot be used: the cell is periodic along a");
        let mut open = slab();
        open.cell.vectors[2] = [0.0; 3];
        refused(Some(&open), "Pt", None, None, "but a lattice vector is missing");
        let cluster = Structure::new(Cell::NONE, vec![78], vec![[0.0; 3]]);
        refused(Some(&cluster), "Pt", None, None, "but a lattice vector is missing");
    }

    #[test]
    fn unusable_atoms_are_refused() {
        refused(Some(&slab()), "", ABOVE, None, "formula of the free atoms is empty");
        refused(Some(&slab()), "Fm2", ABOVE, None, "the formula of the free atoms holds Fm (atomic number 100)");
        let mut heavy = slab();
        heavy.numbers[1] = 118;
        refused(Some(&heavy), "Pt", ABOVE, None, "the template holds Og (atomic number 118), which the model does not");
        let mut nan = slab();
        nan.positions[0][0] = f64::NAN;
        refused(Some(&nan), "Pt", ABOVE, None, "the template cannot be used: atom 1: its position is not finite");
        for other in [[0.0, 0.0, 1.0], [6.0, 5.0, 1.0], [5.0, 0.0, 1.05]] {
            let mut double = slab();
            double.positions[1] = other;
            refused(Some(&double), "Pt", ABOVE, None, "the template's atoms 1 and 2 coincide");
        }
        let mut thin = slab();
        thin.cell.vectors[0] = [0.05, 0.0, 0.0];
        refused(Some(&thin), "Pt", ABOVE, None, "the template cannot be used: the cell repeats every 5.00e-2 Å");
        refused(None, "Pt", FLAT, Some(thin.cell), "the cell repeats every 5.00e-2 Å");
    }

    #[test]
    fn closest_contact_counts_images() {
        let system = System::new(Some(&slab()), "Pt2", ABOVE, None).unwrap();
        let contact = |free: [Vec3; 2]| system.closest_contact(&free);
        let near = |x: f64, y: f64| (x - y).abs() < 1e-12;
        // The atom is above the first template atom; its own image is 5 Å away, and the second free atom is far up.
        assert!(near(contact([[0.0, 0.0, 4.0], [2.0, 2.0, 90.0]]), 3.0));
        // The same holds through the boundary, and between free atoms.
        assert!(near(contact([[-5.0, 0.0, 4.0], [2.0, 2.0, 90.0]]), 3.0));
        assert!(near(contact([[0.1, 0.0, 50.0], [4.6, 0.0, 50.0]]), 0.5));
        assert!(near(contact([[0.0, 0.0, 50.0], [0.0, 0.0, 90.0]]), 5.0));
        assert_eq!(contact([[1.0, 1.0, 50.0], [2.0, 6.0, 50.0]]), 0.0);
        let alone = System::new(None, "Pt", None, None).unwrap();
        assert_eq!(alone.closest_contact(&[[0.0; 3]]), f64::INFINITY);
    }
}
