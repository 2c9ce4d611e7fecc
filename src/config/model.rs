//! `[model]`.

use super::keys::Keys;
use crate::error::Result;
use crate::model::ModelSizes;
use serde::{Deserialize, Serialize};

/// `[model]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSection {
    /// Features per atom.
    pub features: usize,
    /// Interaction blocks.
    pub blocks: usize,
    /// Radial functions.
    pub radial_functions: usize,
    /// Cutoff of the radius graph, Å.
    pub cutoff_angstrom: f64,
}

impl ModelSection {
    /// The sizes of the model, with or without force head.
    pub fn sizes(&self, force_head: bool) -> ModelSizes {
        ModelSizes {
            features: self.features,
            blocks: self.blocks,
            radial_functions: self.radial_functions,
            cutoff_angstrom: self.cutoff_angstrom,
            force_head,
        }
    }
}

impl Default for ModelSection {
    fn default() -> Self {
        ModelSection { features: 32, blocks: 3, radial_functions: 30, cutoff_angstrom: 6.0 }
    }
}

impl ModelSection {
    pub(super) fn check(&self, keys: Keys, force_head: bool) -> Result<()> {
        keys.whole(self.sizes(force_head).check())
    }
}
