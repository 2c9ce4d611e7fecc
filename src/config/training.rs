//! `[training]` and `[engine]`.

use super::keys::{Keys, LARGEST_COUNT};
use super::{FirstSamples, ProposalSection, SearchSection};
use crate::engine::{Decay, Storage};
use crate::error::Result;
use crate::model::Weighting;
use serde::{Deserialize, Serialize};

/// `[training]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSection {
    /// Whether the score is learned, or the forces alone.
    #[serde(skip_serializing_if = "is_true")]
    pub score: bool,
    /// Optimiser steps at each temperature, at most.
    pub steps_per_iteration: usize,
    /// Structures a step.
    pub batch: usize,
    /// First learning rate of AdamW.
    pub learning_rate: f64,
    /// Learning rate at the end of each temperature; the rate falls along half a cosine. A configuration that was read has a
    /// value here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_learning_rate: Option<f64>,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Largest global norm of the gradient.
    pub gradient_clip: f64,
    /// How the loss weighs noise levels.
    pub weighting: Weighting,
    /// Iterations after which the parameters start afresh; never without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reinitialise_every: Option<usize>,
}

fn is_true(value: &bool) -> bool {
    *value
}

impl TrainingSection {
    /// How the learning rate falls over the steps of a temperature.
    pub fn decay(&self) -> Decay {
        self.final_learning_rate.map_or(Decay::NONE, |last| Decay { last: last / self.learning_rate })
    }
}

impl Default for TrainingSection {
    fn default() -> Self {
        TrainingSection {
            score: true,
            steps_per_iteration: 2000,
            batch: 16,
            learning_rate: 1e-3,
            final_learning_rate: None,
            weight_decay: 0.01,
            gradient_clip: 10.0,
            weighting: Weighting::Published,
            reinitialise_every: None,
        }
    }
}

impl TrainingSection {
    /// Adds the default that depends on another key: the learning rate falls to a hundredth.
    pub(super) fn fill_in(&mut self) {
        self.final_learning_rate.get_or_insert(self.learning_rate / 100.0);
    }

    /// `buffer` is the key of `[search]`; `transferred`: whether there is a `[transfer]`.
    pub(super) fn check(&self, keys: Keys, buffer: usize, transferred: bool) -> Result<()> {
        keys.count("steps_per_iteration", self.steps_per_iteration, LARGEST_COUNT)?;
        keys.count("batch", self.batch, LARGEST_COUNT)?;
        let message = format!("{} is more than the {buffer} structures of search.buffer", self.batch);
        keys.require(self.batch <= buffer, "batch", message)?;
        keys.positive("learning_rate", self.learning_rate)?;
        if let Some(last) = self.final_learning_rate {
            keys.positive("final_learning_rate", last)?;
            let message = format!("{last} is above learning_rate = {}: the rate falls", self.learning_rate);
            keys.require(last <= self.learning_rate, "final_learning_rate", message)?;
        }
        keys.not_negative("weight_decay", self.weight_decay)?;
        keys.positive("gradient_clip", self.gradient_clip)?;
        let Some(every) = self.reinitialise_every else { return Ok(()) };
        keys.count("reinitialise_every", every, LARGEST_COUNT)?;
        let message = "fresh parameters would forget the model of [transfer]; leave out one of them";
        keys.require(!transferred, "reinitialise_every", message)
    }

    /// Refuses to leave the score untrained where `search` or `proposals` sample it.
    pub(super) fn check_score(
        &self,
        keys: Keys,
        search: &SearchSection,
        proposals: Option<ProposalSection>,
    ) -> Result<()> {
        let hops_alone = proposals.is_some_and(|section| section.hop_share == 1.0);
        let message = "without a score no sample can come from the reverse process: set proposals.hop_share = 1.0 and \
                       search.first_samples = \"placed\"";
        keys.require(self.score || hops_alone && search.first_samples == FirstSamples::Placed, "score", message)
    }
}

/// `[engine]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSection {
    /// Precision of the arrays on a GPU.
    pub precision: Storage,
}
