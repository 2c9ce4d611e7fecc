//! The documentation says what the program does: its configurations are accepted, its tables name every key with its default,
//! and its commands and links exist.

use godiff::config::Settings;
use godiff::diffusion::Sde;
use godiff::engine::Weighting;
use godiff::model::{Layout, ModelFile, ModelSizes, Precision};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use toml::{Table, Value};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

/// README.md and every page in docs/.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "md" => pages.push(path),
                _ => {}
            }
        }
    }
    pages
}

/// The code blocks of `text` in `language`.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// `text` as a configuration, in a folder with the shipped structures and a slab under the name that the examples use.
fn load(text: &str) -> Settings {
    let folder = tempfile::tempdir().unwrap();
    let shipped = root().join("configs/structures");
    let structures = folder.path().join("structures");
    fs::create_dir(&structures).unwrap();
    for entry in fs::read_dir(&shipped).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), structures.join(entry.file_name())).unwrap();
    }
    fs::copy(shipped.join("pt111-6x6x2.xyz"), folder.path().join("cu100.xyz")).unwrap();
    // The model that the page starts from; only its sizes matter.
    let sizes = ModelSizes { features: 32, blocks: 3, radial_functions: 30, cutoff_angstrom: 6.0, force_head: false };
    let model = ModelFile {
        sizes,
        radial_basis: None,
        parameters: vec![0.0; Layout::new(&sizes).n_parameters()],
        sde: Sde { sigma_min: 0.01, sigma_max: 1.0, rho: 1 },
        weighting: Weighting::Published,
        species: vec![78],
        score_learned: true,
    };
    model.write(&folder.path().join("adatom.safetensors"), Precision::Single).unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, text).unwrap();
    Settings::load(&path).unwrap_or_else(|error| panic!("{error}, in\n{text}"))
}

/// Section → key → the default's cell, of the tables in docs/configuration.md.
fn documented() -> BTreeMap<String, BTreeMap<String, String>> {
    let text = read("docs/configuration.md");
    let sections = text.split("\n## `[").skip(1).map(|section| {
        let (name, body) = section.trim_start_matches('[').split_once(']').unwrap();
        let rows = body.lines().filter_map(|line| line.strip_prefix("| `"));
        let keys = rows.map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            (cells[0].trim_end_matches("` ").to_owned(), cells[1].trim().trim_matches('`').to_owned())
        });
        (name.to_owned(), keys.collect())
    });
    sections.collect()
}

/// A section, or the first of several of one name.
fn table_of(value: &Value) -> Option<&Table> {
    value.as_table().or_else(|| value.as_array()?.first()?.as_table())
}

/// Section → keys.
fn keys_of(table: &Table) -> BTreeMap<String, BTreeSet<String>> {
    let keys = |value: &Value| table_of(value).unwrap().keys().cloned().collect();
    table.iter().map(|(section, value)| (section.clone(), keys(value))).collect()
}

#[test]
fn every_configuration_in_the_documentation_is_accepted() {
    let mut n_blocks = 0;
    for page in pages() {
        for block in blocks(&fs::read_to_string(page).unwrap(), "toml") {
            load(&block);
            n_blocks += 1;
        }
    }
    assert!(n_blocks >= 4, "{n_blocks} blocks");
}

/// The blocks are accepted, so their keys exist; the tables name just these.
#[test]
fn the_tables_name_every_key() {
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for block in blocks(&read("docs/configuration.md"), "toml") {
        // What is left out is filled in, so a key that the page forgets is missed here.
        let resolved = load(&block).to_toml().parse().unwrap();
        for table in [block.parse().unwrap(), resolved] {
            keys_of(&table).into_iter().for_each(|(section, keys)| shown.entry(section).or_default().extend(keys));
        }
    }
    let named = documented().into_iter().map(|(section, keys)| (section, keys.into_keys().collect()));
    assert_eq!(named.collect::<BTreeMap<_, _>>(), shown);
}

#[test]
fn the_tables_name_the_defaults() {
    let with_potential = |potential: &str| {
        let optional = "[adaptive]\n[stopping]\n[guidance]\n[proposals]\n[placement]\n[relaxation]\n[random_search]\n[basin_hopping]\n[evolution]\n[annealing]\n[objective]\nkind = \"target-score\"\n";
        let optional = format!("{optional}[[fragments]]\nfile = \"structures/co.xyz\"\n");
        let template = "template = \"structures/pt111-6x6x2.xyz\"\nmobile = { layers = 1 }";
        let text = format!("[system]\nfree = \"Pt\"\n{template}\n[potential]\nkind = \"{potential}\"\n{optional}");
        load(&text).to_toml().parse::<Table>().unwrap()
    };
    let ase = "[system]\nfree = \"Pt\"\n[potential]\nkind = \"ase\"\ncalculator = \"ase.calculators.emt:EMT\"\n";
    let ase = load(ase).to_toml().parse::<Table>().unwrap();
    let defaults = [with_potential("emt"), with_potential("lennard-jones"), with_potential("i-pi"), ase];
    for (section, keys) in documented() {
        for (key, cell) in keys {
            let default = defaults.iter().find_map(|table| table_of(table.get(&section)?)?.get(&key));
            match (cell.as_str(), default) {
                // Given above.
                ("required", _) if ["free", "kind", "calculator"].contains(&key.as_str()) => {}
                ("required", _) if key == "file" => {}
                ("none", Some(_)) if ["template", "mobile"].contains(&key.as_str()) => {}
                ("false", None) if key == "keep_bonded" => {}
                ("true", None) if key == "score" => {}
                ("0.0", None) if key == "energy_weight" => {}
                ("1.0", None) if key == "energy_unit_ev" => {}
                ("1", None) if key == "screen" => {}
                ("required", None) if ["seeds", "target", "transfer"].contains(&section.as_str()) => {}
                ("none", None) => {}
                // Applies only where there is a cell.
                ("[true, true, true]", None) if key == "periodic" => {}
                (cell, Some(default)) => {
                    let table: Table = format!("value = {cell}").parse().unwrap_or_else(|_| panic!("{key}: {cell}"));
                    assert_eq!(&table["value"], default, "[{section}] {key}");
                }
                (cell, None) => panic!("[{section}] {key}: the table says {cell}, there is no default"),
            }
        }
    }
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = target.split('#').next().unwrap();
            if !file.is_empty() && !target.contains("://") {
                assert!(page.parent().unwrap().join(file).exists(), "{}: {target}", page.display());
            }
        }
    }
}

/// Every `godiff COMMAND --option` of the documentation is one that the program has.
#[test]
fn commands_exist() {
    let help = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_godiff")).args(arguments).arg("--help").output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    let mut n_lines = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for line in blocks(&text, "sh").iter().flat_map(|block| block.lines()) {
            let Some((_, call)) = line.split_once("godiff ").or_else(|| line.split_once("cargo run --release -- "))
            else {
                continue;
            };
            let call = call.split(" #").next().unwrap();
            let mut words = call.split_whitespace();
            let command = words.next().unwrap();
            let Some(text) = help(&[command]) else { panic!("{}: {line}", page.display()) };
            for option in words.filter(|word| word.starts_with('-')) {
                assert!(
                    text.contains(&format!("{option} ")) || text.contains(&format!("{option}\n")),
                    "{line}: {option}"
                );
            }
            n_lines += 1;
        }
    }
    assert!(n_lines >= 5, "{n_lines} commands");
}

/// Every configuration that a page or a script names is in the repository, or a command of that page makes it.
#[test]
fn configurations_exist() {
    let scripts = fs::read_dir(root().join("scripts")).unwrap().map(|entry| entry.unwrap().path());
    let mut n_names = 0;
    for page in pages().into_iter().chain(scripts.filter(|path| path.is_file())) {
        let text = fs::read_to_string(&page).unwrap();
        let is_part = |letter: char| letter.is_alphanumeric() || "/.-_$".contains(letter);
        let made: BTreeSet<&str> = text.split("> ").skip(1).filter_map(|rest| rest.split_whitespace().next()).collect();
        for name in text.split(|letter| !is_part(letter)).filter(|word| word.ends_with(".toml")) {
            let rooted = name.starts_with("configs/") || name.starts_with("docs/results/configs/");
            if rooted && !name.contains('$') && !made.contains(name) {
                assert!(root().join(name).is_file(), "{}: {name}", page.display());
                n_names += 1;
            }
        }
    }
    assert!(n_names >= 30, "{n_names} names");
}

/// The tasks show how far one choice carries: only system, potential, target, budget and temperatures differ.
#[test]
fn all_tasks_have_the_same_settings() {
    let mut all: Vec<(PathBuf, Table)> = Vec::new();
    for entry in fs::read_dir(root().join("configs/tasks")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        Settings::load(&path).unwrap();
        let mut table: Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let own = ["system", "potential", "target", "placement", "basin_hopping", "evolution", "random_search"];
        own.into_iter().for_each(|section| drop(table.remove(section)));
        let search = table["search"].as_table_mut().unwrap();
        for key in ["iterations", "kt_initial_ev", "kt_final_ev"] {
            assert!(search.remove(key).is_some(), "{key} in {}", path.display());
        }
        all.push((path, table));
    }
    assert!(all.len() >= 12, "{}", all.len());
    let (_, first) = &all[0];
    all.iter().for_each(|(path, table)| assert_eq!(table, first, "{}", path.display()));
    let hops: Table = read("configs/pt-heptamer-hops.toml").parse().unwrap();
    for section in ["model", "training", "guidance", "proposals"] {
        assert_eq!(hops[section], first[section], "{section}");
    }
}

/// The table of commands in the README has a row for each.
#[test]
fn the_readme_lists_every_command() {
    let readme = read("README.md");
    let output = Command::new(env!("CARGO_BIN_EXE_godiff")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names =
        commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()));
    let names: Vec<&str> = names.filter(|name| *name != "help").collect();
    assert!(names.len() >= 9, "{names:?}");
    for name in names {
        assert!(readme.contains(&format!("| `{name}")), "{name}");
    }
}

/// The slab that docs/first-hour.md makes with ASE: fcc100("Cu", size=(4, 4, 2), a=3.61, vacuum=10.0).
#[cfg(unix)]
fn copper_slab() -> String {
    let (spacing, layer) = (3.61 / 2.0_f64.sqrt(), 3.61 / 2.0);
    let (side, height) = (4.0 * spacing, 20.0 + layer);
    let mut text =
        format!("32\nLattice=\"{side} 0 0 0 {side} 0 0 0 {height}\" Properties=species:S:1:pos:R:3 pbc=\"T T F\"\n");
    for k in 0..32 {
        let (level, row, column) = (f64::from(k / 16), f64::from(k / 4 % 4), f64::from(k % 4));
        // The upper layer sits in the hollows of the lower one.
        let (x, y) = ((column + 0.5 * (1.0 - level)) * spacing, (row + 0.5 * (1.0 - level)) * spacing);
        text += &format!("Cu {x} {y} {}\n", 10.0 + level * layer);
    }
    text
}

/// Every command of docs/first-hour.md, in its order and as it stands there, with a model and budgets that take seconds.
#[cfg(unix)]
#[test]
fn the_first_hour_runs() {
    let page = read("docs/first-hour.md");
    let [config] = &blocks(&page, "toml")[..] else { panic!("one configuration") };
    let shorter = [
        ("steps_per_iteration = 100", "steps_per_iteration = 2"),
        ("relax_steps = 100", "relax_steps = 2"),
        ("features = 32\nblocks = 3", "features = 4\nblocks = 1\nradial_functions = 4\ncutoff_angstrom = 4.0"),
    ];
    let small = shorter.iter().fold(config.to_string(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    }) + "[diffusion]\nsteps = 5\n[random_search]\nevaluations = 40\n[basin_hopping]\nevaluations = 40\n";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("au3.toml"), small).unwrap();
    fs::write(folder.path().join("cu100.xyz"), copper_slab()).unwrap();

    let mut script = String::new();
    for line in blocks(&page, "sh").iter().flat_map(|block| block.lines()) {
        // Python's part, which needs ASE; the minimum it writes is any here.
        let elsewhere = line.starts_with("python ") || line.starts_with("ase ");
        script += if elsewhere { "" } else { line };
        script += "\n";
        if line.contains("-o minima.xyz") {
            script += "head -37 minima.xyz > au3-minimum.xyz\n";
        }
    }
    assert!(script.matches("\ngodiff ").count() >= 10, "{script}");
    let programs = Path::new(env!("CARGO_BIN_EXE_godiff")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let output =
        Command::new("sh").args(["-e", "-c", &script]).current_dir(folder.path()).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("au3-target-evolve") && said.contains("20 structures written to learned.xyz"), "{said}");
}
