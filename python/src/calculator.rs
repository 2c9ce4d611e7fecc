//! The library's calculator that calls back into Python.

use crate::convert::to_python;
use godiff::potential::{Answer, Calculator, Evaluation};
use godiff::system::Structure;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

/// A function of `godiff/_calculator.py`: a list of structures to a list of (energy, forces as bytes, error).
pub struct Object(pub Py<PyAny>);

impl Calculator for Object {
    fn evaluate(&self, structures: &[Structure]) -> Result<Vec<Answer>, String> {
        Python::attach(|py| self.call(py, structures).map_err(|error| format!("the calculator ended: {error}")))
    }
}

impl Object {
    fn call(&self, py: Python, structures: &[Structure]) -> PyResult<Vec<Answer>> {
        let questions: Vec<_> = structures.iter().map(|structure| to_python(py, structure)).collect::<PyResult<_>>()?;
        let answers = self.0.bind(py).call1((PyList::new(py, questions)?,))?;
        answers.try_iter()?.map(|answer| answer_of(&answer?)).collect()
    }
}

fn answer_of(answer: &Bound<PyAny>) -> PyResult<Answer> {
    let (energy, forces, error): (f64, Bound<PyBytes>, Option<String>) = answer.extract()?;
    if let Some(reason) = error {
        return Ok(Answer::Failed(reason));
    }
    let numbers: Vec<f64> =
        forces.as_bytes().chunks_exact(8).map(|x| f64::from_ne_bytes(x.try_into().unwrap_or_default())).collect();
    let forces = numbers.chunks_exact(3).map(|v| [v[0], v[1], v[2]]).collect();
    Ok(Answer::Done(Evaluation { energy, forces }))
}
