//! `[transfer]`.

use super::File;
use super::source::SourceFile;
use crate::error::Result;
use crate::model::ModelFile;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// `[transfer]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferSection {
    /// Model file of another search or of `godiff import`, relative to the configuration file.
    pub model: PathBuf,
}

impl TransferSection {
    /// Reads the model that this section of `sections` names.
    pub(super) fn read(&self, sections: &File, source: &SourceFile) -> Result<ModelFile> {
        let File { model, diffusion, .. } = sections;
        let path = source.path.parent().unwrap_or(Path::new("")).join(&self.model);
        let refuse = |cause: String| source.error("transfer.model", cause);
        let found = ModelFile::read(&path).map_err(|cause| refuse(cause.to_string()))?;
        match found.misfit(&model.sizes(false), &diffusion.sde()) {
            Some(misfit) => Err(refuse(format!("{}: {misfit}", path.display()))),
            None => Ok(found),
        }
    }
}
