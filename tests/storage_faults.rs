//! Disks that are full or write-protected, folders and files that disappear, two processes in one folder: exit code and sentence,
//! and once the cause is mended the run ends bit for bit like one that was left alone.
//!
//! `GODIFF_FULL_DISKS=200 cargo test --release --test storage_faults full -- --nocapture` tries every size of the disk, page by
//! page, so that every write fails once.
#![cfg(unix)]

#[path = "common/disk.rs"]
mod disk;
#[path = "common/kills.rs"]
mod kills;

use disk::Disk;
use kills::{Run, n_times, results, smoke};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PAGE: u64 = 4096;

/// The one sentence of a command that failed with `code`.
fn sentence(output: &Output, code: i32) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.starts_with("godiff: ") && said.lines().count() == 1, "{said}");
    said
}

/// Pages that the files below `folder` take.
fn n_pages(folder: &Path) -> u64 {
    let pages = fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { n_pages(&path) } else { fs::metadata(&path).unwrap().len().div_ceil(PAGE) }
    });
    pages.sum()
}

/// Runs `run` on disks with the options of `sizes`; it fails on all that are too small and goes on once there is room. How many
/// failed, by the file that they name.
fn on_full_disks(run: &Run, alone: &Path, sizes: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let expected = results(alone);
    let mut failed = BTreeMap::new();
    for size in sizes {
        let Some(disk) = Disk::mount(&size) else { return failed };
        let folder = disk.path().join("run");
        let output = run.command(&folder).arg("--quiet").output().unwrap();
        if !output.status.success() {
            let said = sentence(&output, 4);
            assert!(said.contains("the disk is full; free some space"), "{size}: {said}");
            let path = Path::new(said.trim_start_matches("godiff: ").split(": ").next().unwrap());
            *failed.entry(path.file_name().unwrap().to_string_lossy().into_owned()).or_default() += 1;
            disk.remount("size=64m,nr_inodes=1000");
            let output = run.command(&folder).arg("--quiet").output().unwrap();
            assert!(output.status.success(), "{size}: {}", String::from_utf8_lossy(&output.stderr));
        }
        assert!(results(&folder) == expected, "{size}: the run ended otherwise");
    }
    failed
}

#[test]
fn full_disks_end_a_run_with_a_sentence_and_a_resume_completes_it() {
    let n_disks = n_times("GODIFF_FULL_DISKS", 5) as u64;
    let place = TempDir::new().unwrap();
    let config = smoke(place.path(), &[], "\n[random_search]\nevaluations = 1200\n");
    for command in ["search", "rss"] {
        let run = Run { command: &[command], config: &config };
        let alone = place.path().join(command);
        run.finish(&alone);
        // Journals and the new beside the old file come on top.
        let most = n_pages(&alone) + 30;
        let sizes = (0..n_disks.min(most)).map(|k| format!("size={}", PAGE * (1 + k * most / n_disks.min(most))));
        let inodes = (2..20).step_by(if n_disks < 20 { 6 } else { 1 }).map(|n| format!("size=64m,nr_inodes={n}"));
        let failed = on_full_disks(&run, &alone, sizes.chain(inodes));
        eprintln!("{command}: {} disks were full, at {failed:?}", failed.values().sum::<usize>());
    }
}

#[test]
fn write_protected_disks_are_named_and_can_be_read() {
    let Some(disk) = Disk::mount("size=64m") else { return };
    let place = TempDir::new().unwrap();
    let config = smoke(place.path(), &[], "");
    let search = Run { command: &["search"], config: &config };
    let run = disk.path().join("run");
    search.finish(&run);
    let expected = results(&run);
    // One iteration is left to do.
    fs::remove_file(run.join("checkpoint/iteration-00003.bin")).unwrap();
    disk.remount("ro");

    let said = sentence(&search.command(&run).output().unwrap(), 4);
    assert!(said.contains("run: cannot be written (Read-only file system") && said.contains("make it and"), "{said}");
    let said = sentence(&search.command(&disk.path().join("new")).output().unwrap(), 2);
    assert!(said.contains("new: cannot be used as output folder (Read-only file system"), "{said}");
    for arguments in
        [&["inspect"][..], &["export", "--lowest", "3", "-o", place.path().join("out.xyz").to_str().unwrap()]]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_godiff")).args(arguments).arg(&run).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    disk.remount("rw");
    search.finish(&run);
    assert!(results(&run) == expected);
}

/// A search that takes long enough to do something to it meanwhile, and one that was left alone.
struct Long {
    place: TempDir,
    config: PathBuf,
}

impl Long {
    fn new() -> Self {
        let place = TempDir::new().unwrap();
        let longer = [("iterations = 3", "iterations = 6"), ("steps_per_iteration = 60", "steps_per_iteration = 600")];
        let config = smoke(place.path(), &longer, "");
        let long = Long { place, config };
        long.search().finish(&long.path("alone"));
        long
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn search(&self) -> Run<'_> {
        Run { command: &["search"], config: &self.config }
    }

    /// Started in the folder `name`, its first iteration done.
    fn at_work(&self, name: &str) -> (PathBuf, Child) {
        let run = self.path(name);
        let mut command = self.search().command(&run);
        let mut child = command.arg("--quiet").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let patience = Instant::now() + Duration::from_secs(120);
        while !run.join("checkpoint/iteration-00001.bin").exists() {
            assert!(Instant::now() < patience && child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(1));
        }
        (run, child)
    }

    fn check(&self, run: &Path) {
        assert!(results(run) == results(&self.path("alone")), "{} ended otherwise", run.display());
    }
}

#[test]
fn folders_and_archives_that_disappear_end_a_run_with_a_sentence() {
    let long = Long::new();
    for (what, gone) in [("folder", ""), ("archive", "archive.db"), ("checkpoints", "checkpoint")] {
        let (run, child) = long.at_work(what);
        let (from, to) = (run.join(gone), long.path("elsewhere"));
        fs::rename(&from, &to).unwrap();
        let said = sentence(&child.wait_with_output().unwrap(), 4);
        assert!(said.contains(run.to_str().unwrap()) && said.contains("put it back"), "{what}: {said}");
        if what == "checkpoints" {
            // A resume would start over without them, which the archive makes quick; here they come back.
            let _ = fs::remove_dir_all(&from);
        }
        fs::rename(&to, &from).unwrap();
        long.search().finish(&run);
        long.check(&run);
    }
    let (run, child) = long.at_work("removed");
    // The search may be adding files meanwhile.
    while run.exists() {
        let _ = fs::remove_dir_all(&run);
    }
    sentence(&child.wait_with_output().unwrap(), 4);
}

/// A run folder stands alone: it goes on by itself when the configuration it was made from is gone.
#[test]
fn runs_outlive_the_folder_of_their_configuration() {
    let long = Long::new();
    let (run, mut child) = long.at_work("run");
    child.kill().unwrap();
    child.wait().unwrap();
    let gone = Run { command: &["search"], config: &long.path("gone/search.toml") };
    let said = sentence(&gone.command(&run).output().unwrap(), 2);
    assert!(said.contains("cannot read the configuration") && said.contains("gone/search.toml"), "{said}");
    Run { command: &["search"], config: &run.join("config.toml") }.finish(&run);
    long.check(&run);
}

#[test]
fn a_second_process_is_kept_out_and_a_killed_one_leaves_no_lock() {
    let long = Long::new();
    let (run, first) = long.at_work("run");
    // Halted, so that it cannot end before the others have tried.
    let signal = |name: &str| Command::new("kill").args([name, &first.id().to_string()]).status().unwrap();
    assert!(signal("-STOP").success());
    for _ in 0..2 {
        let said = sentence(&long.search().command(&run).output().unwrap(), 2);
        assert!(said.contains("run: another godiff is working in this folder; wait for it or name another"), "{said}");
    }
    let mut anew = Command::new(env!("CARGO_BIN_EXE_godiff"));
    let said = sentence(&anew.arg("search").arg(&long.config).arg("--out").arg(&run).output().unwrap(), 2);
    assert!(said.contains("another godiff is working in this folder"), "{said}");
    assert!(signal("-CONT").success());
    assert!(first.wait_with_output().unwrap().status.success(), "the first was disturbed");
    long.check(&run);

    let (run, mut killed) = long.at_work("killed");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(run.join(".lock").exists(), "the file stays; what locks is the process");
    long.search().finish(&run);
    long.check(&run);
}

/// Where messages and events go nowhere the work still counts, and the exit code still says how it ended.
#[cfg(target_os = "linux")]
#[test]
fn full_disks_behind_the_output_are_no_panic() {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let place = TempDir::new().unwrap();
    let config = smoke(place.path(), &[], "");
    let godiff = || Command::new(env!("CARGO_BIN_EXE_godiff"));
    let status = godiff().args(["search", "missing.toml"]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
    let said = sentence(&godiff().arg("devices").stdout(full()).output().unwrap(), 4);
    assert!(said.contains("cannot write to standard output"), "{said}");

    let search = Run { command: &["search"], config: &config };
    for (name, option) in [("lines", None), ("events", Some("--json"))] {
        let run = place.path().join(name);
        let mut command = search.command(&run);
        command.args(option);
        if option.is_some() {
            command.stdout(full())
        } else {
            command.stdout(Stdio::null()).stderr(full())
        };
        assert!(command.status().unwrap().success(), "{name}");
    }
    assert!(results(&place.path().join("lines")) == results(&place.path().join("events")));
}
