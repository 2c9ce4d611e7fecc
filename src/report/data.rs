//! All data of a run, from its folder.

use super::folders::name_of;
use crate::archive::{Archive, Entry, Status};
use crate::benchmark::Method;
use crate::buffer::{self, Candidate};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::minima::{Minimum, Source, Tolerances, distinct};
use crate::run::{IterationMetrics, RunDirectory, Segment, Summary, read_metrics};
use crate::system::Vec3;
use std::path::{Path, PathBuf};

/// Number of distinct structures that are looked for.
const N_MINIMA: usize = 12;

/// A run, read from its folder.
#[derive(Debug)]
pub struct RunData {
    /// The folder.
    pub folder: PathBuf,
    /// Its name.
    pub name: String,
    /// The configuration.
    pub settings: Settings,
    /// The method of the run.
    pub method: Method,
    /// The state of the run.
    pub summary: Summary,
    /// How it was extended, in words; empty if it never was.
    pub extensions: Vec<String>,
    /// Its finished iterations.
    pub metrics: Vec<IterationMetrics>,
    /// Everything sampled, in order of (iteration, index).
    pub samples: Vec<Sample>,
    /// The distinct structures of lowest energy.
    pub minima: Vec<Minimum>,
    /// The tolerances that separate these structures.
    pub tolerances: Tolerances,
}

/// A sampled structure.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Iteration, from 0.
    pub iteration: u32,
    /// Index within the iteration, from 0.
    pub index: u32,
    /// Temperature, eV.
    pub kt_ev: f64,
    /// What became of it.
    pub status: Status,
    /// Evaluations up to and with this one.
    pub evaluation: u64,
    /// Potential energy, eV.
    pub energy: Option<f64>,
    /// Positions of the n free atoms, Å.
    pub free: Vec<Vec3>,
}

impl Sample {
    /// Energy of a structure that counts, eV.
    pub fn ok_energy(&self) -> Option<f64> {
        self.energy.filter(|energy| self.status == Status::Ok && energy.is_finite())
    }
}

impl RunData {
    /// Reads the run in `folder`. A run that was stopped before it had metrics or an archive has none here either.
    ///
    /// # Errors
    /// `BadInput` if the configuration, the summary, the metrics or the archive cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let settings = Settings::load(&RunDirectory::config_of(folder))?;
        let summary = summary(folder)?;
        let metrics = match RunDirectory::metrics_of(folder) {
            path if path.exists() => read_metrics(&path)?,
            _ => Vec::new(),
        };
        let samples = samples(folder, &settings, metrics.len() as u32)?;
        let method = Method::of(&settings.sections);
        let source = Source::of(folder);
        let tolerances = source.tolerances();
        // Without samples there may be no archive either.
        let minima = if samples.is_empty() { Vec::new() } else { distinct(&[source], tolerances, N_MINIMA)? };
        // A file of a later version does not hide the results.
        let segments = RunDirectory::segments_of(folder).unwrap_or_default();
        let extensions = segments.iter().filter_map(Segment::describe).collect();
        let (folder, name) = (folder.to_owned(), name_of(folder));
        Ok(RunData { folder, name, settings, method, summary, extensions, metrics, samples, minima, tolerances })
    }

    /// Energies (eV) of the buffer that the model was trained on in iteration `metrics`, drawn again as the search drew it; empty
    /// without one.
    pub fn buffer_energies(&self, metrics: &IterationMetrics) -> Vec<f64> {
        if metrics.buffer_median_ev.is_none() {
            return Vec::new();
        }
        let known = self.samples.iter().filter(|sample| sample.iteration <= metrics.iteration);
        let candidate = |sample: &Sample| {
            Some(Candidate { iteration: sample.iteration, index: sample.index, energy: sample.ok_energy()? })
        };
        let candidates: Vec<Candidate> = known.filter_map(candidate).collect();
        let size = metrics.buffer.map_or(self.settings.sections.search.buffer, |n| n as usize);
        let drawn = buffer::draw(&candidates, metrics.kt_ev, size, self.summary.seed, u64::from(metrics.iteration));
        drawn.into_iter().map(|place| candidates[place].energy).collect()
    }

    /// The iterations that have samples, with their temperature (eV).
    pub fn temperatures(&self) -> Vec<(u32, f64)> {
        let mut temperatures: Vec<(u32, f64)> = Vec::new();
        for sample in &self.samples {
            if temperatures.last().is_none_or(|(iteration, _)| *iteration != sample.iteration) {
                temperatures.push((sample.iteration, sample.kt_ev));
            }
        }
        temperatures
    }

    /// The sample of lowest energy that counts, the first of equal ones.
    pub fn best(&self) -> Option<&Sample> {
        let counts = self.samples.iter().filter_map(|sample| Some((sample.ok_energy()?, sample)));
        counts.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, sample)| sample)
    }
}

/// The summary of the run in `folder`.
pub fn summary(folder: &Path) -> Result<Summary> {
    RunDirectory::summary_of(folder).ok_or_else(|| {
        let message = "has no summary.json that can be read; resume the run with --resume, or start it again";
        Error::bad_file(folder, message)
    })
}

/// The samples of the archive. It is read iteration by iteration, so that the forces of only one iteration are in memory.
fn samples(folder: &Path, settings: &Settings, n_iterations: u32) -> Result<Vec<Sample>> {
    let path = RunDirectory::archive_of(folder);
    let mut samples = Vec::new();
    // A kill in the first moment leaves an empty file.
    if !path.metadata().is_ok_and(|file| file.len() > 0) {
        return Ok(samples);
    }
    let archive = Archive::open(&path, &settings.system)?;
    let mut evaluation = 0;
    for iteration in 0.. {
        let entries = archive.entries(iteration)?;
        if entries.is_empty() && iteration >= n_iterations {
            break;
        }
        for Entry { iteration, index, kt_ev, status, free_positions, energy, .. } in entries {
            evaluation += u64::from(status.is_evaluated());
            samples.push(Sample { iteration, index, kt_ev, status, evaluation, energy, free: free_positions });
        }
    }
    Ok(samples)
}
