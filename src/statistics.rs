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

/// Pearson's correlation of `a` with `b`, −1 to 1; 0 if the values of one are all the same.
pub fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let moments = |values: &[f64]| mean_and_variance(values.iter().copied()).unwrap_or((0.0, 0.0));
    let ((mean_a, variance_a), (mean_b, variance_b)) = (moments(a), moments(b));
    let covariance = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum::<f64>() / a.len().max(1) as f64;
    let scale = (variance_a * variance_b).sqrt();
    if scale > 0.0 { covariance / scale } else { 0.0 }
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

    #[test]
    fn correlations() {
        assert!((correlation(&[1.0, 2.0, 4.0], &[-2.0, -4.0, -8.0]) + 1.0).abs() < 1e-12);
        assert!((correlation(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]) - 0.5).abs() < 1e-12);
        assert_eq!((correlation(&[1.0, 1.0], &[1.0, 3.0]), correlation(&[], &[])), (0.0, 0.0));
    }
}
