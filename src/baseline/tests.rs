//! Runs of the methods on a system of three atoms: their questions, counts, records and repetitions.

use super::*;
use crate::Error;
use crate::archive::{Archive, Entry};
use crate::benchmark::{Course, Method};
use crate::potential::{Answer, Emt, Evaluation};
use crate::run::{IterationMetrics, RunDirectory, read_metrics};
use crate::system::same_bond_graph;
use crate::system::vector::norm;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// The target is a triangle of three atoms on a slab of one layer.
const CONFIG: &str = "
[system]
template = 'slab.xyz'
free = 'CuAu2'
confinement = { above_template_angstrom = [0.5, 5.0] }
[potential]
kind = 'emt'
[search]
seed = 5
[relaxation]
max_steps = 40
[random_search]
evaluations = 1130
side_by_side = 3
[basin_hopping]
evaluations = 1130
walkers = 2
relocate_share = 0.3
restart_after = 5
[evolution]
evaluations = 1130
population = 3
side_by_side = 2
[annealing]
evaluations = 1130
chains = 2
moves_per_cooling = 60
kt_final_ev = 0.02
[target]
structure = 'target.xyz'
match = 'bond-graph'
";

/// `CONFIG` with `replaced` texts, resolved for `method`.
fn settings(method: Baseline, replaced: &[(&str, &str)]) -> Settings {
    let folder = TempDir::new().unwrap();
    let mut text = CONFIG.to_owned();
    for (from, to) in replaced {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
    let lattice = "Lattice=\"8.0 0.0 0.0 0.0 8.0 0.0 0.0 0.0 20.0\" Properties=species:S:1:pos:R:3 pbc=\"T T F\"";
    let mut slab = String::new();
    for (x, y) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)] {
        slab += &format!("Cu {:.4} {:.4} 5.0\n", f64::from(x) * 8.0 / 3.0, f64::from(y) * 8.0 / 3.0);
    }
    std::fs::write(folder.path().join("slab.xyz"), format!("9\n{lattice}\n{slab}")).unwrap();
    let triangle = "Cu 1.0 1.0 7.0\nAu 3.4 1.0 7.0\nAu 2.2 3.1 7.0\n";
    std::fs::write(folder.path().join("target.xyz"), format!("12\n{lattice}\n{slab}{triangle}")).unwrap();
    let mut settings = Settings::load(&folder.path().join("config.toml")).unwrap();
    method.resolve(&mut settings.sections).unwrap();
    settings
}

/// EMT that counts its calls, and after a number of calls presses Ctrl-C.
struct Counting {
    emt: Emt,
    n_calls: Arc<AtomicUsize>,
    interrupt: Option<(usize, &'static AtomicBool)>,
}

impl Potential for Counting {
    fn name(&self) -> String {
        "emt".into()
    }

    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()> {
        // One answer at a time, the last first, as external evaluators may.
        for (k, structure) in structures.iter().enumerate().rev() {
            let n_calls = self.n_calls.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some((after, flag)) = self.interrupt
                && n_calls >= after
            {
                flag.store(true, Ordering::Relaxed);
            }
            let Evaluation { energy, forces } = self.emt.energy_and_forces(structure)?;
            deliver(vec![(k, Answer::Done(Evaluation { energy, forces }))])?;
        }
        Ok(())
    }
}

/// Runs or resumes in `folder`; gives the outcome and the number of calls.
fn run(
    method: Baseline,
    settings: &Settings,
    folder: &Path,
    interrupt_after: Option<usize>,
    stop_at_target: bool,
) -> (Result<Summary>, usize) {
    let interrupted: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let n_calls = Arc::new(AtomicUsize::new(0));
    let interrupt = interrupt_after.map(|after| (after, interrupted));
    let potential = Counting { emt: Emt::new(false), n_calls: n_calls.clone(), interrupt };
    let run = if RunDirectory::exists(folder) {
        RunDirectory::extend(folder, settings).unwrap()
    } else {
        let directory = RunDirectory::create(folder, &settings.to_toml(), &Summary::new(5, "cpu")).unwrap();
        Resumed { directory, seed: 5, checkpoint: None, notes: vec![] }
    };
    let reporter = Reporter::quiet();
    let opened = BaselineRun::new(method, settings, Box::new(potential), run, &reporter, stop_at_target, interrupted);
    let outcome = opened.and_then(|mut run| run.run(&|_, _| Ok(())));
    (outcome, n_calls.load(Ordering::Relaxed))
}

/// Everything in the archive of `folder`, iteration by iteration.
fn entries(settings: &Settings, folder: &Path) -> Vec<Entry> {
    let archive = Archive::open(&RunDirectory::archive_of(folder), &settings.system).unwrap();
    (0..3).flat_map(|iteration| archive.entries(iteration).unwrap()).collect()
}

fn metrics(folder: &Path) -> Vec<IterationMetrics> {
    let mut lines = read_metrics(&folder.join("metrics.jsonl")).unwrap();
    lines.iter_mut().for_each(|line| line.seconds = Default::default());
    lines
}

#[test]
fn every_evaluation_counts_and_is_recorded() {
    for method in Baseline::ALL {
        let (settings, place) = (settings(method, &[]), TempDir::new().unwrap());
        let folder = place.path().join("run");
        let (summary, n_calls) = run(method, &settings, &folder, None, false);
        let summary = summary.unwrap();
        let entries = entries(&settings, &folder);
        assert_eq!((summary.evaluations, n_calls, entries.len()), (1130, 1130, 1130), "{method:?}");
        let keys: Vec<(u32, u32)> = entries.iter().map(|entry| (entry.iteration, entry.index)).collect();
        assert_eq!(keys, (0..1130).map(|e| (e / 1000, e % 1000)).collect::<Vec<_>>());

        // By hand: the first entry whose free atoms are bonded like the target's.
        let sought = &settings.target.as_ref().unwrap().structure.positions[9..];
        let (cell, numbers) = (&settings.system.cell, &settings.system.free_numbers[..]);
        let hit = |entry: &Entry| same_bond_graph(cell, numbers, &entry.free_positions, numbers, sought);
        let first = entries.iter().position(hit).map(|place| place as u64 + 1);
        assert!(first.is_some(), "{method:?} must find three atoms in a triangle");
        assert_eq!(summary.target_first_evaluation, first, "{method:?}");

        let lowest = entries.iter().filter_map(|entry| entry.energy).fold(f64::INFINITY, f64::min);
        assert_eq!(summary.best_energy_ev, Some(lowest));
        let lines = metrics(&folder);
        assert_eq!(lines.iter().map(|line| line.samples).collect::<Vec<_>>(), [1000, 130]);
        assert_eq!(lines[1].best_energy_ev, Some(lowest));
    }
}

#[test]
fn relaxations_end_in_minima() {
    let method = Baseline::RandomSearch;
    let settings = settings(method, &[("max_steps = 40", "max_steps = 400")]);
    let place = TempDir::new().unwrap();
    let folder = place.path().join("run");
    run(method, &settings, &folder, None, false).0.unwrap();
    let largest = |entry: &Entry| entry.forces.as_ref().unwrap()[9..].iter().map(|&f| norm(f)).fold(0.0, f64::max);
    let n_minima = entries(&settings, &folder).iter().filter(|entry| largest(entry) < 0.05).count();
    // 1130 evaluations at 20 to 110 a relaxation.
    assert!((10..60).contains(&n_minima), "{n_minima}");
}

#[test]
fn interrupted_runs_ask_for_nothing_twice_and_end_alike() {
    for method in Baseline::ALL {
        let (settings, place) = (settings(method, &[]), TempDir::new().unwrap());
        let (alone, folder) = (place.path().join("alone"), place.path().join("run"));
        let expected = run(method, &settings, &alone, None, false).0.unwrap();
        let mut n_calls = 0;
        for after in [1, 2, 350, 651, 99] {
            let (outcome, calls) = run(method, &settings, &folder, Some(after), false);
            assert!(matches!(outcome, Err(Error::Interrupted)), "{method:?} {after}: {outcome:?}");
            n_calls += calls;
        }
        let (outcome, calls) = run(method, &settings, &folder, None, false);
        assert_eq!(n_calls + calls, 1130, "{method:?}");
        let summary = outcome.unwrap();
        assert_eq!(summary.untimed(), expected.untimed(), "{method:?}");
        assert!(entries(&settings, &folder) == entries(&settings, &alone), "{method:?}");
        assert_eq!(metrics(&folder), metrics(&alone));
        let best = |folder: &Path| std::fs::read(folder.join("best.xyz")).unwrap();
        assert_eq!(best(&folder), best(&alone));
    }
}

#[test]
fn an_archive_of_minima_is_that_of_all_thinned_out() {
    for method in Baseline::ALL {
        let place = TempDir::new().unwrap();
        let folder = |name: &str| place.path().join(name);
        let all = settings(method, &[]);
        let expected = run(method, &all, &folder("all"), None, false).0.unwrap().untimed();
        let thin = settings(method, &[("max_steps = 40", "max_steps = 40\nrecord = 'minima'")]);
        let (summary, n_calls) = run(method, &thin, &folder("thin"), None, false);
        let summary = summary.unwrap();
        assert_eq!(n_calls, 1130);
        assert_eq!(summary.untimed(), expected, "{method:?}");
        assert_eq!(metrics(&folder("thin")), metrics(&folder("all")));
        assert_eq!(std::fs::read(folder("thin/best.xyz")).unwrap(), std::fs::read(folder("all/best.xyz")).unwrap());

        let (every, few) = (entries(&all, &folder("all")), entries(&thin, &folder("thin")));
        assert!(few.len() < 500, "{method:?}: {} of 1130 evaluations", few.len());
        let place_of = |entry: &Entry| (entry.iteration * 1000 + entry.index) as usize;
        assert!(few.iter().all(|entry| every[place_of(entry)] == *entry));
        let largest = |entry: &Entry| entry.forces.as_ref().unwrap()[9..].iter().map(|&f| norm(f)).fold(0.0, f64::max);
        // The last round is over before its results are looked at.
        let minima = every.iter().take(1120).filter(|entry| largest(entry) < 0.05);
        assert!(minima.clone().count() > 3, "{method:?}");
        assert!(minima.clone().all(|entry| few.contains(entry)), "{method:?}");
        assert!(few.iter().any(|entry| place_of(entry) as u64 + 1 == expected.target_first_evaluation.unwrap()));
        let course = |name: &str| Course::read(&folder(name), Method::Baseline(method)).unwrap();
        assert_eq!(course("thin"), course("all"), "every energy lower than all before is kept");

        for after in [300, 900] {
            let (outcome, _) = run(method, &thin, &folder("cut"), Some(after), false);
            assert!(matches!(outcome, Err(Error::Interrupted)), "{method:?} {after}: {outcome:?}");
        }
        // An archive that was lost is made again.
        std::fs::remove_file(folder("cut/archive.db")).unwrap();
        let summary = run(method, &thin, &folder("cut"), None, false).0.unwrap();
        assert_eq!(summary.untimed(), expected, "{method:?}");
        assert!(entries(&thin, &folder("cut")) == few, "{method:?}");
    }
}

#[test]
fn a_run_that_stopped_at_its_target_can_go_on() {
    let method = Baseline::BasinHopping;
    let (settings, place) = (settings(method, &[]), TempDir::new().unwrap());
    let (alone, folder) = (place.path().join("alone"), place.path().join("run"));
    let expected = run(method, &settings, &alone, None, false).0.unwrap();
    let (stopped, calls) = run(method, &settings, &folder, None, true);
    let stopped = stopped.unwrap();
    assert_eq!(stopped.target_first_evaluation, expected.target_first_evaluation);
    // Both walkers are asked about at once.
    assert!(stopped.evaluations - stopped.target_first_evaluation.unwrap() < 2);
    let (whole, more) = run(method, &settings, &folder, None, false);
    assert_eq!((calls + more, whole.unwrap().evaluations), (1130, 1130));
    assert!(entries(&settings, &folder) == entries(&settings, &alone));
}

/// More evaluations continue where the run ended, in the middle of its relaxations.
#[test]
fn a_finished_run_is_extended() {
    for method in Baseline::ALL {
        let (short, place) =
            (settings(method, &[("evaluations = 1130", "evaluations = 777")]), TempDir::new().unwrap());
        let long = settings(method, &[]);
        let (alone, folder) = (place.path().join("alone"), place.path().join("run"));
        let expected = run(method, &long, &alone, None, false).0.unwrap();
        let (first, calls) = run(method, &short, &folder, None, false);
        assert_eq!((first.unwrap().evaluations, calls), (777, 777), "{method:?}");
        let (outcome, more) = run(method, &long, &folder, Some(100), false);
        assert!(matches!(outcome, Err(Error::Interrupted)), "{method:?}: {outcome:?}");
        let (outcome, most) = run(method, &long, &folder, None, false);
        let extended = outcome.unwrap();
        assert_eq!((extended.evaluations, calls + more + most), (1130, 1130), "{method:?}");
        assert_eq!(Summary { segments: 1, ..extended.untimed() }, expected.untimed(), "{method:?}");
        assert!(entries(&long, &folder) == entries(&long, &alone), "{method:?}");
        assert_eq!(metrics(&folder), metrics(&alone));
        let error = RunDirectory::extend(&folder, &short).unwrap_err();
        let sentence = "this run has made 1130 evaluations and";
        assert!(error.exit_code() == 2 && error.to_string().contains(sentence), "{error}");
    }
}

/// Each session ends at the first evaluation that is missing when its time is up, and its summary counts all before it.
#[test]
fn a_time_limit_loses_no_evaluation() {
    let method = Baseline::BasinHopping;
    let (mut limited, place) = (settings(method, &[]), TempDir::new().unwrap());
    let (alone, folder) = (place.path().join("alone"), place.path().join("run"));
    let expected = run(method, &limited, &alone, None, false).0.unwrap();
    let (mut n_limited, mut n_calls, mut before) = (0, 0, Summary::new(5, "cpu"));
    let whole = loop {
        limited.sections.search.hours = Some((before.seconds + 0.002 * f64::from(n_limited + 1)) / 3600.0);
        let (outcome, calls) = run(method, &limited, &folder, None, false);
        let summary = outcome.unwrap();
        n_calls += calls as u64;
        assert_eq!(summary.evaluations, n_calls, "after {n_limited} limits");
        if summary.status == RunStatus::Done {
            break summary;
        }
        assert_eq!(summary.status, RunStatus::TimeLimit);
        (n_limited, before) = (n_limited + 1, summary);
    };
    assert!(n_limited > 0, "1130 evaluations take longer than the first limit");
    assert_eq!(Summary { segments: 1, ..whole.untimed() }, expected.untimed());
    assert!(entries(&limited, &folder) == entries(&limited, &alone));
    assert_eq!(metrics(&folder), metrics(&alone));
}

#[test]
fn the_archive_of_another_run_is_refused() {
    let method = Baseline::RandomSearch;
    let place = TempDir::new().unwrap();
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    let seven = settings(method, &[("seed = 5", "seed = 7")]);
    assert!(matches!(run(method, &seven, &other, Some(50), false).0, Err(Error::Interrupted)));
    let five = settings(method, &[]);
    assert!(matches!(run(method, &five, &one, Some(50), false).0, Err(Error::Interrupted)));
    std::fs::copy(RunDirectory::archive_of(&other), RunDirectory::archive_of(&one)).unwrap();
    let error = run(method, &five, &one, None, false).0.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("archive.db: holds other structures than this run makes up"), "{error}");
}

/// A floor above every energy leaves nothing to hop from, and the run ends all the same.
#[test]
fn minima_outside_the_bounds_do_not_count() {
    for method in Baseline::ALL {
        let settings = settings(method, &[("seed = 5", "seed = 5\nenergy_floor_ev = 1e6")]);
        let place = TempDir::new().unwrap();
        let summary = run(method, &settings, &place.path().join("run"), None, false).0.unwrap();
        assert_eq!((summary.evaluations, summary.best_energy_ev), (1130, None));
    }
}
