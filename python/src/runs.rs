//! Runs: searches, baselines, several seeds, benchmarks, and what a run folder holds.

use crate::calculator::Object;
use crate::convert::{raised, table, to_python};
use crate::work::work;
use godiff::archive::{Selection, export};
use godiff::benchmark::{Benchmark, Entrant, Method, N_RELAXED, Resources, Watch};
use godiff::config::{self, sections};
use godiff::job::{Folder, Job, compare_seeds, prepare, seeds_folder};
use godiff::minima::{Source, Tolerances, distinct, relaxed};
use godiff::potential::relax::RelaxSettings;
use godiff::potential::{self, Given, PotentialSettings};
use godiff::preset::{Means, choose};
use godiff::report::{write_after_benchmark, write_after_run};
use godiff::run::{Reporter, RunDirectory};
use godiff::system::xyz::Frame;
use godiff::{Error, Result};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A configuration, checked, with its structures.
#[pyclass(frozen, module = "godiff._core")]
pub struct Settings(pub config::Settings);

#[pymethods]
impl Settings {
    /// The configuration of `keywords`, over that of the file `base` if there is one; relative paths are in `folder`.
    #[new]
    #[pyo3(signature = (keywords, base=None, folder=PathBuf::from("."), calculator=None))]
    fn new(
        py: Python,
        keywords: &Bound<PyDict>,
        base: Option<PathBuf>,
        folder: PathBuf,
        calculator: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let keywords = table(keywords)?;
        let read = py.detach(|| config::Settings::of_keywords(keywords, base.as_deref(), &folder));
        let mut settings = read.map_err(raised)?;
        if let Some(calculator) = calculator {
            settings.sections.potential.give(given(calculator));
        }
        Ok(Settings(settings))
    }

    /// The configuration as a run folder keeps it, with every default.
    fn to_toml(&self) -> String {
        self.0.to_toml()
    }
}

/// The configuration that is chosen for `keywords`, with these in place of its values. `on_event` hears how it was chosen.
#[pyfunction]
#[pyo3(signature = (keywords, folder, calculator, on_event))]
pub fn chosen(
    py: Python,
    keywords: &Bound<PyDict>,
    folder: PathBuf,
    calculator: Option<Py<PyAny>>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Settings> {
    let keywords = table(keywords)?;
    let calculator = calculator.map(given);
    let settings = work(py, on_event, move |desk| -> Result<config::Settings> {
        let say = desk.say();
        let tell = |text: &str| say(serde_json::json!({ "event": "message", "text": text }).to_string());
        let give = |potential: &mut PotentialSettings| {
            if let Some(calculator) = &calculator {
                potential.give(calculator.clone());
            }
        };
        let means = Means { interrupted: &desk.interrupted, tell: &tell, give: &give };
        let preset = choose(keywords.clone(), &folder, &means)?;
        let mut settings = preset.with(&keywords, &folder)?;
        give(&mut settings.sections.potential);
        Ok(settings)
    })?;
    settings.map(Settings).map_err(raised)
}

/// The calculator that calls `function`.
pub fn given(function: Py<PyAny>) -> Given {
    Given::new(Arc::new(Object(function)))
}

/// The potential of a table or a name, with its calculator.
pub fn potential_settings(keys: &Bound<PyDict>, calculator: Option<Py<PyAny>>) -> PyResult<PotentialSettings> {
    let table = table(keys)?;
    let name = table.get("name").and_then(toml::Value::as_str);
    let mut settings = match (name, table.get("config").and_then(toml::Value::as_str)) {
        (Some(name), _) => PotentialSettings::parse_name(name).map_err(raised)?,
        (_, Some(path)) => config::Settings::load(Path::new(path)).map_err(raised)?.sections.potential,
        _ => toml::from_str(&table.to_string()).map_err(|cause| PyValueError::new_err(cause.message().to_owned()))?,
    };
    if let Some(calculator) = calculator {
        settings.give(given(calculator));
    }
    Ok(settings)
}

/// All sections of a configuration, each with its keys.
#[pyfunction]
pub fn keys() -> Vec<(&'static str, Vec<&'static str>)> {
    sections()
}

fn method_named(name: &str) -> PyResult<Method> {
    let known = || Method::ALL.map(Method::name).join(", ");
    let unknown = || PyValueError::new_err(format!("there is no method '{name}'; write one of {}", known()));
    Method::named(name).ok_or_else(unknown)
}

/// Splits an interruption, which is no exception here, from other errors.
fn unless_interrupted(outcome: Result<()>) -> PyResult<bool> {
    match outcome {
        Ok(()) => Ok(false),
        Err(Error::Interrupted) => Ok(true),
        Err(error) => Err(raised(error)),
    }
}

/// Starts, resumes or extends one run. Gives its folder, and whether it was interrupted.
#[pyfunction]
#[pyo3(signature = (settings, method, out, name, resume, device, stop_at_target, on_event))]
#[allow(clippy::too_many_arguments, reason = "one call from Python, by keywords")]
pub fn search(
    py: Python,
    settings: &Settings,
    method: &str,
    out: Option<PathBuf>,
    name: String,
    resume: bool,
    device: String,
    stop_at_target: bool,
    on_event: Option<Py<PyAny>>,
) -> PyResult<(PathBuf, bool)> {
    let method = method_named(method)?;
    let mut settings = settings.0.clone();
    let folder = match (out, resume) {
        (Some(path), true) => Folder::Old(path),
        (Some(path), false) => Folder::New(path),
        (None, false) => Folder::Next { runs: "runs".into(), name },
        (None, true) => Folder::Old(RunDirectory::latest(Path::new("runs"), &name).map_err(raised)?),
    };
    prepare(method, &mut settings).map_err(raised)?;
    let is_heard = on_event.is_some();
    let (path, outcome) = work(py, on_event, move |desk| {
        let reporter = if is_heard { Reporter::events(desk.lines()) } else { Reporter::quiet() };
        let job = Job { method, settings: &settings, device: &device, folder, stop_at_target, config: None };
        let mut path = PathBuf::new();
        let outcome = job.run(&reporter, &desk.interrupted, &mut |opened| opened.clone_into(&mut path));
        (path, outcome.map(drop))
    })?;
    Ok((path, unless_interrupted(outcome)?))
}

/// Does the runs of several seeds in `out`. Gives the folder, the comparison as JSON, and whether it was interrupted.
#[pyfunction]
#[pyo3(signature = (settings, seeds, out, name, resume, device, jobs, n_relaxed, on_event))]
#[allow(clippy::too_many_arguments, reason = "one call from Python, by keywords")]
pub fn search_seeds(
    py: Python,
    settings: &Settings,
    seeds: Vec<u64>,
    out: Option<PathBuf>,
    name: String,
    resume: bool,
    device: String,
    jobs: usize,
    n_relaxed: Option<usize>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<(PathBuf, String, bool)> {
    let mut settings = settings.0.clone();
    prepare(Method::Search, &mut settings).map_err(raised)?;
    let is_heard = on_event.is_some();
    let (folder, json, outcome) = work(py, on_event, move |desk| -> Result<(PathBuf, String, Result<()>)> {
        let folder = seeds_folder(out.as_deref(), Path::new("runs"), &name, resume)?;
        let resources = Resources::new(&device, Some(jobs), rayon::current_num_threads())?;
        let entrants = vec![Entrant { name: String::new(), method: Method::Search, settings }];
        let benchmark = Benchmark {
            folder: folder.clone(),
            entrants,
            seeds,
            to_the_end: true,
            by_seed: true,
            n_relaxed: n_relaxed.unwrap_or(N_RELAXED),
        };
        let say = desk.say();
        let said = |line: String| say(serde_json::json!({ "event": "message", "text": line }).to_string());
        let reporter = || if is_heard && jobs == 1 { Reporter::events(desk.lines()) } else { Reporter::quiet() };
        let watch =
            Watch { say: &said, reporter: &reporter, afterwards: &write_after_run, interrupted: &desk.interrupted };
        let (agreements, outcome) = compare_seeds(&benchmark, &resources, &watch)?;
        let json = serde_json::to_string(&agreements).map_err(|cause| Error::Failed(cause.to_string()))?;
        Ok((folder, json, outcome))
    })?
    .map_err(raised)?;
    Ok((folder, json, unless_interrupted(outcome)?))
}

/// Compares methods over seeds, as `godiff benchmark`. Gives the results as JSON, and whether it was interrupted.
#[pyfunction]
#[pyo3(signature = (entrants, seeds, out, device, side_by_side, to_the_end, on_event))]
#[allow(clippy::too_many_arguments, reason = "one call from Python, by keywords")]
pub fn benchmark(
    py: Python,
    entrants: Vec<(String, String, Py<Settings>)>,
    seeds: Vec<u64>,
    out: PathBuf,
    device: String,
    side_by_side: Option<usize>,
    to_the_end: bool,
    on_event: Option<Py<PyAny>>,
) -> PyResult<(String, bool)> {
    let mut ready = Vec::new();
    for (name, method, settings) in entrants {
        let (method, mut settings) = (method_named(&method)?, settings.get().0.clone());
        prepare(method, &mut settings).map_err(raised)?;
        if settings.target.is_none() {
            return Err(PyValueError::new_err(format!(
                "{name} has no target; a benchmark counts the evaluations until it is found"
            )));
        }
        ready.push(Entrant { name, method, settings });
    }
    let (json, outcome) = work(py, on_event, move |desk| -> Result<(String, Result<()>)> {
        let resources = Resources::new(&device, side_by_side, rayon::current_num_threads())?;
        let benchmark =
            Benchmark { folder: out, entrants: ready, seeds, to_the_end, by_seed: false, n_relaxed: N_RELAXED };
        let say = desk.say();
        let said = |line: String| say(serde_json::json!({ "event": "message", "text": line }).to_string());
        let watch = Watch {
            say: &said,
            reporter: &Reporter::quiet,
            afterwards: &write_after_run,
            interrupted: &desk.interrupted,
        };
        let outcome = benchmark.run(&resources, &watch);
        if !matches!(outcome, Ok(()) | Err(Error::Interrupted)) {
            return outcome.map(|()| (String::new(), Ok(())));
        }
        let results = benchmark.results()?;
        benchmark.write(&results)?;
        write_after_benchmark(&benchmark.folder).into_iter().for_each(said);
        Ok((serde_json::to_string(&results).map_err(|cause| Error::Failed(cause.to_string()))?, outcome))
    })?
    .map_err(raised)?;
    Ok((json, unless_interrupted(outcome)?))
}

/// The distinct structures of the runs in `folders`, lowest first; with `settings` relaxed on their potential.
#[pyfunction]
#[pyo3(signature = (folders, lowest, settings, fmax, energy_tolerance, distance_tolerance))]
pub fn minima<'py>(
    py: Python<'py>,
    folders: Vec<PathBuf>,
    lowest: usize,
    settings: Option<Py<Settings>>,
    fmax: Option<f64>,
    energy_tolerance: Option<f64>,
    distance_tolerance: Option<f64>,
) -> PyResult<Bound<'py, PyList>> {
    let settings = settings.map(|settings| settings.get().0.clone());
    let frames = work(py, None, move |desk| -> Result<Vec<Frame>> {
        let sources: Vec<Source> = folders.iter().map(|path| Source::of(path)).collect();
        let given = |otherwise: Tolerances| Tolerances {
            energy_ev: energy_tolerance.unwrap_or(otherwise.energy_ev),
            distance_angstrom: distance_tolerance.unwrap_or(otherwise.distance_angstrom),
        };
        let as_found = if sources.iter().all(Source::is_relaxed) { Tolerances::RELAXED } else { Tolerances::SAMPLES };
        let before = if settings.is_some() { as_found } else { given(as_found) };
        let mut minima = distinct(&sources, before, lowest)?;
        if let Some(settings) = settings {
            let potential = potential::open(&settings.sections.potential, Some(&settings.system), "cpu")?;
            let limits = RelaxSettings::default();
            let limits = RelaxSettings { fmax_ev_per_angstrom: fmax.unwrap_or(limits.fmax_ev_per_angstrom), ..limits };
            let stop = || desk.interrupted.load(Ordering::Relaxed);
            let relaxation = relaxed(minima, &*potential, &limits, given(Tolerances::RELAXED), &stop)?;
            relaxation.stopped.map_or(Ok(()), Err)?;
            minima = relaxation.minima;
        }
        Ok(minima.iter().map(|minimum| minimum.frame(sources.len())).collect())
    })?
    .map_err(raised)?;
    PyList::new(py, frames.iter().map(|frame| to_python(py, &frame.structure)).collect::<PyResult<Vec<_>>>()?)
}

/// Every structure of the archive in `folder`: columns, with arrays as bytes.
#[pyfunction]
pub fn structures<'py>(py: Python<'py>, folder: PathBuf, ok_only: bool) -> PyResult<Bound<'py, PyDict>> {
    let rows = py.detach(|| {
        let mut rows = Vec::new();
        let which = if ok_only { Selection::Ok } else { Selection::All };
        export(&RunDirectory::archive_of(&folder), which, &mut |stored| {
            rows.push(stored);
            Ok(())
        })
        .map(|()| rows)
    });
    let rows = rows.map_err(raised)?;
    let floats = |values: &mut dyn Iterator<Item = f64>| -> Vec<u8> { values.flat_map(|x| x.to_ne_bytes()).collect() };
    let dict = PyDict::new(py);
    dict.set_item("iteration", rows.iter().map(|row| row.iteration).collect::<Vec<_>>())?;
    dict.set_item("index", rows.iter().map(|row| row.index).collect::<Vec<_>>())?;
    dict.set_item("kt_ev", rows.iter().map(|row| row.kt_ev).collect::<Vec<_>>())?;
    dict.set_item("status", rows.iter().map(|row| row.status.as_str()).collect::<Vec<_>>())?;
    dict.set_item(
        "origin",
        rows.iter().map(|row| row.origin.map_or("", |origin| origin.as_str())).collect::<Vec<_>>(),
    )?;
    dict.set_item("energy", rows.iter().map(|row| row.structure.energy.unwrap_or(f64::NAN)).collect::<Vec<_>>())?;
    let positions = floats(&mut rows.iter().flat_map(|row| row.structure.positions.iter().flatten().copied()));
    dict.set_item("positions", PyBytes::new(py, &positions))?;
    let forces = floats(&mut rows.iter().flat_map(|row| {
        let n = row.structure.n_atoms();
        let forces = row.structure.forces.clone().unwrap_or_else(|| vec![[f64::NAN; 3]; n]);
        forces.into_iter().flatten()
    }));
    dict.set_item("forces", PyBytes::new(py, &forces))?;
    dict.set_item("first", rows.first().map(|row| to_python(py, &row.structure)).transpose()?)?;
    Ok(dict)
}
