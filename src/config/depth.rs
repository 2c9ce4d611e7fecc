//! How deep tables and lists of a TOML text are nested, found without recursion before the text is parsed.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// Most tables and lists that may be nested within one header, or within one key and its value.
const DEEPEST: usize = 32;

/// The error for a text that nests deeper.
pub(crate) const TOO_DEEP: &str =
    "tables and lists are nested more than 32 deep; write them with fewer dots and brackets";

/// The place where `text` nests more than [`DEEPEST`] deep, if there is one.
///
/// The TOML parser recurses through brackets, braces and the dots of keys. Its own limit does not count dots together with
/// brackets, and a bracket that closes nothing (`{ a ]`) lowers its count. Here a bracket ends only a bracket of the same kind.
/// So this depth is never less than the parser's, even if the text is wrong.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    // For every open bracket the kind that closes it, and the depth inside.
    let mut open: Vec<(TokenKind, usize)> = Vec::new();
    let mut depth = 0;
    for token in Source::new(text).lex() {
        let closing = match token.kind() {
            TokenKind::LeftSquareBracket => Some(TokenKind::RightSquareBracket),
            TokenKind::LeftCurlyBracket => Some(TokenKind::RightCurlyBracket),
            _ => None,
        };
        let ends = open.last().is_some_and(|&(closing, _)| closing == token.kind());
        if let Some(closing) = closing {
            depth += 1;
            open.push((closing, depth));
        } else if token.kind() == TokenKind::Dot {
            depth += 1;
        } else if ends || matches!(token.kind(), TokenKind::Comma | TokenKind::Newline) {
            if ends {
                open.pop();
            }
            depth = open.last().map_or(0, |&(_, inside)| inside);
        }
        if depth > DEEPEST {
            return Some(token.span().start());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::SourceFile;
    use std::path::Path;

    fn parse(text: &str) -> crate::Result<toml::Table> {
        SourceFile::new(text.into(), Path::new("deep.toml")).parse()
    }

    #[test]
    fn tables_and_lists_may_not_nest_without_end() {
        for (text, line) in [
            (format!("\n{}a = 1", "a.".repeat(100_000)), 2),
            (format!("x = 1\n[ {}b]\n", "\"a b\" . ".repeat(32)), 2),
            (format!("x = {{ {}y = 1 }}\n", "é.".repeat(32)), 1),
            (format!("{}a = 1", "'='.".repeat(50_000)), 1),
            (format!("{}a = 1", "'#\"'.\"#'\\\"=\".".repeat(50_000)), 1),
            (format!("x = {}", "[".repeat(100_000)), 1),
            (format!("x = {}{}", "{ a.b = ".repeat(16), "["), 1),
            // A bracket that closes nothing, before every one that opens.
            (format!("x = {{ {}", "a 0], b = { ".repeat(50_000)), 1),
            (format!("x = [ {}", "0 }, [ ".repeat(50_000)), 1),
            (format!("x = {{ {}", "[], b = { ".repeat(50_000)), 1),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert_eq!(
                error.to_string(),
                format!("deep.toml, line {line}: {TOO_DEEP}"),
                "{}",
                &text[..40.min(text.len())]
            );
        }
        assert!(TOO_DEEP.contains(&format!(" {DEEPEST} ")));
    }

    /// The deepest text that is accepted fits on the stack of a thread, here the 2 MB of a test's thread.
    #[test]
    fn the_deepest_tables_are_read_and_written() {
        let mut headers = String::new();
        (0..=30).for_each(|n_dots| headers += &format!("[[{}a]]\n", "a.".repeat(n_dots)));
        for inside in [
            format!("{}a = 1", "b.".repeat(32)),
            format!("b = {}{}", "[".repeat(32), "]".repeat(32)),
            format!("b = {}{}", "{ b = ".repeat(31) + "{", "}".repeat(32)),
            format!("b.c = {}{}", "[{ b.c = ".repeat(10) + "[", "]".to_owned() + &"}]".repeat(10)),
        ] {
            let text = headers.clone() + &inside;
            let table = parse(&text).unwrap_or_else(|error| panic!("{error}: {inside}"));
            assert_eq!(table.clone(), table);
            assert!(toml::to_string(&table).unwrap().len() > 62);
        }
    }

    #[test]
    fn texts_and_comments_do_not_count() {
        let dots = ".".repeat(99);
        let text = format!(
            "{}b = 1.5\n# and so on{dots}[[[[{{{{\nt = '../{dots}/x'\nu = \"\"\"\n{dots}[{{\n\"\"\"\nv = [\n{}]",
            "a.".repeat(15),
            "[1.5, 2.5], # }\n".repeat(99)
        );
        parse(&text).unwrap();
    }
}
