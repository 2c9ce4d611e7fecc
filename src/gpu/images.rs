//! What kernels must know of a cell to find periodic images: `kernels/images.cuh`.

use crate::system::{Cell, Images, Vec3};
use bytemuck::{Pod, Zeroable};

/// Most atoms of a structure: a pair's two atoms share 32 bits.
pub const MOST_ATOMS: usize = u16::MAX as usize;

/// A cell and a cutoff as `kernels/images.cuh` takes them.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct CellConstants {
    vectors: [Vec3; 3],
    inverse: [Vec3; 3],
    origin: Vec3,
    cutoff: f64,
    width: [f32; 3],
    per_width: [f32; 3],
    slant: [f32; 3],
    outer: f32,
    inner: f32,
    innermost: f32,
    near: [f32; 3],
    periodic: [u32; 3],
}

/// Distance, Å, along axes without period up to which f32 coordinates serve; farther atoms take a slower path.
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
        // Largest numbers that are met on the way to an image within the cutoff, along each axis in its own unit.
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
            width: width.map(|w| w as f32),
            per_width: width.map(|w| (1.0 / w) as f32),
            slant: [ab, ac, bc].map(|s| s as f32),
            outer: (cutoff + doubt).powi(2) as f32,
            inner: (cutoff - doubt).max(0.0).powi(2) as f32,
            innermost: (4.0 * doubt).powi(2) as f32,
            near: near.map(|n| n as f32),
            periodic: cell.periodic.map(u32::from),
        }
    }
}
