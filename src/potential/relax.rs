//! Local relaxation by L-BFGS (Nocedal, Math. Comp. 35, 773, 1980), many structures in lock-step.
//!
//! Directions come from the two-loop recursion over recent steps. No atom moves further than a limit in one step. A step that
//! does not lower the energy enough is shortened along the same direction. Fixed atoms do not move.

mod walker;

pub(crate) use walker::Walker;

use crate::error::{Error, Result};
use crate::potential::{Answer, Potential};
use crate::system::Structure;

/// Structures that a potential with hardware of its own relaxes at once in [`relax_while`].
const BATCH: usize = 1024;

/// When a relaxation ends, and how far atoms move in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelaxSettings {
    /// Converged when no force on a free atom is larger than this, eV/Å.
    pub fmax_ev_per_angstrom: f64,
    /// Steps after which a relaxation ends unconverged.
    pub max_steps: usize,
    /// Largest displacement of an atom in one step, Å.
    pub max_step_angstrom: f64,
    /// Number of latest steps from which the curvature is estimated.
    pub history: usize,
}

impl Default for RelaxSettings {
    fn default() -> Self {
        RelaxSettings { fmax_ev_per_angstrom: 0.01, max_steps: 1000, max_step_angstrom: 0.2, history: 10 }
    }
}

impl RelaxSettings {
    /// Checks that the force and the displacement are positive numbers.
    ///
    /// # Errors
    /// `BadInput` naming the value that is not.
    pub fn check(&self) -> Result<()> {
        for (what, value, unit) in [
            ("largest force of a converged relaxation", self.fmax_ev_per_angstrom, "eV/Å"),
            ("largest step of a relaxation", self.max_step_angstrom, "Å"),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::bad_input(format!("the {what} is {value}; give a positive number of {unit}")));
            }
        }
        Ok(())
    }
}

/// Why a relaxation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The forces on the free atoms are below the limit.
    Converged,
    /// The steps are used up.
    MaxSteps,
    /// No shorter step lowers the energy: energy and forces contradict each other here.
    Stuck,
    /// The start has no finite energy and forces.
    NotFinite,
    /// The evaluator gave up on the start, with its reason.
    Failed(String),
    /// It was interrupted, or its evaluator can evaluate nothing any more; only from [`relax_while`].
    Stopped,
}

impl Ending {
    /// In words.
    pub fn describe(&self) -> &str {
        match self {
            Ending::Converged => "converged",
            Ending::MaxSteps => "steps used up",
            Ending::Stuck => "stuck: energy and forces contradict each other",
            Ending::NotFinite => "the start has no finite energy",
            Ending::Failed(reason) => reason,
            Ending::Stopped => "stopped before its end",
        }
    }
}

/// A relaxed structure.
#[derive(Debug, Clone, PartialEq)]
pub struct Relaxed {
    /// The last accepted positions, with their energy and forces (the evaluator's own, also on fixed atoms). Energy and forces
    /// are missing if the evaluator gave up on the start.
    pub structure: Structure,
    /// Energy of `structure`, eV; not a number if the evaluator gave up on the start.
    pub energy: f64,
    /// Steps accepted.
    pub n_steps: usize,
    /// Evaluations of the potential, rejected steps included.
    pub n_evaluations: usize,
    /// Why it ended.
    pub ending: Ending,
}

impl Relaxed {
    /// Whether the forces are below the limit.
    pub fn converged(&self) -> bool {
        self.ending == Ending::Converged
    }
}

/// Relaxes one structure. `interrupted` is checked before every evaluation.
///
/// # Errors
/// As [`relax_all`].
pub fn relax(
    structure: &Structure,
    potential: &dyn Potential,
    settings: &RelaxSettings,
    interrupted: &dyn Fn() -> bool,
) -> Result<Relaxed> {
    let mut relaxed = relax_all(std::slice::from_ref(structure), potential, settings, interrupted)?;
    relaxed.pop().ok_or_else(|| Error::Failed("the relaxation returned no structure".into()))
}

/// Relaxes `structures` side by side: every round evaluates one step of each unfinished structure, all in one batch. Each ends
/// exactly as it would alone. `interrupted` is checked before every round and with its
/// answers. A potential that can relax on its own hardware does
/// so.
///
/// # Errors
/// `BadInput` for settings that are not positive and for structures that the potential refuses, `Evaluator` when it cannot
/// evaluate any more, `Interrupted` when `interrupted` says so. If an evaluator fails at one structure, this is no error here: a
/// failed or non-finite step counts as too long, and [`Ending`] reports a failed start.
pub fn relax_all(
    structures: &[Structure],
    potential: &dyn Potential,
    settings: &RelaxSettings,
    interrupted: &dyn Fn() -> bool,
) -> Result<Vec<Relaxed>> {
    settings.check()?;
    if let Some(relaxed) = potential.relax_all(structures, settings, interrupted)? {
        return Ok(relaxed);
    }
    match side_by_side(structures, potential, settings, interrupted) {
        (relaxed, None) => Ok(relaxed),
        (_, Some(cause)) => Err(cause),
    }
}

/// [`relax_all`] that keeps what it has when it is stopped: then every structure is where its last accepted step led, those that
/// had not ended with [`Ending::Stopped`], and the cause comes along. Structures that a potential relaxes on its own hardware are
/// relaxed in batches; those of an unfinished batch are where they started, without energy.
///
/// # Errors
/// `BadInput` as [`relax_all`].
pub fn relax_while(
    structures: &[Structure],
    potential: &dyn Potential,
    settings: &RelaxSettings,
    interrupted: &dyn Fn() -> bool,
) -> Result<(Vec<Relaxed>, Option<Error>)> {
    settings.check()?;
    let mut relaxed: Vec<Relaxed> = Vec::with_capacity(structures.len());
    let mut stopped = None;
    while relaxed.len() < structures.len() && stopped.is_none() {
        let rest = &structures[relaxed.len()..];
        let batch = &rest[..rest.len().min(BATCH)];
        match potential.relax_all(batch, settings, interrupted) {
            Ok(Some(ended)) => relaxed.extend(ended),
            Ok(None) => {
                let (ended, cause) = side_by_side(rest, potential, settings, interrupted);
                relaxed.extend(ended);
                stopped = cause;
            }
            Err(cause) => stopped = Some(cause),
        }
    }
    let untouched = |start: &Structure| Walker::new(start).finish(start, Ending::Stopped);
    relaxed.extend(structures[relaxed.len()..].iter().map(untouched));
    match stopped {
        Some(cause @ Error::BadInput(_)) => Err(cause),
        stopped => Ok((relaxed, stopped)),
    }
}

/// Relaxes `structures` side by side; the second is what stopped it before its end.
fn side_by_side(
    structures: &[Structure],
    potential: &dyn Potential,
    settings: &RelaxSettings,
    interrupted: &dyn Fn() -> bool,
) -> (Vec<Relaxed>, Option<Error>) {
    let mut walkers: Vec<Walker> = structures.iter().map(Walker::new).collect();
    let mut endings: Vec<Option<Ending>> = vec![None; structures.len()];
    // The structures to evaluate next, and the relaxations that they belong to.
    let mut trials: Vec<Structure> = structures.iter().map(bare).collect();
    let mut owners: Vec<usize> = (0..structures.len()).collect();
    let mut stopped = None;
    while !trials.is_empty() && stopped.is_none() {
        if interrupted() {
            stopped = Some(Error::Interrupted);
            break;
        }
        let mut answers: Vec<Option<Answer>> = vec![None; trials.len()];
        let evaluated = potential.evaluate(&trials, &mut |batch| {
            for (index, answer) in batch {
                answers[index] = Some(answer);
            }
            if interrupted() { Err(Error::Interrupted) } else { Ok(()) }
        });
        let silent =
            || Error::Evaluator(format!("the potential {} left a structure without an answer", potential.name()));
        stopped = evaluated.err().or_else(|| answers.contains(&None).then(silent));
        // From the back, so that finished relaxations can be taken out.
        for (k, answer) in answers.into_iter().enumerate().rev() {
            let Some(answer) = answer else { continue };
            endings[owners[k]] = walkers[owners[k]].advance(answer, &mut trials[k].positions, settings);
            if endings[owners[k]].is_some() {
                trials.swap_remove(k);
                owners.swap_remove(k);
            }
        }
    }
    let ended = walkers.into_iter().zip(endings).zip(structures);
    let ended =
        ended.map(|((walker, ending), start)| walker.finish(start, ending.unwrap_or(Ending::Stopped))).collect();
    // An interruption that comes with the last answers changes nothing.
    (ended, stopped.filter(|_| !trials.is_empty()))
}

/// The structure without its earlier energy and forces.
fn bare(structure: &Structure) -> Structure {
    Structure { energy: None, forces: None, ..structure.clone() }
}
