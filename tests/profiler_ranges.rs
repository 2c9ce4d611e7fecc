//! A profiler sees the phases of a search. A stand-in plays the profiler (tests/fixtures/stand_ins/profiler.c).

#![cfg(feature = "cuda")]

#[path = "common/stand_in.rs"]
mod stand_in;

use std::fs;
use std::path::Path;
use std::process::Command;

/// Searches in `place` with `library` as the profiler's; gives what the stand-in wrote down.
fn search(place: &Path, library: &Path) -> Option<String> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/smoke.toml");
    let log = place.join("ranges");
    let output = Command::new(env!("CARGO_BIN_EXE_godiff"))
        .current_dir(place)
        .args(["search", config.to_str().unwrap(), "--device", "cpu", "--quiet"])
        .env("NVTX_INJECTION64_PATH", library)
        .env("FAKE_PROFILER_LOG", &log)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(log).ok()
}

#[test]
fn the_phases_of_a_search_are_ranges() {
    let place = stand_in::compile("profiler.c", "libprofiler.so");
    let seen = search(place.path(), &place.path().join("libprofiler.so")).expect("a log");
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.len(), 3 * 8, "configs/smoke.toml has three iterations: {seen}");
    for iteration in lines.chunks(8) {
        // Evaluation has a thread of its own and begins while samples are drawn.
        let mut first = iteration[..4].to_vec();
        first.sort_unstable();
        assert_eq!(first, ["+evaluate", "+sample", "-", "-"]);
        assert_eq!(iteration[4..], ["+buffer", "-", "+train", "-"]);
    }
}

#[test]
fn a_profiler_that_is_not_there_does_no_harm() {
    let place = tempfile::tempdir().unwrap();
    assert_eq!(search(place.path(), &place.path().join("libprofiler.so")), None);
}
