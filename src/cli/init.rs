//! `godiff init`: a configuration for a task of which only the template, the free atoms and the potential are known.

use super::common::{Threads, folder_of_output, print, watch_interrupts};
use super::numbers::{LARGEST, whole};
use super::task::{TaskPotential, chosen, sections};
use clap::Args;
use godiff::config::Settings;
use godiff::disk::{folder_of, write_atomic};
use godiff::{Error, Result};
use std::path::{Path, PathBuf, absolute};

/// Writes a configuration for given free atoms, with a comment at every number
#[derive(Debug, Args)]
#[command(after_help = "\
A search with this file is the search that `godiff search --template slab.xyz --free Pt7 --potential emt` does. Some structures are
placed and relaxed a few steps on the potential: their energies decide the temperatures, and a message says how many evaluations that
took. Atoms that the template's file leaves free, where it fixes others, may move.

Examples:
  godiff init slab.xyz Pt7 --potential emt
  godiff init Pt7 --potential emt -o cluster.toml
  godiff init slab.xyz Pt7 --potential ase --calculator mace.calculators:mace_mp --python venv/bin/python")]
pub struct Arguments {
    /// The template, if there is one, and the formula of the free atoms
    #[arg(value_names = ["TEMPLATE.xyz", "FORMULA"], num_args = 1..=2, required = true)]
    task: Vec<String>,
    #[command(flatten)]
    potential: TaskPotential,
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "search.toml")]
    output: PathBuf,
    /// Overwrite the file if it is there
    #[arg(long)]
    force: bool,
    /// Seed of the search, and of the structures that decide the temperatures [default: 0]
    #[arg(long, value_name = "S", value_parser = whole::<u64>(0..=LARGEST), allow_negative_numbers = true)]
    seed: Option<u64>,
    #[command(flatten)]
    threads: Threads,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let (template, free) = match &self.task[..] {
            [template, free] => (Some(Path::new(template)), free),
            [free, ..] => (None, free),
            [] => return Err(Error::bad_input("name the free atoms, such as Pt7")),
        };
        folder_of_output(&self.output)?;
        if self.output.exists() && !self.force {
            let message = "is there already; name another file with -o, or overwrite it with --force";
            return Err(Error::bad_file(&self.output, message));
        }
        let folder = folder_of(&self.output);
        let template = template.map(|path| seen_from(folder, path));
        let task = sections(template.as_deref(), free, self.potential.keys()?, &[("seed", self.seed)]);
        self.threads.start()?;
        let preset = chosen(task, folder, watch_interrupts()?, false)?;
        // What is written can be read.
        Settings::parse(&preset.text, &self.output)?;
        write_atomic(&self.output, preset.text.as_bytes())?;
        print(self.output.display())
    }
}

/// `path` as a file in `folder` names it; both are given from the current folder.
fn seen_from(folder: &Path, path: &Path) -> PathBuf {
    match (absolute(folder), absolute(path)) {
        (Ok(folder), Ok(file)) if path.is_relative() => file.strip_prefix(&folder).map(Path::to_owned).unwrap_or(file),
        _ => path.to_owned(),
    }
}
