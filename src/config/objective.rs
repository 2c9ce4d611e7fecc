//! `[objective]`.

use super::keys::Keys;
use crate::error::Result;
use crate::potential::keys_of;
use serde::{Deserialize, Serialize};

/// `[objective]`: what the score is trained towards. The kind decides which other keys there are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ObjectiveSection {
    /// The noise that was added to structures that are drawn and weighted by exp(−E/kT) (arXiv:2510.13448), as without the section.
    Boltzmann {},
    /// That noise, mixed with the forces on the structures (arXiv:2402.08667).
    TargetScore(TargetScoreKeys),
}

/// Keys of `kind = "target-score"`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TargetScoreKeys {
    /// Factor on the share with which forces count.
    pub force_share: f64,
    /// Longest F/kT of an atom, 1/Å; longer ones are scaled down to it.
    pub max_score_per_angstrom: f64,
}

impl Default for TargetScoreKeys {
    fn default() -> Self {
        TargetScoreKeys { force_share: 1.0, max_score_per_angstrom: MAX_SCORE }
    }
}

/// The default of `max_score_per_angstrom`, 1/Å.
pub const MAX_SCORE: f64 = 100.0;

impl ObjectiveSection {
    /// The names of the keys of all kinds.
    pub(super) fn keys() -> Vec<&'static str> {
        [&["kind"], keys_of::<TargetScoreKeys>()].concat()
    }

    pub(super) fn check(&self, keys: Keys) -> Result<()> {
        match self {
            ObjectiveSection::Boltzmann {} => Ok(()),
            ObjectiveSection::TargetScore(own) => {
                keys.share("force_share", own.force_share)?;
                let message = "0 leaves forces out; leave the section out instead";
                keys.require(own.force_share > 0.0, "force_share", message)?;
                keys.positive("max_score_per_angstrom", own.max_score_per_angstrom)
            }
        }
    }
}
