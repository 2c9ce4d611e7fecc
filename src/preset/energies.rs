//! Temperatures and advice from a few energies of the task's own potential.

use super::Means;
use super::numbers::{
    CHEAP_SECONDS, DEAR_SECONDS, HOPPING_SHARE, KT_RATIO, KT_SHARE, LEAST_KT, N_PLACED, PLACED_STEPS,
};
use crate::check::{readable, time_one_energy};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::potential::Potential;
use crate::potential::relax::{Ending, RelaxSettings, relax_all};
use crate::proposal::Placement;
use crate::statistics::mean_and_variance;
use std::sync::atomic::Ordering;

/// What a few placed structures tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Energies {
    /// Structures that were placed and relaxed a few steps.
    pub n_structures: usize,
    /// Standard deviation of their energies then, eV.
    pub spread: f64,
    /// First and last kT of the search, eV.
    pub kt: [f64; 2],
    /// kT of basin hopping, eV.
    pub hopping_kt: f64,
    /// Evaluations that this took.
    pub n_evaluations: usize,
    /// Time of one energy, s.
    pub seconds: f64,
}

impl Energies {
    /// Places some structures of `settings` and relaxes them a few steps on `potential`.
    ///
    /// # Errors
    /// `Failed` if the atoms find no room, `Evaluator` if the potential has no energy for any of them, `Interrupted`, and those of the
    /// potential.
    pub fn measure(settings: &Settings, potential: &dyn Potential, means: &Means) -> Result<Self> {
        let placement = Placement::new(settings);
        let structure = |k| Ok(settings.system.structure(&placement.structure(k)?));
        let structures = (0..N_PLACED).map(structure).collect::<Result<Vec<_>>>()?;
        let (timing, warning) = time_one_energy(settings, potential, means.interrupted, means.tell)?;
        let (Some(timing), None) = (timing, &warning) else {
            return Err(Error::Evaluator(warning.unwrap_or_else(|| "the potential gave no energy".into())));
        };
        let limits =
            RelaxSettings { max_steps: PLACED_STEPS, ..settings.sections.relaxation.unwrap_or_default().into() };
        let relaxed = relax_all(&structures, potential, &limits, &|| means.interrupted.load(Ordering::Relaxed))?;
        potential.notes().iter().for_each(|note| (means.tell)(note));
        let has_energy = |ending: &Ending| !matches!(ending, Ending::Failed(_) | Ending::NotFinite);
        let energies: Vec<f64> = relaxed.iter().filter(|r| has_energy(&r.ending)).map(|r| r.energy).collect();
        let spread = mean_and_variance(energies.iter().copied()).map_or(0.0, |(_, variance)| variance.sqrt());
        let first = rounded((KT_SHARE * spread).max(LEAST_KT));
        let asked_twice = usize::from(!timing.includes_start);
        Ok(Energies {
            n_structures: energies.len(),
            spread,
            kt: [first, rounded(first / KT_RATIO)],
            hopping_kt: rounded(HOPPING_SHARE * first),
            n_evaluations: 1 + asked_twice + relaxed.iter().map(|r| r.n_evaluations).sum::<usize>(),
            seconds: timing.seconds,
        })
    }

    /// Whether basin hopping probably ends sooner.
    pub fn are_cheap(&self) -> bool {
        self.seconds < CHEAP_SECONDS[1]
    }

    /// Whether a choice among candidates takes less time than the evaluations that it saves.
    pub fn are_dear(&self) -> bool {
        self.seconds > DEAR_SECONDS
    }

    /// The time of one energy, in readable units.
    pub fn time(&self) -> String {
        readable(self.seconds)
    }

    /// What the user should read.
    pub fn notes(&self) -> Vec<String> {
        let Energies { n_evaluations, kt: [first, last], .. } = self;
        let spent = format!(
            "{n_evaluations} evaluations of the potential chose the temperatures, kT = {first} to {last} eV; the search counts its \
             own from 1"
        );
        let [lo, hi] = CHEAP_SECONDS.map(|seconds| 1e3 * seconds);
        let advice = format!(
            "one energy takes {}: below about {lo} to {hi} ms on two cores, basin hopping is quicker, though it takes more \
             evaluations: godiff basin-hopping FILE, with the file that godiff init writes",
            self.time()
        );
        [Some(spent), self.are_cheap().then_some(advice)].into_iter().flatten().collect()
    }
}

/// `x` with two digits.
fn rounded(x: f64) -> f64 {
    format!("{x:.1e}").parse().unwrap_or(x)
}
