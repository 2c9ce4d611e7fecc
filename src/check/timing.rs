//! The time of one energy.

use crate::config::Settings;
use crate::error::{Result, stop_if};
use crate::potential::{Answer, Potential};
use crate::proposal::Placement;
use serde::Serialize;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// A potential that answers sooner is asked a second time, s: the first answer may have waited for its start.
const SOON: f64 = 20.0;

/// The answer for one structure of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// Name of the potential.
    pub potential: String,
    /// Time of the answer, s.
    pub seconds: f64,
    /// Whether the time includes the start of the potential.
    pub includes_start: bool,
    /// The energy, eV; none if the potential has none.
    pub energy_ev: Option<f64>,
}

/// A time in s, in readable units up to seconds.
pub fn readable(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1e-3 => format!("{:.0} µs", 1e6 * seconds),
        seconds if seconds < 1.0 => format!("{:.1} ms", 1e3 * seconds),
        seconds => format!("{seconds:.1} s"),
    }
}

/// Asks `potential` for the energy of the first own structure, or of atoms placed at random. The second part of the result is
/// a warning. `tell` hears what the potential has to say meanwhile, such as where it waits for clients.
///
/// # Errors
/// Those of the potential, `Interrupted`.
pub fn time_one_energy(
    settings: &Settings,
    potential: &dyn Potential,
    interrupted: &AtomicBool,
    tell: &dyn Fn(&str),
) -> Result<(Option<Timing>, Option<String>)> {
    let placed = settings.seeds.first().cloned().map_or_else(|| Placement::new(settings).structure(0), Ok);
    let structure = match placed {
        Ok(free) => settings.system.structure(&free),
        Err(cause) => return Ok((None, Some(cause.to_string()))),
    };
    let ask = || -> Result<(f64, Option<Answer>)> {
        let (mut answer, started) = (None, Instant::now());
        potential.evaluate(std::slice::from_ref(&structure), &mut |answers| {
            answer = answers.into_iter().map(|(_, answer)| answer).next().or(answer.take());
            potential.notes().iter().for_each(|note| tell(note));
            stop_if(interrupted)
        })?;
        Ok((started.elapsed().as_secs_f64(), answer))
    };
    let (mut seconds, mut answer) = ask()?;
    let includes_start = seconds > SOON;
    if !includes_start {
        (seconds, answer) = ask()?;
    }
    let of_what = "for the structure that it was asked for";
    let (energy_ev, warning) = match answer {
        Some(Answer::Done(evaluation)) if evaluation.energy.is_finite() => (Some(evaluation.energy), None),
        Some(Answer::Failed(reason)) => (None, Some(format!("the potential failed {of_what}: {reason}"))),
        _ => (None, Some(format!("the potential has no finite energy {of_what}; check its elements and settings"))),
    };
    Ok((Some(Timing { potential: potential.name(), seconds, includes_start, energy_ev }), warning))
}
