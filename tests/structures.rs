//! Structure files given to the commands: every notation of the formats, what comes back in the output, and what output names mean.

#[path = "common/command.rs"]
mod command;

use command::{refuses, succeeds};
use godiff::system::xyz::{Frame, Value, Values, read_frames};
use godiff::system::{read_structure, read_structures};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// The files in a folder, sorted.
fn names(place: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Copper, fcc: four atoms in a cube of 3.6 Å, as extended XYZ. Its energy by EMT is ASE's.
const CUBE: &str = "Lattice=\"3.6 0 0 0 3.6 0 0 0 3.6\"";
const ATOMS: &str = "Cu 0 0 0\nCu 1.8 1.8 0\nCu 1.8 0 1.8\nCu 0 1.8 1.8\n";
const ENERGY: &str = "-0.026755";

/// The same as POSCAR.
const POSCAR: &str = "Cu\n1.0\n3.6 0 0\n0 3.6 0\n0 0 3.6\nCu\n4\nDirect\n0 0 0\n0.5 0.5 0\n0.5 0 0.5\n0 0.5 0.5\n";

#[test]
fn every_notation_gives_the_energy() {
    let place = TempDir::new().unwrap();
    let columns = "Properties=species:S:1:pos:R:3";
    let xyz = |comment: &str| format!("4\n{comment}\n{ATOMS}");
    let mut files = vec![
        ("d.xyz", xyz(CUBE).replace("1.8", "1.8D+00").replace(" 0", " 0.0d0")),
        ("matrix.xyz", xyz("Lattice=[[3.6, 0.0, 0.0], [0.0, 3.6, 0.0], [0.0, 0.0, 3.6]] pbc=[T, T, T] energy=-1.0")),
        ("diagonal.xyz", xyz("Lattice=\"3.6 3.6 3.6\"")),
        ("apostrophe.extxyz", xyz(&format!("{CUBE} {columns} note=it's who='a b' c=\"it's\""))),
        ("nan.xyz", xyz(&format!("{CUBE} {columns} energy=nan"))),
        ("CAPITALS.XYZ", xyz(CUBE)),
        ("numbers.xyz", xyz(CUBE).replace("Cu", "29")),
        ("frames.dat", xyz(CUBE)),
        ("POSCAR", POSCAR.into()),
        ("slab.contcar", POSCAR.into()),
        ("contcar-1", POSCAR.into()),
        ("d.vasp", POSCAR.replace("3.6", "3.6d0").replace("0.5", "5.0D-1")),
        ("fractional.vasp", POSCAR.replace("Direct", "fractional")),
        ("zero.vasp", POSCAR.replace("Cu\n4", "Cu Pt\n4 0")),
        ("broken.vasp", POSCAR.replace("Cu\n4", "Cu\nCu Cu\n1 1\n2")),
        ("letters.vasp", POSCAR.replace("Cu\n4", "CU\n4")),
        ("volume.vasp", POSCAR.replace("1.0\n", "-46.656 ! volume\n")),
        (
            "three.vasp",
            POSCAR.replace("1.0\n", "0.5 1.0 2.0\n").replace("3.6 0 0", "7.2 0 0").replace("0 0 3.6", "0 0 1.8"),
        ),
        (
            "partly.vasp",
            POSCAR.replace("Direct", "Selective\nDirect").replace(
                "0 0 0\n0.5 0.5 0\n0.5 0 0.5\n0 0.5 0.5",
                "0 0 0 F F T\n0.5 0.5 0 T T T\n0.5 0 0.5 F F F\n0 0.5 0.5 T T F",
            ),
        ),
    ];
    files.push((
        "partly.xyz",
        xyz(&format!("{CUBE} {columns}:move_mask:L:3")).replace("\nCu 0 0 0", "\nCu 0 0 0 F F T"),
    ));
    let masked = files.last_mut().unwrap();
    masked.1 = masked.1.replace("1.8 0\n", "1.8 0 T T T\n").replace(" 1.8\n", " 1.8 T T T\n");
    for (name, text) in files {
        fs::write(place.path().join(name), &text).unwrap();
        let table = succeeds(place.path(), &["evaluate", name, "--potential", "emt"]);
        assert!(table.contains(ENERGY), "{name}:\n{text}\n{table}");
    }
}

/// What ASE computes for the frames of `tests/fixtures`-like slabs does not matter here: all three have an energy.
#[test]
fn an_old_energy_that_is_no_number_keeps_no_frame_back() {
    let place = TempDir::new().unwrap();
    let frame = |energy: &str| format!("4\n{CUBE} energy={energy} name=frame-{energy}\n{ATOMS}");
    fs::write(place.path().join("three.xyz"), [frame("-1.0"), frame("nan"), frame("low")].concat()).unwrap();
    succeeds(place.path(), &["evaluate", "three.xyz", "--potential", "emt", "-o", "out.xyz"]);
    let frames = read_frames(&place.path().join("out.xyz")).unwrap();
    let energies: Vec<String> = frames.iter().map(|f| format!("{:.6}", f.structure.energy.unwrap())).collect();
    assert_eq!(energies, [ENERGY; 3]);
    assert_eq!(frames[1].info("name"), Some(&Value::Text("frame-nan".into())));
    succeeds(place.path(), &["relax", "three.xyz", "--potential", "emt", "-o", "relaxed.xyz"]);
    assert_eq!(read_frames(&place.path().join("relaxed.xyz")).unwrap().len(), 3);
}

/// Two atoms in one place have no energy: told, and the others are written.
#[test]
fn energies_that_are_not_finite_are_failures() {
    let place = TempDir::new().unwrap();
    let good = format!("4\n{CUBE} name=good\n{ATOMS}");
    let bad = good.replace("Cu 1.8 1.8 0", "Cu 0 0 0").replace("good", "bad");
    fs::write(place.path().join("in.xyz"), [&good[..], &bad, &good].concat()).unwrap();
    let evaluate = ["evaluate", "in.xyz", "--potential", "lennard-jones:epsilon=1,sigma=2,cutoff=5", "-o", "out.xyz"];
    refuses(place.path(), &evaluate, 3, "in.xyz: 1 of the structures could not be evaluated; structure 2: ");
    let frames = read_frames(&place.path().join("out.xyz")).unwrap();
    let has_energy: Vec<bool> = frames.iter().map(|frame| frame.structure.energy.is_some()).collect();
    assert_eq!(has_energy, [true, false, true]);
    let relax = ["relax", "in.xyz", "--potential", "lennard-jones:epsilon=1,sigma=2,cutoff=5", "-o", "relaxed.xyz"];
    refuses(place.path(), &relax, 3, "in.xyz: 1 of the structures could not be evaluated where they start");
    assert_eq!(read_frames(&place.path().join("relaxed.xyz")).unwrap().len(), 3);
}

#[test]
fn keys_and_columns_come_back_and_old_results_go() {
    let place = TempDir::new().unwrap();
    let comment = format!(
        "{CUBE} Properties=species:S:1:pos:R:3:tags:I:1:initial_magmoms:R:1:label:S:1:forces:R:3:magmoms:R:1:charge:R:1 charge=1 \
         config_type=\"slab \\\"x\\\" y\" note=\"it's\" arr=[1, 2] flag=T energy=-1.5 free_energy=-1.6 stress=\"1 0 0 0 1 0 0 0 1\" \
         magmom=1.0 pbc=\"T T F\""
    );
    let atom = |(k, line): (usize, &str)| format!("{line} {k} 0.{k} site{k} 1 1 1 1 0.5\n");
    let atoms: String = ATOMS.lines().enumerate().map(atom).collect();
    fs::write(place.path().join("in.xyz"), format!("4\n{comment}\n{atoms}")).unwrap();
    for command in [&["evaluate"][..], &["relax", "--max-steps", "1", "--free", "1"]] {
        succeeds(place.path(), &[command, &["in.xyz", "--potential", "emt", "-o", "out.xyz"]].concat());
        let frame: Frame = read_frames(&place.path().join("out.xyz")).unwrap().remove(0);
        assert_ne!(frame.structure.energy, Some(-1.5));
        assert!(frame.structure.forces.as_ref().unwrap().iter().flatten().all(|x| *x != 1.0));
        let expected = [
            ("charge", Value::Integer(1)),
            ("config_type", "slab \"x\" y".into()),
            ("note", "it's".into()),
            ("arr", Value::Array("[1, 2]".into())),
            ("flag", true.into()),
        ];
        assert_eq!(frame.infos(), expected.map(|(key, value)| (key.to_string(), value)));
        let columns: Vec<&str> = frame.columns().iter().map(|column| column.name.as_str()).collect();
        assert_eq!(columns, ["tags", "initial_magmoms", "label"]);
        assert_eq!(frame.column("tags").unwrap().values, Values::Integer(vec![0, 1, 2, 3]));
        assert_eq!(frame.structure.cell.periodic, [true, true, false]);
    }
}

#[test]
fn outputs_follow_their_names() {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("POSCAR"), POSCAR).unwrap();
    for out in ["CONTCAR", "out.vasp", "out.poscar", "out.contcar", "out.xyz", "out.extxyz"] {
        succeeds(place.path(), &["relax", "POSCAR", "--potential", "emt", "-o", out]);
        let text = fs::read_to_string(place.path().join(out)).unwrap();
        assert_eq!(text.starts_with("Cu4 energy=-0.02"), !out.ends_with("xyz"), "{out}: {text}");
        let structure = read_structure(&place.path().join(out)).unwrap();
        assert_eq!((structure.numbers, structure.cell.periodic), (vec![29; 4], [true; 3]));
        let table = succeeds(place.path(), &["evaluate", out, "--potential", "emt"]);
        assert!(table.contains(ENERGY), "{table}");
    }
    let before = names(place.path());
    for out in ["out.traj", "out.cif", "out.json", "out.db", "out", "out.xyz.gz"] {
        for command in ["relax", "evaluate"] {
            let sentence = format!("{out}: structures are written as extended XYZ (.xyz, .extxyz) and POSCAR");
            refuses(place.path(), &[command, "POSCAR", "--potential", "emt", "-o", out], 2, &sentence);
            let converts =
                format!("convert it with `ase convert {} {out}`", Path::new(out).with_extension("xyz").display());
            refuses(place.path(), &[command, "POSCAR", "--potential", "emt", "-o", out], 2, &converts);
        }
    }
    fs::write(place.path().join("two.xyz"), format!("4\n{CUBE}\n{ATOMS}").repeat(2)).unwrap();
    let evaluate = ["evaluate", "two.xyz", "--potential", "emt", "-o", "two.vasp"];
    refuses(place.path(), &evaluate, 2, "two.vasp: a POSCAR holds one structure, and there are 2");
    let skewed = POSCAR.replace("0 3.6 0", "1 3.6 0").replace("Direct", "S\nDirect").replace("0.5", "0.5 ");
    let flagged: String = skewed
        .lines()
        .enumerate()
        .map(|(k, line)| {
            let flags = if k == 9 {
                " F T T"
            } else if k > 9 {
                " T T T"
            } else {
                ""
            };
            format!("{line}{flags}\n")
        })
        .collect();
    fs::write(place.path().join("skewed.vasp"), &flagged).unwrap();
    let evaluate = |out: &'static str| ["evaluate", "skewed.vasp", "--potential", "emt", "-o", out];
    refuses(place.path(), &evaluate("skewed.xyz"), 2, "structure 1: atom 1 is fixed along some lattice vectors");
    succeeds(place.path(), &evaluate("again.vasp"));
    assert!(fs::read_to_string(place.path().join("again.vasp")).unwrap().contains(" F T T\n"));
    fs::remove_file(place.path().join("again.vasp")).unwrap();
    fs::remove_file(place.path().join("skewed.vasp")).unwrap();
    fs::remove_file(place.path().join("two.xyz")).unwrap();
    assert_eq!(names(place.path()), before, "a refused name leaves nothing behind");
}

#[test]
fn inputs_of_other_formats_are_named() {
    let place = TempDir::new().unwrap();
    for name in ["slab.cif", "XDATCAR", "slab.res", "slab"] {
        fs::write(place.path().join(name), "data\n").unwrap();
        let sentence = format!(
            "{name}: its name stands for no format that is read: extended XYZ (.xyz, .extxyz) and POSCAR (a name with POSCAR or \
             CONTCAR, or .vasp, .poscar, .contcar); rename it, or convert it with `ase convert {name} "
        );
        refuses(place.path(), &["evaluate", name, "--potential", "emt"], 2, &sentence);
    }
}

/// A template's constraints are not used, so they may be of any kind; a relaxation has to know.
#[test]
fn constraints_are_refused_only_where_they_matter() {
    let place = TempDir::new().unwrap();
    let slab = "Pt\n1.0\n5.5437 0 0\n2.7718 4.801 0\n0 0 18\nPt\n4\nSelective\nDirect\n\
                0.16667 0.16667 0 F F T\n0.66667 0.16667 0 F F T\n0.16667 0.66667 0 F F T\n0.66667 0.66667 0 F F T\n";
    fs::write(place.path().join("POSCAR"), slab).unwrap();
    let search = "[system]\ntemplate = \"POSCAR\"\nfree = \"Pt\"\nconfinement = { above_template_angstrom = [1.0, 4.0] }\n\
                  [potential]\nkind = \"emt\"\n[random_search]\nevaluations = 60\nside_by_side = 4\n";
    fs::write(place.path().join("search.toml"), search).unwrap();
    succeeds(place.path(), &["rss", "search.toml", "--out", "partly", "--quiet"]);
    fs::write(place.path().join("POSCAR"), slab.replace(" F F T", " T T T")).unwrap();
    succeeds(place.path(), &["rss", "search.toml", "--out", "free", "--quiet"]);
    let best = |run: &str| read_structures(&place.path().join(run).join("best.xyz")).unwrap();
    assert_eq!(best("partly"), best("free"));

    fs::write(place.path().join("POSCAR"), slab).unwrap();
    let relax = ["relax", "POSCAR", "--potential", "emt", "-o", "CONTCAR"];
    let sentence = "structure 1: atom 1 is fixed along some axes only, and atoms are fixed as a whole here; name the number of free \
                    atoms with --free";
    refuses(place.path(), &relax, 2, sentence);
    succeeds(place.path(), &[&relax[..], &["--free", "1"]].concat());
    let text = fs::read_to_string(place.path().join("CONTCAR")).unwrap();
    assert!(text.matches(" F F F\n").count() == 3 && text.matches(" T T T\n").count() == 1, "{text}");
}

#[test]
fn an_archive_is_exported_as_table_and_as_poscar() {
    let place = TempDir::new().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/smoke.toml");
    succeeds(place.path(), &["search", config.to_str().unwrap(), "--out", "run", "--quiet"]);
    succeeds(place.path(), &["export", "run", "-o", "all.xyz"]);
    let frames = read_frames(&place.path().join("all.xyz")).unwrap();
    let said = succeeds(place.path(), &["export", "run", "--csv", "-o", "all.csv"]);
    assert_eq!(said, format!("{} rows written to all.csv\n", frames.len()));
    let table = fs::read_to_string(place.path().join("all.csv")).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("iteration,index,kt_ev,status,energy_ev,n_free_atoms,fingerprint,origin"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), frames.len());
    for (row, frame) in rows.iter().zip(&frames) {
        let written = |key: &str| match frame.info(key).unwrap() {
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => format!("{number:?}"),
            Value::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(row[..4], ["iteration", "index", "kt_ev", "status"].map(written));
        assert_eq!(row[4].parse().ok(), frame.structure.energy);
        assert_eq!((row[5], row[6].len(), row[7]), ("1", 16, written("origin").as_str()));
        // One atom has no bonds: all are alike.
        assert_eq!(row[6], rows[0][6]);
    }
    assert_eq!(succeeds(place.path(), &["export", "run", "--csv"]), table);
    succeeds(place.path(), &["export", "run", "-o", "named.csv"]);
    assert_eq!(fs::read_to_string(place.path().join("named.csv")).unwrap(), table);
    let lowest = succeeds(place.path(), &["export", "run", "--csv", "--lowest", "1"]);
    let best = read_structure(&place.path().join("run/best.xyz")).unwrap();
    assert_eq!(lowest.lines().nth(1).unwrap().split(',').nth(4).unwrap().parse().ok(), best.energy);

    succeeds(place.path(), &["export", "run", "-o", "lowest.vasp", "--lowest", "1"]);
    let poscar = read_structure(&place.path().join("lowest.vasp")).unwrap();
    assert_eq!((&poscar.positions, &poscar.fixed), (&best.positions, &best.fixed));
    refuses(
        place.path(),
        &["export", "run", "-o", "two.vasp", "--lowest", "2"],
        2,
        "two.vasp: a POSCAR holds one structure",
    );
    let sentence = "all.xyz: --csv writes a table; name a file that ends in .csv, or leave out --csv";
    refuses(place.path(), &["export", "run", "--csv", "-o", "all.xyz"], 2, sentence);
    refuses(place.path(), &["export", "run", "-o", "all.cif"], 2, "all.cif: structures are written as extended XYZ");
    let model = ["score", "all.xyz", "--model", "run/model.safetensors", "--time", "0.1"];
    let sentence = "scores.vasp: a POSCAR has no place for them; write extended XYZ (.xyz)";
    refuses(place.path(), &[&model[..], &["-o", "scores.vasp"]].concat(), 2, sentence);
    succeeds(place.path(), &[&["score", "run/best.xyz"], &model[2..], &["-o", "scores.xyz"]].concat());
    let unfinished = names(place.path()).into_iter().filter(|name| name.contains("unfinished")).count();
    assert_eq!(unfinished, 0);
}
