//! `godiff` as a user runs it, in a folder.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `godiff` in the folder `place`.
pub fn godiff(place: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_godiff")).current_dir(place).args(arguments).output().unwrap()
}

/// Standard output of a command that must succeed.
pub fn succeeds(place: &Path, arguments: &[&str]) -> String {
    let output = godiff(place, arguments);
    assert!(output.status.success(), "godiff {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A command that must end with `code` and one line on standard error that holds `sentence`; the parser of arguments also shows the
/// usage, in lines of its own.
pub fn refuses(place: &Path, arguments: &[&str], code: i32, sentence: &str) {
    let output = godiff(place, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "godiff {arguments:?}: {said}");
    let is_one_line = said.starts_with("godiff: ") && said.lines().count() == 1;
    assert!(is_one_line || said.starts_with("error: "), "godiff {arguments:?}: {said}");
    assert!(said.contains(sentence), "godiff {arguments:?}\n  expected: {sentence}\n  said: {said}");
}
