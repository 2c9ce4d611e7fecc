//! `[transfer]`.

use super::source::SourceFile;
use super::{File, FirstSamples};
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
        // Samples of a score that nobody trained would be noise.
        if sections.training.score && sections.search.first_samples == FirstSamples::Sampled {
            found
                .require_score(&path)
                .map_err(|cause| refuse(cause.to_string() + ", or set search.first_samples = \"placed\""))?;
        }
        match found.misfit(&model.sizes(false), &diffusion.sde()) {
            Some(misfit) => Err(refuse(format!("{}: {misfit}", path.display()))),
            None => Ok(found),
        }
    }
}
