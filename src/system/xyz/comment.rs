//! The comment line of extended XYZ: `key=value` pairs with quotes, brackets and escapes.

/// A key or a value of the comment line.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Token {
    /// The characters without quotes, outer brackets and escapes.
    pub text: String,
    /// The array in its spelling, if brackets enclose the whole token.
    pub array: Option<String>,
}

/// The pairs of a comment line in order; a key without `=` has no value. Quotes `"…"` and `'…'` and brackets `{…}` and `[…]`
/// keep their contents together. A backslash takes the next character as it is (`\n` in double quotes is a line end). Further `=`
/// belong to the value. An apostrophe is a quote only if it opens a word and another one ends a word.
///
/// # Errors
/// A sentence about a quote that is not closed or an `=` without key.
pub(super) fn parse_pairs(line: &str) -> Result<Vec<(String, Option<Token>)>, String> {
    let mut pairs: Vec<(String, Option<Token>)> = Vec::new();
    let mut rest = line;
    let mut open = Open { brackets_nest: true, apostrophes_close: true };
    loop {
        rest = rest.trim_start();
        match (rest.strip_prefix('='), pairs.last_mut()) {
            (Some(after), Some((_, value))) => {
                rest = after.trim_start();
                let more = word(&mut rest, &mut open)?;
                match value {
                    Some(value) => {
                        value.text.push('=');
                        value.text.push_str(&more.text);
                        value.array = None;
                    }
                    None => *value = Some(more),
                }
            }
            (Some(_), None) => return Err("'=' stands without a key before it".into()),
            (None, _) if rest.is_empty() => return Ok(pairs),
            (None, _) => pairs.push((word(&mut rest, &mut open)?.text, None)),
        }
    }
}

/// Knowledge about the rest of a line, so that no character is searched for twice.
struct Open {
    /// No bracket so far lacks its closing bracket.
    brackets_nest: bool,
    /// No apostrophe so far lacks one that ends a word after it.
    apostrophes_close: bool,
}

/// The characters up to the next free whitespace or `=`, taken from the front of `rest`. Brackets nest. If one has no closing
/// bracket in this way, the first closing bracket counts from there on, as in ASE.
fn word(rest: &mut &str, open: &mut Open) -> Result<Token, String> {
    let whole = *rest;
    let mut token = Token::default();
    let mut array = None;
    while let Some(c) = rest.chars().next().filter(|&c| !c.is_whitespace() && c != '=') {
        let first = rest.len() == whole.len();
        *rest = &rest[c.len_utf8()..];
        match c {
            '\\' => token.text.extend(next(rest)),
            '"' => quotation(rest, c, c, &mut token.text)?,
            '\'' if first && open.closes(rest) => quotation(rest, c, c, &mut token.text)?,
            '{' | '[' => {
                let close = if c == '{' { '}' } else { ']' };
                let nested = if open.brackets_nest { nested(rest, c, close) } else { None };
                open.brackets_nest = nested.is_some();
                match nested {
                    Some(length) => {
                        unescape(&rest[..length], &mut token.text);
                        *rest = &rest[length + 1..];
                    }
                    None => quotation(rest, c, close, &mut token.text)?,
                }
                if first && nested.is_some() {
                    array = Some(whole.len() - rest.len());
                }
            }
            _ => token.text.push(c),
        }
    }
    let is_array = array == Some(whole.len() - rest.len());
    let written = &whole[..whole.len() - rest.len()];
    token.array = (is_array && !written.contains(char::is_control)).then(|| written.to_string());
    Ok(token)
}

impl Open {
    /// [`closes`], asked no more once it has failed.
    fn closes(&mut self, rest: &str) -> bool {
        self.apostrophes_close = self.apostrophes_close && closes(rest);
        self.apostrophes_close
    }
}

/// Takes the next character from the front of `rest`.
fn next(rest: &mut &str) -> Option<char> {
    let c = rest.chars().next()?;
    *rest = &rest[c.len_utf8()..];
    Some(c)
}

/// True if an apostrophe in `rest` ends a word, so that one before it is a quote.
fn closes(rest: &str) -> bool {
    let mut escaped = false;
    let mut characters = rest.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => return characters.peek().is_none_or(|&after| after.is_whitespace() || after == '='),
            _ => {}
        }
    }
    false
}

/// Length of the text before the closing bracket. Brackets of the same kind nest and double quotes hide brackets, as in the
/// format's specification. `None` if no bracket closes in this way.
fn nested(rest: &str, open: char, close: char) -> Option<usize> {
    let (mut depth, mut in_quotes, mut escaped) = (0usize, false, false);
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_quotes = !in_quotes,
            _ if in_quotes => {}
            _ if c == open => depth += 1,
            _ if c == close && depth == 0 => return Some(at),
            _ if c == close => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Adds `text` to `word` without its backslashes.
fn unescape(text: &str, word: &mut String) {
    let mut rest = text;
    while let Some(c) = next(&mut rest) {
        if c == '\\' { word.extend(next(&mut rest)) } else { word.push(c) }
    }
}

/// Moves the characters up to the closing quote or bracket from `rest` to `word`.
fn quotation(rest: &mut &str, open: char, close: char, word: &mut String) -> Result<(), String> {
    while let Some(c) = next(rest) {
        match c {
            '\\' => word.extend(next(rest).map(|c| if c == 'n' && open == '"' { '\n' } else { c })),
            _ if c == close => return Ok(()),
            _ => word.push(c),
        }
    }
    Err(format!("the comment line opens {open} and never closes it with {close}"))
}

#[cfg(test)]
mod tests {
    use super::super::value::{Value, quoted};
    use super::*;
    use proptest::prelude::*;

    fn pairs(line: &str) -> Vec<(String, Option<String>)> {
        let text = |(key, token): (String, Option<Token>)| (key, token.map(|token| token.text));
        parse_pairs(line).unwrap().into_iter().map(text).collect()
    }

    fn value(line: &str) -> Value {
        Value::of(parse_pairs(line).unwrap().remove(0).1.unwrap())
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
            ("a=\"it's\"", "a", Some("it's")),
            (r#"a="x\ny\t""#, "a", Some("x\nyt")),
            (r"a='it\'s so'", "a", Some("it's so")),
            ("a='x'y", "a", Some("'x'y")),
            ("'my key'=1", "my key", Some("1")),
            ("a=[[1, 2], [3, 4]]", "a", Some("[1, 2], [3, 4]")),
            (r#"a=["x]y", "z"]"#, "a", Some(r#""x]y", "z""#)),
            ("a={it's}", "a", Some("it's")),
            (r"a={x\} y}", "a", Some("x} y")),
            ("a={1 2}x", "a", Some("1 2x")),
        ] {
            assert_eq!(pairs(line), [(key.to_string(), value.map(str::to_string))], "{line}");
        }
        assert_eq!(pairs("a=\"\" b c=2").len(), 3);
        assert!(pairs("").is_empty());
    }

    /// libAtoms' parser reads an apostrophe as a letter, ASE as a quote; here it is a quote if it holds words together.
    #[test]
    fn apostrophes_in_words_are_letters() {
        let own = |key: &str, value: &str| (key.to_string(), Some(value.to_string()));
        assert_eq!(pairs("note=it's b='c d' e=F"), [own("note", "it's"), own("b", "c d"), own("e", "F")]);
        assert_eq!(pairs("who='tis pbc=\"T T F\""), [own("who", "'tis"), own("pbc", "T T F")]);
        assert_eq!(pairs("a=' b=1"), [own("a", "'"), own("b", "1")]);
        // If no bracket closes by the specification, the first one does, as in ASE.
        assert_eq!(pairs("a={say \"x} b=1"), [own("a", "say \"x"), own("b", "1")]);
        assert_eq!(pairs("a=[x [y] b=1"), [own("a", "x [y"), own("b", "1")]);
    }

    #[test]
    fn arrays_are_kept_as_written() {
        for array in ["[1, 2]", "{1 2 3}", "[[1, 2], [3, 4]]", r#"["x]y", "z"]"#, r#"{x "y z"}"#, "[5]", "[]"] {
            let read = value(&format!("a={array} b=1"));
            assert_eq!(read, Value::Array(array.to_string()));
            assert_eq!(read.written(), array);
        }
        assert_eq!(value("a={5}"), Value::Integer(5), "one entry in braces is a number");
        assert_eq!(value("a={say \"x}"), Value::Text("say \"x".into()));
        assert_eq!(value("a=[1]=2"), Value::Text("1=2".into()));
    }

    /// This is ASE's spelling: JSON's backslash is not doubled.
    #[test]
    fn line_ends_in_json_survive() {
        let read = value(r#"a="_JSON {\"x\": \"y\nz\"}""#);
        assert_eq!(read, Value::Text(r#"_JSON {"x": "y\nz"}"#.into()));
        assert_eq!(value(&format!("a={}", read.written())), read);
        assert_eq!(value(r#"a="_JSON \"y\nz\"""#), Value::Text("y\nz".into()));
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
            ("007", Value::Text("007".into())),
            ("1d3", Value::Text("1d3".into())),
            ("0.50", Value::Real(0.5)),
            ("-0", Value::Integer(0)),
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
                let line = format!("{}={}", quoted(&key), value.written());
                let mut read = parse_pairs(&line).map_err(TestCaseError::fail)?;
                prop_assert_eq!(read.len(), 1, "{}", line);
                prop_assert_eq!(&read[0].0, &key);
                let back = Value::of(read.remove(0).1.unwrap_or_default());
                prop_assert!(back == value || number.is_nan(), "{:?} from {}", back, line);
            }
        }
    }
}
