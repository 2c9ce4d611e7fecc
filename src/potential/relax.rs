//! Local relaxation by L-BFGS (Nocedal, Math. Comp. 35, 773, 1980), many structures in lock-step.
//!
//! Directions come from the two-loop recursion over recent steps; no atom moves further than a limit in one step; a step
//! that does not lower the energy enough is shortened along the same direction. Fixed atoms stay.

use crate::error::{Error, Result};
use crate::lbfgs::{Curvature, dot, limit, norm};
use crate::potential::{Answer, Evaluation, Potential};
use crate::system::{Structure, Vec3};

/// Smallest decrease of the energy a step must bring, as a share of what the forces promise (Armijo).
const SUFFICIENT_DECREASE: f64 = 1e-4;

/// How far above the lowest energy so far, relative to it, a step may end where the forces agree that it was good: the noise
/// of evaluators that compute in single precision.
const ENERGY_NOISE: f64 = 1e-6;

/// How much of the starting slope may be left, with its sign turned, at the end of such a step (Hager and Zhang, SIAM J.
/// Optim. 16, 170, 2005).
const OVERSHOOT: f64 = 0.8;

/// Times a step is shortened before the history is dropped, and then before the structure counts as stuck.
const MAX_SHORTENINGS: usize = 12;

/// Displacement per force of the first step, Å²/eV.
const FIRST_STEP: f64 = 0.03;

/// When a relaxation ends and how far it may go at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelaxSettings {
    /// Converged when no free atom feels a larger force, eV/Å.
    pub fmax_ev_per_angstrom: f64,
    /// Steps after which a relaxation ends unconverged.
    pub max_steps: usize,
    /// Largest displacement of an atom in one step, Å.
    pub max_step_angstrom: f64,
    /// Steps that the curvature is learnt from.
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
    /// `BadInput` naming the one that is not.
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
}

/// A relaxed structure.
#[derive(Debug, Clone, PartialEq)]
pub struct Relaxed {
    /// The last accepted positions, with their energy and forces (the evaluator's own, also on fixed atoms). Without these
    /// where the evaluator gave up on the start.
    pub structure: Structure,
    /// Energy of `structure`, eV; not a number where the evaluator gave up on the start.
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

/// Relaxes one structure. `interrupted` is asked before every evaluation.
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

/// Relaxes `structures` side by side: every round evaluates one step of all that are not done as one batch. Each ends exactly
/// as it would alone. `interrupted` is asked before every round. A potential that relaxes on its own hardware does so.
///
/// # Errors
/// `BadInput` for settings that are not positive and for what the potential refuses, `Evaluator` when it can evaluate nothing
/// any more, `Interrupted` when `interrupted` says so. What an evaluator fails at for one structure is no error here: a failed
/// or non-finite step counts as too long, a failed start is told by [`Ending`].
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
    let mut walkers: Vec<Walker> = structures.iter().map(Walker::new).collect();
    let mut endings: Vec<Option<Ending>> = vec![None; structures.len()];
    // The structures to evaluate next, and whose they are.
    let mut trials: Vec<Structure> = structures.iter().map(bare).collect();
    let mut owners: Vec<usize> = (0..structures.len()).collect();
    while !trials.is_empty() {
        if interrupted() {
            return Err(Error::Interrupted);
        }
        let mut answers: Vec<Option<Answer>> = vec![None; trials.len()];
        potential.evaluate(&trials, &mut |batch| {
            for (index, answer) in batch {
                answers[index] = Some(answer);
            }
            Ok(())
        })?;
        // From the back, so that those which end can be taken out.
        for (k, answer) in answers.into_iter().enumerate().rev() {
            let answer = answer.ok_or_else(|| {
                Error::Evaluator(format!("the potential {} left a structure without an answer", potential.name()))
            })?;
            endings[owners[k]] = walkers[owners[k]].advance(answer, &mut trials[k].positions, settings);
            if endings[owners[k]].is_some() {
                trials.swap_remove(k);
                owners.swap_remove(k);
            }
        }
    }
    let ended = walkers.into_iter().zip(endings).zip(structures);
    Ok(ended.map(|((walker, ending), start)| walker.finish(start, ending.unwrap_or(Ending::MaxSteps))).collect())
}

/// The structure without what was computed for it earlier.
fn bare(structure: &Structure) -> Structure {
    Structure { energy: None, forces: None, ..structure.clone() }
}

/// One relaxation on its way. Vectors run over the 3 n coordinates of the free atoms.
#[derive(Debug)]
pub(crate) struct Walker {
    /// Indices of the n free atoms.
    free: Vec<usize>,
    /// All positions where the last step was accepted, N × 3, Å.
    positions: Vec<Vec3>,
    /// What the potential said there; none before the first answer.
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
    /// A relaxation of `structure`, which is to be evaluated first.
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

    /// Takes the answer for `positions` and either says why the relaxation ends or writes the next positions to try.
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

    /// Rejects the step: tries a shorter one along the same line; when those are used up, downhill without history.
    /// `outcome` is the rise of the energy and the slope at the start, where the step gave numbers.
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

    /// The next step (Å): downhill when the history knows none.
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

    /// What the relaxation that began at `start` has come to.
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
