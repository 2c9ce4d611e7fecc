//! The program with the GPU engine, run as a user runs it: a search from start to report, devices that fail, kernel times.
#![cfg(feature = "emulator")]

use godiff::run::read_metrics;
use godiff::system::xyz::read_frames;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A surface of eight atoms and two free ones; small enough for the emulator.
const CONFIG: &str = r#"
[system]
template = "slab.xyz"
free = "Pt2"
confinement = { above_template_angstrom = [0.5, 3.5] }

[potential]
kind = "emt"

[model]
features = 12
blocks = 2
radial_functions = 6
cutoff_angstrom = 4.0

[diffusion]
steps = 12

[search]
iterations = 3
samples_per_iteration = 5
buffer = 4

[training]
steps_per_iteration = 6
batch = 3
learning_rate = 1e-3
"#;

const SLAB: &str = "8
Lattice=\"5.54 0 0 2.77 4.798 0 0 0 16\" Properties=species:S:1:pos:R:3 pbc=\"T T F\"
Pt 0.0 0.0 3.0
Pt 2.77 0.0 3.0
Pt 1.385 2.399 3.0
Pt 4.155 2.399 3.0
Pt 1.385 0.8 5.262
Pt 4.155 0.8 5.262
Pt 2.77 3.199 5.262
Pt 5.54 3.199 5.262
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("slab.xyz"), SLAB).unwrap();
        std::fs::write(folder.path().join("tiny.toml"), CONFIG).unwrap();
        Folder(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_godiff"));
        command.args(arguments).current_dir(self.0.path()).output().expect("the program runs")
    }

    /// Runs a search to its end.
    fn search(&self, device: &str, out: &str, more: &[&str]) -> PathBuf {
        let output = self.run(&[&["search", "tiny.toml", "--quiet", "--device", device, "--out", out], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.path(out)
    }

    /// Runs something that must fail with exit code 1; its sentence.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{sentence}");
        sentence
    }
}

/// All that must be the same to the last bit: positions, energies and states, the model, the numbers of every iteration but times.
fn result(run: &Path) -> (Vec<u8>, Vec<u8>, String) {
    let read = |name: &str| std::fs::read(run.join(name)).unwrap();
    let progress: Vec<String> = read_metrics(&run.join("metrics.jsonl"))
        .unwrap()
        .into_iter()
        .map(|mut metrics| {
            metrics.seconds = Default::default();
            format!("{metrics:?}")
        })
        .collect();
    (read("best.xyz"), read("model.safetensors"), progress.join("\n"))
}

#[test]
fn a_search_from_start_to_report() {
    let folder = Folder::new();
    let run = folder.search("emulator", "gpu", &[]);
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["device"], "emulator f32");
    assert_eq!(summary["status"], "done");
    assert_eq!(summary["samples"], 15);
    assert!(result(&folder.search("emulator", "again", &[])) == result(&run), "the same bits again");

    // The untrained model of the first iteration moves the same structures to the same places as on the CPU.
    folder.search("cpu", "cpu", &[]);
    let first = |run: &str| {
        let out = format!("{run}.xyz");
        assert!(folder.run(&["export", run, "-o", &out]).status.success());
        let mut frames = read_frames(&folder.path(&out)).unwrap();
        frames.truncate(5);
        frames.into_iter().flat_map(|frame| frame.structure.positions).flatten().collect::<Vec<f64>>()
    };
    let (gpu, cpu) = (first("gpu"), first("cpu"));
    assert_eq!(gpu.len(), cpu.len());
    let farthest = gpu.iter().zip(&cpu).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(farthest < 1e-3, "{farthest} Å apart");
}

/// A kernel fault ends the run with a sentence; what was stored stands, and the run goes on to the same bits.
#[test]
fn a_lost_device_loses_nothing() {
    let folder = Folder::new();
    let expected = result(&folder.search("emulator", "whole", &[]));
    for launch in [3, 150, 260, 400] {
        let out = format!("lost-{launch}");
        let device = format!("emulator:fail_launch={launch}");
        let sentence = folder.fails(&["search", "tiny.toml", "--quiet", "--device", &device, "--out", &out]);
        assert!(sentence.contains("--resume"), "{sentence}");
        assert!(!sentence.contains("panicked"), "{sentence}");
        let resumed = folder.search("emulator", &out, &["--resume"]);
        assert!(result(&resumed) == expected, "launch {launch}");
    }
}

#[test]
fn too_little_memory_is_one_sentence() {
    let folder = Folder::new();
    let sentence = folder.fails(&["search", "tiny.toml", "--device", "emulator:memory=300000", "--out", "small"]);
    for part in ["memory", "training.batch", "search.samples_per_iteration"] {
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn divergence_keeps_the_last_checkpoint() {
    let folder = Folder::new();
    let reckless = CONFIG.replace("learning_rate = 1e-3", "learning_rate = 1e30");
    std::fs::write(folder.path("tiny.toml"), reckless).unwrap();
    let sentence = folder.fails(&["search", "tiny.toml", "--quiet", "--device", "emulator", "--out", "diverged"]);
    assert!(sentence.contains("training diverged"), "{sentence}");
    assert!(folder.run(&["inspect", "diverged"]).status.success());
}

#[test]
fn commands_take_the_device() {
    let folder = Folder::new();
    let run = folder.search("emulator", "run", &[]);
    let model = run.join("model.safetensors");
    let model = model.to_str().unwrap();
    let sampled = |device: &str| {
        let out = format!("{}.xyz", device.replace(':', "-"));
        let arguments =
            ["sample", "--model", model, "--config", "tiny.toml", "-n", "3", "--device", device, "-o", &out];
        let output = folder.run(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        read_frames(&folder.path(&out)).unwrap()
    };
    let (gpu, cpu) = (sampled("emulator"), sampled("cpu-f64"));
    let positions = |k: usize, frames: &[godiff::system::xyz::Frame]| frames[k].structure.positions.clone();
    for k in 0..3 {
        for (a, b) in positions(k, &gpu).iter().flatten().zip(positions(k, &cpu).iter().flatten()) {
            assert!((a - b).abs() < 1e-3, "{a} and {b}");
        }
    }
    assert!(sampled("emulator:order=reverse").len() == 3);
}

#[test]
fn kernel_times_as_table_and_json() {
    let folder = Folder::new();
    let arguments =
        ["benchmark", "--kernels", "tiny.toml", "--device", "emulator", "--steps", "2", "-o", "kernels.json"];
    let output = folder.run(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    for kernel in ["block_forward", "block_backward", "weight_gradient", "adamw", "reverse_step", "radius_graph"] {
        assert!(table.contains(kernel), "{table}");
    }
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path("kernels.json")).unwrap()).unwrap();
    for step in report["steps"].as_array().unwrap() {
        assert!(step["milliseconds"].as_f64().unwrap() > 0.0);
        let launches = step["launches"].as_array().unwrap();
        assert!(launches.len() >= 5 && launches.iter().all(|launch| launch["bytes"].as_f64().unwrap() > 0.0));
    }
    let bytes = |report: &serde_json::Value, kernel: &str| {
        let launches = report["steps"][0]["launches"].as_array().unwrap().clone();
        let of_kernel = |launch: &&serde_json::Value| launch["kernel"].as_str().unwrap().starts_with(kernel);
        launches.iter().find(of_kernel).expect(kernel)["bytes"].as_f64().unwrap()
    };
    std::fs::write(folder.path("tiny.toml"), format!("{CONFIG}\n[engine]\nprecision = \"mixed\"\n")).unwrap();
    let output = folder.run(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8(output.stdout).unwrap().contains("block_backward_small_mixed"));
    let mixed: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path("kernels.json")).unwrap()).unwrap();
    for (kernel, most) in [("block_forward", 0.9), ("block_backward", 0.95), ("weight_gradient", 1.0)] {
        assert!(bytes(&mixed, kernel) < most * bytes(&report, kernel), "{kernel} moves fewer bytes");
    }
    assert_eq!(bytes(&mixed, "adamw"), bytes(&report, "adamw"));
    folder.search("emulator", "mixed", &[]);
    let refused = folder.run(&["benchmark", "--kernels", "tiny.toml", "--device", "cpu"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("kernels run on a GPU"));
}
