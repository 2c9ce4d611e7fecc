//! `[system]`.

use super::source::SourceFile;
use crate::error::Result;
use crate::system::elements::parse_formula;
use crate::system::xyz::{Frame, Values};
use crate::system::{Cell, ConfinementSpec, Structure, System};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `[system]`: template, free atoms, confinement; cell and periodicity if there is no template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemSection {
    /// Structure of the fixed atoms, relative to the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<PathBuf>,
    /// Formula of the free atoms, such as "Pt7".
    pub free: String,
    /// Lattice vectors as rows, Å; only without a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell_angstrom: Option<[[f64; 3]; 3]>,
    /// Which lattice vectors repeat; only with `cell_angstrom`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub periodic: Option<[bool; 3]>,
    /// Heights that the free atoms may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confinement: Option<ConfinementSection>,
}

/// `confinement = { above_template_angstrom = [lo, hi] }` or `{ z_angstrom = [lo, hi] }`: exactly one of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfinementSection {
    /// Interval above the template's highest atom, Å.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above_template_angstrom: Option<[f64; 2]>,
    /// Interval of absolute z, Å.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z_angstrom: Option<[f64; 2]>,
}

impl SystemSection {
    /// The system, with `template` as read from the file that this section names.
    pub(super) fn build(&self, template: Option<&Structure>, source: &SourceFile) -> Result<System> {
        let refuse = |key: &str, message: &str| Err(source.error(&format!("system.{key}"), message));
        let cell = match (template, self.cell_angstrom, self.periodic) {
            (Some(_), Some(_), _) => {
                return refuse("cell_angstrom", "the template brings its own cell: leave this key out");
            }
            (Some(_), _, Some(_)) => {
                return refuse("periodic", "the template brings its own periodicity: leave this key out");
            }
            (None, None, Some(_)) => return refuse("periodic", "periodicity needs cell_angstrom"),
            (_, vectors, periodic) => vectors.map(|vectors| Cell { vectors, periodic: periodic.unwrap_or([true; 3]) }),
        };
        let confinement = match &self.confinement {
            None => None,
            Some(ConfinementSection { above_template_angstrom: Some(heights), z_angstrom: None }) => {
                Some(ConfinementSpec::AboveTemplate(*heights))
            }
            Some(ConfinementSection { above_template_angstrom: None, z_angstrom: Some(heights) }) => {
                Some(ConfinementSpec::Absolute(*heights))
            }
            Some(_) => {
                return refuse(
                    "confinement",
                    "give one of above_template_angstrom = [lo, hi] and z_angstrom = [lo, hi]",
                );
            }
        };
        parse_formula(&self.free).map_err(|cause| source.error("system.free", cause))?;
        System::new(template, &self.free, confinement, cell).map_err(|cause| source.error("system", cause))
    }
}

/// Columns of a template's file that a potential might need.
const PHYSICS: [&str; 5] = ["initial_magmoms", "magmoms", "initial_charges", "charges", "charge"];

/// What the file of a template says beyond elements, positions and cell, in words, if it might matter to the user: which atoms may
/// move, magnetic moments, charges.
pub(super) fn template_extras(frame: &Frame) -> Vec<String> {
    let n_atoms = frame.structure.n_atoms();
    let n_free = frame.structure.fixed.iter().filter(|fixed| !**fixed).count();
    let mixed = n_free < n_atoms && n_free > 0 || frame.partly_fixed().is_some();
    let which = match frame.partly_fixed() {
        Some(_) => "some atoms are fixed along some axes there".to_owned(),
        None => format!("{n_free} of {n_atoms} atoms are free there"),
    };
    let constraints = mixed.then(|| format!("the constraints ({which})"));
    let is_set = |values: &Values| match values {
        Values::Real(values) => values.iter().any(|&x| x != 0.0),
        Values::Integer(values) => values.iter().any(|&x| x != 0),
        Values::Flag(_) | Values::Text(_) => false,
    };
    let column = |name: &&str| frame.column(name).is_some_and(|column| is_set(&column.values));
    let columns = PHYSICS.into_iter().filter(column).map(|name| format!("the column {name}"));
    constraints.into_iter().chain(columns).collect()
}
