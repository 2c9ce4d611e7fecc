//! The parameters of external potentials in a configuration.

use serde::{Deserialize, Serialize};

/// `kind = "i-pi"`: godiff is the server, any i-PI client computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IpiSettings {
    /// Name (then the path is `/tmp/ipi_NAME`, as i-PI has it) or path of a Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix_socket: Option<String>,
    /// HOST:PORT to listen on, instead of the Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_address: Option<String>,
    /// Structures in a request; more than 1 needs clients that know i-PI's batches.
    pub batch: usize,
    /// Length of the lattice vectors that a cell without them gets, Å.
    pub box_angstrom: f64,
    /// How long there may be no client, s.
    pub startup_limit_seconds: f64,
    /// How long a call may take, s; without it the larger of 60 s and ten times the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_limit_seconds: Option<f64>,
}

impl Default for IpiSettings {
    fn default() -> Self {
        IpiSettings {
            unix_socket: Some("godiff".into()),
            tcp_address: None,
            batch: 1,
            box_angstrom: 30.0,
            startup_limit_seconds: 600.0,
            call_limit_seconds: None,
        }
    }
}

/// `kind = "ase"`: godiff starts Python workers with an ASE calculator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AseSettings {
    /// What makes the calculator, `MODULE:NAME`.
    pub calculator: String,
    /// The interpreter, which has ASE and the calculator.
    pub python: String,
    /// Workers side by side.
    pub workers: usize,
    /// Structures in a call.
    pub batch: usize,
    /// How long a worker may take to start, s.
    pub startup_limit_seconds: f64,
    /// How long a call may take, s; without it the larger of 60 s and ten times the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_limit_seconds: Option<f64>,
    /// The calculator's keyword arguments; `{worker}` in a text stands for the worker's number, from 0.
    pub arguments: toml::Table,
}

/// Structures in a call where the worker evaluates batches at once.
const BATCH: usize = 16;

impl AseSettings {
    /// `calculator` with everything else left at its default.
    pub fn new(calculator: String) -> Self {
        // The calculators that worker.py knows how to batch.
        let batched = ["mace.", "chgnet."].iter().any(|module| calculator.starts_with(module));
        AseSettings {
            calculator,
            python: "python3".into(),
            workers: 1,
            batch: if batched { BATCH } else { 1 },
            startup_limit_seconds: 600.0,
            call_limit_seconds: None,
            arguments: toml::Table::new(),
        }
    }

    /// The arguments for worker `number` as JSON.
    pub fn keywords(&self, number: usize) -> String {
        let value = toml::Value::Table(self.arguments.clone());
        json(&value, &number.to_string()).to_string()
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
