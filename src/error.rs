//! One error type. Each variant is an exit code; each message is one sentence that says what is wrong, where, and how to mend it.

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longest message that is shown, in characters, since its quotations may be of any length.
const LONGEST: usize = 1_000;

/// The result of every fallible function of the crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command stopped. The message is a whole sentence for the user, without the word "error".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user's input cannot be used (exit code 2).
    #[error("{}", one_line(.0))]
    BadInput(String),
    /// The run itself failed (exit code 1).
    #[error("{}", one_line(.0))]
    Failed(String),
    /// The energy evaluator failed (exit code 3).
    #[error("{}", one_line(.0))]
    Evaluator(String),
    /// Reading or writing the run's own files failed (exit code 4).
    #[error("{}", one_line(.0))]
    Storage(String),
    /// The user asked to stop (exit code 130).
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Exit code of the process: 1 failed, 2 bad input, 3 evaluator, 4 storage, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Failed(_) => 1,
            Error::BadInput(_) => 2,
            Error::Evaluator(_) => 3,
            Error::Storage(_) => 4,
            Error::Interrupted => 130,
        }
    }

    /// Bad input with the sentence `message`.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Error::BadInput(message.into())
    }

    /// Bad input found in the file `path`: "PATH: message".
    pub fn bad_file(path: &Path, message: impl std::fmt::Display) -> Self {
        Error::BadInput(format!("{}: {message}", path.display()))
    }

    /// This error with the name of the file `path`, if that file has to be corrected.
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            Error::BadInput(message) => Error::bad_file(path, message),
            other => other,
        }
    }

    /// A storage failure on `path`: "PATH: message".
    pub fn storage(path: &Path, message: impl std::fmt::Display) -> Self {
        Error::Storage(format!("{}: {message}", path.display()))
    }
}

/// `Err(Interrupted)` once `interrupted` is set.
pub fn stop_if(interrupted: &AtomicBool) -> Result<()> {
    if interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}

/// `message` in a form for terminals: pieces of the user's files in it neither move the cursor nor fill the screen.
fn one_line(message: &str) -> Cow<'_, str> {
    if message.len() <= LONGEST && !message.contains(char::is_control) {
        return message.into();
    }
    let mut shown: String = message.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if message.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown.into()
}

/// A message of a parser (serde's) in words that need no knowledge of Rust: "invalid type: string "x", expected usize" becomes
/// "found the text "x" where a whole number (0 or more) is needed". Other messages come back as they are.
pub fn in_plain_words(message: &str) -> String {
    let complaint =
        ["invalid type: ", "invalid value: ", "invalid length "].iter().find_map(|kind| message.strip_prefix(kind));
    let Some((found, expected)) = complaint.and_then(|rest| rest.split_once(", expected ")) else {
        return message.to_owned();
    };
    let bare = found.replace('`', "");
    let found = match bare.split_once(' ').unwrap_or((&bare, "")) {
        ("string", text) => format!("the text {text}"),
        ("integer", number) => format!("the number {}", number.split(' ').next().unwrap_or_default()),
        ("floating", number) => format!("the number {}", number.trim_start_matches("point ")),
        ("boolean", flag) => flag.to_owned(),
        ("sequence", _) => "a list".to_owned(),
        ("map", _) => "a table".to_owned(),
        ("null", _) => "nothing".to_owned(),
        (length, "") if length.parse::<u64>().is_ok() => format!("a list of length {length}"),
        _ => bare,
    };
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number (0 or more)".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text in quotes".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        _ => match (expected.strip_prefix("an array of length "), expected.starts_with("struct ")) {
            (Some(length), _) => format!("a list of length {length}"),
            (None, true) => "a table".to_owned(),
            (None, false) => expected.to_owned(),
        },
    };
    format!("found {found} where {expected} is needed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsers_speak_plainly() {
        for (message, plain) in [
            (
                "invalid type: string \"three\", expected usize",
                "found the text \"three\" where a whole number (0 or more) is needed",
            ),
            (
                "invalid value: integer `-3`, expected u64",
                "found the number -3 where a whole number (0 or more) is needed",
            ),
            (
                "invalid type: floating point `3.5`, expected u32",
                "found the number 3.5 where a whole number (0 or more) is needed",
            ),
            (
                "invalid type: integer `9999` as i128, expected usize",
                "found the number 9999 where a whole number (0 or more) is needed",
            ),
            ("invalid type: boolean `true`, expected f64", "found true where a number is needed"),
            ("invalid type: sequence, expected a string", "found a list where a text in quotes is needed"),
            ("invalid type: map, expected a boolean", "found a table where true or false is needed"),
            (
                "invalid length 1, expected an array of length 2",
                "found a list of length 1 where a list of length 2 is needed",
            ),
            ("invalid type: null, expected i64", "found nothing where a whole number is needed"),
            ("invalid type: integer `1`, expected struct Search", "found the number 1 where a table is needed"),
            ("invalid type: unit value, expected a sequence", "found unit value where a list is needed"),
            ("missing key `free`", "missing key `free`"),
        ] {
            assert_eq!(in_plain_words(message), plain);
        }
    }

    #[test]
    fn messages_are_fit_for_a_terminal() {
        let shown = |text: &str| Error::bad_file(Path::new("a.xyz"), text).to_string();
        assert_eq!(shown("'Å' is no number; write one"), "a.xyz: 'Å' is no number; write one");
        assert_eq!(shown("'\u{1b}[2J\n' is no number"), "a.xyz: ' [2J ' is no number");
        let long = shown(&"é".repeat(5000));
        assert!(long.chars().count() == LONGEST + 1 && long.ends_with("é…"), "{long}");
    }
}
