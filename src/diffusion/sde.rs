//! Noise levels of the variance-exploding process.

use crate::error::{Error, Result};

/// Noise levels σ(t) = σ_min + (σ_max − σ_min)·t, Å, for diffusion times t in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sde {
    /// σ(0), Å.
    pub sigma_min: f64,
    /// σ(1), Å.
    pub sigma_max: f64,
}

impl Default for Sde {
    /// 0.01 to 1 Å, as in the paper.
    fn default() -> Self {
        Sde { sigma_min: 0.01, sigma_max: 1.0 }
    }
}

impl Sde {
    /// Noise levels from `sigma_min` to `sigma_max`, Å.
    ///
    /// # Errors
    /// `BadInput` as [`Sde::check`].
    pub fn new(sigma_min: f64, sigma_max: f64) -> Result<Self> {
        let sde = Sde { sigma_min, sigma_max };
        sde.check()?;
        Ok(sde)
    }

    /// Whether 0 < σ_min < σ_max < ∞.
    ///
    /// # Errors
    /// `BadInput` naming the offending value.
    pub fn check(&self) -> Result<()> {
        let Sde { sigma_min, sigma_max } = *self;
        if !(sigma_min.is_finite() && sigma_min > 0.0) {
            return Err(Error::bad_input(format!("sigma_min must be a positive number of Å, not {sigma_min}")));
        }
        if !(sigma_max.is_finite() && sigma_max > sigma_min) {
            return Err(Error::bad_input(format!(
                "sigma_max must be a finite number of Å above sigma_min = {sigma_min}, not {sigma_max}"
            )));
        }
        Ok(())
    }

    /// σ(t), Å.
    pub fn sigma(&self, t: f64) -> f64 {
        self.sigma_min + self.spread() * t
    }

    /// Standard deviation of the noise added up to time t, σ_t = sqrt(σ(t)² − σ(0)²), Å. The difference of squares is
    /// factored, so that it keeps its digits for small t.
    pub fn noise_scale(&self, t: f64) -> f64 {
        let rise = self.spread() * t;
        (rise * (2.0 * self.sigma_min + rise)).sqrt()
    }

    /// Squared diffusion coefficient g² = dσ²/dt, Å².
    pub fn diffusion_squared(&self, t: f64) -> f64 {
        2.0 * self.sigma(t) * self.spread()
    }

    fn spread(&self) -> f64 {
        self.sigma_max - self.sigma_min
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_process() {
        let sde = Sde::new(0.01, 1.0).unwrap();
        assert_eq!(sde.sigma(0.0), 0.01);
        assert!((sde.sigma(1.0) - 1.0).abs() < 1e-15);
        assert_eq!(sde.noise_scale(0.0), 0.0);
        assert!((sde.noise_scale(1.0) - (1.0f64 - 1e-4).sqrt()).abs() < 1e-15);
        // 0.99·1e-5·(0.02 + 0.99·1e-5) in exact decimals
        assert!((sde.noise_scale(1e-5).powi(2) - 1.9809801e-7).abs() < 1e-21);
    }

    #[test]
    fn diffusion_is_the_derivative_of_the_variance() {
        let sde = Sde { sigma_min: 0.02, sigma_max: 0.7 };
        for t in [0.1, 0.5, 0.9] {
            let h = 1e-6;
            let slope = (sde.noise_scale(t + h).powi(2) - sde.noise_scale(t - h).powi(2)) / (2.0 * h);
            assert!((slope - sde.diffusion_squared(t)).abs() < 1e-8, "t {t}: {slope}");
        }
    }

    #[test]
    fn impossible_levels_are_refused() {
        for (low, high, sentence) in [
            (0.0, 1.0, "sigma_min must be a positive number of Å, not 0"),
            (-1.0, 1.0, "sigma_min must be a positive number of Å, not -1"),
            (f64::NAN, 1.0, "sigma_min must be a positive number of Å, not NaN"),
            (0.5, 0.5, "sigma_max must be a finite number of Å above sigma_min = 0.5, not 0.5"),
            (0.5, 0.1, "sigma_max must be a finite number of Å above sigma_min = 0.5, not 0.1"),
            (0.5, f64::INFINITY, "sigma_max must be a finite number of Å above sigma_min = 0.5, not inf"),
        ] {
            let error = Sde::new(low, high).unwrap_err();
            assert_eq!((error.exit_code(), error.to_string()), (2, sentence.to_owned()));
        }
    }
}
