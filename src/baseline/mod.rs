//! The methods that GO-Diff is compared with: random structure search, basin hopping, an evolutionary search and simulated
//! annealing. They share the system, the confinement, the potential, the archive, the target and the run folder with
//! [`crate::search`], and every evaluation counts, also those of relaxations.
//!
//! The first three make up structures and relax them. They differ in the choice of the next start, which a `Strategy` makes.
//! `Relaxations` relaxes several of these starts side by side, with one evaluation of each slot in a round. Annealing moves without
//! relaxation and has a loop of its own.
//!
//! **Counting.** Evaluations are numbered in the order in which they are made; evaluation e is the row (e / 1000, e % 1000) of
//! the archive. So an "iteration" of a baseline is 1000 evaluations. With [`Record::Minima`] rows are missing.
//!
//! **Resuming.** All random numbers are a pure function of the seed and the number of the relaxation. Everything else follows
//! from the answers of the potential. A resumed run therefore starts over: the archive answers in place of the potential where it
//! can. It ends bit for bit like a run that was never interrupted.

mod annealing;
mod basin_hopping;
mod evolution;
mod ledger;
mod random_search;
#[cfg(test)]
mod tests;

use crate::archive::Status;
use crate::config::{File, Record, Settings};
use crate::error::{Error, Result};
use crate::potential::relax::{RelaxSettings, Walker};
use crate::potential::{Answer, Evaluation, Potential};
use crate::run::{Activity, Afterwards, Reporter, Resumed, RunStatus, Session, Summary};
use crate::system::{Structure, Vec3};
use annealing::Annealing;
use basin_hopping::BasinHopping;
use evolution::Evolution;
use ledger::Ledger;
use random_search::RandomSearch;
use std::sync::atomic::AtomicBool;

/// A method to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Baseline {
    /// Relaxations from random structures.
    RandomSearch,
    /// Metropolis walks between relaxed structures (Wales and Doye, J. Phys. Chem. A 101, 5111, 1997).
    BasinHopping,
    /// A population of minima, crossed and mutated (Deaven and Ho, Phys. Rev. Lett. 75, 288, 1995).
    Evolution,
    /// Metropolis walks while the temperature falls (Kirkpatrick, Gelatt and Vecchi, Science 220, 671, 1983).
    Annealing,
}

impl Baseline {
    /// Every baseline.
    pub const ALL: [Baseline; 4] =
        [Baseline::RandomSearch, Baseline::BasinHopping, Baseline::Evolution, Baseline::Annealing];

    /// The name of its command.
    pub fn name(self) -> &'static str {
        match self {
            Baseline::RandomSearch => "rss",
            Baseline::BasinHopping => "basin-hopping",
            Baseline::Evolution => "evolve",
            Baseline::Annealing => "anneal",
        }
    }

    /// Reduces `sections` to the keys that this method reads of the baselines' sections, with all defaults.
    ///
    /// # Errors
    /// `BadInput` for own structures to begin with, which only a search takes.
    pub fn resolve(self, sections: &mut File) -> Result<()> {
        if sections.seeds.is_some() {
            return Err(Error::bad_input(format!(
                "[seeds] is for godiff search alone: {} starts from random structures; give it a configuration without this \
                 section",
                self.name()
            )));
        }
        let (random_search, basin_hopping, evolution, annealing) =
            (sections.random_search, sections.basin_hopping, sections.evolution, sections.annealing);
        sections.forget_baselines();
        match self {
            Baseline::RandomSearch => sections.random_search = Some(random_search.unwrap_or_default()),
            Baseline::BasinHopping => sections.basin_hopping = Some(basin_hopping.unwrap_or_default()),
            Baseline::Evolution => sections.evolution = Some(evolution.unwrap_or_default()),
            Baseline::Annealing => sections.annealing = Some(annealing.unwrap_or_default()),
        }
        sections.placement.get_or_insert_default();
        sections.relaxation.get_or_insert_default();
        Ok(())
    }

    /// Evaluations after which a run with these sections ends.
    pub fn budget(self, sections: &File) -> u64 {
        match self {
            Baseline::RandomSearch => sections.random_search.unwrap_or_default().evaluations,
            Baseline::BasinHopping => sections.basin_hopping.unwrap_or_default().evaluations,
            Baseline::Evolution => sections.evolution.unwrap_or_default().evaluations,
            Baseline::Annealing => sections.annealing.unwrap_or_default().evaluations,
        }
    }

    fn activity<'a>(self, settings: &'a Settings) -> Box<dyn Activity + 'a> {
        let budget = self.budget(&settings.sections);
        let relaxations = |strategy| Box::new(Relaxations::new(settings, strategy, budget));
        match self {
            Baseline::RandomSearch => relaxations(Box::new(RandomSearch::new(settings))),
            Baseline::BasinHopping => relaxations(Box::new(BasinHopping::new(settings))),
            Baseline::Evolution => relaxations(Box::new(Evolution::new(settings))),
            Baseline::Annealing => Box::new(Annealing::new(settings, budget)),
        }
    }
}

/// A relaxed structure that counts.
#[derive(Debug, Clone, PartialEq)]
struct Minimum {
    /// Positions of the n free atoms, Å.
    free: Vec<Vec3>,
    /// eV.
    energy: f64,
}

/// The choice of the next relaxation's start.
trait Strategy {
    /// Relaxations side by side.
    fn n_slots(&self) -> usize;

    /// The n free positions (Å) from which relaxation number `attempt` of the run starts, in `slot`.
    ///
    /// # Errors
    /// `Failed` if no structure fits the allowed region.
    fn start(&mut self, slot: usize, attempt: u64) -> Result<Vec<Vec3>>;

    /// Takes the result of the relaxation in `slot`; `None` if its end is outside the energy bounds or has no energy.
    fn relaxed(&mut self, slot: usize, minimum: Option<Minimum>);

    /// Temperature to note with every structure, eV; 0 if there is none.
    fn kt_ev(&self) -> f64 {
        0.0
    }
}

/// A run of a baseline, opened and ready to continue from the state of its folder.
pub struct BaselineRun<'a> {
    session: Session<'a>,
    activity: Box<dyn Activity + 'a>,
}

/// Relaxations side by side.
struct Relaxations<'a> {
    settings: &'a Settings,
    strategy: Box<dyn Strategy + 'a>,
    ledger: Ledger,
    n_attempts: u64,
}

impl<'a> BaselineRun<'a> {
    /// Puts the parts together. `settings` must have gone through [`Baseline::resolve`]. With `stop_at_target` the run ends when
    /// it finds the target. `interrupted` may be set at any time, by a signal handler for example.
    ///
    /// # Errors
    /// `BadInput` if the archive holds structures of another system, `Storage` if it lacks structures that the run has recorded.
    pub fn new(
        method: Baseline,
        settings: &'a Settings,
        potential: Box<dyn Potential>,
        run: Resumed,
        reporter: &'a Reporter,
        stop_at_target: bool,
        interrupted: &'a AtomicBool,
    ) -> Result<Self> {
        let before = run.directory.summary();
        let (mut session, _) = Session::open(settings, potential, run, reporter, interrupted, DEVICE.to_owned())?;
        // With [`Record::Minima`] the resumed run repeats the evaluations that are missing.
        if record(settings) == Record::All {
            session.archive.check_complete(u32::MAX, before.as_ref().map_or(0, |summary| summary.samples))?;
        }
        session.set_stop_at_target(stop_at_target);
        Ok(BaselineRun { session, activity: method.activity(settings) })
    }

    /// Runs to the end and writes a summary however it ends; then calls `afterwards` with the folder.
    ///
    /// # Errors
    /// `BadInput` if the potential has no energy for the target, `Failed` if no structure fits the allowed region, `Interrupted`,
    /// and the errors of the potential and the run folder. After all of them the run can be resumed.
    pub fn run(&mut self, afterwards: Afterwards) -> Result<Summary> {
        self.session.conduct(self.activity.as_mut(), afterwards)
    }
}

impl Activity for Relaxations<'_> {
    fn n_rounds(&self) -> u32 {
        self.ledger.n_iterations()
    }

    fn work(&mut self, session: &mut Session) -> Result<RunStatus> {
        self.ledger.begin(session)?;
        let limits = RelaxSettings::from(self.settings.sections.relaxation.unwrap_or_default());
        let n_slots = self.strategy.n_slots();
        let mut slots: Vec<Slot> = (0..n_slots).map(|slot| self.next(slot)).collect::<Result<_>>()?;
        let mut trials: Vec<Structure> = slots.iter().map(|slot| slot.start.clone()).collect();
        let kts_ev = vec![self.strategy.kt_ev(); n_slots];
        while let Some(answers) = self.ledger.evaluate(session, &trials, &kts_ev)? {
            for (k, answer) in answers.into_iter().enumerate() {
                let slot = &mut slots[k];
                let Some(ending) = slot.walker.advance(answer, &mut trials[k].positions, &limits) else { continue };
                self.ledger.relaxation_ended(k);
                let walker = std::mem::replace(&mut slot.walker, Walker::new(&slot.start));
                let relaxed = walker.finish(&slot.start, ending).structure;
                self.strategy.relaxed(k, minimum(session, &relaxed));
                slots[k] = self.next(k)?;
                trials[k].clone_from(&slots[k].start);
            }
        }
        Ok(RunStatus::Done)
    }

    fn settle(&mut self, session: &mut Session, status: RunStatus) -> Result<()> {
        self.ledger.settle(session, status)
    }
}

impl<'a> Relaxations<'a> {
    fn new(settings: &'a Settings, strategy: Box<dyn Strategy + 'a>, budget: u64) -> Self {
        let ledger = Ledger::new(strategy.kt_ev(), budget, record(settings));
        Relaxations { settings, strategy, ledger, n_attempts: 0 }
    }

    /// The next relaxation in `slot`.
    fn next(&mut self, slot: usize) -> Result<Slot> {
        let start = self.settings.system.structure(&self.strategy.start(slot, self.n_attempts)?);
        self.n_attempts += 1;
        Ok(Slot { walker: Walker::new(&start), start })
    }
}

/// The evaluations that the archive keeps.
fn record(settings: &Settings) -> Record {
    settings.sections.relaxation.unwrap_or_default().record
}

/// The end of a relaxation in `relaxed`, if it counts.
fn minimum(session: &Session, relaxed: &Structure) -> Option<Minimum> {
    let energy = relaxed.energy?;
    let forces = relaxed.forces.clone().unwrap_or_default();
    let counts = session.judge.status(&Answer::Done(Evaluation { energy, forces })) == Status::Ok;
    let free = relaxed.positions[session.settings.system.n_template()..].to_vec();
    let counts = counts && !session.judge.has_fallen_apart(&free);
    counts.then_some(Minimum { free, energy })
}

/// The device that summaries name.
const DEVICE: &str = "cpu";

/// A relaxation that has not ended.
struct Slot {
    start: Structure,
    walker: Walker,
}
