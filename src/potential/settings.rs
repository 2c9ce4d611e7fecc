//! Which potential a configuration or the command line asks for, and opening it.

use serde::{Deserialize, Serialize};

use super::Potential;
use super::emt::{Emt, EmtOnDevice};
use super::lennard_jones::{LennardJones, LennardJonesSettings, needs_cutoff};
use crate::engine::Place;
use crate::engine::cuda::driver::Device;
use crate::error::{Error, Result};
use crate::system::System;

/// The kinds as messages list them.
const KNOWN_KINDS: &str = "\"emt\" and \"lennard-jones\"";

/// A potential and its parameters: the table `[potential]` of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", try_from = "Table")]
pub enum PotentialSettings {
    /// Effective medium theory, [`Emt`].
    Emt {
        /// Cutoff from the largest element present, as in ASAP, instead of the largest EMT knows, as in ASE.
        asap_cutoff: bool,
    },
    /// Lennard-Jones, [`LennardJones`].
    LennardJones(LennardJonesSettings),
}

/// The keys of every kind together, so that each mistake gets its own sentence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    kind: String,
    asap_cutoff: Option<bool>,
    epsilon_ev: Option<f64>,
    sigma_angstrom: Option<f64>,
    cutoff_angstrom: Option<f64>,
}

impl Table {
    fn of_kind(kind: &str) -> Self {
        Table { kind: kind.into(), asap_cutoff: None, epsilon_ev: None, sigma_angstrom: None, cutoff_angstrom: None }
    }
}

impl TryFrom<Table> for PotentialSettings {
    type Error = Error;

    fn try_from(table: Table) -> Result<Self> {
        let Table { kind, asap_cutoff, epsilon_ev, sigma_angstrom, cutoff_angstrom } = table;
        let given = [
            ("asap_cutoff", asap_cutoff.is_some()),
            ("epsilon_ev", epsilon_ev.is_some()),
            ("sigma_angstrom", sigma_angstrom.is_some()),
            ("cutoff_angstrom", cutoff_angstrom.is_some()),
        ];
        let only = |keys: &[&str]| match given.iter().find(|(key, given)| *given && !keys.contains(key)) {
            Some((key, _)) => Err(Error::bad_input(format!(
                "the potential \"{kind}\" has no parameter {key}; it takes {}",
                keys.join(", ")
            ))),
            None => Ok(()),
        };
        match kind.as_str() {
            "emt" => {
                only(&["asap_cutoff"])?;
                Ok(PotentialSettings::Emt { asap_cutoff: asap_cutoff.unwrap_or(false) })
            }
            "lennard-jones" => {
                only(&["epsilon_ev", "sigma_angstrom", "cutoff_angstrom"])?;
                let default = LennardJonesSettings::default();
                let settings = LennardJonesSettings {
                    epsilon_ev: epsilon_ev.unwrap_or(default.epsilon_ev),
                    sigma_angstrom: sigma_angstrom.unwrap_or(default.sigma_angstrom),
                    cutoff_angstrom,
                };
                settings.validate()?;
                Ok(PotentialSettings::LennardJones(settings))
            }
            _ => Err(Error::bad_input(format!("there is no potential \"{kind}\"; this build has {KNOWN_KINDS}"))),
        }
    }
}

impl PotentialSettings {
    /// Reads the command line's form: `emt`, `emt:asap-cutoff`, `lennard-jones`, or
    /// `lennard-jones:epsilon=0.0104,sigma=3.4,cutoff=10` (eV and Å, each optional).
    ///
    /// # Errors
    /// `BadInput` for an unknown potential or parameter and for values that are not positive numbers.
    pub fn parse_name(text: &str) -> Result<Self> {
        let (kind, parameters) = text.split_once(':').unwrap_or((text, ""));
        let mut table = Table::of_kind(kind);
        for parameter in parameters.split(',').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let place = match (kind, name) {
                ("emt", "asap-cutoff") if value.is_empty() => {
                    table.asap_cutoff = Some(true);
                    continue;
                }
                ("lennard-jones", "epsilon") => &mut table.epsilon_ev,
                ("lennard-jones", "sigma") => &mut table.sigma_angstrom,
                ("lennard-jones", "cutoff") => &mut table.cutoff_angstrom,
                ("emt", _) => {
                    return Err(Error::bad_input(format!(
                        "\"{parameter}\" is no parameter of the potential emt; write emt or emt:asap-cutoff"
                    )));
                }
                ("lennard-jones", _) => {
                    return Err(Error::bad_input(format!(
                        "\"{parameter}\" is no parameter of the potential lennard-jones; write \
                         lennard-jones:epsilon=…,sigma=…,cutoff=… with eV and Å"
                    )));
                }
                // The kind is refused below.
                _ => break,
            };
            let number = value.parse().map_err(|_| {
                Error::bad_input(format!("\"{parameter}\" of the potential {kind} needs a number, such as {name}=1.0"))
            })?;
            if place.replace(number).is_some() {
                return Err(Error::bad_input(format!("the potential {kind} is given {name} twice; keep one")));
            }
        }
        table.try_into()
    }
}

/// Opens a potential for `device`, by the names of [`Place::of`]: EMT is computed there, all others on the CPU. With
/// `system`, unsuitable elements or periodicity are refused at once, and what all structures of a search share is computed here,
/// once.
///
/// # Errors
/// `BadInput` for a device that is unknown or that this build or machine does not have, parameters that are not positive numbers,
/// elements without parameters, a periodic system for a Lennard-Jones potential without cutoff, and a cell without volume or much
/// thinner than the cutoff.
pub fn open(settings: &PotentialSettings, system: Option<&System>, device: &str) -> Result<Box<dyn Potential>> {
    match (*settings, Place::of(device)?) {
        (PotentialSettings::Emt { asap_cutoff }, Place::Gpu(name)) => {
            Ok(Box::new(EmtOnDevice::new(&Device::open(&name)?, asap_cutoff, system)?))
        }
        (PotentialSettings::Emt { asap_cutoff }, Place::Cpu | Place::CpuF64) => match system {
            Some(system) => Ok(Box::new(Emt::with_system(asap_cutoff, system)?)),
            None => Ok(Box::new(Emt::new(asap_cutoff))),
        },
        (PotentialSettings::LennardJones(settings), _) => {
            let potential = LennardJones::new(settings)?;
            let periodic = system.is_some_and(|system| system.cell.periodic.contains(&true));
            if periodic && settings.cutoff_angstrom.is_none() {
                return Err(needs_cutoff());
            }
            Ok(Box::new(potential))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Cell;

    fn sentence<T: std::fmt::Debug>(result: Result<T>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn a_configuration_reads_and_writes_back() {
        let lj = LennardJonesSettings { epsilon_ev: 0.0104, sigma_angstrom: 3.4, cutoff_angstrom: Some(10.0) };
        for (text, expected) in [
            ("kind = 'emt'", PotentialSettings::Emt { asap_cutoff: false }),
            ("kind = 'emt'\nasap_cutoff = true", PotentialSettings::Emt { asap_cutoff: true }),
            ("kind = 'lennard-jones'", PotentialSettings::LennardJones(LennardJonesSettings::default())),
            (
                "kind = 'lennard-jones'\nepsilon_ev = 0.0104\nsigma_angstrom = 3.4\ncutoff_angstrom = 10.0",
                PotentialSettings::LennardJones(lj),
            ),
        ] {
            let settings: PotentialSettings = toml::from_str(text).unwrap();
            assert_eq!(settings, expected);
            let written = toml::to_string(&settings).unwrap();
            assert_eq!(toml::from_str::<PotentialSettings>(&written).unwrap(), expected, "{written}");
        }
    }

    #[test]
    fn a_configuration_is_refused_with_a_sentence() {
        for (text, expected) in [
            ("kind = 'ase'", "there is no potential \"ase\"; this build has \"emt\" and \"lennard-jones\""),
            ("kind = 'i-pi'", "there is no potential \"i-pi\"; this build has \"emt\" and \"lennard-jones\""),
            ("kind = 'EMT'", "there is no potential \"EMT\""),
            ("kind = 'emt'\ncutoff_angstrom = 3.0", "the potential \"emt\" has no parameter cutoff_angstrom"),
            (
                "kind = 'lennard-jones'\nasap_cutoff = true",
                "the potential \"lennard-jones\" has no parameter asap_cutoff",
            ),
            ("kind = 'lennard-jones'\nsigma_angstrom = 0.0", "sigma_angstrom of the Lennard-Jones potential is 0;"),
            ("kind = 'emt'\ncolour = 1", "unknown field `colour`"),
            ("asap_cutoff = true", "missing field `kind`"),
        ] {
            let error = toml::from_str::<PotentialSettings>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn names_on_the_command_line() {
        let parse = PotentialSettings::parse_name;
        assert_eq!(parse("emt").unwrap(), PotentialSettings::Emt { asap_cutoff: false });
        assert_eq!(parse("emt:asap-cutoff").unwrap(), PotentialSettings::Emt { asap_cutoff: true });
        let lj = |epsilon_ev, sigma_angstrom, cutoff_angstrom| {
            PotentialSettings::LennardJones(LennardJonesSettings { epsilon_ev, sigma_angstrom, cutoff_angstrom })
        };
        assert_eq!(parse("lennard-jones").unwrap(), lj(1.0, 1.0, None));
        assert_eq!(parse("lennard-jones:cutoff=10,epsilon=1e-2,sigma=3.4").unwrap(), lj(0.01, 3.4, Some(10.0)));
    }

    #[test]
    fn names_are_refused_with_a_sentence() {
        for (name, expected) in [
            ("", "there is no potential \"\"; this build has \"emt\" and \"lennard-jones\""),
            ("mace", "there is no potential \"mace\"; this build has"),
            ("mace:model=x", "there is no potential \"mace\"; this build has"),
            ("emt:cutoff=3", "\"cutoff=3\" is no parameter of the potential emt; write emt or emt:asap-cutoff"),
            (
                "lennard-jones:depth=3",
                "\"depth=3\" is no parameter of the potential lennard-jones; write lennard-jones:",
            ),
            ("lennard-jones:sigma", "\"sigma\" of the potential lennard-jones needs a number, such as sigma=1.0"),
            ("lennard-jones:sigma=wide", "\"sigma=wide\" of the potential lennard-jones needs a number"),
            ("lennard-jones:sigma=1,sigma=2", "the potential lennard-jones is given sigma twice; keep one"),
            (
                "lennard-jones:epsilon=-1",
                "epsilon_ev of the Lennard-Jones potential is -1; give a positive number of eV",
            ),
            ("lennard-jones:cutoff=nan", "cutoff_angstrom of the Lennard-Jones potential is NaN; give a positive"),
            ("lennard-jones:sigma=inf", "sigma_angstrom of the Lennard-Jones potential is inf; give a positive"),
        ] {
            let message = sentence(PotentialSettings::parse_name(name));
            assert!(message.starts_with(expected), "{name}: {message}");
        }
    }

    fn system(free_numbers: Vec<u8>, periodic: bool) -> System {
        let cell = Cell { vectors: [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]], periodic: [periodic; 3] };
        System { cell, template_numbers: vec![], template_positions: vec![], free_numbers, confinement: None }
    }

    #[test]
    fn a_potential_that_cannot_serve_the_system_is_refused() {
        let emt = PotentialSettings::Emt { asap_cutoff: false };
        let message = sentence(open(&emt, Some(&system(vec![78, 26], true)), "cpu").map(|p| p.name()));
        assert_eq!(message, "EMT has no parameters for Fe; it knows Al, Cu, Ag, Au, Ni, Pd, Pt, H, C, N, O");

        let lj = PotentialSettings::LennardJones(LennardJonesSettings::default());
        let message = sentence(open(&lj, Some(&system(vec![18], true)), "cpu").map(|p| p.name()));
        assert!(
            message.starts_with("the Lennard-Jones potential has no cutoff but the system is periodic"),
            "{message}"
        );
        assert_eq!(open(&lj, Some(&system(vec![18], false)), "cpu").unwrap().name(), "lennard-jones");

        let bad = LennardJonesSettings { sigma_angstrom: f64::INFINITY, ..LennardJonesSettings::default() };
        sentence(open(&PotentialSettings::LennardJones(bad), None, "cpu").map(|p| p.name()));
        assert_eq!(open(&emt, None, "cpu").unwrap().name(), "emt");
    }

    #[test]
    fn a_template_that_is_not_finite_is_refused() {
        let mut system = system(vec![78], true);
        system.template_numbers = vec![78, 78];
        system.template_positions = vec![[0.0; 3], [0.0, f64::NAN, 0.0]];
        let message =
            sentence(open(&PotentialSettings::Emt { asap_cutoff: true }, Some(&system), "cpu").map(|p| p.name()));
        assert_eq!(message, "atom 2 of the template has a position that is not a finite number; give it in Å");
    }
}
