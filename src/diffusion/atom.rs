//! The width of each atom's noise.
//!
//! The noise of a free atom at time t has the standard deviation σ_t. A mobile atom of the template belongs near its place, so
//! its noise has the smaller width f·σ_t, where f = w/σ(1) and w is the width that the configuration gives. The process of such
//! an atom is that of a free atom in the coordinate u = x/f. So with ε standard normal:
//!
//! - forward: u_t = u_0 + σ_t·ε, hence x_t = x_0 + f·σ_t·ε;
//! - score: the model's output o approximates −ε/σ_t, the score in u, for every atom. So one loss, (ε + σ_t·o)², fits all atoms.
//!   The score in x is s = o/f;
//! - reverse: u ← u + g²·o·dt + g·sqrt(dt)·ξ, hence x ← x + (f·g)²·s·dt + (f·g)·sqrt(dt)·ξ;
//! - start: at time 1 the noise hides where the atom was within w, so it starts at its place plus w·ε.
//!
//! The confinement is not for mobile atoms.

use super::Sde;
use crate::system::{Confinement, System, Vec3};

/// How the process treats one atom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtomProcess<'a> {
    /// f, the width of its noise relative to σ_t: 1 for a free atom.
    pub factor: f64,
    /// The heights that it may take.
    pub confinement: Option<&'a Confinement>,
}

impl<'a> AtomProcess<'a> {
    /// The process of moving atom `atom` of `system` with the noise levels `sde`.
    pub fn of(system: &'a System, sde: &Sde, atom: usize) -> Self {
        let factor = if system.is_mobile(atom) { mobile_factor(system, sde) } else { 1.0 };
        AtomProcess { factor, confinement: system.confinement_of(atom) }
    }

    /// s, 1/Å, from the model's output.
    pub fn score(&self, output: Vec3) -> Vec3 {
        output.map(|o| o / self.factor)
    }

    /// Squared diffusion coefficient of the atom, Å², from that of a free atom.
    pub fn diffusion_squared(&self, g2: f64) -> f64 {
        self.factor * self.factor * g2
    }
}

/// f of the mobile atoms of `system`.
pub fn mobile_factor(system: &System, sde: &Sde) -> f64 {
    system.mobile.noise_angstrom / sde.sigma_max
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::{Forward, ReverseSchedule, forward_noise, prior, reverse_step};
    use crate::random::{Noise, Purpose};
    use crate::system::{Cell, Mobile};

    const HOME: Vec3 = [1.0, 2.0, 3.0];
    const WIDTH: f64 = 0.25;

    /// A mobile atom below a free one.
    fn system() -> System {
        let cell =
            Cell { vectors: [[8.0, 0.0, 0.0], [0.0, 8.0, 0.0], [0.0, 0.0, 30.0]], periodic: [true, true, false] };
        System {
            cell,
            template_numbers: vec![],
            template_positions: vec![],
            free_numbers: vec![78, 78],
            mobile: Mobile { homes: vec![HOME], noise_angstrom: WIDTH },
            extras: None,
            molecules: Default::default(),
            confinement: Some(Confinement { z_lo: 5.0, z_hi: 9.0 }),
        }
    }

    fn sde() -> Sde {
        Sde::new(0.01, 2.0, 1).unwrap()
    }

    fn mean_and_spread(values: &[f64]) -> [f64; 2] {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        [mean, (values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt()]
    }

    #[test]
    fn free_atoms_keep_their_noise_and_heights() {
        let (system, sde) = (system(), sde());
        let free = AtomProcess::of(&system, &sde, 1);
        assert_eq!(free, AtomProcess { factor: 1.0, confinement: system.confinement.as_ref() });
        assert_eq!((free.score([0.1, 0.2, 0.3]), free.diffusion_squared(0.7)), ([0.1, 0.2, 0.3], 0.7));
        assert_eq!(AtomProcess::of(&system, &sde, 0), AtomProcess { factor: 0.125, confinement: None });
    }

    #[test]
    fn noise_has_the_width_of_the_configuration_at_time_1() {
        let (system, sde) = (system(), sde());
        let process = AtomProcess::of(&system, &sde, 0);
        let noise = Noise::new(3, Purpose::Forward, 0);
        let sigma = process.factor * sde.noise_scale(1.0);
        let noised = |k| forward_noise(HOME, sigma, noise.uniforms(k, 0, 0, 0), process.confinement);
        let starts: Vec<Vec3> = (0..10_000).map(|k| prior(&system, &noise, k)[0]).collect();
        for axis in 0..3 {
            let there: Vec<f64> = (0..10_000).map(|k| noised(k).position[axis]).collect();
            for values in [there, starts.iter().map(|start| start[axis]).collect()] {
                let [mean, spread] = mean_and_spread(&values);
                assert!((mean - HOME[axis]).abs() < 0.01 && (spread / WIDTH - 1.0).abs() < 0.03, "{mean} ± {spread}");
            }
        }
    }

    /// If all clean positions are the atom's home, the score is known, and the reverse process must lead there from the start.
    #[test]
    fn the_true_score_leads_home() {
        let (system, sde) = (system(), sde());
        let process = AtomProcess::of(&system, &sde, 0);
        let schedule = ReverseSchedule::new(500, 0.005).unwrap();
        let noise = Noise::new(3, Purpose::Reverse, 0);
        let ends: Vec<Vec3> = (0..400)
            .map(|structure| {
                let mut x = prior(&system, &Noise::new(3, Purpose::Prior, 0), structure)[0];
                for k in 0..schedule.n_steps() {
                    let t = schedule.time(k);
                    // −ε/σ_t with ε = (x − home)/(f·σ_t)
                    let output = |axis: usize| (HOME[axis] - x[axis]) / (process.factor * sde.noise_scale(t).powi(2));
                    let score = process.score(std::array::from_fn(output));
                    let g2 = process.diffusion_squared(sde.diffusion_squared(t));
                    let uniforms = noise.uniforms(structure, k as u32, 0, 0);
                    x = reverse_step(x, score, g2, schedule.dt(), uniforms, process.confinement, schedule.is_last(k));
                }
                x
            })
            .collect();
        // What is left is the noise of the last times: f·σ_t there.
        let left = process.factor * sde.noise_scale(0.01);
        for axis in 0..3 {
            let [mean, spread] = mean_and_spread(&ends.iter().map(|end| end[axis]).collect::<Vec<_>>());
            assert!((mean - HOME[axis]).abs() < 3e-4 && spread < 1.5 * left, "{mean} ± {spread}, {left}");
        }
    }

    /// The residual that training squares is 0 for the true score, whatever the width of the noise.
    #[test]
    fn one_loss_fits_all_atoms() {
        let (system, sde) = (system(), sde());
        for (atom, x0) in [(0, HOME), (1, [1.0, 2.0, 7.0])] {
            let process = AtomProcess::of(&system, &sde, atom);
            let sigma = sde.noise_scale(0.3);
            let uniforms = Noise::new(1, Purpose::Forward, 0).uniforms(0, 0, atom as u32, 0);
            let Forward { position, noise } = forward_noise(x0, process.factor * sigma, uniforms, process.confinement);
            for axis in 0..3 {
                let score = (x0[axis] - position[axis]) / (process.factor * sigma).powi(2);
                let output = score * process.factor;
                assert!((noise[axis] + sigma * output).abs() < 1e-12);
            }
        }
    }
}
