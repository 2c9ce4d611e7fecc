//! `godiff init`, and searches without a configuration.

#[path = "common/command.rs"]
mod command;

use command::{godiff, refuses, succeeds};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn structure(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "configs/structures", name].iter().collect();
    path.to_str().unwrap().to_owned()
}

/// A folder with a slab of two layers; `fixed`: the lower one is fixed.
fn place(fixed: bool) -> TempDir {
    let place = TempDir::new().unwrap();
    let slab = fs::read_to_string(structure("cu100-4x4x2.xyz")).unwrap();
    let mut lines: Vec<String> = slab.lines().map(str::to_owned).collect();
    if fixed {
        lines[1] = lines[1].replace(":tags:I:1", ":tags:I:1:move_mask:L:1");
        for line in &mut lines[2..] {
            *line += if line.trim_end().ends_with('1') { " T" } else { " F" };
        }
    }
    fs::write(place.path().join("slab.xyz"), lines.join("\n") + "\n").unwrap();
    place
}

fn read(place: &Path, name: &str) -> String {
    fs::read_to_string(place.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The configuration that a run of the file `config` keeps.
fn kept(place: &Path, config: &str, out: &str) -> String {
    succeeds(place, &["search", config, "--iterations", "2", "--out", out, "--quiet"]);
    read(place, &format!("{out}/config.toml"))
}

#[test]
fn a_search_without_a_file_is_that_of_the_written_one() {
    let place = place(false);
    let place = place.path();
    let said = succeeds(place, &["init", "slab.xyz", "Au2", "--potential", "emt"]);
    assert_eq!(said, "search.toml\n");
    let task = ["search", "--template", "slab.xyz", "--free", "Au2", "--potential", "emt", "--iterations", "2"];
    let output = godiff(place, &[&task[..], &["--out", "task"]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains(" evaluations of the potential chose the temperatures, kT = "), "{said}");
    assert!(
        said.contains("basin hopping is quicker, though it takes more evaluations: godiff basin-hopping FILE"),
        "{said}"
    );
    assert_eq!(read(place, "task/config.toml"), kept(place, "search.toml", "file"));
    let best = |run: &str| read(place, &format!("{run}/best.xyz"));
    assert_eq!(best("task"), best("file"));

    // The same command resumes the run; so does the folder alone. A finished run with a larger budget is extended.
    succeeds(place, &[&task[..], &["--out", "task", "--resume", "--quiet"]].concat());
    succeeds(place, &["search", "--out", "task", "--resume", "--quiet", "--iterations", "3"]);
    succeeds(place, &["search", "search.toml", "--out", "file", "--resume", "--quiet", "--iterations", "3"]);
    assert_eq!(best("task"), best("file"));
    assert_eq!(read(place, "task/config.toml"), read(place, "file/config.toml"));
    let another = "this run has the free atoms Au2 and not Au3; start a new run without --resume";
    let changed = |from: &str, to: &str| task.map(|word| if word == from { to.to_owned() } else { word.to_owned() });
    let resumed = |from: &str, to: &str, sentence: &str| {
        let words = changed(from, to);
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.extend(["--out", "task", "--resume"]);
        refuses(place, &words, 2, sentence);
    };
    resumed("Au2", "Au3", another);
    resumed("emt", "emt:asap-cutoff", "this run has the potential { asap_cutoff = false, kind = \"emt\" } and not {");
    fs::write(place.join("other.xyz"), read(place, "slab.xyz").replace("10.00000000", "10.10000000")).unwrap();
    resumed("slab.xyz", "other.xyz", "the configuration names another structure than when this run was started");
}

#[test]
fn runs_without_a_file_are_named_after_the_free_atoms() {
    let place = place(false);
    let place = place.path();
    let task = ["search", "--free", "Pt3", "--potential", "emt", "--iterations", "2", "--quiet"];
    succeeds(place, &task);
    assert!(place.join("runs/Pt3-001/summary.json").is_file());
    succeeds(place, &[&task[..], &["--resume"]].concat());
    assert!(!place.join("runs/Pt3-002").exists());
    let seeds = ["search", "--free", "Pt3", "--potential", "emt", "--iterations", "2", "--quiet", "--seeds"];
    succeeds(place, &[&seeds[..], &["0-1"]].concat());
    succeeds(place, &[&seeds[..], &["0-2", "--resume"]].concat());
    let config = |seed: u64| read(place, &format!("runs/Pt3-seeds-001/seed-{seed}/config.toml"));
    assert_eq!(config(2), config(0).replace("seed = 0", "seed = 2"));
    assert_eq!(read(place, "runs/Pt3-001/config.toml"), config(0), "one seed is one of several");
}

/// Every number of the file has a comment, and other commands take it.
#[test]
fn every_number_has_its_reason() {
    let place = place(true);
    let place = place.path();
    succeeds(place, &["init", "slab.xyz", "Au2Ni", "--potential", "emt", "--seed", "3", "-o", "a.toml"]);
    let text = read(place, "a.toml");
    let mut n_numbers = 0;
    for line in text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
        let value = line.split(" = ").nth(1).unwrap();
        if value.starts_with(|c: char| c.is_ascii_digit()) {
            assert!(line.contains("  # ") || line.contains(" # "), "{line}");
            n_numbers += 1;
        }
    }
    assert!(n_numbers >= 14, "{text}");
    assert!(text.contains("\nseed = 3 "), "{text}");
    assert!(
        text.contains("\nmobile = { constraints = true } ")
            && text.contains("the 16 atoms that the template's file leaves free")
    );
    assert!(text.contains("\nconfinement = { above_template_angstrom = [-0.5, 6.5] }"), "{text}");
    let said = succeeds(place, &["check", "a.toml"]);
    assert!(said.contains("Au2Ni on Cu32 with 16 mobile atoms") && !said.contains("warning"), "{said}");
    fs::write(place.join("short.toml"), text.replace("evaluations = 10000", "evaluations = 30")).unwrap();
    succeeds(place, &["basin-hopping", "short.toml", "--out", "hopping", "--quiet"]);

    // The same command writes the same numbers; the time of an energy is in one comment alone.
    succeeds(place, &["init", "slab.xyz", "Au2Ni", "--potential", "emt", "--seed", "3", "-o", "b.toml"]);
    let numbers = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with("# One energy took ")).map(str::to_owned).collect()
    };
    assert_eq!(numbers(&text), numbers(&read(place, "b.toml")));
}

#[test]
fn a_file_is_never_overwritten_unasked() {
    let place = place(false);
    let place = place.path();
    fs::write(place.join("search.toml"), "mine").unwrap();
    let task = ["init", "slab.xyz", "Au", "--potential", "emt"];
    refuses(place, &task, 2, "search.toml: is there already; name another file with -o, or overwrite it with --force");
    assert_eq!(read(place, "search.toml"), "mine");
    succeeds(place, &[&task[..], &["--force"]].concat());
    assert!(read(place, "search.toml").contains("free = \"Au\""));
    // A template beside the file is named from there, any other one by its whole path.
    fs::create_dir(place.join("inner")).unwrap();
    succeeds(place, &[&task[..], &["-o", "inner/a.toml"]].concat());
    succeeds(place, &["check", "inner/a.toml"]);
    fs::copy(place.join("slab.xyz"), place.join("inner/slab.xyz")).unwrap();
    succeeds(place, &["init", "inner/slab.xyz", "Au", "--potential", "emt", "-o", "inner/b.toml"]);
    assert!(read(place, "inner/b.toml").contains("template = \"slab.xyz\""));
    refuses(place, &[&task[..], &["-o", "none/a.toml"]].concat(), 2, "its folder is not there");
}

/// A potential without elements has lengths of its own: the atoms neither overlap nor count as too close.
#[test]
fn lennard_jones_lengths_follow_sigma() {
    let place = place(false);
    let place = place.path();
    for (sigma, distance) in [("1", "0.67"), ("2.7", "1.82"), ("3.4", "2.29")] {
        let potential = format!("lennard-jones:epsilon=0.01,sigma={sigma}");
        succeeds(place, &["init", "Ar4", "--potential", &potential, "--force"]);
        let text = read(place, "search.toml");
        assert!(text.contains(&format!("\nmin_distance_angstrom = {distance} ")), "{text}");
        succeeds(place, &["search", "search.toml", "--iterations", "2", "--quiet", "--out", sigma]);
        let summary: serde_json::Value = serde_json::from_str(&read(place, &format!("{sigma}/summary.json"))).unwrap();
        let energy = summary["best_energy_ev"].as_f64().unwrap();
        assert!(energy < -0.03 && energy > -0.0601, "the tetrahedron has -6 epsilon, and this has {energy}");
    }
}

#[test]
fn options_that_do_not_belong_together_are_refused() {
    let place = place(false);
    let place = place.path();
    let emt = ["--potential", "emt"];
    for (arguments, sentence) in [
        (
            &["search"][..],
            "name a configuration, such as search.toml, or describe the task, such as --template slab.xyz",
        ),
        (&["search", "--resume"], "name the run to resume: its folder with --out, its configuration, or its --free"),
        (&["search", "--resume", "--out", "none"], "none: holds no run to resume; name the folder of a run"),
        (
            &["search", "--template", "slab.xyz"],
            "--template needs the free atoms; name them with --free, such as --free Pt7",
        ),
        (&["search", "--potential", "emt"], "--potential needs the free atoms; name them with --free"),
        (&["search", "--python", "p"], "--python needs the free atoms; name them with --free"),
        (
            &["search", "--free", "Au"],
            "the free atoms need a source of energies; name it with --potential, such as --potential emt",
        ),
        (
            &["search", "a.toml", "--free", "Au"],
            "--free describes a task without a configuration, and a.toml is one; leave one of",
        ),
        (&["search", "a.toml", "--template", "s"], "--template describes a task without a configuration"),
        (&["search", "a.toml", "--calculator", "m:n"], "--calculator describes a task without a configuration"),
        (
            &["search", "--free", "Au", "--potential", "ase"],
            "--potential ase needs the calculator; name it with --calculator, such as",
        ),
        (
            &["init", "Au", "--potential", "i-pi"],
            "the potential i-pi needs more than a name; write it into a configuration and name",
        ),
        (
            &["init", "Au", "--potential", "emt", "--workers", "2"],
            "--workers is for --potential ase, not for emt; leave it out",
        ),
        (
            &["init", "Au", "--potential", "ase", "--calculator", "m:n", "--arguments", "3"],
            "--arguments 3 is no table of TOML; write it as '{ name = \"value\", other = 1 }'",
        ),
        (&["init", "none.xyz", "Au", "--potential", "emt"], "none.xyz"),
        (&["init", "Xx3", "--potential", "emt"], "Xx"),
        (&["init", "U3", "--potential", "emt"], "U"),
        (&["init", "slab.xyz", "Au", "--potential", "lennard-jones"], "cutoff"),
        (&["init", "a", "b", "c", "--potential", "emt"], "c"),
    ] {
        refuses(place, arguments, 2, sentence);
    }
    refuses(
        place,
        &[&["search", "--free", "Au2", "--iterations", "1"], &emt[..]].concat(),
        2,
        "search.buffer: 32 is more than",
    );
    assert!(!place.join("runs").exists() && !place.join("search.toml").exists());
}

/// A calculator of ASE by its import path, as on the command line of any cluster.
#[test]
#[cfg(unix)]
fn calculators_of_ase_need_no_file() {
    let Ok(python) = std::env::var("GODIFF_PYTHON") else { return };
    let place = place(false);
    let place = place.path();
    let ase = ["--potential", "ase", "--calculator", "ase.calculators.emt:EMT", "--python", &python, "--workers", "1"];
    let arguments = ["--arguments", "{ asap_cutoff = true }"];
    succeeds(place, &[&["init", "slab.xyz", "Au"][..], &ase[..], &arguments[..]].concat());
    let text = read(place, "search.toml");
    assert!(text.contains("calculator = \"ase.calculators.emt:EMT\""), "{text}");
    assert!(text.contains("arguments = { asap_cutoff = true }"), "{text}");
    // The built-in twin chooses the same temperatures.
    succeeds(place, &["init", "slab.xyz", "Au", "--potential", "emt:asap-cutoff", "-o", "emt.toml"]);
    let kt = |text: &str| text.lines().filter(|line| line.starts_with("kt_")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(kt(&text), kt(&read(place, "emt.toml")));
    let fails = ["--potential", "ase", "--calculator", "none:EMT", "--python", &python];
    refuses(place, &[&["init", "Au2", "-o", "c.toml"][..], &fails[..]].concat(), 3, "none");
    assert!(!place.join("c.toml").exists());
}
