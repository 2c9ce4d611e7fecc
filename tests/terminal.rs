//! What a person sees: the built program in a pseudo-terminal (`script` of util-linux), its output drawn as a terminal draws it.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A terminal that understands what progress is drawn with; what it has never heard of fails the test. It never scrolls.
struct Terminal {
    width: usize,
    /// Rows, and whether the text of each runs on into the next.
    rows: Vec<(Vec<char>, bool)>,
    row: usize,
    column: usize,
}

impl Terminal {
    fn new(width: usize) -> Self {
        Terminal { width, rows: vec![(Vec::new(), false)], row: 0, column: 0 }
    }

    fn draw(&mut self, text: &str) {
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\r' => self.column = 0,
                '\n' => self.go_to_row(self.row + 1),
                '\u{8}' => self.column = self.column.saturating_sub(1),
                '\u{7}' => {}
                '\u{1b}' => {
                    assert_eq!(characters.next(), Some('['), "an escape sequence of another kind");
                    let mut number = String::new();
                    while characters.peek().is_some_and(|next| !next.is_ascii_alphabetic()) {
                        number.extend(characters.next());
                    }
                    let count: usize = number.parse().unwrap_or(0);
                    self.control(characters.next().unwrap(), &number, count);
                }
                printed => self.print(printed),
            }
        }
    }

    fn control(&mut self, kind: char, number: &str, count: usize) {
        let (row, by) = (&mut self.rows[self.row], count.max(1));
        match (kind, number) {
            ('A', _) => self.row = self.row.checked_sub(by).expect("nothing is drawn above the screen"),
            ('B', _) => self.go_to_row(self.row + by),
            ('C', _) => self.column = (self.column + by).min(self.width - 1),
            ('D', _) => self.column = self.column.saturating_sub(by),
            ('K', "" | "0") => row.0.truncate(self.column),
            ('K', "2") => *row = (Vec::new(), false),
            ('J', "" | "0") => {
                row.0.truncate(self.column);
                self.rows.truncate(self.row + 1);
            }
            _ => panic!("unknown control sequence ESC[{number}{kind}"),
        }
    }

    fn print(&mut self, character: char) {
        if self.column == self.width {
            self.rows[self.row].1 = true;
            self.go_to_row(self.row + 1);
            self.column = 0;
        }
        let row = &mut self.rows[self.row].0;
        row.resize(row.len().max(self.column + 1), ' ');
        row[self.column] = character;
        self.column += 1;
    }

    fn go_to_row(&mut self, row: usize) {
        self.row = row;
        self.rows.resize(self.rows.len().max(row + 1), (Vec::new(), false));
    }

    /// The lines that are left, without those that are empty; wrapped ones whole.
    fn lines(&self) -> Vec<String> {
        let (mut lines, mut line) = (Vec::new(), String::new());
        for (row, runs_on) in &self.rows {
            line.extend(row);
            if !runs_on {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
            }
        }
        lines.retain(|line| !line.is_empty());
        lines
    }
}

/// configs/smoke.toml, with one piece of text replaced, in `place`.
fn configuration(place: &Path, from: &str, to: &str) -> PathBuf {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let text = fs::read_to_string(configs.join("smoke.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    let structures = format!("\"{}/", configs.join("structures").display());
    let path = place.join("smoke.toml");
    fs::write(&path, text.replace("\"structures/", &structures).replace(from, to)).unwrap();
    path
}

/// Starts `godiff search` in a terminal of `width` columns; `None` with a message where there is no `script`.
fn start(place: &Path, config: &Path, width: usize, variables: &[(&str, &str)]) -> Option<Child> {
    let search = format!(
        "stty cols {width} rows 50 && exec '{}' search '{}' --out run --device cpu --threads 1",
        env!("CARGO_BIN_EXE_godiff"),
        config.display()
    );
    let child = Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command", &search, "/dev/null"])
        .current_dir(place)
        .env("TERM", "xterm-256color")
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    child.inspect_err(|_| eprintln!("script is not installed: nothing is drawn")).ok()
}

/// What the smoke search sends to such a terminal.
fn output(width: usize, variables: &[(&str, &str)]) -> Option<String> {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path(), "steps = 40", "steps = 40");
    let mut child = start(place.path(), &config, width, variables)?;
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    Some(text)
}

/// The lines with those put together that were broken at `width`. A broken line goes on behind four spaces.
fn whole(lines: &[String], width: usize) -> Vec<String> {
    assert!(lines.iter().all(|line| line.chars().count() < width), "{width}: {lines:#?}");
    let mut whole: Vec<String> = Vec::new();
    for line in lines {
        match (line.strip_prefix("    "), whole.last_mut()) {
            (Some(rest), Some(last)) => *last += &format!("  {rest}"),
            _ => whole.push(line.clone()),
        }
    }
    whole
}

/// The lines that stay are those of a log, whole, at every width; what was redrawn below them is gone.
fn stays_clean(lines: &[String]) {
    let starts = [
        "run: cpu f32, ",
        "Pt on Pt20 (8.77 × ",
        "iteration 1/3  kT ",
        "iteration 2/3  kT ",
        "iteration 3/3  kT ",
        "report: run/report.html",
        "done: 36 samples, ",
        "run",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start) && !line.contains('%'), "{start}: {lines:#?}");
    }
    assert!(lines[2..5].iter().all(|line| line.contains("  best ") && line.contains("  loss ")), "{lines:#?}");
}

#[test]
fn progress_leaves_nothing_behind_at_any_width() {
    for width in [40, 80, 120] {
        let Some(text) = output(width, &[]) else { return };
        assert!(text.contains("sample") && text.contains('%'), "{width}: something was drawn\n{text:?}");
        let mut terminal = Terminal::new(width);
        terminal.draw(&text);
        stays_clean(&whole(&terminal.lines(), width));
    }
}

/// Nothing is coloured, so there is nothing for NO_COLOR to take away.
#[test]
fn terminals_that_cannot_move_the_cursor_get_plain_lines() {
    for name in ["dumb", ""] {
        let Some(text) = output(80, &[("TERM", name), ("NO_COLOR", "1")]) else { return };
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let lines: Vec<String> = text.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect();
        stays_clean(&lines);
    }
    let coloured = output(80, &[("NO_COLOR", "1")]).unwrap();
    let controls = coloured.split("\u{1b}[").skip(1);
    assert!(
        controls
            .into_iter()
            .all(|rest| !rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
    );
}

/// Ctrl-C in the middle of what is redrawn: the screen ends with sentences, on lines of their own.
#[test]
fn ctrl_c_leaves_a_clean_screen() {
    let place = TempDir::new().unwrap();
    let config = configuration(place.path(), "steps_per_iteration = 60", "steps_per_iteration = 1000000");
    let Some(mut child) = start(place.path(), &config, 60, &[]) else { return };
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let mut interrupted = false;
    loop {
        let n = output.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..n]);
        if !interrupted && String::from_utf8_lossy(&bytes).contains("train") {
            input.write_all(b"\x03").unwrap();
            interrupted = true;
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut terminal = Terminal::new(60);
    terminal.draw(&String::from_utf8(bytes).unwrap());
    let lines = whole(&terminal.lines(), 60);
    let said = lines.len() - 2;
    assert!(lines[said].starts_with("interrupted; --resume continues from here: 12 samples,"), "{lines:#?}");
    assert_eq!(lines[said + 1], "godiff: interrupted");
    assert!(lines.iter().all(|line| !line.contains('%') && !line.contains("^C")), "{lines:#?}");
}
