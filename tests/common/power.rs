//! A disk that loses power: the states that it may be in if the power goes at any place of the record of a process.
//!
//! The model is as strict as POSIX. A sync of a file makes its bytes durable, not its name; a sync of a folder makes the names in it
//! durable, not the name of the folder itself. Until then every change of a name is there or is not, and every write is there, is
//! not, or is there in some of its sectors. Bytes that a longer file has gained and whose write is lost are zero or rubbish.

use crate::kills::Shares;
use crate::recorded::{Call, Tree};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

type FileNumber = usize;
type FolderNumber = usize;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Node {
    File(FileNumber),
    Folder(FolderNumber),
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    SetLength(usize),
}

#[derive(Debug, Default)]
struct File {
    /// As the process sees it.
    present: Vec<u8>,
    /// As it was at its last sync.
    durable: Vec<u8>,
    /// Changes since then.
    pending: Vec<Change>,
}

/// Names of a folder that change together; `None` removes one.
#[derive(Debug, Clone)]
struct Naming {
    folder: FolderNumber,
    names: Vec<(String, Option<Node>)>,
}

type Names = BTreeMap<String, Node>;

/// The files below a folder as a process changes them.
#[derive(Debug)]
pub struct Disk {
    files: Vec<File>,
    present: Vec<Names>,
    durable: Vec<Names>,
    /// Changes of names that are not durable yet, in their order.
    pending: Vec<Naming>,
    descriptors: HashMap<i64, Node>,
}

impl Disk {
    /// A disk that holds the files and folders of `tree`, all durable.
    pub fn new(tree: &Tree) -> Self {
        let (files, present, durable) = (Vec::new(), vec![Names::new()], vec![Names::new()]);
        let mut disk = Disk { files, present, durable, pending: Vec::new(), descriptors: HashMap::new() };
        for (path, content) in tree {
            let node = match content {
                Some(bytes) => disk.new_file(bytes),
                None => disk.new_folder(),
            };
            disk.name(&[(path, Some(node))]);
        }
        disk.durable = disk.present.clone();
        disk.pending.clear();
        disk
    }

    fn new_file(&mut self, bytes: &[u8]) -> Node {
        self.files.push(File { present: bytes.to_vec(), durable: bytes.to_vec(), pending: Vec::new() });
        Node::File(self.files.len() - 1)
    }

    fn new_folder(&mut self) -> Node {
        self.present.push(Names::new());
        self.durable.push(Names::new());
        Node::Folder(self.present.len() - 1)
    }

    fn find(&self, path: &Path) -> Option<Node> {
        path.iter().try_fold(Node::Folder(0), |node, name| match node {
            Node::Folder(folder) => self.present[folder].get(name.to_str()?).copied(),
            Node::File(_) => None,
        })
    }

    /// Changes names of one folder.
    fn name(&mut self, changes: &[(&Path, Option<Node>)]) {
        let parent = changes[0].0.parent().unwrap();
        assert!(changes.iter().all(|(path, _)| path.parent() == Some(parent)), "files are renamed within a folder");
        let Some(Node::Folder(folder)) = self.find(parent) else { panic!("{} is no folder", parent.display()) };
        let names: Vec<_> = changes
            .iter()
            .map(|(path, node)| (path.file_name().unwrap().to_str().unwrap().to_owned(), *node))
            .collect();
        assign(&mut self.present[folder], &names);
        self.pending.push(Naming { folder, names });
    }

    fn file(&mut self, descriptor: i64) -> &mut File {
        match self.descriptors[&descriptor] {
            Node::File(number) => &mut self.files[number],
            Node::Folder(_) => panic!("a write to a folder"),
        }
    }

    /// Does what the process did.
    pub fn follow(&mut self, call: &Call) {
        match call {
            Call::Open { descriptor, path, is_new, is_emptied } => {
                if *is_new {
                    let node = self.new_file(b"");
                    self.name(&[(path, Some(node))]);
                }
                let node = self.find(path).unwrap_or_else(|| panic!("{} was not recorded", path.display()));
                self.descriptors.insert(*descriptor, node);
                if *is_emptied {
                    self.change(*descriptor, Change::SetLength(0));
                }
            }
            Call::Write { descriptor, offset, data } => {
                self.change(*descriptor, Change::Write { offset: *offset, data: data.clone() });
            }
            Call::SetLength { descriptor, length } => self.change(*descriptor, Change::SetLength(*length)),
            Call::Sync { descriptor } => self.sync(self.descriptors[descriptor]),
            Call::Rename { from, to } => {
                let node = self.find(from);
                self.name(&[(from, None), (to, node)]);
            }
            Call::Unlink(path) | Call::RemoveFolder(path) => self.name(&[(path, None)]),
            Call::MakeFolder(path) => {
                let node = self.new_folder();
                self.name(&[(path, Some(node))]);
            }
            Call::Print(_) => {}
        }
    }

    fn change(&mut self, descriptor: i64, change: Change) {
        let file = self.file(descriptor);
        apply(&mut file.present, &change);
        file.pending.push(change);
    }

    fn sync(&mut self, node: Node) {
        match node {
            Node::File(number) => {
                let file = &mut self.files[number];
                file.durable.clone_from(&file.present);
                file.pending.clear();
            }
            Node::Folder(number) => {
                self.durable[number] = self.present[number].clone();
                self.pending.retain(|naming| naming.folder != number);
            }
        }
    }

    /// The present path of what a descriptor stands for, if it still has one.
    pub fn path_of(&self, descriptor: i64) -> Option<PathBuf> {
        let wanted = *self.descriptors.get(&descriptor)?;
        let mut open = vec![(PathBuf::new(), 0)];
        while let Some((path, folder)) = open.pop() {
            for (name, &node) in &self.present[folder] {
                let path = path.join(name);
                match node {
                    node if node == wanted => return Some(path),
                    Node::Folder(folder) => open.push((path, folder)),
                    Node::File(_) => {}
                }
            }
        }
        None
    }

    /// The bytes of the file at `path` as the process sees them.
    pub fn content(&self, path: &Path) -> Option<&[u8]> {
        match self.find(path)? {
            Node::File(file) => Some(&self.files[file].present),
            Node::Folder(_) => None,
        }
    }

    /// Whether a power cut now can leave anything but what is durable.
    pub fn is_at_rest(&self) -> bool {
        self.pending.is_empty() && self.files.iter().all(|file| file.pending.is_empty())
    }

    /// What the process sees.
    pub fn present(&self) -> Tree {
        tree(&self.present, |file| self.files[file].present.clone())
    }

    /// What a power cut now leaves if everything goes as `cut` says.
    pub fn after(&self, cut: &mut Cut) -> Tree {
        let mut names = self.durable.clone();
        let n = self.pending.len();
        let first_lost = cut.shares.below(n + 1);
        for (place, naming) in self.pending.iter().enumerate() {
            let is_kept = match cut.names {
                Fate::Lost => false,
                Fate::Kept => true,
                Fate::InOrder => place < first_lost,
                Fate::Any => cut.shares.next() < cut.share,
            };
            if is_kept {
                assign(&mut names[naming.folder], &naming.names);
            }
        }
        tree(&names, |file| cut.content(&self.files[file]))
    }
}

fn assign(names: &mut Names, changes: &[(String, Option<Node>)]) {
    for (name, node) in changes {
        match node {
            Some(node) => drop(names.insert(name.clone(), *node)),
            None => drop(names.remove(name)),
        }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, data } => {
            let end = offset + data.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*offset..end].copy_from_slice(data);
        }
        Change::SetLength(length) => bytes.resize(*length, 0),
    }
}

/// All that can be reached from the first of the folders.
fn tree(folders: &[Names], mut content: impl FnMut(FileNumber) -> Vec<u8>) -> Tree {
    let (mut tree, mut open) = (Tree::new(), vec![(PathBuf::new(), 0)]);
    while let Some((path, folder)) = open.pop() {
        for (name, node) in &folders[folder] {
            let path = path.join(name);
            match node {
                Node::File(file) => drop(tree.insert(path, Some(content(*file)))),
                Node::Folder(folder) => {
                    tree.insert(path.clone(), None);
                    open.push((path, *folder));
                }
            }
        }
    }
    tree
}

/// What becomes of changes that are not durable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    Lost,
    Kept,
    /// The first ones are kept, up to any place.
    InOrder,
    /// Each one by itself.
    Any,
}

/// How a power cut treats what is not durable.
#[derive(Debug)]
pub struct Cut {
    pub names: Fate,
    pub bytes: Fate,
    /// Bytes that reach the disk together.
    pub sector: usize,
    /// Whether a file has its new length although the bytes behind the old one are lost.
    pub is_lengthened: bool,
    /// Whether such bytes are rubbish, not zero.
    pub is_rubbish: bool,
    /// Share of the changes that are kept where each one is by itself.
    share: f64,
    shares: Shares,
}

impl Cut {
    /// The kind `number` of cut: those that lose or keep all come first, then a random one for each number.
    pub fn new(number: usize) -> Self {
        use Fate::{Any, InOrder, Kept, Lost};
        let mut shares = Shares::new(number as u64);
        let fates =
            [(Lost, Lost), (Kept, Lost), (Lost, Kept), (Kept, Any), (Kept, Lost), (InOrder, Any), (Kept, InOrder)];
        let (names, bytes) = fates.get(number).copied().unwrap_or_else(|| {
            let names = [Lost, Kept, InOrder, Any][shares.below(4)];
            (names, [Lost, Kept, InOrder, Any, Any, Any][shares.below(6)])
        });
        let sector = [512, 4096][shares.below(2)];
        let is_lengthened = if number < 6 { number == 1 } else { shares.below(2) == 0 };
        let is_rubbish = shares.below(2) == 0;
        let share = [0.1, 0.5, 0.9][shares.below(3)];
        Cut { names, bytes, sector, is_lengthened, is_rubbish, share, shares }
    }

    /// What is left of `file`.
    fn content(&mut self, file: &File) -> Vec<u8> {
        let mut bytes = file.durable.clone();
        let first_lost = self.shares.below(file.pending.len() + 1);
        for (place, change) in file.pending.iter().enumerate() {
            match change {
                Change::SetLength(_) => {
                    if self.keeps(place, first_lost) {
                        apply(&mut bytes, change);
                    }
                }
                Change::Write { offset, data } => self.write(&mut bytes, *offset, data, (place, first_lost)),
            }
        }
        bytes
    }

    /// Writes the sectors of `data` that are not lost.
    fn write(&mut self, bytes: &mut Vec<u8>, offset: usize, data: &[u8], (place, first_lost): (usize, usize)) {
        let end = offset + data.len();
        let before = bytes.len();
        let mut start = offset;
        while start < end {
            let next = (start / self.sector + 1) * self.sector;
            let next = next.min(end);
            if self.keeps(place, first_lost) {
                self.lengthen(bytes, start);
                apply(bytes, &Change::Write { offset: start, data: data[start - offset..next - offset].to_vec() });
            }
            start = next;
        }
        if self.is_lengthened && before < end {
            self.lengthen(bytes, end);
        }
    }

    fn keeps(&mut self, place: usize, first_lost: usize) -> bool {
        match self.bytes {
            Fate::Lost => false,
            Fate::Kept => true,
            // The first lost one is torn.
            Fate::InOrder => place < first_lost || place == first_lost && self.shares.below(2) == 0,
            Fate::Any => self.shares.next() < self.share,
        }
    }

    /// Makes `bytes` as long as `length`, if they are shorter.
    fn lengthen(&mut self, bytes: &mut Vec<u8>, length: usize) {
        while bytes.len() < length {
            bytes.push(if self.is_rubbish { self.shares.below(256) as u8 } else { 0 });
        }
    }
}
