//! Statistics of energies.

/// `values` in ascending order.
pub fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle of `sorted` values, or the mean of the two in the middle; `None` without values.
pub fn median(sorted: &[f64]) -> Option<f64> {
    match sorted.len() {
        0 => None,
        n => Some((sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0),
    }
}

/// Mean of `values` and their mean square deviation from it; `None` without values.
pub fn mean_and_variance(values: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (n > 0.0).then(|| (mean, values.map(|value| (value - mean).powi(2)).sum::<f64>() / n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&sorted([3.0, -1.0, 2.0].into_iter())), Some(2.0));
        assert_eq!(median(&sorted([4.0, 1.0, 3.0, 2.0].into_iter())), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn variances_are_those_of_the_values_alone() {
        assert_eq!(mean_and_variance([2.0, 4.0, 9.0].into_iter()), Some((5.0, 26.0 / 3.0)));
        assert_eq!(mean_and_variance([7.0].into_iter()), Some((7.0, 0.0)));
        assert_eq!(mean_and_variance([].into_iter()), None);
    }
}
