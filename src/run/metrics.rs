//! `metrics.jsonl`: one line for every finished iteration.

use crate::archive::Counts;
use crate::disk::{folder_of, storage_error, sync_folder, write_atomic};
use crate::error::{Error, Result};
use crate::statistics::{median, sorted};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Results of one iteration. Energies are of its `ok` structures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IterationMetrics {
    /// Number of the iteration, from 0.
    pub iteration: u32,
    /// Temperature, eV.
    pub kt_ev: f64,
    /// Structures sampled.
    pub samples: u64,
    /// How many of them have which status.
    #[serde(flatten)]
    pub counts: Counts,
    /// Lowest energy, eV.
    pub energy_min_ev: Option<f64>,
    /// Median energy, eV.
    pub energy_median_ev: Option<f64>,
    /// Highest energy, eV.
    pub energy_max_ev: Option<f64>,
    /// Structures in the buffer; null if none was drawn, and in files of a godiff that did not note it.
    #[serde(default)]
    pub buffer: Option<u64>,
    /// Median energy of the buffer, eV.
    pub buffer_median_ev: Option<f64>,
    /// (Σw)²/Σw² of the buffer's Boltzmann weights.
    pub effective_sample_size: Option<f64>,
    /// Training steps taken; 0 in files of a godiff that did not note them.
    #[serde(default)]
    pub training_steps: u64,
    /// Mean score loss over the iteration's training steps; null if the forces alone are learned.
    pub loss: Option<f64>,
    /// Mean force loss; null without guidance.
    pub force_loss: Option<f64>,
    /// Root mean square error of the labels that the readout gave the iteration's structures before their evaluation, times the
    /// unit of energy, eV; only where the iteration is screened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readout_rms_ev: Option<f64>,
    /// Candidates that its samples were chosen from; only where the iteration is screened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<u64>,
    /// Learning rate after the last step.
    pub learning_rate: f64,
    /// Lowest energy of the run so far, eV.
    pub best_energy_ev: Option<f64>,
    /// Wall-clock time by phase.
    pub seconds: PhaseSeconds,
}

impl IterationMetrics {
    /// Of an iteration whose `ok` structures have these `energies`, eV; nothing has been learned from it.
    pub fn new(
        iteration: u32,
        kt_ev: f64,
        counts: Counts,
        energies: impl Iterator<Item = f64>,
        seconds: PhaseSeconds,
    ) -> Self {
        let energies = sorted(energies);
        IterationMetrics {
            iteration,
            kt_ev,
            samples: counts.samples(),
            counts,
            energy_min_ev: energies.first().copied(),
            energy_median_ev: median(&energies),
            energy_max_ev: energies.last().copied(),
            buffer: None,
            buffer_median_ev: None,
            effective_sample_size: None,
            training_steps: 0,
            loss: None,
            force_loss: None,
            readout_rms_ev: None,
            candidates: None,
            learning_rate: 0.0,
            best_energy_ev: None,
            seconds,
        }
    }
}

/// Wall-clock time of an iteration, s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseSeconds {
    /// Reverse process.
    pub sample: f64,
    /// Time from the first structure to the last answer of the potential. Where the potential is slow, sampling happens during
    /// most of it.
    pub evaluate: f64,
    /// Part of the potential's time in which there was nothing else to do.
    #[serde(default)]
    pub wait: f64,
    /// Training.
    pub train: f64,
}

/// Heading and values of the column for the loss: that of the forces in a run that learned forces alone, otherwise the score's.
pub fn loss_column(metrics: &[IterationMetrics]) -> (&'static str, Vec<Option<f64>>) {
    let scored = metrics.iter().any(|line| line.loss.is_some());
    let forced = metrics.iter().any(|line| line.force_loss.is_some());
    let (heading, loss): (_, fn(&IterationMetrics) -> Option<f64>) =
        if forced && !scored { ("force loss", |line| line.force_loss) } else { ("loss", |line| line.loss) };
    (heading, metrics.iter().map(loss).collect())
}

/// The lines of the file at `path`. A last line that a kill cut short is left out.
///
/// # Errors
/// `BadInput` if it cannot be read or if another line is not one that godiff writes.
pub fn read_metrics(path: &Path) -> Result<Vec<IterationMetrics>> {
    let text = fs::read_to_string(path).map_err(|error| Error::bad_file(path, format!("cannot be read ({error})")))?;
    parse_metrics(&text, path)
}

/// The lines of `text`, the contents of the file `path` (named in errors). A last line that a kill cut short is left out.
///
/// # Errors
/// `BadInput` if another line is not one that godiff writes.
pub fn parse_metrics(text: &str, path: &Path) -> Result<Vec<IterationMetrics>> {
    let (whole, _torn) = text.rsplit_once('\n').unwrap_or(("", text));
    let parse = |(k, line)| {
        serde_json::from_str(line)
            .map_err(|error| Error::bad_file(path, format!("line {} is damaged ({error})", k + 1)))
    };
    whole.lines().enumerate().map(parse).collect()
}

/// The file of a run, open for appending.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
}

impl MetricsFile {
    /// The file at `path`, left with one line for each of the first `n_iterations` iterations. Lines of later ones, which the run
    /// will repeat, and a torn last line are cut off. Also gives how many of the kept lines are missing or damaged.
    pub fn resume(path: PathBuf, n_iterations: u32) -> Result<(Self, u32)> {
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            result => result.map_err(|error| storage_error(&path, &error))?,
        };
        let mut kept: Vec<u8> = Vec::with_capacity(bytes.len());
        let (mut next, mut n_kept) = (0, 0);
        for line in bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            let Ok(IterationMetrics { iteration, .. }) = serde_json::from_slice(line) else { continue };
            if (next..n_iterations).contains(&iteration) {
                kept.extend_from_slice(line);
                next = iteration + 1;
                n_kept += 1;
            }
        }
        if kept != bytes {
            write_atomic(&path, &kept)?;
        }
        Ok((MetricsFile { path }, n_iterations - n_kept))
    }

    /// Appends lines that are on the disk when this returns.
    pub fn append(&mut self, metrics: &[IterationMetrics]) -> Result<()> {
        let mut lines = Vec::new();
        for metrics in metrics {
            lines.extend(serde_json::to_vec(metrics).expect("numbers are JSON"));
            lines.push(b'\n');
        }
        let append = || {
            let is_new = !self.path.exists();
            let mut file = File::options().append(true).create(true).open(&self.path)?;
            file.write_all(&lines)?;
            file.sync_all()?;
            // Nothing else need sync the folder before the checkpoint of this iteration is durable.
            if is_new { sync_folder(folder_of(&self.path)) } else { Ok(()) }
        };
        append().map_err(|error| storage_error(&self.path, &error))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use tempfile::TempDir;

    /// Metrics of an iteration with every number different.
    pub fn example(iteration: u32) -> IterationMetrics {
        IterationMetrics {
            iteration,
            kt_ev: 1.0 / 3.0,
            samples: 32,
            counts: Counts { ok: 27, too_close: 2, failed: 3, ..Counts::default() },
            energy_min_ev: Some(5.5),
            energy_median_ev: Some(6.25),
            energy_max_ev: Some(1e3),
            buffer: Some(24),
            buffer_median_ev: Some(5.75),
            effective_sample_size: Some(12.5),
            training_steps: 500,
            loss: Some(0.875),
            force_loss: None,
            readout_rms_ev: None,
            candidates: None,
            learning_rate: 9.5e-5,
            best_energy_ev: Some(5.4375),
            seconds: PhaseSeconds { sample: 1.0, evaluate: 0.75, wait: 0.5, train: 8.0 },
        }
    }

    fn lines(path: &Path) -> Vec<u32> {
        read_metrics(path).unwrap().iter().map(|metrics| metrics.iteration).collect()
    }

    #[test]
    fn a_run_of_forces_alone_shows_their_loss() {
        let forces = IterationMetrics { loss: None, force_loss: Some(0.25), ..example(0) };
        let both = IterationMetrics { force_loss: Some(0.25), ..example(1) };
        assert_eq!(loss_column(std::slice::from_ref(&forces)), ("force loss", vec![Some(0.25)]));
        assert_eq!(loss_column(&[forces, both]), ("loss", vec![None, Some(0.875)]));
        assert_eq!(loss_column(&[]), ("loss", vec![]));
    }

    /// Scripts rely on these keys.
    #[test]
    fn keys_are_stable() {
        let text = serde_json::to_string(&example(4)).unwrap();
        let expected = concat!(
            r#"{"iteration":4,"kt_ev":0.3333333333333333,"samples":32,"ok":27,"too_close":2,"fallen_apart":0,"below_floor":0,"#,
            r#""above_ceiling":0,"not_finite":0,"failed":3,"energy_min_ev":5.5,"energy_median_ev":6.25,"#,
            r#""energy_max_ev":1000.0,"buffer":24,"buffer_median_ev":5.75,"effective_sample_size":12.5,"training_steps":500,"loss":0.875,"force_loss":null,"#,
            r#""learning_rate":0.000095,"best_energy_ev":5.4375,"seconds":{"sample":1.0,"evaluate":0.75,"wait":0.5,"train":8.0}}"#
        );
        assert_eq!(text.replace("9.5e-5", "0.000095"), expected);
        assert_eq!(serde_json::from_str::<IterationMetrics>(&text).unwrap(), example(4));
    }

    #[test]
    fn lines_after_the_checkpoint_are_cut() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let (mut metrics, _) = MetricsFile::resume(path.clone(), 0).unwrap();
        for iteration in 0..5 {
            metrics.append(&[example(iteration)]).unwrap();
        }
        assert_eq!(lines(&path), [0, 1, 2, 3, 4]);
        let (mut metrics, _) = MetricsFile::resume(path.clone(), 3).unwrap();
        assert_eq!(lines(&path), [0, 1, 2]);
        metrics.append(&[example(3)]).unwrap();
        assert_eq!(lines(&path), [0, 1, 2, 3]);
        MetricsFile::resume(path.clone(), 0).unwrap();
        assert!(lines(&path).is_empty());
    }

    /// A kill may tear the last line anywhere: the file still reads, and resuming leaves whole lines only.
    #[test]
    fn a_torn_line_is_repaired() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let (mut metrics, _) = MetricsFile::resume(path.clone(), 0).unwrap();
        for iteration in 0..3 {
            metrics.append(&[example(iteration)]).unwrap();
        }
        let whole = fs::read(&path).unwrap();
        for length in (whole.len() * 2 / 3..whole.len()).step_by(7).chain([whole.len() - 1]) {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(lines(&path), [0, 1]);
            let (mut metrics, _) = MetricsFile::resume(path.clone(), 3).unwrap();
            metrics.append(&[example(2)]).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn a_damaged_line_is_named() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, format!("{}\n{{}}\n", serde_json::to_string(&example(0)).unwrap())).unwrap();
        let error = read_metrics(&path).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("metrics.jsonl: line 2 is damaged"), "{error}");
        let error = read_metrics(&folder.path().join("none")).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("none: cannot be read"), "{error}");
    }
}
