//! The built command: what it writes, what it says, and how it ends.

#[path = "common/command.rs"]
mod command;

use command::{godiff, refuses, succeeds};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn config(name: &str) -> String {
    root().join("configs").join(name).to_str().unwrap().to_owned()
}

/// A configuration that only a table of the results uses.
fn measured(name: &str) -> String {
    root().join("docs/results/configs").join(name).to_str().unwrap().to_owned()
}

fn structure(name: &str) -> String {
    root().join("configs/structures").join(name).to_str().unwrap().to_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A finished run of `configs/smoke.toml`, made once; tests that change it work on a copy.
fn smoke() -> &'static Path {
    static RUN: OnceLock<TempDir> = OnceLock::new();
    RUN.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        succeeds(folder.path(), &["search", &config("smoke.toml"), "--out", "run", "--quiet"]);
        folder
    })
    .path()
}

fn smoke_file(name: &str) -> String {
    smoke().join("run").join(name).to_str().unwrap().to_owned()
}

/// A copy of the smoke run in a folder of its own, as `run`.
fn smoke_copy() -> TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let target = to.join(path.file_name().unwrap());
            if path.is_dir() {
                copy(&path, &target);
            } else {
                fs::copy(&path, &target).unwrap();
            }
        }
    }
    let folder = TempDir::new().unwrap();
    copy(&smoke().join("run"), &folder.path().join("run"));
    folder
}

/// Structure configs/smoke.toml with one piece of text replaced, in `folder`, beside its structures.
fn changed_smoke(folder: &Path, from: &str, to: &str) -> PathBuf {
    let text = fs::read_to_string(config("smoke.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    let structures = folder.join("structures");
    if !structures.exists() {
        fs::create_dir(&structures).unwrap();
        for name in ["pt-stepped.xyz", "pt-adatom-minimum.xyz"] {
            fs::copy(structure(name), structures.join(name)).unwrap();
        }
    }
    let path = folder.join("smoke.toml");
    fs::write(&path, text.replace(from, to)).unwrap();
    path
}

/// Every `tests/bad/NAME.toml` says in its first line what must be said about it.
#[test]
fn bad_configurations_get_their_sentence() {
    let place = TempDir::new().unwrap();
    let mut n_files = 0;
    for entry in fs::read_dir(root().join("tests/bad")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let sentence =
            text.lines().next().unwrap().strip_prefix("# expects: ").expect("the first line says what to expect");
        let path = path.to_str().unwrap();
        refuses(place.path(), &["search", path], 2, sentence);
        refuses(place.path(), &["search", path], 2, path);
        n_files += 1;
    }
    assert!(n_files >= 50, "{n_files}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "a refused search leaves nothing behind");
}

#[test]
fn mixed_precision_needs_a_gpu() {
    let place = TempDir::new().unwrap();
    let path = changed_smoke(place.path(), "[training]", "[engine]\nprecision = \"mixed\"\n\n[training]");
    let arguments = ["search", path.to_str().unwrap(), "--device", "cpu", "--out", "run"];
    refuses(place.path(), &arguments, 2, "set precision = \"f32\" in [engine] or use --device cuda");
    assert!(!place.path().join("run").exists());
}

#[test]
fn a_missing_configuration_is_named() {
    refuses(root(), &["search", "no-such.toml"], 2, "cannot read the configuration no-such.toml: No such file");
}

/// All shipped configurations are read, those of the results too; only the smallest is run. Those with `[transfer]` need a model:
/// `the_heptamer_starts_from_adatom_models` reads them.
#[test]
fn shipped_configurations_are_valid() {
    let mut n_read = 0;
    for folder in ["configs", "docs/results/configs"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            if text.contains("[transfer]") {
                continue;
            }
            let settings = godiff::config::Settings::load(&path).unwrap();
            godiff::engine::open("cpu", &settings.setup()).unwrap();
            // A calculator of ASE is not installed everywhere.
            if !text.contains("kind = \"ase\"") {
                godiff::potential::open(&settings.sections.potential, Some(&settings.system), "cpu").unwrap();
            }
            n_read += 1;
        }
    }
    assert!(n_read >= 16, "{n_read} configurations");
}

/// The first line of a shipped configuration says when to use it, and `configs` holds no more than a reader can choose among.
#[test]
fn shipped_configurations_say_when_to_use_them() {
    for (folder, at_most) in [("configs", 6), ("docs/results/configs", usize::MAX)] {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
        assert!(files.len() <= at_most, "{files:?}");
        for path in files {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("# Use this one "), "{}", path.display());
        }
    }
}

#[test]
fn a_search_leaves_a_run_folder_that_stands_alone() {
    let folder = smoke().join("run");
    for name in ["config.toml", "template.xyz", "target.xyz", "summary.json", "metrics.jsonl", "archive.db", "best.xyz"]
    {
        assert!(folder.join(name).is_file(), "{name}");
    }
    let summary: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["status"], "done");
    assert_eq!(fs::read_to_string(folder.join("metrics.jsonl")).unwrap().lines().count() as u64, 3);
    assert!(summary["evaluations"].as_u64().unwrap() <= summary["samples"].as_u64().unwrap());

    // The resolved configuration searches the same from a place where the original is not.
    let place = smoke_copy();
    succeeds(place.path(), &["search", "run/config.toml", "--out", "again", "--quiet"]);
    for name in ["config.toml", "template.xyz", "best.xyz", "model.safetensors"] {
        let read = |run: &str| fs::read(place.path().join(run).join(name)).unwrap();
        assert_eq!(read("run"), read("again"), "{name}");
    }
}

#[test]
fn runs_are_numbered_and_say_where_they_are() {
    let place = TempDir::new().unwrap();
    let config = config("smoke.toml");
    assert_eq!(succeeds(place.path(), &["search", &config]), "runs/smoke-001\n");
    assert_eq!(succeeds(place.path(), &["search", &config, "--seed", "3"]), "runs/smoke-002\n");
    let model = |run: &str| fs::read(place.path().join("runs").join(run).join("model.safetensors")).unwrap();
    assert_ne!(model("smoke-001"), model("smoke-002"), "the seed must matter");
    // Without --seed a resumed run keeps its own.
    assert_eq!(succeeds(place.path(), &["search", &config, "--resume"]), "runs/smoke-002\n");
    let text = fs::read_to_string(place.path().join("runs/smoke-002/config.toml")).unwrap();
    assert!(text.contains("seed = 3"), "{text}");
}

#[test]
fn quiet_says_nothing_and_json_is_json() {
    let place = TempDir::new().unwrap();
    let output = godiff(place.path(), &["search", &config("smoke.toml"), "--quiet"]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    let text = succeeds(place.path(), &["search", &config("smoke.toml"), "--json", "--threads", "1"]);
    let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.first().unwrap()["event"], "run_started");
    assert_eq!(events.iter().filter(|event| event["event"] == "iteration_done").count(), 3);
    assert_eq!(events.last().unwrap()["status"], "done");
    let model = |run: &str| fs::read(place.path().join("runs").join(run).join("model.safetensors")).unwrap();
    assert_eq!(model("smoke-001"), model("smoke-002"), "the number of threads must not matter");
}

#[test]
fn devices_that_are_not_there_are_refused() {
    let place = TempDir::new().unwrap();
    let search = |device: &str, sentence: &str| {
        refuses(place.path(), &["search", &config("smoke.toml"), "--device", device], 2, sentence);
    };
    search("cuda:x", "device 'cuda:x': ");
    search("gpu", "unknown device 'gpu'");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    let listed = succeeds(place.path(), &["devices", "--threads", "1"]);
    assert!(listed.contains("cpu ") && listed.contains("1 threads") && listed.contains("cuda"), "{listed}");
}

#[test]
fn output_folders_that_cannot_be_used_are_refused() {
    let place = smoke_copy();
    let config = config("smoke.toml");
    refuses(place.path(), &["search", &config, "--out", "run"], 2, "run: holds another run already (config.toml)");
    fs::write(place.path().join("file"), "").unwrap();
    refuses(place.path(), &["search", &config, "--out", "file/run"], 2, "file/run: cannot be used as output folder");
    refuses(place.path(), &["search", &config, "--out", "none", "--resume"], 2, "none: holds no run to resume");
    refuses(place.path(), &["search", &config, "--resume"], 2, "runs: has no run smoke-NNN to resume");
}

#[test]
fn a_changed_configuration_is_not_resumed() {
    let place = smoke_copy();
    let resume = |config: &Path, more: &[&str], sentence: &str| {
        let arguments = [&["search", config.to_str().unwrap(), "--out", "run", "--resume"], more].concat();
        refuses(place.path(), &arguments, 2, sentence);
    };
    let changed = changed_smoke(place.path(), "buffer = 8", "buffer = 9");
    resume(&changed, &[], "this run was started with search.buffer = 8 and now it is 9");
    let same = changed_smoke(place.path(), "buffer = 8", "buffer = 8");
    resume(&same, &["--seed", "4"], "this run was started with search.seed = 0 and now it is 4");
    let template = place.path().join("structures/pt-stepped.xyz");
    let text = fs::read_to_string(&template).unwrap();
    fs::write(&template, text.replacen("0.87653865", "0.87653866", 1)).unwrap();
    resume(&same, &[], "template.xyz: the configuration names another structure than when this run was started");
}

/// The first resume extends the run, the second has nothing left to do; what was asked for is shown.
#[test]
fn a_finished_run_is_extended() {
    let place = smoke_copy();
    let longer = changed_smoke(place.path(), "iterations = 3", "iterations = 4");
    let longer = longer.to_str().unwrap();
    for _ in 0..2 {
        succeeds(place.path(), &["search", longer, "--out", "run", "--resume", "--quiet"]);
    }
    let inspected = succeeds(place.path(), &["inspect", "run"]);
    let said = inspected.lines().find(|line| line.starts_with("extended on ")).unwrap();
    assert!(said.ends_with(" evaluations): search.iterations is 4, before 3"), "{said}");
    assert!(said.contains(" UTC after 3 iterations ("), "{said}");
    assert!(inspected.lines().any(|line| line.starts_with("        4    0.1000")), "{inspected}");
    let report = fs::read_to_string(place.path().join("run/report.html")).unwrap();
    assert!(report.contains("<p>This run was extended on "), "the report shows it too");
    let summary = fs::read_to_string(place.path().join("run/summary.json")).unwrap();
    assert!(summary.contains("\"segments\": 2") && summary.contains("\"samples\": 48"), "{summary}");

    let refused = |from: &str, to: &str, sentence: &str| {
        let changed = changed_smoke(place.path(), from, to);
        refuses(place.path(), &["search", changed.to_str().unwrap(), "--out", "run", "--resume"], 2, sentence);
    };
    refused("iterations = 3", "iterations = 3", "this run has begun 4 iterations and search.iterations is now 3");
    // Another template is refused before the extension is written down.
    let before = fs::read(place.path().join("run/segments.json")).unwrap();
    let template = place.path().join("structures/pt-stepped.xyz");
    let text = fs::read_to_string(&template).unwrap();
    fs::write(&template, text.replacen("0.87653865", "0.87653866", 1)).unwrap();
    refused("iterations = 3", "iterations = 9", "template.xyz: the configuration names another structure");
    assert!(fs::read(place.path().join("run/segments.json")).unwrap() == before);
    fs::write(place.path().join("run/segments.json"), "{").unwrap();
    refused("iterations = 3", "iterations = 4", "run/segments.json: is damaged");
}

#[test]
fn a_time_limit_is_no_failure() {
    let place = TempDir::new().unwrap();
    let config = config("smoke.toml");
    succeeds(place.path(), &["search", &config, "--out", "run", "--quiet", "--hours", "1e-9"]);
    let inspected = succeeds(place.path(), &["inspect", "run"]);
    assert!(inspected.contains("run: search, ended at its time limit; resume it with"), "{inspected}");
    // The run keeps its limit until another one is named.
    let resume = ["search", &config, "--out", "run", "--resume"];
    let output = godiff(place.path(), &resume);
    assert!(output.status.success() && stderr(&output).contains("the time limit of this run is reached already"));
    succeeds(place.path(), &[&resume[..], &["--quiet", "--hours", "9"]].concat());
    assert!(succeeds(place.path(), &["inspect", "run"]).contains("run: search, done"));
    let report = |name: &str| fs::read_to_string(place.path().join("run").join(name)).unwrap();
    assert!(report("segments.json").contains("search.hours is 9.0, before 0.000000001"), "{}", report("segments.json"));
}

/// A queue may hand out another card: said, and no more. The number of threads is not worth a word.
#[test]
fn going_on_on_another_device_is_said() {
    let place = smoke_copy();
    let path = place.path().join("run/summary.json");
    let text = fs::read_to_string(&path).unwrap();
    let resume = |device: &str| {
        let mut summary: serde_json::Value = serde_json::from_str(&text).unwrap();
        summary["device"] = device.into();
        fs::write(&path, summary.to_string()).unwrap();
        let config = config("smoke.toml");
        let output =
            godiff(place.path(), &["search", &config, "--out", "run", "--resume", "--device", "cpu", "--threads", "1"]);
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    let same = summary["device"].as_str().unwrap().replace(" threads", "3 threads");
    assert!(!resume(&same).contains("computed on"));
    let said = resume("cuda f32, a card, sm_90");
    assert!(said.contains("computed on cuda f32, a card, sm_90 until now, and on cpu f32, 1 threads, "), "{said}");
}

#[test]
fn damaged_checkpoints_are_refused() {
    let place = smoke_copy();
    let folder = place.path().join("run/checkpoint");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let inspect =
        |path: &Path, sentence: &str| refuses(place.path(), &["inspect", path.to_str().unwrap()], 2, sentence);
    for (k, path) in files.iter().enumerate() {
        let mut bytes = fs::read(path).unwrap();
        if k == 0 {
            bytes.truncate(bytes.len() / 2);
        } else {
            bytes[100] ^= 4;
        }
        fs::write(path, bytes).unwrap();
        inspect(path, path.to_str().unwrap());
    }
    let config = config("smoke.toml");
    refuses(place.path(), &["search", &config, "--out", "run", "--resume"], 2, "run/checkpoint");
}

#[test]
fn command_line_mistakes_exit_with_two() {
    for arguments in [&["serach"][..], &["search"], &["search", "a.toml", "--seed", "-1"], &["score", "a.xyz"]] {
        assert_eq!(godiff(root(), arguments).status.code(), Some(2), "{arguments:?}");
    }
    for (arguments, sentence) in [
        (
            &["search", "a.toml", "--seed", "-1"][..],
            "'-1' for '--seed <S>': give a whole number from 0 to 9223372036854775807",
        ),
        (
            &["search", "a.toml", "--hours", "0"],
            "'0' for '--hours <H>': give a number of hours above 0, such as 12 or 0.5",
        ),
        (&["search", "a.toml", "--threads", "1.5"], "'1.5' for '--threads <N>': give a whole number from 1 to 65535"),
        (
            &["relax", "a.xyz", "--potential", "emt", "--fmax", "x"],
            "'x' for '--fmax <FORCE>': give a number, such as 0.05",
        ),
        (
            &["relax", "a.xyz", "--potential", "emt", "--free", "-2"],
            "'-2' for '--free <N>': give a whole number from 0 to ",
        ),
        (
            &["export", "run", "-o", "a.xyz", "--lowest", "many"],
            "'many' for '--lowest <N>': give a whole number from 0 to ",
        ),
        (&["benchmark", "a.toml", "--runs", "0"], "'0' for '--runs <N>': give a whole number from 1 to 100000"),
    ] {
        let output = godiff(root(), arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).starts_with(&format!("error: invalid value {sentence}")), "{}", stderr(&output));
    }
    assert_eq!(godiff(root(), &["--help"]).status.code(), Some(0));
    assert_eq!(godiff(root(), &["--version"]).status.code(), Some(0));
}

#[test]
fn evaluate_and_relax_find_the_known_minimum() {
    let place = TempDir::new().unwrap();
    let minimum = structure("pt-adatom-minimum.xyz");
    let table = succeeds(place.path(), &["evaluate", &minimum, "--potential", "emt"]);
    assert!(table.contains("5.505784"), "{table}");
    succeeds(place.path(), &["evaluate", &minimum, "--potential", &config("smoke.toml"), "-o", "evaluated.xyz"]);
    let evaluated = godiff::system::read_structure(&place.path().join("evaluated.xyz")).unwrap();
    assert!((evaluated.energy.unwrap() - 5.505784).abs() < 1e-6);
    assert_eq!(evaluated.forces.unwrap().len(), 21);

    // From a displaced adatom back to the minimum, everything else fixed.
    let mut displaced = godiff::system::read_structure(Path::new(&minimum)).unwrap();
    let home = displaced.positions[20];
    displaced.positions[20] = [home[0] + 0.15, home[1] - 0.1, home[2] + 0.2];
    godiff::system::xyz::write_frames(&place.path().join("displaced.xyz"), &[displaced.clone().into()]).unwrap();
    let relax = ["relax", "displaced.xyz", "--potential", "emt", "--free", "1", "--fmax", "0.001", "-o", "relaxed.xyz"];
    let table = succeeds(place.path(), &relax);
    assert!(table.contains("converged"), "{table}");
    let relaxed = godiff::system::read_structure(&place.path().join("relaxed.xyz")).unwrap();
    assert!((relaxed.energy.unwrap() - 5.505784).abs() < 1e-4, "{:?}", relaxed.energy);
    assert_eq!(relaxed.positions[..20], displaced.positions[..20]);
    refuses(
        place.path(),
        &["relax", "displaced.xyz", "--potential", "emt", "--free", "22"],
        2,
        "--free 22: structure 1 has 21 atoms",
    );
}

#[test]
fn unusable_structures_are_refused() {
    let place = TempDir::new().unwrap();
    let evaluate = |text: &str, sentence: &str| {
        fs::write(place.path().join("in.xyz"), text).unwrap();
        refuses(place.path(), &["evaluate", "in.xyz", "--potential", "emt"], 2, sentence);
    };
    evaluate("1\nProperties=species:S:1:pos:R:3\nPt nan 0 0\n", "in.xyz");
    evaluate("1\nProperties=Z:I:1:pos:R:3\n150 0 0 0\n", "150");
    evaluate("1\nProperties=species:S:1:pos:R:3\nQq 0 0 0\n", "Qq");
    evaluate("2\nProperties=species:S:1:pos:R:3\nPt 0 0 0\n", "in.xyz");
    evaluate("1\nProperties=species:S:1:pos:R:3\nFe 0 0 0\n", "EMT has no parameters");
    refuses(place.path(), &["evaluate", "none.xyz", "--potential", "emt"], 2, "none.xyz: cannot be read");
    refuses(
        place.path(),
        &["evaluate", "in.xyz", "--potential", "magic"],
        2,
        "--potential: there is no potential \"magic\"",
    );
}

#[test]
fn samples_come_from_the_model_and_its_configuration() {
    let place = TempDir::new().unwrap();
    let (model, config) = (smoke_file("model.safetensors"), config("smoke.toml"));
    let sample = |seed: &str, out: &str| {
        let out = out.to_owned();
        succeeds(
            place.path(),
            &["sample", "--model", &model, "--config", &config, "-n", "5", "--seed", seed, "-o", &out],
        );
        godiff::system::read_structures(&place.path().join(out)).unwrap()
    };
    let (first, again, other) = (sample("1", "a.xyz"), sample("1", "b.xyz"), sample("2", "c.xyz"));
    assert_eq!(first.len(), 5);
    assert_eq!(first, again);
    assert_ne!(first, other);
    let top = first[0].positions[..20].iter().map(|r| r[2]).fold(f64::NEG_INFINITY, f64::max);
    for structure in &first {
        let height = structure.positions[20][2] - top;
        assert!((0.0..=4.0).contains(&height), "{height}");
        assert_eq!(structure.fixed.iter().filter(|fixed| **fixed).count(), 20);
    }
}

#[test]
fn models_that_do_not_fit_are_refused() {
    let place = TempDir::new().unwrap();
    let model = smoke_file("model.safetensors");
    let sample = |model: &str, config: &Path, sentence: &str| {
        let arguments = ["sample", "--model", model, "--config", config.to_str().unwrap(), "-n", "1", "-o", "o.xyz"];
        refuses(place.path(), &arguments, 2, sentence);
    };
    let adatom = PathBuf::from(measured("pt-adatom-paper.toml"));
    sample(&model, &adatom, "the model has model.features 8 where the configuration has 64; change the configuration");
    let gold = changed_smoke(place.path(), "free = \"Pt\"", "free = \"Au\"");
    let gold = {
        let text = fs::read_to_string(&gold).unwrap();
        fs::write(&gold, text.split("[target]").next().unwrap()).unwrap();
        gold
    };
    sample(&model, &gold, "the model was not trained on Au, which the system holds");
    let bytes = fs::read(&model).unwrap();
    let broken = place.path().join("broken.safetensors");
    fs::write(&broken, &bytes[..bytes.len() - 10]).unwrap();
    sample(broken.to_str().unwrap(), Path::new(&config("smoke.toml")), "broken.safetensors");
    assert!(!place.path().join("o.xyz").exists());
}

#[test]
fn scores_stand_beside_their_atoms() {
    let place = TempDir::new().unwrap();
    let model = smoke_file("model.safetensors");
    let best = godiff::system::read_structure(Path::new(&smoke_file("best.xyz"))).unwrap();
    // The free atom first instead of last: the same scores, in the file's own order.
    let mut turned = best.clone();
    turned.positions.rotate_right(1);
    turned.numbers.rotate_right(1);
    turned.fixed.rotate_right(1);
    turned.forces = None;
    let score = |structure: &godiff::system::Structure, more: &[&str]| {
        godiff::system::xyz::write_frames(&place.path().join("in.xyz"), &[structure.clone().into()]).unwrap();
        let base = ["score", "in.xyz", "--model", &model, "--time", "0.3", "-o", "out.xyz"];
        succeeds(place.path(), &[&base[..], more].concat());
        let mut frames = godiff::system::xyz::read_frames(&place.path().join("out.xyz")).unwrap();
        frames.pop().unwrap().vectors("score").unwrap()
    };
    let single = score(&best, &[]);
    assert_eq!(single.len(), 21);
    assert!(single[..20].iter().flatten().all(|x| *x == 0.0), "no score on fixed atoms");
    let largest = single[20].iter().fold(0.0f64, |most, x| most.max(x.abs()));
    assert!(largest > 0.0);
    let double = score(&best, &["--precision", "f64"]);
    for (a, b) in single[20].iter().zip(double[20]) {
        assert!((a - b).abs() < 1e-3 * largest && *a != b, "{a} {b}");
    }
    let mut expected = single.clone();
    expected.rotate_right(1);
    for (a, b) in score(&turned, &[]).iter().flatten().zip(expected.iter().flatten()) {
        assert!((a - b).abs() < 1e-5 * largest, "{a} {b}");
    }
    assert_eq!(score(&best, &["--free", "1"]), single);
    refuses(
        place.path(),
        &["score", "in.xyz", "--model", &model, "--time", "1.5", "-o", "o.xyz"],
        2,
        "--time 1.5: give a diffusion time",
    );
    let mut other = best.clone();
    other.positions[3][0] += 0.5;
    godiff::system::xyz::write_frames(&place.path().join("two.xyz"), &[best.into(), other.into()]).unwrap();
    refuses(
        place.path(),
        &["score", "two.xyz", "--model", &model, "--time", "0.3", "-o", "o.xyz"],
        2,
        "two.xyz: structure 2 has its fixed atoms elsewhere than the first",
    );
}

/// The score of a mobile atom is by the width of its own noise: the model's output over that width, as free ones' over 1.
#[test]
fn mobile_atoms_have_scores_of_their_own() {
    let place = TempDir::new().unwrap();
    let config =
        changed_smoke(place.path(), "[system]\n", "[system]\nmobile = { layers = 1 }\nmobile_noise_angstrom = 0.25\n");
    succeeds(place.path(), &["search", config.to_str().unwrap(), "--out", "run", "--quiet"]);
    let settings = godiff::config::Settings::load(&config).unwrap();
    let (n_fixed, n_mobile) = (settings.system.n_template(), settings.system.n_mobile());
    let factor = 0.25 / settings.sections.diffusion.sigma_max_angstrom;
    assert!(n_mobile > 0 && factor < 1.0);
    let score = |input: &str, more: &[&str], note: &str| {
        let base = ["score", input, "--model", "run/model.safetensors", "--time", "0.3", "-o", "out.xyz"];
        let output = godiff(place.path(), &[&base[..], more].concat());
        assert!(output.status.success() && stderr(&output).contains(note), "{}", stderr(&output));
        assert_eq!(stderr(&output).is_empty(), note.is_empty(), "{}", stderr(&output));
        let mut frames = godiff::system::xyz::read_frames(&place.path().join("out.xyz")).unwrap();
        frames.pop().unwrap().vectors("score").unwrap()
    };
    // The run of the model says which atoms are mobile.
    let own = score("run/best.xyz", &[], "the mobile atoms are those of run/config.toml");
    let named = score("run/best.xyz", &["--config", config.to_str().unwrap()], "");
    assert_eq!(own, named);
    let n_free = (own.len() - n_fixed).to_string();
    let as_free = score("run/best.xyz", &["--free", &n_free], "");
    for (atom, (own, free)) in own.iter().zip(&as_free).enumerate() {
        let width = if (n_fixed..n_fixed + n_mobile).contains(&atom) { factor } else { 1.0 };
        for (own, free) in own.iter().zip(free) {
            assert!((own * width - free).abs() <= 1e-5 * free.abs() + 1e-12, "atom {atom}: {own} {free}");
        }
    }
    // In another order, as the template's file might have it.
    let best = godiff::system::read_structure(&place.path().join("run/best.xyz")).unwrap();
    let turned = best.reordered(&(0..best.n_atoms()).rev().collect::<Vec<_>>());
    godiff::system::xyz::write_frames(&place.path().join("turned.xyz"), &[turned.into()]).unwrap();
    let turned = score("turned.xyz", &["--config", config.to_str().unwrap()], "");
    let largest = own.iter().flatten().fold(0.0f64, |most, x| most.max(x.abs()));
    for (a, b) in turned.iter().rev().flatten().zip(own.iter().flatten()) {
        assert!((a - b).abs() < 1e-4 * largest, "{a} {b}");
    }
    // Structures of another system: a note, or an error where the configuration is named.
    fs::write(place.path().join("pair.xyz"), "2\n\nPt 0 0 0\nPt 0 0 2.5\n").unwrap();
    score("pair.xyz", &[], "so no atom counts as mobile, though the model's run has mobile atoms (run/config.toml)");
    let refused = ["score", "pair.xyz", "--model", "run/model.safetensors", "--time", "0.3", "-o", "o.xyz", "--config"];
    refuses(
        place.path(),
        &[&refused[..], &[config.to_str().unwrap()]].concat(),
        2,
        "pair.xyz: structure 1 has 2 atoms where",
    );
}

/// `configs/smoke.toml` with `[guidance]`, in `place`.
fn guided_smoke(place: &Path) -> String {
    let path = changed_smoke(place, "[target]", "[guidance]\neta = 0.4\n\n[proposals]\nrelax_steps = 2\n\n[target]");
    let guided = place.join("guided.toml");
    fs::rename(path, &guided).unwrap();
    guided.to_str().unwrap().to_owned()
}

#[test]
fn guided_searches_learn_forces_and_sample_along_them() {
    let place = TempDir::new().unwrap();
    let guided = guided_smoke(place.path());
    succeeds(place.path(), &["search", &guided, "--out", "run", "--quiet"]);
    let metrics = godiff::run::read_metrics(&place.path().join("run/metrics.jsonl")).unwrap();
    assert!(metrics.iter().all(|line| line.force_loss.is_some_and(|loss| loss > 0.0)), "{metrics:?}");
    let text = succeeds(place.path(), &["inspect", "run/model.safetensors"]);
    assert!(text.contains("heads             score, force"), "{text}");

    let sample = |config: &str, out: &str| {
        let model = "run/model.safetensors";
        succeeds(place.path(), &["sample", "--model", model, "--config", config, "-n", "3", "-o", out]);
        godiff::system::read_structures(&place.path().join(out)).unwrap()
    };
    let (along, plain) = (sample(&guided, "a.xyz"), sample(&config("smoke.toml"), "b.xyz"));
    assert_ne!(along, plain, "the predicted forces must matter");
    assert_eq!(along, sample(&guided, "c.xyz"));
    let model = smoke_file("model.safetensors");
    refuses(
        place.path(),
        &["sample", "--model", &model, "--config", &guided, "-n", "1", "-o", "o.xyz"],
        2,
        "the model has no force head, which [guidance] needs; leave that section out of the configuration",
    );
}

/// With `score = false` the score in the file is noise.
#[test]
fn a_model_of_forces_alone_gives_no_samples_and_no_scores() {
    let place = TempDir::new().unwrap();
    let sections = "[guidance]\n[proposals]\nrelax_steps = 2\nhop_share = 1.0\n[training]\nscore = false";
    let path = changed_smoke(place.path(), "[training]", sections);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("iterations = 3", "iterations = 2\nfirst_samples = 'placed'")).unwrap();
    let (config, model) = (path.to_str().unwrap(), "run/model.safetensors");
    succeeds(place.path(), &["search", config, "--out", "run", "--quiet"]);
    let sentence = "the model learned forces alone (training.score = false), so it has no score to sample from";
    refuses(place.path(), &["sample", "--model", model, "--config", config, "-n", "1", "-o", "o.xyz"], 2, sentence);

    let scored = ["score", "run/best.xyz", "--model", model, "--time", "0.3", "-o", "s.xyz"];
    assert!(succeeds(place.path(), &scored).contains("; without scores, since the model learned forces alone"));
    let written = fs::read_to_string(place.path().join("s.xyz")).unwrap();
    assert!(written.contains("predicted_forces:R:3") && !written.contains("score"), "{written}");

    let learning = transferred(place.path(), model, "[guidance]\n");
    refuses(place.path(), &["search", &learning], 2, sentence);
    refuses(place.path(), &["search", &learning], 2, "or set search.first_samples = \"placed\"");
    let text = fs::read_to_string(&learning).unwrap();
    fs::write(&learning, text.replace("iterations = 2", "iterations = 2\nfirst_samples = \"placed\"")).unwrap();
    let output = godiff(place.path(), &["search", &learning, "--out", "second"]);
    let said = stderr(&output);
    assert!(output.status.success() && said.contains("it learned forces alone: its score starts untrained"), "{said}");
}

/// Two free atoms, one of them gold, on another template: sizes as in `configs/smoke.toml`, the first model as `model` says.
fn transferred(place: &Path, model: &str, sections: &str) -> String {
    let text = format!(
        "[system]\ntemplate = \"{}\"\nfree = \"PtAu\"\nconfinement = {{ above_template_angstrom = [1.0, 6.0] }}\n\
         [potential]\nkind = \"emt\"\n\
         [model]\nfeatures = 8\nblocks = 2\nradial_functions = 8\ncutoff_angstrom = 4.0\n\
         [diffusion]\nsteps = 10\n\
         [search]\niterations = 2\nsamples_per_iteration = 6\nbuffer = 4\n\
         [training]\nsteps_per_iteration = 5\nbatch = 2\n\
         [transfer]\nmodel = \"{model}\"\n{sections}",
        structure("pt111-6x6x2.xyz")
    );
    let path = place.join("transferred.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn searches_start_from_another_systems_model() {
    let place = TempDir::new().unwrap();
    fs::copy(smoke_file("model.safetensors"), place.path().join("smoke.safetensors")).unwrap();
    let path = transferred(place.path(), "smoke.safetensors", "[guidance]\n");
    let output = godiff(place.path(), &["search", &path, "--out", "run"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    for sentence in [
        "the search starts from the model of [transfer], trained on Pt",
        "Au is new to it: its embedding starts fresh",
        "it has no force head: a fresh one is added",
    ] {
        assert!(said.contains(sentence), "{sentence}\n{said}");
    }
    let text = succeeds(place.path(), &["inspect", "run/model.safetensors"]);
    assert!(text.contains("atomic numbers    78, 79") && text.contains("score, force"), "{text}");

    // The folder stands alone, and its copy is what counts.
    fs::remove_file(place.path().join("smoke.safetensors")).unwrap();
    succeeds(place.path(), &["search", "run/config.toml", "--out", "again", "--quiet"]);
    let model = |run: &str| fs::read(place.path().join(run).join("model.safetensors")).unwrap();
    assert_eq!(model("run"), model("again"));
    let output = godiff(place.path(), &["search", "run/config.toml", "--out", "again", "--resume"]);
    assert!(output.status.success() && !stderr(&output).contains("[transfer]"), "{}", stderr(&output));
    fs::copy(place.path().join("run/model.safetensors"), place.path().join("smoke.safetensors")).unwrap();
    refuses(
        place.path(),
        &["search", &path, "--out", "run", "--resume"],
        2,
        "transfer.safetensors: the configuration names another model than when this run was started",
    );
    // With a model of its own species and heads there is nothing to start afresh.
    let output = godiff(place.path(), &["search", &path, "--out", "third"]);
    assert!(stderr(&output).contains("trained on Pt, Au") && !stderr(&output).contains("fresh"), "{}", stderr(&output));
}

#[test]
fn models_to_start_from_must_fit() {
    let place = TempDir::new().unwrap();
    let path = transferred(place.path(), &smoke_file("model.safetensors"), "");
    let text = fs::read_to_string(&path).unwrap();
    for (from, to, what) in [
        ("features = 8", "features = 9", "model.features 8 where the configuration has 9"),
        ("blocks = 2", "blocks = 3", "model.blocks 2 where the configuration has 3"),
        ("cutoff_angstrom = 4.0", "cutoff_angstrom = 5.0", "model.cutoff_angstrom 4 where the configuration has 5"),
        ("steps = 10", "sigma_max_angstrom = 2.0", "diffusion.sigma_max_angstrom 1 where the configuration has 2"),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let sentence = format!(
            "transferred.toml, line {}: transfer.model: ",
            1 + text.lines().position(|line| line.starts_with("model = ")).unwrap()
        );
        refuses(place.path(), &["search", &path], 2, &sentence);
        refuses(place.path(), &["search", &path], 2, &format!("the model has {what}; change the configuration"));
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "a refused search leaves nothing behind");
}

/// The shipped configurations take the adatom models of searches and the authors'.
#[test]
fn the_heptamer_starts_from_adatom_models() {
    let place = TempDir::new().unwrap();
    let load = |name: &str, adatom: &str, model: &Path| {
        let text = fs::read_to_string(measured(name)).unwrap();
        let run = Path::new(adatom).file_stem().unwrap().to_str().unwrap();
        let shipped = format!("../../../runs/{run}/model.safetensors");
        assert!(text.contains(&shipped));
        let text = text.replace(&shipped, model.to_str().unwrap());
        let text = text.replace("\"../../../configs/", &format!("\"{}/", root().join("configs").display()));
        let path = place.path().join("transfer.toml");
        fs::write(&path, text).unwrap();
        godiff::config::Settings::load(&path).unwrap()
    };
    let plain = ("pt-heptamer-transfer.toml", &measured("pt-adatom-paper.toml"));
    let small = [
        ("pt-heptamer-transfer-small.toml", &config("pt-adatom.toml")),
        ("pt-heptamer-hops-transfer.toml", &measured("pt-adatom-relaxed.toml")),
    ];
    for (heptamer, adatom) in small.into_iter().chain([plain]) {
        let setup = godiff::config::Settings::load(Path::new(adatom)).unwrap().setup();
        let own = godiff::model::ModelFile {
            sizes: setup.sizes,
            radial_basis: None,
            parameters: vec![0.0; godiff::model::Layout::new(&setup.sizes).n_parameters()],
            sde: setup.sde,
            weighting: setup.training.weighting,
            species: vec![78],
            score_learned: true,
        };
        let path = place.path().join("own.safetensors");
        own.write(&path, godiff::model::Precision::Single).unwrap();
        assert_eq!(load(heptamer, adatom, &path).transfer, Some(own));
    }
    let Some(reference) = std::env::var_os("GODIFF_REFERENCE_DIR") else {
        eprintln!("GODIFF_REFERENCE_DIR is not set: the authors' model is not transferred");
        return;
    };
    let checkpoint = Path::new(&reference).join("stepped_Pt_T0.02.ckpt");
    succeeds(place.path(), &["import", checkpoint.to_str().unwrap(), "authors.safetensors"]);
    let settings = load(plain.0, plain.1, &place.path().join("authors.safetensors"));
    let model = settings.transfer.as_ref().unwrap();
    assert_eq!(
        settings.setup().radial_basis,
        model.radial_basis.clone().unwrap(),
        "the authors' functions are rounded"
    );
    let transferred =
        model.transfer(&settings.setup().sizes, godiff::engine::Weighting::Published, &settings.system.numbers(), 0);
    assert_eq!((transferred.parameters, transferred.notes.len()), (model.parameters.clone(), 1));
}

#[test]
fn export_gives_what_was_evaluated() {
    let place = TempDir::new().unwrap();
    let run = smoke().join("run");
    succeeds(place.path(), &["export", run.to_str().unwrap(), "-o", "all.xyz"]);
    assert_eq!(godiff::system::read_structures(&place.path().join("all.xyz")).unwrap().len(), 36);
    succeeds(place.path(), &["export", &smoke_file("archive.db"), "-o", "lowest.xyz", "--lowest", "4"]);
    let lowest = godiff::system::read_structures(&place.path().join("lowest.xyz")).unwrap();
    let energies: Vec<f64> = lowest.iter().map(|structure| structure.energy.unwrap()).collect();
    assert!(energies.len() == 4 && energies.is_sorted(), "{energies:?}");
    let best = godiff::system::read_structure(Path::new(&smoke_file("best.xyz"))).unwrap();
    // An export also says where each structure comes from.
    assert_eq!(lowest[0].for_calculator(), best);
    refuses(place.path(), &["export", "none.db", "-o", "o.xyz"], 2, "none.db: no such archive");
    refuses(place.path(), &["export", &structure("pt-stepped.xyz"), "-o", "o.xyz"], 2, "is not an SQLite database");
}

#[test]
fn inspect_knows_what_godiff_writes() {
    let place = TempDir::new().unwrap();
    let inspect = |path: &str| succeeds(place.path(), &["inspect", path]);
    let run = inspect(smoke().join("run").to_str().unwrap());
    assert!(
        run.contains("run: search, done") && run.contains("36 samples") && run.contains("archive: 36 structures"),
        "{run}"
    );
    assert!(inspect(&smoke_file("archive.db")).contains("lowest energy"));
    assert!(inspect(&smoke_file("model.safetensors")).contains("features          8"));
    let checkpoints = inspect(&smoke_file("checkpoint"));
    assert!(checkpoints.contains("3 iterations done"), "{checkpoints}");
    assert!(inspect(&smoke_file("checkpoint/iteration-00003.bin")).contains("3 iterations done"));
    refuses(place.path(), &["inspect", &config("smoke.toml")], 2, "is nothing that godiff writes");
    refuses(place.path(), &["inspect", "."], 2, "holds neither a run nor checkpoints");
}

#[test]
fn import_refuses_what_is_no_checkpoint() {
    let place = TempDir::new().unwrap();
    refuses(place.path(), &["import", &config("smoke.toml"), "o.safetensors"], 2, "smoke.toml");
    let Some(reference) = std::env::var_os("GODIFF_REFERENCE_DIR") else {
        eprintln!("GODIFF_REFERENCE_DIR is not set: the authors' checkpoint is not imported");
        return;
    };
    let checkpoint = Path::new(&reference).join("stepped_Pt_T0.02.ckpt");
    let text = succeeds(place.path(), &["import", checkpoint.to_str().unwrap(), "o.safetensors"]);
    assert!(text.contains("features          64") && text.contains("published"), "{text}");
    let arguments =
        ["sample", "--model", "o.safetensors", "--config", &measured("pt-adatom-paper.toml"), "-n", "1", "-o", "s.xyz"];
    succeeds(place.path(), &arguments);
}

/// `godiff inspect … | head -1` is no error.
#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::Stdio;
    let mut child = Command::new(env!("CARGO_BIN_EXE_godiff"))
        .args(["inspect", smoke().join("run").to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
}
