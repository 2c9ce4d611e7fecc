//! When training has taught enough: rules that watch how far gradients agree, the same in every engine.
//!
//! Both are of the program of GO-Diff's authors (github.com/nronne/go-diff). While the model learns something new, gradients of
//! different batches point the same way; later they only follow the noise of their batches.

/// Two vectors whose cosine a step is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consensus {
    /// The step's gradient, and Adam's first moment before the step.
    Momentum,
    /// The gradients of the two halves of the step's batch. Structures in even places are one half, those in odd places the other.
    Halves,
}

impl Consensus {
    /// Weight of the earlier checks in the mean that is compared with its peak; the present cosine has the rest.
    pub fn memory(self) -> f64 {
        match self {
            Consensus::Momentum => 0.0,
            Consensus::Halves => 0.75,
        }
    }
}

/// Ends a call of [`Engine::train`](super::Engine::train) before its last step. Each step after the first ones is a check: the
/// cosine enters a mean, whose highest value so far is the peak. A step is the last one if `patience` checks have passed since the
/// peak and the mean is below `drop` times the peak. A check whose cosine is not defined, since a vector is 0, does not count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoppingRule {
    /// What is compared.
    pub consensus: Consensus,
    /// First steps, which are no checks.
    pub free_steps: usize,
    /// Checks since the peak, at least.
    pub patience: usize,
    /// Share of the peak, below 1.
    pub drop: f64,
}

/// The state of a rule over the steps of a call. The kernel `stopping` in kernels/adamw.cu is its twin.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    rule: StoppingRule,
    /// The mean, and its peak; `None` before the first check.
    mean: Option<[f64; 2]>,
    since_peak: usize,
}

impl Watch {
    /// Before the first step.
    pub fn new(rule: StoppingRule) -> Self {
        Watch { rule, mean: None, since_peak: 0 }
    }

    /// What is compared in step `step` (from 0); `None` if the step is no check.
    pub fn checks(&self, step: usize) -> Option<Consensus> {
        (step >= self.rule.free_steps).then_some(self.rule.consensus)
    }

    /// Whether the step is the last one. `products` are Σa², Σab and Σb² of its two vectors.
    pub fn is_last(&mut self, [aa, ab, bb]: [f64; 3]) -> bool {
        let norms = (aa * bb).sqrt();
        if norms == 0.0 {
            return false;
        }
        let memory = self.rule.consensus.memory();
        let cosine = ab / norms;
        match self.mean {
            Some([mean, peak]) => {
                let mean = memory * mean + (1.0 - memory) * cosine;
                self.since_peak = if mean > peak { 0 } else { self.since_peak + 1 };
                self.mean = Some([mean, peak.max(mean)]);
            }
            None => self.mean = Some([cosine; 2]),
        }
        let [mean, peak] = self.mean.unwrap_or_default();
        self.since_peak >= self.rule.patience && mean < self.rule.drop * peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: StoppingRule = StoppingRule { consensus: Consensus::Momentum, free_steps: 2, patience: 2, drop: 0.5 };

    /// The number of cosines until the watch says that the step is the last one.
    fn last(rule: StoppingRule, cosines: &[f64]) -> Option<usize> {
        let mut watch = Watch::new(rule);
        cosines.iter().position(|&cosine| watch.is_last([4.0, 6.0 * cosine, 9.0]))
    }

    #[test]
    fn first_steps_are_free() {
        let watch = Watch::new(RULE);
        assert_eq!([0, 1, 2, 3].map(|step| watch.checks(step).is_some()), [false, false, true, true]);
    }

    #[test]
    fn a_step_is_the_last_once_patience_is_over_and_the_cosine_is_low() {
        assert_eq!(last(RULE, &[0.8, 0.1, 0.1]), Some(2), "two checks after the peak");
        assert_eq!(last(RULE, &[0.8, 0.1, 0.5, 0.41, 0.39]), Some(4), "half of the peak is 0.4");
        assert_eq!(last(RULE, &[0.1, 0.1, 0.8, 0.3, 0.9, 0.3, 0.3]), Some(6), "a later peak starts anew");
        assert_eq!(last(RULE, &[0.5; 50]), None);
        assert_eq!(last(StoppingRule { patience: 3, ..RULE }, &[0.8, 0.1, 0.1, 0.1]), Some(3));
        assert_eq!(last(StoppingRule { drop: 0.1, ..RULE }, &[0.8, 0.1, 0.1, 0.07]), Some(3));
    }

    /// The mean of 1, 0, 0, … falls as 0.75ⁿ: it is below a half after three checks.
    #[test]
    fn halves_are_judged_by_a_mean() {
        let rule = StoppingRule { consensus: Consensus::Halves, patience: 1, ..RULE };
        assert_eq!(last(rule, &[1.0, 0.0, 0.0, 0.0]), Some(3));
        assert_eq!(last(StoppingRule { consensus: Consensus::Momentum, ..rule }, &[1.0, 0.0, 0.0]), Some(1));
    }

    #[test]
    fn a_vector_that_is_zero_is_no_check() {
        let mut watch = Watch::new(StoppingRule { patience: 1, ..RULE });
        assert!(!watch.is_last([1.0, 0.9, 1.0]));
        assert!(!watch.is_last([0.0, 0.0, 1.0]) && !watch.is_last([1.0, 0.0, 0.0]));
        assert!(watch.is_last([1.0, 0.1, 1.0]));
    }
}
