//! The loop with an engine of a few lines: what matters here is what is asked, recorded and repeated, not what is learnt.

use super::drawing::missing;
use super::*;
use crate::archive::{Archive, Status};
use crate::config::{FirstSamples, Matching, Target};
use crate::engine::{
    ForceSet, FreePositions, Loss, LossAndGradient, NoisyBatch, Progress, Sampler, Stream, TrainingReport, TrainingSet,
};
use crate::minima::{self, Comparison, Tolerances};
use crate::model::ModelFile;
use crate::potential::{Answer, Evaluation};
use crate::proposal::{Placement, Proposal, Proposals};
use crate::random::{Noise, Purpose};
use crate::run::{IterationMetrics, Judge, RunDirectory, read_metrics};
use crate::system::{Structure, Vec3};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

const CONFIG: &str = "
[system]
free = 'Pt2'
cell_angstrom = [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]
[potential]
kind = 'emt'
[model]
features = 2
blocks = 1
radial_functions = 2
cutoff_angstrom = 3.0
[diffusion]
steps = 3
[search]
seed = 5
iterations = 3
samples_per_iteration = 5
buffer = 4
min_distance_angstrom = 3.0
[training]
steps_per_iteration = 4
batch = 2
";

/// Presses Ctrl-C after so many steps of anything.
struct Fuse {
    steps_left: AtomicUsize,
    interrupted: AtomicBool,
}

impl Fuse {
    fn burn(&self) {
        if self.steps_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.interrupted.store(true, Ordering::Relaxed);
        }
    }
}

/// An engine whose samples are uniform noise moved by the first parameter, which training shifts by what it is given. It
/// predicts forces that lead back by half a step, and remembers how it was asked to sample and what forces it got.
struct Toy {
    state: ModelState,
    diverges_at: Option<u64>,
    heard: &'static Mutex<Heard>,
    fuse: &'static Fuse,
}

#[derive(Default)]
struct Heard {
    samplers: Vec<(u64, Sampler)>,
    force_sets: Vec<(u64, Option<ForceSet>)>,
    n_forces: usize,
}

impl Toy {
    fn steps(&self, n: usize, progress: Progress) -> Result<()> {
        (0..n).try_for_each(|step| {
            self.fuse.burn();
            progress(step)
        })
    }
}

impl Engine for Toy {
    fn device(&self) -> String {
        "toy".into()
    }

    fn sample(
        &mut self,
        stream: Stream,
        range: Range<usize>,
        sampler: Sampler,
        progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        self.heard.lock().unwrap().samplers.push((stream.iteration, sampler));
        self.steps(3, progress)?;
        let noise = Noise::new(stream.seed, Purpose::Prior, stream.iteration);
        let atom = |structure: usize, atom: u32| -> Vec3 {
            let [x, y, z, _] = noise.uniforms(structure as u32, 0, atom, 0);
            [9.0 * x + self.state.parameters[0], 9.0 * y, 9.0 * z]
        };
        Ok(range.map(|structure| vec![atom(structure, 0), atom(structure, 1)]).collect())
    }

    fn train(&mut self, stream: Stream, set: &TrainingSet, steps: usize, progress: Progress) -> Result<TrainingReport> {
        assert!((set.weights.iter().sum::<f64>() / set.weights.len() as f64 - 1.0).abs() < 1e-12);
        self.heard.lock().unwrap().force_sets.push((stream.iteration, set.forces.clone()));
        self.steps(steps, progress)?;
        if self.diverges_at == Some(stream.iteration) {
            return Err(Error::Failed("the loss is no longer finite".into()));
        }
        let n_forces = set.forces.as_ref().map_or(0, |forces| forces.positions.len());
        let shift: f64 = set.positions.iter().zip(&set.weights).map(|(atoms, weight)| weight * atoms[0][0]).sum();
        self.state.parameters[0] += shift + n_forces as f64;
        self.state.steps += steps as u64;
        Ok(TrainingReport { loss: shift, force_loss: set.forces.as_ref().map(|_| 0.25), learning_rate: 1e-4 })
    }

    fn state(&self) -> Result<ModelState> {
        Ok(self.state.clone())
    }

    fn restore(&mut self, state: &ModelState) -> Result<()> {
        self.state = state.clone();
        Ok(())
    }

    fn score(&mut self, _: &[FreePositions], _: &[f64]) -> Result<Vec<Vec<Vec3>>> {
        unreachable!("a search asks for no scores")
    }

    fn forces(&mut self, positions: &[FreePositions]) -> Result<Option<Vec<Vec<Vec3>>>> {
        self.heard.lock().unwrap().n_forces += positions.len();
        Ok(Some(positions.iter().map(|free| free.iter().map(|x| [4.5 - x[0], 0.0, 0.0]).collect()).collect()))
    }

    fn loss_and_gradient(&mut self, _: &NoisyBatch, _: &Loss) -> Result<LossAndGradient> {
        unreachable!("a search asks for no gradients")
    }

    fn apply_gradient(&mut self, _: &[f64]) -> Result<f64> {
        unreachable!("a search applies no gradients")
    }
}

/// The distance of the two atoms decides the energy; answers one at a time, last first, and remembers its calls.
struct Spring {
    energy: fn(f64) -> f64,
    force: f64,
    calls: &'static Mutex<Vec<Structure>>,
    fuse: &'static Fuse,
}

impl Potential for Spring {
    fn name(&self) -> String {
        "spring".into()
    }

    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()> {
        for (k, structure) in structures.iter().enumerate().rev() {
            self.calls.lock().unwrap().push(structure.clone());
            self.fuse.burn();
            let (a, b) = (structure.positions[0], structure.positions[1]);
            let distance = (0..3).map(|x| (a[x] - b[x]).powi(2)).sum::<f64>().sqrt();
            let evaluation = Evaluation { energy: (self.energy)(distance), forces: vec![[self.force; 3]; 2] };
            deliver(vec![(k, Answer::Done(evaluation))])?;
        }
        Ok(())
    }
}

/// A run folder and what runs in it.
struct Bench {
    root: TempDir,
    settings: Settings,
    calls: &'static Mutex<Vec<Structure>>,
    heard: &'static Mutex<Heard>,
    energy: fn(f64) -> f64,
    /// Along each axis on every atom.
    force: f64,
    diverges_at: Option<u64>,
    stop_at_target: bool,
    /// In place of the registered ones.
    proposals: Option<fn(&Settings) -> Proposals>,
}

impl Bench {
    fn new() -> Self {
        Bench::with("")
    }

    /// A search whose configuration has these `sections` too.
    fn with(sections: &str) -> Self {
        let root = TempDir::new().unwrap();
        let path = root.path().join("search.toml");
        std::fs::write(&path, format!("{CONFIG}{sections}")).unwrap();
        let settings = Settings::load(&path).unwrap();
        Bench {
            root,
            settings,
            calls: Box::leak(Box::default()),
            heard: Box::leak(Box::default()),
            energy: |distance| distance,
            force: 0.5,
            diverges_at: None,
            stop_at_target: false,
            proposals: None,
        }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.root.path().join("run")
    }

    /// Starts or resumes the run; Ctrl-C comes after `steps`.
    fn run(&self, steps: usize) -> Result<Summary> {
        let fuse: &'static Fuse =
            Box::leak(Box::new(Fuse { steps_left: AtomicUsize::new(steps), interrupted: AtomicBool::new(false) }));
        let toml = self.settings.to_toml();
        let run = if self.folder().exists() {
            RunDirectory::resume(&self.folder(), &toml)?
        } else {
            let directory = RunDirectory::create(&self.folder(), &toml, &Summary::new(5, "toy"))?;
            Resumed { directory, seed: 5, checkpoint: None, notes: vec![] }
        };
        let reporter = Reporter::quiet();
        let state = first_model(&self.settings, &reporter);
        let engine = Toy { state, diverges_at: self.diverges_at, heard: self.heard, fuse };
        let potential = Spring { energy: self.energy, force: self.force, calls: self.calls, fuse };
        let interrupted = &fuse.interrupted;
        let search = Search::new(&self.settings, Box::new(engine), Box::new(potential), run, &reporter, interrupted)?;
        let mut search = search.stopping_at_target(self.stop_at_target);
        if let Some(proposals) = self.proposals {
            search = search.proposing(proposals(&self.settings));
        }
        search.run(&|folder, _| minima::write(folder))
    }

    /// Everything that must not depend on interruptions: archive, metrics without times, best structure, model.
    fn results(&self) -> (Vec<Entry>, Vec<String>, Vec<u8>, ModelFile) {
        let archive = Archive::open(&self.folder().join("archive.db"), &self.settings.system).unwrap();
        let entries = (0..3).flat_map(|iteration| archive.entries(iteration).unwrap()).collect();
        let metrics = read_metrics(&self.folder().join("metrics.jsonl")).unwrap();
        let metrics = metrics
            .into_iter()
            .map(|line| format!("{:?}", IterationMetrics { seconds: PhaseSeconds::default(), ..line }));
        let best = std::fs::read(self.folder().join("best.xyz")).unwrap();
        let model = ModelFile::read(&self.folder().join("model.safetensors")).unwrap();
        (entries, metrics.collect(), best, model)
    }
}

const NEVER: usize = usize::MAX;

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

/// Ctrl-C after every possible step, and again while resuming: the run ends as one left alone, and nothing that was
/// answered is asked again.
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
    interrupted_everywhere("[guidance]\n[proposals]\nrelax_steps = 3\nhop_share = 0.5\n");
}

/// Forces so small that everything evaluated is a known minimum.
#[test]
fn an_interrupted_search_that_leaves_known_minima_ends_like_one_left_alone() {
    let sections = "[guidance]\n[proposals]\nrelax_steps = 3\nhop_share = 0.5\n";
    interrupted_everywhere_in(|| Bench { force: 0.0, ..Bench::with(sections) });
}

#[test]
fn an_interrupted_search_from_placed_atoms_ends_like_one_left_alone() {
    interrupted_everywhere_in(bench_from_placed_atoms);
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
                    // What is found by then is left behind.
                    let archive = Archive::open(&bench.folder().join("archive.db"), &bench.settings.system).unwrap();
                    let found = archive.best().unwrap().is_some();
                    assert_eq!(bench.folder().join("minima.xyz").exists(), found, "interrupted after {steps}");
                }
                result => break result.unwrap(),
            }
        };
        n_interrupted += n_runs - 1;
        assert_eq!(bench.results(), expected, "interrupted after {steps}");
        assert_eq!(Summary { seconds: summary.seconds, ..resumed }, summary);
        let n_calls = bench.calls.lock().unwrap().len() as u64;
        assert_eq!(n_calls, summary.evaluations, "interrupted after {steps}: some structure was evaluated twice");
    }
    assert!(n_interrupted > 10, "the test must interrupt: {n_interrupted}");
}

fn bench_from_placed_atoms() -> Bench {
    let mut bench = Bench::new();
    bench.settings.sections.search.first_samples = FirstSamples::Placed;
    bench
}

/// The first structures are those that a random structure search of the same seed begins with, for which no model is asked; all
/// later ones are samples.
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
    bench.settings.sections.search.min_distance_angstrom = 8.0;
    let error = bench.run(NEVER).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().starts_with("no room was found for the free atoms in 100 random structures"), "{error}");
}

/// Two free atoms, one on each of two sites: a proposal as somebody may add it.
struct Sites([Vec3; 2]);

impl Proposal for Sites {
    fn claim(&self, round: &Round, _n_left: usize) -> usize {
        if round.number == 1 { 2 } else { 0 }
    }

    fn draw(
        &mut self,
        _round: &Round,
        samples: Range<usize>,
        _engine: &mut dyn Engine,
        _progress: Progress,
    ) -> Result<Vec<FreePositions>> {
        Ok(samples.map(|_| self.0.to_vec()).collect())
    }
}

#[test]
fn a_proposal_of_ones_own_takes_part() {
    const SITES: [Vec3; 2] = [[1.0, 1.0, 1.0], [1.0, 1.0, 5.0]];
    let mut bench = Bench::new();
    bench.proposals = Some(|settings| {
        let mut proposals = registered(settings);
        proposals.insert(0, Box::new(Sites(SITES)));
        proposals
    });
    bench.run(NEVER).unwrap();
    let (entries, ..) = bench.results();
    for entry in &entries {
        let on_sites = entry.iteration == 1 && entry.index < 2;
        assert_eq!(entry.free_positions == SITES, on_sites, "{entry:?}");
    }
    assert_eq!(bench.heard.lock().unwrap().samplers.len(), 3, "the reverse process draws the others");
}

/// From the second iteration on hops are asked of nobody but the learned forces, and start from what is known.
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
    // Two of five hop in each; the others come from the reverse process as they would without.
    for entry in entries.iter().filter(|entry| entry.iteration == 1) {
        let same = plain.iter().any(|other| other.free_positions == entry.free_positions);
        assert_eq!(same, entry.index >= 2, "sample {}", entry.index);
    }
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

/// From the second iteration on the corrector is active and samples are relaxed; the force head hears of everything recorded
/// so far, in order, its forces shortened.
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

#[test]
fn a_finished_search_can_be_resumed_and_stays_as_it_is() {
    let bench = Bench::new();
    bench.run(NEVER).unwrap();
    let before = bench.results();
    std::fs::remove_file(bench.folder().join("best.xyz")).unwrap();
    bench.run(NEVER).unwrap();
    assert_eq!(bench.results(), before);
}

/// A search whose first iteration finds no structure as low as its target, and what it records to its end.
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
    // All of the iteration with the hit is evaluated, nothing is trained on it, nothing comes after it.
    let iteration = entries[hit].iteration;
    let until = entries.iter().take_while(|entry| entry.iteration <= iteration).count();
    assert_eq!((stopped.samples, stopped.evaluations), (until as u64, n_evaluations(&entries[..until])));
    assert_eq!(read_metrics(&bench.folder().join("metrics.jsonl")).unwrap().len(), iteration as usize);
    assert_eq!((stopped.best_energy_ev, stopped.best_iteration), (Some(best), Some(iteration)));
    assert!(bench.folder().join("best.xyz").exists());

    let n_calls = bench.calls.lock().unwrap().len();
    let again = Summary { seconds: stopped.seconds, ..bench.run(NEVER).unwrap() };
    assert_eq!(again, stopped);
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

/// The potential gives out with the second iteration, for one iteration or for good.
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

/// An older checkpoint has to do: answers of later iterations are in the archive, but must not be drawn early.
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

#[test]
fn distances_count_across_the_boundary() {
    let bench = Bench::new();
    let judge = Judge::new(&bench.settings);
    let pair = |x: f64| [[0.1, 4.0, 4.0], [x, 4.0, 4.0]];
    assert!(judge.too_close(&pair(3.0)), "2.9 Å");
    assert!(!judge.too_close(&pair(3.2)), "3.1 Å");
    assert!(judge.too_close(&pair(6.2)), "2.9 Å to the image");
    assert!(!judge.too_close(&pair(6.0)), "3.1 Å to the image");
    assert!(judge.too_close(&pair(0.1)), "the same place");
}

/// Bonded alike and low enough, both, and nothing before the target's energy is known.
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
        free_positions: pair(distance),
        energy: Some(energy),
        forces: None,
    };
    let mut judge = Judge::new(&bench.settings);
    assert!(!judge.is_target(&entry(2.7, 2.7)), "the target's energy is not known");
    let fuse = Box::leak(Box::new(Fuse { steps_left: AtomicUsize::new(9), interrupted: AtomicBool::new(false) }));
    let potential = Spring { energy: bench.energy, force: 0.0, calls: bench.calls, fuse };
    judge.evaluate_target(&bench.settings, &potential, &fuse.interrupted).unwrap();
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
        free_positions: vec![],
        energy: None,
        forces: None,
    };
    assert_eq!(missing(&[], 3, None), vec![0..3]);
    assert_eq!(missing(&[entry(0), entry(1), entry(4)], 7, None), [2..4, 5..7]);
    assert!(missing(&[entry(0), entry(1)], 2, Some(1)).is_empty());
    assert_eq!(missing(&[], 300, Some(1000)), [0..128, 128..256, 256..300]);
}
