//! Energy evaluators behind one trait. Built-in ones answer at once, external ones when their workers finish.

mod ase;
mod batch;
pub mod emt;
#[cfg(unix)]
pub mod external;
mod image_list;
mod ipi;
mod kind;
pub mod lennard_jones;
mod object;
pub mod relax;
mod settings;

pub use ase::AseSettings;
pub use emt::{Emt, EmtOnDevice, EmtSettings};
pub use ipi::IpiSettings;
pub use kind::{Form, Kind, Parameter};
pub use lennard_jones::{LennardJones, LennardJonesSettings};
pub use object::{Calculator, Given, ObjectSettings};

pub(crate) use settings::keys_of;

use crate::error::Result;
use crate::gpu::Place;
use crate::potential::relax::{RelaxSettings, Relaxed};
use crate::system::{Structure, System, Vec3};
use serde::{Deserialize, Deserializer};
use std::path::Path;
use std::time::Duration;

// All kinds of potential, in the order in which messages name them.
settings::kinds! {
    /// Effective medium theory.
    Emt(EmtSettings),
    /// The Lennard-Jones pair potential.
    LennardJones(LennardJonesSettings),
    /// A calculator of ASE in Python workers.
    Ase(AseSettings),
    /// Any program that speaks i-PI's protocol.
    Ipi(IpiSettings),
    /// A calculator that is an object of this process.
    Object(ObjectSettings),
}

impl PotentialSettings {
    /// Gives the calculator whose name these settings are, if they are of that kind.
    pub fn give(&mut self, calculator: Given) {
        if let PotentialSettings::Object(settings) = self {
            settings.given = calculator;
        }
    }

    /// Reads the command line's form: `emt`, `emt:asap-cutoff`, or `lennard-jones:epsilon=0.0104,sigma=3.4,cutoff=10`.
    ///
    /// # Errors
    /// `BadInput` for an unknown potential or parameter and for values that the kind refuses.
    pub fn parse_name(text: &str) -> Result<Self> {
        Self::from_table(settings::keys_of_name(text, Self::KINDS)?)
    }

    /// The keys that `[potential]` may have, of all kinds.
    pub fn keys() -> Vec<&'static str> {
        settings::keys(Self::KINDS)
    }

    /// All forms that [`PotentialSettings::parse_name`] takes, for the help of a command.
    pub fn names() -> String {
        settings::names(Self::KINDS)
    }
}

impl<'de> Deserialize<'de> for PotentialSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::from_table(settings::read_table(deserializer, Self::KINDS)?).map_err(serde::de::Error::custom)
    }
}

/// Opens a potential for `device`, by the names of [`Place::of`]. A potential that cannot compute there computes on the CPU. With
/// `system`, unsuitable elements or periodicity are refused at once, and the part that all structures of a search share is
/// computed here, once.
///
/// # Errors
/// `BadInput` for a device that is unknown or that this build or machine does not have, and for the errors of [`Kind::open`].
pub fn open(settings: &PotentialSettings, system: Option<&System>, device: &str) -> Result<Box<dyn Potential>> {
    settings.open(system, &Place::of(device)?)
}

/// Energy and forces of one structure.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Potential energy, eV. It may be non-finite: the caller decides what this means.
    pub energy: f64,
    /// Forces on all atoms, N × 3, eV/Å.
    pub forces: Vec<Vec3>,
}

/// The answer for one structure.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The evaluator's numbers.
    Done(Evaluation),
    /// The evaluator gave up on this structure, with its reason.
    Failed(String),
}

/// A source of energies and forces.
pub trait Potential: Send + Sync {
    /// Short name for reports, such as "emt".
    fn name(&self) -> String;

    /// Evaluates all `structures`. Calls `deliver(indices_and_answers)` once for every batch of answers when it comes, in any
    /// order, each index exactly once. A potential that waits for other programs also calls it without answers now and then, so
    /// that the caller may stop.
    ///
    /// # Errors
    /// The errors of `deliver`, `BadInput` for species without parameters, `Evaluator` when the potential cannot evaluate any
    /// more.
    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()>;

    /// Relaxes `structures` where their energies are computed, if this potential can do that. It works as
    /// [`crate::potential::relax::relax_all`], which calls this method first, and leads to the same minima. With `None` that
    /// function relaxes them. The settings are valid.
    ///
    /// # Errors
    /// Those of [`crate::potential::relax::relax_all`].
    fn relax_all(
        &self,
        _structures: &[Structure],
        _settings: &RelaxSettings,
        _interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Relaxed>>> {
        Ok(None)
    }

    /// Evaluates the structures that `exchange` brings until it brings no more. Meanwhile the caller may make more.
    ///
    /// # Errors
    /// Those of [`Potential::evaluate`] and of `exchange`.
    fn evaluate_stream(&self, exchange: &mut dyn Exchange) -> Result<()> {
        while let Some(questions) = exchange.next(PATIENCE)? {
            let (numbers, structures): (Vec<usize>, Vec<Structure>) = questions.into_iter().unzip();
            self.evaluate(&structures, &mut |answers| {
                exchange.deliver(answers.into_iter().map(|(k, answer)| (numbers[k], answer)).collect())
            })?;
        }
        Ok(())
    }

    /// Called once before the first evaluation of a search, with the run folder for logs and for files that other programs need.
    /// External evaluators start now, so that they are ready when the first structures are.
    ///
    /// # Errors
    /// `Storage` if the folder cannot be written.
    fn begin(&self, _folder: &Path) -> Result<()> {
        Ok(())
    }

    /// Events since the last call that the user should read, one sentence each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// How many structures it works on at once, if it is so slow that sampling should continue meanwhile.
    fn n_at_once(&self) -> Option<usize> {
        None
    }
}

/// Pause of a potential that has nothing to do.
const PATIENCE: Duration = Duration::from_millis(100);

/// The source of the structures of [`Potential::evaluate_stream`], which also takes the answers.
pub trait Exchange {
    /// Structures to evaluate next, with numbers that are returned with their answers. Waits for them up to `wait`; the list may
    /// be empty. `None` when no more will come.
    ///
    /// # Errors
    /// Any error that should stop the evaluation.
    fn next(&mut self, wait: Duration) -> Result<Option<Vec<(usize, Structure)>>>;

    /// Takes answers. It is also called without any now and then.
    ///
    /// # Errors
    /// Any error that should stop the evaluation.
    fn deliver(&mut self, answers: Vec<(usize, Answer)>) -> Result<()>;
}
