//! A writer killed at any moment leaves whole batches, and every batch that it had been told was stored.

#![cfg(unix)]

#[path = "common/kills.rs"]
mod kills;

use godiff::archive::{Archive, Entry, Status};
use godiff::system::{Cell, System};
use kills::kill_writer;
use std::io::Write;
use std::time::Duration;

const BATCH: u32 = 32;
const ARCHIVE_OF_WRITER: &str = "GODIFF_TEST_KILLED_WRITER";

fn system() -> System {
    System {
        cell: Cell { vectors: [[16.0, 0.0, 0.0], [0.0, 16.0, 0.0], [0.0, 0.0, 20.0]], periodic: [true, true, false] },
        template_numbers: vec![78; 72],
        template_positions: vec![[1.0; 3]; 72],
        free_numbers: vec![78; 7],
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    }
}

fn batch(iteration: u32) -> Vec<Entry> {
    let entry = |index| Entry {
        iteration,
        index,
        kt_ev: 0.1,
        status: Status::Ok,
        origin: None,
        predicted_ev: None,
        free_positions: vec![[f64::from(iteration), f64::from(index), 0.0]; 7],
        energy: Some(f64::from(iteration)),
        forces: Some(vec![[f64::from(index); 3]; 79]),
    };
    (0..BATCH).map(entry).collect()
}

/// Not a test by itself: the process that [`killed_writers_lose_nothing`] kills.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(ARCHIVE_OF_WRITER) else { return };
    let mut archive = Archive::open_or_create(path.as_ref(), &system(), "emt", 1).unwrap();
    let first = archive.counts().unwrap().samples() as u32 / BATCH;
    for iteration in first.. {
        archive.record(&batch(iteration)).unwrap();
        println!("\nstored {iteration}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn killed_writers_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.db");
    let mut stored = 0;
    for kill in 0..25u64 {
        // The first kills fall into the making of the archive, the others anywhere in the batches.
        let time = Duration::from_millis(kill * 2) + Duration::from_micros(kill * 377);
        let told = kill_writer(ARCHIVE_OF_WRITER, &path, "stored", time).map_or(stored, |iteration| iteration + 1);

        let archive = Archive::open_or_create(&path, &system(), "emt", 1).unwrap();
        let samples = archive.counts().unwrap().samples() as u32;
        assert_eq!(samples % BATCH, 0, "half a batch");
        stored = samples / BATCH;
        assert!(stored >= told, "{told} batches were said to be stored, {stored} are");
        for iteration in 0..stored {
            assert_eq!(archive.entries(iteration).unwrap(), batch(iteration));
        }
    }
    assert!(stored > 0, "no batch was ever stored: the test proves nothing");
}
