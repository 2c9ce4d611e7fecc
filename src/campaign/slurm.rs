//! A campaign as a Slurm job array: a batch script whose tasks resume by themselves after a time limit, a lost node or a kill.

use super::{Campaign, LOGS};
use std::path::PathBuf;

/// The requests of the batch script to Slurm, and the options of its tasks.
#[derive(Debug, Clone)]
pub struct Script {
    /// The program, absolute.
    pub godiff: PathBuf,
    /// `--device` of the tasks.
    pub device: String,
    /// Cores of a run.
    pub n_cpus: u32,
    /// Number of runs that share a card; each array task has one card. `None`: runs without card, one in each array task.
    pub runs_a_card: Option<usize>,
    /// Array tasks at a time.
    pub at_once: Option<usize>,
    /// Time between the signal to stop and the time limit, s.
    pub notice_seconds: u32,
    /// How often a killed task is started again.
    pub restarts: u32,
    /// More options of sbatch, each written as after `#SBATCH`.
    pub options: Vec<String>,
}

impl Campaign {
    /// The batch script for `tasks`.
    ///
    /// Slurm itself requeues a task when its node fails. Before the time limit it sends USR1 to the script, which lets godiff
    /// close its run and requeues the task. The script also requeues a task after a kill (a process out of memory, for example),
    /// `restarts` times. It does not requeue after TERM, which means `scancel` or a preemption, nor after an error of godiff.
    pub fn slurm_script(&self, tasks: &[usize], script: &Script) -> String {
        let groups: Vec<String> = tasks
            .chunks(script.runs_a_card.unwrap_or(1))
            .map(|group| group.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            .collect();
        let runs_a_task = script.runs_a_card.unwrap_or(1) as u32;
        let folder = self.folder().display().to_string();
        let name = self.folder().file_name().unwrap_or_default().to_string_lossy();
        let throttle = script.at_once.map_or(String::new(), |n| format!("%{n}"));
        let n_cpus = script.n_cpus * runs_a_task;
        // Slurm replaces a percent sign and the letter after it.
        let log = format!("{}/{LOGS}/slurm-%A_%a.txt", folder.replace('%', "%%"));
        let mut options = vec![
            format!("--job-name={}", option_quoted(&name)),
            format!("--array=0-{}{throttle}", groups.len().saturating_sub(1)),
            "--requeue".into(),
            "--open-mode=append".into(),
            format!("--signal=B:USR1@{}", script.notice_seconds),
            format!("--output={}", option_quoted(&log)),
            "--nodes=1".into(),
            "--ntasks=1".into(),
            format!("--cpus-per-task={n_cpus}"),
        ];
        if script.runs_a_card.is_some() {
            options.push("--gres=gpu:1".into());
        }
        options.extend(script.options.iter().cloned());
        let options: String = options.iter().map(|option| format!("#SBATCH {option}\n")).collect();
        format!(
            r#"#!/bin/bash
# Written by `godiff campaign`; submit it with sbatch.
{options}
# The runs of each task of the array, as campaign.json numbers them.
runs=({runs})

{godiff} campaign run {folder} --task "${{runs[$SLURM_ARRAY_TASK_ID]}}" --device {device} --threads {n_cpus} &
child=$!
signalled= at_the_limit= cancelled=
trap 'signalled=yes at_the_limit=yes; kill -TERM "$child" 2>/dev/null' USR1
trap 'signalled=yes cancelled=yes; kill -TERM "$child" 2>/dev/null' TERM INT

# A signal ends `wait` early, 127 says that there is nothing more to wait for.
code=127
while :; do
    signalled=
    wait "$child"
    now=$?
    [ "$now" -eq 127 ] || code=$now
    [ -n "$signalled" ] || break
done

# Above 128: stopped by a signal. Other codes are errors, which a restart would meet again.
if [ "$code" -gt 128 ] && [ -z "$cancelled" ]; then
    if [ -n "$at_the_limit" ] || [ "${{SLURM_RESTART_COUNT:-0}}" -lt {restarts} ]; then
        echo "stopped with code $code, requeued" >&2
        scontrol requeue "$SLURM_JOB_ID"
    fi
fi
exit "$code"
"#,
            runs = groups.join(" "),
            godiff = shell_quoted(&script.godiff.display().to_string()),
            folder = shell_quoted(&folder),
            device = shell_quoted(&script.device),
            restarts = script.restarts,
        )
    }
}

/// `text` as one word of a shell.
pub fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// `text` as the value of an option in a `#SBATCH` line.
fn option_quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::super::Planned;
    use super::*;
    use crate::benchmark::Entrant;
    use std::path::Path;
    use tempfile::TempDir;

    fn planned(folder: &Path, n: u64) -> Campaign {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/smoke.toml");
        let entrant = Entrant::parse(config.to_str().unwrap()).unwrap();
        let Planned { campaign, .. } =
            Campaign::plan(folder, vec![entrant], &(0..n).collect::<Vec<_>>(), false).unwrap();
        campaign
    }

    fn script() -> Script {
        Script {
            godiff: "/opt/go diff/godiff".into(),
            device: "cuda".into(),
            n_cpus: 2,
            runs_a_card: Some(4),
            at_once: Some(3),
            notice_seconds: 60,
            restarts: 7,
            options: vec!["--time=01:00:00".into()],
        }
    }

    #[test]
    fn runs_that_share_a_card_are_one_task() {
        let place = TempDir::new().unwrap();
        let folder = place.path().join("it's 100%");
        let text = planned(&folder, 10).slurm_script(&[0, 1, 2, 4, 5, 7, 8, 9], &script());
        for line in [
            "#SBATCH --array=0-1%3",
            "#SBATCH --cpus-per-task=8",
            "#SBATCH --gres=gpu:1",
            "#SBATCH --time=01:00:00",
            "#SBATCH --signal=B:USR1@60",
            "#SBATCH --job-name=\"it's 100%\"",
            "runs=(0,1,2,4 5,7,8,9)",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.contains("/it's 100%%/log/slurm-%A_%a.txt\"\n"), "{text}");
        assert!(text.contains("'/opt/go diff/godiff' campaign run '"), "{text}");
        assert!(text.contains(r"/it'\''s 100%' --task"), "{text}");
        assert!(text.contains(":-0}\" -lt 7 ]"), "{text}");
        // The header ends with the first command.
        assert!(text.find("#SBATCH --time").unwrap() < text.find("runs=(").unwrap());

        let single = Script { runs_a_card: None, at_once: None, ..script() };
        let text = planned(&folder, 10).slurm_script(&[3], &single);
        assert!(text.contains("#SBATCH --array=0-0\n") && text.contains("runs=(3)\n") && !text.contains("--gres"));
    }

    #[test]
    fn words_of_a_shell() {
        assert_eq!(shell_quoted("/plain/path-1.toml"), "/plain/path-1.toml");
        assert_eq!(shell_quoted(""), "''");
        assert_eq!(shell_quoted("$HOME"), "'$HOME'");
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
        assert_eq!(option_quoted(r#"a "b" \c"#), r#""a \"b\" \\c""#);
    }
}
