mod damage;

use super::*;
use crate::system::{Cell, Vec3};
use tempfile::TempDir;

fn system() -> System {
    System {
        cell: Cell { vectors: [[5.0, 0.0, 0.0], [1.0, 5.5, 0.0], [0.1, 0.2, 20.0]], periodic: [true, true, false] },
        template_numbers: vec![78, 29, 78],
        template_positions: vec![[0.0, 0.1, 1.0], [2.5, 0.0, 1.0], [0.0, 2.5, 1.0 / 3.0]],
        free_numbers: vec![78, 13],
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    }
}

fn new_archive() -> (TempDir, Archive) {
    let folder = TempDir::new().unwrap();
    let archive = Archive::create(&folder.path().join("archive.db"), &system(), "EMT", u64::MAX - 1).unwrap();
    (folder, archive)
}

/// Positions, energies and forces with every bit pattern that must survive: thirds, subnormals, −0.0, huge and tiny ones.
fn entry(iteration: u32, index: u32, energy: Option<f64>) -> Entry {
    let x = (1.0 + f64::from(index)) / 3.0;
    let forces: Option<Vec<Vec3>> =
        energy.map(|e| vec![[x, -0.0, e * 1e-300], [1e-320, x, 1e300], [x; 3], [0.1; 3], [-x; 3]]);
    Entry {
        iteration,
        index,
        kt_ev: 5.0 * 0.1f64.powf(f64::from(iteration) / 7.0),
        status: if energy.is_some() { Status::Ok } else { Status::TooClose },
        origin: None,
        predicted_ev: None,
        free_positions: vec![[x, -x, 4.0 + x], [1.0 / 7.0, -0.0, 5e-324]],
        energy,
        forces,
    }
}

fn bits(entry: &Entry) -> Vec<u64> {
    let vectors = entry.free_positions.iter().chain(entry.forces.iter().flatten()).flatten();
    vectors.chain(&entry.energy).chain([&entry.kt_ev]).map(|x| x.to_bits()).collect()
}

fn message(result: Result<Archive>) -> (u8, String) {
    let error = result.map(|_| ()).unwrap_err();
    (error.exit_code(), error.to_string())
}

#[test]
fn entries_come_back_bit_for_bit() {
    let (folder, mut archive) = new_archive();
    let entries =
        [entry(0, 2, Some(-1.0 / 3.0)), entry(0, 0, None), entry(1, 0, Some(1e300)), entry(0, 1, Some(24.987430))];
    archive.record(&entries).unwrap();
    drop(archive);
    let archive = Archive::open(&folder.path().join("archive.db"), &system()).unwrap();
    assert_eq!(archive.seed(), u64::MAX - 1);
    let first = archive.entries(0).unwrap();
    let expected = [&entries[1], &entries[3], &entries[0]];
    assert_eq!(first.iter().collect::<Vec<_>>(), expected);
    assert_eq!(first.iter().map(bits).collect::<Vec<_>>(), expected.map(bits));
    assert_eq!(archive.all_ok().unwrap(), [entries[3].clone(), entries[0].clone(), entries[2].clone()]);
    assert_eq!(archive.get(1, 0).unwrap().as_ref(), Some(&entries[2]));
    assert_eq!(archive.get(1, 1).unwrap(), None);
    assert!(archive.entries(2).unwrap().is_empty());
}

/// Order is by number, not by text: 2 before 10, 255 before 256.
#[test]
fn order_is_numerical() {
    let (_folder, mut archive) = new_archive();
    let keys = [(10, 1), (2, 300), (256, 0), (2, 20), (255, 7), (u32::MAX, u32::MAX)];
    archive.record(&keys.map(|(iteration, index)| entry(iteration, index, Some(0.0)))).unwrap();
    let order: Vec<_> = archive.all_ok().unwrap().iter().map(|e| (e.iteration, e.index)).collect();
    assert_eq!(order, [(2, 20), (2, 300), (10, 1), (255, 7), (256, 0), (u32::MAX, u32::MAX)]);
    let candidates: Vec<_> = archive.candidates().unwrap().iter().map(|c| (c.iteration, c.index)).collect();
    assert_eq!(order, candidates);
}

#[test]
fn a_duplicate_changes_nothing() {
    let (_folder, mut archive) = new_archive();
    archive.record(&[entry(0, 0, Some(1.0))]).unwrap();
    archive.record(&[entry(0, 0, Some(2.0)), entry(0, 1, Some(3.0)), entry(0, 1, None)]).unwrap();
    assert_eq!(archive.entries(0).unwrap(), [entry(0, 0, Some(1.0)), entry(0, 1, Some(3.0))]);
    for (table, rows) in [("systems", 2), ("species", 6), ("keys", 8), ("number_key_values", 6), ("text_key_values", 2)]
    {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        assert_eq!(archive.file.connection.query_row(&sql, [], |row| row.get::<_, i64>(0)), Ok(rows), "{table}");
    }
}

#[test]
fn energies_that_are_not_finite_are_null() {
    let (_folder, mut archive) = new_archive();
    for (index, energy) in (0..).zip([f64::NAN, f64::INFINITY, f64::NEG_INFINITY]) {
        let status = Status::NotFinite;
        archive.record(&[Entry { status, energy: Some(energy), ..entry(0, index, Some(1.0)) }]).unwrap();
    }
    let entries = archive.entries(0).unwrap();
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|entry| entry.energy.is_none() && entry.forces.is_some()));
    assert_eq!(archive.best().unwrap(), None);
    assert!(archive.candidates().unwrap().is_empty());
}

#[test]
fn counts_and_best_tell_the_statuses_apart() {
    let (_folder, mut archive) = new_archive();
    assert_eq!(archive.counts().unwrap(), Counts::default());
    assert_eq!(archive.best().unwrap(), None);
    let with = |status, index, energy| Entry { status, ..entry(3, index, energy) };
    let entries = [
        with(Status::Ok, 0, Some(2.0)),
        with(Status::Ok, 1, Some(1.0)),
        with(Status::Ok, 2, Some(1.0)),
        with(Status::BelowFloor, 3, Some(-900.0)),
        with(Status::AboveCeiling, 4, Some(900.0)),
        with(Status::TooClose, 5, None),
        with(Status::NotFinite, 6, None),
        with(Status::Failed, 7, None),
    ];
    archive.record(&entries).unwrap();
    let counts = archive.counts().unwrap();
    let expected =
        Counts { ok: 3, too_close: 1, fallen_apart: 0, below_floor: 1, above_ceiling: 1, not_finite: 1, failed: 1 };
    assert_eq!(counts, expected);
    assert_eq!(counts, entries.iter().map(|entry| entry.status).collect());
    assert_eq!((counts.samples(), counts.evaluations()), (8, 7));
    assert_eq!(archive.best().unwrap().as_ref(), Some(&entries[1]), "of equal energies the first");
    assert_eq!(archive.candidates().unwrap().len(), 3);
}

#[test]
fn export_gives_whole_structures() {
    let (folder, mut archive) = new_archive();
    archive
        .record(&[entry(0, 0, Some(2.0)), entry(0, 1, None), entry(1, 0, Some(-2.0)), entry(1, 1, Some(1.0))])
        .unwrap();
    let read = |selection| {
        let mut found = Vec::new();
        export(&folder.path().join("archive.db"), selection, &mut |stored| {
            found.push(stored);
            Ok(())
        })
        .unwrap();
        found
    };
    let keys = |selection| read(selection).iter().map(|s| (s.iteration, s.index)).collect::<Vec<_>>();
    assert_eq!(keys(Selection::All), [(0, 0), (0, 1), (1, 0), (1, 1)]);
    assert_eq!(keys(Selection::Ok), [(0, 0), (1, 0), (1, 1)]);
    assert_eq!(keys(Selection::Lowest(2)), [(1, 0), (1, 1)]);
    assert_eq!(keys(Selection::Lowest(9)).len(), 3);
    let stored = &read(Selection::All)[1];
    let mut expected = system().structure(&entry(0, 1, None).free_positions);
    assert_eq!((stored.status, &stored.structure), (Status::TooClose, &expected));
    let stored = &read(Selection::Lowest(1))[0];
    let best = entry(1, 0, Some(-2.0));
    expected.positions[3..].copy_from_slice(&best.free_positions);
    (expected.energy, expected.forces) = (best.energy, best.forces);
    assert_eq!((stored.kt_ev, &stored.structure), (best.kt_ev, &expected));
}

#[test]
fn an_error_of_the_visitor_ends_the_export() {
    let (folder, mut archive) = new_archive();
    archive.record(&[entry(0, 0, Some(2.0)), entry(0, 1, Some(1.0))]).unwrap();
    let mut visits = 0;
    let result = export(&folder.path().join("archive.db"), Selection::All, &mut |_| {
        visits += 1;
        Err(Error::Interrupted)
    });
    assert!(matches!(result, Err(Error::Interrupted)));
    assert_eq!(visits, 1);
}

/// A bare cluster: no template, no cell, no constraint, no volume.
#[test]
fn clusters_have_neither_cell_nor_constraints() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("archive.db");
    let cluster = System {
        cell: Cell { vectors: [[0.0; 3]; 3], periodic: [false; 3] },
        template_numbers: vec![],
        template_positions: vec![],
        free_numbers: vec![18; 2],
        mobile: Default::default(),
        extras: None,
        molecules: Default::default(),
        confinement: None,
    };
    let mut archive = Archive::create(&path, &cluster, "lennard-jones", 0).unwrap();
    let forces = Some(vec![[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]]);
    archive.record(&[Entry { forces, ..entry(0, 0, Some(-1.0)) }]).unwrap();
    let sql = "SELECT constraints IS NULL, volume IS NULL, fmax, pbc FROM systems";
    let row: rusqlite::Result<(bool, bool, f64, u8)> = archive.file.connection.query_row(sql, [], |row| row.try_into());
    assert_eq!(row, Ok((true, true, 0.5, 0)));
    export(&path, Selection::All, &mut |stored| {
        assert_eq!(stored.structure.fixed, [false; 2]);
        Ok(())
    })
    .unwrap();
}

/// A kill in the middle of a transaction leaves changed pages in the database, and a hot journal.
#[test]
fn a_hot_journal_is_rolled_back() {
    let (folder, mut archive) = new_archive();
    let stored: Vec<_> = (0..50).map(|index| entry(0, index, Some(f64::from(index)))).collect();
    archive.record(&stored).unwrap();
    let connection = &archive.file.connection;
    connection.execute_batch("PRAGMA cache_size = 2; BEGIN IMMEDIATE").unwrap();
    let lost: Vec<_> = (0..200).map(|index| entry(1, index, Some(0.0))).collect();
    archive.columns.insert(connection, archive.file.key, "emt", &lost).unwrap();
    let killed = TempDir::new().unwrap();
    for name in ["archive.db", "archive.db-journal"] {
        std::fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
    }
    let torn = std::fs::metadata(killed.path().join("archive.db")).unwrap().len();
    let archive = Archive::open(&killed.path().join("archive.db"), &system()).unwrap();
    assert_eq!(archive.entries(0).unwrap(), stored);
    assert!(archive.entries(1).unwrap().is_empty());
    let rolled_back = std::fs::metadata(killed.path().join("archive.db")).unwrap().len();
    assert!(rolled_back < torn, "nothing had been written yet: the test proves nothing");
    let whole: String = archive.file.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
}

#[test]
fn a_full_disk_keeps_what_was_stored() {
    let (_folder, mut archive) = new_archive();
    archive.record(&[entry(0, 0, Some(1.0))]).unwrap();
    let pages: i64 = archive.file.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    archive.file.connection.pragma_update(None, "max_page_count", pages + 1).unwrap();
    let many: Vec<_> = (0..100).map(|index| entry(1, index, Some(0.0))).collect();
    let error = archive.record(&many).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().ends_with("the disk is full; free some space, then continue with --resume"), "{error}");
    assert_eq!(archive.counts().unwrap().samples(), 1);
    archive.file.connection.pragma_update(None, "max_page_count", pages + 1000).unwrap();
    archive.record(&many).unwrap();
    assert_eq!(archive.counts().unwrap().samples(), 101);
}

#[test]
fn a_write_lock_of_another_program_is_named() {
    let (folder, mut archive) = new_archive();
    archive.file.connection.busy_timeout(Duration::ZERO).unwrap();
    let other = Connection::open(folder.path().join("archive.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = archive.record(&[entry(0, 0, None)]).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("another program keeps it locked"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_removed_archive_is_noticed() {
    let (folder, mut archive) = new_archive();
    std::fs::remove_file(folder.path().join("archive.db")).unwrap();
    let error = archive.record(&[entry(0, 0, None)]).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("was moved or removed while the run used it"), "{error}");
}

#[test]
fn a_query_only_archive_cannot_be_written() {
    let (_folder, mut archive) = new_archive();
    archive.file.connection.pragma_update(None, "query_only", true).unwrap();
    let error = archive.record(&[entry(0, 0, None)]).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("make the file and its folder writable"), "{error}");
}

#[test]
fn structures_of_another_system_are_refused() {
    let (folder, mut archive) = new_archive();
    archive.record(&[entry(0, 0, Some(1.0))]).unwrap();
    let check = |change: &dyn Fn(&mut System), what: &str| {
        let mut other = system();
        change(&mut other);
        let (code, message) = message(Archive::open(&folder.path().join("archive.db"), &other));
        assert_eq!(code, 2);
        assert!(message.contains(&format!("holds structures with {what} than this configuration")), "{message}");
    };
    check(&|system| system.free_numbers.push(78), "other atoms");
    check(&|system| system.template_numbers[1] = 28, "other atoms");
    check(&|system| system.cell.vectors[2][2] += 1e-9, "another cell");
    check(&|system| system.cell.periodic[2] = true, "another cell");
    check(&|system| system.template_positions[2][0] = 1e-12, "another template");
}

#[test]
fn an_existing_archive_is_not_overwritten() {
    let (folder, _archive) = new_archive();
    let (code, message) = message(Archive::create(&folder.path().join("archive.db"), &system(), "emt", 0));
    assert_eq!(code, 2);
    assert!(message.contains("exists already and is not overwritten"), "{message}");
}

/// A run was killed before its archive was made, or while it was made.
#[test]
fn a_missing_or_empty_archive_is_made_on_resume() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("archive.db");
    for empty in [false, true] {
        if empty {
            std::fs::write(&path, "").unwrap();
        }
        let mut archive = Archive::open_or_create(&path, &system(), "emt", 5).unwrap();
        archive.record(&[entry(0, 0, None)]).unwrap();
        let again = Archive::open_or_create(&path, &system(), "emt", 6).unwrap();
        assert_eq!((again.seed(), again.counts().unwrap().samples()), (5, 1));
        drop((archive, again));
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn an_archive_that_cannot_be_made_is_bad_input() {
    let folder = TempDir::new().unwrap();
    let (code, message) = message(Archive::create(&folder.path().join("missing/archive.db"), &system(), "emt", 0));
    assert_eq!(code, 2);
    assert!(message.contains("cannot be opened"), "{message}");
}
