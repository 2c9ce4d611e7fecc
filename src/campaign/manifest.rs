//! `campaign.json`: which runs a campaign has.

use crate::disk::write_atomic;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;

/// The format that this version writes and reads.
const FORMAT_VERSION: u32 = 1;

/// The file's content.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    format_version: u32,
    /// Whether runs continue after they have found the target.
    pub to_the_end: bool,
    /// The methods that are compared.
    pub entrants: Vec<ListedEntrant>,
    /// Every run; its place in the list is the number of its task.
    pub runs: Vec<ListedRun>,
}

/// An entrant, whose configuration is `configurations/NAME/NAME.toml`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedEntrant {
    /// The name of its folder.
    pub name: String,
    /// The name of its method's command.
    pub method: String,
}

/// The run in the folder `ENTRANT/seed-SEED`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedRun {
    /// Its entrant's name.
    pub entrant: String,
    /// Its seed.
    pub seed: u64,
}

impl Manifest {
    /// A list in the present format.
    pub fn new(to_the_end: bool, entrants: Vec<ListedEntrant>, runs: Vec<ListedRun>) -> Self {
        Manifest { format_version: FORMAT_VERSION, to_the_end, entrants, runs }
    }

    /// Reads `path`; `None` if it is not there.
    ///
    /// # Errors
    /// `BadInput` if it is damaged or of another format.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(Error::bad_file(path, format!("cannot be read ({cause})"))),
        };
        let damaged = |cause: serde_json::Error| {
            Error::bad_file(
                path,
                format!("is damaged ({cause}); put it back, or plan the campaign again in another folder"),
            )
        };
        let Version { format_version } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if format_version != FORMAT_VERSION {
            let message = format!(
                "is of format {format_version} and this godiff reads {FORMAT_VERSION}; use the godiff that wrote it"
            );
            return Err(Error::bad_file(path, message));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Replaces `path`.
    ///
    /// # Errors
    /// `Storage`.
    pub fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self).map_err(|cause| Error::Failed(cause.to_string()))?;
        write_atomic(path, format!("{json}\n").as_bytes())
    }
}
