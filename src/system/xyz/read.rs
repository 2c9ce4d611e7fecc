//! Reading extended XYZ.

use super::comment::{Token, Value, parse_flag, parse_pairs};
use super::{Axes, Column, Frame, Moves, STRUCTURE_KEYS, Values};
use crate::error::{Error, Result};
use crate::system::elements::{atomic_number, capitalised, symbol};
use crate::system::files::{parse_real, read_text, shown};
use crate::system::vector::is_finite;
use crate::system::{Cell, Extras, Structure, Vec3};
use std::collections::{HashMap, HashSet};
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

/// Content of the comment line.
struct Comment {
    cell: Cell,
    energy: Option<f64>,
    columns: Vec<ColumnSpec>,
    columns_given: bool,
    info: Vec<(String, Value)>,
}

/// One entry `name:kind:width` of `Properties`.
struct ColumnSpec {
    name: String,
    kind: char,
    width: usize,
}

const DEFAULT_COLUMNS: &str = "species:S:1:pos:R:3";

impl Comment {
    fn parse(line: &str) -> std::result::Result<Comment, String> {
        let extended = is_extended(line);
        let pairs = match parse_pairs(line) {
            // The comment of a plain XYZ file may be any prose, apostrophes included.
            Ok(pairs) if extended || pairs.iter().any(|(_, value)| value.is_some()) => pairs,
            Err(message) if extended => return Err(message),
            _ if line.trim().is_empty() => Vec::new(),
            _ => {
                let text = line.trim().replace(char::is_control, " ");
                vec![("comment".to_string(), Some(Token { text, array: None }))]
            }
        };
        let mut own: [Option<Token>; 4] = [const { None }; 4];
        let mut info: Vec<(String, Value)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (key, value) in pairs {
            match (STRUCTURE_KEYS.iter().position(|&known| known == key), value) {
                (Some(k), Some(_)) if own[k].is_some() => return Err(format!("the key '{key}' is given twice")),
                (Some(k), Some(value)) => own[k] = Some(value),
                (Some(_), None) if extended => return Err(format!("the key '{key}' has no value")),
                (Some(_), None) => {}
                (None, _) if key.is_empty() => {}
                (None, value) => {
                    let value = value.map_or(Value::Flag(true), Value::of);
                    match places.get(&key) {
                        Some(&place) => info[place].1 = value,
                        None => {
                            places.insert(key.clone(), info.len());
                            info.push((key, value));
                        }
                    }
                }
            }
        }
        let [lattice, properties, pbc, energy] = own;
        let vectors = lattice.map(|token| parse_lattice(&token.text)).transpose()?;
        let periodic = match pbc {
            Some(token) => parse_pbc(&token.text)?,
            None => [vectors.is_some(); 3],
        };
        let cell = Cell { vectors: vectors.unwrap_or_default(), periodic };
        cell.check().map_err(|error| error.to_string())?;
        let energy = energy.and_then(|token| finite(&token.text).ok());
        let columns_given = properties.is_some();
        let columns = parse_properties(properties.as_ref().map_or(DEFAULT_COLUMNS, |token| token.text.as_str()))?;
        Ok(Comment { cell, energy, columns, columns_given, info })
    }
}

/// True if a comment line gives the cell or the columns, so that it must be understood.
fn is_extended(line: &str) -> bool {
    ["Lattice", "Properties"].iter().any(|key| {
        line.match_indices(key)
            .any(|(at, _)| line[at + key.len()..].trim_start_matches(['"', '\'']).trim_start().starts_with('='))
    })
}

/// The rows of nine numbers, of three for the diagonal, or of a matrix `[[…], […], […]]` without its outer brackets.
fn parse_lattice(text: &str) -> std::result::Result<[Vec3; 3], String> {
    let refuse = |why: &str| format!("Lattice=\"{}\" {why}", shown(text));
    let flat = match text.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(rows) => {
            let rows: Vec<&str> = rows.split(']').collect();
            let later = rows[1..].iter().map(|row| row.trim().strip_prefix(',')?.trim().strip_prefix('['));
            let later = later.collect::<Option<Vec<&str>>>();
            let all: Vec<&str> = [rows[0]].into_iter().chain(later.unwrap_or_default()).collect();
            if all.len() != 3 || rows.len() != 3 || all.iter().any(|row| words(row).count() != 3) {
                return Err(refuse("is not a matrix of three rows of three numbers"));
            }
            all.join(" ")
        }
        None => text.to_string(),
    };
    let numbers: Vec<f64> = words(&flat).map(finite).collect::<std::result::Result<_, _>>().map_err(refuse)?;
    match numbers[..] {
        [x, y, z] => Ok([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]]),
        _ => match numbers.as_chunks() {
            ([a, b, c], []) => Ok([*a, *b, *c]),
            _ => Err(refuse("does not hold nine numbers")),
        },
    }
}

fn parse_pbc(text: &str) -> std::result::Result<[bool; 3], String> {
    let flag = |word| {
        parse_flag(word).or(match word {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        })
    };
    let flags: Option<Vec<bool>> = words(text).map(flag).collect();
    match flags.as_deref() {
        Some(&[a, b, c]) => Ok([a, b, c]),
        Some(&[all]) => Ok([all; 3]),
        _ => Err(format!("pbc=\"{}\" is not three of T and F", shown(text))),
    }
}

fn parse_properties(text: &str) -> std::result::Result<Vec<ColumnSpec>, String> {
    let refuse = |why: String| format!("Properties={}: {why}", shown(text));
    let fields: Vec<&str> = text.split(':').collect();
    let (triples, []) = fields.as_chunks() else {
        return Err(refuse("is not made of name:type:count triples".into()));
    };
    let mut columns: Vec<ColumnSpec> = Vec::new();
    let mut names = HashSet::new();
    for &[name, kind, width] in triples {
        let kind = match kind {
            "R" => 'R',
            "I" => 'I',
            "S" => 'S',
            "L" => 'L',
            _ => return Err(refuse(format!("the type '{}' of '{name}' is not R, I, S or L", shown(kind)))),
        };
        let width = match width.parse::<u32>() {
            Ok(width) if width > 0 => width as usize,
            _ => return Err(refuse(format!("the count '{}' of '{name}' is not a positive number", shown(width)))),
        };
        if name.is_empty() || !names.insert(name) {
            return Err(refuse(format!("the name '{}' is empty or given twice", shown(name))));
        }
        columns.push(ColumnSpec { name: name.to_string(), kind, width });
    }
    Ok(columns)
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

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty())
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn finite(text: &str) -> std::result::Result<f64, &'static str> {
    match parse_real(text.trim()) {
        Some(number) if number.is_finite() => Ok(number),
        Some(_) => Err("is not finite"),
        None => Err("is not a number"),
    }
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
