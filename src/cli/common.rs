//! What several commands share: threads, interruption, output that survives a closed pipe, potentials by name.

use clap::Args;
use godiff::config::Settings;
use godiff::disk::write_atomic;
use godiff::potential::{self, Potential, PotentialSettings};
use godiff::system::xyz::{Frame, format_frames};
use godiff::system::{Structure, Vec3, read_structures};
use godiff::{Error, Result};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where to compute.
#[derive(Debug, Args)]
pub struct Compute {
    /// auto, cpu, cpu-f64 (double precision, for checking) or cuda[:INDEX]; see `godiff devices`
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
    #[command(flatten)]
    pub threads: Threads,
}

/// Where to compute energies.
#[derive(Debug, Args)]
pub struct EnergyCompute {
    /// cpu, cuda[:INDEX], or auto: a GPU if there is one; potentials without GPU code run on the CPU all the same
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: String,
    #[command(flatten)]
    pub threads: Threads,
}

/// Structures in a file, and the potential that is asked about them.
#[derive(Debug, Args)]
pub struct Energies {
    /// Structures: extended XYZ, or POSCAR
    #[arg(value_name = "IN.xyz")]
    pub input: PathBuf,
    #[arg(long, value_name = "NAME", help = potential_help())]
    potential: String,
    #[command(flatten)]
    compute: EnergyCompute,
}

impl Energies {
    /// The potential and the structures, with the threads started.
    pub fn open(&self) -> Result<(Box<dyn Potential>, Vec<Structure>)> {
        let potential = potential::open(&potential_settings(&self.potential)?, None, &self.compute.device)?;
        let structures = read_structures(&self.input)?;
        self.compute.threads.start()?;
        Ok((potential, structures))
    }
}

/// How many cores to use.
#[derive(Debug, Args)]
pub struct Threads {
    /// Threads to use; results do not depend on it [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

impl Threads {
    /// Starts the pool of threads that everything in this process shares.
    pub fn start(&self) -> Result<()> {
        // 0 is rayon's word for all cores.
        let count = self.threads.map_or(0, usize::from);
        rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .build_global()
            .map_err(|cause| Error::Failed(format!("cannot start {count} threads: {cause}")))
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The flag that Ctrl-C (or SIGTERM) sets from now on; a second one ends the process at once.
pub fn watch_interrupts() -> Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            // Progress may stand on the terminal's last line.
            let _ = writeln!(std::io::stderr(), "\ngodiff: interrupted at once");
            std::process::exit(i32::from(Error::Interrupted.exit_code()));
        }
    })
    .map_err(|cause| Error::Failed(format!("cannot listen for Ctrl-C: {cause}")))?;
    Ok(&INTERRUPTED)
}

/// `cause` with the file named that brought it, if that is where it has to be mended.
pub fn in_file(path: &Path, cause: Error) -> Error {
    match cause {
        Error::BadInput(message) => Error::bad_file(path, message),
        other => other,
    }
}

/// Writes `text` and a line end to standard output; a reader that went away is no error.
pub fn print(text: impl std::fmt::Display) -> Result<()> {
    print_bytes(format!("{text}\n").as_bytes())
}

/// Writes `bytes` to standard output; a reader that went away is no error.
pub fn print_bytes(bytes: &[u8]) -> Result<()> {
    match std::io::stdout().lock().write_all(bytes) {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Storage(format!("cannot write to standard output: {cause}")))
        }
        _ => Ok(()),
    }
}

/// What `--potential` takes, in the words of its help.
fn potential_help() -> String {
    format!("{}, or a configuration (CONFIG.toml) whose [potential] is used", PotentialSettings::names())
}

/// The potential that `--potential` names: a kind with its parameters, or a configuration file whose `[potential]` is meant.
pub fn potential_settings(name: &str) -> Result<PotentialSettings> {
    match Path::new(name) {
        path if path.extension().is_some_and(|extension| extension == "toml") => {
            Ok(Settings::load(path)?.sections.potential)
        }
        _ => PotentialSettings::parse_name(name).map_err(|cause| Error::bad_input(format!("--potential: {cause}"))),
    }
}

/// Writes `frames` to the extended XYZ file `path`, whole or not at all.
pub fn write_xyz(path: &Path, frames: &[Frame]) -> Result<()> {
    write_atomic(path, format_frames(frames).as_bytes())
}

/// Which atoms may move.
#[derive(Debug, Args)]
pub struct FreeAtoms {
    /// The last N atoms are free, all others fixed [default: as the file's move_mask says, otherwise all free]
    #[arg(long, value_name = "N")]
    free: Option<usize>,
}

impl FreeAtoms {
    /// Marks the atoms of `structures` as fixed or free.
    pub fn mark(&self, structures: &mut [Structure]) -> Result<()> {
        for (k, structure) in structures.iter_mut().enumerate() {
            let n_atoms = structure.n_atoms();
            if let Some(n_free) = self.free {
                if !(1..=n_atoms).contains(&n_free) {
                    return Err(Error::bad_input(format!(
                        "--free {n_free}: structure {} has {n_atoms} atoms; give a number from 1 to {n_atoms}",
                        k + 1
                    )));
                }
                structure.fixed.fill(true);
                structure.fixed[n_atoms - n_free..].fill(false);
            }
            if !structure.fixed.contains(&false) {
                let message = format!("structure {} has no free atom; name their number with --free", k + 1);
                return Err(Error::bad_input(message));
            }
        }
        Ok(())
    }
}

/// The largest force on any free atom, eV/Å.
pub fn largest_force(forces: &[Vec3], fixed: &[bool]) -> f64 {
    let norms =
        forces.iter().zip(fixed).filter(|(_, fixed)| !**fixed).map(|(f, _)| f.iter().map(|x| x * x).sum::<f64>());
    norms.fold(0.0, f64::max).sqrt()
}
