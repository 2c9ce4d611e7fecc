//! The temperature falls from round to round (arXiv:2510.13448).

use super::Plan;
use crate::config::{SearchSection, Settings};
use crate::diffusion::temperature;
use crate::engine::RandomStream;
use crate::error::Result;
use crate::run::{History, Round, Segment};

/// One round at each temperature of the geometric schedule from `kt_initial_ev` to `kt_final_ev`. In a run that was extended, the
/// temperatures of each further segment fall geometrically from the last one before it to the segment's own `kt_final_ev`. The
/// first round takes the structures of `[seeds]` in addition.
#[derive(Debug)]
pub struct Annealing<'a> {
    settings: &'a Settings,
    /// At least one, by their first rounds.
    parts: Vec<Part>,
    /// Whether the model has learned forces before the first round.
    knows_forces: bool,
}

impl<'a> Annealing<'a> {
    /// For the sections `[search]`, `[seeds]` and `[transfer]` of `settings`, in a run with these `segments`; empty for a run that
    /// was never extended.
    ///
    /// # Errors
    /// `BadInput` if the configuration of a segment cannot be read.
    pub fn new(settings: &'a Settings, segments: &[Segment]) -> Result<Self> {
        let transfer = settings.transfer.as_ref();
        let knows_forces = transfer.is_some_and(|model| model.knows_forces(&settings.system.numbers()));
        let part = |segment: &Segment| -> Result<Part> {
            let Segment { first_iteration, reached_kt_ev, .. } = *segment;
            Ok(Part { first: first_iteration, reached_kt_ev, search: segment.search()? })
        };
        let whole = Part { first: 0, reached_kt_ev: None, search: settings.sections.search.clone() };
        let parts = match segments {
            [] => vec![whole],
            _ => segments.iter().map(part).collect::<Result<_>>()?,
        };
        Ok(Annealing { settings, parts, knows_forces })
    }
}

/// The schedule of a segment.
#[derive(Debug)]
struct Part {
    /// Number of its first round.
    first: u32,
    /// Temperature of the round before it, eV.
    reached_kt_ev: Option<f64>,
    search: SearchSection,
}

impl Annealing<'_> {
    /// Section `[search]` of the segment that round `number` belongs to.
    pub(super) fn search_of(&self, number: u32) -> &SearchSection {
        let part = self.parts.iter().rev().find(|part| part.first <= number);
        part.map_or(&self.settings.sections.search, |part| &part.search)
    }

    /// Temperature of round `number` (eV) where the first one has `kt_initial_ev`.
    pub(super) fn kt_ev_from(&self, kt_initial_ev: f64, number: u32) -> f64 {
        let part = self.parts.iter().rev().find(|part| part.first <= number);
        part.map_or(kt_initial_ev, |part| part.kt_ev(kt_initial_ev, number))
    }
}

impl Part {
    fn kt_ev(&self, kt_initial_ev: f64, number: u32) -> f64 {
        let SearchSection { iterations, kt_final_ev, .. } = self.search;
        match self.reached_kt_ev {
            // The round before the segment is the first of this schedule, and is done.
            Some(reached) => {
                let before = |n: usize| (n + 1).saturating_sub(self.first as usize);
                temperature(before(number as usize), before(iterations), reached, kt_final_ev)
            }
            None => temperature(number as usize, iterations, kt_initial_ev, kt_final_ev),
        }
    }
}

impl Plan for Annealing<'_> {
    fn next(&mut self, history: &History) -> Option<Round> {
        let number = history.last().map_or(0, |last| last.number + 1);
        let part = self.parts.iter().rev().find(|part| part.first <= number)?;
        let n_seeds = if number == 0 { self.settings.seeds.len() } else { 0 };
        (number < self.n_rounds()).then(|| Round {
            number,
            kt_ev: part.kt_ev(part.search.kt_initial_ev, number),
            stream: RandomStream { seed: self.settings.sections.search.seed, iteration: u64::from(number) },
            n_samples: n_seeds + part.search.samples_per_iteration,
            forces_learned: self.settings.sections.guidance.is_some() && (number > 0 || self.knows_forces),
            parts: Vec::new(),
        })
    }

    fn n_rounds(&self) -> u32 {
        self.settings.sections.search.iterations as u32
    }
}
