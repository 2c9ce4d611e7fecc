//! PNG files of pictures, for slides and e-mails.

use super::svg::Picture;
use crate::error::{Error, Result};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};
use std::sync::Arc;

/// Pixels for one unit of a picture: sharp in print at the width of a text column.
const PIXELS: f32 = 3.0;

/// Draws pictures with this machine's fonts.
pub struct Painter {
    options: Options<'static>,
}

impl Painter {
    /// With the installed fonts; `None` without any, since a chart needs labels.
    pub fn new() -> Option<Self> {
        let mut fonts = Database::new();
        fonts.load_system_fonts();
        let sans = ["Arial", "Helvetica", "Liberation Sans", "DejaVu Sans", "Noto Sans"];
        let family = |name: &str| fonts.faces().any(|face| face.families.iter().any(|(family, _)| family == name));
        let first = fonts.faces().next()?.families.first()?.0.clone();
        let family = sans.into_iter().find(|name| family(name)).map_or(first, str::to_owned);
        fonts.set_sans_serif_family(family);
        Some(Painter { options: Options { fontdb: Arc::new(fonts), ..Options::default() } })
    }

    /// The picture as a PNG file, on white.
    ///
    /// # Errors
    /// `Failed` if it cannot be drawn.
    pub fn png(&self, picture: &Picture) -> Result<Vec<u8>> {
        let failed =
            |cause: &dyn std::fmt::Display| Error::Failed(format!("{}.png: cannot be drawn ({cause})", picture.name));
        let tree = Tree::from_str(&picture.file(), &self.options).map_err(|cause| failed(&cause))?;
        let size = tree.size().to_int_size();
        let [width, height] = [size.width(), size.height()].map(|side| (side as f32 * PIXELS).ceil() as u32);
        let mut pixels = Pixmap::new(width, height).ok_or_else(|| failed(&"it has no area"))?;
        resvg::render(&tree, Transform::from_scale(PIXELS, PIXELS), &mut pixels.as_mut());
        pixels.encode_png().map_err(|cause| failed(&cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels in the colour of a class show that the rules reach the picture.
    #[test]
    fn pictures_become_pixels() {
        let mut picture = Picture::new("p", "x", 20.0, 10.0);
        picture.add("<rect class=\"s0\" x=\"5\" y=\"0\" width=\"10\" height=\"10\" fill=\"currentColor\"/>");
        picture.add(
            "<path class=\"s1\" d=\"M2 2h.01\" stroke=\"currentColor\" stroke-width=\"2\" stroke-linecap=\"round\"/>",
        );
        let painter = Painter { options: Options::default() };
        let pixels = Pixmap::decode_png(&painter.png(&picture).unwrap()).unwrap();
        let colour = |x, y| pixels.pixel(x, y).map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]);
        assert_eq!(colour(30, 15), Some([0x00, 0x72, 0xb2]));
        assert_eq!(colour(6, 6), Some([0xd5, 0x5e, 0x00]), "a dot of a path without length");
        assert_eq!(colour(1, 28), Some([0xff; 3]));
    }
}
