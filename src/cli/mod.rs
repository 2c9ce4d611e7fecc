//! The commands, one a file. Each reads its inputs, calls the library and writes its outputs.

mod baseline;
mod benchmark;
mod common;
mod devices;
mod evaluate;
mod export;
mod import;
mod inspect;
mod relax;
mod report;
mod run_folder;
mod sample;
mod score;
mod search;

use clap::{Parser, Subcommand};
use godiff::Result;

/// Finds the lowest-energy arrangement of atoms without prior data: a diffusion model trained on its own samples,
/// weighted by their Boltzmann factor, while the temperature falls (GO-Diff, arXiv:2510.13448).
///
/// Units everywhere: Å, eV, eV/Å; temperatures are kT in eV.
#[derive(Debug, Parser)]
#[command(name = "godiff", version = godiff::version::BUILD, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 the run failed, 2 bad input, 3 the evaluator failed, 4 storage failed, \
                        130 interrupted.\n\nExample:\n  godiff search configs/pt-adatom.toml")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Search(search::Arguments),
    Rss(baseline::RandomSearch),
    BasinHopping(baseline::BasinHopping),
    Evolve(baseline::Evolution),
    Sample(sample::Arguments),
    Evaluate(evaluate::Arguments),
    Score(score::Arguments),
    Relax(relax::Arguments),
    Import(import::Arguments),
    Export(export::Arguments),
    Inspect(inspect::Arguments),
    Benchmark(benchmark::Arguments),
    Report(report::Arguments),
    Devices(devices::Arguments),
}

impl Cli {
    /// Runs the command that was asked for.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Search(arguments) => arguments.run(),
            Command::Rss(arguments) => arguments.run(),
            Command::BasinHopping(arguments) => arguments.run(),
            Command::Evolve(arguments) => arguments.run(),
            Command::Sample(arguments) => arguments.run(),
            Command::Evaluate(arguments) => arguments.run(),
            Command::Score(arguments) => arguments.run(),
            Command::Relax(arguments) => arguments.run(),
            Command::Import(arguments) => arguments.run(),
            Command::Export(arguments) => arguments.run(),
            Command::Inspect(arguments) => arguments.run(),
            Command::Benchmark(arguments) => arguments.run(),
            Command::Report(arguments) => arguments.run(),
            Command::Devices(arguments) => arguments.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("godiff {}", command.get_name())), "{} has no example", command.get_name());
        }
    }
}
