//! `godiff search --seeds`: one configuration with several seeds, and what they agree on.

use super::source::Source;
use crate::cli::common::{Compute, print};
use crate::cli::numbers::{list, whole};
use crate::cli::run_folder::{RUNS, RunArguments};
use clap::Args;
use godiff::benchmark::{Agreement, Benchmark, Entrant, N_RELAXED, Resources, Watch};
use godiff::config::Settings;
use godiff::job::{compare_seeds, seeds_folder};
use godiff::report::write_after_run;
use godiff::run::{Reporter, RunDirectory, RunStatus};
use godiff::{Error, Result, check, potential};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Several seeds.
#[derive(Debug, Args)]
pub struct Seeds {
    /// Run these seeds, such as 0-9 or 0,3,5-7, and compare what they found; --out is then the folder of all runs [default: the
    /// next free one in runs/]
    #[arg(long, value_name = "LIST")]
    seeds: Option<String>,
    /// With --seeds: runs at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u16>(1..=65535), allow_negative_numbers = true)]
    jobs: u16,
    /// With --seeds: relax the N lowest distinct structures of every run
    #[arg(long, value_name = "N", default_value_t = N_RELAXED as u32, value_parser = whole::<u32>(1..=1_000_000), allow_negative_numbers = true)]
    relax: u32,
}

impl Seeds {
    /// Whether there is a list of seeds; refuses options that only such a list gives a meaning.
    pub fn are_wanted(&self) -> Result<bool> {
        let needless = [("--jobs", self.jobs != 1), ("--relax", self.relax as usize != N_RELAXED)];
        match needless.into_iter().find(|(_, given)| *given && self.seeds.is_none()) {
            Some((option, _)) => {
                Err(Error::bad_input(format!("{option} is for several runs; name their seeds with --seeds")))
            }
            None => Ok(self.seeds.is_some()),
        }
    }

    /// Refuses the options of one run.
    pub fn refuse(&self, run: &RunArguments) -> Result<()> {
        match run.seed {
            Some(_) => Err(Error::bad_input("--seed names one seed and --seeds several; leave one of them out")),
            None => self.numbers().map(drop),
        }
    }

    fn numbers(&self) -> Result<Vec<u64>> {
        list(self.seeds.as_deref().unwrap_or_default(), "--seeds")
    }

    /// One of the runs to resume, if they are to be resumed.
    pub fn run_before(&self, run: &RunArguments, name: &str) -> Result<Option<PathBuf>> {
        if !run.resume {
            return Ok(None);
        }
        let folder = seeds_folder(run.out.as_deref(), Path::new(RUNS), name, true)?;
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        Ok(entries.filter(|folder| RunDirectory::exists(folder)).min())
    }

    /// Does all runs of the entrant that are not finished, each with the own structures in the file `own` if there is one, and compares
    /// them.
    pub fn run(
        &self,
        run: &RunArguments,
        source: &Source,
        mut entrant: Entrant,
        own: Option<&Path>,
        compute: &Compute,
        interrupted: &AtomicBool,
    ) -> Result<()> {
        let seeds = self.numbers()?;
        let search = &mut entrant.settings.sections.search;
        search.hours = run.hours.or(search.hours);

        let resources = Resources::new(&compute.device, Some(usize::from(self.jobs)), rayon::current_num_threads())?;
        // A potential that cannot be opened is refused before there is a folder.
        let sections = &entrant.settings.sections;
        potential::open(&sections.potential, Some(&entrant.settings.system), "cpu").map_err(|cause| {
            match &source.config {
                Some(file) => cause.in_file(file),
                None => cause,
            }
        })?;
        let folder = seeds_folder(run.out.as_deref(), Path::new(RUNS), &source.name(run, "-seeds")?, run.resume)?;
        // Resumed runs keep their own structures without being told.
        let known = seeds.iter().find_map(|seed| Settings::seeds_of_run(&folder.join(format!("seed-{seed}"))));
        let kept = known.filter(|_| run.resume && entrant.settings.sections.seeds.is_none());
        own.or(kept.as_deref()).map_or(Ok(()), |path| entrant.settings.seed_with(path))?;
        let benchmark = Benchmark {
            folder: folder.clone(),
            entrants: vec![entrant],
            seeds,
            to_the_end: true,
            by_seed: true,
            n_relaxed: self.relax as usize,
        };

        let is_silent = run.quiet || run.json;
        let say = |line: String| {
            if !is_silent {
                // A log that cannot be written (full disk) does not end the runs.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        };
        if !run.resume {
            let settings = &benchmark.entrants[0].settings;
            check::short(settings, check::Facts::of(settings).most_evaluations).into_iter().for_each(say);
        }
        // The displays of several runs would write into one another.
        let reporter = || Reporter::new(false, is_silent || self.jobs > 1);
        let watch = Watch { say: &say, reporter: &reporter, afterwards: &write_after_run, interrupted };
        let (agreements, outcome) = compare_seeds(&benchmark, &resources, &watch)?;
        agreements.iter().try_for_each(|agreement| show(agreement, &folder, run))?;
        outcome.and_then(|()| agreements.iter().try_for_each(|agreement| complain(agreement, &folder)))
    }
}

fn show(agreement: &Agreement, folder: &Path, run: &RunArguments) -> Result<()> {
    if run.json {
        let json = serde_json::to_string_pretty(agreement).map_err(|cause| Error::Failed(cause.to_string()))?;
        return print(json);
    }
    print(agreement.text())?;
    match agreement.minima.len() {
        0 => print(folder.display()),
        n => print(format!("{n} distinct minima of all seeds written to {}", folder.join("minima.xyz").display())),
    }
}

/// An error if runs have failed.
fn complain(agreement: &Agreement, folder: &Path) -> Result<()> {
    let failed: Vec<String> = agreement
        .seeds
        .iter()
        .filter(|seed| seed.status == RunStatus::Failed)
        .map(|seed| seed.run.seed.to_string())
        .collect();
    match failed.len() {
        0 => Ok(()),
        n => Err(Error::Failed(format!(
            "{}: {n} of {} runs failed (seeds {}); --resume tries them again",
            folder.display(),
            agreement.seeds.len(),
            failed.join(", ")
        ))),
    }
}
