//! Building a [`System`] from what a configuration says, with everything checked that later code relies on.

use super::elements::{fits_the_model, parse_formula, symbol};
use super::vector::{cross, norm, sub};
use super::{Cell, Confinement, Images, Structure, System};
use crate::error::{Error, Result};

/// Atoms closer than this, Å, are one atom given twice.
const COINCIDENT: f64 = 0.1;

/// How far out of the xy plane, relative to its length, a lattice vector may point and still count as lying in it.
const IN_PLANE: f64 = 1e-6;

/// Where the free atoms may be, as configured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ConfinementSpec {
    /// Heights [lo, hi] in Å above the template's highest atom.
    AboveTemplate([f64; 2]),
    /// Absolute heights [lo, hi], Å.
    Absolute([f64; 2]),
}

impl System {
    /// The system of a `template` (its cell, elements and positions; whatever else it holds is ignored) or of a `cell` of its own,
    /// and the free atoms of the formula `free`, such as `Pt7`. With neither template nor cell the free atoms are a free cluster.
    ///
    /// # Errors
    /// `BadInput` for a formula that cannot be read, an element the model has no row for, a cell given beside a template or
    /// without volume, template atoms that coincide, a confinement that is empty, has nothing to stand above or is not
    /// spanned by a and b in the xy plane, and free atoms without confinement in a cell that does not bound them.
    pub fn new(
        template: Option<&Structure>,
        free: &str,
        confinement: Option<ConfinementSpec>,
        cell: Option<Cell>,
    ) -> Result<System> {
        let free_numbers = parse_formula(free)?;
        check_elements("the formula of the free atoms", &free_numbers)?;
        if let Some(template) = template {
            template.validate().map_err(|error| Error::bad_input(format!("the template cannot be used: {error}")))?;
            check_elements("the template", &template.numbers)?;
        }
        let cell = match (template, cell) {
            (Some(_), Some(_)) => {
                return Err(Error::bad_input(
                    "a cell is given beside a template, which brings its own; leave out one of them",
                ));
            }
            (Some(template), None) => template.cell,
            (None, Some(cell)) => cell,
            (None, None) => Cell::NONE,
        };
        cell.completed()?;
        let system = System {
            cell,
            template_numbers: template.map_or_else(Vec::new, |t| t.numbers.clone()),
            template_positions: template.map_or_else(Vec::new, |t| t.positions.clone()),
            free_numbers,
            confinement: confinement.map(|spec| spec.resolve(template)).transpose()?,
        };
        system.check_template()?;
        system.check_bounds()?;
        Ok(system)
    }

    /// Refuses template atoms on top of each other, periodic images included.
    fn check_template(&self) -> Result<()> {
        let images = Images::new(&self.cell);
        for (i, &ri) in self.template_positions.iter().enumerate() {
            for (j, &rj) in self.template_positions.iter().enumerate().skip(i) {
                let mut coincide = false;
                images.for_each_within(sub(rj, ri), COINCIDENT, |image| coincide |= i != j || image.shift != [0; 3]);
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

    /// Refuses systems whose free atoms have no finite region to start in.
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

fn check_elements(place: &str, numbers: &[u8]) -> Result<()> {
    match numbers.iter().find(|&&number| !fits_the_model(number)) {
        None => Ok(()),
        Some(&number) => Err(Error::bad_input(format!(
            "{place} holds {} (atomic number {number}), which the model does not cover; it knows the atomic numbers 1 to 99",
            symbol(number).unwrap_or("an unknown element")
        ))),
    }
}
