//! Which potential a configuration or the command line asks for, and opening it.

use serde::{Deserialize, Serialize};

use super::Potential;
use super::emt::{Emt, EmtOnDevice};
#[cfg(unix)]
use super::external::External;
use super::external_settings::{AseSettings, IpiSettings};
use super::lennard_jones::{LennardJones, LennardJonesSettings, needs_cutoff};
use crate::error::{Error, Result};
use crate::gpu::{Device, Place};
use crate::system::System;

/// The kinds as messages list them.
const KNOWN_KINDS: &str = "\"emt\", \"lennard-jones\", \"ase\" and \"i-pi\"";

/// Upper bound of workers and batches: far more than any machine serves.
const LARGEST_COUNT: u64 = 10_000;

/// A potential and its parameters: the table `[potential]` of a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", try_from = "Table")]
pub enum PotentialSettings {
    /// Effective medium theory, [`Emt`].
    Emt {
        /// Cutoff from the largest element present, as in ASAP, instead of the largest EMT knows, as in ASE.
        asap_cutoff: bool,
    },
    /// Lennard-Jones, [`LennardJones`].
    LennardJones(LennardJonesSettings),
    /// A calculator of ASE in Python workers.
    Ase(AseSettings),
    /// Whatever speaks i-PI's protocol.
    #[serde(rename = "i-pi")]
    Ipi(IpiSettings),
}

/// The keys of every kind together, so that each mistake gets its own sentence.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    kind: String,
    asap_cutoff: Option<bool>,
    epsilon_ev: Option<f64>,
    sigma_angstrom: Option<f64>,
    cutoff_angstrom: Option<f64>,
    calculator: Option<String>,
    arguments: Option<toml::Table>,
    python: Option<String>,
    workers: Option<u64>,
    unix_socket: Option<String>,
    tcp_address: Option<String>,
    box_angstrom: Option<f64>,
    batch: Option<u64>,
    startup_limit_seconds: Option<f64>,
    call_limit_seconds: Option<f64>,
}

impl Table {
    fn of_kind(kind: &str) -> Self {
        Table { kind: kind.into(), ..Table::default() }
    }

    /// Refuses keys of other kinds.
    fn only(&self, keys: &[&str]) -> Result<()> {
        let given = [
            ("asap_cutoff", self.asap_cutoff.is_some()),
            ("epsilon_ev", self.epsilon_ev.is_some()),
            ("sigma_angstrom", self.sigma_angstrom.is_some()),
            ("cutoff_angstrom", self.cutoff_angstrom.is_some()),
            ("calculator", self.calculator.is_some()),
            ("arguments", self.arguments.is_some()),
            ("python", self.python.is_some()),
            ("workers", self.workers.is_some()),
            ("unix_socket", self.unix_socket.is_some()),
            ("tcp_address", self.tcp_address.is_some()),
            ("box_angstrom", self.box_angstrom.is_some()),
            ("batch", self.batch.is_some()),
            ("startup_limit_seconds", self.startup_limit_seconds.is_some()),
            ("call_limit_seconds", self.call_limit_seconds.is_some()),
        ];
        match given.iter().find(|(key, given)| *given && !keys.contains(key)) {
            Some((key, _)) => Err(Error::bad_input(format!(
                "the potential \"{}\" has no parameter {key}; it takes {}",
                self.kind,
                keys.join(", ")
            ))),
            None => Ok(()),
        }
    }

    fn emt(self) -> Result<PotentialSettings> {
        self.only(&["asap_cutoff"])?;
        Ok(PotentialSettings::Emt { asap_cutoff: self.asap_cutoff.unwrap_or(false) })
    }

    fn lennard_jones(self) -> Result<PotentialSettings> {
        self.only(&["epsilon_ev", "sigma_angstrom", "cutoff_angstrom"])?;
        let default = LennardJonesSettings::default();
        let settings = LennardJonesSettings {
            epsilon_ev: self.epsilon_ev.unwrap_or(default.epsilon_ev),
            sigma_angstrom: self.sigma_angstrom.unwrap_or(default.sigma_angstrom),
            cutoff_angstrom: self.cutoff_angstrom,
        };
        settings.validate()?;
        Ok(PotentialSettings::LennardJones(settings))
    }

    fn ase(self) -> Result<PotentialSettings> {
        let limits = ["startup_limit_seconds", "call_limit_seconds"];
        self.only(&["calculator", "arguments", "python", "workers", "batch", limits[0], limits[1]])?;
        let calculator = self.calculator.unwrap_or_default();
        if !calculator.split_once(':').is_some_and(|(module, name)| !module.is_empty() && !name.is_empty()) {
            return Err(Error::bad_input(format!(
                "the potential \"ase\" needs calculator = \"MODULE:NAME\", such as \"ase.calculators.emt:EMT\", not \"{calculator}\""
            )));
        }
        let default = AseSettings::new(calculator);
        Ok(PotentialSettings::Ase(AseSettings {
            python: self.python.unwrap_or(default.python),
            workers: count("workers", self.workers, default.workers)?,
            batch: count("batch", self.batch, default.batch)?,
            startup_limit_seconds: seconds(limits[0], self.startup_limit_seconds)?
                .unwrap_or(default.startup_limit_seconds),
            call_limit_seconds: seconds(limits[1], self.call_limit_seconds)?,
            arguments: self.arguments.unwrap_or_default(),
            ..AseSettings::new(default.calculator)
        }))
    }

    fn ipi(self) -> Result<PotentialSettings> {
        let limits = ["startup_limit_seconds", "call_limit_seconds"];
        self.only(&["unix_socket", "tcp_address", "batch", "box_angstrom", limits[0], limits[1]])?;
        if self.unix_socket.is_some() && self.tcp_address.is_some() {
            return Err(Error::bad_input(
                "the potential \"i-pi\" listens at one address: give unix_socket or tcp_address, not both",
            ));
        }
        let default = IpiSettings::default();
        let box_angstrom = self.box_angstrom.unwrap_or(default.box_angstrom);
        if !(box_angstrom.is_finite() && box_angstrom > 0.0) {
            return Err(Error::bad_input(format!("box_angstrom is {box_angstrom}; give a positive number of Å")));
        }
        Ok(PotentialSettings::Ipi(IpiSettings {
            unix_socket: if self.tcp_address.is_some() { None } else { self.unix_socket.or(default.unix_socket) },
            tcp_address: self.tcp_address,
            batch: count("batch", self.batch, default.batch)?,
            box_angstrom,
            startup_limit_seconds: seconds(limits[0], self.startup_limit_seconds)?
                .unwrap_or(default.startup_limit_seconds),
            call_limit_seconds: seconds(limits[1], self.call_limit_seconds)?,
        }))
    }
}

fn count(key: &str, value: Option<u64>, default: usize) -> Result<usize> {
    match value {
        None => Ok(default),
        Some(n @ 1..=LARGEST_COUNT) => Ok(n as usize),
        Some(n) => Err(Error::bad_input(format!("{key} is {n}; give a number from 1 to {LARGEST_COUNT}"))),
    }
}

fn seconds(key: &str, value: Option<f64>) -> Result<Option<f64>> {
    match value {
        Some(seconds) if !(seconds.is_finite() && seconds > 0.0) => {
            Err(Error::bad_input(format!("{key} is {seconds}; give a positive number of seconds")))
        }
        value => Ok(value),
    }
}

impl TryFrom<Table> for PotentialSettings {
    type Error = Error;

    fn try_from(table: Table) -> Result<Self> {
        match table.kind.as_str() {
            "emt" => table.emt(),
            "lennard-jones" => table.lennard_jones(),
            "ase" => table.ase(),
            "i-pi" => table.ipi(),
            kind => Err(Error::bad_input(format!("there is no potential \"{kind}\"; this build has {KNOWN_KINDS}"))),
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
        if ["ase", "i-pi"].contains(&kind) {
            return Err(Error::bad_input(format!(
                "the potential {kind} needs more than a name; write it into a configuration and name that, such as search.toml"
            )));
        }
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
/// elements without parameters, a periodic system for a Lennard-Jones potential without cutoff, a cell without volume or much
/// thinner than the cutoff, and an address that is in use.
pub fn open(settings: &PotentialSettings, system: Option<&System>, device: &str) -> Result<Box<dyn Potential>> {
    match (settings, Place::of(device)?) {
        (&PotentialSettings::Emt { asap_cutoff }, Place::Gpu(name)) => {
            Ok(Box::new(EmtOnDevice::new(&Device::open(&name)?, asap_cutoff, system)?))
        }
        (&PotentialSettings::Emt { asap_cutoff }, Place::Cpu | Place::CpuF64) => match system {
            Some(system) => Ok(Box::new(Emt::with_system(asap_cutoff, system)?)),
            None => Ok(Box::new(Emt::new(asap_cutoff))),
        },
        (&PotentialSettings::LennardJones(settings), _) => {
            let potential = LennardJones::new(settings)?;
            let periodic = system.is_some_and(|system| system.cell.periodic.contains(&true));
            if periodic && settings.cutoff_angstrom.is_none() {
                return Err(needs_cutoff());
            }
            Ok(Box::new(potential))
        }
        #[cfg(unix)]
        (PotentialSettings::Ase(settings), _) => Ok(Box::new(External::ase(settings.clone()))),
        #[cfg(unix)]
        (PotentialSettings::Ipi(settings), _) => Ok(Box::new(External::ipi(settings.clone(), system)?)),
        #[cfg(not(unix))]
        (PotentialSettings::Ase(_) | PotentialSettings::Ipi(_), _) => {
            Err(Error::bad_input("external potentials need a Unix system; on Windows use the Subsystem for Linux"))
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
            ("kind = 'i-pi'", PotentialSettings::Ipi(IpiSettings::default())),
            (
                "kind = 'i-pi'\ntcp_address = 'localhost:31415'\nbatch = 4\ncall_limit_seconds = 9.0\nbox_angstrom = 12.5",
                PotentialSettings::Ipi(IpiSettings {
                    unix_socket: None,
                    tcp_address: Some("localhost:31415".into()),
                    batch: 4,
                    box_angstrom: 12.5,
                    call_limit_seconds: Some(9.0),
                    ..IpiSettings::default()
                }),
            ),
            (
                "kind = 'ase'\ncalculator = 'a.b:C'\narguments = { x = { y = [1, 2] }, z = 'é' }\nworkers = 3\npython = 'py'",
                PotentialSettings::Ase(AseSettings {
                    arguments: toml::from_str("x = { y = [1, 2] }\nz = 'é'").unwrap(),
                    workers: 3,
                    python: "py".into(),
                    ..AseSettings::new("a.b:C".into())
                }),
            ),
        ] {
            let settings: PotentialSettings = toml::from_str(text).unwrap();
            assert_eq!(settings, expected, "{text}");
            let written = toml::to_string(&settings).unwrap();
            assert_eq!(toml::from_str::<PotentialSettings>(&written).unwrap(), expected, "{written}");
        }
    }

    #[test]
    fn a_configuration_is_refused_with_a_sentence() {
        for (text, expected) in [
            (
                "kind = 'EMT'",
                "there is no potential \"EMT\"; this build has \"emt\", \"lennard-jones\", \"ase\" and \"i-pi\"",
            ),
            ("kind = 'ase'", "the potential \"ase\" needs calculator = \"MODULE:NAME\", such as"),
            ("kind = 'ase'\ncalculator = 'emt'", "such as \"ase.calculators.emt:EMT\", not \"emt\""),
            ("kind = 'ase'\ncalculator = 'a:B'\nworkers = 0", "workers is 0; give a number from 1 to 10000"),
            (
                "kind = 'ase'\ncalculator = 'a:B'\nunix_socket = 'x'",
                "the potential \"ase\" has no parameter unix_socket",
            ),
            ("kind = 'i-pi'\nbatch = 10001", "batch is 10001; give a number from 1 to 10000"),
            ("kind = 'i-pi'\nworkers = 2", "the potential \"i-pi\" has no parameter workers"),
            (
                "kind = 'i-pi'\nunix_socket = 'x'\ntcp_address = 'localhost:0'",
                "give unix_socket or tcp_address, not both",
            ),
            ("kind = 'i-pi'\nbox_angstrom = -1.0", "box_angstrom is -1; give a positive number of Å"),
            ("kind = 'i-pi'\ncall_limit_seconds = 0.0", "call_limit_seconds is 0; give a positive number of seconds"),
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
            ("", "there is no potential \"\"; this build has \"emt\", \"lennard-jones\", \"ase\" and \"i-pi\""),
            ("i-pi", "the potential i-pi needs more than a name; write it into a configuration and name that"),
            ("ase:calculator=x", "the potential ase needs more than a name"),
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
