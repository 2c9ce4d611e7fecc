//! `godiff score`: scores and predicted forces of given structures.

use super::common::{Compute, FreeAtoms, Output, print, watch_interrupts};
use super::numbers::real;
use clap::{Args, ValueEnum};
use godiff::engine::{self, ModelState, ReverseSettings, Setup, TrainingSettings};
use godiff::error::stop_if;
use godiff::model::ModelFile;
use godiff::system::xyz::Frame;
use godiff::system::{Structure, System, Vec3, read_frames};
use godiff::{Error, Result};
use std::path::{Path, PathBuf};

/// Computes the score (1/Å) of given structures and, if the model has a force head, their predicted forces
///
/// The score is the gradient of the log-density of structures at diffusion time T. Models trained with the weighting
/// `published` overestimate it by 1/σ_T.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  godiff score best.xyz --model runs/pt-adatom-001/model.safetensors --time 0.1 \
                        -o scores.xyz")]
pub struct Arguments {
    /// Structures, all with the same cell and the same fixed atoms: extended XYZ, or POSCAR
    #[arg(value_name = "IN.xyz")]
    input: PathBuf,
    /// A model file of a search or of `godiff import`
    #[arg(long, value_name = "MODEL.safetensors")]
    model: PathBuf,
    /// Diffusion time, from 0 (no noise) to 1
    #[arg(long, value_name = "T", value_parser = real, allow_negative_numbers = true)]
    time: f64,
    /// f32 (on --device) or f64 (on the CPU, for checking)
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    precision: Precision,
    #[command(flatten)]
    free: FreeAtoms,
    /// The file to write (extended XYZ): `score`, 0 on fixed atoms, and `predicted_forces`
    #[arg(short, long, value_name = "OUT.xyz")]
    output: PathBuf,
    #[command(flatten)]
    compute: Compute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Precision {
    F32,
    F64,
}

/// Structures scored at the same time.
const AT_ONCE: usize = 64;

impl Arguments {
    pub fn run(self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.time) {
            return Err(Error::bad_input(format!("--time {}: give a diffusion time from 0 to 1", self.time)));
        }
        let output = Output::with_columns(&self.output)?;
        let mut inputs = read_frames(&self.input)?;
        self.free.mark(&mut inputs)?;
        let structures: Vec<Structure> = inputs.iter().map(|frame| frame.structure.clone()).collect();
        let model = ModelFile::read(&self.model)?;
        let order = Order::of(&structures, &self.input)?;
        let device = match self.precision {
            Precision::F32 => self.compute.device.as_str(),
            Precision::F64 if ["auto", "cpu", "cpu-f64"].contains(&self.compute.device.as_str()) => "cpu-f64",
            Precision::F64 => {
                let message = format!("--precision f64 is for the CPU; leave out --device {}", self.compute.device);
                return Err(Error::bad_input(message));
            }
        };
        self.compute.threads.start()?;
        let interrupted = watch_interrupts()?;
        let mut engine = engine::open(device, &setup(order.system(&structures[0]), &model))?;
        engine.restore(&ModelState::untouched(model.parameters, 0.0))?;

        let mut frames: Vec<Frame> = Vec::with_capacity(structures.len());
        for chunk in structures.chunks(AT_ONCE) {
            stop_if(interrupted)?;
            let free: Vec<Vec<Vec3>> = chunk.iter().map(|structure| order.free_positions(structure)).collect();
            let scores = engine.score(&free, &vec![self.time; free.len()])?;
            let forces = engine.forces(&free)?;
            for k in 0..chunk.len() {
                let mut frame = inputs[frames.len()]
                    .clone()
                    .with_vectors("score", &order.restore(&scores[k]))
                    .with_info("time", self.time);
                if let Some(forces) = &forces {
                    frame = frame.with_vectors("predicted_forces", &order.restore(&forces[k]));
                }
                frames.push(frame);
            }
        }
        output.write(&frames)?;
        print(format!("{} structures written to {}", frames.len(), self.output.display()))
    }
}

/// Places of the file's atoms in a system, which has the fixed atoms first.
struct Order {
    fixed: Vec<usize>,
    free: Vec<usize>,
}

impl Order {
    /// The order of `structures`, which must be structures of one system.
    fn of(structures: &[Structure], path: &Path) -> Result<Order> {
        let first = &structures[0];
        let (fixed, free): (Vec<usize>, Vec<usize>) = (0..first.n_atoms()).partition(|&atom| first.fixed[atom]);
        for (k, structure) in structures.iter().enumerate() {
            let difference = if structure.numbers != first.numbers {
                "other elements"
            } else if structure.cell != first.cell {
                "another cell"
            } else if structure.fixed != first.fixed {
                "other fixed atoms"
            } else if fixed.iter().any(|&atom| structure.positions[atom] != first.positions[atom]) {
                "its fixed atoms elsewhere"
            } else {
                continue;
            };
            let message =
                format!("structure {} has {difference} than the first; score it from a file of its own", k + 1);
            return Err(Error::bad_file(path, message));
        }
        Ok(Order { fixed, free })
    }

    fn system(&self, structure: &Structure) -> System {
        System {
            cell: structure.cell,
            template_numbers: self.fixed.iter().map(|&atom| structure.numbers[atom]).collect(),
            template_positions: self.fixed.iter().map(|&atom| structure.positions[atom]).collect(),
            free_numbers: self.free.iter().map(|&atom| structure.numbers[atom]).collect(),
            mobile: Default::default(),
            extras: None,
            molecules: Default::default(),
            confinement: None,
        }
    }

    fn free_positions(&self, structure: &Structure) -> Vec<Vec3> {
        self.free.iter().map(|&atom| structure.positions[atom]).collect()
    }

    /// Vectors of the system's atoms in the order of the file.
    fn restore(&self, vectors: &[Vec3]) -> Vec<Vec3> {
        let mut restored = vec![[0.0; 3]; vectors.len()];
        for (&atom, &vector) in self.fixed.iter().chain(&self.free).zip(vectors) {
            restored[atom] = vector;
        }
        restored
    }
}

/// The setup for scoring alone: the reverse process and the optimiser are not used.
fn setup(system: System, model: &ModelFile) -> Setup {
    Setup {
        system,
        sizes: model.sizes,
        radial_basis: model.basis(),
        sde: model.sde,
        reverse: ReverseSettings { steps: 2, t_min: 0.005, score_scale: 1.0 },
        training: TrainingSettings {
            batch: 1,
            learning_rate: 1e-4,
            decay: engine::Decay::NONE,
            weight_decay: 0.0,
            gradient_clip: 1.0,
            weighting: model.weighting,
            stop: None,
        },
        guidance: None,
        precision: engine::Storage::F32,
    }
}
