//! Basin hopping by several independent walkers: each makes a Metropolis walk on the surface that assigns to every point the
//! energy of the minimum below it (Wales and Doye, J. Phys. Chem. A 101, 5111, 1997).

use super::{Minimum, Strategy};
use crate::config::{BasinHoppingSettings, Settings};
use crate::error::Result;
use crate::proposal::{Placement, relocate, shake, uniform};
use crate::random::{Purpose, host_generator};
use crate::system::{ShortestDistance, Vec3};

pub struct BasinHopping<'a> {
    settings: BasinHoppingSettings,
    placement: Placement<'a>,
    shortest: ShortestDistance,
    seed: u64,
    walkers: Vec<Walk>,
}

/// The state of one walker.
#[derive(Debug, Clone, Default)]
struct Walk {
    /// None before its first minimum.
    at: Option<Minimum>,
    /// Lowest energy since it started, eV.
    lowest: Option<f64>,
    /// Hops since that energy was found.
    n_in_vain: usize,
    /// The random number in [0, 1) that decides about the present hop.
    chance: f64,
}

impl<'a> BasinHopping<'a> {
    pub fn new(settings: &'a Settings) -> Self {
        let own = settings.sections.basin_hopping.unwrap_or_default();
        let search = &settings.sections.search;
        BasinHopping {
            settings: own,
            placement: Placement::new(settings),
            shortest: search.shortest_distance(),
            seed: search.seed,
            walkers: vec![Walk::default(); own.walkers],
        }
    }
}

impl Strategy for BasinHopping<'_> {
    fn n_slots(&self) -> usize {
        self.walkers.len()
    }

    fn start(&mut self, slot: usize, attempt: u64) -> Result<Vec<Vec3>> {
        let mut random = host_generator(self.seed, Purpose::Move, attempt);
        let walk = &mut self.walkers[slot];
        walk.chance = uniform(&mut random);
        let Some(Minimum { free, .. }) = &walk.at else { return self.placement.structure(attempt) };
        let BasinHoppingSettings { step_angstrom, relocate_share, .. } = self.settings;
        if uniform(&mut random) < relocate_share
            && let Some(moved) = relocate(&self.placement, free, &mut random)
        {
            return Ok(moved);
        }
        Ok(shake(self.placement.system(), free, step_angstrom, self.shortest, &mut random))
    }

    fn relaxed(&mut self, slot: usize, minimum: Option<Minimum>) {
        let walk = &mut self.walkers[slot];
        walk.n_in_vain += 1;
        if let Some(minimum) = minimum {
            if walk.lowest.is_none_or(|lowest| minimum.energy < lowest) {
                (walk.lowest, walk.n_in_vain) = (Some(minimum.energy), 0);
            }
            if accepts(walk.at.as_ref(), minimum.energy, self.settings.kt_ev, walk.chance) {
                walk.at = Some(minimum);
            }
        }
        if self.settings.restart_after > 0 && walk.n_in_vain >= self.settings.restart_after {
            *walk = Walk::default();
        }
    }

    fn kt_ev(&self) -> f64 {
        self.settings.kt_ev
    }
}

/// The rule of Metropolis: always accept a step downhill, and one uphill with probability exp(−ΔE/kT). `chance` in [0, 1)
/// decides.
fn accepts(at: Option<&Minimum>, energy: f64, kt_ev: f64, chance: f64) -> bool {
    at.is_none_or(|at| energy <= at.energy || chance < libm::exp((at.energy - energy) / kt_ev))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uphill_hops_are_taken_by_chance() {
        let at = Minimum { free: vec![], energy: 1.0 };
        let kt = 0.15;
        let half = 1.0 + kt * std::f64::consts::LN_2;
        assert!(accepts(None, 9.0, kt, 0.999));
        assert!(accepts(Some(&at), 0.5, kt, 0.999) && accepts(Some(&at), 1.0, kt, 0.999));
        assert!(accepts(Some(&at), half, kt, 0.499) && !accepts(Some(&at), half, kt, 0.501));
    }
}
