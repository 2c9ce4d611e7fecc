//! The `godiff` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(godiff::program(std::env::args_os(), None))
}
