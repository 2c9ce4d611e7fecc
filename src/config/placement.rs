//! `[placement]`.

use super::keys::Keys;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// `[placement]`: how random structures are made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlacementSettings {
    /// Where atoms are placed.
    pub method: PlacementMethod,
    /// Shortest distance between a new atom and any other, as a multiple of the sum of their covalent radii.
    pub shortest_bond: f64,
    /// Longest distance between a new atom and the nearest other, as a multiple of the sum of their covalent radii.
    pub longest_bond: f64,
}

/// Where atoms are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlacementMethod {
    /// Each atom next to one that is already placed.
    Neighbour,
    /// Each atom anywhere in the allowed region.
    Uniform,
}

impl Default for PlacementSettings {
    fn default() -> Self {
        PlacementSettings { method: PlacementMethod::Neighbour, shortest_bond: 0.75, longest_bond: 1.25 }
    }
}

impl PlacementSettings {
    pub(super) fn check(&self, keys: Keys) -> Result<()> {
        let PlacementSettings { shortest_bond, longest_bond, .. } = *self;
        keys.positive("shortest_bond", shortest_bond)?;
        let message = format!("{longest_bond} must be above shortest_bond = {shortest_bond}");
        keys.require(longest_bond > shortest_bond, "longest_bond", message)
    }
}
