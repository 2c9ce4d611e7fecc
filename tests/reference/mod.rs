//! Reference values of independent codes, and how close results must come to them.
#![allow(dead_code)]

#[path = "../common/device.rs"]
pub mod device;
pub mod systems;

use flate2::read::GzDecoder;
use godiff::diffusion::Sde;
use godiff::engine::{
    Decay, FreePositions, ModelState, NoisyBatch, PlateauSchedule, ReverseSettings, Setup, Storage, TrainingSettings,
    Weighting,
};
use godiff::model::{Layout, ModelSizes, RadialBasis};
use godiff::system::{Cell, System, Vec3};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Tolerances by precision: relative to the largest entry of the tensor compared.
pub mod tolerance {
    /// f64 against values stored as f64.
    pub const F64: f64 = 1e-9;
    /// f64 against values stored as f32.
    pub const STORED_F32: f64 = 1e-6;
    /// f32 arithmetic.
    pub const F32: f64 = 2e-5;
    /// Filters, messages and saved activations in 16 bits (2⁻¹¹ each), arithmetic in f32. Where what atoms receive nearly cancels, the
    /// errors do not: the worst of 3,000 tensors of small random models is at 7.5e-3, 99 of 100 are below 2e-3.
    pub const MIXED: f64 = 1e-2;
    /// The error that half of the tensors stay below under mixed precision.
    pub const MIXED_TYPICAL: f64 = 6e-4;
    /// The same sums in another order in f64 (atoms permuted, turned, a template declared free), single numbers of it rotated.
    pub const REORDERED_F64: f64 = 1e-10;
    /// What the engine leaves out because it is exact, in f64: only the order of sums differs.
    pub const EXACT_F64: f64 = 1e-12;
    /// f64 gradients against four-point differences of the loss, relative to the norm of the tensor's gradient.
    pub const DIFFERENCES: f64 = 1e-7;
    /// Parameters after AdamW, in units of the learning rate: the sign of a tiny gradient may differ.
    pub const ADAMW_OF_RATE: f64 = 0.2;
}

/// The contents of the file `name` in `GODIFF_REFERENCE_DIR`, else in tests/fixtures; `None`, said on stderr, where neither has it.
pub fn reference_file(name: &str) -> Option<Vec<u8>> {
    let shared = std::env::var_os("GODIFF_REFERENCE_DIR").map(|dir| PathBuf::from(dir).join(name));
    if let Some(path) = shared.filter(|path| path.is_file()) {
        return Some(std::fs::read(path).expect("readable reference"));
    }
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{name}.gz"));
    let Ok(file) = File::open(fixture) else {
        eprintln!("skipped: {name} is not here; set GODIFF_REFERENCE_DIR to the folder that holds it");
        return None;
    };
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).expect("a fixture in gzip");
    Some(bytes)
}

/// Asserts that `found` equals `expected` within `tolerance` times the largest expected entry.
pub fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    if let Some(message) = difference(found, expected, tolerance) {
        panic!("{what}: {message}");
    }
}

/// Why `found` is not `expected` within `tolerance` times the largest expected entry, if so.
pub fn difference(found: &[f64], expected: &[f64], tolerance: f64) -> Option<String> {
    difference_within(found, expected, tolerance * largest(expected) + f64::MIN_POSITIVE)
}

/// Why `found` is not `expected` within `bound`, if so.
pub fn difference_within(found: &[f64], expected: &[f64], bound: f64) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("{} values instead of {}", found.len(), expected.len()));
    }
    (found.iter().zip(expected).enumerate())
        .find(|(_, (found, expected))| (*found - *expected).is_nan() || (*found - *expected).abs() > bound)
        .map(|(k, (found, expected))| format!("entry {k} is {found}, not {expected} (within {bound:e})"))
}

/// Largest magnitude among `values`.
pub fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |max, x| x.abs().max(max))
}

/// A `painn_*.safetensors` file.
pub struct Reference {
    bytes: Vec<u8>,
    /// The engine's setup for its model and system.
    pub setup: Setup,
    /// Parameters in the layout's order.
    pub parameters: Vec<f64>,
    /// Structures, times, noise, weights.
    pub batch: NoisyBatch,
    /// 1e-9 where values are stored as f64.
    pub tolerance: f64,
}

impl Reference {
    /// Reads the reference `name`, if it is here.
    pub fn open(name: &str) -> Option<Self> {
        let bytes = reference_file(name)?;
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("safetensors");
        let metadata = header.metadata().clone().expect("metadata");
        let number = |key: &str| metadata[key].parse::<f64>().expect("a number");
        let values = |name: &str| tensor(&bytes, name).unwrap_or_else(|| panic!("no tensor {name}"));
        let vec3 = |values: &[f64]| -> Vec<Vec3> { values.chunks_exact(3).map(|v| [v[0], v[1], v[2]]).collect() };
        let n_template = values("in.n_template")[0] as usize;
        let numbers: Vec<u8> = values("in.numbers").iter().map(|z| *z as u8).collect();
        let n = numbers.len();
        let vectors = vec3(&values("in.cell"));
        let periodic = values("in.pbc").iter().map(|p| *p != 0.0).collect::<Vec<bool>>();
        let per_structure = |name: &str| -> Vec<FreePositions> {
            values(name).chunks_exact(3 * n).map(|s| vec3(&s[3 * n_template..])).collect()
        };
        let sizes = ModelSizes {
            features: number("features") as usize,
            blocks: number("blocks") as usize,
            radial_functions: number("n_rbf") as usize,
            cutoff_angstrom: number("cutoff"),
            force_head: tensor(&bytes, "param.force.0.mix_vectors.weight").is_some(),
        };
        let setup = Setup {
            system: System {
                cell: Cell {
                    vectors: [vectors[0], vectors[1], vectors[2]],
                    periodic: [periodic[0], periodic[1], periodic[2]],
                },
                template_numbers: numbers[..n_template].to_vec(),
                template_positions: vec3(&values("in.positions")[..3 * n_template]),
                free_numbers: numbers[n_template..].to_vec(),
                mobile: Default::default(),
                extras: None,
                molecules: Default::default(),
                confinement: None,
            },
            sizes,
            radial_basis: RadialBasis {
                offsets: values("buffer.representation.radial_basis.offsets"),
                widths: values("buffer.representation.radial_basis.widths"),
            },
            sde: Sde { sigma_min: number("sigma_min"), sigma_max: number("sigma_max"), rho: 1 },
            reverse: ReverseSettings { steps: 500, t_min: 0.005, score_scale: 1.0, basin_variance: None },
            training: TrainingSettings {
                batch: 8,
                learning_rate: 1e-3,
                decay: Decay::NONE,
                weight_decay: 0.01,
                gradient_clip: 10.0,
                weighting: Weighting::Dsm,
                stop: None,
            },
            guidance: None,
            precision: Storage::F32,
        };
        let stored_f32 = dtype(&bytes, "param.representation.embedding.weight") == safetensors::Dtype::F32;
        Some(Reference {
            parameters: Layout::new(&sizes).tensors.iter().flat_map(|t| values(&format!("param.{}", t.name))).collect(),
            batch: NoisyBatch {
                positions: per_structure("in.positions"),
                times: values("in.time"),
                noise: per_structure("in.noise"),
                weights: values("in.weight"),
            },
            tolerance: if stored_f32 { tolerance::STORED_F32 } else { tolerance::F64 },
            setup,
            bytes,
        })
    }

    /// The tensor `name`, if the file has it.
    pub fn get(&self, name: &str) -> Option<Vec<f64>> {
        tensor(&self.bytes, name)
    }

    /// Asserts that `found` is the gradient of `tensor` under `loss` within `tolerance`; false if the reference has none.
    pub fn assert_gradient(&self, loss: &str, tensor: &str, found: &[f64], tolerance: f64) -> bool {
        let name = format!("{loss}.{tensor}");
        if let Some(expected) = self.get(&format!("grad.{name}")) {
            assert_close(&format!("grad.{name}"), found, &expected, tolerance);
            return true;
        }
        let Some(expected) = self.get(&format!("probe.{name}")) else { return false };
        let [bound, sum_bound] = [1.0, (found.len() as f64).sqrt()].map(|n| n * tolerance * expected[0]);
        let (largest, sums) = probes(found);
        for (what, bound, found, expected) in
            [("largest", bound, &[largest][..], &expected[..1]), ("sums", sum_bound, &sums, &expected[1..])]
        {
            if let Some(message) = difference_within(found, expected, bound + f64::MIN_POSITIVE) {
                panic!("probe.{name}, {what}: {message}");
            }
        }
        true
    }

    /// Target forces of the free atoms.
    pub fn force_target(&self) -> Option<Vec<Vec<Vec3>>> {
        let (n, t) = (self.setup.system.n_atoms(), self.setup.system.n_template());
        let values = self.get("in.force_target")?;
        Some(
            values
                .chunks_exact(3 * n)
                .map(|s| s[3 * t..].chunks_exact(3).map(|v| [v[0], v[1], v[2]]).collect())
                .collect(),
        )
    }

    /// The reference's parameters with a fresh optimiser.
    pub fn state(&self) -> ModelState {
        fresh_state(self.parameters.clone(), &self.setup)
    }
}

/// What stands for a gradient in the fixture (tests/python/probe_gradients.py): its largest magnitude, and eight sums of its entries
/// with signs, so that an error in any entry changes all sums.
pub fn probes(gradient: &[f64]) -> (f64, [f64; 8]) {
    let word = |k: usize| {
        let z = (k as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    };
    let mut sums = [0.0; 8];
    for (k, x) in gradient.iter().enumerate() {
        let signs = word(k);
        sums.iter_mut().enumerate().for_each(|(j, sum)| *sum += if signs >> j & 1 == 1 { -x } else { *x });
    }
    (largest(gradient), sums)
}

/// `parameters` with a fresh optimiser.
pub fn fresh_state(parameters: Vec<f64>, setup: &Setup) -> ModelState {
    let zeros = vec![0.0; parameters.len()];
    ModelState {
        parameters,
        first_moment: zeros.clone(),
        second_moment: zeros,
        steps: 0,
        schedule: PlateauSchedule::new(setup.training.learning_rate),
    }
}

fn dtype(bytes: &[u8], name: &str) -> safetensors::Dtype {
    safetensors::SafeTensors::deserialize(bytes).expect("safetensors").tensor(name).expect("tensor").dtype()
}

fn tensor(bytes: &[u8], name: &str) -> Option<Vec<f64>> {
    let file = safetensors::SafeTensors::deserialize(bytes).expect("safetensors");
    let view = file.tensor(name).ok()?;
    let data = view.data();
    Some(match view.dtype() {
        safetensors::Dtype::F64 => data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        safetensors::Dtype::F32 => data.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        safetensors::Dtype::I32 => data.as_chunks::<4>().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
        other => panic!("{name} is {other:?}"),
    })
}

/// All components, one after the other.
pub fn flat(values: &[Vec<Vec3>]) -> Vec<f64> {
    values.iter().flatten().flatten().copied().collect()
}
