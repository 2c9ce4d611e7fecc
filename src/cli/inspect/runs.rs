//! A folder of runs, such as `runs/` or that of a benchmark: one line for each run.

use super::run::{read_summary, standing};
use super::{entries, time};
use crate::cli::common::print;
use godiff::Result;
use godiff::columns::aligned;
use godiff::run::RunDirectory;
use std::path::{Path, PathBuf};

/// The end of the status of a run that can be resumed.
const RESUME: &str = "; resume it with --resume";

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
    let row = |run: &PathBuf| {
        // A run that cannot be read must not hide the others.
        let Ok(summary) = read_summary(run) else {
            let none = || "-".to_owned();
            return [name(run), none(), none(), none(), none(), "no readable summary.json".to_owned()];
        };
        [
            name(run),
            summary.evaluations.to_string(),
            summary.best_energy_ev.map_or("-".to_owned(), |energy| format!("{energy:.6}")),
            summary.target_first_evaluation.map_or("-".to_owned(), |evaluation| evaluation.to_string()),
            time(summary.seconds),
            standing(run, summary.status).to_owned(),
        ]
    };
    let rows: Vec<[String; 6]> = runs.iter().map(row).collect();
    let heads = ["run", "evaluations", "lowest/eV", "target at", "time", "status"].map(|head| ["", head]);
    // What can be resumed is said once, below the table.
    let can_resume = rows.iter().any(|row| row[5].ends_with(RESUME));
    let rows = rows.into_iter().map(|mut row| {
        row[5] = row[5].trim_end_matches(RESUME).to_owned();
        row
    });
    print(aligned(&heads, rows))?;
    if can_resume {
        print("Runs that are killed, interrupted or ended at the target can be resumed with --resume.")
    } else {
        Ok(())
    }
}
