use super::super::checkpoint::tests::example as checkpoint;
use super::super::metrics::{read_metrics, tests::example as metrics};
use super::super::summary::RunStatus;
use super::*;
use tempfile::TempDir;

const CONFIG_TOML: &str = "[search]\nbuffer = 16\nkt_final_ev = 0.02\n\n[system]\nfree = \"Pt\"\n";

fn summary() -> Summary {
    Summary::new(42, "cpu")
}

fn create(path: &Path) -> Result<RunDirectory> {
    RunDirectory::create(path, CONFIG_TOML, &summary())
}

fn refused<T: std::fmt::Debug>(result: Result<T>, sentence: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    assert!(error.to_string().contains(sentence), "{error}");
}

fn finish(run: &mut RunDirectory, iteration: u32) {
    let Checkpoint { progress, model, .. } = checkpoint(iteration + 1, 3);
    run.finish_iteration(&metrics(iteration), progress, model).unwrap();
}

fn n_lines(run: &RunDirectory) -> usize {
    read_metrics(&run.metrics_path()).unwrap().len()
}

#[test]
fn a_run_is_resumed_from_its_first_moment_on() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("deep/run");
    drop(create(&path).unwrap());
    let Resumed { directory: mut run, seed, checkpoint: found, notes } =
        RunDirectory::resume(&path, CONFIG_TOML).unwrap();
    assert_eq!((seed, found, notes.len()), (42, None, 0));
    finish(&mut run, 0);
    finish(&mut run, 1);
    run.write_summary(&Summary { status: RunStatus::Done, ..summary() }).unwrap();
    run.write_best(b"1\n\nPt 0 0 0\n").unwrap();
    drop(run);

    let resumed = RunDirectory::resume(&path, CONFIG_TOML).unwrap();
    let expected = checkpoint(2, 3);
    let found = resumed.checkpoint.unwrap();
    assert_eq!((&found.progress, &found.model), (&expected.progress, &expected.model));
    assert_eq!(resumed.seed, expected.progress.seed, "the checkpoint knows the seed");
    assert_eq!(n_lines(&resumed.directory), 2);
    let text = fs::read_to_string(path.join(SUMMARY)).unwrap();
    assert_eq!(serde_json::from_str::<Summary>(&text).unwrap().status, RunStatus::Done);
    assert_eq!(fs::read_to_string(path.join(CONFIG)).unwrap(), CONFIG_TOML);
    assert_eq!(fs::read_to_string(path.join(BEST)).unwrap(), "1\n\nPt 0 0 0\n");
}

/// A kill between the line of metrics and the checkpoint, and a checkpoint that is damaged later.
#[test]
fn lines_and_checkpoints_never_disagree() {
    let folder = TempDir::new().unwrap();
    let mut run = create(folder.path()).unwrap();
    finish(&mut run, 0);
    finish(&mut run, 1);
    run.metrics.append(&[metrics(2)]).unwrap();
    drop(run);
    let mut resumed = RunDirectory::resume(folder.path(), CONFIG_TOML).unwrap();
    assert_eq!(n_lines(&resumed.directory), 2);
    finish(&mut resumed.directory, 2);
    drop(resumed);
    fs::write(folder.path().join("checkpoint/iteration-00003.bin"), "torn").unwrap();
    let resumed = RunDirectory::resume(folder.path(), CONFIG_TOML).unwrap();
    assert_eq!(resumed.checkpoint.unwrap().progress.iterations_done, 2);
    assert_eq!(resumed.notes.len(), 1);
    assert_eq!(n_lines(&resumed.directory), 2);
    fs::write(folder.path().join("checkpoint/iteration-00002.bin"), "torn").unwrap();
    drop(resumed.directory);
    refused(RunDirectory::resume(folder.path(), CONFIG_TOML), "no checkpoint is usable");
}

#[test]
fn a_second_process_is_kept_out() {
    let folder = TempDir::new().unwrap();
    let run = create(folder.path()).unwrap();
    let sentence = "another godiff is working in this folder";
    assert!(RunDirectory::is_in_use(folder.path()));
    refused(create(folder.path()), sentence);
    refused(RunDirectory::resume(folder.path(), CONFIG_TOML), sentence);
    drop(run);
    assert!(!RunDirectory::is_in_use(folder.path()));
    RunDirectory::resume(folder.path(), CONFIG_TOML).unwrap();
}

#[test]
fn a_folder_with_a_run_is_not_overwritten() {
    let folder = TempDir::new().unwrap();
    for mark in MARKS {
        let path = folder.path().join(mark).join("run");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(mark), "").unwrap();
        refused(create(&path), &format!("holds another run already ({mark}); continue it with --resume"));
    }
    let path = folder.path().join("notes");
    fs::create_dir(&path).unwrap();
    for harmless in ["notes.txt", SUMMARY, ".lock", ".config.toml.12.unfinished"] {
        fs::write(path.join(harmless), "").unwrap();
    }
    create(&path).unwrap();
}

#[test]
fn an_output_folder_that_cannot_be_made_is_bad_input() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    refused(create(&file), "file: cannot be used as output folder");
    refused(create(&file.join("run")), "name another one with --out");
    refused(RunDirectory::create_next(&file, "lj13", CONFIG_TOML, &summary()), "cannot be used as output folder");
}

#[test]
fn runs_are_numbered() {
    let folder = TempDir::new().unwrap();
    let runs = folder.path().join("runs");
    refused(RunDirectory::latest(&runs, "lj13"), "runs: has no run lj13-NNN to resume");
    let next = |name: &str| {
        let run = RunDirectory::create_next(&runs, name, CONFIG_TOML, &summary()).unwrap();
        run.path().file_name().unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(
        [next("lj13"), next("lj13"), next("lj"), next("lj13-b")],
        ["lj13-001", "lj13-002", "lj-001", "lj13-b-001"]
    );
    fs::create_dir(runs.join("lj13-1041")).unwrap();
    fs::create_dir(runs.join("lj13-copy")).unwrap();
    assert_eq!(next("lj13"), "lj13-1042");
    assert_eq!(RunDirectory::latest(&runs, "lj13").unwrap(), runs.join("lj13-1042"));
    assert_eq!(RunDirectory::latest(&runs, "lj").unwrap(), runs.join("lj-001"));
}

#[test]
fn runs_that_start_together_get_their_own_numbers() {
    let folder = TempDir::new().unwrap();
    let start = || RunDirectory::create_next(folder.path(), "lj13", CONFIG_TOML, &summary()).unwrap().path;
    let mut paths: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 8);
}

#[test]
fn a_changed_configuration_is_refused_by_its_key() {
    let folder = TempDir::new().unwrap();
    drop(create(folder.path()).unwrap());
    for (from, to, sentence) in [
        ("buffer = 16", "buffer = 64", "started with search.buffer = 16 and now it is 64; a changed configuration"),
        ("\"Pt\"", "\"Pt7\"", "started with system.free = \"Pt\" and now it is \"Pt7\""),
        ("kt_final_ev = 0.02\n", "", "started with search.kt_final_ev = 0.02 and now it is not set"),
        ("[system]", "[guidance]\neta = 0.2\n[system]", "started without guidance.eta and now it is 0.2"),
        ("[search]", "[guidance]\n[search]", "started without guidance and now it is {}"),
        ("[search]\nbuffer = 16\nkt_final_ev = 0.02", "[search]", "started with search.buffer = 16"),
    ] {
        let changed = CONFIG_TOML.replace(from, to);
        assert_ne!(changed, CONFIG_TOML);
        refused(RunDirectory::resume(folder.path(), &changed), sentence);
    }
    fs::write(folder.path().join(CONFIG), "[search").unwrap();
    refused(RunDirectory::resume(folder.path(), CONFIG_TOML), "config.toml: is damaged");
}

/// A baseline has no model and no iterations, so it goes on whatever is said about them.
#[test]
fn what_a_baseline_does_not_use_may_change() {
    let folder = TempDir::new().unwrap();
    let config = format!("{CONFIG_TOML}\n[random_search]\nevaluations = 9\n\n[training]\nbatch = 4\n");
    drop(RunDirectory::create(folder.path(), &config, &summary()).unwrap());
    for (from, to) in [
        ("buffer = 16", "buffer = 64\niterations = 7\nkt_initial_ev = 9.0"),
        ("kt_final_ev = 0.02\n", ""),
        ("[training]\nbatch = 4", "[training]\nbatch = 5\n[guidance]\neta = 0.2"),
        ("[training]\nbatch = 4", ""),
    ] {
        let changed = config.replace(from, to);
        assert_ne!(changed, config);
        RunDirectory::resume(folder.path(), &changed).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join(CONFIG)).unwrap(), config, "the run keeps its own");
    }
    for (from, to, sentence) in [
        ("buffer = 16", "energy_floor_ev = 1.0", "started without search.energy_floor_ev and now it is 1.0"),
        ("[training]", "[relaxation]\nmax_steps = 9\n[training]", "started without relaxation.max_steps"),
        ("evaluations = 9", "evaluations = 10", "started with random_search.evaluations = 9 and now it is 10"),
        ("\"Pt\"", "\"Pt7\"", "started with system.free"),
    ] {
        refused(RunDirectory::resume(folder.path(), &config.replace(from, to)), sentence);
    }
}

/// Someone edited `config.toml` and the configuration alike: only the checkpoint remembers.
#[test]
fn an_edited_configuration_is_noticed_by_the_checkpoint() {
    let folder = TempDir::new().unwrap();
    let mut run = create(folder.path()).unwrap();
    finish(&mut run, 0);
    drop(run);
    let edited = CONFIG_TOML.replace("16", "64");
    fs::write(folder.path().join(CONFIG), &edited).unwrap();
    refused(RunDirectory::resume(folder.path(), &edited), "its checkpoint belongs to another configuration");
}

#[test]
fn folders_without_a_run_cannot_be_resumed() {
    let folder = TempDir::new().unwrap();
    refused(RunDirectory::resume(folder.path(), CONFIG_TOML), "holds no run to resume");
    refused(RunDirectory::resume(&folder.path().join("none"), CONFIG_TOML), "none: holds no run to resume");
    drop(create(folder.path()).unwrap());
    fs::write(folder.path().join(SUMMARY), "{").unwrap();
    refused(RunDirectory::resume(folder.path(), CONFIG_TOML), "summary.json: is needed for the seed");
}

#[test]
fn a_folder_removed_under_the_run_is_a_storage_error() {
    let folder = TempDir::new().unwrap();
    let mut run = create(folder.path()).unwrap();
    fs::remove_dir_all(folder.path()).unwrap();
    let Checkpoint { progress, model, .. } = checkpoint(1, 3);
    for error in [
        run.finish_iteration(&metrics(0), progress, model).unwrap_err(),
        run.write_summary(&summary()).unwrap_err(),
        run.write_best(b"").unwrap_err(),
    ] {
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains("its folder is not there (any more)"), "{error}");
    }
}
