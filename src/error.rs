//! One error type: each variant is an exit code, each message one sentence that says what, where and how to mend it.

use std::path::Path;

/// What every fallible function of the crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command stopped. The message is a whole sentence for the user, without the word "error".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user's input cannot be used (exit code 2).
    #[error("{0}")]
    BadInput(String),
    /// The run itself failed (exit code 1).
    #[error("{0}")]
    Failed(String),
    /// The energy evaluator failed (exit code 3).
    #[error("{0}")]
    Evaluator(String),
    /// Reading or writing the run's own files failed (exit code 4).
    #[error("{0}")]
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
