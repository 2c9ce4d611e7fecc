//! Planning: the list of runs, and the files for a scheduler.

use crate::cli::common::{note, watch_interrupts};
use crate::cli::numbers::{list, whole};
use clap::{Args, ValueEnum};
use godiff::benchmark::{Entrant, Resources};
use godiff::campaign::hyperqueue::Job;
use godiff::campaign::slurm::{Script, shell_quoted};
use godiff::campaign::{Campaign, Planned};
use godiff::disk::write_atomic;
use godiff::gpu::Place;
use godiff::potential::PotentialSettings;
use godiff::{Error, Result};
use std::path::PathBuf;

/// Names of the files for schedulers.
const SLURM: &str = "slurm.sh";
const HYPERQUEUE: &str = "hyperqueue.toml";

/// Who starts the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Starter {
    /// Slurm: writes slurm.sh, a job array for sbatch
    Slurm,
    /// HyperQueue: writes hyperqueue.toml for `hq job submit-file`
    Hyperqueue,
    /// This machine, now
    Local,
}

#[derive(Debug, Args)]
pub struct Plan {
    /// Configurations, each with its method (default: `search`); none: those that the campaign has
    #[arg(value_name = "CONFIG.toml[:METHOD]")]
    configs: Vec<String>,
    /// Runs of every method, with the seeds 0 to N − 1
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = whole::<u64>(1..=100_000), allow_negative_numbers = true)]
    runs: u64,
    /// Seeds, such as 0-9,20, instead of --runs
    #[arg(long, value_name = "LIST", conflicts_with = "runs")]
    seeds: Option<String>,
    /// The campaign's folder
    #[arg(short, long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
    /// The program that starts the tasks
    #[arg(long = "for", value_name = "SCHEDULER", required = true)]
    starter: Option<Starter>,
    /// Let runs use their whole budget after they have found the target
    #[arg(long)]
    to_the_end: bool,
    /// Device of the tasks [default: cuda with --gpus, else cpu]; local also auto, and several GPUs as in cuda:0,1
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Cores of a run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u32>(1..=4096), allow_negative_numbers = true)]
    cpus: u32,
    /// Share of a GPU for each run: 1, or 0.25 if four runs share one
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true)]
    gpus: Option<f64>,
    /// Tasks at the same time, in Slurm's array or locally [default: Slurm no limit; local one for every --cpus cores, one for each GPU]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=65535), allow_negative_numbers = true)]
    at_once: Option<u16>,
    /// Largest number of new starts of a task that was killed (Slurm) or lost its worker (HyperQueue)
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = whole::<u32>(0..=1_000_000), allow_negative_numbers = true)]
    restarts: u32,
    /// Slurm: partition
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    /// Slurm: account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Slurm: time limit of a task, as sbatch takes it; a task that reaches it is queued again and resumes its run
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Slurm: memory of a task, as sbatch takes it
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Slurm: seconds between the signal to stop and the time limit
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = whole::<u32>(1..=65535), allow_negative_numbers = true)]
    notice: u32,
    /// Slurm: another option of sbatch, such as --option=--constraint=a100; may be repeated
    #[arg(long = "option", value_name = "OPTION", allow_hyphen_values = true)]
    options: Vec<String>,
    /// The program godiff that tasks call, as the nodes find it [default: this one]
    #[arg(long, value_name = "PATH")]
    godiff: Option<PathBuf>,
}

fn share(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        // HyperQueue counts in ten-thousandths.
        Ok(share) if (1e-4..=1.0).contains(&share) => Ok(share),
        _ => Err("a run takes a share of one GPU, above 0 and at most 1".to_owned()),
    }
}

impl Plan {
    pub fn run(self) -> Result<()> {
        let (Some(out), Some(starter)) = (&self.out, self.starter) else {
            return Err(Error::bad_input("godiff campaign needs --out and --for; see godiff campaign --help"));
        };
        self.check_options(starter)?;
        // A wrong device is refused before anything is written.
        let device = self.device(starter)?;
        let mut entrants = self.configs.iter().map(|config| Entrant::parse(config)).collect::<Result<Vec<_>>>()?;
        for entrant in &mut entrants {
            if let PotentialSettings::Ase(settings) = &mut entrant.settings.sections.potential {
                let stays = settings.prepare_to_move(&std::env::current_dir().unwrap_or_default());
                stays.iter().for_each(|what| note(&format!("{}: {what}", entrant.name)));
            }
        }
        let seeds = match &self.seeds {
            Some(seeds) => list(seeds, "--seeds")?,
            None => (0..self.runs).collect(),
        };
        let Planned { campaign, first_new } = Campaign::plan(out, entrants, &seeds, self.to_the_end)?;
        let n_new = campaign.n_tasks() - first_new;
        let first = if n_new > 0 { first_new } else { 0 };
        let tasks: Vec<usize> = (first..campaign.n_tasks()).filter(|&task| !campaign.is_finished(task)).collect();
        campaign.benchmark().warnings().iter().for_each(|warning| note(warning));
        let folder = campaign.folder().display();
        eprintln!("{folder}: {} runs, {n_new} of them new, {} to be done", campaign.n_tasks(), tasks.len());
        if starter == Starter::Local {
            return self.work_here(&campaign, &tasks, &device);
        }
        if tasks.is_empty() {
            eprintln!("nothing is left to be done; godiff campaign status shows the table");
            return Ok(());
        }
        let (file, text, submit) = match starter {
            Starter::Hyperqueue => {
                (HYPERQUEUE, campaign.hyperqueue_job(&tasks, &self.job(device)?)?, "hq job submit-file")
            }
            Starter::Slurm | Starter::Local => (SLURM, campaign.slurm_script(&tasks, &self.script(device)?), "sbatch"),
        };
        let path = campaign.folder().join(file);
        write_atomic(&path, text.as_bytes())?;
        crate::cli::common::print(format!("{submit} {}", shell_quoted(&path.display().to_string())))
    }

    fn work_here(&self, campaign: &Campaign, tasks: &[usize], device: &str) -> Result<()> {
        let interrupted = watch_interrupts()?;
        let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
        let n_cpus = self.cpus as usize;
        let on_cpu = !matches!(Place::list(device)?[0], Place::Gpu(_));
        let at_once = self.at_once.map(usize::from).or(on_cpu.then_some((n_cores / n_cpus).max(1)));
        let n_devices = Place::list(device)?.len();
        let resources = Resources::new(device, at_once, n_cpus * at_once.unwrap_or(n_devices))?;
        let outcome = campaign.work(tasks, &resources, &super::work::watch(interrupted));
        super::status::show(campaign, false)?;
        super::status::write(campaign)?;
        outcome
    }

    fn device(&self, starter: Starter) -> Result<String> {
        let default = match (self.gpus, starter) {
            (Some(_), _) => "cuda",
            (None, Starter::Local) => "auto",
            (None, _) => "cpu",
        };
        let device = self.device.as_deref().unwrap_or(default);
        match starter {
            Starter::Local => Place::list(device).map(drop)?,
            // The devices are the nodes', not this machine's, so only the name is checked.
            _ if device == "auto" => {}
            _ => Place::of(device).map(drop)?,
        }
        if self.gpus.is_some() && device.starts_with("cpu") {
            return Err(Error::bad_input(format!(
                "--gpus asks for a GPU and --device {device} does not use it; leave one out"
            )));
        }
        Ok(device.to_owned())
    }

    fn script(&self, device: String) -> Result<Script> {
        let named =
            [("partition", &self.partition), ("account", &self.account), ("time", &self.time), ("mem", &self.memory)];
        let named = named.into_iter().filter_map(|(key, value)| Some(format!("--{key}={}", value.as_ref()?)));
        let options: Vec<String> = named.chain(self.options.iter().cloned()).collect();
        if let Some(option) = options.iter().find(|option| option.chars().any(char::is_control)) {
            return Err(Error::bad_input(format!(
                "the option {option:?} of sbatch has more than one line; write it in one"
            )));
        }
        Ok(Script {
            godiff: self.program()?,
            device,
            n_cpus: self.cpus,
            runs_a_card: self.gpus.map(|share| (1.0 / share + 1e-9).floor() as usize),
            at_once: self.at_once.map(usize::from),
            notice_seconds: self.notice,
            restarts: self.restarts,
            options,
        })
    }

    fn job(&self, device: String) -> Result<Job> {
        let (n_cpus, gpu_share, restarts) = (self.cpus, self.gpus, self.restarts);
        Ok(Job { godiff: self.program()?, device, n_cpus, gpu_share, restarts })
    }

    /// The program that tasks call. A path is made absolute, a bare name is left to the nodes' PATH.
    fn program(&self) -> Result<PathBuf> {
        let unknown = |cause: std::io::Error| {
            Error::bad_input(format!("cannot tell where this godiff lies ({cause}); name it with --godiff"))
        };
        match &self.godiff {
            Some(path) if path.components().count() == 1 && !path.exists() => Ok(path.clone()),
            Some(path) => std::path::absolute(path).map_err(unknown),
            None => {
                super::super::STARTER.get().map_or_else(std::env::current_exe, |path| Ok(path.clone())).map_err(unknown)
            }
        }
    }

    /// Refuses options that the starter would ignore.
    fn check_options(&self, starter: Starter) -> Result<()> {
        let of_slurm = [
            ("--partition", self.partition.is_some()),
            ("--account", self.account.is_some()),
            ("--time", self.time.is_some()),
            ("--memory", self.memory.is_some()),
            ("--option", !self.options.is_empty()),
        ];
        let given = |options: &[(&'static str, bool)]| options.iter().find(|(_, given)| *given).map(|(name, _)| *name);
        match starter {
            Starter::Slurm => Ok(()),
            Starter::Hyperqueue => match given(&[&of_slurm[..], &[("--at-once", self.at_once.is_some())]].concat()) {
                Some(name) => Err(Error::bad_input(format!(
                    "{name} means nothing to HyperQueue's jobs: its workers' allocations decide (hq alloc add); leave it out"
                ))),
                None => Ok(()),
            },
            Starter::Local => match given(&[&of_slurm[..], &[("--gpus", self.gpus.is_some())]].concat()) {
                Some("--gpus") => Err(Error::bad_input(
                    "--gpus is for schedulers; local runs take --device cuda:0,1 and --at-once, as many runs as shall share them",
                )),
                Some(name) => Err(Error::bad_input(format!("{name} is for Slurm; leave it out with --for local"))),
                None => Ok(()),
            },
        }
    }
}
