//! A campaign on a real Slurm of one node, which this test sets up for itself: a task is killed, a time limit announced, the node
//! lost, and every run ends bitwise as if left alone. Needs Debian's packages slurmctld, slurmd, slurm-client and munge.
#![cfg(target_os = "linux")]

#[path = "common/campaign.rs"]
mod campaign;

use campaign::*;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Searched for beside PATH.
const SYSTEM_FOLDERS: &str = "/usr/sbin:/sbin:/usr/local/sbin";

/// A private Slurm of one node. Its daemons end with it.
struct Slurm {
    folder: TempDir,
    node: String,
    daemons: Vec<Child>,
    slurmd: Option<Child>,
}

fn path_variable() -> String {
    format!("{}:{SYSTEM_FOLDERS}", std::env::var("PATH").unwrap_or_default())
}

fn exists(program: &str) -> bool {
    path_variable().split(':').any(|folder| Path::new(folder).join(program).is_file())
}

fn text_of(command: &mut Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
}

/// Two ports that are free now.
fn free_ports() -> [u16; 2] {
    let listeners = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

impl Slurm {
    /// Sets it up, or says why not.
    fn start() -> Option<Self> {
        if let Some(missing) =
            ["munged", "slurmctld", "slurmd", "sbatch", "squeue"].into_iter().find(|name| !exists(name))
        {
            eprintln!("skipped: no {missing}; install slurmctld, slurmd, slurm-client and munge");
            return None;
        }
        if text_of(Command::new("id").arg("-u")) != "0" {
            eprintln!("skipped: Slurm's daemons are started as root");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let node = text_of(&mut Command::new("hostname"));
        let mut slurm = Slurm { folder, node, daemons: Vec::new(), slurmd: None };
        slurm.configure();
        let munge = ["key-file", "socket", "pid-file", "log-file", "seed-file"]
            .map(|name| format!("--{name}={}", slurm.path("munge").join(name).display()));
        slurm.daemon("munged", &[&munge.each_ref().map(String::as_str)[..], &["--foreground", "--force"]].concat());
        wait_until("munge's socket", || slurm.path("munge/socket").exists());
        slurm.daemon("slurmctld", &["-D"]);
        slurm.start_node();
        wait_until("an idle node", || slurm.command("sinfo", &["-h", "-o", "%T"]).trim() == "idle");
        Some(slurm)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self) {
        for name in ["munge", "state", "spool"] {
            fs::create_dir(self.path(name)).unwrap();
        }
        let key: Vec<u8> = (0..1024_u32).map(|i| (i * i % 251) as u8).collect();
        fs::write(self.path("munge/key-file"), key).unwrap();
        Command::new("chmod").arg("600").arg(self.path("munge/key-file")).status().unwrap();
        Command::new("chmod").arg("755").args([self.folder.path(), &self.path("munge")]).status().unwrap();
        let (place, node, [controller, daemon]) = (self.folder.path().display(), &self.node, free_ports());
        // Short times, no cgroups: it has to work in a container.
        let conf = format!(
            "ClusterName=godiff\nSlurmctldHost={node}(127.0.0.1)\nSlurmctldPort={controller}\nSlurmdPort={daemon}\n\
             AuthType=auth/munge\nAuthInfo=socket={place}/munge/socket,cred_expire=5\nCredType=cred/munge\n\
             SlurmUser=root\nSlurmdUser=root\nStateSaveLocation={place}/state\nSlurmdSpoolDir={place}/spool\n\
             SlurmctldPidFile={place}/slurmctld.pid\nSlurmdPidFile={place}/slurmd.pid\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n\
             MpiDefault=none\nSelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\n\
             SchedulerParameters=sched_interval=1,batch_sched_delay=0\nReturnToService=2\nBatchStartTimeout=2\n\
             SlurmdTimeout=10\nMessageTimeout=5\nKillWait=3\nSlurmdParameters=config_overrides\n\
             NodeName={node} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\nPartitionName=main Nodes=ALL Default=YES\n"
        );
        fs::write(self.path("slurm.conf"), conf).unwrap();
    }

    fn prepared(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("PATH", path_variable()).env("SLURM_CONF", self.path("slurm.conf"));
        command
    }

    fn spawn(&self, program: &str, arguments: &[&str]) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.path(&format!("{program}.log"))).unwrap();
        let mut command = self.prepared(program, arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    fn daemon(&mut self, program: &str, arguments: &[&str]) {
        let daemon = self.spawn(program, arguments);
        self.daemons.push(daemon);
    }

    fn start_node(&mut self) {
        self.slurmd = Some(self.spawn("slurmd", &["-D", "-N", &self.node]));
    }

    /// What a node does when it loses power: everything on it is gone at once. Gives the number of tasks that it had.
    fn lose_node(&mut self, campaign: &Path) -> usize {
        let tasks = workers(campaign);
        if let Some(mut slurmd) = self.slurmd.take() {
            slurmd.kill().unwrap();
            slurmd.wait().unwrap();
        }
        for worker in &tasks {
            // The daemon of the job step, its batch script, the task: none may outlive another and tell of it.
            let step = parent(worker.parent).expect("a batch script has a step");
            let all = [step, worker.parent, worker.pid].map(|pid| pid.to_string());
            Command::new("kill").arg("-KILL").args(all).output().unwrap();
        }
        tasks.len()
    }

    /// Standard output of one of Slurm's commands.
    fn command(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.prepared(program, arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        self.command("scancel", &["--user=root"]);
        for daemon in self.slurmd.iter_mut().chain(&mut self.daemons) {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            for log in ["slurmctld.log", "slurmd.log"] {
                let text = fs::read_to_string(self.path(log)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                eprintln!("{log}:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
            }
        }
    }
}

#[test]
fn an_array_survives_kills_limits_and_a_lost_node() {
    let Some(mut slurm) = Slurm::start() else { return };
    let place = TempDir::new().unwrap();
    let config = configuration(place.path());
    let (alone, folder) = (place.path().join("alone"), place.path().join("on \"slurm\", it's 100%"));
    plan(&config, &alone, &["--for", "local", "--device", "cpu", "--at-once", "2"]);

    let more = ["--for", "slurm", "--at-once", "2", "--partition", "main", "--time", "30:00", "--notice", "60"];
    let submit = plan(&config, &folder, &more);
    // As a user pastes it.
    let submitted = slurm.command("bash", &["-c", &submit]);
    assert!(submitted.starts_with("Submitted batch job"), "{submit}: {submitted}");

    // One task alone is killed, as by a system out of memory.
    let killed = search_in_the_middle(&folder);
    signal(killed.pid, "KILL");
    // Another is told that its time is nearly up, by the signal that Slurm would send.
    wait_until("the killed task's end", || !workers(&folder).contains(&killed));
    let limited = search_in_the_middle(&folder);
    signal(limited.parent, "USR1");
    wait_until("the end of the task at its limit", || !workers(&folder).contains(&limited));
    // The node is lost with all that runs on it.
    search_in_the_middle(&folder);
    let n_lost = slurm.lose_node(&folder);
    slurm.start_node();

    wait_until("an empty queue", || {
        let queue = slurm.prepared("squeue", &["-h"]).output().unwrap();
        queue.status.success() && queue.stdout.is_empty()
    });
    assert_same(&folder, &alone);
    let logs: Vec<String> = fs::read_dir(folder.join("log"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let n_said = |sentence: &str| logs.iter().map(|log| log.matches(sentence).count()).sum::<usize>();
    assert_eq!(logs.len(), 6, "a log for each task, at each start appended to");
    assert!(n_said("stopped with code 137, requeued") == 1, "{logs:?}");
    assert!(n_said("stopped with code 130, requeued") == 1, "{logs:?}");
    assert!(n_lost >= 1, "the node must be lost with a task on it");
}
