//! The heights that free atoms may take above a slab.

use crate::system::elements::covalent_radius;
use crate::system::vector::{add, norm, scale, sub};
use crate::system::{Images, Structure, Vec3};

/// The template is a slab if more than this height of its cell is empty along c, Å.
const LEAST_VACUUM: f64 = 5.0;
/// Where the heights begin if the top is flat, Å above the highest atom; lower where atoms can sit lower.
const BEGIN: f64 = 1.0;
/// How far below its resting place an atom may be, Å.
const BELOW_REST: f64 = 1.0;
/// Where the heights begin if the atoms of the top may move: a free atom may take the place of one, Å.
const BEGIN_MOBILE: f64 = -0.5;
/// Height of a further layer of free atoms, in bonds.
const LAYER: f64 = 0.8;
/// Room above the uppermost layer, Å.
const ROOM: f64 = 1.2;
/// Places along a and b where an atom is lowered.
const PLACES: usize = 24;
/// Heights are rounded to this, Å.
const GRAIN: f64 = 0.5;

/// Heights above the template's highest atom, Å.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heights {
    /// The lowest.
    pub from: f64,
    /// The highest.
    pub to: f64,
    /// Layers of free atoms for which there is room.
    pub n_layers: usize,
    /// Height at which a free atom touches the template where the template is lowest.
    pub rest: f64,
    /// Whether atoms of the template may move.
    pub moves: bool,
}

impl Heights {
    /// For free atoms `free` (atomic numbers) on `template`; `moves`: whether atoms of the template may. `None` if it is no slab.
    pub fn of(template: &Structure, free: &[u8], moves: bool) -> Option<Self> {
        let [a, b, c] = template.cell.vectors;
        let flat = |v: Vec3| v[2].abs() <= 1e-6 * norm(v) && v != [0.0; 3];
        let [along_a, along_b, _] = template.cell.periodic;
        let z = || template.positions.iter().map(|r| r[2]);
        let (bottom, top) = (z().fold(f64::INFINITY, f64::min), z().fold(f64::NEG_INFINITY, f64::max));
        let vacuum = if c == [0.0; 3] { f64::INFINITY } else { c[2].abs() - (top - bottom) };
        if !(along_a && along_b && flat(a) && flat(b) && vacuum > LEAST_VACUUM) {
            return None;
        }
        let radius = |numbers: &[u8]| numbers.iter().map(|&number| covalent_radius(number)).fold(0.0, f64::max);
        let bond = radius(free) + radius(free).max(radius(&template.numbers));
        let smallest = free.iter().map(|&number| covalent_radius(number)).fold(f64::INFINITY, f64::min);
        let rest = resting_height(template, smallest) - top;
        let round = |height: f64, up: fn(f64) -> f64| GRAIN * up(height / GRAIN);
        let begin = if moves { BEGIN_MOBILE } else { BEGIN };
        let n_layers = (free.len() as f64).cbrt().ceil() as usize;
        let from = begin.min(round(rest - BELOW_REST, f64::floor));
        let to = round(bond * (1.0 + LAYER * n_layers.saturating_sub(1) as f64) + ROOM, f64::ceil);
        (from < to).then_some(Heights { from, to, n_layers, rest, moves })
    }
}

/// The lowest height at which an atom of covalent radius `radius` that comes from above touches the template, Å.
fn resting_height(template: &Structure, radius: f64) -> f64 {
    let images = Images::new(&template.cell);
    let [a, b, _] = template.cell.vectors;
    let share = |k: usize| k as f64 / PLACES as f64;
    let touches = |[x, y, _]: Vec3| {
        let atoms = template.numbers.iter().zip(&template.positions);
        let heights = atoms.filter_map(|(&number, place)| {
            let bond = radius + covalent_radius(number);
            let aside = images.nearest(sub([place[0], place[1], 0.0], [x, y, 0.0])).squared;
            (aside < bond * bond).then(|| place[2] + (bond * bond - aside).sqrt())
        });
        heights.fold(f64::NEG_INFINITY, f64::max)
    };
    let places = (0..PLACES).flat_map(|i| (0..PLACES).map(move |j| add(scale(share(i), a), scale(share(j), b))));
    // Where there is a hole through the slab, nothing is touched.
    places.map(touches).filter(|height| height.is_finite()).fold(f64::INFINITY, f64::min)
}
