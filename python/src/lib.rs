//! `godiff._core`: the library as a Python module. It only translates: configurations, structures, exceptions, Ctrl-C. What users
//! call is in `godiff/*.py`.

mod calculator;
mod convert;
mod model;
mod runs;
mod structures;
mod work;

use pyo3::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;

/// Runs the program `godiff` with `arguments`, its name first, and gives its exit code. `starter` is the file that starts it.
#[pyfunction]
#[pyo3(signature = (arguments, starter=None))]
fn program(py: Python, arguments: Vec<OsString>, starter: Option<PathBuf>) -> u8 {
    py.detach(|| godiff::program(arguments, starter))
}

/// Starts the threads that everything in this process shares. It can be done once, before anything is computed.
#[pyfunction]
fn start_threads(n: usize) -> PyResult<()> {
    godiff::job::start_threads(Some(n)).map_err(convert::raised)
}

#[pymodule]
fn _core(module: &Bound<PyModule>) -> PyResult<()> {
    module.add("__version__", godiff::version::VERSION)?;
    // Calculators are called in this process exactly as in worker processes.
    module.add("WORKER", godiff::potential::external::WORKER)?;
    module.add_class::<runs::Settings>()?;
    module.add_class::<model::Model>()?;
    module.add_function(wrap_pyfunction!(program, module)?)?;
    module.add_function(wrap_pyfunction!(start_threads, module)?)?;
    module.add_function(wrap_pyfunction!(runs::keys, module)?)?;
    module.add_function(wrap_pyfunction!(runs::chosen, module)?)?;
    module.add_function(wrap_pyfunction!(runs::search, module)?)?;
    module.add_function(wrap_pyfunction!(runs::search_seeds, module)?)?;
    module.add_function(wrap_pyfunction!(runs::benchmark, module)?)?;
    module.add_function(wrap_pyfunction!(runs::minima, module)?)?;
    module.add_function(wrap_pyfunction!(runs::structures, module)?)?;
    module.add_function(wrap_pyfunction!(structures::write_structures, module)?)?;
    module.add_function(wrap_pyfunction!(structures::read_structures, module)?)?;
    module.add_function(wrap_pyfunction!(structures::evaluate, module)?)?;
    module.add_function(wrap_pyfunction!(structures::relax, module)?)?;
    module.add_function(wrap_pyfunction!(structures::same_structure, module)?)?;
    Ok(())
}
