//! Samples that hop: each starts from a known structure, and only the learned forces move it.
//!
//! A step of basin hopping (Wales and Doye, J. Phys. Chem. A 101, 5111, 1997) costs the evaluations of a relaxation. A hop that
//! is relaxed on learned forces costs one, and all hops of a round run side by side. The reverse process proposes the features
//! that the members of the buffer share; hops propose structures near its lowest members.
//!
//! The lower the temperature, the more samples come to rest where an earlier one did. Such a sample hops again first, because its
//! evaluation would bring nothing new.

use super::population::Population;
use super::shares::Credits;
use super::symmetrise::{can_be_symmetrised, symmetrise};
use super::{MOST_SAMPLES, Placement, Proposal, Random, exchange, relocate, shake, splice, uniform, weighted};
use crate::archive::Origin;
use crate::config::{HopMoves, Parents, ProposalSection, Settings};
use crate::engine::{Engine, FreePositions, Progress};
use crate::error::Result;
use crate::minima::{Comparison, Shape, Tolerances};
use crate::random::{Purpose, host_generator};
use crate::run::{History, Known, Round};
use crate::system::System;
use crate::system::vector::norm;
use std::collections::BTreeMap;
use std::ops::Range;

/// Share of the hops with one parent and without exchange that put one atom next to another; the rest shake all atoms. Islands and
/// clusters change in both ways.
const RELOCATE_SHARE: f64 = 0.5;

/// A structure is a known minimum if its evaluation found no larger force on a free atom, eV/Å: learned forces lead no nearer.
const LARGEST_FORCE_OF_A_MINIMUM: f64 = 0.3;

/// Attempts to splice two parents without atoms too close.
const SPLICES: usize = 20;

/// Hops from members of the buffer that the model last learned from, or from one structure of every basin.
#[derive(Debug)]
pub struct Hop<'a> {
    settings: &'a Settings,
    section: ProposalSection,
    placement: Placement<'a>,
    comparison: Comparison,
    /// The parents, and their weights.
    from: Vec<FreePositions>,
    weights: Vec<f64>,
    /// The kinds of hops and their shares of the samples, together 1.
    shares: Vec<(Origin, f64)>,
    /// The kind of each sample that is drawn, by its index in the round.
    drawn: BTreeMap<usize, Origin>,
    /// Shapes of the known structures that are at rest.
    minima: Vec<Shape>,
    population: Population,
    /// Times that the population began anew.
    n_restarts: usize,
    credits: Credits,
    /// Number of structures of the history that are already looked at.
    n_seen: usize,
}

impl<'a> Hop<'a> {
    /// For the section `[proposals]` of `settings`.
    pub fn new(settings: &'a Settings) -> Self {
        let section = settings.sections.proposals.unwrap_or_default();
        let shares = fixed_shares(&section, &settings.system);
        let kinds: Vec<Origin> = shares.iter().map(|&(kind, _)| kind).collect();
        Hop {
            settings,
            section,
            placement: Placement::new(settings),
            comparison: Comparison::of_system(&settings.system),
            from: Vec::new(),
            weights: Vec::new(),
            shares,
            drawn: BTreeMap::new(),
            minima: Vec::new(),
            population: Population::default(),
            n_restarts: 0,
            credits: Credits::new(&kinds),
            n_seen: 0,
        }
    }

    /// The start of the hop of sample `index` of `round` at its `attempt`th time (from 0), n × 3, Å: a parent, drawn with its
    /// weight and changed, or atoms placed next to one another where there are no parents. Notes which of them it is.
    fn start(&mut self, round: &Round, index: usize, attempt: usize) -> Result<FreePositions> {
        if self.from.is_empty() {
            self.drawn.insert(index, Origin::Placed);
            // Not one of the first round's numbers, which are below 2^32.
            let (copy, index) = (index as u64 / MOST_SAMPLES as u64, index as u64 % MOST_SAMPLES as u64);
            let number = copy << 56 | round.stream.iteration << 32 | (attempt as u64) << 24 | index;
            return self.placement.structure(number);
        }
        let mut random = self.random(round, index, attempt);
        let from = &self.from[weighted(&mut random, &self.weights)];
        let (system, mut chance) = (&self.settings.system, uniform(&mut random));
        let kind = self.shares.iter().find(|(_, share)| {
            chance -= share;
            chance < 0.0
        });
        let kind = kind.map_or(Origin::Shake, |&(kind, _)| kind);
        let moved = match kind {
            Origin::Exchange => exchange(system, from, &mut random),
            Origin::Relocate => relocate(&self.placement, from, &mut random),
            Origin::Splice => self.spliced(from, &mut random),
            Origin::Symmetrise => symmetrise(system, from, &mut random),
            _ => None,
        };
        let (reach, shortest) = (self.section.hop_angstrom, self.settings.sections.search.shortest_distance());
        let kind = if moved.is_some() { kind } else { Origin::Shake };
        let start = moved.unwrap_or_else(|| shake(system, from, reach, shortest, &mut random));
        self.drawn.insert(index, kind);
        Ok(start)
    }

    /// `first` spliced with another parent, drawn with its weight; `None` if atoms came too close in every attempt.
    fn spliced(&self, first: &FreePositions, random: &mut Random) -> Option<FreePositions> {
        let (system, shortest) = (&self.settings.system, self.settings.sections.search.shortest_distance());
        (0..SPLICES).find_map(|_| {
            let second = &self.from[weighted(random, &self.weights)];
            let child = splice(system, [first, second], random);
            system.has_room(&child, shortest).then_some(child)
        })
    }

    fn random(&self, round: &Round, index: usize, attempt: usize) -> Random {
        let mut random = host_generator(round.stream.seed, Purpose::Move, round.stream.iteration << 32 | index as u64);
        (0..attempt).for_each(|_| random.jump());
        random
    }

    /// Whether `free` (n × 3, Å) is the arrangement of a known minimum.
    fn is_known(&self, free: &FreePositions) -> bool {
        self.is_known_shape(&self.comparison.shape(&self.settings.system.structure(free)))
    }

    fn is_known_shape(&self, shape: &Shape) -> bool {
        let tolerance = Tolerances::RELAXED.distance_angstrom;
        self.minima.iter().any(|other| self.comparison.same(other, shape, tolerance))
    }

    /// Takes in what is new in `known`: minima, basins, and which hops have paid. A hop pays if it finds a new basin among the
    /// lowest ones, as many as there are effective parents. A population that began anew does not take in samples of the reverse
    /// process, since the model has learned from the earlier ones.
    fn remember(&mut self, known: &[Known]) {
        let ProposalSection { hop_tries, hop_parents, hop_moves, effective_parents, .. } = self.section;
        let needs_basins = hop_parents == Parents::Basins || hop_moves == HopMoves::Learned;
        for (place, new) in known.iter().enumerate().skip(self.n_seen) {
            let is_minimum = hop_tries > 1 && is_at_rest(new);
            if !is_minimum && !needs_basins {
                continue;
            }
            let shape = self.comparison.shape(&self.settings.system.structure(&new.positions));
            if is_minimum {
                self.minima.push(shape.clone());
            }
            if place > 0 && known[place - 1].key.0 < new.key.0 {
                self.restart_if_idle();
            }
            if needs_basins && (self.n_restarts == 0 || new.origin != Some(Origin::Reverse)) {
                let rank = self.population.take_in(&self.comparison, shape, new.energy_ev, place);
                let pays = rank.is_some_and(|rank| (rank as f64) < effective_parents);
                new.origin.into_iter().for_each(|origin| self.credits.note(origin, pays));
            }
        }
        self.n_seen = known.len();
    }

    /// Begins a new population between two rounds if nothing lower has come for so long as the user allows.
    fn restart_if_idle(&mut self) {
        let allowed = self.section.restart_after;
        if allowed > 0 && self.population.n_idle() >= allowed {
            self.population = Population::default();
            self.n_restarts += 1;
        }
    }
}

/// The kinds of hops and their shares by `section`, in the order in which one random number chooses among them.
fn fixed_shares(section: &ProposalSection, system: &System) -> Vec<(Origin, f64)> {
    let share = |possible: bool, share: f64| if possible { share } else { 0.0 };
    let (unlike, symmetric) = (system.has_unlike_atoms(), can_be_symmetrised(system));
    let exchange_share = share(unlike, section.exchange_share);
    let symmetrise_share = share(symmetric, section.symmetrise_share);
    let rest = 1.0 - exchange_share - section.splice_share - symmetrise_share;
    let kinds = [
        (Origin::Exchange, exchange_share),
        (Origin::Splice, section.splice_share),
        (Origin::Symmetrise, symmetrise_share),
        (Origin::Relocate, rest * RELOCATE_SHARE),
        (Origin::Shake, rest * (1.0 - RELOCATE_SHARE)),
    ];
    let is_possible = |kind: Origin| match kind {
        Origin::Exchange => unlike,
        Origin::Symmetrise => symmetric,
        _ => true,
    };
    let is_learned = section.hop_moves == HopMoves::Learned;
    let wanted = |&(kind, share): &(Origin, f64)| share > 0.0 || is_learned && is_possible(kind);
    kinds.into_iter().filter(wanted).collect()
}

/// Whether the evaluation of `known` found small forces only.
fn is_at_rest(known: &Known) -> bool {
    let small = |forces: &Vec<_>| forces.iter().all(|&force| norm(force) <= LARGEST_FORCE_OF_A_MINIMUM);
    known.forces.as_ref().is_some_and(small)
}

impl Proposal for Hop<'_> {
    fn claim(&self, round: &Round, _n_left: usize) -> usize {
        match round.number {
            0 => 0,
            _ if !round.forces_learned => 0,
            _ => (self.section.hop_share * round.n_samples as f64).round() as usize,
        }
    }

    fn begin(&mut self, round: &Round, history: &History) -> Result<()> {
        self.remember(history.known());
        self.restart_if_idle();
        let (places, weights) = match self.section.hop_parents {
            Parents::Buffer => history.draw(),
            Parents::Basins => self.population.parents(round.kt_ev, self.section.effective_parents),
        };
        self.from = places.into_iter().map(|place| history.known()[place].positions.clone()).collect();
        self.weights = weights;
        if self.section.hop_moves == HopMoves::Learned {
            self.shares = self.credits.shares();
        }
        self.drawn.clear();
        Ok(())
    }

    fn draw(
        &mut self,
        round: &Round,
        samples: Range<usize>,
        _engine: &mut dyn Engine,
        _progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        samples.map(|index| self.start(round, index, 0)).collect()
    }

    fn again(&mut self, round: &Round, index: usize, attempt: usize, at_rest: &FreePositions) -> Option<FreePositions> {
        let again = attempt < self.section.hop_tries && self.is_known(at_rest);
        if again { self.start(round, index, attempt).ok() } else { None }
    }

    fn knows(&self, at_rest: &Shape) -> bool {
        self.section.hop_tries > 1 && self.is_known_shape(at_rest)
    }

    fn origin(&self, index: usize) -> Option<Origin> {
        self.drawn.get(&index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RandomStream;
    use crate::system::vector::sub;
    use std::path::Path;

    fn tetramer() -> Settings {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("c.toml");
        let sections = "[guidance]\n[proposals]\nrelax_steps = 5\nhop_share = 0.5\n";
        std::fs::write(&path, format!("[system]\nfree = 'Pt4'\n[potential]\nkind = 'emt'\n{sections}")).unwrap();
        Settings::load(Path::new(&path)).unwrap()
    }

    fn round(number: u32) -> Round {
        let stream = RandomStream { seed: 0, iteration: u64::from(number) };
        Round { number, kt_ev: 1.0, stream, n_samples: 7, forces_learned: true, parts: Vec::new() }
    }

    fn row(spacing: f64) -> FreePositions {
        (0..4).map(|k| [spacing * f64::from(k) - 1.5 * spacing, 0.0, 0.0]).collect()
    }

    #[test]
    fn half_of_the_samples_hop_once_forces_are_learned() {
        let settings = tetramer();
        let hop = Hop::new(&settings);
        assert_eq!(hop.claim(&round(1), 7), 4);
        assert_eq!(hop.claim(&round(0), 7), 0);
        assert_eq!(hop.claim(&Round { forces_learned: false, ..round(1) }, 7), 0);
    }

    #[test]
    fn hops_start_next_to_members_by_weight() {
        let settings = tetramer();
        let mut hop = Hop::new(&settings);
        (hop.from, hop.weights) = (vec![row(2.6), row(20.0)], vec![0.5, 1.5]);
        let mut starts =
            |number| (0..400).map(|sample| hop.start(&round(number), sample, 0).unwrap()).collect::<Vec<_>>();
        // A hop of the far-stretched member keeps at least three of its atoms 20 Å apart.
        let first = starts(1);
        let stretched = first.iter().filter(|hop| norm(sub(hop[0], hop[3])) > 15.0 || norm(sub(hop[1], hop[2])) > 15.0);
        let share = stretched.count() as f64 / 400.0;
        assert!((0.68..0.82).contains(&share), "{share}");
        assert_eq!(first, starts(1));
        assert_ne!(first, starts(2));
    }

    #[test]
    fn known_are_evaluated_structures_at_rest() {
        let settings = tetramer();
        let with_force = |spacing: f64, force: Option<f64>| Known {
            key: (0, 0),
            origin: None,
            predicted_ev: None,
            energy_ev: 0.0,
            positions: row(spacing),
            forces: force.map(|force| vec![[0.0; 3], [0.0, force, 0.0], [0.0; 3], [0.0; 3]]),
        };
        let known = [with_force(2.6, Some(0.1)), with_force(3.5, Some(0.9)), with_force(4.5, None)];
        let mut hop = Hop::new(&settings);
        (hop.from, hop.weights) = (known.iter().map(|known| known.positions.clone()).collect(), vec![1.0; 3]);
        hop.remember(&known[..1]);
        hop.remember(&known);
        assert_eq!(hop.minima.len(), 1);
        let mut turned: FreePositions = row(2.63).iter().rev().map(|r| [1.0, r[0], 2.0]).collect();
        assert!(hop.is_known(&turned), "turned, moved, in another order, and a little off");
        assert!(hop.again(&round(1), 0, 1, &turned).is_some());
        assert!(hop.again(&round(1), 0, 5, &turned).is_none(), "five tries by default");
        turned[1][2] += 1.0;
        assert!(!hop.is_known(&turned));
        assert!(!hop.is_known(&row(3.5)), "large forces: not at rest");
        assert!(!hop.is_known(&row(4.5)), "forces unknown");
        assert_ne!(hop.start(&round(1), 0, 0).unwrap(), hop.start(&round(1), 0, 1).unwrap());
    }
}
