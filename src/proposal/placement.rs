//! Random structures: atoms put next to one another, or anywhere.
//!
//! Putting atoms next to one another follows the random generator of AGOX (Christiansen, Rønne and Hammer, J. Chem. Phys. 157,
//! 054701, 2022): the first atom goes anywhere within reach of the template, and every later one at the distance of a bond from a
//! free atom that is already placed.

use super::moves::{Random, below, direction, rotation, turned, uniform, whole};
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

/// Shortest distance between atoms of different molecules, as a multiple of the sum of their covalent radii (up to 1.3 they would be
/// bonded), and what comes on top of it, Å.
const APART_FACTOR: f64 = 1.3;
const APART_GAP: f64 = 0.3;

/// A moving atom that is placed alone or with its molecule.
#[derive(Debug, Clone, Copy)]
struct Placed {
    index: usize,
    in_molecule: bool,
}

impl Placed {
    fn in_group(group: &[usize], place: usize) -> Self {
        Placed { index: group[place], in_molecule: group.len() > 1 }
    }
}

/// Distances between two atoms: `gap` (Å) more than `shortest` to `longest` times the sum of their covalent radii.
#[derive(Debug, Clone, Copy)]
struct Reach {
    shortest: f64,
    longest: f64,
    gap: f64,
}

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
        let homes = &self.system.mobile.homes;
        let (groups, shapes) = (self.system.groups(), self.shapes());
        // The order of the species is random.
        let mut order: Vec<usize> = (0..groups.len()).collect();
        (1..order.len()).rev().for_each(|k| order.swap(k, below(random, k + 1)));
        let mut placed: Vec<(usize, Vec3)> = Vec::with_capacity(self.system.n_free());
        for &k in &order {
            let (group, shape) = (&groups[k], &shapes[k]);
            let found = (0..TRIES_AN_ATOM).find_map(|attempt| {
                let anchor = if group.len() > 1 { below(random, group.len()) } else { 0 };
                let anywhere = || {
                    let counter = group[anchor] as u32 * TRIES_AN_ATOM + attempt;
                    prior_position(self.system, noise, round, counter)
                };
                let position = match self.settings.method {
                    PlacementMethod::Neighbour if !placed.is_empty() => {
                        self.next_to(Placed::in_group(group, anchor), &placed, random)
                    }
                    _ => anywhere(),
                };
                let there = self.put(group, shape, anchor, position, random);
                let near = |&(atom, position): &(usize, Vec3)| self.within_reach(atom, position, &placed);
                let reach = self.settings.method == PlacementMethod::Uniform || there.iter().any(near);
                (reach && self.all_fit(&there, homes, &placed)).then_some(there)
            });
            placed.extend(found?);
        }
        let mut free = homes.clone();
        free.resize(self.system.n_free(), [0.0; 3]);
        placed.into_iter().for_each(|(atom, position)| free[atom] = position);
        Some(free)
    }

    /// Places for the atoms of `group`, turned at random, with one of them at the distance of a bond from another free atom; the
    /// atoms that move are at `free` (n × 3, Å). `None` if no place was found.
    pub fn relocated(&self, group: &[usize], free: &[Vec3], random: &mut Random) -> Option<Vec<(usize, Vec3)>> {
        let (mobile, _) = free.split_at(self.system.n_mobile());
        let others: Vec<(usize, Vec3)> =
            free.iter().copied().enumerate().skip(mobile.len()).filter(|(k, _)| !group.contains(k)).collect();
        if others.is_empty() {
            return None;
        }
        let shape = whole(self.system, free, group).around;
        (0..TRIES_AN_ATOM)
            .map(|_| {
                let anchor = if group.len() > 1 { below(random, group.len()) } else { 0 };
                let position = self.next_to(Placed::in_group(group, anchor), &others, random);
                self.put(group, &shape, anchor, position, random)
            })
            .find(|there| self.all_fit(there, mobile, &others))
    }

    /// The number of bonds of the atoms of `group` to the other moving atoms, at `free` (n × 3, Å), and to the template.
    pub fn bonds(&self, group: &[usize], free: &[Vec3]) -> usize {
        let of = |i: usize| {
            let bonded = |(number, other): (u8, Vec3)| {
                let bond = self.settings.longest_bond * self.bond(self.number(i), number);
                self.images.nearest(sub(other, free[i])).squared < bond * bond
            };
            let others = (0..free.len()).filter(|j| !group.contains(j)).map(|j| (self.number(j), free[j]));
            others.chain(self.template(&[])).filter(|&pair| bonded(pair)).count()
        };
        group.iter().map(|&atom| of(atom)).sum()
    }

    /// The shape of each of [`System::groups`]: positions around the centre, Å.
    fn shapes(&self) -> Vec<Vec<Vec3>> {
        let System { molecules, .. } = self.system;
        let single = (self.system.n_mobile()..self.system.n_single()).map(|_| vec![[0.0; 3]]);
        single.chain(molecules.all.iter().map(|molecule| molecule.shape.clone())).collect()
    }

    /// The atoms of `group` with this `shape`, turned at random, the one in place `anchor` at `position`.
    fn put(
        &self,
        group: &[usize],
        shape: &[Vec3],
        anchor: usize,
        position: Vec3,
        random: &mut Random,
    ) -> Vec<(usize, Vec3)> {
        if let &[atom] = group {
            return vec![(atom, position)];
        }
        let turn = rotation(random);
        let from_anchor = |r: Vec3| add(position, turned(&turn, sub(r, shape[anchor])));
        group.iter().zip(shape).map(|(&atom, &r)| (atom, self.system.wrap(atom, from_anchor(r)))).collect()
    }

    /// Whether all of `there` fit.
    fn all_fit(&self, there: &[(usize, Vec3)], mobile: &[Vec3], placed: &[(usize, Vec3)]) -> bool {
        let in_molecule = there.len() > 1;
        there.iter().all(|&(index, position)| self.fits(Placed { index, in_molecule }, position, mobile, placed))
    }

    /// The template's atoms: the fixed ones, and the mobile ones at `mobile` (m × 3, Å).
    fn template<'b>(&'b self, mobile: &'b [Vec3]) -> impl Iterator<Item = (u8, Vec3)> + 'b {
        let System { template_numbers, template_positions, free_numbers, .. } = self.system;
        let fixed = template_numbers.iter().zip(template_positions);
        fixed.chain(free_numbers.iter().zip(mobile)).map(|(&number, &position)| (number, position))
    }

    /// A random place at the distance of a bond from one of `others`.
    fn next_to(&self, atom: Placed, others: &[(usize, Vec3)], random: &mut Random) -> Vec3 {
        let (other, centre) = others[below(random, others.len())];
        let Reach { shortest, longest, gap } = self.reach(atom, other);
        let factor = shortest + (longest - shortest) * uniform(random);
        let bond = self.bond(self.number(atom.index), self.number(other));
        let position = add(centre, scale(factor * bond + gap, direction(random)));
        self.system.wrap(atom.index, position)
    }

    /// The distances at which `atom` may be placed from moving atom `other`.
    fn reach(&self, atom: Placed, other: usize) -> Reach {
        let PlacementSettings { shortest_bond, longest_bond, .. } = self.settings;
        if atom.in_molecule && other >= self.system.n_single() {
            let longest = APART_FACTOR + longest_bond - shortest_bond;
            return Reach { shortest: APART_FACTOR, longest, gap: APART_GAP };
        }
        Reach { shortest: shortest_bond, longest: longest_bond, gap: 0.0 }
    }

    /// Whether the first atom of a structure would be bonded to the template, if there is one.
    fn within_reach(&self, atom: usize, position: Vec3, placed: &[(usize, Vec3)]) -> bool {
        let near = |(number, other): (u8, Vec3)| {
            let bond = self.settings.longest_bond * self.bond(self.number(atom), number);
            self.images.nearest(sub(other, position)).squared < bond * bond
        };
        let homes = &self.system.mobile.homes;
        let no_template = self.system.n_template() == 0 && homes.is_empty();
        !placed.is_empty() || no_template || self.template(homes).any(near)
    }

    /// Whether `position` is in the allowed region and not too near to the template, with its mobile atoms at `mobile`, or to
    /// `placed`.
    fn fits(&self, atom: Placed, position: Vec3, mobile: &[Vec3], placed: &[(usize, Vec3)]) -> bool {
        let far = |number: u8, other: Vec3, shortest: f64, gap: f64| {
            let bond = (shortest * self.bond(self.number(atom.index), number) + gap)
                .max(self.shortest.of(self.number(atom.index), number));
            self.images.nearest(sub(other, position)).squared >= bond * bond
        };
        let far_from = |other: usize, at: Vec3| {
            let Reach { shortest, gap, .. } = self.reach(atom, other);
            far(self.number(other), at, shortest, gap)
        };
        self.system.allows(position)
            && placed.iter().all(|&(other, at)| far_from(other, at))
            && self.template(mobile).all(|(number, at)| far(number, at, self.settings.shortest_bond, 0.0))
    }

    fn number(&self, atom: usize) -> u8 {
        self.system.free_numbers[atom]
    }

    /// Sum of the covalent radii, Å.
    fn bond(&self, a: u8, b: u8) -> f64 {
        covalent_radius(a) + covalent_radius(b)
    }
}
