//! Local relaxation by L-BFGS (Nocedal, Math. Comp. 35, 773, 1980), many structures in lock-step.
//!
//! Directions come from the two-loop recursion over recent steps. No atom moves further than a limit in one step. A step that
//! does not lower the energy enough is shortened along the same direction. Fixed atoms do not move.

use crate::error::{Error, Result};
use crate::lbfgs::{Curvature, dot, limit, norm};
use crate::potential::{Answer, Evaluation, Potential};
use crate::system::{Structure, Vec3};

/// Smallest decrease of the energy that a step must bring, as a share of the decrease that the forces predict (Armijo).
const SUFFICIENT_DECREASE: f64 = 1e-4;

/// How far above the lowest energy so far, relative to it, a step may end if the forces show that it was good. This allows for
/// the noise of evaluators that compute in single precision.
const ENERGY_NOISE: f64 = 1e-6;

/// Largest slope at the end of such a step, as a share of the starting slope with its sign turned (Hager and Zhang, SIAM J.
/// Optim. 16, 170, 2005).
const OVERSHOOT: f64 = 0.8;

/// How often a step is shortened before the history is dropped, and then before the structure counts as stuck.
const MAX_SHORTENINGS: usize = 12;

/// Displacement per force of the first step, Å²/eV.
const FIRST_STEP: f64 = 0.03;

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

/// The state of one relaxation. Vectors run over the 3 n coordinates of the free atoms.
#[derive(Debug)]
pub(crate) struct Walker {
    /// Indices of the n free atoms.
    free: Vec<usize>,
    /// All positions where the last step was accepted, N × 3, Å.
    positions: Vec<Vec3>,
    /// The answer of the potential there; `None` before the first one.
    accepted: Option<Accepted>,
    /// The lowest energy of an accepted step, eV.
    lowest_energy: f64,
    /// The step under trial, Å.
    step: Vec<f64>,
    n_shortenings: usize,
    history: Curvature,
    n_steps: usize,
    n_evaluations: usize,
}

/// The state from which the next step starts.
#[derive(Debug)]
struct Accepted {
    evaluation: Evaluation,
    /// Minus the forces on the free atoms, eV/Å.
    gradient: Vec<f64>,
}

impl Walker {
    /// The relaxation of `structure`, which must be evaluated first.
    pub(crate) fn new(structure: &Structure) -> Self {
        let free: Vec<usize> = (0..structure.fixed.len()).filter(|&i| !structure.fixed[i]).collect();
        Walker {
            step: vec![0.0; 3 * free.len()],
            free,
            positions: structure.positions.clone(),
            accepted: None,
            lowest_energy: f64::INFINITY,
            n_shortenings: 0,
            history: Curvature::default(),
            n_steps: 0,
            n_evaluations: 0,
        }
    }

    /// Takes the answer for `positions`. Either gives the reason why the relaxation ends, or writes the next positions to try.
    pub(crate) fn advance(
        &mut self,
        answer: Answer,
        positions: &mut [Vec3],
        settings: &RelaxSettings,
    ) -> Option<Ending> {
        self.n_evaluations += 1;
        let evaluation = match (answer, &self.accepted) {
            (Answer::Done(evaluation), _) => evaluation,
            (Answer::Failed(reason), None) => return Some(Ending::Failed(reason)),
            (Answer::Failed(_), Some(_)) => return self.shorten(None, positions),
        };
        let gradient: Vec<f64> = self.free.iter().flat_map(|&i| evaluation.forces[i].map(|x| -x)).collect();
        let finite = evaluation.energy.is_finite() && gradient.iter().all(|g| g.is_finite());
        match &self.accepted {
            None if !finite => {
                self.accepted = Some(Accepted { evaluation, gradient });
                return Some(Ending::NotFinite);
            }
            None => {}
            Some(_) if !finite => return self.shorten(None, positions),
            Some(last) => {
                let rise = evaluation.energy - last.evaluation.energy;
                let (slope, slope_after) = (dot(&last.gradient, &self.step), dot(&gradient, &self.step));
                let lower = rise <= SUFFICIENT_DECREASE * slope;
                let level = evaluation.energy <= self.lowest_energy + ENERGY_NOISE * self.lowest_energy.abs();
                if !(lower || level && slope_after <= OVERSHOOT * slope.abs()) {
                    return self.shorten(Some((rise, slope)), positions);
                }
                let change = gradient.iter().zip(&last.gradient).map(|(after, before)| after - before).collect();
                self.history.remember(self.step.clone(), change, settings.history);
                self.positions.copy_from_slice(positions);
                self.n_steps += 1;
            }
        }
        self.lowest_energy = self.lowest_energy.min(evaluation.energy);
        let largest = gradient.chunks(3).map(|g| dot(g, g)).fold(0.0, f64::max).sqrt();
        let ending = if largest < settings.fmax_ev_per_angstrom {
            Some(Ending::Converged)
        } else if self.n_steps >= settings.max_steps {
            Some(Ending::MaxSteps)
        } else {
            self.step = self.direction(&gradient);
            limit(&mut self.step, settings.max_step_angstrom);
            self.n_shortenings = 0;
            self.propose(positions);
            None
        };
        self.accepted = Some(Accepted { evaluation, gradient });
        ending
    }

    /// Rejects the step: tries a shorter one along the same line. After the last of these, tries a step downhill without history.
    /// `outcome` is the rise of the energy and the slope at the start, if the step gave numbers.
    fn shorten(&mut self, outcome: Option<(f64, f64)>, positions: &mut [Vec3]) -> Option<Ending> {
        let Some(last) = &self.accepted else { return Some(Ending::NotFinite) };
        self.n_shortenings += 1;
        if self.n_shortenings > MAX_SHORTENINGS {
            if self.history.is_empty() {
                return Some(Ending::Stuck);
            }
            let length = norm(&self.step);
            self.history.clear();
            self.n_shortenings = 0;
            self.step = downhill(&last.gradient);
            let shrink = (length / norm(&self.step)).min(1.0);
            self.step.iter_mut().for_each(|x| *x *= shrink);
        } else {
            // The minimum of the parabola through energy and slope at the start and the energy at the end.
            let factor = outcome.map_or(0.1, |(rise, slope)| -slope / (2.0 * (rise - slope)));
            let factor = if factor.is_finite() { factor.clamp(0.1, 0.5) } else { 0.1 };
            self.step.iter_mut().for_each(|x| *x *= factor);
        }
        self.propose(positions);
        None
    }

    /// The next step (Å): downhill if the history knows no direction.
    fn direction(&mut self, gradient: &[f64]) -> Vec<f64> {
        self.history.direction(gradient).unwrap_or_else(|| {
            self.history.clear();
            downhill(gradient)
        })
    }

    /// Writes the accepted positions plus the step.
    fn propose(&self, positions: &mut [Vec3]) {
        for (&i, step) in self.free.iter().zip(self.step.chunks(3)) {
            for x in 0..3 {
                positions[i][x] = self.positions[i][x] + step[x];
            }
        }
    }

    /// The result of the relaxation that began at `start`.
    pub(crate) fn finish(self, start: &Structure, ending: Ending) -> Relaxed {
        let mut structure = Structure { positions: self.positions, ..bare(start) };
        if let Some(Accepted { evaluation, .. }) = self.accepted {
            structure.energy = Some(evaluation.energy);
            structure.forces = Some(evaluation.forces);
        }
        Relaxed {
            energy: structure.energy.unwrap_or(f64::NAN),
            structure,
            n_steps: self.n_steps,
            n_evaluations: self.n_evaluations,
            ending,
        }
    }
}

/// The step (Å) without history.
fn downhill(gradient: &[f64]) -> Vec<f64> {
    gradient.iter().map(|g| -FIRST_STEP * g).collect()
}
