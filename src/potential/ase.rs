//! Calculators of ASE: the keys of `kind = "ase"`. `external/workers.rs` runs them.

use super::Potential;
#[cfg(unix)]
use super::external::External;
use super::kind::{Form, Kind, check_count, check_positive};
use crate::error::{Error, Result};
use crate::gpu::Place;
use crate::system::System;
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::Table;

/// Number of structures in a call, if the worker evaluates batches at once.
const BATCH: usize = 16;

/// `kind = "ase"`: godiff starts Python workers with an ASE calculator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AseSettings {
    /// The class or function that makes the calculator, `MODULE:NAME`.
    pub calculator: String,
    /// The Python interpreter, which has ASE and the calculator.
    pub python: String,
    /// Number of workers side by side.
    pub workers: usize,
    /// Number of structures in a call.
    pub batch: usize,
    /// How long a worker may take to start, s.
    pub startup_limit_seconds: f64,
    /// How long a call may take, s; without it the larger of 60 s and ten times the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_limit_seconds: Option<f64>,
    /// Failed structures in a row, with no answer between them, that end the run; without it 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_after_failures: Option<usize>,
    /// The calculator's keyword arguments; `{worker}` in a text is replaced by the worker's number, from 0.
    pub arguments: Table,
}

impl Default for AseSettings {
    /// The keys without a calculator, which has no default.
    fn default() -> Self {
        AseSettings::new(String::new())
    }
}

impl AseSettings {
    /// `calculator` with all other keys at their defaults.
    pub fn new(calculator: String) -> Self {
        AseSettings {
            python: "python3".into(),
            workers: 1,
            batch: default_batch(&calculator),
            startup_limit_seconds: 600.0,
            call_limit_seconds: None,
            end_after_failures: None,
            arguments: Table::new(),
            calculator,
        }
    }

    /// Makes the interpreter's path absolute if it is relative to the folder `here`, so that it holds elsewhere too. Gives a
    /// sentence about the calculator's module if Python finds it in `here`, where godiff was started, and so not elsewhere.
    pub fn prepare_to_move(&mut self, here: &Path) -> Option<String> {
        let python = Path::new(&self.python);
        if python.is_relative() && python.components().count() > 1 {
            self.python = here.join(python).to_string_lossy().into_owned();
        }
        let module = self.calculator.split([':', '.']).next().unwrap_or_default();
        let file = here.join(format!("{module}.py"));
        let is_own = !module.is_empty() && (file.is_file() || here.join(module).join("__init__.py").is_file());
        is_own.then(|| {
            format!(
                "the module {module} of the calculator lies in {} and stays there; start the tasks in that folder, or put it into \
                 PYTHONPATH where they run",
                here.display()
            )
        })
    }

    /// The arguments for worker `number` as JSON.
    pub fn keywords(&self, number: usize) -> String {
        let value = toml::Value::Table(self.arguments.clone());
        json(&value, &number.to_string()).to_string()
    }
}

/// The default of `batch`: large for the calculators that worker.py can batch.
fn default_batch(calculator: &str) -> usize {
    if ["mace.", "chgnet."].iter().any(|module| calculator.starts_with(module)) { BATCH } else { 1 }
}

impl Kind for AseSettings {
    const NAME: &'static str = "ase";
    const FORM: Option<Form> = None;

    fn fill_in(keys: &mut Table) {
        let calculator = keys.get("calculator").and_then(toml::Value::as_str).unwrap_or_default();
        let batch = default_batch(calculator);
        keys.entry("batch").or_insert((batch as i64).into());
    }

    fn check(&self) -> Result<()> {
        let calculator = &self.calculator;
        if !calculator.split_once(':').is_some_and(|(module, name)| !module.is_empty() && !name.is_empty()) {
            return Err(Error::bad_input(format!(
                "the potential \"ase\" needs calculator = \"MODULE:NAME\", such as \"ase.calculators.emt:EMT\", not \"{calculator}\""
            )));
        }
        check_count("workers", self.workers)?;
        check_count("batch", self.batch)?;
        check_positive("startup_limit_seconds", self.startup_limit_seconds, "seconds")?;
        check_positive("call_limit_seconds", self.call_limit_seconds, "seconds")?;
        check_count("end_after_failures", self.end_after_failures.unwrap_or(1))
    }

    fn describe(&self) -> String {
        self.calculator.clone()
    }

    #[cfg(unix)]
    fn open(&self, _system: Option<&System>, _place: &Place) -> Result<Box<dyn Potential>> {
        Ok(Box::new(External::ase(self.clone())))
    }

    #[cfg(not(unix))]
    fn open(&self, _system: Option<&System>, _place: &Place) -> Result<Box<dyn Potential>> {
        Err(super::kind::needs_unix())
    }
}

fn json(value: &toml::Value, worker: &str) -> serde_json::Value {
    match value {
        toml::Value::String(text) => text.replace("{worker}", worker).into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(flag) => (*flag).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.iter().map(|item| json(item, worker)).collect(),
        toml::Value::Table(table) => {
            table.iter().map(|(key, item)| (key.clone(), json(item, worker))).collect::<serde_json::Map<_, _>>().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only the interpreter's path can be taken along; the user hears of a module that stays.
    #[test]
    fn an_own_module_stays_behind() {
        let here = tempfile::TempDir::new().unwrap();
        std::fs::write(here.path().join("mine.py"), "").unwrap();
        for (calculator, python, stays, taken) in [
            ("mine:Mine", "../venv/bin/python", true, here.path().join("../venv/bin/python").to_str().unwrap()),
            ("mine.part:Mine", "/usr/bin/python3", true, "/usr/bin/python3"),
            ("ase.calculators.emt:EMT", "python3", false, "python3"),
        ] {
            let mut settings = AseSettings { python: python.into(), ..AseSettings::new(calculator.into()) };
            let said = settings.prepare_to_move(here.path());
            assert_eq!((said.is_some(), &*settings.python), (stays, taken), "{said:?}");
            let sentence =
                format!("the module mine of the calculator lies in {} and stays there;", here.path().display());
            assert!(said.is_none_or(|said| said.starts_with(&sentence)));
        }
    }

    #[test]
    fn arguments_become_json() {
        let mut settings = AseSettings::new("mace.calculators:mace_mp".into());
        settings.arguments =
            toml::from_str("device = 'cuda:{worker}'\nn = 3\nx = 0.5\non = false\nlist = [1, 'a{worker}']\n[t]\nk = 1")
                .unwrap();
        let json: serde_json::Value = serde_json::from_str(&settings.keywords(2)).unwrap();
        let expected = serde_json::json!({
            "device": "cuda:2", "n": 3, "x": 0.5, "on": false, "list": [1, "a2"], "t": { "k": 1 }
        });
        assert_eq!(json, expected);
        assert_eq!(settings.batch, 16);
        assert_eq!(AseSettings::new("ase.calculators.emt:EMT".into()).batch, 1);
    }
}
