//! The `godiff` command: parses the command line, runs the command, turns its error into a sentence and an exit code.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("godiff: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
