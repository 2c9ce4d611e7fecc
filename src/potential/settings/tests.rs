//! The forms in which a configuration and the command line may name a potential.

use super::*;
use crate::potential::{AseSettings, EmtSettings, IpiSettings, LennardJonesSettings, PotentialSettings, open};
use crate::system::{Cell, System};

fn emt(asap_cutoff: bool) -> PotentialSettings {
    PotentialSettings::Emt(EmtSettings { asap_cutoff })
}

fn sentence<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

#[test]
fn a_configuration_reads_and_writes_back() {
    let lj = LennardJonesSettings { epsilon_ev: 0.0104, sigma_angstrom: 3.4, cutoff_angstrom: Some(10.0) };
    for (text, expected) in [
        ("kind = 'emt'", emt(false)),
        ("kind = 'emt'\nasap_cutoff = true", emt(true)),
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

/// The error names the line of the key or value, not of the section.
#[test]
fn a_complaint_has_its_line() {
    for (text, line, message) in [
        (
            "kind = 'ase'\ncalculator = 'a:B'\nworkers = 'two'",
            "workers = 'two'",
            "invalid type: string \"two\", expected usize",
        ),
        ("asap_cutoff = 1\nkind = 'emt'", "asap_cutoff = 1", "invalid type: integer `1`, expected a boolean"),
        ("kind = 3", "kind = 3", "invalid type: integer `3`, expected a string"),
        (
            "kind = 'emt'\n\nazap_cutoff = true",
            "azap_cutoff",
            "unknown field `azap_cutoff`, expected one of `kind`, `asap_cutoff`, ",
        ),
    ] {
        let text = format!("[potential]\n{text}\n");
        let error = toml::from_str::<std::collections::BTreeMap<String, PotentialSettings>>(&text).unwrap_err();
        assert!(error.message().starts_with(message), "{text}: {}", error.message());
        let start = text.find(line).unwrap();
        assert!((start..start + line.len()).contains(&error.span().unwrap().start), "{text}: {:?}", error.span());
    }
}

#[test]
fn the_words_for_help_and_reports() {
    assert_eq!(PotentialSettings::names(), "emt, emt:asap-cutoff, lennard-jones:epsilon=E,sigma=S,cutoff=C (eV and Å)");
    for (text, described) in [
        ("kind = 'emt'", "EMT"),
        ("kind = 'lennard-jones'", "Lennard-Jones"),
        ("kind = 'ase'\ncalculator = 'a:B'", "a:B"),
        ("kind = 'i-pi'", "an i-PI client"),
    ] {
        assert_eq!(toml::from_str::<PotentialSettings>(text).unwrap().describe(), described);
    }
}

/// A run is resumed only if this text is the same as at its start.
#[test]
fn the_text_of_a_configuration_stays() {
    for (given, written) in [
        ("kind = 'emt'", "kind = \"emt\"\nasap_cutoff = false\n"),
        ("kind = 'lennard-jones'", "kind = \"lennard-jones\"\nepsilon_ev = 1.0\nsigma_angstrom = 1.0\n"),
        (
            "cutoff_angstrom = 8\nkind = 'lennard-jones'",
            "kind = \"lennard-jones\"\nepsilon_ev = 1.0\nsigma_angstrom = 1.0\ncutoff_angstrom = 8.0\n",
        ),
        (
            "kind = 'i-pi'",
            "kind = \"i-pi\"\nunix_socket = \"godiff\"\nbatch = 1\nbox_angstrom = 30.0\nstartup_limit_seconds = 600.0\n",
        ),
        (
            "call_limit_seconds = 9\nkind = 'i-pi'\ntcp_address = 'localhost:1'",
            "kind = \"i-pi\"\ntcp_address = \"localhost:1\"\nbatch = 1\nbox_angstrom = 30.0\nstartup_limit_seconds = 600.0\n\
             call_limit_seconds = 9.0\n",
        ),
        (
            "kind = 'ase'\ncalculator = 'mace.a:B'",
            "kind = \"ase\"\ncalculator = \"mace.a:B\"\npython = \"python3\"\nworkers = 1\nbatch = 16\n\
             startup_limit_seconds = 600.0\n\n[arguments]\n",
        ),
        (
            "batch = 2\nkind = 'ase'\ncalculator = 'a:B'\narguments = { z = 1, a = { t = 1979-05-27 }, b = [0.5, 'é'] }",
            "kind = \"ase\"\ncalculator = \"a:B\"\npython = \"python3\"\nworkers = 1\nbatch = 2\n\
             startup_limit_seconds = 600.0\n\n[arguments]\nb = [0.5, \"é\"]\nz = 1\n\n[arguments.a]\nt = 1979-05-27\n",
        ),
    ] {
        let settings: PotentialSettings = toml::from_str(given).unwrap();
        assert_eq!(toml::to_string(&settings).unwrap(), written, "{given}");
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
        ("kind = 'ase'\ncalculator = 'a:B'\nunix_socket = 'x'", "the potential \"ase\" has no parameter unix_socket"),
        ("kind = 'i-pi'\nbatch = 10001", "batch is 10001; give a number from 1 to 10000"),
        ("kind = 'i-pi'\nend_after_failures = 0", "end_after_failures is 0; give a number from 1 to 10000"),
        (
            "kind = 'ase'\ncalculator = 'a:B'\nend_after_failures = 0",
            "end_after_failures is 0; give a number from 1 to",
        ),
        ("kind = 'i-pi'\nworkers = 2", "the potential \"i-pi\" has no parameter workers"),
        ("kind = 'i-pi'\nunix_socket = 'x'\ntcp_address = 'localhost:0'", "give unix_socket or tcp_address, not both"),
        ("kind = 'i-pi'\nbox_angstrom = -1.0", "box_angstrom is -1; give a positive number of Å"),
        ("kind = 'i-pi'\ncall_limit_seconds = 0.0", "call_limit_seconds is 0; give a positive number of seconds"),
        ("kind = 'emt'\ncutoff_angstrom = 3.0", "the potential \"emt\" has no parameter cutoff_angstrom"),
        ("kind = 'lennard-jones'\nasap_cutoff = true", "the potential \"lennard-jones\" has no parameter asap_cutoff"),
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
    assert_eq!(parse("emt").unwrap(), emt(false));
    assert_eq!(parse("emt:asap-cutoff").unwrap(), emt(true));
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
        ("lennard-jones:depth=3", "\"depth=3\" is no parameter of the potential lennard-jones; write lennard-jones:"),
        ("lennard-jones:sigma", "\"sigma\" of the potential lennard-jones needs a number, such as sigma=1.0"),
        ("lennard-jones:sigma=wide", "\"sigma=wide\" of the potential lennard-jones needs a number"),
        ("emt:asap-cutoff,asap-cutoff", "the potential emt is given asap-cutoff twice; keep one"),
        ("emt:asap-cutoff=1", "\"asap-cutoff=1\" is no parameter of the potential emt; write emt or emt:asap-cutoff"),
        ("lennard-jones:sigma=1,sigma=2", "the potential lennard-jones is given sigma twice; keep one"),
        ("lennard-jones:epsilon=-1", "epsilon_ev of the Lennard-Jones potential is -1; give a positive number of eV"),
        ("lennard-jones:cutoff=nan", "cutoff_angstrom of the Lennard-Jones potential is NaN; give a positive"),
        ("lennard-jones:sigma=inf", "sigma_angstrom of the Lennard-Jones potential is inf; give a positive"),
    ] {
        let message = sentence(PotentialSettings::parse_name(name));
        assert!(message.starts_with(expected), "{name}: {message}");
    }
}

fn system(free_numbers: Vec<u8>, periodic: bool) -> System {
    let cell = Cell { vectors: [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]], periodic: [periodic; 3] };
    System {
        cell,
        template_numbers: vec![],
        template_positions: vec![],
        free_numbers,
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    }
}

#[test]
fn a_potential_that_cannot_serve_the_system_is_refused() {
    let emt = emt(false);
    let message = sentence(open(&emt, Some(&system(vec![78, 26], true)), "cpu").map(|p| p.name()));
    assert_eq!(message, "EMT has no parameters for Fe; it knows Al, Cu, Ag, Au, Ni, Pd, Pt, H, C, N, O");

    let lj = PotentialSettings::LennardJones(LennardJonesSettings::default());
    let message = sentence(open(&lj, Some(&system(vec![18], true)), "cpu").map(|p| p.name()));
    assert!(message.starts_with("the Lennard-Jones potential has no cutoff but the system is periodic"), "{message}");
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
    let message = sentence(open(&emt(true), Some(&system), "cpu").map(|p| p.name()));
    assert_eq!(message, "atom 2 of the template has a position that is not a finite number; give it in Å");
}
