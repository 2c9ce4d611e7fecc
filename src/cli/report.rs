//! `godiff report`: one page about a run, several runs or a benchmark.

use super::common::{note, print};
use clap::Args;
use godiff::Result;
use godiff::report::{Request, write};
use std::path::PathBuf;

/// Writes a page with plots and pictures about a run, several runs or a benchmark
#[derive(Debug, Args)]
#[command(after_help = "\
The page is one HTML file that needs no other file and no network. Its structures can be turned and saved. For one run it shows the outcome, the course of energies,
the places of the free atoms, losses, times, the lowest structures and the settings. For several runs, or a folder of runs
such as a benchmark's, it shows tables and curves that compare them. Every search writes report.html into its run folder when
it ends. This command writes it again, also for a running or killed run.

Examples:
  godiff report runs/pt-adatom-001
  godiff report runs/pt-adatom-001 --plots plots --scan scan.json
  godiff report runs/benchmark -o benchmark.html
  godiff report runs/seed-0 runs/seed-1 runs/seed-2 -o seeds.html")]
pub struct Arguments {
    /// Run folders, or folders that hold run folders
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    /// The page [default: report.html in DIR, or here for several]
    #[arg(short, long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// Write every plot into this folder too, as SVG and PNG
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    /// Energy landscape of one free atom, as background of its places [default: scan.json in DIR]
    #[arg(long, value_name = "FILE.json")]
    scan: Option<PathBuf>,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let Arguments { folders, out, plots, scan } = self;
        let written = write(&Request { folders, out, plots, scan })?;
        written.notes.iter().for_each(|text| note(text));
        print(written.page.display())
    }
}
