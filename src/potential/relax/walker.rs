//! One relaxation: the step that follows from every answer of the potential.

use super::{Ending, RelaxSettings, Relaxed, bare};
use crate::lbfgs::{Curvature, dot, limit, norm};
use crate::potential::{Answer, Evaluation};
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
