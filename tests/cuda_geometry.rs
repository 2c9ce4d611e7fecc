//! The kernels of geometry and noise against the CPU's functions: radius graph, forward noise, prior, reverse steps.
//!
//! They run on `GODIFF_TEST_DEVICE`; without it on the emulator, with threads in three orders.
#![cfg(any(feature = "emulator", feature = "cuda"))]

mod reference;

use flate2::read::GzDecoder;
use godiff::diffusion::{
    AtomProcess, ReverseSchedule, Sde, basin_score_scale, centred_normals, forward_noise, limited_score_scale, prior,
    remove_centre, reverse_mean, reverse_step,
};
use godiff::engine::cpu::graph::{FreeGraph, Levels, TemplateGraph};
use godiff::engine::cuda::forward_noise::{ForwardNoise, visiting_order};
use godiff::engine::cuda::radius_graph::RadiusGraph;
use godiff::engine::cuda::reverse_step::ReverseProcess;
use godiff::engine::{FreePositions, RandomStream, ReverseSettings, Setup, Targets, TrainingSet, Weighting};
use godiff::gpu::{self, Device};
use godiff::objective::{Mixture, force_scores};
use godiff::random::{Noise, Purpose};
use godiff::system::vector::{add, scale};
use godiff::system::{Cell, Confinement, PairSearch, System, Vec3, radius_graph};
use reference::device::device_names;
use reference::systems::{
    Named, Random, channel, cluster, heptamer, mobile_slab, prior_structures, rattled, setup, slab, stepped_adatom,
    thin_bulk,
};

/// What f64 on the device may differ by from f64 on the CPU, where other roundings and libraries are at work: Å.
const EXACT: f64 = 1e-9;

const SYSTEMS: [Named; 8] = [
    ("slab", slab),
    ("mobile slab", mobile_slab),
    ("stack", stack),
    ("cluster", cluster),
    ("thin bulk", thin_bulk),
    ("channel", channel),
    ("stepped adatom", stepped_adatom),
    ("heptamer", heptamer),
];

/// Confined in a cell that repeats along c too, below the upper bound: heights are not wrapped.
fn stack() -> System {
    let slab = slab();
    let [a, b, _] = slab.cell.vectors;
    System { cell: Cell { vectors: [a, b, [0.7, 0.3, 5.0]], periodic: [true; 3] }, ..slab }
}

const CUTOFF: f64 = 6.0;

fn streams() -> Vec<gpu::Stream> {
    device_names().iter().map(|name| stream(name)).collect()
}

fn stream(device: &str) -> gpu::Stream {
    Device::open(device).and_then(|device| device.stream()).expect("a device")
}

fn flat(structures: &[FreePositions]) -> Vec<f64> {
    structures.iter().flatten().flatten().copied().collect()
}

fn assert_near(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (k, (x, y)) in found.iter().zip(expected).enumerate() {
        assert!((x - y).abs() <= EXACT * y.abs().max(1.0), "{what}: {x} for {y} at {k}");
    }
}

/// f32 values that come from f64 ones.
fn assert_rounded(what: &str, found: &[f32], expected: impl IntoIterator<Item = f64>) {
    let expected: Vec<f64> = expected.into_iter().collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (k, (&x, y)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(x) - y).abs() <= 3e-7 * y.abs() + 1e-9, "{what}: {x} for {y} at {k}");
    }
}

/// Everything the kernel left of a structure equals the CPU's graph, entry by entry.
fn check_graph(what: &str, system: &System, cutoff: f64, structures: &[FreePositions], stream: &gpu::Stream) -> usize {
    let (n_template, n_atoms, n) = (system.n_template(), system.n_atoms(), structures.len());
    let search = PairSearch::new(&system.cell, cutoff);
    let mut graphs: Vec<FreeGraph<f32>> = Vec::new();
    for free in structures {
        let mut graph = FreeGraph::default();
        graph.rebuild(system, &search, &[free]);
        graphs.push(graph);
    }
    let most = graphs.iter().map(|graph| graph.distances.len()).max().unwrap_or(0);
    let kernel = RadiusGraph::new(stream, system, cutoff, n, most).unwrap();
    let positions = stream.upload(&flat(structures)).unwrap();
    kernel.run(stream, &positions, n).unwrap();
    assert_eq!(kernel.overflowed(stream).unwrap(), None, "{what}");
    let max_pairs = kernel.max_pairs();
    let n_pairs = stream.read(&kernel.n_pairs).unwrap();
    let distances = stream.read(&kernel.distances).unwrap();
    let pairs = stream.read(&kernel.pairs).unwrap();
    let starts = stream.read(&kernel.edge_starts).unwrap();
    let edges = stream.read(&kernel.edges).unwrap();
    let rows = stream.read(&kernel.edge_rows).unwrap();
    let neighbours = stream.read(&kernel.neighbours).unwrap();
    let n_neighbours = stream.read(&kernel.n_neighbours).unwrap();
    let template = TemplateGraph::<f32>::new(
        &System { template_positions: vec![], template_numbers: vec![], ..system.clone() },
        cutoff,
    );
    for (s, graph) in graphs.iter().enumerate() {
        let what = format!("{what}, structure {s}");
        assert_eq!(n_pairs[s] as usize, graph.distances.len(), "{what}");
        let here = &distances[s * max_pairs..][..graph.distances.len()];
        assert_rounded(&what, here, graph.distances.iter().copied());
        assert_eq!(starts[s * (n_atoms + 1)..][..n_atoms + 1], graph.starts, "{what}");
        for (e, edge) in graph.edges.iter().enumerate() {
            let [x, y, z, sender] = edges[2 * s * max_pairs + e];
            assert_eq!((sender.to_bits(), rows[2 * s * max_pairs + e]), (edge.sender, edge.row), "{what}: edge {e}");
            assert_rounded(&what, &[x, y, z], edge.unit.map(f64::from));
        }
        let mut expected = Vec::new();
        let all = [&system.template_positions[..], &structures[s]].concat();
        for i in n_template..n_atoms {
            for j in (0..n_template).chain(i..n_atoms) {
                search.for_each_pair(all[i], all[j], |shift, vector, distance| {
                    if i != j || shift > [0; 3] {
                        expected.push((i | j << 16, scale(1.0 / distance, vector)));
                    }
                });
            }
        }
        assert_eq!(expected.len(), graph.distances.len(), "{what}");
        for (p, (atoms, unit)) in expected.into_iter().enumerate() {
            let [x, y, z, found] = pairs[s * max_pairs + p];
            assert_eq!(found.to_bits() as usize, atoms, "{what}: pair {p}");
            assert_rounded(&what, &[x, y, z], unit);
        }
        // The level before the last block: free atoms and who sends to them, template edges apart.
        let mut levels = Levels::default();
        levels.rebuild(1, [1, n_template, n_atoms], &template, graph, false);
        assert_eq!(neighbours[s * n_atoms..][..n_neighbours[s] as usize], levels.atoms[0], "{what}");
    }
    graphs.iter().map(|graph| graph.distances.len()).sum()
}

#[test]
fn graphs_equal_those_of_the_cpu() {
    for stream in streams() {
        for (name, system) in SYSTEMS {
            for system in [system(), rattled(system(), 0.1, 4)] {
                let mut n_pairs = 0;
                for cutoff in [2.2, CUTOFF] {
                    n_pairs += check_graph(name, &system, cutoff, &prior_structures(&system, 4, 11), &stream);
                }
                assert!(n_pairs > 0, "{name}");
            }
        }
    }
}

/// Cells of any shape and periodicity, atoms far outside of them.
#[test]
fn graphs_in_random_cells() {
    let stream = stream(&device_names()[0]);
    let mut random = Random::new(8);
    let mut n_pairs = 0;
    for trial in 0..300 {
        let vectors: [Vec3; 3] = std::array::from_fn(|_| std::array::from_fn(|_| 10.0 * random.uniform() - 5.0));
        let periodic: [bool; 3] = std::array::from_fn(|_| random.below(3) > 0);
        let cell = Cell { vectors, periodic };
        if cell.volume() < 10.0 || cell.check().is_err() {
            continue;
        }
        let spread = [9.0, 60.0, 3000.0][trial % 3];
        let base: Vec3 = std::array::from_fn(|_| spread * random.normal());
        let mut near = |n: usize| -> Vec<Vec3> { (0..n).map(|_| add(base, scale(3.0, random.vector()))).collect() };
        let (template_positions, structures) = (near(3), [near(4), near(4)]);
        let system = System {
            cell,
            template_numbers: vec![78; 3],
            template_positions,
            free_numbers: vec![78; 4],
            mobile: Default::default(),
            extras: None,
            molecules: Default::default(),
            confinement: None,
        };
        n_pairs += check_graph(&format!("trial {trial}: {cell:?}"), &system, 4.5, &structures, &stream);
    }
    assert!(n_pairs > 2000, "{n_pairs}");
}

/// Lattices: distances equal to the cutoff to the last digit, which f32 cannot tell apart.
#[test]
fn graphs_at_the_cutoff() {
    let stream = stream(&device_names()[0]);
    for period in [1.0, 1.5, 2.0, 3.0] {
        let cell = Cell { vectors: [[period, 0.0, 0.0], [0.0, period, 0.0], [0.0, 0.0, period]], periodic: [true; 3] };
        let free = vec![[0.0; 3], [0.5 * period, 0.5 * period, 0.5 * period], [0.5 * period, 0.0, 0.25]];
        let system = System {
            cell,
            template_numbers: vec![78],
            template_positions: vec![[0.0, 0.5, 0.0]],
            free_numbers: vec![78; 3],
            mobile: Default::default(),
            extras: None,
            molecules: Default::default(),
            confinement: None,
        };
        for cutoff in [3.0, 3.0 + 1e-9, 3.0 - 1e-9, 4.5] {
            check_graph(
                &format!("period {period}, cutoff {cutoff}"),
                &system,
                cutoff,
                std::slice::from_ref(&free),
                &stream,
            );
        }
    }
}

/// Atoms on each other, far outside, and nowhere: no edge more than the CPU finds, and no fault.
#[test]
fn graphs_of_odd_positions() {
    let stream = stream(&device_names()[0]);
    for (name, system) in SYSTEMS {
        let system = system();
        let sound = prior_structures(&system, 1, 3).remove(0);
        let mut structures = vec![vec![sound[0]; sound.len()]];
        for tiny in [1e-5, 1e-9, 1e-161, 5e-324] {
            structures.push((0..sound.len()).map(|k| [tiny * k as f64, 0.0, 0.0]).collect());
        }
        for far in [70.0, -1e4, 1e7, 1e12, 1e300, f64::INFINITY, f64::NAN] {
            for axis in 0..3 {
                let mut moved = sound.clone();
                moved[0][axis] += far;
                structures.push(moved);
                let mut together = sound.clone();
                together.iter_mut().for_each(|x| x[axis] += far);
                structures.push(together);
            }
        }
        check_graph(name, &system, CUTOFF, &structures, &stream);
    }
}

#[derive(serde::Deserialize)]
struct ReferenceGraph {
    name: String,
    cutoff_angstrom: f64,
    cell_angstrom: [Vec3; 3],
    pbc: [bool; 3],
    positions_angstrom: Vec<Vec3>,
    edges_i_j_shift: Vec<[i32; 5]>,
}

/// Lists made with matscipy (tests/fixtures/README.md): every atom free, so every edge is found.
#[test]
fn graphs_of_an_independent_code() {
    let all: Vec<ReferenceGraph> =
        serde_json::from_reader(GzDecoder::new(&include_bytes!("fixtures/radius_graph.json.gz")[..])).unwrap();
    for stream in streams() {
        for case in &all {
            let n = case.positions_angstrom.len();
            let system = System {
                cell: Cell { vectors: case.cell_angstrom, periodic: case.pbc },
                template_numbers: vec![],
                template_positions: vec![],
                free_numbers: vec![78; n],
                mobile: Default::default(),
                extras: None,
                molecules: Default::default(),
                confinement: None,
            };
            let n_pairs = case.edges_i_j_shift.len() / 2;
            let graph = RadiusGraph::new(&stream, &system, case.cutoff_angstrom, 1, n_pairs).unwrap();
            let positions = stream.upload(&flat(std::slice::from_ref(&case.positions_angstrom))).unwrap();
            graph.run(&stream, &positions, 1).unwrap();
            let starts = stream.read(&graph.edge_starts).unwrap();
            let edges = stream.read(&graph.edges).unwrap();
            let mut found: Vec<(usize, i32)> = (0..n)
                .flat_map(|i| {
                    edges[starts[i] as usize..starts[i + 1] as usize].iter().map(move |e| (i, e[3].to_bits() as i32))
                })
                .collect();
            found.sort_unstable();
            let expected: Vec<(usize, i32)> = case.edges_i_j_shift.iter().map(|e| (e[0] as usize, e[1])).collect();
            assert_eq!(found, expected, "{}", case.name);
        }
    }
}

/// Slots that do not suffice are reported, nothing is written beyond them, and after growing all is there.
#[test]
fn overflow_is_seen_and_cured() {
    for stream in streams() {
        let system = heptamer();
        let structures = prior_structures(&system, 5, 2);
        let needed: Vec<usize> = structures
            .iter()
            .map(|free| {
                let all = [&system.template_positions[..], free].concat();
                let edges = radius_graph(&system.cell, &all, CUTOFF);
                edges.iter().filter(|e| e.i.max(e.j) as usize >= system.n_template()).count() / 2
            })
            .collect();
        let (most, least) = (*needed.iter().max().unwrap(), *needed.iter().min().unwrap());
        assert!(least < most, "{needed:?}");
        let mut graph = RadiusGraph::new(&stream, &system, CUTOFF, 5, most - 1).unwrap();
        let positions = stream.upload(&flat(&structures)).unwrap();
        graph.run(&stream, &positions, 5).unwrap();
        assert_eq!(graph.overflowed(&stream).unwrap(), Some(most));
        let left: Vec<usize> = stream.read(&graph.n_pairs).unwrap().iter().map(|&n| n as usize).collect();
        assert_eq!(left, needed.iter().map(|&n| if n == most { 0 } else { n }).collect::<Vec<_>>());
        let starts = stream.read(&graph.edge_starts).unwrap();
        let n_neighbours = stream.read(&graph.n_neighbours).unwrap();
        for (s, &n) in needed.iter().enumerate() {
            let starts = &starts[s * (system.n_atoms() + 1)..][..system.n_atoms() + 1];
            assert_eq!(starts[system.n_atoms()] as usize, if n == most { 0 } else { 2 * n });
            assert!(starts.is_sorted());
            assert!((n_neighbours[s] as usize == system.n_free()) == (n == most));
        }
        graph.grow(&stream, most).unwrap();
        graph.run(&stream, &positions, 5).unwrap();
        assert_eq!(graph.overflowed(&stream).unwrap(), None);
        let now: Vec<usize> = stream.read(&graph.n_pairs).unwrap().iter().map(|&n| n as usize).collect();
        assert_eq!(now, needed);
    }
}

/// So many free atoms that the counts do not fit into shared memory.
#[test]
fn graphs_with_counts_outside_shared_memory() {
    let stream = stream(&device_names()[0]);
    let mut random = Random::new(6);
    let cell = Cell { vectors: [[14.0, 0.0, 0.0], [2.0, 13.0, 0.0], [0.0, 1.0, 15.0]], periodic: [true; 3] };
    let mut atoms =
        |n: usize| -> Vec<Vec3> { (0..n).map(|_| cell.cartesian(std::array::from_fn(|_| random.uniform()))).collect() };
    let system = System {
        cell,
        template_numbers: vec![78; 40],
        template_positions: atoms(40),
        free_numbers: vec![78; 120],
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    };
    check_graph("large", &system, 3.5, &[atoms(120), atoms(120)], &stream);
}

#[test]
fn structures_beyond_the_device_are_refused() {
    let stream = stream(&device_names()[0]);
    for (n, sentence) in
        [(70_000, "more than the 65535 of the GPU engine"), (30_000, "bytes of the GPU's shared memory")]
    {
        let system = System {
            cell: Cell::NONE,
            template_numbers: vec![],
            template_positions: vec![],
            free_numbers: vec![78; n],
            mobile: Default::default(),
            extras: None,
            molecules: Default::default(),
            confinement: None,
        };
        let error = RadiusGraph::new(&stream, &system, CUTOFF, 1, 10).err().expect("a refusal");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(sentence), "{error}");
    }
}

const NOISE: RandomStream = RandomStream { seed: 2024, iteration: 3 };

/// In a unit cell the prior is the uniform numbers themselves, whose words follow.
#[test]
fn the_device_draws_the_same_integers() {
    let unit = Cell { vectors: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], periodic: [true; 3] };
    let setup = setup(System { cell: unit, ..thin_bulk() }, [8, 1, 4]);
    let n_free = setup.system.n_free();
    let expected = Noise::new(NOISE.seed, Purpose::Prior, NOISE.iteration);
    for stream in streams() {
        let process = ReverseProcess::new(&stream, &setup, 64).unwrap();
        process.prior(&stream, NOISE, 100..164).unwrap();
        let positions = stream.read(&process.positions).unwrap();
        for (k, x) in positions.as_chunks::<3>().0.iter().enumerate() {
            let words = expected.words((100 + k / n_free) as u32, 0, (k % n_free) as u32, 0);
            let found = x.map(|u| (u * 4294967296.0 - 0.5) as u32);
            assert_eq!(found[..], words[..3], "atom {k}");
        }
    }
}

#[test]
fn the_prior_equals_that_of_the_cpu() {
    for stream in streams() {
        for (name, system) in SYSTEMS {
            let setup = setup(system(), [8, 1, 4]);
            let process = ReverseProcess::new(&stream, &setup, 9).unwrap();
            process.prior(&stream, NOISE, 5..14).unwrap();
            let noise = Noise::new(NOISE.seed, Purpose::Prior, NOISE.iteration);
            let expected: Vec<FreePositions> = (5..14).map(|s| prior(&setup.system, &noise, s)).collect();
            assert_near(name, &stream.read(&process.positions).unwrap(), &flat(&expected));
            assert_eq!(stream.read(&process.steps).unwrap(), [0; 9]);
            let features = [std::f64::consts::PI.sin(), -1.0].repeat(9);
            assert_rounded(name, &stream.read(&process.time_features).unwrap(), features);
        }
    }
}

/// One reverse step on the CPU, as in src/engine/cpu/sample.rs.
fn step_on_cpu(setup: &Setup, k: usize, structure: u32, x: &mut FreePositions, scores: &[Vec3]) {
    let (system, mut scores) = (&setup.system, scores.to_vec());
    let schedule = ReverseSchedule::new(setup.reverse.steps, setup.reverse.t_min).unwrap();
    let noise = Noise::new(NOISE.seed, Purpose::Reverse, NOISE.iteration);
    let (t, dt, last) = (schedule.time(k), schedule.dt(), schedule.is_last(k));
    let g2 = setup.sde.diffusion_squared(t);
    let (scale_of_all, sigma) = (setup.reverse.score_scale, setup.sde.noise_scale(t));
    let cooling = setup.reverse.basin_variance.map_or(scale_of_all, |v| basin_score_scale(scale_of_all, v, sigma));
    let times = limited_score_scale(cooling, sigma, g2, dt);
    scores.iter_mut().for_each(|score| *score = scale(times, *score));
    if system.is_free_cluster() {
        remove_centre(&mut scores);
        let spread = if last { 0.0 } else { (g2 * dt).sqrt() };
        let normals = centred_normals(&noise, structure, k as u32, x.len());
        for ((x, &score), normal) in x.iter_mut().zip(&scores).zip(normals) {
            *x = add(reverse_mean(*x, score, g2, dt), scale(spread, normal));
        }
        return;
    }
    for (atom, (x, &output)) in x.iter_mut().zip(&scores).enumerate() {
        let process = AtomProcess::of(system, &setup.sde, atom);
        let uniforms = noise.uniforms(structure, k as u32, atom as u32, 0);
        let (score, g2) = (process.score(output), process.diffusion_squared(g2));
        *x = system.wrap(atom, reverse_step(*x, score, g2, dt, uniforms, process.confinement, last));
    }
}

/// Scores of every size, so that means leave the confinement by a little and by far.
fn scores(system: &System, n: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let magnitudes = [0.0, 1.0, 30.0, 1e3, 1e5, 1e7];
    (0..n * system.n_free())
        .flat_map(|_| scale(magnitudes[random.below(magnitudes.len())], random.vector()))
        .map(|x| x as f32)
        .collect()
}

/// Compares whole trajectories, each step from the device's own positions, so that errors of far excursions do not add up.
#[test]
fn reverse_steps_equal_those_of_the_cpu() {
    for stream in streams() {
        let scales = [(1, 1.0, None), (3, 1.0, None), (1, 4.0, None), (1, 4.0, Some(0.01))];
        let cases = SYSTEMS.into_iter().flat_map(|case| scales.map(|noise| (case, noise)));
        for ((name, system), (rho, score_scale, basin_variance)) in cases {
            let mut setup = setup(system(), [8, 1, 4]);
            setup.reverse = ReverseSettings { steps: 12, score_scale, basin_variance, ..setup.reverse };
            setup.sde.rho = rho;
            let n = 10;
            let process = ReverseProcess::new(&stream, &setup, n).unwrap();
            process.prior(&stream, NOISE, 3..3 + n).unwrap();
            for k in 0..setup.reverse.steps {
                let before = stream.read(&process.positions).unwrap();
                let score = scores(&setup.system, n, k as u64);
                process.step(&stream, NOISE, 3..3 + n, &stream.upload(&score).unwrap()).unwrap();
                let after = stream.read(&process.positions).unwrap();
                let size = 3 * setup.system.n_free();
                for s in 0..n {
                    let vectors = |values: &[f64]| values.as_chunks::<3>().0.to_vec();
                    let mut x = vectors(&before[s * size..][..size]);
                    let wide: Vec<f64> = score[s * size..][..size].iter().map(|&x| f64::from(x)).collect();
                    step_on_cpu(&setup, k, (3 + s) as u32, &mut x, &vectors(&wide));
                    assert_near(&format!("{name}, step {k}"), &after[s * size..][..size], &flat(&[x]));
                }
                let next = (k + 1).min(setup.reverse.steps - 1);
                let t = ReverseSchedule::new(setup.reverse.steps, setup.reverse.t_min).unwrap().time(next);
                let (sin, cos) = (std::f64::consts::PI * t).sin_cos();
                assert_rounded(name, &stream.read(&process.time_features).unwrap(), [sin, cos].repeat(n));
                assert_eq!(stream.read(&process.steps).unwrap(), vec![k as u32 + 1; n]);
            }
            // Steps after the last change nothing.
            let done = stream.read(&process.positions).unwrap();
            let score = stream.upload(&scores(&setup.system, n, 1)).unwrap();
            process.step(&stream, NOISE, 3..3 + n, &score).unwrap();
            assert_eq!(stream.read(&process.positions).unwrap(), done);
            assert_eq!(stream.read(&process.steps).unwrap(), vec![12; n]);
        }
    }
}

/// A structure depends on its index alone, not on the batch, its neighbours, or the order of threads; bit for bit.
#[test]
fn batches_do_not_matter() {
    for (name, system) in SYSTEMS {
        let mut setup = setup(system(), [8, 1, 4]);
        setup.reverse.steps = 5;
        let n_free = setup.system.n_free();
        let score = scores(&setup.system, 11, 5);
        let sample = |stream: &gpu::Stream, bounds: &[usize]| -> Vec<f64> {
            let process = ReverseProcess::new(stream, &setup, 11).unwrap();
            let mut all = Vec::new();
            for bounds in bounds.windows(2) {
                let range = bounds[0]..bounds[1];
                process.prior(stream, NOISE, range.clone()).unwrap();
                let score = stream.upload(&score[3 * n_free * range.start..3 * n_free * range.end]).unwrap();
                for _ in 0..5 {
                    process.step(stream, NOISE, range.clone(), &score).unwrap();
                }
                all.extend(stream.read_part(&process.positions, 0, 3 * n_free * range.len()).unwrap());
            }
            all
        };
        let streams = streams();
        let whole = sample(&streams[0], &[0, 11]);
        for stream in &streams {
            assert_eq!(whole, sample(stream, &[0, 11]), "{name}");
            assert_eq!(whole, sample(stream, &[0, 1, 4, 11]), "{name}");
        }
    }
}

/// A captured step replays with the step that stands in device memory, and goes back to where it was saved.
#[test]
fn captured_steps_and_rewinding() {
    for stream in streams() {
        let mut setup = setup(slab(), [8, 1, 4]);
        setup.reverse.steps = 6;
        let score = stream.upload(&scores(&setup.system, 3, 5)).unwrap();
        let process = ReverseProcess::new(&stream, &setup, 3).unwrap();
        process.prior(&stream, NOISE, 0..3).unwrap();
        for _ in 0..6 {
            process.step(&stream, NOISE, 0..3, &score).unwrap();
        }
        let expected = stream.read(&process.positions).unwrap();
        process.prior(&stream, NOISE, 0..3).unwrap();
        let graph = stream
            .capture(|| {
                process.save(&stream)?;
                process.step(&stream, NOISE, 0..3, &score)?;
                process.step(&stream, NOISE, 0..3, &score)
            })
            .unwrap();
        for _ in 0..2 {
            stream.replay(&graph).unwrap();
        }
        process.rewind(&stream).unwrap();
        assert_eq!(stream.read(&process.steps).unwrap(), [2; 3]);
        for _ in 0..2 {
            stream.replay(&graph).unwrap();
        }
        assert_eq!(stream.read(&process.positions).unwrap(), expected);
    }
}

fn training_set(system: &System, n_members: u32) -> TrainingSet {
    let mut positions = prior_structures(system, n_members, 77);
    if let Some(Confinement { z_lo, z_hi }) = system.confinement {
        // At the bounds the noise is truncated most.
        positions[0].iter_mut().for_each(|x| x[2] = z_hi);
        positions[1].iter_mut().for_each(|x| x[2] = z_lo);
    }
    let weights = (0..n_members).map(|k| 0.3 + 0.2 * f64::from(k)).collect();
    TrainingSet { positions, weights, forces: None, targets: Targets::Noise }
}

/// Batches as in src/engine/cpu/train.rs, over several epochs, the last step of each not full.
#[test]
fn forward_noise_equals_that_of_the_cpu() {
    for stream in streams() {
        for (name, system) in SYSTEMS {
            for weighting in [Weighting::Dsm, Weighting::Published] {
                for sde in [
                    Sde::default(),
                    Sde { sigma_min: 1e-4, sigma_max: 2000.0, rho: 1 },
                    Sde { sigma_min: 0.01, sigma_max: 3.0, rho: 3 },
                ] {
                    let mut setup = setup(system(), [8, 1, 4]);
                    setup.training.weighting = weighting;
                    setup.sde = sde;
                    check_forward_noise(name, &setup, &stream);
                }
            }
        }
    }
}

/// The noise alone, and mixed with scores.
fn all_targets(setup: &Setup, n_members: u32) -> [Targets; 2] {
    let mut random = Random::new(5);
    let forces = |_| (0..setup.system.n_free()).map(|_| scale(3.0, random.vector())).collect::<Vec<Vec3>>();
    let of = |forces: Vec<Vec3>| force_scores(&setup.system, &setup.sde, &forces, 0.2, 10.0);
    let scores = (0..n_members).map(forces).map(of).collect();
    [Targets::Noise, Targets::Mixed { scores, mixture: Mixture { mean_square: 2.5, force_share: 0.75 } }]
}

fn check_forward_noise(name: &str, setup: &Setup, stream: &gpu::Stream) {
    for targets in all_targets(setup, 6) {
        check_forward_noise_towards(name, setup, stream, targets);
    }
}

fn check_forward_noise_towards(name: &str, setup: &Setup, stream: &gpu::Stream, targets: Targets) {
    let (n_members, n_steps, n_launches, loaded) = (6usize, 3, 3, 8);
    let (system, batch) = (&setup.system, setup.training.batch);
    let (n_free, set) = (system.n_free(), TrainingSet { targets, ..training_set(system, n_members as u32) });
    let n_averaged = if setup.training.weighting == Weighting::Dsm { n_free } else { system.n_atoms() };
    let mut kernel = ForwardNoise::new(stream, setup, n_steps, [true, false]).unwrap();
    kernel.load(stream, NOISE, &set, loaded).unwrap();
    let order = visiting_order(NOISE, n_members, 4);
    let (time, forward) = (
        Noise::new(NOISE.seed, Purpose::Time, NOISE.iteration),
        Noise::new(NOISE.seed, Purpose::Forward, NOISE.iteration),
    );
    for launch in 0..n_launches {
        kernel.run(stream).unwrap();
        let positions = stream.read(&kernel.positions).unwrap();
        let offset = stream.read(&kernel.offset).unwrap();
        let features = stream.read(&kernel.time_features).unwrap();
        let (factor, scales) = (stream.read(&kernel.factor).unwrap(), stream.read(&kernel.scale).unwrap());
        for s in 0..n_steps * batch {
            let (step, slot) = (launch * n_steps + s / batch, s % batch);
            let what = format!("{name}: step {step}, slot {slot}");
            let rows = 3 * n_free * s..3 * n_free * (s + 1);
            // Two steps an epoch: four members, then two.
            let n_filled = if step % 2 == 0 { 4 } else { 2 };
            if slot >= n_filled || step >= loaded {
                assert_eq!(positions[rows.clone()], flat(&set.positions[..1]), "{what}");
                assert!(offset[rows].iter().chain([&factor[s], &scales[s]]).all(|&x| x == 0.0), "{what}");
                assert_eq!(features[2 * s..][..2], [0.0, 1.0], "{what}");
                continue;
            }
            let member = order[step / 2 * n_members + step % 2 * batch + slot] as usize;
            let t = 1e-5 + (1.0 - 1e-5) * time.uniforms(slot as u32, step as u32, 0, 0)[0];
            let sigma = setup.sde.noise_scale(t);
            let clean = &set.positions[member];
            let (mut moved, mut noise): (Vec<Vec3>, Vec<Vec3>) = (0usize..)
                .zip(clean)
                .map(|(atom, &x)| {
                    let process = AtomProcess::of(system, &setup.sde, atom);
                    let uniforms = forward.uniforms(slot as u32, step as u32, atom as u32, 0);
                    let noised = forward_noise(x, process.factor * sigma, uniforms, process.confinement);
                    (noised.position, noised.noise)
                })
                .unzip();
            if system.is_free_cluster() {
                remove_centre(&mut noise);
                moved = clean.iter().zip(&noise).map(|(&x, &e)| add(x, scale(sigma, e))).collect();
            }
            assert_near(&what, &positions[rows.clone()], &flat(&[moved]));
            if let Targets::Mixed { scores, mixture } = &set.targets {
                for (atom, offset) in noise.iter_mut().enumerate() {
                    let (score, bounds) = (scores[member][atom], system.confinement_of(atom));
                    *offset = mixture.offset(*offset, score, sigma, clean[atom][2], bounds);
                }
            }
            assert_rounded(&what, &offset[rows], flat(&[noise]));
            let (sin, cos) = (std::f64::consts::PI * t).sin_cos();
            assert_rounded(&what, &features[2 * s..][..2], [sin, cos]);
            let squared = setup.training.weighting == Weighting::Published;
            assert_rounded(&what, &factor[s..][..1], [if squared { sigma * sigma } else { sigma }]);
            assert_rounded(&what, &scales[s..][..1], [set.weights[member] / (n_filled * n_averaged) as f64]);
        }
    }
    // From a given step on, the same again.
    let last = stream.read(&kernel.positions).unwrap();
    kernel.start(stream, (n_launches - 1) * n_steps).unwrap();
    kernel.run(stream).unwrap();
    assert_eq!(stream.read(&kernel.positions).unwrap(), last);
}

/// Heights drawn from every branch of the truncated normal, to their last digits: the bounds lie around the mean, beside it and
/// so far out that tail probabilities underflow, wide apart and close together.
#[test]
fn truncated_heights_to_their_last_digits() {
    let stream = stream(&device_names()[0]);
    for (z_lo, z_hi) in
        [(-3.0, 2.0), (0.5, 0.9), (-40.0, -1.0), (1e-3, 2e-3), (35.0, 60.0), (-35.01, -35.0), (900.0, 901.0)]
    {
        let confinement = Some(Confinement { z_lo, z_hi });
        let mut setup = setup(System { confinement, ..slab() }, [8, 1, 4]);
        setup.sde = Sde { sigma_min: 0.01, sigma_max: 2.0, rho: 1 };
        setup.training.batch = 64;
        let n_free = setup.system.n_free();
        let set = TrainingSet {
            positions: vec![vec![[0.0; 3]; n_free]; 64],
            weights: vec![1.0; 64],
            forces: None,
            targets: Default::default(),
        };
        let mut kernel = ForwardNoise::new(&stream, &setup, 4, [true, false]).unwrap();
        kernel.load(&stream, NOISE, &set, 4).unwrap();
        kernel.run(&stream).unwrap();
        let time = Noise::new(NOISE.seed, Purpose::Time, NOISE.iteration);
        let forward = Noise::new(NOISE.seed, Purpose::Forward, NOISE.iteration);
        for (row, x) in stream.read(&kernel.positions).unwrap().as_chunks::<3>().0.iter().enumerate() {
            let (step, slot, atom) = ((row / n_free / 64) as u32, (row / n_free % 64) as u32, (row % n_free) as u32);
            let sigma = setup.sde.noise_scale(1e-5 + (1.0 - 1e-5) * time.uniforms(slot, step, 0, 0)[0]);
            let uniforms = forward.uniforms(slot, step, atom, 0);
            let z = forward_noise([0.0; 3], sigma, uniforms, confinement.as_ref()).position[2];
            // The length over which the density varies, Å.
            let nearest = z_lo.max(-z_hi).max(0.0);
            let length = (z_hi - z_lo).min(sigma).min(sigma * sigma / nearest);
            let bound = 1e-12 * length + 8.0 * f64::EPSILON * z.abs();
            assert!((x[2] - z).abs() <= bound, "[{z_lo}, {z_hi}], σ {sigma}: {} for {z}", x[2]);
        }
    }
}

/// A buffer smaller than the batch fills each step as far as it goes.
#[test]
fn small_training_sets_leave_slots_empty() {
    let stream = stream(&device_names()[0]);
    let setup = setup(slab(), [8, 1, 4]);
    let mut kernel = ForwardNoise::new(&stream, &setup, 2, [true, false]).unwrap();
    kernel.load(&stream, NOISE, &training_set(&setup.system, 3), 5).unwrap();
    kernel.run(&stream).unwrap();
    let scales = stream.read(&kernel.scale).unwrap();
    assert_eq!(scales.iter().map(|&x| x > 0.0).collect::<Vec<_>>(), [true, true, true, false].repeat(2));
    let total: f32 = scales[..4].iter().sum();
    assert!((total - (0.3 + 0.5 + 0.7) / (3.0 * setup.system.n_free() as f32)).abs() < 1e-6);
    let empty = TrainingSet { positions: vec![], weights: vec![], forces: None, targets: Default::default() };
    let error = kernel.load(&stream, NOISE, &empty, 5).unwrap_err();
    assert_eq!(error.to_string(), "there is nothing to train on: the training set is empty");
}
