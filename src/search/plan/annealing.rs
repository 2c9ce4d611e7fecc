//! The temperature falls from round to round (arXiv:2510.13448).

use super::Plan;
use crate::config::Settings;
use crate::diffusion::temperature;
use crate::engine::RandomStream;
use crate::run::{History, Round};

/// One round at each temperature of the geometric schedule from `kt_initial_ev` to `kt_final_ev`. The first one takes the
/// structures of `[seeds]` in addition.
#[derive(Debug)]
pub struct Annealing<'a> {
    settings: &'a Settings,
    /// Whether the model has learned forces before the first round.
    knows_forces: bool,
}

impl<'a> Annealing<'a> {
    /// For the sections `[search]`, `[seeds]` and `[transfer]` of `settings`.
    pub fn new(settings: &'a Settings) -> Self {
        let transfer = settings.transfer.as_ref();
        let knows_forces = transfer.is_some_and(|model| model.knows_forces(&settings.system.numbers()));
        Annealing { settings, knows_forces }
    }
}

impl Plan for Annealing<'_> {
    fn next(&mut self, history: &History) -> Option<Round> {
        let search = &self.settings.sections.search;
        let number = history.last().map_or(0, |last| last.number + 1);
        let n_seeds = if number == 0 { self.settings.seeds.len() } else { 0 };
        (number < self.n_rounds()).then(|| Round {
            number,
            kt_ev: temperature(number as usize, search.iterations, search.kt_initial_ev, search.kt_final_ev),
            stream: RandomStream { seed: search.seed, iteration: u64::from(number) },
            n_samples: n_seeds + search.samples_per_iteration,
            forces_learned: self.settings.sections.guidance.is_some() && (number > 0 || self.knows_forces),
            parts: Vec::new(),
        })
    }

    fn n_rounds(&self) -> u32 {
        self.settings.sections.search.iterations as u32
    }
}
