//! The table of a benchmark, for the screen and as Markdown.

use super::Row;

/// Heads of the columns.
pub const HEADS: [&str; 8] = [
    "method",
    "evaluations",
    "success",
    "95% interval",
    "mean success evaluation",
    "spread",
    "evaluations per hit",
    "mean lowest energy / eV",
];

/// The cells of a row, in the order of the heads.
pub fn cells(row: &Row) -> [String; 8] {
    let count = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
    let unfinished = if row.n_unfinished > 0 { format!(" ({} unfinished)", row.n_unfinished) } else { String::new() };
    [
        row.name.clone(),
        row.evaluations.to_string(),
        format!("{}/{}{unfinished}", row.n_hits, row.n_runs),
        row.success_interval.map_or("-".to_owned(), |[low, high]| format!("{low:.2} to {high:.2}")),
        count(row.mean_success_evaluation),
        count(row.success_evaluation_spread),
        count(row.evaluations_per_hit),
        row.mean_best_energy_ev.map_or("-".to_owned(), |energy| format!("{energy:.4}")),
    ]
}

/// The table in columns of equal width.
pub fn text(rows: &[&Row]) -> String {
    let lines: Vec<[String; 8]> =
        std::iter::once(HEADS.map(str::to_owned)).chain(rows.iter().map(|row| cells(row))).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let line = |cells: &[String; 8]| {
        let padded = cells.iter().zip(&widths).enumerate();
        let columns: Vec<String> = padded
            .map(|(k, (cell, &width))| if k == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") })
            .collect();
        columns.join("  ")
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The table in Markdown, with a line end.
pub fn markdown(rows: &[&Row]) -> String {
    let mut text = format!("| {} |\n|---|{}\n", HEADS.join(" | "), "---:|".repeat(HEADS.len() - 1));
    rows.iter().for_each(|row| text += &format!("| {} |\n", cells(row).join(" | ")));
    text
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    fn row() -> Row {
        let run = |seed, target| Outcome {
            seed,
            finished: true,
            evaluations: 10_000,
            target_first_evaluation: target,
            best_energy_ev: Some(25.0),
            seconds: 1.0,
        };
        Row::new("pt7-rss", "rss", &[run(0, Some(7816)), run(1, None)])
    }

    #[test]
    fn the_screen_shows_columns() {
        let expected = "\
method   evaluations  success  95% interval  mean success evaluation  spread  evaluations per hit  mean lowest energy / eV
pt7-rss        10000      1/2  0.09 to 0.91                     7816       -                17816                  25.0000";
        assert_eq!(text(&[&row()]), expected);
    }

    #[test]
    fn markdown_has_a_row_each() {
        let expected = "\
| method | evaluations | success | 95% interval | mean success evaluation | spread | evaluations per hit | mean lowest energy / eV |
|---|---:|---:|---:|---:|---:|---:|---:|
| pt7-rss | 10000 | 1/2 | 0.09 to 0.91 | 7816 | - | 17816 | 25.0000 |
";
        assert_eq!(markdown(&[&row()]), expected);
        assert!(markdown(&[&Row::new("new", "search", &[])]).ends_with("| new | 0 | 0/0 | - | - | - | - | - |\n"));
    }
}
