//! Records what is built, for `godiff --version` and `summary.json`: the package's version, the commit, the target and the
//! profile. Reads files only, so neither git nor a repository is needed; without them there is no commit to name, nor is there in a
//! debug build. It also writes the twins
//! of the kernels' arguments (build/arguments.rs), and with the feature `cuda` compiles the kernels (build/kernels.rs).

#[path = "build/arguments.rs"]
#[cfg_attr(
    not(any(feature = "cuda", feature = "emulator")),
    allow(dead_code, reason = "no compiler confirms the layout")
)]
mod arguments;
#[cfg(feature = "cuda")]
#[path = "build/assembled.rs"]
mod assembled;
#[cfg(feature = "emulator")]
#[path = "build/emulator.rs"]
mod emulator;
#[cfg(feature = "cuda")]
#[path = "build/kernels.rs"]
mod kernels;
#[cfg(feature = "cuda")]
#[path = "build/nvrtc.rs"]
mod nvrtc;
#[path = "build/sources.rs"]
mod sources;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Hexadecimal digits of a commit that are shown.
const SHOWN_DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    // Naming the commit rebuilds everything after each; while developing, debug builds are spared that.
    let release = variable("PROFILE") == "release";
    let commit = if release { commit_of_checkout(&root).or_else(|| commit_of_package(&root)) } else { None };

    let version = match commit.as_deref().and_then(|commit| commit.get(..SHOWN_DIGITS)) {
        Some(commit) => format!("{}+{commit}", variable("CARGO_PKG_VERSION")),
        None => variable("CARGO_PKG_VERSION"),
    };
    println!("cargo::rustc-env=GODIFF_VERSION={version}");
    println!("cargo::rustc-env=GODIFF_BUILD={version} ({}, {})", variable("TARGET"), variable("PROFILE"));
    if let Err(errors) = build_kernels(&root) {
        for line in errors.iter().flat_map(|text| text.lines()) {
            println!("cargo::error={line}");
        }
        std::process::exit(1);
    }
}

/// Writes the twins of the kernels' arguments and compiles the kernels; what is wrong with them ends the build.
fn build_kernels(root: &Path) -> Result<(), Vec<String>> {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=kernels");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo names a folder for the output"));
    let texts = sources::read(&root.join("kernels")).map_err(|error| vec![error])?;
    let twins = arguments::generate(&texts).map_err(|error| vec![error])?;
    let generated = out.join("arguments.rs");
    fs::write(&generated, &twins.rust).map_err(|error| vec![format!("{}: {error}", generated.display())])?;
    #[cfg(feature = "emulator")]
    emulator::compile(root, &twins.assertions);
    #[cfg(feature = "cuda")]
    {
        let with_planted = cfg!(feature = "emulator");
        let planted = if with_planted { sources::read(&root.join("tests/planted")) } else { Ok(sources::Texts::new()) };
        kernels::build(&texts, &twins.assertions, &planted.map_err(|error| vec![error])?, &out)?;
    }
    Ok(())
}

/// The commit that is checked out at `root`. A repository around `root` does not count: what was unpacked into somebody
/// else's checkout is not of their commit.
fn commit_of_checkout(root: &Path) -> Option<String> {
    let git = root.join(".git");
    // A worktree's `.git` is a file that names its folder.
    let folder = match watched(&git) {
        Some(text) => root.join(text.strip_prefix("gitdir:")?.trim()),
        None => git,
    };
    let common = match fs::read_to_string(folder.join("commondir")) {
        Ok(path) => folder.join(path.trim()),
        Err(_) => folder.clone(),
    };
    // Changes with every commit and checkout, also where the branch moves from `packed-refs` to a file of its own.
    let _ = watched(&folder.join("logs/HEAD"));
    let head = watched(&folder.join("HEAD"))?;
    let Some(branch) = head.trim().strip_prefix("ref:") else { return digits(&head) };
    let branch = branch.trim();
    let packed = || {
        let text = watched(&common.join("packed-refs"))?;
        let line = text.lines().find(|line| line.split_once(' ').is_some_and(|(_, name)| name == branch))?;
        digits(line.split(' ').next()?)
    };
    watched(&common.join(branch)).as_deref().and_then(digits).or_else(packed)
}

/// The commit that `cargo package` noted in the archive for crates.io.
fn commit_of_package(root: &Path) -> Option<String> {
    let text = watched(&root.join(".cargo_vcs_info.json"))?;
    digits(text.split("\"sha1\"").nth(1)?.split('"').nth(1)?)
}

/// The text of the file at `path`, if there is one; the build is repeated when it changes.
fn watched(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text)
}

/// `text` if it is a commit's hexadecimal number.
fn digits(text: &str) -> Option<String> {
    let text = text.trim();
    let whole = text.len() >= SHOWN_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    whole.then(|| text.to_owned())
}
