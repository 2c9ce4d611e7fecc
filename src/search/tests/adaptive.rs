//! Temperature, samples and buffer that follow from what the search finds, and a model that learns forces alone.

use super::bench::*;
use super::{interrupted_everywhere, interrupted_everywhere_in};
use crate::archive::{Entry, Status};
use crate::buffer::{Candidate, boltzmann_weights, draw, effective_sample_size};
use crate::config::FirstSamples;
use crate::run::{IterationMetrics, RunStatus, read_metrics};
use crate::statistics::{median, sorted};

const ALL: &str = "
[adaptive]
first_kt_in_deviations = 0.5
cooling = [0.9, 0.4]
effective_samples = 5.0
most_samples = 12
first_iteration_samples = 7
buffer = [3, 9]
";

/// The entries of each round, and its line of metrics.
fn rounds(bench: &Bench) -> Vec<(Vec<Entry>, IterationMetrics)> {
    let metrics = read_metrics(&bench.folder().join("metrics.jsonl")).unwrap();
    let entries = bench.results().0;
    let of =
        |line: &IterationMetrics| entries.iter().filter(|entry| entry.iteration == line.iteration).cloned().collect();
    metrics.into_iter().map(|line| (of(&line), line)).collect()
}

fn energies(entries: &[Entry]) -> Vec<f64> {
    entries.iter().filter(|entry| entry.status == Status::Ok).filter_map(|entry| entry.energy).collect()
}

fn deviation(energies: &[f64]) -> f64 {
    let n = energies.len() as f64;
    let mean = energies.iter().sum::<f64>() / n;
    (energies.iter().map(|e| (e - mean) * (e - mean)).sum::<f64>() / n).sqrt()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * b.abs()
}

fn bench(sections: &str) -> Bench {
    let mut bench = Bench::with(sections);
    bench.settings.sections.search.iterations = 6;
    bench
}

/// Temperature by temperature from the archive alone.
#[test]
fn temperatures_follow_the_spread_of_energies() {
    let bench = bench(ALL);
    bench.run(NEVER).unwrap();
    let rounds = rounds(&bench);
    assert_eq!(rounds.len(), 6);
    let mut kt_ev = 0.5 * deviation(&energies(&rounds[0].0));
    assert!(close(rounds[0].1.kt_ev, kt_ev), "{} instead of {kt_ev}", rounds[0].1.kt_ev);
    let mut factors = Vec::new();
    for (entries, line) in &rounds[1..] {
        assert!(entries.iter().all(|entry| close(entry.kt_ev, kt_ev)), "noted is what the samples come from");
        let heat_capacity = (deviation(&energies(entries)) / kt_ev).powi(2);
        factors.push(if heat_capacity > 1.0 { 0.9 } else { 0.4 });
        kt_ev *= factors[factors.len() - 1];
        assert!(close(line.kt_ev, kt_ev), "{} instead of {kt_ev}", line.kt_ev);
    }
    assert!(factors.contains(&0.9), "the example must be hot: {factors:?}");
    // With hardly any spread it falls fast, and not below the last temperature.
    let mut cold = Bench::with("[adaptive]\ncooling = [0.9, 0.4]\n");
    cold.energy = |distance| 1e-3 * distance;
    cold.settings.sections.search.iterations = 9;
    cold.run(NEVER).unwrap();
    let found: Vec<f64> = self::rounds(&cold).iter().map(|(_, line)| line.kt_ev).collect();
    let expected = (0..9).map(|n| (5.0 * 0.4f64.powi(n)).max(0.02));
    assert!(found.iter().zip(expected).all(|(&found, expected)| close(found, expected)), "{found:?}");
}

/// Batches of five until the effective sample size is five, or twelve samples are drawn.
#[test]
fn rounds_draw_until_their_samples_are_enough() {
    let bench = bench(ALL);
    bench.run(NEVER).unwrap();
    let rounds = rounds(&bench);
    let numbers: Vec<usize> = rounds.iter().map(|(entries, _)| entries.len()).collect();
    assert_eq!(numbers[0], 7);
    let mut kt_ev = rounds[0].1.kt_ev;
    for (entries, line) in &rounds[1..] {
        let enough =
            |n: &usize| effective_sample_size(&boltzmann_weights(&energies(&entries[..*n]), kt_ev)) >= 5.0 || *n == 12;
        assert_eq!(entries.len(), [5, 10, 12].into_iter().find(enough).unwrap(), "{numbers:?}");
        kt_ev = line.kt_ev;
    }
    assert!(numbers.contains(&10) || numbers.contains(&12), "the example must draw more: {numbers:?}");
}

/// The buffer drawn anew with the size by the formula has the median that the metrics have.
#[test]
fn the_buffer_follows_the_effective_sample_size() {
    let bench = bench(ALL);
    bench.run(NEVER).unwrap();
    let (mut size, mut sizes) = (3.0, Vec::new());
    let mut candidates: Vec<Candidate> = Vec::new();
    for (entries, line) in rounds(&bench) {
        let counts = entries.iter().filter(|entry| entry.status == Status::Ok);
        candidates.extend(counts.map(|entry| Candidate {
            iteration: entry.iteration,
            index: entry.index,
            energy: entry.energy.unwrap(),
        }));
        let all: Vec<f64> = candidates.iter().map(|candidate| candidate.energy).collect();
        let effective = effective_sample_size(&boltzmann_weights(&all, line.kt_ev));
        size = (0.8 * size + 0.2 * effective.floor()).clamp(3.0, 9.0);
        sizes.push(size as usize);
        let places = draw(&candidates, line.kt_ev, size as usize, 5, u64::from(line.iteration));
        assert_eq!(line.buffer, Some(places.len() as u64));
        assert_eq!(line.buffer_median_ev, median(&sorted(places.iter().map(|&place| all[place]))));
    }
    assert!(sizes.iter().any(|&size| size > 3), "the example must grow: {sizes:?}");
}

#[test]
fn an_interrupted_adaptive_search_ends_like_one_left_alone() {
    interrupted_everywhere(ALL);
    interrupted_everywhere(&format!("{ALL}[guidance]\n[proposals]\nrelax_steps = 3\nhop_share = 0.5\n"));
}

/// The schedule without cooling begins where the first energies say.
#[test]
fn a_geometric_schedule_may_begin_at_the_spread_of_energies() {
    let bench = Bench::with("[adaptive]\nfirst_kt_in_deviations = 1.0\n");
    bench.run(NEVER).unwrap();
    let rounds = rounds(&bench);
    let first = deviation(&energies(&rounds[0].0));
    for ((_, line), expected) in rounds.iter().zip([first, (first * 0.02).sqrt(), 0.02]) {
        assert!((line.kt_ev / expected - 1.0).abs() < 1e-9, "{} instead of {expected}", line.kt_ev);
    }
    interrupted_everywhere("[adaptive]\nfirst_kt_in_deviations = 1.0\n");
}

/// From 5 eV by tenths: 0.5, 0.05, and 0.02 eV is the last.
#[test]
fn a_search_may_end_at_its_last_temperature() {
    let mut bench = bench("[adaptive]\ncooling = [0.1, 0.1]\nend_at_kt_final = true\n");
    let summary = bench.run(NEVER).unwrap();
    let found: Vec<f64> = rounds(&bench).iter().map(|(_, line)| line.kt_ev).collect();
    assert!(found.len() == 4 && found[3] == 0.02, "{found:?}");
    assert_eq!(summary.status, RunStatus::Done);
    assert_eq!(bench.run(NEVER).unwrap().evaluations, summary.evaluations);
    bench.settings.sections.search.kt_final_ev = 0.003;
    bench.run(NEVER).unwrap();
    assert_eq!(rounds(&bench).len(), 5, "extended by one temperature, down to 0.003 eV");
}

fn forces_alone() -> Bench {
    let mut bench = Bench::with("[guidance]\n[proposals]\nrelax_steps = 3\nhop_share = 1.0\n");
    bench.settings.sections.search.first_samples = FirstSamples::Placed;
    bench.settings.sections.training.score = false;
    bench
}

#[test]
fn without_a_score_only_hops_are_drawn() {
    let bench = forces_alone();
    let summary = bench.run(NEVER).unwrap();
    let heard = bench.heard.lock().unwrap();
    assert!(heard.samplers.is_empty(), "nothing comes from the reverse process");
    assert!(heard.force_sets.iter().all(|(_, set)| set.is_some()));
    let metrics = read_metrics(&bench.folder().join("metrics.jsonl")).unwrap();
    assert!(metrics.iter().all(|line| line.loss.is_none() && line.force_loss == Some(0.25)));
    assert!(metrics.iter().all(|line| line.training_steps == 4));
    assert_eq!((metrics.len(), summary.training_steps), (3, 12));
}

#[test]
fn an_interrupted_search_without_a_score_ends_like_one_left_alone() {
    interrupted_everywhere_in(forces_alone);
}
