//! `godiff evaluate`: energies and forces of given structures.

use super::common::{Energies, Output, largest_force, print, watch_interrupts};
use clap::Args;
use godiff::error::stop_if;
use godiff::potential::{Answer, Evaluation};
use godiff::system::Structure;
use godiff::system::xyz::Frame;
use godiff::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Answers wait up to this long before the output is written again. A kill loses at most those of this time; a slow potential
/// exceeds it with one answer, which is written at once.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// An output that takes longer to write is written less often: the pause is this many times as long.
const SAVING_SHARE: u32 = 20;

/// Computes energies (eV) and forces (eV/Å) of the structures in a file
///
/// Keys and columns of the input come back in the output, results of earlier calculations (energy, stress, magmoms, …) excepted.
/// The output is written while the command runs, at most once a second, so an interruption or a kill keeps what was computed.
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
        let mut answered = Answered::new(frames, output);
        let ended = potential.evaluate(&structures, &mut |delivered| {
            delivered.into_iter().for_each(|(k, answer)| answered.take(k, answer));
            answered.save_if_due()?;
            stop_if(interrupted)
        });
        self.conclude(&answered, ended)
    }

    /// Writes or prints what is evaluated; `ended` is how the evaluation did.
    fn conclude(&self, answered: &Answered, ended: Result<()>) -> Result<()> {
        let (n_structures, n_evaluated) = (answered.frames.len(), answered.evaluated().count());
        // There is nothing to write: only the reason counts.
        if n_evaluated == 0 {
            ended?;
            return Err(no_answer(n_structures, &self.energies.input));
        }
        match &answered.output {
            Some(_) => answered.save()?,
            None => print_table(answered.evaluated())?,
        }
        if n_evaluated < n_structures {
            let place = self.output.as_ref().map_or(String::new(), |path| format!(", written to {}", path.display()));
            print(format!("{n_evaluated} of {n_structures} structures evaluated{place}"))?;
            ended?;
            return Err(no_answer(n_structures - n_evaluated, &self.energies.input));
        }
        ended?;
        match answered.failures.iter().min() {
            None => Ok(()),
            Some((first, reason)) => Err(Error::Evaluator(format!(
                "{}: {} of the structures could not be evaluated; structure {}: {reason}",
                self.energies.input.display(),
                answered.failures.len(),
                first + 1
            ))),
        }
    }
}

/// The structures of the input, with the answers so far.
struct Answered<'a> {
    frames: Vec<Frame>,
    /// Whether the frame has its answer.
    is_answered: Vec<bool>,
    /// Structures without a result that counts, by their place, and the reasons.
    failures: Vec<(usize, String)>,
    output: Option<Output<'a>>,
    /// When the output may be written again, and whether it would hold more than it does now.
    due: Instant,
    has_news: bool,
}

impl<'a> Answered<'a> {
    fn new(frames: Vec<Frame>, output: Option<Output<'a>>) -> Self {
        let frames: Vec<Frame> = frames.into_iter().map(Frame::without_results).collect();
        let (is_answered, failures) = (vec![false; frames.len()], Vec::new());
        Answered { frames, is_answered, failures, output, due: Instant::now(), has_news: false }
    }

    fn take(&mut self, k: usize, answer: Answer) {
        let structure = &mut self.frames[k].structure;
        (structure.energy, structure.forces) = match energy_and_forces(answer) {
            Ok(Evaluation { energy, forces }) => (Some(energy), Some(forces)),
            Err(reason) => {
                self.failures.push((k, reason));
                (None, None)
            }
        };
        (self.is_answered[k], self.has_news) = (true, true);
    }

    /// Those with an answer, in the order of the input, with their places.
    fn evaluated(&self) -> impl Iterator<Item = (usize, &Frame)> {
        self.frames.iter().enumerate().filter(|(k, _)| self.is_answered[*k])
    }

    fn save(&self) -> Result<()> {
        let evaluated: Vec<Frame> = self.evaluated().map(|(_, frame)| frame.clone()).collect();
        self.output.as_ref().map_or(Ok(()), |output| output.write(&evaluated))
    }

    /// Writes the output with all answers so far, whole, unless it was written a moment ago.
    fn save_if_due(&mut self) -> Result<()> {
        let is_replaced = self.output.as_ref().is_some_and(Output::is_replaced);
        if !is_replaced || !self.has_news || Instant::now() < self.due {
            return Ok(());
        }
        let started = Instant::now();
        self.save()?;
        self.has_news = false;
        self.due = Instant::now() + SAVE_INTERVAL.max(started.elapsed() * SAVING_SHARE);
        Ok(())
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

fn print_table<'f>(evaluated: impl Iterator<Item = (usize, &'f Frame)>) -> Result<()> {
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
