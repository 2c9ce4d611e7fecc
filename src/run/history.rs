//! The knowledge of a search: every recorded structure, read from the archive once and kept from then on.

use super::Round;
use crate::archive::{Archive, Counts, Entry, Origin, Status};
use crate::buffer::{self, Candidate};
use crate::error::Result;
use crate::objective::EnergyScale;
use crate::statistics::correlation;
use crate::system::Vec3;
use std::collections::BTreeMap;

/// A structure whose energy counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its key in the archive.
    pub key: (u32, u32),
    /// Where it comes from, if the archive notes it.
    pub origin: Option<Origin>,
    /// The energy that the model predicted before the evaluation, eV, if it did.
    pub predicted_ev: Option<f64>,
    /// Potential energy, eV.
    pub energy_ev: f64,
    /// Positions of the free atoms, n × 3, Å.
    pub positions: Vec<Vec3>,
    /// Forces on the free atoms, n × 3, eV/Å, if they are known.
    pub forces: Option<Vec<Vec3>>,
}

/// A round whose structures are all recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    /// Its number.
    pub number: u32,
    /// The temperature at which the model learns from it, eV.
    pub kt_ev: f64,
    /// Structures that the buffer may hold when the model learns from it; the whole part counts.
    pub buffer: f64,
    /// What became of its structures.
    pub counts: Counts,
    /// Structures known before it.
    pub n_known_before: usize,
}

/// How well a model predicted the energies of a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadoutQuality {
    /// Root mean square error of the labels.
    pub error: f64,
    /// Pearson's correlation of predicted with true labels, −1 to 1; 0 if all are the same.
    pub correlation: f64,
}

/// The rounds of a search so far. A plan, a proposal and a lesson decide by this alone, so a resumed search decides in the same
/// way.
#[derive(Debug)]
pub struct History {
    n_template: usize,
    seed: u64,
    buffer: f64,
    /// In the order of their keys.
    known: Vec<Known>,
    /// The keys and energies of `known`, from which the buffer is drawn.
    candidates: Vec<Candidate>,
    rounds: Vec<Sampled>,
    /// Answers in the archive to rounds that this process has not sampled yet: the run was killed or fell back to an older
    /// checkpoint.
    answered: BTreeMap<u32, Vec<Entry>>,
    /// The structures of the round that is not closed, in order of their index.
    open: Vec<Entry>,
}

impl History {
    /// Reads `archive`. Its structures have `n_template` atoms before the free ones, and its run has this `seed`, draws a `buffer`
    /// of so many structures, unless rounds are settled otherwise, and has closed `n_closed` rounds.
    ///
    /// # Errors
    /// `Storage`.
    pub fn read(archive: &Archive, n_template: usize, seed: u64, buffer: usize, n_closed: u32) -> Result<Self> {
        let mut history = History {
            n_template,
            seed,
            buffer: buffer as f64,
            known: Vec::new(),
            candidates: Vec::new(),
            rounds: Vec::new(),
            answered: BTreeMap::new(),
            open: Vec::new(),
        };
        archive.visit(&mut |entry| {
            if entry.iteration >= n_closed {
                history.answered.entry(entry.iteration).or_default().push(entry);
                return;
            }
            if history.rounds.last().is_none_or(|round| round.number != entry.iteration) {
                history.push_round(entry.iteration, entry.kt_ev);
            }
            history.take_in(&entry);
        })?;
        history.open = history.answered.remove(&n_closed).unwrap_or_default();
        Ok(history)
    }

    /// Structures whose energy counts, in the order of their keys.
    pub fn known(&self) -> &[Known] {
        &self.known
    }

    /// Rounds whose structures are all recorded, in their order.
    pub fn rounds(&self) -> &[Sampled] {
        &self.rounds
    }

    /// The last of [`History::rounds`].
    pub fn last(&self) -> Option<&Sampled> {
        self.rounds.last()
    }

    /// The recorded structures of the round that is not closed, in order of their index.
    pub fn open(&self) -> &[Entry] {
        &self.open
    }

    /// The recorded structures among the first `n_samples` of the round that is not closed.
    pub fn open_among(&self, n_samples: usize) -> &[Entry] {
        &self.open[..self.open.partition_point(|entry| (entry.index as usize) < n_samples)]
    }

    /// Energies (eV) of the structures that count, of round `place` of [`History::rounds`].
    pub fn energies_of(&self, place: usize) -> impl Iterator<Item = f64> + Clone {
        self.energies_until(place).skip(self.rounds[place].n_known_before)
    }

    /// Energies (eV) of the structures that count, of the rounds up to `place` of [`History::rounds`].
    pub fn energies_until(&self, place: usize) -> impl Iterator<Item = f64> + Clone {
        let end = self.rounds.get(place + 1).map_or(self.known.len(), |next| next.n_known_before);
        self.known[..end].iter().map(|known| known.energy_ev)
    }

    /// The scale of the labels, with this unit (eV), of a readout that is trained on the first `n_known` known structures. `None` if
    /// there are none.
    pub fn energy_scale(&self, n_known: usize, unit_ev: f64) -> Option<EnergyScale> {
        let energies = self.known[..n_known].iter().map(|known| known.energy_ev);
        energies.reduce(f64::min).map(|reference_ev| EnergyScale { reference_ev, unit_ev })
    }

    /// How well the model predicted the energies of the last round, on labels with this unit (eV); `None` if it predicted none.
    pub fn readout_quality(&self, unit_ev: f64) -> Option<ReadoutQuality> {
        let n_before = self.last()?.n_known_before;
        let scale = self.energy_scale(n_before, unit_ev)?;
        let pair = |known: &Known| Some((scale.label(known.predicted_ev?), scale.label(known.energy_ev)));
        let (predicted, found): (Vec<f64>, Vec<f64>) = self.known[n_before..].iter().filter_map(pair).unzip();
        let squares = predicted.iter().zip(&found).map(|(a, b)| (a - b) * (a - b));
        let error = (squares.sum::<f64>() / predicted.len().max(1) as f64).sqrt();
        (!predicted.is_empty()).then(|| ReadoutQuality { error, correlation: correlation(&predicted, &found) })
    }

    /// Draws the buffer of the last round from the known structures with probabilities that follow exp(−E/kT)
    /// ([`buffer::draw`]); gives their places in [`History::known`] and their Boltzmann weights, mean 1.
    pub fn draw(&self) -> (Vec<usize>, Vec<f64>) {
        let Some(&Sampled { number, kt_ev, buffer, .. }) = self.last() else { return (Vec::new(), Vec::new()) };
        let places = buffer::draw(&self.candidates, kt_ev, buffer as usize, self.seed, u64::from(number));
        let energies: Vec<f64> = places.iter().map(|&place| self.known[place].energy_ev).collect();
        (places, buffer::boltzmann_weights(&energies, kt_ev))
    }

    /// Sets how the model learns from round `place` of [`History::rounds`]: at which temperature kT, eV, and from a buffer of which
    /// size.
    pub(crate) fn settle(&mut self, place: usize, (kt_ev, buffer): (f64, f64)) {
        let round = &mut self.rounds[place];
        (round.kt_ev, round.buffer) = (kt_ev, buffer);
    }

    /// Begins `round`. The structures of it that the archive holds are now open.
    pub(crate) fn begin(&mut self, round: &Round) {
        self.open.extend(self.answered.remove(&round.archive_key()).unwrap_or_default());
    }

    /// Adds structures of the open round that were recorded.
    pub(crate) fn recorded(&mut self, entries: Vec<Entry>) {
        self.open.extend(entries);
        self.open.sort_by_key(|entry| entry.index);
    }

    /// All structures of the open round are recorded. Those that count are known from here on.
    pub(crate) fn sampled(&mut self, round: &Round) {
        self.push_round(round.number, round.kt_ev);
        let open = std::mem::take(&mut self.open);
        open.iter().for_each(|entry| self.take_in(entry));
        self.open = open;
    }

    /// Closes the open round; gives its structures.
    pub(crate) fn close(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.open)
    }

    fn push_round(&mut self, number: u32, kt_ev: f64) {
        let n_known_before = self.known.len();
        self.rounds.push(Sampled { number, kt_ev, buffer: self.buffer, counts: Counts::default(), n_known_before });
    }

    fn take_in(&mut self, entry: &Entry) {
        if let Some(round) = self.rounds.last_mut() {
            *round.counts.of_mut(entry.status) += 1;
        }
        let &Entry { iteration, index, status, origin, predicted_ev, energy, .. } = entry;
        let (Status::Ok, Some(energy_ev)) = (status, energy) else { return };
        let (positions, n_template) = (entry.free_positions.clone(), self.n_template);
        let forces = entry.forces.as_ref().map(|forces| forces[n_template..].to_vec());
        self.candidates.push(Candidate { iteration, index, energy: energy_ev });
        self.known.push(Known { key: (iteration, index), origin, predicted_ev, energy_ev, positions, forces });
    }
}
