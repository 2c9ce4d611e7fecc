//! The learning rate over the steps of one iteration, the same in every engine.

/// Epochs without improvement before the learning rate falls, and the factor by which it falls.
const PATIENCE: u32 = 100;
const PLATEAU_FACTOR: f64 = 0.95;
/// An epoch is an improvement if its loss is lower than the best by this share (PyTorch's ReduceLROnPlateau).
const PLATEAU_THRESHOLD: f64 = 1e-4;

/// Learning rate × 0.95 when the epoch's mean loss has not improved for 100 epochs.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PlateauSchedule {
    /// Present learning rate.
    pub learning_rate: f64,
    /// Lowest epoch loss so far; `None` before the first epoch.
    pub best: Option<f64>,
    /// Epochs since the lowest loss.
    pub bad_epochs: u32,
}

impl PlateauSchedule {
    /// Starts at `learning_rate`.
    pub fn new(learning_rate: f64) -> Self {
        PlateauSchedule { learning_rate, best: None, bad_epochs: 0 }
    }

    /// Takes in an epoch's mean loss.
    pub fn epoch(&mut self, loss: f64) {
        if self.best.is_none_or(|best| loss < best * (1.0 - PLATEAU_THRESHOLD)) {
            self.best = Some(loss);
            self.bad_epochs = 0;
            return;
        }
        self.bad_epochs += 1;
        if self.bad_epochs > PATIENCE {
            self.learning_rate *= PLATEAU_FACTOR;
            self.bad_epochs = 0;
        }
    }
}

/// Half a cosine that takes the learning rate from its first value to the last over the steps of an iteration
/// (arXiv:1608.03983, eq. 5, one cycle an iteration): large steps follow the new buffer, small ones average out the noise of
/// the batches. It multiplies the rate of the plateau schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decay {
    /// Last learning rate over the first, above 0; 1: no decay.
    pub last: f64,
}

impl Decay {
    /// The rate falls on plateaus alone.
    pub const NONE: Decay = Decay { last: 1.0 };

    /// Factor on the learning rate for step `step` (from 0) of `steps`.
    pub fn share(self, step: usize, steps: usize) -> f64 {
        let passed = step as f64 / steps.max(1) as f64;
        self.last + (1.0 - self.last) * 0.5 * (1.0 + (std::f64::consts::PI * passed).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred epochs without improvement change nothing; the next one lowers the rate, and the count starts again.
    #[test]
    fn plateaus_lower_the_rate() {
        let mut schedule = PlateauSchedule::new(1e-4);
        schedule.epoch(2.0);
        for _ in 0..100 {
            schedule.epoch(2.0);
        }
        assert_eq!((schedule.learning_rate, schedule.bad_epochs), (1e-4, 100));
        schedule.epoch(3.0);
        assert_eq!((schedule.learning_rate, schedule.bad_epochs), (0.95e-4, 0));
        for _ in 0..101 {
            schedule.epoch(2.0);
        }
        assert!((schedule.learning_rate / (0.95 * 0.95e-4) - 1.0).abs() < 1e-12);
        assert_eq!(schedule.best, Some(2.0));
    }

    #[test]
    fn improvements_reset_the_count() {
        let mut schedule = PlateauSchedule::new(1e-4);
        for loss in [1.0, 1.1, 1.2] {
            schedule.epoch(loss);
        }
        assert_eq!((schedule.best, schedule.bad_epochs), (Some(1.0), 2));
        schedule.epoch(1.0 - 0.5e-4);
        assert_eq!((schedule.best, schedule.bad_epochs), (Some(1.0), 3), "less than the threshold is none");
        schedule.epoch(1.0 - 2e-4);
        assert_eq!((schedule.best, schedule.bad_epochs), (Some(1.0 - 2e-4), 0));
    }

    #[test]
    fn the_decay_is_half_a_cosine() {
        let decay = Decay { last: 0.1 };
        for (step, share) in [(0, 1.0), (25, 0.55 + 0.45 * 0.5f64.sqrt()), (50, 0.55), (100, 0.1)] {
            assert!((decay.share(step, 100) - share).abs() < 1e-15, "{step}");
        }
        assert!((1..100).all(|step| decay.share(step, 100) < decay.share(step - 1, 100)));
        assert_eq!(Decay::NONE.share(77, 100), 1.0, "exactly, so that nothing changes without a decay");
        assert_eq!(decay.share(0, 0), 1.0);
    }
}
