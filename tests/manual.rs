//! Completions and manual pages, judged by the programs that read them.
#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

fn godiff(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_godiff")).args(arguments).output().unwrap();
    assert!(output.status.success(), "godiff {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The output of `program`, or `None` with a message where the machine lacks it.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    let output = Command::new(program).args(arguments).output();
    output.inspect_err(|_| eprintln!("{program} is not installed: it is not asked")).ok()
}

/// What bash offers for the last of `words`, with the completions sourced as a user's shell sources them.
fn offered(words: &[&str]) -> Option<Vec<String>> {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
    let script = format!(
        "source <('{}' completions bash) || exit 1
         complete -p godiff >/dev/null || exit 2
         COMP_WORDS=({}); COMP_CWORD={}
         _godiff godiff '{last}' '{before}'
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        env!("CARGO_BIN_EXE_godiff"),
        quoted.join(" "),
        words.len() - 1,
    );
    let output = run("bash", &["--norc", "-c", &script])?;
    assert!(output.status.success(), "{words:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn bash_completes_commands_and_options() {
    let Some(commands) = offered(&["godiff", "se"]) else { return };
    assert_eq!(commands, ["search"]);
    let all = offered(&["godiff", ""]).unwrap();
    assert!(
        ["inspect", "benchmark", "completions", "man"].iter().all(|name| all.contains(&(*name).to_owned())),
        "{all:?}"
    );
    assert_eq!(offered(&["godiff", "search", "--res"]).unwrap(), ["--resume"]);
    assert_eq!(offered(&["godiff", "completions", "fi"]).unwrap(), ["fish"]);
    assert_eq!(offered(&["godiff", "relax", "best.xyz", "--poten"]).unwrap(), ["--potential"]);
}

#[test]
fn every_shell_gets_a_script_that_it_can_read() {
    let place = TempDir::new().unwrap();
    for (shell, check) in [
        ("bash", &["bash", "-n"][..]),
        ("zsh", &["zsh", "-n"]),
        ("fish", &["fish", "--no-execute"]),
        ("elvish", &["elvish", "-compileonly"]),
        ("powershell", &[]),
    ] {
        let script = godiff(&["completions", shell]);
        assert!(script.contains("basin-hopping") && script.contains("resume"), "{shell}: {script}");
        let path = place.path().join(shell);
        std::fs::write(&path, script).unwrap();
        if let [program, arguments @ ..] = check {
            let arguments: Vec<&str> = arguments.iter().copied().chain(path.to_str()).collect();
            if let Some(output) = run(program, &arguments) {
                assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_godiff")).args(["completions", "tcsh"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// Every page comes through groff without a warning and says what `--help` says.
#[test]
fn manual_pages_are_clean() {
    let place = TempDir::new().unwrap();
    let folder = place.path().join("share/man1");
    let said = godiff(&["man", folder.to_str().unwrap()]);
    let mut pages: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert_eq!(said, format!("{} pages written to {}\n", pages.len(), folder.display()));
    let help = godiff(&["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names =
        commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()));
    let mut expected = vec![folder.join("godiff.1")];
    expected.extend(names.filter(|name| *name != "help").map(|name| folder.join(format!("godiff-{name}.1"))));
    expected.sort();
    assert_eq!(pages, expected);

    for page in &pages {
        let Some(output) = run("groff", &["-man", "-Tutf8", "-ww", page.to_str().unwrap()]) else { return };
        assert!(output.status.success() && output.stderr.is_empty(), "{}: {output:?}", page.display());
    }
    let search = text_of(&folder.join("godiff-search.1"));
    for part in ["godiff search configs/pt-adatom.toml", "--resume", "NAME", "search - Searches for the structure"] {
        assert!(search.contains(part), "{part}: {search}");
    }
    // Without a folder the main page goes to standard output.
    assert_eq!(godiff(&["man"]), std::fs::read_to_string(folder.join("godiff.1")).unwrap());
}

/// What a reader sees of a page, without overstrikes and line breaks.
fn text_of(page: &Path) -> String {
    let output = run("groff", &["-man", "-Tutf8", "-P-cbou", page.to_str().unwrap()]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap().replace(['\u{2010}', '\u{2212}'], "-");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_godiff")).args(["man", file.join("man1").to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("file/man1: cannot be used as folder for manual pages: ") && said.lines().count() == 1,
        "{said}"
    );
}
