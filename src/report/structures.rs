//! The structures of a page: their pictures, their files, and the viewer that turns them.
//!
//! The file of a structure is a link that holds the file itself, so the page needs no other file. The viewer (`assets/viewer.js`)
//! reads the same link. Without JavaScript and in print the pictures and the links remain.

use super::page::Page;
use crate::plot::balls::together;
use crate::plot::colour::{css, element};
use crate::plot::{Picture, escape};
use crate::system::elements::{covalent_radius, symbol};

use crate::system::xyz::{Frame, format_frames};
use crate::system::{BOND_FACTOR, System, Vec3};
use std::collections::BTreeSet;

/// The viewer's dialog.
const DIALOG: &str = include_str!("../../assets/viewer.html");
/// The viewer's program.
const PROGRAM: &str = include_str!("../../assets/viewer.js");

/// A structure as a page shows it.
pub struct Shown<'a> {
    /// The system that it belongs to.
    pub system: &'a System,
    /// The structure as its file says it.
    pub frame: &'a Frame,
    /// Name of that file.
    pub file: String,
    /// What it is, in a few words.
    pub title: String,
}

impl Shown<'_> {
    /// Its `pictures` with the link to its file and the button that opens the viewer, between them a `remark` (plain text).
    pub fn markup(&self, pictures: &[Picture], remark: &str) -> String {
        let pictures: String = pictures.iter().map(Picture::inline).collect::<Vec<_>>().join("\n");
        let (title, file, remark) = (escape(&self.title), escape(&self.file), escape(remark));
        let free: Vec<String> = self.free().iter().map(|[x, y, z]| format!("{x:.4},{y:.4},{z:.4}")).collect();
        let free = free.join(" ");
        let data = base64(format_frames(std::slice::from_ref(self.frame)).as_bytes());
        format!(
            "<div class=\"structure\" data-title=\"{title}\" data-free=\"{free}\">\n<div class=\"views\">\n{pictures}\n</div>\n\
             <p>{remark}</p>\n<p class=\"links\"><button type=\"button\" hidden=\"hidden\">Turn</button> \
             <a download=\"{file}\" href=\"data:chemical/x-xyz;base64,{data}\">Download XYZ</a></p>\n</div>"
        )
    }

    /// The free atoms of the formula as the pictures have them: together across periodic boundaries, Å.
    fn free(&self) -> Vec<Vec3> {
        let positions = &self.frame.structure.positions;
        let (held, free) = positions.split_at(positions.len() - self.system.formula_numbers().len());
        let mobile = &held[self.system.n_template()..];
        together(&self.system.holding_mobile(mobile), free)
    }
}

impl Page {
    /// A structure with its pictures and a remark (plain text).
    pub fn structure(&mut self, shown: &Shown, pictures: impl IntoIterator<Item = Picture>, remark: &str) {
        let pictures: Vec<Picture> = pictures.into_iter().collect();
        self.add(&shown.markup(&pictures, remark));
        self.elements.extend(&shown.frame.structure.numbers);
        self.pictures.extend(pictures);
    }
}

/// The viewer for a page whose structures consist of `elements` (atomic numbers): its dialog, its data, its program.
pub fn viewer(elements: &BTreeSet<u8>) -> String {
    if elements.is_empty() {
        return String::new();
    }
    let look = |&number: &u8| {
        let look = serde_json::json!({ "radius": covalent_radius(number), "colour": css(element(number)) });
        (symbol(number).unwrap_or("X").to_owned(), look)
    };
    let elements: serde_json::Map<_, _> = elements.iter().map(look).collect();
    let data = script_json(&serde_json::json!({ "elements": elements, "bondFactor": BOND_FACTOR }));
    // The marks around the program make the page valid as XML too.
    format!(
        "{DIALOG}<script type=\"application/json\" id=\"viewer-data\">{data}</script>\n<script>\n//<![CDATA[\n{PROGRAM}//]]>\n</script>\n"
    )
}

/// `value` as JSON that no text in it can end: the characters of markup are written as their numbers.
fn script_json(value: &serde_json::Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// `bytes` in base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |k: usize| u32::from(group.get(k).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for k in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * k) & 63) as usize];
            text.push(if k <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 4648, section 10.
    #[test]
    fn bytes_in_base64() {
        let examples =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (text, coded) in examples {
            assert_eq!(base64(text.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn no_text_ends_a_script() {
        let hostile = serde_json::json!({ "</script><script>alert(1)//": "]]> & <!--" });
        let text = script_json(&hostile);
        assert!(!text.contains(['<', '>', '&']), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), hostile);
        assert!(!PROGRAM.contains("</script") && !PROGRAM.contains("]]>") && !PROGRAM.contains("<!--"));
    }

    /// Node.js reads the program, where there is one.
    #[test]
    fn the_program_is_javascript() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/viewer.js");
        match std::process::Command::new("node").arg("--check").arg(path).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(_) => eprintln!("skipped: there is no Node.js"),
        }
    }

    /// The program finds every element that it asks for.
    #[test]
    fn dialog_and_program_fit() {
        let ids = PROGRAM.split("byId('").skip(1).map(|rest| rest.split('\'').next().unwrap());
        let page = viewer(&BTreeSet::from([78]));
        let mut n_ids = 0;
        for id in ids.filter(|id| *id != "viewer-") {
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
            n_ids += 1;
        }
        assert!(n_ids >= 5, "{n_ids}");
        for name in ["images", "bonds", "cell", "size"] {
            assert!(page.contains(&format!("id=\"viewer-{name}\"")), "{name}");
        }
        for action in DIALOG.split("data-action=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(
                PROGRAM.contains(&format!("    {action}: ")) || PROGRAM.contains(&format!("    {action},")),
                "{action}"
            );
        }
        assert!(viewer(&BTreeSet::new()).is_empty());
    }
}
