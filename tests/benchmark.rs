//! `godiff benchmark`, and the baselines as commands: killed in the middle they end like ones left alone.
#![cfg(unix)]

#[path = "common/kills.rs"]
mod kills;
#[path = "common/tables.rs"]
mod tables;

use kills::{Shares, kill_when, n_kills, rows, smoke};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tables::untimed;
use tempfile::TempDir;

/// The smoke search, and the same adatom for the baselines.
fn configuration(place: &Path) -> PathBuf {
    let baselines = "\n[random_search]\nevaluations = 4000\n[basin_hopping]\nevaluations = 4000\n[evolution]\nevaluations = 4000\n[annealing]\n\
         evaluations = 4000\n";
    let path = place.join("smoke.toml");
    fs::rename(smoke(place, &[], baselines), &path).unwrap();
    path
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_godiff"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Kills `child` after `time` unless it has ended; true if it had to.
fn kill_after(mut child: Child, time: Duration) -> bool {
    let started = Instant::now();
    let due = || {
        std::thread::sleep(Duration::from_millis(1));
        started.elapsed() > time
    };
    kill_when(&mut child, due).is_none()
}

/// `results.json` without times.
fn results(folder: &Path) -> serde_json::Value {
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("results.json")).unwrap()).unwrap();
    for entrant in json.as_array_mut().unwrap() {
        for run in entrant["runs"].as_array_mut().unwrap() {
            for key in ["seconds", "outside_seconds"] {
                run.as_object_mut().unwrap().remove(key);
            }
        }
        for key in ["seconds_per_hit", "outside_seconds_per_hit", "quickest"] {
            entrant.as_object_mut().unwrap().remove(key);
        }
    }
    json
}

#[test]
fn killed_benchmarks_end_like_one_left_alone() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path());
    let config = config.to_str().unwrap();
    let entrants = ["search", "rss", "basin-hopping", "evolve"].map(|method| format!("{config}:{method}"));
    let (alone, killed) = (place.path().join("alone"), place.path().join("killed"));
    let arguments = |folder: &Path, threads: &str| -> Vec<String> {
        let fixed = ["benchmark", "--runs", "3", "--to-the-end", "--device", "cpu", "--threads", threads, "--out"];
        let fixed = fixed.map(str::to_owned).into_iter().chain([folder.display().to_string()]);
        fixed.chain(entrants.iter().cloned()).collect()
    };
    let call = |folder: &Path, threads: &str| {
        let arguments = arguments(folder, threads);
        command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };

    let started = Instant::now();
    let output = call(&alone, "2").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let whole = started.elapsed();
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(table.lines().count(), 25, "{table}");
    assert!(
        table.contains("Seconds per hit, and the time of one energy at which a method is the quickest\n"),
        "{table}"
    );
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(table.contains("in pairs of the same seed with smoke\n"), "{table}");
    assert!(table.contains("smoke-basin-hopping") && table.contains("/3"), "{table}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 13, "{said}");
    let written = alone.join("report.html");
    assert_eq!(said.lines().last(), Some(format!("report: {}", written.display()).as_str()));
    assert!(fs::read_to_string(written).unwrap().contains("<h1>12 runs</h1>"));
    let page = place.path().join("page.html");
    assert!(run(&["report", alone.to_str().unwrap(), "--out", page.to_str().unwrap()]).status.success());
    let page = fs::read_to_string(&page).unwrap();
    assert!(page.contains("<p>Evaluations to the target, in pairs of the same seed with smoke</p>"), "{page}");

    let (mut n_killed, mut n_rounds, mut shares) = (0, 0, Shares::new(7));
    while n_killed < n_kills(3) {
        n_rounds += 1;
        let _ = fs::remove_dir_all(&killed);
        for _ in 0..4 {
            let time = whole.mul_f64(0.05 + 0.35 * shares.next());
            n_killed += usize::from(kill_after(call(&killed, "1").spawn().unwrap(), time));
        }
        let output = call(&killed, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(results(&killed), results(&alone));
        for entrant in ["smoke", "smoke-rss", "smoke-basin-hopping", "smoke-evolve"] {
            for seed in 0..3 {
                let archive = |folder: &Path| rows(&folder.join(entrant).join(format!("seed-{seed}/archive.db")));
                assert!(archive(&killed) == archive(&alone), "{entrant} {seed}");
            }
        }
        for file in ["results.md", "energy.svg", "success.svg"] {
            let [killed, alone] = [&killed, &alone].map(|folder| fs::read_to_string(folder.join(file)).unwrap());
            assert!(untimed(&killed) == untimed(&alone), "{file}");
        }
        assert_eq!(kills::being_written(&killed), [""; 0]);
    }
    eprintln!("benchmark: {n_killed} kills of {n_rounds} benchmarks of {:.1} s", whole.as_secs_f64());

    // One that ends where it finds the target (any place counts for a single atom's bonds) goes on later, to the same end.
    let place = TempDir::new().unwrap();
    let early = configuration(place.path());
    let text = fs::read_to_string(&early).unwrap();
    fs::write(&early, text.replace("{ energy_within_ev = 0.05 }", "\"bond-graph\"")).unwrap();
    let folder = place.path().join("early");
    let arguments = ["benchmark", early.to_str().unwrap(), "--runs", "1", "--device", "cpu", "--json", "--out"];
    for (option, status, samples) in
        [(None, "target_found", 12), (None, "target_found", 12), (Some("--to-the-end"), "done", 36)]
    {
        let output = command(&arguments).arg(&folder).args(option).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&json[0]["n_runs"], &json[0]["mean_success_evaluation"]), (&1.into(), &1.0.into()));
        let summary = fs::read(folder.join("smoke/seed-0/summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
        assert_eq!((&summary["status"], &summary["samples"]), (&status.into(), &samples.into()));
    }

    // A finished benchmark only shows its table and its page; more runs are added to it.
    let again = call(&killed, "1").output().unwrap();
    let said = format!("report: {}\n", killed.join("report.html").display());
    let [shown, told] = [again.stdout, again.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!((untimed(&shown), told), (untimed(&table), said));
    let folder = killed.to_str().unwrap();
    let more = run(&["benchmark", &entrants[1], "--runs", "4", "--out", folder, "--device", "cpu", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&more.stdout).unwrap();
    assert_eq!(
        (&json[0]["n_runs"], &json[0]["method"], &json[0]["runs"][3]["seed"]),
        (&4.into(), &"rss".into(), &3.into())
    );
}

#[test]
fn baselines_resume_in_their_folders() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path());
    let config = config.to_str().unwrap();
    for method in ["rss", "basin-hopping", "evolve", "anneal"] {
        let [alone, killed] = ["alone", "killed"].map(|name| place.path().join(format!("{method}-{name}")));
        let fixed = |folder: &Path| -> Vec<String> {
            [method, config, "--threads", "1", "--seed", "4", "--out", folder.to_str().unwrap()]
                .map(str::to_owned)
                .to_vec()
        };
        let call = |folder: &Path| {
            let mut arguments = fixed(folder);
            if folder.join("config.toml").exists() {
                arguments.push("--resume".to_owned());
            }
            command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let started = Instant::now();
        let output = call(&alone).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), alone.display().to_string());
        let whole = started.elapsed();
        for share in [0.3, 0.5] {
            kill_after(call(&killed).spawn().unwrap(), whole.mul_f64(share));
        }
        assert!(call(&killed).output().unwrap().status.success());
        assert!(rows(&killed.join("archive.db")) == rows(&alone.join("archive.db")), "{method}");
        assert!(fs::read(killed.join("best.xyz")).unwrap() == fs::read(alone.join("best.xyz")).unwrap());

        // What one method made another does not go on with.
        let other = if method == "rss" { "evolve" } else { "rss" };
        let refused = run(&[other, config, "--resume", "--out", alone.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("this run was started with") || said.contains("this run was started without"), "{said}");
    }
}

#[test]
fn interrupted_baselines_exit_130() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path());
    let text = fs::read_to_string(&config).unwrap().replace("evaluations = 4000", "evaluations = 100000000");
    fs::write(&config, text).unwrap();
    let folder = place.path().join("run");
    let arguments = ["rss", config.to_str().unwrap(), "--quiet", "--out", folder.to_str().unwrap()];
    let mut child = command(&arguments).spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while !folder.join("best.xyz").exists() {
        assert!(Instant::now() < patience && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let summary: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["status"], "interrupted");
    assert_eq!(summary["evaluations"], rows(&folder.join("archive.db")).len());
}

#[test]
fn benchmarks_are_refused_with_a_sentence() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path());
    let config = config.to_str().unwrap();
    let folder = place.path().join("benchmark");
    let folder = folder.to_str().unwrap();
    let refused = |arguments: &[&str], sentence: &str| {
        let output = run(&[&["benchmark", "--device", "cpu", "--out", folder], arguments].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(sentence), "{arguments:?}: {said}");
    };
    refused(
        &[&format!("{config}:bh")],
        "there is no method 'bh'; write one of search, rss, basin-hopping, evolve, anneal",
    );
    refused(&[config, &format!("{config}:search")], "smoke is named twice");
    refused(&["missing.toml"], "cannot read the configuration missing.toml");
    refused(&["--kernels", config, config], "--kernels takes one configuration");
    refused(&[config, "--seeds", "3-1"], "--seeds 3-1: a range begins with its lower end; write 1-3");
    refused(&[config, "--seeds", "1", "--runs", "2"], "cannot be used with");
    refused(&[config, "--device", "abacus"], "the argument '--device <DEVICE>' cannot be used multiple times");
    let text = fs::read_to_string(config).unwrap();
    let untargeted = place.path().join("untargeted.toml");
    fs::write(&untargeted, text.split("[target]").next().unwrap()).unwrap();
    refused(&[untargeted.to_str().unwrap()], "a benchmark needs a [target]: without one no run can succeed");

    // Runs of another configuration under the same name.
    let short = text.replace("evaluations = 4000", "evaluations = 50");
    fs::write(config, &short).unwrap();
    let rss = format!("{config}:rss");
    assert!(run(&["benchmark", &rss, "--runs", "1", "--out", folder, "--device", "cpu"]).status.success());
    fs::write(config, short.replace("evaluations = 50", "evaluations = 60")).unwrap();
    refused(&[&rss, "--runs", "1", "--to-the-end"], "this run was started with random_search.evaluations = 50");
    assert!(run(&["benchmark", &rss, "--seeds", "7,5", "--out", folder, "--device", "cpu"]).status.success());
    let seeds: Vec<u64> = results(Path::new(folder))[0]["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["seed"].as_u64().unwrap())
        .collect();
    assert_eq!(seeds, [7, 5]);
}
