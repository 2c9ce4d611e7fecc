//! Where the configuration of a search comes from: a file, a task on the command line, or the run to resume.

use crate::cli::numbers::{LARGEST, whole};
use crate::cli::run_folder::{RunArguments, name_of};
use crate::cli::task::{TaskPotential, chosen, of_run, sections};
use clap::Args;
use godiff::config::Settings;
use godiff::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use toml::Table;

/// A configuration, or what makes one.
#[derive(Debug, Args)]
pub struct Source {
    /// The configuration; without one, --free and --potential describe the task
    #[arg(value_name = "CONFIG.toml")]
    pub config: Option<PathBuf>,
    /// Without a configuration: the formula of the free atoms, such as Pt7
    #[arg(long, value_name = "FORMULA")]
    free: Option<String>,
    /// With --free: the given atoms, such as a slab; without them the free atoms are a cluster
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    #[command(flatten)]
    potential: TaskPotential,
    /// Number of iterations [default: search.iterations of the configuration]; with --resume a larger one extends the run
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1..=LARGEST), allow_negative_numbers = true)]
    iterations: Option<u64>,
}

impl Source {
    /// The name of the run's folder without a number; refuses options that do not belong together.
    pub fn name(&self, run: &RunArguments, suffix: &str) -> Result<String> {
        let of_template = self.template.as_ref().map(|_| "--template");
        let others = of_template.or_else(|| self.potential.given());
        match (&self.config, &self.free) {
            (Some(config), free) => match free.as_ref().map(|_| "--free").or(others) {
                Some(option) => Err(Error::bad_input(format!(
                    "{option} describes a task without a configuration, and {} is one; leave one of them out",
                    config.display()
                ))),
                None => Ok(name_of(config, suffix)),
            },
            (None, Some(free)) => Ok(format!("{free}{suffix}")),
            (None, None) => match others {
                Some(option) => Err(Error::bad_input(format!(
                    "{option} needs the free atoms; name them with --free, such as --free Pt7"
                ))),
                None if run.resume && run.out.is_some() => Ok(String::new()),
                None if run.resume => Err(Error::bad_input(
                    "name the run to resume: its folder with --out, its configuration, or its --free",
                )),
                None => Err(Error::bad_input(
                    "name a configuration, such as search.toml, or describe the task, such as --template slab.xyz --free Pt7 \
                     --potential emt",
                )),
            },
        }
    }

    /// The settings of a new run, or of the run in `before`, which is to be resumed.
    pub fn settings(&self, seed: Option<u64>, before: Option<&Path>, watch: (&AtomicBool, bool)) -> Result<Settings> {
        let iterations = self.iterations.and_then(|n| i64::try_from(n).ok());
        let search = iterations.map(|n| Table::from_iter([("iterations".to_owned(), n.into())]));
        let changes = Table::from_iter(search.map(|keys| ("search".to_owned(), keys.into())));
        if let Some(config) = &self.config {
            return Settings::of_keywords(changes, Some(config), Path::new(""));
        }
        match before {
            Some(folder) => of_run(folder, self.task(seed).transpose()?, changes),
            None => {
                let task =
                    self.task(seed).unwrap_or_else(|| Err(Error::bad_input("name the free atoms with --free")))?;
                let (interrupted, silent) = watch;
                let here = Path::new("");
                chosen(task, here, interrupted, silent)?.with(&changes, here)
            }
        }
    }

    /// The task's sections, if there is one.
    fn task(&self, seed: Option<u64>) -> Option<Result<Table>> {
        let free = self.free.as_ref()?;
        Some(self.potential.keys().map(|potential| {
            sections(self.template.as_deref(), free, potential, &[("seed", seed), ("iterations", self.iterations)])
        }))
    }
}
