//! The distinct structures that runs have found, from the lowest energy on.
//!
//! Structures are taken in order of their energy. A structure joins the first earlier one from which it differs by less than the
//! tolerances, in energy and in [geometry](Comparison); otherwise it is a new one. So each [`Minimum`] is the lowest of its kind.
//! Structures more than the tolerance above the last requested minimum are never read: the effort grows with the number of
//! structures, not with its square.
//!
//! A sample of a search is not relaxed: it is near a minimum, and its energy is higher because of its displacements. Hence the
//! generous [`Tolerances::SAMPLES`] for samples, and [`relaxed`], after which [`Tolerances::RELAXED`] distinguish minima.

mod comparison;
mod frames;
mod source;
mod symmetry;
#[cfg(test)]
mod tests;

pub use comparison::{Comparison, Shape};
pub use source::Source;
pub use symmetry::{GroupKind, Operation, Symmetry, operations, symmetry};

use crate::archive::Reader;
use crate::disk::write_atomic;
use crate::error::{Error, Result};
use crate::potential::Potential;
use crate::potential::relax::{Ending, RelaxSettings, relax_while};
use crate::system::Structure;
use crate::system::xyz::{Frame, format_frames};
use source::Counted;
use std::path::Path;

/// Number of distinct structures that are kept by default.
pub const LOWEST: usize = 50;

/// The file of a run folder that holds its distinct structures.
const MINIMA: &str = "minima.xyz";

/// How different two structures of one kind may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerances {
    /// Largest difference of their energies, eV.
    pub energy_ev: f64,
    /// Largest distance of a free atom from its counterpart, Å.
    pub distance_angstrom: f64,
}

impl Tolerances {
    /// For samples without relaxation. Displacements of 0.1 Å cost about 0.05 eV per atom.
    pub const SAMPLES: Tolerances = Tolerances { energy_ev: 0.3, distance_angstrom: 0.4 };

    /// For relaxed structures: with forces of 0.05 eV/Å, soft modes are still about 0.1 Å and a few meV away from their minimum.
    pub const RELAXED: Tolerances = Tolerances { energy_ev: 0.02, distance_angstrom: 0.2 };

    /// Checks that both are numbers from 0 on.
    ///
    /// # Errors
    /// `BadInput` naming the one that is not.
    pub fn check(&self) -> Result<()> {
        for (what, value, unit) in [("energy", self.energy_ev, "eV"), ("distance", self.distance_angstrom, "Å")] {
            if !(value.is_finite() && value >= 0.0) {
                let message = format!("the tolerance of the {what} is {value}; give a number of {unit}, 0 or more");
                return Err(Error::bad_input(message));
            }
        }
        Ok(())
    }

    /// Atoms within this distance, Å, count as symmetric.
    fn symmetry_angstrom(&self) -> f64 {
        0.5 * self.distance_angstrom
    }
}

/// Where and when a structure was found. They are ordered by the number of evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Occurrence {
    /// Evaluations of its run up to and with this one.
    pub evaluation: u64,
    /// The run, as its place among the sources.
    pub run: usize,
    /// Iteration of the run, from 0.
    pub iteration: u32,
    /// Index within the iteration, from 0.
    pub index: u32,
}

/// A distinct structure.
#[derive(Debug, Clone, PartialEq)]
pub struct Minimum {
    /// The structure of lowest energy, with its energy and, if they are known, forces.
    pub structure: Structure,
    /// Its energy, eV.
    pub energy_ev: f64,
    /// How often it was found.
    pub count: usize,
    /// The runs that found it, as their places among the sources, ascending.
    pub runs: Vec<usize>,
    /// The first time that it was found, by evaluations.
    pub first: Occurrence,
    /// The last time that it was found, by evaluations.
    pub last: Occurrence,
    /// Whether no force on a free atom exceeds the limit of its relaxation.
    pub relaxed: bool,
    /// Symmetry of all atoms, template and free, within half the tolerance of the geometry. `None` for clusters and wires.
    pub symmetry: Option<Symmetry>,
}

impl Minimum {
    /// Adds the counts of `other`, which is of the same kind and not lower.
    fn join(&mut self, other: Minimum) {
        self.count += other.count;
        self.runs.extend(other.runs);
        self.runs.sort_unstable();
        self.runs.dedup();
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// The `lowest` distinct structures of the archives of `sources`, by energy. Only structures with status `ok` count. Empty if
/// there are none yet.
///
/// # Errors
/// `BadInput` for archives that cannot be opened or are of different systems, and tolerances that are not numbers; `Storage` if
/// reading fails.
pub fn distinct(sources: &[Source], tolerances: Tolerances, lowest: usize) -> Result<Vec<Minimum>> {
    tolerances.check()?;
    let readers = sources.iter().map(|source| Reader::open(&source.archive)).collect::<Result<Vec<_>>>()?;
    let mut candidates = Vec::new();
    for (run, (source, reader)) in sources.iter().zip(&readers).enumerate() {
        candidates.extend(source.candidates(run, reader)?);
    }
    check_systems(&readers, &candidates)?;
    candidates.sort_by(|a, b| a.energy_ev.total_cmp(&b.energy_ev).then(a.at.cmp(&b.at)));

    let mut kinds: Option<Kinds> = None;
    for candidate in candidates {
        if kinds.as_ref().is_some_and(|kinds| kinds.none_is_like(candidate.energy_ev, lowest)) {
            break;
        }
        let structure = candidate.structure(&readers)?;
        let kinds = kinds.get_or_insert_with(|| Kinds::new(&structure, tolerances));
        let Counted { at, energy_ev, relaxed, .. } = candidate;
        let minimum = Minimum {
            structure,
            energy_ev,
            count: 1,
            runs: vec![at.run],
            first: at,
            last: at,
            relaxed,
            symmetry: None,
        };
        kinds.sort_in(minimum, lowest);
    }
    Ok(kinds.map_or_else(Vec::new, Kinds::finish))
}

/// Writes `minima.xyz` into the run folder `folder`: the structures that [`distinct`] finds in its archive, unrelaxed. Nothing is
/// written if there are none.
///
/// # Errors
/// Those of [`distinct`], and `Storage` if the file cannot be written.
pub fn write(folder: &Path) -> Result<()> {
    let source = Source::of(folder);
    let minima = distinct(std::slice::from_ref(&source), source.tolerances(), LOWEST)?;
    if minima.is_empty() {
        return Ok(());
    }
    let frames: Vec<Frame> = minima.iter().map(|minimum| minimum.frame(1)).collect();
    write_atomic(&folder.join(MINIMA), format_frames(&frames).as_bytes())
}

/// The results of [`relaxed`].
#[derive(Debug, Default)]
pub struct Relaxation {
    /// The distinct relaxed structures, by energy. Each has the counts and occurrences of all structures that led to it.
    pub minima: Vec<Minimum>,
    /// Evaluations of the potential, rejected steps included.
    pub n_evaluations: usize,
    /// Number of structures whose relaxation ended before the forces were small; they are among `minima`.
    pub n_unconverged: usize,
    /// Number of structures that the potential could not evaluate; they are left out.
    pub n_failed: usize,
    /// What stopped it before its end: an interruption, or a potential that can evaluate nothing any more. The structures are
    /// then as far as they had come, and count as unconverged.
    pub stopped: Option<Error>,
}

/// Relaxes `minima`, such as those of [`distinct`], and merges those that become the same.
///
/// # Errors
/// Those of [`relax_while`], and `BadInput` for tolerances that are not numbers.
pub fn relaxed(
    minima: Vec<Minimum>,
    potential: &dyn Potential,
    settings: &RelaxSettings,
    tolerances: Tolerances,
    interrupted: &dyn Fn() -> bool,
) -> Result<Relaxation> {
    tolerances.check()?;
    let starts: Vec<Structure> = minima.iter().map(|minimum| minimum.structure.clone()).collect();
    let (ends, stopped) = relax_while(&starts, potential, settings, interrupted)?;
    let mut relaxation = Relaxation { stopped, ..Relaxation::default() };
    let mut found = Vec::new();
    for (minimum, end) in minima.into_iter().zip(ends) {
        relaxation.n_evaluations += end.n_evaluations;
        match end.ending {
            Ending::Failed(_) | Ending::NotFinite => relaxation.n_failed += 1,
            // Stopped before its first evaluation: as it was found.
            Ending::Stopped if end.structure.energy.is_none() => {
                relaxation.n_unconverged += 1;
                found.push(Minimum { relaxed: false, ..minimum });
            }
            _ => {
                let relaxed = end.converged();
                relaxation.n_unconverged += usize::from(!relaxed);
                found.push(Minimum { structure: end.structure, energy_ev: end.energy, relaxed, ..minimum });
            }
        }
    }
    relaxation.minima = merged(found, tolerances);
    Ok(relaxation)
}

/// Whether `a` and `b`, structures of one system, are the same arrangement of its free atoms: geometries alone are compared, as in
/// [`distinct`], and atoms of equal structures are at most `distance_angstrom` apart.
///
/// # Errors
/// `BadInput` for structures of different systems, and a distance that is no number.
pub fn same(a: &Structure, b: &Structure, distance_angstrom: f64) -> Result<bool> {
    Tolerances { distance_angstrom, ..Tolerances::RELAXED }.check()?;
    a.check()?;
    b.check()?;
    let template =
        |s: &Structure| -> Vec<_> { (0..s.n_atoms()).filter(|&k| s.fixed[k]).map(|k| s.positions[k]).collect() };
    let difference = match () {
        () if a.numbers != b.numbers || a.fixed != b.fixed => "other atoms",
        () if a.cell != b.cell => "another cell",
        () if template(a) != template(b) => "another template",
        () => {
            let comparison = Comparison::new(a);
            return Ok(comparison.same(&comparison.shape(a), &comparison.shape(b), distance_angstrom));
        }
    };
    let message =
        format!("the second structure has {difference} than the first; only structures of one system can be compared");
    Err(Error::bad_input(message))
}

/// The distinct ones among `minima` of one system, by energy. Each has the counts and occurrences of all that are equal to it.
pub fn merged(mut minima: Vec<Minimum>, tolerances: Tolerances) -> Vec<Minimum> {
    minima.sort_by(|a, b| a.energy_ev.total_cmp(&b.energy_ev).then(a.first.cmp(&b.first)));
    let Some(first) = minima.first() else { return Vec::new() };
    let mut kinds = Kinds::new(&first.structure, tolerances);
    for minimum in minima {
        kinds.sort_in(minimum, usize::MAX);
    }
    kinds.finish()
}

/// The distinct structures so far, by energy.
struct Kinds {
    comparison: Comparison,
    tolerances: Tolerances,
    found: Vec<(Minimum, Shape)>,
}

impl Kinds {
    fn new(example: &Structure, tolerances: Tolerances) -> Self {
        Kinds { comparison: Comparison::new(example), tolerances, found: Vec::new() }
    }

    /// Whether no structure of this or a higher energy can still be one of the `lowest` kinds.
    fn none_is_like(&self, energy_ev: f64, lowest: usize) -> bool {
        let above = |(last, _): &(Minimum, Shape)| energy_ev - last.energy_ev > self.tolerances.energy_ev;
        self.found.len() >= lowest && self.found.last().is_none_or(above)
    }

    /// Lets `minimum`, which is not lower than any before, join its kind. If it has none, it starts one, as long as there are
    /// fewer than `lowest`.
    fn sort_in(&mut self, minimum: Minimum, lowest: usize) {
        let shape = self.comparison.shape(&minimum.structure);
        let Kinds { comparison, tolerances, found } = self;
        let near = found.partition_point(|(earlier, _)| minimum.energy_ev - earlier.energy_ev > tolerances.energy_ev);
        let same = |(_, other): &(Minimum, Shape)| comparison.same(other, &shape, tolerances.distance_angstrom);
        match found[near..].iter().position(same) {
            Some(k) => found[near + k].0.join(minimum),
            None if found.len() < lowest => found.push((minimum, shape)),
            None => {}
        }
    }

    fn finish(self) -> Vec<Minimum> {
        let tolerance = self.tolerances.symmetry_angstrom();
        let label = |(minimum, _): (Minimum, Shape)| {
            let symmetry = symmetry(&minimum.structure, tolerance);
            Minimum { symmetry, ..minimum }
        };
        self.found.into_iter().map(label).collect()
    }
}

/// Refuses archives whose structures differ in more than the positions of their free atoms.
fn check_systems(readers: &[Reader], candidates: &[Counted]) -> Result<()> {
    let mut first: Option<Structure> = None;
    for (run, reader) in readers.iter().enumerate() {
        let Some(candidate) = candidates.iter().find(|candidate| candidate.at.run == run) else { continue };
        let structure = candidate.structure(readers)?;
        let Some(first) = &first else {
            first = Some(structure);
            continue;
        };
        let fixed =
            |s: &Structure| -> Vec<_> { (0..s.n_atoms()).filter(|&k| s.fixed[k]).map(|k| s.positions[k]).collect() };
        let difference = if structure.numbers != first.numbers || structure.fixed != first.fixed {
            "other atoms"
        } else if structure.cell != first.cell {
            "another cell"
        } else if fixed(&structure) != fixed(first) {
            "another template"
        } else {
            continue;
        };
        let message = format!(
            "holds structures with {difference} than {}; compare runs of one system",
            readers[0].path().display()
        );
        return Err(Error::bad_file(reader.path(), message));
    }
    Ok(())
}
