//! `godiff inspect`: the content of a file or folder that godiff wrote.

mod run;
mod runs;

use super::common::print;
use clap::Args;
use godiff::archive::{Counts, Selection, export};
use godiff::model::ModelFile;
use godiff::run::progress::text::duration;
use godiff::run::{Checkpoint, RunDirectory, SearchProgress};
use godiff::{Error, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Describes a run, a folder of runs, a checkpoint, a model file or an archive
#[derive(Debug, Args)]
#[command(after_help = "\
The command also works for a running run. Iterations and samples count from 1 here, and from 0 in files.

Examples:
  godiff inspect runs/pt-adatom-001
  godiff inspect runs
  godiff inspect runs/benchmark
  godiff inspect runs/pt-adatom-001/model.safetensors")]
pub struct Arguments {
    /// A run folder, a folder of runs or of a benchmark, a checkpoint folder or a file in it, a model file (.safetensors) or an
    /// archive (.db)
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
            _ if RunDirectory::exists(path) => run::describe(path),
            _ if path.is_dir() => describe_folder(path),
            _ => Err(Error::bad_file(
                path,
                "is nothing that godiff writes; name a run folder, a checkpoint, a model file or an archive",
            )),
        }
    }
}

/// Describes a folder that is not a run: it holds checkpoints or runs.
fn describe_folder(folder: &Path) -> Result<()> {
    let entries = entries(folder)?;
    let checkpoints: Vec<&PathBuf> =
        entries.iter().filter(|path| path.extension().is_some_and(|extension| extension == "bin")).collect();
    if !checkpoints.is_empty() {
        return checkpoints.into_iter().try_for_each(|path| {
            print(format!("{}\n{}", path.display(), describe_checkpoint(&Checkpoint::read(path)?)))
        });
    }
    match runs::find(&entries)? {
        runs if runs.is_empty() => {
            Err(Error::bad_file(folder, "holds neither a run nor checkpoints; name the folder of a run"))
        }
        runs => runs::describe(folder, &runs),
    }
}

/// Entries of `folder`, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |cause: std::io::Error| Error::bad_file(folder, format!("cannot be read: {cause}"));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.sort();
    Ok(paths)
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
    let Counts { ok, too_close, fallen_apart, below_floor, above_ceiling, not_finite, failed } = counts;
    let apart = if fallen_apart > 0 { format!("fallen apart {fallen_apart}, ") } else { String::new() };
    let mut text = format!(
        "archive: {} structures, {} evaluated\nok {ok}, too close {too_close}, {apart}below floor {below_floor}, above ceiling \
         {above_ceiling}, not finite {not_finite}, failed {failed}",
        counts.samples(),
        counts.evaluations()
    );
    if let Some((energy, iteration, index)) = lowest {
        text += &format!("\n{}", lowest_energy(energy, iteration, index));
    }
    Ok(text)
}

fn describe_checkpoint(checkpoint: &Checkpoint) -> String {
    let SearchProgress { iterations_done, seed, evaluations, samples, best, seconds, .. } = &checkpoint.progress;
    let model = &checkpoint.model;
    let mut text = format!(
        "{iterations_done} iterations done in {}, seed {seed}\n{samples} samples, {evaluations} evaluations\n{} parameters after \
         {} optimiser steps, learning rate {:e}",
        time(*seconds),
        model.parameters.len(),
        model.steps,
        model.schedule.learning_rate
    );
    if let Some(best) = best {
        text += &format!("\n{}", lowest_energy(best.energy_ev, best.iteration, best.index));
    }
    text
}

/// The place of the lowest energy, counted as people and as files count. `iteration` and `index` are from 0.
fn lowest_energy(energy_ev: f64, iteration: u32, index: u32) -> String {
    format!(
        "lowest energy {energy_ev:.6} eV: iteration {}, sample {}\n(in archive.db iteration={iteration},sample={index})",
        iteration + 1,
        index + 1
    )
}

/// `seconds` in readable units.
fn time(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}
