//! VASP's POSCAR and CONTCAR files, version 5: the line of element symbols is above the line of counts.

mod write;

pub(super) use write::check_frames;
pub use write::format_poscar;

use super::elements::{atomic_number, capitalised};
use super::files::{parse_real, read_text, shown};
use super::vector::{combine, cross, dot, is_finite};
use super::xyz::{Axes, Frame, Moves};
use super::{Cell, Structure, Vec3};
use crate::error::{Error, Result};
use std::path::Path;

/// The structure of a POSCAR file, periodic along all axes. Atoms whose three selective-dynamics flags are F are fixed. Lines after
/// the positions (velocities) are not read.
///
/// # Errors
/// `BadInput` for a file that cannot be read and for everything [`parse_poscar`] refuses.
pub fn read_poscar(path: &Path) -> Result<Frame> {
    parse_poscar(&read_text(path)?, path)
}

/// The structure in `text`, the contents of the POSCAR file `path` (named in errors), with its selective-dynamics flags.
///
/// # Errors
/// `BadInput` with the line for the VASP 4 format, unknown elements, numbers that are missing or not finite, a cell without
/// volume, and a file that ends early.
pub fn parse_poscar(text: &str, path: &Path) -> Result<Frame> {
    let mut lines = Lines { lines: text.lines(), number: 0 };
    parse(&mut lines).map_err(|message| Error::bad_file(path, format!("line {}: {message}", lines.number)))
}

/// The lines of a file with a counter.
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

    fn peek(&self) -> Option<&'a str> {
        self.lines.clone().next()
    }
}

fn parse(lines: &mut Lines) -> std::result::Result<Frame, String> {
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
    cell.check().map_err(|error| error.to_string())?;

    let species = parse_species(lines)?;
    let mut mode = lines.next("Direct or Cartesian")?;
    let selective = starts_with_any(mode, "sS");
    if selective {
        mode = lines.next("Direct or Cartesian")?;
    }
    // VASP reads every line that does not begin with one of these letters as "direct". A line of coordinates here means that this
    // line was forgotten.
    let cartesian = starts_with_any(mode, "cCkK");
    if mode.trim().is_empty() || parse_vector(mode).is_ok() {
        return Err(format!("expected Direct or Cartesian, found '{}'", shown(mode)));
    }
    let (mut numbers, mut positions, mut flags) = (Vec::new(), Vec::new(), Vec::new());
    for (number, count) in species {
        for _ in 0..count {
            let line = lines.next("the position of an atom")?;
            let point = parse_vector(line)?;
            numbers.push(number);
            positions.push(if cartesian { scaled(point) } else { combine(point, &cell.vectors) });
            flags.push(if selective { parse_flags(line)? } else { [true; 3] });
        }
    }
    if positions.iter().any(|&p| !is_finite(p)) {
        return Err("a position is not finite once scaled".into());
    }
    Ok(Frame::from(Structure::new(cell, numbers, positions)).with_moves(Moves { along: Axes::Lattice, flags }))
}

/// Content of the second line.
enum Factors {
    /// Multiplies the Cartesian components.
    PerAxis(Vec3),
    /// The volume of the cell, Å³.
    Volume(f64),
}

fn parse_factors(line: &str) -> std::result::Result<Factors, String> {
    let refuse = || format!("'{}' is neither one scaling factor other than 0 nor three above 0", shown(line));
    // Anything after the numbers is a comment.
    let numbers: Vec<f64> = line.split_whitespace().take(3).map_while(parse_real).collect();
    match numbers[..] {
        _ if numbers.iter().any(|x| !x.is_finite()) => Err(refuse()),
        [factor] if factor > 0.0 => Ok(Factors::PerAxis([factor; 3])),
        [volume] if volume < 0.0 => Ok(Factors::Volume(-volume)),
        [x, y, z] if x > 0.0 && y > 0.0 && z > 0.0 => Ok(Factors::PerAxis([x, y, z])),
        _ => Err(refuse()),
    }
}

/// Atomic numbers with how many atoms of each follow. VASP breaks both lists after 20 entries.
fn parse_species(lines: &mut Lines) -> std::result::Result<Vec<(u8, usize)>, String> {
    let is_count = |line: &str| line.split_whitespace().next().is_some_and(|word| word.parse::<u64>().is_ok());
    let mut line = lines.next("the element symbols")?;
    if is_count(line) {
        return Err(
            "counts stand where VASP 5 has element symbols; put a line with the symbols above them (VASP 4 files lack it)"
                .into(),
        );
    }
    let mut elements: Vec<u8> = Vec::new();
    while !is_count(line) {
        let before = elements.len();
        for word in uncommented(line) {
            // VASP also writes the names of its potentials: Na_pv, Na_pv/6a2f546d.
            let symbol = capitalised(word.split(['_', '/']).next().unwrap_or_default());
            let number = atomic_number(&symbol);
            elements.push(number.ok_or_else(|| format!("'{}' is not the symbol of an element", shown(word)))?);
        }
        if elements.len() == before {
            return Err(format!("expected element symbols or their counts, found '{}'", shown(line)));
        }
        line = lines.next("the counts of the elements")?;
    }
    let mut counts: Vec<usize> = Vec::new();
    loop {
        for word in uncommented(line) {
            let count = word.parse().map_err(|_| format!("'{}' is not a number of atoms", shown(word)))?;
            counts.push(count);
        }
        if counts.len() >= elements.len() || !lines.peek().is_some_and(is_count) {
            break;
        }
        line = lines.next("the counts of the elements")?;
    }
    if elements.len() != counts.len() {
        return Err(format!("{} element symbols but {} counts; give one count for each", elements.len(), counts.len()));
    }
    if counts.iter().all(|&count| count == 0) {
        return Err("all counts are 0; give at least one atom".into());
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
        let number = words.next().and_then(parse_real).filter(|number| number.is_finite());
        *x = number.ok_or_else(|| format!("expected three finite numbers, found '{}'", shown(line)))?;
    }
    Ok(vector)
}

/// The three Fortran logicals after a position: T if the atom may move along a lattice vector.
fn parse_flags(line: &str) -> std::result::Result<[bool; 3], String> {
    let flag = |word: &str| match word.trim_start_matches('.').chars().next() {
        Some('T' | 't') => Some(true),
        Some('F' | 'f') => Some(false),
        _ => None,
    };
    let flags: Vec<Option<bool>> = line.split_whitespace().skip(3).take(3).map(flag).collect();
    match flags[..] {
        [Some(a), Some(b), Some(c)] => Ok([a, b, c]),
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
        parse_poscar(text, Path::new("POSCAR")).map(|frame| frame.structure)
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
    fn lists_are_broken_and_counts_are_zero() {
        let species = |lists: &str| read(&format!("{HEAD}{lists}D\n0 0 0\n0.5 0 0\n0 0.5 0\n")).map(|s| s.numbers);
        for lists in
            ["Pt Au\n1 2\n", "PT au\n1 2\n", "Pt\nAu\n1\n2\n", "Pt ! first\nAu\n1 2\n", "Pt Cu Au\n1 0 2 ! 3\n"]
        {
            assert_eq!(species(lists).unwrap(), [78, 79, 79], "{lists}");
        }
        assert_eq!(species("Pt Au Pt\n1 1 1\n").unwrap(), [78, 79, 78]);
    }

    #[test]
    fn keywords_go_by_their_first_letter() {
        let positions = |mode: &str| read(&format!("{HEAD}H\n1\n{mode}\n0 0 0.5\n")).unwrap().positions;
        for mode in ["Direct", "direct", "fractional", "Fractional coordinates", " D", "reduced", "1", "?"] {
            assert_eq!(positions(mode), [[0.0, 0.0, 5.0]], "{mode}");
        }
        for mode in ["Cartesian", "cart", "K", "  kartesisch"] {
            assert_eq!(positions(mode), [[0.0, 0.0, 1.0]], "{mode}");
        }
    }

    #[test]
    fn numbers_have_exponents_of_fortran() {
        let text = "by d\n0.1d1\n2.0D0 0 0\n0 2d+0 0\n0 0 20.d-1\nH\n1\nD\n0 0 5.0d-1\n";
        let structure = read(text).unwrap();
        assert_eq!(structure.cell.volume(), 8.0);
        assert_eq!(structure.positions, [[0.0, 0.0, 1.0]]);
    }

    #[test]
    fn atoms_may_be_fixed_along_some_vectors() {
        let text = format!("{HEAD}{BODY}").replace("0 F F F", "0 F .TRUE. f");
        let frame = parse_poscar(&text, Path::new("POSCAR")).unwrap();
        assert_eq!(frame.partly_fixed(), Some(0));
        assert_eq!(frame.structure.fixed, [false; 3]);
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
            (good.replace("1 2 !", "0 0 !"), "line 7: all counts are 0; give at least one atom"),
            (good.replace("1 2 !", "1 -2 !"), "line 7: '-2' is not a number of atoms"),
            (good.replace("1 2 !", "! 1 2"), "line 7: expected element symbols or their counts, found '! 1 2 counts'"),
            (good.replace("1 2 !", "1 18446744073709551615 !"), "line 12: the file ends where the position of an atom"),
            (good.replace("Direct\n", ""), "line 9: expected Direct or Cartesian, found '0 0 0 F F F'"),
            (good.replace("Direct", " "), "line 9: expected Direct or Cartesian, found ''"),
            (good.replace("0.5 0.5 0.25 T", "0.5 half 0.25 T"), "line 11: expected three finite numbers"),
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
                prop_assert!(structure.check().is_ok());
            }
        }
    }
}
