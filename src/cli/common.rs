//! Parts that several commands share: threads, interruption, output that survives a closed pipe, potentials by name.

use super::numbers::{LARGEST, whole};
use clap::Args;
use godiff::columns::wrapped;
use godiff::config::Settings;
use godiff::disk::{folder_of, write_atomic, write_growing};
use godiff::job::start_threads;
use godiff::potential::{self, Potential, PotentialSettings};
use godiff::system::xyz::{Frame, format_frames};
use godiff::system::{Format, Vec3, read_frames};
use godiff::{Error, Result};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use terminal_size::{Width, terminal_size_of};

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
    /// cpu, cuda[:INDEX], or auto: a GPU if there is one; potentials without GPU code always run on the CPU
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: String,
    #[command(flatten)]
    pub threads: Threads,
}

/// Structures in a file, and the potential that is asked about them.
#[derive(Debug, Args)]
pub struct Energies {
    /// Structures: extended XYZ (.xyz, .extxyz) or POSCAR (POSCAR or CONTCAR in the name, .vasp)
    #[arg(value_name = "IN.xyz")]
    pub input: PathBuf,
    #[arg(long, value_name = "NAME", help = potential_help())]
    potential: String,
    #[command(flatten)]
    compute: EnergyCompute,
}

impl Energies {
    /// Starts the threads; returns the potential, and the structures with their further keys and columns.
    pub fn open(&self) -> Result<(Box<dyn Potential>, Vec<Frame>)> {
        let potential = potential::open(&potential_settings(&self.potential)?, None, &self.compute.device)?;
        let frames = read_frames(&self.input)?;
        self.compute.threads.start()?;
        Ok((potential, frames))
    }
}

/// How many cores to use.
#[derive(Debug, Args)]
pub struct Threads {
    /// Number of threads; results do not depend on it [default: all cores]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=65535), allow_negative_numbers = true)]
    threads: Option<u16>,
}

impl Threads {
    /// Starts the pool of threads that everything in this process shares.
    pub fn start(&self) -> Result<()> {
        start_threads(self.threads.map(usize::from))
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The flag that Ctrl-C sets from now on. The signals that batch systems send before they kill set it too: TERM, HUP, USR1, USR2
/// and XCPU. A second Ctrl-C, TERM or HUP ends the process at once. A second one of the others does not, since batch systems may
/// send them repeatedly, and before a TERM.
#[cfg(unix)]
pub fn watch_interrupts() -> Result<&'static AtomicBool> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
    let failed = |cause| Error::Failed(format!("cannot listen for Ctrl-C: {cause}"));
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU]).map_err(failed)?;
    let listen = move || {
        let mut is_asked = false;
        for signal in signals.forever() {
            INTERRUPTED.store(true, Ordering::Relaxed);
            if [SIGINT, SIGTERM, SIGHUP].contains(&signal) && std::mem::replace(&mut is_asked, true) {
                end_at_once();
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen).map_err(failed)?;
    Ok(&INTERRUPTED)
}

/// The flag that Ctrl-C sets from now on; a second one ends the process at once.
#[cfg(not(unix))]
pub fn watch_interrupts() -> Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            end_at_once();
        }
    })
    .map_err(|cause| Error::Failed(format!("cannot listen for Ctrl-C: {cause}")))?;
    Ok(&INTERRUPTED)
}

fn end_at_once() -> ! {
    // Progress may be on the terminal's last line.
    let _ = writeln!(std::io::stderr(), "\ngodiff: interrupted at once");
    std::process::exit(i32::from(Error::Interrupted.exit_code()));
}

/// Writes `text` and a line end to standard output; a reader that went away is no error.
pub fn print(text: impl std::fmt::Display) -> Result<()> {
    print_bytes(format!("{text}\n").as_bytes())
}

/// Writes `text` and a line end to standard error. On a terminal, its lines are broken where the terminal ends. A log that cannot
/// be written (full disk) is no error.
pub fn note(text: &str) {
    let columns = terminal_size_of(std::io::stderr()).map(|(Width(columns), _)| usize::from(columns));
    let text = columns.map_or(text.to_owned(), |columns| wrapped(text, columns));
    let _ = writeln!(std::io::stderr(), "{text}");
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

/// The values that `--potential` takes, in the words of its help.
pub fn potential_help() -> String {
    format!("{}, or a configuration (CONFIG.toml) whose [potential] is used", PotentialSettings::names())
}

/// The potential that `--potential` names: a kind with its parameters, or the `[potential]` of a configuration file.
pub fn potential_settings(name: &str) -> Result<PotentialSettings> {
    match Path::new(name) {
        path if path.extension().is_some_and(|extension| extension == "toml") => {
            Ok(Settings::load(path)?.sections.potential)
        }
        _ => PotentialSettings::parse_name(name).map_err(|cause| Error::bad_input(format!("--potential: {cause}"))),
    }
}

/// Refuses the path of an output whose folder is not there, before anything is computed for it.
pub fn folder_of_output(path: &Path) -> Result<()> {
    match folder_of(path).is_dir() {
        true => Ok(()),
        false => Err(Error::bad_file(path, "its folder is not there; make it, or name another place with -o")),
    }
}

/// A file that structures are written to, in the format of its name.
pub struct Output<'a> {
    path: &'a Path,
    format: Format,
}

impl<'a> Output<'a> {
    /// The file at `path`; refuses names without a known format before anything is computed.
    pub fn new(path: &'a Path) -> Result<Self> {
        folder_of_output(path)?;
        Ok(Output { path, format: Format::to_write(path)? })
    }

    /// The same for structures with columns, which only extended XYZ holds.
    pub fn with_columns(path: &'a Path) -> Result<Self> {
        match Output::new(path)? {
            Output { format: Format::Poscar, .. } => {
                Err(Error::bad_file(path, "a POSCAR has no place for them; write extended XYZ (.xyz)"))
            }
            output => Ok(output),
        }
    }

    /// Refuses `frames` that the format cannot hold.
    pub fn check(&self, frames: &[Frame]) -> Result<()> {
        self.format.check(self.path, frames)
    }

    /// Whether writing again replaces the file as a whole: a pipe or a terminal would get everything twice, and a POSCAR holds
    /// one structure.
    pub fn is_replaced(&self) -> bool {
        self.format == Format::Xyz && !self.path.metadata().is_ok_and(|metadata| !metadata.is_file())
    }

    /// Writes `frames`, whole or not at all.
    pub fn write(&self, frames: &[Frame]) -> Result<()> {
        write_atomic(self.path, self.format.write(self.path, frames)?.as_bytes())
    }

    /// Writes the frames that `make` gives one at a time, whole or not at all. A POSCAR takes exactly one; extended XYZ is written
    /// without keeping the frames in memory.
    pub fn stream(&self, make: impl FnOnce(&mut dyn FnMut(Frame) -> Result<()>) -> Result<()>) -> Result<()> {
        match self.format {
            Format::Xyz => write_growing(self.path, |put| make(&mut |frame| put(format_frames(&[frame]).as_bytes()))),
            Format::Poscar => {
                let mut frames = Vec::new();
                make(&mut |frame| {
                    frames.push(frame);
                    Ok(())
                })?;
                self.write(&frames)
            }
        }
    }
}

/// Which atoms may move.
#[derive(Debug, Args)]
pub struct FreeAtoms {
    /// The last N atoms are free, all others fixed [default: as the file's move_mask says, otherwise all free]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(0..=LARGEST), allow_negative_numbers = true)]
    free: Option<usize>,
}

impl FreeAtoms {
    /// Whether the user says which atoms may move.
    pub fn are_named(&self) -> bool {
        self.free.is_some()
    }

    /// Marks the atoms of `frames` as fixed or free.
    pub fn mark(&self, frames: &mut [Frame]) -> Result<()> {
        for (k, frame) in frames.iter_mut().enumerate() {
            let n_atoms = frame.structure.n_atoms();
            if let Some(n_free) = self.free {
                if !(1..=n_atoms).contains(&n_free) {
                    return Err(Error::bad_input(format!(
                        "--free {n_free}: structure {} has {n_atoms} atoms; give a number from 1 to {n_atoms}",
                        k + 1
                    )));
                }
                frame.free_last(n_free);
            }
            if let Some(atom) = frame.partly_fixed() {
                return Err(Error::bad_input(format!(
                    "structure {}: atom {} is fixed along some axes only, and atoms are fixed as a whole here; name the number of \
                     free atoms with --free",
                    k + 1,
                    atom + 1
                )));
            }
            if !frame.structure.fixed.contains(&false) {
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
