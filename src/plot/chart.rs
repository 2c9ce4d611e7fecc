//! Curves, bands and dots over two axes.

use super::scale::{Scale, Tick};
use super::svg::{Picture, dots, line};

/// Width of every chart; the page scales it.
const WIDTH: f64 = 480.0;
/// Height of the plot itself.
const PLOT_HEIGHT: f64 = 230.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 50.0;
/// Height of a row of the legend.
const LEGEND_ROW: f64 = 20.0;
/// Room for a letter in the legend. It is generous: fonts differ, and phones show them larger.
const LETTER: f64 = 8.4;
/// Room for the mark of a name and the gap after the previous name.
const MARK: f64 = 44.0;

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// See [`Picture::name`].
    pub name: String,
    /// Its content, in a sentence.
    pub label: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The drawn layers, from back to front.
    pub layers: Vec<Layer>,
    /// Class and name of the layers in the legend.
    pub legend: Vec<(String, String)>,
}

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Places of the values.
    pub scale: Scale,
    /// The measured quantity, with the unit.
    pub label: String,
    /// Its named places, if they are not simply round values.
    pub ticks: Option<Vec<Tick>>,
}

impl Axis {
    /// An axis that names round values.
    pub fn new(scale: Scale, label: impl Into<String>) -> Self {
        Axis { scale, label: label.into(), ticks: None }
    }
}

/// A layer in the colour of its class; coordinates are values on the axes. Parts outside the axes are cut off.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// A line through points (x, y).
    Line {
        /// Class of its colour.
        class: String,
        /// Points in their order.
        points: Vec<[f64; 2]>,
        /// Its width.
        width: f64,
    },
    /// The area between a lower and an upper curve (x, low, high).
    Band {
        /// Class of its colour.
        class: String,
        /// Points in order of x.
        points: Vec<[f64; 3]>,
    },
    /// Dots at (x, y); dots beyond the ends of the y axis are drawn at the ends.
    Dots {
        /// Class of their colour.
        class: String,
        /// Their places.
        points: Vec<[f64; 2]>,
        /// Diameter.
        size: f64,
        /// Opacity of each, 0 to 1.
        opacity: f64,
    },
    /// Rectangles (x from, x to, y from, y to).
    Bars {
        /// Class of their colour.
        class: String,
        /// Their coordinates.
        bars: Vec<[f64; 4]>,
    },
    /// Texts that appear when the pointer rests over columns (x from, x to).
    Hints {
        /// The columns and their texts.
        columns: Vec<([f64; 2], String)>,
    },
    /// A dashed vertical line with its name.
    Mark {
        /// Class of its colour.
        class: String,
        /// Its x.
        x: f64,
        /// Its name.
        text: String,
    },
}

impl Chart {
    /// Draws the chart.
    pub fn draw(&self) -> Picture {
        let (legend, legend_height) = self.legend_places();
        let top = TOP + legend_height;
        let (width, height) = (WIDTH - LEFT - RIGHT, PLOT_HEIGHT);
        let mut picture = Picture::new(&self.name, &self.label, WIDTH, top + height + BOTTOM);
        for ((class, name), [x, y]) in self.legend.iter().zip(legend) {
            let (middle, end) = (y - 4.5, x + 18.0);
            picture.add(format_args!(
                "<path class=\"{class}\" d=\"M{x:.1} {middle:.1}H{end:.1}\" stroke=\"currentColor\" stroke-width=\"4\" stroke-linecap=\"round\"/>"
            ));
            picture.text("ink", "start", [x + 26.0, y], name);
        }
        let x = |value: f64| width * self.x.scale.place(value);
        let y = |value: f64| height * (1.0 - self.y.scale.place(value));
        let (mut grid, bottom) = (String::new(), top + height);
        for Tick { value, text } in self.x.ticks.clone().unwrap_or_else(|| self.x.scale.ticks(6)) {
            let at = LEFT + x(value);
            grid += &format!("M{at:.1} {top:.1}V{bottom:.1}");
            picture.text("soft", "middle", [at, bottom + 18.0], &text);
        }
        for Tick { value, text } in self.y.ticks.clone().unwrap_or_else(|| self.y.scale.ticks(6)) {
            let at = top + y(value);
            grid += &format!("M{LEFT:.1} {at:.1}h{width:.1}");
            picture.text("soft", "end", [LEFT - 7.0, at + 4.5], &text);
        }
        picture.add(format_args!("<path class=\"grid\" d=\"{grid}\" stroke=\"currentColor\" fill=\"none\"/>"));
        // A separate viewport cuts off the parts outside the axes.
        picture.add(format_args!(
            "<svg x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width}\" height=\"{height}\" overflow=\"hidden\">"
        ));
        self.layers.iter().for_each(|layer| layer.draw(&mut picture, height, &x, &y));
        picture.add("</svg>");
        picture.add(format_args!(
            "<rect class=\"frame\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"currentColor\"/>"
        ));
        picture.text("ink", "middle", [LEFT + width / 2.0, bottom + 40.0], &self.x.label);
        let (centre, label) = (top + height / 2.0, super::escape(&self.y.label));
        picture.add(format_args!(
            "<text class=\"ink\" transform=\"translate(14 {centre:.1}) rotate(-90)\" text-anchor=\"middle\">{label}</text>"
        ));
        picture
    }

    /// Where the names of the legend begin, row by row, and how high it is.
    fn legend_places(&self) -> (Vec<[f64; 2]>, f64) {
        let (mut x, mut y) = (LEFT, TOP + 8.0);
        let mut places = Vec::new();
        for (_, name) in &self.legend {
            let width = MARK + LETTER * name.chars().count() as f64;
            if x > LEFT && x + width > WIDTH {
                (x, y) = (LEFT, y + LEGEND_ROW);
            }
            places.push([x, y]);
            x += width;
        }
        let height = if places.is_empty() { 0.0 } else { y - TOP + 12.0 };
        (places, height)
    }
}

impl Layer {
    fn draw(&self, picture: &mut Picture, height: f64, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) {
        match self {
            Layer::Line { class, points, width } => {
                let data = line(points.iter().map(|&[u, v]| [x(u), y(v)]));
                picture.add(format_args!(
                    "<path class=\"{class}\" d=\"{data}\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>"
                ));
            }
            Layer::Band { class, points } => {
                let upper = points.iter().map(|&[u, _, high]| [x(u), y(high)]);
                let lower = points.iter().rev().map(|&[u, low, _]| [x(u), y(low)]);
                let data = line(upper.chain(lower));
                picture
                    .add(format_args!("<path class=\"{class}\" d=\"{data}Z\" fill=\"currentColor\" opacity=\".16\"/>"));
            }
            Layer::Dots { class, points, size, opacity } => {
                let edge = size / 2.0;
                let data = dots(points.iter().map(|&[u, v]| [x(u), y(v).clamp(edge, height - edge)]));
                picture.add(format_args!(
                    "<path class=\"{class}\" d=\"{data}\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"{size}\" \
                     stroke-linecap=\"round\" opacity=\"{opacity}\"/>"
                ));
            }
            Layer::Bars { class, bars } => {
                let outline = |&[left, right, low, high]: &[f64; 4]| {
                    let (left, right, low, high) = (x(left), x(right), y(low), y(high));
                    format!("M{left:.1} {low:.1}V{high:.1}H{right:.1}V{low:.1}Z")
                };
                let data: String = bars.iter().map(outline).collect();
                picture.add(format_args!("<path class=\"{class}\" d=\"{data}\" fill=\"currentColor\"/>"));
            }
            Layer::Hints { columns } => {
                for ([left, right], text) in columns {
                    let (left, text) = (x(*left), super::escape(text));
                    let width = (x(*right) - left).max(0.0);
                    picture.add(format_args!(
                        "<rect x=\"{left:.1}\" y=\"0\" width=\"{width:.1}\" height=\"{height}\" fill=\"none\" \
                         pointer-events=\"all\"><title>{text}</title></rect>"
                    ));
                }
            }
            Layer::Mark { class, x: value, text } => {
                let at = x(*value);
                picture.add(format_args!(
                    "<path class=\"{class}\" d=\"M{at:.1} 0V{height:.1}\" stroke=\"currentColor\" stroke-width=\"1.5\" stroke-dasharray=\"5 4\"/>"
                ));
                let left_of_it = x(*value) > (WIDTH - LEFT - RIGHT) * 0.6;
                let (anchor, shift) = if left_of_it { ("end", -6.0) } else { ("start", 6.0) };
                picture.text(class, anchor, [at + shift, 17.0], text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<[f64; 2]>) -> Chart {
        Chart {
            name: "test".into(),
            label: "a < b".into(),
            x: Axis::new(Scale::linear(0.0, 10.0), "n"),
            y: Axis::new(Scale::linear(0.0, 2.0), "E & F"),
            layers: vec![Layer::Line { class: "s0".into(), points, width: 2.0 }],
            legend: vec![
                ("s0".into(), "a<b".into()),
                ("s1".into(), "a name that is long enough for a row of its own".into()),
            ],
        }
    }

    #[test]
    fn known_points_stand_where_they_belong() {
        let svg = chart(vec![[0.0, 0.0], [5.0, 1.0], [10.0, 2.0]]).draw().file();
        let (right, middle) = (WIDTH - LEFT - RIGHT, (WIDTH - LEFT - RIGHT) / 2.0);
        let expected = format!("d=\"M0.0 {PLOT_HEIGHT:.1}L{middle:.1} {:.1}L{right:.1} 0.0\"", PLOT_HEIGHT / 2.0);
        assert!(svg.contains(&expected), "{svg}");
        assert!(svg.contains("a&lt;b") && svg.contains("E &amp; F") && !svg.contains("a<b"));
    }

    #[test]
    fn hints_cover_their_columns() {
        let hints = Layer::Hints { columns: vec![([2.0, 4.0], "a < b".into())] };
        let svg = Chart { layers: vec![hints], ..chart(Vec::new()) }.draw().inline();
        let width = (WIDTH - LEFT - RIGHT) / 10.0;
        let expected = format!("<rect x=\"{:.1}\" y=\"0\" width=\"{:.1}\"", 2.0 * width, 2.0 * width);
        assert!(svg.contains(&expected) && svg.contains("<title>a &lt; b</title>"), "{svg}");
    }

    /// The plot's own viewport cuts off the parts outside.
    #[test]
    fn curves_end_at_the_frame() {
        let svg = chart(vec![[0.0, 1e9], [10.0, 0.0]]).draw().inline();
        let inner = svg.split_once("<svg x=").unwrap().1.split_once("</svg>").unwrap().0;
        assert!(inner.contains("overflow=\"hidden\"") && inner.contains("class=\"s0\""), "{svg}");
    }

    #[test]
    fn long_names_take_another_row() {
        let (places, height) = chart(Vec::new()).legend_places();
        assert!(places[1][1] > places[0][1] && places[1][0] == places[0][0], "{places:?}");
        assert!(height > 2.0 * LEGEND_ROW - 1.0, "{height}");
    }
}
