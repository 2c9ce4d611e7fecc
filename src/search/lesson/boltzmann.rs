//! Score matching on a buffer that follows exp(−E/kT) (arXiv:2510.13448, eq. 5), and training on all known forces.

use super::renewal::renew;
use super::targets::targets;
use super::{Lesson, Taught};
use crate::buffer::effective_sample_size;
use crate::config::Settings;
use crate::engine::{Engine, ForceSet, Progress, TrainingSet};
use crate::error::Result;
use crate::gpu::profiler_range;
use crate::run::{History, Round};
use crate::statistics::{median, sorted};

/// The lesson of GO-Diff: a fresh optimiser, and as many steps as asked for, or fewer with `[stopping]`. With `score = false` the
/// force head learns alone.
#[derive(Debug)]
pub struct Boltzmann<'a> {
    settings: &'a Settings,
    /// With `[guidance]`, the examples for the force head: the known structures with their forces, in their order.
    forces: Option<ForceSet>,
    /// Number of structures of the history that are already in `forces`.
    n_seen: usize,
}

impl<'a> Boltzmann<'a> {
    /// For the sections `[training]`, `[search]` and `[guidance]` of `settings`.
    pub fn new(settings: &'a Settings) -> Self {
        Boltzmann { settings, forces: settings.sections.guidance.map(|_| ForceSet::default()), n_seen: 0 }
    }

    /// Takes in the forces that are new in `history`, and labels all energies anew: the scale follows the lowest one.
    fn remember_forces(&mut self, history: &History) {
        let (Some(set), Some(guidance)) = (&mut self.forces, &self.settings.sections.guidance) else { return };
        for known in &history.known()[self.n_seen..] {
            if let Some(forces) = &known.forces {
                set.push(known.positions.clone(), forces, guidance.max_force_ev_per_angstrom);
            }
        }
        self.n_seen = history.known().len();
        let scale = history.energy_scale(self.n_seen, guidance.energy_unit_ev);
        if let Some(scale) = scale.filter(|_| guidance.energy_weight > 0.0) {
            let with_forces = history.known().iter().filter(|known| known.forces.is_some());
            set.labels = with_forces.map(|known| scale.label(known.energy_ev)).collect();
        }
    }
}

impl Lesson for Boltzmann<'_> {
    fn n_steps(&self) -> usize {
        self.settings.sections.training.steps_per_iteration
    }

    fn teach(
        &mut self,
        round: &Round,
        history: &History,
        engine: &mut dyn Engine,
        progress: Progress,
    ) -> Result<Taught> {
        let range = profiler_range("buffer");
        let (places, weights) = history.draw();
        drop(range);
        let _range = profiler_range("train");
        let buffer = || places.iter().map(|&place| &history.known()[place]);
        self.remember_forces(history);
        let (median_ev, ess) =
            (median(&sorted(buffer().map(|known| known.energy_ev))), effective_sample_size(&weights));
        renew(self.settings, round, engine)?;
        let targets = targets(self.settings, history, &places, &weights)?;
        let (positions, weights) = match self.settings.sections.training.score {
            true => (buffer().map(|known| known.positions.clone()).collect(), weights),
            false => Default::default(),
        };
        // Lent to the set, because the forces of the whole run are too much to copy in every round.
        let set = TrainingSet { positions, weights, forces: self.forces.take(), targets };
        let training = engine.train(round.stream, &set, self.n_steps(), progress);
        self.forces = set.forces;
        Ok(Taught { training: training?, n_structures: places.len(), median_ev, effective_sample_size: Some(ess) })
    }
}
