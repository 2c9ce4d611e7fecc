//! Colours of the classes of pictures, on a light and on a dark page.

use super::colour::{Rgb, css, element, mix, rgb, viridis};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Classes `k0`, `k1`, … from the lowest to the highest temperature.
pub const N_TEMPERATURES: usize = 32;
/// Classes `g0`, `g1`, … from the lowest to the highest energy of a landscape.
pub const N_BANDS: usize = 16;
/// Classes `s0`, `s1`, … of series.
pub const N_SERIES: usize = 7;
/// Number of shades of a ball: 0 for free atoms, the rest for template atoms from near to far.
pub const N_SHADES: usize = 5;

/// The colours of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark ink on white.
    Light,
    /// Light ink on a dark page.
    Dark,
}

/// Colours of series that differ for colour-blind readers too (Okabe and Ito, jfly.uni-koeln.de/color), black replaced by ink.
const SERIES: [u32; N_SERIES] = [0x0072b2, 0xd55e00, 0x009e73, 0xcc79a7, 0xe69f00, 0x56b4e9, 0x4d5561];
/// The same, light enough for a dark page.
const SERIES_ON_DARK: [u32; N_SERIES] = [0x4aa8e0, 0xf08a45, 0x3cc79a, 0xe39cc4, 0xf2b73d, 0x8fd0f5, 0xaab3bf];

impl Scheme {
    /// Colour of the paper under a picture.
    pub fn paper(self) -> Rgb {
        rgb(match self {
            Scheme::Light => 0xffffff,
            Scheme::Dark => 0x1c2026,
        })
    }

    fn ink(self) -> [(&'static str, u32); 4] {
        match self {
            Scheme::Light => [("ink", 0x24292f), ("soft", 0x57606a), ("grid", 0xe3e7ec), ("frame", 0xa8b1bb)],
            Scheme::Dark => [("ink", 0xe6eaf0), ("soft", 0xa4adb8), ("grid", 0x333941), ("frame", 0x69727d)],
        }
    }

    fn series(self) -> [u32; N_SERIES] {
        match self {
            Scheme::Light => SERIES,
            Scheme::Dark => SERIES_ON_DARK,
        }
    }

    /// Temperature `level`; the end of viridis that is invisible on this paper is left out.
    fn temperature(self, level: usize) -> Rgb {
        let fraction = level as f64 / (N_TEMPERATURES - 1) as f64;
        match self {
            Scheme::Light => viridis(0.94 * fraction),
            Scheme::Dark => mix(viridis(0.2 + 0.8 * fraction), [0xff; 3], 0.15 * (1.0 - fraction)),
        }
    }

    /// Band of a landscape: greys, from a clear contrast with the paper at the lowest energy to the paper at the highest.
    fn band(self, level: usize) -> Rgb {
        let fraction = level as f64 / (N_BANDS - 1) as f64;
        let deep = match self {
            Scheme::Light => rgb(0x8c98a8),
            Scheme::Dark => rgb(0x6d7a8c),
        };
        mix(deep, self.paper(), 0.96 * fraction)
    }

    /// Highlight, middle and rim of a ball.
    fn ball(self, number: u8, shade: usize) -> [Rgb; 3] {
        let base = element(number);
        let stops = [mix(base, [0xff; 3], 0.75), base, mix(base, [0; 3], 0.45)];
        let fade = if shade == 0 { 0.0 } else { 0.4 + 0.4 * (shade - 1) as f64 / (N_SHADES - 2) as f64 };
        stops.map(|stop| mix(stop, self.paper(), fade))
    }
}

/// Rules for every class of the pictures, and for balls of `elements` (atomic numbers).
pub fn rules(scheme: Scheme, elements: &BTreeSet<u8>) -> String {
    let mut rules = String::from(
        "text{font:13px system-ui,-apple-system,\"Segoe UI\",\"Helvetica Neue\",Arial,\"DejaVu Sans\",sans-serif;fill:currentColor}\n",
    );
    let mut rule = |class: &str, colour: Rgb| {
        // Writing to a string cannot fail.
        let _ = writeln!(rules, ".{class}{{color:{}}}", css(colour));
    };
    scheme.ink().into_iter().for_each(|(class, colour)| rule(class, rgb(colour)));
    (0..N_SERIES).for_each(|k| rule(&format!("s{k}"), rgb(scheme.series()[k])));
    (0..N_TEMPERATURES).for_each(|k| rule(&format!("k{k}"), scheme.temperature(k)));
    (0..N_BANDS).for_each(|k| rule(&format!("g{k}"), scheme.band(k)));
    for (number, shade) in elements.iter().flat_map(|&number| (0..N_SHADES).map(move |shade| (number, shade))) {
        for (stop, colour) in scheme.ball(number, shade).into_iter().enumerate() {
            let _ = writeln!(rules, ".b{number}-{shade}-{stop}{{stop-color:{}}}", css(colour));
        }
    }
    rules
}

/// Definitions of the gradients `ball-NUMBER-SHADE` that balls of `elements` (atomic numbers) are filled with.
pub fn gradients(elements: &BTreeSet<u8>) -> String {
    if elements.is_empty() {
        return String::new();
    }
    let mut text = String::from("<defs>\n");
    for (number, shade) in elements.iter().flat_map(|&number| (0..N_SHADES).map(move |shade| (number, shade))) {
        let _ = write!(text, "<radialGradient id=\"ball-{number}-{shade}\" cx=\".36\" cy=\".3\" r=\".78\">");
        for (stop, offset) in [0.0, 0.4, 1.0].into_iter().enumerate() {
            let _ = write!(text, "<stop class=\"b{number}-{shade}-{stop}\" offset=\"{offset}\"/>");
        }
        text += "</radialGradient>\n";
    }
    text + "</defs>\n"
}

/// The class of the temperature `kt_ev` in a search from `highest` down to `lowest` (eV): evenly on a logarithmic axis.
pub fn temperature_class(kt_ev: f64, lowest: f64, highest: f64) -> String {
    let span = (highest / lowest).ln();
    let fraction = if span > 0.0 { ((kt_ev / lowest).ln() / span).clamp(0.0, 1.0) } else { 0.0 };
    format!("k{}", (fraction * (N_TEMPERATURES - 1) as f64).round() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contrast of WCAG 2.1 between two colours.
    fn contrast(a: Rgb, b: Rgb) -> f64 {
        let channel = |u: u8| match f64::from(u) / 255.0 {
            u if u <= 0.04045 => u / 12.92,
            u => ((u + 0.055) / 1.055).powf(2.4),
        };
        let light = |[r, g, b]: Rgb| 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
        let (a, b) = (light(a), light(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_and_series_can_be_read_on_their_paper() {
        for scheme in [Scheme::Light, Scheme::Dark] {
            for (class, colour) in &scheme.ink()[..2] {
                assert!(contrast(rgb(*colour), scheme.paper()) > 4.5, "{scheme:?} {class}");
            }
            for colour in scheme.series() {
                assert!(contrast(rgb(colour), scheme.paper()) > 2.0, "{scheme:?} {colour:x}");
            }
            let cold = scheme.temperature(0);
            assert!(contrast(cold, scheme.paper()) > 2.5, "{scheme:?}: what is found at the end must be seen");
        }
    }

    #[test]
    fn temperatures_are_even_on_a_logarithmic_axis() {
        assert_eq!(temperature_class(5.0, 0.05, 5.0), "k31");
        assert_eq!(temperature_class(0.05, 0.05, 5.0), "k0");
        assert_eq!(temperature_class(0.5, 0.05, 5.0), "k16");
        assert_eq!(temperature_class(0.0, 0.0, 0.0), "k0");
    }

    #[test]
    fn every_gradient_has_its_rules() {
        let elements = BTreeSet::from([8, 78]);
        let (rules, gradients) = (rules(Scheme::Light, &elements), gradients(&elements));
        assert_eq!(gradients.matches("<radialGradient").count(), 2 * N_SHADES);
        for class in gradients.split("class=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(rules.contains(&format!(".{class}{{stop-color:#")), "{class}");
        }
    }
}
