//! ASE calculators in godiff's own workers, through the built command. Needs the Python interpreter that `GODIFF_PYTHON` names, with
//! ase and numpy.

#![cfg(unix)]

mod common;
#[path = "common/kills.rs"]
mod kills;

use godiff::archive::{Selection, Status, Stored, export};
use godiff::potential::Emt;
use godiff::run::{RunStatus, Summary, read_metrics};
use godiff::system::{Structure, read_structures};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter, or a word about what is skipped.
fn python() -> Option<String> {
    let python = std::env::var("GODIFF_PYTHON").ok();
    if python.is_none() {
        eprintln!("skipped: set GODIFF_PYTHON to a Python with ase and numpy");
    }
    python
}

/// A folder with a configuration like `configs/smoke.toml`, its structures and the misbehaving calculator; `potential` is the
/// section's text behind the interpreter.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(python: &str, potential: &str, search: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let structures = folder.path().join("structures");
        fs::create_dir(&structures).unwrap();
        for name in ["pt-stepped.xyz", "pt-adatom-minimum.xyz"] {
            fs::copy(root().join("configs/structures").join(name), structures.join(name)).unwrap();
        }
        for module in ["faulty.py", "informed.py"] {
            fs::copy(root().join("tests/python").join(module), folder.path().join(module)).unwrap();
        }
        let place = Place { folder };
        let emt = "kind = \"emt\"";
        let smoke = fs::read_to_string(root().join("configs/smoke.toml")).unwrap();
        assert!(smoke.contains(emt) && smoke.contains("samples_per_iteration = 12\n"));
        let smoke = smoke.replace("samples_per_iteration = 12\n", search);
        place.write("emt.toml", &smoke);
        place.write("ase.toml", &smoke.replace(emt, &format!("kind = \"ase\"\npython = {python:?}\n{potential}")));
        place
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    /// Leaves out `[target]`, which is evaluated before the search.
    fn forget_target(&self) {
        let text = fs::read_to_string(self.path().join("ase.toml")).unwrap();
        self.write("ase.toml", text.split("[target]").next().unwrap());
    }

    fn godiff(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_godiff"));
        command.current_dir(self.path()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.godiff(arguments).output().unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        assert!(output.status.success(), "godiff {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Ends with exit code 3 and one line that holds `sentence`.
    fn fails(&self, arguments: &[&str], sentence: &str) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "godiff {arguments:?}: {said}");
        let line = said.lines().last().unwrap_or_default().to_owned();
        assert!(line.starts_with("godiff: ") && line.contains(sentence), "expected: {sentence}\n  said: {said}");
        line
    }

    fn archive(&self, run: &str) -> Vec<Stored> {
        let mut stored = Vec::new();
        export(&self.path().join(run).join("archive.db"), Selection::All, &mut |entry| {
            stored.push(entry);
            Ok(())
        })
        .unwrap();
        stored
    }

    fn summary(&self, run: &str) -> Summary {
        serde_json::from_slice(&fs::read(self.path().join(run).join("summary.json")).unwrap()).unwrap()
    }

    /// How often the workers' logs say `words`.
    fn n_told(&self, run: &str, words: &str) -> usize {
        let there = self.path().join(run).join("workers").exists();
        if there { self.logs(run).concat().matches(words).count() } else { 0 }
    }

    fn logs(&self, run: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path().join(run).join("workers")).unwrap();
        entries.map(|entry| String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()).into_owned()).collect()
    }
}

/// Command lines of the running processes that hold `text`.
#[cfg(target_os = "linux")]
fn processes(text: &str) -> Vec<String> {
    let folders = fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    folders.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(text)).collect()
}

/// Every sample once, its energy and forces those of the built-in potential.
fn check_rows(rows: &[Stored], n_iterations: u32, n_samples: u32) {
    let places: Vec<(u32, u32)> = rows.iter().map(|row| (row.iteration, row.index)).collect();
    let all = (0..n_iterations).flat_map(|iteration| (0..n_samples).map(move |index| (iteration, index)));
    assert_eq!(places, all.collect::<Vec<_>>());
    let emt = Emt::new(false);
    for row in rows.iter().filter(|row| row.status == Status::Ok) {
        let here = emt.energy_and_forces(&row.structure).unwrap();
        let energy = row.structure.energy.unwrap();
        assert!((energy - here.energy).abs() < 1e-6 + 1e-9 * here.energy.abs(), "{energy} {}", here.energy);
        for (force, expected) in row.structure.forces.iter().flatten().zip(&here.forces) {
            for x in 0..3 {
                assert!((force[x] - expected[x]).abs() < 1e-5 + 1e-8 * expected[x].abs(), "{force:?} {expected:?}");
            }
        }
    }
}

const EMT: &str = "calculator = \"ase.calculators.emt:EMT\"";
const FAULTY: &str = "calculator = \"faulty:Faulty\"";
const SAMPLES: &str = "samples_per_iteration = 12\n";

/// Reference structures with several elements, in one file of different compositions, through batches and single calls.
#[test]
fn energies_are_those_of_the_calculator() {
    let Some(python) = python() else { return };
    for potential in [EMT.to_owned(), format!("{EMT}\nworkers = 2\nbatch = 4")] {
        let place = Place::new(&python, &potential, SAMPLES);
        let references = common::read("tests/fixtures/potentials.xyz.gz");
        let chosen: Vec<_> = references.iter().filter(|reference| !reference.name.starts_with("LJ")).collect();
        assert!(chosen.len() > 10);
        let frames: Vec<_> = chosen.iter().map(|reference| reference.structure.clone().into()).collect();
        godiff::system::xyz::write_frames(&place.path().join("in.xyz"), &frames).unwrap();
        place.succeeds(&["evaluate", "in.xyz", "--potential", "ase.toml", "-o", "out.xyz"]);
        for (structure, reference) in read_structures(&place.path().join("out.xyz")).unwrap().iter().zip(&chosen) {
            let energy = structure.energy.unwrap();
            let name = &reference.name;
            assert!((energy - reference.energy).abs() < 1e-6 + 1e-9 * reference.energy.abs(), "{name}: {energy}");
            for (force, expected) in structure.forces.iter().flatten().zip(&reference.forces) {
                (0..3).for_each(|x| {
                    assert!((force[x] - expected[x]).abs() < 1e-5 + 1e-7 * expected[x].abs(), "{name}: {force:?}")
                });
            }
        }
    }
}

/// The first iteration samples what a search with the built-in potential samples, and both are told to have waited.
#[test]
fn a_search_through_ase_is_one_with_the_built_in_potential() {
    let Some(python) = python() else { return };
    let place = Place::new(&python, &format!("{EMT}\nworkers = 2\nbatch = 2"), SAMPLES);
    place.succeeds(&["search", "emt.toml", "--out", "emt", "--quiet"]);
    place.succeeds(&["search", "ase.toml", "--out", "ase", "--quiet"]);
    let (built_in, ours) = (place.archive("emt"), place.archive("ase"));
    check_rows(&ours, 3, 12);
    for (a, b) in built_in.iter().zip(&ours).filter(|(a, _)| a.iteration == 0) {
        assert_eq!((a.index, a.status, &a.structure.positions), (b.index, b.status, &b.structure.positions));
    }
    let metrics = read_metrics(&place.path().join("ase/metrics.jsonl")).unwrap();
    assert!(metrics.iter().all(|line| line.seconds.wait > 0.0 && line.seconds.evaluate > 0.0));
    let log = place.logs("ase").concat();
    assert!(log.contains("godiff: worker 0 is process ") && log.contains("godiff: worker 1 is process "), "{log}");
}

#[test]
fn what_a_worker_prints_goes_to_its_log() {
    let Some(python) = python() else { return };
    let place = Place::new(&python, &format!("{FAULTY}\narguments = {{ noisy = true }}"), SAMPLES);
    let output = place.succeeds(&["search", "ase.toml", "--out", "run", "--json"]);
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    check_rows(&place.archive("run"), 3, 12);
    let log = place.logs("run").concat();
    assert!(["standard output", "standard error", "bytes from C"].iter().all(|text| log.contains(text)), "{log}");
}

#[test]
fn a_calculator_that_cannot_be_made_is_told_in_pythons_words() {
    let Some(python) = python() else { return };
    for (potential, sentence) in [
        (
            "calculator = \"no_such_package.calculators:Nice\"",
            "the calculator no_such_package.calculators:Nice cannot be made by ",
        ),
        ("calculator = \"no_such_package.calculators:Nice\"", "ModuleNotFoundError: No module named 'no_such_package'"),
        (
            "calculator = \"ase.calculators.emt:TEM\"",
            "AttributeError: module 'ase.calculators.emt' has no attribute 'TEM'",
        ),
        (
            "calculator = \"builtins:open\"\narguments = { file = \"no-model\" }",
            "No such file or directory: 'no-model'",
        ),
    ] {
        let place = Place::new(&python, potential, SAMPLES);
        let said = place.fails(&["search", "ase.toml", "--out", "run"], sentence);
        assert!(said.contains("(see run/workers/worker-0.log)"), "{said}");
        assert_eq!(place.summary("run").status, RunStatus::Failed);
    }
    let place = Place::new("no-such-python", EMT, SAMPLES);
    place.fails(
        &["search", "ase.toml", "--out", "run"],
        "the Python interpreter \"no-such-python\" cannot be started (",
    );
}

/// An interpreter without ASE is told at once, not after five attempts.
#[test]
fn an_interpreter_without_ase_is_told_at_once() {
    use std::os::unix::fs::PermissionsExt;
    let Some(python) = python() else { return };
    let folder = TempDir::new().unwrap();
    let bare = folder.path().join("bare-python");
    // Without its packages.
    fs::write(&bare, format!("#!/bin/sh\nexec {python:?} -S \"$@\"\n")).unwrap();
    fs::set_permissions(&bare, fs::Permissions::from_mode(0o755)).unwrap();
    let place = Place::new(bare.to_str().unwrap(), EMT, SAMPLES);
    let said =
        place.fails(&["search", "ase.toml", "--out", "run"], "it has no ase, which calculators of ASE need; mend");
    assert!(said.contains("cannot be made by \"") && said.contains("bare-python"), "{said}");
    assert_eq!(place.n_told("run", "it has no ase"), 1);
}

/// Structures without energy are as if they had never been sampled: set aside with their input, and all others untouched.
#[test]
fn structures_without_energy_never_reach_the_buffer() {
    let Some(python) = python() else { return };
    for (fault, reason) in [
        ("nan_in = 7", "given up because the potential gave an energy or forces that are not numbers; kept as "),
        ("raise_in = 7", "given up because the potential raised RuntimeError: no convergence in 60 steps; kept as "),
    ] {
        let place = Place::new(
            &python,
            &format!("{FAULTY}\nworkers = 2\nbatch = 3\narguments = {{ {fault} }}"),
            "samples_per_iteration = 16\n",
        );
        let output = place.succeeds(&["search", "ase.toml", "--out", "run"]);
        let rows = place.archive("run");
        check_rows(&rows, 3, 16);
        let failed: BTreeSet<String> = rows
            .iter()
            .filter(|row| row.status == Status::Failed)
            .map(|row| format!("iteration-{:05}-sample-{:05}.xyz", row.iteration, row.index))
            .collect();
        assert!(!failed.is_empty(), "the example should fail now and then");
        let unlucky = |row: &&Stored| {
            let sum: f64 = row.structure.positions.iter().flatten().sum();
            (sum.abs() * 1e6) as i64 % 7 == 0
        };
        // Sums differ in the last bits, so some decisions differ; by far most do not.
        let n_unlucky = rows.iter().filter(|row| row.status != Status::TooClose).filter(unlucky).count();
        assert!(failed.len().abs_diff(n_unlucky) <= 1 + n_unlucky / 2, "{} of {n_unlucky}", failed.len());
        let kept = fs::read_dir(place.path().join("run/failed")).unwrap();
        assert_eq!(kept.map(|file| file.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>(), failed);
        let n_counted: u64 =
            read_metrics(&place.path().join("run/metrics.jsonl")).unwrap().iter().map(|line| line.counts.failed).sum();
        assert_eq!(n_counted as usize, failed.len());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(reason) && said.contains("  failed "), "{said}");
        // An exception is an answer: nobody is asked again, and both workers stay.
        assert!(!said.contains("is started again") && place.n_told("run", "is process") == 2, "{said}");
        let first = read_structures(&place.path().join("run/failed").join(failed.first().unwrap())).unwrap();
        assert_eq!(first[0].n_atoms(), 21);
    }
}

/// Whatever the structures, a process whose GPU is lost fails at all of them: another takes over, and no structure is lost with it.
#[test]
fn a_worker_that_lost_its_gpu_is_started_again() {
    let Some(python) = python() else { return };
    let place = Place::new(&python, &format!("{FAULTY}\narguments = {{ lost_after = 5 }}"), SAMPLES);
    let output = place.succeeds(&["search", "ase.toml", "--out", "run"]);
    let rows = place.archive("run");
    check_rows(&rows, 3, 12);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(rows.iter().all(|row| row.status != Status::Failed), "{said}");
    assert!(said.contains("worker 0 is started again: it "), "{said}");
    let log = place.logs("run").concat();
    assert_eq!(place.n_told("run", "worker 0 is process"), 2, "{said}\n{log}");
    assert_eq!(place.n_told("run", "the GPU is lost to this process"), 1);
}

/// Structures in a row at which the calculator raises are the end where the configuration says so. Otherwise an iteration without any
/// answer is.
#[test]
fn exceptions_in_a_row_end_the_search_when_the_user_says() {
    let Some(python) = python() else { return };
    let potential = |more: &str| format!("{FAULTY}\n{more}\narguments = {{ raise_in = 1 }}");
    let place = Place::new(&python, &potential("end_after_failures = 5"), SAMPLES);
    let ended = |n: usize| {
        format!(
            "the potential failed at {n} structures in a row, the last time because it raised RuntimeError: no convergence in 60 \
             steps; mend it"
        )
    };
    place.forget_target();
    place.fails(&["search", "ase.toml", "--out", "run"], &ended(5));
    assert_eq!(place.n_told("run", "is process"), 1, "nothing is started again");
    let place = Place::new(&python, &potential("end_after_failures = 3"), SAMPLES);
    place.forget_target();
    place.fails(&["search", "ase.toml", "--out", "run"], &ended(3));
    let place = Place::new(&python, &potential(""), SAMPLES);
    place.forget_target();
    let output = place.run(&["search", "ase.toml", "--out", "run"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("12 failed in the potential); scattered atoms often have no answer: take first_samples = "),
        "{said}"
    );
}

/// An energy may be an array of one number.
#[test]
fn an_array_of_one_energy_is_an_energy() {
    let Some(python) = python() else { return };
    let place = Place::new(&python, &format!("{FAULTY}\narguments = {{ arrays = true }}"), SAMPLES);
    place.succeeds(&["search", "ase.toml", "--out", "run", "--quiet"]);
    let rows = place.archive("run");
    check_rows(&rows, 3, 12);
    assert!(rows.iter().any(|row| row.status == Status::Ok) && rows.iter().all(|row| row.status != Status::Failed));
}

/// EMT's energy, 10 eV for each charge, and k eV for the moment of the kth atom.
fn informed_energy(structure: &Structure, charge: f64, moments: &[f64]) -> f64 {
    let emt = Emt::new(false).energy_and_forces(structure).unwrap().energy;
    emt + 10.0 * charge + moments.iter().zip(1..).map(|(moment, k)| moment * f64::from(k)).sum::<f64>()
}

/// Total charge and initial moments of each structure of a file reach the calculator; results and histories do not.
#[test]
fn calculators_know_what_the_file_says() {
    let Some(python) = python() else { return };
    let place = Place::new(&python, "calculator = \"informed:Informed\"\nbatch = 3", SAMPLES);
    let atoms = "Properties=species:S:1:pos:R:3:initial_magmoms:R:1:magmoms:R:1 charge";
    let rest = "stress=\"1 2 3 4 5 6\" iteration=3\nPt 0 0 0 0.5 9\nPt 0 0 2.6 -1.5 9\n";
    place.write("in.xyz", &format!("2\n{atoms}=-1 {rest}2\n{atoms}=2 {rest}2\n\nPt 0 0 0\nPt 0 0 2.6\n"));
    for command in ["evaluate", "relax"] {
        place.succeeds(&[command, "in.xyz", "--potential", "ase.toml", "-o", "out.xyz"]);
        let out = read_structures(&place.path().join("out.xyz")).unwrap();
        for (structure, (charge, moments)) in
            out.iter().zip([(-1.0, &[0.5, -1.5][..]), (2.0, &[0.5, -1.5]), (0.0, &[])])
        {
            let (found, expected) = (structure.energy.unwrap(), informed_energy(structure, charge, moments));
            assert!((found - expected).abs() < 1e-6, "{command}: {found} {expected}");
        }
        let text = fs::read_to_string(place.path().join("out.xyz")).unwrap();
        assert!(
            text.contains("charge=-1") && text.contains("initial_magmoms:R:1") && text.contains("iteration=3"),
            "{text}"
        );
        assert!(!text.contains("stress") && !text.contains(":magmoms"), "{text}");
    }
}

/// In a search they are those of the template, in the order of the structures; free atoms have none. The results keep them.
#[test]
fn the_templates_charge_and_moments_reach_the_calculator() {
    let Some(python) = python() else { return };
    let place = Place::new(&python, "calculator = \"informed:Informed\"\nbatch = 2", SAMPLES);
    let template = place.path().join("structures/pt-stepped.xyz");
    let text = fs::read_to_string(&template).unwrap();
    let n: usize = text.lines().next().unwrap().trim().parse().unwrap();
    let with_moments = text.lines().enumerate().map(|(k, line)| match k {
        0 => format!("{line}\n"),
        1 => format!("{} charge=1\n", line.replace("pos:R:3", "pos:R:3:initial_magmoms:R:1")),
        _ => format!("{line} {}\n", k - 2),
    });
    let lines: String = with_moments.collect();
    assert!(lines.contains("initial_magmoms"), "{lines}");
    fs::write(&template, lines).unwrap();
    let config = fs::read_to_string(place.path().join("ase.toml")).unwrap();
    let config = config.replace("[system]\n", "[system]\nmobile = { indices = [0, 3] }\n");
    place.write("ase.toml", config.split("[target]").next().unwrap());
    place.succeeds(&["search", "ase.toml", "--out", "run", "--quiet"]);
    let mut moments: Vec<f64> = (0..n).filter(|k| ![0, 3].contains(k)).map(|k| k as f64).collect();
    moments.extend([0.0, 3.0, 0.0]);
    let rows = place.archive("run");
    let counted: Vec<&Stored> = rows.iter().filter(|row| row.status == Status::Ok).collect();
    assert!(!counted.is_empty());
    for row in counted {
        let (found, expected) = (row.structure.energy.unwrap(), informed_energy(&row.structure, 1.0, &moments));
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    let best = godiff::system::read_frame(&place.path().join("run/best.xyz")).unwrap();
    assert_eq!(best.column("initial_magmoms").unwrap().values, godiff::system::xyz::Values::Real(moments));
    assert_eq!(best.info("charge"), Some(&godiff::system::xyz::Value::Integer(1)));
}

/// Atoms whose file gives no moment have that of their element, free ones too; a molecule's own columns come along.
#[test]
fn moments_by_element_reach_the_calculator() {
    let Some(python) = python() else { return };
    let place = Place::new(&python, "calculator = \"informed:Informed\"\nbatch = 2", SAMPLES);
    let config = fs::read_to_string(place.path().join("ase.toml")).unwrap();
    let config = config.split("[target]").next().unwrap();
    let config = config.replace("[system]\n", "[system]\ninitial_moments = { Pt = 0.5, O = 2.0 }\n");
    place.write("co.xyz", "2\nProperties=species:S:1:pos:R:3:initial_magmoms:R:1\nC 0 0 0 0.25\nO 0 0 1.15 -1\n");
    place.write("o.xyz", "2\n\nO 0 0 0\nO 0 0 1.2\n");
    let fragments = "[[fragments]]\nfile = 'co.xyz'\n[[fragments]]\nfile = 'o.xyz'\n";
    place.write("ase.toml", &format!("{config}{fragments}[random_search]\nevaluations = 12\nside_by_side = 2\n"));
    place.succeeds(&["rss", "ase.toml", "--out", "run", "--quiet"]);
    let rows = place.archive("run");
    assert!(!rows.is_empty());
    for row in rows {
        let n = row.structure.n_atoms();
        let mut moments = vec![0.5; n - 4];
        moments.extend([0.25, -1.0, 2.0, 2.0]);
        let (found, expected) = (row.structure.energy.unwrap(), informed_energy(&row.structure, 0.0, &moments));
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

/// A hang is noticed at its limit, the worker replaced and the structure given up after three attempts.
#[test]
fn a_hang_is_noticed() {
    let Some(python) = python() else { return };
    let place = Place::new(
        &python,
        &format!("{FAULTY}\nworkers = 2\ncall_limit_seconds = 1.0\narguments = {{ hang_in = 12 }}"),
        SAMPLES,
    );
    let output = place.succeeds(&["search", "ase.toml", "--out", "run"]);
    let said = String::from_utf8(output.stderr).unwrap();
    let rows = place.archive("run");
    check_rows(&rows, 3, 12);
    assert!(rows.iter().any(|row| row.status == Status::Failed), "the example should hang now and then: {said}");
    assert!(said.contains("is started again: it gave no answer within 1.000 s"), "{said}");
}

/// A potential that breaks down ends the search with its own exit code; mended, the search ends as one that never broke.
#[test]
fn a_broken_potential_ends_the_search_which_can_go_on() {
    let Some(python) = python() else { return };
    let place = Place::new(&python, &format!("{FAULTY}\nbatch = 2\narguments = {{ broken_after = 18 }}"), SAMPLES);
    let said = place.fails(
        &["search", "ase.toml", "--out", "run", "--quiet"],
        "the potential failed at 5 structures in a row, the last time because it closed the connection; mend it",
    );
    assert!(said.contains("--resume"), "{said}");
    assert_eq!(place.summary("run").status, RunStatus::Failed);
    assert!(read_metrics(&place.path().join("run/metrics.jsonl")).unwrap().len() == 1, "one iteration is finished");
    place.write("mended", "");
    place.succeeds(&["search", "ase.toml", "--out", "run", "--quiet", "--resume"]);
    place.succeeds(&["search", "ase.toml", "--out", "alone", "--quiet"]);
    check_rows(&place.archive("run"), 3, 12);
    let rows = |run: &str| place.archive(run).into_iter().filter(|row| row.status != Status::Failed).count();
    assert!(rows("run") + 4 >= rows("alone"), "at most four were given up before the end was seen");
    assert_eq!(place.summary("run").status, RunStatus::Done);
}

/// 100 kills of workers at random moments: every sample is in the archive once, with its right energy, and none has failed.
#[test]
fn killed_workers_lose_nothing() {
    let Some(python) = python() else { return };
    const N_KILLS: usize = 100;
    const N_SAMPLES: u32 = 3000;
    // Slow until there were enough kills.
    let potential = format!("{FAULTY}\nworkers = 3\narguments = {{ slow = 0.02 }}");
    let place = Place::new(&python, &potential, &format!("samples_per_iteration = {N_SAMPLES}\n"));
    let log = fs::File::create(place.path().join("said")).unwrap();
    let mut search =
        place.godiff(&["search", "ase.toml", "--out", "run"]).stderr(log).stdout(Stdio::null()).spawn().unwrap();
    let done = AtomicBool::new(false);
    let (status, n_kills) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut noise = 12345u64;
            let mut n_kills = 0;
            let mut killed = BTreeSet::new();
            while n_kills < N_KILLS && !done.load(Ordering::Relaxed) {
                noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                std::thread::sleep(Duration::from_millis(noise >> 58));
                let ready = |number: u32| {
                    let log = place.path().join(format!("run/workers/worker-{number}.log"));
                    let text = fs::read_to_string(log).unwrap_or_default();
                    let mut lines = text.lines().rev().filter(|line| line.starts_with("godiff: "));
                    lines.next().filter(|line| line.ends_with("is ready"))?;
                    lines.next()?.split("is process ").nth(1).map(str::to_owned)
                };
                let alive: Vec<String> = (0..3).filter_map(ready).filter(|id| !killed.contains(id)).collect();
                // Another one is left to take the structure over; whoever is killed three times is given up.
                if alive.len() >= 2 {
                    let id = &alive[(noise >> 33) as usize % alive.len()];
                    n_kills += usize::from(Command::new("kill").args(["-KILL", id]).status().unwrap().success());
                    killed.insert(id.clone());
                }
            }
            place.write("enough", "");
            n_kills
        });
        let status = search.wait().unwrap();
        done.store(true, Ordering::Relaxed);
        (status, killer.join().unwrap())
    });
    let said = fs::read_to_string(place.path().join("said")).unwrap();
    assert!(status.success(), "{said}");
    let rows = place.archive("run");
    check_rows(&rows, 3, N_SAMPLES);
    // A structure whose worker was killed three times is given up, which is rare.
    let n_failed = rows.iter().filter(|row| row.status == Status::Failed).count();
    assert!(n_failed <= 1, "{n_failed} failed: {said}");
    let n_noticed = said.matches("is started again: it died of signal 9").count();
    eprintln!("{n_kills} kills, {n_noticed} noticed");
    assert!(n_kills == N_KILLS && n_noticed > N_KILLS / 2, "{n_kills} kills, {n_noticed} noticed: {said}");
}

/// Where godiff is killed its workers end too, also in the middle of a call that takes for ever, and nothing is left of them in the
/// folder for temporary files.
#[cfg(target_os = "linux")]
#[test]
fn killed_searches_leave_no_workers() {
    let Some(python) = python() else { return };
    let place = Place::new(&python, &format!("{FAULTY}\nworkers = 2\narguments = {{ hang_in = 1 }}"), SAMPLES);
    let mut shares = kills::Shares::new(8);
    let n_kills = kills::n_kills(3);
    let mut n_at_work = 0;
    for kill in 0..n_kills {
        let scratch = TempDir::new().unwrap();
        let run = format!("run-{kill}");
        let mut search = place.godiff(&["search", "ase.toml", "--out", &run, "--quiet"]);
        let mut child = search.env("TMPDIR", scratch.path()).stdout(Stdio::null()).spawn().unwrap();
        let time = Duration::from_secs_f64(3.0 * shares.next());
        let moment = Instant::now() + time;
        let due = || {
            std::thread::sleep(Duration::from_millis(1));
            // Every other kill comes when all workers are at work.
            let at_work = || place.n_told(&run, "is ready") == 2;
            if kill % 2 == 0 { at_work() } else { Instant::now() > moment }
        };
        assert_eq!(kills::kill_when(&mut child, due), None, "it cannot end by itself");
        n_at_work += usize::from(place.n_told(&run, "is ready") > 0);
        let scratch_path = scratch.path().to_str().unwrap();
        let patience = Instant::now() + Duration::from_secs(60);
        while !processes(scratch_path).is_empty() {
            assert!(Instant::now() < patience, "left after {time:?}: {:?}", processes(scratch_path));
            std::thread::sleep(Duration::from_millis(20));
        }
        let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        // A kill before the first worker was started leaves the folder it would have found.
        assert!(left.is_empty() || place.n_told(&run, "is process") == 0, "{left:?}");
    }
    eprintln!("workers: {n_kills} kills, {n_at_work} with workers at work");
    assert!(n_at_work > 0);
}
