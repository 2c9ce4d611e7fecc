//! One error type: each variant is an exit code, each message one sentence that says what, where and how to mend it.

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longest message that is shown, characters: what it quotes may be of any length.
const LONGEST: usize = 1_000;

/// What every fallible function of the crate returns.
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

    /// A storage failure on `path`: "PATH: message".
    pub fn storage(path: &Path, message: impl std::fmt::Display) -> Self {
        Error::Storage(format!("{}: {message}", path.display()))
    }
}

/// `Err(Interrupted)` once `interrupted` is set.
pub fn stop_if(interrupted: &AtomicBool) -> Result<()> {
    if interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}

/// `message` as it may be shown in a terminal: pieces of the user's files in it neither move the cursor nor fill the screen.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_fit_for_a_terminal() {
        let shown = |text: &str| Error::bad_file(Path::new("a.xyz"), text).to_string();
        assert_eq!(shown("'Å' is no number; write one"), "a.xyz: 'Å' is no number; write one");
        assert_eq!(shown("'\u{1b}[2J\n' is no number"), "a.xyz: ' [2J ' is no number");
        let long = shown(&"é".repeat(5000));
        assert!(long.chars().count() == LONGEST + 1 && long.ends_with("é…"), "{long}");
    }
}
