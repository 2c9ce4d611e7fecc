//! Reading extended XYZ.

use super::header::{ColumnSpec, Comment, finite};
use super::value::parse_flag;
use super::{Axes, Column, Frame, Moves, Values};
use crate::error::{Error, Result};
use crate::system::elements::{atomic_number, capitalised, symbol};
use crate::system::files::{parse_real, read_text, shown};
use crate::system::vector::is_finite;
use crate::system::{Extras, Structure, Vec3};
use std::path::Path;
use std::str::FromStr;

/// All frames of an extended XYZ file.
///
/// # Errors
/// `BadInput` for a file that cannot be read and for everything [`parse_frames`] refuses.
pub fn read_frames(path: &Path) -> Result<Vec<Frame>> {
    parse_frames(&read_text(path)?, path)
}

/// All frames of `text`, the contents of the extended XYZ file `path` (named in errors).
///
/// # Errors
/// `BadInput` with the line for a file without frames, a frame that ends early, and fields that do not fit `Properties`; for
/// unknown elements, for numbers in cell or positions that are not finite, and for a periodic cell without volume. Energies and
/// forces that are not finite come from a failed calculation: the frame then has none.
pub fn parse_frames(text: &str, path: &Path) -> Result<Vec<Frame>> {
    let mut lines = (1..).zip(text.lines());
    let mut frames = Vec::new();
    while let Some((number, line)) = lines.next() {
        if line.trim().is_empty() {
            // ASE reads a blank line as the end of the file.
            match lines.find(|(_, line)| !line.trim().is_empty()) {
                None => break,
                Some((later, _)) => {
                    let message = format!("line {number} is blank, but line {later} holds more; remove blank lines");
                    return Err(Error::bad_file(path, message));
                }
            }
        }
        let frame = parse_frame((number, line), &mut lines);
        frames.push(frame.map_err(|at| Error::bad_file(path, format!("line {}: {}", at.line, at.message)))?);
    }
    if frames.is_empty() {
        return Err(Error::bad_file(path, "holds no structure; give an extended XYZ file with at least one frame"));
    }
    Ok(frames)
}

/// An error and its line.
struct At {
    line: usize,
    message: String,
}

fn parse_frame<'a>(
    header: (usize, &str),
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> std::result::Result<Frame, At> {
    let at = |line: usize| move |message: String| At { line, message };
    let (first, count) = header;
    let n_atoms: usize = count
        .trim()
        .parse()
        .map_err(|_| at(first)(format!("expected the number of atoms of a frame, found '{}'", shown(count))))?;
    if n_atoms == 0 {
        return Err(at(first)("the frame has no atoms".into()));
    }
    let Some((second, comment)) = lines.next() else {
        return Err(at(first)("the file ends before the frame's comment line".into()));
    };
    let comment = Comment::parse(comment).map_err(at(second))?;
    let mut atoms = Atoms::new(&comment.columns).map_err(at(second))?;
    for k in 0..n_atoms {
        let Some((number, line)) = lines.next() else {
            return Err(at(first)(format!("the file ends after {k} of the frame's {n_atoms} atoms")));
        };
        atoms.push(line, comment.columns_given).map_err(at(number))?;
    }
    let moves = atoms.moves;
    let forces = Some(atoms.forces).filter(|forces| !forces.is_empty() && forces.iter().all(|&force| is_finite(force)));
    let mut structure =
        Structure { forces, energy: comment.energy, ..Structure::new(comment.cell, atoms.numbers, atoms.positions) };
    if !(comment.info.is_empty() && atoms.extra.is_empty()) {
        *structure.extras_mut() = Extras { info: comment.info, columns: atoms.extra };
    }
    let frame = Frame::from(structure);
    Ok(if moves.is_empty() { frame } else { frame.with_moves(Moves { along: Axes::Cartesian, flags: moves }) })
}

/// The destination of a column's entries.
#[derive(Clone, Copy)]
enum Target {
    Species,
    Number,
    Position,
    Force,
    MoveMask,
    Extra(usize),
}

/// The atom lines read so far.
struct Atoms<'a> {
    columns: &'a [ColumnSpec],
    targets: Vec<Target>,
    numbers: Vec<u8>,
    positions: Vec<Vec3>,
    forces: Vec<Vec3>,
    /// The axes along which an atom may move.
    moves: Vec<[bool; 3]>,
    extra: Vec<Column>,
}

impl<'a> Atoms<'a> {
    fn new(columns: &'a [ColumnSpec]) -> std::result::Result<Self, String> {
        let mut extra = Vec::new();
        let mut targets = Vec::new();
        for column in columns {
            let (target, wanted) = match column.name.as_str() {
                "species" => (Target::Species, "S:1"),
                "Z" => (Target::Number, "I:1"),
                "pos" => (Target::Position, "R:3"),
                "forces" => (Target::Force, "R:3"),
                "move_mask" => (Target::MoveMask, "L:1 or L:3"),
                _ => {
                    let values = match column.kind {
                        'R' => Values::Real(Vec::new()),
                        'I' => Values::Integer(Vec::new()),
                        'L' => Values::Flag(Vec::new()),
                        _ => Values::Text(Vec::new()),
                    };
                    extra.push(Column { name: column.name.clone(), width: column.width, values });
                    (Target::Extra(extra.len() - 1), "")
                }
            };
            let shape = format!("{}:{}", column.kind, column.width);
            if !wanted.is_empty() && !wanted.split(" or ").any(|known| known == shape) {
                return Err(format!("the column {} must be {wanted}, not {shape}", column.name));
            }
            targets.push(target);
        }
        if !columns.iter().any(|c| c.name == "pos") {
            return Err("Properties names no pos:R:3 column for the positions".into());
        }
        if !columns.iter().any(|c| c.name == "species" || c.name == "Z") {
            return Err("Properties names no species:S:1 or Z:I:1 column for the elements".into());
        }
        Ok(Atoms {
            columns,
            targets,
            numbers: Vec::new(),
            positions: Vec::new(),
            forces: Vec::new(),
            moves: Vec::new(),
            extra,
        })
    }

    /// Reads one atom line. With `exact`, the line holds the named columns and nothing else.
    fn push(&mut self, line: &str, exact: bool) -> std::result::Result<(), String> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let n_fields = self.columns.iter().map(|column| column.width as u64).sum::<u64>();
        if (fields.len() as u64) < n_fields || (exact && fields.len() as u64 > n_fields) {
            let found = fields.len();
            return Err(format!("an atom line of {n_fields} columns is expected, found {found}: '{}'", shown(line)));
        }
        let atom = self.positions.len();
        let mut rest = &fields[..];
        for (column, &target) in self.columns.iter().zip(&self.targets) {
            let (entries, later) = rest.split_at(column.width);
            rest = later;
            let name = &column.name;
            match target {
                Target::Species => {
                    let number = atomic_number(&capitalised(entries[0]));
                    // The first column of a plain file may hold atomic numbers.
                    let number = number.or_else(|| parsed(entries[0]).filter(|&z| !exact && symbol(z).is_some()));
                    let number =
                        number.ok_or_else(|| format!("'{}' is not the symbol of an element", shown(entries[0])))?;
                    set_number(&mut self.numbers, atom, number)?;
                }
                Target::Number => {
                    let number = entries[0].parse().ok().filter(|&number| symbol(number).is_some());
                    let number =
                        number.ok_or_else(|| format!("'{}' is not an atomic number (1 to 118)", shown(entries[0])))?;
                    set_number(&mut self.numbers, atom, number)?;
                }
                Target::Position => self.positions.push(vector(entries, name)?),
                Target::Force => {
                    let force = all(entries, name, "a number", parse_real)?;
                    self.forces.push(std::array::from_fn(|axis| force[axis]));
                }
                Target::MoveMask => {
                    let moves: Vec<bool> = all(entries, name, "T or F", parse_flag)?;
                    self.moves.push(std::array::from_fn(|axis| moves[axis.min(moves.len() - 1)]));
                }
                Target::Extra(k) => match &mut self.extra[k].values {
                    Values::Real(values) => values.extend(all(entries, name, "a number", parse_real)?),
                    Values::Integer(values) => values.extend(all(entries, name, "a whole number", parsed::<i64>)?),
                    Values::Flag(values) => values.extend(all(entries, name, "T or F", parse_flag)?),
                    Values::Text(values) => values.extend(entries.iter().map(|entry| entry.to_string())),
                },
            }
        }
        Ok(())
    }
}

/// Takes the element of `atom`; the columns species and Z may both name it.
fn set_number(numbers: &mut Vec<u8>, atom: usize, number: u8) -> std::result::Result<(), String> {
    match numbers.get(atom) {
        Some(&known) if known != number => Err("the columns species and Z name different elements".into()),
        Some(_) => Ok(()),
        None => {
            numbers.push(number);
            Ok(())
        }
    }
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn all<T>(
    entries: &[&str],
    column: &str,
    wanted: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> std::result::Result<Vec<T>, String> {
    let one =
        |entry: &&str| parse(entry).ok_or_else(|| format!("'{}' in the column {column} is not {wanted}", shown(entry)));
    entries.iter().map(one).collect()
}

fn vector(entries: &[&str], column: &str) -> std::result::Result<Vec3, String> {
    let mut vector = [0.0; 3];
    for (x, entry) in vector.iter_mut().zip(entries) {
        *x = finite(entry).map_err(|why| format!("'{}' in the column {column} {why}", shown(entry)))?;
    }
    Ok(vector)
}
