//! `godiff evaluate`: energies and forces of given structures.

use super::common::{Energies, Output, largest_force, print, watch_interrupts};
use clap::Args;
use godiff::error::stop_if;
use godiff::potential::{Answer, Evaluation};
use godiff::system::Structure;
use godiff::system::xyz::Frame;
use godiff::{Error, Result};
use std::path::{Path, PathBuf};

/// Computes energies (eV) and forces (eV/Å) of the structures in a file
///
/// Keys and columns of the input come back in the output, results of earlier calculations (energy, stress, magmoms, …) excepted.
/// When it is interrupted, what is computed by then is written.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  godiff evaluate candidates.xyz --potential emt -o evaluated.xyz")]
pub struct Arguments {
    #[command(flatten)]
    energies: Energies,
    /// Where to write the structures with `energy` and `forces` (extended XYZ, or a POSCAR); without it a table is printed
    #[arg(short, long, value_name = "OUT.xyz")]
    output: Option<PathBuf>,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let output = self.output.as_deref().map(Output::new).transpose()?;
        let (potential, frames) = self.energies.open()?;
        if let Some(output) = &output {
            output.check(&frames)?;
        }
        let interrupted = watch_interrupts()?;

        let structures: Vec<Structure> = frames.iter().map(|frame| frame.structure.for_calculator()).collect();
        let mut answers: Vec<Option<Answer>> = vec![None; structures.len()];
        let ended = potential.evaluate(&structures, &mut |delivered| {
            delivered.into_iter().for_each(|(k, answer)| answers[k] = Some(answer));
            stop_if(interrupted)
        });

        let n_structures = frames.len();
        let mut failures = Vec::new();
        let mut evaluated: Vec<(usize, Frame)> = Vec::new();
        for (k, (frame, answer)) in frames.into_iter().zip(answers).enumerate() {
            let Some(answer) = answer else { continue };
            let mut frame = frame.without_results();
            (frame.structure.energy, frame.structure.forces) = match energy_and_forces(answer) {
                Ok(Evaluation { energy, forces }) => (Some(energy), Some(forces)),
                Err(reason) => {
                    failures.push(format!("structure {}: {reason}", k + 1));
                    (None, None)
                }
            };
            evaluated.push((k, frame));
        }
        // There is nothing to write: only the reason counts.
        if evaluated.is_empty() {
            ended?;
            return Err(no_answer(n_structures, &self.energies.input));
        }
        let n_evaluated = evaluated.len();
        match &output {
            Some(output) => output.write(&evaluated.into_iter().map(|(_, frame)| frame).collect::<Vec<_>>())?,
            None => print_table(&evaluated)?,
        }
        if n_evaluated < n_structures {
            let place = self.output.as_ref().map_or(String::new(), |path| format!(", written to {}", path.display()));
            print(format!("{n_evaluated} of {n_structures} structures evaluated{place}"))?;
            ended?;
            return Err(no_answer(n_structures - n_evaluated, &self.energies.input));
        }
        ended?;
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

/// The result, or the reason why it does not count.
fn energy_and_forces(answer: Answer) -> std::result::Result<Evaluation, String> {
    match answer {
        Answer::Failed(reason) => Err(reason),
        Answer::Done(evaluation) if !evaluation.energy.is_finite() => {
            Err(format!("its energy is {}, not a finite number", evaluation.energy))
        }
        Answer::Done(evaluation) => {
            match evaluation.forces.iter().position(|force| !force.iter().all(|x| x.is_finite())) {
                Some(atom) => Err(format!("the force on atom {} is not a finite number", atom + 1)),
                None => Ok(evaluation),
            }
        }
    }
}

fn no_answer(n: usize, input: &Path) -> Error {
    Error::Evaluator(format!("{}: the potential left {n} of the structures without an answer", input.display()))
}

fn print_table(evaluated: &[(usize, Frame)]) -> Result<()> {
    print("structure  atoms         energy/eV  largest force/(eV/Å)")?;
    for (k, frame) in evaluated {
        let structure = &frame.structure;
        let energy = structure.energy.unwrap_or(f64::NAN);
        let force = structure.forces.as_ref().map_or(f64::NAN, |f| largest_force(f, &structure.fixed));
        print(format!("{:>9} {:>6} {energy:>17.6} {force:>21.6}", k + 1, structure.n_atoms()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_does_not_count() {
        let done =
            |energy: f64, force: f64| Answer::Done(Evaluation { energy, forces: vec![[0.0; 3], [0.0, force, 0.0]] });
        assert_eq!(energy_and_forces(done(1.0, 2.0)).unwrap().energy, 1.0);
        for (answer, reason) in [
            (done(f64::NAN, 0.0), "its energy is NaN, not a finite number"),
            (done(f64::NEG_INFINITY, 0.0), "its energy is -inf, not a finite number"),
            (done(1.0, f64::NAN), "the force on atom 2 is not a finite number"),
            (Answer::Failed("no licence".into()), "no licence"),
        ] {
            assert_eq!(energy_and_forces(answer).unwrap_err(), reason);
        }
        let error = no_answer(2, Path::new("in.xyz"));
        assert_eq!(error.to_string(), "in.xyz: the potential left 2 of the structures without an answer");
        assert_eq!(error.exit_code(), 3);
    }
}
