//! Places of values on an axis, and the values that are named there.

/// Decades with exponents beyond this are named as powers of ten.
const PLAIN_DECADES: std::ops::RangeInclusive<i32> = -3..=3;

/// The values from one end of an axis to the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// Equal steps are equal differences.
    Linear {
        /// Value at the axis' start.
        from: f64,
        /// Value at its end; larger.
        to: f64,
    },
    /// Equal steps are equal ratios.
    Logarithmic {
        /// Value at the axis' start; positive.
        from: f64,
        /// Value at its end; larger.
        to: f64,
    },
}

/// A named place on an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Its value.
    pub value: f64,
    /// Its name.
    pub text: String,
}

impl Scale {
    /// From `from` to `to`; an interval that is empty or not finite is widened so that it can be drawn.
    pub fn linear(from: f64, to: f64) -> Self {
        let from = if from.is_finite() { from } else { 0.0 };
        let least = (from.abs() * 1e-9).max(1e-9);
        let to = if to.is_finite() && to - from >= least { to } else { from + 1f64.max(least) };
        Scale::Linear { from, to }
    }

    /// From `from` to `to`, widened to a decade at least if they are equal, not positive or not finite.
    pub fn logarithmic(from: f64, to: f64) -> Self {
        let good = |x: f64| x.is_finite() && x > 0.0;
        let from = if good(from) { from } else { 1.0 };
        let to = if good(to) && to > from * (1.0 + 1e-9) { to } else { from * 10.0 };
        Scale::Logarithmic { from, to }
    }

    /// The place of `value`: 0 at the start of the axis, 1 at its end. Values far outside get a place just outside, so that no
    /// picture holds absurd coordinates.
    pub fn place(&self, value: f64) -> f64 {
        let place = match *self {
            Scale::Linear { from, to } => (value - from) / (to - from),
            Scale::Logarithmic { from, .. } if value <= 0.0 => (value - from).signum(),
            Scale::Logarithmic { from, to } => (value / from).ln() / (to / from).ln(),
        };
        place.clamp(-0.5, 1.5)
    }

    /// Round values on the axis, about `most` at the most.
    pub fn ticks(&self, most: usize) -> Vec<Tick> {
        match *self {
            Scale::Linear { from, to } => linear_ticks(from, to, most.max(2)),
            Scale::Logarithmic { from, to } => logarithmic_ticks(from, to, most.max(2)),
        }
    }
}

/// A round distance between ticks: 1, 2 or 5 times a power of ten, with at most `most` ticks in the `span`.
pub fn step(span: f64, most: usize) -> f64 {
    let power = 10f64.powf((span / most as f64).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| span / step <= most as f64 * (1.0 + 1e-9)).unwrap_or(span)
}

/// `value` with `digits` decimals and a minus sign as wide as a digit.
pub fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let zero = text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
    if zero { text.replace('-', "") } else { text.replace('-', "\u{2212}") }
}

fn linear_ticks(from: f64, to: f64, most: usize) -> Vec<Tick> {
    let step = step(to - from, most);
    let digits = (-step.log10() - 1e-9).ceil().clamp(0.0, 9.0) as usize;
    let first = (from / step - 1e-6).ceil();
    let values = (0..=most).map(|k| (first + k as f64) * step).take_while(|value| *value <= to + step * 1e-6);
    values.map(|value| Tick { value, text: number(value, digits) }).collect()
}

fn logarithmic_ticks(from: f64, to: f64, most: usize) -> Vec<Tick> {
    let (first, last) = ((from.log10() - 1e-9).ceil() as i32, (to.log10() + 1e-9).floor() as i32);
    let n_decades = (last - first + 1).max(0) as usize;
    if n_decades < 2 {
        // Too few decades to read values from, so their round parts are named too.
        let values = (first - 1..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10f64.powi(power)));
        let inside = values.filter(|value| *value >= from * (1.0 - 1e-9) && *value <= to * (1.0 + 1e-9));
        let ticks: Vec<Tick> = inside.map(|value| Tick { value, text: plain(value) }).collect();
        // A single value says nothing about the scale.
        return if ticks.len() < 2 { linear_ticks(from, to, most) } else { ticks };
    }
    let every = n_decades.div_ceil(most);
    (first..=last).step_by(every).map(|power| Tick { value: 10f64.powi(power), text: decade(power) }).collect()
}

/// The shortest plain notation.
fn plain(value: f64) -> String {
    let power = value.log10().floor() as i32;
    if power.abs() <= 5 { number(value, (-power).max(0) as usize) } else { format!("{value:.0e}") }
}

/// 10^`power`.
fn decade(power: i32) -> String {
    if PLAIN_DECADES.contains(&power) {
        return number(10f64.powi(power), (-power).max(0) as usize);
    }
    let raised = |digit: char| match digit {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        // Superscripts of the remaining digits follow in their order from ⁰ on.
        other => char::from_u32('⁰' as u32 + other as u32 - '0' as u32).unwrap_or(other),
    };
    format!("10{}", power.to_string().chars().map(raised).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scale: Scale, most: usize) -> Vec<String> {
        scale.ticks(most).into_iter().map(|tick| tick.text).collect()
    }

    #[test]
    fn steps_are_round() {
        for (span, expected) in [(1.0, 0.2), (7.3, 1.0), (0.09, 0.02), (40.0, 5.0)] {
            assert!((step(span, 8) - expected).abs() < 1e-12 * expected, "{span}: {}", step(span, 8));
        }
    }

    #[test]
    fn linear_ticks_are_inside_and_named_with_the_digits_they_need() {
        assert_eq!(texts(Scale::linear(-44.4, -43.1), 5), ["−44.0", "−43.5"]);
        assert_eq!(texts(Scale::linear(0.0, 1.0), 6), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(Scale::linear(-0.1, 0.1), 4), ["−0.10", "−0.05", "0.00", "0.05", "0.10"]);
        assert_eq!(texts(Scale::linear(0.0, 2560.0), 6), ["0", "500", "1000", "1500", "2000", "2500"]);
    }

    #[test]
    fn logarithmic_ticks_are_decades() {
        assert_eq!(texts(Scale::logarithmic(0.01, 1000.0), 6), ["0.01", "0.1", "1", "10", "100", "1000"]);
        assert_eq!(texts(Scale::logarithmic(1.0, 1e8), 5), ["1", "100", "10⁴", "10⁶", "10⁸"]);
        assert_eq!(texts(Scale::logarithmic(0.15, 0.8), 5), ["0.2", "0.5"]);
        assert_eq!(texts(Scale::logarithmic(0.08, 0.19), 4), ["0.10", "0.15"]);
        assert_eq!(texts(Scale::logarithmic(1e-6, 1e-4), 5), ["10⁻⁶", "10⁻⁵", "10⁻⁴"]);
    }

    #[test]
    fn places_run_from_nought_to_one() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(Scale::linear(-2.0, 2.0).place(1.0), 0.75);
        close(Scale::logarithmic(1.0, 1000.0).place(100.0), 2.0 / 3.0);
        for scale in [Scale::linear(0.0, 1.0), Scale::logarithmic(0.1, 1.0)] {
            close(scale.place(1e300), 1.5);
            close(scale.place(-1e300), -0.5);
        }
        close(Scale::logarithmic(0.1, 1.0).place(0.0), -0.5);
    }

    #[test]
    fn any_interval_can_be_drawn() {
        let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1e300, 1e-300];
        for (from, to) in bad.iter().flat_map(|&from| bad.iter().map(move |&to| (from, to))) {
            for scale in [Scale::linear(from, to), Scale::logarithmic(from, to)] {
                assert!(scale.place(0.5).is_finite(), "{from} {to}");
                assert!(scale.ticks(6).len() < 20, "{from} {to}");
            }
        }
    }
}
