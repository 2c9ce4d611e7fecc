//! `[relaxation]`.

use super::baseline::LARGEST_COUNT;
use super::keys::Keys;
use crate::error::Result;
use crate::potential::relax::RelaxSettings;
use serde::{Deserialize, Serialize};

/// `[relaxation]`: when relaxations of a baseline end, and how far atoms move in a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelaxationSection {
    /// A relaxation ends when no force on a free atom is larger than this, eV/Å.
    pub fmax_ev_per_angstrom: f64,
    /// Most steps of a relaxation.
    pub max_steps: usize,
    /// Largest displacement of an atom in one step, Å.
    pub max_step_angstrom: f64,
    /// Number of latest steps from which the curvature is estimated.
    pub history: usize,
    /// Which evaluations the archive keeps.
    pub record: Record,
}

/// Which evaluations of a baseline the archive keeps. All of them count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// All evaluations: a resumed run asks the potential for no structure twice.
    All,
    /// The last one of every relaxation, every one lower in energy than all before, and the first that matches the target. This
    /// is for cheap potentials: a resumed run repeats the other evaluations.
    Minima,
}

impl Default for RelaxationSection {
    fn default() -> Self {
        RelaxationSection {
            fmax_ev_per_angstrom: 0.05,
            max_steps: 500,
            max_step_angstrom: 0.2,
            history: 10,
            record: Record::All,
        }
    }
}

impl From<RelaxationSection> for RelaxSettings {
    fn from(section: RelaxationSection) -> Self {
        let RelaxationSection { fmax_ev_per_angstrom, max_steps, max_step_angstrom, history, record: _ } = section;
        RelaxSettings { fmax_ev_per_angstrom, max_steps, max_step_angstrom, history }
    }
}

impl RelaxationSection {
    pub(super) fn check(&self, keys: Keys) -> Result<()> {
        keys.whole(RelaxSettings::from(*self).check())?;
        keys.count("max_steps", self.max_steps, LARGEST_COUNT)?;
        keys.count("history", self.history, LARGEST_COUNT)
    }
}
