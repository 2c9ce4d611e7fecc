//! The parents of hops: known structures, one a basin.
//!
//! At low temperatures, Boltzmann weights leave one parent: of 32 structures in the buffer, many are the same arrangement, and
//! the lowest has nearly all the weight. A population keeps the lowest structure of every basin, and a temperature of its own
//! that gives a wanted number of different parents a chance.

use crate::buffer::{boltzmann_weights, effective_sample_size};
use crate::minima::{Comparison, Shape};

/// Structures are in one basin if like atoms are within this distance, Å. Samples at rest on learned forces are about so far from
/// their minimum.
const SAME_BASIN: f64 = 0.3;

/// Most basins that are kept, the lowest ones; more are never drawn.
const MOST_BASINS: usize = 256;

/// A basin by its lowest known structure.
#[derive(Debug, Clone)]
struct Basin {
    shape: Shape,
    /// eV.
    energy_ev: f64,
    /// Place of the structure among the known ones.
    place: usize,
}

/// The basins of the structures taken in, lowest first. Taken in again in the same order, the same structures give the same basins.
#[derive(Debug, Default)]
pub(super) struct Population {
    basins: Vec<Basin>,
    /// Structures taken in since the last one that found a lowest basin.
    n_idle: usize,
}

impl Population {
    /// Takes in the known structure at `place`, of this `shape` and energy (eV). Gives the rank of its basin (0: the lowest) if
    /// the basin is new.
    pub fn take_in(&mut self, comparison: &Comparison, shape: Shape, energy_ev: f64, place: usize) -> Option<usize> {
        self.n_idle += 1;
        let known = self.basins.iter().position(|basin| comparison.same(&basin.shape, &shape, SAME_BASIN));
        if let Some(known) = known {
            if self.basins[known].energy_ev <= energy_ev {
                return None;
            }
            self.basins.remove(known);
        }
        let rank = self.basins.partition_point(|basin| basin.energy_ev <= energy_ev);
        self.basins.insert(rank, Basin { shape, energy_ev, place });
        self.basins.truncate(MOST_BASINS);
        let new = known.is_none().then_some(rank);
        if new == Some(0) {
            self.n_idle = 0;
        }
        new
    }

    /// Structures taken in since the last one that found a lowest basin.
    pub fn n_idle(&self) -> usize {
        self.n_idle
    }

    /// The structures to hop from, by their places among the known ones, and their weights exp(−E/T), mean 1. T is at
    /// least `kt_ev` and high enough that the effective number of parents (Kish's effective sample size of the weights) is
    /// `effective`, or half the number of basins if that is less.
    pub fn parents(&self, kt_ev: f64, effective: f64) -> (Vec<usize>, Vec<f64>) {
        let wanted = effective.min(0.5 * self.basins.len() as f64);
        let energies: Vec<f64> = self.basins.iter().map(|basin| basin.energy_ev).collect();
        let too_few = |kt_ev: f64| effective_sample_size(&boltzmann_weights(&energies, kt_ev)) < wanted;
        let (mut low, mut high) = (kt_ev, kt_ev);
        while too_few(high) && high < f64::MAX / 4.0 {
            (low, high) = (high, 2.0 * high);
        }
        // A factor of 2 halved so often: T to six digits.
        for _ in 0..20 {
            let middle = (low * high).sqrt();
            if too_few(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        (self.basins.iter().map(|basin| basin.place).collect(), boltzmann_weights(&energies, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{Cell, Structure};

    /// Three atoms in a row with these distances, Å.
    fn row(first: f64, second: f64) -> Structure {
        Structure::new(Cell::NONE, vec![78; 3], vec![[0.0; 3], [first, 0.0, 0.0], [first + second, 0.0, 0.0]])
    }

    /// A population of rows with these pairs of distances and energies; with the rank of every new basin.
    fn of(members: &[(f64, f64, f64)]) -> (Population, Vec<Option<usize>>) {
        let comparison = Comparison::new(&row(2.0, 2.0));
        let mut population = Population::default();
        let ranks = members.iter().enumerate().map(|(place, &(first, second, energy_ev))| {
            population.take_in(&comparison, comparison.shape(&row(first, second)), energy_ev, place)
        });
        let ranks = ranks.collect();
        (population, ranks)
    }

    #[test]
    fn a_basin_is_known_by_its_lowest_structure() {
        let (population, ranks) =
            of(&[(2.0, 3.0, -1.0), (2.0, 5.0, -2.0), (3.1, 2.1, -3.0), (2.1, 3.1, -2.5), (2.0, 8.0, 0.0)]);
        assert_eq!(ranks, [Some(0), Some(0), None, None, Some(2)]);
        assert_eq!(population.n_idle(), 3);
        // The mirror image with −3 eV has taken the place of the first one.
        assert_eq!(population.parents(1.0, 1.0).0, [2, 1, 4]);
    }

    #[test]
    fn only_the_lowest_basins_are_kept() {
        let members: Vec<(f64, f64, f64)> =
            (0..300).map(|k| (2.0 + 0.8 * f64::from(k % 20), 20.0 + 0.8 * f64::from(k / 20), f64::from(k))).collect();
        let (population, _) = of(&members);
        assert_eq!(population.basins.len(), MOST_BASINS);
        let (_, ranks) = of(&[&members[..], &[(2.0, 35.0, -1.0)]].concat());
        assert_eq!(ranks.last(), Some(&Some(0)));
    }

    #[test]
    fn a_wanted_number_of_parents_has_a_chance() {
        let members: Vec<(f64, f64, f64)> = (0..40).map(|k| (2.0, 3.0 + f64::from(k), 0.1 * f64::from(k))).collect();
        let (population, _) = of(&members);
        let effective = |kt_ev, wanted| effective_sample_size(&population.parents(kt_ev, wanted).1);
        assert!((effective(0.01, 8.0) - 8.0).abs() < 1e-4, "{}", effective(0.01, 8.0));
        assert!(effective(0.01, 1.0) < 1.01, "kT alone decides");
        assert!(effective(2.0, 8.0) > 20.0, "never below kT");
        assert!((effective(0.01, 100.0) - 20.0).abs() < 1e-3, "half of them");
        let (places, weights) = Population::default().parents(0.01, 8.0);
        assert!(places.is_empty() && weights.is_empty());
    }
}
