//! Noise levels of the variance-exploding process.

use crate::error::{Error, Result};

/// Largest ρ: beyond it the levels come hardly nearer to an exponential.
pub const LARGEST_RHO: u32 = 16;

/// Noise levels σ(t) = (σ_min^(1/ρ) + (σ_max^(1/ρ) − σ_min^(1/ρ))·t)^ρ, Å, for diffusion times t in [0, 1]. They are linear with
/// ρ = 1, as in the paper; the larger ρ, the more of the time is spent at low noise (Karras et al., arXiv:2206.00364, eq. 5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sde {
    /// σ(0), Å.
    pub sigma_min: f64,
    /// σ(1), Å.
    pub sigma_max: f64,
    /// ρ. It is a whole number, so that engines need only products and agree to the last bit.
    pub rho: u32,
}

impl Default for Sde {
    /// 0.01 to 1 Å, linear, as in the paper.
    fn default() -> Self {
        Sde { sigma_min: 0.01, sigma_max: 1.0, rho: 1 }
    }
}

impl Sde {
    /// Noise levels from `sigma_min` to `sigma_max`, Å, with exponent `rho`.
    ///
    /// # Errors
    /// `BadInput` as [`Sde::check`].
    pub fn new(sigma_min: f64, sigma_max: f64, rho: u32) -> Result<Self> {
        let sde = Sde { sigma_min, sigma_max, rho };
        sde.check()?;
        Ok(sde)
    }

    /// Whether 0 < σ_min < σ_max < ∞ and 1 ≤ ρ ≤ [`LARGEST_RHO`].
    ///
    /// # Errors
    /// `BadInput` naming the offending value.
    pub fn check(&self) -> Result<()> {
        let Sde { sigma_min, sigma_max, rho } = *self;
        if !(sigma_min.is_finite() && sigma_min > 0.0) {
            return Err(Error::bad_input(format!("sigma_min must be a positive number of Å, not {sigma_min}")));
        }
        if !(sigma_max.is_finite() && sigma_max > sigma_min) {
            return Err(Error::bad_input(format!(
                "sigma_max must be a finite number of Å above sigma_min = {sigma_min}, not {sigma_max}"
            )));
        }
        if !(1..=LARGEST_RHO).contains(&rho) {
            return Err(Error::bad_input(format!("rho must be a whole number from 1 to {LARGEST_RHO}, not {rho}")));
        }
        Ok(())
    }

    /// σ(t), Å.
    pub fn sigma(&self, t: f64) -> f64 {
        power(self.root(t), self.rho)
    }

    /// Standard deviation of the noise added up to time t, σ_t = sqrt(σ(t)² − σ(0)²), Å. Differences of powers are factored, so
    /// that they keep their digits for small t.
    pub fn noise_scale(&self, t: f64) -> f64 {
        // σ(t) − σ(0) = (u − a)·(u^(ρ−1) + u^(ρ−2)·a + … + a^(ρ−1)), u being the root of σ(t) and a that of σ(0).
        let (start, root) = (self.start(), self.root(t));
        let (mut sum, mut product) = (1.0, 1.0);
        for _ in 1..self.rho {
            product *= root;
            sum = sum * start + product;
        }
        let rise = self.spread() * t * sum;
        (rise * (2.0 * self.sigma_min + rise)).sqrt()
    }

    /// Squared diffusion coefficient g² = dσ²/dt, Å².
    pub fn diffusion_squared(&self, t: f64) -> f64 {
        let root = self.root(t);
        let slope = f64::from(self.rho) * power(root, self.rho - 1) * self.spread();
        2.0 * power(root, self.rho) * slope
    }

    /// σ(0)^(1/ρ).
    pub fn start(&self) -> f64 {
        self.sigma_min.powf(1.0 / f64::from(self.rho))
    }

    /// σ(1)^(1/ρ) − σ(0)^(1/ρ).
    pub fn spread(&self) -> f64 {
        self.sigma_max.powf(1.0 / f64::from(self.rho)) - self.start()
    }

    /// σ(t)^(1/ρ).
    fn root(&self, t: f64) -> f64 {
        self.start() + self.spread() * t
    }
}

/// x^n as a chain of products.
fn power(x: f64, n: u32) -> f64 {
    (0..n).fold(1.0, |product, _| product * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_process() {
        let sde = Sde::new(0.01, 1.0, 1).unwrap();
        assert_eq!(sde.sigma(0.0), 0.01);
        assert!((sde.sigma(1.0) - 1.0).abs() < 1e-15);
        assert_eq!(sde.noise_scale(0.0), 0.0);
        assert!((sde.noise_scale(1.0) - (1.0f64 - 1e-4).sqrt()).abs() < 1e-15);
        // 0.99·1e-5·(0.02 + 0.99·1e-5) in exact decimals
        assert!((sde.noise_scale(1e-5).powi(2) - 1.9809801e-7).abs() < 1e-21);
    }

    /// Levels with ρ = 1 are the straight line to the last bit, so that earlier searches resume unchanged.
    #[test]
    fn linear_levels_are_a_straight_line() {
        for (sigma_min, sigma_max) in [(0.01, 1.0), (0.02, 0.7), (1e-4, 2000.0)] {
            let (sde, spread) = (Sde { sigma_min, sigma_max, rho: 1 }, sigma_max - sigma_min);
            for t in [1e-5, 0.005, 0.3, 0.77, 1.0] {
                assert_eq!(sde.sigma(t), sigma_min + spread * t);
                assert_eq!(sde.noise_scale(t), (spread * t * (2.0 * sigma_min + spread * t)).sqrt());
                assert_eq!(sde.diffusion_squared(t), 2.0 * sde.sigma(t) * spread);
            }
        }
    }

    /// Logarithms instead of products; the smallest times lose most digits where powers are subtracted.
    #[test]
    fn levels_are_powers_of_a_straight_line() {
        for rho in [2, 3, 7, LARGEST_RHO] {
            let sde = Sde::new(0.01, 3.0, rho).unwrap();
            let exponent = f64::from(rho);
            let (a, b) = ((0.01f64.ln() / exponent).exp(), (3.0f64.ln() / exponent).exp());
            assert!((sde.sigma(0.0) - 0.01).abs() < 1e-16 && (sde.sigma(1.0) - 3.0).abs() < 1e-13);
            for t in [1e-9, 1e-5, 0.005, 0.5, 0.9, 1.0] {
                let grown = ((b - a) / a * t).ln_1p();
                let sigma = 0.01 * (exponent * grown).exp();
                assert!((sde.sigma(t) / sigma - 1.0).abs() < 1e-13, "ρ {rho}, t {t}");
                let noise_scale = 0.01 * (2.0 * exponent * grown).exp_m1().sqrt();
                assert!((sde.noise_scale(t) / noise_scale - 1.0).abs() < 1e-13, "ρ {rho}, t {t}");
            }
        }
    }

    #[test]
    fn diffusion_is_the_derivative_of_the_variance() {
        for rho in [1, 2, 3, 7] {
            let sde = Sde { sigma_min: 0.02, sigma_max: 0.7, rho };
            for t in [0.1, 0.5, 0.9] {
                let h = 1e-6;
                let slope = (sde.noise_scale(t + h).powi(2) - sde.noise_scale(t - h).powi(2)) / (2.0 * h);
                assert!((slope - sde.diffusion_squared(t)).abs() < 1e-8, "ρ {rho}, t {t}: {slope}");
            }
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
            let error = Sde::new(low, high, 1).unwrap_err();
            assert_eq!((error.exit_code(), error.to_string()), (2, sentence.to_owned()));
        }
        for rho in [0, LARGEST_RHO + 1] {
            let error = Sde::new(0.01, 1.0, rho).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert_eq!(error.to_string(), format!("rho must be a whole number from 1 to 16, not {rho}"));
        }
    }
}
