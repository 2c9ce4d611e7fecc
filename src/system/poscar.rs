//! VASP's POSCAR and CONTCAR files, version 5: element symbols stand above their counts.

use super::elements::atomic_number;
use super::files::{read_text, shown};
use super::vector::{combine, cross, dot, is_finite};
use super::{Cell, Structure, Vec3};
use crate::error::{Error, Result};
use std::path::Path;

/// The structure of a POSCAR file, periodic along all axes. Atoms whose three selective-dynamics flags are F are fixed; what
/// follows the positions (velocities) is not read.
///
/// # Errors
/// `BadInput` for a file that cannot be read and for everything [`parse_poscar`] refuses.
pub fn read_poscar(path: &Path) -> Result<Structure> {
    parse_poscar(&read_text(path)?, path)
}

/// The structure in `text`, the contents of the POSCAR file `path` (named in errors).
///
/// # Errors
/// `BadInput` with the line for the VASP 4 format, unknown elements, numbers that are missing or not finite, a cell without
/// volume, an atom fixed along some axes only, and a file that ends early.
pub fn parse_poscar(text: &str, path: &Path) -> Result<Structure> {
    let mut lines = Lines { lines: text.lines(), number: 0 };
    parse(&mut lines).map_err(|message| Error::bad_file(path, format!("line {}: {message}", lines.number)))
}

/// The lines of a file, counting.
struct Lines<'a> {
    lines: std::str::Lines<'a>,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self, what: &str) -> std::result::Result<&'a str, String> {
        let line = self.lines.next().ok_or_else(|| format!("the file ends where {what} should follow"))?;
        self.number += 1;
        Ok(line)
    }
}

fn parse(lines: &mut Lines) -> std::result::Result<Structure, String> {
    lines.next("the comment")?;
    let factors = parse_factors(lines.next("the scaling factor")?)?;
    let mut vectors = [[0.0; 3]; 3];
    for vector in &mut vectors {
        *vector = parse_vector(lines.next("a lattice vector")?)?;
    }
    let factors = match factors {
        Factors::PerAxis(factors) => factors,
        Factors::Volume(volume) => {
            let [a, b, c] = vectors;
            let unscaled = dot(a, cross(b, c)).abs();
            if unscaled == 0.0 {
                return Err("the cell has no volume: its lattice vectors lie in one plane".into());
            }
            [(volume / unscaled).cbrt(); 3]
        }
    };
    let scaled = |v: Vec3| [v[0] * factors[0], v[1] * factors[1], v[2] * factors[2]];
    let cell = Cell { vectors: vectors.map(scaled), periodic: [true; 3] };
    cell.validate().map_err(|error| error.to_string())?;

    let species = parse_species(lines)?;
    let mut mode = lines.next("Direct or Cartesian")?;
    let selective = starts_with_any(mode, "sS");
    if selective {
        mode = lines.next("Direct or Cartesian")?;
    }
    let cartesian = starts_with_any(mode, "cCkK");
    if !cartesian && !starts_with_any(mode, "dD") {
        return Err(format!("expected Direct or Cartesian, found '{}'", shown(mode)));
    }
    let (mut numbers, mut positions, mut fixed) = (Vec::new(), Vec::new(), Vec::new());
    for (number, count) in species {
        for _ in 0..count {
            let line = lines.next("the position of an atom")?;
            let point = parse_vector(line)?;
            numbers.push(number);
            positions.push(if cartesian { scaled(point) } else { combine(point, &cell.vectors) });
            fixed.push(selective && parse_fixed(line)?);
        }
    }
    if positions.iter().any(|&p| !is_finite(p)) {
        return Err("a position is not finite once scaled".into());
    }
    Ok(Structure { fixed, ..Structure::new(cell, numbers, positions) })
}

/// What the second line says.
enum Factors {
    /// Multiplies the Cartesian components.
    PerAxis(Vec3),
    /// The volume of the cell, Å³.
    Volume(f64),
}

fn parse_factors(line: &str) -> std::result::Result<Factors, String> {
    let refuse = || format!("'{}' is neither one scaling factor other than 0 nor three above 0", shown(line));
    // Anything after the numbers is a comment.
    let numbers: Vec<f64> = line.split_whitespace().take(3).map_while(|word| word.parse().ok()).collect();
    match numbers[..] {
        _ if numbers.iter().any(|x| !x.is_finite()) => Err(refuse()),
        [factor] if factor > 0.0 => Ok(Factors::PerAxis([factor; 3])),
        [volume] if volume < 0.0 => Ok(Factors::Volume(-volume)),
        [x, y, z] if x > 0.0 && y > 0.0 && z > 0.0 => Ok(Factors::PerAxis([x, y, z])),
        _ => Err(refuse()),
    }
}

/// Atomic numbers with how many atoms of each follow.
fn parse_species(lines: &mut Lines) -> std::result::Result<Vec<(u8, usize)>, String> {
    let symbols: Vec<&str> = uncommented(lines.next("the element symbols")?).collect();
    if symbols.first().is_some_and(|word| word.parse::<u64>().is_ok()) {
        return Err(
            "counts stand where VASP 5 has element symbols; put a line with the symbols above them (VASP 4 files lack it)"
                .into(),
        );
    }
    let elements: Vec<u8> = symbols
        .iter()
        .map(|word| {
            // VASP also writes the names of its potentials: Na_pv, Na_pv/6a2f546d.
            let symbol = word.split(['_', '/']).next().unwrap_or_default();
            atomic_number(symbol).ok_or_else(|| format!("'{}' is not the symbol of an element", shown(word)))
        })
        .collect::<std::result::Result<_, _>>()?;
    let counts: Vec<usize> = uncommented(lines.next("the counts of the elements")?)
        .map(|word| {
            let count = word.parse().ok().filter(|&count| count > 0);
            count.ok_or_else(|| format!("'{}' is not a positive number of atoms", shown(word)))
        })
        .collect::<std::result::Result<_, _>>()?;
    if elements.is_empty() || elements.len() != counts.len() {
        return Err(format!("{} element symbols but {} counts; give one count for each", elements.len(), counts.len()));
    }
    Ok(elements.into_iter().zip(counts).collect())
}

/// Words up to the first that holds a `!`.
fn uncommented(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace().take_while(|word| !word.contains('!'))
}

fn parse_vector(line: &str) -> std::result::Result<Vec3, String> {
    let mut words = line.split_whitespace();
    let mut vector = [0.0; 3];
    for x in &mut vector {
        let number = words.next().and_then(|word| word.parse().ok()).filter(|number: &f64| number.is_finite());
        *x = number.ok_or_else(|| format!("expected three finite numbers, found '{}'", shown(line)))?;
    }
    Ok(vector)
}

/// The three Fortran logicals behind a position: T where the atom may move.
fn parse_fixed(line: &str) -> std::result::Result<bool, String> {
    let flags: Vec<Option<bool>> = line
        .split_whitespace()
        .skip(3)
        .take(3)
        .map(|word| match word.trim_start_matches('.').chars().next() {
            Some('T' | 't') => Some(true),
            Some('F' | 'f') => Some(false),
            _ => None,
        })
        .collect();
    match flags[..] {
        [Some(true), Some(true), Some(true)] => Ok(false),
        [Some(false), Some(false), Some(false)] => Ok(true),
        [Some(_), Some(_), Some(_)] => {
            Err("the atom is fixed along some axes only; atoms are fixed as a whole here".into())
        }
        _ => Err(format!("expected three flags T or F behind the position, found '{}'", shown(line))),
    }
}

fn starts_with_any(line: &str, letters: &str) -> bool {
    line.trim_start().starts_with(|c| letters.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "slab\n2.0\n2 0 0\n0.5 2 0\n0 0 5\n";
    const BODY: &str =
        "Pt Au_pv\n1 2 ! counts\nSelective dynamics\nDirect\n0 0 0 F F F\n0.5 0.5 0.25 T T T Au\n-0.25 0 1.5 T T T\n";

    fn read(text: &str) -> Result<Structure> {
        parse_poscar(text, Path::new("POSCAR"))
    }

    #[test]
    fn direct_positions_fixed_atoms_and_velocities() {
        let structure = read(&format!("{HEAD}{BODY}\n0 0 0\n0 0 0\n0 0 0\n")).unwrap();
        assert_eq!(structure.cell.vectors, [[4.0, 0.0, 0.0], [1.0, 4.0, 0.0], [0.0, 0.0, 10.0]]);
        assert_eq!(structure.cell.periodic, [true; 3]);
        assert_eq!(structure.numbers, [78, 79, 79]);
        assert_eq!(structure.positions, [[0.0; 3], [2.5, 2.0, 2.5], [-1.0, 0.0, 15.0]]);
        assert_eq!(structure.fixed, [true, false, false]);
    }

    #[test]
    fn scaling_factors() {
        let cell = "3 0 0\n0 0 3\n0 3 0\nH\n1\nCartesian\n1 1 1\n";
        let volume = read(&format!("left-handed, by volume\n-216\n{cell}")).unwrap();
        assert!((volume.cell.volume() - 216.0).abs() < 1e-9);
        assert!((volume.cell.vectors[0][0] - 6.0).abs() < 1e-12 && (volume.positions[0][2] - 2.0).abs() < 1e-12);
        let three = read(&format!("three factors\n2 1 0.5\n{cell}")).unwrap();
        assert_eq!(three.cell.vectors, [[6.0, 0.0, 0.0], [0.0, 0.0, 1.5], [0.0, 3.0, 0.0]]);
        assert_eq!(three.positions, [[2.0, 1.0, 0.5]]);
        assert_eq!(three.fixed, [false]);
    }

    #[test]
    fn malformed_files_are_refused_with_the_line() {
        let good = format!("{HEAD}{BODY}");
        let cases = [
            (String::new(), "line 0: the file ends where the comment should follow"),
            (HEAD.into(), "line 5: the file ends where the element symbols should follow"),
            (good.replace("2.0\n", "0\n"), "line 2: '0' is neither one scaling factor other than 0 nor three above 0"),
            (good.replace("2.0\n", "1 -1 1\n"), "line 2: '1 -1 1' is neither"),
            (good.replace("2.0\n", "1 1\n"), "line 2: '1 1' is neither"),
            (good.replace("2.0\n", "inf\n"), "line 2: 'inf' is neither"),
            (good.replace("2 0 0\n", "2 0\n"), "line 3: expected three finite numbers, found '2 0'"),
            (good.replace("2 0 0\n", "2 0 nan\n"), "line 3: expected three finite numbers"),
            (good.replace("0 0 5\n", "4 0 0\n"), "line 5: the cell has no volume"),
            (good.replace("0 0 5\n", "4 0 0\n").replace("2.0\n", "-9\n"), "line 5: the cell has no volume"),
            (good.replace("Pt Au_pv\n", ""), "line 6: counts stand where VASP 5 has element symbols"),
            (good.replace("Pt Au_pv", "Pt Xx"), "line 6: 'Xx' is not the symbol of an element"),
            (good.replace("1 2 !", "1 !"), "line 7: 2 element symbols but 1 counts"),
            (good.replace("1 2 !", "1 0 !"), "line 7: '0' is not a positive number of atoms"),
            (good.replace("1 2 !", "1 18446744073709551615 !"), "line 12: the file ends where the position of an atom"),
            (good.replace("Direct", "Fractional"), "line 9: expected Direct or Cartesian, found 'Fractional'"),
            (good.replace("0.5 0.5 0.25 T", "0.5 half 0.25 T"), "line 11: expected three finite numbers"),
            (good.replace("0 F F F", "0 F F T"), "line 10: the atom is fixed along some axes only"),
            (good.replace("0 F F F", "0 F F"), "line 10: expected three flags T or F"),
            (good.replace("-0.25 0 1.5", "-0.25 0 1e308"), "line 12: a position is not finite once scaled"),
        ];
        for (text, sentence) in cases {
            let error = read(&text).expect_err(&text);
            assert!(error.to_string().contains(sentence), "{text}\n gives {error}\n not {sentence}");
            assert!(error.to_string().starts_with("POSCAR: "), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    proptest! {
        #[test]
        fn damaged_files_are_answered(position in 0..90usize, byte in any::<u8>(), n_removed in 0usize..20) {
            let mut bytes = format!("{HEAD}{BODY}").into_bytes();
            bytes[position] = byte;
            bytes.drain(position..position + n_removed);
            if let Ok(structure) = read(&String::from_utf8_lossy(&bytes)) {
                prop_assert!(structure.validate().is_ok());
            }
        }
    }
}
