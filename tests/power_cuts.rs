//! Power cuts: a run is recorded call by call, and resumed from the states that a disk may be in when the power goes at any place of
//! the record. Whatever the state, nothing that was acknowledged is lost, no file is torn, and the run ends bit for bit like one that
//! was left alone.
//!
//! The whole sweep: `GODIFF_CUTS=10000 cargo test --release --test power_cuts -- --nocapture`.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

#[path = "common/damage.rs"]
mod damage;
#[path = "common/kills.rs"]
mod kills;
#[path = "common/power.rs"]
mod power;
#[path = "common/recorded.rs"]
mod recorded;
#[path = "common/stand_in.rs"]
mod stand_in;
#[path = "common/sweep.rs"]
mod sweep;
#[path = "common/tables.rs"]
mod tables;

use kills::{Results, Run, n_times, results};
use power::Disk;
use recorded::{Call, Tree, read_tree, write_tree};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use sweep::{Recording, Task, memory_folder};
use tables::untimed;
use tempfile::TempDir;

/// A cluster of four atoms and a model of a few numbers: a run takes some hundredths of a second.
const SYSTEM: &str = "\
[system]
free = \"Ar4\"
[potential]
kind = \"lennard-jones\"
epsilon_ev = 1.0
sigma_angstrom = 2.7
cutoff_angstrom = 50.0
";
const REST: &str = "\
[diffusion]
steps = 5
[training]
steps_per_iteration = 2
batch = 2
[placement]
shortest_bond = 1.1
longest_bond = 1.5
[model]
features = 4
blocks = 1
radial_functions = 4
cutoff_angstrom = 4.0
";
/// Guidance has more state to lose.
const GUIDED: &str = "[guidance]\n[proposals]\nrelax_steps = 2\n";

/// States of the whole sweep that `share` percent of it are; the tests alone try a fixed sample.
fn n_states(share: usize) -> usize {
    n_times("GODIFF_CUTS", 300) * share / 100
}

/// The configuration with `iterations` and more `sections`, as the file `name` in `place`.
fn configuration(place: &Path, name: &str, iterations: u32, sections: &str) -> PathBuf {
    let search = format!(
        "[search]\niterations = {iterations}\nsamples_per_iteration = 4\nbuffer = 4\nkt_initial_ev = 5.0\nkt_final_ev = 0.5\n\
         min_distance_angstrom = 1.0\n"
    );
    let path = place.join(name);
    fs::write(&path, [SYSTEM, &search, REST, sections].concat()).unwrap();
    path
}

/// What must not depend on power cuts.
#[derive(Debug, PartialEq)]
struct Outcome {
    runs: Vec<Results>,
    files: Vec<Vec<u8>>,
}

/// One run of `command`, in a folder whose parents are new too.
struct OneRun<'a> {
    command: &'a [&'a str],
    config: &'a Path,
}

impl OneRun<'_> {
    fn run(&self) -> Run<'_> {
        Run { command: self.command, config: self.config }
    }
}

const RUN: &str = "new/runs/run";

impl Task for OneRun<'_> {
    type Outcome = Outcome;

    fn command(&self, place: &Path) -> Command {
        let mut command = self.run().command(&place.join(RUN));
        command.arg("--json");
        command
    }

    fn runs(&self) -> Vec<PathBuf> {
        vec![RUN.into()]
    }

    fn outcome(&self, place: &Path) -> Outcome {
        let run = place.join(RUN);
        assert!(kills::being_written(&run).is_empty(), "{:?} are left", kills::being_written(&run));
        Outcome { runs: vec![results(&run)], files: fs::read(run.join("minima.xyz")).into_iter().collect() }
    }
}

/// A benchmark of two methods with two seeds each.
struct Benchmark<'a> {
    config: &'a Path,
}

const BENCHMARK: &str = "new/benchmark";
const METHODS: [(&str, &str); 2] = [("search", "tiny"), ("evolve", "tiny-evolve")];

impl Task for Benchmark<'_> {
    type Outcome = Outcome;

    fn command(&self, place: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_godiff"));
        command.args(["benchmark", "--runs", "2", "--to-the-end", "--device", "cpu", "--threads", "1", "--out"]);
        command.arg(place.join(BENCHMARK));
        command.args(METHODS.map(|(method, _)| format!("{}:{method}", self.config.display())));
        command
    }

    fn runs(&self) -> Vec<PathBuf> {
        let folders = METHODS.iter().map(|(_, folder)| Path::new(BENCHMARK).join(folder));
        folders.flat_map(|folder| ["seed-0", "seed-1"].map(|seed| folder.join(seed))).collect()
    }

    fn outcome(&self, place: &Path) -> Outcome {
        let folder = place.join(BENCHMARK);
        let file = |name| untimed(&fs::read_to_string(folder.join(name)).unwrap()).as_bytes().to_vec();
        let files = ["results.md", "energy.svg", "success.svg"].map(file);
        Outcome { runs: self.runs().iter().map(|run| results(&place.join(run))).collect(), files: files.into() }
    }
}

/// The folder that `command` leaves when it is left alone.
fn finished(task: &impl Task) -> Tree {
    let place = memory_folder();
    assert!(task.command(place.path()).stdout(Stdio::null()).status().unwrap().success());
    read_tree(place.path())
}

#[test]
fn searches() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path(), "tiny.toml", 3, GUIDED);
    let task = OneRun { command: &["search"], config: &config };
    let recording = Recording::make("search", &task, &Tree::new());
    recording.sweep(n_states(40));

    // The power goes again while the run is resumed.
    let again: Vec<Tree> = recording.states(n_times("GODIFF_CUTS", 300) / 500 + 3).collect();
    for (number, state) in again.iter().enumerate() {
        let recording = Recording::make(&format!("search, cut for the second time ({number})"), &task, state);
        recording.sweep(n_states(15).div_ceil(again.len()));
    }
}

#[test]
fn extended_searches() {
    let place = TempDir::new().unwrap();
    let before = configuration(place.path(), "before.toml", 2, "");
    let config = configuration(place.path(), "tiny.toml", 4, "");
    let start = finished(&OneRun { command: &["search"], config: &before });
    let task = OneRun { command: &["search"], config: &config };
    Recording::make("extended search", &task, &start).sweep(n_states(15));
}

#[test]
fn baselines() {
    let place = TempDir::new().unwrap();
    let sections =
        "[random_search]\nevaluations = 1100\n[basin_hopping]\nevaluations = 200\n[evolution]\nevaluations = 1040\n";
    let config = configuration(place.path(), "tiny.toml", 3, sections);
    for method in ["rss", "basin-hopping", "evolve"] {
        let task = OneRun { command: &[method], config: &config };
        Recording::make(method, &task, &Tree::new()).sweep(n_states(5));
    }
}

#[test]
fn benchmarks() {
    let place = TempDir::new().unwrap();
    let tetrahedron = "4\n\nAr 0 0 0\nAr 3 0 0\nAr 1.5 2.6 0\nAr 1.5 0.87 2.45\n";
    fs::write(place.path().join("target.xyz"), tetrahedron).unwrap();
    let target =
        "[evolution]\nevaluations = 30\n[target]\nstructure = \"target.xyz\"\nmatch = { energy_within_ev = 0.05 }\n";
    let config = configuration(place.path(), "tiny.toml", 2, target);
    Recording::make("benchmark", &Benchmark { config: &config }, &Tree::new()).sweep(n_states(15));
}

/// Without the syncs that `is_left_out` names, the sweep must find fault with the record of a search.
fn is_caught(what: &str, mut is_left_out: impl FnMut(&Disk, &Call) -> bool) {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path(), "tiny.toml", 3, GUIDED);
    let task = OneRun { command: &["search"], config: &config };
    let mut recording = Recording::make("planted", &task, &Tree::new());
    let n_before = recording.calls.len();
    let mut disk = Disk::new(&Tree::new());
    recording.calls.retain(|call| {
        let is_sync = matches!(call, Call::Sync { .. });
        let is_kept = !(is_sync && is_left_out(&disk, call));
        disk.follow(call);
        is_kept
    });
    assert!(recording.calls.len() < n_before, "{what}: the record has none of these");
    let caught = catch_unwind(AssertUnwindSafe(|| recording.sweep(600))).is_err();
    assert!(caught, "the sweep did not notice that {what}");
}

fn synced(disk: &Disk, call: &Call) -> Option<PathBuf> {
    let Call::Sync { descriptor } = call else { return None };
    disk.path_of(*descriptor)
}

fn is_named(disk: &Disk, call: &Call, name: &str) -> bool {
    synced(disk, call).is_some_and(|path| path.ends_with(name))
}

#[test]
fn a_sync_that_is_left_out_is_noticed() {
    is_caught("the archive is not synced", |disk, call| is_named(disk, call, "archive.db"));
    is_caught("the archive's journal is not synced", |disk, call| is_named(disk, call, "archive.db-journal"));
    is_caught("files are not synced before they get their names", |disk, call| {
        synced(disk, call).is_some_and(|path| path.to_string_lossy().ends_with(".unfinished"))
    });
    is_caught("the run folder is not synced", |disk, call| is_named(disk, call, RUN));
    is_caught("the folder of checkpoints is not synced", |disk, call| is_named(disk, call, "checkpoint"));
    is_caught("the folder of the run folder is not synced", |disk, call| is_named(disk, call, "new/runs"));
}

/// The model of the disk ends where the real one does.
#[test]
fn trees_are_written_as_they_were_read() {
    let place = TempDir::new().unwrap();
    let tree: Tree = [("a".into(), None), ("a/b".into(), Some(b"x".to_vec())), ("c".into(), Some(vec![]))].into();
    write_tree(&tree, place.path());
    assert_eq!(read_tree(place.path()), tree);
    assert_eq!(Disk::new(&tree).present(), tree);
}
