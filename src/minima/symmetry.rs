//! Symmetry of periodic structures, found by moyo (K. Shinohara, <https://github.com/spglib/moyo>): layer groups if two axes
//! repeat, space groups if three do. Clusters and wires have no symmetry here.

use crate::system::vector::{add, combine, cross, dot, norm, scale, sub};
use crate::system::{Cell, Structure, Vec3};
use moyo::{MoyoDataset, MoyoLayerDataset, base};
use std::fmt;

/// Empty space, Å, around a layer in the frame that moyo gets.
const VACUUM: f64 = 10.0;

/// A family of symmetry groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    /// One of the 80 layer groups: two axes repeat.
    Layer,
    /// One of the 230 space groups: three axes repeat.
    Space,
}

/// The symmetry group of a structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symmetry {
    /// Layer or space group.
    pub kind: GroupKind,
    /// Number of the group, from 1.
    pub number: u32,
    /// Short Hermann-Mauguin symbol without blanks, such as `p3m1`.
    pub symbol: String,
}

impl fmt::Display for Symmetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.symbol)
    }
}

/// An isometry of space: position ↦ position · matrix + shift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Operation {
    matrix: [Vec3; 3],
    shift: Vec3,
}

impl Operation {
    /// The image of `position` (Å), which may be in another cell.
    pub fn apply(&self, position: Vec3) -> Vec3 {
        add(combine(position, &self.matrix), self.shift)
    }
}

/// The symmetry of all atoms of `structure` within `tolerance` (Å). `None` if fewer than two axes repeat, or if no group is
/// found.
pub fn symmetry(structure: &Structure, tolerance: f64) -> Option<Symmetry> {
    let setting = Setting::of(&structure.cell, &structure.positions)?;
    let crystal = setting.crystal(&structure.numbers, &structure.positions);
    let (number, symbol) = match setting.kind {
        GroupKind::Layer => {
            let found = MoyoLayerDataset::with_default(&crystal, tolerance).ok()?;
            (found.number, found.hm_symbol)
        }
        GroupKind::Space => {
            let found = MoyoDataset::with_default(&crystal, tolerance).ok()?;
            (found.number, found.hm_symbol)
        }
    };
    Some(Symmetry { kind: setting.kind, number: number.unsigned_abs(), symbol: symbol.replace(' ', "") })
}

/// All operations, modulo lattice vectors, that map the atoms of elements `numbers` at `positions` (Å) in `cell` onto themselves
/// within `tolerance` (Å), including translations within the cell. `None` if fewer than two axes repeat, without atoms, and if the
/// search for them fails.
pub fn operations(cell: &Cell, numbers: &[u8], positions: &[Vec3], tolerance: f64) -> Option<Vec<Operation>> {
    if positions.is_empty() {
        return None;
    }
    let setting = Setting::of(cell, positions)?;
    let crystal = setting.crystal(numbers, positions);
    let found = match setting.kind {
        GroupKind::Layer => MoyoLayerDataset::with_default(&crystal, tolerance).ok()?.operations,
        GroupKind::Space => MoyoDataset::with_default(&crystal, tolerance).ok()?.operations,
    };
    Some(found.iter().map(|operation| setting.cartesian(operation)).collect())
}

/// A structure in the form for moyo: fractional coordinates from `origin` along the rows of `frame`.
struct Setting {
    kind: GroupKind,
    frame: Cell,
    origin: Vec3,
}

impl Setting {
    fn of(cell: &Cell, positions: &[Vec3]) -> Option<Setting> {
        let periodic: Vec<Vec3> = (0..3).filter(|&k| cell.periodic[k]).map(|k| cell.vectors[k]).collect();
        match periodic[..] {
            [_, _, _] => Some(Setting { kind: GroupKind::Space, frame: *cell, origin: [0.0; 3] }),
            // Only the lattice of the layer matters. So a vector across it, higher than the atoms, replaces the third lattice
            // vector.
            [a, b] => {
                let across = cross(a, b);
                let normal = scale(1.0 / norm(across), across);
                let heights = || positions.iter().map(|&position| dot(position, normal));
                let (lo, hi) = (heights().fold(f64::INFINITY, f64::min), heights().fold(f64::NEG_INFINITY, f64::max));
                let frame = Cell { vectors: [a, b, scale(hi - lo + VACUUM, normal)], periodic: [true, true, false] };
                Some(Setting { kind: GroupKind::Layer, frame, origin: scale(lo, normal) })
            }
            _ => None,
        }
    }

    fn crystal(&self, numbers: &[u8], positions: &[Vec3]) -> base::Cell {
        let [a, b, c] = self.frame.vectors;
        let basis = match self.kind {
            GroupKind::Space => [a, b, c],
            // moyo needs the layer in the xy plane. Fractional coordinates do not change by that.
            GroupKind::Layer => {
                let (length, along) = (norm(a), dot(a, b) / norm(a));
                [[length, 0.0, 0.0], [along, norm(cross(a, b)) / length, 0.0], [0.0, 0.0, norm(c)]]
            }
        };
        let fraction = |&position: &Vec3| self.frame.fractional(sub(self.frame.wrap(position, [true; 3]), self.origin));
        let fractions = positions.iter().map(|position| fraction(position).into()).collect();
        let numbers = numbers.iter().map(|&number| i32::from(number)).collect();
        base::Cell::new(base::Lattice::from_basis(basis), fractions, numbers)
    }

    /// `operation` acts on columns of fractional coordinates: f ↦ R f + t.
    fn cartesian(&self, operation: &base::Operation) -> Operation {
        let (rotation, translation) = (operation.rotation_as_array(), operation.translation_as_array());
        let image = |axis: usize| {
            let mut unit = [0.0; 3];
            unit[axis] = 1.0;
            let f = self.frame.fractional(unit);
            self.frame.cartesian(rotation.map(|row| (0..3).map(|k| f64::from(row[k]) * f[k]).sum()))
        };
        let matrix = [image(0), image(1), image(2)];
        let shift = add(sub(self.origin, combine(self.origin, &matrix)), self.frame.cartesian(translation));
        Operation { matrix, shift }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{Images, read_structure};
    use std::path::Path;

    fn shipped(name: &str) -> Structure {
        read_structure(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/structures").join(name)).unwrap()
    }

    fn of_template(structure: &Structure) -> Vec<Operation> {
        operations(&structure.cell, &structure.numbers, &structure.positions, 0.01).unwrap()
    }

    /// Two layers of Pt(111): p-3m1, 12 operations for each of the 36 translations.
    #[test]
    fn operations_map_a_slab_onto_itself() {
        let slab = shipped("pt111-6x6x2.xyz");
        let found = symmetry(&slab, 0.01).unwrap();
        assert_eq!((found.kind, found.number, found.symbol.as_str()), (GroupKind::Layer, 72, "p-3m1"));
        // The same system, turned about an axis in space, with its layers across x, from another origin, and with atoms outside
        // the cell.
        let turn = |r: Vec3| [r[2] + 7.0, r[0] - 3.0, r[1] + 40.0];
        let rotate = |v: Vec3| [v[2], v[0], v[1]];
        let mut turned = slab.clone();
        turned.cell.vectors = slab.cell.vectors.map(rotate);
        turned.positions = slab.positions.iter().map(|&r| turn(r)).collect();
        for slab in [&slab, &turned] {
            let operations = of_template(slab);
            assert_eq!(operations.len(), 12 * 36);
            let images = Images::new(&slab.cell);
            for operation in &operations {
                for &position in &slab.positions {
                    let image = operation.apply(position);
                    let nearest = slab.positions.iter().map(|&r| images.nearest(sub(image, r)).squared);
                    assert!(nearest.fold(f64::INFINITY, f64::min) < 1e-4, "{operation:?}");
                }
            }
        }
    }

    #[test]
    fn bulk_has_a_space_group() {
        let vectors = [[3.92, 0.0, 0.0], [0.0, 3.92, 0.0], [0.0, 0.0, 3.92]];
        let sites = [[0.0; 3], [0.0, 1.96, 1.96], [1.96, 0.0, 1.96], [1.96, 1.96, 0.0]];
        let fcc = Structure::new(Cell { vectors, periodic: [true; 3] }, vec![78; 4], sites.to_vec());
        let found = symmetry(&fcc, 1e-3).unwrap();
        assert_eq!((found.kind, found.number, found.symbol.as_str()), (GroupKind::Space, 225, "Fm-3m"));
        assert_eq!(of_template(&fcc).len(), 192);
        let mut alloy = fcc.clone();
        alloy.numbers[0] = 79;
        assert_eq!(symmetry(&alloy, 1e-3).unwrap().symbol, "Pm-3m");
        assert_eq!(format!("{:>8}", symmetry(&alloy, 1e-3).unwrap()), "   Pm-3m");
    }

    #[test]
    fn clusters_and_wires_have_none() {
        let cluster = Structure::new(Cell::NONE, vec![78; 2], vec![[0.0; 3], [2.5, 0.0, 0.0]]);
        assert_eq!(symmetry(&cluster, 0.1), None);
        let cell = Cell { vectors: [[5.2, 0.0, 0.0], [0.0; 3], [0.0; 3]], periodic: [true, false, false] };
        assert_eq!(symmetry(&Structure { cell, ..cluster.clone() }, 0.1), None);
        assert_eq!(operations(&cell, &cluster.numbers, &cluster.positions, 0.1), None);
        assert_eq!(operations(&Cell { periodic: [true; 3], ..cell }, &[], &[], 0.1), None);
    }

    /// Symmetries of a slab in `n` states of disorder, at several tolerances, as layer and as crystal.
    fn disorder_is_answered(n: u32) {
        let slab = shipped("pt-stepped.xyz");
        let noise = crate::random::Noise::new(1, crate::random::Purpose::Prior, 0);
        for k in 0..n {
            let mut structure = slab.clone();
            for (atom, position) in structure.positions.iter_mut().enumerate() {
                let u = noise.uniforms(k, 0, atom as u32, 0);
                let spread = [0.0, 0.05, 0.5, 5.0][k as usize % 4];
                *position = std::array::from_fn(|x| position[x] + spread * (u[x] - 0.5));
            }
            structure.cell.periodic[2] = k % 3 == 0;
            for tolerance in [1e-4, 0.1, 0.3, 1.0] {
                symmetry(&structure, tolerance);
            }
        }
    }

    /// The search for symmetry answers for any structure, at any tolerance, so that it never ends a finished run with an error.
    #[test]
    fn disorder_has_an_answer() {
        disorder_is_answered(40);
    }

    #[test]
    #[ignore = "takes minutes"]
    fn much_disorder_has_an_answer() {
        disorder_is_answered(20_000);
    }
}
