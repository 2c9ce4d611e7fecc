//! `[target]`.

use super::keys::Keys;
use crate::error::Result;
use crate::system::elements::symbol;
use crate::system::{Structure, System};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How far a target's template may be from the configuration's, Å.
const TARGET_TOLERANCE: f64 = 0.05;

/// `[target]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSection {
    /// The target structure, relative to the configuration file.
    pub structure: PathBuf,
    /// When a structure counts as found.
    #[serde(rename = "match")]
    pub matching: Matching,
}

/// When a structure counts as the target: `"bond-graph"`, `{ energy_within_ev = 0.05 }` or `{ bond_graph_within_ev = 2.0 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Matching {
    /// The free atoms are bonded among each other like the target's.
    #[serde(rename = "bond-graph")]
    BondGraph,
    /// The energy is at most this much, eV, above the target's.
    #[serde(rename = "energy_within_ev")]
    EnergyWithin(f64),
    /// Both: bonded like the target's, and the energy at most this much, eV, above. Samples have higher energies than their
    /// minima. A structure far above may have the same bonds but another position on the surface.
    #[serde(rename = "bond_graph_within_ev")]
    BondGraphWithin(f64),
}

impl Matching {
    /// The key of the energy window, and the window, eV.
    pub fn within_ev(self) -> Option<(&'static str, f64)> {
        match self {
            Matching::BondGraph => None,
            Matching::EnergyWithin(within) => Some(("energy_within_ev", within)),
            Matching::BondGraphWithin(within) => Some(("bond_graph_within_ev", within)),
        }
    }

    /// Whether the bonds of the free atoms matter.
    pub fn compares_bonds(self) -> bool {
        matches!(self, Matching::BondGraph | Matching::BondGraphWithin(_))
    }
}

impl TargetSection {
    pub(super) fn check(&self, keys: Keys) -> Result<()> {
        let Some((key, within)) = self.matching.within_ev() else { return Ok(()) };
        keys.require(within >= 0.0, "match", format!("{key} = {within} is negative"))
    }
}

/// The target structure, and when another structure counts as the target.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Template and free atoms.
    pub structure: Structure,
    /// When another structure counts as this one.
    pub matching: Matching,
}

/// Says how `target` differs from any structure of `system`.
pub(super) fn check_target(target: &Structure, system: &System) -> std::result::Result<(), String> {
    if target.numbers.len() != system.n_atoms() {
        let (found, expected) = (target.numbers.len(), system.n_atoms());
        return Err(format!("the target has {found} atoms where the system has {expected}"));
    }
    if let Some(i) = (0..system.n_atoms()).find(|&i| target.numbers[i] != system.numbers()[i]) {
        let (found, expected) = (target.numbers[i], system.numbers()[i]);
        let (found, expected) = (symbol(found).unwrap_or("?"), symbol(expected).unwrap_or("?"));
        return Err(format!("atom {} of the target is {found} where the system has {expected}", i + 1));
    }
    let far = |a: &[f64; 3], b: &[f64; 3]| (0..3).any(|x| (a[x] - b[x]).abs() > TARGET_TOLERANCE);
    let periodic_differs = target.cell.periodic != system.cell.periodic;
    let axis_differs = (0..3).any(|a| system.cell.periodic[a] && far(&target.cell.vectors[a], &system.cell.vectors[a]));
    if periodic_differs || axis_differs {
        return Err("the target lies in another cell than the system".into());
    }
    match (0..system.n_template()).find(|&i| far(&target.positions[i], &system.template_positions[i])) {
        Some(i) => Err(format!("atom {} of the target is not where the template has it", i + 1)),
        None => Ok(()),
    }
}
