//! The table of a benchmark, for the screen and as Markdown.

use super::clock::{CLOCK_HEADS, SCREEN_CLOCK_HEADS, clock};
use super::{Pairs, Results, Row};
use crate::columns::aligned;

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

/// The heads of the columns on the screen, in two lines each.
const SCREEN_HEADS: [[&str; 2]; 8] = [
    ["", "method"],
    ["longest", "run"],
    ["", "success"],
    ["95%", "interval"],
    ["mean", "hit"],
    ["", "spread"],
    ["all runs", "per hit"],
    ["mean", "lowest/eV"],
];
/// The same for the table of pairs.
const SCREEN_PAIR_HEADS: [[&str; 2]; 6] =
    [["", "method"], ["", "pairs"], ["", "difference"], ["standard", "error"], ["", "fewer"], ["", "more"]];

/// The table in columns of equal width, for a usual terminal. Then a line for each method with unfinished runs. With several
/// methods, a second table compares each with the first. The last table is about seconds.
pub fn text(results: &[Results]) -> String {
    let short = |row: &Row| {
        let mut cells = cells(row);
        cells[2] = format!("{}/{}", row.n_hits, row.n_runs);
        cells[3] = cells[3].replace(" to ", "–");
        cells
    };
    let mut text = aligned(&SCREEN_HEADS, results.iter().map(|results| short(&results.row)));
    for row in results.iter().map(|results| &results.row).filter(|row| row.n_unfinished > 0) {
        text += &format!("\n{}: unfinished and not counted: {}", row.name, row.n_unfinished);
    }
    if let Some((title, rows)) = pairs(results) {
        text += &format!("\n\n{title}\n{}", aligned(&SCREEN_PAIR_HEADS, rows.into_iter()));
    }
    if let Some((title, rows)) = clock(results) {
        text += &format!("\n\n{title}\n{}", aligned(&SCREEN_CLOCK_HEADS, rows.into_iter()));
    }
    text
}

/// The same in Markdown, with a line end.
pub fn markdown(results: &[Results]) -> String {
    let mut text = piped(&HEADS, results.iter().map(|results| cells(&results.row)));
    if let Some((title, rows)) = pairs(results) {
        text += &format!("\n{title}:\n\n{}", piped(&PAIR_HEADS, rows.into_iter()));
    }
    if let Some((title, rows)) = clock(results) {
        text += &format!("\n{title}:\n\n{}", piped(&CLOCK_HEADS, rows.into_iter()));
    }
    text
}

/// Heads of the columns of pairs.
pub const PAIR_HEADS: [&str; 6] = ["method", "pairs", "difference", "standard error", "fewer", "more"];

/// How the methods after the first compare with it: a title, and one row for each, in the order of the heads. `None` with fewer
/// than two methods.
pub fn pairs(results: &[Results]) -> Option<(String, Vec<[String; 6]>)> {
    let pairs: Vec<&Pairs> = results.iter().filter_map(|results| results.against_first.as_ref()).collect();
    let title = format!("Evaluations to the target, in pairs of the same seed with {}", pairs.first()?.against);
    let row = |pairs: &&Pairs| {
        [
            pairs.name.clone(),
            pairs.n_pairs.to_string(),
            pairs.mean_difference.map_or("-".to_owned(), |difference| format!("{difference:+.0}")),
            pairs.standard_error.map_or("-".to_owned(), |error| format!("{error:.0}")),
            pairs.n_fewer.to_string(),
            pairs.n_more.to_string(),
        ]
    };
    Some((title, pairs.iter().map(row).collect()))
}

fn piped<const N: usize>(heads: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut text = format!("| {} |\n|---|{}\n", heads.join(" | "), "---:|".repeat(N - 1));
    rows.for_each(|cells| text += &format!("| {} |\n", cells.join(" | ")));
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Method, Outcome, compare_with_first};
    use super::*;
    use crate::baseline::Baseline;

    /// Runs with the seeds 0, 1, … and 10,000 evaluations each; `targets` are the evaluations that found the target.
    fn results(name: &str, method: Method, targets: &[Option<u64>]) -> Results {
        let run = |(seed, &target_first_evaluation)| Outcome {
            seed,
            finished: true,
            evaluations: 10_000,
            target_first_evaluation,
            best_energy_ev: Some(25.0),
            seconds: 1.0,
            outside_seconds: None,
        };
        Results::new(name, method, (0..).zip(targets).map(run).collect(), Vec::new())
    }

    fn one() -> Results {
        results("pt7-rss", Method::Baseline(Baseline::RandomSearch), &[Some(7816), None])
    }

    fn two() -> Vec<Results> {
        compare_with_first(vec![one(), results("pt7", Method::Search, &[Some(816), Some(1000)])])
    }

    #[test]
    fn the_screen_shows_columns() {
        let table = "         longest                 95%  mean          all runs       mean
method       run  success   interval   hit  spread   per hit  lowest/eV
pt7-rss    10000      1/2  0.09–0.91  7816       -     17816    25.0000";
        assert_eq!(text(&[one()]), table);
        let (more, pairs) = (
            "\npt7        10000      2/2  0.34–1.00   908     130       908    25.0000",
            "

Evaluations to the target, in pairs of the same seed with pt7-rss
                           standard
method  pairs  difference     error  fewer  more
pt7         2       -8000      1000      2     0",
        );
        assert_eq!(text(&two()), format!("{table}{more}{pairs}"));
    }

    /// GO-Diff needs 816 + 1000 evaluations and 60 s for two hits, random search 7816 + 10,000 and 3 s for one:
    /// (30 − 3)/(17816 − 908) s.
    #[test]
    fn the_last_table_is_about_seconds() {
        let timed = |mut results: Results, outside: f64| {
            results.runs.iter_mut().for_each(|run| {
                let until_success = run.cost() as f64 / run.evaluations as f64;
                run.outside_seconds = Some(outside / results.row.n_runs as f64 / until_success);
                run.seconds = 2.0 * outside / results.row.n_runs as f64 / until_success;
            });
            Results::new(&results.row.name, Method::Search, results.runs, Vec::new())
        };
        let [rss, search] = two().try_into().unwrap();
        let both = compare_with_first(vec![timed(rss.clone(), 3.0), timed(search, 60.0)]);
        let table = "\n\nSeconds per hit, and the time of one energy at which a method is the quickest
         seconds  outside the  evaluations  quickest if an
method   per hit    potential      per hit    energy takes
pt7-rss     6.00         3.00        17816    below 1.6 ms
pt7         60.0         30.0          908    above 1.6 ms";
        assert!(text(&both).ends_with(table), "{}", text(&both));
        let rows = "| pt7-rss | 6.00 | 3.00 | 17816 | below 1.6 ms |\n| pt7 | 60.0 | 30.0 | 908 | above 1.6 ms |\n";
        assert!(markdown(&both).ends_with(rows), "{}", markdown(&both));
        let quickest = both[1].quickest.unwrap();
        assert!((quickest.above_seconds - 27.0 / 16908.0).abs() < 1e-12 && quickest.below_seconds.is_none());
        // With fewer seconds and evaluations there is no break-even.
        let [rss, search] = two().try_into().unwrap();
        let better = compare_with_first(vec![timed(rss, 3.0), timed(search, 2.0)]);
        assert!(text(&better).contains("never\n") && text(&better).ends_with("any time"), "{}", text(&better));
        let alone = text(&compare_with_first(vec![timed(one(), 3.0)]));
        assert!(alone.ends_with("17816               -"), "{alone}");
        assert!(text(&both).lines().all(|line| line.chars().count() <= crate::columns::USUAL));
    }

    /// A name that leaves no room for the numbers has a line of its own.
    #[test]
    fn the_screen_has_80_columns() {
        let mut long = results("seven-platinum-atoms-basin-hopping", Method::Search, &[Some(7816), None]);
        long.row.n_unfinished = 3;
        let table = "        longest                 95%  mean          all runs       mean
method      run  success   interval   hit  spread   per hit  lowest/eV
seven-platinum-atoms-basin-hopping
          10000      1/2  0.09–0.91  7816       -     17816    25.0000
seven-platinum-atoms-basin-hopping: unfinished and not counted: 3";
        assert_eq!(text(std::slice::from_ref(&long)), table);
        let text = text(&compare_with_first(vec![one(), long]));
        assert!(text.lines().all(|line| line.chars().count() <= crate::columns::USUAL), "{text}");
    }

    #[test]
    fn markdown_has_a_row_each() {
        let table = "\
| method | evaluations | success | 95% interval | mean success evaluation | spread | evaluations per hit | mean lowest energy / eV |
|---|---:|---:|---:|---:|---:|---:|---:|
| pt7-rss | 10000 | 1/2 | 0.09 to 0.91 | 7816 | - | 17816 | 25.0000 |
";
        assert_eq!(markdown(&[one()]), table);
        let (more, pairs) = (
            "| pt7 | 10000 | 2/2 | 0.34 to 1.00 | 908 | 130 | 908 | 25.0000 |\n",
            "
Evaluations to the target, in pairs of the same seed with pt7-rss:

| method | pairs | difference | standard error | fewer | more |
|---|---:|---:|---:|---:|---:|
| pt7 | 2 | -8000 | 1000 | 2 | 0 |
",
        );
        assert_eq!(markdown(&two()), format!("{table}{more}{pairs}"));
        let nothing = results("new", Method::Search, &[]);
        assert!(markdown(std::slice::from_ref(&nothing)).ends_with("| new | 0 | 0/0 | - | - | - | - | - |\n"));
        assert!(markdown(&compare_with_first(vec![one(), nothing])).ends_with("| new | 0 | - | - | 0 | 0 |\n"));
    }
}
