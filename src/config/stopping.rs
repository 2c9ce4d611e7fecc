//! `[stopping]`: when the training of an iteration ends before its last step.

use super::TrainingSection;
use super::keys::{Keys, LARGEST_COUNT};
use crate::engine::{Consensus, StoppingRule};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// `[stopping]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoppingSection {
    /// Whose cosine is watched.
    pub consensus: Consensus,
    /// First steps of an iteration, in which it is not watched.
    pub free_steps: usize,
    /// Steps since the highest cosine so far, before training may end.
    pub patience: usize,
    /// Training ends below this share of the highest cosine.
    pub drop: f64,
}

impl Default for StoppingSection {
    fn default() -> Self {
        StoppingSection { consensus: Consensus::Momentum, free_steps: 50, patience: 100, drop: 0.5 }
    }
}

impl StoppingSection {
    /// The rule that the engine follows.
    pub fn rule(&self) -> StoppingRule {
        let StoppingSection { consensus, free_steps, patience, drop } = *self;
        StoppingRule { consensus, free_steps, patience, drop }
    }

    pub(super) fn check(&self, keys: Keys, training: &TrainingSection) -> Result<()> {
        let message = format!("{} is above {LARGEST_COUNT}", self.free_steps);
        keys.require(self.free_steps <= LARGEST_COUNT, "free_steps", message)?;
        keys.count("patience", self.patience, LARGEST_COUNT)?;
        keys.require(self.drop > 0.0 && self.drop < 1.0, "drop", format!("{} is not between 0 and 1", self.drop))?;
        let (first, steps) = (self.free_steps + self.patience + 1, training.steps_per_iteration);
        let message = format!(
            "training can end after {first} steps at the earliest (free_steps + patience + 1), but \
             training.steps_per_iteration = {steps} ends it before; lower free_steps or patience"
        );
        keys.require(first < steps, "patience", message)?;
        let alone = self.consensus == Consensus::Halves && training.batch < 2;
        keys.require(!alone, "consensus", "a batch of one structure has no halves; raise training.batch")
    }
}
