//! Campaigns: a benchmark on more than one machine. Every run is one task that a scheduler starts, kills and starts again.
//!
//! A campaign is a benchmark's folder ([`crate::benchmark`]: run folders `NAME/seed-S`) with two additions: `campaign.json` lists
//! the runs, and `configurations/` holds copies of the entrants' configurations with the files they name. A campaign needs
//! nothing outside its folder. The folder may therefore be on storage that many machines share, and may be moved.
//!
//! Task k is the k-th run of the list. Runs are only ever appended, so a run keeps its number when runs are added while a
//! scheduler works. A task that is started again resumes its run, and does nothing if that run is finished. Scheduling is left to
//! schedulers: [`slurm`] and [`hyperqueue`] write their input, [`Campaign::work`] does tasks here.

pub mod hyperqueue;
mod manifest;
pub mod slurm;
mod status;
mod work;

pub use status::{RunState, States};

use crate::benchmark::{Benchmark, Entrant, Method, N_RELAXED};
use crate::disk::{make_folder, write_atomic};
use crate::error::{Error, Result};
use crate::run::RunDirectory;
use manifest::{ListedEntrant, ListedRun, Manifest};
use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// The list of runs.
const MANIFEST: &str = "campaign.json";
/// The copies of configurations.
const CONFIGURATIONS: &str = "configurations";
/// The folder for the tasks' output, which schedulers write.
const LOGS: &str = "log";
/// The lock that is held while the list is changed.
const LOCK: &str = ".campaign-lock";

/// A planned campaign.
#[derive(Debug)]
pub struct Campaign {
    benchmark: Benchmark,
    /// Number of the entrant and seed of every task.
    runs: Vec<(usize, u64)>,
}

/// The result of [`Campaign::plan`].
#[derive(Debug)]
pub struct Planned {
    /// The campaign, with all its runs.
    pub campaign: Campaign,
    /// The number of the first new task; the number of all tasks if none is new.
    pub first_new: usize,
}

impl Campaign {
    /// The campaign in `folder`. The folder is made, or extended by the runs that it does not list yet: each of `entrants` with
    /// each of `seeds` (no seed twice), seeds in the outer loop. `to_the_end`: runs continue after they have found the target.
    ///
    /// # Errors
    /// `BadInput` if the folder holds something else or another campaign under the same names, if there is no run, or if another
    /// process plans there at the moment; `Storage` if it cannot be written.
    pub fn plan(folder: &Path, entrants: Vec<Entrant>, seeds: &[u64], to_the_end: bool) -> Result<Planned> {
        let folder = &absolute(folder)?;
        check_folder(folder)?;
        if entrants.is_empty() && !folder.join(MANIFEST).exists() {
            return Err(Error::bad_input("a campaign needs at least one configuration"));
        }
        if let Some(k) = (1..entrants.len()).find(|&k| entrants[..k].iter().any(|other| other.name == entrants[k].name))
        {
            let message =
                format!("{} is named twice; give the second configuration another file name", entrants[k].name);
            return Err(Error::bad_input(message));
        }
        let unusable = |cause: std::io::Error| {
            Error::bad_file(
                folder,
                format!("cannot be used as a campaign's folder ({cause}); name another one with --out"),
            )
        };
        make_folder(&folder.join(LOGS)).map_err(unusable)?;
        let lock =
            File::options().create(true).truncate(false).write(true).open(folder.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::bad_file(
                    folder,
                    "another godiff is planning this campaign; try again when it is done",
                ));
            }
            Err(TryLockError::Error(cause)) => return Err(unusable(cause)),
        }
        let mut campaign = match Manifest::read(&folder.join(MANIFEST))? {
            Some(manifest) => Campaign::from_manifest(folder, manifest)?,
            None => {
                let benchmark = benchmark(folder, vec![], to_the_end);
                Campaign { benchmark, runs: vec![] }
            }
        };
        if campaign.benchmark.to_the_end != to_the_end && !entrants.is_empty() {
            let (with, now) = if to_the_end { ("without", "with") } else { ("with", "without") };
            let message =
                format!("was planned {with} --to-the-end and is now asked for {now}; plan another campaign for that");
            return Err(Error::bad_file(folder, message));
        }
        let first_new = campaign.runs.len();
        let numbers: Vec<usize> = entrants.into_iter().map(|entrant| campaign.enter(entrant)).collect::<Result<_>>()?;
        let listed: HashSet<(usize, u64)> = campaign.runs.iter().copied().collect();
        for &seed in seeds {
            for &entrant in &numbers {
                if !listed.contains(&(entrant, seed)) {
                    campaign.runs.push((entrant, seed));
                }
            }
        }
        campaign.collect_seeds();
        campaign.manifest().write(&folder.join(MANIFEST))?;
        Ok(Planned { campaign, first_new })
    }

    /// The campaign in `folder`.
    ///
    /// # Errors
    /// `BadInput` if there is none, or one of its files is damaged.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = absolute(folder)?;
        let manifest = Manifest::read(&folder.join(MANIFEST))?.ok_or_else(|| {
            Error::bad_file(&folder, format!("holds no campaign (no {MANIFEST}); plan one with godiff campaign --out"))
        })?;
        Campaign::from_manifest(&folder, manifest)
    }

    /// Its folder, absolute.
    pub fn folder(&self) -> &Path {
        &self.benchmark.folder
    }

    /// Its entrants and seeds as a benchmark in the same folder, for tables and curves.
    pub fn benchmark(&self) -> &Benchmark {
        &self.benchmark
    }

    /// Number of tasks.
    pub fn n_tasks(&self) -> usize {
        self.runs.len()
    }

    /// Name of task `task`'s run folder within the campaign, "NAME/seed-S".
    pub fn name_of(&self, task: usize) -> String {
        let (entrant, seed) = self.run_of(task);
        format!("{}/seed-{seed}", entrant.name)
    }

    /// The task whose run folder is `name`, "NAME/seed-S".
    ///
    /// # Errors
    /// `BadInput` if there is none.
    pub fn task_named(&self, name: &str) -> Result<usize> {
        let name = name.trim_end_matches('/');
        (0..self.n_tasks()).find(|&task| self.name_of(task) == name).ok_or_else(|| {
            let message =
                format!("has no run {name}; its runs are {} to {}", self.name_of(0), self.name_of(self.n_tasks() - 1));
            Error::bad_file(self.folder(), message)
        })
    }

    /// Whether task `task` is finished.
    pub fn is_finished(&self, task: usize) -> bool {
        let (entrant, seed) = self.run_of(task);
        self.benchmark.is_finished(entrant, seed)
    }

    fn run_of(&self, task: usize) -> (&Entrant, u64) {
        let (entrant, seed) = self.runs[task];
        (&self.benchmark.entrants[entrant], seed)
    }

    fn from_manifest(folder: &Path, manifest: Manifest) -> Result<Self> {
        let damaged = |message: String| Error::bad_file(&folder.join(MANIFEST), message);
        let mut entrants: Vec<Entrant> = Vec::new();
        for ListedEntrant { name, method } in manifest.entrants {
            let method = Method::named(&method)
                .ok_or_else(|| damaged(format!("names the method '{method}', which this godiff does not have")))?;
            entrants.push(Entrant::load(name.clone(), method, &copy_of(folder, &name))?);
        }
        let number = |run: &ListedRun| {
            let found = entrants.iter().position(|entrant| entrant.name == run.entrant);
            found.map(|entrant| (entrant, run.seed)).ok_or_else(|| {
                damaged(format!("lists a run of '{}', which is not among its entrants; put the file back", run.entrant))
            })
        };
        let runs = manifest.runs.iter().map(number).collect::<Result<Vec<_>>>()?;
        let benchmark = benchmark(folder, entrants, manifest.to_the_end);
        let mut campaign = Campaign { benchmark, runs };
        campaign.collect_seeds();
        Ok(campaign)
    }

    fn manifest(&self) -> Manifest {
        let Benchmark { entrants, to_the_end, .. } = &self.benchmark;
        let listed =
            |entrant: &Entrant| ListedEntrant { name: entrant.name.clone(), method: entrant.method.name().to_owned() };
        let run = |&(entrant, seed): &(usize, u64)| ListedRun { entrant: entrants[entrant].name.clone(), seed };
        Manifest::new(*to_the_end, entrants.iter().map(listed).collect(), self.runs.iter().map(run).collect())
    }

    fn collect_seeds(&mut self) {
        let mut seeds: Vec<u64> = self.runs.iter().map(|&(_, seed)| seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        self.benchmark.seeds = seeds;
    }

    /// The number of `entrant`. Its configuration is copied unless it is there; a configuration that is there must be the same.
    fn enter(&mut self, entrant: Entrant) -> Result<usize> {
        let folder = self.folder();
        let copy = copy_of(folder, &entrant.name);
        if [CONFIGURATIONS, LOGS].contains(&entrant.name.as_str()) {
            let message =
                format!("a configuration of a campaign cannot be named {}; give it another file name", entrant.name);
            return Err(Error::bad_input(message));
        }
        let known = self.benchmark.entrants.iter().position(|known| known.name == entrant.name);
        if let Some(number) = known
            && !RunDirectory::is_same_run(&self.benchmark.entrants[number].settings, &entrant.settings)
        {
            let message = format!(
                "the campaign has runs of another configuration under the name {}; give the new one another file name, or \
                 plan another campaign",
                entrant.name
            );
            return Err(Error::bad_file(&copy, message));
        }
        let own = copy.parent().unwrap_or(folder);
        make_folder(own).map_err(|cause| Error::storage(own, format!("cannot be made ({cause}); make room for it")))?;
        // Refuses structures and models that differ from the copies.
        entrant.settings.copy_files(own)?;
        match known {
            Some(number) => Ok(number),
            None => {
                write_atomic(&copy, entrant.settings.to_toml().as_bytes())?;
                self.benchmark.entrants.push(entrant);
                Ok(self.benchmark.entrants.len() - 1)
            }
        }
    }
}

/// The benchmark of the campaign in `folder`, without seeds.
fn benchmark(folder: &Path, entrants: Vec<Entrant>, to_the_end: bool) -> Benchmark {
    let folder = folder.to_owned();
    Benchmark { folder, entrants, seeds: vec![], to_the_end, by_seed: false, n_relaxed: N_RELAXED }
}

/// Where the campaign in `folder` keeps the configuration of the entrant `name`. The file is not called config.toml, because its
/// folder is not a run.
fn copy_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(CONFIGURATIONS).join(name).join(format!("{name}.toml"))
}

/// `folder` as an absolute path in text form: schedulers start tasks in other folders.
fn absolute(folder: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(folder).map_err(|cause| {
        Error::bad_file(folder, format!("cannot be a campaign's folder ({cause}); name another one"))
    })?;
    let writable = absolute.to_str().is_some_and(|text| !text.chars().any(char::is_control));
    if writable {
        return Ok(absolute);
    }
    Err(Error::bad_file(&absolute, "its name cannot be written into a script; take a folder whose name is plain text"))
}

/// Refuses a folder that is not empty and holds neither a campaign nor a benchmark.
fn check_folder(folder: &Path) -> Result<()> {
    let ours = [MANIFEST, LOCK, "results.json"].iter().any(|name| folder.join(name).exists());
    let empty = fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    if ours || empty {
        return Ok(());
    }
    Err(Error::bad_file(folder, "holds other files already; name a new folder, or one of a campaign, with --out"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn entrants(names: &[&str]) -> Vec<Entrant> {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/smoke.toml");
        names.iter().map(|name| Entrant::parse(&format!("{}:{name}", config.display())).unwrap()).collect()
    }

    #[test]
    fn runs_keep_their_numbers_when_others_are_added() {
        let place = TempDir::new().unwrap();
        let folder = place.path().join("campaign");
        let plan = |names: &[&str], seeds: &[u64]| Campaign::plan(&folder, entrants(names), seeds, false).unwrap();
        let Planned { campaign, first_new } = plan(&["search", "rss"], &[0, 1]);
        assert_eq!((first_new, campaign.n_tasks()), (0, 4));
        assert_eq!((campaign.name_of(1), campaign.name_of(2)), ("smoke-rss/seed-0".into(), "smoke/seed-1".into()));
        assert_eq!(campaign.task_named("smoke-rss/seed-1/").unwrap(), 3);
        assert!(campaign.task_named("smoke/seed-7").unwrap_err().to_string().contains("has no run smoke/seed-7"));

        let Planned { campaign, first_new } = plan(&["evolve", "search"], &[1, 2]);
        assert_eq!((first_new, campaign.n_tasks()), (4, 7));
        assert_eq!(campaign.name_of(2), "smoke/seed-1");
        assert_eq!(
            [4, 5, 6].map(|task| campaign.name_of(task)),
            ["smoke-evolve/seed-1", "smoke-evolve/seed-2", "smoke/seed-2"]
        );
        assert_eq!(plan(&["search"], &[0]).first_new, 7);
        assert_eq!(plan(&[], &[]).campaign.n_tasks(), 7);
        assert_eq!(campaign.benchmark().seeds, [0, 1, 2]);
    }

    #[test]
    fn campaigns_may_be_moved() {
        let place = TempDir::new().unwrap();
        let (here, there) = (place.path().join("here"), place.path().join("there"));
        let Planned { campaign: before, .. } = Campaign::plan(&here, entrants(&["rss"]), &[5], true).unwrap();
        fs::rename(&here, &there).unwrap();
        let after = Campaign::open(&there).unwrap();
        let (old, new) = (&before.benchmark().entrants[0], &after.benchmark().entrants[0]);
        assert_eq!((&old.settings.sections, &old.settings.system), (&new.settings.sections, &new.settings.system));
        assert!(after.benchmark().to_the_end && after.name_of(0) == "smoke-rss/seed-5");
        assert_eq!(after.folder(), there);
    }

    #[test]
    fn what_is_there_is_not_overwritten() {
        let place = TempDir::new().unwrap();
        let refused = |folder: &Path, names: &[&str], to_the_end, sentence: &str| {
            let error = Campaign::plan(folder, entrants(names), &[0], to_the_end).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
            assert!(error.to_string().contains(sentence), "{error}");
        };
        let folder = place.path().join("campaign");
        refused(&folder, &[], false, "a campaign needs at least one configuration");
        refused(&folder, &["rss", "rss"], false, "smoke-rss is named twice");
        Campaign::plan(&folder, entrants(&["rss"]), &[0], false).unwrap();
        refused(&folder, &["rss"], true, "was planned without --to-the-end and is now asked for with");
        fs::write(place.path().join("thesis.tex"), "").unwrap();
        refused(place.path(), &["rss"], false, "holds other files already");
        let mut other = entrants(&["rss"]);
        other[0].settings.sections.search.min_distance_angstrom = Some(1.5);
        let error = Campaign::plan(&folder, other, &[0], false).unwrap_err();
        assert!(error.to_string().contains("runs of another configuration under the name smoke-rss"), "{error}");

        let lock = File::options().write(true).open(folder.join(LOCK)).unwrap();
        lock.try_lock().unwrap();
        refused(&folder, &["rss"], false, "another godiff is planning this campaign");
        assert!(Campaign::open(place.path()).unwrap_err().to_string().contains("holds no campaign"));
        fs::write(folder.join(MANIFEST), "{\"format_version\": 1").unwrap();
        assert!(Campaign::open(&folder).unwrap_err().to_string().contains("campaign.json: is damaged"));
        fs::write(folder.join(MANIFEST), "{\"format_version\": 9}").unwrap();
        assert!(Campaign::open(&folder).unwrap_err().to_string().contains("is of format 9"));
    }
}
