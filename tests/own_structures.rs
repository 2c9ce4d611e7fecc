//! Structures of the user's own that a search begins with.

#[path = "common/command.rs"]
mod command;

use command::{godiff, refuses, succeeds};
use godiff::archive::{Origin, Selection, Stored, export};
use godiff::system::xyz::{Value, write_frames};
use godiff::system::{Structure, read_frames, read_structure, read_structures};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const CONFIG: &str = concat!(
    "
[system]
template = 'slab.xyz'
free = 'CuAu'
confinement = { above_template_angstrom = [0.5, 5.0] }
[potential]
kind = 'emt'
",
    include_str!("common/tiny.toml"),
);

/// A folder with the configuration, its slab, and two own structures in `known.xyz`: the second lists its atoms in another order.
fn place() -> TempDir {
    let place = TempDir::new().unwrap();
    let lattice = "Lattice=\"7.66 0 0 0 7.66 0 0 0 20\" Properties=species:S:1:pos:R:3 pbc=\"T T F\"";
    let atoms = |level: f64| (0..9).map(move |k| (2.5533 * f64::from(k / 3), 2.5533 * f64::from(k % 3), level));
    let slab: String = atoms(5.0).map(|(x, y, z)| format!("Cu {x:.4} {y:.4} {z}\n")).collect();
    fs::write(place.path().join("slab.xyz"), format!("9\n{lattice}\n{slab}")).unwrap();
    let first = format!("11\n{lattice} energy=-99.0\n{slab}Cu 1.28 1.28 6.8\nAu 3.83 1.28 7.0\n");
    let second = format!("11\n{lattice}\nAu 6.3 6.3 7.1\n{slab}Cu 3.83 6.3 6.9\n");
    fs::write(place.path().join("known.xyz"), first + &second).unwrap();
    fs::write(place.path().join("c.toml"), CONFIG).unwrap();
    place
}

fn stored(folder: &Path) -> Vec<Stored> {
    let mut all = Vec::new();
    export(&folder.join("archive.db"), Selection::All, &mut |stored| {
        all.push(stored);
        Ok(())
    })
    .unwrap();
    all
}

fn free(structure: &Structure) -> [[f64; 3]; 2] {
    [structure.positions[9], structure.positions[10]]
}

const FREE: [[[f64; 3]; 2]; 2] = [[[1.28, 1.28, 6.8], [3.83, 1.28, 7.0]], [[3.83, 6.3, 6.9], [6.3, 6.3, 7.1]]];

#[test]
fn a_search_begins_with_own_structures() {
    let place = place();
    let text = CONFIG.to_owned() + "[seeds]\nstructures = 'known.xyz'\n";
    fs::write(place.path().join("seeded.toml"), &text).unwrap();
    succeeds(place.path(), &["search", "seeded.toml", "--out", "run", "--quiet"]);
    let rows = stored(&place.path().join("run"));
    assert_eq!(rows.len(), 10);
    for (k, row) in rows.iter().enumerate() {
        assert_eq!(row.origin, Some(if k < 2 { Origin::Own } else { Origin::Reverse }), "{k}");
    }
    for (row, expected) in rows.iter().zip(FREE) {
        assert_eq!(free(&row.structure), expected);
        let energy = row.structure.energy.unwrap();
        assert!(energy > 0.0 && energy < 20.0, "EMT's energy, not the file's: {energy}");
    }
    let summary: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(place.path().join("run/summary.json")).unwrap()).unwrap();
    assert_eq!(summary["samples"], 10);

    // The origin is in both exports.
    succeeds(place.path(), &["export", "run", "-o", "all.xyz"]);
    let frames = read_frames(&place.path().join("all.xyz")).unwrap();
    let origins: Vec<_> = frames.iter().map(|frame| frame.info("origin").cloned()).collect();
    assert_eq!(origins[..3], ["own", "own", "reverse"].map(|origin| Some(Value::Text(origin.into()))));
    let table = succeeds(place.path(), &["export", "run", "--csv"]);
    let last: Vec<&str> = table.lines().map(|line| line.rsplit(',').next().unwrap()).collect();
    assert_eq!(last[..4], ["origin", "own", "own", "reverse"]);

    // The folder needs nothing outside itself, and the command line says the same.
    fs::rename(place.path().join("known.xyz"), place.path().join("elsewhere.xyz")).unwrap();
    succeeds(place.path(), &["search", "run/config.toml", "--out", "again", "--quiet"]);
    succeeds(place.path(), &["search", "c.toml", "--seed-structures", "elsewhere.xyz", "--out", "told", "--quiet"]);
    for name in ["config.toml", "seeds.xyz", "best.xyz", "minima.xyz", "model.safetensors"] {
        let read = |run: &str| fs::read(place.path().join(run).join(name)).unwrap();
        assert_eq!(read("run"), read("again"), "{name}");
        assert_eq!(read("run"), read("told"), "{name}");
    }
    let report = fs::read_to_string(place.path().join("run/report.html")).unwrap();
    assert!(report.contains("2 of them your own"), "{report}");
}

#[test]
fn ase_shows_the_origin() {
    let Some(python) = std::env::var_os("GODIFF_PYTHON") else {
        println!("skipped: GODIFF_PYTHON does not name a Python interpreter with ase");
        return;
    };
    let place = place();
    succeeds(place.path(), &["search", "c.toml", "--seed-structures", "known.xyz", "--out", "run", "--quiet"]);
    let script = "import ase.db\nrows = list(ase.db.connect('run/archive.db').select(origin='own'))\n\
                  assert [(r.iteration, r.sample, r.origin) for r in rows] == [(0, 0, 'own'), (0, 1, 'own')], rows\n\
                  others = [r.origin for r in ase.db.connect('run/archive.db').select() if r.origin != 'own']\n\
                  assert others and set(others) == {'reverse'}, others\n";
    let output = Command::new(python).args(["-c", script]).current_dir(place.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The run folder remembers what the command line said, as it remembers the seed.
#[test]
fn a_resumed_search_keeps_its_own_structures() {
    let place = place();
    let longer = CONFIG.replace("iterations = 2", "iterations = 3");
    fs::write(place.path().join("c.toml"), longer).unwrap();
    succeeds(place.path(), &["search", "c.toml", "--seed-structures", "known.xyz", "--out", "run", "--quiet"]);
    let best = fs::read(place.path().join("run/best.xyz")).unwrap();
    let rows = stored(&place.path().join("run"));
    // As after a kill in the first iteration.
    fs::remove_dir_all(place.path().join("run/checkpoint")).unwrap();
    succeeds(place.path(), &["search", "c.toml", "--out", "run", "--resume", "--quiet"]);
    assert_eq!(stored(&place.path().join("run")), rows);
    assert_eq!(fs::read(place.path().join("run/best.xyz")).unwrap(), best);

    let one = read_structures(&place.path().join("known.xyz")).unwrap().remove(0);
    write_frames(&place.path().join("one.xyz"), &[one.into()]).unwrap();
    let other = ["search", "c.toml", "--out", "run", "--resume", "--seed-structures", "one.xyz"];
    refuses(
        place.path(),
        &other,
        2,
        "seeds.xyz: the configuration names another structure than when this run was started",
    );
    succeeds(place.path(), &["search", "c.toml", "--out", "bare", "--quiet"]);
    let late = ["search", "c.toml", "--out", "bare", "--resume", "--seed-structures", "known.xyz"];
    refuses(place.path(), &late, 2, "this run was started without seeds.structures and now it is \"seeds.xyz\"");
}

#[test]
fn own_structures_may_come_as_poscar() {
    let place = place();
    let first = read_structures(&place.path().join("known.xyz")).unwrap().remove(0);
    // A POSCAR repeats along all axes.
    succeeds(place.path(), &["evaluate", "known.xyz", "--potential", "emt", "-o", "known.extxyz"]);
    let fraction = |r: &[f64; 3]| format!("{:.12} {:.12} {:.12}\n", r[0] / 7.66, r[1] / 7.66, r[2] / 20.0);
    let lines: String = first.positions.iter().map(fraction).collect();
    let text = format!("c\n1.0\n7.66 0 0\n0 7.66 0\n0 0 20\nCu Au\n10 1\nDirect\n{lines}");
    fs::write(place.path().join("POSCAR"), text).unwrap();
    succeeds(place.path(), &["search", "c.toml", "--seed-structures", "POSCAR", "--out", "run", "--quiet"]);
    let copy = read_structure(&place.path().join("run/seeds.xyz")).unwrap();
    assert_eq!(copy.cell.periodic, [true, true, false]);
    assert!(free(&copy).as_flattened().iter().zip(FREE[0].as_flattened()).all(|(a, b)| (a - b).abs() < 1e-9));
}

#[test]
fn own_structures_that_do_not_fit_get_a_sentence() {
    let place = place();
    let known = fs::read_to_string(place.path().join("known.xyz")).unwrap();
    let refused = |text: &str, sentence: &str| {
        fs::write(place.path().join("bad.xyz"), text).unwrap();
        refuses(place.path(), &["search", "c.toml", "--seed-structures", "bad.xyz", "--out", "run"], 2, sentence);
        let config = CONFIG.to_owned() + "[seeds]\nstructures = 'bad.xyz'\n";
        fs::write(place.path().join("seeded.toml"), config).unwrap();
        refuses(
            place.path(),
            &["search", "seeded.toml", "--out", "run"],
            2,
            "seeded.toml, line 23: seeds.structures: ",
        );
        refuses(place.path(), &["search", "seeded.toml", "--out", "run"], 2, sentence);
    };
    refused("", "bad.xyz: ");
    refused(
        &known.replace("Au 6.3 6.3 7.1", "Au 6.3 6.3 17.1"),
        "bad.xyz: structure 2 has its free atom 1 at height 17.100 Å, outside the confinement from 5.500 to 10.000 Å",
    );
    refused(
        &known.replace("Au 6.3 6.3 7.1", "Cu 6.3 6.3 7.1"),
        "bad.xyz: structure 2 has the free atoms Cu2 where the formula is CuAu",
    );
    refused(
        &known.replace("Cu 0.0000 2.5533 5", "Cu 0.0000 2.5533 5.2"),
        "bad.xyz: structure 1 has no atom where the template has Cu (its atom 2, at (0.000, 2.553, 5.000) Å): the nearest Cu is its \
         atom 2, 0.20 Å away",
    );
    assert!(!place.path().join("run").exists());
    // A baseline makes its own structures.
    let config = CONFIG.to_owned() + "[seeds]\nstructures = 'known.xyz'\n";
    fs::write(place.path().join("seeded.toml"), config).unwrap();
    let sentence = "seeded.toml: [seeds] is for godiff search alone: evolve starts from random structures; give it a configuration \
                    without this section";
    refuses(place.path(), &["evolve", "seeded.toml", "--out", "run"], 2, sentence);
}

/// It is recorded like every rejected sample, and the user hears of it.
#[test]
fn an_own_structure_with_atoms_too_close_is_told() {
    let place = place();
    let known = fs::read_to_string(place.path().join("known.xyz")).unwrap();
    fs::write(place.path().join("known.xyz"), known.replace("Au 6.3 6.3 7.1", "Au 3.9 6.3 7.1")).unwrap();
    let output = godiff(place.path(), &["search", "c.toml", "--seed-structures", "known.xyz", "--out", "run"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let sentence = "the search does not learn from structure 2 of seeds.xyz: Cu and Au (atoms 10 and 11) are 0.21 Å apart, nearer \
                    than 1.34 Å\n";
    assert!(said.contains(sentence), "{said}");
    let said = succeeds(place.path(), &["check", "c.toml", "--seed-structures", "known.xyz", "--no-potential"]);
    let sentence = "warning: own structure 2 will not be evaluated: Cu and Au (atoms 10 and 11) are 0.21 Å apart, nearer than 1.34 Å\n";
    assert!(said.ends_with(sentence), "{said}");
    let rows = stored(&place.path().join("run"));
    assert_eq!((rows[1].status.as_str(), rows[1].structure.energy), ("too_close", None));
}

/// Benchmarks and campaigns carry the file.
#[test]
fn every_run_of_a_comparison_begins_with_own_structures() {
    let place = place();
    let first = read_structures(&place.path().join("known.xyz")).unwrap().remove(0);
    write_frames(&place.path().join("target.xyz"), &[first.into()]).unwrap();
    let config = CONFIG.to_owned()
        + "[seeds]\nstructures = 'known.xyz'\n[target]\nstructure = 'target.xyz'\nmatch = { energy_within_ev = 0.01 }\n";
    fs::write(place.path().join("c.toml"), config).unwrap();
    succeeds(place.path(), &["benchmark", "c.toml", "--runs", "2", "--out", "compared", "--quiet"]);
    for seed in ["seed-0", "seed-1"] {
        let run = place.path().join("compared/c").join(seed);
        assert_eq!(read_structures(&run.join("seeds.xyz")).unwrap().len(), 2);
        assert_eq!(stored(&run)[0].origin, Some(Origin::Own));
    }
    let text = fs::read_to_string(place.path().join("compared/results.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(results[0]["runs"][1]["target_first_evaluation"], 1, "{results}");
    refuses(
        place.path(),
        &["benchmark", "c.toml:rss", "--runs", "1"],
        2,
        "c.toml: [seeds] is for godiff search alone: rss starts",
    );

    succeeds(place.path(), &["campaign", "c.toml", "--runs", "1", "--out", "planned", "--for", "local"]);
    fs::remove_file(place.path().join("known.xyz")).unwrap();
    succeeds(place.path(), &["campaign", "run", "planned", "--task", "0"]);
    assert_eq!(stored(&place.path().join("planned/c/seed-0"))[1].origin, Some(Origin::Own));
}
