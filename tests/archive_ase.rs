//! ASE opens what godiff wrote. Needs the Python interpreter named by `GODIFF_PYTHON`, with ase and numpy.

use godiff::archive::{Archive, Entry, Status};
use godiff::system::{Cell, System, Vec3};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

fn slab() -> System {
    System {
        cell: Cell { vectors: [[5.0, 0.0, 0.0], [1.0, 5.5, 0.0], [0.1, 0.2, 20.0]], periodic: [true, true, false] },
        template_numbers: vec![78, 29, 78],
        template_positions: vec![[0.0, 0.1, 1.0], [2.5, 0.0, 1.0], [0.0, 2.5, 1.0 / 3.0]],
        free_numbers: vec![78, 13],
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    }
}

fn cluster() -> System {
    System {
        cell: Cell { vectors: [[0.0; 3]; 3], periodic: [false; 3] },
        template_numbers: vec![],
        template_positions: vec![],
        free_numbers: vec![18; 4],
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    }
}

/// Entries of every kind: with energy, without, without finite energy but with forces, in five iterations.
fn entries(system: &System) -> Vec<Entry> {
    let statuses = Status::ALL.into_iter().chain([Status::Ok; 4]);
    let kinds = statuses.zip([0, 3, 3, 1, 2, 2, 3, 3, 4, 0]);
    let entry = |(index, (status, iteration)): (u32, (Status, u32))| {
        let vector =
            |k: usize| -> Vec3 { std::array::from_fn(|axis| (k as f64 - f64::from(index)) / (3.0 + axis as f64)) };
        let answered = !matches!(status, Status::TooClose | Status::Failed);
        Entry {
            iteration,
            index,
            kt_ev: 5.0 * 0.3f64.powf(f64::from(iteration)),
            status,
            origin: None,
            predicted_ev: None,
            free_positions: (0..system.n_free()).map(vector).collect(),
            energy: answered.then(|| if status == Status::NotFinite { f64::NAN } else { f64::from(index) / 7.0 - 0.5 }),
            forces: answered.then(|| (0..system.n_atoms()).map(vector).collect()),
        }
    };
    (0..).zip(kinds).map(entry).collect()
}

fn expected(system: &System, entries: &[Entry]) -> Value {
    let rows: Vec<Value> = entries
        .iter()
        .map(|entry| {
            json!({
                "iteration": entry.iteration, "sample": entry.index, "kt_ev": entry.kt_ev, "status": entry.status,
                "energy": entry.energy, "forces": entry.forces,
                "positions": system.structure(&entry.free_positions).positions,
            })
        })
        .collect();
    json!({
        "numbers": system.numbers(), "cell": system.cell.vectors, "pbc": system.cell.periodic,
        "n_template": system.n_template(), "calculator": "emt", "rows": rows,
    })
}

#[test]
fn ase_reads_every_row_exactly() {
    let Some(python) = std::env::var_os("GODIFF_PYTHON") else {
        println!("skipped: GODIFF_PYTHON does not name a Python interpreter with ase");
        return;
    };
    for system in [slab(), cluster()] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.db");
        let mut archive = Archive::create(&path, &system, "EMT", 1).unwrap();
        let entries = entries(&system);
        archive.record(&entries[..4]).unwrap();
        archive.record(&entries[4..]).unwrap();
        let before = archive.all_ok().unwrap();
        let expected_path = folder.path().join("expected.json");
        std::fs::write(&expected_path, expected(&system, &entries).to_string()).unwrap();

        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/archive_check.py");
        let output = Command::new(&python).arg(script).arg(&path).arg(&expected_path).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(text(&output.stdout), "ok\n");

        // The script has added a key and a row through ASE meanwhile.
        assert_eq!(archive.all_ok().unwrap(), before);
        archive.record(&[Entry { iteration: 9, ..entries[0].clone() }]).unwrap();
        assert_eq!(archive.counts().unwrap().samples(), entries.len() as u64 + 1);
    }
}
