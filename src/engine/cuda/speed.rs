//! Predicted times of the launches of a step: those of the table `kernels/speed.md`, which a model makes without a card.

/// The table; `tests/kernel_speed.rs` writes it.
const TABLE: &str = include_str!("../../../kernels/speed.md");
/// Features of the network that the table is for.
const FEATURES: usize = 64;
/// Columns before the first card's times.
const FIRST_CARD: usize = 12;
/// The largest ratio of a launch's blocks to those of the table.
const LARGEST_RATIO: f64 = 1.25;

/// The prediction of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Of every launch, milliseconds.
    pub launches: Vec<f64>,
    /// With what passes between launches, milliseconds.
    pub step: f64,
}

/// The prediction for `launches` (kernel and blocks) of the step `phase` on `card`, a network of so many features. `None` unless
/// the card is in the table and the launches are nearly those of the table.
pub fn prediction(phase: &str, card: &str, features: usize, launches: &[(&str, u32)]) -> Option<Prediction> {
    let section = TABLE.split("\n## ").find(|section| section.starts_with(phase))?;
    let mut rows = section.lines().filter(|line| line.starts_with('|')).map(cells);
    let names = rows.next()?;
    let column = FIRST_CARD + names.get(FIRST_CARD..)?.iter().position(|name| card.contains(name))?;
    let time = |row: &[&str]| Some(row.get(column)?.parse::<f64>().ok()? * 1e-3);
    let all: Vec<Vec<&str>> = rows.skip(1).collect();
    let of_launches: Vec<&Vec<&str>> = all.iter().filter(|row| row[0].starts_with('`')).collect();
    let is_like = |(row, (kernel, blocks)): (&&Vec<&str>, &(&str, u32))| {
        let ratio = row.get(1).and_then(|cell| cell.parse::<f64>().ok()).map(|there| f64::from(*blocks) / there);
        row[0].trim_matches('`') == *kernel
            && ratio.is_some_and(|ratio| (LARGEST_RATIO.recip()..=LARGEST_RATIO).contains(&ratio))
    };
    if features != FEATURES || launches.len() != of_launches.len() || !of_launches.iter().zip(launches).all(is_like) {
        return None;
    }
    let launches = of_launches.into_iter().map(|row| time(row)).collect::<Option<Vec<f64>>>()?;
    let step = time(all.iter().find(|row| row[0] == "sum")?)?;
    Some(Prediction { launches, step })
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kernels and blocks of the reverse step in the table.
    fn reverse_step() -> Vec<(&'static str, u32)> {
        let section = TABLE.split("\n## ").find(|section| section.starts_with("reverse step")).unwrap();
        let rows = section.lines().map(cells).filter(|cells| cells[0].starts_with('`'));
        rows.map(|cells| (cells[0].trim_matches('`'), cells[1].parse().unwrap())).collect()
    }

    #[test]
    fn the_steps_of_the_table_are_predicted_on_its_cards() {
        let launches = reverse_step();
        assert_eq!(launches.len(), 8);
        let of = |card: &str| prediction("reverse step", card, 64, &launches);
        let cards = ["NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 4090", "NVIDIA A100-SXM4-80GB", "NVIDIA H200"];
        let found = cards.map(|card| of(card).unwrap());
        for one in &found {
            let sum: f64 = one.launches.iter().sum();
            assert!(sum > 0.0 && sum < one.step && one.step < 2.0, "{one:?}");
        }
        assert!(found[0].step > found[3].step);
        assert_eq!(of("emulator"), None);
    }

    #[test]
    fn other_steps_are_not_predicted() {
        let mut launches = reverse_step();
        assert_eq!(prediction("reverse step", "NVIDIA H200", 32, &launches), None);
        assert_eq!(prediction("training step", "NVIDIA H200", 64, &launches), None);
        launches[1].1 *= 2;
        assert_eq!(prediction("reverse step", "NVIDIA H200", 64, &launches), None);
    }
}
