//! What the user hears when a round rejects most of its samples.

use super::{Judge, Rejection};
use crate::archive::{Entry, Status};
use crate::system::{Contact, ShortestDistance};
use std::collections::BTreeMap;

/// Elements whose atoms are too close in most rejected samples of a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejections {
    /// The two atomic numbers.
    pub elements: [u8; 2],
    /// What the user should read.
    pub sentence: String,
}

impl Rejections {
    /// Those among `entries`, the samples of round `number`, as `judge` sees them; `None` unless more than half were rejected
    /// because atoms are too close.
    pub fn of(judge: &Judge, number: u32, entries: &[Entry]) -> Option<Self> {
        let rejected = || entries.iter().filter(|entry| entry.status == Status::TooClose);
        let n_rejected = rejected().count();
        if 2 * n_rejected <= entries.len() {
            return None;
        }
        let mut contacts: BTreeMap<[u8; 2], Vec<Contact>> = BTreeMap::new();
        for entry in rejected() {
            if let Some(Rejection::TooClose(contact)) = judge.rejects(&entry.free_positions) {
                contacts.entry(contact.numbers).or_default().push(contact);
            }
        }
        // Of equally frequent pairs the lightest.
        let (elements, most) = contacts.into_iter().rev().max_by_key(|(_, contacts)| contacts.len())?;
        let (iteration, n_samples, n_most) = (number + 1, entries.len(), most.len());
        let (pair, shortest) = (most[0].pair(), most[0].shortest);
        let remedy = match judge.shortest() {
            ShortestDistance::Same(distance) => {
                format!(
                    "lower search.min_distance_angstrom = {distance}, or leave it out to let it follow from the elements"
                )
            }
            ShortestDistance::OfRadii(_) => {
                "set search.min_distance_angstrom to a smaller number if shorter distances are right".into()
            }
        };
        let sentence = format!(
            "iteration {iteration}: {n_rejected} of {n_samples} samples have atoms that are too close, {n_most} of them {pair} \
             nearer than {shortest:.2} Å; give the free atoms more room, or {remedy}"
        );
        Some(Rejections { elements, sentence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use std::path::Path;

    fn entry(status: Status, free_positions: Vec<[f64; 3]>) -> Entry {
        Entry {
            iteration: 2,
            index: 0,
            kt_ev: 1.0,
            status,
            origin: None,
            predicted_ev: None,
            free_positions,
            energy: None,
            forces: None,
        }
    }

    /// Water at the distances OH, OH and HH, Å; all others are far.
    fn water(first: f64, second: f64) -> Vec<[f64; 3]> {
        vec![[0.0; 3], [first, 0.0, 0.0], [0.0, second, 0.0]]
    }

    fn judge(key: &str) -> Judge {
        let text = format!("[system]\nfree = 'OH2'\n[potential]\nkind = 'emt'\n[search]\n{key}");
        Judge::new(&Settings::parse(&text, Path::new("c.toml")).unwrap())
    }

    #[test]
    fn the_pair_that_is_to_blame_most_is_named() {
        let close = |positions| entry(Status::TooClose, positions);
        let hydrogens = vec![[0.0; 3], [0.9, 0.0, 0.0], [0.9, 0.2, 0.0]];
        let entries =
            [close(water(0.4, 1.0)), close(water(1.0, 0.3)), close(hydrogens), entry(Status::Ok, water(1.0, 1.0))];
        let found = Rejections::of(&judge(""), 2, &entries).unwrap();
        assert_eq!(found.elements, [1, 8]);
        assert_eq!(
            found.sentence,
            "iteration 3: 3 of 4 samples have atoms that are too close, 2 of them H and O nearer than 0.48 Å; give the free atoms \
             more room, or set search.min_distance_angstrom to a smaller number if shorter distances are right"
        );
        // Half of the samples is not most of them.
        assert_eq!(Rejections::of(&judge(""), 2, &entries[2..]), None);
        assert_eq!(Rejections::of(&judge(""), 2, &[]), None);
    }

    /// With the old distance for all pairs, water itself is rejected.
    #[test]
    fn a_distance_for_all_pairs_is_to_be_lowered() {
        let entries = [entry(Status::TooClose, water(0.96, 0.96))];
        let found = Rejections::of(&judge("min_distance_angstrom = 1.0"), 0, &entries).unwrap();
        assert_eq!(
            found.sentence,
            "iteration 1: 1 of 1 samples have atoms that are too close, 1 of them H and O nearer than 1.00 Å; give the free atoms \
             more room, or lower search.min_distance_angstrom = 1, or leave it out to let it follow from the elements"
        );
    }
}
