//! What disks, file systems and people do to files.

// Each test uses its own part.
#![allow(dead_code)]

use crate::kills::Shares;
use std::fs;
use std::path::Path;

/// `bytes` with some damage, and what was done to them. Never what they were.
pub fn mutated(bytes: &[u8], shares: &mut Shares) -> (&'static str, Vec<u8>) {
    loop {
        let mut changed = bytes.to_vec();
        let what = damage(&mut changed, shares);
        if changed != bytes {
            return (what, changed);
        }
    }
}

fn damage(bytes: &mut Vec<u8>, shares: &mut Shares) -> &'static str {
    let n = bytes.len();
    // Sectors and pages.
    let block = [1, 16, 512, 4096][shares.below(4)].min(n);
    let start = shares.below(n - block + 1);
    match shares.below(9) {
        0 => {
            bytes[start] ^= 1 << shares.below(8);
            "a bit flipped"
        }
        1 => {
            for _ in 0..1 + shares.below(64) {
                let place = shares.below(n);
                bytes[place] ^= 1 << shares.below(8);
            }
            "bits flipped"
        }
        2 => {
            bytes[start..start + block].fill(0);
            "bytes zeroed"
        }
        3 => {
            bytes[start..start + block].fill_with(|| shares.below(256) as u8);
            "bytes overwritten"
        }
        4 => {
            bytes.truncate(shares.below(n));
            "cut off"
        }
        5 => {
            bytes.extend((0..block).map(|_| shares.below(256) as u8));
            "lengthened"
        }
        6 => {
            bytes.drain(start..start + block);
            "bytes lost"
        }
        7 => {
            let copy = bytes[start..start + block].to_vec();
            let place = shares.below(n);
            bytes.splice(place..place, copy);
            "bytes doubled"
        }
        // A file whose blocks never reached the disk, as some file systems leave it after a power cut.
        _ => {
            bytes[start..].fill(0);
            "zeros from some place on"
        }
    }
}

/// Copies the folder `from` with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
