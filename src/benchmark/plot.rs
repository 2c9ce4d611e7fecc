//! The curves of a benchmark as SVG: mean lowest energy, and share of successful runs, over evaluations (logarithmic).

use super::{Course, Results};
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// Room around the axes: left, right, top, bottom.
const MARGINS: [f64; 4] = [70.0, 20.0, 20.0, 50.0];
/// Places at which a curve is drawn.
const PLACES: usize = 300;
/// Colours that differ for colour-blind readers too (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// A line with, where it has one, a band around it.
struct Curve<'a> {
    name: &'a str,
    /// Evaluations and value.
    line: Vec<(f64, f64)>,
    /// Evaluations, lowest and highest value.
    band: Vec<(f64, f64, f64)>,
}

/// The mean over runs of the lowest energy so far, from the evaluation on at which every run has one; the band runs from the best
/// run to the worst. The energy axis counts from the lowest energy of all.
pub fn energy(results: &[Results]) -> String {
    let most = most_evaluations(results);
    let all = results.iter().flat_map(|results| &results.courses);
    let lowest = all.filter_map(|course| course.at(u64::MAX)).fold(f64::INFINITY, f64::min);
    let curves: Vec<Curve> = results
        .iter()
        .map(|results| {
            let (mut line, mut band) = (Vec::new(), Vec::new());
            let own = results.row.evaluations.max(1) as f64;
            for n in places(&results.courses, own) {
                let energies: Option<Vec<f64>> =
                    results.courses.iter().map(|course| Some(course.at(n as u64)? - lowest)).collect();
                let Some(energies) = energies.filter(|energies| !energies.is_empty()) else { continue };
                let mean = energies.iter().sum::<f64>() / energies.len() as f64;
                line.push((n, mean));
                let fold = |f: fn(f64, f64) -> f64| energies.iter().copied().reduce(f).unwrap_or(mean);
                band.push((n, fold(f64::min), fold(f64::max)));
            }
            Curve { name: &results.row.name, line, band }
        })
        .collect();
    // Unrelaxed structures can lie arbitrarily high: the axis ends where the lowest curve begins to matter.
    let mut means: Vec<f64> = curves.iter().flat_map(|curve| curve.line.iter().map(|&(_, value)| value)).collect();
    means.sort_by(f64::total_cmp);
    let top = means.get(means.len() * 9 / 10).copied().filter(|top| *top > 0.0).unwrap_or(1.0);
    draw(&curves, most, top, "mean lowest energy above the lowest / eV")
}

/// The share of the runs that have found the target.
pub fn success(results: &[Results]) -> String {
    let most = most_evaluations(results);
    let curves: Vec<Curve> = results
        .iter()
        .map(|results| {
            let runs: Vec<_> = results.runs.iter().filter(|run| run.finished).collect();
            let mut hits: Vec<u64> = runs.iter().filter_map(|run| run.target_first_evaluation).collect();
            hits.sort_unstable();
            let share = |n_hits: usize| n_hits as f64 / runs.len().max(1) as f64;
            let mut line = vec![(1.0, 0.0)];
            for (k, &hit) in hits.iter().enumerate() {
                line.push((hit as f64, share(k)));
                line.push((hit as f64, share(k + 1)));
            }
            line.push((results.row.evaluations.max(1) as f64, share(hits.len())));
            Curve { name: &results.row.name, line, band: Vec::new() }
        })
        .collect();
    draw(&curves, most, 1.0, "share of runs that found the target")
}

fn most_evaluations(results: &[Results]) -> f64 {
    results.iter().map(|results| results.row.evaluations).max().unwrap_or(0).max(10) as f64
}

/// Evaluations at which to draw a curve that ends at `last`: evenly on the logarithmic axis, and where a course falls, if these
/// are few.
fn places(courses: &[Course], last: f64) -> Vec<f64> {
    let even = (0..=PLACES).map(|k| last.powf(k as f64 / PLACES as f64).round());
    let falls: Vec<f64> = courses.iter().flat_map(Course::falls).map(|n| n as f64).collect();
    let falls = if falls.len() <= PLACES { falls } else { Vec::new() };
    let mut places: Vec<f64> = even.chain(falls).filter(|&n| n >= 1.0 && n <= last).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    places
}

/// Axes from 1 to `most` evaluations and from 0 to `top`, the curves, their names.
fn draw(curves: &[Curve], most: f64, top: f64, label: &str) -> String {
    let [left, right, above, below] = MARGINS;
    let (width, height) = (WIDTH - left - right, HEIGHT - above - below);
    let x = |n: f64| left + width * n.max(1.0).log10() / most.log10();
    let y = |value: f64| above + height * (1.0 - (value / top).clamp(0.0, 1.02));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    let mut add = |text: std::fmt::Arguments| {
        // Writing to a string cannot fail.
        let _ = svg.write_fmt(text);
    };
    for power in 0..=most.log10().floor() as i32 {
        let at = x(10f64.powi(power));
        let (bottom, text) = (above + height, above + height + 18.0);
        add(format_args!("<path d=\"M{at:.1} {above}V{bottom}\" stroke=\"#ddd\"/>\n"));
        add(format_args!(
            "<text x=\"{at:.1}\" y=\"{text}\" text-anchor=\"middle\">{}</text>\n",
            10i64.pow(power as u32)
        ));
    }
    let step = tick(top);
    for k in 0..=(top / step * (1.0 + 1e-9)) as usize {
        let value = k as f64 * step;
        let (at, text) = (y(value), y(value) + 4.5);
        let (end, near) = (left + width, left - 8.0);
        add(format_args!("<path d=\"M{left} {at:.1}H{end}\" stroke=\"#ddd\"/>\n"));
        let digits = (-step.log10().floor()).max(0.0) as usize;
        add(format_args!("<text x=\"{near}\" y=\"{text:.1}\" text-anchor=\"end\">{value:.digits$}</text>\n"));
    }
    for (k, curve) in curves.iter().enumerate() {
        let colour = COLOURS[k % COLOURS.len()];
        if curve.band.len() > 1 {
            let upper = curve.band.iter().map(|&(n, _, high)| (n, high));
            let lower = curve.band.iter().rev().map(|&(n, low, _)| (n, low));
            let outline = path(upper.chain(lower), x, y);
            add(format_args!("<path d=\"{outline}Z\" fill=\"{colour}\" fill-opacity=\"0.12\"/>\n"));
        }
        if !curve.line.is_empty() {
            let line = path(curve.line.iter().copied(), x, y);
            add(format_args!("<path d=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n"));
        }
        let (at, name) = (above + 16.0 + 18.0 * k as f64, escaped(curve.name));
        let (from, to) = (left + width - 30.0, left + width - 8.0);
        let (text, base) = (from - 6.0, at + 4.5);
        add(format_args!("<path d=\"M{from} {at}H{to}\" stroke=\"{colour}\" stroke-width=\"2\"/>\n"));
        add(format_args!("<text x=\"{text}\" y=\"{base}\" text-anchor=\"end\">{name}</text>\n"));
    }
    let (middle, foot, centre) = (left + width / 2.0, HEIGHT - 10.0, above + height / 2.0);
    add(format_args!(
        "<rect x=\"{left}\" y=\"{above}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"#444\"/>\n"
    ));
    add(format_args!("<text x=\"{middle}\" y=\"{foot}\" text-anchor=\"middle\">evaluations</text>\n"));
    add(format_args!(
        "<text transform=\"translate(18 {centre}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n</svg>\n",
        escaped(label)
    ));
    svg
}

fn path(points: impl Iterator<Item = (f64, f64)>, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut text = String::new();
    for (k, (n, value)) in points.enumerate() {
        let letter = if k == 0 { 'M' } else { 'L' };
        // Writing to a string cannot fail.
        let _ = write!(text, "{letter}{:.1} {:.1}", x(n), y(value));
    }
    text
}

/// A round distance between ticks: 1, 2 or 5 times a power of ten, at most eight to the axis.
fn tick(top: f64) -> f64 {
    let power = 10f64.powf((top / 8.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| top / step <= 8.0).unwrap_or(top)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, Row};
    use super::*;
    use crate::archive::Status;

    fn results(name: &str) -> Results {
        let run = |seed, target| Outcome {
            seed,
            finished: true,
            evaluations: 1000,
            target_first_evaluation: target,
            best_energy_ev: Some(1.0),
            seconds: 1.0,
        };
        let runs = vec![run(0, Some(100)), run(1, None)];
        let course = |energy: f64| Course::new([(Status::Ok, Some(energy + 2.0)), (Status::Ok, Some(energy))]);
        Results { row: Row::new(name, "rss", &runs), runs, courses: vec![course(1.0), course(2.0)] }
    }

    #[test]
    fn ticks_are_round() {
        for (top, step) in [(1.0, 0.2), (7.3, 1.0), (0.09, 0.02), (40.0, 5.0)] {
            assert!((tick(top) - step).abs() < 1e-12 * step, "{top}: {}", tick(top));
        }
    }

    #[test]
    fn the_success_curve_climbs_where_a_run_succeeds() {
        let svg = success(&[results("a<b")]);
        // 100 of 1000 evaluations are 2/3 of the axis; half of the runs are half of its height.
        let [left, right, above, below] = MARGINS;
        let (at, half) = (left + (WIDTH - left - right) * 2.0 / 3.0, above + (HEIGHT - above - below) / 2.0);
        assert!(svg.contains(&format!("L{at:.1} {half:.1}")), "{svg}");
        assert!(svg.contains("a&lt;b") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn the_energy_curve_is_the_mean() {
        let curves = energy(&[results("rss")]);
        // From evaluation 2 on the runs stand 0 and 1 eV above the lowest: mean 0.5 of 0.5 at the top of the axis.
        assert!(curves.contains("fill-opacity"), "{curves}");
        assert!(curves.contains("mean lowest energy"));
        assert!(energy(&[]).ends_with("</svg>\n"), "nothing to draw is no panic");
    }
}
