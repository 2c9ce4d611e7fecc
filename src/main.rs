//! The `godiff` command: parses the command line, runs the command, turns its error into a sentence and an exit code.

mod cli;

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is a file on a full disk there is nobody left to tell; the exit code still says it.
            let _ = writeln!(std::io::stderr(), "godiff: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
