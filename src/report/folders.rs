//! The runs in a folder.

use crate::error::{Error, Result};
use crate::run::RunDirectory;
use std::fs;
use std::path::{Path, PathBuf};

/// How deep below a folder its runs may be: a benchmark's are at NAME/seed-S.
const DEPTH: usize = 3;
/// Beginning of the names of folders with runs that differ by their seed alone.
const SEED: &str = "seed-";

/// The folder of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    /// Where it is.
    pub path: PathBuf,
    /// The name of its group: the folder above for runs called `seed-S`, else the run itself.
    pub group: String,
}

/// The run in `folder`, or all runs below it, in order of their names.
///
/// # Errors
/// `BadInput` if there is none.
pub fn find_runs(folder: &Path) -> Result<Vec<RunFolder>> {
    if !folder.is_dir() {
        return Err(Error::bad_file(
            folder,
            "no such folder; name a run's, or one that holds runs such as a benchmark's",
        ));
    }
    let mut found = Vec::new();
    collect(folder, DEPTH, &mut found);
    found.sort_by_cached_key(|run| (run.group.clone(), seed(&run.path), run.path.clone()));
    if found.is_empty() {
        let message = "holds no run (a folder with a config.toml); name a run's folder, or one that holds runs";
        return Err(Error::bad_file(folder, message));
    }
    Ok(found)
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<RunFolder>) {
    if RunDirectory::exists(folder) {
        found.push(RunFolder { path: folder.to_owned(), group: group(folder) });
    } else if depth > 0 {
        // A folder that cannot be listed holds nothing to report.
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .for_each(|path| collect(&path, depth - 1, found));
    }
}

/// The name of a folder, also if it was given as `.`.
pub fn name_of(folder: &Path) -> String {
    let whole = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    whole.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn group(folder: &Path) -> String {
    let name = name_of(folder);
    let whole = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    match whole.parent().and_then(Path::file_name) {
        Some(above) if name.starts_with(SEED) => above.to_string_lossy().into_owned(),
        _ => name,
    }
}

fn seed(folder: &Path) -> Option<u64> {
    name_of(folder).strip_prefix(SEED)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_in_the_order_of_their_seeds() {
        let folder = tempfile::tempdir().unwrap();
        for run in ["b/seed-10", "b/seed-9", "a", "b/seed-9/workers", "empty/below"] {
            fs::create_dir_all(folder.path().join(run)).unwrap();
        }
        let error = find_runs(folder.path()).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("holds no run"), "{error}");
        for run in ["b/seed-10", "b/seed-9", "a", "b/seed-9/workers"] {
            fs::write(folder.path().join(run).join("config.toml"), "").unwrap();
        }
        let runs = find_runs(folder.path()).unwrap();
        let names: Vec<_> = runs.iter().map(|run| (&run.group[..], name_of(&run.path))).collect();
        assert_eq!(names, [("a", "a".into()), ("b", "seed-9".into()), ("b", "seed-10".into())]);
        assert_eq!(find_runs(&folder.path().join("b/seed-9")).unwrap()[0].group, "b");
        let error = find_runs(&folder.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("no such folder"), "{error}");
    }
}
