//! Pickles that run code in Python run nothing here.

use super::parsers::{packed, pickle, unpacked};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Pickles that make Python create the file `marker`, by the way they do it.
fn that_run(marker: &str) -> Vec<(&'static str, Vec<u8>)> {
    let command = format!("touch {marker}");
    let code = format!("open({marker:?}, 'w').close()");
    // Strings of protocol 0 end with the line, the others with their length.
    let line = |text: &str| format!("S{text:?}\n").into_bytes();
    let long = |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let short = |text: &str| [&[0x8c, text.len() as u8][..], text.as_bytes()].concat();
    let join = |parts: &[&[u8]]| parts.concat();
    vec![
        ("REDUCE of protocol 0", join(&[b"cposix\nsystem\n(", &line(&command), b"tR."])),
        ("REDUCE", join(&[b"\x80\x02cos\nsystem\n", &long(&command), b"\x85R."])),
        ("STACK_GLOBAL", join(&[b"\x80\x04", &short("builtins"), &short("eval"), b"\x93", &short(&code), b"\x85R."])),
        ("exec", join(&[b"\x80\x02cbuiltins\nexec\n", &long(&code), b"\x85R."])),
        ("INST", join(&[b"(", &line(&command), b"ios\nsystem\n."])),
        ("OBJ", join(&[b"(cos\nsystem\n", &long(&command), b"o."])),
        (
            "a class that starts a process",
            join(&[b"\x80\x02csubprocess\nPopen\n(", &long("touch"), &long(marker), b"l\x85R."]),
        ),
        (
            "a method by way of getattr",
            join(&[
                b"\x80\x02cbuiltins\ngetattr\ncos\npath\n",
                &long("os"),
                b"\x86R0cbuiltins\ngetattr\ncposixpath\nos\n",
                &long("system"),
                b"\x86R",
                &long(&command),
                b"\x85R.",
            ]),
        ),
        (
            "BUILD with a function as __setstate__",
            join(&[
                b"\x80\x02cargparse\nNamespace\n)\x81}",
                &long("__setstate__"),
                b"cos\nsystem\nsb",
                &long(&command),
                b"b.",
            ]),
        ),
        (
            "a dictionary's item",
            join(&[b"\x80\x02}(", &long("state_dict"), b"cos\nsystem\n", &long(&command), b"\x85Ru."]),
        ),
    ]
}

#[test]
fn nothing_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("ran");
    let (good, storages) = unpacked(include_bytes!("../fixtures/tiny.ckpt"));
    for (how, hostile) in that_run(&marker.to_string_lossy()) {
        // Python is the judge of whether a pickle is what it is said to be.
        if let Some(python) = std::env::var_os("GODIFF_PYTHON") {
            let path = folder.path().join("pickle");
            std::fs::write(&path, &hostile).unwrap();
            let load = "import pickle, sys\ntry: pickle.load(open(sys.argv[1], 'rb'))\nexcept Exception: pass";
            assert!(Command::new(python).args(["-c", load]).arg(&path).status().unwrap().success());
            // What it started may outlive it.
            let ran = (0..100).any(|_| {
                std::thread::sleep(Duration::from_millis(20));
                marker.exists()
            });
            assert!(ran, "{how} runs nothing in Python either");
            std::fs::remove_file(&marker).unwrap();
        }
        let sentence = pickle().take(&packed(&hostile, &[], zip::CompressionMethod::Stored)).expect_err(how);
        assert!(sentence.starts_with("input.ckpt: "), "{how}: {sentence}");
        // And in front of a checkpoint that is all right, where what it gave is thrown away.
        let skipped = [&hostile[..hostile.len() - 1], b"0", &good[2..]].concat();
        let taken = pickle().take(&packed(&skipped, &storages, zip::CompressionMethod::Stored));
        assert!(
            taken.is_ok() || taken.as_ref().is_err_and(|said| said.contains("which model files do not need")),
            "{how}: {taken:?}"
        );
        assert!(!Path::exists(&marker), "{how} was run");
    }
}

/// Extensions, out-of-band buffers and persistent names: whatever reaches beyond the pickle.
#[test]
fn what_reaches_outside_is_refused() {
    for (opcode, pickle_of) in [
        (0x82, &b"\x80\x02\x82\x01."[..]),
        (0x83, b"\x80\x02\x83\x01\x00."),
        (0x84, b"\x80\x02\x84\x01\x00\x00\x00."),
        (0x97, b"\x80\x05\x97."),
        (0x50, b"\x80\x02Pname\n."),
        (0x69, b"\x80\x02(ios\nsystem\n."),
        (0x6f, b"\x80\x02(cos\nsystem\no."),
    ] {
        let said = pickle().take(&packed(pickle_of, &[], zip::CompressionMethod::Stored)).unwrap_err();
        let at = format!("its pickle uses opcode {opcode:#04x} at byte ");
        assert!(said.contains(&at) && said.ends_with(", which model files do not need"), "{said}");
    }
}

/// Announced sizes take no memory, memos and nesting no more than their bytes.
#[test]
fn little_stays_little() {
    for (what, bytes) in [
        ("LONG4", &b"\x80\x02\x8b\xff\xff\xff\x7f."[..]),
        ("BINBYTES8", b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f."),
        ("BINUNICODE8", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff."),
        ("BINBYTES", b"\x80\x02B\xff\xff\xff\xff."),
        ("LONG_BINPUT", b"\x80\x02Nr\xff\xff\xff\xff"),
        ("FRAME", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN"),
    ] {
        let said = pickle().take(&packed(bytes, &[], zip::CompressionMethod::Stored)).expect_err(what);
        assert!(said.contains("its pickle ends early, inside the opcode at byte"), "{what}: {said}");
    }
    let doubling = [&b"\x80\x02]q\0"[..], &b"(h\0h\0h\0h\0lq\0".repeat(90_000), b"."].concat();
    let deep = [&b"]".repeat(500_000)[..], &b"a".repeat(499_999), b"."].concat();
    let marks = [&b"(".repeat(1_000_000)[..], b"N."].concat();
    for bytes in [doubling, deep, marks] {
        pickle().take(&packed(&bytes, &[], zip::CompressionMethod::Stored)).unwrap_err();
    }
}
