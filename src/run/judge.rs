//! What becomes of a structure: whether it is evaluated, whether the model learns from it, and whether it is the target.

use super::{Best, SearchProgress, Stop};
use crate::archive::{Entry, Status};
use crate::config::{Settings, Target};
use crate::error::{Error, Result};
use crate::potential::{Answer, Potential};
use crate::system::{BondGraph, Contact, ShortestDistance, Structure, System, Vec3};

/// The criteria of one run.
#[derive(Debug)]
pub struct Judge {
    system: System,
    shortest: ShortestDistance,
    energy_floor: f64,
    energy_ceiling: f64,
    sought: Option<Sought>,
}

/// Why a structure is not worth an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub enum Rejection {
    /// Two atoms are too close; this pair is the worst one.
    TooClose(Contact),
    /// A molecule that must stay whole is not.
    FallenApart,
}

impl Rejection {
    /// The status of the structure.
    pub fn status(&self) -> Status {
        match self {
            Rejection::TooClose(_) => Status::TooClose,
            Rejection::FallenApart => Status::FallenApart,
        }
    }

    /// In words, as the end of a sentence about a structure.
    pub fn describe(&self) -> String {
        match self {
            Rejection::TooClose(contact) => contact.describe(),
            Rejection::FallenApart => "a molecule of it has fallen apart".into(),
        }
    }
}

/// The criteria of `[target]`.
#[derive(Debug)]
struct Sought {
    /// Highest energy that counts, eV; not a number until the target's own energy is known, so that no energy counts.
    highest: f64,
    /// The free atoms must be bonded among each other like this.
    bonds: Option<BondGraph>,
}

impl Judge {
    /// The criteria of `settings`. A target that is known by its energy counts after [`Judge::evaluate_target`] only.
    pub fn new(settings: &Settings) -> Self {
        let search = &settings.sections.search;
        let sought = settings.target.as_ref().map(|Target { structure, matching }| Sought {
            highest: matching.within_ev().map_or(f64::INFINITY, |_| f64::NAN),
            bonds: matching
                .compares_bonds()
                .then(|| bonds(&settings.system, &structure.positions[settings.system.n_template()..])),
        });
        Judge {
            system: settings.system.clone(),
            shortest: search.shortest_distance(),
            energy_floor: search.energy_floor_ev.unwrap_or(f64::NEG_INFINITY),
            energy_ceiling: search.energy_ceiling_ev.unwrap_or(f64::INFINITY),
            sought,
        }
    }

    /// Asks `potential` for the target's energy, if the criteria need it.
    ///
    /// # Errors
    /// Those of the potential, `BadInput` if it has no energy for the target, `Interrupted`.
    pub fn evaluate_target(&mut self, settings: &Settings, potential: &dyn Potential, stop: Stop) -> Result<()> {
        if let (Some(Target { structure, matching }), Some(sought)) = (&settings.target, &mut self.sought)
            && let Some((_, within)) = matching.within_ev()
        {
            // The charge, spin and moments of the samples, unless its file gives its own.
            let has_own = structure.for_calculator().extras.is_some();
            let extras = if has_own { structure.extras.clone() } else { settings.system.extras.clone() };
            let asked = Structure { extras, ..structure.clone() };
            sought.highest = energy_of(&asked, potential, stop)? + within;
        }
        Ok(())
    }

    /// Why a structure with the atoms that move at `free` (n × 3, Å) is not worth an evaluation, if it is not.
    pub fn rejects(&self, free: &[Vec3]) -> Option<Rejection> {
        match self.system.worst_contact(free, self.shortest) {
            Some(contact) => Some(Rejection::TooClose(contact)),
            None => self.has_fallen_apart(free).then_some(Rejection::FallenApart),
        }
    }

    /// Whether a molecule that must stay whole is not.
    pub fn has_fallen_apart(&self, free: &[Vec3]) -> bool {
        self.system.molecules.keep_bonded && !self.system.molecules_are_whole(free)
    }

    /// The shortest distance that two atoms may have.
    pub fn shortest(&self) -> ShortestDistance {
        self.shortest
    }

    /// The status of an evaluated structure.
    pub fn status(&self, answer: &Answer) -> Status {
        match answer {
            Answer::Failed(_) => Status::Failed,
            Answer::Done(evaluation) => match evaluation.energy {
                energy if !energy.is_finite() => Status::NotFinite,
                _ if !evaluation.forces.iter().flatten().all(|x| x.is_finite()) => Status::NotFinite,
                energy if energy < self.energy_floor => Status::BelowFloor,
                energy if energy > self.energy_ceiling => Status::AboveCeiling,
                _ => Status::Ok,
            },
        }
    }

    /// Counts `entry`, the next of a run, in `progress`: as sample and evaluation, the lowest energy, the first success.
    pub fn count(&self, progress: &mut SearchProgress, entry: &Entry) {
        progress.samples += 1;
        if !entry.status.is_evaluated() {
            return;
        }
        progress.evaluations += 1;
        if progress.target_first_evaluation.is_none() && self.is_target(entry) {
            progress.target_first_evaluation = Some(progress.evaluations);
        }
        if let (Status::Ok, Some(energy_ev)) = (entry.status, entry.energy)
            && progress.best.is_none_or(|best| energy_ev < best.energy_ev)
        {
            progress.best = Some(Best { energy_ev, iteration: entry.iteration, index: entry.index });
        }
    }

    /// True if `entry` meets the criteria of the configuration's `[target]`.
    pub fn is_target(&self, entry: &Entry) -> bool {
        entry.status == Status::Ok
            && self.sought.as_ref().is_some_and(|Sought { highest, bonds: sought }| {
                let alike = |sought| bonds(&self.system, &entry.free_positions).is_isomorphic_to(sought);
                entry.energy.is_some_and(|energy| energy <= *highest) && sought.as_ref().is_none_or(alike)
            })
    }
}

/// The bonds among the free atoms of the formula; the atoms that move are at `free`.
fn bonds(system: &System, free: &[Vec3]) -> BondGraph {
    BondGraph::new(&system.cell, system.formula_numbers(), &free[system.n_mobile()..])
}

fn energy_of(structure: &Structure, potential: &dyn Potential, stop: Stop) -> Result<f64> {
    let mut outcome = None;
    potential.evaluate(std::slice::from_ref(structure), &mut |answers| {
        outcome = answers.into_iter().map(|(_, answer)| answer).next().or(outcome.take());
        stop.check()
    })?;
    match outcome {
        Some(Answer::Done(evaluation)) if evaluation.energy.is_finite() => Ok(evaluation.energy),
        Some(Answer::Failed(reason)) => Err(Error::Evaluator(format!("target.structure: its evaluation was {reason}"))),
        _ => Err(Error::bad_input(format!(
            "target.structure: the potential {} gives no energy for it",
            potential.name()
        ))),
    }
}
