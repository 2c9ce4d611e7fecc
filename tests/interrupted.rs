//! Commands that are stopped while they compute: what batch systems send ends a run at a whole state, and results are kept.
#![cfg(unix)]

use godiff::system::xyz::{Value, read_frames};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn start(place: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_godiff"));
    command.current_dir(place).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits until `due`, sends `signal` and waits for the end.
fn interrupt(child: Child, signal: &str, due: impl Fn() -> bool) -> Output {
    let started = Instant::now();
    while !due() {
        assert!(started.elapsed() < Duration::from_secs(120), "it never came so far");
        std::thread::sleep(Duration::from_millis(5));
    }
    send(&child, signal);
    child.wait_with_output().unwrap()
}

fn send(child: &Child, signal: &str) {
    let status = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success(), "{signal} could not be sent");
}

/// A search that takes minutes unless it is stopped.
fn long_search(place: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("configs/smoke.toml")).unwrap();
    let structures = format!("\"{}/", root.join("configs/structures").display());
    let text = text.replace("\"structures/", &structures).replace("iterations = 3", "iterations = 100000");
    assert!(text.contains("iterations = 100000"));
    fs::write(place.join("long.toml"), text).unwrap();
}

/// Slurm's --signal, LSF and SGE's -notify send these before they kill.
#[test]
fn signals_of_batch_systems_end_a_run_like_ctrl_c() {
    for signal in ["INT", "TERM", "HUP", "USR1", "USR2", "XCPU"] {
        let place = TempDir::new().unwrap();
        long_search(place.path());
        let child = start(place.path(), &["search", "long.toml", "--out", "run", "--quiet"]);
        let metrics = place.path().join("run/metrics.jsonl");
        let output = interrupt(child, signal, || fs::metadata(&metrics).is_ok_and(|metadata| metadata.len() > 0));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(130), "{signal}: {said}");
        let summary = fs::read_to_string(place.path().join("run/summary.json")).unwrap();
        assert!(summary.contains("\"interrupted\""), "{signal}: {summary}");
        assert!(place.path().join("run/minima.xyz").is_file() && place.path().join("run/report.html").is_file());
    }
}

/// A soft limit of CPU time is told every second, and a batch system may repeat itself: nothing is cut short.
#[test]
fn repeated_warnings_do_not_end_it_at_once() {
    let place = TempDir::new().unwrap();
    long_search(place.path());
    let child = start(place.path(), &["search", "long.toml", "--out", "run", "--quiet"]);
    let metrics = place.path().join("run/metrics.jsonl");
    let output = interrupt(child, "XCPU", || fs::metadata(&metrics).is_ok_and(|metadata| metadata.len() > 0));
    assert_eq!(output.status.code(), Some(130));
    let again = start(place.path(), &["search", "long.toml", "--out", "run", "--quiet", "--resume"]);
    let length = fs::metadata(&metrics).unwrap().len();
    let started = Instant::now();
    while fs::metadata(&metrics).unwrap().len() <= length {
        assert!(started.elapsed() < Duration::from_secs(120), "it never went on");
        std::thread::sleep(Duration::from_millis(5));
    }
    ["XCPU", "XCPU", "USR2", "USR1", "TERM"].iter().for_each(|signal| {
        // It may have ended by now.
        let _ = Command::new("kill").args(["-s", signal, &again.id().to_string()]).stderr(Stdio::null()).status();
    });
    let output = again.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(130) && !said.contains("at once"), "{said}");
}

/// A calculator of ASE's EMT that takes its time and leaves a mark for every call.
const SLOW: &str = "\
import os, time
from ase.calculators.emt import EMT

class Slow(EMT):
    def calculate(self, *args, **kwargs):
        time.sleep(0.05)
        super().calculate(*args, **kwargs)
        with open(os.environ['MARKS'], 'a') as marks:
            marks.write('x')
";

/// A folder with the calculator and `n` structures of copper; none without a Python with ASE.
fn slow_place(n: usize) -> Option<(TempDir, std::path::PathBuf)> {
    let Ok(python) = std::env::var("GODIFF_PYTHON") else {
        println!("skipped: set GODIFF_PYTHON to a Python with ASE");
        return None;
    };
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("slow.py"), SLOW).unwrap();
    let config = format!(
        "[system]\nfree = \"Cu\"\n[potential]\nkind = \"ase\"\ncalculator = \"slow:Slow\"\npython = \"{python}\"\nworkers = 1\n"
    );
    fs::write(place.path().join("slow.toml"), config).unwrap();
    let frame = |k: usize| {
        let lattice = "Lattice=\"3.6 0 0 0 3.6 0 0 0 3.6\"";
        format!("2\n{lattice} Properties=species:S:1:pos:R:3:tags:I:1 name=frame-{k}\nCu 0 0 0 1\nCu 1.8 1.7 0.{k} 2\n")
    };
    fs::write(place.path().join("in.xyz"), (0..n).map(frame).collect::<String>()).unwrap();
    let marks = place.path().join("marks");
    Some((place, marks))
}

fn start_slow(place: &Path, marks: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_godiff"));
    command.current_dir(place).env("MARKS", marks).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn evaluate_keeps_what_is_computed() {
    let Some((place, marks)) = slow_place(400) else { return };
    let child = start_slow(place.path(), &marks, &["evaluate", "in.xyz", "--potential", "slow.toml", "-o", "out.xyz"]);
    let output = interrupt(child, "INT", || fs::metadata(&marks).is_ok_and(|metadata| metadata.len() >= 10));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    let frames = read_frames(&place.path().join("out.xyz")).unwrap();
    assert!((1..400).contains(&frames.len()), "{}", frames.len());
    assert_eq!(said, format!("{} of 400 structures evaluated, written to out.xyz\n", frames.len()));
    for (k, frame) in frames.iter().enumerate() {
        assert!(frame.structure.energy.is_some() && frame.column("tags").is_some());
        assert_eq!(frame.info("name"), Some(&Value::Text(format!("frame-{k}"))));
    }
}

/// Nobody can prepare for this signal: the file is whole and grows while the command runs.
#[test]
fn evaluate_keeps_what_is_computed_when_it_is_killed() {
    let Some((place, marks)) = slow_place(4000) else { return };
    let child = start_slow(place.path(), &marks, &["evaluate", "in.xyz", "--potential", "slow.toml", "-o", "out.xyz"]);
    let out = place.path().join("out.xyz");
    let count = || if out.exists() { read_frames(&out).unwrap().len() } else { 0 };
    let earlier = std::cell::Cell::new(0);
    let has_grown = || match (earlier.get(), count()) {
        (0, n) => {
            earlier.set(n);
            false
        }
        (before, n) => n > before,
    };
    let output = interrupt(child, "KILL", has_grown);
    assert_eq!(output.status.code(), None, "it was killed");
    let frames = read_frames(&out).unwrap();
    assert!((2..4000).contains(&frames.len()), "{}", frames.len());
    for (k, frame) in frames.iter().enumerate() {
        assert!(frame.structure.energy.is_some() && frame.structure.forces.is_some());
        assert_eq!(frame.info("name"), Some(&Value::Text(format!("frame-{k}"))));
    }
    // A pipe gets everything once, at the end.
    let text = fs::read_to_string(place.path().join("in.xyz")).unwrap();
    let few: String = text.split_inclusive('\n').take(4 * 40).collect();
    fs::write(place.path().join("in.xyz"), few).unwrap();
    let link = place.path().join("pipe.xyz");
    std::os::unix::fs::symlink("/dev/stdout", &link).unwrap();
    let arguments = ["evaluate", "in.xyz", "--potential", "slow.toml", "-o", "pipe.xyz"];
    let output = start_slow(place.path(), &marks, &arguments).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().matches("name=frame-").count(), 40);
}

#[test]
fn relax_keeps_how_far_it_has_come() {
    let Some((place, marks)) = slow_place(3) else { return };
    let relax = ["relax", "in.xyz", "--potential", "slow.toml", "--fmax", "1e-12", "-o", "out.xyz"];
    let child = start_slow(place.path(), &marks, &relax);
    let output = interrupt(child, "TERM", || fs::metadata(&marks).is_ok_and(|metadata| metadata.len() >= 8));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("stopped before its end"), "{said}");
    let frames = read_frames(&place.path().join("out.xyz")).unwrap();
    assert_eq!(frames.len(), 3);
    for (k, frame) in frames.iter().enumerate() {
        assert!(frame.structure.energy.is_some() && frame.structure.forces.is_some());
        assert_eq!(frame.info("name"), Some(&Value::Text(format!("frame-{k}"))));
    }
}

#[test]
fn nothing_computed_is_nothing_written() {
    let Some((place, marks)) = slow_place(3) else { return };
    fs::write(place.path().join("slow.py"), SLOW.replace("0.05", "60")).unwrap();
    for command in ["evaluate", "relax"] {
        let child = start_slow(place.path(), &marks, &[command, "in.xyz", "--potential", "slow.toml", "-o", "out.xyz"]);
        let begun = Instant::now();
        let output = interrupt(child, "INT", || begun.elapsed() > Duration::from_secs(3));
        assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!place.path().join("out.xyz").exists());
    }
}
