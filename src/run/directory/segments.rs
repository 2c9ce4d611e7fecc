//! `segments.json`: what an extended run was asked for, and when.
//!
//! A run that was never extended has no such file: its `config.toml` says all. The file keeps the configuration of every segment,
//! and the run goes on with the last one. It is written before `target.xyz` and `config.toml`, which a kill may leave as they
//! were; the next start brings them up to date.

use crate::config::SearchSection;
use crate::config::depth::{TOO_DEEP, too_deep};
use crate::disk::write_atomic;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;

/// The format that this version writes and reads.
const FORMAT_VERSION: u32 = 1;

/// A part of a run that was asked for at one time. The first one is the run as it was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// When it was asked for, seconds since 1970 in UTC; null for the start of the run.
    pub asked_unix_seconds: Option<u64>,
    /// Iterations that had begun before it: its own have this number and higher ones, from 0. Always 0 for baselines.
    pub first_iteration: u32,
    /// Temperature of the last of these iterations, eV; null if there was none.
    pub reached_kt_ev: Option<f64>,
    /// Evaluations made before it.
    pub evaluations: u64,
    /// What it changed, a few words for each key.
    pub changes: Vec<String>,
    /// CRC-32 of the target structure, as `target.xyz` holds it.
    pub target_checksum: Option<u32>,
    /// The configuration as resolved.
    pub config: String,
}

#[derive(Serialize, Deserialize)]
struct SegmentFile {
    format_version: u32,
    segments: Vec<Segment>,
}

impl Segment {
    /// Its section `[search]`.
    ///
    /// # Errors
    /// `BadInput` if the configuration cannot be read.
    pub fn search(&self) -> Result<SearchSection> {
        #[derive(Deserialize)]
        struct Sections {
            #[serde(default)]
            search: SearchSection,
        }
        let damaged = |cause: &str| {
            Error::bad_input(format!("segments.json holds a damaged configuration ({cause}); put it back"))
        };
        if too_deep(&self.config).is_some() {
            return Err(damaged(TOO_DEEP));
        }
        let sections: std::result::Result<Sections, _> = toml::from_str(&self.config);
        sections.map(|sections| sections.search).map_err(|cause| damaged(cause.message()))
    }

    /// Whether it has another target than the segment `before`.
    pub fn changes_target(&self, before: &Segment) -> bool {
        let target = |segment: &Segment| {
            let table: Option<toml::Table> = segment.config.parse().ok();
            (segment.target_checksum, table.and_then(|table| table.get("target").cloned()))
        };
        target(self) != target(before)
    }

    /// When it was asked for and what it changed, for people; `None` for the start of the run.
    pub fn describe(&self) -> Option<String> {
        let asked = date(self.asked_unix_seconds?);
        let done = match (self.first_iteration, self.evaluations) {
            (0, n) => format!("{n} evaluations"),
            (1, n) => format!("1 iteration ({n} evaluations)"),
            (iterations, n) => format!("{iterations} iterations ({n} evaluations)"),
        };
        Some(format!("extended on {asked} after {done}: {}", self.changes.join("; ")))
    }
}

/// The segments in the file `path`; none if it is not there.
pub fn read(path: &Path) -> Result<Vec<Segment>> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(Error::bad_file(path, format!("cannot be read ({cause})"))),
    };
    let damaged = |cause: &dyn std::fmt::Display| {
        Error::bad_file(path, format!("is damaged ({cause}); put it back or start a new run without --resume"))
    };
    let Version { format_version } = serde_json::from_slice(&bytes).map_err(|cause| damaged(&cause))?;
    if format_version != FORMAT_VERSION {
        let message = format!(
            "is of format {format_version} and this godiff reads {FORMAT_VERSION}; use the godiff that wrote it"
        );
        return Err(Error::bad_file(path, message));
    }
    let SegmentFile { segments, .. } = serde_json::from_slice(&bytes).map_err(|cause| damaged(&cause))?;
    segments.iter().try_for_each(|segment| segment.search().map(drop)).map_err(|cause| damaged(&cause))?;
    Ok(segments)
}

/// Replaces the file `path`.
pub fn write(path: &Path, segments: Vec<Segment>) -> Result<()> {
    let file = SegmentFile { format_version: FORMAT_VERSION, segments };
    let json = serde_json::to_string_pretty(&file).map_err(|cause| Error::Failed(cause.to_string()))?;
    write_atomic(path, format!("{json}\n").as_bytes())
}

/// `seconds` since 1970 as a date and a time in UTC.
fn date(seconds: u64) -> String {
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let days_of = |year: u64, month: usize| match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    // The calendar repeats every 400 years, which have 146097 days.
    let mut year = 1970 + 400 * (days / 146_097);
    days %= 146_097;
    let mut month = 1;
    while days >= days_of(year, month) {
        days -= days_of(year, month);
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    format!("{year}-{month:02}-{:02} {:02}:{:02} UTC", days + 1, of_day / 3600, of_day / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_796_032_920, "2026-11-30 10:02 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
            (32_503_680_000, "3000-01-01 00:00 UTC"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }

    #[test]
    fn damaged_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segments.json");
        assert_eq!(read(&path).unwrap(), []);
        let segment = Segment {
            asked_unix_seconds: None,
            first_iteration: 3,
            reached_kt_ev: Some(0.1),
            evaluations: 12,
            changes: vec![],
            target_checksum: None,
            config: "[search]\niterations = 7\n".into(),
        };
        write(&path, vec![segment.clone()]).unwrap();
        assert_eq!(read(&path).unwrap(), std::slice::from_ref(&segment));
        assert_eq!(segment.search().unwrap().iterations, 7);
        write(&path, vec![Segment { config: "[search]\niterations = 'x'\n".into(), ..segment }]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("segments.json: is damaged"));
        for (text, sentence) in [
            ("{\"format_version\": 1", "segments.json: is damaged"),
            ("{\"format_version\": 1}", "segments.json: is damaged"),
            ("{\"format_version\": 9}", "segments.json: is of format 9"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(sentence), "{error}");
        }
    }
}
