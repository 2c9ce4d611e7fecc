//! The text of a module cut into functions, statements and operands.

/// A function of the text.
pub struct Function {
    pub name: String,
    /// True for a kernel.
    pub is_entry: bool,
    /// Names and bytes.
    pub parameters: Vec<(String, usize)>,
    pub returns: Vec<String>,
    pub max_threads: u32,
    /// Statements, each with its line.
    pub body: Vec<(u32, String)>,
}

/// The functions of `source` that have a body.
///
/// # Errors
/// What is missing.
pub fn functions(source: &str) -> Result<Vec<Function>, String> {
    let text = without_comments(source);
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = [".entry", ".func"].iter().filter_map(|word| text[at..].find(word)).min() {
        let (function, end) = function(&text, at + start)?;
        found.extend(function);
        at = end;
    }
    Ok(found)
}

/// The function whose keyword is at `start`, unless it is only declared, and where the text goes on.
fn function(text: &str, start: usize) -> Result<(Option<Function>, usize), String> {
    let is_entry = text[start..].starts_with(".entry");
    let visible = |from: usize| text[from..].find(|c: char| !c.is_whitespace()).map_or(from, |n| from + n);
    let mut at = visible(start + if is_entry { ".entry".len() } else { ".func".len() });
    let mut returns = Vec::new();
    if text[at..].starts_with('(') {
        let close = matching(text, at).ok_or("a parenthesis is not closed")?;
        returns = parameters(&text[at + 1..close]).into_iter().map(|(name, _)| name).collect();
        at = visible(close + 1);
    }
    let open = at + text[at..].find('(').ok_or("a function has no parameters")?;
    let name = text[at..open].trim().to_owned();
    let close = matching(text, open).ok_or("a parenthesis is not closed")?;
    let stop = close + text[close..].find(['{', ';']).ok_or("a function has no body")?;
    if text[stop..].starts_with(';') {
        return Ok((None, stop + 1));
    }
    let max_threads = text[close..stop].split(".maxntid").nth(1);
    let max_threads = max_threads.and_then(|rest| rest.trim().split([',', '\n', ' ']).next()?.trim().parse().ok());
    let end = matching(text, stop).ok_or("a brace is not closed")?;
    let line = text[..stop].matches('\n').count() as u32 + 1;
    let function = Function {
        name,
        is_entry,
        parameters: parameters(&text[open + 1..close]),
        returns,
        max_threads: max_threads.unwrap_or(1024),
        body: statements(&text[stop + 1..end], line),
    };
    Ok((Some(function), end + 1))
}

/// `text` with its lines and without its comments.
fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('/') {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            let end = rest.find("*/").map_or(rest.len(), |at| at + 2);
            kept.extend(rest[..end].chars().filter(|&c| c == '\n'));
            rest = &rest[end..];
        } else {
            kept.push('/');
            rest = &rest[1..];
        }
    }
    kept + rest
}

/// Statements and labels (these with their colon) of a body that begins in line `line`.
fn statements(text: &str, mut line: u32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    let (mut now, mut began, mut quoted) = (String::new(), line, false);
    for c in text.chars() {
        line += u32::from(c == '\n');
        quoted ^= c == '"';
        let is_empty = now.trim().is_empty();
        if is_empty && !c.is_whitespace() {
            began = line;
        }
        match c {
            '{' | '}' if is_empty && !quoted => now.clear(),
            ';' if !quoted => {
                found.push((began, now.trim().to_owned()));
                now.clear();
            }
            ':' if !quoted && now.trim().starts_with('$') && !now.trim().contains(char::is_whitespace) => {
                found.push((began, format!("{}:", now.trim())));
                now.clear();
            }
            _ => now.push(c),
        }
    }
    found
}

/// The parts of `text` between commas outside of brackets.
pub fn operands(text: &str) -> Vec<String> {
    let (mut found, mut now, mut depth) = (Vec::new(), String::new(), 0);
    for c in text.chars() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            found.push(now.trim().to_owned());
            now.clear();
        } else {
            now.push(c);
        }
    }
    if !now.trim().is_empty() {
        found.push(now.trim().to_owned());
    }
    found
}

/// Names and bytes of declared parameters.
fn parameters(text: &str) -> Vec<(String, usize)> {
    let one = |declared: &String| {
        let last = declared.split_whitespace().last().unwrap_or_default();
        if let Some((name, length)) = last.split_once('[') {
            return (name.to_owned(), length.trim_end_matches(']').parse().unwrap_or(0));
        }
        let kind = declared.split_whitespace().find_map(|word| super::Type::read(word.trim_start_matches('.')));
        (last.to_owned(), kind.map_or(8, super::Type::bytes))
    };
    operands(text).iter().map(one).collect()
}

/// The place of the bracket that closes the one at `open`.
fn matching(text: &str, open: usize) -> Option<usize> {
    let (opens, closes) = if text.as_bytes()[open] == b'(' { (b'(', b')') } else { (b'{', b'}') };
    let mut depth = 0;
    for (at, &byte) in text.as_bytes().iter().enumerate().skip(open) {
        if byte == opens {
            depth += 1;
        } else if byte == closes {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}
