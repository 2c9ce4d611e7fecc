//! Evolutionary search: a population of different minima. Offspring is spliced and mutated from them, and each relaxed offspring
//! replaces the worst member at once (a pool without generations).

use super::{Minimum, Strategy};
use crate::config::{EvolutionSettings, Settings};
use crate::error::Result;
use crate::proposal::{Placement, Random, below, exchange, relocate, shake, splice, uniform, weighted};
use crate::random::{Purpose, host_generator};
use crate::system::{BondGraph, ShortestDistance, System, Vec3};

/// Cuts tried before a mutant replaces offspring with overlapping halves.
const TRIES: usize = 50;

pub struct Evolution<'a> {
    settings: EvolutionSettings,
    placement: Placement<'a>,
    shortest: ShortestDistance,
    seed: u64,
    /// By ascending energy.
    population: Vec<Minimum>,
}

impl<'a> Evolution<'a> {
    pub fn new(settings: &'a Settings) -> Self {
        let search = &settings.sections.search;
        Evolution {
            settings: settings.sections.evolution.unwrap_or_default(),
            placement: Placement::new(settings),
            shortest: search.shortest_distance(),
            seed: search.seed,
            population: Vec::new(),
        }
    }

    fn system(&self) -> &'a System {
        self.placement.system()
    }

    /// A member of the population, lower energies preferred.
    fn parent(&self, random: &mut Random) -> usize {
        weighted(random, &fitness(&self.population))
    }

    /// Offspring of two parents; `None` without a second parent, or if the halves overlap in all tries.
    fn offspring(&self, random: &mut Random) -> Option<Vec<Vec3>> {
        let first = self.parent(random);
        let second = (0..TRIES).map(|_| self.parent(random)).find(|&second| second != first)?;
        let parents = [first, second].map(|k| &self.population[k].free[..]);
        (0..TRIES)
            .map(|_| splice(self.system(), parents, random))
            .find(|child| self.system().has_room(child, self.shortest))
    }

    fn mutant(&self, random: &mut Random) -> Vec<Vec3> {
        let free = &self.population[self.parent(random)].free;
        let choice = below(random, 3);
        let mutated = match choice {
            0 => relocate(&self.placement, free, random),
            1 => exchange(self.system(), free, random).or_else(|| relocate(&self.placement, free, random)),
            _ => None,
        };
        mutated.unwrap_or_else(|| shake(self.system(), free, self.settings.step_angstrom, self.shortest, random))
    }

    /// Whether two minima are one: the same bonds at nearly the same energy.
    fn same(&self, a: &Minimum, b: &Minimum) -> bool {
        let system = self.system();
        let bonds = |m: &Minimum| BondGraph::new(&system.cell, system.formula_numbers(), &m.free[system.n_mobile()..]);
        (a.energy - b.energy).abs() < self.settings.same_energy_ev && bonds(a).is_isomorphic_to(&bonds(b))
    }
}

impl Strategy for Evolution<'_> {
    fn n_slots(&self) -> usize {
        self.settings.side_by_side
    }

    fn start(&mut self, _: usize, attempt: u64) -> Result<Vec<Vec3>> {
        // The first structures are random; so are all structures as long as there are no two parents.
        if attempt < self.settings.population as u64 || self.population.len() < 2 {
            return self.placement.structure(attempt);
        }
        let mut random = host_generator(self.seed, Purpose::Move, attempt);
        let child =
            if uniform(&mut random) < self.settings.crossover_share { self.offspring(&mut random) } else { None };
        Ok(child.unwrap_or_else(|| self.mutant(&mut random)))
    }

    fn relaxed(&mut self, _: usize, minimum: Option<Minimum>) {
        let Some(minimum) = minimum else { return };
        match self.population.iter().position(|member| self.same(member, &minimum)) {
            Some(known) if self.population[known].energy <= minimum.energy => return,
            Some(known) => self.population[known] = minimum,
            None => self.population.push(minimum),
        }
        self.population.sort_by(|a, b| a.energy.total_cmp(&b.energy));
        self.population.truncate(self.settings.population);
    }
}

/// How strongly each of `population`, by ascending energy, is preferred: ½(1 − tanh(2ρ − 1)), ρ from 0 for the lowest energy to 1
/// for the highest (Johnston, Dalton Trans. 2003, 4193).
fn fitness(population: &[Minimum]) -> Vec<f64> {
    let (Some(lowest), Some(highest)) = (population.first(), population.last()) else { return Vec::new() };
    let range = (highest.energy - lowest.energy).max(f64::MIN_POSITIVE);
    population.iter().map(|m| 0.5 * (1.0 - libm::tanh(2.0 * (m.energy - lowest.energy) / range - 1.0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_energies_are_preferred() {
        let population: Vec<Minimum> = [-2.0, -1.0, 0.0].map(|energy| Minimum { free: vec![], energy }).to_vec();
        let fitness = fitness(&population);
        for (found, expected) in fitness.iter().zip([0.880797, 0.5, 0.119203]) {
            assert!((found - expected).abs() < 1e-6, "{fitness:?}");
        }
        assert_eq!(super::fitness(&population[..1]).len(), 1);
        assert!(super::fitness(&population[..1])[0] > 0.0);
    }
}
