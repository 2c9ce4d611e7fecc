//! The lowest structures of a run that differ from each other.

use super::data::Sample;
use crate::system::{BondGraph, System};

/// Structures whose free atoms are bonded alike count as one within this energy of each other, eV: samples lie near minima, not in
/// them.
const SAME_WITHIN_EV: f64 = 0.1;
/// Structures that are compared at the most, from the lowest on.
const MOST_COMPARED: usize = 2000;

/// A structure that stands for all that are like it.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowest<'a> {
    /// The lowest of them.
    pub sample: &'a Sample,
    /// Its energy, eV.
    pub energy_ev: f64,
    /// How many there are among those compared.
    pub count: usize,
    /// The first of them to be found.
    pub first: &'a Sample,
}

/// At most `most` different structures of lowest energy among `samples`.
pub fn lowest<'a>(system: &System, samples: &'a [Sample], most: usize) -> Vec<Lowest<'a>> {
    let mut ordered: Vec<(f64, &Sample)> =
        samples.iter().filter_map(|sample| Some((sample.ok_energy()?, sample))).collect();
    ordered.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut found: Vec<(Lowest, BondGraph)> = Vec::new();
    for &(energy_ev, sample) in ordered.iter().take(MOST_COMPARED) {
        let bonds = BondGraph::new(&system.cell, &system.free_numbers, &sample.free);
        let close = |lowest: &Lowest| energy_ev - lowest.energy_ev < SAME_WITHIN_EV;
        if found.len() == most && !found.last().is_some_and(|(lowest, _)| close(lowest)) {
            break;
        }
        let mut new = Vec::new();
        let like = found.iter_mut().find(|(lowest, graph)| close(lowest) && graph.is_isomorphic_to(&bonds));
        match like {
            Some((lowest, _)) => {
                lowest.count += 1;
                if (sample.iteration, sample.index) < (lowest.first.iteration, lowest.first.index) {
                    lowest.first = sample;
                }
            }
            None => new.push((Lowest { sample, energy_ev, count: 1, first: sample }, bonds)),
        }
        if found.len() < most {
            found.append(&mut new);
        }
    }
    found.into_iter().map(|(lowest, _)| lowest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Status;
    use crate::system::Cell;

    #[test]
    fn like_structures_are_counted_once() {
        let system = System {
            cell: Cell::NONE,
            template_numbers: vec![],
            template_positions: vec![],
            free_numbers: vec![78; 2],
            confinement: None,
        };
        let sample = |iteration, distance: f64, energy, status| Sample {
            iteration,
            index: 0,
            kt_ev: 1.0,
            status,
            evaluation: u64::from(iteration) + 1,
            energy: Some(energy),
            free: vec![[0.0; 3], [distance, 0.0, 0.0]],
        };
        let samples = [
            sample(0, 2.6, 1.05, Status::Ok),
            sample(1, 9.0, 1.02, Status::Ok),
            sample(2, 2.5, 1.0, Status::Ok),
            sample(3, 2.5, 1.3, Status::Ok),
            sample(4, 2.5, 0.1, Status::BelowFloor),
            sample(5, 2.5, f64::NAN, Status::Ok),
        ];
        let found = lowest(&system, &samples, 5);
        let shown: Vec<_> =
            found.iter().map(|l| (l.energy_ev, l.count, l.sample.iteration, l.first.iteration)).collect();
        assert_eq!(shown, [(1.0, 2, 2, 0), (1.02, 1, 1, 1), (1.3, 1, 3, 3)]);
        assert_eq!(lowest(&system, &samples, 1).len(), 1);
        assert!(lowest(&system, &[], 3).is_empty());
    }
}
