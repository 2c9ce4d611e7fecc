//! `godiff sample`: structures from a trained model.

use super::common::{Compute, Output, print, watch_interrupts};
use super::numbers::{LARGEST, whole};
use clap::Args;
use godiff::config::Settings;
use godiff::engine::{self, ModelState, RandomStream, Sampler, Setup};
use godiff::error::stop_if;
use godiff::model::ModelFile;
use godiff::system::elements::symbol;
use godiff::{Error, Result};
use std::path::{Path, PathBuf};

/// Samples structures from a trained model without evaluating them; with [guidance] in the configuration they follow the
/// predicted forces too
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  godiff sample --model runs/pt-adatom-001/model.safetensors \
                        --config configs/pt-adatom.toml -n 16 -o samples.xyz")]
pub struct Arguments {
    /// A model file of a search or of `godiff import`
    #[arg(long, value_name = "MODEL.safetensors")]
    model: PathBuf,
    /// The configuration; its [system], [diffusion], [guidance] and [proposals] are used
    #[arg(long, value_name = "CONFIG.toml")]
    config: PathBuf,
    /// Number of structures
    #[arg(short, long = "number", value_name = "N", value_parser = whole::<u32>(1..=1_000_000_000), allow_negative_numbers = true)]
    n: u32,
    /// The file to write (extended XYZ)
    #[arg(short, long, value_name = "OUT.xyz")]
    output: PathBuf,
    /// Seed of the noise [default: the configuration's]
    #[arg(long, value_name = "S", value_parser = whole::<u64>(0..=LARGEST), allow_negative_numbers = true)]
    seed: Option<u64>,
    #[command(flatten)]
    compute: Compute,
}

/// Structures sampled at the same time.
const AT_ONCE: usize = 128;

impl Arguments {
    pub fn run(self) -> Result<()> {
        let output = Output::new(&self.output)?;
        let settings = Settings::load(&self.config)?;
        let model = ModelFile::read(&self.model)?;
        let setup = setup(&settings, &model, &self.model)?;
        self.compute.threads.start()?;
        let interrupted = watch_interrupts()?;
        let mut engine = engine::open(&self.compute.device, &setup)?;
        engine.restore(&ModelState::untouched(model.parameters, setup.training.learning_rate))?;

        let stream = RandomStream { seed: self.seed.unwrap_or(settings.sections.search.seed), iteration: 0 };
        let n = self.n as usize;
        let n_steps = settings.sections.proposals.unwrap_or_default().relax_steps;
        let sampler = if setup.guidance.is_some() { Sampler::Guided } else { Sampler::Plain };
        let mut frames = Vec::with_capacity(n);
        for start in (0..n).step_by(AT_ONCE) {
            let mut advance = |_| stop_if(interrupted);
            let mut sampled = engine.sample(stream, start..n.min(start + AT_ONCE), sampler, &mut advance)?;
            if let Some(guidance) = &setup.guidance {
                engine.relax(&mut sampled, &guidance.corrector(), n_steps, &mut advance)?;
            }
            if !sampled.iter().flatten().flatten().all(|x| x.is_finite()) {
                let message = format!("{}: the model sends atoms to places that are not numbers", self.model.display());
                return Err(Error::Failed(message));
            }
            frames.extend(sampled.iter().map(|free| settings.system.structure(free).into()));
        }
        output.write(&frames)?;
        print(format!("{n} structures written to {}", self.output.display()))
    }
}

/// The setup of `settings` for a model that was read from `path`.
fn setup(settings: &Settings, model: &ModelFile, path: &Path) -> Result<Setup> {
    let setup = settings.setup();
    if let Some(misfit) = model.misfit(&setup.sizes, &setup.sde) {
        return Err(Error::bad_file(path, misfit));
    }
    if setup.guidance.is_some() && !model.sizes.force_head {
        let message =
            "the model has no force head, which [guidance] needs; leave that section out of the configuration";
        return Err(Error::bad_file(path, message));
    }
    let unknown = settings.system.numbers().into_iter().find(|number| !model.species.contains(number));
    if let (false, Some(number)) = (model.species.is_empty(), unknown) {
        let element = symbol(number).unwrap_or("an unknown element");
        return Err(Error::bad_file(path, format!("the model was not trained on {element}, which the system holds")));
    }
    Ok(Setup { sizes: model.sizes, radial_basis: model.basis(), sde: model.sde, ..setup })
}
