//! The surface from above with the places of the free atoms, coloured by temperature: over the template (Fig. 1a of
//! arXiv:2510.13448) or over the landscape of one atom's energy.

use super::balls::images_along_the_surface;
use super::scale::{Scale, number};
use super::style::{N_BANDS, N_TEMPERATURES, temperature_class};
use super::svg::{Picture, dots, line};
use crate::landscape::Landscape;
use crate::system::elements::covalent_radius;
use crate::system::vector::{add, scale};
use crate::system::{Cell, System, Vec3};

const WIDTH: f64 = 480.0;
const MARGIN: f64 = 10.0;
/// Height of a colour bar with its label.
const BAR: f64 = 62.0;
/// Radius of a template atom in covalent radii. The paper shows between the atoms, and the dots on it.
const ATOM: f64 = 0.62;
/// Depth below the highest template atom of the layer that is drawn strongly, Å. It is less than the distance of two layers.
const TOP_LAYER: f64 = 1.0;
/// A landscape is drawn with at least this many cells along each axis, interpolated between its points.
const FINE: usize = 96;

/// The content of a map.
#[derive(Debug)]
pub struct Projection<'a> {
    /// Template and cell.
    pub system: &'a System,
    /// For every temperature (kT, eV), from the first iteration on: positions of the free atoms, Å.
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
    /// The free atoms' places in the cell over the template, or over `landscape`.
    pub fn draw(&self, name: &str, label: &str, landscape: Option<&Landscape>) -> Picture {
        let canvas = Canvas::new(&self.system.cell);
        let n_bars = 1.0 + f64::from(u8::from(landscape.is_some()));
        let mut picture = Picture::new(name, label, WIDTH, canvas.height + BAR * n_bars);
        let outline = canvas.outline();
        picture.add(format_args!("<clipPath id=\"clip-{name}\"><path d=\"{outline}Z\"/></clipPath>"));
        picture.add(format_args!("<g clip-path=\"url(#clip-{name})\">"));
        match landscape {
            Some(landscape) => add_landscape(&mut picture, &canvas, landscape),
            None => add_template(&mut picture, &canvas, self.system),
        }
        let [lowest, highest] = self.kt_range;
        let n_dots: usize = self.clouds.iter().map(|(_, cloud)| cloud.len()).sum();
        let size = (190.0 / (n_dots.max(1) as f64).sqrt()).clamp(2.2, 6.0);
        for (kt_ev, cloud) in self.clouds {
            let inside =
                cloud.iter().map(|&position| canvas.place(self.system.cell.wrap(position, [true, true, false])));
            let class = temperature_class(*kt_ev, lowest, highest);
            let data = dots(inside);
            picture.add(format_args!(
                "<path class=\"{class}\" d=\"{data}\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"{size:.1}\" \
                 stroke-linecap=\"round\" opacity=\".8\"/>"
            ));
        }
        picture.add("</g>");
        picture.add(format_args!("<path class=\"canvas\" d=\"{outline}Z\" fill=\"none\" stroke=\"currentColor\"/>"));
        add_bar(&mut picture, canvas.height, &temperature_bar(self.kt_range));
        if let Some([low, high]) = landscape.and_then(Landscape::range) {
            let ends = vec![(0.0, number(low, 2)), (0.5, number((low + high) / 2.0, 2)), (1.0, number(high, 2))];
            let classes = (0..N_BANDS).map(|k| format!("g{k}")).collect();
            let bar = Bar { classes, ticks: ends, label: "lowest energy of the atom / eV" };
            add_bar(&mut picture, canvas.height + BAR, &bar);
        }
        picture
    }
}

/// The placement of the cell in the picture.
struct Canvas {
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

impl Canvas {
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
        Canvas { low, high_y: high[1], unit, height: unit * tall + 2.0 * MARGIN, vectors: [a, b], left }
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

/// The template's atoms, the top layer strongly, repeated up to the cell's edges.
fn add_template(picture: &mut Picture, canvas: &Canvas, system: &System) {
    let top = system.template_positions.iter().map(|position| position[2]).fold(f64::NEG_INFINITY, f64::max);
    let atoms = system.template_positions.iter().copied().zip(system.template_numbers.iter().copied());
    let mut discs: Vec<(Vec3, u8)> = Vec::new();
    for (position, number) in atoms {
        let reach = ATOM * covalent_radius(number);
        let (right, low) = (canvas.low[0] + (WIDTH - 2.0 * canvas.left) / canvas.unit, canvas.low[1]);
        let window = [canvas.low[0] - reach, right + reach, low - reach, canvas.high_y + reach];
        let inside =
            |image: &Vec3| (window[0]..=window[1]).contains(&image[0]) && (window[2]..=window[3]).contains(&image[1]);
        discs.extend(
            images_along_the_surface(&system.cell, position, window).into_iter().filter(inside).map(|at| (at, number)),
        );
    }
    discs.sort_by(|a, b| a.0[2].total_cmp(&b.0[2]));
    for (position, number) in discs {
        let ([x, y], radius) = (canvas.place(position), ATOM * covalent_radius(number) * canvas.unit);
        // The dots on top of them are more important, so pictures of structures alone use the strongest shades.
        let shade = if top - position[2] < TOP_LAYER { 2 } else { 4 };
        picture.elements.insert(number);
        picture.add(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"url(#ball-{number}-{shade})\"/>"
        ));
    }
}

/// Bands of equal energy as rows of small parallelograms; neighbours in one band become one.
fn add_landscape(picture: &mut Picture, canvas: &Canvas, landscape: &Landscape) {
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
                let corners = [[u0, v0], [u1, v0], [u1, v1], [u0, v1]].map(|[u, v]| canvas.fraction(u, v));
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
        // Each reaches to the end and the next one covers it, so that no gaps are visible.
        let (x, y, overlap) = (left + k as f64 * each, top + 4.0, width - k as f64 * each);
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
            mobile: Default::default(),
            extras: None,
            molecules: Default::default(),
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

    /// The template's one atom is in all four corners of the cell.
    #[test]
    fn the_template_is_repeated_to_the_edges() {
        let svg = draw(vec![], None);
        assert_eq!(svg.matches("<circle").count(), 4, "{svg}");
    }

    fn landscape() -> Landscape {
        let energies_ev = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let [a, b, _] = system().cell.vectors;
        Landscape {
            grid: [2, 3],
            a,
            b,
            energies_ev,
            heights_angstrom: vec![8.0; 6],
            mobile_angstrom: vec![],
            n_unconverged: 0,
            n_evaluations: 6,
        }
    }

    #[test]
    fn a_map_over_a_landscape_has_its_bands_and_no_balls() {
        let svg = draw(vec![[1.0, 1.0, 1.0]], Some(&landscape()));
        assert!(svg.contains("class=\"g0\"") && svg.contains("class=\"g15\"") && !svg.contains("<circle"));
        assert!(svg.contains("lowest energy of the atom"));
    }
}
