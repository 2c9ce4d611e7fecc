//! `godiff score`: scores and predicted forces of given structures.

use super::common::{Compute, FreeAtoms, Output, note, print, watch_interrupts};
use super::numbers::real;
use clap::{Args, ValueEnum};
use godiff::config::Settings;
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
/// `published` overestimate it by 1/σ_T. Mobile atoms of the template have noise of a width of their own, and a score by it.
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
    /// The structures are of this configuration's [system], which says which atoms are fixed, mobile and free [default: the
    /// model's run, if it has mobile atoms]
    #[arg(long, value_name = "CONFIG.toml", conflicts_with = "free")]
    config: Option<PathBuf>,
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
        let model = ModelFile::read(&self.model)?;
        let (system, orders) = match self.system(&inputs)? {
            Some(known) => known,
            None => {
                self.free.mark(&mut inputs)?;
                of_one_system(&inputs, &self.input)?
            }
        };
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
        let mut engine = engine::open(device, &setup(system, &model))?;
        engine.restore(&ModelState::untouched(model.parameters, 0.0))?;

        let mut frames: Vec<Frame> = Vec::with_capacity(inputs.len());
        for (inputs, orders) in inputs.chunks(AT_ONCE).zip(orders.chunks(AT_ONCE)) {
            stop_if(interrupted)?;
            let pairs = || inputs.iter().zip(orders);
            let free: Vec<Vec<Vec3>> = pairs().map(|(frame, order)| order.free_positions(&frame.structure)).collect();
            let scores = engine.score(&free, &vec![self.time; free.len()])?;
            let forces = engine.forces(&free)?;
            for (k, (frame, order)) in pairs().enumerate() {
                let mut frame =
                    frame.clone().with_vectors("score", &order.restore(&scores[k])).with_info("time", self.time);
                if let Some(forces) = &forces {
                    frame = frame.with_vectors("predicted_forces", &order.restore(&forces[k]));
                }
                frames.push(frame);
            }
        }
        output.write(&frames)?;
        print(format!("{} structures written to {}", frames.len(), self.output.display()))
    }

    /// The system that a configuration describes, if there is one, and where the atoms of each of `inputs` are in it.
    fn system(&self, inputs: &[Frame]) -> Result<Option<(System, Vec<Order>)>> {
        let known = |system: &System| -> Result<Vec<Order>> {
            let order = |(k, frame): (usize, &Frame)| {
                let wrong = |cause| Error::bad_file(&self.input, format!("structure {} {cause}", k + 1));
                Order::within(system, &frame.structure).map_err(wrong)
            };
            inputs.iter().enumerate().map(order).collect()
        };
        if let Some(config) = &self.config {
            let system = Settings::load(config)?.system;
            return known(&system).map(|orders| Some((system, orders)));
        }
        let beside = self.model.with_file_name("config.toml");
        if self.free.are_named() || !beside.is_file() {
            return Ok(None);
        }
        let Some(system) = Settings::load(&beside).ok().map(|settings| settings.system) else { return Ok(None) };
        if system.n_mobile() == 0 {
            return Ok(None);
        }
        match known(&system) {
            Ok(orders) => {
                note(&format!("the mobile atoms are those of {}", beside.display()));
                Ok(Some((system, orders)))
            }
            Err(cause) => {
                let beside = beside.display();
                note(&format!(
                    "{cause}; so no atom counts as mobile, though the model's run has mobile atoms ({beside})"
                ));
                Ok(None)
            }
        }
    }
}

/// Places of the file's atoms in a system, which has the fixed atoms first.
#[derive(Clone)]
struct Order {
    fixed: Vec<usize>,
    free: Vec<usize>,
}

/// The system of `frames`, in which fixed atoms are marked, and the order of each of them: the same for all.
fn of_one_system(frames: &[Frame], path: &Path) -> Result<(System, Vec<Order>)> {
    let first = &frames[0].structure;
    let (fixed, free): (Vec<usize>, Vec<usize>) = (0..first.n_atoms()).partition(|&atom| first.fixed[atom]);
    for (k, structure) in frames.iter().map(|frame| &frame.structure).enumerate() {
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
        let message = format!("structure {} has {difference} than the first; score it from a file of its own", k + 1);
        return Err(Error::bad_file(path, message));
    }
    let order = Order { fixed, free };
    Ok((order.system(first), vec![order; frames.len()]))
}

impl Order {
    /// The order of `structure`, which is one of `system`.
    fn within(system: &System, structure: &Structure) -> Result<Order> {
        let mut fixed = system.atoms_of(structure)?;
        let free = fixed.split_off(system.n_template());
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
        },
        guidance: None,
        precision: engine::Storage::F32,
    }
}
