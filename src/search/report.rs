//! What a search leaves in its run folder: after every iteration, and at the end.

use super::{Search, weights};
use crate::archive::{Entry, Status};
use crate::buffer;
use crate::engine::TrainingReport;
use crate::error::Result;
use crate::model::{ModelFile, Precision};
use crate::report::write_for_run;
use crate::run::{Best, IterationMetrics, PhaseSeconds, RunStatus, SearchProgress, Summary};
use crate::system::xyz::format_frames;

impl Search<'_> {
    /// Closes `iteration`: metrics, the checkpoint from which the next one starts, then the results so far.
    pub(super) fn close_iteration(
        &mut self,
        iteration: usize,
        kt_ev: f64,
        buffer: &[Entry],
        report: TrainingReport,
        seconds: PhaseSeconds,
    ) -> Result<()> {
        let entries = self.archive.entries(iteration as u32)?;
        self.progress = SearchProgress {
            iterations_done: iteration as u32 + 1,
            seconds: self.seconds(),
            ..self.counting(self.progress, &entries)
        };

        let ok = entries.iter().filter(|entry| entry.status == Status::Ok);
        let energies = sorted(ok.filter_map(|entry| entry.energy));
        let metrics = IterationMetrics {
            iteration: iteration as u32,
            kt_ev,
            samples: entries.len() as u64,
            counts: entries.iter().map(|entry| entry.status).collect(),
            energy_min_ev: energies.first().copied(),
            energy_median_ev: median(&energies),
            energy_max_ev: energies.last().copied(),
            buffer_median_ev: median(&sorted(buffer.iter().filter_map(|entry| entry.energy))),
            effective_sample_size: Some(buffer::effective_sample_size(&weights(buffer, kt_ev))),
            loss: Some(report.loss),
            force_loss: report.force_loss,
            learning_rate: report.learning_rate,
            best_energy_ev: self.progress.best.map(|best| best.energy_ev),
            seconds,
        };
        self.directory.finish_iteration(&metrics, self.progress, self.engine.state()?)?;
        self.reporter.iteration_done(&metrics);
        self.write_results()?;
        self.write_summary(RunStatus::Running).map(|_| ())
    }

    /// `progress` with the structures of one more iteration, which come in order of their index.
    fn counting(&self, mut progress: SearchProgress, entries: &[Entry]) -> SearchProgress {
        entries.iter().for_each(|entry| self.judge.count(&mut progress, entry));
        progress
    }

    /// What the run has come to; structures of an unfinished iteration count too.
    pub(super) fn so_far(&self) -> Result<SearchProgress> {
        let unfinished = self.archive.entries(self.progress.iterations_done)?;
        Ok(SearchProgress { seconds: self.seconds(), ..self.counting(self.progress, &unfinished) })
    }

    /// Writes `best.xyz`, of everything recorded, and `model.safetensors` as it stands after the iterations done.
    pub(super) fn write_results(&self) -> Result<()> {
        let settings = self.settings;
        let setup = settings.setup();
        let parameters = self.engine.state()?.parameters;
        let single = parameters.iter().all(|&x| f64::from(x as f32) == x);
        let mut species = settings.system.numbers();
        species.sort_unstable();
        species.dedup();
        let model = ModelFile {
            sizes: setup.sizes,
            radial_basis: settings.transfer.as_ref().and_then(|model| model.radial_basis.clone()),
            parameters,
            sde: setup.sde,
            weighting: setup.training.weighting,
            species,
        };
        model.write(&self.directory.model_path(), if single { Precision::Single } else { Precision::Double })?;
        let Some(Best { iteration, index, .. }) = self.so_far()?.best else { return Ok(()) };
        let Some(best) = self.archive.get(iteration, index)? else { return Ok(()) };
        let mut structure = settings.system.structure(&best.free_positions);
        (structure.energy, structure.forces) = (best.energy, best.forces);
        self.directory.write_best(format_frames(&[structure.into()]).as_bytes())
    }

    /// Writes `summary.json`.
    pub(super) fn write_summary(&self, status: RunStatus) -> Result<Summary> {
        let summary = self.so_far()?.summary(status, &self.engine.device());
        self.directory.write_summary(&summary)?;
        Ok(summary)
    }

    /// Writes `report.html`. What the run found stands without it, so a page that cannot be written is a message.
    pub(super) fn write_report(&self) {
        if let Err(error) = write_for_run(self.directory.path()) {
            self.reporter.message(&format!("no report.html was written: {error}"));
        }
    }

    /// Wall-clock time of the run, s.
    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }
}

pub(crate) fn sorted(energies: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut energies: Vec<f64> = energies.collect();
    energies.sort_by(f64::total_cmp);
    energies
}

/// The middle of sorted values, or the mean of the two in the middle.
pub(crate) fn median(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    match n {
        0 => None,
        _ => Some((sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0),
    }
}
