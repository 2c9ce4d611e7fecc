//! Where the samples of a round come from, and which forces the force head gets.

use super::bench::*;
use crate::archive::{Archive, Origin, Status};
use crate::engine::cpu::Cpu;
use crate::engine::{FreePositions, Progress, Sampler};
use crate::minima::{Comparison, Tolerances};
use crate::potential::Emt;
use crate::proposal::{Placement, Proposal};
use crate::run::{RunDirectory, read_metrics};
use crate::search::*;
use crate::system::{Cell, Molecule, Molecules, Structure, System};
use std::ops::Range;
use std::path::Path;
use tempfile::TempDir;

/// The first structures are those with which a random structure search of the same seed begins, and need no model. All later ones
/// are samples.
#[test]
fn placed_atoms_take_the_place_of_the_first_samples() {
    let bench = bench_from_placed_atoms();
    bench.run(NEVER).unwrap();
    let placement = Placement::new(&bench.settings);
    let (entries, ..) = bench.results();
    assert_eq!(entries.len(), 15);
    for entry in &entries {
        let made_up = placement.structure(u64::from(entry.index)).unwrap();
        assert_eq!(entry.free_positions == made_up, entry.iteration == 0, "{entry:?}");
    }
    assert!(entries[..5].iter().all(|entry| entry.status == Status::Ok), "none lies too close");
    let heard = bench.heard.lock().unwrap();
    assert_eq!(heard.samplers, [(1, Sampler::Plain), (2, Sampler::Plain)]);
}

#[test]
fn atoms_without_room_end_a_search_with_a_sentence() {
    let mut bench = bench_from_placed_atoms();
    bench.settings.sections.search.min_distance_angstrom = Some(8.0);
    let error = bench.run(NEVER).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().starts_with("no room was found for the free atoms in 100 random structures"), "{error}");
}

/// With `keep_bonded`, samples whose molecule has fallen apart are recorded and counted, but neither evaluated nor learned from.
#[test]
fn broken_molecules_are_not_evaluated() {
    let mut bench = bench_from_placed_atoms();
    let dimer = Structure::new(Cell::NONE, vec![78; 2], vec![[0.0; 3], [0.0, 0.0, 3.2]]);
    let all = vec![Molecule::new(&dimer).unwrap()];
    let system = System { free_numbers: vec![], ..bench.settings.system.clone() };
    bench.settings.system = system.with_molecules(Molecules { all, keep_bonded: true });
    let summary = bench.run(NEVER).unwrap();
    let (entries, ..) = bench.results();
    let system = &bench.settings.system;
    let n_apart = entries.iter().filter(|entry| entry.status == Status::FallenApart).count() as u64;
    for entry in &entries {
        let whole = system.molecules_are_whole(&entry.free_positions);
        assert_eq!(whole && entry.status != Status::TooClose, entry.status == Status::Ok, "{entry:?}");
        assert_eq!(entry.energy.is_some(), entry.status == Status::Ok);
    }
    assert!(entries[..5].iter().all(|entry| entry.status == Status::Ok), "molecules are placed as wholes");
    assert!(n_apart > 5, "{n_apart}");
    let metrics = read_metrics(&bench.folder().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.iter().map(|line| line.counts.fallen_apart).sum::<u64>(), n_apart);
    let n_close = entries.iter().filter(|entry| entry.status == Status::TooClose).count() as u64;
    assert_eq!((summary.samples, summary.evaluations), (15, 15 - n_close - n_apart));
}

/// A proposal as a user may add it: an atom above each of the template's atoms in turn.
struct Sites<'a> {
    settings: &'a Settings,
}

impl Proposal for Sites<'_> {
    fn claim(&self, round: &Round, _n_left: usize) -> usize {
        if round.number == 0 { 5 } else { 0 }
    }

    fn draw(
        &mut self,
        _round: &Round,
        samples: Range<usize>,
        _engine: &mut dyn Engine,
        _progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        let above = |k: usize| {
            let [x, y, z] = self.settings.system.template_positions[k];
            vec![[x, y, z + 2.5]]
        };
        Ok(samples.map(above).collect())
    }
}

#[test]
fn a_proposal_of_ones_own_takes_part() {
    let smoke = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/smoke.toml");
    let settings = Settings::load(&smoke).unwrap();
    let folder = TempDir::new().unwrap();
    let directory = RunDirectory::create(folder.path(), &settings.to_toml(), &Summary::new(0, "cpu")).unwrap();
    let run = Resumed { directory, seed: 0, checkpoint: None, notes: vec![] };
    let engine = Box::new(Cpu::<f32>::new(&settings.setup()).unwrap());
    let (reporter, interrupted) = (Reporter::quiet(), AtomicBool::new(false));
    let mut proposals = registered(&settings);
    proposals.insert(0, Box::new(Sites { settings: &settings }));
    let search = Search::new(&settings, engine, Box::new(Emt::new(false)), run, &reporter, &interrupted).unwrap();
    search.proposing(proposals).run(&|_, _| Ok(())).unwrap();

    let archive = Archive::open(&RunDirectory::archive_of(folder.path()), &settings.system).unwrap();
    for iteration in 0..3 {
        let entries = archive.entries(iteration).unwrap();
        assert_eq!(entries.len(), 12);
        for (entry, site) in entries.iter().zip(&settings.system.template_positions) {
            let on_site = entry.free_positions == [[site[0], site[1], site[2] + 2.5]];
            assert_eq!(on_site, iteration == 0 && entry.index < 5, "{entry:?}");
        }
    }
}

/// The first round with hops tests the readout; the next ones draw more candidates, and evaluate those with the lowest predictions
/// first. Without screening nothing is predicted.
#[test]
fn the_readout_chooses_among_candidates() {
    let bench = screening_bench();
    bench.run(NEVER).unwrap();
    let (entries, ..) = bench.results();
    let metrics = read_metrics(&bench.folder().join("metrics.jsonl")).unwrap();
    let candidates: Vec<Option<u64>> = metrics.iter().map(|line| line.candidates).collect();
    assert_eq!(candidates, [None, Some(5), Some(15)]);
    assert!(metrics[0].readout_rms_ev.is_none() && metrics[2].readout_rms_ev.is_some());
    assert!(entries.iter().all(|entry| entry.predicted_ev.is_some() == (entry.iteration > 0)));
    let of = |iteration: u32, origin: fn(Origin) -> bool| -> Vec<f64> {
        let of_round = entries.iter().filter(|entry| entry.iteration == iteration && entry.origin.is_some_and(origin));
        of_round.filter_map(|entry| entry.predicted_ev).collect()
    };
    let kinds: [fn(Origin) -> bool; 2] = [|origin| origin == Origin::Reverse, |origin| origin != Origin::Reverse];
    for origin in kinds {
        let [tested, chosen] = [of(1, origin), of(2, origin)];
        let n_lowest = chosen.len().div_ceil(2);
        assert!(chosen.len() > 1 && chosen[..n_lowest].is_sorted(), "{chosen:?}");
        assert!(chosen[n_lowest..].iter().all(|&energy| energy >= chosen[n_lowest - 1]), "{chosen:?}");
        assert!(!tested.is_empty());
    }
    let plain = Bench::with("[guidance]\n[proposals]\nrelax_steps = 3\nhop_share = 0.5\n");
    plain.run(NEVER).unwrap();
    assert!(plain.results().0.iter().all(|entry| entry.predicted_ev.is_none()));
    let heard = (bench.heard.lock().unwrap(), plain.heard.lock().unwrap());
    let n_labels = |heard: &Heard| -> Vec<usize> {
        heard.force_sets.iter().map(|(_, set)| set.as_ref().unwrap().labels.len()).collect()
    };
    let n_known = |heard: &Heard| -> Vec<usize> {
        heard.force_sets.iter().map(|(_, set)| set.as_ref().unwrap().positions.len()).collect()
    };
    assert_eq!((n_labels(&heard.0), n_labels(&heard.1)), (n_known(&heard.0), vec![0; 3]));
}

/// From the second iteration on, hops start from known structures and need the learned forces alone.
#[test]
fn hops_take_the_place_of_samples() {
    let with_hops =
        |share: f64| Bench::with(&format!("[guidance]\n[proposals]\nrelax_steps = 3\nhop_share = {share:?}\n"));
    let all = with_hops(1.0);
    all.run(NEVER).unwrap();
    assert_eq!(all.heard.lock().unwrap().samplers, [(0, Sampler::Plain)]);
    let some = with_hops(0.4);
    some.run(NEVER).unwrap();
    let (entries, ..) = some.results();
    let none = with_hops(0.0);
    none.run(NEVER).unwrap();
    let (plain, ..) = none.results();
    // Two of five hop in each iteration; the rest come from the reverse process, unchanged.
    for entry in entries.iter().filter(|entry| entry.iteration == 1) {
        let same = plain.iter().any(|other| other.free_positions == entry.free_positions);
        assert_eq!(same, entry.index >= 2, "sample {}", entry.index);
    }
}

/// The archive says which proposal made a sample, and which kind of hop.
#[test]
fn origins_are_recorded() {
    let origins = |keys: &str| {
        let bench = Bench::with(&format!("[guidance]\n[proposals]\nrelax_steps = 3\nhop_share = 0.6\n{keys}"));
        bench.run(NEVER).unwrap();
        let (entries, ..) = bench.results();
        entries.iter().map(|entry| (entry.iteration, entry.origin.unwrap())).collect::<Vec<_>>()
    };
    let count = |origins: &[(u32, Origin)], origin| origins.iter().filter(|(_, other)| *other == origin).count();
    let fixed = origins("hop_moves = 'fixed'\n");
    assert!(fixed.iter().all(|(iteration, origin)| *iteration > 0 || *origin == Origin::Reverse));
    assert_eq!(count(&fixed, Origin::Reverse), 5 + 2 + 2, "three of five hop from the second iteration on");
    assert_eq!(count(&fixed, Origin::Shake) + count(&fixed, Origin::Relocate), 6);
    let spliced = origins("hop_moves = 'fixed'\nexchange_share = 0.0\nsplice_share = 1.0\n");
    assert!(count(&spliced, Origin::Splice) > 0 && count(&spliced, Origin::Relocate) == 0);
    let learned = origins("");
    assert_eq!(count(&learned, Origin::Reverse), 9);
    assert_eq!(count(&learned, Origin::Exchange), 0, "all atoms are alike");
    let restarted = origins("hop_moves = 'fixed'\nrestart_after = 1\n");
    assert!(count(&restarted, Origin::Placed) >= 3, "a round of placed atoms instead of hops");
}

#[test]
fn samples_leave_minima_that_are_known() {
    let repeated = |tries: usize| {
        let sections = format!("[guidance]\n[proposals]\nrelax_steps = 3\nhop_share = 0.4\nhop_tries = {tries}\n");
        let bench = Bench { force: 0.0, ..Bench::with(&sections) };
        bench.run(NEVER).unwrap();
        let (entries, ..) = bench.results();
        let structure = |entry: &Entry| bench.settings.system.structure(&entry.free_positions);
        let comparison = Comparison::new(&structure(&entries[0]));
        let ok = |entry: &&Entry| entry.status == Status::Ok;
        let same = |a: &Entry, b: &Entry| {
            let [a, b] = [a, b].map(|entry| comparison.shape(&structure(entry)));
            comparison.same(&a, &b, Tolerances::RELAXED.distance_angstrom)
        };
        let known = |entry: &&Entry| {
            entries.iter().filter(ok).any(|other| other.iteration < entry.iteration && same(other, entry))
        };
        (entries.iter().filter(known).count(), bench.heard.lock().unwrap().n_forces)
    };
    let ((once, n_forces), (often, more_forces)) = (repeated(1), repeated(100));
    assert!(once > 0 && often == 0, "{once} of 15 samples repeat what is known, {often} after hopping on");
    assert!(more_forces > n_forces);
}

/// From the second iteration on the corrector is active and samples are relaxed. The force head gets all recorded forces, in
/// order and shortened.
#[test]
fn guidance_starts_with_the_second_iteration() {
    let mut bench = Bench::with("[guidance]\nmax_force_ev_per_angstrom = 0.1\n[proposals]\nrelax_steps = 2\n");
    bench.energy = |distance| if distance < 5.0 { distance } else { f64::NAN };
    bench.run(NEVER).unwrap();
    let (entries, ..) = bench.results();
    let heard = bench.heard.lock().unwrap();
    assert_eq!(heard.samplers, [(0, Sampler::Plain), (1, Sampler::Guided), (2, Sampler::Guided)]);
    assert_eq!(heard.n_forces, 2 * 2 * 5, "two steps for five structures of two iterations");
    for (iteration, set) in &heard.force_sets {
        let ok = entries.iter().filter(|entry| entry.status == Status::Ok && u64::from(entry.iteration) <= *iteration);
        let expected: Vec<FreePositions> = ok.map(|entry| entry.free_positions.clone()).collect();
        let set = set.as_ref().unwrap();
        assert_eq!(set.positions, expected, "iteration {iteration}");
        // The potential says 0.5 along each axis.
        let short = 0.1 / 3f64.sqrt();
        assert!(set.forces.iter().flatten().flatten().all(|f| (f - short).abs() < 1e-15));
        assert_eq!(set.forces.len(), expected.len());
    }
    assert_eq!(heard.force_sets.len(), 3);
    let metrics = read_metrics(&bench.folder().join("metrics.jsonl")).unwrap();
    assert!(metrics.iter().all(|line| line.force_loss == Some(0.25)));
    let model = ModelFile::read(&bench.folder().join("model.safetensors")).unwrap();
    assert!(model.sizes.force_head);
}

#[test]
fn forces_that_a_transferred_model_knows_guide_from_the_first_iteration() {
    let sections = "[guidance]\n[proposals]\nrelax_steps = 2\nhop_share = 0.4\n";
    let first = Bench::with(sections);
    first.run(NEVER).unwrap();
    let model = ModelFile::read(&first.folder().join("model.safetensors")).unwrap();
    assert_eq!(model.species, [78]);
    let samplers = |model: ModelFile| {
        let mut bench = Bench::with(sections);
        bench.settings.transfer = Some(model);
        bench.run(NEVER).unwrap();
        let heard = bench.heard.lock().unwrap();
        heard.samplers.clone()
    };
    assert_eq!(samplers(model.clone()), [0, 1, 2].map(|iteration| (iteration, Sampler::Guided)));
    let other = ModelFile { species: vec![79], ..model };
    assert_eq!(samplers(other), [(0, Sampler::Plain), (1, Sampler::Guided), (2, Sampler::Guided)]);
}

#[test]
fn without_guidance_nothing_is_asked_of_forces() {
    let bench = Bench::new();
    bench.run(NEVER).unwrap();
    let heard = bench.heard.lock().unwrap();
    assert!(heard.samplers.iter().all(|(_, sampler)| *sampler == Sampler::Plain));
    assert!(heard.force_sets.iter().all(|(_, set)| set.is_none()));
    assert_eq!(heard.n_forces, 0);
    let metrics = read_metrics(&bench.folder().join("metrics.jsonl")).unwrap();
    assert!(metrics.iter().all(|line| line.force_loss.is_none()));
}
