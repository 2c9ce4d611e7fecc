//! Energy evaluators behind one trait: built-in ones answer at once, external ones as their workers finish.

mod batch;
pub mod emt;
mod image_list;
pub mod lennard_jones;
mod settings;

pub use emt::{Emt, EmtOnDevice};
pub use lennard_jones::{LennardJones, LennardJonesSettings};
pub use settings::{PotentialSettings, open};

use crate::error::Result;
use crate::relax::{RelaxSettings, Relaxed};
use crate::system::{Structure, Vec3};

/// Energy and forces of one structure.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Potential energy, eV. May be non-finite: the caller decides what that means.
    pub energy: f64,
    /// Forces on all atoms, N × 3, eV/Å.
    pub forces: Vec<Vec3>,
}

/// What came back for one structure.
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

    /// Evaluates all `structures`; calls `deliver(indices_and_answers)` once for every batch of answers as it comes, in any
    /// order, each index exactly once.
    ///
    /// # Errors
    /// What `deliver` returns, `BadInput` for species without parameters, `Evaluator` when nothing can be evaluated any more.
    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()>;

    /// Relaxes `structures` where their energies are computed, if this potential can do that: then as [`crate::relax::relax_all`],
    /// which asks here first, to the same minima. `None` leaves it to that. The settings are valid.
    ///
    /// # Errors
    /// Those of [`crate::relax::relax_all`].
    fn relax_all(
        &self,
        _structures: &[Structure],
        _settings: &RelaxSettings,
        _interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Relaxed>>> {
        Ok(None)
    }
}
