//! `godiff score`: scores and predicted forces of given structures.

use super::common::{Compute, FreeAtoms, Output, note, print, watch_interrupts};
use super::numbers::real;
use clap::{Args, ValueEnum};
use godiff::config::Settings;
use godiff::inference::{Scored, Scorer};
use godiff::model::ModelFile;
use godiff::system::xyz::Frame;
use godiff::system::{Structure, System, read_frames};
use godiff::{Error, Result};
use std::path::PathBuf;

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

impl Arguments {
    pub fn run(self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.time) {
            return Err(Error::bad_input(format!("--time {}: give a diffusion time from 0 to 1", self.time)));
        }
        let output = Output::with_columns(&self.output)?;
        let mut inputs = read_frames(&self.input)?;
        let model = ModelFile::read(&self.model)?;
        let system = self.system(&inputs)?;
        if system.is_none() {
            self.free.mark(&mut inputs)?;
        }
        let structures: Vec<Structure> = inputs.iter().map(|frame| frame.structure.clone()).collect();
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
        let mut scorer = match system {
            Some(system) => Scorer::of_system(&model, system, device)?,
            None => Scorer::new(&model, &structures[0], device)?,
        };
        let scored = scorer.score(&structures, self.time, interrupted).map_err(|cause| cause.in_file(&self.input))?;
        let frames: Vec<Frame> = inputs
            .into_iter()
            .zip(scored)
            .map(|(frame, Scored { score, forces })| {
                let frame = match score {
                    Some(score) => frame.with_vectors("score", &score).with_info("time", self.time),
                    None => frame,
                };
                match forces {
                    Some(forces) => frame.with_vectors("predicted_forces", &forces),
                    None => frame,
                }
            })
            .collect();
        output.write(&frames)?;
        let without = if model.score_learned { "" } else { "; without scores, since the model learned forces alone" };
        print(format!("{} structures written to {}{without}", frames.len(), self.output.display()))
    }

    /// The system that a configuration describes, if there is one: the named configuration, or the one beside the model if all of
    /// `inputs` are structures of its system.
    fn system(&self, inputs: &[Frame]) -> Result<Option<System>> {
        let check = |system: &System| -> Result<()> {
            let wrong = |k, cause| Error::bad_file(&self.input, format!("structure {} {cause}", k + 1));
            let mut all = inputs.iter().enumerate();
            all.try_for_each(|(k, frame)| {
                system.atoms_of(&frame.structure).map(|_| ()).map_err(|cause| wrong(k, cause))
            })
        };
        if let Some(config) = &self.config {
            return Ok(Some(Settings::load(config)?.system));
        }
        let beside = self.model.with_file_name("config.toml");
        if self.free.are_named() || !beside.is_file() {
            return Ok(None);
        }
        let Some(system) = Settings::load(&beside).ok().map(|settings| settings.system) else { return Ok(None) };
        if system.n_mobile() == 0 {
            return Ok(None);
        }
        match check(&system) {
            Ok(()) => {
                note(&format!("the mobile atoms are those of {}", beside.display()));
                Ok(Some(system))
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
