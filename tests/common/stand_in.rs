//! Builds the libraries of tests/fixtures/stand_ins: stand-ins for those of NVIDIA, and the recorder of a run's calls.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Compiles `tests/fixtures/stand_ins/SOURCE` as the shared library `NAME` in a folder of its own.
pub fn compile(source: &str, name: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stand_ins").join(source);
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output =
        Command::new(compiler).args(["-shared", "-fPIC", "-o"]).arg(folder.path().join(name)).arg(source).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

/// `LD_LIBRARY_PATH` as it is, with `folder` in front.
#[allow(dead_code, reason = "the profiler is named by its path")]
pub fn library_path(folder: &Path) -> OsString {
    let mut path = folder.as_os_str().to_owned();
    if let Some(rest) = std::env::var_os("LD_LIBRARY_PATH") {
        path.push(":");
        path.push(rest);
    }
    path
}
