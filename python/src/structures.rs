//! Structures without a run: energies, relaxations, comparison, files.

use crate::convert::{from_python, raised, structures, to_python};
use crate::runs::potential_settings;
use crate::work::work;
use godiff::error::stop_if;
use godiff::potential::relax::{RelaxSettings, relax_all};
use godiff::potential::{self, Answer};
use godiff::system::Structure;
use godiff::system::xyz::{Frame, write_frames};
use godiff::{Error, Result, minima};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Writes structures as extended XYZ.
#[pyfunction]
pub fn write_structures(path: PathBuf, structures: &Bound<PyList>) -> PyResult<()> {
    let frames: Vec<Frame> =
        structures.iter().map(|item| from_python(item.cast::<PyDict>()?)).collect::<PyResult<_>>()?;
    write_frames(&path, &frames).map_err(raised)
}

/// Reads a file of structures.
#[pyfunction]
pub fn read_structures<'py>(py: Python<'py>, path: PathBuf) -> PyResult<Bound<'py, PyList>> {
    let frames = godiff::system::read_frames(&path).map_err(raised)?;
    PyList::new(py, frames.iter().map(|frame| to_python(py, &frame.structure)).collect::<PyResult<Vec<_>>>()?)
}

/// Energies and forces: a list of (structure, reason), the reason where there is no answer.
#[pyfunction]
#[pyo3(signature = (list, potential, calculator))]
pub fn evaluate<'py>(
    py: Python<'py>,
    list: &Bound<'py, PyList>,
    potential: &Bound<'py, PyDict>,
    calculator: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let settings = potential_settings(potential, calculator)?;
    let asked = structures(list)?;
    let answered = work(py, None, move |desk| -> Result<Vec<(Structure, Option<String>)>> {
        let potential = potential::open(&settings, None, "cpu")?;
        let questions: Vec<Structure> = asked.iter().map(Structure::for_calculator).collect();
        let mut answered: Vec<(Structure, Option<String>)> = asked.into_iter().map(|one| (one, None)).collect();
        potential.evaluate(&questions, &mut |answers| {
            for (k, answer) in answers {
                let (structure, reason) = &mut answered[k];
                match answer {
                    Answer::Done(evaluation) => {
                        (structure.energy, structure.forces) = (Some(evaluation.energy), Some(evaluation.forces));
                    }
                    Answer::Failed(why) => *reason = Some(why),
                }
            }
            stop_if(&desk.interrupted)
        })?;
        Ok(answered)
    })?
    .map_err(raised)?;
    let pairs = answered.iter().map(|(structure, reason)| Ok((to_python(py, structure)?, reason.clone())));
    PyList::new(py, pairs.collect::<PyResult<Vec<_>>>()?)
}

/// Relaxed structures: a list of (structure, how it ended, steps, evaluations).
#[pyfunction]
#[pyo3(signature = (list, potential, calculator, fmax, max_steps))]
pub fn relax<'py>(
    py: Python<'py>,
    list: &Bound<'py, PyList>,
    potential: &Bound<'py, PyDict>,
    calculator: Option<Py<PyAny>>,
    fmax: Option<f64>,
    max_steps: Option<usize>,
) -> PyResult<Bound<'py, PyList>> {
    let settings = potential_settings(potential, calculator)?;
    let starts: Vec<Structure> = structures(list)?.iter().map(Structure::for_calculator).collect();
    let relaxed = work(py, None, move |desk| {
        let potential = potential::open(&settings, None, "cpu")?;
        let limits = RelaxSettings::default();
        let limits = RelaxSettings {
            fmax_ev_per_angstrom: fmax.unwrap_or(limits.fmax_ev_per_angstrom),
            max_steps: max_steps.unwrap_or(limits.max_steps),
            ..limits
        };
        let stop = || desk.interrupted.load(Ordering::Relaxed);
        relax_all(&starts, &*potential, &limits, &stop)
    })?
    .map_err(|error: Error| raised(error))?;
    let rows = relaxed.iter().map(|one| {
        let ending = one.ending.describe().to_owned();
        Ok((to_python(py, &one.structure)?, ending, one.n_steps, one.n_evaluations))
    });
    PyList::new(py, rows.collect::<PyResult<Vec<_>>>()?)
}

/// Whether two structures of one system are the same arrangement of its free atoms.
#[pyfunction]
pub fn same_structure(a: &Bound<PyDict>, b: &Bound<PyDict>, distance: f64) -> PyResult<bool> {
    minima::same(&from_python(a)?.structure, &from_python(b)?.structure, distance).map_err(raised)
}
