//! What a process does to its files, recorded call by call (tests/fixtures/stand_ins/recorder.c), and trees of files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Contents of files by path, `None` for folders.
pub type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// One call of the recorded process, with paths relative to the recorded folder.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    Open {
        descriptor: i64,
        path: PathBuf,
        is_new: bool,
        is_emptied: bool,
    },
    Write {
        descriptor: i64,
        offset: usize,
        data: Vec<u8>,
    },
    SetLength {
        descriptor: i64,
        length: usize,
    },
    Sync {
        descriptor: i64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink(PathBuf),
    RemoveFolder(PathBuf),
    MakeFolder(PathBuf),
    /// A piece of standard output.
    Print(Vec<u8>),
}

/// Runs `command` with the recorder `library`; gives all that it did below `folder`. It must succeed.
pub fn record(library: &Path, mut command: Command, folder: &Path) -> Vec<Call> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let command = command.env("LD_PRELOAD", library).env("RECORDER_LOG", log.path()).env("RECORDER_ROOT", folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    parse(&fs::read(log.path()).unwrap(), folder)
}

fn parse(log: &[u8], root: &Path) -> Vec<Call> {
    fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
        let (bytes, tail) = rest.split_first_chunk().expect("a whole record");
        *rest = tail;
        *bytes
    }
    let path = |bytes: &[u8]| {
        let path = PathBuf::from(std::str::from_utf8(bytes).unwrap());
        path.strip_prefix(root).expect("a path below the root").to_owned()
    };
    let (mut rest, mut calls) = (log, Vec::new());
    while !rest.is_empty() {
        let [kind] = take(&mut rest);
        let (descriptor, number) = (i64::from_le_bytes(take(&mut rest)), i64::from_le_bytes(take(&mut rest)));
        let lengths = [u32::from_le_bytes(take(&mut rest)), u32::from_le_bytes(take(&mut rest))];
        let (one, tail) = rest.split_at(lengths[0] as usize);
        let (two, tail) = tail.split_at(lengths[1] as usize);
        rest = tail;
        calls.push(match kind {
            b'O' => Call::Open { descriptor, path: path(one), is_new: number == 1, is_emptied: number == 2 },
            b'W' => Call::Write { descriptor, offset: number as usize, data: one.to_vec() },
            b'T' => Call::SetLength { descriptor, length: number as usize },
            b'S' => Call::Sync { descriptor },
            b'R' => Call::Rename { from: path(one), to: path(two) },
            b'U' => Call::Unlink(path(one)),
            b'D' => Call::RemoveFolder(path(one)),
            b'M' => Call::MakeFolder(path(one)),
            b'P' => Call::Print(one.to_vec()),
            other => panic!("record {other}"),
        });
    }
    calls
}

/// The files and folders below `folder`.
pub fn read_tree(folder: &Path) -> Tree {
    let (mut tree, mut open) = (Tree::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_owned();
            if path.is_dir() {
                tree.insert(name, None);
                open.push(path);
            } else {
                tree.insert(name, Some(fs::read(&path).unwrap()));
            }
        }
    }
    tree
}

/// Makes `folder` hold what `tree` says.
pub fn write_tree(tree: &Tree, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    // A folder comes before what it holds.
    for (path, content) in tree {
        match content {
            Some(bytes) => fs::write(folder.join(path), bytes).unwrap(),
            None => fs::create_dir(folder.join(path)).unwrap(),
        }
    }
}

/// Which of `names` differ between two trees.
pub fn differing(one: &Tree, two: &Tree) -> Vec<PathBuf> {
    let names: BTreeSet<&PathBuf> = one.keys().chain(two.keys()).collect();
    names.into_iter().filter(|name| one.get(*name) != two.get(*name)).cloned().collect()
}
