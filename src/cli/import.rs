//! `godiff import`: the authors' checkpoints as model files.

use super::common::print;
use clap::Args;
use godiff::Result;
use godiff::model::{Precision, import};
use std::path::PathBuf;

/// Turns a checkpoint of AGeDi or GO-Diff (PyTorch Lightning) into a model file
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  godiff import stepped_Pt.ckpt stepped_Pt.safetensors")]
pub struct Arguments {
    /// The checkpoint
    #[arg(value_name = "FILE.ckpt")]
    input: PathBuf,
    /// The model file to write
    #[arg(value_name = "OUT.safetensors")]
    output: PathBuf,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let model = import(&self.input)?;
        model.write(&self.output, Precision::Single)?;
        print(model.describe())
    }
}
