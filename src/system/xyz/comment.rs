//! The comment line of extended XYZ: `key=value` pairs with quotes, brackets and escapes.

use std::iter::Peekable;
use std::str::Chars;

/// A value of the comment line.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `T` or `F`.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Real(f64),
    /// Anything else; arrays are kept as written.
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

/// What marks a value as JSON, in ASE's files and here.
const JSON_MARK: &str = "_JSON ";

impl Value {
    /// The value that `text` stands for.
    pub(super) fn parse(text: &str) -> Value {
        let trimmed = text.trim();
        if let Some(flag) = parse_flag(trimmed) {
            Value::Flag(flag)
        } else if let Ok(number) = trimmed.parse() {
            Value::Integer(number)
        } else if let Ok(number) = trimmed.parse() {
            Value::Real(number)
        } else {
            let json = text.strip_prefix(JSON_MARK).and_then(|json| serde_json::from_str(json).ok());
            Value::Text(json.unwrap_or_else(|| text.to_string()))
        }
    }

    /// The text that reads back as this value, here and in ASE, before quoting.
    pub(super) fn text(&self) -> String {
        match self {
            Value::Flag(true) => "T".into(),
            Value::Flag(false) => "F".into(),
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => format!("{number:?}"),
            Value::Text(text) => {
                // Text that looks like something else, is empty or breaks the line survives only as JSON.
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

/// `text` in quotes where the comment line needs them.
pub(super) fn quoted(text: &str) -> String {
    let special = |c: char| c.is_whitespace() || "\"'{}[]\\=".contains(c);
    if text.contains(special) || text.is_empty() {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text.to_string()
    }
}

/// The pairs of a comment line in order; a key without `=` has no value. Quotes `"…"` and `'…'` and brackets `{…}` and `[…]`
/// keep what they hold together, a backslash takes the next character as it is, further `=` belong to the value.
///
/// # Errors
/// A sentence about a quote that is not closed or an `=` without key.
pub(super) fn parse_pairs(line: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let mut pairs: Vec<(String, Option<String>)> = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        match (rest.next_if_eq(&'='), pairs.last_mut()) {
            (Some(_), Some((_, value))) => {
                while rest.next_if(|c| c.is_whitespace()).is_some() {}
                let more = word(&mut rest)?;
                match value {
                    Some(value) => {
                        value.push('=');
                        value.push_str(&more);
                    }
                    None => *value = Some(more),
                }
            }
            (Some(_), None) => return Err("'=' stands without a key before it".into()),
            (None, _) if rest.peek().is_none() => return Ok(pairs),
            (None, _) => pairs.push((word(&mut rest)?, None)),
        }
    }
}

/// The characters up to the next free whitespace or `=`.
fn word(rest: &mut Peekable<Chars>) -> Result<String, String> {
    let mut word = String::new();
    while let Some(c) = rest.next_if(|&c| !c.is_whitespace() && c != '=') {
        match c {
            '\\' => word.extend(rest.next()),
            '"' | '\'' => quotation(rest, c, c, &mut word)?,
            '{' => quotation(rest, c, '}', &mut word)?,
            '[' => quotation(rest, c, ']', &mut word)?,
            _ => word.push(c),
        }
    }
    Ok(word)
}

/// The characters up to the closing quote or bracket.
fn quotation(rest: &mut Peekable<Chars>, open: char, close: char, word: &mut String) -> Result<(), String> {
    while let Some(c) = rest.next() {
        match c {
            '\\' => word.extend(rest.next()),
            _ if c == close => return Ok(()),
            _ => word.push(c),
        }
    }
    Err(format!("the comment line opens {open} and never closes it with {close}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(line: &str) -> Vec<(String, Option<String>)> {
        parse_pairs(line).unwrap()
    }

    #[test]
    fn quotes_brackets_and_escapes() {
        for (line, key, value) in [
            ("a=1", "a", Some("1")),
            (" a = 1 ", "a", Some("1")),
            ("a", "a", None),
            ("a=\"1 2\"", "a", Some("1 2")),
            ("a='1 \"2'", "a", Some("1 \"2")),
            ("a={1 2}", "a", Some("1 2")),
            ("a=[1, 2]", "a", Some("1, 2")),
            ("\"my key\"=1", "my key", Some("1")),
            (r#"a="say \"x\" \\""#, "a", Some(r#"say "x" \"#)),
            ("a=b=c", "a", Some("b=c")),
            ("a=\"\"", "a", Some("")),
        ] {
            assert_eq!(pairs(line), [(key.to_string(), value.map(str::to_string))], "{line}");
        }
        assert_eq!(pairs("a=\"\" b c=2").len(), 3);
        assert!(pairs("").is_empty());
    }

    #[test]
    fn broken_lines_say_why() {
        assert_eq!(parse_pairs("a=\"1 2").unwrap_err(), "the comment line opens \" and never closes it with \"");
        assert_eq!(parse_pairs("a={1 2]").unwrap_err(), "the comment line opens { and never closes it with }");
        assert_eq!(parse_pairs("=1").unwrap_err(), "'=' stands without a key before it");
    }

    #[test]
    fn values_have_types() {
        for (text, value) in [
            ("T", Value::Flag(true)),
            ("False", Value::Flag(false)),
            ("-3", Value::Integer(-3)),
            ("1e3", Value::Real(1000.0)),
            ("99999999999999999999", Value::Real(1e20)),
            ("fcc", Value::Text("fcc".into())),
            ("1 2 3", Value::Text("1 2 3".into())),
            ("_JSON \"5\"", Value::Text("5".into())),
            ("_JSON [1]", Value::Text("_JSON [1]".into())),
        ] {
            assert_eq!(Value::parse(text), value, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(key in ".*[^ ].*", text in any::<String>(), number in any::<f64>()) {
            for value in [Value::Text(text), Value::Real(number), Value::Integer(number as i64), Value::Flag(number > 0.0)] {
                let line = format!("{}={}", quoted(&key), quoted(&value.text()));
                let read = pairs(&line);
                prop_assert_eq!(read.len(), 1, "{}", line);
                prop_assert_eq!(&read[0].0, &key);
                let back = Value::parse(read[0].1.as_deref().unwrap_or(""));
                prop_assert!(back == value || number.is_nan(), "{:?} from {}", back, line);
            }
        }
    }
}
