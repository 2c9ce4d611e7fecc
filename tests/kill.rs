//! Real kills: whatever moment a search dies at, resumed it ends bit for bit like one that was left alone.
#![cfg(unix)]

use godiff::archive::{Selection, Stored, export};
use godiff::random::{Purpose, host_generator};
use godiff::run::{IterationMetrics, PhaseSeconds, Summary, read_metrics};
use rand_xoshiro::rand_core::Rng;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Searches that are killed again and again until they end.
const N_SEARCHES: u64 = 6;
/// Kills a search suffers at most, so that the test ends on slow machines too.
const MAX_KILLS: usize = 12;

/// The smoke search with more `sections`, made long enough to be killed in the middle.
fn configuration(place: &Path, sections: &str) -> PathBuf {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut text = fs::read_to_string(configs.join("smoke.toml")).unwrap();
    let structures = format!("\"{}/", configs.join("structures").display());
    for (from, to) in [
        ("\"structures/", structures.as_str()),
        ("iterations = 3", "iterations = 5"),
        ("samples_per_iteration = 12", "samples_per_iteration = 24"),
        ("steps = 40", "steps = 80"),
        ("steps_per_iteration = 60", "steps_per_iteration = 300"),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let path = place.join("search.toml");
    fs::write(&path, text + sections).unwrap();
    path
}

/// Starts the search in the folder `run`, or goes on with it once it has begun.
fn start(config: &Path, run: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_godiff"));
    command.arg("search").arg(config).arg("--out").arg(run).args(["--quiet", "--threads", "1"]);
    if run.join("config.toml").exists() {
        command.arg("--resume");
    }
    command.stdout(Stdio::null()).spawn().unwrap()
}

fn finish(config: &Path, run: &Path) {
    assert!(start(config, run).wait().unwrap().success());
}

/// What must not depend on kills: archive, metrics and summary without times, best structure, model.
fn results(run: &Path) -> (Vec<Stored>, Vec<IterationMetrics>, Summary, Vec<u8>, Vec<u8>) {
    let mut rows = Vec::new();
    export(&run.join("archive.db"), Selection::All, &mut |row| {
        rows.push(row);
        Ok(())
    })
    .unwrap();
    let metrics = read_metrics(&run.join("metrics.jsonl")).unwrap();
    let metrics =
        metrics.into_iter().map(|line| IterationMetrics { seconds: PhaseSeconds::default(), ..line }).collect();
    let summary: Summary = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    let summary = Summary { seconds: 0.0, ..summary };
    let read = |name: &str| fs::read(run.join(name)).unwrap();
    (rows, metrics, summary, read("best.xyz"), read("model.safetensors"))
}

/// True while a file of the run is being written.
fn is_writing(run: &Path) -> bool {
    [run.to_owned(), run.join("checkpoint")].iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().any(
        |entry| {
            entry.is_ok_and(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.ends_with(".unfinished") || name.ends_with("-journal")
            })
        },
    )
}

/// Kills `child` once `due` says so; `None` if it was killed, otherwise how it ended before.
fn kill_when(mut child: Child, mut due: impl FnMut() -> bool) -> Option<ExitStatus> {
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

#[test]
fn killed_searches_end_like_one_left_alone() {
    let place = TempDir::new().unwrap();
    // Guidance has more state to lose: a force head, every sample's corrector, a set of forces.
    let config = configuration(place.path(), "[guidance]\nrelax_steps = 2\n");
    let alone = place.path().join("alone");
    let started = Instant::now();
    finish(&config, &alone);
    let whole = started.elapsed();
    let expected = results(&alone);
    assert_eq!(expected.0.len(), 120);
    assert_eq!(expected.1.len(), 5);

    let mut random = host_generator(1, Purpose::Shuffle, 0);
    let (mut n_kills, mut n_while_writing) = (0, 0);
    for search in 0..N_SEARCHES {
        let run = place.path().join(format!("run-{search}"));
        for kill in 0..MAX_KILLS {
            // Half of the kills come at any moment, half at the first write after one.
            let share = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            let moment = Instant::now() + whole.mul_f64(0.6 * share);
            let while_writing = kill % 2 == 1;
            let due = || Instant::now() > moment && (!while_writing || is_writing(&run));
            match kill_when(start(&config, &run), due) {
                Some(status) => {
                    assert!(status.success(), "search {search}, after {kill} kills: {status}");
                    break;
                }
                None => {
                    n_kills += 1;
                    n_while_writing += usize::from(while_writing);
                }
            }
        }
        finish(&config, &run);
        assert!(results(&run) == expected, "search {search} ended otherwise than one left alone");
    }
    assert!(n_kills >= 6 && n_while_writing >= 2, "the test must kill: {n_kills}, {n_while_writing} while writing");
}

#[test]
fn interrupted_searches_exit_130_and_go_on() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path(), "");
    let (alone, run) = (place.path().join("alone"), place.path().join("run"));
    finish(&config, &alone);

    let mut child = start(&config, &run);
    let patience = Instant::now() + Duration::from_secs(60);
    // The first checkpoint is there: the second iteration runs.
    while fs::read_dir(run.join("checkpoint")).map_or(0, Iterator::count) == 0 {
        assert!(Instant::now() < patience && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let summary: Summary = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(serde_json::to_value(summary.status).unwrap(), "interrupted");

    finish(&config, &run);
    assert!(results(&run) == results(&alone));
}
