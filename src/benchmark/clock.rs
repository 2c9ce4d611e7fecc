//! The clock: seconds beside evaluations, and how long one energy must take for a method to be the quickest.
//!
//! A run takes S + c·E seconds, where S are its seconds outside the potential (measured), E its evaluations and c the time of one
//! energy. Per hit, both are summed over all runs until success or the end, and divided by the successes. So method A is quicker than
//! method B where S_A + c·E_A < S_B + c·E_B. Where A needs fewer evaluations, this is above the break-even cost
//! c = (S_A − S_B)/(E_B − E_A); where it needs more, below the same c. A method is the quickest of a table between the largest of the
//! former and the smallest of the latter.

use super::{Results, Row};
use serde::Serialize;

/// The times of one energy, s, at which a method is the quickest of its table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quickest {
    /// The break-even cost: above this. 0 if it is the quickest however cheap an energy is.
    pub above_seconds: f64,
    /// Below this; null without such a limit.
    pub below_seconds: Option<f64>,
}

/// The times at which each of `rows` is the quickest; `None` where it never is, for one without hits or measured times, and
/// without another one to compare with.
pub fn quickest(rows: &[&Row]) -> Vec<Option<Quickest>> {
    let cost = |row: &Row| Some((row.outside_seconds_per_hit?, row.evaluations_per_hit?));
    let costs: Vec<Option<(f64, f64)>> = rows.iter().map(|row| cost(row)).collect();
    let range = |k: usize| {
        let (seconds, evaluations) = costs[k]?;
        let others = || (0..costs.len()).filter(|&other| other != k).filter_map(|other| costs[other]);
        others().next()?;
        let (mut above, mut below) = (0.0_f64, f64::INFINITY);
        for (other_seconds, other_evaluations) in others() {
            let break_even = (seconds - other_seconds) / (other_evaluations - evaluations);
            if evaluations < other_evaluations {
                above = above.max(break_even);
            } else if evaluations > other_evaluations {
                below = below.min(break_even);
            } else if seconds > other_seconds {
                return None;
            }
        }
        let below_seconds = below.is_finite().then_some(below);
        (above < below).then_some(Quickest { above_seconds: above, below_seconds })
    };
    (0..rows.len()).map(range).collect()
}

/// Heads of the columns of times.
pub const CLOCK_HEADS: [&str; 5] =
    ["method", "seconds per hit", "outside the potential", "evaluations per hit", "quickest if an energy takes"];
/// The same for a screen.
pub(super) const SCREEN_CLOCK_HEADS: [[&str; 2]; 5] = [
    ["", "method"],
    ["seconds", "per hit"],
    ["outside the", "potential"],
    ["evaluations", "per hit"],
    ["quickest if an", "energy takes"],
];

/// The times of a table: a title, and one row for each method, in the order of the heads. `None` if no run has measured any.
pub fn clock(results: &[Results]) -> Option<(String, Vec<[String; 5]>)> {
    if results.iter().all(|results| results.row.outside_seconds_per_hit.is_none()) {
        return None;
    }
    let is_known = |results: &&Results| results.row.outside_seconds_per_hit.is_some();
    let several = results.iter().filter(is_known).count() > 1;
    let number = |value: Option<f64>| value.map_or("-".to_owned(), seconds);
    let row = |results: &Results| {
        let Row { name, seconds_per_hit, outside_seconds_per_hit, evaluations_per_hit, .. } = &results.row;
        let evaluations = evaluations_per_hit.map_or("-".to_owned(), |value| format!("{value:.0}"));
        let quickest = match results.quickest {
            None if !several || outside_seconds_per_hit.is_none() => "-".to_owned(),
            None => "never".to_owned(),
            Some(Quickest { above_seconds: 0.0, below_seconds: None }) => "any time".to_owned(),
            Some(Quickest { above_seconds, below_seconds: None }) => format!("above {}", time(above_seconds)),
            Some(Quickest { above_seconds: 0.0, below_seconds: Some(below) }) => {
                format!("below {}", time(below))
            }
            Some(Quickest { above_seconds, below_seconds: Some(below) }) => {
                format!("{} to {}", time(above_seconds), time(below))
            }
        };
        [name.clone(), number(*seconds_per_hit), number(*outside_seconds_per_hit), evaluations, quickest]
    };
    let title = "Seconds per hit, and the time of one energy at which a method is the quickest";
    Some((title.to_owned(), results.iter().map(row).collect()))
}

/// Seconds with three digits.
fn seconds(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// A short time for people.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} µs", 1e6 * s),
        s if s < 1.0 => format!("{:.1} ms", 1e3 * s),
        s => format!("{s:.1} s"),
    }
}
