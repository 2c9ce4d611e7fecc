//! `godiff inspect` on runs of every kind: done, going on, killed, a baseline's, several in a folder.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs")
}

/// Standard output of a command that must succeed.
fn godiff(place: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_godiff")).current_dir(place).args(arguments).output().unwrap();
    assert!(output.status.success(), "godiff {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// configs/smoke.toml in `place`, so short that it takes no time and finds its target at once, or too long to end by itself.
fn configuration(place: &Path, endless: bool) -> String {
    let mut text = fs::read_to_string(configs().join("smoke.toml")).unwrap();
    let structures = format!("\"{}/", configs().join("structures").display());
    let steps = if endless { "steps_per_iteration = 10000000" } else { "steps_per_iteration = 1" };
    for (from, to) in [("\"structures/", structures.as_str()), ("steps_per_iteration = 60", steps)] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    text += "[random_search]\nevaluations = 1500\n";
    let path = place.join(if endless { "endless.toml" } else { "short.toml" });
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn start(place: &Path, config: &str) -> Child {
    let arguments = ["search", config, "--out", "run", "--device", "cpu", "--threads", "1", "--quiet"];
    let child = Command::new(env!("CARGO_BIN_EXE_godiff"))
        .current_dir(place)
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (archive, started) = (place.join("run/archive.db"), Instant::now());
    while !archive.exists() {
        assert!(started.elapsed() < Duration::from_secs(120), "the run has not started");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

#[test]
fn a_run_that_goes_on_is_told_from_one_that_was_killed() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path(), true);
    let mut child = start(place.path(), &config);
    let said = godiff(place.path(), &["inspect", "run"]);
    assert!(said.starts_with("run: search, running\n"), "{said}");
    // Looking at a run often must not keep it from going on, nor its lock from being taken.
    for _ in 0..5 {
        godiff(place.path(), &["inspect", "run"]);
    }
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    let said = godiff(place.path(), &["inspect", "run"]);
    assert!(said.starts_with("run: search, killed; resume it with --resume\n"), "{said}");
    assert!(
        said.contains("\nPt on 20 template atoms, potential EMT\n3 iterations of 12 samples, kT 5 to 0.1 eV\n"),
        "{said}"
    );
}

/// People count from 1, files from 0; both stand beside each other where one leads to the other.
#[test]
fn iterations_and_samples_count_from_1() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path(), false);
    godiff(place.path(), &["search", &config, "--out", "run", "--device", "cpu", "--quiet"]);
    let summary: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(place.path().join("run/summary.json")).unwrap()).unwrap();
    let (iteration, index) = (summary["best_iteration"].as_u64().unwrap(), summary["best_index"].as_u64().unwrap());
    let expected = format!(
        "iteration {}, sample {}\n(in archive.db iteration={iteration},sample={index})",
        iteration + 1,
        index + 1
    );
    let said = godiff(place.path(), &["inspect", "run"]);
    assert_eq!(said.matches(&expected).count(), 2, "{expected}: {said}");
    let numbers: Vec<&str> = said.lines().filter_map(|line| line.get(..9)).map(str::trim).collect();
    assert!(["1", "2", "3"].iter().all(|number| numbers.contains(number)) && !numbers.contains(&"0"), "{said}");
    for path in ["run/archive.db", "run/checkpoint"] {
        assert!(godiff(place.path(), &["inspect", path]).contains(&expected), "{path}");
    }
}

#[test]
fn a_folder_of_runs_is_a_table() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path(), false);
    godiff(place.path(), &["search", &config, "--device", "cpu", "--quiet"]);
    godiff(place.path(), &["rss", &config, "--quiet"]);
    let said = godiff(place.path(), &["inspect", "runs/short-rss-001"]);
    assert!(said.starts_with("runs/short-rss-001: rss, done\n"), "{said}");
    assert!(said.contains("potential EMT\n1500 evaluations\n"), "{said}");
    let table = |path: &str| -> Vec<Vec<String>> {
        let said = godiff(place.path(), &["inspect", path]);
        said.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    assert!(godiff(place.path(), &["inspect", "runs"]).lines().all(|line| line.chars().count() <= 80));
    let rows = table("runs");
    assert_eq!(rows[0], ["run", "evaluations", "lowest/eV", "target", "at", "time", "status"]);
    assert_eq!((rows[1][0].as_str(), rows[1].last().unwrap().as_str()), ("short-001", "done"));
    assert_eq!((rows[2][0].as_str(), rows[2][1].as_str()), ("short-rss-001", "1500"));
    assert_eq!(rows.len(), 3);

    // A benchmark has its runs one folder deeper; one that cannot be read does not hide the others.
    let benchmark = place.path().join("benchmark/short");
    fs::create_dir_all(&benchmark).unwrap();
    fs::rename(place.path().join("runs/short-001"), benchmark.join("seed-2")).unwrap();
    fs::rename(place.path().join("runs/short-rss-001"), benchmark.join("seed-10")).unwrap();
    fs::write(benchmark.join("seed-10/summary.json"), "{").unwrap();
    let rows = table("benchmark");
    assert_eq!((rows[1][0].as_str(), rows[2][0].as_str()), ("short/seed-2", "short/seed-10"));
    assert_eq!(rows[2][rows[2].len() - 3..], ["no", "readable", "summary.json"]);
}
