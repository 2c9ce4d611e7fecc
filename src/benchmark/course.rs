//! How far a run had come after how many evaluations.

use crate::archive::{Archive, Status};
use crate::error::Result;
use crate::run::RunDirectory;
use crate::system::System;
use std::path::Path;

/// The lowest energy of a run as a function of evaluations: a falling staircase.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Evaluation (from 1) and energy (eV) of every structure lower than all before.
    steps: Vec<(u64, f64)>,
}

impl Course {
    /// Of the statuses and energies (eV) of a run's structures in their order; those never evaluated count for nothing.
    pub fn new(structures: impl IntoIterator<Item = (Status, Option<f64>)>) -> Self {
        let (mut steps, mut n_evaluations, mut lowest) = (Vec::new(), 0, f64::INFINITY);
        for (status, energy) in structures {
            if status == Status::TooClose {
                continue;
            }
            n_evaluations += 1;
            if let (Status::Ok, Some(energy)) = (status, energy)
                && energy < lowest
            {
                lowest = energy;
                steps.push((n_evaluations, energy));
            }
        }
        Course { steps }
    }

    /// From the archive of the run in `folder`.
    ///
    /// # Errors
    /// Those of the archive.
    pub fn read(folder: &Path, system: &System) -> Result<Self> {
        let path = RunDirectory::archive_of(folder);
        // A run may have been killed before its archive was made.
        if !path.exists() {
            return Ok(Course { steps: Vec::new() });
        }
        Ok(Course::new(Archive::open(&path, system)?.energies()?))
    }

    /// The lowest energy (eV) after `n_evaluations`; `None` before the first structure that counts.
    pub fn at(&self, n_evaluations: u64) -> Option<f64> {
        let n_before = self.steps.partition_point(|&(evaluation, _)| evaluation <= n_evaluations);
        n_before.checked_sub(1).map(|last| self.steps[last].1)
    }

    /// The evaluations at which it falls.
    pub fn falls(&self) -> impl Iterator<Item = u64> {
        self.steps.iter().map(|&(evaluation, _)| evaluation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_evaluations_count_and_only_ok_ones_lower_it() {
        let course = Course::new([
            (Status::TooClose, None),
            (Status::NotFinite, None),
            (Status::Ok, Some(3.0)),
            (Status::BelowFloor, Some(-9.0)),
            (Status::TooClose, None),
            (Status::Ok, Some(3.5)),
            (Status::Ok, Some(1.0)),
        ]);
        let energies: Vec<Option<f64>> = (0..7).map(|n| course.at(n)).collect();
        assert_eq!(energies, [None, None, Some(3.0), Some(3.0), Some(3.0), Some(1.0), Some(1.0)]);
        assert_eq!(course.falls().collect::<Vec<_>>(), [2, 5]);
    }
}
