//! Structure files of any known format, chosen by name.

use super::Structure;
use super::poscar::{self, format_poscar, read_poscar};
use super::xyz::{self, Frame, format_frames, parse_frames};
use crate::error::{Error, Result};
use std::path::Path;

/// The formats that are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Extended XYZ, any number of structures.
    Xyz,
    /// VASP's POSCAR and CONTCAR, one structure.
    Poscar,
}

/// The formats with the file names that identify them, for messages.
const FORMATS: &str =
    "extended XYZ (.xyz, .extxyz) and POSCAR (a name with POSCAR or CONTCAR, or .vasp, .poscar, .contcar)";

impl Format {
    /// The format that a file's name means, in upper or lower case; none for other names.
    pub fn of(path: &Path) -> Option<Format> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if [".xyz", ".extxyz"].iter().any(|ending| name.ends_with(ending)) {
            Some(Format::Xyz)
        } else if ["poscar", "contcar"].iter().any(|word| name.contains(word)) || name.ends_with(".vasp") {
            Some(Format::Poscar)
        } else {
            None
        }
    }

    /// The format in which `path` is to be written. A path that is no regular file (a pipe, a terminal) gets extended XYZ.
    ///
    /// # Errors
    /// `BadInput` for a name that means neither format; the message names the command that converts.
    pub fn to_write(path: &Path) -> Result<Format> {
        let is_device = || std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
        Format::of(path).or_else(|| is_device().then_some(Format::Xyz)).ok_or_else(|| {
            let own = path.with_extension("xyz");
            let (own, other) = (own.display(), path.display());
            Error::bad_file(
                path,
                format!(
                    "structures are written as {FORMATS}; write {own} and convert it with `ase convert {own} {other}`"
                ),
            )
        })
    }

    /// Checks that `frames` can be written as `path` in this format, before anything is computed for them.
    ///
    /// # Errors
    /// `BadInput` for several structures, a missing cell and the like in a POSCAR, and for constraints that the format lacks.
    pub fn check(self, path: &Path, frames: &[Frame]) -> Result<()> {
        match self {
            Format::Poscar => poscar::check_frames(path, frames),
            Format::Xyz => frames.iter().enumerate().try_for_each(|(k, frame)| {
                xyz::check_frame(frame).map_err(|why| Error::bad_file(path, format!("structure {}: {why}", k + 1)))
            }),
        }
    }

    /// The contents of the file `path` with `frames` in this format.
    ///
    /// # Errors
    /// As [`Format::check`].
    pub fn write(self, path: &Path, frames: &[Frame]) -> Result<String> {
        self.check(path, frames)?;
        match (self, frames) {
            (Format::Poscar, [frame]) => format_poscar(frame).map_err(|why| Error::bad_file(path, why)),
            _ => Ok(format_frames(frames)),
        }
    }
}

/// All structures of a file with their further keys and columns, in the [`Format`] of its name. A file of another name is read as
/// extended XYZ if it begins with a number of atoms. Every structure returned passes [`Structure::check`].
///
/// # Errors
/// `BadInput` with the file and the line for a file that cannot be read or understood.
pub fn read_frames(path: &Path) -> Result<Vec<Frame>> {
    let frames = match Format::of(path) {
        Some(Format::Poscar) => vec![read_poscar(path)?],
        Some(Format::Xyz) => xyz::read_frames(path)?,
        None => read_unnamed(path)?,
    };
    for (k, frame) in frames.iter().enumerate() {
        frame.structure.check().map_err(|error| Error::bad_file(path, format!("structure {}: {error}", k + 1)))?;
    }
    Ok(frames)
}

/// The extended XYZ file at `path`, which has a name without format.
fn read_unnamed(path: &Path) -> Result<Vec<Frame>> {
    let bytes = read_bytes(path)?;
    let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let is_count = str::from_utf8(first).is_ok_and(|line| line.trim().parse::<u64>().is_ok());
    if !is_count {
        let (other, own) = (path.display(), path.with_extension("xyz"));
        let message = format!(
            "its name stands for no format that is read: {FORMATS}; rename it, or convert it with `ase convert {other} {}`",
            own.display()
        );
        return Err(Error::bad_file(path, message));
    }
    parse_frames(&text(bytes, path)?, path)
}

/// All structures of a file, as [`read_frames`].
///
/// # Errors
/// Those of [`read_frames`].
pub fn read_structures(path: &Path) -> Result<Vec<Structure>> {
    Ok(read_frames(path)?.into_iter().map(|frame| frame.structure).collect())
}

/// The one structure of a file, such as a target.
///
/// # Errors
/// Those of [`read_frame`].
pub fn read_structure(path: &Path) -> Result<Structure> {
    Ok(read_frame(path)?.structure)
}

/// The one structure of a file, such as a template, with its further keys and columns.
///
/// # Errors
/// `BadInput` as [`read_frames`], and for a file with more than one structure.
pub fn read_frame(path: &Path) -> Result<Frame> {
    let mut frames = read_frames(path)?;
    match (frames.pop(), frames.len()) {
        (Some(frame), 0) => Ok(frame),
        (_, others) => Err(Error::bad_file(
            path,
            format!("holds {} structures where exactly one is needed; keep one in a file of its own", others + 1),
        )),
    }
}

/// The whole file as text.
pub(super) fn read_text(path: &Path) -> Result<String> {
    text(read_bytes(path)?, path)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|error| Error::bad_file(path, format!("cannot be read: {error}; check the path and its permissions")))
}

/// `bytes` as text, without the mark at the start with which some editors say that it is UTF-8.
fn text(mut bytes: Vec<u8>, path: &Path) -> Result<String> {
    if bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(..'\u{feff}'.len_utf8());
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|&byte| byte == b'\n').count();
        Error::bad_file(path, format!("line {line}: is not text in UTF-8; give a plain text structure file"))
    })
}

/// A number as C or Fortran writes it: the exponent may begin with d or D.
pub(super) fn parse_real(text: &str) -> Option<f64> {
    let fortran = |c: char| c.is_ascii_digit() || "+-.dD".contains(c);
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) if text.chars().all(fortran) => text.replacen(['d', 'D'], "e", 1).parse().ok(),
        Err(_) => None,
    }
}

/// A piece of input fit for a one-line message.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut shown: String = text.trim().chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Editors of Windows put a mark before the text.
    #[test]
    fn a_mark_before_the_text_is_skipped() {
        let folder = tempfile::TempDir::new().unwrap();
        let poscar = "Cu\n1.0\n 4 0 0\n 0 4 0\n 0 0 4\nCu\n1\nDirect\n0 0 0\n";
        for (name, text) in [("a.xyz", "1\n\nCu 0 0 0\n"), ("POSCAR", poscar)] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let plain = read_structures(&path).unwrap();
            std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
            assert_eq!(read_structures(&path).unwrap(), plain, "{name}");
        }
    }

    #[test]
    fn format_follows_the_name() {
        for name in
            ["POSCAR", "CONTCAR.relaxed", "POSCAR_1", "slab.vasp", "Slab.POSCAR", "slab.contcar", "poscar", "a/b.VASP"]
        {
            assert_eq!(Format::of(Path::new(name)), Some(Format::Poscar), "{name}");
        }
        for name in ["slab.xyz", "slab.extxyz", "poscar.xyz", "POSCARS/slab.xyz", "SLAB.XYZ"] {
            assert_eq!(Format::of(Path::new(name)), Some(Format::Xyz), "{name}");
        }
        for name in ["slab.cif", "POSCARS/slab.traj", "vasp", "xyz", "slab.json", "slab.db", "XDATCAR", "slab", ".."] {
            assert_eq!(Format::of(Path::new(name)), None, "{name}");
        }
        let error = Format::to_write(Path::new("a/out.traj")).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(
            error.to_string(),
            "a/out.traj: structures are written as extended XYZ (.xyz, .extxyz) and POSCAR (a name with POSCAR or CONTCAR, or \
             .vasp, .poscar, .contcar); write a/out.xyz and convert it with `ase convert a/out.xyz a/out.traj`"
        );
    }

    #[test]
    fn files_of_other_names_are_read_where_they_are_extended_xyz() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("frames.dat"), "1\n\nH 0 0 0\n").unwrap();
        assert_eq!(read_structures(&path("frames.dat")).unwrap().len(), 1);
        for (name, bytes) in [("slab.cif", &b"data_slab\n"[..]), ("slab.traj", b"- of Ulm\xff\x00"), ("empty", b"")] {
            std::fs::write(path(name), bytes).unwrap();
            let error = read_frames(&path(name)).unwrap_err();
            let sentence =
                format!("{name}: its name stands for no format that is read: extended XYZ (.xyz, .extxyz) and POSCAR");
            assert!(error.to_string().contains(&sentence), "{error}");
            assert!(error.to_string().contains("convert it with `ase convert "), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn numbers_are_those_of_c_and_fortran() {
        for (text, number) in [("1", 1.0), ("-1.5e-3", -1.5e-3), ("1.8D+00", 1.8), ("0.0d0", 0.0), (".5d1", 5.0)] {
            assert_eq!(parse_real(text), Some(number), "{text}");
        }
        for text in ["", "d", "1d", "1dd1", "1d1d1", "0x1d0", "1.0d0e0", "dd", "1 2"] {
            assert_eq!(parse_real(text), None, "{text}");
        }
        assert!(parse_real("nan").unwrap().is_nan());
    }

    #[test]
    fn files_that_cannot_be_used_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("two.xyz"), "1\n\nH 0 0 0\n1\n\nH 0 0 0\n").unwrap();
        std::fs::write(path("binary.xyz"), b"1\n\nH \xff 0 0\n").unwrap();
        std::fs::write(path("POSCAR"), "c\n1\n3 0 0\n0 3 0\n0 0 3\nH\n1\nD\n0 0 0.5\n").unwrap();
        assert_eq!(read_structures(&path("two.xyz")).unwrap().len(), 2);
        assert_eq!(read_structure(&path("POSCAR")).unwrap().positions, [[0.0, 0.0, 1.5]]);
        for (name, sentence) in [
            ("two.xyz", "two.xyz: holds 2 structures where exactly one is needed"),
            ("binary.xyz", "binary.xyz: line 3: is not text in UTF-8"),
            ("missing.xyz", "missing.xyz: cannot be read: "),
            (".", ": cannot be read: "),
        ] {
            let error = read_structure(&path(name)).unwrap_err();
            assert!(error.to_string().contains(sentence), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn input_in_messages_is_short_and_on_one_line() {
        assert_eq!(shown(" a\tb\u{1b}c "), "a b c");
        assert_eq!(shown(&"é".repeat(41)), "é".repeat(40) + "…");
    }
}
