//! Distances of a potential that does not know elements: covalent radii say nothing there.

use crate::potential::PotentialSettings;
use crate::system::elements::covalent_radius;
use toml::{Table, Value};

/// Bonds within this share of the sum of the covalent radii need no distances of their own.
const ALIKE: f64 = 0.1;

/// Distances that follow from the length of a bond.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lengths {
    /// The distance of the lowest energy of two atoms, Å.
    pub bond: f64,
    /// The same, in sums of the covalent radii.
    pub in_radii: f64,
}

impl Lengths {
    /// For free atoms `free` (atomic numbers) and the potential of `task`, if that is one without elements.
    pub fn of(task: &Table, free: &[u8]) -> Option<Self> {
        let potential = task.get("potential").cloned().map(Value::try_into::<PotentialSettings>)?.ok()?;
        let PotentialSettings::LennardJones(keys) = potential else { return None };
        let bond = 2f64.powf(1.0 / 6.0) * keys.sigma_angstrom;
        let mean = free.iter().map(|&number| covalent_radius(number)).sum::<f64>() / free.len() as f64;
        let in_radii = bond / (2.0 * mean);
        (free.is_empty() || (in_radii - 1.0).abs() > ALIKE).then_some(Lengths { bond, in_radii })
    }

    /// Atoms that are nearer are not evaluated, Å.
    pub fn min_distance(self) -> f64 {
        0.6 * self.bond
    }

    /// The shortest and the longest distance of placed atoms, in sums of the covalent radii.
    pub fn placement(self) -> [f64; 2] {
        [0.77 * self.in_radii, 1.05 * self.in_radii]
    }

    /// Longest displacement in a hop along each axis, Å: 1.5 Å for metals.
    pub fn hop(self) -> f64 {
        0.5 * self.bond
    }

    /// Distance up to which the model knows neighbours, Å: 6 Å for metals.
    pub fn cutoff(self) -> f64 {
        2.1 * self.bond
    }
}
