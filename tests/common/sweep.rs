//! Resumes a recorded run from the states that a power cut may leave.

use crate::kills::{Acknowledged, rows, rows_of_killed};
use crate::power::{Cut, Disk};
use crate::recorded::{Call, Tree, differing, read_tree, record, write_tree};
use crate::stand_in::compile;
use godiff::archive::Stored;
use godiff::run::Checkpoint;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::fs;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What is recorded and resumed.
pub trait Task {
    /// What must not depend on cuts.
    type Outcome: PartialEq + Debug;

    /// The command that starts in the folder `place`, or resumes what is there.
    fn command(&self, place: &Path) -> Command;

    /// Its run folders, relative to `place`.
    fn runs(&self) -> Vec<PathBuf>;

    /// What the finished command has left.
    fn outcome(&self, place: &Path) -> Self::Outcome;
}

/// A folder, in memory where the system has such a place.
pub fn memory_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    folder.unwrap()
}

/// Iteration and index of rows of one archive.
type Keys = BTreeSet<(u32, u32)>;

/// What a run had acknowledged before some call.
#[derive(Default)]
struct Promised {
    /// Rows whose commit had returned, by run folder.
    rows: HashMap<PathBuf, Keys>,
    /// What standard output said.
    said: Acknowledged,
    /// The end of standard output that is no whole line yet.
    unheard: Vec<u8>,
    /// A folder where the journal was removed: once that is durable, the commit is.
    committing: Option<PathBuf>,
    /// Contents that files with a final name may have.
    versions: HashMap<PathBuf, Vec<Vec<u8>>>,
}

/// A command that was recorded to its end.
pub struct Recording<'a, T: Task> {
    name: String,
    task: &'a T,
    start: Tree,
    /// What it did.
    pub calls: Vec<Call>,
    expected: T::Outcome,
    rows: HashMap<PathBuf, BTreeMap<(u32, u32), Stored>>,
    /// Searches have checkpoints, baselines have none.
    has_checkpoints: bool,
}

impl<'a, T: Task> Recording<'a, T> {
    /// Records the command of `task` in a folder that holds `start`.
    pub fn make(name: &str, task: &'a T, start: &Tree) -> Self {
        let library = compile("recorder.c", "recorder.so");
        let folder = memory_folder();
        let place = fs::canonicalize(folder.path()).unwrap();
        write_tree(start, &place);
        let calls = record(&library.path().join("recorder.so"), task.command(&place), &place);
        let mut disk = Disk::new(start);
        calls.iter().for_each(|call| disk.follow(call));
        // Otherwise a call is missing from the record.
        let other = differing(&disk.present(), &read_tree(&place));
        assert!(other.is_empty(), "{name}: {other:?} are not as recorded");
        let rows_of = |run: PathBuf| (run.clone(), keyed(rows(&place.join(run).join("archive.db"))));
        Recording {
            name: name.to_owned(),
            task,
            start: start.clone(),
            calls,
            expected: task.outcome(&place),
            rows: task.runs().into_iter().map(rows_of).collect(),
            has_checkpoints: disk.present().keys().any(|path| path.extension().is_some_and(|ending| ending == "bin")),
        }
    }

    /// `n` states that cuts at places spread over the whole record leave.
    pub fn states(&self, n: usize) -> impl Iterator<Item = Tree> {
        (0..n).map(move |k| {
            let mut disk = Disk::new(&self.start);
            self.calls[..(2 * k + 1) * self.calls.len() / (2 * n)].iter().for_each(|call| disk.follow(call));
            disk.after(&mut Cut::new(100 + k))
        })
    }

    /// Resumes from `n_states` different states, spread over all calls and all kinds of cuts.
    ///
    /// # Panics
    /// If one of them is not as it should be, before or after; it is kept in target/power-cuts.
    pub fn sweep(&self, n_states: usize) {
        let mut disk = Disk::new(&self.start);
        let mut promised = self.promised_before();
        let n_places = self.calls.iter().filter(|call| changes(call)).count();
        let (mut place, mut n_done, mut kind, mut n_places_cut) = (0, 0, 0, 0);
        let mut seen = HashSet::new();
        for (number, call) in self.calls.iter().enumerate() {
            disk.follow(call);
            self.listen(&mut promised, &disk, call);
            if !changes(call) {
                continue;
            }
            place += 1;
            // What an earlier place could not give, a later one makes up for.
            let wanted = (n_states * place / n_places).saturating_sub(n_done);
            let mut n_found = 0;
            // From place to place the sample goes on through the kinds; a long sweep begins with the first at each.
            let first = if wanted < 10 { kind } else { 0 };
            for tried in 0..4 * wanted {
                if n_found == wanted || disk.is_at_rest() && tried > 0 {
                    break;
                }
                kind = first + tried + 1;
                let which = if first + tried < 7 { first + tried } else { (first + tried) * 1000 + number };
                let state = disk.after(&mut Cut::new(which));
                let is_new = seen.insert(hash(&state));
                n_found += usize::from(is_new);
                // The same state later: more was acknowledged by then.
                let judged =
                    if is_new { self.judge(&state, &promised) } else { self.check(&state, &promised).map(drop) };
                if let Err(why) = judged {
                    self.fail(&state, number, which, &why);
                }
            }
            n_done += n_found;
            n_places_cut += usize::from(n_found > 0);
            kind %= 40;
        }
        let n_calls = self.calls.len();
        eprintln!(
            "{}: {n_done} states after {n_places_cut} of {n_places} changes and syncs ({n_calls} calls)",
            self.name
        );
    }

    /// What the run had acknowledged before it was recorded: all that the first tree holds.
    fn promised_before(&self) -> Promised {
        let folder = memory_folder();
        write_tree(&self.start, folder.path());
        let keys_of = |run: PathBuf| (run.clone(), rows_of_killed(&folder.path().join(run)).into_keys().collect());
        let versions =
            |(path, content): (&PathBuf, &Option<Vec<u8>>)| (path.clone(), content.iter().cloned().collect());
        Promised {
            rows: self.task.runs().into_iter().map(keys_of).collect(),
            versions: self.start.iter().map(versions).collect(),
            ..Promised::default()
        }
    }

    fn fail(&self, state: &Tree, number: usize, kind: usize, why: &str) -> ! {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/power-cuts").join(&self.name);
        let _ = fs::remove_dir_all(&folder);
        write_tree(state, &folder);
        let call = match &self.calls[number] {
            Call::Write { descriptor, offset, data } => format!("write {descriptor} at {offset}, {} bytes", data.len()),
            call => format!("{call:?}"),
        };
        let cut = Cut::new(kind);
        panic!(
            "{}: cut after call {number} ({call}), kind {kind} ({cut:?}): {why}; kept in {}",
            self.name,
            folder.display()
        )
    }

    /// Takes note of what `call` acknowledges.
    fn listen(&self, promised: &mut Promised, disk: &Disk, call: &Call) {
        match call {
            Call::Print(text) => {
                promised.unheard.extend(text);
                while let Some(end) = promised.unheard.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = promised.unheard.drain(..=end).collect();
                    promised.said.hear(&String::from_utf8(line).unwrap());
                }
            }
            Call::Unlink(path) if path.ends_with("archive.db-journal") => {
                promised.committing = path.parent().map(Path::to_owned);
            }
            Call::Sync { descriptor } => {
                let path = disk.path_of(*descriptor);
                if path.is_some() && path == promised.committing {
                    let run = promised.committing.take().unwrap();
                    let copy = memory_folder();
                    let archive = copy.path().join("archive.db");
                    fs::write(&archive, disk.content(&run.join("archive.db")).unwrap()).unwrap();
                    // A resume may roll back the making of an archive, which then holds nothing.
                    promised.rows.insert(run, rows_of_killed(copy.path()).into_keys().collect());
                }
            }
            Call::Rename { to, .. } => {
                promised.versions.entry(to.clone()).or_default().extend(disk.content(to).map(<[u8]>::to_vec));
            }
            _ => {}
        }
    }

    /// Whether `state` holds all that was `promised`; gives a folder with it.
    fn check(&self, state: &Tree, promised: &Promised) -> Result<TempDir, String> {
        check_files(state, promised)?;
        let folder = memory_folder();
        write_tree(state, folder.path());
        for (run, rows) in &promised.rows {
            self.check_rows(run, rows, &rows_of_killed(&folder.path().join(run)))?;
        }
        if let [run] = &self.task.runs()[..] {
            check_said(&folder.path().join(run), &promised.said, self.has_checkpoints)?;
        }
        Ok(folder)
    }

    /// The same, and whether the command ends from there as if nothing had happened.
    fn judge(&self, state: &Tree, promised: &Promised) -> Result<(), String> {
        let folder = self.check(state, promised)?;
        let output = self.task.command(folder.path()).stdout(Stdio::null()).output().unwrap();
        if !output.status.success() {
            return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
        match catch_unwind(AssertUnwindSafe(|| self.task.outcome(folder.path()))) {
            Ok(outcome) if outcome == self.expected => Ok(()),
            Ok(_) => Err("it ended otherwise than one left alone".into()),
            Err(_) => Err("what it left cannot be read".into()),
        }
    }

    fn check_rows(&self, run: &Path, promised: &Keys, found: &BTreeMap<(u32, u32), Stored>) -> Result<(), String> {
        let is_kept = |key: &&(u32, u32)| found.get(key) == self.rows[run].get(key) && found.contains_key(key);
        match promised.iter().find(|key| !is_kept(key)) {
            None => Ok(()),
            Some(lost) => {
                Err(format!("{}: evaluation {lost:?} was acknowledged and is lost or changed", run.display()))
            }
        }
    }
}

/// Whether the disk may be another one after `call`.
fn changes(call: &Call) -> bool {
    !matches!(call, Call::Print(_) | Call::Open { is_new: false, is_emptied: false, .. })
}

fn hash(state: &Tree) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

fn keyed(rows: Vec<Stored>) -> BTreeMap<(u32, u32), Stored> {
    rows.into_iter().map(|row| ((row.iteration, row.index), row)).collect()
}

/// Files with a final name are whole: they hold what was once renamed to it.
fn check_files(state: &Tree, promised: &Promised) -> Result<(), String> {
    for (path, content) in state {
        let name = path.file_name().unwrap().to_str().unwrap();
        let grows = ["archive.db", "archive.db-journal", "metrics.jsonl", ".lock"].contains(&name);
        let Some(content) = content.as_ref().filter(|_| !grows && !name.ends_with(".unfinished")) else { continue };
        if !promised.versions.get(path).is_some_and(|versions| versions.contains(content)) {
            return Err(format!("{} is torn", path.display()));
        }
    }
    Ok(())
}

/// The folder `run` holds what its process had said on standard output.
fn check_said(run: &Path, said: &Acknowledged, has_checkpoints: bool) -> Result<(), String> {
    let rows = rows_of_killed(run);
    for (&iteration, &n) in &said.evaluated {
        let found = rows.keys().filter(|(of, _)| u64::from(*of) == iteration).count() as u64;
        if found < n {
            return Err(format!("iteration {iteration}: {n} evaluations were announced, {found} are there"));
        }
    }
    let entries = fs::read_dir(run.join("checkpoint")).into_iter().flatten().map(|entry| entry.unwrap().path());
    let whole = entries.filter(|path| path.extension().is_some_and(|extension| extension == "bin"));
    let checkpoints: Vec<_> = whole.filter_map(|path| Checkpoint::read(&path).ok()).collect();
    let newest = checkpoints.iter().map(|checkpoint| u64::from(checkpoint.progress.iterations_done)).max();
    match newest.unwrap_or(0) < said.n_iterations && has_checkpoints {
        true => Err(format!("{} iterations were announced, {newest:?} are there", said.n_iterations)),
        false => Ok(()),
    }
}
