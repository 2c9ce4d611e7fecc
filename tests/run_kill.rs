//! A run killed at any moment, also while it writes a checkpoint, is resumed with everything it had been told was stored.

#![cfg(unix)]

#[path = "common/kills.rs"]
mod kills;

use godiff::archive::Counts;
use godiff::engine::{ModelState, PlateauSchedule};
use godiff::run::{IterationMetrics, PhaseSeconds, RunDirectory, SearchProgress, Summary, read_metrics};
use kills::kill_writer;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

const FOLDER_OF_WRITER: &str = "GODIFF_TEST_KILLED_RUN";
const CONFIG: &str = "[search]\nbuffer = 16\n";

fn progress(iterations_done: u32) -> SearchProgress {
    SearchProgress {
        iterations_done,
        seed: 7,
        evaluations: u64::from(iterations_done) * 32,
        samples: u64::from(iterations_done) * 32,
        training_steps: 0,
        best: None,
        target_first_evaluation: None,
        seconds: f64::from(iterations_done) / 3.0,
    }
}

/// As large as the model of a heptamer, so that kills fall into the writing.
fn model(iterations_done: u32) -> ModelState {
    let array = |scale: f64| (0..200_000).map(|k| scale * f64::from(iterations_done) / f64::from(k + 1)).collect();
    ModelState {
        parameters: array(1.0),
        first_moment: array(0.1),
        second_moment: array(0.01),
        steps: u64::from(iterations_done) * 2000,
        schedule: PlateauSchedule { learning_rate: 1e-4, best: Some(0.3), bad_epochs: iterations_done },
    }
}

fn metrics(iteration: u32) -> IterationMetrics {
    IterationMetrics {
        iteration,
        kt_ev: 1.0,
        samples: 32,
        counts: Counts { ok: 32, ..Counts::default() },
        energy_min_ev: None,
        energy_median_ev: None,
        energy_max_ev: None,
        buffer: Some(8),
        buffer_median_ev: None,
        effective_sample_size: None,
        training_steps: 60,
        loss: Some(0.5),
        force_loss: None,
        readout_rms_ev: None,
        candidates: None,
        learning_rate: 1e-4,
        best_energy_ev: None,
        seconds: PhaseSeconds::default(),
    }
}

/// Not a test by itself: the process that [`killed_runs_lose_no_iteration`] kills.
#[test]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER_OF_WRITER) else { return };
    let resumed = RunDirectory::resume(Path::new(&folder), CONFIG).unwrap();
    let mut run = resumed.directory;
    for iteration in resumed.checkpoint.map_or(0, |checkpoint| checkpoint.progress.iterations_done).. {
        run.finish_iteration(&metrics(iteration), progress(iteration + 1), model(iteration + 1)).unwrap();
        println!("\nfinished {iteration}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn killed_runs_lose_no_iteration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    drop(RunDirectory::create(&path, CONFIG, &Summary::new(7, "cpu")).unwrap());
    let mut n_done = 0;
    for kill in 0..20u64 {
        let time = Duration::from_millis(10 + kill * 5);
        let told = kill_writer(FOLDER_OF_WRITER, &path, "finished", time).map_or(n_done, |iteration| iteration + 1);

        // The lock has died with the process.
        let resumed = RunDirectory::resume(&path, CONFIG).unwrap();
        assert!(resumed.notes.is_empty(), "{:?}", resumed.notes);
        n_done = resumed.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.progress.iterations_done);
        assert!(n_done >= told, "{told} iterations were said to be finished, {n_done} are");
        if let Some(checkpoint) = resumed.checkpoint {
            assert_eq!(checkpoint.progress, progress(n_done));
            assert_eq!(checkpoint.model, model(n_done));
        }
        // A kill before the end of the first iteration leaves no file.
        let metrics = resumed.directory.metrics_path();
        let lines = if metrics.exists() { read_metrics(&metrics).unwrap() } else { Vec::new() };
        assert_eq!(lines.iter().map(|line| line.iteration).collect::<Vec<_>>(), (0..n_done).collect::<Vec<_>>());
    }
    assert!(n_done > 0, "no iteration was ever finished: the test proves nothing");
}
