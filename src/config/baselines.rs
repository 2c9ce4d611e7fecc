//! Checks of the sections that the baselines read.

use super::File;
use super::source::Source;
use crate::baseline::{BasinHoppingSettings, EvolutionSettings, PlacementSettings, RandomSearchSettings};
use crate::error::Result;
use crate::relax::RelaxSettings;

/// Most relaxations side by side, minima in a population, and steps of any kind.
const LARGEST_COUNT: usize = 1_000_000;
/// Most evaluations of a run: their numbers have to fit the archive's keys.
const MOST_EVALUATIONS: u64 = 1_000_000_000;

/// Checks every number of the baselines' sections.
pub fn check(sections: &File, source: &Source) -> Result<()> {
    let require = |ok: bool, key: &str, message: String| if ok { Ok(()) } else { Err(source.error(key, message)) };
    let count = |key: &str, value: usize| {
        require((1..=LARGEST_COUNT).contains(&value), key, format!("{value} is not between 1 and {LARGEST_COUNT}"))
    };
    let budget = |key: &str, value: u64| {
        let message = format!("{value} is not between 1 and {MOST_EVALUATIONS}");
        require((1..=MOST_EVALUATIONS).contains(&value), key, message)
    };
    let positive = |key: &str, value: f64| require(value > 0.0, key, format!("{value} must be greater than 0"));
    let share = |key: &str, value: f64| {
        require((0.0..=1.0).contains(&value), key, format!("{value} is not a share between 0 and 1"))
    };

    if let Some(PlacementSettings { shortest_bond, longest_bond, .. }) = sections.placement {
        positive("placement.shortest_bond", shortest_bond)?;
        let message = format!("{longest_bond} must be above shortest_bond = {shortest_bond}");
        require(longest_bond > shortest_bond, "placement.longest_bond", message)?;
    }
    if let Some(relaxation) = sections.relaxation {
        RelaxSettings::from(relaxation).validate().map_err(|cause| source.error("relaxation", cause))?;
        count("relaxation.max_steps", relaxation.max_steps)?;
        count("relaxation.history", relaxation.history)?;
    }
    if let Some(RandomSearchSettings { evaluations, side_by_side }) = sections.random_search {
        budget("random_search.evaluations", evaluations)?;
        count("random_search.side_by_side", side_by_side)?;
    }
    if let Some(BasinHoppingSettings { evaluations, walkers, kt_ev, step_angstrom, relocate_share, .. }) =
        sections.basin_hopping
    {
        budget("basin_hopping.evaluations", evaluations)?;
        count("basin_hopping.walkers", walkers)?;
        positive("basin_hopping.kt_ev", kt_ev)?;
        positive("basin_hopping.step_angstrom", step_angstrom)?;
        share("basin_hopping.relocate_share", relocate_share)?;
    }
    if let Some(evolution) = sections.evolution {
        let EvolutionSettings { evaluations, side_by_side, population, .. } = evolution;
        budget("evolution.evaluations", evaluations)?;
        count("evolution.side_by_side", side_by_side)?;
        count("evolution.population", population)?;
        require(population >= 2, "evolution.population", "two parents need a population of at least 2".into())?;
        share("evolution.crossover_share", evolution.crossover_share)?;
        positive("evolution.step_angstrom", evolution.step_angstrom)?;
        let message = format!("{} is negative", evolution.same_energy_ev);
        require(evolution.same_energy_ev >= 0.0, "evolution.same_energy_ev", message)?;
    }
    Ok(())
}
