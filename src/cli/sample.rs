//! `godiff sample`: structures from a trained model.

use super::common::{Compute, Output, print, watch_interrupts};
use super::numbers::{LARGEST, whole};
use clap::Args;
use godiff::Result;
use godiff::config::Settings;
use godiff::inference::sample;
use godiff::model::ModelFile;
use godiff::system::xyz::Frame;
use std::path::PathBuf;

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

impl Arguments {
    pub fn run(self) -> Result<()> {
        let output = Output::new(&self.output)?;
        let settings = Settings::load(&self.config)?;
        let model = ModelFile::read(&self.model)?;
        self.compute.threads.start()?;
        let interrupted = watch_interrupts()?;
        let seed = self.seed.unwrap_or(settings.sections.search.seed);
        let n = self.n as usize;
        let structures = sample(&settings, (&model, &self.model), n, seed, &self.compute.device, interrupted)?;
        let frames: Vec<Frame> = structures.into_iter().map(Frame::from).collect();
        output.write(&frames)?;
        print(format!("{n} structures written to {}", self.output.display()))
    }
}
