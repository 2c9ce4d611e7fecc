//! The data of a cell that kernels need to find periodic images: `kernels/images.cuh`.

pub use super::arguments::images::CellConstants;

use crate::system::{Cell, Images, Vec3};

/// Most atoms of a structure: a pair's two atoms share 32 bits.
pub const MOST_ATOMS: usize = u16::MAX as usize;

/// Distance, Å, along axes without period up to which f32 coordinates are accurate enough; farther atoms take a slower path.
const NEAR: f64 = 64.0;

/// Bound of f32's rounding errors relative to the largest intermediate result: 16 times the unit roundoff, as each result
/// comes from fewer than 16 operations.
const ROUNDING: f64 = 1.0 / (1u32 << 20) as f64;

impl CellConstants {
    /// Images within `cutoff` (Å) in `cell` of atoms around `origin` (Å).
    ///
    /// # Panics
    /// For a cell that [`Cell::completed`] refuses; no validated structure or system has one.
    pub fn new(cell: &Cell, origin: Vec3, cutoff: f64) -> Self {
        let images = Images::new(cell);
        let (width, heights) = (images.width, cell.heights());
        let [ab, ac, bc] = [images.slant_ab, images.slant_ac, images.slant_bc];
        let near: Vec3 = std::array::from_fn(|k| NEAR.max(1.01 * cutoff) / heights[k]);
        // Largest intermediate numbers in the computation of an image within the cutoff, along each axis in its own unit.
        let folded = |k: usize| cutoff / width[k] + if cell.periodic[k] { 1.0 } else { 2.0 * near[k] };
        let a = folded(0);
        let b = folded(1) + ab.abs() * a;
        let c = folded(2) + ac.abs() * a + bc.abs() * b;
        let doubt = ROUNDING * (a * width[0] + b * width[1] + c * width[2]);
        CellConstants {
            vectors: cell.vectors,
            inverse: images.inverse,
            origin,
            cutoff,
            width_a: width[0] as f32,
            width_b: width[1] as f32,
            width_c: width[2] as f32,
            per_width_a: (1.0 / width[0]) as f32,
            per_width_b: (1.0 / width[1]) as f32,
            per_width_c: (1.0 / width[2]) as f32,
            slant_ab: ab as f32,
            slant_ac: ac as f32,
            slant_bc: bc as f32,
            outer: (cutoff + doubt).powi(2) as f32,
            inner: (cutoff - doubt).max(0.0).powi(2) as f32,
            innermost: (4.0 * doubt).powi(2) as f32,
            near_a: near[0] as f32,
            near_b: near[1] as f32,
            near_c: near[2] as f32,
            periodic_a: u32::from(cell.periodic[0]),
            periodic_b: u32::from(cell.periodic[1]),
            periodic_c: u32::from(cell.periodic[2]),
        }
    }
}
