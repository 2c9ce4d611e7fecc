//! A TOML file that remembers the places of its keys, so that every error names the line.

use super::depth::{TOO_DEEP, too_deep};
use crate::error::{Error, Result, in_plain_words};
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// How an error says where it is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// File and line.
    Line,
    /// File and key: the text is no longer what the file holds.
    File,
    /// The key alone: there is no file.
    Key,
}

/// The text of one configuration file.
#[derive(Debug)]
pub struct SourceFile {
    /// The path of the text.
    pub path: PathBuf,
    text: String,
    place: Place,
}

impl SourceFile {
    /// `text`, the contents of `path`.
    pub fn new(text: String, path: &Path) -> Self {
        SourceFile { path: path.to_owned(), text, place: Place::Line }
    }

    /// `text`, made from the contents of `path` and from changes to them.
    pub fn changed(text: String, path: &Path) -> Self {
        SourceFile { path: path.to_owned(), text, place: Place::File }
    }

    /// `text`, which is no file; paths in it are relative to `folder`.
    pub fn without_file(text: String, folder: &Path) -> Self {
        SourceFile { path: folder.join("configuration"), text, place: Place::Key }
    }

    /// Reads `path`.
    ///
    /// # Errors
    /// `BadInput` if the file cannot be read as UTF-8 text.
    pub fn read(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(SourceFile::new(text, path)),
            Err(cause) if cause.kind() == std::io::ErrorKind::InvalidData => {
                Err(Error::bad_file(path, "is not text in UTF-8; save the configuration as plain text in UTF-8"))
            }
            Err(cause) => Err(Error::bad_input(format!("cannot read the configuration {}: {cause}", path.display()))),
        }
    }

    /// The file as a `T`; not-a-number and infinite values are refused everywhere.
    ///
    /// # Errors
    /// `BadInput` with the line.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        if let Some(offset) = too_deep(&self.text) {
            return Err(self.error_at(Some(offset), TOO_DEEP.to_owned()));
        }
        let table = DeTable::parse(&self.text).map_err(|cause| self.syntax_error(&cause))?;
        if let Some((key, span)) = non_finite(table.get_ref(), "") {
            let value = &self.text[span.clone()];
            let message = format!("{key} is {value}: write a finite number");
            return Err(self.error_at(Some(span.start), message));
        }
        toml::from_str(&self.text).map_err(|cause| self.syntax_error(&cause))
    }

    /// The sentence `message` about `key` ("section.name"), with the line of the key, or else the line of its section.
    pub fn error(&self, key: &str, message: impl std::fmt::Display) -> Error {
        self.error_at(self.offset(key), format!("{key}: {message}"))
    }

    fn offset(&self, key: &str) -> Option<usize> {
        let document = DeTable::parse(&self.text).ok()?;
        let mut table = document.get_ref();
        let mut found = None;
        for part in key.split('.') {
            let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == part) else { break };
            found = Some(name.span().start);
            match value.get_ref().as_table() {
                Some(inner) => table = inner,
                None => break,
            }
        }
        found
    }

    fn syntax_error(&self, cause: &toml::de::Error) -> Error {
        let message = in_plain_words(cause.message());
        let message = message.replace("unknown field", "unknown key").replace("missing field", "missing key");
        let message = message.replace("there are no fields", "there are no other keys here").replace('\n', ", ");
        let offset = cause.span().map(|span| span.start);
        match offset.filter(|_| self.place != Place::Line).and_then(|offset| self.key_at(offset)) {
            Some(key) => self.error_at(offset, format!("{key}: {message}")),
            None => self.error_at(offset, message),
        }
    }

    /// The key whose value holds the byte at `offset`.
    fn key_at(&self, offset: usize) -> Option<String> {
        let document = DeTable::parse(&self.text).ok()?;
        key_in(document.get_ref(), offset)
    }

    fn error_at(&self, offset: Option<usize>, message: String) -> Error {
        let place = match (offset, self.place) {
            (_, Place::Key) => return Error::bad_input(message),
            (Some(offset), Place::Line) => {
                let line = 1 + self.text.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count();
                format!("{}, line {line}", self.path.display())
            }
            _ => self.path.display().to_string(),
        };
        Error::bad_input(format!("{place}: {message}"))
    }
}

/// The longest key of `table` whose value holds the byte at `offset`.
fn key_in(table: &DeTable, offset: usize) -> Option<String> {
    let (name, value) = table.iter().find(|(name, value)| {
        let inside = value.get_ref().as_table().is_some_and(|inner| key_in(inner, offset).is_some());
        inside || value.span().contains(&offset) || name.span().contains(&offset)
    })?;
    let inner = value.get_ref().as_table().and_then(|inner| key_in(inner, offset));
    Some(inner.map_or_else(|| name.get_ref().to_string(), |inner| format!("{}.{inner}", name.get_ref())))
}

/// Name and place of the first number that is not finite.
fn non_finite(table: &DeTable, prefix: &str) -> Option<(String, Range<usize>)> {
    table.iter().find_map(|(name, value)| {
        let key = format!("{prefix}{}", name.get_ref());
        non_finite_value(value, &key)
    })
}

fn non_finite_value(value: &toml::Spanned<DeValue>, key: &str) -> Option<(String, Range<usize>)> {
    match value.get_ref() {
        DeValue::Float(number) => {
            let finite = number.as_str().parse::<f64>().is_ok_and(f64::is_finite);
            (!finite).then(|| (key.to_owned(), value.span()))
        }
        DeValue::Array(items) => items.iter().find_map(|item| non_finite_value(item, key)),
        DeValue::Table(inner) => non_finite(inner, &format!("{key}.")),
        _ => None,
    }
}
