//! Samples that hop: they start from structures that are known already, and only the learned forces move them.
//!
//! A step of basin hopping (Wales and Doye, J. Phys. Chem. A 101, 5111, 1997) costs the evaluations of a relaxation. Relaxed on
//! learned forces it costs one, and all hops of an iteration go side by side. The reverse process proposes what the buffer has in
//! common, hops what lies next to its lowest members.
//!
//! The lower the temperature, the more samples come to rest where an earlier one did. Such a sample hops again before it costs
//! an evaluation that would tell nothing.

use super::{Search, guidance_in, temperature_of, weights};
use crate::archive::Entry;
use crate::baseline::{Placement, relocate, shake, uniform, weighted};
use crate::config::Settings;
use crate::engine::{Engine, FreePositions, GuidanceSettings, Progress, relax_on_predicted_forces};
use crate::error::Result;
use crate::minima::{Comparison, Shape, Tolerances};
use crate::random::{Purpose, host_generator};
use crate::system::vector::norm;

/// Hops that put one atom next to another; the others shake all. Islands and clusters change by both.
const RELOCATE_SHARE: f64 = 0.5;

/// A structure whose evaluation found no larger force on a free atom, eV/Å, is a known minimum: learned forces lead no nearer.
const LARGEST_FORCE_OF_A_MINIMUM: f64 = 0.3;

/// The hops of one iteration. Everything here is a pure function of the seed and of what was recorded before the iteration.
pub(super) struct Hops<'a> {
    settings: &'a Settings,
    iteration: usize,
    /// Samples that hop: the first ones.
    n: usize,
    /// What the model was last trained on, and its Boltzmann weights.
    buffer: Vec<Entry>,
    weights: Vec<f64>,
    placement: Placement<'a>,
    comparison: Comparison,
    known: Vec<Shape>,
}

impl<'a> Search<'a> {
    /// The hops of `iteration`, if it has any; the first has none.
    ///
    /// # Errors
    /// `Storage`.
    pub(super) fn hops(&self, iteration: usize) -> Result<Option<Hops<'a>>> {
        let (Some(guidance), Some(before)) = (guidance_in(self.settings, iteration), iteration.checked_sub(1)) else {
            return Ok(None);
        };
        if guidance.hop_share == 0.0 {
            return Ok(None);
        }
        let kt_ev = temperature_of(self.settings, before);
        let buffer = self.draw_buffer(before, kt_ev)?;
        let weights = weights(&buffer, kt_ev);
        let mut evaluated = if guidance.hop_tries > 1 { self.archive.all_ok()? } else { Vec::new() };
        evaluated.retain(|entry| (entry.iteration as usize) < iteration);
        Ok(Some(Hops::new(self.settings, guidance.hop_share, iteration, buffer, weights, &evaluated)))
    }
}

impl<'a> Hops<'a> {
    fn new(
        settings: &'a Settings,
        share: f64,
        iteration: usize,
        buffer: Vec<Entry>,
        weights: Vec<f64>,
        evaluated: &[Entry],
    ) -> Self {
        let n = (share * settings.sections.search.samples_per_iteration as f64).round() as usize;
        let structure = |entry: &Entry| settings.system.structure(&entry.free_positions);
        let comparison = Comparison::new(&structure(&buffer[0]));
        let n_template = settings.system.n_template();
        let at_rest = |entry: &&Entry| {
            let small = |forces: &Vec<_>| forces[n_template..].iter().all(|&f| norm(f) <= LARGEST_FORCE_OF_A_MINIMUM);
            entry.forces.as_ref().is_some_and(small)
        };
        let known = evaluated.iter().filter(at_rest).map(|entry| comparison.shape(&structure(entry))).collect();
        Hops { settings, iteration, n, buffer, weights, placement: Placement::new(settings), comparison, known }
    }

    /// Samples that hop, the first ones of the iteration.
    pub(super) fn len(&self) -> usize {
        self.n
    }

    /// Where the hop of `sample` starts for the `round`th time (from 0), n × 3, Å: a member of the buffer, drawn with its
    /// Boltzmann weight, displaced.
    pub(super) fn start(&self, sample: usize, round: usize) -> FreePositions {
        let search = &self.settings.sections.search;
        let reach = self.settings.sections.guidance.as_ref().map_or(0.0, |guidance| guidance.hop_angstrom);
        let mut random = host_generator(search.seed, Purpose::Move, (self.iteration as u64) << 32 | sample as u64);
        (0..round).for_each(|_| random.jump());
        let from = &self.buffer[weighted(&mut random, &self.weights)].free_positions;
        let relocated =
            if uniform(&mut random) < RELOCATE_SHARE { relocate(&self.placement, from, &mut random) } else { None };
        relocated
            .unwrap_or_else(|| shake(&self.settings.system, from, reach, search.min_distance_angstrom, &mut random))
    }

    /// Lets those of `structures`, samples from number `first` on at rest on the predicted forces, that rest in a known minimum
    /// hop again until they rest elsewhere or have used up their tries. `progress` hears of every step of a relaxation.
    ///
    /// # Errors
    /// Those of [`relax_on_predicted_forces`].
    pub(super) fn leave_known(
        &self,
        engine: &mut dyn Engine,
        guidance: &GuidanceSettings,
        first: usize,
        structures: &mut [FreePositions],
        progress: Progress,
    ) -> Result<()> {
        let mut known: Vec<usize> = (0..structures.len()).collect();
        for round in 1..guidance.hop_tries {
            known.retain(|&k| self.is_known(&structures[k]));
            if known.is_empty() {
                break;
            }
            let mut again: Vec<FreePositions> = known.iter().map(|&k| self.start(first + k, round)).collect();
            relax_on_predicted_forces(engine, &self.settings.system, guidance, &mut again, progress)?;
            known.iter().zip(again).for_each(|(&k, structure)| structures[k] = structure);
        }
        Ok(())
    }

    /// Whether `free` (n × 3, Å) is the arrangement of a known minimum.
    fn is_known(&self, free: &FreePositions) -> bool {
        let Hops { comparison, known, .. } = self;
        let shape = comparison.shape(&self.settings.system.structure(free));
        known.iter().any(|other| comparison.same(other, &shape, Tolerances::RELAXED.distance_angstrom))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Status;
    use crate::system::vector::{norm, sub};
    use std::path::Path;

    fn tetramer() -> Settings {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("c.toml");
        let text = "[system]\nfree = 'Pt4'\n[potential]\nkind = 'emt'\n[guidance]\nrelax_steps = 5\nhop_share = 0.5\n";
        std::fs::write(&path, text).unwrap();
        Settings::load(Path::new(&path)).unwrap()
    }

    fn member(index: u32, spacing: f64) -> Entry {
        Entry {
            iteration: 0,
            index,
            kt_ev: 1.0,
            status: Status::Ok,
            free_positions: (0..4).map(|k| [spacing * f64::from(k) - 1.5 * spacing, 0.0, 0.0]).collect(),
            energy: Some(0.0),
            forces: None,
        }
    }

    #[test]
    fn hops_start_next_to_members_by_weight() {
        let settings = tetramer();
        let buffer = [member(0, 2.6), member(1, 20.0)];
        let hops = |iteration| {
            let hops = Hops::new(&settings, 0.5, iteration, buffer.to_vec(), vec![0.5, 1.5], &[]);
            (0..400).map(|sample| hops.start(sample, 0)).collect::<Vec<_>>()
        };
        // A hop of the far-stretched member keeps at least three of its atoms 20 Å apart.
        let first = hops(1);
        let stretched = first.iter().filter(|hop| norm(sub(hop[0], hop[3])) > 15.0 || norm(sub(hop[1], hop[2])) > 15.0);
        let share = stretched.count() as f64 / 400.0;
        assert!((0.68..0.82).contains(&share), "{share}");
        assert_eq!(first, hops(1));
        assert_ne!(first, hops(2));
    }

    #[test]
    fn known_are_evaluated_structures_at_rest() {
        let settings = tetramer();
        let with_force = |spacing: f64, force: f64| {
            let forces = vec![[0.0; 3], [0.0, force, 0.0], [0.0; 3], [0.0; 3]];
            Entry { forces: Some(forces), ..member(0, spacing) }
        };
        let evaluated = [with_force(2.6, 0.1), with_force(3.5, 0.9), member(2, 4.5)];
        let hops = Hops::new(&settings, 0.5, 1, evaluated.to_vec(), vec![1.0; 3], &evaluated);
        let mut turned: FreePositions = member(0, 2.63).free_positions.iter().rev().map(|r| [1.0, r[0], 2.0]).collect();
        assert!(hops.is_known(&turned), "turned, moved, in another order, and a little off");
        turned[1][2] += 1.0;
        assert!(!hops.is_known(&turned));
        assert!(!hops.is_known(&member(0, 3.5).free_positions), "large forces: not at rest");
        assert!(!hops.is_known(&member(0, 4.5).free_positions), "forces unknown");
        assert_ne!(hops.start(0, 0), hops.start(0, 1));
    }

    #[test]
    fn what_weighs_nothing_is_not_drawn() {
        let mut random = host_generator(1, Purpose::Move, 0);
        let drawn: Vec<usize> = (0..300).map(|_| weighted(&mut random, &[0.0, 2.0, 0.0, 1.0])).collect();
        assert!(drawn.iter().all(|place| [1, 3].contains(place)));
        let ones = drawn.iter().filter(|&&place| place == 1).count();
        assert!((170..230).contains(&ones), "{ones}");
    }
}
