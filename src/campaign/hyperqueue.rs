//! A campaign as a job of HyperQueue: its job definition file, one task a run.

use super::{Campaign, LOGS};
use crate::error::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The requests of each task to HyperQueue, and its options.
#[derive(Debug, Clone)]
pub struct Job {
    /// The program, absolute.
    pub godiff: PathBuf,
    /// `--device` of the tasks.
    pub device: String,
    /// Cores of a run.
    pub n_cpus: u32,
    /// Share of a card that a run takes, above 0 and at most 1; `None`: runs without card.
    pub gpu_share: Option<f64>,
    /// How many workers a task may lose before it counts as failed.
    pub restarts: u32,
}

#[derive(Serialize)]
struct Definition {
    name: String,
    task: Vec<Task>,
}

#[derive(Serialize)]
struct Task {
    id: usize,
    command: Vec<String>,
    cwd: String,
    stdout: String,
    stderr: String,
    task_dir: bool,
    crash_limit: u32,
    request: [Request; 1],
}

#[derive(Serialize)]
struct Request {
    /// Amounts as texts: HyperQueue reads fractions exactly from these.
    resources: BTreeMap<&'static str, String>,
}

impl Campaign {
    /// The job definition file (TOML) for `tasks`. Task ids are the campaign's numbers. If a worker is lost, its task goes to
    /// another one and resumes its run there.
    ///
    /// # Errors
    /// None in practice; `Failed` if the text cannot be made.
    pub fn hyperqueue_job(&self, tasks: &[usize], job: &Job) -> Result<String> {
        let folder = self.folder().display().to_string();
        let task = |&id: &usize| {
            let words = [
                &job.godiff.display().to_string(),
                "campaign",
                "run",
                &folder,
                "--task",
                &id.to_string(),
                "--device",
                &job.device,
                "--threads",
                &job.n_cpus.to_string(),
            ];
            let mut resources = BTreeMap::from([("cpus", job.n_cpus.to_string())]);
            if let Some(share) = job.gpu_share {
                resources.insert("gpus/nvidia", share.to_string());
            }
            Task {
                id,
                command: words.map(str::to_owned).to_vec(),
                cwd: folder.clone(),
                // Every start has its own files, because HyperQueue would overwrite those of the start before.
                stdout: format!("{folder}/{LOGS}/hyperqueue-%{{TASK_ID}}-%{{INSTANCE_ID}}.out"),
                stderr: format!("{folder}/{LOGS}/hyperqueue-%{{TASK_ID}}-%{{INSTANCE_ID}}.err"),
                task_dir: true,
                crash_limit: job.restarts,
                request: [Request { resources }],
            }
        };
        let name = self.folder().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let definition = Definition { name, task: tasks.iter().map(task).collect() };
        let text = toml::to_string(&definition).map_err(|cause| Error::Failed(cause.to_string()))?;
        Ok(format!("# Written by `godiff campaign`; submit it with `hq job submit-file`.\n\n{text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Planned;
    use super::*;
    use crate::benchmark::Entrant;
    use std::path::Path;
    use tempfile::TempDir;

    #[test]
    fn every_run_is_a_task_with_its_share_of_a_card() {
        let place = TempDir::new().unwrap();
        let folder = place.path().join("a \"campaign\"");
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/smoke.toml");
        let entrant = Entrant::parse(config.to_str().unwrap()).unwrap();
        let Planned { campaign, .. } = Campaign::plan(&folder, vec![entrant], &[0, 1, 2], false).unwrap();
        let job = Job {
            godiff: "/opt/go diff/godiff".into(),
            device: "cuda".into(),
            n_cpus: 2,
            gpu_share: Some(0.25),
            restarts: 20,
        };
        let text = campaign.hyperqueue_job(&[0, 2], &job).unwrap();
        let read: toml::Table = text.parse().unwrap();
        assert_eq!(read["name"].as_str(), Some("a \"campaign\""));
        let tasks = read["task"].as_array().unwrap();
        assert_eq!(tasks.len(), 2);
        let task = tasks[1].as_table().unwrap();
        assert_eq!((task["id"].as_integer(), task["crash_limit"].as_integer()), (Some(2), Some(20)));
        let command: Vec<&str> =
            task["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let folder = folder.to_str().unwrap();
        assert_eq!(command[..6], ["/opt/go diff/godiff", "campaign", "run", folder, "--task", "2"]);
        assert_eq!(task["cwd"].as_str(), Some(folder));
        let resources = &task["request"][0]["resources"];
        assert_eq!((resources["cpus"].as_str(), resources["gpus/nvidia"].as_str()), (Some("2"), Some("0.25")));

        let text = campaign.hyperqueue_job(&[0], &Job { gpu_share: None, ..job }).unwrap();
        assert!(!text.contains("gpus"), "{text}");
    }
}
