//! A page: head, sections, tables, and the pictures on it.

use super::structures::viewer;
use crate::plot::style::{self, Scheme};
use crate::plot::{Picture, escape};
use crate::version::VERSION;
use std::collections::BTreeSet;

/// Layout and colours of everything except the pictures.
const STYLE: &str = include_str!("style.css");
/// What a browser may do for the page: its own styles and program, and nothing from elsewhere.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A page under construction.
#[derive(Debug, Default)]
pub struct Page {
    title: String,
    body: String,
    /// The pictures on it, in their order: `--plots` writes these as files.
    pub pictures: Vec<Picture>,
    /// Elements of the structures that the page's viewer turns (atomic numbers).
    pub elements: BTreeSet<u8>,
}

/// A row of a table: cells of text.
pub type Row = Vec<String>;

impl Page {
    /// A page with that title (plain text).
    pub fn new(title: &str) -> Self {
        Page { title: title.to_owned(), ..Page::default() }
    }

    /// Appends markup, in which all text must be escaped already.
    pub fn add(&mut self, markup: &str) {
        self.body += markup;
        self.body.push('\n');
    }

    /// A heading of a section.
    pub fn heading(&mut self, text: &str) {
        self.add(&format!("<h2>{}</h2>", escape(text)));
    }

    /// A picture with a caption (plain text) as a cell of a grid.
    pub fn figure(&mut self, title: &str, caption: &str, picture: Picture) {
        let (title, caption) = (escape(title), escape(caption));
        self.add(&format!(
            "<figure class=\"card\"><h3>{title}</h3>\n{}\n<figcaption>{caption}</figcaption></figure>",
            picture.inline()
        ));
        self.pictures.push(picture);
    }

    /// Numbers side by side, each with its name and a remark.
    pub fn facts(&mut self, facts: &[(&str, String, String)]) {
        self.add("<dl class=\"facts\">");
        for (name, value, more) in facts {
            let (name, value, more) = (escape(name), escape(value), escape(more));
            self.add(&format!("<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>"));
        }
        self.add("</dl>");
    }

    /// A table; the first column is text, the other columns are numbers. It scrolls by itself where it is too wide.
    pub fn table(&mut self, heads: &[&str], rows: &[Row]) {
        let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{}</th>", escape(head))).collect();
        self.add(&format!("<div class=\"wide\" tabindex=\"0\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>"));
        for row in rows {
            let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
            self.add(&format!("<tr>{cells}</tr>"));
        }
        self.add("</tbody></table></div>");
    }

    /// Names and what belongs to them, one pair a row.
    pub fn pairs(&mut self, pairs: &[(&str, String)]) {
        self.add("<table class=\"pairs\"><tbody>");
        for (name, value) in pairs {
            self.add(&format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape(name), escape(value)));
        }
        self.add("</tbody></table>");
    }

    /// The whole page.
    pub fn html(&self) -> String {
        let elements: BTreeSet<u8> =
            self.pictures.iter().flat_map(|picture| picture.elements.iter().copied()).collect();
        let (title, body) = (escape(&self.title), &self.body);
        let (light, dark) = (style::rules(Scheme::Light, &elements), style::rules(Scheme::Dark, &elements));
        let (gradients, viewer) = (style::gradients(&elements), viewer(&self.elements));
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n<meta name=\"generator\" content=\"godiff {VERSION}\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n<title>{title}</title>\n<style>\n{light}@media (prefers-color-scheme: dark) {{\n{dark}}}\n{STYLE}</style>\n</head>\n<body>\n\
             <svg width=\"0\" height=\"0\" class=\"definitions\" aria-hidden=\"true\">{gradients}</svg>\n<main>\n{body}\
             <footer>written by godiff {VERSION}</footer>\n</main>\n{viewer}</body>\n</html>\n"
        )
    }
}

/// An energy in eV with a proper minus sign; a dash without one.
pub fn energy(value: Option<f64>, digits: usize) -> String {
    value.filter(|energy| energy.is_finite()).map_or("–".into(), |energy| crate::plot::scale::number(energy, digits))
}

/// A time in the unit that is easiest to read.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// A count with thin spaces between thousands.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let places = digits.len();
    let spaced = |(k, digit): (usize, char)| {
        let gap = k > 0 && places > 4 && (places - k).is_multiple_of(3);
        gap.then_some('\u{2009}').into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(spaced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (count(0), count(2560), count(12_345), count(1_234_567)),
            ("0".into(), "2560".into(), "12\u{2009}345".into(), "1\u{2009}234\u{2009}567".into())
        );
        assert_eq!(
            (duration(0.26), duration(83.0), duration(600.0), duration(8000.0)),
            ("0.3 s".into(), "83 s".into(), "10 min".into(), "2.2 h".into())
        );
        assert_eq!(
            (energy(Some(-44.32680), 3), energy(None, 3), energy(Some(f64::NAN), 3)),
            ("−44.327".into(), "–".into(), "–".into())
        );
    }
}
