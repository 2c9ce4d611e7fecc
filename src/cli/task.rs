//! A task on the command line: template, free atoms and potential, without a configuration.

use super::common::{note, potential_help, potential_settings};
use super::numbers::whole;
use clap::Args;
use godiff::config::Settings;
use godiff::potential::PotentialSettings;
use godiff::preset::{Means, Preset, choose, outline};
use godiff::run::RunDirectory;
use godiff::{Error, Result};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use toml::{Table, Value};

/// The potential of a task.
#[derive(Debug, Args)]
pub struct TaskPotential {
    #[arg(long, value_name = "NAME", help = potential_help())]
    potential: Option<String>,
    /// For --potential ase: the class or function that makes the calculator, such as ase.calculators.emt:EMT
    #[arg(long, value_name = "MODULE:NAME")]
    calculator: Option<String>,
    /// For --potential ase: keyword arguments of the calculator as TOML, such as '{ model = "medium", device = "cpu" }'
    #[arg(long, value_name = "TABLE")]
    arguments: Option<String>,
    /// For --potential ase: the interpreter that has ASE and the calculator [default: python3]
    #[arg(long, value_name = "PYTHON")]
    python: Option<String>,
    /// For --potential ase: number of Python processes [default: 1]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=10_000), allow_negative_numbers = true)]
    workers: Option<u16>,
}

impl TaskPotential {
    /// The first option that was given.
    pub fn given(&self) -> Option<&'static str> {
        let first = self.potential.as_ref().map(|_| "--potential");
        first.or_else(|| self.given_of_ase())
    }

    fn given_of_ase(&self) -> Option<&'static str> {
        let options = [
            ("--calculator", self.calculator.is_some()),
            ("--arguments", self.arguments.is_some()),
            ("--python", self.python.is_some()),
            ("--workers", self.workers.is_some()),
        ];
        options.into_iter().find_map(|(option, given)| given.then_some(option))
    }

    /// The keys of `[potential]`.
    pub fn keys(&self) -> Result<Table> {
        let Some(name) = &self.potential else {
            return Err(Error::bad_input(
                "the free atoms need a source of energies; name it with --potential, such as --potential emt",
            ));
        };
        match (name.as_str(), self.given_of_ase()) {
            ("ase", _) => self.keys_of_ase(),
            (name, Some(option)) => {
                Err(Error::bad_input(format!("{option} is for --potential ase, not for {name}; leave it out")))
            }
            (name, None) => {
                let keys = Table::try_from(potential_settings(name)?);
                keys.map_err(|cause| Error::bad_input(format!("--potential: {cause}")))
            }
        }
    }

    fn keys_of_ase(&self) -> Result<Table> {
        let Some(calculator) = &self.calculator else {
            return Err(Error::bad_input(
                "--potential ase needs the calculator; name it with --calculator, such as --calculator ase.calculators.emt:EMT",
            ));
        };
        let mut keys = Table::from_iter([("kind".to_owned(), Value::from("ase"))]);
        keys.insert("calculator".into(), calculator.as_str().into());
        if let Some(text) = &self.arguments {
            let table = format!("arguments = {text}").parse::<Table>().ok();
            match table.and_then(|mut table| table.remove("arguments")).filter(Value::is_table) {
                Some(arguments) => drop(keys.insert("arguments".into(), arguments)),
                None => {
                    return Err(Error::bad_input(format!(
                        "--arguments {text} is no table of TOML; write it as '{{ name = \"value\", other = 1 }}'"
                    )));
                }
            }
        }
        self.python.iter().for_each(|python| drop(keys.insert("python".into(), python.as_str().into())));
        self.workers.iter().for_each(|&n| drop(keys.insert("workers".into(), i64::from(n).into())));
        Ok(keys)
    }
}

/// The sections of a task; `template` as the configuration names it, `search` with whole numbers of `[search]`.
pub fn sections(template: Option<&Path>, free: &str, potential: Table, search: &[(&str, Option<u64>)]) -> Table {
    let mut system = Table::new();
    template.iter().for_each(|path| drop(system.insert("template".into(), path.to_string_lossy().into_owned().into())));
    system.insert("free".into(), free.into());
    // The parser of arguments has refused numbers beyond those of TOML.
    let number = |(key, value): &(&str, Option<u64>)| Some(((*key).to_owned(), i64::try_from((*value)?).ok()?.into()));
    let search: Table = search.iter().filter_map(number).collect();
    let mut sections =
        Table::from_iter([("system".to_owned(), system.into()), ("potential".to_owned(), potential.into())]);
    if !search.is_empty() {
        sections.insert("search".into(), search.into());
    }
    sections
}

/// Chooses the configuration of a task and says how, unless it is `silent`.
pub fn chosen(task: Table, folder: &Path, interrupted: &AtomicBool, silent: bool) -> Result<Preset> {
    let tell = |text: &str| {
        if !silent {
            note(text);
        }
    };
    choose(task, folder, &Means { interrupted, tell: &tell, give: &|_| () })
}

/// The configuration of the run in `folder` with `changes`; the run must be one of `task`, if that is given.
pub fn of_run(folder: &Path, task: Option<Table>, changes: Table) -> Result<Settings> {
    // Says so if there is no run.
    drop(RunDirectory::hold(folder)?);
    let settings = Settings::of_keywords(changes, Some(&RunDirectory::config_of(folder)), Path::new(""))?;
    let Some(task) = task else { return Ok(settings) };
    let asked = outline(task, Path::new(""))?;
    let another = |what: &str, of_run: &str, asked: &str| {
        Err(Error::bad_file(
            folder,
            format!(
                "this run has {what} {of_run} and not {asked}; start a new run without --resume, or leave the option out"
            ),
        ))
    };
    let (before, now) = (&settings.sections, &asked.sections);
    if before.system.free != now.system.free {
        return another("the free atoms", &before.system.free, &now.system.free);
    }
    if before.potential != now.potential {
        let words = |potential: &PotentialSettings| match Table::try_from(potential) {
            Ok(keys) => Value::from(keys).to_string(),
            Err(_) => potential.describe(),
        };
        return another("the potential", &words(&before.potential), &words(&now.potential));
    }
    asked.check_copies(folder)?;
    Ok(settings)
}
