//! Samples that hop: each starts from a known structure, and only the learned forces move it.
//!
//! A step of basin hopping (Wales and Doye, J. Phys. Chem. A 101, 5111, 1997) costs the evaluations of a relaxation. A hop that
//! is relaxed on learned forces costs one, and all hops of a round run side by side. The reverse process proposes the features
//! that the members of the buffer share; hops propose structures near its lowest members.
//!
//! The lower the temperature, the more samples come to rest where an earlier one did. Such a sample hops again first, because its
//! evaluation would bring nothing new.

use super::{Placement, Proposal, Random, exchange, relocate, shake, uniform, weighted};
use crate::config::{ProposalSection, Settings};
use crate::engine::{Engine, FreePositions, Progress};
use crate::error::Result;
use crate::minima::{Comparison, Shape, Tolerances};
use crate::random::{Purpose, host_generator};
use crate::run::{History, Known, Round};
use crate::system::vector::norm;
use std::ops::Range;

/// Share of the hops without exchange that put one atom next to another; the rest shake all atoms. Islands and clusters change in
/// both ways.
const RELOCATE_SHARE: f64 = 0.5;

/// A structure is a known minimum if its evaluation found no larger force on a free atom, eV/Å: learned forces lead no nearer.
const LARGEST_FORCE_OF_A_MINIMUM: f64 = 0.3;

/// Hops from members of the buffer that the model last learned from.
#[derive(Debug)]
pub struct Hop<'a> {
    settings: &'a Settings,
    section: ProposalSection,
    placement: Placement<'a>,
    /// Members of the buffer, and their Boltzmann weights.
    from: Vec<FreePositions>,
    weights: Vec<f64>,
    minima: Minima,
}

/// The known structures that are at rest.
#[derive(Debug)]
struct Minima {
    comparison: Comparison,
    shapes: Vec<Shape>,
    /// Number of structures of the history that are already looked at.
    n_seen: usize,
}

impl<'a> Hop<'a> {
    /// For the section `[proposals]` of `settings`.
    pub fn new(settings: &'a Settings) -> Self {
        // The comparison depends on the template, elements and cell of a structure, not on the positions of its free atoms.
        let example = settings.system.structure(&vec![[0.0; 3]; settings.system.n_free()]);
        Hop {
            settings,
            section: settings.sections.proposals.unwrap_or_default(),
            placement: Placement::new(settings),
            from: Vec::new(),
            weights: Vec::new(),
            minima: Minima { comparison: Comparison::new(&example), shapes: Vec::new(), n_seen: 0 },
        }
    }

    /// The start of the hop of sample `index` of `round` at its `attempt`th time (from 0), n × 3, Å: a member of the buffer,
    /// drawn with its Boltzmann weight and displaced.
    fn start(&self, round: &Round, index: usize, attempt: usize) -> FreePositions {
        let mut random = self.random(round, index, attempt);
        let from = &self.from[weighted(&mut random, &self.weights)];
        let (system, chance) = (&self.settings.system, uniform(&mut random));
        let exchange_share = if system.has_unlike_atoms() { self.section.exchange_share } else { 0.0 };
        let moved = if chance < exchange_share {
            exchange(system, from, &mut random)
        } else if chance < exchange_share + (1.0 - exchange_share) * RELOCATE_SHARE {
            relocate(&self.placement, from, &mut random)
        } else {
            None
        };
        let (reach, shortest) = (self.section.hop_angstrom, self.settings.sections.search.shortest_distance());
        moved.unwrap_or_else(|| shake(system, from, reach, shortest, &mut random))
    }

    fn random(&self, round: &Round, index: usize, attempt: usize) -> Random {
        let mut random = host_generator(round.stream.seed, Purpose::Move, round.stream.iteration << 32 | index as u64);
        (0..attempt).for_each(|_| random.jump());
        random
    }

    /// Whether `free` (n × 3, Å) is the arrangement of a known minimum.
    fn is_known(&self, free: &FreePositions) -> bool {
        let Minima { comparison, shapes, .. } = &self.minima;
        let shape = comparison.shape(&self.settings.system.structure(free));
        shapes.iter().any(|other| comparison.same(other, &shape, Tolerances::RELAXED.distance_angstrom))
    }

    /// Takes in what is new in `known`.
    fn remember_minima(&mut self, known: &[Known]) {
        let Minima { comparison, shapes, n_seen } = &mut self.minima;
        let shape = |known: &Known| comparison.shape(&self.settings.system.structure(&known.positions));
        shapes.extend(known[*n_seen..].iter().filter(|known| is_at_rest(known)).map(shape));
        *n_seen = known.len();
    }
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

    fn begin(&mut self, _round: &Round, history: &History) -> Result<()> {
        let (places, weights) = history.draw();
        self.from = places.into_iter().map(|place| history.known()[place].positions.clone()).collect();
        self.weights = weights;
        if self.section.hop_tries > 1 {
            self.remember_minima(history.known());
        }
        Ok(())
    }

    fn draw(
        &mut self,
        round: &Round,
        samples: Range<usize>,
        _engine: &mut dyn Engine,
        _progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        Ok(samples.map(|index| self.start(round, index, 0)).collect())
    }

    fn again(&mut self, round: &Round, index: usize, attempt: usize, at_rest: &FreePositions) -> Option<FreePositions> {
        let again = attempt < self.section.hop_tries && self.is_known(at_rest);
        again.then(|| self.start(round, index, attempt))
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
        let starts = |number| (0..400).map(|sample| hop.start(&round(number), sample, 0)).collect::<Vec<_>>();
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
            energy_ev: 0.0,
            positions: row(spacing),
            forces: force.map(|force| vec![[0.0; 3], [0.0, force, 0.0], [0.0; 3], [0.0; 3]]),
        };
        let known = [with_force(2.6, Some(0.1)), with_force(3.5, Some(0.9)), with_force(4.5, None)];
        let mut hop = Hop::new(&settings);
        (hop.from, hop.weights) = (known.iter().map(|known| known.positions.clone()).collect(), vec![1.0; 3]);
        hop.remember_minima(&known[..1]);
        hop.remember_minima(&known);
        assert_eq!(hop.minima.shapes.len(), 1);
        let mut turned: FreePositions = row(2.63).iter().rev().map(|r| [1.0, r[0], 2.0]).collect();
        assert!(hop.is_known(&turned), "turned, moved, in another order, and a little off");
        assert!(hop.again(&round(1), 0, 1, &turned).is_some());
        assert!(hop.again(&round(1), 0, 5, &turned).is_none(), "five tries by default");
        turned[1][2] += 1.0;
        assert!(!hop.is_known(&turned));
        assert!(!hop.is_known(&row(3.5)), "large forces: not at rest");
        assert!(!hop.is_known(&row(4.5)), "forces unknown");
        assert_ne!(hop.start(&round(1), 0, 0), hop.start(&round(1), 0, 1));
    }
}
