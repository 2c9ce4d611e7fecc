//! `godiff relax`: to the nearest minimum.

use super::common::{Energies, FreeAtoms, largest_force, print, watch_interrupts, write_xyz};
use clap::Args;
use godiff::potential::relax::{Ending, RelaxSettings, relax_all};
use godiff::{Error, Result};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Moves the free atoms of each structure to the nearest minimum of the potential (L-BFGS)
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  godiff relax best.xyz --potential emt -o relaxed.xyz")]
pub struct Arguments {
    #[command(flatten)]
    energies: Energies,
    #[command(flatten)]
    free: FreeAtoms,
    /// Largest force that may remain on a free atom, eV/Å
    #[arg(long, value_name = "FORCE", default_value_t = RelaxSettings::default().fmax_ev_per_angstrom)]
    fmax: f64,
    /// Steps after which a structure is left as it is
    #[arg(long, value_name = "N", default_value_t = RelaxSettings::default().max_steps)]
    max_steps: usize,
    /// Where to write the relaxed structures with `energy` and `forces` (extended XYZ)
    #[arg(short, long, value_name = "OUT.xyz")]
    output: Option<PathBuf>,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let (potential, mut structures) = self.energies.open()?;
        self.free.mark(&mut structures)?;
        let interrupted = watch_interrupts()?;

        let settings =
            RelaxSettings { fmax_ev_per_angstrom: self.fmax, max_steps: self.max_steps, ..RelaxSettings::default() };
        let relaxed = relax_all(&structures, &*potential, &settings, &|| interrupted.load(Ordering::Relaxed))?;

        print("structure  steps  evaluations         energy/eV  largest force/(eV/Å)  ended")?;
        for (k, relaxed) in relaxed.iter().enumerate() {
            let structure = &relaxed.structure;
            let force = structure.forces.as_ref().map_or(f64::NAN, |f| largest_force(f, &structure.fixed));
            let ending = match &relaxed.ending {
                Ending::Converged => "converged".to_owned(),
                Ending::MaxSteps => "steps used up".to_owned(),
                Ending::Stuck => "stuck: energy and forces contradict each other".to_owned(),
                Ending::NotFinite => "the start has no finite energy".to_owned(),
                Ending::Failed(reason) => reason.clone(),
            };
            print(format!(
                "{:>9} {:>6} {:>12} {:>17.6} {force:>21.6}  {ending}",
                k + 1,
                relaxed.n_steps,
                relaxed.n_evaluations,
                relaxed.energy
            ))?;
        }
        let n_failed = relaxed.iter().filter(|r| matches!(r.ending, Ending::Failed(_) | Ending::NotFinite)).count();
        if let Some(path) = &self.output {
            write_xyz(path, &relaxed.into_iter().map(|relaxed| relaxed.structure.into()).collect::<Vec<_>>())?;
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
