//! The commands, one a file. Each reads its inputs, calls the library and writes its outputs.

mod baseline;
mod benchmark;
mod campaign;
mod check;
mod common;
mod completions;
mod devices;
mod evaluate;
mod export;
mod import;
mod init;
mod inspect;
mod man;
mod minima;
mod numbers;
mod relax;
mod report;
mod run_folder;
mod sample;
mod scan;
mod score;
mod search;
mod task;

use clap::{Parser, Subcommand};
use godiff::Result;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The file that starts this program, where it is not the process's own executable.
static STARTER: OnceLock<PathBuf> = OnceLock::new();

/// The `godiff` command: reads the command line `arguments`, the program's name first, runs the command, and turns its error into a
/// sentence on standard error. Returns the exit code. A process that is no `godiff` of its own (a Python interpreter) names the file
/// that starts the program as `starter`: campaigns write it into their scripts.
pub fn program(arguments: impl IntoIterator<Item = OsString>, starter: Option<PathBuf>) -> u8 {
    if let Some(starter) = starter {
        // Only the first call of a process can matter.
        let _ = STARTER.set(starter);
    }
    let outcome = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.run(),
        Err(answer) => {
            // Help, version, or what is wrong with the arguments; a reader that went away is no error.
            let _ = answer.print();
            return u8::try_from(answer.exit_code()).unwrap_or(2);
        }
    };
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            // Where standard error is a file on a full disk there is nobody left to tell; the exit code still says it.
            let _ = writeln!(std::io::stderr(), "godiff: {error}");
            error.exit_code()
        }
    }
}

/// Finds the lowest-energy arrangement of atoms without prior data. A diffusion model learns from its own samples with
/// Boltzmann weights while the temperature falls (GO-Diff, arXiv:2510.13448).
///
/// Units everywhere: Å, eV, eV/Å; temperatures are kT in eV.
#[derive(Debug, Parser)]
#[command(name = "godiff", version = godiff::version::BUILD, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 the run failed, 2 bad input, 3 the potential failed, 4 storage failed, \
                        130 interrupted.\n\nExample:\n  godiff search configs/pt-adatom.toml")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Arguments),
    Check(check::Arguments),
    Search(search::Arguments),
    Rss(baseline::RandomSearch),
    BasinHopping(baseline::BasinHopping),
    Evolve(baseline::Evolution),
    Anneal(baseline::Annealing),
    Sample(sample::Arguments),
    Evaluate(evaluate::Arguments),
    Score(score::Arguments),
    Relax(relax::Arguments),
    Import(import::Arguments),
    Export(export::Arguments),
    Minima(minima::Arguments),
    Scan(scan::Arguments),
    Inspect(inspect::Arguments),
    Benchmark(benchmark::Arguments),
    Campaign(campaign::Arguments),
    Report(report::Arguments),
    Devices(devices::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

impl Cli {
    /// Runs the requested command.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Init(arguments) => arguments.run(),
            Command::Check(arguments) => arguments.run(),
            Command::Search(arguments) => arguments.run(),
            Command::Rss(arguments) => arguments.run(),
            Command::BasinHopping(arguments) => arguments.run(),
            Command::Evolve(arguments) => arguments.run(),
            Command::Anneal(arguments) => arguments.run(),
            Command::Sample(arguments) => arguments.run(),
            Command::Evaluate(arguments) => arguments.run(),
            Command::Score(arguments) => arguments.run(),
            Command::Relax(arguments) => arguments.run(),
            Command::Import(arguments) => arguments.run(),
            Command::Export(arguments) => arguments.run(),
            Command::Minima(arguments) => arguments.run(),
            Command::Scan(arguments) => arguments.run(),
            Command::Inspect(arguments) => arguments.run(),
            Command::Benchmark(arguments) => arguments.run(),
            Command::Campaign(arguments) => arguments.run(),
            Command::Report(arguments) => arguments.run(),
            Command::Devices(arguments) => arguments.run(),
            Command::Completions(arguments) => arguments.run(),
            Command::Man(arguments) => arguments.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::{CommandFactory, Parser};

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    /// The lines of a help text that show a call.
    fn examples(command: &clap::Command) -> Vec<String> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        help.lines().filter_map(|line| line.strip_prefix("  godiff ")).map(str::to_owned).collect()
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let own = format!("{} ", command.get_name());
            let shown = examples(command);
            assert!(shown.iter().any(|line| format!("{line} ").starts_with(&own)), "{own}has no example: {shown:?}");
        }
    }

    /// Every example in a help text is a call that the program understands.
    #[test]
    fn the_examples_are_understood() {
        let godiff = Cli::command();
        let mut n_examples = 0;
        for command in godiff.get_subcommands().chain([&godiff]) {
            for example in examples(command) {
                // The rest of the line is for the shell.
                let call = example.split(['|', '>']).next().unwrap().split_whitespace();
                if let Err(error) = Cli::try_parse_from(["godiff"].into_iter().chain(call)) {
                    panic!("{example}: {error}");
                }
                n_examples += 1;
            }
        }
        assert!(n_examples >= 15, "{n_examples}");
    }
}
