//! How near the free atoms come to other atoms, and how near they may come.

use super::elements::{covalent_radius, symbol};
use super::{Images, System, Vec3, vector};

/// Atoms nearer than this part of the sum of their covalent radii lie on top of each other. No known bond is so short: those with
/// the smallest part are V–V with 0.58, Cr–Cr with 0.60 and N≡N with 0.77.
const ON_TOP: f64 = 0.5;

/// The shortest distance that two atoms may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ShortestDistance {
    /// One distance for all pairs of elements, Å.
    Same(f64),
    /// This part of the sum of the covalent radii.
    OfRadii(f64),
}

impl Default for ShortestDistance {
    fn default() -> Self {
        ShortestDistance::OfRadii(ON_TOP)
    }
}

impl ShortestDistance {
    /// For atoms of the elements `a` and `b` (atomic numbers), Å.
    pub fn of(self, a: u8, b: u8) -> f64 {
        match self {
            ShortestDistance::Same(distance) => distance,
            ShortestDistance::OfRadii(part) => part * (covalent_radius(a) + covalent_radius(b)),
        }
    }
}

/// Two atoms that are too close.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contact {
    /// Their places in the whole structure, from 0, in the order of `numbers`; equal for an atom and its own image.
    pub atoms: [usize; 2],
    /// Their atomic numbers, the smaller one first.
    pub numbers: [u8; 2],
    /// Å.
    pub distance: f64,
    /// The shortest distance that they may have, Å.
    pub shortest: f64,
}

impl Contact {
    /// "H and O".
    pub fn pair(&self) -> String {
        let [a, b] = self.numbers.map(|number| symbol(number).unwrap_or("?"));
        format!("{a} and {b}")
    }

    /// "H and O (atoms 3 and 1) are 0.40 Å apart, nearer than 0.48 Å": atoms count from 1.
    pub fn describe(&self) -> String {
        let Contact { distance, shortest, .. } = self;
        let [a, b] = self.atoms.map(|atom| atom + 1);
        format!("{} (atoms {a} and {b}) are {distance:.2} Å apart, nearer than {shortest:.2} Å", self.pair())
    }
}

impl System {
    /// The smallest distance, Å, of any free atom to any other atom, periodic images and its own ones included, with the free
    /// atoms at `free` (n positions, Å). Infinite for an atom alone in space.
    pub fn closest_contact(&self, free: &[Vec3]) -> f64 {
        self.pairs(free).map(|(_, distance)| distance).fold(f64::INFINITY, f64::min)
    }

    /// Whether no free atom at `free` (n positions, Å) is nearer to another atom than `shortest`, periodic images included.
    pub fn has_room(&self, free: &[Vec3], shortest: ShortestDistance) -> bool {
        let numbers = self.numbers();
        self.pairs(free).all(|([i, j], distance)| distance >= shortest.of(numbers[i], numbers[j]))
    }

    /// The pair of a free atom at `free` (n positions, Å) and another atom that is furthest below `shortest`, as a part of it.
    /// `None` if [`System::has_room`].
    pub fn worst_contact(&self, free: &[Vec3], shortest: ShortestDistance) -> Option<Contact> {
        let numbers = self.numbers();
        let contact = |(mut atoms, distance): ([usize; 2], f64)| {
            atoms.sort_by_key(|&atom| numbers[atom]);
            let numbers = atoms.map(|atom| numbers[atom]);
            Contact { atoms, numbers, distance, shortest: shortest.of(numbers[0], numbers[1]) }
        };
        let too_close = self.pairs(free).map(contact).filter(|contact| contact.distance < contact.shortest);
        too_close.min_by(|a, b| (a.distance / a.shortest).total_cmp(&(b.distance / b.shortest)))
    }

    /// All pairs of a free atom and an atom before it, and every free atom with its own nearest image; with their distances, Å.
    fn pairs<'a>(&'a self, free: &'a [Vec3]) -> impl Iterator<Item = ([usize; 2], f64)> + 'a {
        assert_eq!(free.len(), self.n_free(), "one position per free atom");
        let images = Images::new(&self.cell);
        let (n_template, own) = (self.n_template(), images.shortest_lattice_vector());
        free.iter().enumerate().flat_map(move |(k, &position)| {
            let images = images.clone();
            let others = self.template_positions.iter().chain(&free[..k]).enumerate();
            let distance = move |other: Vec3| images.nearest(vector::sub(other, position)).squared.sqrt();
            let others = others.map(move |(j, &other)| ([n_template + k, j], distance(other)));
            others.chain([([n_template + k; 2], own)])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::elements::atomic_number;
    use crate::system::{Cell, Structure};

    /// Bond lengths (Å) of molecules and crystals, among them the shortest for their elements.
    #[test]
    fn every_known_bond_is_allowed_with_a_margin() {
        let shortest = ShortestDistance::default();
        for (a, b, bond) in [
            ("H", "H", 0.741),
            ("H", "O", 0.958),
            ("H", "C", 1.087),
            ("H", "Pt", 1.53),
            ("N", "N", 1.098),
            ("C", "O", 1.128),
            ("F", "F", 1.412),
            ("U", "O", 1.76),
            ("Li", "H", 1.595),
            ("V", "V", 1.77),
            ("Cr", "Cr", 1.68),
            ("Mo", "Mo", 1.93),
            ("Pt", "Pt", 2.33),
            ("Cs", "F", 2.35),
        ] {
            let [x, y] = [a, b].map(|name| atomic_number(name).unwrap());
            let allowed = shortest.of(x, y);
            assert!(allowed < 0.9 * bond, "{a}-{b}: {allowed}");
            assert!(allowed > 0.3, "{a}-{b}: atoms on top of each other are rejected");
            assert_eq!(allowed, shortest.of(y, x));
            assert_eq!(ShortestDistance::Same(1.5).of(x, y), 1.5);
        }
    }

    fn water_on_platinum() -> System {
        let cell =
            Cell { vectors: [[3.0, 0.0, 0.0], [0.0, 3.5, 0.0], [0.0, 0.0, 20.0]], periodic: [true, true, false] };
        System::new(Some(&Structure::new(cell, vec![78], vec![[0.0; 3]])), "OH2", None, None).unwrap()
    }

    #[test]
    fn the_pair_that_is_furthest_below_its_distance_is_named() {
        let system = water_on_platinum();
        let by_elements = ShortestDistance::default();
        let water = [[1.0, 1.0, 4.0], [1.0, 1.76, 4.59], [1.0, 0.24, 4.59]];
        assert!(system.has_room(&water, by_elements));
        assert_eq!(system.worst_contact(&water, by_elements), None);
        // The old distance for all pairs makes O–H impossible.
        let same = ShortestDistance::Same(1.0);
        let contact = system.worst_contact(&water, same).unwrap();
        assert_eq!((contact.numbers, contact.shortest, contact.pair().as_str()), ([1, 8], 1.0, "H and O"));
        assert!(!system.has_room(&water, same) && system.closest_contact(&water) < 1.0);

        // 1 Å above Pt is too near for O, and 0.45 Å through the boundary for H and O; the second is the larger part.
        let close = [[1.5, 0.1, 0.7], [1.5, 3.15, 0.7], [1.5, 1.8, 6.0]];
        let contact = system.worst_contact(&close, by_elements).unwrap();
        assert_eq!((contact.atoms, contact.numbers), ([2, 1], [1, 8]));
        assert_eq!(contact.describe(), "H and O (atoms 3 and 2) are 0.45 Å apart, nearer than 0.48 Å");
        assert!((contact.distance - 0.45).abs() < 1e-12 && (contact.shortest - 0.485).abs() < 1e-12, "{contact:?}");
        // Images of one atom are 3 Å apart.
        let contact =
            system.worst_contact(&[[1.0, 1.0, 9.0], [0.0, 0.0, 14.0], [0.0, 0.0, 19.0]], ShortestDistance::Same(3.1));
        assert_eq!(contact.unwrap().atoms, [1, 1]);
    }

    #[test]
    fn a_distance_of_zero_allows_everything() {
        let system = water_on_platinum();
        assert!(system.has_room(&[[0.0; 3]; 3], ShortestDistance::Same(0.0)));
        let free = System::new(None, "H", None, None).unwrap();
        assert!(free.has_room(&[[0.0; 3]], ShortestDistance::Same(1e9)), "an atom alone");
    }
}
