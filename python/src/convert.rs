//! Values between Python and the library.

use godiff::Error;
use godiff::system::xyz::{Column, Frame, Value as Info, Values};
use godiff::system::{Cell, Structure, Vec3};
use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use toml::{Table, Value};

/// The exception of `error`: `ValueError` for bad input, `OSError` where a disk failed, `RuntimeError` for runs and potentials.
pub fn raised(error: Error) -> PyErr {
    let sentence = error.to_string();
    match error {
        Error::BadInput(_) => PyValueError::new_err(sentence),
        Error::Failed(_) | Error::Evaluator(_) => PyRuntimeError::new_err(sentence),
        Error::Storage(_) => PyOSError::new_err(sentence),
        Error::Interrupted => PyKeyboardInterrupt::new_err(sentence),
    }
}

/// A Python dictionary as a table of a configuration; keys with the value `None` are left out.
pub fn table(dict: &Bound<PyDict>) -> PyResult<Table> {
    let mut table = Table::new();
    for (key, value) in dict {
        let key: String = key.extract()?;
        if !value.is_none() {
            table.insert(key.clone(), toml_value(&value, &key)?);
        }
    }
    Ok(table)
}

fn toml_value(value: &Bound<PyAny>, key: &str) -> PyResult<Value> {
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Value::Boolean(flag.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        let whole: PyResult<i64> = value.extract();
        return whole
            .map(Value::Integer)
            .map_err(|_| PyValueError::new_err(format!("{key} is {value}: the number is too large")));
    }
    if value.is_instance_of::<PyFloat>() {
        return Ok(Value::Float(value.extract()?));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Value::String(text.to_string()));
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        return table(dict).map(Value::Table);
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let items = value.try_iter()?.map(|item| toml_value(&item?, key));
        return items.collect::<PyResult<_>>().map(Value::Array);
    }
    let kind = value.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "{key} is a {kind}: a configuration holds numbers, texts, lists and tables alone"
    )))
}

fn bytes_of(vectors: &[Vec3]) -> Vec<u8> {
    vectors.iter().flatten().flat_map(|x| x.to_ne_bytes()).collect()
}

fn vectors_of(bytes: &[u8]) -> Vec<Vec3> {
    let number = |bytes: &[u8]| f64::from_ne_bytes(bytes.try_into().unwrap_or_default());
    let numbers: Vec<f64> = bytes.chunks_exact(8).map(number).collect();
    numbers.chunks_exact(3).map(|v| [v[0], v[1], v[2]]).collect()
}

/// A structure as the Python side takes it apart (`godiff/_atoms.py`): arrays as bytes, further keys and columns as JSON.
pub fn to_python<'py>(py: Python<'py>, structure: &Structure) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("numbers", PyBytes::new(py, &structure.numbers))?;
    dict.set_item("positions", PyBytes::new(py, &bytes_of(&structure.positions)))?;
    dict.set_item("cell", PyBytes::new(py, &bytes_of(&structure.cell.vectors)))?;
    dict.set_item("pbc", structure.cell.periodic)?;
    let fixed: Vec<u8> = structure.fixed.iter().map(|&fixed| u8::from(fixed)).collect();
    dict.set_item("fixed", PyBytes::new(py, &fixed))?;
    dict.set_item("energy", structure.energy)?;
    dict.set_item("forces", structure.forces.as_ref().map(|forces| PyBytes::new(py, &bytes_of(forces))))?;
    dict.set_item("extras", structure.extras().map(godiff::system::Extras::to_json))?;
    Ok(dict)
}

/// The reverse of [`to_python`], with `columns`, a list of (name, width, numbers), and `info`, a dictionary, in place of `extras`.
pub fn from_python(dict: &Bound<PyDict>) -> PyResult<Frame> {
    let get =
        |key: &str| dict.get_item(key)?.ok_or_else(|| PyValueError::new_err(format!("the structure has no {key}")));
    let bytes = |key: &str| -> PyResult<Vec<u8>> { Ok(get(key)?.cast::<PyBytes>()?.as_bytes().to_vec()) };
    let vectors = vectors_of(&bytes("cell")?);
    let cell = Cell {
        vectors: [0, 1, 2].map(|k| vectors.get(k).copied().unwrap_or_default()),
        periodic: get("pbc")?.extract()?,
    };
    let (numbers, positions) = (bytes("numbers")?, vectors_of(&bytes("positions")?));
    if numbers.len() != positions.len() {
        return Err(PyValueError::new_err("the structure needs one position for each atom"));
    }
    let mut structure = Structure::new(cell, numbers, positions);
    structure.fixed = bytes("fixed")?.into_iter().map(|flag| flag != 0).collect();
    let mut columns = Vec::new();
    for column in get("columns")?.try_iter()? {
        let (name, width, values): (String, usize, Vec<f64>) = column?.extract()?;
        columns.push(Column { name, width, values: Values::Real(values) });
    }
    if !columns.is_empty() {
        structure.extras_mut().columns = columns;
    }
    structure.check().map_err(raised)?;
    let mut frame = Frame::from(structure);
    for (key, value) in get("info")?.cast::<PyDict>()? {
        let key: String = key.extract()?;
        let value = match toml_value(&value, &key)? {
            Value::Boolean(flag) => Info::Flag(flag),
            Value::Integer(number) => Info::Integer(number),
            Value::Float(number) => Info::Real(number),
            other => Info::Text(other.as_str().unwrap_or_default().to_owned()),
        };
        frame.structure.extras_mut().info.push((key, value));
    }
    Ok(frame)
}

/// The structures of a list.
pub fn structures(list: &Bound<PyList>) -> PyResult<Vec<Structure>> {
    list.iter().map(|item| Ok(from_python(item.cast::<PyDict>()?)?.structure)).collect()
}
