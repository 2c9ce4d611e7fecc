//! One target of libFuzzer for every parser of `tests/fuzz`, chosen by `GODIFF_FUZZ_ONLY`.
//!
//! The first byte of an input chooses a form of the parser (a checksum or a zip archive around the rest, for example) and its
//! random numbers. With `GODIFF_FUZZ_SEEDS=FOLDER` the program writes the valid inputs and the dictionary of the parser there, and
//! ends.
#![no_main]

#[path = "../../tests/fuzz/allocations.rs"]
mod allocations;
#[path = "../../tests/fuzz/archives.rs"]
mod archives;
#[path = "../../tests/fuzz/engine.rs"]
#[allow(dead_code, reason = "the generator of inputs is for the tests")]
mod engine;
#[path = "../../tests/fuzz/mutate.rs"]
#[allow(dead_code, reason = "the generator of inputs is for the tests")]
mod mutate;
#[path = "../../tests/fuzz/parsers.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod parsers;
#[path = "../../tests/fuzz/watch.rs"]
#[allow(dead_code, reason = "libFuzzer has a watch of its own")]
mod watch;

use engine::Parser;
use libfuzzer_sys::fuzz_target;
use std::fmt::Write;
use std::path::Path;
use std::sync::LazyLock;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

static PARSER: LazyLock<Parser> = LazyLock::new(|| {
    let parser = parser(&std::env::var("GODIFF_FUZZ_ONLY").unwrap_or_default());
    if let Some(folder) = std::env::var_os("GODIFF_FUZZ_SEEDS") {
        write_seeds(&parser, Path::new(&folder)).expect("the folder of seeds can be written");
        std::process::exit(0);
    }
    parser
});

fuzz_target!(init: { LazyLock::force(&PARSER); }, |input: &[u8]| {
    if let Err(why) = PARSER.guided(input) {
        panic!("{} {why}", PARSER.name);
    }
});

fn parser(name: &str) -> Parser {
    let archives: [parsers::Named; 2] = [("rows", archives::rows), ("database", archives::database)];
    let parsers: Vec<parsers::Named> = parsers::all().into_iter().chain(archives).collect();
    let Some((_, make)) = parsers.iter().find(|(of, _)| *of == name) else {
        let names: Vec<_> = parsers.iter().map(|(name, _)| *name).collect();
        eprintln!("GODIFF_FUZZ_ONLY is one of {}", names.join(", "));
        std::process::exit(2);
    };
    make()
}

/// Writes the valid inputs of `parser` and its words, as a dictionary of libFuzzer, to `folder`.
fn write_seeds(parser: &Parser, folder: &Path) -> std::io::Result<()> {
    for (number, seed) in parser.guided_seeds().enumerate() {
        std::fs::write(folder.join(format!("seed-{number:03}")), seed)?;
    }
    let mut dictionary = String::new();
    for token in parser.tokens.iter().filter(|token| (1..=64).contains(&token.len())) {
        let escaped: String = token.iter().fold(String::new(), |mut text, byte| {
            write!(text, "\\x{byte:02x}").expect("text grows");
            text
        });
        writeln!(dictionary, "\"{escaped}\"").expect("text grows");
    }
    std::fs::write(folder.with_extension("dict"), dictionary)
}
