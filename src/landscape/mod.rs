//! The energy landscape of one free atom over its template: a grid over the cell, with the height of lowest energy at each point.
//! Mobile atoms of the template make room for it there.

mod column;
mod file;
mod relaxation;
mod svg;
#[cfg(test)]
mod tests;

pub use svg::svg;

use crate::error::{Error, Result};
use crate::potential::relax::RelaxSettings;
use crate::potential::{Answer, Evaluation, Potential};
use crate::system::vector::{add, norm, scale};
use crate::system::{Confinement, ShortestDistance, Structure, System, Vec3};
use column::{Column, Sample};
use relaxation::{Rest, relax_points};
use serde::{Deserialize, Serialize};

/// Largest distance of neighbouring grid points, Å, unless a grid is given.
const SPACING: f64 = 0.25;
/// Largest distance of the heights that are tried first, Å. It is smaller than the width of any well along z.
const HEIGHT_SPACING: f64 = 0.5;
/// Number of rounds after which a height is not improved further.
const MAX_ROUNDS: usize = 60;
/// Most points of a grid.
const MOST_POINTS: usize = 1_000_000;
/// Number of structures that the potential gets at once.
const AT_ONCE: usize = 1024;
/// Likewise for a slow potential, for each one that it works on at once.
const SLOW_BATCHES: usize = 4;

/// How a landscape is scanned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScanSettings {
    /// Number of points along a and b; without it they are 0.25 Å apart or a little less.
    pub grid: Option<[usize; 2]>,
    /// Whether the height is relaxed, and with it the mobile atoms. Otherwise it is the best of those tried, at most 0.5 Å apart,
    /// with the mobile atoms at their places in the template.
    pub relax: bool,
    /// A height counts as relaxed if the force along z is not larger, and likewise those on mobile atoms, eV/Å.
    pub fmax_ev_per_angstrom: f64,
    /// Places nearer to another atom are not evaluated.
    pub shortest: ShortestDistance,
    /// Energies below this, eV, count as failures of the potential.
    pub energy_floor_ev: Option<f64>,
}

impl Default for ScanSettings {
    fn default() -> Self {
        ScanSettings {
            grid: None,
            relax: true,
            fmax_ev_per_angstrom: RelaxSettings::default().fmax_ev_per_angstrom,
            shortest: ShortestDistance::default(),
            energy_floor_ev: None,
        }
    }
}

/// Lowest energies of one atom over the points of a grid. Point (i, j) is at (i/n_a)·a + (j/n_b)·b and is entry i·n_b + j.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Landscape {
    /// n_a and n_b, the points along a and b.
    pub grid: [usize; 2],
    /// The lattice vector a, Å, in the xy plane.
    pub a: Vec3,
    /// The lattice vector b, Å.
    pub b: Vec3,
    /// Energy of the whole structure, eV; not a number (null in JSON) where the atom does not fit or the potential has no energy.
    #[serde(with = "numbers_or_null")]
    pub energies_ev: Vec<f64>,
    /// Height z of the atom there, Å; not a number likewise.
    #[serde(with = "numbers_or_null")]
    pub heights_angstrom: Vec<f64>,
    /// Places of the m mobile atoms there, Å: a list for each point, empty where the atom does not fit. Empty without mobile atoms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mobile_angstrom: Vec<Vec<Vec3>>,
    /// Points at which forces on mobile atoms or on the atom along z were still larger than asked when the relaxation ended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n_unconverged: usize,
    /// Evaluations of the potential that the scan needed.
    pub n_evaluations: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Landscape {
    /// Position of the atom at point `index`, Å.
    pub fn position(&self, index: usize) -> Vec3 {
        let site = site(self.grid, [self.a, self.b], index);
        [site[0], site[1], self.heights_angstrom[index]]
    }

    /// The point of lowest energy, the first if there are several; none without any energy.
    pub fn lowest(&self) -> Option<usize> {
        let known = (0..self.energies_ev.len()).filter(|&k| self.energies_ev[k].is_finite());
        known.min_by(|&i, &j| self.energies_ev[i].total_cmp(&self.energies_ev[j]))
    }

    /// The whole structure with the atom at point `index`, and its energy; `None` without energy.
    pub fn structure(&self, system: &System, index: usize) -> Option<Structure> {
        let energy = self.energies_ev[index].is_finite().then(|| self.energies_ev[index])?;
        let mobile = self.mobile_angstrom.get(index).unwrap_or(&system.mobile.homes);
        let moving: Vec<Vec3> = mobile.iter().copied().chain([self.position(index)]).collect();
        Some(Structure { energy: Some(energy), ..system.structure(&moving) })
    }
}

/// Scans the landscape of the one free atom of `system`. The atom is held at each point in the plane; its height and the mobile
/// atoms are relaxed together. `interrupted` is checked before every batch and with its answers.
///
/// # Errors
/// `BadInput` for a system without fixed atoms or confinement or with more than one free atom, for an impossible grid, and if the
/// potential refuses the system; `Evaluator` if it has no energy at any point or cannot evaluate any more; `Interrupted`.
pub fn scan(
    system: &System,
    potential: &dyn Potential,
    settings: &ScanSettings,
    interrupted: &dyn Fn() -> bool,
) -> Result<Landscape> {
    match scan_while(system, potential, settings, interrupted)? {
        (landscape, None) => Ok(landscape),
        (_, Some(cause)) => Err(cause),
    }
}

/// [`scan`] that keeps what it has when it is interrupted or its potential can evaluate nothing any more: then the points whose
/// heights are final have their energies, all others none, and the cause comes along.
///
/// # Errors
/// Those of [`scan`] where no point is finished.
pub fn scan_while(
    system: &System,
    potential: &dyn Potential,
    settings: &ScanSettings,
    interrupted: &dyn Fn() -> bool,
) -> Result<(Landscape, Option<Error>)> {
    let confinement = check(system)?;
    let [a, b, _] = system.cell.vectors;
    let grid = settings.grid.unwrap_or([a, b].map(|vector| (norm(vector) / SPACING).ceil().max(1.0) as usize));
    if grid.contains(&0) || grid[0].saturating_mul(grid[1]) > MOST_POINTS {
        let [n_a, n_b] = grid;
        return Err(Error::bad_input(format!(
            "a grid of {n_a} × {n_b} points is impossible; give at least one along each vector and at most {MOST_POINTS} in all"
        )));
    }
    let mut scan = Scan { system, potential, settings, interrupted, n_evaluations: 0 };
    let column = |index| Column::new(site(grid, [a, b], index), confinement);
    let mut columns: Vec<Column> = (0..grid[0] * grid[1]).map(column).collect();
    let stopped = scan.all(&mut columns, &heights(confinement)).err();
    let known = |column: &Column| column.best.filter(|_| column.is_final);
    let mobile = |column: &Column| match known(column) {
        Some(_) => column.mobile.clone().unwrap_or_else(|| system.mobile.homes.clone()),
        None => Vec::new(),
    };
    let with_mobile = system.n_mobile() > 0;
    let landscape = Landscape {
        grid,
        a,
        b,
        energies_ev: columns.iter().map(|column| known(column).map_or(f64::NAN, |best| best.energy)).collect(),
        heights_angstrom: columns.iter().map(|column| known(column).map_or(f64::NAN, |best| best.z)).collect(),
        mobile_angstrom: if with_mobile { columns.iter().map(mobile).collect() } else { Vec::new() },
        n_unconverged: columns.iter().filter(|column| known(column).is_some() && column.is_unconverged).count(),
        n_evaluations: scan.n_evaluations,
    };
    match (landscape.lowest(), stopped) {
        (None, Some(cause)) | (_, Some(cause @ Error::BadInput(_))) => Err(cause),
        (Some(_), stopped) => Ok((landscape, stopped)),
        (None, None) => Err(Error::Evaluator(format!(
            "the potential {} has no energy that counts for the free atom at any point; check the confinement and the energy \
             floor",
            potential.name()
        ))),
    }
}

/// The heights allowed in a system whose landscape can be drawn.
fn check(system: &System) -> Result<Confinement> {
    let refuse = |message: String| Err(Error::bad_input(message));
    if system.n_template() + system.n_mobile() == 0 {
        return refuse("a landscape needs a template; give one in [system]".into());
    }
    if system.n_template() == 0 {
        return refuse(
            "a landscape needs fixed atoms, but all of the template are mobile; fix some in system.mobile".into(),
        );
    }
    if system.formula_numbers().len() != 1 {
        let n = system.formula_numbers().len();
        return refuse(format!("a landscape needs exactly one free atom, but there are {n}; name one in system.free"));
    }
    // A system with confinement has a and b in the xy plane.
    let needed = "a landscape needs limits for the height of the free atom; give system.confinement, with the \
                  lattice vectors a and b in the xy plane";
    system.confinement.ok_or_else(|| Error::bad_input(needed))
}

/// Place of grid point `index` in the plane, Å.
fn site(grid: [usize; 2], [a, b]: [Vec3; 2], index: usize) -> Vec3 {
    let along = |k: usize, n: usize, vector: Vec3| scale(k as f64 / n as f64, vector);
    add(along(index / grid[1], grid[0], a), along(index % grid[1], grid[1], b))
}

/// Heights that are tried first, Å, both ends among them.
fn heights(Confinement { z_lo, z_hi }: Confinement) -> Vec<f64> {
    let n = ((z_hi - z_lo) / HEIGHT_SPACING).ceil().max(1.0) as usize;
    (0..=n).map(|k| if k == n { z_hi } else { z_lo + (z_hi - z_lo) * k as f64 / n as f64 }).collect()
}

struct Scan<'a> {
    system: &'a System,
    potential: &'a dyn Potential,
    settings: &'a ScanSettings,
    interrupted: &'a dyn Fn() -> bool,
    n_evaluations: usize,
}

impl Scan<'_> {
    /// Brings every column to its end, a batch after the other: memory does not grow with the grid, and an interruption loses a
    /// batch at most. For slow potentials batches are small.
    fn all(&mut self, columns: &mut [Column], heights: &[f64]) -> Result<()> {
        let at_once = self.potential.n_at_once().map_or(AT_ONCE, |n| (SLOW_BATCHES * n).clamp(1, AT_ONCE));
        for columns in columns.chunks_mut(at_once) {
            self.try_heights(columns, heights)?;
            match (self.settings.relax, self.system.n_mobile()) {
                (false, _) => {}
                (true, 0) => self.relax(columns)?,
                (true, _) => self.relax_with_mobile(columns)?,
            }
            columns.iter_mut().for_each(|column| column.is_final = true);
        }
        Ok(())
    }

    /// Puts every column at the best of `heights`; the neighbouring heights are its bracket.
    fn try_heights(&mut self, columns: &mut [Column], heights: &[f64]) -> Result<()> {
        for &z in heights {
            let trials: Vec<(usize, f64)> = (0..columns.len()).map(|k| (k, z)).collect();
            self.evaluate(columns, &trials)?;
        }
        Ok(())
    }

    fn relax(&mut self, columns: &mut [Column]) -> Result<()> {
        for round in 0..MAX_ROUNDS {
            let next = |k: usize| Some((k, columns[k].next(round, self.settings.fmax_ev_per_angstrom)?));
            let trials: Vec<(usize, f64)> = (0..columns.len()).filter_map(next).collect();
            columns.iter_mut().for_each(|column| column.is_final = true);
            trials.iter().for_each(|&(k, _)| columns[k].is_final = false);
            if trials.is_empty() {
                break;
            }
            self.evaluate(columns, &trials)?;
        }
        Ok(())
    }

    /// Relaxes the heights and the mobile atoms of `columns` together, from the best of the tried heights.
    fn relax_with_mobile(&mut self, columns: &mut [Column]) -> Result<()> {
        let mut open: Vec<&mut Column> = columns.iter_mut().filter(|column| column.best.is_some()).collect();
        let start = |column: &&mut Column| {
            let [x, y, _] = column.site;
            let z = column.best.map_or(f64::NAN, |best| best.z);
            self.system.mobile.homes.iter().copied().chain([[x, y, z]]).collect()
        };
        let starts: Vec<Vec<Vec3>> = open.iter().map(start).collect();
        let Scan { system, potential, settings, interrupted, .. } = self;
        let (rests, n_evaluations, stopped) =
            relax_points(system, *potential, settings, check(system)?, &starts, interrupted)?;
        self.n_evaluations += n_evaluations;
        for (column, rest) in open.iter_mut().zip(rests) {
            let Some(Rest { mut moving, energy, is_converged }) = rest else {
                column.is_unconverged = true;
                continue;
            };
            let z = moving.pop().map_or(f64::NAN, |atom| atom[2]);
            column.best = Some(Sample { z, energy, force: 0.0 });
            (column.mobile, column.is_unconverged, column.is_final) = (Some(moving), !is_converged, true);
        }
        stopped.map_or(Ok(()), Err)
    }

    /// Evaluates columns at heights.
    fn evaluate(&mut self, columns: &mut [Column], trials: &[(usize, f64)]) -> Result<()> {
        if (self.interrupted)() {
            return Err(Error::Interrupted);
        }
        let place = |&(k, z): &(usize, f64)| [columns[k].site[0], columns[k].site[1], z];
        let homes = &self.system.mobile.homes;
        let moving = |trial: &(usize, f64)| homes.iter().copied().chain([place(trial)]).collect();
        let places: Vec<Vec<Vec3>> = trials.iter().map(moving).collect();
        let has_room = |&k: &usize| self.system.has_room(&places[k], self.settings.shortest);
        let open: Vec<usize> = (0..trials.len()).filter(has_room).collect();
        let structures: Vec<Structure> = open.iter().map(|&k| self.system.structure(&places[k])).collect();
        let mut found: Vec<Option<Sample>> = vec![None; trials.len()];
        self.potential.evaluate(&structures, &mut |answers| {
            for (number, answer) in answers {
                found[open[number]] = self.sample(trials[open[number]].1, answer);
            }
            if (self.interrupted)() { Err(Error::Interrupted) } else { Ok(()) }
        })?;
        self.n_evaluations += structures.len();
        for (&(k, z), sample) in trials.iter().zip(found) {
            columns[k].take(z, sample);
        }
        Ok(())
    }

    /// The sample of the atom at height `z` from `answer`, if it counts.
    fn sample(&self, z: f64, answer: Answer) -> Option<Sample> {
        let Answer::Done(Evaluation { energy, forces }) = answer else { return None };
        let force = forces.last().map(|force| force[2])?;
        (force.is_finite() && counts(energy, &[], self.settings)).then_some(Sample { z, energy, force })
    }
}

/// Whether an answer counts.
fn counts(energy: f64, forces: &[Vec3], settings: &ScanSettings) -> bool {
    let above_floor = settings.energy_floor_ev.is_none_or(|floor| energy >= floor);
    energy.is_finite() && forces.iter().flatten().all(|x| x.is_finite()) && above_floor
}

/// Numbers in JSON, with null for values that are not numbers.
mod numbers_or_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(numbers: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        numbers.iter().map(|x| x.is_finite().then_some(*x)).collect::<Vec<_>>().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let numbers = Vec::<Option<f64>>::deserialize(deserializer)?;
        Ok(numbers.into_iter().map(|x| x.unwrap_or(f64::NAN)).collect())
    }
}
