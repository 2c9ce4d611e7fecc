//! The kernels as NVRTC compiled them: every one runs as the PTX that this build embeds, beside its C++, and both must agree within
//! stated bounds (`godiff::gpu::bounds`). Faults that a card would end a launch for are found in it.
//!
//! One test runs all kernels, so that it can count: `kernels/instructions.md` is the table that it compares with.
#![cfg(all(feature = "emulator", feature = "cuda"))]

#[path = "reference/halves.rs"]
mod halves;
mod reference;

use bytemuck::{Pod, Zeroable};
use godiff::engine::cuda::Cuda;
use godiff::engine::{Consensus, Engine, ForceSet, RandomStream, Sampler, Setup, StoppingRule, Storage, TrainingSet};
use godiff::gpu::kernels::{modules, nvrtc_version};
use godiff::gpu::{Arguments, CompiledLaunches, Device, Entry, Pointer, Shape, bounds, compiled_launches};
use godiff::potential::relax::{RelaxSettings, relax_all};
use godiff::potential::{EmtOnDevice, Potential};
use godiff::system::{Structure, System, read_structure};
use half::f16;
use halves::converted;
use reference::systems::{heptamer, prior_structures, random_state, random_vectors, rattled, setup, slab};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const STREAM: RandomStream = RandomStream { seed: 3, iteration: 1 };

/// Every launch as C++ and as PTX.
const BOTH: &str = "emulator:ptx=compare";
/// Every launch as PTX.
const PTX: &str = "emulator:ptx=only";

/// False, and said so, where there is no PTX.
fn built_with_nvrtc() -> bool {
    let built = nvrtc_version().is_some();
    if !built {
        eprintln!("skipped: built without NVRTC");
    }
    built
}

// ---- All kernels of the engine ----

/// One step on both losses with `batch` structures, watched by both stopping rules in turn and with a readout if `stops`, then two
/// guided samples.
fn train_and_sample(setup: &Setup, batch: u32, stops: bool) {
    let rule = |consensus| StoppingRule { consensus, free_steps: 0, patience: 1, drop: 0.5 };
    let rules = [Consensus::Momentum, Consensus::Halves].map(|consensus| Some(rule(consensus)));
    for stop in if stops { &rules[..] } else { &[None] } {
        train_and_sample_with(*stop, setup, batch);
    }
}

fn train_and_sample_with(stop: Option<StoppingRule>, setup: &Setup, batch: u32) {
    let mut setup = setup.clone();
    setup.training.batch = batch as usize;
    setup.training.stop = stop;
    setup.reverse.steps = 2;
    let mut labels = vec![];
    if let (Some(guidance), true) = (&mut setup.guidance, stop.is_some()) {
        guidance.energy_weight = 2.0;
        labels = vec![-0.5, 0.0, 1.5];
    }
    let mut engine = Cuda::new(&Device::open(BOTH).unwrap(), &setup).unwrap();
    engine.restore(&random_state(&setup, 4)).unwrap();
    let system = &setup.system;
    let (positions, forces) = (prior_structures(system, 3, 8), random_vectors(system, 3, 9));
    let forces = ForceSet { positions, forces, labels };
    let set = TrainingSet {
        positions: prior_structures(system, 3, 7),
        weights: vec![0.5, 1.0, 1.5],
        forces: Some(forces),
        targets: Default::default(),
    };
    engine.train(STREAM, &set, 1, &mut |_| Ok(())).unwrap();
    let readouts = engine.readout(&set.positions).unwrap().unwrap();
    assert!(readouts.iter().all(|x| x.is_finite()));
    let samples = engine.sample(STREAM, 0..2, Sampler::Guided, &mut |_| Ok(())).unwrap();
    assert!(samples.iter().flatten().flatten().all(|x| x.is_finite()));
}

/// Small and large tiles, few and many filter rows, one precision.
fn network(precision: Storage) {
    let with = |system: System, shape| Setup { precision, ..setup(system, shape) };
    // Forty-two structures of twelve atoms make large tiles.
    train_and_sample(&with(slab(), [64, 3, 8]), 42, false);
    train_and_sample(&with(rattled(slab(), 0.1, 1), [12, 3, 5]), 4, true);
    train_and_sample(&with(heptamer(), [8, 3, 4]), 1, false);
}

/// Every half widened, and as many numbers narrowed.
fn conversions() {
    let halves: Vec<u16> = (0..=u16::MAX).collect();
    let values: Vec<f32> = halves.iter().map(|&bits| f16::from_bits(bits).to_f32() * 1.000_244).collect();
    let (_, _, widened) = converted(&Device::open(BOTH).unwrap(), &values, &halves);
    assert!(widened.iter().zip(&halves).all(|(x, &bits)| x.is_nan() || *x == f16::from_bits(bits).to_f32()));
}

/// Energies, forces and three steps of a relaxation.
fn emt() {
    let potential = EmtOnDevice::new(&Device::open(BOTH).unwrap(), false, None).unwrap();
    let minimum = read_structure(Path::new("configs/structures/pt-adatom-minimum.xyz")).unwrap();
    let mut start: Structure = minimum.clone();
    start.fixed = (0..start.n_atoms()).map(|i| i + 1 < start.n_atoms()).collect();
    start.positions[minimum.n_atoms() - 1][0] += 0.2;
    let starts = [start];
    let mut n_answers = 0;
    potential
        .evaluate(&starts, &mut |answers| {
            n_answers += answers.len();
            Ok(())
        })
        .unwrap();
    assert_eq!(n_answers, 1);
    let settings = RelaxSettings { max_steps: 3, fmax_ev_per_angstrom: 1e-6, ..RelaxSettings::default() };
    assert_eq!(relax_all(&starts, &potential, &settings, &|| false).unwrap()[0].n_steps, 3);
}

/// A class of instructions: its name, and whether it counts an opcode.
type Class = (&'static str, fn(&str) -> bool);

/// Classes in the order of the table; the first that counts an opcode has it.
const CLASSES: [Class; 7] = [
    ("f32 fma", |opcode| opcode.starts_with("fma") && opcode.ends_with("f32")),
    ("f32", |opcode| opcode.ends_with("f32") && !is_memory(opcode) && !opcode.starts_with("mov")),
    ("f64", |opcode| opcode.ends_with("f64") && !is_memory(opcode) && !opcode.starts_with("mov")),
    ("global", |opcode| {
        opcode.starts_with("ld.global") || opcode.starts_with("st.global") || opcode.starts_with("atom")
    }),
    ("shared", |opcode| opcode.starts_with("ld.shared") || opcode.starts_with("st.shared")),
    ("lanes, barriers", |opcode| ["bar", "shfl", "vote"].iter().any(|start| opcode.starts_with(start))),
    ("rest", |_| true),
];

fn is_memory(opcode: &str) -> bool {
    ["ld.", "st.", "atom."].iter().any(|start| opcode.starts_with(start))
}

/// Instructions a thread by class, on average over all launches.
fn a_thread(launches: &CompiledLaunches) -> [f64; CLASSES.len()] {
    let mut sums = [0.0; CLASSES.len()];
    for (opcode, n) in &launches.executed {
        let class = CLASSES.iter().position(|(_, counts)| counts(opcode)).expect("the last class counts all");
        sums[class] += *n as f64 / launches.threads as f64;
    }
    sums
}

const TABLE: &str = "kernels/instructions.md";
/// Head of the table, up to the version of NVRTC.
const HEAD: &str = "# Instructions a thread\n\nOf every kernel, as PTX by NVRTC ";
/// The largest rise of a kernel's instructions that needs no blessing.
const TOLERANCE: f64 = 0.03;

fn table((major, minor): (u32, u32), ran: &BTreeMap<&str, CompiledLaunches>) -> String {
    let mut text =
        format!("{HEAD}{major}.{minor}. Averages over the small systems of `tests/compiled_kernels.rs`, which ");
    text += "compares:\na kernel's sum may not rise by more than 3%. With `GODIFF_BLESS=1` it writes. The systems have 12 to ";
    text += "79 atoms and 8 to 64\nfeatures, so the numbers compare two versions of a kernel and not two kernels.\n\n";
    let classes: Vec<&str> = CLASSES.iter().map(|(name, _)| *name).collect();
    let _ = writeln!(text, "| kernel | all | {} |\n|---|---|{}", classes.join(" | "), "---|".repeat(CLASSES.len()));
    for (kernel, launches) in ran {
        let sums = a_thread(launches);
        let cells: Vec<String> = sums.iter().map(|sum| format!("{sum:.1}")).collect();
        let _ = writeln!(text, "| `{kernel}` | {:.1} | {} |", sums.iter().sum::<f64>(), cells.join(" | "));
    }
    text
}

/// Kernels and their sums in a table.
fn sums(table: &str) -> BTreeMap<&str, f64> {
    let row = |line| {
        let line: &str = line;
        let mut cells = line.split('|').map(str::trim).skip(1);
        let kernel = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((kernel, cells.next()?.parse().ok()?))
    };
    table.lines().filter_map(row).collect()
}

/// What rose in `now` by more than the tolerance, or is not in `committed`.
fn rises(now: &str, committed: &str) -> Vec<String> {
    let then = sums(committed);
    let rise = |(kernel, sum): (&str, f64)| {
        let before = then.get(kernel).copied().unwrap_or(0.0);
        (sum > before * (1.0 + TOLERANCE)).then(|| format!("{kernel}: {sum} instructions a thread, {before} before"))
    };
    sums(now).into_iter().filter_map(rise).collect()
}

fn report(ran: &BTreeMap<&str, CompiledLaunches>) {
    println!("kernel, launches, instructions reached, largest differences from C++ (f32, f64):");
    for (kernel, launches) in ran {
        let [f32s, f64s] = launches.differences;
        let (reached, all) = launches.reached;
        println!("{kernel:32} {:5} {reached:5} of {all:5} {f32s:9.1e} {f64s:9.1e}", launches.launches);
    }
    let mut opcodes: BTreeMap<&str, u64> = BTreeMap::new();
    for (opcode, n) in ran.values().flat_map(|launches| &launches.executed) {
        *opcodes.entry(opcode).or_default() += n;
    }
    println!("{} opcodes, executed by threads:", opcodes.len());
    for (opcode, n) in opcodes {
        println!("{opcode:32} {n:12}");
    }
}

#[test]
fn every_kernel_as_ptx_and_as_cpp() {
    let Some(version) = nvrtc_version() else {
        built_with_nvrtc();
        return;
    };
    for precision in [Storage::F32, Storage::Mixed] {
        network(precision);
    }
    conversions();
    emt();
    let kernels: Vec<&str> = modules().iter().flat_map(|module| module.kernels).map(|kernel| kernel.name).collect();
    let mut ran = compiled_launches();
    ran.retain(|kernel, _| kernels.contains(kernel));
    report(&ran);
    let missing: Vec<&&str> = kernels.iter().filter(|kernel| !ran.contains_key(**kernel)).collect();
    assert!(missing.is_empty(), "kernels that no launch ran: {missing:?}");
    // The comparison compares: results differ in last bits, and by less than the bounds.
    let [f32s, f64s] = [0, 1].map(|k| ran.values().map(|launches| launches.differences[k]).fold(0.0, f64::max));
    assert!(f32s > 0.0 && f32s < bounds::MIXED && f64s < bounds::F64_MANY_STEPS, "{f32s} {f64s}");

    let now = table(version, &ran);
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE);
    if std::env::var_os("GODIFF_BLESS").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    if !committed.starts_with(&format!("{HEAD}{}.{}. ", version.0, version.1)) {
        eprintln!("skipped: {TABLE} is of another NVRTC");
        return;
    }
    let rises = rises(&now, &committed);
    let hint = format!("if that is wanted, repeat with GODIFF_BLESS=1 and commit {TABLE}");
    assert!(rises.is_empty(), "more instructions; {hint}:\n{}", rises.join("\n"));
}

/// The check above would notice.
#[test]
fn more_instructions_are_noticed() {
    let committed = "| `a` | 100.0 | 1 |\n| `b` | 50.0 | 1 |\n";
    assert!(rises("| `a` | 102.9 | 1 |\n| `b` | 10.0 | 1 |\n", committed).is_empty());
    assert_eq!(rises("| `a` | 103.1 | 1 |\n", committed), ["a: 103.1 instructions a thread, 100 before"]);
    assert_eq!(rises("| `c` | 1.0 | 1 |\n", committed).len(), 1);
}

// ---- Planted bugs ----

/// What planted kernels take.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Numbers {
    x: Pointer<f32>,
    n: u32,
    which: u32,
}

impl Arguments for Numbers {
    const BYTES: usize = size_of::<Numbers>();

    fn put(&self, to: &mut [u8]) {
        to.copy_from_slice(bytemuck::bytes_of(self));
    }
}

/// x after a launch of `kernel` on the numbers 0 to `n - 1`.
fn launch(
    device: &str,
    kernel: &'static str,
    [blocks, threads, shared_bytes]: [u32; 3],
    n: u32,
    which: u32,
) -> godiff::Result<Vec<f32>> {
    let stream = Device::open(device)?.stream()?;
    let x = stream.upload(&(0..n).map(|i| i as f32).collect::<Vec<_>>())?;
    let shape = Shape { blocks: [blocks, 1], threads, shared_bytes };
    stream.launch(Entry::<Numbers>::new(kernel, 1024), shape, &Numbers { x: x.pointer(), n, which })?;
    stream.read(&x)
}

#[track_caller]
fn caught(device: &str, kernel: &'static str, shape: [u32; 3], n: u32, which: u32, words: &str) {
    let sentence = launch(device, kernel, shape, n, which).expect_err(kernel).to_string();
    assert!(sentence.starts_with(&format!("kernel {kernel}: ")) && sentence.contains(words), "{sentence}");
}

#[test]
fn accesses_that_a_card_refuses() {
    if !built_with_nvrtc() {
        return;
    }
    assert_eq!(launch(PTX, "planted_misaligned", [1, 32, 0], 8, 4).unwrap()[0], 22.0);
    caught(PTX, "planted_misaligned", [1, 32, 0], 8, 1, "is not aligned as its type needs (PTX, line");
    caught(
        PTX,
        "planted_global_overread",
        [1, 32, 0],
        5,
        0,
        "accesses 4 bytes at byte 20 of an allocation of 20 bytes",
    );
    caught(PTX, "planted_global_overrun", [1, 64, 0], 20, 0, "at byte 80 of an allocation of 80 bytes");
    caught(PTX, "planted_shared_overrun", [1, 128, 400], 1, 0, "of 400 bytes of shared memory");
    caught(PTX, "planted_wild_pointer", [1, 32, 0], 1, 0, "where nothing is allocated");
    caught(PTX, "planted_divide", [1, 32, 0], 32, 0, "divides an integer by zero");
}

#[test]
fn threads_and_lanes_that_do_not_meet() {
    if !built_with_nvrtc() {
        return;
    }
    for which in [0, 1] {
        caught(PTX, "planted_divergent_barrier", [1, 64, 0], 64, which, "has returned, but others wait for it");
    }
    caught(PTX, "planted_divergent_barrier", [1, 64, 0], 64, 2, "waits at another barrier");
    for (which, words) in [
        (0, "waits for lanes 0xffffffff, but thread"),
        (1, "waits for lanes 0xffffffff"),
        (2, "reads lane 20 in a shuffle"),
        (3, "names lanes 0x0000ffff, without its own"),
        (4, "waits for lanes 0xffffffff"),
    ] {
        caught(PTX, "planted_divergent_shuffle", [1, 64, 0], 64, which, words);
    }
}

/// PTX runs threads in the other order, so what depends on it differs from C++.
#[test]
fn missing_barriers_differ_from_cpp() {
    if !built_with_nvrtc() {
        return;
    }
    caught(BOTH, "planted_missing_barrier", [1, 256, 1024], 256, 0, "PTX and C++ differ");
    caught(BOTH, "planted_block_race", [8, 32, 0], 1, 0, "PTX and C++ differ");
    let x = launch(BOTH, "planted_uninitialised_shared", [2, 64, 256], 128, 0).unwrap();
    assert!(x.iter().enumerate().all(|(i, value)| value.is_nan() == (i % 64 == 7)), "{x:?}");
}

#[test]
fn right_kernels_give_the_same() {
    if !built_with_nvrtc() {
        return;
    }
    for device in [PTX, BOTH] {
        let x = launch(device, "planted_neighbour", [1, 256, 1024], 256, 0).unwrap();
        assert!(x.iter().enumerate().all(|(i, &value)| value == ((i + 1) % 256) as f32), "{device}");
        assert_eq!(launch(device, "planted_warp_tree", [1, 32, 128], 32, 0).unwrap()[0], 496.0, "{device}");
    }
}

// ---- The variable ----

#[test]
fn a_search_runs_on_ptx_alone() {
    if !built_with_nvrtc() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/smoke.toml");
    let structures = config.with_file_name("structures");
    let text = fs::read_to_string(&config).unwrap().replace("\"structures/", &format!("\"{}/", structures.display()));
    let text = text
        .replace("iterations = 3", "iterations = 1")
        .replace("samples_per_iteration = 12", "samples_per_iteration = 8");
    let text =
        text.replace("\nsteps = 40", "\nsteps = 5").replace("steps_per_iteration = 60", "steps_per_iteration = 2");
    fs::write(folder.path().join("tiny.toml"), text).unwrap();
    let search = |ptx: &str| {
        let arguments = ["search", "tiny.toml", "--quiet", "--device", "emulator", "--out", ptx];
        let mut command = Command::new(env!("CARGO_BIN_EXE_godiff"));
        command.args(arguments).current_dir(folder.path()).env("GODIFF_EMULATOR_PTX", ptx).output().unwrap()
    };
    let output = search("only");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(folder.path().join("only/best.xyz").exists());
    let sentence = String::from_utf8(search("sideways").stderr).unwrap();
    assert!(sentence.contains("GODIFF_EMULATOR_PTX: 'sideways' is not known"), "{sentence}");
    let error = Device::open("emulator:ptx=sideways").err().expect("refused").to_string();
    assert!(error.contains("ptx=off|compare|only|follow"), "{error}");
}
