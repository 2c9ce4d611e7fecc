//! A landscape as a picture: energies in colour, the template's atoms as circles, the lowest point as a cross.

use super::Landscape;
use crate::system::elements::covalent_radius;
use crate::system::vector::scale;
use crate::system::{System, Vec3};
use std::fmt::Write;

/// Longer side of the map, pixels.
const SIZE: f64 = 560.0;
const MARGIN: f64 = 20.0;
/// Room for the scale of colours, on the right.
const SCALE: f64 = 130.0;
/// From low to high: stops of the colour map viridis, which also works in grey.
const COLOURS: [[f64; 3]; 5] =
    [[68.0, 1.0, 84.0], [59.0, 82.0, 139.0], [33.0, 145.0, 140.0], [94.0, 201.0, 98.0], [253.0, 231.0, 37.0]];
/// Atoms are drawn with this share of their covalent radius, so that the map is visible between them.
const ATOM_SHARE: f64 = 0.5;
/// Number of shades of the scale.
const SHADES: usize = 64;

/// The picture. Template atoms are drawn at their places in the cell; higher atoms are bolder.
pub fn svg(landscape: &Landscape, system: &System) -> String {
    let [a, b] = [landscape.a, landscape.b];
    let known = || landscape.energies_ev.iter().copied().filter(|energy| energy.is_finite());
    let (lowest, highest) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    let range = if highest > lowest { highest - lowest } else { 1.0 };
    let map = Map::new(a, b);
    let (width, height) = (map.width + 2.0 * MARGIN + SCALE, map.height + 2.0 * MARGIN);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <clipPath id=\"cell\"><path d=\"{}\"/></clipPath>\n<g clip-path=\"url(#cell)\">\n",
        map.outline([0.0, 1.0], [0.0, 1.0])
    );
    // Each point colours the cell around it; the points of the first row and column also fill the opposite sides.
    let [n_a, n_b] = landscape.grid.map(|n| n as f64);
    for i in 0..=landscape.grid[0] {
        for j in 0..=landscape.grid[1] {
            let energy = landscape.energies_ev[i % landscape.grid[0] * landscape.grid[1] + j % landscape.grid[1]];
            let fill = if energy.is_finite() { colour((energy - lowest) / range) } else { "#cccccc".into() };
            // Slightly wider than the cell, so that no gaps are visible.
            let side = |k: usize, n: f64| [(k as f64 - 0.51) / n, (k as f64 + 0.51) / n];
            let _ = writeln!(text, "<path fill=\"{fill}\" d=\"{}\"/>", map.outline(side(i, n_a), side(j, n_b)));
        }
    }
    draw_template(&mut text, system, &map);
    if let Some(index) = landscape.lowest() {
        let [x, y] = map.place(landscape.position(index));
        let (l, r, t, u) = (x - 6.0, x + 6.0, y - 6.0, y + 6.0);
        for (stroke, bold) in [("black", 4), ("white", 2)] {
            let _ = writeln!(
                text,
                "<path stroke=\"{stroke}\" stroke-width=\"{bold}\" d=\"M{l:.1} {t:.1}L{r:.1} {u:.1}M{l:.1} {u:.1}L{r:.1} {t:.1}\"/>"
            );
        }
    }
    let outline = map.outline([0.0, 1.0], [0.0, 1.0]);
    let _ = writeln!(text, "</g>\n<path fill=\"none\" stroke=\"black\" d=\"{outline}\"/>");
    draw_scale(&mut text, &map, lowest, highest);
    text.push_str("</svg>\n");
    text
}

/// From Å to pixels; y points up in Å and down in pixels.
struct Map {
    a: Vec3,
    b: Vec3,
    per_angstrom: f64,
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Map {
    fn new(a: Vec3, b: Vec3) -> Self {
        let span = |x: usize| {
            let (lo, hi) = (a[x].min(0.0) + b[x].min(0.0), a[x].max(0.0) + b[x].max(0.0));
            (lo, hi - lo)
        };
        let ((left, width), (bottom, height)) = (span(0), span(1));
        let per_angstrom = SIZE / width.max(height);
        let [width, height] = [width, height].map(|length| length * per_angstrom);
        Map { a, b, per_angstrom, left, top: bottom + height / per_angstrom, width, height }
    }

    fn place(&self, position: Vec3) -> [f64; 2] {
        let k = self.per_angstrom;
        [MARGIN + (position[0] - self.left) * k, MARGIN + (self.top - position[1]) * k]
    }

    /// The parallelogram between two fractions of a and two of b.
    fn outline(&self, along_a: [f64; 2], along_b: [f64; 2]) -> String {
        let corner = |u: f64, v: f64| {
            let [x, y] = self.place(std::array::from_fn(|x| u * self.a[x] + v * self.b[x]));
            format!("{x:.1} {y:.1}")
        };
        let ([a0, a1], [b0, b1]) = (along_a, along_b);
        format!("M{}L{}L{}L{}Z", corner(a0, b0), corner(a1, b0), corner(a1, b1), corner(a0, b1))
    }
}

fn draw_template(text: &mut String, system: &System, map: &Map) {
    let heights = || system.template_positions.iter().map(|position| position[2]);
    let (lo, hi) = (heights().fold(f64::INFINITY, f64::min), heights().fold(f64::NEG_INFINITY, f64::max));
    let [a, b, _] = system.cell.vectors;
    for (&number, &position) in system.template_numbers.iter().zip(&system.template_positions) {
        let inside = system.cell.wrap(position, [true, true, false]);
        let radius = ATOM_SHARE * covalent_radius(number) * map.per_angstrom;
        let opacity = if hi > lo { 0.15 + 0.75 * (position[2] - lo) / (hi - lo) } else { 0.9 };
        // Atoms near a side are drawn at the opposite side too; parts outside are clipped.
        for (u, v) in [-1.0, 0.0, 1.0].into_iter().flat_map(|u| [-1.0, 0.0, 1.0].map(|v| (u, v))) {
            let (shift_a, shift_b) = (scale(u, a), scale(v, b));
            let [x, y] = map.place(std::array::from_fn(|x| inside[x] + shift_a[x] + shift_b[x]));
            let visible = |z: f64, length: f64| z > MARGIN - radius && z < MARGIN + length + radius;
            if visible(x, map.width) && visible(y, map.height) {
                let _ = writeln!(
                    text,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"none\" stroke=\"white\" \
                     stroke-width=\"1.5\" stroke-opacity=\"{opacity:.2}\"/>"
                );
            }
        }
    }
}

fn draw_scale(text: &mut String, map: &Map, lowest: f64, highest: f64) {
    let (x, step) = (map.width + 2.0 * MARGIN, map.height / SHADES as f64);
    for k in 0..SHADES {
        let y = MARGIN + map.height - (k + 1) as f64 * step;
        let fill = colour((k as f64 + 0.5) / SHADES as f64);
        let _ = writeln!(
            text,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"18\" height=\"{:.1}\" fill=\"{fill}\"/>",
            step + 0.5
        );
    }
    for k in 0..5 {
        let share = f64::from(k) / 4.0;
        let y = MARGIN + (1.0 - share) * map.height + 4.0;
        let energy = lowest + share * (highest - lowest);
        let _ = writeln!(text, "<text x=\"{:.1}\" y=\"{y:.1}\">{energy:.3} eV</text>", x + 24.0);
    }
}

/// The colour at `share` of the range, from 0 to 1.
fn colour(share: f64) -> String {
    let place = share.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f64;
    let k = (place as usize).min(COLOURS.len() - 2);
    let mix = |c: usize| {
        let (from, to) = (COLOURS[k][c], COLOURS[k + 1][c]);
        (from + (place - k as f64) * (to - from)).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}
