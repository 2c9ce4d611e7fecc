//! The assembler's report on every kernel: nothing spills, and the registers are those of the committed table.

#![cfg(feature = "cuda")]

use godiff::gpu::kernels::{Kernel, modules, nvrtc_version};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn table_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/registers.md")
}

/// Every kernel with the file that holds it.
fn kernels() -> impl Iterator<Item = (&'static str, &'static Kernel)> {
    modules().iter().flat_map(|module| module.kernels.iter().map(|kernel| (module.name, kernel)))
}

/// What is wrong with how `kernel` was assembled.
fn faults(file: &str, kernel: &Kernel) -> Vec<String> {
    let assembled = kernel.assembled.iter();
    let uses_local = assembled.filter(|a| a.stack_bytes + a.spill_store_bytes + a.spill_load_bytes > 0);
    uses_local.map(|assembled| format!("kernels/{file}.cu: {}: {assembled:?}", kernel.name)).collect()
}

/// The head of the table, up to the version of NVRTC.
const HEAD: &str = "# Registers a thread\n\nOf every kernel on every architecture, as assembled by NVRTC ";

/// The table as it should be.
fn table((major, minor): (u32, u32)) -> String {
    let mut text = format!("{HEAD}{major}.{minor}. `tests/kernel_report.rs` compares, with\n");
    text += "`GODIFF_BLESS=1` it writes; it also refuses any spill and any stack.\n\n";
    let architectures: Vec<u32> =
        kernels().next().map_or(&[][..], |(_, kernel)| kernel.assembled).iter().map(|a| a.architecture).collect();
    let head: String = architectures.iter().map(|architecture| format!(" sm_{architecture} |")).collect();
    let _ = writeln!(text, "| file | kernel | threads |{head}\n|---|---|---|{}", "---|".repeat(architectures.len()));
    for (file, kernel) in kernels() {
        let _ = write!(text, "| {file} | `{}` | {} |", kernel.name, kernel.max_threads);
        for assembled in kernel.assembled {
            let _ = write!(text, " {} |", assembled.registers);
        }
        text.push('\n');
    }
    text
}

#[test]
fn no_kernel_spills() {
    let faults: Vec<String> = kernels().flat_map(|(file, kernel)| faults(file, kernel)).collect();
    assert!(faults.is_empty(), "kernels that use local memory:\n{}", faults.join("\n"));
}

#[test]
fn registers_are_those_of_the_table() {
    let Some(version) = nvrtc_version() else {
        eprintln!("skipped: built without NVRTC");
        return;
    };
    let expected = table(version);
    if std::env::var_os("GODIFF_BLESS").is_some() {
        fs::write(table_path(), &expected).unwrap();
    }
    let committed = fs::read_to_string(table_path()).unwrap();
    let made_with = committed.strip_prefix(HEAD).and_then(|rest| rest.split_once(". ")).expect("the table's head").0;
    if made_with != format!("{}.{}", version.0, version.1) {
        eprintln!("skipped: the table is of NVRTC {made_with}");
        return;
    }
    let other = expected.lines().zip(committed.lines().chain(std::iter::repeat(""))).find(|(now, then)| now != then);
    let hint = "if that is wanted, repeat with GODIFF_BLESS=1 and commit kernels/registers.md";
    assert!(expected == committed, "registers changed; {hint}; first difference (now, then): {other:?}");
}

/// The check above would notice.
#[test]
fn local_memory_is_a_fault() {
    use godiff::gpu::kernels::Assembled;
    const CLEAN: Assembled = Assembled {
        architecture: 86,
        registers: 255,
        stack_bytes: 0,
        spill_store_bytes: 0,
        spill_load_bytes: 0,
        static_shared_bytes: 0,
    };
    let faults = |assembled: &'static [Assembled]| {
        faults("f", &Kernel { name: "k", argument_bytes: 8, max_threads: 256, assembled })
    };
    assert!(faults(&[CLEAN]).is_empty());
    assert_eq!(faults(&[CLEAN, Assembled { stack_bytes: 8, ..CLEAN }]).len(), 1);
    assert_eq!(faults(&[Assembled { spill_store_bytes: 4, ..CLEAN }]).len(), 1);
    assert_eq!(faults(&[Assembled { spill_load_bytes: 4, ..CLEAN }]).len(), 1);
}
