//! The description that each kind of potential gives of itself: name, keys, words and opening. Each kind has its own file.

use super::Potential;
use crate::error::{Error, Result};
use crate::gpu::Place;
use crate::system::System;
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Table;

/// Upper bound of workers, batches and failures: far more than any machine serves.
const LARGEST_COUNT: usize = 10_000;

/// A kind of potential. The type that implements it holds the keys of `[potential]` that this kind takes, except `kind` itself.
/// Its `Deserialize` fills in defaults and denies unknown fields.
pub trait Kind: Serialize + DeserializeOwned {
    /// The value of `kind`, and the name on the command line.
    const NAME: &'static str;

    /// Its form on the command line; `None` for a kind that needs more than a name.
    const FORM: Option<Form>;

    /// Whether a user may write it into a configuration; if not, messages do not offer it.
    const IN_FILES: bool = true;

    /// Adds the defaults that depend on other keys to `keys`, which are as the user wrote them.
    fn fill_in(_keys: &mut Table) {}

    /// Checks every value.
    ///
    /// # Errors
    /// `BadInput` naming the key.
    fn check(&self) -> Result<()>;

    /// The potential in a few words, for reports.
    fn describe(&self) -> String;

    /// A sentence if its energies of structures with these elements (atomic numbers) mean little, with a remedy.
    fn doubt(&self, _elements: &[u8]) -> Option<String> {
        None
    }

    /// Opens it for the device at `place`, if it can use one. With `system`, unsuitable elements or periodicity are refused at
    /// once, and the part that all structures of a search share may be computed here.
    ///
    /// # Errors
    /// `BadInput` for keys that [`Kind::check`] refuses and for a system or device that does not suit.
    fn open(&self, system: Option<&System>, place: &Place) -> Result<Box<dyn Potential>>;
}

/// The form of a kind on the command line: its name, then perhaps a colon and parameters between commas.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// The forms that help and messages show: `emt`, `emt:asap-cutoff`.
    pub examples: &'static [&'static str],
    /// The parameters.
    pub parameters: &'static [Parameter],
}

/// A parameter on the command line, and the key that it gives a value.
#[derive(Debug, Clone, Copy)]
pub enum Parameter {
    /// The name alone; it makes the key true.
    Flag {
        /// Name.
        name: &'static str,
        /// Key.
        key: &'static str,
    },
    /// `NAME=NUMBER`.
    Number {
        /// Name.
        name: &'static str,
        /// Key.
        key: &'static str,
    },
}

/// Checks that `value`, if there is one, is a positive number of `unit`; `what` names the key.
///
/// # Errors
/// `BadInput` with a sentence about it.
pub fn check_positive(what: &str, value: impl Into<Option<f64>>, unit: &str) -> Result<()> {
    match value.into() {
        Some(value) if !(value.is_finite() && value > 0.0) => {
            Err(Error::bad_input(format!("{what} is {value}; give a positive number of {unit}")))
        }
        _ => Ok(()),
    }
}

/// Checks that `key`, which counts workers, structures or failures, is from 1 to 10,000.
///
/// # Errors
/// `BadInput` with a sentence about it.
pub fn check_count(key: &str, value: usize) -> Result<()> {
    match value {
        1..=LARGEST_COUNT => Ok(()),
        _ => Err(Error::bad_input(format!("{key} is {value}; give a number from 1 to {LARGEST_COUNT}"))),
    }
}

/// The sentence for potentials that other processes compute.
#[cfg(not(unix))]
pub fn needs_unix() -> Error {
    Error::bad_input("external potentials need a Unix system; on Windows use the Subsystem for Linux")
}
