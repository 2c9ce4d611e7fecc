//! `[adaptive]`: temperature, number of samples and buffer that follow from what the search finds.

use super::SearchSection;
use super::keys::{Keys, LARGEST_COUNT};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// `[adaptive]`. Without a key, `[search]` decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveSection {
    /// The first temperature is this times the standard deviation of the first iteration's energies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_kt_in_deviations: Option<f64>,
    /// Factor on the temperature where the heat capacity is above 1, and where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooling: Option<[f64; 2]>,
    /// Whether the search ends with the first iteration that learns at `search.kt_final_ev`.
    pub end_at_kt_final: bool,
    /// An iteration draws batch after batch until its energies have this effective sample size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_samples: Option<f64>,
    /// Most samples of an iteration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_samples: Option<usize>,
    /// Samples of the first iteration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_iteration_samples: Option<usize>,
    /// Smallest and largest number of structures in the buffer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer: Option<[usize; 2]>,
}

impl AdaptiveSection {
    pub(super) fn check(&self, keys: Keys, search: &SearchSection, batch: usize) -> Result<()> {
        self.first_kt_in_deviations.map_or(Ok(()), |k| keys.positive("first_kt_in_deviations", k))?;
        if let Some([slow, fast]) = self.cooling {
            let message = format!("[{slow}, {fast}] must be two factors above 0 and at most 1, the larger one first");
            keys.require(0.0 < fast && fast <= slow && slow <= 1.0, "cooling", message)?;
        }
        let ends = !self.end_at_kt_final || self.cooling.is_some();
        keys.require(
            ends,
            "end_at_kt_final",
            "without cooling the last iteration is at kt_final_ev anyway; add cooling",
        )?;
        self.check_samples(keys, search)?;
        self.first_iteration_samples.map_or(Ok(()), |n| keys.count("first_iteration_samples", n, LARGEST_COUNT))?;
        if let Some([least, most]) = self.buffer {
            let message =
                format!("[{least}, {most}] must be two numbers from 1 to {LARGEST_COUNT}, the smaller one first");
            keys.require((1..=most).contains(&least) && most <= LARGEST_COUNT, "buffer", message)?;
            let message = format!("training.batch = {batch} is more than the {most} structures of the largest buffer");
            keys.require(batch <= most, "buffer", message)?;
        }
        Ok(())
    }

    fn check_samples(&self, keys: Keys, search: &SearchSection) -> Result<()> {
        let one = search.samples_per_iteration;
        let Some(target) = self.effective_samples else {
            let message = "most_samples limits effective_samples, which is not there; add it";
            return keys.require(self.most_samples.is_none(), "most_samples", message);
        };
        keys.require(target >= 1.0, "effective_samples", format!("{target} is below 1, which any sample has"))?;
        let message = "effective_samples needs most_samples: at a low temperature it may never be reached";
        let most = self.most_samples.unwrap_or(0);
        keys.require(most > 0, "effective_samples", message)?;
        let message = format!("{most} is not more than one batch of search.samples_per_iteration = {one}");
        keys.require((one + 1..=LARGEST_COUNT).contains(&most), "most_samples", message)?;
        let message = format!("{target} is more than the {most} samples of most_samples can have");
        keys.require(target <= most as f64, "effective_samples", message)
    }
}
