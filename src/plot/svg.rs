//! The text of an SVG picture: escaping, paths, and the whole picture, inline in a page or as a file.

use super::style;
use std::collections::BTreeSet;
use std::fmt::{Display, Write};

/// A picture without its outermost element, which depends on where the picture is used.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// A name that is unique on a page, of letters, digits and hyphens; the stem of the picture's files.
    pub name: String,
    /// The content in a sentence, for readers who cannot see it.
    pub label: String,
    /// Width in the picture's own coordinates, at 100% CSS pixels.
    pub width: f64,
    /// Height, likewise.
    pub height: f64,
    /// Elements drawn as balls (atomic numbers). Their gradients are defined outside the picture.
    pub elements: BTreeSet<u8>,
    body: String,
}

impl Picture {
    /// An empty picture.
    pub fn new(name: impl Into<String>, label: impl Into<String>, width: f64, height: f64) -> Self {
        let (name, label) = (name.into(), label.into());
        Picture { name, label, width, height, elements: BTreeSet::new(), body: String::new() }
    }

    /// Appends elements: markup, in which all text must be [`escape`]d already.
    pub fn add(&mut self, markup: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "{markup}");
    }

    /// Appends a text of class `class`. Its foot is at (`x`, `y`), and its "start", "middle" or "end" is at x.
    pub fn text(&mut self, class: &str, anchor: &str, [x, y]: [f64; 2], text: &str) {
        let text = escape(text);
        self.add(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    /// For a page that holds [`style::rules`] and [`style::gradients`] of the picture's elements.
    pub fn inline(&self) -> String {
        let Picture { width, height, body, .. } = self;
        let label = escape(&self.label);
        format!("<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{label}\">\n{body}</svg>")
    }

    /// A separate file, in the colours of a light page on white.
    pub fn file(&self) -> String {
        let Picture { width, height, body, .. } = self;
        let (label, rules) = (escape(&self.label), style::rules(style::Scheme::Light, &self.elements));
        let gradients = style::gradients(&self.elements);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{label}\">\n<title>{label}</title>\n\
             <style>\n{rules}</style>\n{gradients}<rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n\
             {body}</svg>\n"
        )
    }
}

/// `text` for use in elements and quoted attributes of XML and HTML. Control characters, which XML cannot hold, become U+FFFD.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ if character.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// The data of a path through `points`; points that are not finite are left out.
pub fn line(points: impl IntoIterator<Item = [f64; 2]>) -> String {
    let mut data = String::new();
    for [x, y] in points.into_iter().filter(|point| point.iter().all(|u| u.is_finite())) {
        let letter = if data.is_empty() { 'M' } else { 'L' };
        // Writing to a string cannot fail.
        let _ = write!(data, "{letter}{x:.1} {y:.1}");
    }
    data
}

/// The data of a path that is a dot at each of `points`, if stroked with round ends. It takes a tenth of the text of circles.
pub fn dots(points: impl IntoIterator<Item = [f64; 2]>) -> String {
    let mut data = String::new();
    for [x, y] in points.into_iter().filter(|point| point.iter().all(|u| u.is_finite())) {
        let _ = write!(data, "M{x:.1} {y:.1}h.01");
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(escape("<b a='1' c=\"2\">&amp;"), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;amp;");
        assert_eq!(escape("a\u{0}b\u{1b}[2Jc\nd\té"), "a\u{fffd}b\u{fffd}[2Jc\nd\té");
    }

    #[test]
    fn paths_leave_out_what_is_not_finite() {
        assert_eq!(line([[f64::NAN, 0.0], [1.0, 2.04], [f64::INFINITY, 0.0], [3.0, -4.0]]), "M1.0 2.0L3.0 -4.0");
        assert_eq!(dots([[1.0, 2.0], [0.0, f64::NAN]]), "M1.0 2.0h.01");
        assert_eq!(line([]), "");
    }
}
