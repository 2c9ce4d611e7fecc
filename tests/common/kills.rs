//! Runs that are killed: when to kill, what they had acknowledged until then, and what must be left of it.
//!
//! The tests kill a few times; `GODIFF_KILLS=1000` makes them campaigns of that many.

// Each test uses its own part.
#![allow(dead_code)]

use godiff::archive::{Selection, Stored, export};
use godiff::model::ModelFile;
use godiff::random::{Purpose, host_generator};
use godiff::run::{Checkpoint, IterationMetrics, PhaseSeconds, Summary, read_metrics};
use godiff::system::read_structures;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::Rng;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a test tries: as the environment's `variable` says, or `default` times.
pub fn n_times(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// How often a test kills.
pub fn n_kills(default: usize) -> usize {
    n_times("GODIFF_KILLS", default)
}

/// Random shares from 0 to 1.
#[derive(Debug)]
pub struct Shares(Xoshiro256PlusPlus);

impl Shares {
    /// Those of `seed`.
    pub fn new(seed: u64) -> Self {
        Shares(host_generator(seed, Purpose::Shuffle, 0))
    }

    /// The next.
    pub fn next(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A random number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() * n as f64) as usize
    }
}

/// Kills `child` once `due` says so; `None` if it was killed, otherwise how it ended before.
pub fn kill_when(child: &mut Child, mut due: impl FnMut() -> bool) -> Option<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if due() {
            child.kill().unwrap();
            let status = child.wait().unwrap();
            return status.code().map(|_| status);
        }
    }
}

/// Starts the test `writer` of this very executable with `variable` set to `path`, and kills it after `time`: the last number
/// that it said behind `word`.
pub fn kill_writer(variable: &str, path: &Path, word: &str, time: Duration) -> Option<u32> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture"])
        .env(variable, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let word = format!("{word} ");
    let reader = std::thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        lines.filter_map(|line| line.strip_prefix(&word)?.parse().ok()).last()
    });
    std::thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// The smoke configuration with `changes` and more `sections`, written to `search.toml` in `place`.
pub fn smoke(place: &Path, changes: &[(&str, &str)], sections: &str) -> PathBuf {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut text = fs::read_to_string(configs.join("smoke.toml")).unwrap();
    let structures = format!("\"{}/", configs.join("structures").display());
    for (from, to) in [("\"structures/", structures.as_str())].iter().chain(changes) {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let path = place.join("search.toml");
    fs::write(&path, text + sections).unwrap();
    path
}

/// A command that makes a run folder, such as `search`, and the configuration it is given.
pub struct Run<'a> {
    /// The command's name and options.
    pub command: &'a [&'a str],
    /// The configuration.
    pub config: &'a Path,
}

impl Run<'_> {
    /// The command that starts in the folder `run`, or goes on with it once it has begun.
    pub fn command(&self, run: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_godiff"));
        command.args(self.command).arg(self.config).arg("--out").arg(run).args(["--threads", "1"]);
        if run.join("config.toml").exists() {
            command.arg("--resume");
        }
        command
    }

    /// Starts, listening to what the run acknowledges.
    pub fn start(&self, run: &Path) -> Started {
        let mut child = self.command(run).arg("--json").stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let listener = std::thread::spawn(move || {
            let mut acknowledged = Acknowledged::default();
            output.lines().map_while(Result::ok).for_each(|line| acknowledged.hear(&line));
            acknowledged
        });
        Started { child, listener }
    }

    /// Runs to the end.
    pub fn finish(&self, run: &Path) {
        assert!(self.command(run).arg("--quiet").stdout(Stdio::null()).status().unwrap().success());
    }
}

/// A run at work.
pub struct Started {
    /// Its process.
    pub child: Child,
    listener: JoinHandle<Acknowledged>,
}

impl Started {
    /// What it has acknowledged, once its process has ended.
    pub fn acknowledged(self) -> Acknowledged {
        self.listener.join().unwrap()
    }
}

/// What `--json` has said to be done.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// Evaluations by iteration.
    pub evaluated: BTreeMap<u64, u64>,
    /// Iterations.
    pub n_iterations: u64,
}

impl Acknowledged {
    /// Takes in a line of `--json`.
    pub fn hear(&mut self, line: &str) {
        // A kill may tear the last line.
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { return };
        let number = |key: &str| event[key].as_u64().unwrap();
        match event["event"].as_str().unwrap() {
            "progress" if event["phase"] == "evaluate" => {
                self.evaluated.insert(number("iteration"), number("done"));
            }
            "iteration_done" => {
                self.n_iterations = number("iteration") + 1;
                self.evaluated.insert(number("iteration"), number("samples"));
            }
            _ => {}
        }
    }
}

/// All rows of the archive, in their order.
pub fn rows(archive: &Path) -> Vec<Stored> {
    let mut rows = Vec::new();
    export(archive, Selection::All, &mut |row| {
        rows.push(row);
        Ok(())
    })
    .unwrap();
    rows
}

/// What must not depend on kills.
#[derive(Debug, PartialEq)]
pub struct Results {
    /// The archive.
    pub rows: Vec<Stored>,
    /// Metrics without times.
    pub metrics: Vec<IterationMetrics>,
    /// The summary without its time.
    pub summary: Summary,
    /// `best.xyz`.
    pub best: Vec<u8>,
    /// The model, if the run has one.
    pub model: Option<Vec<u8>>,
}

/// Those of the finished run in the folder `run`.
pub fn results(run: &Path) -> Results {
    let untimed = |line| IterationMetrics { seconds: PhaseSeconds::default(), ..line };
    Results {
        rows: rows(&run.join("archive.db")),
        metrics: read_metrics(&run.join("metrics.jsonl")).unwrap().into_iter().map(untimed).collect(),
        summary: summary(run).untimed(),
        best: fs::read(run.join("best.xyz")).unwrap(),
        model: fs::read(run.join("model.safetensors")).ok(),
    }
}

/// `summary.json`.
pub fn summary(run: &Path) -> Summary {
    serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap()
}

/// Names of the files in the folder `run` that are being written, or were when it was killed.
pub fn being_written(run: &Path) -> Vec<String> {
    let entries = [run.to_owned(), run.join("checkpoint")].into_iter().filter_map(|folder| fs::read_dir(folder).ok());
    let names = entries.flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".unfinished") || name.ends_with("-journal")).collect()
}

/// What a killed run must still hold, looked at before anything goes on.
#[derive(Default)]
pub struct Remains {
    rows: BTreeMap<(u32, u32), Stored>,
    n_done: u64,
}

impl Remains {
    /// Checks the folder `run` of a process that was just killed: nothing is lost that was there at the last look or was
    /// acknowledged since, and every file can be read.
    pub fn check(&mut self, run: &Path, acknowledged: &Acknowledged) {
        let rows = rows_of_killed(run);
        for (place, row) in &self.rows {
            assert!(rows.get(place) == Some(row), "{place:?} was stored and is lost or changed");
        }
        for (&iteration, &n) in &acknowledged.evaluated {
            let found = rows.keys().filter(|(of, _)| u64::from(*of) == iteration).count() as u64;
            assert!(found >= n, "iteration {iteration}: {n} evaluations were acknowledged, {found} are there");
        }
        self.rows = rows;
        let Ok(config) = fs::read_to_string(run.join("config.toml")) else { return };
        config.parse::<toml::Table>().unwrap();
        summary(run);
        let there = |name: &str| Some(run.join(name)).filter(|path| path.exists());
        there("metrics.jsonl").map(|path| read_metrics(&path).unwrap());
        there("model.safetensors").map(|path| ModelFile::read(&path).unwrap());
        for name in ["best.xyz", "template.xyz", "target.xyz"] {
            there(name).map(|path| read_structures(&path).unwrap());
        }
        let checkpoints = fs::read_dir(run.join("checkpoint")).into_iter().flatten().map(|entry| entry.unwrap().path());
        let whole = checkpoints.filter(|path| path.extension().is_some_and(|extension| extension == "bin"));
        let newest = whole.map(|path| Checkpoint::read(&path).unwrap().progress.iterations_done).max();
        let Some(n_done) = newest.map(u64::from) else {
            assert_eq!(self.n_done, 0, "all checkpoints are lost");
            return;
        };
        assert!(n_done >= self.n_done.max(acknowledged.n_iterations), "{n_done} iterations left, {acknowledged:?}");
        self.n_done = n_done;
    }
}

/// The rows of the archive of a killed run, read from a copy: what the kill left is for the run itself to recover.
pub fn rows_of_killed(run: &Path) -> BTreeMap<(u32, u32), Stored> {
    let copy = tempfile::tempdir().unwrap();
    for name in ["archive.db", "archive.db-journal"] {
        let _ = fs::copy(run.join(name), copy.path().join(name));
    }
    let mut rows = BTreeMap::new();
    let read = export(&copy.path().join("archive.db"), Selection::All, &mut |row| {
        rows.insert((row.iteration, row.index), row);
        Ok(())
    });
    // The kill may have come before the archive had its tables.
    let unmade = |error: &godiff::Error| {
        let text = error.to_string();
        text.contains("no such archive") || text.contains("is not an archive written by godiff")
    };
    assert!(read.as_ref().err().is_none_or(unmade), "{read:?}");
    rows
}
