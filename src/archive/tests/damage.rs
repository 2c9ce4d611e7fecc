//! Archives that are damaged, and files that are none.

use super::*;

#[test]
fn damaged_rows_are_named() {
    for (change, what) in [
        ("positions = x'00'", "an array of 1 bytes"),
        ("forces = zeroblob(24)", "positions or forces of iteration 0, sample 0"),
        ("key_value_pairs = '{}'", "key-value pairs {}"),
    ] {
        let (_folder, mut archive) = new_archive();
        archive.record(&[entry(0, 0, Some(1.0))]).unwrap();
        archive.file.connection.execute(&format!("UPDATE systems SET {change}"), []).unwrap();
        let error = archive.entries(0).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn an_overwritten_page_is_storage_damage() {
    let (folder, mut archive) = new_archive();
    let path = folder.path().join("archive.db");
    archive.record(&(0..50).map(|index| entry(0, index, Some(0.0))).collect::<Vec<_>>()).unwrap();
    drop(archive);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let (code, message) = message(Archive::open(&path, &system()));
    assert_eq!(code, 4, "{message}");
    assert!(message.contains("archive.db: is damaged"), "{message}");
}

/// SQLite quotes the damaged definition, line by line.
#[test]
fn a_damaged_schema_is_told_in_one_line() {
    let (folder, archive) = new_archive();
    drop(archive);
    let path = folder.path().join("archive.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let place = bytes.windows(9).position(|word| word == b"unique_id").unwrap();
    bytes[place - 2] = b'`';
    bytes[place + 9] = 0x07;
    std::fs::write(&path, bytes).unwrap();
    let (code, message) = message(Archive::open(&path, &system()));
    assert_eq!(code, 4, "{message}");
    assert!(message.contains("archive.db: is damaged (malformed database schema") && message.len() < 400, "{message}");
    assert!(!message.contains(char::is_control), "{message:?}");
}

#[test]
fn other_files_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("other.db");
    let check = |sentence: &str| {
        let (code, message) = message(Archive::open(&path, &system()));
        assert_eq!(code, 2, "{message}");
        assert!(message.contains("other.db") && message.contains(sentence), "{message}");
        let error = export(&path, Selection::All, &mut |_| Ok(())).unwrap_err();
        assert_eq!((error.exit_code(), error.to_string()), (code, message));
    };
    check("no such archive");
    std::fs::write(&path, "not a database, but long enough to have the header of one".repeat(100)).unwrap();
    check("is not an SQLite database");
    std::fs::write(&path, "").unwrap();
    check("is not an archive written by godiff");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE systems (id INTEGER)").unwrap();
    check("is not an archive written by godiff");
    connection.execute_batch("CREATE TABLE information (name TEXT, value TEXT)").unwrap();
    check("is not an archive written by godiff");
    connection.execute("INSERT INTO information VALUES ('godiff_format', '2')", []).unwrap();
    check("was written by a newer godiff (archive format 2)");
    connection.execute("UPDATE information SET value = '1'", []).unwrap();
    check("is not an archive written by godiff");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    check("cannot be opened");
}

/// Rows that a user adds with ASE have random ids and other keys.
#[test]
fn foreign_rows_are_left_alone() {
    let (_folder, mut archive) = new_archive();
    archive.record(&[entry(0, 0, Some(1.0))]).unwrap();
    let insert = "INSERT INTO systems (unique_id, energy, key_value_pairs) VALUES ('00112233445566778899aabbccddeeff', -9, '{}')";
    archive.file.connection.execute(insert, []).unwrap();
    archive.file.connection.execute("INSERT INTO text_key_values VALUES ('status', 'ok', 2)", []).unwrap();
    assert_eq!(archive.all_ok().unwrap().len(), 1);
    assert_eq!(archive.counts().unwrap().ok, 1);
    assert_eq!(archive.best().unwrap().unwrap().energy, Some(1.0));
}

/// A view may never end, and a trigger acts when a run stores something: godiff neither reads nor writes through them.
#[test]
fn schemas_that_compute_are_refused() {
    for sql in [
        "ALTER TABLE information RENAME TO told;
         CREATE VIEW information AS WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n)
             SELECT name, value FROM told, n WHERE x < 0",
        "CREATE TRIGGER stored AFTER INSERT ON systems BEGIN DELETE FROM keys; END",
        "ALTER TABLE information ADD COLUMN more BLOB GENERATED ALWAYS AS (zeroblob(900000000))",
        "CREATE VIRTUAL TABLE more USING fts5(text)",
    ] {
        let (folder, archive) = new_archive();
        drop(archive);
        let path = folder.path().join("archive.db");
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let (code, said) = message(Archive::open(&path, &system()));
        assert!(code == 2 && said.contains("archive.db: holds views, triggers or computed columns"), "{sql}: {said}");
        let exported = export(&path, Selection::All, &mut |_| Ok(())).unwrap_err();
        assert_eq!(exported.to_string(), said);
    }
    let (folder, archive) = new_archive();
    drop(archive);
    Archive::open(&folder.path().join("archive.db"), &system()).unwrap();
}
