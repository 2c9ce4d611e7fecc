//! Reads checkpoints of AGeDi and GO-Diff (PyTorch Lightning) without Python.
//!
//! Their state dict names the backbone `PREFIXrepresentation.…` like SchNetPack, and the gated blocks of head i
//! `PREFIXheads.i.net.B.…`. A head with F + 2 input scalars (with sin πt and cos πt) is the score, one with F is the forces. The
//! optimiser shows which species were trained: only their embedding rows have second moments.

use super::Weighting;
use super::file::ModelFile;
use super::pickle::{Id, Pickle, TensorView};
use super::torch_archive::TorchArchive;
use super::{EMBEDDING_ROWS, Layout, ModelSizes, RadialBasis};
use crate::diffusion::Sde;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

const EMBEDDING: &str = "representation.embedding.weight";
const FILTERS: &str = "representation.filter_net.weight";
const CUTOFF: &str = "representation.cutoff_fn.cutoff";
const OFFSETS: &str = "representation.radial_basis.offsets";
const WIDTHS: &str = "representation.radial_basis.widths";

/// Reads the checkpoint at `path`. Sizes come from the tensors' shapes and buffers. The noise levels come from the
/// hyperparameters if the file has them (otherwise they are the paper's 0.01 and 1 Å), the species from the optimiser (unknown
/// without one). The radial functions are kept as stored, rounded to f32. The weighting is the authors'.
///
/// # Errors
/// `BadInput` with the path and what is wrong: no readable zip archive, no pickle of plain data, a tensor missing, of
/// another shape, or left over, which means another architecture.
pub fn import(path: &Path) -> Result<ModelFile> {
    let bytes = std::fs::read(path)
        .map_err(|error| Error::bad_file(path, format_args!("the checkpoint cannot be read: {error}")))?;
    parse_checkpoint(&bytes, path)
}

/// The model in `bytes`, the contents of the checkpoint `path` (named in errors).
///
/// # Errors
/// `BadInput` as [`import`].
pub fn parse_checkpoint(bytes: &[u8], path: &Path) -> Result<ModelFile> {
    parse(bytes).map_err(|complaint| Error::bad_file(path, complaint))
}

fn parse(bytes: &[u8]) -> std::result::Result<ModelFile, String> {
    let (mut archive, pickle) = TorchArchive::open(bytes)?;
    let state = StateDict::find(&pickle)?;
    let sizes = state.sizes(&mut archive)?;
    sizes.check().map_err(|error| error.to_string())?;

    let layout = Layout::new(&sizes);
    let known = |name: &str| [CUTOFF, OFFSETS, WIDTHS].contains(&name) || layout.find(name).is_some();
    if let Some(name) = state.tensors.keys().find(|name| !known(name)) {
        return Err(format!(
            "its tensor {name} belongs to no model of {} features and {} blocks: the checkpoint holds another architecture",
            sizes.features, sizes.blocks
        ));
    }
    archive.check_room(layout.n_parameters())?;
    let mut parameters = Vec::new();
    for tensor in &layout.tensors {
        parameters.extend(state.values(&mut archive, &tensor.name, &tensor.shape)?);
    }
    let n = sizes.radial_functions;
    let radial_basis = if state.tensors.contains_key(OFFSETS) || state.tensors.contains_key(WIDTHS) {
        let mut values = |name| state.values(&mut archive, name, &[n]);
        let basis = RadialBasis { offsets: values(OFFSETS)?, widths: values(WIDTHS)? };
        basis.complaint(n).map_or(Ok(Some(basis)), Err)?
    } else {
        None
    };
    let sde = noise_levels(&pickle);
    sde.check().map_err(|error| format!("in its hyperparameters {error}"))?;
    let species = species(&pickle, &mut archive, sizes.features)?;
    Ok(ModelFile {
        sizes,
        radial_basis,
        parameters,
        sde,
        weighting: Weighting::Published,
        species,
        score_learned: true,
    })
}

/// The model's tensors by the names of [`Layout`].
struct StateDict<'a> {
    pickle: &'a Pickle,
    tensors: BTreeMap<String, Id>,
}

impl<'a> StateDict<'a> {
    /// Finds the model in the checkpoint: in its `state_dict`, or at the top.
    fn find(pickle: &'a Pickle) -> std::result::Result<Self, String> {
        let dict = pickle.get(pickle.root(), "state_dict").unwrap_or(pickle.root());
        let entries = pickle.entries(dict).iter().filter(|(_, value)| pickle.is_tensor(*value));
        let all: BTreeMap<&str, Id> = entries.filter_map(|(key, value)| Some((pickle.text(*key)?, *value))).collect();
        let shape = |name: &str| Some(pickle.tensor(*all.get(name)?)?.shape);
        let prefixes: Vec<&str> = all.keys().filter_map(|name| name.strip_suffix(EMBEDDING)).collect();
        let prefix = match prefixes[..] {
            [] => return Err(format!("the checkpoint holds no tensor {EMBEDDING}: it is no PaiNN of SchNetPack")),
            [only] => only,
            _ if prefixes.contains(&"score_model.") => "score_model.",
            _ => {
                return Err(format!(
                    "the checkpoint holds several models, named {}: it must hold one",
                    prefixes.join(", ")
                ));
            }
        };
        let features = match shape(&format!("{prefix}{EMBEDDING}")).as_deref() {
            Some(&[_, features]) => features,
            _ => return Err(format!("its tensor {EMBEDDING} is no matrix: the checkpoint holds another architecture")),
        };

        let mut tensors = BTreeMap::new();
        for (name, id) in &all {
            let Some(name) = name.strip_prefix(prefix) else { continue };
            let name = match head_block(name) {
                None => name.to_owned(),
                Some((head, rest)) => {
                    let first = format!("{prefix}heads.{head}.net.0.scalar_net.0.weight");
                    let scalars = shape(&first).and_then(|shape| shape.first().copied());
                    let role = match scalars {
                        Some(scalars) if Some(scalars) == features.checked_add(2) => "score",
                        Some(scalars) if scalars == features => "force",
                        Some(_) => return Err(format!("its tensor {first} fits neither a score nor a force head")),
                        None => return Err(format!("its tensor {first} is missing")),
                    };
                    format!("{role}.{rest}")
                }
            };
            if tensors.insert(name.clone(), *id).is_some() {
                return Err(format!("the checkpoint has two heads of the same kind, both with a tensor {name}"));
            }
        }
        Ok(StateDict { pickle, tensors })
    }

    fn tensor(&self, name: &str) -> std::result::Result<TensorView, String> {
        let found = self.tensors.get(name).and_then(|id| self.pickle.tensor(*id));
        found.ok_or_else(|| format!("its tensor {name} is missing"))
    }

    /// Sizes from the shapes; the cutoff from its buffer, or else from the centre of the last radial function, which is at the
    /// cutoff.
    fn sizes(&self, archive: &mut TorchArchive<'_>) -> std::result::Result<ModelSizes, String> {
        let shape = |name| match self.tensor(name)?.shape[..] {
            [rows, columns] => Ok((rows as usize, columns as usize)),
            _ => Err(format!("its tensor {name} is no matrix")),
        };
        let (_, features) = shape(EMBEDDING)?;
        let (filters, radial_functions) = shape(FILTERS)?;
        let blocks = filters / features.saturating_mul(3).max(1);
        let cutoff = if self.tensors.contains_key(CUTOFF) {
            self.values(archive, CUTOFF, &[1])?[0]
        } else {
            let offsets = self.values(archive, OFFSETS, &[radial_functions])?;
            offsets.last().copied().unwrap_or(f64::NAN)
        };
        let force_head = self.tensors.keys().any(|name| name.starts_with("force."));
        Ok(ModelSizes { features, blocks, radial_functions, cutoff_angstrom: cutoff, force_head })
    }

    /// The finite elements of a tensor that must have `shape`.
    fn values(
        &self,
        archive: &mut TorchArchive<'_>,
        name: &str,
        shape: &[usize],
    ) -> std::result::Result<Vec<f64>, String> {
        let view = self.tensor(name)?;
        if !view.shape.iter().copied().eq(shape.iter().map(|size| *size as u64)) {
            return Err(format!("its tensor {name} has shape {:?} instead of {shape:?}", view.shape));
        }
        let values = archive.elements(&view).map_err(|complaint| format!("its tensor {name} {complaint}"))?;
        match values.iter().find(|x| !x.is_finite()) {
            Some(x) => Err(format!("its tensor {name} holds {x}: the model is damaged")),
            None => Ok(values),
        }
    }
}

/// ("0", "1.mix_vectors.weight") for "heads.0.net.1.mix_vectors.weight".
fn head_block(name: &str) -> Option<(&str, &str)> {
    let (head, rest) = name.strip_prefix("heads.")?.split_once('.')?;
    Some((head, rest.strip_prefix("net.")?))
}

/// `sigma_min` and `sigma_max` from anywhere in the hyperparameters, nearest to their top.
fn noise_levels(pickle: &Pickle) -> Sde {
    let default = Sde::default();
    let Some(top) = pickle.get(pickle.root(), "hyper_parameters") else { return default };
    // breadth first; a value may be reached twice or contain itself
    let mut seen = vec![top];
    let mut found = [None, None];
    let mut next = 0;
    let mut known = HashSet::from([top]);
    while next < seen.len() {
        for (slot, key) in found.iter_mut().zip(["sigma_min", "sigma_max"]) {
            *slot = slot.or_else(|| pickle.number(pickle.get(seen[next], key)?));
        }
        seen.extend(pickle.children(seen[next]).into_iter().filter(|id| known.insert(*id)));
        next += 1;
    }
    Sde {
        sigma_min: found[0].unwrap_or(default.sigma_min),
        sigma_max: found[1].unwrap_or(default.sigma_max),
        ..default
    }
}

/// Atomic numbers with second moments of the gradient of their embedding rows in AdamW's state.
fn species(pickle: &Pickle, archive: &mut TorchArchive<'_>, features: usize) -> std::result::Result<Vec<u8>, String> {
    let moments = || -> Option<TensorView> {
        let states = pickle.get(pickle.root(), "optimizer_states")?;
        let state = pickle.get(*pickle.children(states).first()?, "state")?;
        let of_embedding = |view: &TensorView| view.shape == [EMBEDDING_ROWS as u64, features as u64];
        let second = |id: Id| pickle.tensor(pickle.get(id, "exp_avg_sq")?).filter(of_embedding);
        // the embedding is the model's first parameter; one value may have many numbers
        let mut seen = HashSet::new();
        pickle.entries(state).iter().filter(|(_, id)| seen.insert(*id)).find_map(|(_, id)| second(*id))
    };
    let Some(moments) = moments() else { return Ok(Vec::new()) };
    let values =
        archive.elements(&moments).map_err(|complaint| format!("the embedding's optimiser state {complaint}"))?;
    // row 0 belongs to no element
    let rows = values.chunks_exact(features).enumerate().skip(1);
    Ok(rows.filter(|(_, row)| row.iter().any(|x| *x != 0.0)).map(|(number, _)| number as u8).collect())
}
