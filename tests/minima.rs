//! `godiff minima` and `godiff scan` as a user runs them.

#[path = "common/command.rs"]
mod command;

use command::{refuses, succeeds};
use godiff::landscape::Landscape;
use godiff::system::xyz::{Frame, Value, read_frames};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn config(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name).to_str().unwrap().to_owned()
}

fn whole(frame: &Frame, key: &str) -> i64 {
    match frame.info(key) {
        Some(&Value::Integer(number)) => number,
        other => panic!("{key}: {other:?}"),
    }
}

fn energies(frames: &[Frame]) -> Vec<f64> {
    frames.iter().map(|frame| frame.structure.energy.unwrap()).collect()
}

#[test]
fn minima_of_searches_and_baselines() {
    let folder = TempDir::new().unwrap();
    let place = folder.path();
    succeeds(place, &["search", &config("smoke.toml"), "--out", "run", "--quiet"]);

    // The search leaves its minima behind; the command says the same of the same run.
    let left = read_frames(&place.join("run/minima.xyz")).unwrap();
    let said = succeeds(place, &["minima", "run", "-o", "minima.xyz"]);
    assert!(said.contains(&format!("{} distinct structures written to minima.xyz", left.len())), "{said}");
    assert_eq!(fs::read(place.join("minima.xyz")).unwrap(), fs::read(place.join("run/minima.xyz")).unwrap());
    let best = read_frames(&place.join("run/best.xyz")).unwrap().remove(0).structure;
    assert_eq!(left[0].structure.for_calculator(), best);
    assert!(energies(&left).is_sorted());
    let summary: serde_json::Value =
        serde_json::from_slice(&fs::read(place.join("run/summary.json")).unwrap()).unwrap();
    assert_eq!(
        whole(&left[0], "first_iteration").min(whole(&left[0], "last_iteration")),
        whole(&left[0], "first_iteration")
    );
    assert!(left.iter().all(|frame| whole(frame, "last_evaluation") <= summary["evaluations"].as_i64().unwrap()));
    let n_found: i64 = left.iter().map(|frame| whole(frame, "count")).sum();
    assert!(n_found <= summary["evaluations"].as_i64().unwrap() && n_found >= left.len() as i64);

    // Relaxed: the adatom's known minimum, and fewer structures.
    let said = succeeds(place, &["minima", "run", "run/archive.db", "--relax", "--lowest", "6", "-o", "relaxed.xyz"]);
    assert!(
        said.contains("6 structures relaxed in ") && said.contains(" evaluations: 0 unconverged, 0 without an energy"),
        "{said}"
    );
    let relaxed = read_frames(&place.join("relaxed.xyz")).unwrap();
    assert!(relaxed.len() < 6 && (energies(&relaxed)[0] - 5.505784).abs() < 3e-4, "{:?}", energies(&relaxed));
    assert_eq!((whole(&relaxed[0], "n_runs"), relaxed[0].info("relaxed")), (2, Some(&Value::Flag(true))));
    let again = succeeds(
        place,
        &["minima", "run/archive.db", "--relax", "--potential", "emt", "--lowest", "2", "-o", "relaxed.xyz"],
    );
    assert!(again.contains("2 structures relaxed in "), "{again}");

    // A baseline's are the ends of its relaxations.
    let text = fs::read_to_string(config("smoke.toml"))
        .unwrap()
        .replace("\"structures/", &format!("\"{}", config("structures/")));
    fs::write(place.join("short.toml"), text + "\n[random_search]\nevaluations = 400\n").unwrap();
    succeeds(place, &["rss", "short.toml", "--out", "rss", "--quiet"]);
    let ends = read_frames(&place.join("rss/minima.xyz")).unwrap();
    assert!(ends.len() < 20 && (energies(&ends)[0] - 5.505784).abs() < 5e-3, "{:?}", energies(&ends));
    assert!(ends.iter().all(|frame| frame.info("relaxed") == Some(&Value::Flag(true))));

    let out = ["-o", "out.xyz"];
    refuses(place, &["minima", "nothing", out[0], out[1]], 2, "no such archive");
    refuses(
        place,
        &["minima", "run", "--energy-tolerance=-1", out[0], out[1]],
        2,
        "the tolerance of the energy is -1; give a number",
    );
    refuses(place, &["minima", "run", "--relax", "--potential", "emmt", out[0], out[1]], 2, "--potential: ");
    refuses(place, &["minima", "run", "--potential", "emt", out[0], out[1]], 2, "--relax");
    fs::create_dir(place.join("alone")).unwrap();
    fs::copy(place.join("run/archive.db"), place.join("alone/archive.db")).unwrap();
    refuses(
        place,
        &["minima", "alone", "--relax", out[0], out[1]],
        2,
        "config.toml: is missing, so the potential is unknown; name one with --potential",
    );
    assert!(!place.join("out.xyz").exists());
}

#[test]
fn landscapes_are_written_in_three_formats() {
    let folder = TempDir::new().unwrap();
    let place = folder.path();
    let scan = |output: &str| succeeds(place, &["scan", &config("pt-adatom.toml"), "--grid", "6x4", "-o", output]);
    let said = scan("landscape.json");
    assert!(said.starts_with("lowest energy ") && said.contains("6 x 4 points in "), "{said}");
    let landscape: Landscape = serde_json::from_slice(&fs::read(place.join("landscape.json")).unwrap()).unwrap();
    assert_eq!((landscape.grid, landscape.energies_ev.len()), ([6, 4], 24));

    scan("landscape.xyz");
    let frames = read_frames(&place.join("landscape.xyz")).unwrap();
    assert_eq!(energies(&frames), landscape.energies_ev);
    assert_eq!(frames[7].structure.positions[20], landscape.position(7));
    scan("landscape.svg");
    assert!(fs::read_to_string(place.join("landscape.svg")).unwrap().starts_with("<svg "));

    let refused = |arguments: &[&str], sentence: &str| refuses(place, &[&["scan"], arguments].concat(), 2, sentence);
    refused(&[&config("pt-adatom.toml"), "-o", "out.txt"], "give .json, .xyz or .svg");
    refused(&[&config("pt-adatom.toml"), "-o", "no/out.svg"], "no/out.svg: its folder is not there; make it, or name");
    refused(&[&config("pt-adatom.toml"), "-o", "out.svg", "--grid", "6"], "such as 16x10");
    refused(&[&config("pt-adatom.toml"), "-o", "out.svg", "--grid", "0x4"], "a grid of 0 × 4 points is impossible");
    refused(&[&config("pt-heptamer.toml"), "-o", "out.svg"], "one free atom, but there are 7");
    refused(&[&config("lj13.toml"), "-o", "out.svg"], "lj13.toml: a landscape needs a template");
    let text = fs::read_to_string(config("pt-adatom.toml")).unwrap().replace("structures/", &config("structures/"));
    fs::write(place.join("open.toml"), text.replace("confinement = ", "# ")).unwrap();
    let sentence =
        if frames[0].structure.cell.volume() > 0.0 { "give system.confinement" } else { "a lattice vector is missing" };
    refused(&["open.toml", "-o", "out.svg"], sentence);
    assert_eq!(fs::read_dir(place).unwrap().count(), 4);
}

/// Mobile atoms make room at every point, unless they are held.
#[test]
fn landscapes_of_mobile_atoms() {
    let folder = TempDir::new().unwrap();
    let place = folder.path();
    let text = fs::read_to_string(config("pt-adatom.toml")).unwrap().replace("structures/", &config("structures/"));
    let mobile = text.replace("[system]\n", "[system]\nmobile = { layers = 1 }\n");
    fs::write(place.join("mobile.toml"), mobile.split("[target]").next().unwrap()).unwrap();
    let scan = |more: &[&str], output: &str| {
        succeeds(place, &[&["scan", "mobile.toml", "--grid", "2x2", "-o", output], more].concat());
        Landscape::read(&place.join(output)).unwrap()
    };
    let relaxed = scan(&[], "relaxed.json");
    let held = scan(&["--hold-mobile"], "held.json");
    assert!(relaxed.mobile_angstrom.len() == 4 && held.mobile_angstrom.is_empty());
    assert!((0..4).all(|k| relaxed.energies_ev[k] < held.energies_ev[k] - 0.01), "{relaxed:?} {held:?}");
    succeeds(place, &["scan", "mobile.toml", "--grid", "2x2", "-o", "relaxed.xyz"]);
    let frames = read_frames(&place.join("relaxed.xyz")).unwrap();
    assert_eq!(energies(&frames), relaxed.energies_ev);
    let n_mobile = relaxed.mobile_angstrom[3].len();
    let positions = &frames[3].structure.positions;
    let mobile = &positions[positions.len() - 1 - n_mobile..positions.len() - 1];
    let apart =
        mobile.iter().zip(&relaxed.mobile_angstrom[3]).flat_map(|(a, b)| (0..3).map(move |k| (a[k] - b[k]).abs()));
    assert!(apart.fold(0.0, f64::max) < 1e-7);
    succeeds(place, &["scan", "mobile.toml", "--grid", "2x2", "-o", "relaxed.svg"]);
}
