//! Texts for a screen: tables of columns, and lines that are broken where the screen ends.

/// Columns of a usual terminal.
pub const USUAL: usize = 80;
/// Spaces before the rest of a line that was broken.
const INDENT: usize = 4;
/// Where lines are broken first: between the values of a row, then between clauses.
const GAPS: [&str; 3] = ["  ", "; ", ", "];

/// Lines of a table: the first column begins at the left, the others end at the right; a head may have two lines. Where this is
/// wider than a usual terminal, the first cell of a row has a line of its own.
pub fn aligned<const N: usize>(heads: &[[&str; 2]; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let heads = [0, 1].map(|k| heads.map(|lines| lines[k].to_owned()));
    let rows: Vec<[String; N]> = rows.collect();
    let mut widths: [usize; N] = std::array::from_fn(|column| widest(&heads, column).max(widest(&rows, column)));
    let is_wide = widths.iter().sum::<usize>() + 2 * (N - 1) > USUAL;
    if is_wide {
        widths[0] = widest(&heads, 0);
    }
    let line = |cells: &[String; N]| {
        let padded = cells.iter().zip(&widths).enumerate();
        let columns: Vec<String> = padded
            .map(|(k, (cell, &width))| if k == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") })
            .collect();
        columns.join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = heads.iter().map(line).filter(|head| !head.is_empty()).collect();
    for mut row in rows {
        if is_wide {
            lines.push(std::mem::take(&mut row[0]));
        }
        lines.push(line(&row));
    }
    lines.join("\n")
}

fn widest<const N: usize>(rows: &[[String; N]], column: usize) -> usize {
    rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
}

/// `text` with its lines broken so that none is longer than `columns`: between values or clauses in the second half of the room, else
/// at any space. A word that is longer than the room stays whole.
pub fn wrapped(text: &str, columns: usize) -> String {
    text.lines().map(|line| broken(line, columns)).collect::<Vec<_>>().join("\n")
}

fn broken(line: &str, columns: usize) -> String {
    let (mut rest, mut lines, mut indent) = (line, Vec::new(), 0);
    while indent + rest.chars().count() > columns {
        let room = columns.saturating_sub(indent);
        let end = rest.char_indices().nth(room + 1).map_or(rest.len(), |(end, _)| end);
        let within = &rest[..end];
        let late = |at: &usize| within[..*at].chars().count() > room / 2;
        let gap = GAPS.iter().find_map(|gap| within.rfind(gap).map(|at| at + gap.len() - 1).filter(late));
        let Some(at) = gap.or_else(|| within.rfind(' ')).or_else(|| rest.find(' ')).filter(|&at| at > 0) else { break };
        lines.push(format!("{:indent$}{}", "", rest[..at].trim_end()));
        (rest, indent) = (rest[at..].trim_start(), INDENT);
    }
    lines.push(format!("{:indent$}{rest}", ""));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let heads = [["", "name"], ["of all", "n"]];
        let rows = |name: &str| [[name.to_owned(), "1200".to_owned()], ["b".to_owned(), "-".to_owned()]].into_iter();
        assert_eq!(aligned(&heads, rows("first")), "       of all\nname        n\nfirst    1200\nb           -");
        assert_eq!(aligned(&[["", "name"], ["", "n"]], rows("first")), "name      n\nfirst  1200\nb         -");
        let long = "x".repeat(USUAL);
        assert_eq!(
            aligned(&heads, rows(&long)),
            format!("      of all\nname       n\n{long}\n        1200\nb\n           -")
        );
    }

    #[test]
    fn lines_are_broken_between_words() {
        let line = "iteration  5/10  kT 0.333 eV  ok 27/32  best 5.4375 eV";
        assert_eq!(wrapped(line, 80), line);
        assert_eq!(wrapped(line, 31), "iteration  5/10  kT 0.333 eV\n    ok 27/32  best 5.4375 eV");
        assert_eq!(
            wrapped("a sentence without gaps\nand another", 12),
            "a sentence\n    without\n    gaps\nand another"
        );
        assert_eq!(
            wrapped("/a/long/path/that/stays/whole.html then", 10),
            "/a/long/path/that/stays/whole.html\n    then"
        );
        assert_eq!(wrapped("é é é", 3), "é é\n    é");
        for columns in 0..60 {
            let text = wrapped(line, columns);
            assert!(text.lines().all(|line| line.chars().count() <= columns.max(13)), "{columns}: {text}");
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&text), words(line));
        }
    }
}
