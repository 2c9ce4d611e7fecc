//! Values of the comment line, and how they are written.

use super::comment::Token;

/// A value of the comment line.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `T` or `F`.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Real(f64),
    /// An array in its spelling, brackets `[…]` or `{…}` included.
    Array(String),
    /// Anything else, arrays in quotes included.
    Text(String),
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Flag(flag)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Integer(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Real(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_string())
    }
}

/// The mark of a JSON value, in ASE's files and here.
const JSON_MARK: &str = "_JSON ";

impl Value {
    /// The value as JSON. An array is a list of numbers, or of lists, where it is written as such; otherwise it is its text.
    pub(in crate::system) fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Flag(flag) => (*flag).into(),
            Value::Integer(number) => (*number).into(),
            Value::Real(number) => (*number).into(),
            Value::Array(text) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
            Value::Text(text) => text.as_str().into(),
        }
    }

    /// The value that `text` means. Spellings that the format's specification and ASE read differently (`007`, `1d3`) are kept as
    /// text, so that both read the same from the output as from the input.
    pub(super) fn parse(text: &str) -> Value {
        let trimmed = text.trim();
        if let Some(flag) = parse_flag(trimmed) {
            return Value::Flag(flag);
        }
        let digits = trimmed.trim_start_matches(['+', '-']);
        let padded = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !padded && let Ok(number) = trimmed.parse() {
            return Value::Integer(number);
        }
        if !padded && let Ok(number) = trimmed.parse() {
            return Value::Real(number);
        }
        match text.strip_prefix(JSON_MARK) {
            // ASE does not double the backslash of JSON's \n, which means a line end in quotes.
            Some(json) => {
                let json = json.replace('\n', "\\n");
                Value::Text(serde_json::from_str(&json).unwrap_or_else(|_| format!("{JSON_MARK}{json}")))
            }
            None => Value::Text(text.to_string()),
        }
    }

    /// The value of a piece of the comment line.
    pub(super) fn of(token: Token) -> Value {
        match (Value::parse(&token.text), token.array) {
            // One entry in braces is the entry itself.
            (value @ (Value::Flag(_) | Value::Integer(_) | Value::Real(_)), Some(array)) if array.starts_with('{') => {
                value
            }
            (_, Some(array)) => Value::Array(array),
            (value, None) => value,
        }
    }

    /// The text that reads back as this value, here and in ASE, with the quotes that it needs.
    pub(super) fn written(&self) -> String {
        match self {
            Value::Array(array) => array.clone(),
            _ => quoted(&self.text()),
        }
    }

    /// The text that reads back as this value, here and in ASE, before quoting.
    fn text(&self) -> String {
        match self {
            Value::Flag(true) => "T".into(),
            Value::Flag(false) => "F".into(),
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => format!("{number:?}"),
            Value::Array(array) => array.clone(),
            Value::Text(text) => {
                // Text that looks like another type, is empty or breaks the line survives only as JSON.
                let plain = !text.is_empty() && !text.contains(char::is_control) && Value::parse(text) == *self;
                if plain { text.clone() } else { format!("{JSON_MARK}{}", serde_json::Value::from(text.as_str())) }
            }
        }
    }
}

/// The logical values that ASE writes or reads.
pub(super) fn parse_flag(text: &str) -> Option<bool> {
    match text {
        "T" | "True" | "TRUE" | "true" => Some(true),
        "F" | "False" | "FALSE" | "false" => Some(false),
        _ => None,
    }
}

/// `text` in quotes if the comment line needs them.
pub(super) fn quoted(text: &str) -> String {
    let special = |c: char| c.is_whitespace() || "\"'{}[]\\=".contains(c);
    if text.contains(special) || text.is_empty() {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text.to_string()
    }
}
