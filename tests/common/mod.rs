//! Structures with what an independent code computed for them.

// Each test and bench uses its own part.
#![allow(dead_code)]

use std::fs::File;
use std::path::Path;

use flate2::read::GzDecoder;
use godiff::system::xyz::{Value, parse_frames, read_frames};
use godiff::system::{Structure, Vec3};

/// A structure and its reference values.
pub struct Reference {
    /// The comment line's `name`.
    pub name: String,
    /// Atoms and cell.
    pub structure: Structure,
    /// `ref_energy`, or `emt_energy` of the configurations' structures, eV.
    pub energy: f64,
    /// `ref_forces`, eV/Å; empty where there are none.
    pub forces: Vec<Vec3>,
}

/// Reads an extended XYZ file of this repository (path relative to its root).
pub fn read(path: &str) -> Vec<Reference> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let frames = match path.extension() {
        Some(extension) if extension == "gz" => {
            let text = std::io::read_to_string(GzDecoder::new(File::open(&path).unwrap())).unwrap();
            parse_frames(&text, &path).unwrap()
        }
        _ => read_frames(&path).unwrap(),
    };
    let reference = |frame: godiff::system::xyz::Frame| Reference {
        name: match frame.info("name") {
            Some(Value::Text(name)) => name.clone(),
            _ => String::new(),
        },
        energy: match frame.info("ref_energy").or(frame.info("emt_energy")) {
            Some(&Value::Real(energy)) => energy,
            _ => f64::NAN,
        },
        forces: frame.vectors("ref_forces").unwrap_or_default(),
        structure: frame.structure,
    };
    frames.into_iter().map(reference).collect()
}
