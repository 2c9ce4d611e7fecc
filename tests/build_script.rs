//! The parts of the build script that decide: where NVRTC is looked for, and what is read out of the assembler's log.

#![cfg(feature = "cuda")]

#[path = "../build/assembled.rs"]
mod assembled;
#[path = "../build/nvrtc.rs"]
#[allow(dead_code, reason = "loading a library is the build's own test")]
mod nvrtc;

use assembled::{Entry, Resources, entries, resources, warnings};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// An empty file at `path`, with its folders.
fn touch(path: PathBuf) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "").unwrap();
    path
}

/// Candidates where `variables` are set and `python3` has its modules in `packages`.
fn candidates(variables: &[(&str, &Path)], packages: &[PathBuf]) -> Vec<PathBuf> {
    let variable = |name: &str| {
        let set = variables.iter().find(|(set, _)| *set == name);
        set.map(|(_, value)| OsString::from(value))
    };
    nvrtc::candidates(&variable, &|| packages.to_vec())
}

#[test]
fn nvrtc_is_looked_for_in_the_documented_order() {
    let place = tempfile::tempdir().unwrap();
    let below = |path: &str| place.path().join(path);
    let home = touch(below("home/lib64/libnvrtc.so.12"));
    let path = touch(below("path/targets/x86_64-linux/lib/libnvrtc.so.13"));
    let venv = touch(below("venv/lib/python3.13/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"));
    let python = touch(below("packages/nvidia/cu13/lib/libnvrtc.so.13"));
    let named = touch(below("named/libnvrtc.so.12"));
    let system = ["libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so"].map(PathBuf::from);

    let (at_home, at_path, at_venv) = (below("home"), below("path"), below("venv"));
    let variables = [("VIRTUAL_ENV", &*at_venv), ("CUDA_PATH", &*at_path), ("CUDA_HOME", &*at_home)];
    let packages = [below("nowhere"), below("packages")];
    assert_eq!(candidates(&variables, &packages), [&[home, path, venv, python][..], &system[..]].concat());
    assert_eq!(candidates(&[], &[]), system);

    // What is named is meant, a folder or a file, and nothing else.
    let all = |value: &Path| candidates(&[("GODIFF_NVRTC", value), variables[0]], &packages);
    assert_eq!(all(&below("named")), [named]);
    assert_eq!(all(&below("no-such.so")), [below("no-such.so")]);
    assert!(all(&below("packages")).is_empty());
    assert_eq!(candidates(&[("GODIFF_NVRTC", Path::new(""))], &[]), system, "set to nothing is not set");
}

/// As NVRTC 12.9 writes it, with a function that was not inlined.
const LOG: &str = "\
scale.cu(3): warning #177-D: variable \"y\" was declared but never referenced
ptxas info    : 28 bytes gmem, 16 bytes cmem[4]
ptxas info    : Compiling entry function 'scale' for 'sm_86'
ptxas info    : Function properties for scale
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 24 registers, used 1 barriers, 1024 bytes smem, 368 bytes cmem[0], 8 bytes cmem[2]
ptxas info    : Compile time = 11.032 ms
ptxas info    : Compiling entry function 'spill' for 'sm_86'
ptxas info    : Function properties for spill
ptxas         .     696 bytes stack frame, 1372 bytes spill stores, 1400 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 696 bytes cumulative stack size, 368 bytes cmem[0]
";

#[test]
fn the_assemblers_log_is_read() {
    let found = resources(LOG);
    let scale = Resources { registers: 24, shared: 1024, ..Resources::default() };
    assert_eq!(found["scale"], scale);
    let spill = Resources { registers: 64, stack: 696, spill_stores: 1372, spill_loads: 1400, shared: 0 };
    assert_eq!(found["spill"], spill);
    assert_eq!(found.len(), 2);
    assert_eq!(warnings(LOG), [LOG.lines().next().unwrap()]);
}

#[test]
fn functions_that_were_not_inlined_count_for_every_kernel() {
    let function = "\
ptxas info    : Function properties for _Z1ffi
ptxas         .     48 bytes stack frame, 16 bytes spill stores, 20 bytes spill loads
";
    for log in [format!("{LOG}{function}"), format!("{function}{LOG}")] {
        let found = resources(&log);
        assert_eq!((found["scale"].stack, found["scale"].spill_stores, found["scale"].spill_loads), (48, 16, 20));
        assert_eq!((found["spill"].stack, found["spill"].spill_stores, found["spill"].spill_loads), (696, 1372, 1400));
        assert_eq!(found.len(), 2);
    }
}

#[test]
fn launch_limits_are_read_from_ptx() {
    let ptx = "\
.version 8.8
.visible .entry scale(
\t.param .align 8 .b8 scale_param_0[24]
)
.maxntid 256, 1, 1
{
\tret;
}
\t// .globl\tbare
.visible .entry bare()
{
\tret;
}
";
    let entry = |name: &str, argument_bytes, max_threads| Entry { name: name.to_owned(), argument_bytes, max_threads };
    assert_eq!(entries(ptx), [entry("scale", 24, 256), entry("bare", 0, 1024)]);
}
