//! Times of the reverse process and temperatures of the annealing loop.

use crate::error::{Error, Result};

/// Diffusion times t_k = 1 − (1 − t_min)·k/(steps − 1), k = 0..steps, from 1 down to t_min.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReverseSchedule {
    steps: usize,
    t_min: f64,
}

impl ReverseSchedule {
    /// `steps` times from 1 to `t_min`.
    ///
    /// # Errors
    /// `BadInput` unless steps ≥ 2 and 0 < t_min < 1.
    pub fn new(steps: usize, t_min: f64) -> Result<Self> {
        if steps < 2 {
            return Err(Error::bad_input(format!("the reverse process needs at least 2 steps, not {steps}")));
        }
        if !(t_min > 0.0 && t_min < 1.0) {
            return Err(Error::bad_input(format!(
                "t_min, the last time of the reverse process, must be between 0 and 1, not {t_min}"
            )));
        }
        Ok(ReverseSchedule { steps, t_min })
    }

    /// Number of steps.
    pub fn n_steps(&self) -> usize {
        self.steps
    }

    /// t_k.
    pub fn time(&self, k: usize) -> f64 {
        1.0 - (1.0 - self.t_min) * k as f64 / (self.steps - 1) as f64
    }

    /// Length of one step, (1 − t_min)/(steps − 1).
    pub fn dt(&self) -> f64 {
        (1.0 - self.t_min) / (self.steps - 1) as f64
    }

    /// Whether `k` is the last step, which adds no noise.
    pub fn is_last(&self, k: usize) -> bool {
        k + 1 == self.steps
    }

    /// All times in order.
    pub fn times(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        (0..self.steps).map(|k| self.time(k))
    }
}

/// Temperature of iteration `k` of `n`, kT_k = kT₀·(kT_f/kT₀)^(k/(n−1)), in the unit of `kt_initial`. It is exactly `kt_final` in
/// the last iteration, and `kt_initial` if there is only one.
pub fn temperature(k: usize, n: usize, kt_initial: f64, kt_final: f64) -> f64 {
    match k {
        0 => kt_initial,
        _ if k + 1 >= n => kt_final,
        _ => kt_initial * (kt_final / kt_initial).powf(k as f64 / (n - 1) as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_run_from_one_to_t_min() {
        let schedule = ReverseSchedule::new(500, 0.005).unwrap();
        let times: Vec<f64> = schedule.times().collect();
        assert_eq!(times.len(), 500);
        assert_eq!(times[0], 1.0);
        assert!((times[499] - 0.005).abs() < 1e-15);
        assert!((times[100] - (1.0 - 0.995 * 100.0 / 499.0)).abs() < 1e-15);
        assert!((schedule.dt() - (times[7] - times[8])).abs() < 1e-15);
        assert!(schedule.is_last(499) && !schedule.is_last(498));
    }

    #[test]
    fn impossible_schedules_are_refused() {
        let error = ReverseSchedule::new(1, 0.005).unwrap_err();
        assert_eq!(error.to_string(), "the reverse process needs at least 2 steps, not 1");
        for t_min in [0.0, 1.0, -0.1, f64::NAN] {
            let error = ReverseSchedule::new(500, t_min).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let sentence = format!("t_min, the last time of the reverse process, must be between 0 and 1, not {t_min}");
            assert_eq!(error.to_string(), sentence);
        }
    }

    #[test]
    fn temperatures_fall_geometrically() {
        let kt: Vec<f64> = (0..10).map(|k| temperature(k, 10, 5.0, 0.02)).collect();
        assert_eq!((kt[0], kt[9]), (5.0, 0.02));
        for pair in kt.windows(2) {
            assert!((pair[1] / pair[0] - 0.004f64.powf(1.0 / 9.0)).abs() < 1e-12);
        }
        assert_eq!(temperature(0, 1, 5.0, 0.02), 5.0);
    }
}
