//! Energy evaluators behind one trait: built-in ones answer at once, external ones as their workers finish.

mod batch;
pub mod emt;
mod image_list;
pub mod lennard_jones;
mod settings;

pub use emt::Emt;
pub use lennard_jones::{LennardJones, LennardJonesSettings};
pub use settings::{PotentialSettings, open};

use crate::error::Result;
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
}
