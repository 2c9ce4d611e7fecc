//! The model of speed (`src/gpu/emulator/speed/`) on the steps of configs/pt-heptamer.toml: `kernels/speed.md` is the table that it
//! compares with, and that `godiff benchmark --kernels` prints beside what it measures.
#![cfg(all(feature = "emulator", feature = "cuda"))]

use godiff::config::Settings;
use godiff::diffusion::prior;
use godiff::engine::cuda::Cuda;
use godiff::engine::{Engine, ModelState, RandomStream, Sampler, TrainingSet};
use godiff::gpu::kernels::{modules, nvrtc_version};
use godiff::gpu::{CARDS, Device, FollowedLaunch, followed_launches};
use godiff::model::{Layout, initial_parameters};
use godiff::random::{Noise, Purpose};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const STREAM: RandomStream = RandomStream { seed: 0, iteration: 0 };
/// Structures that are sampled; the table is of eight times as many.
const SAMPLED: usize = 16;

/// The launches of a training step and of a reverse step.
fn follow_steps() -> [Vec<FollowedLaunch>; 2] {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/pt-heptamer.toml");
    let mut setup = Settings::load(&config).unwrap().setup();
    setup.training.stop = None;
    setup.reverse.steps = 2;
    let mut engine = Cuda::new(&Device::open("emulator:ptx=follow").unwrap(), &setup).unwrap();
    let parameters = initial_parameters(&Layout::new(&setup.sizes), 0);
    engine.restore(&ModelState::untouched(parameters, setup.training.learning_rate)).unwrap();
    let noise = Noise::new(0, Purpose::Prior, 0);
    let n = setup.training.batch;
    let set = TrainingSet {
        positions: (0..n as u32).map(|s| prior(&setup.system, &noise, s)).collect(),
        weights: vec![1.0; n],
        forces: None,
        targets: Default::default(),
    };
    engine.train(STREAM, &set, 1, &mut |_| Ok(())).unwrap();
    let trained = followed_launches();
    engine.sample(STREAM, 0..SAMPLED, Sampler::Plain, &mut |_| Ok(())).unwrap();
    let sampled = followed_launches().split_off(trained.len());
    let start = trained.iter().position(|launch| launch.kernel == "filters_forward").unwrap();
    let end = trained.iter().position(|launch| launch.kernel == "adamw").unwrap();
    let first = sampled.iter().position(|launch| launch.kernel == "radius_graph").unwrap();
    let last = sampled.iter().position(|launch| launch.kernel == "reverse_step").unwrap();
    [trained[start..=end].to_vec(), sampled[first..=last].to_vec()]
}

const TABLE: &str = "kernels/speed.md";
/// Head of the table, up to the version of NVRTC.
const HEAD: &str = "# Speed, predicted\n\nOf the kernels as PTX by NVRTC ";
/// The largest rise of a launch's time that needs no blessing.
const TOLERANCE: f64 = 0.03;

fn registers(kernel: &str) -> u32 {
    let mut kernels = modules().iter().flat_map(|module| module.kernels);
    let found = kernels.find(|found| found.name == kernel).unwrap();
    found.assembled.iter().find(|assembled| assembled.architecture == CARDS[0].architecture).unwrap().registers
}

/// One row: what a block asks for, and µs on every card; `many` is 0, or 1 for eight times as many structures.
fn row(launch: &FollowedLaunch, many: usize) -> String {
    let [f32s, whole, f64s] = launch.units;
    let (shape, kernel) = (launch.shape, launch.kernel);
    let blocks = shape.blocks[0] * shape.blocks[1] * [1, 8][many];
    let mut text = format!("| `{kernel}` | {blocks} | {} | {} | ", shape.shared_bytes, registers(kernel));
    let _ = write!(text, "{:.0} | {f32s:.0} | {whole:.0} | {f64s:.0} | ", launch.issued);
    let _ = write!(text, "{:.0} | {:.0} | {:.1} | ", launch.sectors, launch.passes, launch.in_flight);
    let _ = write!(text, "{}, {}", launch.bound[0], launch.bound[CARDS.len() - 1]);
    let times: String = launch.microseconds.iter().map(|times| format!(" | {:.1}", times[many])).collect();
    text + &times + " |\n"
}

/// A row that has times alone.
fn times(what: &str, times: [f64; CARDS.len()]) -> String {
    let cells: String = times.iter().map(|time| format!(" {time:.1} |")).collect();
    format!("| {what} | | | | | | | | | | | |{cells}\n")
}

fn section(title: &str, launches: &[FollowedLaunch], many: usize) -> String {
    let cards: String = CARDS.iter().map(|card| format!(" {} |", card.name)).collect();
    let mut text =
        format!("\n## {title}\n\n| kernel | blocks | shared, bytes | registers | issued | f32 | whole | f64 ");
    let _ =
        writeln!(text, "| sectors | passes | in flight | bound by |{cards}\n|---|{}", "---|".repeat(11 + CARDS.len()));
    launches.iter().for_each(|launch| text += &row(launch, many));
    let gaps = CARDS.map(|card| card.launch_microseconds * launches.len() as f64);
    let mut sums = gaps;
    for launch in launches {
        sums.iter_mut().zip(launch.microseconds).for_each(|(sum, times)| *sum += times[many]);
    }
    text + &times("launches", gaps) + &times("sum", sums)
}

fn table((major, minor): (u32, u32), [training, reverse]: &[Vec<FollowedLaunch>; 2]) -> String {
    let mut text = format!("{HEAD}{major}.{minor}, for the steps of configs/pt-heptamer.toml, by the model of\n");
    text += "`src/gpu/emulator/speed/`. No card has calibrated it. `tests/kernel_speed.rs` compares: a time may not rise by more than\n";
    text += "3%. With `GODIFF_BLESS=1` it writes. Per block: warp instructions that are issued, of them f32, whole numbers and f64;\n";
    text += "sectors of 32 bytes of global memory; passes over shared memory. In flight: loads of a warp that waits for one. Bound by:\n";
    text += "on the first and on the last card. Times in µs. The noise and the edges of later steps are not in it.\n";
    text + &section("training step", training, 0) + &section("reverse step", reverse, 1)
}

/// Sections, kernels and times of a table, in order.
fn rows(table: &str) -> Vec<(String, Vec<f64>)> {
    let (mut section, mut found) = ("", Vec::new());
    for line in table.lines() {
        section = line.strip_prefix("## ").unwrap_or(section);
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let times = cells.get(13..13 + CARDS.len()).unwrap_or_default().iter().map(|cell| cell.parse());
        if let Some(times) = times.collect::<Result<Vec<f64>, _>>().ok().filter(|times| !times.is_empty()) {
            found.push((format!("{section}: {}", cells[1]), times));
        }
    }
    found
}

/// What rose in `now` by more than the tolerance and a tenth of a µs, or is not in `committed`.
fn rises(now: &str, committed: &str) -> Vec<String> {
    let (now, then) = (rows(now), rows(committed));
    let rise = |(k, (name, times)): (usize, &(String, Vec<f64>))| {
        let before = then.get(k).filter(|(other, _)| other == name);
        let is_more =
            |(at, time): (usize, &f64)| before.is_none_or(|(_, before)| *time > before[at] * (1.0 + TOLERANCE) + 0.1);
        times.iter().enumerate().any(is_more).then(|| format!("{name}: {times:?}, before {before:?}"))
    };
    now.iter().enumerate().filter_map(rise).collect()
}

#[test]
fn steps_are_as_fast_as_the_table_says() {
    let Some(version) = nvrtc_version() else {
        eprintln!("skipped: built without NVRTC");
        return;
    };
    let now = table(version, &follow_steps());
    println!("{now}");
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE);
    if std::env::var_os("GODIFF_BLESS").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    if !committed.starts_with(&format!("{HEAD}{}.{},", version.0, version.1)) {
        eprintln!("skipped: {TABLE} is of another NVRTC");
        return;
    }
    let rises = rises(&now, &committed);
    let hint = format!("if that is wanted, repeat with GODIFF_BLESS=1 and commit {TABLE}");
    assert!(rises.is_empty(), "slower; {hint}:\n{}", rises.join("\n"));
    assert_eq!(rows(&now).len(), rows(&committed).len(), "other launches; {hint}");
}

/// The check above would notice.
#[test]
fn slower_launches_are_noticed() {
    let line = |kernel: &str, time: &str| {
        format!("## step\n| `{kernel}` | 1 | | | | | | | | | | | 10.0 | {time} | 10.0 | 10.0 |\n")
    };
    assert!(rises(&line("a", "10.3"), &line("a", "10.0")).is_empty());
    assert_eq!(rises(&line("a", "10.5"), &line("a", "10.0")).len(), 1);
    assert_eq!(rises(&line("a", "10.0"), &line("b", "10.0")).len(), 1);
}
