//! The foot of a terminal: a few lines that are redrawn in place, below lines that stay.
//!
//! Every change is one write, and new text overwrites a line before the remainder of the old one is erased, so nothing flickers.
//! The cursor rests behind the last line. The control sequences are those of ECMA-48 that every terminal knows: cursor up
//! (`ESC[nA`), erase to the end of the line (`ESC[K`) and of the screen (`ESC[J`).

use crate::columns;
use std::io::{self, IsTerminal, Write};
use terminal_size::{Width, terminal_size_of};

/// The foot of a terminal. It is erased when this is dropped.
pub struct Screen {
    output: Box<dyn Write + Send>,
    columns: Box<dyn Fn() -> usize + Send>,
    foot: String,
}

impl Screen {
    /// Standard error, if it is a terminal that can move its cursor.
    pub fn of_stderr() -> Option<Self> {
        let movable = std::env::var_os("TERM").is_some_and(|name| !name.is_empty() && name != "dumb");
        let columns =
            || terminal_size_of(io::stderr()).map_or(columns::USUAL, |(Width(columns), _)| usize::from(columns));
        (movable && io::stderr().is_terminal()).then(|| Screen::new(io::stderr(), columns))
    }

    /// The terminal behind `output`, which has so many `columns` at the moment.
    pub fn new(output: impl Write + Send + 'static, columns: impl Fn() -> usize + Send + 'static) -> Self {
        Screen { output: Box::new(output), columns: Box::new(columns), foot: String::new() }
    }

    /// Columns at the moment.
    pub fn columns(&self) -> usize {
        (self.columns)()
    }

    /// Shows the lines `foot` in place of the present ones. Each line must be shorter than the terminal is wide.
    pub fn draw(&mut self, foot: &str) {
        let lines: Vec<String> = foot.split('\n').map(|line| format!("{line}\x1b[K")).collect();
        self.write(&format!("{}{}\x1b[J", self.home(), lines.join("\n")));
        self.foot = foot.to_owned();
    }

    /// Writes `text` above the foot, to stay.
    pub fn print_above(&mut self, text: &str) {
        self.write(&format!("{}\x1b[J{text}\n{}", self.home(), self.foot));
    }

    /// Erases the foot.
    pub fn clear(&mut self) {
        if !self.foot.is_empty() {
            self.write(&format!("{}\x1b[J", self.home()));
            self.foot.clear();
        }
    }

    /// Moves to the beginning of the foot.
    fn home(&self) -> String {
        match self.foot.matches('\n').count() {
            0 => "\r".to_owned(),
            n_up => format!("\r\x1b[{n_up}A"),
        }
    }

    fn write(&mut self, text: &str) {
        let _ = self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush());
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}
