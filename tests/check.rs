//! `godiff check`, and what a search says when it starts.

#[path = "common/command.rs"]
mod command;

use command::{godiff, refuses, succeeds};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A slab of Pt(111) of two columns and rows, with three layers, in a cell of 10 Å that repeats along c too.
fn slab(columns: &str, extra: impl Fn(usize) -> String) -> String {
    let lattice = "Lattice=\"8.3156 0 0 4.1578 7.2015 0 0 0 10\" pbc=\"T T T\"";
    let mut text = format!("27\n{lattice} Properties=species:S:1:pos:R:3{columns}\n");
    for k in 0..27 {
        let (layer, i, j) = (k / 9, (k / 3 % 3) as f64, (k % 3) as f64);
        let shift = [1.3859, 0.0, 0.0][layer];
        let (x, y) = (2.7719 * i + 1.3859 * j + shift, 2.4005 * j + shift / 3.0_f64.sqrt());
        text += &format!("Pt {x:.4} {y:.4} {:.4}{}\n", 2.2632 * layer as f64, extra(k));
    }
    text
}

fn place(confinement: &str, template: &str) -> TempDir {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("slab.xyz"), template).unwrap();
    let text = format!(
        "[system]\ntemplate = 'slab.xyz'\nfree = 'Pt'\nconfinement = {{ {confinement} }}\n[potential]\nkind = 'emt'\n[model]\nfeatures = 2\n\
         blocks = 1\nradial_functions = 2\ncutoff_angstrom = 3.0\n[diffusion]\nsteps = 3\n[search]\niterations = 2\nsamples_per_iteration = 4\n\
         buffer = 4\n[training]\nsteps_per_iteration = 2\nbatch = 2\n[random_search]\nevaluations = 20\n\
         [basin_hopping]\nevaluations = 20\n[evolution]\nevaluations = 20\n[annealing]\nevaluations = 20\n"
    );
    fs::write(place.path().join("c.toml"), text).unwrap();
    place
}

const NEXT_IMAGE: &str = "warning: the confinement reaches the next image of the template: it ends at 34.53 Å, and the image begins at 10.00 \
                          Å; enlarge the cell along c, lower the confinement, or let the cell not repeat along c (pbc=\"T T F\")\n";

/// A confinement that passes through three images of the slab: every command that begins a run says so.
#[test]
fn a_confinement_past_the_next_image_is_told() {
    let place = place("above_template_angstrom = [1.0, 30.0]", &slab("", |_| String::new()));
    let said = succeeds(place.path(), &["check", "c.toml"]);
    assert!(said.ends_with(NEXT_IMAGE) && said.matches("warning: ").count() == 1, "{said}");
    for command in ["search", "rss", "basin-hopping", "evolve", "anneal"] {
        let output = godiff(place.path(), &[command, "c.toml", "--out", command]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains(NEXT_IMAGE), "{command}: {said}");
        let evaluations = if command == "search" { 8 } else { 20 };
        assert!(said.contains(&format!("; at most {evaluations} evaluations\n")), "{command}: {said}");
    }
    let report = fs::read_to_string(place.path().join("search/report.html")).unwrap();
    assert!(report.contains("the confinement reaches the next image of the template"), "the report says it too");
    // A run that is resumed has said it before.
    let output = godiff(place.path(), &["search", "c.toml", "--out", "search", "--resume"]);
    assert!(!String::from_utf8(output.stderr).unwrap().contains("warning"));
    let events = succeeds(place.path(), &["search", "c.toml", "--out", "events", "--json"]);
    let texts: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let warned = |event: &&Value| event["event"] == "message" && event["text"] == NEXT_IMAGE.trim_end();
    assert_eq!(texts.iter().filter(warned).count(), 1, "{events}");
    let quiet = godiff(place.path(), &["search", "c.toml", "--out", "quiet", "--quiet"]);
    assert!(quiet.status.success() && quiet.stderr.is_empty());
}

/// Commands that begin many runs say it once.
#[test]
fn many_runs_warn_once() {
    let place = place("above_template_angstrom = [1.0, 30.0]", &slab("", |_| String::new()));
    let text = fs::read_to_string(place.path().join("c.toml")).unwrap();
    let once = |arguments: &[&str], warning: &str| {
        let output = godiff(place.path(), arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert_eq!(said.matches("warning: ").count(), usize::from(!warning.is_empty()), "{arguments:?}: {said}");
        assert!(said.contains(warning), "{arguments:?}: {said}");
    };
    once(&["search", "c.toml", "--seeds", "0-1", "--out", "seeds"], NEXT_IMAGE);
    once(&["search", "c.toml", "--seeds", "0-2", "--out", "seeds", "--resume"], "");
    let named = NEXT_IMAGE.replace("warning: ", "warning: c-rss, c-evolve: ");
    once(&["campaign", "c.toml:rss", "c.toml:evolve", "--runs", "2", "--out", "camp", "--for", "hyperqueue"], &named);
    let target = "[target]\nstructure = 'target.xyz'\nmatch = { energy_within_ev = 0.1 }\n";
    fs::write(place.path().join("c.toml"), format!("{text}{target}")).unwrap();
    let atom = slab("", |_| String::new()).replacen("27\n", "28\n", 1) + "Pt 1 1 7\n";
    fs::write(place.path().join("target.xyz"), atom).unwrap();
    let benchmark = ["benchmark", "c.toml:rss", "c.toml:evolve", "--runs", "1", "--out", "bench"];
    once(&benchmark, &named);
    once(&[&benchmark[..], &["--quiet"]].concat(), "");
}

#[test]
fn a_check_describes_the_task() {
    let place =
        place("above_template_angstrom = [1.0, 3.0]", &slab("", |_| String::new()).replace("0 0 10\"", "0 0 30\""));
    let said = succeeds(place.path(), &["check", "c.toml"]);
    let rows: Vec<&str> = said.lines().collect();
    assert_eq!(
        rows[..5],
        [
            "system        Pt on Pt27, 28 atoms (1 of them free)",
            "cell          8.32 × 8.32 × 30.00 Å, repeats along a, b and c",
            "vacuum        25.47 Å along c",
            "free atoms    5.53 to 7.53 Å, 1.00 to 3.00 Å above the template's highest atom",
            "evaluations   at most 8: 2 iterations of 4 samples",
        ]
    );
    assert!(rows[5].starts_with("potential     EMT: ") && rows[5].contains(" for one energy with forces; "), "{said}");
    assert_eq!(rows.len(), 6, "{said}");
    let said = succeeds(place.path(), &["check", "c.toml", "--no-potential"]);
    assert!(said.ends_with("\npotential     EMT\n"), "{said}");
    let object: Value = serde_json::from_str(&succeeds(place.path(), &["check", "c.toml", "--json"])).unwrap();
    assert_eq!((&object["system"]["most_evaluations"], &object["system"]["free"]), (&8.into(), &"Pt".into()));
    assert_eq!(object["warnings"], serde_json::json!([]));
    assert!(object["energy"]["seconds"].as_f64().unwrap() >= 0.0 && object["energy"]["energy_ev"].as_f64().is_some());
    let object: Value =
        serde_json::from_str(&succeeds(place.path(), &["check", "c.toml", "--json", "--no-potential"])).unwrap();
    assert_eq!(object["energy"], Value::Null);
    assert_eq!(names(place.path()), ["c.toml", "slab.xyz"], "nothing is written");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Flags of the template's file that nothing uses.
#[test]
fn what_a_template_says_in_vain_is_told() {
    let told = |template: &str, what: &str| {
        let place = place("above_template_angstrom = [1.0, 3.0]", &template.replace("0 0 10\"", "0 0 30\""));
        let said = succeeds(place.path(), &["check", "c.toml", "--no-potential"]);
        let sentence = format!(
            "\nwarning: the search does not use {what} of the template's file; the template never moves, and the potential gets \
             elements, positions and cell alone\n"
        );
        assert!(said.contains(&sentence) != what.is_empty(), "{said}");
        assert_eq!(said.matches("warning: ").count(), usize::from(!what.is_empty()), "{said}");
    };
    told(&slab(":tags:I:1:initial_charges:R:1", |k| format!(" {k} 0.0")), "");
    told(&slab(":move_mask:L:1", |_| " F".into()), "");
    told(
        &slab(":move_mask:L:1", |k| if k < 18 { " F" } else { " T" }.into()),
        "the constraints (9 of 27 atoms are free there)",
    );
    told(
        &slab(":initial_magmoms:R:1:initial_charges:R:1", |_| " 1.5 0.25".into()),
        "the column initial_magmoms and the column initial_charges",
    );
    // Fixed along z alone.
    told(&slab(":move_mask:L:3", |_| " T T F".into()), "the constraints (some atoms are fixed along some axes there)");
}

#[test]
fn a_check_refuses_what_a_search_refuses() {
    let place = place("above_template_angstrom = [3.0, 1.0]", &slab("", |_| String::new()));
    refuses(place.path(), &["check", "c.toml"], 2, "c.toml, line 1: system: the confinement [3, 1] is impossible");
    refuses(place.path(), &["check", "none.toml"], 2, "cannot read the configuration none.toml");
    let text = fs::read_to_string(place.path().join("c.toml")).unwrap();
    fs::write(place.path().join("w.toml"), text.replace("'Pt'", "'W'").replace("[3.0, 1.0]", "[1.0, 3.0]")).unwrap();
    refuses(place.path(), &["check", "w.toml"], 2, "w.toml: ");
    refuses(place.path(), &["search", "w.toml"], 2, "w.toml: ");
    // A potential that cannot start hides no warning.
    let ase = "kind = 'ase'\ncalculator = 'a:B'\npython = 'no-such-python'";
    let text = text.replace("kind = 'emt'", ase).replace("[3.0, 1.0]", "[1.0, 30.0]");
    fs::write(place.path().join("ase.toml"), text).unwrap();
    let output = godiff(place.path(), &["check", "ase.toml"]);
    let (shown, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.code() == Some(3) && said.contains("\"no-such-python\" cannot be started"), "{said}");
    assert!(shown.ends_with(NEXT_IMAGE), "{shown}");
    let known = ["check", "w.toml", "--seed-structures", "slab.xyz"];
    refuses(
        place.path(),
        &known,
        2,
        "slab.xyz: structure 1 has 27 atoms where the system has 28: 27 of the template and 1 free",
    );
}
