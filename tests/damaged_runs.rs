//! Damage to the files of a run: it is noticed, what can be mended is mended by what the run knows otherwise, and the rest is
//! refused with a sentence.
//!
//! `GODIFF_MUTATIONS=10000 cargo test --release --test damaged_runs` is the long campaign.
#![cfg(unix)]

#[path = "common/damage.rs"]
mod damage;
#[path = "common/kills.rs"]
mod kills;

use damage::{copy_folder, mutated};
use godiff::archive::{Archive, Selection, export};
use godiff::config::Settings;
use godiff::model::ModelFile;
use godiff::run::{Checkpoint, RunDirectory, RunStatus, Summary, read_metrics};
use kills::{Run, Shares, n_times, results, smoke};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use tempfile::TempDir;

/// How many mutations a test tries: as `GODIFF_MUTATIONS` says, or `default`.
fn n_mutations(default: usize) -> usize {
    n_times("GODIFF_MUTATIONS", default)
}

/// A finished search of three iterations, and one with another seed.
struct Runs {
    place: TempDir,
    config: PathBuf,
}

static RUNS: LazyLock<Runs> = LazyLock::new(|| {
    let place = TempDir::new().unwrap();
    let config = smoke(place.path(), &[], "[guidance]\n[proposals]\nrelax_steps = 2\n");
    for (name, seed) in [("run", "0"), ("other", "1")] {
        let command = ["search", "--seed", seed];
        Run { command: &command, config: &config }.finish(&place.path().join(name));
    }
    Runs { place, config }
});

impl Runs {
    fn run(&self) -> PathBuf {
        self.place.path().join("run")
    }

    /// A copy of the finished run.
    fn copy(&self) -> TempDir {
        let copy = TempDir::new().unwrap();
        copy_folder(&self.run(), &copy.path().join("run"));
        copy
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::load(&self.config).unwrap();
        settings.sections.forget_baselines();
        settings
    }

    fn resume(&self, folder: &Path) -> Output {
        let search = Run { command: &["search"], config: &self.config };
        search.command(folder).arg("--quiet").output().unwrap()
    }
}

/// The one sentence of a command that was refused.
fn sentence(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(said.starts_with("godiff: ") && said.lines().count() == 1, "{:?}: {said}", output.status);
    said
}

fn newest(run: &Path) -> PathBuf {
    run.join("checkpoint/iteration-00003.bin")
}

/// Flipped, zeroed, cut, lengthened, shuffled: each is noticed, and the run goes on from the checkpoint before.
#[test]
fn every_damaged_checkpoint_gives_way_to_the_one_before() {
    let copy = RUNS.copy();
    let run = copy.path().join("run");
    let path = newest(&run);
    let toml = RUNS.settings().to_toml();
    let whole = fs::read(&path).unwrap();
    let before = Checkpoint::read(&run.join("checkpoint/iteration-00002.bin")).unwrap();
    let mut shares = Shares::new(2);
    for number in 0..n_mutations(300) {
        let (what, bytes) = mutated(&whole, &mut shares);
        fs::write(&path, &bytes).unwrap();
        let resumed = RunDirectory::resume(&run, &toml).unwrap_or_else(|error| panic!("{number}, {what}: {error}"));
        assert!(resumed.checkpoint.as_ref() == Some(&before), "{number}, {what}: not noticed");
        let [note] = &resumed.notes[..] else { panic!("{number}, {what}: {:?}", resumed.notes) };
        assert!(note.contains("iteration-00003.bin is not usable: "), "{number}, {what}: {note}");
        assert!(note.contains("resuming from the checkpoint before it, after iteration 2"), "{number}, {what}: {note}");
        assert!(!path.exists(), "{number}, {what}: the damaged one stands where the next is to be written");
        drop(resumed);
        fs::remove_file(path.with_extension("bin.unusable")).unwrap();
    }
}

/// A way to spoil what is at a path.
type Spoil<'a> = (&'a str, Box<dyn Fn(&Path) + 'a>);

/// Through the command: the message is shown, and the run ends bit for bit as it would have.
#[test]
fn runs_end_alike_whatever_became_of_their_newest_checkpoint() {
    let expected = results(&RUNS.run());
    let whole = fs::read(newest(&RUNS.run())).unwrap();
    let mut shares = Shares::new(3);
    let mut spoils: Vec<Spoil> = vec![
        ("empty", Box::new(|path| fs::write(path, "").unwrap())),
        (
            "a folder in its place",
            Box::new(|path| {
                fs::remove_file(path).unwrap();
                fs::create_dir_all(path.join("inside")).unwrap();
            }),
        ),
        (
            "a link to nothing",
            Box::new(|path| {
                fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink("nowhere", path).unwrap();
            }),
        ),
        (
            "that of another run",
            Box::new(|path| assert!(fs::copy(newest(&RUNS.place.path().join("other")), path).is_ok())),
        ),
        (
            "that of another iteration",
            Box::new(|path| assert!(fs::copy(path.with_file_name("iteration-00002.bin"), path).is_ok())),
        ),
    ];
    for _ in 0..n_mutations(300) / 200 {
        let (what, bytes) = mutated(&whole, &mut shares);
        spoils.push((what, Box::new(move |path| fs::write(path, &bytes).unwrap())));
    }
    for (what, spoil) in &spoils {
        let copy = RUNS.copy();
        let run = copy.path().join("run");
        spoil(&newest(&run));
        let search = Run { command: &["search"], config: &RUNS.config };
        let output = search.command(&run).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{what}: {said}");
        assert!(said.contains("resuming from the checkpoint before it, after iteration 2"), "{what}: {said}");
        assert!(results(&run) == expected, "{what}: the run ended otherwise");
    }
}

/// SQLite has no checksums, so a changed number may go unnoticed; but nothing panics, hangs or speaks in riddles.
#[test]
fn damaged_archives_are_read_or_refused_with_a_sentence() {
    let settings = RUNS.settings();
    let whole = fs::read(RUNS.run().join("archive.db")).unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("archive.db");
    let mut shares = Shares::new(4);
    let (mut n_read, mut n_refused) = (0, 0);
    for number in 0..n_mutations(300) {
        let (what, mut bytes) = mutated(&whole, &mut shares);
        if number % 3 == 0 {
            // The header and the schema, on which all else hangs.
            bytes = whole.clone();
            let place = shares.below(4096);
            bytes[place] ^= 1 << shares.below(8);
        }
        fs::write(&path, bytes).unwrap();
        let _ = fs::remove_file(path.with_extension("db-journal"));
        let read = || -> godiff::Result<()> {
            let archive = Archive::open_or_create(&path, &settings.system, "emt", 0)?;
            archive.check_complete(3, 36)?;
            (0..3).try_for_each(|iteration| archive.entries(iteration).map(drop))?;
            archive.all_ok()?;
            archive.best()?;
            archive.counts()?;
            archive.candidates()?;
            export(&path, Selection::Lowest(5), &mut |_| Ok(()))
        };
        match catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| panic!("{number}, {what}: panicked")) {
            Ok(()) => n_read += 1,
            Err(error) => {
                let text = error.to_string();
                assert!(matches!(error.exit_code(), 2 | 4), "{number}, {what}: {text}");
                assert!(
                    text.contains("archive.db: ") && text.contains("; ") && !text.contains(char::is_control),
                    "{what}: {text}"
                );
                n_refused += 1;
            }
        }
    }
    assert!(n_read > 0 && n_refused > 0, "{n_read} read, {n_refused} refused: the test proves nothing");
}

/// Through the command, for every file that a resume reads: it goes on, or says in one sentence why it does not.
#[test]
fn runs_with_a_damaged_file_go_on_or_say_why() {
    let expected = results(&RUNS.run());
    let mut shares = Shares::new(5);
    let names = ["archive.db", "config.toml", "summary.json", "metrics.jsonl", "model.safetensors", "template.xyz"];
    for number in 0..n_mutations(300) / 25 {
        let name = names[number % names.len()];
        let copy = RUNS.copy();
        let run = copy.path().join("run");
        // One iteration is left to do.
        fs::remove_file(newest(&run)).unwrap();
        let path = run.join(name);
        let (what, bytes) = mutated(&fs::read(&path).unwrap(), &mut shares);
        fs::write(&path, bytes).unwrap();
        let output = RUNS.resume(&run);
        match output.status.code() {
            // A changed number in the archive is what the run goes on from.
            Some(0) if name == "archive.db" => {}
            Some(0) => {
                let mut found = results(&run);
                if name == "metrics.jsonl" {
                    // A lost line is told and stays lost; nothing is computed from it.
                    found.metrics.clone_from(&expected.metrics);
                }
                assert!(found == expected, "{name}, {what}: ended otherwise");
            }
            Some(1 | 2 | 4) => drop(sentence(&output)),
            other => panic!("{name}, {what}: {other:?}, {}", String::from_utf8_lossy(&output.stderr)),
        }
        for reader in ["inspect", "export"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_godiff"));
            command.arg(reader).arg(&run);
            if reader == "export" {
                command.arg("-o").arg(copy.path().join("out.xyz"));
            }
            let output = command.output().unwrap();
            match output.status.code() {
                Some(0) => {}
                Some(2 | 4) => drop(sentence(&output)),
                other => panic!("{reader}, {name}, {what}: {other:?}, {}", String::from_utf8_lossy(&output.stderr)),
            }
        }
    }
}

/// In the library, where thousands are quick: files beside the checkpoint are read or refused.
#[test]
fn other_damaged_files_are_read_or_refused_with_a_sentence() {
    let folder = TempDir::new().unwrap();
    let mut shares = Shares::new(6);
    let read = |name: &str, path: &Path| match name {
        "metrics.jsonl" => read_metrics(path).map(drop),
        "model.safetensors" => ModelFile::read(path).map(drop),
        "config.toml" => Settings::load(path).map(drop),
        // Without a summary a run with a checkpoint goes on.
        "summary.json" => {
            let _ = RunDirectory::summary_of(folder.path());
            Ok(())
        }
        _ => unreachable!(),
    };
    copy_folder(&RUNS.run(), folder.path());
    for name in ["metrics.jsonl", "model.safetensors", "config.toml", "summary.json"] {
        let path = folder.path().join(name);
        let whole = fs::read(&path).unwrap();
        for number in 0..n_mutations(300) {
            let (what, bytes) = mutated(&whole, &mut shares);
            fs::write(&path, bytes).unwrap();
            let outcome = catch_unwind(AssertUnwindSafe(|| read(name, &path)));
            if let Err(error) = outcome.unwrap_or_else(|_| panic!("{name}, {number}, {what}: panicked")) {
                assert!(error.exit_code() == 2 && error.to_string().contains(name), "{name}, {what}: {error}");
            }
        }
        fs::write(&path, whole).unwrap();
    }
}

/// A run whose archive is gone must not go on as if it had found nothing.
#[test]
fn a_removed_or_emptied_archive_is_missed() {
    for empty in [false, true] {
        let copy = RUNS.copy();
        let run = copy.path().join("run");
        fs::remove_file(newest(&run)).unwrap();
        let archive = run.join("archive.db");
        fs::remove_file(&archive).unwrap();
        if empty {
            fs::write(&archive, "").unwrap();
        }
        let output = RUNS.resume(&run);
        assert_eq!(output.status.code(), Some(4));
        let said = sentence(&output);
        assert!(
            said.contains("holds 0 of the 24 structures that this run has recorded; put the run's own archive"),
            "{said}"
        );
        fs::copy(RUNS.run().join("archive.db"), &archive).unwrap();
        assert!(RUNS.resume(&run).status.success());
        assert!(results(&run) == results(&RUNS.run()));
    }
}

#[test]
fn a_baseline_misses_its_archive_too() {
    let place = TempDir::new().unwrap();
    let config = smoke(place.path(), &[], "[random_search]\nevaluations = 60\n");
    let (search, run) = (Run { command: &["rss"], config: &config }, place.path().join("run"));
    search.finish(&run);
    fs::remove_file(run.join("archive.db")).unwrap();
    let output = search.command(&run).arg("--quiet").output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = sentence(&output);
    assert!(said.contains("archive.db: holds 0 of the 60 structures that this run has recorded"), "{said}");
}

/// Scripts read `summary.json` of runs that are done; one that a resume finds damaged is written anew.
#[test]
fn a_damaged_summary_is_written_anew() {
    let copy = RUNS.copy();
    let run = copy.path().join("run");
    fs::write(run.join("summary.json"), "{\"version\": ").unwrap();
    assert!(RUNS.resume(&run).status.success());
    let summary: Summary = kills::summary(&run);
    assert_eq!((summary.status, summary.samples), (RunStatus::Done, 36));
}

/// What is lost for good is told.
#[test]
fn lost_lines_of_metrics_are_told() {
    let copy = RUNS.copy();
    let run = copy.path().join("run");
    let path = run.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap().replacen("\"iteration\":1", "\"iteration\":\0", 1);
    fs::write(&path, text).unwrap();
    let resumed = RunDirectory::resume(&run, &RUNS.settings().to_toml()).unwrap();
    let [note] = &resumed.notes[..] else { panic!("{:?}", resumed.notes) };
    assert!(
        note.ends_with("metrics.jsonl: 1 of 3 lines are missing or damaged; the search does not need them"),
        "{note}"
    );
    assert_eq!(read_metrics(&path).unwrap().iter().map(|line| line.iteration).collect::<Vec<_>>(), [0, 2]);
}
