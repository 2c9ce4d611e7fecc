//! What the comment line says of a frame: cell, energy, columns, further keys.

use super::STRUCTURE_KEYS;
use super::comment::{Token, parse_pairs};
use super::value::{Value, parse_flag};
use crate::system::files::{parse_real, shown};
use crate::system::{Cell, Vec3};
use std::collections::{HashMap, HashSet};

/// Content of the comment line.
pub(super) struct Comment {
    pub cell: Cell,
    pub energy: Option<f64>,
    pub columns: Vec<ColumnSpec>,
    pub columns_given: bool,
    pub info: Vec<(String, Value)>,
}

/// One entry `name:kind:width` of `Properties`.
pub(super) struct ColumnSpec {
    pub name: String,
    pub kind: char,
    pub width: usize,
}

const DEFAULT_COLUMNS: &str = "species:S:1:pos:R:3";

impl Comment {
    pub fn parse(line: &str) -> std::result::Result<Comment, String> {
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

/// The words between blanks or commas.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty())
}

/// A finite number, or what is wrong with the text.
pub(super) fn finite(text: &str) -> std::result::Result<f64, &'static str> {
    match parse_real(text.trim()) {
        Some(number) if number.is_finite() => Ok(number),
        Some(_) => Err("is not finite"),
        None => Err("is not a number"),
    }
}
