//! `godiff relax`: to the nearest minimum.

use super::common::{Energies, FreeAtoms, Output, largest_force, print, watch_interrupts};
use super::numbers::{LARGEST, real, whole};
use clap::Args;
use godiff::potential::relax::{Ending, RelaxSettings, Relaxed, relax_while};
use godiff::system::Structure;
use godiff::system::xyz::Frame;
use godiff::{Error, Result};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Moves the free atoms of each structure to the nearest minimum of the potential (L-BFGS)
///
/// Keys and columns of the input come back in the output, results of earlier calculations (energy, stress, magmoms, …) excepted.
/// When it is interrupted, every structure is written as far as it has come.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  godiff relax best.xyz --potential emt -o relaxed.xyz")]
pub struct Arguments {
    #[command(flatten)]
    energies: Energies,
    #[command(flatten)]
    free: FreeAtoms,
    /// Largest force that may remain on a free atom, eV/Å
    #[arg(long, value_name = "FORCE", value_parser = real, allow_negative_numbers = true, default_value_t = RelaxSettings::default().fmax_ev_per_angstrom)]
    fmax: f64,
    /// Largest number of steps for a structure
    #[arg(long, value_name = "N", value_parser = whole::<usize>(0..=LARGEST), allow_negative_numbers = true, default_value_t = RelaxSettings::default().max_steps)]
    max_steps: usize,
    /// Where to write the relaxed structures with `energy` and `forces` (extended XYZ, or a POSCAR)
    #[arg(short, long, value_name = "OUT.xyz")]
    output: Option<PathBuf>,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let output = self.output.as_deref().map(Output::new).transpose()?;
        let (potential, mut frames) = self.energies.open()?;
        self.free.mark(&mut frames)?;
        if let Some(output) = &output {
            output.check(&frames)?;
        }
        let interrupted = watch_interrupts()?;

        let settings =
            RelaxSettings { fmax_ev_per_angstrom: self.fmax, max_steps: self.max_steps, ..RelaxSettings::default() };
        let structures: Vec<Structure> = frames.iter().map(|frame| frame.structure.for_calculator()).collect();
        let (relaxed, stopped) =
            relax_while(&structures, &*potential, &settings, &|| interrupted.load(Ordering::Relaxed))?;

        print("structure  steps  evaluations         energy/eV  largest force/(eV/Å)  ended")?;
        relaxed.iter().enumerate().try_for_each(|(k, relaxed)| print_row(k, relaxed))?;
        let n_failed = relaxed.iter().filter(|r| matches!(r.ending, Ending::Failed(_) | Ending::NotFinite)).count();
        let reached: Vec<Frame> = frames
            .into_iter()
            .zip(relaxed)
            .filter(|(_, relaxed)| relaxed.ending != Ending::Stopped || relaxed.n_evaluations > 0)
            .map(|(frame, relaxed)| with_result(frame, relaxed))
            .collect();
        if let Some(output) = output.filter(|_| !reached.is_empty()) {
            output.write(&reached)?;
        }
        if let Some(cause) = stopped {
            return Err(cause);
        }
        match n_failed {
            0 => Ok(()),
            _ => Err(Error::Evaluator(format!(
                "{}: {n_failed} of the structures could not be evaluated where they start",
                self.energies.input.display()
            ))),
        }
    }
}

fn print_row(k: usize, relaxed: &Relaxed) -> Result<()> {
    let structure = &relaxed.structure;
    let force = structure.forces.as_ref().map_or(f64::NAN, |f| largest_force(f, &structure.fixed));
    let Relaxed { n_steps, n_evaluations, energy, ending, .. } = relaxed;
    let ending = ending.describe();
    print(format!("{:>9} {n_steps:>6} {n_evaluations:>12} {energy:>17.6} {force:>21.6}  {ending}", k + 1))
}

/// The frame of the input with the result of relaxing.
fn with_result(frame: Frame, relaxed: Relaxed) -> Frame {
    let mut frame = frame.without_results();
    let extras = frame.structure.extras.take();
    frame.structure = Structure { extras, ..relaxed.structure };
    frame
}
