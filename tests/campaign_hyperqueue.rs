//! A campaign on a real HyperQueue: a server and workers in processes of their own, one of which is killed with a run on it.
//! Needs the interpreter that `GODIFF_PYTHON` names, 3.11 or later, with HyperQueue's package from PyPI (`hyperqueue`).
#![cfg(target_os = "linux")]

#[path = "common/campaign.rs"]
mod campaign;

use campaign::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The interpreter if it has HyperQueue, or a word about what is skipped.
fn python() -> Option<PathBuf> {
    let python = std::env::var("GODIFF_PYTHON").ok().map(PathBuf::from);
    let found = python.filter(|python| {
        let mut import = Command::new(python);
        import.args(["-c", "import hyperqueue, tomllib"]).stderr(Stdio::null());
        import.status().is_ok_and(|status| status.success())
    });
    if found.is_none() {
        eprintln!("skipped: set GODIFF_PYTHON to a Python with hyperqueue");
    }
    found
}

/// A HyperQueue; its processes end with it.
struct HyperQueue {
    folder: TempDir,
    python: PathBuf,
    processes: Vec<Child>,
}

impl HyperQueue {
    fn start(&mut self, arguments: &[&str]) -> usize {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/hyperqueue_cluster.py");
        let log = fs::File::create(self.folder.path().join(format!("log-{}", self.processes.len()))).unwrap();
        let mut command = Command::new(&self.python);
        command.arg(script).args(arguments).current_dir(self.folder.path());
        self.processes.push(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        self.processes.len() - 1
    }

    fn said(&self, process: usize) -> String {
        fs::read_to_string(self.folder.path().join(format!("log-{process}"))).unwrap()
    }

    fn start_and_wait(&mut self, arguments: &[&str]) -> usize {
        let process = self.start(arguments);
        wait_until(&format!("{arguments:?}"), || {
            let ended = self.processes[process].try_wait().unwrap();
            assert!(ended.is_none(), "{}", self.said(process));
            self.said(process).contains("ready")
        });
        process
    }
}

impl Drop for HyperQueue {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
fn a_second_worker_goes_on_where_the_first_was_killed() {
    let Some(python) = python() else { return };
    let place = TempDir::new().unwrap();
    let config = configuration(place.path());
    let (alone, folder) = (place.path().join("alone"), place.path().join("on \"hyperqueue\", it's"));
    plan(&config, &alone, &["--for", "local", "--device", "cpu", "--at-once", "2"]);
    plan(&config, &folder, &["--for", "hyperqueue"]);

    let mut cluster = HyperQueue { folder: TempDir::new().unwrap(), python, processes: Vec::new() };
    cluster.start_and_wait(&["server", "server"]);
    let first = cluster.start_and_wait(&["worker", "server", "first"]);
    let job = cluster.start(&["submit", "server", folder.join("hyperqueue.toml").to_str().unwrap()]);
    let lost = search_in_the_middle(&folder);
    assert_eq!(lost.parent, cluster.processes[first].id(), "the worker's own child");
    cluster.processes[first].kill().unwrap();
    cluster.processes[first].wait().unwrap();
    wait_until("the end of the lost worker's task", || !workers(&folder).contains(&lost));
    let summary = fs::read_to_string(folder.join(format!("long/seed-{}/summary.json", lost.task / 2))).unwrap();
    // The kernel tells the task of a dead worker to stop; some have time to say that they did.
    let in_the_middle = ["\"running\"", "\"interrupted\""].iter().any(|status| summary.contains(status));
    assert!(in_the_middle, "killed in the middle: {summary}");

    cluster.start_and_wait(&["worker", "server", "second"]);
    wait_until("the job's end", || cluster.processes[job].try_wait().unwrap().is_some());
    let status = cluster.processes[job].wait().unwrap();
    assert!(status.success(), "{}", cluster.said(job));
    assert_same(&folder, &alone);
    let logs = fs::read_dir(folder.join("log")).unwrap().count();
    assert!(logs >= 2 * 7, "{logs} files: two for every start of a task, seven starts");
}
