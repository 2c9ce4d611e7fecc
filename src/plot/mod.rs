//! Pictures as SVG: charts, ball views, maps of a surface. No picture holds a colour of its own: classes name the role of each
//! element, and [`style`] gives it a colour on a light and on a dark page. So the same text serves inline, as a file and as PNG.

pub mod balls;
pub mod chart;
pub mod colour;
pub mod map;
pub mod png;
pub mod scale;
pub mod style;
pub mod svg;

pub use balls::views;
pub use chart::{Axis, Chart, Layer};
pub use map::Projection;
pub use scale::{Scale, Tick};
pub use svg::{Picture, escape};
