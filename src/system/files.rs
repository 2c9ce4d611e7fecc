//! Structure files of any known format, chosen by name.

use super::Structure;
use super::poscar::read_poscar;
use super::xyz::read_frames;
use crate::error::{Error, Result};
use std::path::Path;

/// All structures of a file: POSCAR where the name holds `POSCAR` or `CONTCAR` or ends in `.vasp` or `.poscar`, extended XYZ
/// otherwise. Every structure returned passes [`Structure::validate`].
///
/// # Errors
/// `BadInput` with the file and the line for a file that cannot be read or understood.
pub fn read_structures(path: &Path) -> Result<Vec<Structure>> {
    let structures = if is_poscar(path) {
        vec![read_poscar(path)?]
    } else {
        read_frames(path)?.into_iter().map(|frame| frame.structure).collect()
    };
    for (k, structure) in structures.iter().enumerate() {
        structure.validate().map_err(|error| Error::bad_file(path, format!("structure {}: {error}", k + 1)))?;
    }
    Ok(structures)
}

/// The one structure of a file, such as a template or a target.
///
/// # Errors
/// `BadInput` as [`read_structures`], and for a file with more than one structure.
pub fn read_structure(path: &Path) -> Result<Structure> {
    let mut structures = read_structures(path)?;
    match (structures.pop(), structures.len()) {
        (Some(structure), 0) => Ok(structure),
        (_, others) => Err(Error::bad_file(
            path,
            format!("holds {} structures where exactly one is needed; keep one in a file of its own", others + 1),
        )),
    }
}

fn is_poscar(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let lower = name.to_lowercase();
    name.contains("POSCAR") || name.contains("CONTCAR") || lower.ends_with(".vasp") || lower.ends_with(".poscar")
}

/// The whole file as text.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|error| {
        Error::bad_file(path, format!("cannot be read: {error}; check the path and its permissions"))
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|&byte| byte == b'\n').count();
        Error::bad_file(path, format!("line {line}: is not text in UTF-8; give a plain text structure file"))
    })
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

    #[test]
    fn format_follows_the_name() {
        for name in ["POSCAR", "CONTCAR.relaxed", "POSCAR_1", "slab.vasp", "Slab.POSCAR", "slab.poscar", "a/b.VASP"] {
            assert!(is_poscar(Path::new(name)), "{name}");
        }
        for name in ["slab.xyz", "slab.extxyz", "poscar.xyz", "POSCARS/slab.xyz", "vasp"] {
            assert!(!is_poscar(Path::new(name)), "{name}");
        }
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
