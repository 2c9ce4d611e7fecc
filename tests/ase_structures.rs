//! Structures that ASE wrote come back the same through this crate, and the other way round, judged by ASE itself.
//!
//! Needs a Python with ASE, named by the environment variable GODIFF_PYTHON; skipped with a message without it.

use godiff::system::xyz::{Frame, parse_frames, read_frames, write_frames};
use godiff::system::{self, Cell, Format, Structure, Vec3, elements, read_structure, read_structures};
use rand::{RngExt, SeedableRng};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `tests/python/check_structures.py VERB DIR` and fails with what it printed.
fn python(interpreter: &str, verb: &str, folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/check_structures.py");
    let output = Command::new(interpreter).arg(script).arg(verb).arg(folder).output().expect("the interpreter starts");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "check_structures.py {verb} failed:\n{text}");
    println!("{text}");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Structures with numbers of every size, and the same content as plain JSON for the script.
fn own_frames() -> (Vec<Frame>, serde_json::Value) {
    let mut rng = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(5);
    let mut random = move || (rng.random::<f64>() - 0.5) * 10f64.powi(rng.random_range(-12..12));
    let mut frames = Vec::new();
    let mut plain = Vec::new();
    for k in 0..8usize {
        let vectors = if k == 0 {
            [[0.0; 3]; 3]
        } else {
            [[4.0 + random().sin(), 0.1, 0.0], [0.3, 5.0, 1.0 / 3.0], [0.0, 0.1, 7.0]]
        };
        let periodic: [bool; 3] = std::array::from_fn(|axis| k > 0 && (k >> axis) % 2 == 1);
        let mut vectors_of = || -> Vec<Vec3> { (0..=k).map(|_| std::array::from_fn(|_| random())).collect() };
        let (positions, forces, score) = (vectors_of(), vectors_of(), vectors_of());
        let mut structure =
            Structure::new(Cell { vectors, periodic }, (0..=k).map(|i| 1 + 14 * i as u8).collect(), positions);
        structure.energy = Some(random());
        structure.forces = Some(forces);
        structure.fixed = (0..=k).map(|i| i < k / 2).collect();
        plain.push(serde_json::json!({
            "cell": vectors, "pbc": periodic, "numbers": structure.numbers, "positions": structure.positions,
            "energy": structure.energy, "forces": structure.forces, "fixed": structure.fixed, "score": score,
        }));
        frames.push(
            Frame::from(structure)
                .with_info("step", k as i64)
                .with_info("third", 1.0 / 3.0)
                .with_info("status", "too close")
                .with_info("looks_like_a_number", "5")
                .with_info("empty", "")
                .with_info("quote", "say \"F=m·a\" \\ {x}\n")
                .with_info("flag", false)
                .with_vectors("score", &score),
        );
    }
    (frames, plain.into())
}

#[test]
fn structures_travel_to_ase_and_back() {
    let Ok(interpreter) = std::env::var("GODIFF_PYTHON") else {
        println!("skipped: set GODIFF_PYTHON to a Python with ASE to compare structure files with it");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["xyz", "xyz-back", "poscar", "poscar-back", "poscar-again"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    python(&interpreter, "write", folder.path());

    let written = files(&path("xyz"));
    assert!(written.len() >= 50, "the script wrote {} files", written.len());
    for file in &written {
        let frames = read_frames(file).unwrap();
        assert_eq!(read_structures(file).unwrap().len(), frames.len());
        let back = path("xyz-back").join(file.file_name().unwrap());
        write_frames(&back, &frames).unwrap();
        assert_eq!(read_frames(&back).unwrap(), frames, "{}", file.display());
    }
    let written = files(&path("poscar"));
    assert!(written.len() >= 20, "the script wrote {} files", written.len());
    for file in &written {
        let frames = system::read_frames(file).unwrap();
        let again = path("poscar-again").join(file.file_name().unwrap());
        std::fs::write(&again, Format::Poscar.write(&again, &frames).unwrap()).unwrap();
        let back = path("poscar-back").join(file.file_name().unwrap()).with_added_extension("xyz");
        if let Ok(text) = Format::Xyz.write(&back, &frames) {
            std::fs::write(&back, text).unwrap();
        }
    }
    let (frames, plain) = own_frames();
    write_frames(&path("own.xyz"), &frames).unwrap();
    std::fs::write(path("own.json"), plain.to_string()).unwrap();
    let table: Vec<_> = (1..=118).map(|z| (elements::symbol(z), elements::covalent_radius(z))).collect();
    std::fs::write(path("elements.json"), serde_json::to_string(&table).unwrap()).unwrap();
    python(&interpreter, "check", folder.path());
}

/// The structures that the configurations name.
#[test]
fn shipped_structures_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/structures");
    for (name, n_atoms) in [
        ("pt-stepped", 20),
        ("pt-adatom-minimum", 21),
        ("pt111-6x6x2", 72),
        ("pt7-hexagon-fcc", 79),
        ("pt7-hexagon-hcp", 79),
    ] {
        let structure = read_structure(&folder.join(name).with_extension("xyz")).unwrap();
        assert_eq!(structure.numbers, vec![78; n_atoms], "{name}");
        assert_eq!(structure.cell.periodic, [true, true, false]);
        assert_eq!((structure.energy, structure.forces), (None, None));
    }
}

/// Reading is linear in the size of the file whatever its first line claims.
#[test]
fn a_lying_atom_count_costs_nothing() {
    let error = parse_frames("4000000000000000000\n\nH 0 0 0\n", Path::new("lie.xyz")).unwrap_err();
    assert_eq!(error.to_string(), "lie.xyz: line 1: the file ends after 1 of the frame's 4000000000000000000 atoms");
}
