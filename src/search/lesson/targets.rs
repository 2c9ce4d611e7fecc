//! What the score is trained towards, by `[objective]`.

use crate::config::{ObjectiveSection, Settings};
use crate::engine::Targets;
use crate::error::{Error, Result};
use crate::objective::{Mixture, force_scores, mean_square};
use crate::run::{History, Known};
use crate::system::Vec3;

/// The targets of the structures at `places` in the known ones of `history`, with these Boltzmann `weights`, at the temperature of
/// its last round.
///
/// # Errors
/// `Failed` for a structure whose forces the objective needs and the archive does not have.
pub fn targets(settings: &Settings, history: &History, places: &[usize], weights: &[f64]) -> Result<Targets> {
    match &settings.sections.objective {
        None | Some(ObjectiveSection::Boltzmann {}) => Ok(Targets::Noise),
        Some(ObjectiveSection::TargetScore(own)) => {
            let kt_ev = history.last().map_or(f64::INFINITY, |round| round.kt_ev);
            let setup = settings.setup();
            let scores = |&place: &usize| {
                let known = &history.known()[place];
                let forces = known.forces.as_deref().ok_or_else(|| no_forces(known))?;
                Ok(force_scores(&settings.system, &setup.sde, forces, kt_ev, own.max_score_per_angstrom))
            };
            let scores = places.iter().map(scores).collect::<Result<Vec<Vec<Vec3>>>>()?;
            let mixture = Mixture { mean_square: mean_square(&scores, weights), force_share: own.force_share };
            Ok(Targets::Mixed { scores, mixture })
        }
    }
}

fn no_forces(known: &Known) -> Error {
    let (iteration, index) = known.key;
    Error::Failed(format!(
        "the archive has no forces for sample {} of iteration {}, but this [objective] learns from forces",
        index + 1,
        iteration + 1
    ))
}
