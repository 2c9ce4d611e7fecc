//! Relaxation on the forces that the model predicts: samples come nearer to a minimum before one of them costs an evaluation.

use super::{Engine, FreePositions, Progress};
use crate::diffusion::{Corrector, CorrectorSettings};
use crate::error::{Error, Result};
use crate::system::vector::norm;
use crate::system::{System, Vec3};

/// A structure is relaxed once no predicted force on a free atom is longer than this, eV/Å: learned forces are not more accurate.
const LARGEST_FORCE: f64 = 0.05;

/// A structure that is being relaxed on the predicted forces.
#[derive(Debug)]
pub struct Moving {
    /// Its place among the structures.
    pub place: usize,
    /// Positions of its free atoms, n × 3, Å.
    pub positions: FreePositions,
    corrector: Corrector,
    at_rest: bool,
}

impl Moving {
    /// All of `structures`, before their first step.
    pub fn all(structures: &[FreePositions]) -> Vec<Self> {
        let moving = |(place, positions): (usize, &FreePositions)| Moving {
            place,
            positions: positions.clone(),
            corrector: Corrector::default(),
            at_rest: false,
        };
        structures.iter().enumerate().map(moving).collect()
    }

    /// Takes one step of L-BFGS at full strength along `forces` (n × 3, eV/Å) on the free atoms, unless they are all small.
    pub fn advance(&mut self, system: &System, settings: &CorrectorSettings, forces: &[Vec3]) {
        self.at_rest = forces.iter().all(|&force| norm(force) <= LARGEST_FORCE);
        if !self.at_rest {
            self.corrector.correct(system, settings, 1.0, &mut self.positions, forces);
        }
    }
}

/// [`Engine::relax`] with `advance`, which moves each structure that is not yet relaxed by one step.
///
/// # Errors
/// Those of `advance` and `progress`.
pub fn relax_with(
    structures: &mut [FreePositions],
    n_steps: usize,
    progress: Progress,
    advance: &mut dyn FnMut(&mut [Moving]) -> Result<()>,
) -> Result<()> {
    let mut moving = Moving::all(structures);
    for step in 0..n_steps {
        advance(&mut moving)?;
        moving.retain_mut(|it| {
            if it.at_rest {
                structures[it.place] = std::mem::take(&mut it.positions);
            }
            !it.at_rest
        });
        progress(step + 1)?;
        if moving.is_empty() {
            break;
        }
    }
    moving.into_iter().for_each(|it| structures[it.place] = it.positions);
    Ok(())
}

/// Moves `moving`, structures of `system`, by one step along the forces that `engine` predicts through its verb.
///
/// # Errors
/// `BadInput` for a model without force head, and the engine's own errors.
pub fn advance_by_verb(
    engine: &mut dyn Engine,
    system: &System,
    settings: &CorrectorSettings,
    moving: &mut [Moving],
) -> Result<()> {
    let at: Vec<FreePositions> = moving.iter().map(|it| it.positions.clone()).collect();
    let forces = engine.forces(&at)?.ok_or_else(no_force_head)?;
    moving
        .iter_mut()
        .zip(&forces)
        .for_each(|(it, forces)| it.advance(system, settings, &forces[system.n_template()..]));
    Ok(())
}

/// The refusal of a model without force head.
pub fn no_force_head() -> Error {
    Error::bad_input("relaxing samples needs a model with a force head")
}
