//! Inputs that were once taken badly, each with what is said of it now.

use super::engine::Parser;
use super::parsers::{client_text, configuration, ipi, packed, pickle, poscar, segments, xyz};
use godiff::minima::Source;
use std::fmt::Write;

/// The pickle in an archive of its own.
fn archived(pickle: &[u8]) -> Vec<u8> {
    packed(pickle, &[], zip::CompressionMethod::Stored)
}

/// `parser` refuses `input` with `sentence` in time and within its memory.
fn refuses(parser: Parser, input: &[u8], sentence: &str) {
    let name = parser.name;
    let said = parser.take(input).expect_err(name);
    assert!(said.contains(sentence), "{name}: {said}\n not {sentence}");
}

/// A hundred million images lie within the length of these lattice vectors; they were all listed.
#[test]
fn flat_cells() {
    let lattice = "1 0 0 1 1.1e-4 0 1 0 1.1e-4";
    let sentence = "the cell repeats every 1.10e-4 Å, so that atoms meet their own images";
    refuses(xyz(), format!("1\nLattice=\"{lattice}\"\nH 0 0 0\n").as_bytes(), sentence);
    refuses(poscar(), b"flat\n1\n1 0 0\n1 1.1e-4 0\n1 0 1.1e-4\nH\n1\nDirect\n0 0 0\n", sentence);
    let section = "[system]\nfree = 'Pt'\ncell_angstrom = [[1, 0, 0], [1, 1.1e-4, 0], [1, 0, 1.1e-4]]\n[potential]\nkind = 'emt'\n";
    refuses(configuration(), section.as_bytes(), sentence);
}

/// Every name was compared with every other.
#[test]
fn many_columns_and_keys() {
    let mut columns = String::from("Properties=species:S:1:pos:R:3");
    (0..90_000).for_each(|k| write!(columns, ":{k}:I:1").unwrap());
    refuses(xyz(), format!("1\n{columns}\nH 0 0 0\n").as_bytes(), "an atom line of 90004 columns is expected, found 4");
    let keys: String = (0..100_000).map(|k| format!("k{k} ")).collect();
    xyz().take(format!("1\n{keys}\nH 0 0 0\n").as_bytes()).unwrap();
}

/// Every further `=` copied the value before it.
#[test]
fn a_value_of_many_parts() {
    let line = format!("note{}", "=".repeat(1_000_000));
    xyz().take(format!("1\n{line}\nH 0 0 0\n").as_bytes()).unwrap();
}

/// Every apostrophe that opens a word searched the whole line for one that ends a word.
#[test]
fn apostrophes_without_end() {
    let line = "'a ".repeat(300_000);
    xyz().take(format!("1\n{line}\nH 0 0 0\n").as_bytes()).unwrap();
}

/// A bracket that closes nothing let the next one open unseen, and the stack overflowed; every dot of a key is a table in a
/// table too.
#[test]
fn tables_in_tables_without_end() {
    for nested in ["a.", "'='.", "\"#'\".", "a = { b 0], ", "a = { [], "] {
        let deep = format!("[system]\nfree = 'Pt'\n{}a = 1\n", nested.repeat(20_000));
        refuses(
            configuration(),
            deep.as_bytes(),
            "line 3: tables and lists are nested more than 32 deep; write them with fewer dots and brackets",
        );
    }
}

/// The configurations in `segments.json`, and the one beside an archive, were parsed at any depth: the stack overflowed.
#[test]
fn tables_in_tables_of_run_folders() {
    let folder = tempfile::tempdir().unwrap();
    for nested in ["a = { b 0], ", "a = { [], "] {
        let deep = format!("[search]\n{}a = 1\n", nested.repeat(20_000));
        let segment = serde_json::json!({
            "first_iteration": 0, "evaluations": 0, "changes": [], "config": deep,
        });
        let file = serde_json::json!({ "format_version": 1, "segments": [segment] }).to_string();
        let sentence = "segments.json holds a damaged configuration (tables and lists are nested more than 32 deep";
        refuses(segments(), file.as_bytes(), sentence);
        std::fs::write(folder.path().join("config.toml"), deep).unwrap();
        assert!(!Source::of(folder.path()).is_relaxed());
    }
}

/// Names and shapes were copied wherever a pickle used them again, four hundred bytes for one.
#[test]
fn names_and_shapes_that_are_used_again() {
    let name = [&b"\x80\x02X\0\x02\0\0"[..], &[b'x'; 512], b"q\0"].concat();
    let globals = [&name[..], &b"h\0h\0\x93".repeat(200_000), b"."].concat();
    refuses(pickle(), &archived(&globals), "the checkpoint holds no tensor representation.embedding.weight");
    let start = b"ctorch._utils\n_rebuild_tensor_v2\nq\x01((X\x07\0\0\0storagectorch\nFloatStorage\nh\0NK\x01tQK\0(";
    let sizes = [&b"K\x01".repeat(64)[..], b"tq\x02h\x02tq\x03h\x01h\x03R"].concat();
    let tensors = [&name[..], start, &sizes, &b"h\x01h\x03R".repeat(200_000), b"."].concat();
    refuses(pickle(), &archived(&tensors), "the checkpoint holds no tensor representation.embedding.weight");
}

/// One parameter under many numbers was looked through every time.
#[test]
fn an_optimiser_with_one_state_for_all() {
    let (tiny, others) = super::parsers::unpacked(include_bytes!("../fixtures/tiny.ckpt"));
    // The last dictionary becomes the state of 100,000 parameters, with 100,000 keys of its own.
    let state = [&b"}q\xf0("[..], &b"NN".repeat(100_000), b"u0}("].concat();
    let numbers: Vec<u8> = (0..100_000u32).flat_map(|k| [&b"J"[..], &k.to_le_bytes(), b"h\xf0"].concat()).collect();
    let states = [&state[..], &numbers, b"u"].concat();
    let entry = [b"X\x10\0\0\0optimizer_states](}X\x05\0\0\0state", &states[..], b"seu."].concat();
    // Before STOP stands the SETITEMS of the outermost dictionary.
    assert!(tiny.ends_with(b"u."), "the fixture's end is {:?}", &tiny[tiny.len() - 4..]);
    let changed = [&tiny[..tiny.len() - 2], &entry].concat();
    pickle().take(&packed(&changed, &others, zip::CompressionMethod::Stored)).unwrap();
}

/// Sixteen megabytes were made ready for a text that never came.
#[test]
fn texts_that_are_announced_only() {
    refuses(ipi(), &client_text(1 << 24), "the other end closed the connection");
    refuses(ipi(), &client_text((1 << 24) + 1), "the other end announced a text of 16777217 bytes");
    refuses(ipi(), &client_text(-1), "the other end announced a text of -1 bytes");
}
