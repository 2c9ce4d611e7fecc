//! Atoms that may move along some axes only.

use crate::system::Cell;
use crate::system::vector::norm;

/// Largest part of a lattice vector's length that may point off an axis while the vector still counts as lying along it.
const ALIGNED: f64 = 1e-6;

/// The axes to which the flags of an atom belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes {
    /// x, y and z, as in extended XYZ and in ASE's `FixCartesian`.
    Cartesian,
    /// The lattice vectors, as in POSCAR and in ASE's `FixScaled`.
    Lattice,
}

/// The axes along which each atom may move.
#[derive(Debug, Clone, PartialEq)]
pub struct Moves {
    /// The kind of axes.
    pub along: Axes,
    /// For each of the N atoms and each axis: true if the atom may move along it.
    pub flags: Vec<[bool; 3]>,
}

impl Moves {
    /// The flags with the same meaning for displacements `along` other axes, or the first atom (from 0) that has no such flags.
    pub(in crate::system) fn flags_along(&self, along: Axes, cell: &Cell) -> Result<Vec<[bool; 3]>, usize> {
        if along == self.along {
            return Ok(self.flags.clone());
        }
        // True if `direct`, a choice of lattice vectors, spans the same space as `axes`, a choice of x, y and z.
        let same = |direct: [bool; 3], axes: [bool; 3]| {
            let within = |v: [f64; 3]| norm(v) > 0.0 && (0..3).all(|x| axes[x] || v[x].abs() <= ALIGNED * norm(v));
            let count = |flags: [bool; 3]| flags.iter().filter(|&&flag| flag).count();
            count(direct) == count(axes) && (0..3).all(|k| !direct[k] || within(cell.vectors[k]))
        };
        let translated = |flags: [bool; 3]| {
            if flags == [flags[0]; 3] {
                return Some(flags);
            }
            let mut choices = (0..8u8).map(|bits| std::array::from_fn(|axis| bits >> axis & 1 == 1));
            choices.find(|&other| match self.along {
                Axes::Lattice => same(flags, other),
                Axes::Cartesian => same(other, flags),
            })
        };
        self.flags.iter().enumerate().map(|(atom, &flags)| translated(flags).ok_or(atom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_translated_where_the_axes_allow_it() {
        let slab =
            Cell { vectors: [[4.0, 0.0, 0.0], [2.0, 3.0, 0.0], [0.0, 0.0, 20.0]], periodic: [true, true, false] };
        let lattice = |flags: [bool; 3]| Moves { along: Axes::Lattice, flags: vec![flags] };
        let cartesian = |flags: [bool; 3]| Moves { along: Axes::Cartesian, flags: vec![flags] };
        for flags in [[true; 3], [false; 3], [false, false, true], [true, true, false], [true, false, false]] {
            assert_eq!(lattice(flags).flags_along(Axes::Cartesian, &slab), Ok(vec![flags]));
            assert_eq!(cartesian(flags).flags_along(Axes::Lattice, &slab), Ok(vec![flags]));
            assert_eq!(lattice(flags).flags_along(Axes::Lattice, &Cell::NONE), Ok(vec![flags]));
        }
        // b points along neither x nor y.
        assert_eq!(lattice([false, true, false]).flags_along(Axes::Cartesian, &slab), Err(0));
        assert_eq!(cartesian([false, true, true]).flags_along(Axes::Lattice, &slab), Err(0));
        assert_eq!(cartesian([false, true, true]).flags_along(Axes::Lattice, &Cell::NONE), Err(0));
        let turned = Cell { vectors: [[0.0, 4.0, 0.0], [4.0, 0.0, 0.0], [0.0, 0.0, 20.0]], periodic: [true; 3] };
        assert_eq!(lattice([true, false, true]).flags_along(Axes::Cartesian, &turned), Ok(vec![[false, true, true]]));
        assert_eq!(cartesian([false, true, true]).flags_along(Axes::Lattice, &turned), Ok(vec![[true, false, true]]));
    }
}
