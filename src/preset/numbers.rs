//! The numbers of the choice that do not depend on an energy of the task. Change them here.

/// Hops on learned forces: the setting that measured best ([`HOPS`]).
pub struct Recipe {
    /// Where it was measured.
    pub source: &'static str,
    /// Features of an atom.
    pub features: usize,
    /// Interaction blocks.
    pub blocks: usize,
    /// Samples of an iteration.
    pub samples: usize,
    /// Structures that an iteration trains on.
    pub buffer: usize,
    /// Training steps of an iteration.
    pub training_steps: usize,
    /// Structures of a training step.
    pub batch: usize,
    /// Learning rate, constant.
    pub learning_rate: &'static str,
    /// Steps of a sample on the learned forces.
    pub relax_steps: usize,
}

/// The recipe of configs/tasks.
pub const HOPS: Recipe = Recipe {
    source: "docs/results/tasks.md",
    features: 32,
    blocks: 3,
    samples: 16,
    buffer: 32,
    training_steps: 100,
    batch: 16,
    learning_rate: "4e-4",
    relax_steps: 100,
};

/// Iterations of a search for so many free atoms or fewer: about three times as many as the measured searches took on average.
const ITERATIONS: [(usize, usize); 5] = [(1, 10), (3, 20), (7, 40), (13, 80), (usize::MAX, 160)];

/// The iterations for `n_free` free atoms.
pub fn iterations(n_free: usize) -> usize {
    let row = ITERATIONS.iter().find(|(most, _)| n_free <= *most);
    row.unwrap_or(&ITERATIONS[ITERATIONS.len() - 1]).1
}

/// Structures that are placed and relaxed for the temperatures.
pub const N_PLACED: u64 = 4;

/// Steps of each of these relaxations.
pub const PLACED_STEPS: usize = 10;

/// First kT, as a share of the spread of these structures' energies.
pub const KT_SHARE: f64 = 0.5;

/// First kT divided by the last one: 0.5 and 0.02 eV for seven Pt atoms.
pub const KT_RATIO: f64 = 25.0;

/// The lowest first kT, eV. A spread of nothing says that the structures are alike, not that the temperature is 0.
pub const LEAST_KT: f64 = 0.01;

/// kT of basin hopping, as a share of the first kT: 0.15 and 0.5 eV for seven Pt atoms.
pub const HOPPING_SHARE: f64 = 0.3;

/// Candidates for a sample where an energy is dear ([`DEAR_SECONDS`]).
pub const SCREEN: usize = 8;

/// Weight of the energies that choose among candidates.
pub const ENERGY_WEIGHT: &str = "10.0";

/// Time of one energy above which candidates take less time than the evaluations that they save, s.
pub const DEAR_SECONDS: f64 = 0.04;

/// Where candidates were measured: on surfaces they save evaluations, for free clusters they cost some.
pub const SCREENING: &str = "docs/results/screening.md";

/// Time of one energy below which basin hopping ends sooner than a search, on two cores, s: between these two.
pub const CHEAP_SECONDS: [f64; 2] = [5e-3, 8e-3];
