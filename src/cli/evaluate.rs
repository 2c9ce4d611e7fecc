//! `godiff evaluate`: energies and forces of given structures.

use super::common::{Energies, largest_force, print, watch_interrupts, write_xyz};
use clap::Args;
use godiff::error::stop_if;
use godiff::potential::Answer;
use godiff::{Error, Result};
use std::path::PathBuf;

/// Computes energies (eV) and forces (eV/Å) of the structures in a file
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  godiff evaluate candidates.xyz --potential emt -o evaluated.xyz")]
pub struct Arguments {
    #[command(flatten)]
    energies: Energies,
    /// Where to write the structures with `energy` and `forces` (extended XYZ); without it a table is printed
    #[arg(short, long, value_name = "OUT.xyz")]
    output: Option<PathBuf>,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let (potential, mut structures) = self.energies.open()?;
        let interrupted = watch_interrupts()?;

        let mut answers: Vec<Option<Answer>> = vec![None; structures.len()];
        potential.evaluate(&structures, &mut |delivered| {
            delivered.into_iter().for_each(|(k, answer)| answers[k] = Some(answer));
            stop_if(interrupted)
        })?;

        let mut failures = Vec::new();
        for (k, (structure, answer)) in structures.iter_mut().zip(answers).enumerate() {
            (structure.energy, structure.forces) = match answer {
                Some(Answer::Done(evaluation)) => (Some(evaluation.energy), Some(evaluation.forces)),
                Some(Answer::Failed(reason)) => {
                    failures.push(format!("structure {}: {reason}", k + 1));
                    (None, None)
                }
                None => (None, None),
            };
        }
        match &self.output {
            Some(path) => write_xyz(path, &structures.into_iter().map(Into::into).collect::<Vec<_>>())?,
            None => {
                print("structure  atoms         energy/eV  largest force/(eV/Å)")?;
                for (k, structure) in structures.iter().enumerate() {
                    let energy = structure.energy.unwrap_or(f64::NAN);
                    let force = structure.forces.as_ref().map_or(f64::NAN, |f| largest_force(f, &structure.fixed));
                    print(format!("{:>9} {:>6} {energy:>17.6} {force:>21.6}", k + 1, structure.n_atoms()))?;
                }
            }
        }
        match &failures[..] {
            [] => Ok(()),
            [first, ..] => Err(Error::Evaluator(format!(
                "{}: {} of the structures could not be evaluated; {first}",
                self.energies.input.display(),
                failures.len()
            ))),
        }
    }
}
