//! The parts of a whole structure: the template, which it must hold, and the free atoms, which are the rest.

use super::elements::{formula, symbol};
use super::vector::{add, norm, scale, sub};
use super::{Cell, Images, Structure, System, Vec3};
use crate::error::{Error, Result};

/// How far an atom of a structure may be from its place in the template, and a lattice vector from the system's, Å.
const TOLERANCE: f64 = 0.05;

/// How far outside the allowed heights an atom may be because its file has few digits, Å. It is then moved to the bound.
const ROUNDING: f64 = 1e-6;

const AXES: [&str; 3] = ["a", "b", "c"];

impl System {
    /// Positions of the free atoms in `structure` (n × 3, Å), in the order of the formula and within an element in the order of
    /// the structure. The structure may list its atoms in any order. Its template may be shifted by lattice vectors, atom by atom,
    /// and may be 0.05 Å off. A structure of a system with template needs no cell of its own. Under a confinement, free atoms may
    /// lie periods of c away from the allowed heights. Otherwise positions come back bit for bit.
    ///
    /// # Errors
    /// `BadInput` with part of a sentence about the structure: another cell, another number of atoms, no atom where the template
    /// has one, other free elements than the formula, or a free atom at a place that is not allowed.
    pub fn free_atoms_of(&self, structure: &Structure) -> Result<Vec<Vec3>> {
        let order = self.atoms_of(structure)?;
        let place = |(moving, &atom): (usize, &usize)| match self.is_mobile(moving) {
            true => Ok(structure.positions[atom]),
            false => self.allowed_image(structure.positions[atom], atom),
        };
        order[self.n_template()..].iter().enumerate().map(place).collect()
    }

    /// For each atom of the system, in its order, the atom of `structure`: those of the template by their places, mobile ones as
    /// the nearest to theirs, then the free atoms, in the order of the structure within an element.
    ///
    /// # Errors
    /// Those of [`System::free_atoms_of`], except that free atoms may be anywhere.
    pub fn atoms_of(&self, structure: &Structure) -> Result<Vec<usize>> {
        if structure.n_atoms() != self.n_atoms() {
            return refuse(format!(
                "has {} atoms where the system has {}: {} of the template and {} free",
                structure.n_atoms(),
                self.n_atoms(),
                self.n_template(),
                self.n_free()
            ));
        }
        self.check_cell(&structure.cell)?;
        let mut order = self.template_in(structure)?;
        let rest: Vec<usize> = (0..structure.n_atoms()).filter(|atom| !order.contains(atom)).collect();
        order.extend(self.free_order(structure, &rest)?);
        Ok(order)
    }

    /// Whether free atoms may be at `position` (Å): at an allowed height and, along cell axes that do not repeat, inside the cell.
    pub fn allows(&self, position: Vec3) -> bool {
        if let Some(confinement) = self.confinement {
            return (confinement.z_lo..=confinement.z_hi).contains(&position[2]);
        }
        if self.is_free_cluster() {
            return true;
        }
        let fraction = self.cell.fractional(position);
        (0..3).all(|axis| self.cell.periodic[axis] || (0.0..=1.0).contains(&fraction[axis]))
    }

    fn check_cell(&self, cell: &Cell) -> Result<()> {
        let repeating = (0..3).filter(|&axis| self.cell.periodic[axis]);
        if cell.vectors == Cell::NONE.vectors {
            return match self.n_template() == 0 && self.cell.periodic.contains(&true) {
                true => refuse("has no cell, but the system repeats; write its lattice vectors into the file".into()),
                false => Ok(()),
            };
        }
        for axis in repeating {
            let (found, expected) = (cell.vectors[axis], self.cell.vectors[axis]);
            if norm(sub(found, expected)) > TOLERANCE {
                return refuse(format!(
                    "lies in another cell than the system: its lattice vector {} is {} Å instead of {} Å",
                    AXES[axis],
                    triple(found),
                    triple(expected)
                ));
            }
        }
        Ok(())
    }

    /// For each fixed atom of the template the atom of `structure`.
    fn template_in(&self, structure: &Structure) -> Result<Vec<usize>> {
        let images = Images::new(&self.cell);
        let distance = |atom: usize, place: Vec3| images.nearest(sub(structure.positions[atom], place)).squared.sqrt();
        let mut taken = vec![false; structure.n_atoms()];
        let mut order = Vec::with_capacity(self.n_template());
        for (k, (&number, &place)) in self.template_numbers.iter().zip(&self.template_positions).enumerate() {
            let fits =
                |&atom: &usize| !taken[atom] && structure.numbers[atom] == number && distance(atom, place) <= TOLERANCE;
            // Most files list the template first, in its order.
            let found = Some(k).filter(fits).or_else(|| (0..structure.n_atoms()).find(fits));
            match found {
                Some(atom) => {
                    taken[atom] = true;
                    order.push(atom);
                }
                None => return refuse(self.missing(structure, k, &taken, &distance)),
            }
        }
        Ok(order)
    }

    /// Part of a sentence: where the template has its atom `k`, `structure` has none.
    fn missing(
        &self,
        structure: &Structure,
        k: usize,
        taken: &[bool],
        distance: &dyn Fn(usize, Vec3) -> f64,
    ) -> String {
        let (number, place) = (self.template_numbers[k], self.template_positions[k]);
        let name = |number: u8| symbol(number).unwrap_or("?");
        let left = || (0..structure.n_atoms()).filter(|&atom| !taken[atom]).map(|atom| (atom, distance(atom, place)));
        let like = left().filter(|&(atom, _)| structure.numbers[atom] == number).min_by(|a, b| a.1.total_cmp(&b.1));
        let at = format!("the template has {} (its atom {}, at {} Å)", name(number), k + 1, triple(place));
        match (left().find(|&(_, away)| away <= TOLERANCE), like) {
            (Some((atom, _)), _) => format!("has {} (its atom {}) where {at}", name(structure.numbers[atom]), atom + 1),
            (None, Some((atom, away))) => {
                format!(
                    "has no atom where {at}: the nearest {} is its atom {}, {away:.2} Å away",
                    name(number),
                    atom + 1
                )
            }
            (None, None) => format!("has no atom where {at}"),
        }
    }

    /// For each free atom the atom of `structure`, one of `rest`. Mobile atoms are those nearest to their places in the template.
    fn free_order(&self, structure: &Structure, rest: &[usize]) -> Result<Vec<usize>> {
        let mut left = rest.to_vec();
        let mobile = self.mobile_order(structure, &mut left);
        let mut take = |&number: &u8| {
            let place = left.iter().position(|&atom| structure.numbers[atom] == number)?;
            Some(left.remove(place))
        };
        let free = self.formula_numbers().iter().map(&mut take).map(|atom| atom.ok_or(()));
        let order: std::result::Result<Vec<usize>, ()> = mobile.into_iter().map(Ok).chain(free).collect();
        order.ok().filter(|order| order.len() == self.n_free()).ok_or_else(|| {
            let found: Vec<u8> = rest.iter().map(|&atom| structure.numbers[atom]).collect();
            Error::bad_input(format!(
                "has the free atoms {} where the formula is {}",
                formula(&found),
                formula(&self.free_numbers)
            ))
        })
    }

    /// For each mobile atom the atom of `structure`, taken from `left`: pairs of like atoms, the nearest first.
    fn mobile_order(&self, structure: &Structure, left: &mut Vec<usize>) -> Vec<usize> {
        let images = Images::new(&self.cell);
        let mut order = vec![None; self.n_mobile()];
        for _ in 0..order.len() {
            let open = (0..order.len()).filter(|&k| order[k].is_none());
            let pairs = open.flat_map(|k| left.iter().map(move |&atom| (k, atom)));
            let away = |&(k, atom): &(usize, usize)| {
                images.nearest(sub(structure.positions[atom], self.mobile.homes[k])).squared
            };
            let like = pairs.filter(|&(k, atom)| structure.numbers[atom] == self.free_numbers[k]);
            let Some((k, atom)) = like.min_by(|a, b| away(a).total_cmp(&away(b))) else { break };
            order[k] = Some(atom);
            left.retain(|&other| other != atom);
        }
        order.into_iter().flatten().collect()
    }

    /// `position` of atom `atom` at a place that is allowed: as it is, or under a confinement moved by periods of c.
    fn allowed_image(&self, position: Vec3, atom: usize) -> Result<Vec3> {
        if self.allows(position) {
            return Ok(position);
        }
        let atom = atom + 1;
        let Some(confinement) = self.confinement else {
            let fraction = self.cell.fractional(position);
            let outside = (0..3).find(|&k| !self.cell.periodic[k] && !(0.0..=1.0).contains(&fraction[k]));
            let axis = AXES[outside.unwrap_or(2)];
            return refuse(format!("has its free atom {atom} outside the cell along {axis}, which does not repeat"));
        };
        let (lo, hi) = (confinement.z_lo, confinement.z_hi);
        let c = self.cell.vectors[2];
        let periods = if self.cell.periodic[2] { ((lo - ROUNDING - position[2]) / c[2]).ceil() } else { 0.0 };
        let mut moved = if periods == 0.0 { position } else { add(position, scale(periods, c)) };
        if !(lo - ROUNDING..=hi + ROUNDING).contains(&moved[2]) {
            return refuse(format!(
                "has its free atom {atom} at height {:.3} Å, outside the confinement from {lo:.3} to {hi:.3} Å",
                position[2]
            ));
        }
        moved[2] = moved[2].clamp(lo, hi);
        Ok(moved)
    }
}

fn refuse<T>(message: String) -> Result<T> {
    Err(Error::bad_input(message))
}

/// "(1.000, 2.000, 3.000)".
fn triple([x, y, z]: Vec3) -> String {
    format!("({x:.3}, {y:.3}, {z:.3})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::ConfinementSpec;

    const CELL: Cell =
        Cell { vectors: [[8.0, 0.0, 0.0], [1.0, 8.0, 0.0], [0.5, 0.0, 20.0]], periodic: [true, true, true] };

    fn system() -> System {
        let template = Structure::new(CELL, vec![78, 79, 78], vec![[0.0, 0.0, 1.0], [4.0, 0.0, 1.0], [0.0, 4.0, 1.1]]);
        System::new(Some(&template), "OCuO", Some(ConfinementSpec::AboveTemplate([1.0, 6.0])), None).unwrap()
    }

    /// The free atoms O, Cu, O.
    const FREE: [Vec3; 3] = [[1.0, 1.0, 3.0], [3.0, 3.0, 4.0], [5.0, 5.0, 5.0]];

    #[test]
    fn the_order_of_atoms_does_not_matter() {
        let system = system();
        let whole = system.structure(&FREE);
        assert_eq!(system.free_atoms_of(&whole).unwrap(), FREE);
        let order = [5, 2, 4, 0, 3, 1];
        let mut mixed = Structure::new(
            CELL,
            order.iter().map(|&k| whole.numbers[k]).collect(),
            order.iter().map(|&k| whole.positions[k]).collect(),
        );
        // Within an element the file decides: its first O is the formula's first.
        let expected = [FREE[2], FREE[1], FREE[0]];
        assert_eq!(system.free_atoms_of(&mixed).unwrap(), expected);
        let canonical = system.structure(&expected);
        assert_eq!(system.free_atoms_of(&canonical).unwrap(), expected);

        // Atoms of the template in other images and a little off; a free atom one cell below.
        mixed.positions[1] = add(mixed.positions[1], [9.0, 8.0, 0.03]);
        mixed.positions[5] = sub(mixed.positions[5], CELL.vectors[2]);
        mixed.positions[2] = sub(mixed.positions[2], CELL.vectors[2]);
        let found = system.free_atoms_of(&mixed).unwrap();
        assert!((0..3).all(|k| norm(sub(found[k], expected[k])) < 1e-12), "{found:?}");
        // Without a cell the template says that the structure belongs here; along axes that do not repeat it does not matter.
        mixed.cell = Cell::NONE;
        assert!(system.free_atoms_of(&mixed).is_ok());
        let flat = System { cell: Cell { periodic: [true, true, false], ..CELL }, ..system };
        mixed.cell = Cell { vectors: [CELL.vectors[0], CELL.vectors[1], [0.0, 0.0, 99.0]], ..CELL };
        mixed.positions[2] = add(mixed.positions[2], CELL.vectors[2]);
        mixed.positions[5] = add(mixed.positions[5], CELL.vectors[2]);
        assert!(flat.free_atoms_of(&mixed).is_ok());
    }

    #[test]
    fn every_atom_of_the_system_is_found() {
        let system = system().with_mobile(&[0], 0.3).unwrap();
        // Fixed: Au, Pt; mobile: Pt; free: O, Cu, O.
        let moving = [&[[0.2, 0.0, 1.1]][..], &FREE].concat();
        let whole = system.structure(&moving);
        assert_eq!(system.atoms_of(&whole).unwrap(), [0, 1, 2, 3, 4, 5]);
        let order = [5, 2, 4, 0, 3, 1];
        let mixed = whole.reordered(&order);
        let found = system.atoms_of(&mixed).unwrap();
        // Its first O is the formula's first.
        assert_eq!(found, [3, 5, 1, 0, 2, 4]);
        assert!(found.iter().zip(system.numbers()).all(|(&atom, number)| mixed.numbers[atom] == number));
        let mut high = whole;
        high.positions[4][2] = 15.0;
        assert!(system.atoms_of(&high).is_ok() && system.free_atoms_of(&high).is_err());
    }

    #[test]
    fn heights_may_be_rounded() {
        let system = system();
        let mut free = FREE;
        free[0][2] = 2.1 - 4e-7;
        free[1][2] = 7.1 + 4e-7;
        let found = system.free_atoms_of(&system.structure(&free)).unwrap();
        let confinement = system.confinement.unwrap();
        assert_eq!((found[0][2], found[1][2]), (confinement.z_lo, confinement.z_hi));
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let system = system();
        let refused = |system: &System, structure: &Structure, sentence: &str| {
            let error = system.free_atoms_of(structure).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.exit_code()), (sentence, 2));
        };
        let changed = |change: &dyn Fn(&mut Structure)| {
            let mut structure = system.structure(&FREE);
            change(&mut structure);
            structure
        };
        let few = Structure::new(CELL, vec![8, 29, 8], FREE.to_vec());
        refused(&system, &few, "has 3 atoms where the system has 6: 3 of the template and 3 free");
        refused(
            &system,
            &changed(&|s| s.cell.vectors[1][0] = 2.0),
            "lies in another cell than the system: its lattice vector b is (2.000, 8.000, 0.000) Å instead of (1.000, 8.000, \
             0.000) Å",
        );
        refused(
            &system,
            &changed(&|s| s.positions[0][2] = 1.06),
            "has no atom where the template has Pt (its atom 1, at (0.000, 0.000, 1.000) Å): the nearest Pt is its atom 1, 0.06 Å \
             away",
        );
        refused(
            &system,
            &changed(&|s| s.numbers[1] = 78),
            "has Pt (its atom 2) where the template has Au (its atom 2, at (4.000, 0.000, 1.000) Å)",
        );
        refused(
            &system,
            &changed(&|s| s.positions[1] = [2.0, 6.0, 3.0]),
            "has no atom where the template has Au (its atom 2, at (4.000, 0.000, 1.000) Å): the nearest Au is its atom 2, 4.12 Å \
             away",
        );
        refused(&system, &changed(&|s| s.numbers[5] = 29), "has the free atoms OCu2 where the formula is OCuO");
        refused(
            &system,
            &changed(&|s| s.positions[4][2] = 7.2),
            "has its free atom 5 at height 7.200 Å, outside the confinement from 2.100 to 7.100 Å",
        );
        let bulk = System::new(None, "O", None, Some(Cell { periodic: [true, true, false], ..CELL })).unwrap();
        refused(
            &bulk,
            &Structure::new(bulk.cell, vec![8], vec![[0.0, 0.0, 20.5]]),
            "has its free atom 1 outside the cell along c, which does not repeat",
        );
        refused(
            &bulk,
            &Structure::new(Cell::NONE, vec![8], vec![[0.0, 0.0, 2.5]]),
            "has no cell, but the system repeats; write its lattice vectors into the file",
        );
    }
}
