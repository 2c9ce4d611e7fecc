//! The loop with an engine of a few lines: these tests look at questions, records and repetitions, not at what is learned.

mod adaptive;
mod bench;
mod extension;
mod proposals;
mod seeds;

use super::drawing::missing;
use super::*;
use crate::archive::{Archive, Status};
use crate::config::{KnownBasin, Matching, ScoreBasin, Target};
use crate::engine::Targets;
use crate::run::{Judge, Rejection, Stop, read_metrics};
use bench::*;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

#[test]
fn a_search_ends_with_its_results() {
    let bench = Bench::new();
    let summary = bench.run(NEVER).unwrap();
    let (entries, metrics, ..) = bench.results();
    assert_eq!((entries.len(), metrics.len()), (15, 3));
    assert_eq!(summary.status, RunStatus::Done);
    assert_eq!(summary.samples, 15);
    let n_close = entries.iter().filter(|entry| entry.status == Status::TooClose).count();
    assert!(n_close > 0 && n_close < 15, "the example should reject some: {n_close}");
    assert_eq!(summary.evaluations, 15 - n_close as u64);
    assert_eq!(bench.calls.lock().unwrap().len(), 15 - n_close);
    let best = entries.iter().filter_map(|entry| entry.energy).fold(f64::INFINITY, f64::min);
    assert_eq!(summary.best_energy_ev, Some(best));
    assert_eq!(summary.target_first_evaluation, None);
}

/// Ctrl-C comes after every possible step, and again while resuming: the run ends like an uninterrupted one, and no structure
/// with an answer is evaluated again.
#[test]
fn an_interrupted_search_ends_like_one_left_alone() {
    interrupted_everywhere("");
}

#[test]
fn an_interrupted_guided_search_ends_like_one_left_alone() {
    interrupted_everywhere("[guidance]\n[proposals]\nrelax_steps = 3\n");
}

#[test]
fn an_interrupted_search_with_hops_ends_like_one_left_alone() {
    let hops = "[guidance]\n[proposals]\nrelax_steps = 3\nhop_share = 0.5\n";
    interrupted_everywhere(&format!("{hops}hop_parents = 'buffer'\nhop_moves = 'fixed'\n"));
}

/// Forces so small that every evaluated structure is a known minimum.
#[test]
fn an_interrupted_search_that_leaves_known_minima_ends_like_one_left_alone() {
    let sections = "[guidance]\n[proposals]\nrelax_steps = 3\nhop_share = 0.5\n";
    interrupted_everywhere_in(|| Bench { force: 0.0, ..Bench::with(sections) });
}

/// Parents, and the shares of the kinds of hops, follow from the archive alone.
#[test]
fn an_interrupted_search_with_a_population_ends_like_one_left_alone() {
    let population = "[guidance]\n[proposals]\nrelax_steps = 3\nhop_share = 0.8\n";
    interrupted_everywhere(population);
    interrupted_everywhere(&format!("{population}restart_after = 1\n"));
}

/// The choice needs the candidates of a whole round, of which some samples are recorded already.
#[test]
fn an_interrupted_search_with_screening_ends_like_one_left_alone() {
    interrupted_everywhere_in(screening_bench);
    interrupted_everywhere_in(|| Bench { force: 0.0, ..screening_bench() });
}

#[test]
fn an_interrupted_search_from_placed_atoms_ends_like_one_left_alone() {
    interrupted_everywhere_in(bench_from_placed_atoms);
}

/// Targets follow from the archive and the temperature, fresh parameters from the round, the basin from the buffer.
#[test]
fn an_interrupted_search_with_another_objective_ends_like_one_left_alone() {
    interrupted_everywhere("[objective]\nkind = 'target-score'\n");
    interrupted_everywhere_in(|| {
        let mut bench = Bench::new();
        let sections = &mut bench.settings.sections;
        sections.training.reinitialise_every = Some(2);
        sections.diffusion.score_scale = 1.5;
        sections.diffusion.score_basin_angstrom = Some(ScoreBasin::Known(KnownBasin::Auto));
        bench
    });
}

/// The targets that training gets are F/kT of the buffer at the temperature of the round, and the first buffer gives a basin.
#[test]
fn the_objective_reaches_the_engine() {
    let bench = Bench::with("[objective]\nkind = 'target-score'\nforce_share = 0.5\n");
    bench.run(NEVER).unwrap();
    let heard = bench.heard.lock().unwrap();
    let kts = [5.0, (5.0f64 * 0.02).sqrt(), 0.02];
    for ((iteration, targets), kt_ev) in heard.targets.iter().zip(kts) {
        let Targets::Mixed { scores, mixture } = targets else { panic!("iteration {iteration}: {targets:?}") };
        // The force on every atom is 0.5 eV/Å along each axis.
        let near = |x: &f64| (x - 0.5 / kt_ev).abs() < 1e-9;
        assert!(scores.iter().flatten().flatten().all(near), "{iteration}: {scores:?}");
        assert!((mixture.force_share, mixture.mean_square > 0.0) == (0.5, true));
    }
    assert_eq!(heard.targets.len(), 3);
    let plain = Bench::new();
    plain.run(NEVER).unwrap();
    assert!(plain.heard.lock().unwrap().targets.iter().all(|(_, targets)| *targets == Targets::Noise));
    let named = Bench::with("[objective]\nkind = 'boltzmann'\n");
    named.run(NEVER).unwrap();
    assert_eq!(named.results(), plain.results(), "the default has a name");
}

/// Parameters start afresh where the configuration says so, and never by themselves.
#[test]
fn parameters_start_afresh() {
    let fresh_at = |every: Option<usize>| {
        let mut bench = Bench::new();
        bench.settings.sections.training.reinitialise_every = every;
        bench.run(NEVER).unwrap();
        bench.heard.lock().unwrap().restored.clone()
    };
    let [first, second] = [fresh_at(None), fresh_at(Some(1))];
    assert_eq!((first.len(), second.len()), (1, 3));
    assert!(second[1] != second[0] && second[2] != second[1], "other parameters each time");
}

fn interrupted_everywhere(sections: &str) {
    interrupted_everywhere_in(|| Bench::with(sections));
}

fn interrupted_everywhere_in(bench: impl Fn() -> Bench) {
    let alone = bench();
    let summary = alone.run(NEVER).unwrap();
    let expected = alone.results();
    let mut n_interrupted = 0;
    for steps in (1..40).step_by(3) {
        let bench = bench();
        let mut n_runs = 0;
        let resumed = loop {
            n_runs += 1;
            // Later parts get longer, or they would never finish an iteration.
            match bench.run(steps + 3 * n_runs) {
                Err(Error::Interrupted) => {
                    // The results up to here are on the disk.
                    let archive = Archive::open(&bench.folder().join("archive.db"), &bench.settings.system).unwrap();
                    let found = archive.best().unwrap().is_some();
                    assert_eq!(bench.folder().join("minima.xyz").exists(), found, "interrupted after {steps}");
                }
                result => break result.unwrap(),
            }
        };
        n_interrupted += n_runs - 1;
        assert_eq!(bench.results(), expected, "interrupted after {steps}");
        assert_eq!(resumed.untimed(), summary.untimed());
        let n_calls = bench.calls.lock().unwrap().len() as u64;
        assert_eq!(n_calls, summary.evaluations, "interrupted after {steps}: some structure was evaluated twice");
    }
    assert!(n_interrupted > 10, "the test must interrupt: {n_interrupted}");
}

#[test]
fn a_finished_search_can_be_resumed_and_stays_as_it_is() {
    let bench = Bench::new();
    bench.run(NEVER).unwrap();
    let before = bench.results();
    std::fs::remove_file(bench.folder().join("best.xyz")).unwrap();
    bench.run(NEVER).unwrap();
    assert_eq!(bench.results(), before);
}

/// A search that finds no structure as low as its target in its first iteration, and its records to its end.
fn bench_with_a_target() -> (Bench, Vec<Entry>) {
    let mut bench = Bench::new();
    bench.run(NEVER).unwrap();
    let entries = bench.results().0;
    let lowest = |of: &[Entry]| of.iter().filter_map(|entry| entry.energy).fold(f64::INFINITY, f64::min);
    let (early, late): (Vec<Entry>, Vec<Entry>) = entries.iter().cloned().partition(|entry| entry.iteration < 1);
    assert!(lowest(&late) < lowest(&early), "the example must find it late");
    bench.root = TempDir::new().unwrap();
    bench.settings.target = Some(Target {
        structure: bench.settings.system.structure(&[[0.0; 3], [lowest(&late), 0.0, 0.0]]),
        matching: Matching::EnergyWithin(1e-9),
    });
    (bench, entries)
}

#[test]
fn a_search_can_end_where_it_finds_the_target_and_go_on_later() {
    let (mut bench, entries) = bench_with_a_target();
    bench.stop_at_target = true;
    let stopped = bench.run(NEVER).unwrap();
    assert_eq!(stopped.status, RunStatus::TargetFound);
    let best = entries.iter().filter_map(|entry| entry.energy).fold(f64::INFINITY, f64::min);
    let hit = entries.iter().position(|entry| entry.energy == Some(best)).unwrap();
    let n_evaluations = |of: &[Entry]| of.iter().filter(|entry| entry.status != Status::TooClose).count() as u64;
    assert_eq!(stopped.target_first_evaluation, Some(n_evaluations(&entries[..=hit])));
    // All of the iteration with the hit is evaluated. No training and no other iteration follow.
    let iteration = entries[hit].iteration;
    let until = entries.iter().take_while(|entry| entry.iteration <= iteration).count();
    assert_eq!((stopped.samples, stopped.evaluations), (until as u64, n_evaluations(&entries[..until])));
    assert_eq!(read_metrics(&bench.folder().join("metrics.jsonl")).unwrap().len(), iteration as usize);
    assert_eq!((stopped.best_energy_ev, stopped.best_iteration), (Some(best), Some(iteration)));
    assert!(bench.folder().join("best.xyz").exists());

    let n_calls = bench.calls.lock().unwrap().len();
    let again = bench.run(NEVER).unwrap();
    assert_eq!(again.untimed(), stopped.untimed());
    assert_eq!(bench.calls.lock().unwrap().len(), n_calls + 1, "the target's energy only");

    bench.stop_at_target = false;
    let whole = bench.run(NEVER).unwrap();
    assert_eq!((whole.status, whole.target_first_evaluation), (RunStatus::Done, stopped.target_first_evaluation));
    assert_eq!(bench.results().0, entries);
    bench.stop_at_target = true;
    assert_eq!(bench.run(NEVER).unwrap().status, RunStatus::Done, "it has nothing left to do");
}

#[test]
fn a_search_without_any_usable_structure_fails_with_a_sentence() {
    let mut bench = Bench::new();
    bench.energy = |_| f64::NAN;
    let error = bench.run(NEVER).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let message = error.to_string();
    assert!(message.starts_with("iteration 1 brought no structure to learn from ("), "{message}");
    let n_calls = bench.calls.lock().unwrap().len();
    assert!(message.contains(&format!("{n_calls} without finite energy")), "{message}");
    let text = std::fs::read_to_string(bench.folder().join("summary.json")).unwrap();
    assert!(text.contains("\"status\": \"failed\""), "{text}");
}

/// The potential fails from the second iteration on, for one iteration or for good.
#[test]
fn a_search_survives_two_iterations_without_usable_structures_and_no_more() {
    static N_LEFT: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    fn gives_out(distance: f64) -> f64 {
        let spend =
            |left: &AtomicUsize| left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        if spend(&N_LEFT[0]) || !spend(&N_LEFT[1]) { distance } else { f64::NAN }
    }
    let evaluated = |entries: &[Entry], iterations: Range<u32>| {
        let of = |entry: &&Entry| iterations.contains(&entry.iteration) && entry.status != Status::TooClose;
        entries.iter().filter(of).count()
    };
    let long = || {
        let mut bench = Bench::new();
        bench.settings.sections.search.iterations = 5;
        bench
    };
    let mut bench = long();
    bench.run(NEVER).unwrap();
    let first = evaluated(&bench.results().0, 0..1);

    for (n_bad, survives) in [(first + 1, true), (usize::MAX, false)] {
        [first, n_bad].iter().zip(&N_LEFT).for_each(|(&n, left)| left.store(n, Ordering::Relaxed));
        bench = long();
        bench.energy = gives_out;
        match bench.run(NEVER) {
            Ok(summary) => assert!(survives && summary.status == RunStatus::Done),
            Err(error) => {
                assert!(!survives, "{error}");
                assert!(error.to_string().starts_with("iteration 4 brought no structure to learn from ("), "{error}");
                assert!(error.to_string().ends_with("or wider bounds"), "{error}");
            }
        }
        let archive = Archive::open(&bench.folder().join("archive.db"), &bench.settings.system).unwrap();
        let n_ok = |iteration| archive.entries(iteration).unwrap().iter().filter(|e| e.status == Status::Ok).count();
        assert!(n_ok(0) > 0 && n_ok(1) == 0, "{} and {}", n_ok(0), n_ok(1));
    }
}

#[test]
fn divergence_leaves_the_last_checkpoint() {
    let mut bench = Bench::new();
    bench.diverges_at = Some(2);
    let error = bench.run(NEVER).unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().as_str()), (1, "the loss is no longer finite"));
    bench.diverges_at = None;
    bench.run(NEVER).unwrap();
    let alone = Bench::new();
    alone.run(NEVER).unwrap();
    assert_eq!(bench.results(), alone.results());
}

/// An older checkpoint is used: answers of later iterations are in the archive, but must not be drawn early.
#[test]
fn a_damaged_checkpoint_costs_an_iteration_and_changes_nothing() {
    let bench = Bench::new();
    bench.run(NEVER).unwrap();
    let expected = bench.results();
    let newest = bench.folder().join("checkpoint/iteration-00003.bin");
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let n_calls = bench.calls.lock().unwrap().len();
    bench.run(NEVER).unwrap();
    assert_eq!(bench.results(), expected);
    assert_eq!(bench.calls.lock().unwrap().len(), n_calls);
}

#[test]
fn bounds_decide_the_status() {
    let mut bench = Bench::new();
    bench.settings.sections.search.samples_per_iteration = 12;
    bench.settings.sections.search.energy_floor_ev = Some(4.0);
    bench.settings.sections.search.energy_ceiling_ev = Some(6.0);
    bench.run(NEVER).unwrap();
    let (entries, ..) = bench.results();
    for entry in &entries {
        let expected = match entry.energy {
            None => Status::TooClose,
            Some(energy) if energy < 4.0 => Status::BelowFloor,
            Some(energy) if energy > 6.0 => Status::AboveCeiling,
            Some(_) => Status::Ok,
        };
        assert_eq!(entry.status, expected);
    }
    for status in [Status::TooClose, Status::BelowFloor, Status::AboveCeiling, Status::Ok] {
        assert!(entries.iter().any(|entry| entry.status == status), "no example of {status:?}");
    }
}

/// Two Pt atoms in a cell of 9 Å are rarely 6 Å apart. The user hears of it once.
#[test]
fn most_samples_rejected_is_told_with_the_pair() {
    let mut bench = Bench::new();
    bench.settings.sections.search.samples_per_iteration = 40;
    bench.settings.sections.search.min_distance_angstrom = Some(6.0);
    bench.run(NEVER).unwrap();
    let n_close = bench.results().0[..40].iter().filter(|entry| entry.status == Status::TooClose).count();
    assert!(n_close > 20 && n_close < 40, "{n_close}");
    let said = bench.said.text();
    let sentence = format!(
        "\niteration 1: {n_close} of 40 samples have atoms that are too close, {n_close} of them Pt and Pt nearer than 6.00 Å; give \
         the free atoms more room, or lower search.min_distance_angstrom = 6, or leave it out to let it follow from the elements\n"
    );
    assert!(said.contains(&sentence), "{said}");
    assert_eq!(said.matches("that are too close").count(), 1, "{said}");
    let calm = Bench::new();
    calm.run(NEVER).unwrap();
    assert!(!calm.said.text().contains("that are too close"), "{}", calm.said.text());
}

#[test]
fn distances_count_across_the_boundary() {
    let bench = Bench::new();
    let judge = Judge::new(&bench.settings);
    let pair = |x: f64| [[0.1, 4.0, 4.0], [x, 4.0, 4.0]];
    let too_close = |free: &[[f64; 3]]| matches!(judge.rejects(free), Some(Rejection::TooClose(_)));
    assert!(too_close(&pair(3.0)), "2.9 Å");
    assert!(!too_close(&pair(3.2)), "3.1 Å");
    assert!(too_close(&pair(6.2)), "2.9 Å to the image");
    assert!(!too_close(&pair(6.0)), "3.1 Å to the image");
    assert!(too_close(&pair(0.1)), "the same place");
}

/// A structure counts if it is bonded alike and low enough, and none counts before the target's energy is known.
#[test]
fn a_target_may_ask_for_bonds_and_energy() {
    let mut bench = Bench::new();
    let pair = |distance: f64| vec![[1.0, 4.0, 4.0], [1.0 + distance, 4.0, 4.0]];
    bench.settings.target = Some(Target {
        structure: bench.settings.system.structure(&pair(2.7)),
        matching: Matching::BondGraphWithin(0.5),
    });
    let entry = |distance: f64, energy: f64| Entry {
        iteration: 0,
        index: 0,
        kt_ev: 1.0,
        status: Status::Ok,
        origin: None,
        predicted_ev: None,
        free_positions: pair(distance),
        energy: Some(energy),
        forces: None,
    };
    let mut judge = Judge::new(&bench.settings);
    assert!(!judge.is_target(&entry(2.7, 2.7)), "the target's energy is not known");
    let fuse = Box::leak(Box::new(Fuse { steps_left: AtomicUsize::new(9), interrupted: AtomicBool::new(false) }));
    let potential = Spring { energy: bench.energy, force: 0.0, calls: bench.calls, fuse };
    judge.evaluate_target(&bench.settings, &potential, Stop::new(&fuse.interrupted)).unwrap();
    for (distance, energy, found) in
        [(2.7, 3.2, true), (2.9, 3.2, true), (2.7, 3.3, false), (3.1, 3.1, false), (3.1, 2.0, false), (2.7, 1.0, true)]
    {
        assert_eq!(judge.is_target(&entry(distance, energy)), found, "{distance} Å, {energy} eV");
    }
    let failed = Entry { status: Status::BelowFloor, ..entry(2.7, 2.7) };
    assert!(!judge.is_target(&failed));
}

#[test]
fn missing_structures_come_in_ranges() {
    let entry = |index| Entry {
        iteration: 0,
        index,
        kt_ev: 1.0,
        status: Status::Ok,
        origin: None,
        predicted_ev: None,
        free_positions: vec![],
        energy: None,
        forces: None,
    };
    assert_eq!(missing(&[], 0..3, None), vec![0..3]);
    assert_eq!(missing(&[entry(0), entry(1), entry(4)], 0..7, None), [2..4, 5..7]);
    assert!(missing(&[entry(0), entry(1)], 0..2, Some(1)).is_empty());
    assert_eq!(missing(&[], 0..300, Some(1000)), [0..128, 128..256, 256..300]);
    assert_eq!(missing(&[entry(0), entry(3)], 2..6, None), [2..3, 4..6]);
    assert_eq!(missing(&[entry(2), entry(3)], 2..4, None), Vec::<Range<usize>>::new());
}
