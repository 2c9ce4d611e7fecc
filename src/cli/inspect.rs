//! `godiff inspect`: what is in a file or folder that godiff wrote.

use super::common::print;
use clap::Args;
use godiff::archive::{Counts, Selection, export};
use godiff::model::ModelFile;
use godiff::run::{Checkpoint, SearchProgress, Summary, read_metrics};
use godiff::{Error, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Describes a run folder, a checkpoint, a model file or an archive
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  godiff inspect runs/pt-adatom-001")]
pub struct Arguments {
    /// A run folder, its checkpoint folder or a file in that, a model file (.safetensors) or an archive (.db)
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let path = self.path.as_path();
        match path.extension().and_then(OsStr::to_str) {
            Some("safetensors") => print(ModelFile::read(path)?.describe()),
            Some("db") => print(describe_archive(path)?),
            Some("bin") => print(describe_checkpoint(&Checkpoint::read(path)?)),
            _ if path.join("config.toml").is_file() => describe_run(path),
            _ if path.is_dir() => describe_checkpoints(path),
            _ => Err(Error::bad_file(
                path,
                "is nothing that godiff writes; name a run folder, a checkpoint, a model file or an archive",
            )),
        }
    }
}

/// A run as far as it has come: summary, progress by iteration, archive.
fn describe_run(folder: &Path) -> Result<()> {
    let path = folder.join("summary.json");
    let text =
        std::fs::read_to_string(&path).map_err(|cause| Error::bad_file(&path, format!("cannot be read: {cause}")))?;
    let summary: Summary =
        serde_json::from_str(&text).map_err(|cause| Error::bad_file(&path, format!("is damaged: {cause}")))?;
    let Summary { version, seed, device, status, seconds, evaluations, samples, .. } = &summary;
    print(format!("run of godiff {version}, {device}, seed {seed}: {status:?}").to_lowercase())?;
    print(format!("{samples} samples, {evaluations} evaluations in {seconds:.1} s"))?;
    if let (Some(energy), Some(iteration), Some(index)) =
        (summary.best_energy_ev, summary.best_iteration, summary.best_index)
    {
        print(format!("lowest energy {energy:.6} eV: iteration {iteration}, sample {index}"))?;
    }
    if let Some(evaluation) = summary.target_first_evaluation {
        print(format!("target first reached at evaluation {evaluation}"))?;
    }
    let metrics = folder.join("metrics.jsonl");
    if metrics.exists() {
        print("\niteration     kT/eV    ok/samples   lowest/eV   median/eV     best/eV          loss")?;
        let ev = |energy: Option<f64>| energy.map_or("-".to_owned(), |energy| format!("{energy:.4}"));
        for line in read_metrics(&metrics)? {
            print(format!(
                "{:>9} {:>9.4} {:>13} {:>11} {:>11} {:>11} {:>13}",
                line.iteration,
                line.kt_ev,
                format!("{}/{}", line.counts.ok, line.samples),
                ev(line.energy_min_ev),
                ev(line.energy_median_ev),
                ev(line.best_energy_ev),
                ev(line.loss)
            ))?;
        }
    }
    let archive = folder.join("archive.db");
    if archive.exists() { print(format!("\n{}", describe_archive(&archive)?)) } else { Ok(()) }
}

fn describe_archive(path: &Path) -> Result<String> {
    let mut counts = Counts::default();
    let mut lowest: Option<(f64, u32, u32)> = None;
    export(path, Selection::All, &mut |stored| {
        *counts.of_mut(stored.status) += 1;
        Ok(())
    })?;
    export(path, Selection::Lowest(1), &mut |stored| {
        lowest = stored.structure.energy.map(|energy| (energy, stored.iteration, stored.index));
        Ok(())
    })?;
    let Counts { ok, too_close, below_floor, above_ceiling, not_finite, failed } = counts;
    let mut text = format!(
        "archive: {} structures, {} evaluated\nok {ok}, too close {too_close}, below floor {below_floor}, above ceiling \
         {above_ceiling}, not finite {not_finite}, failed {failed}",
        counts.samples(),
        counts.evaluations()
    );
    if let Some((energy, iteration, index)) = lowest {
        text += &format!("\nlowest energy {energy:.6} eV: iteration {iteration}, sample {index}");
    }
    Ok(text)
}

/// The checkpoints `iteration-NNNNN.bin` of a folder.
fn describe_checkpoints(folder: &Path) -> Result<()> {
    let unreadable = |cause: std::io::Error| Error::bad_file(folder, format!("cannot be read: {cause}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::bad_file(folder, "holds neither a run nor checkpoints; name the folder of a run"));
    }
    files.sort();
    for path in files {
        print(format!("{}\n{}", path.display(), describe_checkpoint(&Checkpoint::read(&path)?)))?;
    }
    Ok(())
}

fn describe_checkpoint(checkpoint: &Checkpoint) -> String {
    let SearchProgress { iterations_done, seed, evaluations, samples, best, seconds, .. } = &checkpoint.progress;
    let model = &checkpoint.model;
    let mut text = format!(
        "{iterations_done} iterations done in {seconds:.1} s, seed {seed}\n{samples} samples, {evaluations} evaluations\n\
         {} parameters after {} optimiser steps, learning rate {:e}",
        model.parameters.len(),
        model.steps,
        model.schedule.learning_rate
    );
    if let Some(best) = best {
        let (energy, iteration, index) = (best.energy_ev, best.iteration, best.index);
        text += &format!("\nlowest energy {energy:.6} eV: iteration {iteration}, sample {index}");
    }
    text
}
