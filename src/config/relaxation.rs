//! `[relaxation]`.

use super::baseline::LARGEST_COUNT;
use super::keys::Keys;
use crate::error::Result;
use crate::potential::relax::RelaxSettings;
use serde::{Deserialize, Serialize};

/// `[relaxation]`: when relaxations of a baseline end and how far they go at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelaxationSection {
    /// A relaxation ends when no free atom feels a larger force, eV/Å.
    pub fmax_ev_per_angstrom: f64,
    /// Steps after which it ends anyway.
    pub max_steps: usize,
    /// Largest displacement of an atom in one step, Å.
    pub max_step_angstrom: f64,
    /// Steps that the curvature is learnt from.
    pub history: usize,
    /// Which evaluations the archive keeps.
    pub record: Record,
}

/// Which evaluations of a baseline the archive keeps. All count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// Every one: a run that goes on asks the potential for nothing twice.
    All,
    /// The last one of every relaxation, every one lower in energy than all before, and the first that matches the target: for
    /// cheap potentials, of which a run that goes on asks the rest again.
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
