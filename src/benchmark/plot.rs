//! The curves of a benchmark: mean lowest energy, and share of successful runs, over evaluations (logarithmic).

use super::{Course, Results};
use crate::plot::style::N_SERIES;
use crate::plot::{Axis, Chart, Layer, Picture, Scale};

/// Number of places at which a curve is drawn.
const PLACES: usize = 300;

/// The mean over runs of the lowest energy so far. It begins where every run has an energy; the band extends from the best run to
/// the worst. The energy axis counts from the lowest energy of all.
pub fn energy_curves(results: &[Results]) -> Picture {
    let all = results.iter().flat_map(|results| &results.courses);
    let lowest = all.filter_map(|course| course.at(u64::MAX)).fold(f64::INFINITY, f64::min);
    let (mut lines, mut bands, mut means) = (Vec::new(), Vec::new(), Vec::new());
    for (k, results) in results.iter().enumerate() {
        let (mut line, mut band) = (Vec::new(), Vec::new());
        for n in places(&results.courses, results.row.evaluations.max(1) as f64) {
            let energies: Option<Vec<f64>> =
                results.courses.iter().map(|course| Some(course.at(n as u64)? - lowest)).collect();
            let Some(energies) = energies.filter(|energies| !energies.is_empty()) else { continue };
            let mean = energies.iter().sum::<f64>() / energies.len() as f64;
            let fold = |f: fn(f64, f64) -> f64| energies.iter().copied().reduce(f).unwrap_or(mean);
            line.push([n, mean]);
            band.push([n, fold(f64::min), fold(f64::max)]);
            means.push(mean);
        }
        bands.push(Layer::Band { class: class(k), points: band });
        lines.push(Layer::Line { class: class(k), points: line, width: 2.0 });
    }
    // Unrelaxed structures can be arbitrarily high in energy: the axis ends above three quarters of the curves.
    means.sort_by(f64::total_cmp);
    let top = means.get(means.len() * 3 / 4).map(|mean| 1.5 * mean).filter(|top| *top > 0.0).unwrap_or(1.0);
    let chart = Chart {
        name: "energy".into(),
        label: "Mean lowest energy of the runs of each method against evaluations".into(),
        x: evaluations(results),
        // The axis begins a little below zero, so that a curve near zero is fully visible.
        y: Axis::new(Scale::linear(-0.02 * top, top), "mean lowest energy / eV"),
        layers: bands.into_iter().chain(lines).collect(),
        legend: legend(results),
    };
    chart.draw()
}

/// The share of the runs that have found the target.
pub fn success_curves(results: &[Results]) -> Picture {
    let curve = |(k, results): (usize, &Results)| {
        let runs: Vec<_> = results.runs.iter().filter(|run| run.finished).collect();
        let mut hits: Vec<u64> = runs.iter().filter_map(|run| run.target_first_evaluation).collect();
        hits.sort_unstable();
        let share = |n_hits: usize| n_hits as f64 / runs.len().max(1) as f64;
        let mut points = vec![[1.0, 0.0]];
        for (k, &hit) in hits.iter().enumerate() {
            points.extend([[hit as f64, share(k)], [hit as f64, share(k + 1)]]);
        }
        points.push([results.row.evaluations.max(1) as f64, share(hits.len())]);
        Layer::Line { class: class(k), points, width: 2.0 }
    };
    let chart = Chart {
        name: "success".into(),
        label: "Share of the runs of each method that have found the target, against evaluations".into(),
        x: evaluations(results),
        y: Axis::new(Scale::linear(-0.02, 1.02), "share of runs with the target"),
        layers: results.iter().enumerate().map(curve).collect(),
        legend: legend(results),
    };
    chart.draw()
}

fn evaluations(results: &[Results]) -> Axis {
    let most = results.iter().map(|results| results.row.evaluations).max().unwrap_or(0).max(10);
    Axis::new(Scale::logarithmic(1.0, most as f64), "evaluations")
}

/// The class of the `k`-th curve.
fn class(k: usize) -> String {
    format!("s{}", k % N_SERIES)
}

fn legend(results: &[Results]) -> Vec<(String, String)> {
    results.iter().enumerate().map(|(k, results)| (class(k), results.row.name.clone())).collect()
}

/// Evaluations at which to draw a curve that ends at `last`: evenly on the logarithmic axis, and at the falls of a course if
/// these are few.
fn places(courses: &[Course], last: f64) -> Vec<f64> {
    let even = (0..=PLACES).map(|k| last.powf(k as f64 / PLACES as f64).round());
    let falls: Vec<f64> = courses.iter().flat_map(Course::falls).map(|n| n as f64).collect();
    let falls = if falls.len() <= PLACES { falls } else { Vec::new() };
    let mut places: Vec<f64> = even.chain(falls).filter(|&n| n >= 1.0 && n <= last).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    places
}

#[cfg(test)]
mod tests {
    use super::super::{Method, Outcome};
    use super::*;
    use crate::baseline::Baseline;

    fn results(name: &str) -> Results {
        let run = |seed, target| Outcome {
            seed,
            finished: true,
            evaluations: 1000,
            target_first_evaluation: target,
            best_energy_ev: Some(1.0),
            seconds: 1.0,
            outside_seconds: None,
        };
        let runs = vec![run(0, Some(100)), run(1, None)];
        let course = |energy: f64| Course::new([(1, Some(energy + 2.0)), (2, Some(energy))]);
        Results::new(name, Method::Baseline(Baseline::RandomSearch), runs, vec![course(1.0), course(2.0)])
    }

    /// The coordinates of the last path of class `s0`.
    fn line(svg: &str) -> Vec<[f64; 2]> {
        let data = svg.split("<path class=\"s0\" d=\"M").last().unwrap().split('"').next().unwrap();
        let point = |text: &str| {
            let (x, y) = text.split_once(' ').unwrap();
            [x.parse().unwrap(), y.parse().unwrap()]
        };
        data.split('L').map(point).collect()
    }

    #[test]
    fn the_success_curve_climbs_where_a_run_succeeds() {
        let svg = success_curves(&[results("a<b")]).file();
        let line = line(&svg);
        let (start, foot, top, end) = (line[0], line[1], line[2], line[3]);
        // 100 of 1000 evaluations are 2/3 of the axis; half of the runs are half of its height.
        assert!((foot[0] - start[0] - 2.0 / 3.0 * (end[0] - start[0])).abs() < 0.2, "{line:?}");
        assert!(foot[0] == top[0] && top[1] < foot[1] && top[1] == end[1], "{line:?}");
        assert!(svg.contains("a&lt;b") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn the_energy_curve_is_the_mean() {
        let svg = energy_curves(&[results("rss")]).file();
        assert!(svg.contains("opacity=\".16\""), "the band of the runs: {svg}");
        // After the first evaluation the runs are 2 and 3 eV above the lowest, from the second on 0 and 1.
        let line = line(&svg);
        assert!(line.last().unwrap()[1] > line[0][1], "it falls: {line:?}");
        assert!(energy_curves(&[]).file().ends_with("</svg>\n"), "nothing to draw is no panic");
    }
}
