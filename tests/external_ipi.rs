//! Real clients of i-PI's protocol: i-PI's own Python driver (single and batched), ASE's socket client, LAMMPS. Needs the
//! interpreter that `GODIFF_PYTHON` names, with ase, numpy and ipi; LAMMPS is used where `lmp` is on the path.

#![cfg(unix)]

use godiff::archive::{Selection, Status, Stored, export};
use godiff::potential::{Emt, LennardJones, LennardJonesSettings};
use godiff::system::Structure;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter if it has ipi, or a word about what is skipped.
fn python() -> Option<PathBuf> {
    let python = std::env::var("GODIFF_PYTHON").ok().map(PathBuf::from);
    let with_ipi = python.filter(|python| {
        Command::new(python)
            .args(["-c", "import ipi"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    if with_ipi.is_none() {
        eprintln!("skipped: set GODIFF_PYTHON to a Python with ase, numpy and ipi");
    }
    with_ipi
}

/// A search that waits for clients. Its clients and itself end with it.
struct Run {
    folder: TempDir,
    socket: String,
    processes: Vec<Child>,
}

impl Drop for Run {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Run {
    /// Starts the search `config`, in which `NAME` stands for the socket's name, and waits for its start file.
    fn start(name: &str, config: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let socket = format!("godiff-test-{}-{name}", std::process::id());
        fs::write(folder.path().join("search.toml"), config.replace("NAME", &socket)).unwrap();
        let mut run = Run { folder, socket, processes: Vec::new() };
        let said = fs::File::create(run.path("said")).unwrap();
        let mut search = Command::new(env!("CARGO_BIN_EXE_godiff"));
        search.current_dir(run.folder.path()).args(["search", "search.toml", "--out", "run"]).stderr(said);
        run.processes.push(search.stdout(Stdio::null()).spawn().unwrap());
        let start = Instant::now();
        while !run.path("run/start.xyz").exists() {
            assert!(start.elapsed() < Duration::from_secs(60), "no start file: {}", run.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        run
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn said(&self) -> String {
        fs::read_to_string(self.path("said")).unwrap_or_default()
    }

    fn client(&mut self, command: &mut Command) {
        let output = fs::File::create(self.path(&format!("client-{}", self.processes.len()))).unwrap();
        command.current_dir(self.folder.path()).stdout(output.try_clone().unwrap()).stderr(output);
        self.processes.push(command.spawn().unwrap());
    }

    /// Waits for the end of the search; the archive's rows.
    fn finish(&mut self) -> Vec<Stored> {
        let status = self.processes[0].wait().unwrap();
        assert!(status.success(), "{}", self.said());
        let mut stored = Vec::new();
        export(&self.path("run/archive.db"), Selection::All, &mut |row| {
            stored.push(row);
            Ok(())
        })
        .unwrap();
        stored
    }
}

/// Energies and forces of all rows are those that `potential` gives here: within 1e-4 eV, or the constants' 2e-7 of large ones.
fn check(rows: &[Stored], potential: impl Fn(&Structure) -> (f64, Vec<[f64; 3]>)) {
    let ok: Vec<&Stored> = rows.iter().filter(|row| row.status == Status::Ok).collect();
    assert!(ok.len() > rows.len() / 2 && rows.iter().all(|row| [Status::Ok, Status::TooClose].contains(&row.status)));
    for row in ok {
        let (energy, forces) = potential(&row.structure);
        let difference = (row.structure.energy.unwrap() - energy).abs();
        assert!(difference < 1e-4 + 2e-7 * energy.abs(), "{difference} eV at {energy} eV");
        let largest = forces.iter().flatten().fold(0.0, |largest: f64, x| largest.max(x.abs()));
        for (force, expected) in row.structure.forces.iter().flatten().zip(&forces) {
            (0..3).for_each(|x| {
                assert!((force[x] - expected[x]).abs() < 1e-4 + 1e-6 * largest, "{force:?} {expected:?}")
            });
        }
    }
}

fn emt(structure: &Structure) -> (f64, Vec<[f64; 3]>) {
    let evaluation = Emt::new(false).energy_and_forces(structure).unwrap();
    (evaluation.energy, evaluation.forces)
}

/// `configs/smoke.toml` with `potential` as its section's text.
fn smoke(potential: &str) -> String {
    let smoke = fs::read_to_string(root().join("configs/smoke.toml")).unwrap();
    let structures = root().join("configs/structures/");
    smoke.replace("structures/", structures.to_str().unwrap()).replace("kind = \"emt\"", potential)
}

fn ipi_driver(python: &Path, socket: &str) -> Command {
    let mut driver = Command::new(python.with_file_name("i-pi-py_driver"));
    driver.args(["-u", "-a", socket, "-m", "custom", "-P"]).arg(root().join("tests/python/ipi_emt.py"));
    driver.args(["-o", "template=run/start.xyz"]);
    driver
}

/// Both at once share the work, and the first iteration is that of a search with the built-in potential.
#[test]
fn the_clients_of_ipi_and_ase() {
    let Some(python) = python() else { return };
    let mut run = Run::start("both", &smoke("kind = \"i-pi\"\nunix_socket = \"NAME\"\nstartup_limit_seconds = 60.0"));
    let socket = run.socket.clone();
    run.client(&mut ipi_driver(&python, &socket));
    run.client(Command::new(&python).arg(root().join("tests/python/ase_client.py")).args(["run/start.xyz", &socket]));
    let rows = run.finish();
    check(&rows, emt);
    let said = run.said();
    assert!(said.contains(&format!("i-PI clients are expected at /tmp/ipi_{socket}; they can start from ")), "{said}");
    assert!(said.contains("client 1 connected"), "{said}");

    let built_in = run.path("built-in.toml");
    fs::write(&built_in, smoke("kind = \"emt\"")).unwrap();
    let mut search = Command::new(env!("CARGO_BIN_EXE_godiff"));
    search.current_dir(run.folder.path()).args(["search", "built-in.toml", "--out", "built-in", "--quiet"]);
    assert!(search.status().unwrap().success());
    let mut n_compared = 0;
    export(&run.path("built-in/archive.db"), Selection::All, &mut |row| {
        let theirs = &rows[row.index as usize];
        if row.iteration == 0 {
            assert_eq!((theirs.iteration, theirs.index, theirs.status), (0, row.index, row.status));
            assert_eq!(theirs.structure.positions, row.structure.positions);
            n_compared += 1;
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(n_compared, 12);
}

#[test]
fn batches_with_the_client_of_ipi() {
    let Some(python) = python() else { return };
    let mut run =
        Run::start("batch", &smoke("kind = \"i-pi\"\nunix_socket = \"NAME\"\nstartup_limit_seconds = 60.0\nbatch = 5"));
    let socket = run.socket.clone();
    run.client(&mut ipi_driver(&python, &socket));
    check(&run.finish(), emt);
}

/// The address of this machine that others would use, or the loopback where there is no network. Nothing is sent.
fn own_address() -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let towards_others = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    towards_others.map_or("127.0.0.1".to_owned(), |address| address.ip().to_string())
}

/// As from other machines: the port is open on every interface, and clients come by the address that others would use. One is
/// killed on the way, and another takes its place.
#[test]
fn clients_come_from_other_machines_over_tcp() {
    let Some(python) = python() else { return };
    let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let (host, address) = (own_address(), format!("0.0.0.0:{port}"));
    let mut run = Run::start(
        "tcp",
        &smoke(&format!("kind = \"i-pi\"\ntcp_address = \"{address}\"\nstartup_limit_seconds = 60.0")),
    );
    run.client(
        Command::new(&python)
            .arg(root().join("tests/python/ase_client.py"))
            .args(["run/start.xyz", &format!("{host}:{port}")]),
    );
    let start = Instant::now();
    while !run.said().contains("client 1 from ") {
        assert!(start.elapsed() < Duration::from_secs(60), "no client: {}", run.said());
        std::thread::sleep(Duration::from_millis(5));
    }
    let lost = run.processes.len() - 1;
    run.processes[lost].kill().unwrap();
    let mut driver = Command::new(python.with_file_name("i-pi-py_driver"));
    driver.args(["-a", &host, "-p", &port.to_string(), "-m", "custom", "-P"]);
    driver.arg(root().join("tests/python/ipi_emt.py")).args(["-o", "template=run/start.xyz"]);
    run.client(&mut driver);
    check(&run.finish(), emt);
    let said = run.said();
    assert!(said.contains(&format!("i-PI clients are expected at {address}; they can start from ")), "{said}");
    assert!(
        said.contains(&format!("client 1 from {host}:")) && said.contains(&format!("client 2 from {host}:")),
        "{said}"
    );
}

const LENNARD_JONES: &str = "
[system]
free = 'Ar8'
cell_angstrom = [[0.0, 9.0, 0.0], [9.0, 1.0, 0.0], [0.5, 0.7, 10.0]]
[potential]
kind = 'i-pi'
unix_socket = 'NAME'
startup_limit_seconds = 60.0
[model]
features = 4
blocks = 1
radial_functions = 4
cutoff_angstrom = 4.0
[diffusion]
steps = 20
[search]
iterations = 2
samples_per_iteration = 12
buffer = 8
[training]
steps_per_iteration = 20
batch = 4
";

const LAMMPS: &str = "
units metal
atom_style atomic
atom_modify map array
boundary p p p
read_data run/start.data
mass 1 39.948
pair_style lj/cut 4.5
pair_coeff * * 0.4 2.3
pair_modify shift yes
neighbor 1.0 bin
neigh_modify every 1 delay 0 check yes
fix godiff all ipi NAME 31415 unix
run 100000000
";

/// In a left-handed, tilted cell, which has to be turned for LAMMPS and forces back.
#[test]
fn lammps_in_a_cell_that_has_to_be_turned() {
    let Some(python) = python() else { return };
    let lammps = Command::new("lmp").arg("-help").output();
    if !lammps.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).split_whitespace().any(|word| word == "ipi"))
    {
        eprintln!("skipped: there is no LAMMPS with `fix ipi` as `lmp` on the path");
        return;
    }
    let mut run = Run::start("lammps", LENNARD_JONES);
    fs::write(run.path("in.lammps"), LAMMPS.replace("NAME", &run.socket)).unwrap();
    let convert = "from ase.io import read; read('run/start.xyz').write('run/start.data', format='lammps-data')";
    let mut converting = Command::new(&python);
    assert!(converting.current_dir(run.folder.path()).args(["-c", convert]).status().unwrap().success());
    run.client(Command::new("lmp").args(["-in", "in.lammps", "-log", "none"]).env("OMPI_ALLOW_RUN_AS_ROOT", "1"));
    let settings = LennardJonesSettings { epsilon_ev: 0.4, sigma_angstrom: 2.3, cutoff_angstrom: Some(4.5) };
    let potential = LennardJones::new(settings).unwrap();
    let rows = run.finish();
    check(&rows, |structure| {
        let evaluation = potential.energy_and_forces(structure).unwrap();
        (evaluation.energy, evaluation.forces)
    });
}
