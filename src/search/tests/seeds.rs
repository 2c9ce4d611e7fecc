//! Searches that begin with structures of the user's own.

use super::bench::*;
use super::interrupted_everywhere_in;
use crate::archive::{Entry, Origin, Status};
use crate::config::SeedsSection;
use crate::engine::{FreePositions, Sampler};
use crate::model::ModelFile;

/// Two atoms `distance` Å apart.
fn pair(distance: f64) -> FreePositions {
    vec![[1.0, 4.0, 4.0], [1.0 + distance, 4.0, 4.0]]
}

/// The bench with own structures, whose atoms are these distances apart, Å.
fn seeded(sections: &str, distances: &[f64]) -> Bench {
    let mut bench = Bench::with(sections);
    bench.settings.seeds = distances.iter().map(|&distance| pair(distance)).collect();
    bench.settings.sections.seeds = Some(SeedsSection { structures: "seeds.xyz".into() });
    bench
}

/// The first samples of the first round, in addition to its others; one has atoms too close.
#[test]
fn own_structures_come_first_and_count() {
    let bench = seeded("", &[3.01, 2.0, 4.0]);
    let summary = bench.run(NEVER).unwrap();
    let (entries, metrics, best, _) = bench.results();
    assert_eq!((summary.samples, entries.len(), metrics.len()), (18, 18, 3));
    let n_evaluated = entries.iter().filter(|entry| entry.status != Status::TooClose).count() as u64;
    assert_eq!(summary.evaluations, n_evaluated);
    let (own, others): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| entry.origin == Some(Origin::Own));
    let keys: Vec<(u32, u32)> = own.iter().map(|entry| (entry.iteration, entry.index)).collect();
    assert_eq!(keys, [(0, 0), (0, 1), (0, 2)]);
    assert_eq!(own.iter().map(|entry| entry.free_positions.clone()).collect::<Vec<_>>(), bench.settings.seeds);
    assert_eq!(own[0].status, Status::Ok);
    assert!((own[0].energy.unwrap() - 3.01).abs() < 1e-12, "the potential's energy");
    assert_eq!((own[1].status, own[1].energy), (Status::TooClose, None));
    assert_eq!(others.iter().filter(|entry| entry.iteration == 0).count(), 5);
    // No sample of this bench is as low: the best structure is an own one.
    assert_eq!((summary.best_energy_ev, summary.best_index), (own[0].energy, Some(0)));
    assert!(String::from_utf8(best).unwrap().contains("energy=3.0"));
    assert_eq!(bench.calls.lock().unwrap()[1].positions, pair(3.01), "own structures are evaluated first");
}

#[test]
fn an_interrupted_search_from_own_structures_ends_like_one_left_alone() {
    interrupted_everywhere_in(|| seeded("", &[3.5, 2.0, 4.0]));
    let sections = "[guidance]\n[proposals]\nrelax_steps = 3\nhop_share = 0.5\n";
    interrupted_everywhere_in(|| seeded(sections, &[3.5, 2.0, 4.0]));
}

/// The forces of a transferred model relax the other samples of the first round. The model learns from own structures.
#[test]
fn own_structures_stay_where_they_are() {
    let sections = "[guidance]\n[proposals]\nrelax_steps = 2\n";
    let first = Bench::with(sections);
    first.run(NEVER).unwrap();
    let model = ModelFile::read(&first.folder().join("model.safetensors")).unwrap();
    let run = |distances: &[f64]| {
        let mut bench = seeded(sections, distances);
        bench.settings.transfer = Some(model.clone());
        bench.run(NEVER).unwrap();
        bench
    };
    let (with, without) = (run(&[3.5, 4.0]), run(&[]));
    let entries = with.results().0;
    assert_eq!(entries[0].free_positions, pair(3.5));
    assert_eq!(entries[1].free_positions, pair(4.0));
    let n_forces = |bench: &Bench| bench.heard.lock().unwrap().n_forces;
    assert_eq!(n_forces(&with), n_forces(&without), "only samples relax");
    let heard = with.heard.lock().unwrap();
    assert_eq!(heard.samplers, [0, 1, 2].map(|iteration| (iteration, Sampler::Guided)));
    let set = heard.force_sets[0].1.as_ref().unwrap();
    assert_eq!(set.positions[..2], [pair(3.5), pair(4.0)]);
}
