//! Draws the samples of a round that are not recorded yet: proposes them, relaxes them on learned forces and sends them to be
//! evaluated.

use super::screening::{Candidate, Screening};
use crate::archive::{Entry, Origin};
use crate::config::Settings;
use crate::diffusion::CorrectorSettings;
use crate::engine::{Engine, FreePositions, Progress, no_force_head};
use crate::error::{Error, Result};
use crate::gpu::profiler_range;
use crate::minima::{Comparison, Shape, Tolerances};
use crate::objective::EnergyScale;
use crate::proposal::{Proposal, candidate};
use crate::run::progress::Phase;
use crate::run::{Drawn, History, Part, Reporter, Round, Sample};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::mpsc::Sender;

/// Most structures drawn before they are evaluated. A kill costs at most this many.
const SAMPLES_AT_ONCE: usize = 128;
/// Fewest structures drawn at once where evaluation is slow: engines draw this many about as fast as one.
const FEWEST_AT_ONCE: usize = 16;

/// The parts that draw samples.
pub(super) struct Drawing<'a, 'p> {
    pub settings: &'a Settings,
    pub engine: &'a mut dyn Engine,
    pub proposals: &'a mut [Box<dyn Proposal + 'p>],
    pub reporter: &'a Reporter,
    pub round: &'a Round,
    /// What the samples are chosen by, if the round is screened.
    pub screening: Option<(Screening, EnergyScale)>,
    /// Tells apart the candidates of rounds that are screened.
    pub comparison: &'a OnceLock<Comparison>,
    /// The samples of a part that were chosen from their candidates, by the index of the first one.
    pub chosen: BTreeMap<usize, Vec<Sample>>,
}

/// How the samples of `round` are chosen by what `history` tells, with the scale of the model's readout; `None` if they are not.
pub(super) fn screening(settings: &Settings, round: &Round, history: &History) -> Option<(Screening, EnergyScale)> {
    let unit_ev = settings.sections.guidance.filter(|_| round.forces_learned)?.energy_unit_ev;
    let screen = settings.sections.proposals.unwrap_or_default().screen;
    let scale = history.energy_scale(history.known().len(), unit_ev).filter(|_| screen > 1)?;
    Some((Screening::new(round, screen, history.readout_quality(unit_ev)), scale))
}

impl Drawing<'_, '_> {
    /// Draws the samples in `ranges`, range by range, and sends each range when it is done; ends early with the error of `stop`.
    /// No range reaches beyond one of [`stretches`].
    pub fn draw(
        &mut self,
        ranges: &[Range<usize>],
        sender: &Sender<Drawn>,
        stop: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        for range in ranges {
            let _range = profiler_range("sample");
            let samples = match self.screening {
                Some(by) if self.relaxation(range.start).is_some() => self.screened(range, by, stop)?,
                _ => {
                    let structures = self.at_rest(range.clone(), 0, stop)?;
                    let sample = |(index, free)| Sample { free, origin: self.origin(index, 0), predicted_ev: None };
                    range.clone().zip(structures).map(sample).collect()
                }
            };
            if sender.send((range.start, samples)).is_err() {
                return Err(Error::Interrupted);
            }
        }
        Ok(())
    }

    /// Candidates `number` for the samples in `range`, where they come to rest on learned forces if they relax; the samples
    /// themselves are their candidates 0.
    fn at_rest(
        &mut self,
        range: Range<usize>,
        number: usize,
        stop: &dyn Fn() -> Result<()>,
    ) -> Result<Vec<FreePositions>> {
        let n_reverse = self.settings.sections.diffusion.steps;
        let relaxation = self.relaxation(range.start);
        self.reporter.phase(Phase::Sample, n_reverse + relaxation.map_or(0, |(n_steps, _)| n_steps));
        let reporter = self.reporter;
        let mut advance = |step| {
            reporter.advance(step);
            stop()
        };
        let mut structures = self.proposed(&range, number, &mut advance)?;
        if let Some((n_steps, corrector)) = relaxation {
            let mut advance = |step| advance(n_reverse + step);
            self.engine.relax(&mut structures, &corrector, n_steps, &mut advance)?;
            let mut advance = |_| advance(n_steps);
            let first = candidate(number, range.start);
            self.try_again(n_steps, &corrector, first, &mut structures, &mut advance)?;
        }
        if structures.iter().flatten().flatten().all(|x| x.is_finite()) {
            return Ok(structures);
        }
        Err(Error::Failed(format!(
            "iteration {}: the model sends atoms to places that are not numbers; lower training.learning_rate",
            self.round.number + 1
        )))
    }

    /// The samples in `range`, chosen from their candidates.
    fn screened(
        &mut self,
        range: &Range<usize>,
        (screening, scale): (Screening, EnergyScale),
        stop: &dyn Fn() -> Result<()>,
    ) -> Result<Vec<Sample>> {
        let mut samples = Vec::with_capacity(range.len());
        for part in &self.round.parts {
            let (first, wanted) = (part.samples.start, shared(range, &part.samples));
            if wanted.is_empty() {
                continue;
            }
            if !self.chosen.contains_key(&first) {
                let (candidates, mut structures) = self.candidates(part, (screening.n_candidates(), scale), stop)?;
                let chosen = screening.choose(&candidates, part.samples.len(), first).into_iter().map(|place| {
                    let (number, index) = (place / part.samples.len(), first + place % part.samples.len());
                    Sample {
                        free: std::mem::take(&mut structures[place]),
                        origin: self.origin(index, number),
                        predicted_ev: Some(candidates[place].energy_ev).filter(|energy| energy.is_finite()),
                    }
                });
                let chosen = chosen.collect();
                self.chosen.insert(first, chosen);
            }
            samples.extend_from_slice(&self.chosen[&first][wanted.start - first..wanted.end - first]);
        }
        Ok(samples)
    }

    /// All candidates for the samples of `part`, at rest on learned forces, number by number.
    fn candidates(
        &mut self,
        part: &Part,
        (n_candidates, scale): (usize, EnergyScale),
        stop: &dyn Fn() -> Result<()>,
    ) -> Result<(Vec<Candidate>, Vec<FreePositions>)> {
        let system = &self.settings.system;
        let comparison = self.comparison.get_or_init(|| Comparison::of_system(system));
        let (mut candidates, mut structures, mut shapes) = (Vec::new(), Vec::new(), Vec::<Shape>::new());
        for number in 0..n_candidates {
            for start in part.samples.clone().step_by(SAMPLES_AT_ONCE) {
                let range = start..part.samples.end.min(start + SAMPLES_AT_ONCE);
                let at_rest = self.at_rest(range, number, stop)?;
                let labels = self.engine.readout(&at_rest)?.ok_or_else(no_force_head)?;
                for (free, label) in at_rest.iter().zip(labels) {
                    let shape = comparison.shape(&system.structure(free));
                    let tolerance = Tolerances::RELAXED.distance_angstrom;
                    let is_new = system.has_room(free, self.settings.sections.search.shortest_distance())
                        && !self.round.parts.iter().any(|part| self.proposals[part.proposal].knows(&shape))
                        && !shapes.iter().any(|other| comparison.same(other, &shape, tolerance));
                    candidates.push(Candidate { label, energy_ev: scale.energy(label), is_new });
                    shapes.push(shape);
                }
                structures.extend(at_rest);
            }
        }
        Ok((candidates, structures))
    }

    /// What the archive notes about the origin of candidate `number` for sample `index`, which is drawn.
    fn origin(&self, index: usize, number: usize) -> Option<Origin> {
        let part = self.round.parts.iter().find(|part| part.samples.contains(&index))?;
        self.proposals[part.proposal].origin(candidate(number, index))
    }

    /// Steps of the relaxation on learned forces of sample `index`, and how far each may go; `None` if it does not relax.
    fn relaxation(&self, index: usize) -> Option<(usize, CorrectorSettings)> {
        let sections = &self.settings.sections;
        let part = self.round.parts.iter().find(|part| part.samples.contains(&index))?;
        if !self.proposals[part.proposal].relaxes() {
            return None;
        }
        let guidance = sections.guidance.filter(|_| self.round.forces_learned)?;
        Some((sections.proposals.unwrap_or_default().relax_steps, guidance.settings().corrector()))
    }

    /// Candidates `number` for the samples in `range`, as their proposals draw them.
    fn proposed(&mut self, range: &Range<usize>, number: usize, progress: Progress) -> Result<Vec<FreePositions>> {
        let mut structures = Vec::with_capacity(range.len());
        for part in &self.round.parts {
            let samples = shared(range, &part.samples);
            if !samples.is_empty() {
                let proposal = &mut self.proposals[part.proposal];
                let indices = candidate(number, samples.start)..candidate(number, samples.end);
                structures.extend(proposal.draw(self.round, indices, self.engine, progress)?);
            }
        }
        Ok(structures)
    }

    /// Relaxes some of `structures` again, from another start that a proposal has for them. All are at rest and are the samples
    /// from `first` on.
    fn try_again(
        &mut self,
        n_steps: usize,
        corrector: &CorrectorSettings,
        first: usize,
        structures: &mut [FreePositions],
        progress: Progress,
    ) -> Result<()> {
        let mut asked: Vec<usize> = (0..structures.len()).collect();
        for attempt in 1.. {
            let (known, mut starts): (Vec<usize>, Vec<FreePositions>) = asked
                .into_iter()
                .filter_map(|k| Some((k, self.another_start(first + k, attempt, &structures[k])?)))
                .unzip();
            asked = known;
            if asked.is_empty() {
                break;
            }
            self.engine.relax(&mut starts, corrector, n_steps, progress)?;
            asked.iter().zip(starts).for_each(|(&k, structure)| structures[k] = structure);
        }
        Ok(())
    }

    fn another_start(&mut self, index: usize, attempt: usize, at_rest: &FreePositions) -> Option<FreePositions> {
        let Drawing { proposals, round, .. } = self;
        round.parts.iter().find_map(|part| proposals[part.proposal].again(round, index, attempt, at_rest))
    }
}

/// What two ranges share.
fn shared(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}

/// The samples of `round`, divided where samples that relax on learned forces and samples that do not relax meet.
pub(super) fn stretches(round: &Round, proposals: &[Box<dyn Proposal + '_>]) -> Vec<Range<usize>> {
    let relaxes = |part: &&Part| proposals[part.proposal].relaxes();
    let parts: Vec<&Part> = round.parts.iter().collect();
    let alike = parts.chunk_by(|a, b| relaxes(a) == relaxes(b));
    alike.map(|parts| parts[0].samples.start..parts[parts.len() - 1].samples.end).collect()
}

/// The indices in `samples` that are not recorded, in ranges. No range is longer than the number that suits a potential which
/// works on `n_at_once` structures at a time.
pub(super) fn missing(recorded: &[Entry], samples: Range<usize>, n_at_once: Option<usize>) -> Vec<Range<usize>> {
    let n_at_once = n_at_once.map_or(SAMPLES_AT_ONCE, |n| n.clamp(FEWEST_AT_ONCE, SAMPLES_AT_ONCE));
    let recorded = recorded.iter().map(|entry| entry.index as usize).filter(|index| samples.contains(index));
    let ends = recorded.clone().chain([samples.end]);
    let starts = std::iter::once(samples.start).chain(recorded.map(|index| index + 1));
    let gaps = starts.zip(ends).map(|(start, end)| start..end);
    gaps.flat_map(|gap| {
        let end = gap.end;
        gap.step_by(n_at_once).map(move |start| start..end.min(start + n_at_once))
    })
    .collect()
}
