//! Files of a later format than this program knows are refused with one sentence, wherever they turn up.

use godiff::engine::ModelState;
use godiff::run::{Checkpoint, SearchProgress};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

fn config() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/smoke.toml").to_str().unwrap().to_owned()
}

/// Runs `godiff` in `place`: exit code, and what it says.
fn godiff(place: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_godiff")).current_dir(place).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn refuses(place: &Path, arguments: &[&str], sentence: &str) {
    let (code, said) = godiff(place, arguments);
    assert_eq!(code, Some(2), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    assert!(said.contains(sentence), "{arguments:?}\n  expected: {sentence}\n  said: {said}");
}

/// A finished run in `place`, as `run`.
fn finished_run(place: &Path) {
    let (code, said) = godiff(place, &["search", &config(), "--out", "run", "--quiet", "--device", "cpu"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn model_files_of_a_newer_format_are_refused() {
    let place = TempDir::new().unwrap();
    finished_run(place.path());
    let path = place.path().join("run/model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let (old, new) = (br#""format_version":"1""#, br#""format_version":"2""#);
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    fs::write(&path, [&bytes[..at], new, &bytes[at + old.len()..]].concat()).unwrap();
    let sentence = "run/model.safetensors: was written by a newer godiff (model format 2); update godiff to read it";
    refuses(place.path(), &["inspect", "run/model.safetensors"], sentence);
    let sample = ["sample", "--model", "run/model.safetensors", "--config", &config(), "-n", "1", "-o", "s.xyz"];
    refuses(place.path(), &sample, sentence);
    assert!(!place.path().join("s.xyz").exists());
}

#[test]
fn runs_with_a_checkpoint_of_a_newer_format_are_refused() {
    let place = TempDir::new().unwrap();
    finished_run(place.path());
    let path = place.path().join("run/checkpoint/iteration-00003.bin");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let end = bytes.len() - 4;
    let checksum = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let sentence = "iteration-00003.bin: was written by a newer godiff (checkpoint format 2); update godiff to use it";
    refuses(place.path(), &["inspect", "run/checkpoint/iteration-00003.bin"], sentence);
    // Not passed over in favour of the older checkpoint beside it: that would throw an iteration away.
    refuses(place.path(), &["search", &config(), "--out", "run", "--resume", "--device", "cpu"], sentence);
    assert_eq!(fs::read(&path).unwrap(), bytes, "a refused checkpoint is left as it was");
}

#[test]
fn runs_with_an_archive_of_a_newer_format_are_refused() {
    let place = TempDir::new().unwrap();
    finished_run(place.path());
    let path = place.path().join("run/archive.db");
    let archive = rusqlite::Connection::open(&path).unwrap();
    let changed = archive.execute("UPDATE information SET value = '2' WHERE name = 'godiff_format'", []).unwrap();
    assert_eq!(changed, 1);
    drop(archive);
    let sentence = "run/archive.db: was written by a newer godiff (archive format 2); update godiff to read it";
    refuses(place.path(), &["inspect", "run/archive.db"], sentence);
    refuses(place.path(), &["export", "run", "-o", "o.xyz"], sentence);
    refuses(place.path(), &["search", &config(), "--out", "run", "--resume", "--device", "cpu"], sentence);
}

/// A configuration with a key that only a later version knows cannot be gone on with, since nobody here knows what it asks for.
#[test]
fn run_folders_with_unknown_keys_are_refused() {
    let place = TempDir::new().unwrap();
    finished_run(place.path());
    let path = place.path().join("run/config.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("[search]\n"), "{text}");
    fs::write(&path, text.replace("[search]\n", "[search]\nreplicas = 4\n")).unwrap();
    let resume = ["search", &config(), "--out", "run", "--resume", "--device", "cpu"];
    refuses(place.path(), &resume, "search.replicas = 4");
    refuses(place.path(), &["search", "run/config.toml", "--out", "again"], "unknown key `replicas`");
    // The results stay readable.
    assert_eq!(godiff(place.path(), &["inspect", "run"]).0, Some(0));
    assert_eq!(godiff(place.path(), &["export", "run", "-o", "o.xyz"]).0, Some(0));
}

/// Keys that a later version adds to what is only reported do no harm.
#[test]
fn later_keys_of_summary_and_metrics_are_passed_over() {
    let place = TempDir::new().unwrap();
    finished_run(place.path());
    let run = place.path().join("run");
    for (name, from) in [("summary.json", "\"seed\""), ("metrics.jsonl", "\"iteration\"")] {
        let text = fs::read_to_string(run.join(name)).unwrap();
        fs::write(run.join(name), text.replace(from, &format!("\"later\": [1, 2], {from}"))).unwrap();
    }
    assert_eq!(godiff(place.path(), &["inspect", "run"]), (Some(0), String::new()));
    let (code, said) =
        godiff(place.path(), &["search", &config(), "--out", "run", "--resume", "--device", "cpu", "--quiet"]);
    assert_eq!(code, Some(0), "{said}");
}

/// The checkpoint that the test above edits has its version where the documentation says.
#[test]
fn checkpoints_bear_their_version_in_bytes_8_to_11() {
    let model = ModelState::untouched(vec![0.5; 3], 1e-4);
    let bytes = Checkpoint { progress: SearchProgress::new(1), config_checksum: 7, model }.to_bytes();
    assert_eq!((&bytes[..8], &bytes[8..12]), (&b"GODIFFCP"[..], &1_u32.to_le_bytes()[..]));
}
