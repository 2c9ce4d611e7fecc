//! Run folders of earlier godiffs: what can go on goes on, all else is refused with a sentence.

#[path = "common/damage.rs"]
mod damage;
#[path = "common/kills.rs"]
mod kills;

use damage::copy_folder;
use godiff::archive::{Selection, export};
use godiff::run::Checkpoint;
use kills::{Run, results, smoke};
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;

/// A search that has all but its last iteration done.
struct Old {
    place: TempDir,
    config: PathBuf,
}

static OLD: LazyLock<Old> = LazyLock::new(|| {
    let place = TempDir::new().unwrap();
    let config = smoke(place.path(), &[], "");
    Run { command: &["search"], config: &config }.finish(&place.path().join("run"));
    Old { place, config }
});

impl Old {
    /// A copy of its folder, changed.
    fn changed(&self, change: impl Fn(&Path)) -> TempDir {
        let copy = TempDir::new().unwrap();
        copy_folder(&self.place.path().join("run"), copy.path());
        fs::remove_file(copy.path().join("checkpoint/iteration-00003.bin")).unwrap();
        change(copy.path());
        copy
    }

    fn refused(&self, change: impl Fn(&Path), expected: &str) {
        let copy = self.changed(change);
        let run = Run { command: &["search"], config: &self.config };
        let output = run.command(copy.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("godiff: ") && said.lines().count() == 1 && said.contains(expected), "{said}");
    }

    fn goes_on(&self, change: impl Fn(&Path)) {
        let copy = self.changed(change);
        Run { command: &["search"], config: &self.config }.finish(copy.path());
        assert!(results(copy.path()) == results(&self.place.path().join("run")));
    }
}

fn edit(path: &Path, change: impl Fn(String) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let changed = change(text.clone());
    assert_ne!(changed, text, "{} is as it was", path.display());
    fs::write(path, changed).unwrap();
}

/// As an older godiff would have named itself.
fn of_version(run: &Path) {
    edit(&run.join("summary.json"), |text| text.replacen(godiff::version::VERSION, "0.0.9", 1));
}

#[test]
fn checkpoints_of_an_older_format_are_refused() {
    let older = |run: &Path| {
        let path = run.join("checkpoint/iteration-00002.bin");
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len() - 4;
        bytes[8..12].copy_from_slice(&0u32.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..end]).to_le_bytes();
        bytes[end..].copy_from_slice(&checksum);
        fs::write(&path, bytes).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap_err().exit_code(), 2);
    };
    OLD.refused(
        older,
        "iteration-00002.bin: was written by an older godiff (checkpoint format 0), and this one resumes from",
    );
}

#[test]
fn archives_of_an_older_format_are_refused() {
    let older = |run: &Path| {
        let path = run.join("archive.db");
        let connection = Connection::open(&path).unwrap();
        let n = connection.execute("UPDATE information SET value = '0' WHERE name = 'godiff_format'", []).unwrap();
        assert_eq!(n, 1);
        drop(connection);
        let error = export(&path, Selection::All, &mut |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("(archive format 0), and this one reads format 1 only"), "{error}");
    };
    OLD.refused(
        older,
        "archive.db: was written by an older godiff (archive format 0), and this one reads format 1 only",
    );
}

/// A later godiff knows more keys, or other defaults.
#[test]
fn a_configuration_resolved_by_another_version_is_refused_with_both_versions() {
    let without_a_key = |run: &Path| {
        of_version(run);
        edit(&run.join("config.toml"), |text| {
            text.lines().filter(|line| !line.starts_with("gradient_clip")).map(|line| format!("{line}\n")).collect()
        });
    };
    let expected = "this run was started without training.gradient_clip and now it is 10.0; it was started by godiff 0.0.9 and \
                    this is godiff";
    OLD.refused(without_a_key, expected);
    OLD.refused(without_a_key, "finish it with that version, or start a new run without --resume");
}

/// The same settings, written down in another way; and an older version that had all the keys.
#[test]
fn the_same_settings_in_other_words_go_on() {
    OLD.goes_on(of_version);
    OLD.goes_on(|run| {
        of_version(run);
        edit(&run.join("config.toml"), |text| {
            format!("# resolved\n{}", text.replace("learning_rate = 0.0001", "learning_rate = 1e-4"))
        });
    });
}

/// Lines of metrics from before the time for waiting was measured.
#[test]
fn metrics_without_waiting_times_are_read() {
    OLD.goes_on(|run| {
        edit(&run.join("metrics.jsonl"), |text| {
            let lines = text.lines().map(|line| {
                let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["seconds"].as_object_mut().unwrap().remove("wait").unwrap();
                format!("{line}\n")
            });
            lines.collect()
        });
    });
}
