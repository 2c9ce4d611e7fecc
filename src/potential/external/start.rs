//! The start file for i-PI clients, since the protocol carries neither elements nor periodicity.

use super::orientation::{Orientation, boxed};
use crate::diffusion::prior;
use crate::error::Result;
use crate::random::{Noise, Purpose};
use crate::system::{Cell, Structure, System};

/// Number of arrangements from which the one with the largest distances is taken.
const ARRANGEMENTS: u32 = 256;

/// Template and free atoms of `system` in the protocol's frame. The free atoms are at possible start positions of the search,
/// apart from each other: many clients compute their start file first.
///
/// # Errors
/// `BadInput` for a cell without volume.
pub fn start_structure(system: &System, box_angstrom: f64) -> Result<Structure> {
    let noise = Noise::new(0, Purpose::Prior, 0);
    let arrangements = (0..ARRANGEMENTS).map(|k| prior(system, &noise, k));
    let roomiest = arrangements.max_by(|a, b| system.closest_contact(a).total_cmp(&system.closest_contact(b)));
    let mut structure = system.structure(&roomiest.unwrap_or_default());
    let vectors = boxed(&system.cell, box_angstrom)?;
    let orientation = Orientation::of(&vectors);
    structure.cell = Cell { vectors: orientation.cell(&vectors), periodic: system.cell.periodic };
    structure.positions.iter_mut().for_each(|position| *position = orientation.there(*position));
    // Clients need not know which atoms are fixed in the search.
    structure.fixed.fill(false);
    Ok(structure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::ConfinementSpec;

    #[test]
    fn free_atoms_have_room() {
        let vectors = [[0.0, 8.0, 0.0], [8.0, 0.0, 0.0], [0.0, 0.0, 20.0]];
        let mut template =
            Structure::new(Cell { vectors, periodic: [true, true, false] }, vec![78], vec![[1.0, 2.0, 3.0]]);
        template.fixed[0] = true;
        let confinement = Some(ConfinementSpec::AboveTemplate([1.0, 4.0]));
        let system = System::new(Some(&template), "Pt2Au", confinement, None).unwrap();
        let start = start_structure(&system, 30.0).unwrap();
        assert_eq!(start.numbers, [78, 78, 78, 79]);
        assert_eq!(start.cell.vectors, [[8.0, 0.0, 0.0], [0.0, 8.0, 0.0], [0.0, 0.0, 20.0]]);
        assert_eq!((start.positions[0], start.cell.periodic), ([2.0, 1.0, 3.0], [true, true, false]));
        assert!(!start.fixed.contains(&true));
        let free: Vec<_> = start.positions[1..].iter().map(|r| [r[1], r[0], r[2]]).collect();
        assert!(system.closest_contact(&free) > 2.0);

        let cluster = System::new(None, "Ar5", None, None).unwrap();
        assert_eq!(start_structure(&cluster, 25.0).unwrap().cell.vectors[1], [0.0, 25.0, 0.0]);
    }
}
