//! Compiles `kernels/*.cu` for every supported architecture and writes the files that `src/gpu/kernels.rs` embeds.
//!
//! A compilation is stored in the target folder under a hash of everything that it depends on. So only changed sources are compiled
//! again, and `cargo` may run this at any time.

use crate::assembled::{Entry, Resources, entries, resources, warnings};
use crate::nvrtc::{Input, Missing, Nvrtc, VARIABLES};
use crate::sources::{Texts, included};
use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Compute capabilities that have their own cubin, each with the first NVRTC that knows it.
const CUBINS: [(u32, (i32, i32)); 6] =
    [(80, (12, 0)), (86, (12, 0)), (89, (12, 0)), (90, (12, 0)), (100, (12, 8)), (120, (12, 8))];

/// Compute capability of the PTX, which drivers turn into code for all newer cards.
const PTX: u32 = 80;

/// Sources in f64 whose CPU twins do the same operations in the same order. A card must round each of them as the CPU does, so the
/// compiler may not contract a product and a sum into one operation.
const NOT_CONTRACTED: [&str; 6] = ["corrector", "emt", "emt_relax", "forward_noise", "radius_graph", "reverse_step"];

/// Advice for installing NVRTC.
const HOW_TO_GET: &str = "install it with `pip install nvidia-cuda-nvrtc-cu12`, or name the library or its folder in \
                          GODIFF_NVRTC (docs/developing.md lists all places), then `touch build.rs` and build again";

/// A source with the headers that it includes, directly or not.
struct Source {
    /// Name without `.cu`.
    stem: String,
    text: String,
    headers: Vec<(String, String)>,
}

/// One compilation.
#[derive(Clone, Copy)]
struct Task<'a> {
    source: &'a Source,
    /// `sm_86` or `compute_80`.
    target: &'a str,
}

/// Its result.
struct Done {
    image: Vec<u8>,
    log: String,
}

/// Builds the kernels of `texts`, each `.cu` with its `assertions`, or writes into the generated file why there are none. Those of
/// `planted` become PTX alone, for the tests of what runs it.
///
/// # Errors
/// One text for every source that does not compile, or the reason why NVRTC is missing if it is required.
pub fn build(
    texts: &Texts,
    assertions: &BTreeMap<String, String>,
    planted: &Texts,
    out: &Path,
) -> Result<(), Vec<String>> {
    for name in VARIABLES.iter().chain(&["GODIFF_REQUIRE_CUDA"]) {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let generated = out.join("kernels.rs");
    let write = |text: String| fs::write(&generated, text).map_err(|cause| vec![at(&generated, cause)]);

    let nvrtc = match Nvrtc::find() {
        Ok(nvrtc) => nvrtc,
        Err(Missing::Named(sentence)) => return Err(vec![sentence]),
        Err(Missing::Nowhere(refused)) => {
            let tried = if refused.is_empty() { String::new() } else { format!(" ({refused})") };
            let sentence = format!("NVRTC, which compiles the CUDA kernels, was not found{tried}: {HOW_TO_GET}");
            if env::var("GODIFF_REQUIRE_CUDA").is_ok_and(|value| !["", "0"].contains(&value.as_str())) {
                return Err(vec![format!("GODIFF_REQUIRE_CUDA is set, but {sentence}")]);
            }
            println!("cargo::warning=godiff is built without CUDA kernels, --device cuda will be refused: {sentence}");
            return write(generated_without_nvrtc());
        }
    };
    if nvrtc.path.is_absolute() {
        println!("cargo::rerun-if-changed={}", nvrtc.path.display());
    }

    let sources = sources_of(texts, texts, assertions);
    let planted = sources_of(planted, texts, &BTreeMap::new());
    let known = CUBINS.iter().filter(|(_, first)| nvrtc.version >= *first);
    let targets: Vec<String> = known.map(|(sm, _)| format!("sm_{sm}")).chain([format!("compute_{PTX}")]).collect();
    let tasks: Vec<Task> =
        sources.iter().flat_map(|source| targets.iter().map(move |target| Task { source, target })).collect();
    let n_tasks = tasks.len();
    let ptx = targets.last().map_or("", String::as_str);
    let tasks: Vec<Task> = tasks.into_iter().chain(planted.iter().map(|source| Task { source, target: ptx })).collect();
    let cache = cache_folder(out);
    fs::create_dir_all(&cache).map_err(|cause| vec![at(&cache, cause)])?;
    let done = in_parallel(&tasks, |task| compile(&nvrtc, *task, &cache));

    // The same mistake is reported once, not for every architecture.
    let mut errors: BTreeMap<&str, String> = BTreeMap::new();
    for (task, result) in tasks.iter().zip(&done) {
        if let Err(log) = result {
            errors.entry(&task.source.stem).or_insert_with(|| format!("for {}:\n{log}", task.target));
        }
    }
    if !errors.is_empty() {
        let text = |(stem, log): (&str, String)| format!("kernels/{stem}.cu does not compile {log}");
        return Err(errors.into_iter().map(text).collect());
    }
    let done: Vec<Done> = done.into_iter().filter_map(Result::ok).collect();
    let (done, done_planted) = done.split_at(n_tasks);
    let modules: Vec<(&Source, &[Done])> = sources.iter().zip(done.chunks(targets.len())).collect();
    let text = generate(&nvrtc, &modules, &targets, out).map_err(|cause| vec![cause])?;
    write(text + &generate_planted(&planted, done_planted, out).map_err(|cause| vec![cause])?)
}

fn at(path: &Path, cause: impl std::fmt::Display) -> String {
    format!("{}: {cause}", path.display())
}

/// Every `.cu` of `texts`, in the order of names, with those of `headers` that it includes and the assertions of its arguments'
/// twins at its end.
fn sources_of(texts: &Texts, headers: &Texts, assertions: &BTreeMap<String, String>) -> Vec<Source> {
    let sources = texts.iter().filter_map(|(name, text)| {
        let stem = name.strip_suffix(".cu")?.to_owned();
        let headers = included(text, headers).into_iter().map(|name| (name.to_owned(), headers[name].clone()));
        let assertions = assertions.get(name).map_or("", String::as_str);
        Some(Source { stem, text: format!("{text}{assertions}"), headers: headers.collect() })
    });
    sources.collect()
}

/// A folder that survives a change of this package: in cargo's target folder, or else next to `out`.
fn cache_folder(out: &Path) -> PathBuf {
    let cargos = |folder: &&Path| [".rustc_info.json", "CACHEDIR.TAG"].iter().any(|name| folder.join(name).is_file());
    let target = out.ancestors().find(cargos);
    target.or(out.parent()).unwrap_or(out).join("godiff-kernels")
}

/// Runs `work` on every task, on as many threads as cargo allows.
fn in_parallel<T: Sync, R: Send>(tasks: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let allowed = env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1);
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(tasks.len()));
    thread::scope(|scope| {
        for _ in 0..tasks.len().min(allowed) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(task) = tasks.get(index) else { break };
                    let result = work(task);
                    results.lock().expect("no thread panicked").push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panicked");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The result of `task`, from the cache if it has it.
fn compile(nvrtc: &Nvrtc, task: Task, cache: &Path) -> Result<Done, String> {
    let mut options = vec![
        format!("--gpu-architecture={}", task.target),
        "--std=c++17".to_owned(),
        // Functions without a mark are for the device.
        "-default-device".to_owned(),
        "--ptxas-options=-v".to_owned(),
    ];
    if NOT_CONTRACTED.contains(&task.source.stem.as_str()) {
        options.push("--fmad=false".to_owned());
    }
    let mut hasher = DefaultHasher::new();
    (nvrtc.version, &options, &task.source.text, &task.source.headers).hash(&mut hasher);
    let name = format!("{}-{}-{:016x}", task.source.stem, task.target, hasher.finish());
    let (image_path, log_path) = (cache.join(&name), cache.join(format!("{name}.log")));
    // The image is written last, so its presence means that both are there.
    if let (Ok(image), Ok(log)) = (fs::read(&image_path), fs::read_to_string(&log_path)) {
        return Ok(Done { image, log });
    }

    let input = Input {
        name: &format!("{}.cu", task.source.stem),
        text: &task.source.text,
        headers: &task.source.headers,
        options: &options,
    };
    let compiled = nvrtc.compile(&input)?;
    write_whole(&log_path, compiled.log.as_bytes()).map_err(|cause| at(&log_path, cause))?;
    write_whole(&image_path, &compiled.image).map_err(|cause| at(&image_path, cause))?;
    Ok(Done { image: compiled.image, log: compiled.log })
}

/// Writes a file that others never see in part.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension(format!("part{}", std::process::id()));
    fs::write(&part, bytes)?;
    fs::rename(&part, path)
}

fn generated_without_nvrtc() -> String {
    "/// No compiler.\npub const NVRTC: Option<(u32, u32)> = None;\n\
     /// No kernels.\npub static MODULES: &[Module] = &[];\n\
     /// No kernels.\n#[cfg(feature = \"emulator\")]\npub static PLANTED: &[(&str, &[u8])] = &[];\n"
        .to_owned()
}

/// Writes the images into `out` and returns the text of the generated file.
fn generate(nvrtc: &Nvrtc, modules: &[(&Source, &[Done])], targets: &[String], out: &Path) -> Result<String, String> {
    let mut text = String::new();
    let (major, minor) = nvrtc.version;
    let mut line = |line: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    line(format!("/// Version of the compiler.\npub const NVRTC: Option<(u32, u32)> = Some(({major}, {minor}));"));
    line("/// One module for every source, in the order of names.\npub static MODULES: &[Module] = &[".to_owned());
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for (source, done) in modules {
        let stem = &source.stem;
        line(format!("    Module {{ name: {stem:?}, images: &["));
        for (target, done) in targets.iter().zip(*done) {
            let path = out.join(format!("{stem}.{target}"));
            fs::write(&path, &done.image).map_err(|cause| at(&path, cause))?;
            let (kind, number) = target.split_once('_').unwrap_or_default();
            let kind = if kind == "sm" { "Cubin" } else { "Ptx" };
            line(format!("        Image {{ target: Target::{kind}({number}), bytes: include_bytes!({path:?}) }},"));
        }
        line("    ], kernels: &[".to_owned());
        let (ptx, cubins) = done.split_last().ok_or("no targets")?;
        for warning in warnings(&ptx.log) {
            println!("cargo::warning={warning}");
        }
        let assembled: Vec<BTreeMap<String, Resources>> = cubins.iter().map(|done| resources(&done.log)).collect();
        for entry in entries(&String::from_utf8_lossy(&ptx.image)) {
            if let Some(other) = names.insert(entry.name.clone(), stem.clone()) {
                return Err(format!(
                    "kernels/{stem}.cu: there is a kernel {} in kernels/{other}.cu already",
                    entry.name
                ));
            }
            line(kernel(stem, &entry, targets, &assembled)?);
        }
        line("    ] },".to_owned());
    }
    line("];".to_owned());
    Ok(text)
}

/// Writes the PTX of planted kernels into `out` and returns their part of the generated file.
fn generate_planted(planted: &[Source], done: &[Done], out: &Path) -> Result<String, String> {
    let mut text = "/// PTX of kernels with planted bugs.\n#[cfg(feature = \"emulator\")]\n\
                    pub static PLANTED: &[(&str, &[u8])] = &[\n"
        .to_owned();
    for (source, done) in planted.iter().zip(done) {
        let path = out.join(format!("planted_{}.ptx", source.stem));
        fs::write(&path, &done.image).map_err(|cause| at(&path, cause))?;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    ({:?}, include_bytes!({path:?})),", source.stem);
    }
    Ok(text + "];\n")
}

/// The text of one kernel of the generated file. `assembled` is in the order of `targets`, without the last, the PTX.
fn kernel(
    stem: &str,
    entry: &Entry,
    targets: &[String],
    assembled: &[BTreeMap<String, Resources>],
) -> Result<String, String> {
    let Entry { name, argument_bytes, max_threads } = entry;
    let mut text = format!(
        "        Kernel {{ name: {name:?}, argument_bytes: {argument_bytes}, max_threads: {max_threads}, assembled: &["
    );
    for (target, kernels) in targets.iter().zip(assembled) {
        let architecture = target.trim_start_matches("sm_");
        let Resources { registers, stack, spill_stores, spill_loads, shared } = kernels.get(name).ok_or_else(|| {
            format!("kernels/{stem}.cu: the assembler does not report on {name} for sm_{architecture}")
        })?;
        let _ = write!(
            text,
            "\n            Assembled {{ architecture: {architecture}, registers: {registers}, stack_bytes: {stack}, \
             spill_store_bytes: {spill_stores}, spill_load_bytes: {spill_loads}, static_shared_bytes: {shared} }},"
        );
    }
    Ok(text + "\n        ] },")
}
