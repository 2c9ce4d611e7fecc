//! The texts of the kernels, and the headers that each includes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Text of every source and header, by the name of its file.
pub type Texts = BTreeMap<String, String>;

/// Every `.cu` and `.cuh` of `folder`.
///
/// # Errors
/// The file or folder that cannot be read, and the reason.
pub fn read(folder: &Path) -> Result<Texts, String> {
    let at = |path: &Path, cause: std::io::Error| format!("{}: {cause}", path.display());
    let mut texts = Texts::new();
    for entry in fs::read_dir(folder).map_err(|cause| at(folder, cause))? {
        let path = entry.map_err(|cause| at(folder, cause))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".cu") || name.ends_with(".cuh") {
            texts.insert(name, fs::read_to_string(&path).map_err(|cause| at(&path, cause))?);
        }
    }
    Ok(texts)
}

/// The names among `texts` that `text` includes, directly or not.
pub fn included<'a>(text: &'a str, texts: &'a Texts) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    let mut pending = vec![text];
    while let Some(text) = pending.pop() {
        for line in text.lines() {
            let Some(rest) = line.trim_start().strip_prefix("#include \"") else { continue };
            let name = rest.split('"').next().unwrap_or_default();
            if let Some((name, header)) = texts.get_key_value(name)
                && names.insert(name.as_str())
            {
                pending.push(header);
            }
        }
    }
    names
}
