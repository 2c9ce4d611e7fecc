//! Writing extended XYZ.

use super::value::{Value, quoted};
use super::{Axes, Frame, Values};
use crate::error::{Error, Result};
use crate::system::elements::symbol;
use crate::system::vector::is_finite;
use std::fmt::{Display, Write};
use std::path::Path;

/// Writes `frames` to the extended XYZ file `path`, replacing its old content.
///
/// # Errors
/// `Storage` if the file cannot be written.
pub fn write_frames(path: &Path, frames: &[Frame]) -> Result<()> {
    std::fs::write(path, format_frames(frames))
        .map_err(|error| Error::storage(path, format!("cannot be written: {error}")))
}

/// `frames` as extended XYZ; every number reads back bit for bit, here and in ASE. An energy that is not finite and forces that are
/// not all finite are left out. Constraints along axes other than x, y and z are left out too.
pub fn format_frames(frames: &[Frame]) -> String {
    let mut text = String::new();
    for frame in frames {
        format_frame(frame, &mut text);
    }
    text
}

fn format_frame(frame: &Frame, text: &mut String) {
    let structure = &frame.structure;
    let forces = structure.forces.as_ref().filter(|forces| forces.iter().all(|&force| is_finite(force)));
    let mask = move_mask(frame);
    let mask_width = mask.first().map_or(0, Vec::len);
    put(text, format_args!("{}\n{}\n", structure.n_atoms(), comment_line(frame, mask_width, forces.is_some())));
    for k in 0..structure.n_atoms() {
        put(text, format_args!("{:<2}", symbol(structure.numbers[k]).unwrap_or("X")));
        put_reals(text, &structure.positions[k]);
        if let Some(moves) = mask.get(k) {
            moves.iter().for_each(|&moves| put(text, if moves { " T" } else { " F" }));
        }
        if let Some(forces) = forces {
            put_reals(text, &forces[k]);
        }
        for column in frame.columns() {
            let range = k * column.width..(k + 1) * column.width;
            match &column.values {
                Values::Real(values) => put_reals(text, &values[range]),
                Values::Integer(values) => values[range].iter().for_each(|x| put(text, format_args!(" {x:>8}"))),
                Values::Flag(values) => values[range].iter().for_each(|&x| put(text, if x { " T" } else { " F" })),
                Values::Text(values) => values[range].iter().for_each(|x| put(text, format_args!(" {x}"))),
            }
        }
        text.push('\n');
    }
}

/// For each atom one flag, or flags for x, y and z if these differ: true if it moves. Empty if all atoms move.
fn move_mask(frame: &Frame) -> Vec<Vec<bool>> {
    let moves = frame.moves_along(Axes::Cartesian).unwrap_or_default();
    let width = if frame.moves.is_some() { 3 } else { 1 };
    moves.into_iter().map(|flags| flags[..width].to_vec()).collect()
}

/// Checks that extended XYZ can express everything in `frame`.
///
/// # Errors
/// A sentence about an atom that is fixed along lattice vectors that are not parallel to x, y and z.
pub(in crate::system) fn check_frame(frame: &Frame) -> std::result::Result<(), String> {
    match frame.moves_along(Axes::Cartesian) {
        Err(atom) => Err(format!(
            "atom {} is fixed along some lattice vectors, and extended XYZ only knows x, y and z; write a POSCAR (.vasp)",
            atom + 1
        )),
        Ok(_) => Ok(()),
    }
}

fn comment_line(frame: &Frame, mask_width: usize, with_forces: bool) -> String {
    let structure = &frame.structure;
    let mut properties = String::from("species:S:1:pos:R:3");
    if mask_width > 0 {
        put(&mut properties, format_args!(":move_mask:L:{mask_width}"));
    }
    if with_forces {
        properties += ":forces:R:3";
    }
    for column in frame.columns() {
        let kind = match column.values {
            Values::Real(_) => 'R',
            Values::Integer(_) => 'I',
            Values::Flag(_) => 'L',
            Values::Text(_) => 'S',
        };
        put(&mut properties, format_args!(":{}:{kind}:{}", column.name, column.width));
    }
    let mut line = String::new();
    if structure.cell.vectors != [[0.0; 3]; 3] {
        let numbers: Vec<String> = structure.cell.vectors.as_flattened().iter().map(|x| format!("{x:?}")).collect();
        put(&mut line, format_args!("Lattice=\"{}\" ", numbers.join(" ")));
    }
    put(&mut line, format_args!("Properties={}", quoted(&properties)));
    if let Some(energy) = structure.energy.filter(|energy| energy.is_finite()) {
        put(&mut line, format_args!(" energy={}", Value::Real(energy).written()));
    }
    for (key, value) in frame.infos() {
        put(&mut line, format_args!(" {}={}", quoted(key), value.written()));
    }
    let [a, b, c] = structure.cell.periodic.map(|periodic| if periodic { 'T' } else { 'F' });
    put(&mut line, format_args!(" pbc=\"{a} {b} {c}\""));
    line
}

/// Shortest decimals that read back as the same f64.
fn put_reals(text: &mut String, numbers: &[f64]) {
    numbers.iter().for_each(|x| put(text, format_args!(" {x:>23?}")));
}

fn put(text: &mut String, item: impl Display) {
    write!(text, "{item}").expect("a String takes whatever is written to it");
}
