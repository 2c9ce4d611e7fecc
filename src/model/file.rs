//! The model file: safetensors with SchNetPack's tensor names and the sizes in its metadata.

use super::Weighting;
use super::{Layout, ModelSizes, RadialBasis};
use crate::diffusion::Sde;
use crate::disk::write_atomic;
use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;

/// The only layout of metadata and tensors so far.
const FORMAT_VERSION: u32 = 1;
const OFFSETS: &str = "representation.radial_basis.offsets";
const WIDTHS: &str = "representation.radial_basis.widths";

/// What the metadata say of a score that was not trained; they say nothing of others.
const UNTRAINED: &str = "untrained";

const WITHOUT_SCORE: &str = "the model learned forces alone (training.score = false), so it has no score to sample from; train one with \
                             score = true";

/// A trained model with everything needed to sample from it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// Sizes of the model.
    pub sizes: ModelSizes,
    /// Radial functions, if the file stores them: imported ones are rounded to f32, ours follow from the sizes.
    pub radial_basis: Option<RadialBasis>,
    /// Parameters in the order of [`Layout`].
    pub parameters: Vec<f64>,
    /// Noise levels it was trained for.
    pub sde: Sde,
    /// Loss it was trained with.
    pub weighting: Weighting,
    /// Atomic numbers it was trained on, ascending; empty if unknown.
    pub species: Vec<u8>,
    /// Whether the score was trained, or the forces alone.
    pub score_learned: bool,
}

/// How a model file stores its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f32, the precision of training.
    #[default]
    Single,
    /// f64.
    Double,
}

impl ModelFile {
    /// Reads the model file at `path`; parameters in f32 or f64.
    ///
    /// # Errors
    /// `BadInput` with the path and what is wrong: no readable file, not safetensors or cut off, metadata missing or
    /// impossible, a tensor missing, unknown, of another shape or type, or not finite.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path)
            .map_err(|error| Error::bad_file(path, format_args!("the model file cannot be read: {error}")))?;
        Self::parse(&bytes, path)
    }

    /// The model in `bytes`, the contents of the file `path` (named in errors).
    ///
    /// # Errors
    /// `BadInput` as [`ModelFile::read`].
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        Self::from_bytes(bytes).map_err(|complaint| Error::bad_file(path, complaint))
    }

    /// Writes the model to `path` in `precision`. The same model gives the same bytes; a crash leaves the old file or
    /// the new one.
    ///
    /// # Errors
    /// `Storage` if writing fails, `Failed` if a parameter is not finite in that precision.
    pub fn write(&self, path: &Path, precision: Precision) -> Result<()> {
        write_atomic(path, &self.to_bytes(precision)?)
    }

    /// The radial functions: the stored ones, otherwise [`RadialBasis::even`].
    pub fn basis(&self) -> RadialBasis {
        let even = || RadialBasis::even(self.sizes.radial_functions, self.sizes.cutoff_angstrom);
        self.radial_basis.clone().unwrap_or_else(even)
    }

    /// Complains about a model without a score, which was read from `path`.
    ///
    /// # Errors
    /// `BadInput` if the forces alone were trained.
    pub fn require_score(&self, path: &Path) -> Result<()> {
        if self.score_learned { Ok(()) } else { Err(Error::bad_file(path, WITHOUT_SCORE)) }
    }

    /// The properties of the model, one on each line, for `inspect`.
    pub fn describe(&self) -> String {
        let ModelSizes { features, blocks, radial_functions, cutoff_angstrom, force_head } = self.sizes;
        let species = match &self.species[..] {
            [] => "unknown".to_owned(),
            known => known.iter().map(u8::to_string).collect::<Vec<_>>().join(", "),
        };
        let stored = if self.radial_basis.is_some() { "stored" } else { "even" };
        let score = if self.score_learned { "score" } else { "score (untrained)" };
        let heads = if force_head { format!("{score}, force") } else { score.to_owned() };
        [
            format!("features          {features}"),
            format!("blocks            {blocks}"),
            format!("radial functions  {radial_functions} ({stored})"),
            format!("cutoff            {cutoff_angstrom} Å"),
            format!("heads             {heads}"),
            format!("parameters        {}", self.parameters.len()),
            format!("atomic numbers    {species}"),
            format!("noise levels      {} to {} Å, ρ = {}", self.sde.sigma_min, self.sde.sigma_max, self.sde.rho),
            format!("weighting         {}", weighting_name(self.weighting)),
        ]
        .join("\n")
    }

    /// The file's bytes: header length, header with sorted keys, radial functions (f64), parameters.
    fn to_bytes(&self, precision: Precision) -> Result<Vec<u8>> {
        let mut header = Map::new();
        header.insert("__metadata__".to_owned(), self.metadata());
        let mut data = Vec::new();
        let mut push = |name: &str, shape: &[usize], values: &[f64], precision| -> Result<()> {
            let start = data.len();
            for value in values {
                let stored = if precision == Precision::Single { f64::from(*value as f32) } else { *value };
                if !stored.is_finite() {
                    return Err(Error::Failed(format!(
                        "the model cannot be written because its tensor {name} holds {value:?}: training diverged, lower \
                         the learning rate"
                    )));
                }
                match precision {
                    Precision::Single => data.extend((*value as f32).to_le_bytes()),
                    Precision::Double => data.extend(value.to_le_bytes()),
                }
            }
            let dtype = if precision == Precision::Single { "F32" } else { "F64" };
            let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, data.len()] });
            header.insert(name.to_owned(), entry);
            Ok(())
        };
        if let Some(basis) = &self.radial_basis {
            push(OFFSETS, &[basis.offsets.len()], &basis.offsets, Precision::Double)?;
            push(WIDTHS, &[basis.widths.len()], &basis.widths, Precision::Double)?;
        }
        for tensor in &Layout::new(&self.sizes).tensors {
            push(&tensor.name, &tensor.shape, &self.parameters[tensor.range()], precision)?;
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        Ok([&(header.len() as u64).to_le_bytes()[..], &header, &data].concat())
    }

    fn metadata(&self) -> Value {
        let species: Vec<String> = self.species.iter().map(u8::to_string).collect();
        let mut metadata = json!({
            "features": self.sizes.features.to_string(),
            "blocks": self.sizes.blocks.to_string(),
            "n_rbf": self.sizes.radial_functions.to_string(),
            "cutoff": self.sizes.cutoff_angstrom.to_string(),
            "sigma_min": self.sde.sigma_min.to_string(),
            "sigma_max": self.sde.sigma_max.to_string(),
            "rho": self.sde.rho.to_string(),
            "weighting": weighting_name(self.weighting),
            "species": species.join(" "),
            "format_version": FORMAT_VERSION.to_string(),
        });
        if !self.score_learned {
            metadata["score"] = UNTRAINED.into();
        }
        metadata
    }

    fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let unreadable = |error| format!("not a whole safetensors file: {error}");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        let empty = HashMap::new();
        let metadata = Metadata(header.metadata().as_ref().unwrap_or(&empty));
        let version = metadata.text("format_version")?;
        match version.parse::<u32>() {
            Ok(FORMAT_VERSION) => {}
            Ok(newer) if newer > FORMAT_VERSION => {
                return Err(format!("was written by a newer godiff (model format {newer}); update godiff to read it"));
            }
            _ => {
                return Err(format!(
                    "the model file has format_version '{version}', but this program reads version {FORMAT_VERSION} only"
                ));
            }
        }
        let tensors: HashMap<&str, TensorView> = file.iter().collect();
        let sizes = ModelSizes {
            features: metadata.number("features")?,
            blocks: metadata.number("blocks")?,
            radial_functions: metadata.number("n_rbf")?,
            cutoff_angstrom: metadata.number("cutoff")?,
            force_head: tensors.keys().any(|name| name.starts_with("force.")),
        };
        sizes.check().map_err(|error| error.to_string())?;
        // Older files, without this key, are linear.
        let rho = if metadata.0.contains_key("rho") { metadata.number("rho")? } else { 1 };
        let sde = Sde { sigma_min: metadata.number("sigma_min")?, sigma_max: metadata.number("sigma_max")?, rho };
        sde.check().map_err(|error| error.to_string())?;

        let layout = Layout::new(&sizes);
        let known = |name: &str| name == OFFSETS || name == WIDTHS || layout.find(name).is_some();
        let foreign = |name: &&str| !known(name) && !name.starts_with("buffer.") && !name.starts_with("optimizer.");
        if let Some(name) = tensors.keys().copied().filter(foreign).min() {
            return Err(format!(
                "the tensor {name} belongs to no model of {} features and {} blocks: the file holds another architecture",
                sizes.features, sizes.blocks
            ));
        }
        let mut parameters = Vec::new();
        for tensor in &layout.tensors {
            let view = tensors.get(&tensor.name[..]).ok_or(format!("the tensor {} is missing", tensor.name))?;
            if view.shape() != tensor.shape {
                return Err(format!(
                    "the tensor {} has shape {:?}, but the sizes in the metadata ask for {:?}",
                    tensor.name,
                    view.shape(),
                    tensor.shape
                ));
            }
            parameters.extend(values(&tensor.name, view)?);
        }
        let radial_basis = match (tensors.get(OFFSETS), tensors.get(WIDTHS)) {
            (Some(offsets), Some(widths)) => {
                let basis = RadialBasis { offsets: values(OFFSETS, offsets)?, widths: values(WIDTHS, widths)? };
                basis.complaint(sizes.radial_functions).map_or(Ok(Some(basis)), Err)?
            }
            (None, None) => None,
            (Some(_), None) => return Err(format!("the tensor {WIDTHS} is missing although {OFFSETS} is there")),
            (None, Some(_)) => return Err(format!("the tensor {OFFSETS} is missing although {WIDTHS} is there")),
        };
        let (weighting, species) = (metadata.weighting()?, metadata.species()?);
        let score_learned = metadata.0.get("score").is_none_or(|said| said != UNTRAINED);
        Ok(ModelFile { sizes, radial_basis, parameters, sde, weighting, species, score_learned })
    }
}

/// The strings of the header.
struct Metadata<'a>(&'a HashMap<String, String>);

impl Metadata<'_> {
    fn text(&self, key: &str) -> std::result::Result<&str, String> {
        let value = self.0.get(key).map(|value| value.trim());
        value.ok_or(format!("the metadata lack '{key}': this is no model file of godiff"))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> std::result::Result<T, String> {
        let text = self.text(key)?;
        text.parse().map_err(|_| format!("the metadata give '{key}' as '{text}', which is not a number of that kind"))
    }

    fn weighting(&self) -> std::result::Result<Weighting, String> {
        let text = self.text("weighting")?;
        [Weighting::Dsm, Weighting::Published]
            .into_iter()
            .find(|weighting| weighting_name(*weighting) == text)
            .ok_or(format!("the metadata give 'weighting' as '{text}': known are dsm and published"))
    }

    /// Atomic numbers between spaces or commas, sorted.
    fn species(&self) -> std::result::Result<Vec<u8>, String> {
        let text = self.text("species")?;
        let mut species = Vec::new();
        for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
            match word.parse() {
                Ok(number) if (1..super::EMBEDDING_ROWS).contains(&usize::from(number)) => species.push(number),
                _ => {
                    return Err(format!(
                        "the metadata give 'species' as '{text}', but '{word}' is no atomic number below 100"
                    ));
                }
            }
        }
        species.sort_unstable();
        species.dedup();
        Ok(species)
    }
}

/// The name of `weighting` in files and configurations.
pub(super) fn weighting_name(weighting: Weighting) -> &'static str {
    match weighting {
        Weighting::Dsm => "dsm",
        Weighting::Published => "published",
    }
}

/// The finite numbers of a tensor.
fn values(name: &str, view: &TensorView) -> std::result::Result<Vec<f64>, String> {
    let values: Vec<f64> = match view.dtype() {
        Dtype::F32 => view.data().as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
        Dtype::F64 => view.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
        other => return Err(format!("the tensor {name} is of type {other:?}, but must be F32 or F64")),
    };
    match values.iter().find(|x| !x.is_finite()) {
        Some(x) => Err(format!("the tensor {name} holds {x}: the model is damaged")),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests;
