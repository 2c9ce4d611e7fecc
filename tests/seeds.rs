//! Several seeds without a known answer: `godiff search --seeds`, and campaigns of configurations without `[target]`.
#![cfg(unix)]

#[path = "common/command.rs"]
mod command;
#[path = "common/kills.rs"]
mod kills;

use command::{godiff, refuses, succeeds};
use godiff::system::read_structures;
use godiff::system::xyz::{Value, read_frames};
use kills::{Shares, kill_when, n_kills, results};
use serde_json::Value as Json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A cluster of seven atoms, which has four minima, and a search so short that its seeds end in different ones.
const CLUSTER: &str = concat!(
    "
[system]
free = 'Ar7'
[potential]
kind = 'lennard-jones'
sigma_angstrom = 2.7
",
    include_str!("common/tiny.toml"),
    "[random_search]
evaluations = 900
",
);

fn cluster(place: &Path) -> PathBuf {
    let path = place.join("ar7.toml");
    fs::write(&path, CLUSTER).unwrap();
    path
}

fn json(path: &Path) -> Json {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The table of `folder` without times.
fn table(folder: &Path) -> Json {
    let mut table = json(&folder.join("seeds.json"));
    for seed in table["seeds"].as_array_mut().unwrap() {
        for key in ["seconds", "outside_seconds"] {
            seed.as_object_mut().unwrap().remove(key);
        }
    }
    table
}

#[test]
fn seeds_are_compared_by_what_they_relax_to() {
    let place = TempDir::new().unwrap();
    cluster(place.path());
    let arguments = ["search", "ar7.toml", "--seeds", "0,2-6", "--relax", "1", "--out", "all", "--quiet"];
    let said = succeeds(place.path(), &arguments);
    let all = place.path().join("all");
    let table = table(&all);
    let seeds = table["seeds"].as_array().unwrap();
    let list = |key: &str| seeds.iter().map(|seed| seed[key].clone()).collect::<Vec<_>>();
    assert_eq!(list("seed"), [0, 2, 3, 4, 5, 6].map(Json::from));

    // By hand: the best structure of each run, relaxed by another command on the same potential.
    let mut lowest = Vec::new();
    for seed in [0, 2, 3, 4, 5, 6] {
        let best = format!("all/seed-{seed}/best.xyz");
        succeeds(place.path(), &["relax", &best, "--potential", "ar7.toml", "-o", "relaxed.xyz"]);
        lowest.push(read_structures(&place.path().join("relaxed.xyz")).unwrap()[0].energy.unwrap());
    }
    let least = lowest.iter().copied().fold(f64::INFINITY, f64::min);
    for (seed, energy) in seeds.iter().zip(&lowest) {
        assert!((seed["lowest_minimum_ev"].as_f64().unwrap() - energy).abs() < 1e-3, "{seed} instead of {energy}");
        // The minima of this cluster differ by more than 0.5 eV.
        assert_eq!(seed["agrees"], Json::from(energy - least < 0.02), "{seed}");
    }
    let n_agree = lowest.iter().filter(|energy| **energy - least < 0.02).count();
    assert!((1..6).contains(&n_agree), "the example should disagree: {lowest:?}");
    let sum = |key: &str| seeds.iter().map(|seed| seed[key].as_u64().unwrap()).sum::<u64>();
    let (runs, relaxations) = (sum("evaluations"), sum("relaxation_evaluations"));
    let conclusion = format!(
        "{n_agree} of 6 seeds agree on the lowest minimum, {least:.4} eV; {runs} evaluations in the runs, {relaxations} in \
         relaxations"
    );
    assert!(said.contains(&conclusion), "{said}\n{conclusion}");
    assert!(runs <= 6 * 8 && relaxations > 6 * 3, "{runs} and {relaxations}");
    assert_eq!((&table["evaluations"], &table["relaxation_evaluations"]), (&runs.into(), &relaxations.into()));

    // The minima of all, lowest first, with the seeds that found each.
    let frames = read_frames(&all.join("minima.xyz")).unwrap();
    let energies: Vec<f64> = frames.iter().map(|frame| frame.structure.energy.unwrap()).collect();
    assert!(energies.is_sorted() && (energies[0] - least).abs() < 1e-3, "{energies:?}");
    let named: Vec<String> =
        seeds.iter().filter(|seed| seed["agrees"] == true).map(|s| s["seed"].to_string()).collect();
    let found = match frames[0].info("seeds").unwrap() {
        Value::Integer(seed) => seed.to_string(),
        Value::Text(list) => list.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(found, named.join(","));
    let page = fs::read_to_string(all.join("report.html")).unwrap();
    assert!(
        page.contains(&conclusion.replace('-', "\u{2212}")) || page.contains(&conclusion),
        "the page has the table"
    );
}

/// Kills at any moment, in runs and in relaxations: nothing is done twice, and the end is the same.
#[test]
fn killed_seeds_end_like_ones_left_alone() {
    let place = TempDir::new().unwrap();
    let config = cluster(place.path());
    let command = |folder: &Path, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_godiff"));
        command.arg("search").arg(&config).args(["--seeds", "0-3", "--threads", "1", "--out"]).arg(folder).args(more);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let alone = place.path().join("alone");
    let started = Instant::now();
    assert!(command(&alone, &["--jobs", "2"]).status().unwrap().success());
    let whole = started.elapsed();
    let mut shares = Shares::new(11);
    let mut n_killed = 0;
    for run in 0..n_kills(3) {
        let folder = place.path().join(format!("run-{run}"));
        for _ in 0..6 {
            let moment = Instant::now() + whole.mul_f64(shares.next());
            let begun =
                fs::read_dir(&folder).into_iter().flatten().flatten().any(|e| e.path().join("config.toml").exists());
            let mut child = command(&folder, if begun { &["--resume"] } else { &[] }).spawn().unwrap();
            n_killed += usize::from(kill_when(&mut child, || Instant::now() > moment).is_none());
            std::thread::sleep(Duration::from_millis(1));
        }
        // With nothing left to do it shows the table.
        let mut done = command(&folder, &["--resume"]);
        assert!(done.status().unwrap().success());
        assert_eq!(table(&folder), table(&alone));
        assert!(fs::read(folder.join("minima.xyz")).unwrap() == fs::read(alone.join("minima.xyz")).unwrap());
        for seed in 0..4 {
            let [run, expected] = [&folder, &alone].map(|folder| results(&folder.join(format!("seed-{seed}"))));
            assert!(run == expected, "seed {seed}");
        }
    }
    assert!(n_killed > 0, "the test must kill");
}

#[test]
fn more_seeds_and_more_iterations_are_added() {
    let place = TempDir::new().unwrap();
    let config = cluster(place.path());
    let search = |more: &[&str]| {
        let fixed = ["search", "ar7.toml", "--out", "all", "--json"];
        let said = succeeds(place.path(), &[&fixed[..], more].concat());
        serde_json::from_str::<Json>(&said).unwrap()
    };
    let first = search(&["--seeds", "0-1"]);
    assert_eq!((&first["n_relaxed"], first["seeds"].as_array().unwrap().len()), (&2.into(), 2));
    let relaxed = place.path().join("all/seed-0/relaxed.xyz");
    let before = (fs::read(&relaxed).unwrap(), fs::metadata(&relaxed).unwrap().modified().unwrap());
    let more = search(&["--seeds", "0-2", "--resume"]);
    assert_eq!(more["seeds"].as_array().unwrap()[..2], first["seeds"].as_array().unwrap()[..]);
    assert_eq!((&more["n_relaxed"], &more["name"]), (&3.into(), &"".into()));
    assert_eq!(before, (fs::read(&relaxed).unwrap(), fs::metadata(&relaxed).unwrap().modified().unwrap()));

    // A time limit means nothing to runs that are done. One that has reached it is finished, until it gets another.
    let limited = search(&["--seeds", "0-3", "--resume", "--hours", "1e-9"]);
    assert_eq!(limited["seeds"].as_array().unwrap()[..3], more["seeds"].as_array().unwrap()[..]);
    let last = &limited["seeds"][3];
    assert_eq!(
        (&last["status"], &last["finished"], &last["evaluations"]),
        (&"time_limit".into(), &true.into(), &0.into())
    );
    assert_eq!(
        search(&["--seeds", "3", "--resume"])["seeds"][0],
        Json::Object({
            let mut alone = last.as_object().unwrap().clone();
            alone.insert("agrees".into(), false.into());
            alone
        })
    );
    let later = search(&["--seeds", "3", "--resume", "--hours", "9"]);
    assert_eq!((&later["seeds"][0]["status"], &later["n_agree"]), (&"done".into(), &1.into()));

    fs::write(&config, CLUSTER.replace("iterations = 2", "iterations = 4")).unwrap();
    let longer = search(&["--seeds", "0-2", "--resume"]);
    for (seed, earlier) in longer["seeds"].as_array().unwrap().iter().zip(more["seeds"].as_array().unwrap()) {
        assert!(seed["evaluations"].as_u64() > earlier["evaluations"].as_u64(), "{seed} after {earlier}");
    }
    let report = fs::read_to_string(place.path().join("all/seed-0/report.html")).unwrap();
    assert!(report.contains("This run was extended on "), "each run was extended");
    fs::write(&config, CLUSTER.replace("buffer = 4", "buffer = 3")).unwrap();
    let sentence = "all/seed-0: this run was started with search.buffer = 4 and now it is 3";
    refuses(place.path(), &["search", "ar7.toml", "--seeds", "0", "--out", "all", "--resume"], 2, sentence);
}

#[test]
fn mistakes_get_a_sentence() {
    let place = TempDir::new().unwrap();
    cluster(place.path());
    let refused = |more: &[&str], sentence: &str| {
        refuses(place.path(), &[&["search", "ar7.toml"], more].concat(), 2, sentence);
    };
    refused(&["--seeds", "3-1"], "--seeds 3-1: a range begins with its lower end; write 1-3");
    refused(&["--seeds", ""], "--seeds : write numbers and ranges, such as 0-9,20");
    refused(&["--seeds", "1,0-2"], "--seeds 1,0-2: 1 is named twice; name it once");
    refused(&["--seeds", "0-1", "--seed", "3"], "--seed names one seed and --seeds several; leave one of them out");
    refused(&["--jobs", "2"], "--jobs is for several runs; name their seeds with --seeds");
    refused(&["--relax", "2"], "--relax is for several runs; name their seeds with --seeds");
    refused(&["--seeds", "0-1", "--out", "none", "--resume"], "none: holds no runs to resume");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing is written");
    succeeds(place.path(), &["search", "ar7.toml", "--seeds", "0", "--quiet"]);
    let folder = "runs/ar7-seeds-001";
    refused(
        &["--seeds", "0", "--out", folder],
        "holds runs already (seed-0); continue them with --resume or name another",
    );
    refused(
        &["--seeds", "0", "--out", "runs/ar7-seeds-001/seed-0"],
        "seed-0: is the folder of one run; --seeds needs a",
    );
    // Without --out the latest folder is meant.
    succeeds(place.path(), &["search", "ar7.toml", "--seeds", "0-1", "--quiet", "--resume"]);
    assert!(place.path().join(folder).join("seed-1/relaxed.json").exists());
    refuses(
        place.path(),
        &["minima", folder, "-o", "m.xyz"],
        2,
        "no such archive, but its folder holds runs; name one or more of them, such as runs/ar7-seeds-001/seed-0",
    );
    let output = godiff(place.path(), &["benchmark", "ar7.toml"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(2) && said.contains("godiff search --seeds compares seeds without one"),
        "{said}"
    );
}

/// A structure that nothing is learned from fails its run; the others are compared, and the exit code says it.
#[test]
fn failed_runs_are_named_at_the_end() {
    let place = TempDir::new().unwrap();
    let config = cluster(place.path());
    fs::write(config, CLUSTER.replace("buffer = 4", "buffer = 4\nenergy_floor_ev = 1e6")).unwrap();
    let output = godiff(place.path(), &["search", "ar7.toml", "--seeds", "0-1", "--out", "all", "--quiet"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("all: 2 of 2 runs failed (seeds 0, 1); --resume tries them again"), "{said}");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("no minimum is known yet; 2 runs are not finished and relaxed; "), "{shown}");
}

#[test]
fn campaigns_need_no_target() {
    let place = TempDir::new().unwrap();
    cluster(place.path());
    let plan = ["campaign", "ar7.toml", "ar7.toml:rss", "--seeds", "0-2", "--out", "all", "--for"];
    succeeds(place.path(), &[&plan[..], &["hyperqueue"]].concat());
    let early = succeeds(place.path(), &["campaign", "status", "all", "--write"]);
    assert!(early.contains("6 waiting") && early.contains("no minimum is known yet; 0 evaluations"), "{early}");
    succeeds(place.path(), &["campaign", "run", "all", "--task", "0", "--device", "cpu"]);
    let status = succeeds(place.path(), &["campaign", "status", "all"]);
    assert!(status.contains("6 runs: 1 finished") && status.contains("1 of 1 seeds agree"), "{status}");
    // A relaxation that is lost is done again, and the run is not.
    let archive = fs::read(place.path().join("all/ar7/seed-0/archive.db")).unwrap();
    fs::remove_file(place.path().join("all/ar7/seed-0/relaxed.json")).unwrap();
    assert!(
        succeeds(place.path(), &["campaign", "status", "all"]).contains("6 runs: 0 finished, 0 running, 1 stopped")
    );
    let local = succeeds(place.path(), &[&plan[..], &["local", "--device", "cpu"]].concat());
    assert!(fs::read(place.path().join("all/ar7/seed-0/archive.db")).unwrap() == archive);
    assert!(local.starts_with("6 runs: 6 finished, 0 running"), "{local}");
    assert!(local.contains("\nar7\n  ") && local.contains("\n\nar7-rss\n  "), "{local}");
    assert_eq!(local.matches(" of 3 seeds agree on the lowest minimum, ").count(), 2, "{local}");
    assert!(!local.contains("success"), "no target, no success: {local}");
    for name in ["ar7", "ar7-rss"] {
        assert_eq!(json(&place.path().join("all").join(name).join("seeds.json"))["n_relaxed"], 3);
        assert!(place.path().join("all").join(name).join("minima.xyz").exists());
    }
    let status: Json = serde_json::from_str(&succeeds(place.path(), &["campaign", "status", "all", "--json"])).unwrap();
    assert_eq!((&status["table"], &status["seeds"][1]["name"]), (&Json::Array(vec![]), &"ar7-rss".into()));
}
