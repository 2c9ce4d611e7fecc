//! Reads Python pickles that `torch.save` wrote into a tree of plain values, without executing anything.
//!
//! A pickle is a program for a stack machine. Here the machine knows data only: a class or function remains a name, and a call of
//! one makes an opaque [`Node::Object`]. The exceptions are the three calls that a state dict needs (tensors, parameters, ordered
//! dictionaries). Opcodes: Python's `pickletools`. All values are in one list and refer to each other by index, so hostile
//! nesting costs no recursion. Values that are used often are not copied, so memory stays within a constant times the input.

use std::collections::HashMap;
use std::rc::Rc;

/// Longest name of a storage; torch numbers them.
const MAX_NAME: usize = 512;
/// Most dimensions of a tensor, as in torch.
const MAX_DIMENSIONS: usize = 64;

/// Index of a value in its [`Pickle`], which is no longer than [`super::torch_archive`] reads.
pub(super) type Id = u32;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    /// Byte strings, and integers beyond 64 bits: a model does not need their values.
    Opaque,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function.
    Global(Rc<Name>),
    /// A value that the archive stores outside the pickle; for torch ('storage', class, key, device, elements).
    Persistent(Id),
    /// A view of a storage.
    Tensor(Box<StoredTensor>),
    /// An instance of a class that is not known here.
    Object(Box<Object>),
}

/// A class or function, as the pickle names it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Name {
    pub module: Rc<str>,
    pub name: Rc<str>,
}

/// Entries and state that an instance was given.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Object {
    entries: Vec<(Id, Id)>,
    state: Option<Id>,
}

/// A tensor as the values it was made from, which were checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredTensor {
    class: Rc<Name>,
    key: Rc<str>,
    n_stored: u64,
    offset: u64,
    shape: Id,
    stride: Id,
}

/// The place of a tensor's elements; numbers count elements.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorView {
    /// Class of the storage, such as "torch.FloatStorage".
    pub storage_class: String,
    /// Name of the storage's file in the archive.
    pub key: String,
    /// Elements in the storage.
    pub n_stored: u64,
    pub offset: u64,
    pub shape: Vec<u64>,
    pub stride: Vec<u64>,
}

/// The values of one pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    nodes: Vec<Node>,
    root: Id,
}

impl Pickle {
    /// Runs the pickle `bytes`.
    ///
    /// # Errors
    /// A phrase for a sentence: where the pickle ends too early, makes no sense, or uses an opcode that is unknown here.
    pub fn parse(bytes: &[u8]) -> Result<Pickle, String> {
        let mut machine = Machine {
            bytes,
            position: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        loop {
            let at = machine.position;
            match machine.step() {
                Ok(None) => {}
                Ok(Some(root)) => return Ok(Pickle { nodes: machine.nodes, root }),
                Err(Fault::Truncated) => return Err(format!("its pickle ends early, inside the opcode at byte {at}")),
                Err(Fault::Senseless) => return Err(format!("its pickle makes no sense at byte {at}")),
                Err(Fault::Unsupported(opcode)) => {
                    return Err(format!(
                        "its pickle uses opcode {opcode:#04x} at byte {at}, which model files do not need"
                    ));
                }
            }
        }
    }

    /// The outermost value.
    pub fn root(&self) -> Id {
        self.root
    }

    /// Keys and values of a dictionary, or of an object that behaves like one; empty for any other value.
    pub fn entries(&self, id: Id) -> &[(Id, Id)] {
        match self.node(id) {
            Node::Dict(entries) => entries,
            Node::Object(object) => &object.entries,
            _ => &[],
        }
    }

    fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// The value under the text `key`; the last one, as in Python, if the key is there twice.
    pub fn get(&self, dict: Id, key: &str) -> Option<Id> {
        let found = self.entries(dict).iter().rev().find(|(k, _)| self.text(*k) == Some(key));
        found.map(|(_, value)| *value)
    }

    pub fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn number(&self, id: Id) -> Option<f64> {
        match *self.node(id) {
            Node::Int(value) => Some(value as f64),
            Node::Float(value) => Some(value),
            _ => None,
        }
    }

    pub fn is_tensor(&self, id: Id) -> bool {
        matches!(self.node(id), Node::Tensor(_))
    }

    /// The tensor `id`, if it is one.
    pub fn tensor(&self, id: Id) -> Option<TensorView> {
        let Node::Tensor(tensor) = self.node(id) else { return None };
        let StoredTensor { class, key, n_stored, offset, shape, stride } = &**tensor;
        Some(TensorView {
            storage_class: format!("{}.{}", class.module, class.name),
            key: key.to_string(),
            n_stored: *n_stored,
            offset: *offset,
            shape: sizes(&self.nodes, *shape)?,
            stride: sizes(&self.nodes, *stride)?,
        })
    }

    /// The values directly inside `id`.
    pub fn children(&self, id: Id) -> Vec<Id> {
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) => items.clone(),
            Node::Dict(entries) => entries.iter().map(|(_, value)| *value).collect(),
            Node::Object(object) => object.entries.iter().map(|(_, value)| *value).chain(object.state).collect(),
            _ => Vec::new(),
        }
    }
}

enum Fault {
    Truncated,
    Senseless,
    Unsupported(u8),
}

type Step<T> = Result<T, Fault>;

struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack at which MARK was met.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl Machine<'_> {
    /// Executes one opcode; gives the outermost value at STOP.
    fn step(&mut self) -> Step<Option<Id>> {
        match self.byte()? {
            b'.' => return self.pop().map(Some),
            // PROTO, FRAME: nothing to do
            0x80 => self.skip(1)?,
            0x95 => self.skip(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.discard()?,
            b'1' => self.pop_mark().map(drop)?,
            b'2' => {
                let top = *self.stack.last().ok_or(Fault::Senseless)?;
                self.stack.push(top);
            }
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Node::Int(value.into()));
            }
            b'K' => self.push_unsigned(1)?,
            b'M' => self.push_unsigned(2)?,
            0x8a => self.push_long(1)?,
            0x8b => self.push_long(4)?,
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Node::Float(value));
            }
            0x8c => self.push_text(1)?,
            b'X' => self.push_text(4)?,
            0x8d => self.push_text(8)?,
            // SHORT_BINSTRING and BINSTRING, BINBYTES in its three lengths
            b'U' | b'C' => self.push_opaque(1)?,
            b'T' | b'B' => self.push_opaque(4)?,
            0x8e => self.push_opaque(8)?,
            b')' => self.push(Node::Tuple(Vec::new())),
            0x85 => self.push_tuple(1)?,
            0x86 => self.push_tuple(2)?,
            0x87 => self.push_tuple(3)?,
            b't' => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items));
            }
            b']' | 0x8f => self.push(Node::List(Vec::new())),
            b'l' | 0x91 => {
                let items = self.pop_mark()?;
                self.push(Node::List(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend_list(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.extend_list(items)?;
            }
            b'}' => self.push(Node::Dict(Vec::new())),
            b'd' => {
                let entries = pairs(self.pop_mark()?)?;
                self.push(Node::Dict(entries));
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend_dict(vec![(key, value)])?;
            }
            b'u' => {
                let entries = pairs(self.pop_mark()?)?;
                self.extend_dict(entries)?;
            }
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => {
                let top = *self.stack.last().ok_or(Fault::Senseless)?;
                self.memo.insert(self.memo.len() as u64, top);
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'c' => {
                let (module, name) = (self.line()?.into(), self.line()?.into());
                self.push(Node::Global(Rc::new(Name { module, name })));
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                self.push(Node::Global(Rc::new(Name { module, name })));
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            b'R' => self.reduce()?,
            0x81 => {
                let (_arguments, _class) = (self.pop()?, self.pop()?);
                self.push(Node::Object(Box::default()));
            }
            0x92 => {
                let (_keywords, _arguments, _class) = (self.pop()?, self.pop()?, self.pop()?);
                self.push(Node::Object(Box::default()));
            }
            b'b' => {
                let given = self.pop()?;
                let top = *self.stack.last().ok_or(Fault::Senseless)?;
                // dictionaries get attributes (a state dict's `_metadata`), which no one needs
                if let Node::Object(object) = &mut self.nodes[top as usize] {
                    object.state = Some(given);
                }
            }
            opcode => return Err(Fault::Unsupported(opcode)),
        }
        Ok(None)
    }

    /// Calls a function: ordered dictionaries, tensors and parameters are made, every other call becomes an object.
    fn reduce(&mut self) -> Step<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Node::Tuple(arguments) = self.node(arguments) else { return Err(Fault::Senseless) };
        let name = if let Node::Global(name) = self.node(function) { (&*name.module, &*name.name) } else { ("", "") };
        let made = match (name, &arguments[..]) {
            (("collections", "OrderedDict"), []) => Node::Dict(Vec::new()),
            (("torch._utils", "_rebuild_tensor_v2"), [storage, offset, shape, stride, ..]) => {
                let tensor = self.tensor(*storage, *offset, *shape, *stride).ok_or(Fault::Senseless)?;
                Node::Tensor(Box::new(tensor))
            }
            (("torch._utils", "_rebuild_parameter"), [data, ..]) => {
                let data = *data;
                self.stack.push(data);
                return Ok(());
            }
            _ => Node::Object(Box::default()),
        };
        self.push(made);
        Ok(())
    }

    fn tensor(&self, storage: Id, offset: Id, shape: Id, stride: Id) -> Option<StoredTensor> {
        let Node::Persistent(id) = *self.node(storage) else { return None };
        let Node::Tuple(parts) = self.node(id) else { return None };
        let &[kind, class, key, _device, n_stored, ..] = &parts[..] else { return None };
        let (Node::Text(kind), Node::Global(class), Node::Text(key)) =
            (self.node(kind), self.node(class), self.node(key))
        else {
            return None;
        };
        let n_dimensions = sizes(&self.nodes, shape)?.len();
        let usual = &**kind == "storage" && [key, &class.module, &class.name].iter().all(|name| name.len() <= MAX_NAME);
        (usual && sizes(&self.nodes, stride)?.len() == n_dimensions).then_some(StoredTensor {
            class: Rc::clone(class),
            key: Rc::clone(key),
            n_stored: size(&self.nodes, n_stored)?,
            offset: size(&self.nodes, offset)?,
            shape,
            stride,
        })
    }

    fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len() as Id);
        self.nodes.push(node);
    }

    fn push_unsigned(&mut self, width: usize) -> Step<()> {
        let value = self.unsigned(width)?;
        self.push(Node::Int(value as i64));
        Ok(())
    }

    /// LONG1 and LONG4: a length of `width` bytes, then that many bytes of a signed little-endian integer.
    fn push_long(&mut self, width: usize) -> Step<()> {
        let n = self.length(width)?;
        let bytes = self.take(n)?;
        let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let node = if n <= 8 {
            Node::Int(i64::from_le_bytes(std::array::from_fn(|k| bytes.get(k).copied().unwrap_or(sign))))
        } else {
            Node::Opaque
        };
        self.push(node);
        Ok(())
    }

    fn push_text(&mut self, width: usize) -> Step<()> {
        let n = self.length(width)?;
        let text = String::from_utf8_lossy(self.take(n)?);
        self.push(Node::Text(text.into()));
        Ok(())
    }

    fn push_opaque(&mut self, width: usize) -> Step<()> {
        let n = self.length(width)?;
        self.skip(n)?;
        self.push(Node::Opaque);
        Ok(())
    }

    fn push_tuple(&mut self, n: usize) -> Step<()> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(n).filter(|start| *start >= floor).ok_or(Fault::Senseless)?;
        let items = self.stack.split_off(start);
        self.push(Node::Tuple(items));
        Ok(())
    }

    fn extend_list(&mut self, items: Vec<Id>) -> Step<()> {
        let top = *self.stack.last().ok_or(Fault::Senseless)?;
        match &mut self.nodes[top as usize] {
            Node::List(list) => list.extend(items),
            // the contents of a list of an unknown class are not needed
            Node::Object(_) => {}
            _ => return Err(Fault::Senseless),
        }
        Ok(())
    }

    fn extend_dict(&mut self, given: Vec<(Id, Id)>) -> Step<()> {
        let top = *self.stack.last().ok_or(Fault::Senseless)?;
        match &mut self.nodes[top as usize] {
            Node::Dict(entries) => entries.extend(given),
            Node::Object(object) => object.entries.extend(given),
            _ => return Err(Fault::Senseless),
        }
        Ok(())
    }

    fn remember(&mut self, width: usize) -> Step<()> {
        let slot = self.unsigned(width)?;
        let top = *self.stack.last().ok_or(Fault::Senseless)?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Step<()> {
        let slot = self.unsigned(width)?;
        let id = *self.memo.get(&slot).ok_or(Fault::Senseless)?;
        self.stack.push(id);
        Ok(())
    }

    /// The top of the stack, which must be above the last mark.
    fn pop(&mut self) -> Step<Id> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(Fault::Senseless);
        }
        self.stack.pop().ok_or(Fault::Senseless)
    }

    /// POP removes a mark if the mark is on top.
    fn discard(&mut self) -> Step<()> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    /// Everything above the last mark, and the mark.
    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or(Fault::Senseless)?;
        Ok(self.stack.split_off(mark))
    }

    fn pop_text(&mut self) -> Step<Rc<str>> {
        let id = self.pop()?;
        match self.node(id) {
            Node::Text(text) => Ok(Rc::clone(text)),
            _ => Err(Fault::Senseless),
        }
    }

    fn skip(&mut self, n: usize) -> Step<()> {
        self.take(n).map(|_| ())
    }

    fn byte(&mut self) -> Step<u8> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn unsigned(&mut self, width: usize) -> Step<u64> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn length(&mut self, width: usize) -> Step<usize> {
        usize::try_from(self.unsigned(width)?).map_err(|_| Fault::Truncated)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| Fault::Truncated)
    }

    /// Text up to the next line feed, which is skipped.
    fn line(&mut self) -> Step<String> {
        let rest = &self.bytes[self.position..];
        let n = rest.iter().position(|byte| *byte == b'\n').ok_or(Fault::Truncated)?;
        let line = String::from_utf8_lossy(&rest[..n]).into_owned();
        self.position += n + 1;
        Ok(line)
    }
}

impl<'a> Machine<'a> {
    fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        let end = self.position.checked_add(n).ok_or(Fault::Truncated)?;
        let bytes = self.bytes.get(self.position..end).ok_or(Fault::Truncated)?;
        self.position = end;
        Ok(bytes)
    }
}

/// A count of elements.
fn size(nodes: &[Node], id: Id) -> Option<u64> {
    match nodes[id as usize] {
        Node::Int(value) => u64::try_from(value).ok(),
        _ => None,
    }
}

/// A shape or strides.
fn sizes(nodes: &[Node], id: Id) -> Option<Vec<u64>> {
    match &nodes[id as usize] {
        Node::Tuple(items) if items.len() <= MAX_DIMENSIONS => items.iter().map(|item| size(nodes, *item)).collect(),
        _ => None,
    }
}

fn pairs(items: Vec<Id>) -> Step<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks();
    if rest.is_empty() { Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()) } else { Err(Fault::Senseless) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    /// The pickle of tests/python/torch_checkpoint.py.
    fn fixture() -> Vec<u8> {
        let bytes = include_bytes!("../../tests/fixtures/tiny.ckpt");
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        let mut pickle = Vec::new();
        archive.by_name("archive/data.pkl").unwrap().read_to_end(&mut pickle).unwrap();
        pickle
    }

    fn root(bytes: &[u8]) -> Node {
        let pickle = Pickle::parse(bytes).unwrap();
        pickle.node(pickle.root).clone()
    }

    fn complaint(bytes: &[u8]) -> String {
        Pickle::parse(bytes).unwrap_err()
    }

    #[test]
    fn plain_values() {
        for (bytes, value) in [
            (&b"N."[..], Node::None),
            (b"\x88.", Node::Bool(true)),
            (b"J\xfe\xff\xff\xff.", Node::Int(-2)),
            (b"K\xff.", Node::Int(255)),
            (b"M\x01\x02.", Node::Int(513)),
            (b"\x8a\x01\xff.", Node::Int(-1)),
            (b"\x8a\x00.", Node::Int(0)),
            (b"\x8a\x02\xff\x00.", Node::Int(255)),
            (b"\x8a\x09\0\0\0\0\0\0\0\0\x01.", Node::Opaque),
            (b"G\x3f\xf8\0\0\0\0\0\0.", Node::Float(1.5)),
            (b"X\x02\0\0\0Pt.", Node::Text("Pt".into())),
            (b"\x8c\x02Pt.", Node::Text("Pt".into())),
            (b"C\x02Pt.", Node::Opaque),
            (
                b"ctorch\nFloatStorage\n.",
                Node::Global(Rc::new(Name { module: "torch".into(), name: "FloatStorage".into() })),
            ),
            (
                b"\x8c\x05torch\x8c\x0cFloatStorage\x93.",
                Node::Global(Rc::new(Name { module: "torch".into(), name: "FloatStorage".into() })),
            ),
            (b"(K\x01K\x022\x30t.", Node::Tuple(vec![0, 1])),
            (b"K\x01K\x02\x86.", Node::Tuple(vec![0, 1])),
            (b"](K\x01K\x02e.", Node::List(vec![1, 2])),
            (b"}(K\x01Nu.", Node::Dict(vec![(1, 2)])),
            (b"NK\x01(\x30\x30.", Node::None),
        ] {
            assert_eq!(root(bytes), value, "{bytes:?}");
        }
    }

    #[test]
    fn checkpoints_become_trees() {
        let pickle = Pickle::parse(&fixture()).unwrap();
        let root = pickle.root();
        assert_eq!(pickle.number(pickle.get(root, "epoch").unwrap()), Some(7.0));
        assert_eq!(pickle.number(pickle.get(root, "global_step").unwrap()), Some((1u64 << 40) as f64));
        let state = pickle.get(root, "state_dict").unwrap();
        let view = pickle.tensor(pickle.get(state, "score_model.representation.filter_net.bias").unwrap()).unwrap();
        assert_eq!(
            (&view.storage_class[..], &view.shape[..], &view.stride[..]),
            ("torch.FloatStorage", &[24][..], &[1][..])
        );
        let settings = pickle.get(pickle.get(root, "hyper_parameters").unwrap(), "settings").unwrap();
        assert!(matches!(pickle.node(settings), Node::Object(object) if object.state.is_some()));
        assert!(pickle.get(root, "absent").is_none());
    }

    #[test]
    fn cut_pickles_are_refused() {
        let bytes = fixture();
        for n in 0..bytes.len() {
            assert!(complaint(&bytes[..n]).starts_with("its pickle ends early, inside the opcode at byte "));
        }
        assert_eq!(
            complaint(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff"),
            "its pickle ends early, inside the opcode at byte 0"
        );
    }

    #[test]
    fn senseless_pickles_are_refused() {
        for bytes in [
            &b"."[..],
            b"K\x01(.",
            b"h\x05.",
            b"K\x01\x86.",
            b"(K\x01K\x01\x87.",
            b"t.",
            b"}(K\x01u.",
            b"NK\x01a.",
            b"NK\x01K\x01s.",
            b"cos\nsystem\nX\x02\0\0\0lsR.",
            b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00))tR.",
            b"K\x01K\x02\x93.",
        ] {
            assert!(
                complaint(bytes).starts_with("its pickle makes no sense at byte "),
                "{bytes:?}: {}",
                complaint(bytes)
            );
        }
    }

    #[test]
    fn unknown_opcodes_are_named() {
        assert_eq!(complaint(b"\x80\x02i"), "its pickle uses opcode 0x69 at byte 2, which model files do not need");
    }

    /// `os.system("ls")` remains a value.
    #[test]
    fn calls_are_not_made() {
        assert!(matches!(root(b"cos\nsystem\nX\x02\0\0\0ls\x85R."), Node::Object(_)));
    }

    #[test]
    fn deep_and_circular_values_are_harmless() {
        let deep = [&b"]"[..].repeat(1_000_000), &b"a".repeat(999_999)[..], b"."].concat();
        assert!(matches!(root(&deep), Node::List(_)));
        let circular = Pickle::parse(b"]q\x00h\x00a.").unwrap();
        assert_eq!(circular.children(circular.root()), [circular.root()]);
    }

    proptest! {
        #[test]
        fn mutated_pickles_never_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut bytes = fixture();
            for (index, byte) in edits {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = Pickle::parse(&bytes);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Pickle::parse(&bytes);
        }

        #[test]
        fn random_opcodes_never_panic(bytes in prop::collection::vec(prop::sample::select(b"(01N.)]}tleasudqhRbQ\x81\x85\x86\x87\x88\x93\x94\x90\x91\0\x01".to_vec()), 0..60)) {
            let _ = Pickle::parse(&bytes);
        }
    }
}
