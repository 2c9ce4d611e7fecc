//! A folder of runs, such as `runs/` or that of a benchmark: one line for each run.

use super::run::{read_summary, standing};
use super::{entries, time};
use crate::cli::common::print;
use godiff::Result;
use godiff::run::RunDirectory;
use std::path::{Path, PathBuf};

/// The runs among `paths`, and in folders among them: a benchmark has `NAME/seed-S`.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut runs = Vec::new();
    for path in paths.iter().filter(|path| path.is_dir()) {
        if RunDirectory::exists(path) {
            runs.push(path.clone());
        } else {
            runs.extend(entries(path)?.into_iter().filter(|path| RunDirectory::exists(path)));
        }
    }
    runs.sort_by_key(|path| by_number(&path.to_string_lossy()));
    Ok(runs)
}

/// A key by which "seed-10" comes after "seed-9": text, and its last number.
fn by_number(name: &str) -> (String, Option<u64>) {
    let text = name.trim_end_matches(|character: char| character.is_ascii_digit());
    (text.to_owned(), name[text.len()..].parse().ok())
}

/// A table of `runs`, which lie in `folder`.
pub fn describe(folder: &Path, runs: &[PathBuf]) -> Result<()> {
    let name = |run: &Path| run.strip_prefix(folder).unwrap_or(run).display().to_string();
    let width = runs.iter().map(|run| name(run).chars().count()).max().unwrap_or(0).max("run".len());
    print(format!(
        "{:<width$} {:>13} {:>15} {:>11} {:>13}  status",
        "run", "evaluations", "lowest/eV", "target at", "time"
    ))?;
    for run in runs {
        let name = name(run);
        // A run that cannot be read must not hide the others.
        let summary = match read_summary(run) {
            Ok(summary) => summary,
            Err(_) => {
                print(format!(
                    "{name:<width$} {:>13} {:>15} {:>11} {:>13}  no readable summary.json",
                    "-", "-", "-", "-"
                ))?;
                continue;
            }
        };
        let lowest = summary.best_energy_ev.map_or("-".to_owned(), |energy| format!("{energy:.6}"));
        let target = summary.target_first_evaluation.map_or("-".to_owned(), |evaluation| evaluation.to_string());
        print(format!(
            "{name:<width$} {:>13} {lowest:>15} {target:>11} {:>13}  {}",
            summary.evaluations,
            time(summary.seconds),
            standing(run, summary.status)
        ))?;
    }
    Ok(())
}
