//! Shares of the kinds of hops: fixed, or learned from what has paid so far (a bandit with one arm a kind).

use crate::archive::Origin;

/// The least share of a kind that can be drawn: what does not pay now may pay later.
const LEAST: f64 = 0.05;

/// What is left of a kind's successes and tries after each further try: the last fifty or so decide.
const KEPT: f64 = 0.98;

/// Tries that every kind has had before the first, and how many of them paid: a guess for kinds that were not tried yet.
const PRIOR_TRIES: f64 = 8.0;
const PRIOR_PAID: f64 = 2.0;

/// One kind of hop.
#[derive(Debug, Clone)]
struct Kind {
    origin: Origin,
    tried: f64,
    paid: f64,
}

/// How often each kind of hop was tried and how often it paid, the latest most. Depends on what was noted, and its order, alone.
#[derive(Debug)]
pub(super) struct Credits {
    kinds: Vec<Kind>,
}

impl Credits {
    /// For hops of these kinds.
    pub fn new(kinds: &[Origin]) -> Self {
        let kind = |&origin: &Origin| Kind { origin, tried: PRIOR_TRIES, paid: PRIOR_PAID };
        Credits { kinds: kinds.iter().map(kind).collect() }
    }

    /// Notes that a hop of kind `origin` was evaluated, and whether it paid. Samples that are no hops are passed over.
    pub fn note(&mut self, origin: Origin, paid: bool) {
        if let Some(kind) = self.kinds.iter_mut().find(|kind| kind.origin == origin) {
            kind.tried = KEPT * kind.tried + 1.0;
            kind.paid = KEPT * kind.paid + f64::from(u8::from(paid));
        }
    }

    /// The share of each kind, in proportion to how often it pays but at least [`LEAST`]; together 1.
    pub fn shares(&self) -> Vec<(Origin, f64)> {
        let rates: Vec<f64> = self.kinds.iter().map(|kind| kind.paid / kind.tried).collect();
        let (sum, spare) = (rates.iter().sum::<f64>(), 1.0 - LEAST * rates.len() as f64);
        let share = |(kind, rate): (&Kind, &f64)| (kind.origin, LEAST + spare * rate / sum);
        self.kinds.iter().zip(&rates).map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_what_pays() {
        let mut credits = Credits::new(&[Origin::Shake, Origin::Relocate, Origin::Splice]);
        let of = |credits: &Credits, origin| credits.shares().iter().find(|(kind, _)| *kind == origin).unwrap().1;
        assert!(credits.shares().iter().all(|(_, share)| (share - 1.0 / 3.0).abs() < 1e-12));
        for _ in 0..200 {
            credits.note(Origin::Relocate, true);
            credits.note(Origin::Shake, false);
            credits.note(Origin::Reverse, true);
        }
        assert!((credits.shares().iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-12);
        let [shake, relocate, splice] =
            [Origin::Shake, Origin::Relocate, Origin::Splice].map(|kind| of(&credits, kind));
        assert!(shake < splice && splice < relocate, "{shake} {splice} {relocate}");
        assert!((LEAST..LEAST + 0.01).contains(&shake), "{shake}");
        // What stops to pay gives way.
        for _ in 0..200 {
            credits.note(Origin::Relocate, false);
            credits.note(Origin::Shake, true);
        }
        assert!(of(&credits, Origin::Shake) > 0.6);
    }
}
