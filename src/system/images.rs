//! The one place that finds the periodic images of a pair that can be close.
//!
//! Images of a difference d are d + s·cell with whole shifts s along the periodic axes. Orthogonalising the lattice vectors
//! from c to a (Gram and Schmidt) makes the squared length a sum of three terms. The first depends on s_a alone, and the second on
//! s_a and s_b. So each level bounds the next (the enumeration of Fincke and Pohst, Math. Comp. 44, 463, 1985). The bounds hold for
//! any cell (skewed, left-handed or thinner than the cutoff), and for atoms inside or outside the cell.

use super::cell::inverse;
use super::vector::{add, combine, dot, scale, sub};
use super::{Cell, Vec3};
use std::ops::RangeInclusive;

/// The search sphere is wider than the requested one by this factor (relative, squared), so that rounding loses no image. Each
/// image is then judged by its own length.
const MARGIN: f64 = 1e-6;

/// A periodic image of a difference vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Image {
    /// Whole lattice vectors added along a, b, c.
    pub shift: [i32; 3],
    /// difference + shift·cell, Å.
    pub vector: Vec3,
    /// Squared length of `vector`, Å².
    pub squared: f64,
}

/// The periodic images of difference vectors in one cell.
#[derive(Debug, Clone)]
pub struct Images {
    cell: Cell,
    /// Inverse of the completed cell: fraction = difference · inverse.
    pub(crate) inverse: [Vec3; 3],
    /// Lengths of a, b, c after orthogonalisation, Å: a across b and c, b across c, c itself.
    pub(crate) width: Vec3,
    /// Component of a along the orthogonalised b, in units of it.
    pub(crate) slant_ab: f64,
    /// Component of a along c, in units of c.
    pub(crate) slant_ac: f64,
    /// Component of b along c, in units of c.
    pub(crate) slant_bc: f64,
}

/// All whole shifts s with |fraction + s| ≤ reach. `fraction` is a coordinate along an axis in units of its width, and `reach` is
/// the cutoff in the same units. Any fraction is valid, so atoms need not lie in the cell.
pub fn image_range(fraction: f64, reach: f64) -> RangeInclusive<i32> {
    (-fraction - reach).ceil() as i32..=(reach - fraction).floor() as i32
}

impl Images {
    /// Prepares `cell`.
    ///
    /// # Panics
    /// For a cell that [`Cell::completed`] refuses; no validated structure or system has one.
    pub fn new(cell: &Cell) -> Self {
        let completed = cell.completed().expect("a validated cell spans a volume");
        let [a, b, c] = completed.vectors;
        let cc = dot(c, c);
        let slant_bc = dot(b, c) / cc;
        let slant_ac = dot(a, c) / cc;
        let b_across = sub(b, scale(slant_bc, c));
        let bb = dot(b_across, b_across);
        let slant_ab = dot(a, b_across) / bb;
        let a_across = sub(sub(a, scale(slant_ac, c)), scale(slant_ab, b_across));
        Images {
            cell: *cell,
            inverse: inverse(&completed.vectors),
            width: [dot(a_across, a_across).sqrt(), bb.sqrt(), cc.sqrt()],
            slant_ab,
            slant_ac,
            slant_bc,
        }
    }

    /// Calls `visit` for every image of `difference` (Å) shorter than `cutoff` (Å), in ascending order of the shift. Shifting the
    /// negative difference by the negative shift gives exactly the negative vector, so both directions of a pair always agree.
    #[inline]
    pub fn for_each_within(&self, difference: Vec3, cutoff: f64, mut visit: impl FnMut(Image)) {
        let [fa, fb, fc] = combine(difference, &self.inverse);
        let [wa, wb, wc] = self.width;
        let limit = cutoff * cutoff;
        let sphere = limit * (1.0 + MARGIN);
        for sa in self.axis_range(0, fa, cutoff_in(sphere, wa)) {
            let along_a = fa + f64::from(sa);
            let left_a = sphere - (along_a * wa).powi(2);
            if left_a < 0.0 {
                continue;
            }
            let offset_b = fb + along_a * self.slant_ab;
            for sb in self.axis_range(1, offset_b, cutoff_in(left_a, wb)) {
                let left_b = left_a - ((offset_b + f64::from(sb)) * wb).powi(2);
                if left_b < 0.0 {
                    continue;
                }
                let offset_c = fc + along_a * self.slant_ac + (fb + f64::from(sb)) * self.slant_bc;
                for sc in self.axis_range(2, offset_c, cutoff_in(left_b, wc)) {
                    let image = self.image(difference, [sa, sb, sc]);
                    if image.squared < limit {
                        visit(image);
                    }
                }
            }
        }
    }

    /// The shortest image of `difference` (Å).
    pub fn nearest(&self, difference: Vec3) -> Image {
        // Rounding level by level gives a short vector; the shortest lies in the sphere of its length.
        let [fa, fb, fc] = combine(difference, &self.inverse);
        let round = |axis: usize, offset: f64| if self.cell.periodic[axis] { -offset.round() } else { 0.0 };
        let sa = round(0, fa);
        let sb = round(1, fb + (fa + sa) * self.slant_ab);
        let sc = round(2, fc + (fa + sa) * self.slant_ac + (fb + sb) * self.slant_bc);
        let mut best = self.image(difference, [sa as i32, sb as i32, sc as i32]);
        self.for_each_within(difference, best.squared.sqrt(), |image| {
            if image.squared < best.squared {
                best = image;
            }
        });
        best
    }

    /// Length of the shortest lattice vector among the periodic axes, Å: the distance of an atom to its own nearest image.
    /// Infinite if nothing is periodic.
    pub fn shortest_lattice_vector(&self) -> f64 {
        let periodic: Vec<Vec3> = (0..3).filter(|&k| self.cell.periodic[k]).map(|k| self.cell.vectors[k]).collect();
        reduced(periodic).first().map_or(f64::INFINITY, |&shortest| dot(shortest, shortest).sqrt())
    }

    fn axis_range(&self, axis: usize, fraction: f64, reach: f64) -> RangeInclusive<i32> {
        if self.cell.periodic[axis] { image_range(fraction, reach) } else { 0..=0 }
    }

    fn image(&self, difference: Vec3, shift: [i32; 3]) -> Image {
        let vector = add(difference, combine(shift.map(f64::from), &self.cell.vectors));
        Image { shift, vector, squared: dot(vector, vector) }
    }
}

/// Up to three lattice vectors of the same lattice, shortest first. Each is as short as whole multiples of the shorter ones can
/// make it, so the first is the lattice's shortest (the greedy reduction of Nguyen and Stehlé, ACM Trans. Algorithms 5, 46, 2009).
/// The number of steps grows with the logarithm of a cell's flatness; a list of images would grow with the flatness itself.
fn reduced(mut vectors: Vec<Vec3>) -> Vec<Vec3> {
    let squared = |v: Vec3| dot(v, v);
    loop {
        vectors.sort_by(|a, b| squared(*a).total_cmp(&squared(*b)));
        let mut changed = false;
        for k in 1..vectors.len() {
            let shorter = nearest_to_zero(vectors[k], &vectors[..k]);
            // A gain within rounding does not count: it could be taken and given back for ever.
            if squared(shorter) < squared(vectors[k]) * (1.0 - 1e-12) {
                vectors[k] = shorter;
                changed = true;
                break;
            }
        }
        if !changed {
            return vectors;
        }
    }
}

/// The shortest of `vector` minus whole multiples of one or two vectors that are already reduced.
fn nearest_to_zero(vector: Vec3, reduced: &[Vec3]) -> Vec3 {
    let round = |v: Vec3, along: Vec3| sub(v, scale((dot(v, along) / dot(along, along)).round(), along));
    match *reduced {
        [a] => round(vector, a),
        [a, b] => {
            // The vector is reduced first along the part of b across a, then along a; the shortest is next to the result.
            let across = sub(b, scale(dot(a, b) / dot(a, a), a));
            let middle = (dot(vector, across) / dot(across, across)).round();
            let candidates = [-1.0, 0.0, 1.0].map(|step| round(sub(vector, scale(middle + step, b)), a));
            candidates.into_iter().fold(vector, |best, v| if dot(v, v) < dot(best, best) { v } else { best })
        }
        _ => vector,
    }
}

/// Square root of the rest of the sphere's squared radius, in units of an axis' width.
fn cutoff_in(left: f64, width: f64) -> f64 {
    left.sqrt() / width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_covers_atoms_outside_the_cell() {
        assert_eq!(image_range(0.25, 1.0), -1..=0);
        assert_eq!(image_range(7.25, 1.0), -8..=-7);
        assert!(image_range(0.5, 0.4).is_empty());
        assert_eq!(image_range(f64::NAN, 1.0), 0..=0);
    }

    #[test]
    fn shortest_vector_of_a_skewed_cell_is_a_combination() {
        let cell = Cell { vectors: [[4.0, 0.0, 0.0], [7.0, 1.0, 0.0], [0.0, 0.0, 9.0]], periodic: [true; 3] };
        assert!((Images::new(&cell).shortest_lattice_vector() - 2f64.sqrt()).abs() < 1e-12);
        let wire = Cell { periodic: [true, false, false], ..cell };
        assert_eq!(Images::new(&wire).shortest_lattice_vector(), 4.0);
        assert_eq!(Images::new(&Cell::NONE).shortest_lattice_vector(), f64::INFINITY);
    }

    /// The lattice that three vectors span stays the same if multiples of one another are added to them.
    #[test]
    fn the_shortest_vector_is_found_in_flat_cells() {
        for n in [0.0, 1.0, 7.0, 1e3, 1e6] {
            let [a, b, c] = [[3.0, 0.5, 0.25], [-0.5, 4.0, 1.0], [0.75, -1.0, 5.0]];
            let vectors = [add(a, scale(n, b)), b, add(c, scale(n, add(a, b)))];
            let cell = Cell { vectors, periodic: [true; 3] };
            let shortest = reduced(vectors.to_vec())[0];
            assert!((dot(shortest, shortest) - dot(a, a)).abs() < 1e-8 * (1.0 + n), "{n}: {shortest:?}");
            if n < 100.0 {
                let mut listed = f64::INFINITY;
                Images::new(&cell).for_each_within([0.0; 3], 4.5, |image| {
                    if image.shift != [0; 3] {
                        listed = listed.min(image.squared.sqrt());
                    }
                });
                assert!((Images::new(&cell).shortest_lattice_vector() - listed).abs() < 1e-12, "{n}");
            }
        }
        // A hundred million shifts lie within the length of these vectors.
        let flat = Cell { vectors: [[1.0, 0.0, 0.0], [1.0, 1.1e-4, 0.0], [1.0, 0.0, 1.1e-4]], periodic: [true; 3] };
        assert!((Images::new(&flat).shortest_lattice_vector() - 1.1e-4).abs() < 1e-12);
    }

    #[test]
    fn huge_and_undefined_differences_end() {
        let cell = Cell { vectors: [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]], periodic: [true; 3] };
        for x in [f64::NAN, f64::INFINITY, 1e300] {
            Images::new(&cell).for_each_within([x; 3], 5.0, |image| panic!("{image:?}"));
        }
    }
}
