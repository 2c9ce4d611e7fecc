//! How far a run had come after a number of evaluations.

use super::Method;
use crate::archive::{Reader, Status};
use crate::error::Result;
use crate::run::RunDirectory;
use std::path::Path;

/// The lowest energy of a run as a function of evaluations: a falling staircase.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Evaluation (from 1) and energy (eV) of every structure lower than all before.
    steps: Vec<(u64, f64)>,
}

impl Course {
    /// Builds the course from the evaluations of a run: number (from 1, ascending) and energy (eV), `None` if it does not count.
    pub fn new(evaluations: impl IntoIterator<Item = (u64, Option<f64>)>) -> Self {
        let (mut steps, mut lowest) = (Vec::new(), f64::INFINITY);
        for (evaluation, energy) in evaluations {
            if let Some(energy) = energy.filter(|&energy| energy < lowest) {
                lowest = energy;
                steps.push((evaluation, energy));
            }
        }
        Course { steps }
    }

    /// Builds the course from the archive of the run of `method` in `folder`.
    ///
    /// # Errors
    /// Those of the archive.
    pub fn read(folder: &Path, method: Method) -> Result<Self> {
        let path = RunDirectory::archive_of(folder);
        // A run may have been killed before its archive was made.
        if !path.exists() {
            return Ok(Course { steps: Vec::new() });
        }
        let rows = Reader::open(&path)?.evaluations(method.evaluations_an_iteration())?;
        Ok(Course::new(rows.into_iter().map(|(e, row)| (e, row.energy.filter(|_| row.status == Status::Ok)))))
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
    fn only_lower_energies_are_steps() {
        let course = Course::new([(1, None), (2, Some(3.0)), (3, None), (4, Some(3.5)), (9, Some(1.0))]);
        let energies: Vec<Option<f64>> = (0..11).map(|n| course.at(n)).collect();
        let (three, one) = (Some(3.0), Some(1.0));
        assert_eq!(energies, [None, None, three, three, three, three, three, three, three, one, one]);
        assert_eq!(course.falls().collect::<Vec<_>>(), [2, 9]);
    }
}
