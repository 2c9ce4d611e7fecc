//! `godiff campaign status`: the status of the runs, and the tables so far.

use crate::cli::common::{note, print};
use clap::Args;
use godiff::benchmark::{Agreement, Results, text};
use godiff::campaign::{Campaign, RunState, States};
use godiff::report::write_after_benchmark;
use godiff::{Error, Result};
use serde::Serialize;
use std::path::PathBuf;

/// Shows the status of the runs of a campaign, and the tables so far
#[derive(Debug, Args)]
#[command(after_help = "\
The command reads only results, so it does not disturb tasks. The lock of a run shows whether a
process works on it. On file systems without locks between machines, a run on another machine counts
as stopped. --write puts results.json, results.md, energy.svg, success.svg and report.html into the
folder, as godiff benchmark does, and minima.xyz and seeds.json into the folder of each configuration
without [target].

Examples:
  godiff campaign status pt7
  godiff campaign status pt7 --json")]
pub struct Arguments {
    /// The campaign's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    /// Also write the tables and the curves into the folder
    #[arg(long)]
    write: bool,
}

#[derive(Serialize)]
struct Status<'a> {
    states: States,
    runs: Vec<Run>,
    table: &'a [Results],
    seeds: &'a [Agreement],
}

#[derive(Serialize)]
struct Run {
    task: usize,
    run: String,
    state: RunState,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let campaign = Campaign::open(&self.folder)?;
        show(&campaign, self.json)?;
        if self.write { write(&campaign) } else { Ok(()) }
    }
}

/// Prints the status of `campaign`.
pub fn show(campaign: &Campaign, json: bool) -> Result<()> {
    let (states, results) = (campaign.states(), campaign.results());
    let agreements = campaign.benchmark().agreements()?;
    let counts: States = states.iter().copied().collect();
    if json {
        let run = |(task, &state): (usize, &RunState)| Run { task, run: campaign.name_of(task), state };
        let runs = states.iter().enumerate().map(run).collect();
        let status = Status { states: counts, runs, table: &results, seeds: &agreements };
        return print(serde_json::to_string_pretty(&status).map_err(|cause| Error::Failed(cause.to_string()))?);
    }
    let States { finished, running, stopped, failed, waiting } = counts;
    print(format!(
        "{} runs: {finished} finished, {running} running, {stopped} stopped, {failed} failed, {waiting} waiting",
        states.len()
    ))?;
    for (task, state) in states.iter().enumerate() {
        let note = match state {
            RunState::Failed => "failed",
            RunState::Stopped => "stopped",
            _ => continue,
        };
        print(format!("task {task}, {}: {note}", campaign.name_of(task)))?;
    }
    let table = if results.is_empty() { None } else { Some(text(&results)) };
    let tables: Vec<String> = table.into_iter().chain(agreements.iter().map(Agreement::text)).collect();
    print(tables.join("\n\n"))
}

/// Writes the benchmark's table and curves into the campaign's folder.
pub fn write(campaign: &Campaign) -> Result<()> {
    let benchmark = campaign.benchmark();
    let results = benchmark.results()?;
    if !results.is_empty() {
        benchmark.write(&results)?;
    }
    benchmark.write_agreements(&benchmark.agreements()?)?;
    write_after_benchmark(&benchmark.folder).iter().for_each(|line| note(line));
    Ok(())
}
