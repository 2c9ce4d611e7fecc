//! Makes a kernel of the text: registers become places in a frame, labels places in the code, calls jumps.

use super::instruction::{Instruction, NOTHING, Operation, Type};
use super::kernel::{Kernel, SPECIAL_NAMES};
use super::text::{Function, operands};
use std::collections::HashMap;

/// The name of the dynamic shared memory in every kernel of this project.
const SHARED: &str = "godiff_shared_memory";

/// What a kernel is made from.
pub struct Reader<'a> {
    functions: &'a HashMap<String, Function>,
    /// Registers by function and name.
    registers: HashMap<String, u32>,
    /// Registers that hold a constant, by its bits.
    constants: HashMap<u64, u32>,
    n_registers: u32,
    pub(super) code: Vec<Instruction>,
    pub(super) lists: Vec<[u32; 4]>,
    /// Jumps and calls whose place is not known yet.
    pending: Vec<(usize, String)>,
    labels: HashMap<String, usize>,
    /// Where each function that is used starts.
    starts: HashMap<String, usize>,
    /// Functions that are called and not read yet.
    wanted: Vec<String>,
    /// The function that is being read.
    scope: String,
    /// The kernel's parameter.
    parameter: Option<String>,
}

/// Reads the kernel `entry` with all that it calls.
///
/// # Errors
/// The line that is not understood, and why.
pub fn kernel(entry: &Function, functions: &HashMap<String, Function>) -> Result<Kernel, String> {
    let mut reader = Reader {
        functions,
        registers: HashMap::new(),
        constants: HashMap::new(),
        n_registers: 0,
        code: Vec::new(),
        lists: Vec::new(),
        pending: Vec::new(),
        labels: HashMap::new(),
        starts: HashMap::new(),
        wanted: vec![entry.name.clone()],
        scope: String::new(),
        parameter: entry.parameters.first().map(|(name, _)| name.clone()),
    };
    let specials = SPECIAL_NAMES.map(|name| reader.register(name));
    while let Some(name) = reader.wanted.pop() {
        if !reader.starts.contains_key(&name) {
            reader.function(&functions[&name]).map_err(|cause| format!("{}: {cause}", entry.name))?;
        }
    }
    for (at, label) in std::mem::take(&mut reader.pending) {
        let place = reader.labels.get(&label).or_else(|| reader.starts.get(&label));
        reader.code[at].extra = *place.ok_or(format!("{}: there is no label {label}", entry.name))? as i64;
    }
    Ok(Kernel {
        name: entry.name.clone(),
        argument_bytes: entry.parameters.iter().map(|(_, bytes)| bytes).sum(),
        max_threads: entry.max_threads,
        code: reader.code,
        lists: reader.lists,
        n_registers: reader.n_registers as usize,
        constants: reader.constants.into_iter().map(|(bits, register)| (register, bits)).collect(),
        specials,
    })
}

impl Reader<'_> {
    fn place(&mut self) -> u32 {
        self.n_registers += 1;
        self.n_registers - 1
    }

    /// The register `name` of the present function.
    pub(super) fn register(&mut self, name: &str) -> u32 {
        let key = if SPECIAL_NAMES.contains(&name) { name.to_owned() } else { format!("{}/{name}", self.scope) };
        if let Some(&register) = self.registers.get(&key) {
            return register;
        }
        let register = self.place();
        self.registers.insert(key, register);
        register
    }

    /// The register `name` of another function.
    fn register_of(&mut self, function: &str, name: &str) -> u32 {
        let here = std::mem::replace(&mut self.scope, function.to_owned());
        let register = self.register(name);
        self.scope = here;
        register
    }

    fn constant(&mut self, bits: u64) -> u32 {
        if let Some(&register) = self.constants.get(&bits) {
            return register;
        }
        let register = self.place();
        self.constants.insert(bits, register);
        register
    }

    /// The register of a source: its own, or that of a constant of type `kind`.
    pub(super) fn source(&mut self, text: &str, kind: Type) -> Result<u32, String> {
        if text.starts_with('%') {
            return Ok(self.register(text));
        }
        if Some(text) == self.parameter.as_deref() || text == SHARED {
            return Ok(self.constant(0));
        }
        let not_understood = || format!("the operand {text} is not understood");
        let lower = text.to_lowercase();
        if let Some(digits) = lower.strip_prefix("0d").or(lower.strip_prefix("0f")) {
            return u64::from_str_radix(digits, 16).map(|bits| self.constant(bits)).map_err(|_| not_understood());
        }
        let value: i128 = match lower.strip_prefix("0x") {
            Some(digits) => i128::from_str_radix(digits.trim_end_matches('u'), 16).map_err(|_| not_understood())?,
            None => lower.parse().map_err(|_| not_understood())?,
        };
        Ok(self.constant(value as u64 & kind.mask()))
    }

    /// The list `{a, b, …}` or the single operand `text`: its place, and the number of registers.
    pub(super) fn list(&mut self, text: &str, kind: Type) -> Result<(u32, u8), String> {
        let parts = operands(text.trim_start_matches('{').trim_end_matches('}'));
        let mut registers = [NOTHING; 4];
        if parts.len() > registers.len() {
            return Err("a list holds more than four registers".to_owned());
        }
        for (register, part) in registers.iter_mut().zip(&parts) {
            *register = if part == "_" { NOTHING } else { self.source(part, kind)? };
        }
        self.lists.push(registers);
        Ok((self.lists.len() as u32 - 1, parts.len() as u8))
    }

    /// Register or name of the address `[base+offset]`, and the offset.
    pub(super) fn address(&mut self, text: &str) -> Result<(Result<u32, String>, i64), String> {
        let inner = text.trim_start_matches('[').trim_end_matches(']').trim();
        let (base, offset) = inner.split_once('+').unwrap_or((inner, "0"));
        let offset = offset.trim().parse().map_err(|_| format!("the address {text} is not understood"))?;
        let base = base.trim();
        let known = base.starts_with('%') || base == SHARED || Some(base) == self.parameter.as_deref();
        let register = if known { Ok(self.source(base, Type::B64)?) } else { Err(base.to_owned()) };
        Ok((register, offset))
    }

    pub(super) fn push(&mut self, instruction: Instruction) {
        self.code.push(instruction);
    }

    fn function(&mut self, function: &Function) -> Result<(), String> {
        self.scope = function.name.clone();
        self.starts.insert(function.name.clone(), self.code.len());
        for (line, statement) in &function.body {
            self.statement(function, *line, statement).map_err(|cause| format!("line {line}: {statement}: {cause}"))?;
        }
        self.leave(function, 0);
        Ok(())
    }

    /// The end of `function`: of the thread, or the way back to the caller.
    fn leave(&mut self, function: &Function, line: u32) {
        let target = if function.is_entry { NOTHING } else { self.register("%return") };
        self.push(Instruction { target, ..Instruction::new(Operation::Return, line) });
    }

    fn statement(&mut self, function: &Function, line: u32, text: &str) -> Result<(), String> {
        if let Some(label) = text.strip_suffix(':') {
            self.labels.insert(label.to_owned(), self.code.len());
            return Ok(());
        }
        if text.is_empty() || text.starts_with('.') {
            return Ok(());
        }
        let (guard, text) = match text.strip_prefix('@') {
            None => (None, text),
            Some(rest) => {
                let (guard, rest) = rest.split_once(char::is_whitespace).ok_or("a guard guards nothing")?;
                (Some((self.register(guard.trim_start_matches('!')), guard.starts_with('!'))), rest.trim())
            }
        };
        let (opcode, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let parts = operands(rest);
        if opcode == "bra" || opcode == "bra.uni" {
            let (operation, a) = match guard {
                None => (Operation::Jump, NOTHING),
                Some((register, false)) => (Operation::JumpIf, register),
                Some((register, true)) => (Operation::JumpUnless, register),
            };
            self.pending.push((self.code.len(), parts.first().ok_or("a jump without a label")?.clone()));
            self.push(Instruction { a, ..Instruction::new(operation, line) });
            return Ok(());
        }
        if let Some((a, negated)) = guard {
            let operation = if negated { Operation::SkipIf } else { Operation::SkipUnless };
            // It belongs to the guarded instruction, so it has no line.
            self.push(Instruction { a, ..Instruction::new(operation, 0) });
        }
        match opcode {
            "ret" | "exit" => {
                self.leave(function, line);
                Ok(())
            }
            _ if opcode.starts_with("call") && guard.is_none() => self.call(line, &parts),
            _ => self.instruction(line, opcode, &parts),
        }
    }

    /// `call (results), name, (arguments)`: arguments are copied, then results.
    fn call(&mut self, line: u32, parts: &[String]) -> Result<(), String> {
        let inner = |text: &str| operands(text.trim_start_matches('(').trim_end_matches(')'));
        let (results, name, arguments) = match parts {
            [results, name, arguments] => (inner(results), name, inner(arguments)),
            [name, arguments] => (Vec::new(), name, inner(arguments)),
            _ => return Err("the call is not understood".to_owned()),
        };
        let functions = self.functions;
        let callee = functions.get(name).ok_or("the function is not in this module")?;
        let copy = |target: u32, a: u32| Instruction { target, a, ..Instruction::new(Operation::Move, 0) };
        for (argument, (parameter, _)) in arguments.iter().zip(&callee.parameters) {
            let (a, target) = (self.register(argument), self.register_of(name, parameter));
            self.push(copy(target, a));
        }
        let target = self.register_of(name, "%return");
        self.pending.push((self.code.len(), name.clone()));
        self.push(Instruction { target, ..Instruction::new(Operation::Call, line) });
        for (result, returned) in results.iter().zip(&callee.returns) {
            let (a, target) = (self.register_of(name, returned), self.register(result));
            self.push(copy(target, a));
        }
        self.wanted.push(name.clone());
        Ok(())
    }
}
