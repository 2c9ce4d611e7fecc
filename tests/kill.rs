//! Real kills: whatever moment a run dies at, nothing that it acknowledged is lost, and resumed it ends bit for bit like one that
//! was left alone.
//!
//! A long campaign: `GODIFF_KILLS=1000 cargo test --release --test kill searches -- --nocapture`.
#![cfg(unix)]

#[path = "common/damage.rs"]
mod damage;
#[path = "common/kills.rs"]
mod kills;

use damage::copy_folder;

use kills::{Remains, Run, Shares, being_written, kill_when, n_kills, results, smoke, summary};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Kills a run suffers at most before it is left to end.
const MAX_KILLS: usize = 12;
/// Within this time a process starts up: it reads its configuration, opens the folder, makes the archive.
const START_UP: Duration = Duration::from_millis(60);

/// The smoke search with more `sections`, made long enough to be killed in the middle.
fn configuration(place: &Path, sections: &str) -> PathBuf {
    let longer = [
        ("iterations = 3", "iterations = 5"),
        ("samples_per_iteration = 12", "samples_per_iteration = 16"),
        ("steps_per_iteration = 60", "steps_per_iteration = 120"),
    ];
    smoke(place, &longer, sections)
}

/// Kills runs of `command` until `n_kills` have been killed; how many of the kills came while a file was being written.
fn campaign(name: &str, run: Run, n_kills: usize) -> usize {
    campaign_after(None, name, run, n_kills)
}

/// The same, where every run goes on with a copy of the run in the folder `before`.
fn campaign_after(before: Option<&Path>, name: &str, run: Run, n_kills: usize) -> usize {
    let place = TempDir::new().unwrap();
    let alone = place.path().join("alone");
    let prepare = |folder: &Path| before.iter().for_each(|before| copy_folder(before, folder));
    prepare(&alone);
    let started = Instant::now();
    run.finish(&alone);
    let whole = started.elapsed();
    let expected = results(&alone);

    let mut shares = Shares::new(1);
    let (mut killed, mut n_runs) = (0, 0);
    let mut written: BTreeMap<String, usize> = BTreeMap::new();
    while killed < n_kills {
        n_runs += 1;
        let folder = place.path().join(format!("run-{n_runs}"));
        prepare(&folder);
        let mut remains = Remains::default();
        for kill in 0..MAX_KILLS.min(n_kills - killed) {
            // Of four kills one comes at any moment, one during the start, two at the first write after some moment.
            let patience = if kill % 4 == 2 { START_UP } else { whole.mul_f64(0.6) };
            let moment = Instant::now() + patience.mul_f64(shares.next());
            let due = || Instant::now() > moment && (kill % 2 == 0 || !being_written(&folder).is_empty());
            let mut process = run.start(&folder);
            if let Some(status) = kill_when(&mut process.child, due) {
                assert!(status.success(), "run {n_runs}, after {kill} kills: {status}");
                break;
            }
            killed += 1;
            for file in being_written(&folder) {
                *written.entry(kind(&file)).or_default() += 1;
            }
            remains.check(&folder, &process.acknowledged());
        }
        run.finish(&folder);
        assert!(results(&folder) == expected, "run {n_runs} ended otherwise than one left alone");
        assert!(being_written(&folder).is_empty(), "{:?} are left", being_written(&folder));
        fs::remove_dir_all(&folder).unwrap();
    }
    eprintln!("{name}: {killed} kills of {n_runs} runs of {:.2} s; half written were {written:?}", whole.as_secs_f64());
    written.values().sum()
}

/// The name of a file that is being written without numbers: ".iteration-00002.bin.77.unfinished" is "iteration.bin".
fn kind(file: &str) -> String {
    let name = file.trim_start_matches('.').trim_end_matches(".unfinished");
    let parts = name.split('.').filter(|part| part.parse::<u32>().is_err());
    let parts = parts.map(|part| part.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-'));
    parts.collect::<Vec<_>>().join(".")
}

#[test]
fn killed_searches_end_like_one_left_alone() {
    let place = TempDir::new().unwrap();
    // Guidance has more state to lose: a force head, every sample's corrector, a set of forces.
    let guided = "[guidance]\n[proposals]\nrelax_steps = 2\n";
    let adaptive = "[adaptive]\nfirst_kt_in_deviations = 1.0\ncooling = [0.9, 0.5]\neffective_samples = 20.0\nmost_samples = 32\n\
                    buffer = [8, 24]\n[stopping]\nfree_steps = 20\npatience = 10\n";
    let mut n_writing = 0;
    for sections in [guided.to_owned(), format!("{guided}{adaptive}")] {
        let config = configuration(place.path(), &sections);
        n_writing += campaign("search", Run { command: &["search"], config: &config }, n_kills(20).div_ceil(2));
    }
    assert!(n_writing >= 2, "{n_writing} kills came while a file was written: too few to prove anything");
}

/// Runs that were finished and are extended, in the middle of which the kills come.
#[test]
fn killed_extended_runs_end_like_one_left_alone() {
    let guided = "[guidance]\n[proposals]\nrelax_steps = 2\n";
    let longer = [("iterations = 3", "iterations = 6"), ("kt_final_ev = 0.1", "kt_final_ev = 0.05")];
    let budget = |evaluations: u32| format!("[random_search]\nevaluations = {evaluations}\n");
    for (method, changes, sections, n) in [
        ("search", &longer[..], [guided.to_owned(), guided.to_owned()], n_kills(8)),
        ("rss", &[], [budget(1300), budget(4300)], n_kills(3)),
    ] {
        let (place, longer) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let before = place.path().join("before");
        Run { command: &[method], config: &smoke(place.path(), &[], &sections[0]) }.finish(&before);
        let run = Run { command: &[method], config: &smoke(longer.path(), changes, &sections[1]) };
        campaign_after(Some(&before), &format!("extended {method}"), run, n);
    }
}

#[test]
fn killed_baselines_end_like_one_left_alone() {
    let place = TempDir::new().unwrap();
    let sections = "\n[random_search]\nevaluations = 4300\n[basin_hopping]\nevaluations = 4300\n[evolution]\nevaluations = 4300\n[annealing]\n\
         evaluations = 4300\n";
    let config = configuration(place.path(), sections);
    for method in ["rss", "basin-hopping", "evolve", "anneal"] {
        campaign(method, Run { command: &[method], config: &config }, n_kills(3));
    }
}

/// The GPU engine, on the emulator: slow, so only when asked for.
#[cfg(feature = "emulator")]
#[test]
#[ignore = "takes minutes"]
fn killed_searches_on_the_emulator_end_like_one_left_alone() {
    let place = TempDir::new().unwrap();
    let small = [("samples_per_iteration = 12", "samples_per_iteration = 8"), ("steps = 40", "steps = 10")];
    let small = [&small[..], &[("steps_per_iteration = 60", "steps_per_iteration = 20"), ("blocks = 2", "blocks = 1")]];
    let config = smoke(place.path(), &small.concat(), "");
    campaign("emulator", Run { command: &["search", "--device", "emulator"], config: &config }, n_kills(6));
}

#[test]
fn interrupted_searches_exit_130_and_go_on() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path(), "");
    let search = Run { command: &["search"], config: &config };
    let (alone, run) = (place.path().join("alone"), place.path().join("run"));
    search.finish(&alone);

    let mut child = search.command(&run).arg("--quiet").stdout(Stdio::null()).spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    // The first checkpoint is there: the second iteration runs.
    while fs::read_dir(run.join("checkpoint")).map_or(0, Iterator::count) == 0 {
        assert!(Instant::now() < patience && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(serde_json::to_value(summary(&run).status).unwrap(), "interrupted");

    search.finish(&run);
    assert!(results(&run) == results(&alone));
}
