//! Instructions and faults on PTX written by hand. Expected values are by hand, or from numpy where a test says so.

mod faults;
mod opcodes;
mod threads;

use super::{Launch, Module, Region};

/// Where the numbers of a test are.
const NUMBERS: u64 = 0x1000;

/// A kernel `k` of up to 64 threads with `body`. Its argument is the address of the numbers; `%p` holds it.
fn module(body: &str, functions: &str) -> Module {
    let text = format!(
        ".version 8.8\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 godiff_shared_memory[];\n{functions}\n\
         .visible .entry k(\n\t.param .align 8 .b8 k_param_0[8]\n)\n.maxntid 64, 1, 1\n{{\n\t.reg .b64 \t%p;\n\
         \tld.param.u64 \t%p, [k_param_0];\n{body}\n\tret;\n}}\n"
    );
    Module::read(&text).unwrap()
}

/// The numbers after a launch of `k`.
fn run(module: &Module, threads: u32, shared_bytes: u32, numbers: &[u64]) -> Result<Vec<u64>, String> {
    let mut regions = [Region { address: NUMBERS, bytes: bytemuck::cast_slice(numbers).to_vec() }];
    let arguments = NUMBERS.to_le_bytes();
    let launch = Launch { blocks: [1, 1], threads, shared_bytes, arguments: &arguments };
    module.run("k", &launch, &mut regions, &mut Vec::new())?;
    Ok(bytemuck::pod_collect_to_vec(&regions[0].bytes))
}

/// The register `%r` after `instructions` by one thread, in which `%a`, `%b`, `%c` and `%d` hold `inputs`.
fn result(instructions: &str, inputs: &[u64]) -> u64 {
    let names = ["a", "b", "c", "d"].iter().zip(inputs).enumerate();
    let loads: String =
        names.map(|(k, (name, _))| format!("\tld.global.u64 %{name}, [%p+{}];\n", 8 * (k + 1))).collect();
    let body = format!("{loads}{instructions}\n\tst.global.u64 [%p], %r;");
    let numbers: Vec<u64> = [0].iter().chain(inputs).copied().collect();
    run(&module(&body, ""), 1, 0, &numbers).unwrap_or_else(|fault| panic!("{instructions}: {fault}"))[0]
}
