//! `[system]`.

use super::keys::Keys;
use super::source::SourceFile;
use super::{File, MobileSection};
use crate::error::{Error, Result};
use crate::potential::PotentialSettings;
use crate::system::elements::{atomic_number, parse_formula};
use crate::system::xyz::{Frame, Values};
use crate::system::{
    Cell, ConfinementSpec, MOMENTS, Mobile, Molecule, Molecules, Structure, System, check_mobile, fixed_first,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[system]`: template, free atoms, confinement; cell and periodicity if there is no template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemSection {
    /// Structure of the fixed atoms, relative to the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<PathBuf>,
    /// Formula of the free atoms, such as "Pt7"; may be left out where there are molecules.
    #[serde(default, skip_serializing_if = "String::is_empty")]
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
    /// The template's atoms that may move; none if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mobile: Option<MobileSection>,
    /// Standard deviation of the mobile atoms' noise at diffusion time 1, Å; 0.3 if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mobile_noise_angstrom: Option<f64>,
    /// Initial magnetic moments of atoms by element, µB, such as `{ Fe = 2.2 }`: for atoms whose file gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_moments: Option<BTreeMap<String, f64>>,
    /// Whether structures count only if the molecules of `[[fragments]]` are whole; `false` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_bonded: Option<bool>,
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
    pub(super) fn check(&self, keys: Keys, with_molecules: bool) -> Result<()> {
        let message =
            "the formula of the free atoms is empty; name them, for example \"Pt7\", or add molecules as [[fragments]]";
        keys.require(with_molecules || !self.free.trim().is_empty(), "free", message)?;
        let message = "this is about molecules; name them in [[fragments]]";
        keys.require(with_molecules || self.keep_bonded.is_none(), "keep_bonded", message)
    }

    /// The indices of the atoms of `template`, as read, in the order of the system's structures: mobile atoms last. From here on
    /// this section names the mobile atoms by their places in that order, as the copy in the run folder has them.
    pub(super) fn order(&mut self, template: Option<&Frame>, source: &SourceFile) -> Result<Vec<usize>> {
        let n = template.map_or(0, |template| template.structure.n_atoms());
        let Some(mobile) = &self.mobile else {
            return match self.mobile_noise_angstrom {
                None => Ok((0..n).collect()),
                Some(_) => Err(source.error("system.mobile_noise_angstrom", "this needs mobile = { layers = 1 }")),
            };
        };
        let refuse = |cause: Error| source.error("system.mobile", cause);
        let template = template.ok_or_else(|| refuse(Error::bad_input("mobile atoms need a template")))?;
        let atoms = mobile.atoms(template).map_err(refuse)?;
        check_mobile(n, &atoms).map_err(refuse)?;
        self.mobile = Some(MobileSection::of_indices((n - atoms.len()..n).collect()));
        self.mobile_noise_angstrom.get_or_insert(Mobile::default().noise_angstrom);
        Ok(fixed_first(n, &atoms))
    }

    /// The system, with the `template` from the file that this section names, in the order of [`SystemSection::order`], and the
    /// `molecules` of `[[fragments]]`.
    pub(super) fn build(
        &self,
        template: Option<&Structure>,
        molecules: Vec<Molecule>,
        source: &SourceFile,
    ) -> Result<System> {
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
        let free = match &*self.free {
            "" => Vec::new(),
            formula => parse_formula(formula).map_err(|cause| source.error("system.free", cause))?,
        };
        let molecules = Molecules { all: molecules, keep_bonded: self.keep_bonded == Some(true) };
        let system = System::of_numbers(template, free, molecules, confinement, cell);
        let system = system.map_err(|cause| source.error("system", cause))?;
        let system = match &self.initial_moments {
            Some(moments) => {
                let of_template = template.and_then(Structure::extras).and_then(|extras| extras.column(MOMENTS));
                let moments = by_number(moments);
                moments.and_then(|moments| system.with_initial_moments(&moments, of_template.is_some()))
            }
            None => Ok(system),
        };
        let system = system.map_err(|cause| source.error("system.initial_moments", cause))?;
        match (&self.mobile, self.mobile_noise_angstrom) {
            (Some(MobileSection { indices: Some(indices), .. }), Some(noise)) => {
                system.with_mobile(indices, noise).map_err(|cause| source.error("system.mobile_noise_angstrom", cause))
            }
            _ => Ok(system),
        }
    }
}

/// Moments by atomic number instead of symbol.
fn by_number(moments: &BTreeMap<String, f64>) -> Result<BTreeMap<u8, f64>> {
    let known = |(symbol, &moment): (&String, &f64)| match atomic_number(symbol) {
        Some(number) => Ok((number, moment)),
        None => Err(Error::bad_input(format!("there is no element {symbol}; write symbols, as in {{ Fe = 2.2 }}"))),
    };
    moments.iter().map(known).collect()
}

/// Columns of a template's file that a potential might need. Only calculators of ASE get them.
const INPUTS: [&str; 2] = ["initial_magmoms", "initial_charges"];

/// Results of an earlier calculation that may be meant as [`INPUTS`].
const RESULTS: [&str; 3] = ["magmoms", "charges", "charge"];

/// What the file of a template says in vain, in words, if it might matter to the user: which atoms may move, magnetic moments,
/// charges. `sections` are as they were written.
pub(super) fn template_extras(frame: &Frame, sections: &File) -> Vec<String> {
    let n_atoms = frame.structure.n_atoms();
    let free = frame.structure.not_fixed();
    let n_free = free.len();
    // A run folder names the mobile atoms by their indices.
    let names_them =
        |mobile: &MobileSection| mobile.constraints == Some(true) || mobile.indices.as_ref() == Some(&free);
    let used = sections.system.mobile.as_ref().is_some_and(names_them);
    let mixed = !used && (n_free < n_atoms && n_free > 0 || frame.partly_fixed().is_some());
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
    let takes_inputs = matches!(sections.potential, PotentialSettings::Ase(_) | PotentialSettings::Object(_));
    let inputs: &[&str] = if takes_inputs { &[] } else { &INPUTS };
    let columns = inputs.iter().copied().chain(RESULTS).filter(column).map(|name| format!("the column {name}"));
    constraints.into_iter().chain(columns).collect()
}
