//! The house has floors: a module of `src/` uses modules of lower floors alone, so that no two modules need each other.

use std::fs;
use std::path::{Path, PathBuf};

/// The floors from the ground up. Modules on one floor do not know each other.
const FLOORS: [&[&str]; 19] = [
    &["error", "fixture", "version"],
    &["columns", "disk", "lbfgs", "random", "statistics"],
    &["system", "buffer"],
    &["diffusion"],
    &["model", "objective"],
    &["gpu"],
    &["engine"],
    &["potential"],
    &["archive", "config"],
    &["inference"],
    &["run"],
    &["minima", "landscape"],
    &["plot", "proposal"],
    &["search", "baseline", "check"],
    &["benchmark", "preset"],
    &["campaign", "report"],
    &["job"],
    &["cli"],
    &["main", "lib"],
];

fn floor(module: &str) -> usize {
    FLOORS.iter().position(|floor| floor.contains(&module)).unwrap_or_else(|| panic!("{module} is on no floor: add it"))
}

/// Rust files below `folder`, without those that hold tests alone.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_stem().unwrap() != "tests" {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") && path.file_stem().unwrap() != "tests" {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The module of `src/` that the file at `path`, relative to `src/`, belongs to.
fn module_of(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules that a line of code names as `crate::NAME`, `crate::{NAME, NAME::…}` or `godiff::NAME`.
fn modules_named(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or("");
    let word = |text: &'static str| code.match_indices(text).map(move |(at, _)| (at, at + text.len()));
    let mut named = Vec::new();
    for (start, end) in word("crate::").chain(word("godiff::")) {
        if code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[end..];
        let heads: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => {
                let mut depth = 0;
                group
                    .split(|c| {
                        depth += i32::from(c == '{') - i32::from(c == '}');
                        c == ',' && depth == 0
                    })
                    .collect()
            }
            None => vec![rest],
        };
        let name = |head: &'_ str| head.trim_start().find(|c: char| !(c.is_lowercase() || c.is_numeric() || c == '_'));
        for head in heads {
            let head = head.trim_start();
            named.push(&head[..name(head).unwrap_or(head.len())]);
        }
    }
    named.retain(|name| !name.is_empty());
    named
}

/// Lines of the code in `text` with their numbers from 1, up to its unit tests; a `use` of several lines counts as one.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line == "#[cfg(test)]" && text.lines().nth(number).is_some_and(|next| next.ends_with("mod tests {")) {
            break;
        }
        match statements.last_mut() {
            Some((_, before)) if continues => before.push_str(line),
            _ => statements.push((number, line.to_owned())),
        }
        let last = &statements.last().unwrap().1;
        continues = last.trim_start().trim_start_matches("pub ").starts_with("use ") && !last.contains(';');
    }
    statements
}

/// "FILE:LINE: sentence" for each use of a module of the same or a higher floor in `text`, the file `path` below `src/`.
fn upward(path: &Path, text: &str) -> Vec<String> {
    let from = module_of(path);
    let mut found = Vec::new();
    for (number, statement) in statements(text) {
        for to in modules_named(&statement) {
            if to != from && FLOORS.concat().contains(&to) && floor(to) >= floor(&from) {
                let line = statement.trim();
                let place = path.display();
                found.push(format!("src/{place}:{number}: {from} uses {to}, which is not on a lower floor: {line}"));
            }
        }
    }
    found
}

#[test]
fn modules_use_lower_floors_alone() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let path = file.strip_prefix(&src).unwrap();
        floor(&module_of(path));
        wrong.extend(upward(path, &fs::read_to_string(&file).unwrap()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_upward_use_is_found_with_its_line() {
    let text = "//! Text about [`crate::search`].\nuse crate::{error::Result, run::{Round, Session}};\nuse crate::model::{\n    \
                ModelFile,\n};\nlet x = crate::search::f(); // crate::report\n#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\n";
    let wrong = upward(Path::new("potential/mod.rs"), text);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(
        wrong[0].starts_with("src/potential/mod.rs:2: potential uses run, which is not on a lower floor"),
        "{wrong:?}"
    );
    assert!(wrong[1].starts_with("src/potential/mod.rs:6: potential uses search,"), "{wrong:?}");
    assert_eq!(upward(Path::new("search.rs"), text).len(), 0, "a module may use itself and all below");
    assert_eq!(upward(Path::new("engine/mod.rs"), "use crate::engine::cpu;\nuse crate::gpu;").len(), 0);
    assert_eq!(upward(Path::new("gpu/mod.rs"), "    crate::gpu::x(godiff::engine::y)").len(), 1);
}

/// Every module of the library is on one floor, and every name there is a module.
#[test]
fn the_floors_name_what_there_is() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for name in FLOORS.concat() {
        let there = src.join(format!("{name}.rs")).is_file() || src.join(name).join("mod.rs").is_file();
        assert!(there, "there is no module {name} in src/");
        assert_eq!(FLOORS.concat().iter().filter(|other| **other == name).count(), 1, "{name}");
    }
}
