//! Runs PTX, the text that NVRTC makes of a kernel and that a driver turns into machine code, on the CPU. It knows nothing of the
//! kernels' C++, so what it shows is what was compiled: contracted sums, the order of operations, vector accesses, masks.
//!
//! It reads the part of the PTX ISA that this project's kernels compile to and refuses the rest: 64-bit addresses, one structure of
//! arguments, dynamic shared memory, calls of functions that do not recur, `bar`, `shfl`, `vote`. A launch ends with a sentence
//! where a card ends it or leaves the outcome undefined: accesses outside of allocations, of shared memory or of arguments,
//! misaligned ones (a vector counts as a whole), barriers and lanes that never meet. Registers and shared memory begin as NaN.
//!
//! Races are left to the C++ side of the emulator. The folder is for tests and is not in the published package.

mod follow;
mod instruction;
mod kernel;
mod memory;
mod numbers;
mod opcodes;
mod operands;
mod reader;
#[cfg(test)]
mod tests;
mod text;
mod thread;
mod warp;

pub use follow::{LINE, Path, Visit};
pub use memory::Region;
pub use numbers::half_to_single;
pub use operands::Operands;

use instruction::Type;
use kernel::Kernel;
use std::collections::{BTreeMap, HashMap};

/// A launch.
pub struct Launch<'a> {
    /// Along x and y.
    pub blocks: [u32; 2],
    pub threads: u32,
    pub shared_bytes: u32,
    pub arguments: &'a [u8],
}

/// The kernels of one text; of one that cannot be read, the reason.
pub struct Module {
    kernels: BTreeMap<String, Result<Kernel, String>>,
    lines: Vec<String>,
}

impl Module {
    /// Reads a module.
    ///
    /// # Errors
    /// What is wrong with its functions as a whole.
    pub fn read(text: &str) -> Result<Module, String> {
        let functions: HashMap<String, _> =
            text::functions(text)?.into_iter().map(|function| (function.name.clone(), function)).collect();
        let entries = functions.values().filter(|function| function.is_entry);
        let kernels = entries.map(|entry| (entry.name.clone(), reader::kernel(entry, &functions))).collect();
        Ok(Module { kernels, lines: text.lines().map(|line| line.trim().to_owned()).collect() })
    }

    /// The names of the kernels.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.kernels.keys().map(String::as_str)
    }

    /// Runs a launch of `kernel`. `executed` counts how often threads executed each instruction.
    ///
    /// # Errors
    /// What a card would refuse or end the launch for, or the line that cannot be read.
    pub fn run(
        &self,
        kernel: &str,
        launch: &Launch,
        regions: &mut [Region],
        executed: &mut Vec<u64>,
    ) -> Result<(), String> {
        let kernel = self.kernel(kernel)?;
        kernel.run(launch, regions, executed).map_err(|fault| self.sentence(kernel, fault))
    }

    /// Runs the blocks `followed` of a launch of `kernel`, and gives the paths of their warps.
    ///
    /// # Errors
    /// As [`Module::run`].
    pub fn follow(
        &self,
        kernel: &str,
        launch: &Launch,
        regions: &mut [Region],
        followed: &[[u32; 2]],
    ) -> Result<Vec<Vec<Path>>, String> {
        let kernel = self.kernel(kernel)?;
        kernel.follow(launch, regions, followed).map_err(|fault| self.sentence(kernel, fault))
    }

    /// What every instruction of `kernel` reads and writes; none of a kernel that cannot be read.
    pub fn operands(&self, kernel: &str) -> Vec<Operands> {
        self.kernel(kernel).map(|found| found.operands(&self.opcodes(kernel))).unwrap_or_default()
    }

    /// What went wrong, with the line of the text.
    fn sentence(&self, kernel: &Kernel, (sentence, at): (String, usize)) -> String {
        match kernel.code.get(at) {
            Some(now) => format!("{sentence} (PTX, line {}: {})", now.line, self.line(now.line)),
            None => sentence,
        }
    }

    /// The opcode of every instruction of `kernel`; empty where the reader added one.
    pub fn opcodes(&self, kernel: &str) -> Vec<&str> {
        let opcode = |line: u32| {
            let text = self.line(line);
            let unguarded =
                if text.starts_with('@') { text.split_once(char::is_whitespace).unwrap_or_default().1 } else { text };
            unguarded.split_whitespace().next().unwrap_or_default().trim_end_matches(';')
        };
        let code = self.kernel(kernel).map(|kernel| kernel.code.as_slice()).unwrap_or_default();
        code.iter().map(|now| opcode(now.line)).collect()
    }

    fn kernel(&self, name: &str) -> Result<&Kernel, String> {
        let found = self.kernels.get(name).ok_or_else(|| format!("there is no kernel '{name}' in this module"))?;
        found.as_ref().map_err(Clone::clone)
    }

    /// The text of line `number`, from 1; empty for 0.
    fn line(&self, number: u32) -> &str {
        self.lines.get((number as usize).wrapping_sub(1)).map_or("", String::as_str)
    }
}
