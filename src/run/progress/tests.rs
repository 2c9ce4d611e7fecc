//! The reporter in all its forms, played to.

use super::super::metrics::tests::example as metrics;
use super::super::summary::RunStatus;
use super::*;
use std::sync::Arc;

/// Output that the test can read.
#[derive(Debug, Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn summary() -> Summary {
    let best = (Some(5.505790), Some(7), Some(14));
    Summary {
        status: RunStatus::Done,
        seconds: 252.4,
        evaluations: 311,
        samples: 320,
        best_energy_ev: best.0,
        best_iteration: best.1,
        best_index: best.2,
        target_first_evaluation: Some(143),
        ..Summary::new(3, "cpu")
    }
}

fn play(reporter: &Reporter) {
    let directory = Path::new("runs/pt-adatom-001");
    reporter.run_started(&RunInfo {
        directory,
        device: "cpu f32",
        potential: "emt",
        seed: 3,
        iterations: 10,
        first_iteration: 4,
        best_ev: Some(7.0),
    });
    reporter.iteration_started(4, 1.0 / 3.0);
    reporter.phase(Phase::Sample, 500);
    for step in 1..=500 {
        reporter.advance(step);
    }
    for sample in 0..32 {
        let status = if sample < 27 { Status::Ok } else { Status::TooClose };
        reporter.recorded(status, (sample < 27).then(|| 5.4375 + f64::from(sample)));
    }
    reporter.message("the disk is nearly full");
    reporter.iteration_done(&metrics(4));
    reporter.finished(&summary());
}

#[test]
fn a_log_has_a_line_for_every_iteration() {
    let page = Page::default();
    play(&Reporter::lines(page.clone()));
    let expected = "\
runs/pt-adatom-001: cpu f32, potential emt, seed 3
resumed after iteration 4/10
the disk is nearly full
iteration  5/10  kT 0.333 eV  ok 27/32  lowest 5.5000  median 6.2500  best 5.4375 eV  loss 0.8750  failed 3  10 s
done: 320 samples, 311 evaluations in 4 min 12 s; lowest energy 5.505790 eV (iteration 8/10, sample 15); target reached at evaluation 143
";
    assert_eq!(page.text(), expected);
}

#[test]
fn events_are_one_object_a_line() {
    let page = Page::default();
    play(&Reporter::events(page.clone()));
    let mut lines: Vec<serde_json::Value> =
        page.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // A slow machine may have found time for these.
    lines.retain(|line| line["event"] != "progress");
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["run_started", "phase", "message", "iteration_done", "finished"]);
    assert_eq!(lines[0]["directory"], "runs/pt-adatom-001");
    assert_eq!((&lines[1]["phase"], &lines[1]["total"]), (&"sample".into(), &500.into()));
    assert_eq!((&lines[3]["ok"], &lines[3]["seconds"]["train"]), (&27.into(), &8.0.into()));
    assert_eq!((&lines[4]["status"], &lines[4]["best_index"]), (&"done".into(), &14.into()));
}

/// 500 calls within a moment draw a few times at most, and messages come out as lines of their own.
#[test]
fn a_terminal_does_not_flicker() {
    let page = Page::default();
    play(&Reporter::with(View::Screen(Screen::new(page.clone(), || 120))));
    let text = page.text();
    let draws = text.matches("%").count();
    assert!((1..20).contains(&draws), "{draws} draws: {text:?}");
    assert!(text.contains("the disk is nearly full"), "{text:?}");
    assert!(text.contains("iteration  5/10  kT 0.333 eV  sample"), "{text:?}");
    assert!(text.contains("done: 320 samples"), "{text:?}");
}

#[test]
fn quiet_is_quiet_and_a_broken_pipe_is_no_error() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    play(&Reporter::quiet());
    play(&Reporter::lines(Broken));
    play(&Reporter::events(Broken));
}

/// Two lines at the foot, a third written above them: what was there is overwritten in place, and gone in the end.
#[test]
fn the_foot_is_redrawn_in_place() {
    let page = Page::default();
    let mut screen = Screen::new(page.clone(), || 80);
    screen.draw("one\ntwo");
    screen.draw("three\nfour");
    screen.print_above("stays");
    drop(screen);
    let expected = [
        "\rone\x1b[K\ntwo\x1b[K\x1b[J",
        "\r\x1b[1Athree\x1b[K\nfour\x1b[K\x1b[J",
        "\r\x1b[1A\x1b[Jstays\nthree\nfour",
        "\r\x1b[1A\x1b[J",
    ];
    assert_eq!(page.text(), expected.concat());
}
