//! Writing POSCAR files.

use crate::error::{Error, Result};
use crate::system::elements::symbol;
use crate::system::xyz::{Axes, Frame};
use std::fmt::Write;
use std::path::Path;

/// Entries on a line of symbols or counts, as VASP writes them. VASP breaks longer lists, and other readers then fail.
const MOST_GROUPS: usize = 20;

/// Atomic numbers of runs of equal atoms in the list, with the length of each run.
fn groups(numbers: &[u8]) -> Vec<(u8, usize)> {
    numbers.chunk_by(|a, b| a == b).map(|group| (group[0], group.len())).collect()
}

/// Checks that a POSCAR file can hold these structures: it holds exactly one.
///
/// # Errors
/// `BadInput` for another number of structures and for everything that [`check_frame`] refuses.
pub(in crate::system) fn check_frames(path: &Path, frames: &[Frame]) -> Result<()> {
    match frames {
        [frame] => check_frame(frame).map_err(|why| Error::bad_file(path, why)),
        _ => Err(Error::bad_file(
            path,
            format!("a POSCAR holds one structure, and there are {}; write extended XYZ (.xyz)", frames.len()),
        )),
    }
}

/// Checks that a POSCAR can express everything in `frame`.
///
/// # Errors
/// A sentence about a missing lattice vector, elements that alternate too often, and an atom that is fixed along directions
/// that are no lattice vectors.
pub(in crate::system) fn check_frame(frame: &Frame) -> std::result::Result<(), String> {
    let structure = &frame.structure;
    if structure.cell.volume() == 0.0 {
        return Err(
            "a POSCAR needs three lattice vectors, and the structure has fewer; write extended XYZ (.xyz)".into()
        );
    }
    let n_groups = groups(&structure.numbers).len();
    if n_groups > MOST_GROUPS {
        return Err(format!(
            "the elements of the atoms alternate {n_groups} times, and VASP has room for {MOST_GROUPS} groups; write extended XYZ \
             (.xyz) and sort the atoms by element"
        ));
    }
    match frame.moves_along(Axes::Lattice) {
        Err(atom) => Err(format!(
            "atom {} is fixed along some of x, y and z, and a POSCAR only knows the lattice vectors; write extended XYZ (.xyz)",
            atom + 1
        )),
        Ok(_) => Ok(()),
    }
}

/// `frame` as VASP reads it. Each run of equal atoms is one group, so the order is kept. Positions are Cartesian, in Å, and read
/// back bit for bit. Selective dynamics is used if atoms are fixed. The comment holds the energy. Forces, keys and columns are not
/// written.
///
/// # Errors
/// A sentence about an atom that is fixed along directions that are no lattice vectors.
pub fn format_poscar(frame: &Frame) -> std::result::Result<String, String> {
    check_frame(frame)?;
    let structure = &frame.structure;
    let groups = groups(&structure.numbers);
    let symbols: Vec<&str> = groups.iter().map(|&(number, _)| symbol(number).unwrap_or("X")).collect();
    let counts: Vec<String> = groups.iter().map(|(_, count)| count.to_string()).collect();
    let moves = frame.moves_along(Axes::Lattice).unwrap_or_default();
    let mut text = symbols.iter().zip(&counts).map(|(symbol, count)| format!("{symbol}{count}")).collect::<String>();
    if let Some(energy) = structure.energy.filter(|energy| energy.is_finite()) {
        write!(text, " energy={energy:?} eV").expect(TAKES);
    }
    text.push_str("\n1.0\n");
    structure.cell.vectors.iter().for_each(|vector| put_vector(&mut text, vector, ""));
    write!(text, "{}\n{}\n", symbols.join(" "), counts.join(" ")).expect(TAKES);
    text.push_str(if moves.is_empty() { "Cartesian\n" } else { "Selective dynamics\nCartesian\n" });
    for (k, position) in structure.positions.iter().enumerate() {
        let flags = moves.get(k).map(|flags| flags.map(|moves| if moves { " T" } else { " F" }).concat());
        put_vector(&mut text, position, &flags.unwrap_or_default());
    }
    Ok(text)
}

/// The reason why writing to a text cannot fail.
const TAKES: &str = "a String takes whatever is written to it";

fn put_vector(text: &mut String, [x, y, z]: &[f64; 3], flags: &str) {
    writeln!(text, " {x:>23?} {y:>23?} {z:>23?}{flags}").expect(TAKES);
}

#[cfg(test)]
mod tests {
    use super::super::parse_poscar;
    use super::*;
    use crate::system::xyz::Moves;
    use crate::system::{Cell, Structure};

    fn slab() -> Frame {
        let cell = Cell { vectors: [[4.0, 0.0, 0.0], [2.0, 3.0, 0.0], [0.0, 0.0, 1e2 / 3.0]], periodic: [true; 3] };
        let positions = vec![[0.0, 1e-300, 0.1], [1.0 / 3.0, -2.0, 5.0], [3.0, 1.0, 7.0], [0.5; 3]];
        Structure::new(cell, vec![78, 78, 79, 78], positions).into()
    }

    #[test]
    fn what_is_written_is_read_back_bit_for_bit() {
        let mut frame = slab();
        let text = format_poscar(&frame).unwrap();
        assert!(text.starts_with("Pt2Au1Pt1\n1.0\n") && text.contains("\nPt Au Pt\n2 1 1\nCartesian\n"), "{text}");
        let read = |text: &str| parse_poscar(text, Path::new("POSCAR")).unwrap();
        assert_eq!(read(&text), frame);

        frame.structure.fixed = vec![true, false, false, true];
        frame.structure.energy = Some(-1.5);
        let text = format_poscar(&frame).unwrap();
        assert!(text.starts_with("Pt2Au1Pt1 energy=-1.5 eV\n") && text.contains("\nSelective dynamics\nCartesian\n"));
        assert!(text.ends_with("0.5 F F F\n"), "{text}");
        assert_eq!(read(&text).structure.fixed, frame.structure.fixed);

        // Here fixed along x and y means fixed along a and b.
        let flags = vec![[false, false, true], [true; 3], [false; 3], [true; 3]];
        let frame = slab().with_moves(Moves { along: Axes::Cartesian, flags: flags.clone() });
        assert_eq!(read(&format_poscar(&frame).unwrap()), slab().with_moves(Moves { along: Axes::Lattice, flags }));
    }

    #[test]
    fn what_a_poscar_cannot_say_is_refused() {
        let path = Path::new("CONTCAR");
        let refused = |frames: &[Frame], sentence: &str| {
            let error = check_frames(path, frames).unwrap_err();
            assert!(error.to_string().starts_with("CONTCAR: ") && error.to_string().contains(sentence), "{error}");
            assert_eq!(error.exit_code(), 2);
        };
        check_frames(path, &[slab()]).unwrap();
        refused(&[slab(), slab()], "a POSCAR holds one structure, and there are 2; write extended XYZ (.xyz)");
        let cluster = Structure::new(Cell::NONE, vec![78], vec![[0.0; 3]]);
        refused(&[cluster.into()], "needs three lattice vectors, and the structure has fewer");
        let numbers: Vec<u8> = (0..22).map(|k| 78 + k % 2).collect();
        let mixed = Structure::new(slab().structure.cell, numbers, vec![[0.0; 3]; 22]);
        refused(&[mixed.into()], "the elements of the atoms alternate 22 times, and VASP has room for 20 groups");
        let flags = vec![[true; 3], [false, true, true], [true; 3], [true; 3]];
        let partly = slab().with_moves(Moves { along: Axes::Cartesian, flags });
        refused(&[partly], "atom 2 is fixed along some of x, y and z, and a POSCAR only knows the lattice vectors");
    }
}
