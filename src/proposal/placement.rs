//! Random structures: atoms put next to one another, or anywhere.
//!
//! Putting atoms next to one another follows the random generator of AGOX (Christiansen, Rønne and Hammer, J. Chem. Phys. 157,
//! 054701, 2022): the first atom goes anywhere within reach of the template, and every later one at the distance of a bond from a
//! free atom that is already placed.

use super::moves::{Random, below, direction, uniform};
use crate::config::{PlacementMethod, PlacementSettings, Settings};
use crate::diffusion::prior_position;
use crate::error::{Error, Result};
use crate::random::{Noise, Purpose, host_generator};
use crate::system::elements::covalent_radius;
use crate::system::vector::{add, scale, sub};
use crate::system::{Images, ShortestDistance, System, Vec3};

/// Places tried for an atom before the structure is started again.
const TRIES_AN_ATOM: u32 = 500;
/// Structures started before the search for room ends in an error.
const TRIES_A_STRUCTURE: u32 = 100;

/// Makes up structures of one system.
#[derive(Debug)]
pub struct Placement<'a> {
    system: &'a System,
    settings: PlacementSettings,
    shortest: ShortestDistance,
    images: Images,
    seed: u64,
}

impl<'a> Placement<'a> {
    /// For the system and the sections `[placement]` and `[search]` of `settings`.
    pub fn new(settings: &'a Settings) -> Self {
        let search = &settings.sections.search;
        Placement {
            system: &settings.system,
            settings: settings.sections.placement.unwrap_or_default(),
            shortest: search.shortest_distance(),
            images: Images::new(&settings.system.cell),
            seed: search.seed,
        }
    }

    /// The system.
    pub fn system(&self) -> &'a System {
        self.system
    }

    /// Free positions, n × 3, Å, of structure number `attempt`.
    ///
    /// # Errors
    /// `Failed` if the atoms find no room.
    pub fn structure(&self, attempt: u64) -> Result<Vec<Vec3>> {
        let noise = Noise::new(self.seed, Purpose::Placement, attempt);
        let mut random = host_generator(self.seed, Purpose::Placement, attempt);
        for round in 0..TRIES_A_STRUCTURE {
            if let Some(free) = self.try_structure(&noise, round, &mut random) {
                return Ok(free);
            }
        }
        let distance = match self.shortest {
            ShortestDistance::Same(distance) => format!(" or search.min_distance_angstrom = {distance}"),
            ShortestDistance::OfRadii(_) => String::new(),
        };
        Err(Error::Failed(format!(
            "no room was found for the free atoms in {TRIES_A_STRUCTURE} random structures; give them more room, or lower \
             placement.shortest_bond = {}{distance}",
            self.settings.shortest_bond
        )))
    }

    fn try_structure(&self, noise: &Noise, round: u32, random: &mut Random) -> Option<Vec<Vec3>> {
        let n = self.system.n_free();
        // The order of the species is random.
        let mut order: Vec<usize> = (0..n).collect();
        (1..n).rev().for_each(|k| order.swap(k, below(random, k + 1)));
        let mut placed: Vec<(usize, Vec3)> = Vec::with_capacity(n);
        for &atom in &order {
            let found = (0..TRIES_AN_ATOM).find_map(|attempt| {
                let anywhere = || {
                    let counter = atom as u32 * TRIES_AN_ATOM + attempt;
                    prior_position(self.system, noise, round, counter)
                };
                let position = match self.settings.method {
                    PlacementMethod::Neighbour if !placed.is_empty() => self.next_to(atom, &placed, random),
                    _ => anywhere(),
                };
                let reach =
                    self.settings.method == PlacementMethod::Uniform || self.within_reach(atom, position, &placed);
                (reach && self.fits(atom, position, &placed)).then_some(position)
            });
            placed.push((atom, found?));
        }
        let mut free = vec![[0.0; 3]; n];
        placed.into_iter().for_each(|(atom, position)| free[atom] = position);
        Some(free)
    }

    /// A place for free atom `atom` at the distance of a bond from another free atom; their positions are `free` (n × 3, Å).
    /// `None` if no place was found.
    pub fn relocated(&self, atom: usize, free: &[Vec3], random: &mut Random) -> Option<Vec3> {
        let others: Vec<(usize, Vec3)> = free.iter().copied().enumerate().filter(|&(k, _)| k != atom).collect();
        if others.is_empty() {
            return None;
        }
        (0..TRIES_AN_ATOM)
            .map(|_| self.next_to(atom, &others, random))
            .find(|&position| self.fits(atom, position, &others))
    }

    /// The number of bonds of each free atom, to free atoms at `free` (n × 3, Å) and to the template.
    pub fn bonds(&self, free: &[Vec3]) -> Vec<usize> {
        let all = |i: usize| {
            let bonded = |(number, other): (u8, Vec3)| {
                let bond = self.settings.longest_bond * self.bond(self.number(i), number);
                self.images.nearest(sub(other, free[i])).squared < bond * bond
            };
            let others = (0..free.len()).filter(|&j| j != i).map(|j| (self.number(j), free[j]));
            let template =
                self.system.template_numbers.iter().copied().zip(self.system.template_positions.iter().copied());
            others.chain(template).filter(|&pair| bonded(pair)).count()
        };
        (0..free.len()).map(all).collect()
    }

    /// A random place at the distance of a bond from one of `others`.
    fn next_to(&self, atom: usize, others: &[(usize, Vec3)], random: &mut Random) -> Vec3 {
        let (other, centre) = others[below(random, others.len())];
        let PlacementSettings { shortest_bond, longest_bond, .. } = self.settings;
        let factor = shortest_bond + (longest_bond - shortest_bond) * uniform(random);
        let position = add(centre, scale(factor * self.bond(self.number(atom), self.number(other)), direction(random)));
        super::moves::wrap(self.system, position)
    }

    /// Whether the first atom of a structure would be bonded to the template, if there is one.
    fn within_reach(&self, atom: usize, position: Vec3, placed: &[(usize, Vec3)]) -> bool {
        let near = |(&number, &other): (&u8, &Vec3)| {
            let bond = self.settings.longest_bond * self.bond(self.number(atom), number);
            self.images.nearest(sub(other, position)).squared < bond * bond
        };
        let mut template = self.system.template_numbers.iter().zip(&self.system.template_positions);
        !placed.is_empty() || self.system.n_template() == 0 || template.any(near)
    }

    /// Whether `position` is in the allowed region and not too near to the template or to `placed`.
    fn fits(&self, atom: usize, position: Vec3, placed: &[(usize, Vec3)]) -> bool {
        let far = |number: u8, other: Vec3| {
            let shortest = self.shortest.of(self.number(atom), number);
            let bond = (self.settings.shortest_bond * self.bond(self.number(atom), number)).max(shortest);
            self.images.nearest(sub(other, position)).squared >= bond * bond
        };
        let template = self.system.template_numbers.iter().zip(&self.system.template_positions);
        super::moves::allowed(self.system, position)
            && placed.iter().all(|&(other, at)| far(self.number(other), at))
            && { template }.all(|(&number, &at)| far(number, at))
    }

    fn number(&self, atom: usize) -> u8 {
        self.system.free_numbers[atom]
    }

    /// Sum of the covalent radii, Å.
    fn bond(&self, a: u8, b: u8) -> f64 {
        covalent_radius(a) + covalent_radius(b)
    }
}
