//! `[seeds]`: structures of the user's own that a search begins with.

use crate::error::{Error, Result};
use crate::system::{System, Vec3, read_structures};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// `[seeds]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedsSection {
    /// One or more whole structures, relative to the configuration file.
    pub structures: PathBuf,
}

/// The free atoms (n × 3, Å) of every structure in the file at `path`, in the order of the file.
///
/// # Errors
/// `BadInput` with the number of the first structure that is none of `system`, and as [`read_structures`].
pub(super) fn read_seeds(path: &Path, system: &System) -> Result<Vec<Vec<Vec3>>> {
    let structures = read_structures(path)?;
    if structures.is_empty() {
        return Err(Error::bad_file(path, "holds no structure; give at least one"));
    }
    let free = |(k, structure)| {
        let wrong = |cause| Error::bad_file(path, format!("structure {} {cause}", k + 1));
        system.free_atoms_of(structure).map_err(wrong)
    };
    structures.iter().enumerate().map(free).collect()
}
