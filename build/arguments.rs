//! Makes Rust twins of the structures that kernels take, from the kernels' sources, so that each is written once.
//!
//! A line `KERNEL(256, scale, Scale) {` makes an `Entry` of that name, typed by its argument. It also makes twins of `Scale`, of
//! the structures in it and of those that its pointers lead to. A field is `TYPE NAME;`, `TYPE NAME[COUNT];` or several names of
//! one type, on one line. TYPE is a number, `Vector`, a structure, or a pointer to one of these or to a short vector. Anything else
//! in such a structure fails the build. `template <class Stored>` is the one kind of template: pointers to `Stored` become
//! `StoredPointer`.
//!
//! Offsets follow the rules of C for x86-64 and for CUDA, which are the same; [`Twins::assertions`] makes both compilers check
//! them.

use crate::sources::{Texts, included};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The results for all sources.
#[derive(Debug)]
pub struct Twins {
    /// Text of the Rust file: a module for every source.
    pub rust: String,
    /// Lines for the end of each `.cu`, by its name. They do not compile if the layout of a structure differs from its twin's.
    /// OFFSET_OF is the prelude's.
    pub assertions: BTreeMap<String, String>,
}

/// A structure in its source.
struct Raw<'a> {
    file: &'a str,
    /// Number of its first line, from 1.
    line: usize,
    doc: String,
    is_template: bool,
    /// Lines between the braces.
    body: Vec<&'a str>,
}

#[derive(Clone)]
struct Field {
    name: String,
    doc: String,
    /// Rust's type, without the count.
    rust: String,
    count: Option<usize>,
    offset: usize,
    size: usize,
}

#[derive(Clone)]
struct Twin {
    doc: String,
    /// The name in the kernels, with `<float>` if it is a template.
    name_in_c: String,
    fields: Vec<Field>,
    size: usize,
    align: usize,
    has_padding: bool,
    /// True if kernels take it by value, and true if they find it in device memory.
    by_value: bool,
    in_memory: bool,
}

/// A field's type: in Rust, bytes, alignment.
struct Type {
    rust: String,
    size: usize,
    align: usize,
}

/// The module and the name of a twin.
type Key = (String, String);

type Made = BTreeMap<Key, Twin>;

/// The module of a file's twins.
fn module_of(file: &str) -> &str {
    file.split('.').next().unwrap_or(file)
}

/// Makes the twins of all sources and headers.
///
/// # Errors
/// File, line and reason of the first item that has no twin.
pub fn generate(texts: &Texts) -> Result<Twins, String> {
    let mut structures: BTreeMap<&str, BTreeMap<&str, Raw>> = BTreeMap::new();
    let mut constants: BTreeMap<&str, Vec<Constant>> = BTreeMap::new();
    for (file, text) in texts {
        structures.insert(file, read_structures(file, text)?);
        constants.insert(file, read_constants(text));
    }
    let mut made = Made::new();
    let mut entries: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut assertions = BTreeMap::new();
    for (file, text) in texts.iter().filter(|(file, _)| file.ends_with(".cu")) {
        let files: Vec<&str> = [file.as_str()].into_iter().chain(included(text, texts)).collect();
        let scope = Scope {
            structures: files.iter().flat_map(|file| &structures[file]).map(|(name, raw)| (*name, raw)).collect(),
            constants: files.iter().flat_map(|file| &constants[file]).collect(),
        };
        let mut used = Vec::new();
        for (k, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("KERNEL(")) {
            let at = |reason: &str| format!("kernels/{file}:{}: {reason}", k + 1);
            let [threads, name, argument] =
                kernel_of(line).ok_or_else(|| at("not KERNEL(THREADS, NAME, STRUCTURE) {"))?;
            let key =
                scope.make(argument, Use::Value, &mut made, &mut used).map_err(|error| error.or_at(file, k + 1))?;
            entries.entry(module_of(file)).or_default().push(format!(
                "    #[doc = \"The kernel `{name}` of kernels/{file}.\"]\n    \
                 pub const {}: Entry<{}> = Entry::new({name:?}, {threads});\n",
                name.to_uppercase(),
                path(&key)
            ));
        }
        let lines = made.iter().filter(|(key, _)| used.iter().any(|(used, _)| used == *key));
        assertions.insert(file.clone(), lines.map(|(_, twin)| assertion(twin)).collect());
    }
    Ok(Twins { rust: rust(&constants, &entries, &made), assertions })
}

/// Threads, name and argument of a line that begins a kernel.
fn kernel_of(line: &str) -> Option<[&str; 3]> {
    let (inside, _) = line.strip_prefix("KERNEL(")?.split_once(") {")?;
    let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    let [threads, name, argument] = parts[..] else { return None };
    (threads.parse::<u32>().is_ok() && is_name(name)).then_some([threads, name, argument])
}

fn is_name(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(letters) && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// The structures of a file.
fn read_structures<'a>(file: &'a str, text: &'a str) -> Result<BTreeMap<&'a str, Raw<'a>>, String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = BTreeMap::new();
    for (k, line) in lines.iter().enumerate() {
        let Some(name) = line.strip_prefix("struct ").and_then(|rest| rest.strip_suffix(" {")) else { continue };
        let is_template = k > 0 && lines[k - 1].trim() == "template <class Stored>";
        let above = &lines[..k - usize::from(is_template)];
        let n_comments = above.iter().rev().take_while(|line| line.starts_with("//")).count();
        let doc = joined(&above[above.len() - n_comments..]);
        let body: Vec<&str> = lines[k + 1..].iter().take_while(|line| **line != "};").copied().collect();
        if k + 1 + body.len() == lines.len() {
            return Err(format!("kernels/{file}:{}: the structure {name} has no end", k + 1));
        }
        found.insert(name, Raw { file, line: k + 1, doc, is_template, body });
    }
    Ok(found)
}

/// The text of comment lines.
fn joined(lines: &[&str]) -> String {
    let texts: Vec<&str> = lines.iter().map(|line| line.trim().trim_start_matches('/').trim()).collect();
    texts.join(" ")
}

struct Constant {
    name: String,
    value: u32,
}

/// The integers among a file's constants, `constexpr unsigned NAME = INTEGER, …;`.
fn read_constants(text: &str) -> Vec<Constant> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("constexpr unsigned ")?.split(';').next());
    let constant = |text: &str| {
        let (name, value) = text.split_once('=')?;
        let value = value.trim().trim_end_matches('u');
        let value = match value.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => value.parse(),
        };
        Some(Constant { name: name.trim().to_owned(), value: value.ok()? })
    };
    lines.flat_map(|line| line.split(',').filter_map(constant)).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Use {
    Value,
    Memory,
}

/// The reason for a missing twin, and its place if known.
enum Refusal {
    At(String),
    Reason(String),
}

impl Refusal {
    fn or_at(self, file: &str, line: usize) -> String {
        match self {
            Refusal::At(text) => text,
            Refusal::Reason(reason) => format!("kernels/{file}:{line}: {reason}"),
        }
    }
}

/// The structures and constants visible in a `.cu`.
struct Scope<'a> {
    structures: BTreeMap<&'a str, &'a Raw<'a>>,
    constants: Vec<&'a Constant>,
}

impl Scope<'_> {
    /// Makes the twin of `name`, which may be `name<float>` or the like, and all twins that it needs.
    fn make(&self, name: &str, kind: Use, made: &mut Made, used: &mut Vec<(Key, Use)>) -> Result<Key, Refusal> {
        let plain = name.split('<').next().unwrap_or(name);
        let Some(raw) = self.structures.get(plain) else {
            return Err(Refusal::Reason(format!("the type {name} is not known")));
        };
        if raw.is_template != name.contains('<') {
            return Err(Refusal::Reason(format!("{plain} is written with or without <…>, its structure otherwise")));
        }
        let key = (module_of(raw.file).to_owned(), plain.to_owned());
        if used.contains(&(key.clone(), kind)) {
            return Ok(key);
        }
        used.push((key.clone(), kind));
        let new = self.twin(plain, raw, kind, made, used)?;
        if kind == Use::Memory && new.has_padding {
            let reason = format!("{plain} is read from device memory and must have no padding");
            return Err(Refusal::At(format!("kernels/{}:{}: {reason}", raw.file, raw.line)));
        }
        let twin = made.entry(key.clone()).or_insert(new);
        twin.by_value |= kind == Use::Value;
        twin.in_memory |= kind == Use::Memory;
        Ok(key)
    }

    fn twin(
        &self,
        name: &str,
        raw: &Raw,
        kind: Use,
        made: &mut Made,
        used: &mut Vec<(Key, Use)>,
    ) -> Result<Twin, Refusal> {
        let (mut fields, mut end, mut align) = (Vec::<Field>::new(), 0_usize, 1);
        let mut has_padding = false;
        // A comment above describes the next line, and the following ones of the same type.
        let (mut above, mut above_type): (Vec<&str>, Option<&str>) = (Vec::new(), None);
        for (k, line) in raw.body.iter().enumerate() {
            let at = raw.line + 1 + k;
            let line = line.trim();
            if line.starts_with("//") {
                if above_type.take().is_some() {
                    above.clear();
                }
                above.push(line);
                continue;
            }
            if line.is_empty() {
                continue;
            }
            let locate = |refusal: Refusal| Refusal::At(refusal.or_at(raw.file, at));
            let (type_name, names, comment) = declaration(line).ok_or_else(|| {
                locate(Refusal::Reason(format!("a field must be TYPE NAME; or TYPE NAME[COUNT];, not {line}")))
            })?;
            let shared = !above.is_empty() && above_type.is_none_or(|of| of == type_name);
            let doc = match (comment, shared) {
                (Some(comment), _) => joined(&[comment]),
                (None, true) => joined(&above),
                (None, false) => String::new(),
            };
            if shared {
                above_type = Some(type_name);
            } else {
                above.clear();
            }
            let kind_of = self.type_of(type_name, raw.is_template, kind, made, used).map_err(locate)?;
            for name in names {
                let (name, count) = self.count(name).map_err(locate)?;
                let offset = end.next_multiple_of(kind_of.align);
                has_padding |= offset > end;
                let size = kind_of.size * count.unwrap_or(1);
                end = offset + size;
                align = align.max(kind_of.align);
                let rust = kind_of.rust.clone();
                fields.push(Field { name: name.to_owned(), doc: doc.clone(), rust, count, offset, size });
            }
        }
        let size = end.next_multiple_of(align);
        has_padding |= size > end;
        let name_in_c = if raw.is_template { format!("{name}<float>") } else { name.to_owned() };
        let doc = described(&raw.doc, &format!("`{name}` of kernels/{}.", raw.file));
        let see = format!("Said in kernels/{}.", raw.file);
        fields.iter_mut().for_each(|field| field.doc = described(&field.doc, &see));
        Ok(Twin { doc, name_in_c, fields, size, align, has_padding, by_value: false, in_memory: false })
    }

    /// A field's name, and its count if it is an array.
    fn count<'b>(&self, name: &'b str) -> Result<(&'b str, Option<usize>), Refusal> {
        let (name, count) = match name.split_once('[') {
            None => (name, None),
            Some((name, rest)) => {
                let text = rest.strip_suffix(']').unwrap_or(rest);
                let constant = self.constants.iter().find(|constant| constant.name == text);
                let count = constant.map(|constant| constant.value as usize).or_else(|| text.parse().ok());
                (name, Some(count.ok_or_else(|| Refusal::Reason(format!("the count {text} is no known number")))?))
            }
        };
        if is_name(name) { Ok((name, count)) } else { Err(Refusal::Reason(format!("{name} is no name of a field"))) }
    }

    fn type_of(
        &self,
        name: &str,
        in_template: bool,
        kind: Use,
        made: &mut Made,
        used: &mut Vec<(Key, Use)>,
    ) -> Result<Type, Refusal> {
        if let Some(target) = name.strip_suffix('*') {
            let target = target.strip_prefix("const ").unwrap_or(target).trim();
            let rust = match target {
                "Stored" if in_template => "StoredPointer".to_owned(),
                _ => match pointed(target) {
                    Some(element) => format!("Pointer<{element}>"),
                    None => format!("Pointer<{}>", path(&self.make(target, Use::Memory, made, used)?)),
                },
            };
            return Ok(Type { rust, size: 8, align: 8 });
        }
        if let Some((rust, size, align)) = number(name) {
            return Ok(Type { rust: rust.to_owned(), size, align });
        }
        let key = self.make(name, kind, made, used)?;
        let Some(twin) = made.get(&key) else { return Err(Refusal::Reason(format!("{name} contains itself"))) };
        Ok(Type { rust: path(&key), size: twin.size, align: twin.align })
    }
}

/// Types by value: in Rust, bytes, alignment.
fn number(name: &str) -> Option<(&'static str, usize, usize)> {
    Some(match name {
        "float" => ("f32", 4, 4),
        "double" => ("f64", 8, 8),
        "unsigned" => ("u32", 4, 4),
        "int" => ("i32", 4, 4),
        "u64" => ("u64", 8, 8),
        "Vector" => ("[f64; 3]", 24, 8),
        _ => return None,
    })
}

/// Targets of pointers other than structures.
fn pointed(name: &str) -> Option<&'static str> {
    Some(match name {
        "unsigned short" => "u16",
        "float2" => "[f32; 2]",
        "float4" => "[f32; 4]",
        "double2" => "[f64; 2]",
        "uint2" => "[u32; 2]",
        "uint4" => "[u32; 4]",
        _ => return number(name).map(|(rust, ..)| rust),
    })
}

/// Type, names and comment of a line that declares fields.
fn declaration(line: &str) -> Option<(&str, Vec<&str>, Option<&str>)> {
    let (code, comment) = match line.split_once("//") {
        Some((code, comment)) => (code.trim(), Some(comment)),
        None => (line, None),
    };
    let code = code.strip_suffix(';')?;
    let first = code.split(',').next()?;
    let (type_name, _) = first.rsplit_once(' ')?;
    let names: Vec<&str> = code[type_name.len()..].split(',').map(str::trim).collect();
    let plain = |text: &str| !text.contains(['(', ')', '=', '{', '}', ';', ':', '&']);
    (plain(code)).then_some((type_name.trim(), names, comment))
}

/// `doc`, or `other` if there is none, as a sentence in Rust's documentation.
fn described(doc: &str, other: &str) -> String {
    if doc.is_empty() {
        return other.to_owned();
    }
    let mut text = doc.replace('[', "\\[").replace(']', "\\]").replace('<', "\\<").replace('*', "\\*");
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

fn path((module, name): &Key) -> String {
    format!("super::{module}::{name}")
}

fn assertion(twin: &Twin) -> String {
    let name = &twin.name_in_c;
    let mut text = format!("static_assert(sizeof({name}) == {}, \"{name} has another size in Rust\");\n", twin.size);
    for Field { name: field, offset, .. } in &twin.fields {
        let _ = writeln!(
            text,
            "static_assert(OFFSET_OF({name}, {field}) == {offset}, \"{name}.{field} has another place in Rust\");"
        );
    }
    text
}

fn rust(constants: &BTreeMap<&str, Vec<Constant>>, entries: &BTreeMap<&str, Vec<String>>, made: &Made) -> String {
    let mut modules: BTreeMap<&str, String> = BTreeMap::new();
    for (file, constants) in constants {
        for Constant { name, value } in constants {
            let text = format!("    #[doc = \"As in kernels/{file}.\"]\n    pub const {name}: u32 = {value};\n");
            modules.entry(module_of(file)).or_default().push_str(&text);
        }
    }
    for (module, entries) in entries {
        modules.entry(module).or_default().push_str(&entries.concat());
    }
    for ((module, name), twin) in made {
        modules.entry(module).or_default().push_str(&structure(name, twin));
    }
    let module = |(name, text): (&str, String)| {
        format!(
            "#[doc = \"Of kernels/{name}.\"]\npub mod {name} {{\n    #[allow(unused_imports)]\n    use crate::gpu::{{Arguments, Entry, Pointer, StoredPointer}};\n\n{text}}}\n"
        )
    };
    modules.into_iter().map(module).collect()
}

/// The numbers of a field in device memory.
fn letters(field: &Field) -> String {
    match field.rust.as_str() {
        "f32" => "s".repeat(field.size / 4),
        "f64" | "[f64; 3]" => "d".repeat(field.size / 8),
        _ => "u".repeat(field.size / 4),
    }
}

/// The twin's text.
fn structure(name: &str, twin: &Twin) -> String {
    let layout = if twin.in_memory {
        "    #[derive(PartialEq, bytemuck::Pod, bytemuck::Zeroable)]\n    #[repr(C)]\n"
    } else {
        ""
    };
    let mut text = format!(
        "    #[doc = {:?}]\n    #[derive(Debug, Clone, Copy, Default)]\n{layout}    pub struct {name} {{\n",
        twin.doc
    );
    let (mut puts, mut offsets) = (String::new(), String::new());
    for Field { name: field, doc, rust, count, offset, size } in &twin.fields {
        let rust = count.map_or(rust.clone(), |count| format!("[{rust}; {count}]"));
        let _ = writeln!(text, "        #[doc = {doc:?}]\n        pub {field}: {rust},");
        let _ = writeln!(puts, "            self.{field}.put(&mut to[{offset}..{}]);", offset + size);
        let _ = write!(offsets, " && std::mem::offset_of!({name}, {field}) == {offset}");
    }
    text.push_str("    }\n");
    if twin.in_memory {
        let _ = writeln!(text, "    const _: () = assert!(size_of::<{name}>() == {}{offsets});", twin.size);
        let letters: String = twin.fields.iter().map(letters).collect();
        let _ = writeln!(
            text,
            "    impl {name} {{\n        #[doc = \"Its numbers in their order: d an f64, s an f32, u four other bytes.\"]\n        \
             pub const NUMBERS: &str = {letters:?};\n    }}"
        );
    }
    if twin.by_value {
        let _ = writeln!(
            text,
            "    impl Arguments for {name} {{\n        const BYTES: usize = {};\n        fn put(&self, to: &mut [u8]) {{\n{puts}        }}\n    }}",
            twin.size
        );
    }
    text
}
