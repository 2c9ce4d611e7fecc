//! The charts of one run.

use super::data::{RunData, Sample};
use super::page::{count, duration, energy as energy_text};
use crate::archive::Status;
use crate::plot::scale::{Scale, Tick};
use crate::plot::{Axis, Chart, Layer, Picture};
use crate::run::IterationMetrics;
use crate::statistics::{median, sorted};
use crate::system::Vec3;

/// Most dots in a picture. If there are more, only every n-th is drawn ([`stride`]).
const MOST_DOTS: usize = 20_000;

/// The distance between those of `n` things that are drawn: 1 for all, 2 for every second.
pub fn stride(n: usize) -> usize {
    n.div_ceil(MOST_DOTS).max(1)
}

/// The falling staircase of the lowest energy (eV) over evaluations: its beginning, every step, and the run's last evaluation.
pub fn staircase(samples: &[Sample]) -> Vec<[f64; 2]> {
    let mut points: Vec<[f64; 2]> = Vec::new();
    for sample in samples {
        let Some(energy) = sample.ok_energy() else { continue };
        let evaluation = sample.evaluation as f64;
        match points.last() {
            Some(&[_, lowest]) if energy >= lowest => {}
            Some(&[_, lowest]) => points.extend([[evaluation, lowest], [evaluation, energy]]),
            None => points.push([evaluation, energy]),
        }
    }
    if let (Some(last), Some(&[_, lowest])) = (samples.last(), points.last()) {
        points.push([last.evaluation as f64, lowest]);
    }
    points
}

/// Best energy against evaluations, over everything evaluated.
pub fn energy(run: &RunData) -> Option<Picture> {
    let stairs = staircase(&run.samples);
    let (&[_, lowest], n) = (stairs.last()?, run.samples.last()?.evaluation as f64);
    // Unrelaxed structures can be arbitrarily high in energy. The axis ends above half of the structures from the last
    // temperatures, and above the energies that the search soon leaves. It does not end so high that low energies cannot be
    // distinguished.
    let early = stairs.iter().rev().find(|[at, _]| *at <= (0.05 * n).max(1.0)).or(stairs.first())?[1];
    let late = sorted(run.samples[run.samples.len() / 2..].iter().filter_map(Sample::ok_energy));
    let spread = median(&late).map_or(0.0, |late| late - lowest).max(1e-3 * lowest.abs()).max(1e-3);
    let span = (early - lowest).clamp(spread, 8.0 * spread);
    let ok: Vec<[f64; 2]> =
        run.samples.iter().filter_map(|sample| Some([sample.evaluation as f64, sample.ok_energy()?])).collect();
    let y = Scale::linear(lowest - 0.08 * span, lowest + 1.25 * span);
    let seen = ok.iter().filter(|point| y.place(point[1]) <= 1.0).copied();
    let dots = seen.step_by(stride(ok.len())).collect();
    let hints = stairs_hints(&stairs);
    let mut layers = vec![
        Layer::Dots { class: "s6".into(), points: dots, size: 2.6, opacity: 0.5 },
        Layer::Line { class: "s0".into(), points: stairs, width: 2.2 },
    ];
    if let Some(evaluation) = run.summary.target_first_evaluation {
        layers.push(Layer::Mark { class: "s1".into(), x: evaluation as f64, text: format!("target at {evaluation}") });
    }
    layers.push(hints);
    let chart = Chart {
        name: "energy".into(),
        label: format!("Lowest energy so far against evaluations; it ends at {lowest:.4} eV"),
        x: Axis::new(Scale::linear(0.0, n), "evaluations"),
        y: Axis::new(y, "energy / eV"),
        layers,
        legend: vec![("s0".into(), "lowest so far".into()), ("s6".into(), "each structure".into())],
    };
    Some(chart.draw())
}

/// The energy of every step of a [`staircase`].
fn stairs_hints(stairs: &[[f64; 2]]) -> Layer {
    let mut columns: Vec<([f64; 2], String)> = Vec::new();
    for pair in stairs.windows(2).filter(|pair| pair[0][1] == pair[1][1] && pair[1][0] > pair[0][0]) {
        let [[from, lowest], [to, _]] = [pair[0], pair[1]];
        let text = format!("from evaluation {}: {} eV", count(from as u64), energy_text(Some(lowest), 4));
        columns.push(([from, to], text));
    }
    Layer::Hints { columns }
}

/// `text` of every iteration over its column; [`iteration_axis`] has put the column at the iteration's number.
fn iteration_hints(run: &RunData, text: impl Fn(&IterationMetrics) -> String) -> Layer {
    let column = |m: &IterationMetrics| {
        let left = f64::from(m.iteration);
        ([left, left + 1.0], format!("iteration {}, kT {} eV: {}", m.iteration + 1, short(m.kt_ev), text(m)))
    };
    Layer::Hints { columns: run.metrics.iter().map(column).collect() }
}

/// Energies of samples and buffer at each temperature (Fig. 1b of arXiv:2510.13448), above the lowest of the run.
pub fn temperatures(run: &RunData) -> Option<Picture> {
    let lowest = run.best()?.energy?;
    let temperatures = run.temperatures();
    let buffers: Vec<(u32, Vec<f64>)> =
        run.metrics.iter().map(|metrics| (metrics.iteration, run.buffer_energies(metrics))).collect();
    let above = |energy: f64| energy - lowest;
    let all = sorted(run.samples.iter().filter_map(Sample::ok_energy).map(above).filter(|energy| *energy > 0.0));
    let [Some(few), Some(most)] = [all.get(all.len() / 50), all.get(all.len() * 49 / 50)] else { return None };
    let floor = 10f64.powf(few.log10().floor()).max(1e-4);
    let ceiling = 10f64.powf(most.log10().ceil()).max(floor * 10.0);
    let y = Scale::logarithmic(floor, ceiling);
    // Points are spread over the width of a column in an order without a visible pattern: multiples of the golden ratio.
    let spread = |k: usize| (k as f64 * 0.618_033_988_75).fract();
    let ok = run.samples.iter().filter_map(|sample| Some((sample, above(sample.ok_energy()?))));
    let step = stride(run.samples.len());
    let samples = ok.clone().step_by(step).enumerate();
    let sample_dots =
        samples.map(|(k, (sample, energy))| [f64::from(sample.iteration) + 0.08 + 0.4 * spread(k), energy]);
    let members = buffers
        .iter()
        .flat_map(|(iteration, energies)| energies.iter().map(move |&energy| (*iteration, above(energy))));
    let buffer_dots =
        members.enumerate().map(|(k, (iteration, energy))| [f64::from(iteration) + 0.55 + 0.37 * spread(k), energy]);
    let dots =
        |class: &str, points: Vec<[f64; 2]>| Layer::Dots { class: class.into(), points, size: 2.8, opacity: 0.6 };
    let mut layers = vec![dots("s0", sample_dots.collect())];
    let mut legend = vec![("s0".to_owned(), "samples".to_owned())];
    if buffers.iter().any(|(_, energies)| !energies.is_empty()) {
        layers.push(dots("s1", buffer_dots.collect()));
        legend.push(("s1".into(), "buffer".into()));
    }
    let bar = |from: f64, to: f64, energies: Vec<f64>| {
        let middle = median(&sorted(energies.into_iter()))?.max(floor);
        Some(Layer::Line { class: "ink".into(), points: vec![[from, middle], [to, middle]], width: 2.4 })
    };
    for &(iteration, _) in &temperatures {
        let at = f64::from(iteration);
        let own = ok.clone().filter(|(sample, _)| sample.iteration == iteration).map(|(_, energy)| energy).collect();
        layers.extend(bar(at + 0.06, at + 0.5, own));
    }
    for (iteration, energies) in &buffers {
        let at = f64::from(*iteration);
        layers.extend(bar(at + 0.53, at + 0.94, energies.iter().copied().map(above).collect()));
    }
    legend.push(("ink".into(), "medians".into()));
    layers.push(iteration_hints(run, |m| {
        let [median, buffer] = [m.energy_median_ev, m.buffer_median_ev].map(|energy| energy_text(energy, 3));
        format!("median of samples {median} eV, of the buffer {buffer} eV")
    }));
    let mut y_axis = Axis::new(y, "energy above the lowest / eV");
    let mut ticks = y.ticks(6);
    if let Some(first) = ticks.first_mut().filter(|tick| tick.value <= floor * 1.01) {
        first.text = format!("≤{}", first.text);
    }
    y_axis.ticks = Some(ticks);
    let last = temperatures.last().map_or(0, |(iteration, _)| iteration + 1);
    let chart = Chart {
        name: "temperatures".into(),
        label: "Energies of samples and of the buffer at each temperature, above the lowest energy of the run".into(),
        x: iteration_axis(&temperatures, last, "temperature kT / eV"),
        y: y_axis,
        layers,
        legend,
    };
    Some(chart.draw())
}

/// Losses at each temperature.
pub fn losses(run: &RunData) -> Option<Picture> {
    let curve = |value: fn(&IterationMetrics) -> Option<f64>| -> Vec<[f64; 2]> {
        let good = run.metrics.iter().filter_map(|m| Some((m.iteration, value(m).filter(|loss| *loss > 0.0)?)));
        good.map(|(iteration, loss)| [f64::from(iteration) + 0.5, loss]).collect()
    };
    let (score, force) = (curve(|m| m.loss), curve(|m| m.force_loss));
    let values = sorted(score.iter().chain(&force).map(|point| point[1]).filter(|loss| loss.is_finite()));
    let [low, high] = [*values.first()?, *values.last()?];
    let mut layers = Vec::new();
    let mut legend = Vec::new();
    for (class, name, points) in [("s0", "score loss", score), ("s1", "force loss", force)] {
        if points.is_empty() {
            continue;
        }
        layers.push(Layer::Line { class: class.into(), points: points.clone(), width: 2.0 });
        layers.push(Layer::Dots { class: class.into(), points, size: 6.0, opacity: 1.0 });
        legend.push((class.to_owned(), name.to_owned()));
    }
    layers.push(iteration_hints(run, |m| {
        let losses = [("score loss", m.loss), ("force loss", m.force_loss)];
        let shown = losses.iter().filter_map(|(name, loss)| Some(format!("{name} {}", short((*loss)?))));
        shown.collect::<Vec<_>>().join(", ")
    }));
    let temperatures: Vec<(u32, f64)> = run.metrics.iter().map(|m| (m.iteration, m.kt_ev)).collect();
    let chart = Chart {
        name: "loss".into(),
        label: "Mean loss of the training steps at each temperature".into(),
        x: iteration_axis(&temperatures, run.metrics.len() as u32, "temperature kT / eV"),
        y: Axis::new(Scale::logarithmic(low / 1.4, high * 1.4), "mean loss"),
        layers,
        legend,
    };
    Some(chart.draw())
}

/// The phases of an iteration that follow one another, with their wall-clock time, s.
pub fn phases(metrics: &IterationMetrics) -> [(&'static str, f64); 3] {
    let seconds = metrics.seconds;
    [("sampling", seconds.sample), ("waiting", seconds.wait), ("training", seconds.train)]
}

/// Time per phase at each temperature, stacked.
pub fn times(run: &RunData) -> Option<Picture> {
    let total = |m: &IterationMetrics| phases(m).iter().map(|(_, seconds)| seconds.max(0.0)).sum::<f64>();
    let longest = run.metrics.iter().map(total).fold(0.0, f64::max);
    if longest <= 0.0 {
        return None;
    }
    let mut bars: [Vec<[f64; 4]>; 3] = Default::default();
    for metrics in &run.metrics {
        let (mut from, left) = (0.0, f64::from(metrics.iteration) + 0.14);
        for (k, (_, seconds)) in phases(metrics).into_iter().enumerate() {
            let to = from + seconds.max(0.0);
            bars[k].push([left, left + 0.72, from, to]);
            from = to;
        }
    }
    let classes = ["s0", "s4", "s2"];
    let names = phases(run.metrics.first()?).map(|(name, _)| name);
    let hints = iteration_hints(run, |m| phases(m).map(|(name, s)| format!("{name} {}", duration(s))).join(", "));
    let drawn = classes.iter().zip(bars).map(|(class, bars)| Layer::Bars { class: (*class).into(), bars });
    let layers = drawn.chain([hints]).collect();
    let temperatures: Vec<(u32, f64)> = run.metrics.iter().map(|m| (m.iteration, m.kt_ev)).collect();
    let chart = Chart {
        name: "time".into(),
        label: "Wall-clock time of each phase at each temperature".into(),
        x: iteration_axis(&temperatures, run.metrics.len() as u32, "temperature kT / eV"),
        y: Axis::new(Scale::linear(0.0, 1.06 * longest), "time / s"),
        layers,
        legend: classes.iter().zip(names).map(|(class, name)| ((*class).to_owned(), name.to_owned())).collect(),
    };
    Some(chart.draw())
}

/// Places of the free atoms, by temperature (eV), [`MOST_DOTS`] places at the most.
pub fn clouds(run: &RunData) -> Vec<(f64, Vec<Vec3>)> {
    let seen = || run.samples.iter().filter(|sample| sample.status == Status::Ok);
    let system = &run.settings.system;
    let step = stride(seen().count() * system.formula_numbers().len());
    let mut clouds: Vec<(f64, Vec<Vec3>)> = run.temperatures().iter().map(|&(_, kt_ev)| (kt_ev, Vec::new())).collect();
    let first = run.samples.first().map_or(0, |sample| sample.iteration);
    for sample in seen().step_by(step) {
        if let Some((_, cloud)) = clouds.get_mut((sample.iteration - first) as usize) {
            cloud.extend(&sample.free[system.n_mobile()..]);
        }
    }
    clouds
}

/// Lowest and highest temperature, eV.
pub fn kt_range(temperatures: &[(f64, Vec<Vec3>)]) -> [f64; 2] {
    let ends = temperatures.iter().map(|(kt, _)| *kt).filter(|kt| *kt > 0.0);
    ends.fold([f64::INFINITY, 0.0], |[low, high], kt| [low.min(kt), high.max(kt)])
}

/// Columns of iterations, named by their temperature; in a run with one temperature, by their number.
fn iteration_axis(temperatures: &[(u32, f64)], n_columns: u32, label: &str) -> Axis {
    let scale = Scale::linear(0.0, f64::from(n_columns.max(1)));
    let cooling = temperatures.windows(2).any(|pair| pair[0].1 != pair[1].1);
    let every = temperatures.len().div_ceil(7).max(1);
    let shown = temperatures.iter().step_by(every);
    let name = |iteration: u32, kt: f64| if cooling { short(kt) } else { (iteration + 1).to_string() };
    let ticks = shown.map(|&(iteration, kt)| Tick { value: f64::from(iteration) + 0.5, text: name(iteration, kt) });
    let label = if cooling || temperatures.len() < 2 { label } else { "iteration" };
    Axis { scale, label: label.into(), ticks: Some(ticks.collect()) }
}

/// Two significant digits.
pub fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = (1 - value.abs().log10().floor() as i32).clamp(0, 6) as usize;
    format!("{value:.digits$}")
}
