//! What `packaging/` says about the repository is so. The packages themselves are built elsewhere.

use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
        return;
    }
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// Versions, licences and the Rust of the container are those of Cargo.toml.
#[test]
fn packages_are_of_this_version() {
    let (recipe, container, cargo) =
        (read("packaging/conda/recipe.yaml"), read("packaging/apptainer.def"), read("Cargo.toml"));
    assert!(recipe.contains(&format!("\n  version: \"{}\"\n", env!("CARGO_PKG_VERSION"))), "{recipe}");
    assert!(container.contains(&format!("\n    Version {}\n", env!("CARGO_PKG_VERSION"))), "{container}");
    let rust =
        cargo.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"').to_owned();
    assert!(container.contains(&format!("\nFrom: rust:{rust}-")), "{rust}");
    for text in [&recipe, &container] {
        assert!(text.contains(env!("CARGO_PKG_LICENSE")));
    }
    let licences: Vec<&str> = recipe.lines().filter_map(|line| line.trim().strip_prefix("- LICENSE-")).collect();
    assert!(licences.len() == 2 && licences.iter().all(|name| root().join(format!("LICENSE-{name}")).is_file()));
    let nvrtc = |text: &str| {
        text.split("nvidia-cuda-nvrtc-cu12==").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(nvrtc(&container), nvrtc(&read(".ci/run")));
}

/// The files that the container gets are enough for cargo to find every package and target.
#[test]
fn the_container_gets_all_files_of_the_build() {
    let container = read("packaging/apptainer.def");
    let files = container.split("\n%files\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let place = TempDir::new().unwrap();
    for line in files.lines() {
        let [from, to] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert_eq!(to, format!("/source/{from}"));
        copy(&root().join(from), &place.path().join(from));
    }
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let metadata = |place: &Path| {
        let mut command = Command::new(&cargo);
        command.args(["metadata", "--no-deps", "--format-version", "1", "--offline", "--manifest-path"]);
        command.arg(place.join("Cargo.toml")).output().unwrap()
    };
    let output = metadata(place.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::remove_dir_all(place.path().join("python")).unwrap();
    assert!(!metadata(place.path()).status.success(), "cargo notices what is missing");
}
