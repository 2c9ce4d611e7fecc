//! `godiff campaign` without a scheduler: planning, tasks as processes, local runs, and the batch script under a plain shell.
#![cfg(unix)]

#[path = "common/campaign.rs"]
mod campaign;
#[path = "common/tables.rs"]
mod tables;

use campaign::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tables::untimed;
use tempfile::TempDir;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Exit code and what was said on stderr.
fn outcome(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn task(folder: &Path, task: &str) -> Command {
    godiff(&["campaign", "run", text(folder), "--task", task, "--device", "cpu", "--threads", "1"])
}

#[test]
fn tasks_are_killed_and_go_on_like_local_runs_and_benchmarks() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path());
    let (alone, folder) = (place.path().join("alone"), place.path().join("a campaign"));
    let table = plan(&config, &alone, &["--for", "local", "--device", "cpu", "--at-once", "2"]);
    assert!(table.starts_with("6 runs: 6 finished, 0 running, 0 stopped, 0 failed, 0 waiting\n"), "{table}");
    assert!(table.contains("long-rss") && table.contains("/3"), "{table}");

    // The same runs as tasks; the configuration is not needed any more.
    plan(&config, &folder, &["--for", "hyperqueue"]);
    fs::rename(&config, place.path().join("elsewhere.toml")).unwrap();
    let spawn = || task(&folder, "0").stderr(Stdio::null()).spawn().unwrap();
    let mut killed = spawn();
    search_in_the_middle(&folder);
    let json = succeed(godiff(&["campaign", "status", text(&folder), "--json"]));
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&status["runs"][0]["state"], &status["runs"][1]["state"]), (&"running".into(), &"waiting".into()));
    // Another task on the run in use.
    let (code, said) = outcome(task(&folder, "0"));
    if code != Some(0) {
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("long/seed-0: another godiff is working in this folder"), "{said}");
    }
    killed.kill().unwrap();
    killed.wait().unwrap();

    // Moved, interrupted, gone on with.
    let moved = place.path().join("moved");
    fs::rename(&folder, &moved).unwrap();
    let mut interrupted = godiff(&["campaign", "run", text(&moved), "--task", "2", "--device", "cpu"]).spawn().unwrap();
    let worker = search_in_the_middle(&moved);
    signal(worker.pid, "TERM");
    let code = interrupted.wait().unwrap().code();
    assert!([Some(130), Some(0)].contains(&code), "{code:?}");
    let status = succeed(godiff(&["campaign", "status", text(&moved)]));
    assert!(code == Some(0) || status.contains("task 2, long/seed-1: stopped"), "{status}");
    assert_eq!(outcome(task(&moved, "0,2")).0, Some(0));
    let (code, said) = outcome(task(&moved, "2"));
    assert_eq!((code, said.as_str()), (Some(0), "task 2, long/seed-1: finished already\n"));
    assert_eq!(outcome(godiff(&["campaign", "run", text(&moved), "--run", "long-rss/seed-2"])).0, Some(0));
    assert_eq!(outcome(godiff(&["campaign", "run", text(&moved), "--device", "cpu"])).0, Some(0));
    assert_same(&moved, &alone);

    // A benchmark of the same folder has nothing left to do, and the same table.
    fs::rename(place.path().join("elsewhere.toml"), &config).unwrap();
    let [search, rss] = entrants(&config);
    let benchmark =
        ["benchmark", &search, &rss, "--runs", "3", "--to-the-end", "--device", "cpu", "--out", text(&moved)];
    let (code, said) = outcome(godiff(&benchmark));
    assert_eq!((code, said), (Some(0), format!("report: {}\n", moved.join("report.html").display())));
    let rows = table.split_once('\n').unwrap().1;
    assert_eq!(untimed(&succeed(godiff(&benchmark))), untimed(rows));
    fs::remove_file(moved.join("results.json")).unwrap();
    succeed(godiff(&["campaign", "status", text(&moved), "--write"]));
    let [there, here] = [&moved, &alone].map(|folder| fs::read_to_string(folder.join("results.md")).unwrap());
    assert_eq!(untimed(&there), untimed(&here));
    assert!(moved.join("results.json").exists());

    // With nothing new there is nothing to submit; new seeds are appended and alone submitted.
    assert_eq!(plan(&config, &moved, &["--for", "slurm"]), "");
    let more = ["campaign", &rss, "--seeds", "3,4", "--to-the-end", "--out", text(&moved), "--for", "slurm"];
    assert_eq!(succeed(godiff(&more)), format!("sbatch {}/slurm.sh\n", moved.display()));
    let script = fs::read_to_string(moved.join("slurm.sh")).unwrap();
    assert!(script.contains("\nruns=(6 7)\n") && script.contains("#SBATCH --array=0-1\n"), "{script}");
}

/// Runs the batch script as Slurm would, with a `scontrol` that writes down what it was asked for.
fn batch_script(folder: &Path, tools: &Path, restarts: &str) -> Child {
    fs::create_dir_all(tools).unwrap();
    let scontrol = tools.join("scontrol");
    fs::write(&scontrol, format!("#!/bin/sh\necho \"$@\" >> '{}/asked'\n", tools.display())).unwrap();
    fs::set_permissions(&scontrol, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.arg(folder.join("slurm.sh")).env("PATH", path).env("SLURM_ARRAY_TASK_ID", "0").env("SLURM_JOB_ID", "17");
    bash.env("SLURM_RESTART_COUNT", restarts).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn the_batch_script_requeues_what_is_worth_it() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path());
    // (signal to the script or, with KILL, to godiff; restarts so far; requeued?)
    for (name, restarts, requeued) in
        [("USR1", "99", true), ("TERM", "0", false), ("KILL", "19", true), ("KILL", "20", false)]
    {
        let folder = place.path().join(format!("it's {name} {restarts}"));
        let [search, _] = entrants(&config);
        let arguments = ["campaign", &search, "--runs", "1", "--for", "slurm", "--out", text(&folder)];
        succeed(godiff(&arguments));
        let tools = place.path().join(format!("tools-{name}-{restarts}"));
        let mut script = batch_script(&folder, &tools, restarts);
        let worker = search_in_the_middle(&folder);
        signal(if name == "KILL" { worker.pid } else { script.id() }, name);
        let code = script.wait().unwrap().code();
        assert_eq!(code, Some(if name == "KILL" { 137 } else { 130 }), "{name}");
        let asked = fs::read_to_string(tools.join("asked")).unwrap_or_default();
        assert_eq!(asked, if requeued { "requeue 17\n" } else { "" }, "{name} after {restarts}");
        assert_eq!(workers(&folder), []);
        // Started again, the task ends, and the script with it.
        assert_eq!(batch_script(&folder, &tools, "1").wait().unwrap().code(), Some(0));
    }
    // Bad input stays what it is.
    let folder = place.path().join("it's TERM 0");
    fs::remove_file(folder.join("long/seed-0/summary.json")).unwrap();
    fs::write(folder.join("configurations/long/long.toml"), "[system]\n").unwrap();
    let tools = place.path().join("tools");
    assert_eq!(batch_script(&folder, &tools, "0").wait().unwrap().code(), Some(2));
    assert!(!tools.join("asked").exists());
}

#[test]
fn campaigns_are_refused_with_a_sentence() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path());
    let folder = place.path().join("campaign");
    let refused = |arguments: &[&str], sentence: &str| {
        let (code, said) = outcome(godiff(&[&["campaign"], arguments].concat()));
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(sentence), "{arguments:?}: {said}");
    };
    let refused_plan = |starter: &str, arguments: &[&str], sentence: &str| {
        let fixed = [text(&config), "--out", text(&folder), "--for", starter];
        refused(&[&fixed[..], arguments].concat(), sentence);
        assert!(!folder.exists());
    };
    refused_plan("hyperqueue", &["--time", "1:00"], "--time means nothing to HyperQueue's jobs");
    refused_plan("hyperqueue", &["--at-once", "2"], "--at-once means nothing to HyperQueue's jobs");
    refused_plan("local", &["--partition", "gpu"], "--partition is for Slurm; leave it out with --for local");
    refused_plan("local", &["--gpus", "0.5"], "--gpus is for schedulers; local runs take --device cuda:0,1");
    refused_plan("slurm", &["--gpus", "2"], "a run takes a share of one GPU, above 0 and at most 1");
    refused_plan(
        "slurm",
        &["--gpus", "1", "--device", "cpu"],
        "--gpus asks for a GPU and --device cpu does not use it",
    );
    refused_plan("slurm", &["--device", "abacus"], "unknown device 'abacus'");
    refused_plan("slurm", &["--device", "cuda:0,1"], "one device is expected here");
    refused_plan("slurm", &["--seeds", "3-1"], "--seeds 3-1: a range begins with its lower end; write 1-3");
    refused_plan("slurm", &["--seeds", "0", "--runs", "2"], "cannot be used with");
    refused(&["--out", text(&folder), "--for", "slurm"], "a campaign needs at least one configuration");
    refused(&["missing.toml", "--out", text(&folder), "--for", "slurm"], "cannot read the configuration missing.toml");
    refused(&[text(&config), "--out", text(place.path()), "--for", "slurm"], "holds other files already");
    refused(&["run", text(&folder)], "holds no campaign (no campaign.json)");
    refused(&[], "--out");

    plan(&config, &folder, &["--for", "slurm"]);
    refused(&["run", text(&folder), "--task", "6"], "has no task 6; its tasks are 0 to 5");
    refused(&["run", text(&folder), "--run", "long/seed-9"], "has no run long/seed-9");
    let fixed = [text(&config), "--out", text(&folder), "--for", "slurm", "--to-the-end"];
    refused(&[&fixed[..], &["--option", "--comment=a\nb"]].concat(), "has more than one line");

    // The same name for something else; a run that cannot be done does not stop the others.
    let shorter = fs::read_to_string(&config).unwrap().replace("iterations = 8", "iterations = 1");
    let shorter = shorter.replace("evaluations = 20000", "evaluations = 50");
    fs::write(&config, shorter).unwrap();
    refused(&fixed, "runs of another configuration under the name long");
    let other = place.path().join("other");
    plan(&config, &other, &["--for", "slurm"]);
    fs::create_dir_all(other.join("long/seed-0")).unwrap();
    fs::write(other.join("long/seed-0/model.safetensors"), "").unwrap();
    refused(&["run", text(&other), "--device", "cpu"], "1 of 6 tasks failed, the first: ");
    let status = succeed(godiff(&["campaign", "status", text(&other)]));
    assert!(status.starts_with("6 runs: 5 finished, 0 running, 0 stopped, 0 failed, 1 waiting"), "{status}");
}

/// Runs spread over two devices end as on one.
#[cfg(feature = "emulator")]
#[test]
fn several_devices_share_the_runs() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path());
    let mut tiny = fs::read_to_string(&config).unwrap();
    for (from, to) in [
        ("iterations = 8", "iterations = 1"),
        ("samples_per_iteration = 32", "samples_per_iteration = 4"),
        ("steps = 80", "steps = 4"),
        ("buffer = 8", "buffer = 4"),
        ("steps_per_iteration = 1000", "steps_per_iteration = 2"),
    ] {
        assert!(tiny.contains(from), "{from}");
        tiny = tiny.replace(from, to);
    }
    fs::write(&config, tiny).unwrap();
    let devices = |folder: &Path, device: &str| -> Vec<String> {
        let arguments = ["benchmark", text(&config), "--runs", "4", "--device", device, "--out", text(folder)];
        succeed(godiff(&arguments));
        (0..4).map(|seed| results(&folder.join(format!("long/seed-{seed}"))).1.device).collect()
    };
    let (one, two) = (place.path().join("one"), place.path().join("two"));
    let on_two = devices(&two, "emulator:0,1");
    assert!(on_two.contains(&"emulator:0 f32".into()) && on_two.contains(&"emulator:1 f32".into()), "{on_two:?}");
    assert_eq!(devices(&one, "emulator"), ["emulator f32"; 4]);
    for seed in 0..4 {
        let [rows, alone] = [&two, &one].map(|folder| results(&folder.join(format!("long/seed-{seed}"))).0);
        assert!(rows == alone, "seed {seed}");
    }
}

/// A calculator of one's own and a relative interpreter, from another folder: planning says what stays, and `PYTHONPATH` mends it.
#[test]
fn own_calculators_run_elsewhere() {
    use std::os::unix::fs::PermissionsExt;
    let Ok(python) = std::env::var("GODIFF_PYTHON") else {
        eprintln!("skipped: set GODIFF_PYTHON to a Python with ase and numpy");
        return;
    };
    let folder = TempDir::new().unwrap();
    let place = folder.path();
    fs::create_dir(place.join("bin")).unwrap();
    let wrapper = place.join("bin/python");
    fs::write(&wrapper, format!("#!/bin/sh\nexec {python:?} \"$@\"\n")).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(place.join("mine.py"), "from ase.calculators.emt import EMT\n\n\nclass Mine(EMT):\n    pass\n").unwrap();
    let potential = "kind = 'ase'\ncalculator = 'mine:Mine'\npython = 'bin/python'\n";
    let config = format!(
        "[system]\nfree = 'Pt3'\n[potential]\n{potential}[random_search]\nevaluations = 20\nside_by_side = 2\n"
    );
    fs::write(place.join("own.toml"), config).unwrap();
    let mut plan = Command::new(env!("CARGO_BIN_EXE_godiff"));
    plan.current_dir(place).args(["campaign", "own.toml:rss", "--runs", "1", "--out", "camp", "--for", "slurm"]);
    let (code, said) = outcome(plan);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("own-rss: the module mine of the calculator lies in "), "{said}");
    assert!(said.contains("start the tasks in that folder, or put it into PYTHONPATH where they run"), "{said}");
    let run = |path: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_godiff"));
        command.current_dir("/").args(["campaign", "run", text(&place.join("camp")), "--task", "0"]);
        path.map(|path| command.env("PYTHONPATH", path));
        outcome(command)
    };
    let (code, said) = run(None);
    assert!(code == Some(3) && said.contains("No module named 'mine'"), "{code:?} {said}");
    let (code, said) = run(Some(place));
    assert_eq!(code, Some(0), "{said}");
}
