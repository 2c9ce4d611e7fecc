//! Relaxation on the forces that the model predicts: samples come nearer to a minimum before one of them costs an evaluation.

use super::{Engine, FreePositions, Progress};
use crate::diffusion::{Corrector, CorrectorSettings};
use crate::error::{Error, Result};
use crate::system::vector::norm;
use crate::system::{System, Vec3};

/// A structure rests once no predicted force on a free atom is longer, eV/Å: learned forces are not better than that.
const LARGEST_FORCE: f64 = 0.05;

/// Moves each structure of `positions` (n × 3, Å) along the predicted forces, at most `steps` steps of L-BFGS
/// with no atom moving further than `settings.max_step_angstrom` at once ([`Corrector`] at full strength). Predictions have no
/// energy that could judge a step, so every step is taken. A structure moves as it would alone. `progress` hears of every step.
///
/// # Errors
/// `BadInput` for a model without force head, and what the engine reports.
pub fn relax_on_predicted_forces(
    engine: &mut dyn Engine,
    system: &System,
    settings: &CorrectorSettings,
    steps: usize,
    positions: &mut [FreePositions],
    progress: Progress,
) -> Result<()> {
    let mut correctors = vec![Corrector::default(); positions.len()];
    let mut moving: Vec<usize> = (0..positions.len()).collect();
    for step in 0..steps {
        let at: Vec<FreePositions> = moving.iter().map(|&s| positions[s].clone()).collect();
        let forces =
            engine.forces(&at)?.ok_or_else(|| Error::bad_input("relaxing samples needs a model with a force head"))?;
        let mut still_moving = Vec::with_capacity(moving.len());
        for (&s, forces) in moving.iter().zip(&forces) {
            let forces: &[Vec3] = &forces[system.n_template()..];
            if forces.iter().any(|&force| norm(force) > LARGEST_FORCE) {
                correctors[s].correct(system, settings, 1.0, &mut positions[s], forces);
                still_moving.push(s);
            }
        }
        moving = still_moving;
        progress(step + 1)?;
        if moving.is_empty() {
            break;
        }
    }
    Ok(())
}
