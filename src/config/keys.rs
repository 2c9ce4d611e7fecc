//! Checks of one section's numbers. Each error names the key and its line.

use super::source::SourceFile;
use crate::error::Result;
use std::fmt::Display;

/// Upper bound of every count, well inside the 32 bits of the noise's counters.
pub const LARGEST_COUNT: usize = 1_000_000_000;

/// The keys of one section of a configuration file.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    source: &'a SourceFile,
    section: &'static str,
}

impl<'a> Keys<'a> {
    /// The keys of `[section]` in `source`.
    pub fn new(source: &'a SourceFile, section: &'static str) -> Self {
        Keys { source, section }
    }

    /// Refuses with `message` about `key` unless `ok`.
    ///
    /// # Errors
    /// `BadInput`, as all methods here.
    pub fn require(&self, ok: bool, key: &str, message: impl Display) -> Result<()> {
        if ok { Ok(()) } else { Err(self.source.error(&format!("{}.{key}", self.section), message)) }
    }

    /// `checked`, with the line of the section.
    pub fn whole<T>(&self, checked: std::result::Result<T, impl Display>) -> Result<T> {
        checked.map_err(|cause| self.source.error(self.section, cause))
    }

    /// Between 1 and `largest`.
    pub fn count(&self, key: &str, value: usize, largest: usize) -> Result<()> {
        self.require((1..=largest).contains(&value), key, format!("{value} is not between 1 and {largest}"))
    }

    /// Above 0.
    pub fn positive(&self, key: &str, value: f64) -> Result<()> {
        self.require(value > 0.0, key, format!("{value} must be greater than 0"))
    }

    /// 0 or above.
    pub fn not_negative(&self, key: &str, value: f64) -> Result<()> {
        self.require(value >= 0.0, key, format!("{value} is negative"))
    }

    /// A share: between 0 and 1.
    pub fn share(&self, key: &str, value: f64) -> Result<()> {
        self.require((0.0..=1.0).contains(&value), key, format!("{value} is not a share between 0 and 1"))
    }
}
