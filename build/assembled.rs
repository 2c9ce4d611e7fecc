//! The data of the assembler and of the PTX on the kernels of one source.

use std::collections::BTreeMap;

/// Resources of one kernel on one architecture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// Registers a thread.
    pub registers: u32,
    /// Stack frame a thread, bytes of local memory.
    pub stack: u32,
    /// Spilled bytes that are stored.
    pub spill_stores: u32,
    /// Spilled bytes that are loaded.
    pub spill_loads: u32,
    /// Static shared memory, bytes.
    pub shared: u32,
}

/// The launch data of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Bytes of its arguments.
    pub argument_bytes: u32,
    /// The most threads a block may have.
    pub max_threads: u32,
}

/// Resources of every kernel in the log of a compilation with `--ptxas-options=-v`. The needs of functions that were not inlined
/// count for every kernel.
pub fn resources(log: &str) -> BTreeMap<String, Resources> {
    let mut kernels: BTreeMap<String, Resources> = BTreeMap::new();
    let mut functions = Resources::default();
    let mut entry = String::new();
    let mut function = String::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            entry = rest.split('\'').next().unwrap_or_default().to_owned();
            kernels.entry(entry.clone()).or_default();
        } else if let Some((_, rest)) = line.split_once("Function properties for ") {
            function = rest.trim().to_owned();
        } else if line.contains(" bytes stack frame") {
            let place = if function == entry { kernels.entry(entry.clone()).or_default() } else { &mut functions };
            place.stack = place.stack.max(before(line, " bytes stack frame"));
            place.spill_stores = place.spill_stores.max(before(line, " bytes spill stores"));
            place.spill_loads = place.spill_loads.max(before(line, " bytes spill loads"));
        } else if line.contains(": Used ") {
            let kernel = kernels.entry(entry.clone()).or_default();
            kernel.registers = before(line, " registers");
            kernel.shared = before(line, " bytes smem");
            kernel.stack = kernel.stack.max(before(line, " bytes cumulative stack size"));
        }
    }
    for kernel in kernels.values_mut() {
        kernel.stack = kernel.stack.max(functions.stack);
        kernel.spill_stores = kernel.spill_stores.max(functions.spill_stores);
        kernel.spill_loads = kernel.spill_loads.max(functions.spill_loads);
    }
    kernels
}

/// The lines of a log that the assembler did not write: the compiler's warnings.
pub fn warnings(log: &str) -> Vec<&str> {
    log.lines().filter(|line| !line.starts_with("ptxas ") && !line.trim().is_empty()).collect()
}

/// The kernels in PTX text.
pub fn entries(ptx: &str) -> Vec<Entry> {
    ptx.split(".entry ").skip(1).filter_map(entry).collect()
}

/// The kernel with its declaration at the start of `text`: `name( .param .align 8 .b8 name_param_0[24] ) .maxntid 256, 1, 1 {`.
fn entry(text: &str) -> Option<Entry> {
    let head = text.split('{').next()?;
    let (name, rest) = head.split_once('(')?;
    let (parameters, directives) = rest.split_once(')')?;
    let argument_bytes = match parameters.split_once('[') {
        Some((_, size)) => size.split(']').next()?.parse().ok()?,
        None => 0,
    };
    let max_threads = match directives.split_once(".maxntid ") {
        Some((_, sizes)) => sizes.split_whitespace().next()?.trim_end_matches(',').parse().ok()?,
        None => 1024,
    };
    Some(Entry { name: name.trim().to_owned(), argument_bytes, max_threads })
}

/// The number before `what` in `line`; 0 if there is none.
fn before(line: &str, what: &str) -> u32 {
    let Some((head, _)) = line.split_once(what) else { return 0 };
    head.rsplit(|character: char| !character.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}
