//! Fresh parameters from time to time, so that a model does not keep what its first samples taught it (arXiv:2505.19552).

use crate::config::Settings;
use crate::engine::{Engine, ModelState};
use crate::error::Result;
use crate::model::{Layout, fresh_parameters};
use crate::run::Round;

/// Gives `engine` untrained parameters if `[training]` asks for them before the training of `round`. They depend on the seed and
/// the round alone.
///
/// # Errors
/// Those of [`Engine::restore`].
pub fn renew(settings: &Settings, round: &Round, engine: &mut dyn Engine) -> Result<()> {
    let training = &settings.sections.training;
    let Some(every) = training.reinitialise_every else { return Ok(()) };
    if round.number == 0 || !(round.number as usize).is_multiple_of(every) {
        return Ok(());
    }
    let layout = Layout::new(&settings.setup().sizes);
    let parameters = fresh_parameters(&layout, settings.sections.search.seed, u64::from(round.number));
    engine.restore(&ModelState::untouched(parameters, training.learning_rate))
}
