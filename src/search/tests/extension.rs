//! Runs that are extended, and runs with a time limit.

use super::*;
use crate::run::{IterationMetrics, RunDirectory};

/// The search of [`Bench`], extended to six iterations from `started`, which changes it before it starts.
fn extended(steps: usize, started: impl Fn(&mut Bench)) -> Bench {
    let mut bench = Bench::new();
    started(&mut bench);
    match bench.run(steps) {
        Ok(_) | Err(Error::Interrupted) => {}
        Err(error) => panic!("{error}"),
    }
    let search = &mut bench.settings.sections.search;
    (search.iterations, search.samples_per_iteration, search.kt_final_ev) = (6, 4, 0.001);
    bench
}

fn course(bench: &Bench) -> Vec<IterationMetrics> {
    read_metrics(&bench.folder().join("metrics.jsonl")).unwrap()
}

#[test]
fn new_rounds_follow_on_those_that_are_done() {
    let alone = Bench::new();
    alone.run(NEVER).unwrap();
    let bench = extended(NEVER, |_| {});
    let summary = bench.run(NEVER).unwrap();
    assert_eq!((summary.status, summary.segments, summary.samples), (RunStatus::Done, 2, 3 * 5 + 3 * 4));
    let (before, after) = (course(&alone), course(&bench));
    let untimed = |line: &IterationMetrics| IterationMetrics { seconds: PhaseSeconds::default(), ..line.clone() };
    assert_eq!(
        before.iter().map(untimed).collect::<Vec<_>>(),
        after[..3].iter().map(untimed).collect::<Vec<_>>(),
        "rounds that are done stay"
    );
    assert_eq!(alone.results().0[..], bench.results().0[..15]);
    let ratio = (0.001f64 / 0.02).powf(1.0 / 3.0);
    for (line, expected) in after[3..].iter().zip([0.02 * ratio, 0.02 * ratio * ratio, 0.001]) {
        assert!((line.kt_ev / expected - 1.0).abs() < 1e-12, "{} instead of {expected}", line.kt_ev);
        assert_eq!(line.samples, 4);
    }
    assert_eq!(after[5].kt_ev, 0.001);

    // The folder has the new configuration, and knows what was asked for.
    let segments = RunDirectory::segments_of(&bench.folder()).unwrap();
    let [start, second] = &segments[..] else { panic!("{segments:?}") };
    assert_eq!((start.first_iteration, start.reached_kt_ev, start.describe()), (0, None, None));
    assert_eq!((second.first_iteration, second.reached_kt_ev), (3, Some(0.02)));
    let said = second.describe().unwrap();
    for part in ["after 3 iterations (", "search.iterations is 6, before 3", "kt_final_ev is 0.001, before 0.02"] {
        assert!(said.contains(part), "{said}");
    }
    let config = std::fs::read_to_string(RunDirectory::config_of(&bench.folder())).unwrap();
    assert_eq!(config, bench.settings.to_toml());
}

/// The round that has begun ends as it was planned.
#[test]
fn an_interrupted_search_is_extended_after_the_round_that_has_begun() {
    // The second round samples in 3 steps and its first structure is evaluated before the fuse has burnt.
    let n_first = (1..60).find(|&steps| {
        let bench = extended(steps, |_| {});
        let archive = Archive::open(&bench.folder().join("archive.db"), &bench.settings.system).unwrap();
        let n = archive.entries(1).unwrap().len();
        (1..5).contains(&n)
    });
    let bench = extended(n_first.expect("some interruption comes within the second round"), |_| {});
    let planned = (5.0f64 * 0.02).sqrt();
    bench.run(NEVER).unwrap();
    let lines = course(&bench);
    assert_eq!(lines.iter().map(|line| line.samples).collect::<Vec<_>>(), [5, 5, 4, 4, 4, 4]);
    assert!((lines[1].kt_ev / planned - 1.0).abs() < 1e-12, "{}", lines[1].kt_ev);
    let ratio = (0.001 / planned).powf(0.25);
    assert!((lines[2].kt_ev / (planned * ratio) - 1.0).abs() < 1e-12, "{}", lines[2].kt_ev);
    assert_eq!(lines[5].kt_ev, 0.001);
}

/// Ctrl-C after every possible step of an extended run.
#[test]
fn an_interrupted_extended_search_ends_like_one_left_alone() {
    for first in [NEVER, 20] {
        let alone = extended(first, |_| {});
        let summary = alone.run(NEVER).unwrap();
        let mut n_interrupted = 0;
        for steps in (1..40).step_by(4) {
            let bench = extended(first, |_| {});
            for n_runs in 1.. {
                match bench.run(steps + 3 * n_runs) {
                    Err(Error::Interrupted) => n_interrupted += 1,
                    result => {
                        assert_eq!(result.unwrap().untimed(), summary.untimed());
                        break;
                    }
                }
            }
            assert_eq!(bench.results(), alone.results(), "interrupted after {steps}");
            assert_eq!(RunDirectory::segments_of(&bench.folder()).unwrap().len(), 2);
        }
        assert!(n_interrupted > 10, "the test must interrupt: {n_interrupted}");
    }
}

/// A kill between the files of an extension, and a checkpoint that is lost afterwards: old rounds are done again as they were.
#[test]
fn an_extension_survives_a_kill_while_it_is_written_down() {
    let alone = extended(NEVER, |_| {});
    let config = std::fs::read(RunDirectory::config_of(&alone.folder())).unwrap();
    alone.run(NEVER).unwrap();

    let bench = extended(NEVER, |_| {});
    drop(RunDirectory::extend(&bench.folder(), &bench.settings).unwrap());
    assert_eq!(
        RunDirectory::summary_of(&bench.folder()).unwrap().status,
        RunStatus::Running,
        "it is not done any more"
    );
    std::fs::write(RunDirectory::config_of(&bench.folder()), config).unwrap();
    std::fs::write(bench.folder().join("checkpoint/iteration-00003.bin"), "torn").unwrap();
    bench.run(NEVER).unwrap();
    assert_eq!(bench.results(), alone.results());
    assert_eq!(RunDirectory::segments_of(&bench.folder()).unwrap().len(), 2);
    let config = std::fs::read_to_string(RunDirectory::config_of(&bench.folder())).unwrap();
    assert_eq!(config, bench.settings.to_toml());
}

#[test]
fn what_cannot_follow_is_refused_and_changes_nothing() {
    let bench = Bench::new();
    bench.run(NEVER).unwrap();
    let config = RunDirectory::config_of(&bench.folder());
    let before = std::fs::read(&config).unwrap();
    let refused = |change: &dyn Fn(&mut Settings), sentence: &str| {
        let mut settings = bench.settings.clone();
        change(&mut settings);
        let error = RunDirectory::extend(&bench.folder(), &settings).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(sentence), "{error}");
        assert_eq!(std::fs::read(&config).unwrap(), before);
        assert!(!bench.folder().join("segments.json").exists());
    };
    let search = |settings: &mut Settings, iterations: usize, kt_final_ev: f64| {
        (settings.sections.search.iterations, settings.sections.search.kt_final_ev) = (iterations, kt_final_ev);
    };
    refused(&|s| search(s, 2, 0.02), "this run has begun 3 iterations and search.iterations is now 2; give at least 3");
    refused(
        &|s| search(s, 3, 0.01),
        "all 3 iterations of this run have begun, so another search.kt_final_ev changes nothing; raise search.iterations too",
    );
    refused(
        &|s| search(s, 5, 0.1),
        "this run has reached kT = 0.02 eV and search.kt_final_ev is 0.1: the temperature falls; give at most 0.02",
    );
    refused(&|s| s.sections.search.hours = Some(1e-9), "h and search.hours is now 0.000000001; give a larger limit");
    refused(
        &|s| s.sections.search.buffer = 3,
        "this run was started with search.buffer = 4 and now it is 3; a changed",
    );
    refused(&|s| s.sections.search.kt_initial_ev = 4.0, "this run was started with search.kt_initial_ev = 5");
    std::fs::remove_file(bench.folder().join("archive.db")).unwrap();
    let mut longer = bench.settings.clone();
    longer.sections.search.iterations = 4;
    let error = RunDirectory::extend(&bench.folder(), &longer).unwrap_err();
    assert!(error.exit_code() == 4 && error.to_string().contains("archive.db: holds 0 iterations where"), "{error}");
}

/// A run that is done looks for a target that it is given later, among all that it has evaluated.
#[test]
fn a_target_may_come_later() {
    let (mut bench, entries) = bench_with_a_target();
    let target = bench.settings.target.take().unwrap();
    bench.run(NEVER).unwrap();
    let n_calls = bench.calls.lock().unwrap().len();
    let section = crate::config::TargetSection { structure: "target.xyz".into(), matching: target.matching };
    (bench.settings.target, bench.settings.sections.target) = (Some(target), Some(section));
    let best = entries.iter().filter_map(|entry| entry.energy).fold(f64::INFINITY, f64::min);
    let hit = entries.iter().position(|entry| entry.energy == Some(best)).unwrap();
    let n = entries[..=hit].iter().filter(|entry| entry.status != Status::TooClose).count() as u64;
    for _ in 0..2 {
        assert_eq!(bench.run(NEVER).unwrap().target_first_evaluation, Some(n));
    }
    assert_eq!(bench.calls.lock().unwrap().len(), n_calls + 2, "the target's energy only");

    // Another structure under the same keys: one that every structure is as low as.
    bench.settings.target.as_mut().unwrap().structure.positions[1] = [4.4, 0.0, 0.0];
    bench.settings.target.as_mut().unwrap().matching = Matching::EnergyWithin(1e9);
    assert_eq!(bench.run(NEVER).unwrap().target_first_evaluation, Some(1));
    let segments = RunDirectory::segments_of(&bench.folder()).unwrap();
    assert_eq!(segments.len(), 3);
    assert_eq!(segments[2].changes, ["target.structure is another structure"]);
    assert!(bench.run(NEVER).is_ok() && RunDirectory::segments_of(&bench.folder()).unwrap().len() == 3);

    (bench.settings.target, bench.settings.sections.target) = (None, None);
    let error = RunDirectory::extend(&bench.folder(), &bench.settings).unwrap_err().to_string();
    assert!(error.contains("this run was started with target.") && error.contains("now it is not set"), "{error}");
}

/// The clock stops a search in the middle of an iteration; with a later limit it ends like one without any.
#[test]
fn a_time_limit_ends_a_search_cleanly() {
    let alone = Bench::new();
    let expected = alone.run(NEVER).unwrap();
    let mut bench = Bench::new();
    bench.settings.sections.search.hours = Some(1e-12);
    let stopped = bench.run(NEVER).unwrap();
    assert_eq!((stopped.status, stopped.samples), (RunStatus::TimeLimit, 0));
    let again = bench.run(NEVER).unwrap();
    assert_eq!(again.untimed(), stopped.untimed(), "its time is up");
    bench.settings.sections.search.hours = Some(1e6);
    let whole = bench.run(NEVER).unwrap();
    assert_eq!((whole.status, whole.segments), (RunStatus::Done, 2));
    assert_eq!(Summary { segments: 1, ..whole.untimed() }, expected.untimed());
    assert_eq!(bench.results(), alone.results());
}

/// Limits that end within evaluations: no answer is lost, and none is asked for twice.
#[test]
fn a_time_limit_loses_no_answer() {
    let slow = |distance: f64| {
        std::thread::sleep(std::time::Duration::from_millis(3));
        distance
    };
    let alone = Bench { energy: slow, ..Bench::new() };
    let expected = alone.run(NEVER).unwrap();
    let mut bench = Bench { energy: slow, ..Bench::new() };
    let (mut n_limited, mut taken) = (0, 0.0);
    let whole = loop {
        bench.settings.sections.search.hours = Some((taken + 0.005 * f64::from(n_limited + 1)) / 3600.0);
        let summary = bench.run(NEVER).unwrap();
        if summary.status == RunStatus::Done {
            break summary;
        }
        assert_eq!(summary.status, RunStatus::TimeLimit);
        assert!(summary.seconds >= taken);
        (n_limited, taken) = (n_limited + 1, summary.seconds);
    };
    assert!(n_limited > 0, "15 structures take longer than the first limit");
    assert_eq!(Summary { segments: 1, ..whole.untimed() }, expected.untimed());
    assert_eq!(bench.results(), alone.results());
    assert_eq!(bench.calls.lock().unwrap().len() as u64, expected.evaluations);
}
