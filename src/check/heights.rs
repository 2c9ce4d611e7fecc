//! Warnings about the heights of free atoms and the vacuum above a slab.

use super::longest_bond;
use crate::system::elements::covalent_radius;
use crate::system::vector::{add, norm, scale, sub};
use crate::system::{Confinement, Images, System, Vec3};

/// An atom nearer to the next image of the template than this may feel it, Å.
const LITTLE_VACUUM: f64 = 6.0;
/// An empty height between layers from which on they are no neighbours, Å.
const GAP: f64 = 5.0;
/// Layers nearer than this are neighbours, Å.
const NEIGHBOURS: f64 = 4.0;
/// Largest part of the confinement without room that is not worth a warning, Å. Below a step or between atoms there is little.
const MOST_BLOCKED: f64 = 2.5;
/// A height has no room if this share of its places is nearer to an atom of the template than a bond.
const FULL: f64 = 0.9;
/// Distance of heights that are tried for room, Å, and places along a and b.
const STEP: f64 = 0.25;
const PLACES: usize = 10;
/// A bond may be longer than the sum of the covalent radii by this factor.
const LONGEST: f64 = 1.25;

/// The heights that the template takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    /// Height of the lowest atom, Å.
    pub bottom: f64,
    /// Height of the highest atom, Å.
    pub top: f64,
    /// Height of the cell along c; 0 without c, Å.
    period: f64,
    repeats: bool,
    /// The largest empty height between two layers: where it begins and ends, Å.
    gap: [f64; 2],
}

impl Extent {
    /// Of the template of a system whose a and b lie in the xy plane; `None` for others.
    pub fn of(system: &System) -> Option<Self> {
        let [a, b, c] = system.cell.vectors;
        let flat = |v: Vec3| v[2].abs() <= 1e-6 * norm(v) && v != [0.0; 3];
        if system.n_template() == 0 || !flat(a) || !flat(b) {
            return None;
        }
        let mut heights: Vec<f64> = system.template_positions.iter().map(|r| r[2]).collect();
        heights.sort_by(f64::total_cmp);
        let (bottom, top) = (heights[0], heights[heights.len() - 1]);
        let gaps = heights.windows(2).map(|pair| [pair[0], pair[1]]);
        let gap = gaps.max_by(|x, y| (x[1] - x[0]).total_cmp(&(y[1] - y[0]))).unwrap_or([top; 2]);
        Some(Extent { bottom, top, period: c[2].abs(), repeats: system.cell.periodic[2], gap })
    }

    /// Empty height between the template and its next image, Å; `None` without c.
    pub fn vacuum(&self) -> Option<f64> {
        (self.period > 0.0).then_some(self.period - (self.top - self.bottom))
    }

    /// Whether the end of the cell along c cuts the template into two pieces.
    fn is_cut(&self) -> bool {
        self.gap[1] - self.gap[0] > GAP && self.vacuum().is_some_and(|vacuum| vacuum < NEIGHBOURS)
    }
}

/// What looks wrong along z.
pub fn warnings(system: &System) -> Vec<String> {
    let Some(extent) = Extent::of(system) else { return Vec::new() };
    let Some(confinement) = system.confinement else { return no_confinement(system, &extent).into_iter().collect() };
    if extent.is_cut() {
        let in_gap = extent.repeats && extent.gap[0] <= confinement.z_lo && confinement.z_hi <= extent.gap[1];
        return if in_gap { Vec::new() } else { vec![cut(system, &extent)] };
    }
    let warnings = [
        next_image(&extent, confinement),
        out_of_reach(system, &extent, confinement),
        inside(system, &extent, confinement),
    ];
    warnings.into_iter().flatten().collect()
}

fn no_confinement(system: &System, extent: &Extent) -> Option<String> {
    let slab = system.cell.periodic[0] && system.cell.periodic[1] && extent.vacuum()? > GAP;
    slab.then(|| {
        "free atoms start anywhere in the cell, also below the template and inside it, because there is no confinement; a slab \
         needs one, such as confinement = { above_template_angstrom = [1.0, 6.0] }"
            .into()
    })
}

fn cut(system: &System, extent: &Extent) -> String {
    let [below, above] = extent.gap;
    let n_above = system.template_positions.iter().filter(|r| r[2] >= above).count();
    let middle = 0.5 * (below + above);
    let sign = if system.cell.vectors[2][2] > 0.0 { '-' } else { '+' };
    format!(
        "the end of the cell cuts the template: {n_above} of its {} atoms lie above {above:.2} Å and the others below \
         {below:.2} Å; put the layers together again (with ASE: atoms.positions[atoms.positions[:, 2] > {middle:.1}] {sign}= \
         atoms.cell[2])",
        system.n_template()
    )
}

fn next_image(extent: &Extent, confinement: Confinement) -> Option<String> {
    if !extent.repeats {
        return None;
    }
    let image = extent.bottom + extent.period;
    let room = image - confinement.z_hi;
    let remedy = "enlarge the cell along c, lower the confinement, or let the cell not repeat along c (pbc=\"T T F\")";
    if room <= 0.0 {
        return Some(format!(
            "the confinement reaches the next image of the template: it ends at {:.2} Å, and the image begins at {image:.2} Å; \
             {remedy}",
            confinement.z_hi
        ));
    }
    (room < LITTLE_VACUUM && confinement.z_lo > extent.bottom).then(|| {
        format!(
            "there is little vacuum: an atom at the upper end of the confinement is {room:.2} Å below the next image of the \
             template; {remedy}"
        )
    })
}

fn out_of_reach(system: &System, extent: &Extent, confinement: Confinement) -> Option<String> {
    let Confinement { z_lo, z_hi } = confinement;
    let above = z_lo - extent.top;
    if above > LONGEST * longest_bond(system) {
        return Some(format!(
            "the confinement begins {above:.2} Å above the template's highest atom (at {:.2} Å), too far for a bond; lower it",
            extent.top
        ));
    }
    let where_it_is = if z_hi <= extent.bottom { "lies" } else { "begins" };
    (z_lo < extent.bottom).then(|| {
        format!(
            "the confinement from {z_lo:.2} to {z_hi:.2} Å {where_it_is} below the template, whose lowest atom is at {:.2} Å; \
             z_angstrom counts from 0, above_template_angstrom from the highest atom",
            extent.bottom
        )
    })
}

/// Heights of the confinement at which the template leaves no room.
fn inside(system: &System, extent: &Extent, confinement: Confinement) -> Option<String> {
    let (lo, hi) = (confinement.z_lo, confinement.z_hi.min(extent.top));
    if lo < extent.bottom || hi - lo <= MOST_BLOCKED {
        return None;
    }
    let n_steps = ((hi - lo) / STEP) as usize;
    let full: Vec<f64> =
        (0..=n_steps).map(|k| lo + STEP * k as f64).filter(|&height| is_full(system, height)).collect();
    let blocked = STEP * full.len().saturating_sub(1) as f64;
    (blocked > MOST_BLOCKED).then(|| {
        format!(
            "the confinement reaches into the template: from {:.2} to {:.2} Å there is hardly room for free atoms (its highest atom is at \
             {:.2} Å); raise the lower end",
            full[0],
            full[full.len() - 1],
            extent.top
        )
    })
}

/// Whether free atoms have no room at `height`, Å.
fn is_full(system: &System, height: f64) -> bool {
    let smallest = system.free_numbers.iter().map(|&number| covalent_radius(number)).fold(f64::INFINITY, f64::min);
    let reach = |number: u8| smallest + covalent_radius(number);
    let atoms = system.template_numbers.iter().zip(&system.template_positions);
    let near: Vec<(f64, Vec3)> = atoms
        .map(|(&number, &place)| (reach(number), place))
        .filter(|(reach, place)| (place[2] - height).abs() < *reach)
        .collect();
    let images = Images::new(&system.cell);
    let [a, b, _] = system.cell.vectors;
    let share = |k: usize| k as f64 / PLACES as f64;
    let has_room = |&(i, j): &(usize, usize)| {
        let [x, y, _] = add(scale(share(i), a), scale(share(j), b));
        near.iter().all(|&(reach, place)| images.nearest(sub(place, [x, y, height])).squared >= reach * reach)
    };
    let places = (0..PLACES).flat_map(|i| (0..PLACES).map(move |j| (i, j)));
    let n_with_room = places.filter(has_room).count();
    (n_with_room as f64) < (1.0 - FULL) * (PLACES * PLACES) as f64
}
