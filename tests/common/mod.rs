//! A reader of the reference files, small and independent of the crate's own.

use std::path::Path;

use godiff::system::{Cell, Structure, Vec3};

/// A structure with what another code computed for it.
pub struct Reference {
    /// The comment line's `name`.
    pub name: String,
    /// Atoms and cell.
    pub structure: Structure,
    /// `ref_energy`, eV.
    pub energy: f64,
    /// `ref_forces`, eV/Å.
    pub forces: Vec<Vec3>,
}

/// Reads an extended XYZ file of this repository (path relative to its root).
pub fn read(path: &str) -> Vec<Reference> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = text.lines();
    let mut all = Vec::new();
    while let Some(count) = lines.next() {
        let n: usize = count.trim().parse().unwrap();
        let comment = lines.next().unwrap();
        let lattice: Vec<f64> = value(comment, "Lattice").map_or(vec![0.0; 9], numbers);
        let periodic = value(comment, "pbc").map_or([false; 3], |text| {
            let flags: Vec<bool> = text.split_whitespace().map(|flag| flag == "T").collect();
            flags.try_into().unwrap()
        });
        let vectors = std::array::from_fn(|row| std::array::from_fn(|x| lattice[3 * row + x]));
        let columns = columns(value(comment, "Properties").unwrap());
        let (mut species, mut positions, mut forces) = (Vec::new(), Vec::new(), Vec::new());
        for line in lines.by_ref().take(n) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let vector = |name: &str| -> Option<Vec3> {
                let start = columns.iter().find(|(column, _)| column == name)?.1;
                Some(std::array::from_fn(|x| words[start + x].parse().unwrap()))
            };
            species.push(atomic_number(words[0]));
            positions.push(vector("pos").unwrap());
            forces.extend(vector("ref_forces"));
        }
        all.push(Reference {
            name: value(comment, "name").unwrap_or_default().into(),
            structure: Structure::new(Cell { vectors, periodic }, species, positions),
            energy: value(comment, "ref_energy")
                .or(value(comment, "emt_energy"))
                .map_or(f64::NAN, |e| e.parse().unwrap()),
            forces,
        });
    }
    all
}

/// The value of `key=value` or `key="value"`.
fn value<'a>(comment: &'a str, key: &str) -> Option<&'a str> {
    let start = comment.match_indices(&format!("{key}=")).find(|&(at, _)| at == 0 || &comment[at - 1..at] == " ")?.0;
    let rest = &comment[start + key.len() + 1..];
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split_whitespace().next(),
    }
}

/// Name and first word of each column of `Properties`.
fn columns(properties: &str) -> Vec<(String, usize)> {
    let parts: Vec<&str> = properties.split(':').collect();
    let mut start = 0;
    let mut columns = Vec::new();
    for part in parts.chunks(3) {
        columns.push((part[0].to_string(), start));
        start += part[2].parse::<usize>().unwrap();
    }
    columns
}

fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

fn atomic_number(symbol: &str) -> u8 {
    let known = [
        ("H", 1),
        ("C", 6),
        ("N", 7),
        ("O", 8),
        ("Al", 13),
        ("Ar", 18),
        ("Ni", 28),
        ("Cu", 29),
        ("Pd", 46),
        ("Ag", 47),
        ("Pt", 78),
        ("Au", 79),
    ];
    known.iter().find(|(name, _)| *name == symbol).unwrap_or_else(|| panic!("{symbol} in a reference file")).1
}
