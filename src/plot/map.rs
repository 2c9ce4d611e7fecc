//! The surface from above with the places that free atoms took, coloured by temperature: over the template (Fig. 1a of
//! arXiv:2510.13448) or over the landscape of one atom's energy.

use super::balls::images_along_the_surface;
use super::scale::{Scale, number};
use super::style::{N_BANDS, N_SHADES, N_TEMPERATURES, temperature_class};
use super::svg::{Picture, dots, line};
use crate::error::{Error, Result};
use crate::system::elements::covalent_radius;
use crate::system::vector::{add, scale};
use crate::system::{Cell, System, Vec3};
use serde::{Deserialize, Serialize};
use std::path::Path;

const WIDTH: f64 = 480.0;
const MARGIN: f64 = 10.0;
/// Height of a colour bar with its label.
const BAR: f64 = 62.0;
/// A landscape is drawn with at least so many cells along each axis, interpolated between its points.
const FINE: usize = 96;
/// Most points along an axis of a landscape.
const MOST_POINTS: usize = 2000;

/// The lowest energy that one free atom reaches above every point of a surface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Landscape {
    /// Number n of points along a and m along b.
    pub grid: [usize; 2],
    /// The vectors a and b that the grid divides, Å; point (i, j) lies at i/n·a + j/m·b.
    pub vectors: [Vec3; 2],
    /// Energies, row by row (n rows of m), eV; null where there is none.
    pub energies_ev: Vec<Option<f64>>,
    /// Heights z of the atom at these energies, likewise, Å.
    #[serde(default)]
    pub heights_angstrom: Vec<Option<f64>>,
}

impl Landscape {
    /// Reads the JSON file at `path`.
    ///
    /// # Errors
    /// `BadInput` if it cannot be read or is no landscape.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| Error::bad_file(path, format!("cannot be read ({cause})")))?;
        let landscape: Landscape = serde_json::from_str(&text)
            .map_err(|cause| Error::bad_file(path, format!("is no landscape of `godiff scan` ({cause})")))?;
        let [n, m] = landscape.grid;
        if !(1..=MOST_POINTS).contains(&n) || !(1..=MOST_POINTS).contains(&m) || landscape.energies_ev.len() != n * m {
            let message = format!(
                "is no landscape of `godiff scan`: a grid of {n} × {m} points with {} energies; scan again",
                landscape.energies_ev.len()
            );
            return Err(Error::bad_file(path, message));
        }
        Ok(landscape)
    }

    /// Lowest and highest energy, eV; `None` without any.
    fn range(&self) -> Option<[f64; 2]> {
        let energies = || self.energies_ev.iter().flatten().copied().filter(|energy| energy.is_finite());
        let low = energies().reduce(f64::min)?;
        Some([low, energies().fold(low, f64::max)])
    }

    /// Energy at the fractions (u, v) of a and b, between the four points around it; `None` where one of them has none.
    fn at(&self, u: f64, v: f64) -> Option<f64> {
        let [n, m] = self.grid;
        let split = |fraction: f64, n: usize| {
            let place = fraction.rem_euclid(1.0) * n as f64;
            let low = (place.floor() as usize).min(n - 1);
            (low, (low + 1) % n, place - low as f64)
        };
        let ((i0, i1, s), (j0, j1, t)) = (split(u, n), split(v, m));
        let energy = |i: usize, j: usize| self.energies_ev[i * m + j];
        let along = |a: f64, b: f64, part: f64| a + part * (b - a);
        let (low, high) = (along(energy(i0, j0)?, energy(i1, j0)?, s), along(energy(i0, j1)?, energy(i1, j1)?, s));
        Some(along(low, high, t))
    }
}

/// What a map shows.
#[derive(Debug)]
pub struct Projection<'a> {
    /// Template and cell.
    pub system: &'a System,
    /// For every temperature (kT, eV), from the first iteration on: where free atoms were, Å.
    pub clouds: &'a [(f64, Vec<Vec3>)],
    /// Ends of the colour scale: lowest and highest kT, eV.
    pub kt_range: [f64; 2],
}

/// True if the free atoms of `system` have a surface that can be seen from above: a and b repeat and lie in the xy plane.
pub fn has_surface(system: &System) -> bool {
    let Cell { vectors: [a, b, _], periodic } = system.cell;
    let area = (a[0] * b[1] - a[1] * b[0]).abs();
    periodic[0] && periodic[1] && a[2].abs() < 1e-6 && b[2].abs() < 1e-6 && area > 1e-6
}

impl Projection<'_> {
    /// The atoms' places in the cell over the template, or over `landscape`.
    pub fn draw(&self, name: &str, label: &str, landscape: Option<&Landscape>) -> Picture {
        let frame = Frame::new(&self.system.cell);
        let n_bars = 1.0 + f64::from(u8::from(landscape.is_some()));
        let mut picture = Picture::new(name, label, WIDTH, frame.height + BAR * n_bars);
        let outline = frame.outline();
        picture.add(format_args!("<clipPath id=\"clip-{name}\"><path d=\"{outline}Z\"/></clipPath>"));
        picture.add(format_args!("<g clip-path=\"url(#clip-{name})\">"));
        match landscape {
            Some(landscape) => add_landscape(&mut picture, &frame, landscape),
            None => add_template(&mut picture, &frame, self.system),
        }
        let [lowest, highest] = self.kt_range;
        let n_dots: usize = self.clouds.iter().map(|(_, cloud)| cloud.len()).sum();
        let size = (190.0 / (n_dots.max(1) as f64).sqrt()).clamp(2.2, 6.0);
        for (kt_ev, cloud) in self.clouds {
            let inside =
                cloud.iter().map(|&position| frame.place(self.system.cell.wrap(position, [true, true, false])));
            let class = temperature_class(*kt_ev, lowest, highest);
            let data = dots(inside);
            picture.add(format_args!(
                "<path class=\"{class}\" d=\"{data}\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"{size:.1}\" \
                 stroke-linecap=\"round\" opacity=\".8\"/>"
            ));
        }
        picture.add("</g>");
        picture.add(format_args!("<path class=\"frame\" d=\"{outline}Z\" fill=\"none\" stroke=\"currentColor\"/>"));
        add_bar(&mut picture, frame.height, &temperature_bar(self.kt_range));
        if let Some([low, high]) = landscape.and_then(Landscape::range) {
            let ends = vec![(0.0, number(low, 2)), (0.5, number((low + high) / 2.0, 2)), (1.0, number(high, 2))];
            let classes = (0..N_BANDS).map(|k| format!("g{k}")).collect();
            let bar = Bar { classes, ticks: ends, label: "lowest energy of the atom / eV" };
            add_bar(&mut picture, frame.height + BAR, &bar);
        }
        picture
    }
}

/// How the cell lies in the picture.
struct Frame {
    /// Corner of the cell with the lowest x and y, Å.
    low: [f64; 2],
    /// Highest y, Å.
    high_y: f64,
    /// Picture units per Å.
    unit: f64,
    /// Height of the map.
    height: f64,
    /// Lattice vectors a and b, Å.
    vectors: [Vec3; 2],
    /// Left end of the cell.
    left: f64,
}

impl Frame {
    fn new(cell: &Cell) -> Self {
        let [a, b, _] = cell.vectors;
        let corners = [[0.0; 3], a, b, add(a, b)];
        let end =
            |axis: usize, f: fn(f64, f64) -> f64| corners.iter().map(|corner| corner[axis]).fold(corners[0][axis], f);
        let (low, high) = ([end(0, f64::min), end(1, f64::min)], [end(0, f64::max), end(1, f64::max)]);
        let (wide, tall) = ((high[0] - low[0]).max(1e-3), (high[1] - low[1]).max(1e-3));
        // Long cells must not make pictures taller than wide.
        let unit = ((WIDTH - 2.0 * MARGIN) / wide).min((WIDTH - 2.0 * MARGIN) / tall);
        let left = (WIDTH - unit * wide) / 2.0;
        Frame { low, high_y: high[1], unit, height: unit * tall + 2.0 * MARGIN, vectors: [a, b], left }
    }

    fn place(&self, position: Vec3) -> [f64; 2] {
        [self.left + (position[0] - self.low[0]) * self.unit, MARGIN + (self.high_y - position[1]) * self.unit]
    }

    /// The point at fractions u of a and v of b.
    fn fraction(&self, u: f64, v: f64) -> [f64; 2] {
        self.place(add(scale(u, self.vectors[0]), scale(v, self.vectors[1])))
    }

    fn outline(&self) -> String {
        line([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]].map(|[u, v]| self.fraction(u, v)))
    }
}

/// The template's atoms, the higher the stronger, repeated up to the cell's edges.
fn add_template(picture: &mut Picture, frame: &Frame, system: &System) {
    let top = system.template_positions.iter().map(|position| position[2]).fold(f64::NEG_INFINITY, f64::max);
    let atoms = system.template_positions.iter().copied().zip(system.template_numbers.iter().copied());
    let mut discs: Vec<(Vec3, u8)> = Vec::new();
    for (position, number) in atoms {
        let reach = covalent_radius(number);
        let (right, low) = (frame.low[0] + (WIDTH - 2.0 * frame.left) / frame.unit, frame.low[1]);
        let window = [frame.low[0] - reach, right + reach, low - reach, frame.high_y + reach];
        let inside =
            |image: &Vec3| (window[0]..=window[1]).contains(&image[0]) && (window[2]..=window[3]).contains(&image[1]);
        discs.extend(
            images_along_the_surface(&system.cell, position, window).into_iter().filter(inside).map(|at| (at, number)),
        );
    }
    discs.sort_by(|a, b| a.0[2].total_cmp(&b.0[2]));
    for (position, number) in discs {
        let ([x, y], radius) = (frame.place(position), covalent_radius(number) * frame.unit);
        // The dots on top of them matter: the two strongest shades are left to pictures of structures.
        let shade = (2 + ((top - position[2]) / 1.8).clamp(0.0, 2.0).round() as usize).min(N_SHADES - 1);
        picture.elements.insert(number);
        picture.add(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"url(#ball-{number}-{shade})\"/>"
        ));
    }
}

/// Bands of equal energy as rows of small parallelograms; neighbours of one band become one.
fn add_landscape(picture: &mut Picture, frame: &Frame, landscape: &Landscape) {
    let Some([low, high]) = landscape.range() else { return };
    let [n, m] = landscape.grid.map(|points| points.max(FINE));
    let band = |energy: f64| {
        let fraction = if high > low { (energy - low) / (high - low) } else { 0.0 };
        ((fraction * N_BANDS as f64) as usize).min(N_BANDS - 1)
    };
    let mut bands = vec![String::new(); N_BANDS];
    for j in 0..m {
        let (v0, v1, middle) = (j as f64 / m as f64, (j + 1) as f64 / m as f64, (j as f64 + 0.5) / m as f64);
        let row: Vec<Option<usize>> =
            (0..n).map(|i| landscape.at((i as f64 + 0.5) / n as f64, middle).map(band)).collect();
        let mut start = 0;
        while start < n {
            let end = (start..n).find(|&i| row[i] != row[start]).unwrap_or(n);
            if let Some(band) = row[start] {
                let (u0, u1) = (start as f64 / n as f64, end as f64 / n as f64);
                let corners = [[u0, v0], [u1, v0], [u1, v1], [u0, v1]].map(|[u, v]| frame.fraction(u, v));
                bands[band] += &format!("{}Z", line(corners));
            }
            start = end;
        }
    }
    for (k, data) in bands.iter().enumerate().filter(|(_, data)| !data.is_empty()) {
        picture.add(format_args!(
            "<path class=\"g{k}\" d=\"{data}\" fill=\"currentColor\" stroke=\"currentColor\" stroke-width=\".6\"/>"
        ));
    }
}

/// A colour bar.
struct Bar {
    /// Classes from left to right.
    classes: Vec<String>,
    /// Fraction of the bar and name.
    ticks: Vec<(f64, String)>,
    label: &'static str,
}

fn temperature_bar([lowest, highest]: [f64; 2]) -> Bar {
    let scale = Scale::logarithmic(lowest, highest);
    let ticks = scale.ticks(6).into_iter().map(|tick| (scale.place(tick.value), tick.text)).collect();
    Bar { classes: (0..N_TEMPERATURES).map(|k| format!("k{k}")).collect(), ticks, label: "temperature kT / eV" }
}

fn add_bar(picture: &mut Picture, top: f64, bar: &Bar) {
    let (left, width) = (MARGIN + 20.0, WIDTH - 2.0 * MARGIN - 40.0);
    let each = width / bar.classes.len() as f64;
    for (k, class) in bar.classes.iter().enumerate() {
        let (x, y, overlap) = (left + k as f64 * each, top + 4.0, each + 0.3);
        picture.add(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{overlap:.1}\" height=\"10\" fill=\"currentColor\"/>"
        ));
    }
    for (fraction, text) in &bar.ticks {
        picture.text("soft", "middle", [left + fraction * width, top + 30.0], text);
    }
    picture.text("ink", "middle", [WIDTH / 2.0, top + 50.0], bar.label);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cell with a along x and b at 60°.
    fn system() -> System {
        System {
            cell: Cell {
                vectors: [[8.0, 0.0, 0.0], [4.0, 48f64.sqrt(), 0.0], [0.0, 0.0, 20.0]],
                periodic: [true, true, false],
            },
            template_numbers: vec![78],
            template_positions: vec![[0.0, 0.0, 5.0]],
            free_numbers: vec![78],
            confinement: None,
        }
    }

    fn draw(cloud: Vec<Vec3>, landscape: Option<&Landscape>) -> String {
        let clouds = [(0.02, cloud)];
        let system = system();
        Projection { system: &system, clouds: &clouds, kt_range: [0.02, 5.0] }.draw("map", "a map", landscape).file()
    }

    #[test]
    fn positions_are_wrapped_into_the_cell_and_projected() {
        let unit = (WIDTH - 2.0 * MARGIN) / 12.0;
        let [x, y] = [MARGIN + 6.0 * unit, MARGIN + (48f64.sqrt() - 2.0) * unit];
        let expected = format!("d=\"M{x:.1} {y:.1}h.01\"");
        for position in [[6.0, 2.0, 7.0], [6.0 - 8.0, 2.0, 7.0], [6.0 + 4.0, 2.0 + 48f64.sqrt(), 7.0]] {
            let svg = draw(vec![position], None);
            assert!(svg.contains(&expected) && svg.contains("class=\"k0\""), "{position:?} in\n{svg}");
        }
    }

    /// The template's one atom sits in all four corners of the cell.
    #[test]
    fn the_template_is_repeated_to_the_edges() {
        let svg = draw(vec![], None);
        assert_eq!(svg.matches("<circle").count(), 4, "{svg}");
    }

    fn landscape() -> Landscape {
        let energies_ev = vec![Some(1.0), Some(2.0), Some(3.0), Some(4.0), Some(5.0), Some(6.0)];
        let [a, b, _] = system().cell.vectors;
        Landscape { grid: [2, 3], vectors: [a, b], energies_ev, heights_angstrom: vec![] }
    }

    #[test]
    fn a_landscape_is_interpolated_between_its_points() {
        let landscape = landscape();
        assert_eq!(landscape.at(0.0, 0.0), Some(1.0));
        assert_eq!(landscape.at(0.5, 1.0 / 3.0), Some(5.0));
        assert_eq!(landscape.at(0.25, 0.0), Some(2.5), "between rows");
        assert_eq!(landscape.at(-1.0, 1.0), Some(1.0), "periodic");
        assert_eq!(landscape.range(), Some([1.0, 6.0]));
        let mut gap = landscape;
        gap.energies_ev[0] = None;
        assert_eq!(gap.at(0.1, 0.1), None);
    }

    #[test]
    fn a_map_over_a_landscape_has_its_bands_and_no_balls() {
        let svg = draw(vec![[1.0, 1.0, 1.0]], Some(&landscape()));
        assert!(svg.contains("class=\"g0\"") && svg.contains("class=\"g15\"") && !svg.contains("<circle"));
        assert!(svg.contains("lowest energy of the atom"));
    }

    #[test]
    fn a_broken_landscape_is_refused_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.json");
        for (text, sentence) in [
            ("{", "is no landscape"),
            (
                r#"{"grid":[2,2],"vectors":[[1,0,0],[0,1,0]],"energies_ev":[1.0],"heights_angstrom":[]}"#,
                "2 × 2 points with 1 energies",
            ),
            (r#"{"grid":[0,2],"vectors":[[1,0,0],[0,1,0]],"energies_ev":[],"heights_angstrom":[]}"#, "0 × 2 points"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Landscape::read(&path).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(sentence), "{error}");
        }
        assert!(Landscape::read(&folder.path().join("none")).unwrap_err().to_string().contains("cannot be read"));
    }
}
