//! Draws the samples of a round that are not recorded yet: proposes them, relaxes them on learned forces and sends them to be
//! evaluated.

use crate::archive::{Entry, Origin};
use crate::config::Settings;
use crate::diffusion::CorrectorSettings;
use crate::engine::{Engine, FreePositions, Progress};
use crate::error::{Error, Result};
use crate::gpu::profiler_range;
use crate::proposal::Proposal;
use crate::run::progress::Phase;
use crate::run::{Drawn, Part, Reporter, Round, Sample};
use std::ops::Range;
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
        let n_reverse = self.settings.sections.diffusion.steps;
        for range in ranges {
            let _range = profiler_range("sample");
            let relaxation = self.relaxation(range.start);
            self.reporter.phase(Phase::Sample, n_reverse + relaxation.map_or(0, |(n_steps, _)| n_steps));
            let reporter = self.reporter;
            let mut advance = |step| {
                reporter.advance(step);
                stop()
            };
            let mut structures = self.proposed(range, &mut advance)?;
            if let Some((n_steps, corrector)) = relaxation {
                let mut advance = |step| advance(n_reverse + step);
                self.engine.relax(&mut structures, &corrector, n_steps, &mut advance)?;
                let mut advance = |_| advance(n_steps);
                self.try_again(n_steps, &corrector, range.start, &mut structures, &mut advance)?;
            }
            if !structures.iter().flatten().flatten().all(|x| x.is_finite()) {
                return Err(Error::Failed(format!(
                    "iteration {}: the model sends atoms to places that are not numbers; lower training.learning_rate",
                    self.round.number + 1
                )));
            }
            let samples =
                (range.start..).zip(structures).map(|(index, free)| Sample { free, origin: self.origin(index) });
            if sender.send((range.start, samples.collect())).is_err() {
                return Err(Error::Interrupted);
            }
        }
        Ok(())
    }

    /// What the archive notes about the origin of sample `index`, which is drawn.
    fn origin(&self, index: usize) -> Option<Origin> {
        let part = self.round.parts.iter().find(|part| part.samples.contains(&index))?;
        self.proposals[part.proposal].origin(index)
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

    /// The samples in `range`, as their proposals draw them.
    fn proposed(&mut self, range: &Range<usize>, progress: Progress) -> Result<Vec<FreePositions>> {
        let mut structures = Vec::with_capacity(range.len());
        for part in &self.round.parts {
            let samples = range.start.max(part.samples.start)..range.end.min(part.samples.end);
            if !samples.is_empty() {
                let proposal = &mut self.proposals[part.proposal];
                structures.extend(proposal.draw(self.round, samples, self.engine, progress)?);
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
