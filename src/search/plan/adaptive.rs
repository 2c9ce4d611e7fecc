//! Temperature, number of samples and buffer follow from what the search finds: the controllers of the program of GO-Diff's
//! authors (github.com/nronne/go-diff), whose paper leaves them open (arXiv:2510.13448, section 5).

use super::{Annealing, Plan};
use crate::archive::Status;
use crate::buffer::{boltzmann_weights, effective_sample_size};
use crate::config::{AdaptiveSection, Settings};
use crate::error::Result;
use crate::run::{History, Round, Segment};
use crate::statistics::mean_and_variance;

/// Lowest temperature that follows from energies which are all alike, eV.
const LOWEST_KT_EV: f64 = 1e-6;
/// Weight of the buffer's size so far; the effective sample size has the rest.
const BUFFER_MEMORY: f64 = 0.8;
/// Above this heat capacity, in units of Boltzmann's constant, the temperature falls slowly.
const HEAT_CAPACITY: f64 = 1.0;

/// The rounds of [`Annealing`], each with the part of `[adaptive]` that is given:
///
/// - the first temperature is k·std(E) of the first round's energies;
/// - a later round's temperature is that of the round before, times the slow factor if the heat capacity Var(E)/kT² of the round's
///   energies at the temperature before is above 1, else times the fast one; it does not fall below `kt_final_ev`;
/// - a round but the first draws further samples until the effective sample size (Σw)²/Σw² of its energies, w = exp(−E/kT), is large
///   enough;
/// - the size of the buffer is B ← clip(0.8·B + 0.2·⌊effective sample size of all energies at the new temperature⌋).
///
/// Samples come from the model as it is before their round. So with cooling a round begins at the temperature of the round before,
/// which the archive notes, and its own is settled once its samples are recorded.
#[derive(Debug)]
pub struct Adaptive<'a> {
    schedule: Annealing<'a>,
    section: AdaptiveSection,
    n_seeds: usize,
}

impl<'a> Adaptive<'a> {
    /// For the sections `[adaptive]`, `[search]`, `[seeds]` and `[transfer]` of `settings`, in a run with these `segments`.
    ///
    /// # Errors
    /// Those of [`Annealing::new`].
    pub fn new(settings: &'a Settings, section: AdaptiveSection, segments: &[Segment]) -> Result<Self> {
        Ok(Adaptive { schedule: Annealing::new(settings, segments)?, section, n_seeds: settings.seeds.len() })
    }

    fn settled_kt_ev(&self, history: &History, place: usize) -> f64 {
        let round = history.rounds()[place];
        let lowest = self.schedule.search_of(round.number).kt_final_ev;
        let spread = mean_and_variance(history.energies_of(place)).filter(|(_, variance)| variance.is_finite());
        match (place.checked_sub(1), self.section) {
            (None, AdaptiveSection { first_kt_in_deviations: Some(k), .. }) => {
                spread.map_or(round.kt_ev, |(_, variance)| (k * variance.sqrt()).max(lowest).max(LOWEST_KT_EV))
            }
            (Some(before), AdaptiveSection { cooling: Some(factors), .. }) => {
                let kt_ev = history.rounds()[before].kt_ev;
                // The energy of one structure says nothing about their spread.
                let spread = spread.filter(|_| history.energies_of(place).nth(1).is_some());
                spread.map_or(kt_ev, |(_, variance)| cooled(kt_ev, variance, factors).max(lowest).min(kt_ev))
            }
            _ => round.kt_ev,
        }
    }

    fn settled_buffer(&self, history: &History, place: usize, kt_ev: f64) -> f64 {
        let Some([least, most]) = self.section.buffer else { return history.rounds()[place].buffer };
        let before = place.checked_sub(1).map_or(least as f64, |before| history.rounds()[before].buffer);
        let energies: Vec<f64> = history.energies_until(place).collect();
        next_buffer(before, effective_sample_size(&boltzmann_weights(&energies, kt_ev)), [least, most])
    }
}

/// The temperature after `kt_ev`, at which the energies have this `variance`.
fn cooled(kt_ev: f64, variance: f64, [slow, fast]: [f64; 2]) -> f64 {
    let heat_capacity = variance / (kt_ev * kt_ev);
    kt_ev * if heat_capacity > HEAT_CAPACITY { slow } else { fast }
}

/// The size of the buffer after the size `before`.
fn next_buffer(before: f64, effective_sample_size: f64, [least, most]: [usize; 2]) -> f64 {
    let size = BUFFER_MEMORY * before + (1.0 - BUFFER_MEMORY) * effective_sample_size.floor();
    size.clamp(least as f64, most as f64)
}

impl Plan for Adaptive<'_> {
    fn next(&mut self, history: &History) -> Option<Round> {
        let round = self.schedule.next(history)?;
        let AdaptiveSection { first_kt_in_deviations, cooling, end_at_kt_final, first_iteration_samples, .. } =
            self.section;
        let Some(last) = history.last() else {
            let n_samples = first_iteration_samples.map_or(round.n_samples, |n| self.n_seeds + n);
            return Some(Round { n_samples, ..round });
        };
        if end_at_kt_final && last.kt_ev <= self.schedule.search_of(round.number).kt_final_ev {
            return None;
        }
        let kt_ev = match (cooling, first_kt_in_deviations) {
            (Some(_), _) => last.kt_ev,
            (None, Some(_)) => self.schedule.kt_ev_from(history.rounds()[0].kt_ev, round.number),
            (None, None) => round.kt_ev,
        };
        Some(Round { kt_ev, ..round })
    }

    fn more(&self, round: &Round, history: &History) -> usize {
        let AdaptiveSection { effective_samples: Some(target), most_samples: Some(most), .. } = self.section else {
            return 0;
        };
        if round.number == 0 || round.n_samples >= most {
            return 0;
        }
        let counts = history.open_among(round.n_samples).iter().filter(|entry| entry.status == Status::Ok);
        let energies: Vec<f64> = counts.filter_map(|entry| entry.energy).collect();
        if effective_sample_size(&boltzmann_weights(&energies, round.kt_ev)) >= target {
            return 0;
        }
        self.schedule.search_of(round.number).samples_per_iteration.min(most - round.n_samples)
    }

    fn settled(&self, history: &History, place: usize) -> (f64, f64) {
        let kt_ev = self.settled_kt_ev(history, place);
        (kt_ev, self.settled_buffer(history, place, kt_ev))
    }

    fn n_rounds(&self) -> u32 {
        self.schedule.n_rounds()
    }
}
