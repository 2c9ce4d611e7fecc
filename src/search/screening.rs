//! Screening: of the candidates for the samples of a round, those are evaluated that the readout of the model finds lowest, and some
//! others for cover.
//!
//! The choice depends on the model, the history and the candidates of a whole part of the round. A resumed round therefore draws
//! all candidates of the part again, and evaluates the samples that are missing.

use crate::random::{Noise, Purpose};
use crate::run::{ReadoutQuality, Round};

/// Predictions this many times the readout's error below the lowest known energy are taken for holes in what the model learned.
const DEEPEST: f64 = 3.0;

/// The readout chooses only if its predictions for the last round had a larger correlation with the energies than this. A model
/// that is still learning what structures look like would choose worse than chance.
const LEAST_CORRELATION: f64 = 0.0;

/// What the choice knows about a candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// Label of the predicted energy.
    pub label: f64,
    /// The predicted energy, eV.
    pub energy_ev: f64,
    /// Whether an evaluation would bring something: it is no known minimum, has room for its atoms, and is not another candidate
    /// again.
    pub is_new: bool,
}

/// The choice in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screening {
    noise: Noise,
    kt_ev: f64,
    /// Lower labels are not believed.
    lowest_label: f64,
    /// Candidates for every sample; 1: the readout is only tested.
    n_candidates: usize,
}

impl Screening {
    /// For `round` with `screen` candidates for every sample, if the readout predicted the last round's energies so well that it may
    /// choose. The lowest known energy has the label 0.
    pub fn new(round: &Round, screen: usize, quality: Option<ReadoutQuality>) -> Self {
        let noise = Noise::new(round.stream.seed, Purpose::Screening, round.stream.iteration);
        let chooses = quality.is_some_and(|quality| quality.correlation > LEAST_CORRELATION);
        let lowest_label = quality.map_or(f64::NEG_INFINITY, |quality| -DEEPEST * quality.error);
        Screening { noise, kt_ev: round.kt_ev, lowest_label, n_candidates: if chooses { screen } else { 1 } }
    }

    /// Candidates for every sample.
    pub fn n_candidates(&self) -> usize {
        self.n_candidates
    }

    /// The places of the `n` of `candidates`, at least as many, that are evaluated, most promising first. Half of them, rounded up,
    /// are the lowest; the others are drawn from the rest without replacement, with probabilities that follow exp(−Ê/kT). The
    /// random numbers belong to the samples from `first` on. Candidates that bring nothing new, or whose prediction is not believed,
    /// are taken only where there are no others. All of `n` candidates keep their order.
    pub fn choose(&self, candidates: &[Candidate], n: usize, first: usize) -> Vec<usize> {
        if candidates.len() == n {
            return (0..n).collect();
        }
        let believed = |&place: &usize| candidates[place].label >= self.lowest_label;
        let (new, known): (Vec<usize>, Vec<usize>) = (0..candidates.len()).partition(|&place| candidates[place].is_new);
        let (mut good, mut doubtful): (Vec<usize>, Vec<usize>) = new.into_iter().partition(believed);
        good.sort_by(|&a, &b| candidates[a].label.total_cmp(&candidates[b].label));
        let mut rest = good.split_off(n.div_ceil(2).min(good.len()));
        // The largest keys −Ê/kT + Gumbel are such a draw (Efraimidis and Spirakis, Inf. Process. Lett. 97, 181, 2006).
        let key = |place: usize| {
            let [uniform, ..] = self.noise.uniforms(first as u32, place as u32, 0, 0);
            -candidates[place].energy_ev / self.kt_ev - (-uniform.ln()).ln()
        };
        rest.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
        doubtful.sort_by(|&a, &b| candidates[b].label.total_cmp(&candidates[a].label));
        good.into_iter().chain(rest).chain(doubtful).chain(known).take(n).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RandomStream;

    fn round(iteration: u64) -> Round {
        let stream = RandomStream { seed: 3, iteration };
        Round { number: 2, kt_ev: 0.1, stream, n_samples: 4, forces_learned: true, parts: Vec::new() }
    }

    const KEEN: Option<ReadoutQuality> = Some(ReadoutQuality { error: 0.2, correlation: 0.5 });

    fn candidate(label: f64) -> Candidate {
        Candidate { label, energy_ev: label, is_new: true }
    }

    /// Half are the lowest, in their order; known ones, and those far below everything known, come last.
    #[test]
    fn the_lowest_are_chosen_first() {
        let mut candidates: Vec<Candidate> = [0.3, 0.1, -0.5, 0.2, -2.0, 0.4, 0.0].map(candidate).to_vec();
        candidates[6].is_new = false;
        let screening = Screening::new(&round(2), 2, KEEN);
        let chosen = screening.choose(&candidates, 4, 0);
        assert_eq!(chosen[..2], [2, 1]);
        assert!([0, 3, 5].contains(&chosen[2]) && [0, 3, 5].contains(&chosen[3]), "{chosen:?}");
        let six = screening.choose(&candidates, 6, 0);
        assert_eq!((&six[..3], six[5]), (&[2, 1, 3][..], 4), "three are half of six");
        let trusting = Screening::new(&round(2), 2, Some(ReadoutQuality { error: 1.0, correlation: 0.5 }));
        assert_eq!(trusting.choose(&candidates, 4, 0)[..2], [4, 2]);
        assert_eq!(screening.choose(&candidates[5..], 1, 0), [0]);
        candidates[5].is_new = false;
        assert_eq!(screening.choose(&candidates[5..], 1, 0), [0], "there is no new one");
    }

    /// Labels that are no numbers are the last to be believed.
    #[test]
    fn no_numbers_are_not_believed() {
        let candidates = [candidate(f64::NAN), candidate(5.0), candidate(7.0)];
        assert_eq!(Screening::new(&round(0), 2, KEEN).choose(&candidates, 2, 0), [1, 2]);
    }

    /// Of two candidates that differ by kT·ln 3, the lower one is drawn three times as often.
    #[test]
    fn cover_follows_the_boltzmann_factor() {
        let energies = [-0.1, 0.0, 0.1 * 3.0_f64.ln()].map(candidate);
        let lower = (0..4000).filter(|&k| Screening::new(&round(k), 2, KEEN).choose(&energies, 2, 0)[1] == 1);
        let share = lower.count() as f64 / 4000.0;
        assert!((share - 0.75).abs() < 0.03, "{share}");
    }

    /// A readout chooses once it has shown that it can tell low from high.
    #[test]
    fn a_poor_readout_does_not_choose() {
        let with = |correlation: f64| Screening::new(&round(1), 4, Some(ReadoutQuality { error: 0.5, correlation }));
        assert_eq!(Screening::new(&round(1), 4, None).n_candidates(), 1);
        assert_eq!([with(-0.7), with(0.0), with(0.7)].map(|screening| screening.n_candidates()), [1, 1, 4]);
        let candidates = [0.3, 0.1, 0.2].map(candidate);
        assert_eq!(with(-0.7).choose(&candidates, 3, 0), [0, 1, 2], "their order is that of the proposals");
    }
}
