//! Trained models.

use crate::convert::{raised, structures, to_python};
use crate::runs::Settings;
use crate::work::work;
use godiff::inference::{Scored, Scorer, sample};
use godiff::model::ModelFile;
use godiff::system::Vec3;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

/// A model file.
#[pyclass(frozen, module = "godiff._core")]
pub struct Model {
    file: ModelFile,
    path: PathBuf,
    /// The last system that was asked about, and its device.
    scorer: Mutex<Option<(Scorer, String)>>,
}

fn bytes<'py>(py: Python<'py>, vectors: &[Vec3]) -> Bound<'py, PyBytes> {
    let numbers: Vec<u8> = vectors.iter().flatten().flat_map(|x| x.to_ne_bytes()).collect();
    PyBytes::new(py, &numbers)
}

#[pymethods]
impl Model {
    /// Reads the file at `path`.
    #[new]
    fn new(py: Python, path: PathBuf) -> PyResult<Self> {
        let file = py.detach(|| ModelFile::read(&path)).map_err(raised)?;
        Ok(Model { file, path, scorer: Mutex::new(None) })
    }

    /// Sizes and origin in words.
    fn describe(&self) -> String {
        self.file.describe()
    }

    /// The atomic numbers of the training; empty if they are not known.
    fn species(&self) -> Vec<u32> {
        self.file.species.iter().map(|&number| u32::from(number)).collect()
    }

    /// Whether the model has a score.
    fn has_score(&self) -> bool {
        self.file.score_learned
    }

    /// Whether the model predicts forces.
    fn has_forces(&self) -> bool {
        self.file.sizes.force_head
    }

    /// `n` sampled structures.
    #[pyo3(signature = (settings, n, seed, device))]
    fn sample<'py>(
        &self,
        py: Python<'py>,
        settings: &Settings,
        n: usize,
        seed: Option<u64>,
        device: String,
    ) -> PyResult<Bound<'py, PyList>> {
        let (settings, file, path) = (settings.0.clone(), self.file.clone(), self.path.clone());
        let seed = seed.unwrap_or(settings.sections.search.seed);
        let sampled =
            work(py, None, move |desk| sample(&settings, (&file, &path), n, seed, &device, &desk.interrupted))?;
        let sampled = sampled.map_err(raised)?;
        PyList::new(py, sampled.iter().map(|structure| to_python(py, structure)).collect::<PyResult<Vec<_>>>()?)
    }

    /// Score and learned forces of structures of one system at diffusion time `time`, each if the model has learned it: a list of
    /// (bytes or None, bytes or None).
    fn score<'py>(
        &self,
        py: Python<'py>,
        list: &Bound<'py, PyList>,
        time: f64,
        device: String,
    ) -> PyResult<Bound<'py, PyList>> {
        let structures = structures(list)?;
        let Some(first) = structures.first() else { return Ok(PyList::empty(py)) };
        let scored = py.detach(|| {
            let mut kept = self.scorer.lock().unwrap_or_else(PoisonError::into_inner);
            let suits = kept.as_ref().is_some_and(|(scorer, of)| *of == device && scorer.difference(first).is_none());
            if !suits {
                *kept = Some((Scorer::new(&self.file, first, &device)?, device));
            }
            let never = AtomicBool::new(false);
            kept.as_mut().map_or(Ok(Vec::new()), |(scorer, _)| scorer.score(&structures, time, &never))
        });
        let pairs = scored.map_err(raised)?.into_iter().map(|Scored { score, forces }| {
            let [score, forces] = [score, forces].map(|vectors| vectors.map(|vectors| bytes(py, &vectors)));
            (score, forces)
        });
        PyList::new(py, pairs.collect::<Vec<_>>())
    }
}
