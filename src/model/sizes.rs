//! Sizes of the score model and its radial functions.

use super::Layout;
use crate::error::{Error, Result};

/// Sizes of PaiNN and its heads (F features, L blocks, K radial functions).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelSizes {
    /// F, features per atom.
    pub features: usize,
    /// L, interaction blocks.
    pub blocks: usize,
    /// K, radial functions.
    pub radial_functions: usize,
    /// Cutoff radius of the graph, Å.
    pub cutoff_angstrom: f64,
    /// Whether the model predicts forces too.
    pub force_head: bool,
}

/// Largest F and K, far above any published PaiNN.
const MAX_WIDTH: usize = 4096;
/// Largest L.
const MAX_BLOCKS: usize = 64;
/// Largest cutoff, Å.
const MAX_CUTOFF: f64 = 100.0;
/// Largest number of parameters: with the optimiser's moments 2.4 GB in f64.
const MAX_PARAMETERS: usize = 100_000_000;

impl ModelSizes {
    /// Whether a model of these sizes is possible and fits into memory.
    ///
    /// # Errors
    /// `BadInput` naming the offending size and its range.
    pub fn check(&self) -> Result<()> {
        for (name, size, most) in [
            ("features", self.features, MAX_WIDTH),
            ("blocks", self.blocks, MAX_BLOCKS),
            ("radial functions", self.radial_functions, MAX_WIDTH),
        ] {
            if !(1..=most).contains(&size) {
                return Err(Error::bad_input(format!("the model must have 1 to {most} {name}, not {size}")));
            }
        }
        if !(self.cutoff_angstrom > 0.0 && self.cutoff_angstrom <= MAX_CUTOFF) {
            return Err(Error::bad_input(format!(
                "the model's cutoff must be above 0 and at most {MAX_CUTOFF} Å, not {}",
                self.cutoff_angstrom
            )));
        }
        let n_parameters = Layout::new(self).n_parameters();
        if n_parameters > MAX_PARAMETERS {
            return Err(Error::bad_input(format!(
                "a model of {} features and {} blocks has {n_parameters} parameters, more than the {MAX_PARAMETERS} \
                 allowed: choose fewer features",
                self.features, self.blocks
            )));
        }
        Ok(())
    }
}

/// Centres and widths of the Gaussian radial functions, Å; K of each.
#[derive(Debug, Clone, PartialEq)]
pub struct RadialBasis {
    /// Centres μ_k.
    pub offsets: Vec<f64>,
    /// Widths w of exp(−(d−μ)²/(2w²)).
    pub widths: Vec<f64>,
}

impl RadialBasis {
    /// `n` centres evenly from 0 to `cutoff` (Å), all as wide as their spacing (SchNetPack's GaussianRBF).
    pub fn even(n: usize, cutoff: f64) -> Self {
        let spacing = if n > 1 { cutoff / (n - 1) as f64 } else { cutoff };
        RadialBasis { offsets: (0..n).map(|k| k as f64 * spacing).collect(), widths: vec![spacing; n] }
    }

    /// The error in K = `n` functions read from a file, as part of a sentence; `None` if there is none.
    pub(super) fn complaint(&self, n: usize) -> Option<&'static str> {
        if self.offsets.len() != n || self.widths.len() != n {
            Some("the radial functions have another number than the filter weights expect")
        } else if self.offsets.iter().any(|x| !x.is_finite()) {
            Some("the radial functions have centres that are not finite numbers")
        } else if self.widths.iter().any(|w| !(w.is_finite() && *w > 0.0)) {
            Some("the radial functions have widths that are not positive numbers")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAPER: ModelSizes =
        ModelSizes { features: 64, blocks: 4, radial_functions: 30, cutoff_angstrom: 6.0, force_head: true };

    #[test]
    fn the_papers_model_passes() {
        PAPER.check().unwrap();
        ModelSizes { features: 1, blocks: 1, radial_functions: 1, ..PAPER }.check().unwrap();
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for (sizes, sentence) in [
            (ModelSizes { features: 0, ..PAPER }, "the model must have 1 to 4096 features, not 0"),
            (
                ModelSizes { features: usize::MAX, ..PAPER },
                "the model must have 1 to 4096 features, not 18446744073709551615",
            ),
            (ModelSizes { blocks: 0, ..PAPER }, "the model must have 1 to 64 blocks, not 0"),
            (
                ModelSizes { radial_functions: 5000, ..PAPER },
                "the model must have 1 to 4096 radial functions, not 5000",
            ),
            (
                ModelSizes { cutoff_angstrom: 0.0, ..PAPER },
                "the model's cutoff must be above 0 and at most 100 Å, not 0",
            ),
            (
                ModelSizes { cutoff_angstrom: f64::NAN, ..PAPER },
                "the model's cutoff must be above 0 and at most 100 Å, not NaN",
            ),
        ] {
            let error = sizes.check().unwrap_err();
            assert_eq!((error.exit_code(), error.to_string()), (2, sentence.to_owned()));
        }
        let error = ModelSizes { features: 4096, blocks: 64, ..PAPER }.check().unwrap_err();
        assert!(error.to_string().contains("more than the 100000000 allowed: choose fewer features"), "{error}");
    }

    #[test]
    fn even_functions_span_the_cutoff() {
        let basis = RadialBasis::even(30, 6.0);
        assert_eq!((basis.offsets[0], basis.widths[0]), (0.0, 6.0 / 29.0));
        assert!((basis.offsets[29] - 6.0).abs() < 1e-14);
        assert_eq!(basis.complaint(30), None);
        assert!(basis.complaint(29).unwrap().contains("another number"));
        let flat = RadialBasis { widths: vec![0.0; 30], ..basis.clone() };
        assert!(flat.complaint(30).unwrap().contains("not positive"));
        let lost = RadialBasis { offsets: vec![f64::NAN; 30], ..basis };
        assert!(lost.complaint(30).unwrap().contains("not finite"));
    }
}
