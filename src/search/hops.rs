//! Samples that hop: they start from structures that are known already, and only the learned forces move them.
//!
//! A step of basin hopping (Wales and Doye, J. Phys. Chem. A 101, 5111, 1997) costs the evaluations of a relaxation. Relaxed on
//! learned forces it costs one, and all hops of an iteration go side by side. The reverse process proposes what the buffer has in
//! common, hops what lies next to its lowest members.

use super::{Search, temperature_of, weights};
use crate::archive::Entry;
use crate::baseline::{Placement, relocate, shake, uniform, weighted};
use crate::config::Settings;
use crate::engine::FreePositions;
use crate::error::Result;
use crate::random::{Purpose, host_generator};

/// Hops that put one atom next to another; the others shake all. Islands and clusters change by both.
const RELOCATE_SHARE: f64 = 0.5;

impl Search<'_> {
    /// Where the first samples of `iteration` start, one structure (n × 3, Å) a hop: members of the buffer before, drawn with its
    /// Boltzmann weights, displaced. None in the first iteration.
    ///
    /// # Errors
    /// `Storage`.
    pub(super) fn hops(&self, iteration: usize) -> Result<Vec<FreePositions>> {
        let sections = &self.settings.sections;
        let Some(guidance) = super::guidance_in(self.settings, iteration) else { return Ok(Vec::new()) };
        let Some(before) = iteration.checked_sub(1) else { return Ok(Vec::new()) };
        let n_hops = (guidance.hop_share * sections.search.samples_per_iteration as f64).round() as usize;
        if n_hops == 0 {
            return Ok(Vec::new());
        }
        let kt_ev = temperature_of(self.settings, before);
        let buffer = self.draw_buffer(before, kt_ev)?;
        Ok(displaced(self.settings, iteration, n_hops, &buffer, &weights(&buffer, kt_ev)))
    }
}

/// `n_hops` members of `buffer`, drawn with `weights` and displaced.
fn displaced(
    settings: &Settings,
    iteration: usize,
    n_hops: usize,
    buffer: &[Entry],
    weights: &[f64],
) -> Vec<FreePositions> {
    let placement = Placement::new(settings);
    let search = &settings.sections.search;
    let reach = settings.sections.guidance.as_ref().map_or(0.0, |guidance| guidance.hop_angstrom);
    let hop = |number: usize| {
        let mut random = host_generator(search.seed, Purpose::Move, (iteration as u64) << 32 | number as u64);
        let from = &buffer[weighted(&mut random, weights)].free_positions;
        let relocated =
            if uniform(&mut random) < RELOCATE_SHARE { relocate(&placement, from, &mut random) } else { None };
        relocated.unwrap_or_else(|| shake(&settings.system, from, reach, search.min_distance_angstrom, &mut random))
    };
    (0..n_hops).map(hop).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Status;
    use crate::system::vector::{norm, sub};
    use std::path::Path;

    fn tetramer() -> Settings {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("c.toml");
        let text = "[system]\nfree = 'Pt4'\n[potential]\nkind = 'emt'\n[guidance]\nrelax_steps = 5\nhop_share = 0.5\n";
        std::fs::write(&path, text).unwrap();
        Settings::load(Path::new(&path)).unwrap()
    }

    fn member(index: u32, spacing: f64) -> Entry {
        Entry {
            iteration: 0,
            index,
            kt_ev: 1.0,
            status: Status::Ok,
            free_positions: (0..4).map(|k| [spacing * f64::from(k) - 1.5 * spacing, 0.0, 0.0]).collect(),
            energy: Some(0.0),
            forces: None,
        }
    }

    #[test]
    fn hops_start_next_to_members_by_weight() {
        let settings = tetramer();
        let buffer = [member(0, 2.6), member(1, 20.0)];
        let hops = displaced(&settings, 1, 400, &buffer, &[0.5, 1.5]);
        // A hop of the far-stretched member keeps at least three of its atoms 20 Å apart.
        let stretched = hops.iter().filter(|hop| norm(sub(hop[0], hop[3])) > 15.0 || norm(sub(hop[1], hop[2])) > 15.0);
        let share = stretched.count() as f64 / 400.0;
        assert!((0.68..0.82).contains(&share), "{share}");
        assert_eq!(hops, displaced(&settings, 1, 400, &buffer, &[0.5, 1.5]));
        assert_ne!(hops, displaced(&settings, 2, 400, &buffer, &[0.5, 1.5]));
    }

    #[test]
    fn what_weighs_nothing_is_not_drawn() {
        let mut random = host_generator(1, Purpose::Move, 0);
        let drawn: Vec<usize> = (0..300).map(|_| weighted(&mut random, &[0.0, 2.0, 0.0, 1.0])).collect();
        assert!(drawn.iter().all(|place| [1, 3].contains(place)));
        let ones = drawn.iter().filter(|&&place| place == 1).count();
        assert!((170..230).contains(&ones), "{ones}");
    }
}
