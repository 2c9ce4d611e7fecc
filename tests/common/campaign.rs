//! What the tests of campaigns share: runs long enough to be killed in the middle, tasks as processes, what must not depend on
//! kills.

// Each test uses its own part.
#![allow(dead_code)]

use godiff::archive::{Selection, Stored, export};
use godiff::run::Summary;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Longest time that anything here may take.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The smoke search made longer, with a budget for random search that takes as long; its structures in `place`.
pub fn configuration(place: &Path) -> PathBuf {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut text = fs::read_to_string(configs.join("smoke.toml")).unwrap();
    let structures = format!("\"{}/", configs.join("structures").display());
    for (from, to) in [
        ("\"structures/", structures.as_str()),
        ("iterations = 3", "iterations = 8"),
        ("samples_per_iteration = 12", "samples_per_iteration = 32"),
        ("steps = 40", "steps = 80"),
        ("steps_per_iteration = 60", "steps_per_iteration = 1000"),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let path = place.join("long.toml");
    fs::write(&path, text + "\n[random_search]\nevaluations = 20000\n").unwrap();
    path
}

/// Search and random search with `config`.
pub fn entrants(config: &Path) -> [String; 2] {
    ["search", "rss"].map(|method| format!("{}:{method}", config.display()))
}

/// `godiff` with `arguments`.
pub fn godiff(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_godiff"));
    command.args(arguments);
    command
}

/// What `godiff campaign` prints when it plans both entrants with three seeds in `folder`, with `more` arguments.
pub fn plan(config: &Path, folder: &Path, more: &[&str]) -> String {
    let [search, rss] = entrants(config);
    let fixed = ["campaign", &search, &rss, "--seeds", "0-2", "--to-the-end", "--out", folder.to_str().unwrap()];
    succeed(godiff(&[&fixed[..], more].concat()))
}

/// The standard output of `command`, which has to succeed.
pub fn succeed(mut command: Command) -> String {
    let output: Output = command.output().unwrap_or_else(|cause| panic!("{command:?}: {cause}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The run folders of [`plan`].
pub fn run_folders(campaign: &Path) -> Vec<PathBuf> {
    let names = ["long", "long-rss"].iter().flat_map(|name| (0..3).map(move |seed| format!("{name}/seed-{seed}")));
    names.map(|name| campaign.join(name)).collect()
}

/// Archive, summary without its time, lowest structure of a run.
pub fn results(run: &Path) -> (Vec<Stored>, Summary, Vec<u8>) {
    let mut rows = Vec::new();
    export(&run.join("archive.db"), Selection::All, &mut |row| {
        rows.push(row);
        Ok(())
    })
    .unwrap();
    let summary: Summary = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    (rows, summary.untimed(), fs::read(run.join("best.xyz")).unwrap())
}

/// Every run of the campaign `folder` is finished, and bitwise that of the campaign `alone`.
pub fn assert_same(folder: &Path, alone: &Path) {
    let json = succeed(godiff(&["campaign", "status", folder.to_str().unwrap(), "--json"]));
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status["states"]["finished"], 6, "{json}");
    for (run, expected) in run_folders(folder).iter().zip(run_folders(alone)) {
        let ((rows, summary, best), (rows_alone, summary_alone, best_alone)) = (results(run), results(&expected));
        // The device's name has the number of threads.
        let named = |summary: Summary| Summary { device: String::new(), ..summary };
        assert_eq!(named(summary), named(summary_alone), "{}", run.display());
        assert!(rows == rows_alone && best == best_alone, "{} differs", run.display());
        let model = |run: &Path| fs::read(run.join("model.safetensors")).ok();
        assert!(model(run) == model(&expected), "the model of {} differs", run.display());
    }
}

/// A process that does a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    /// Its id.
    pub pid: u32,
    /// That of the process that started it.
    pub parent: u32,
    /// Its task.
    pub task: usize,
}

/// The processes that do tasks of the campaign `folder` now.
pub fn workers(folder: &Path) -> Vec<Worker> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words: Vec<String> =
            line.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into()).collect();
        let [_, command, run, campaign, option, task, ..] = &words[..] else { return None };
        let ours = [command, run, option] == ["campaign", "run", "--task"] && Path::new(campaign) == folder;
        let task = task.parse().ok().filter(|_| ours)?;
        Some(Worker { pid, parent: parent(pid)?, task })
    })
    .collect()
}

/// The process that started `pid`.
pub fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// Sends `signal` to `pid`; a process that has just ended is no error.
pub fn signal(pid: u32, signal: &str) {
    Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).output().unwrap();
}

/// Waits until a search of the campaign `folder` is in the middle: at least one iteration done, and a process at work.
pub fn search_in_the_middle(folder: &Path) -> Worker {
    let started = Instant::now();
    loop {
        // Tasks alternate between search and random search.
        let at_work = workers(folder).into_iter().find(|worker| {
            let run = folder.join(format!("long/seed-{}", worker.task / 2));
            worker.task % 2 == 0 && fs::metadata(run.join("metrics.jsonl")).is_ok_and(|file| file.len() > 0)
        });
        if let Some(worker) = at_work {
            return worker;
        }
        assert!(started.elapsed() < PATIENCE, "no search came to work in {}", folder.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `done`.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
