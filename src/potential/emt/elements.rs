//! Parameters of effective medium theory and the constants that follow from them for one cutoff.
//!
//! K. W. Jacobsen, P. Stoltze and J. K. Nørskov, Surf. Sci. 366, 394 (1996), as ASE tabulates and cuts them off. H, C, N
//! and O are ASE's additions without physical claim.

use crate::gpu::arguments::emt::EmtElement as Element;

/// Bohr radius in Å as ASE derives it from CODATA 2014; the energies agree to 1e-7 eV only with its digits.
const BOHR: f64 = 0.5291772105638411;

/// Ratio of nearest-neighbour distance to neutral-sphere radius in an fcc crystal, with the rounding of the original code.
const BETA: f64 = 1.809;

/// Tabulated constants of one element (atomic units for lengths).
struct Row {
    number: u8,
    symbol: &'static str,
    /// Cohesive energy, eV.
    e0: f64,
    /// Equilibrium neutral-sphere radius, bohr.
    s0: f64,
    /// Strength of the pair term, eV.
    v0: f64,
    /// Decay of the density, 1/bohr.
    eta2: f64,
    /// Decay of the pair term, 1/bohr.
    kappa: f64,
    /// Width of the cohesive function, 1/bohr.
    lambda: f64,
    /// Equilibrium density, 1/bohr³.
    n0: f64,
}

/// Number of elements with parameters.
pub(super) const N_ELEMENTS: usize = 11;

/// Makes the table shorter: one element on each line.
const fn row(number: u8, symbol: &'static str, constants: [f64; 7]) -> Row {
    let [e0, s0, v0, eta2, kappa, lambda, n0] = constants;
    Row { number, symbol, e0, s0, v0, eta2, kappa, lambda, n0 }
}

/// In the order of the messages that list them.
#[rustfmt::skip]
const TABLE: [Row; N_ELEMENTS] = [
    //             E0     s0    V0     eta2   kappa  lambda n0
    row(13, "Al", [-3.28, 3.00, 1.493, 1.240, 2.000, 1.169, 0.00700]),
    row(29, "Cu", [-3.51, 2.67, 2.476, 1.652, 2.740, 1.906, 0.00910]),
    row(47, "Ag", [-2.96, 3.01, 2.132, 1.652, 2.790, 1.892, 0.00547]),
    row(79, "Au", [-3.80, 3.00, 2.321, 1.674, 2.873, 2.182, 0.00703]),
    row(28, "Ni", [-4.44, 2.60, 3.673, 1.669, 2.757, 1.948, 0.01030]),
    row(46, "Pd", [-3.90, 2.87, 2.773, 1.818, 3.107, 2.155, 0.00688]),
    row(78, "Pt", [-5.85, 2.90, 4.067, 1.812, 3.145, 2.192, 0.00802]),
    row( 1, "H",  [-3.21, 1.31, 0.132, 2.652, 2.790, 3.892, 0.00547]),
    row( 6, "C",  [-3.50, 1.81, 0.332, 1.652, 2.790, 1.892, 0.01322]),
    row( 7, "N",  [-5.10, 1.88, 0.132, 1.652, 2.790, 1.892, 0.01222]),
    row( 8, "O",  [-4.60, 1.95, 0.332, 1.652, 2.790, 1.892, 0.00850]),
];

/// Place of an element in the table.
pub(super) fn element(number: u8) -> Option<usize> {
    TABLE.iter().position(|row| row.number == number)
}

/// Whether the element is one of the metals that EMT was made for, not one of ASE's additions.
pub(super) fn is_metal(number: u8) -> bool {
    number > 8
}

/// The elements with parameters as a sentence lists them.
pub(super) fn known_elements() -> String {
    TABLE.map(|row| row.symbol).join(", ")
}

/// Which element's size sets the cutoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CutoffRule {
    /// The largest of the table: the same cutoff for every structure. Distances up to 0.5 Å past the midpoint count.
    WholeTable,
    /// The largest of the elements present, as ASAP does it. Distances up to 1.045 times the midpoint count.
    Present,
}

/// The place in the table of the element that sets the cutoff for the elements at the places `present`.
pub(super) fn largest(rule: CutoffRule, present: &[u8]) -> usize {
    let by_size = |&a: &usize, &b: &usize| TABLE[a].s0.total_cmp(&TABLE[b].s0);
    match rule {
        CutoffRule::WholeTable => (0..N_ELEMENTS).max_by(by_size).unwrap_or(0),
        CutoffRule::Present => present.iter().map(|&place| usize::from(place)).max_by(by_size).unwrap_or(0),
    }
}

/// All constants for pair sums and embedding, for one cutoff.
///
/// With w(r) the cutoff function, an atom of element a spreads a density P_a exp(−η_a r) w(r) and a pair tail
/// T_a exp(−k_a r) w(r). Atom i collects the density n_i of its neighbours; the energy is
/// Σ_i F_i(n_i) + Σ_{i<j} (u_i tail_j + u_j tail_i).
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// Distances at or beyond this do not interact, Å.
    pub range: f64,
    /// Below this distance w = 1 to the last bit, Å.
    pub plateau: f64,
    /// Where w = ½, Å.
    pub midpoint: f64,
    /// Steepness of w, 1/Å.
    pub steepness: f64,
    /// One entry for every element of the table.
    pub elements: [Element; N_ELEMENTS],
}

/// The contributions of two atoms at a distance r to each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct PairTerms {
    /// Density of j at i and of i at j, 1/Å³.
    pub density: [f64; 2],
    /// Its derivative by r, 1/Å⁴.
    pub density_slope: [f64; 2],
    /// Pair energy, eV.
    pub energy: f64,
    /// Its derivative by r, eV/Å.
    pub energy_slope: f64,
}

impl Model {
    /// The model whose cutoff is set by the element at the place `largest` of the table.
    pub(super) fn new(rule: CutoffRule, largest: usize) -> Self {
        // w falls from the mean of the 3rd and 4th neighbour distances of that element's fcc crystal, to 1e-4 at the 4th.
        let nearest = BETA * TABLE[largest].s0 * BOHR;
        let midpoint = nearest * 0.5 * (3f64.sqrt() + 2.0);
        let steepness = (1.0 / 1e-4 - 1.0f64).ln() / (2.0 * nearest - midpoint);
        let range = match rule {
            CutoffRule::WholeTable => midpoint + 0.5,
            CutoffRule::Present => midpoint * 1.045,
        };
        // exp(steepness·(r − midpoint)) below half the spacing of f64 at 1 leaves 1 + exp(…) = 1.
        let plateau = midpoint + (0.25 * f64::EPSILON).ln() / steepness;
        let cutoff = |r: f64| 1.0 / (1.0 + (steepness * (r - midpoint)).exp());
        let elements = TABLE.map(|row| Element::new(&row, cutoff));
        Model { range, plateau, midpoint, steepness, elements }
    }

    /// w(r) and w'(r)/w(r).
    #[inline]
    fn cutoff(&self, r: f64) -> (f64, f64) {
        if r < self.plateau {
            return (1.0, 0.0);
        }
        let w = 1.0 / (1.0 + (self.steepness * (r - self.midpoint)).exp());
        (w, self.steepness * (w - 1.0))
    }

    /// The terms of a pair of elements `i` and `j` (places in the table) at the distance `r` (Å).
    #[inline]
    pub(super) fn pair(&self, i: usize, j: usize, r: f64) -> PairTerms {
        let (w, fall) = self.cutoff(r);
        let (a, b) = (&self.elements[i], &self.elements[j]);
        let spread_j = b.spread(w, r);
        let spread_i = if i == j { spread_j } else { a.spread(w, r) };
        let (energy_i, energy_j) = (b.tail_weight * spread_i.tail, a.tail_weight * spread_j.tail);
        PairTerms {
            density: [spread_j.density, spread_i.density],
            density_slope: [spread_j.density * (fall - b.density_decay), spread_i.density * (fall - a.density_decay)],
            energy: energy_i + energy_j,
            energy_slope: energy_i * (fall - a.tail_decay) + energy_j * (fall - b.tail_decay),
        }
    }
}

/// The contribution of one atom at a distance.
#[derive(Clone, Copy)]
struct Spread {
    density: f64,
    tail: f64,
}

impl Element {
    fn new(row: &Row, cutoff: impl Fn(f64) -> f64) -> Self {
        let (s0, eta, kappa, lambda) = (row.s0 * BOHR, row.eta2 / BOHR, row.kappa / BOHR, row.lambda / BOHR);
        let n0 = row.n0 / BOHR.powi(3);
        // The three nearest shells of fcc define the equilibrium density, and the pair term vanishes there.
        let shells = [(12.0, 1.0f64), (6.0, 2.0), (24.0, 3.0)];
        let shell_sum = |decay: f64| -> f64 {
            let term = |(count, square): (f64, f64)| {
                let r = BETA * s0 * square.sqrt();
                count * cutoff(r) * (-decay * (r - BETA * s0)).exp()
            };
            shells.map(term).iter().sum()
        };
        let (density_sum, tail_sum) = (shell_sum(eta), shell_sum(kappa / BETA));
        Element {
            density: n0 * (eta * BETA * s0).exp(),
            density_decay: eta,
            tail: n0 * (kappa * s0).exp(),
            tail_decay: kappa / BETA,
            tail_weight: -6.0 * row.v0 / (tail_sum * n0),
            equilibrium_density: n0 * density_sum,
            cohesive: row.e0,
            cohesive_shape: lambda / (BETA * eta),
            repulsive: 6.0 * row.v0,
            repulsive_shape: kappa / (BETA * eta),
        }
    }

    /// Density and tail at the distance `r` where the cutoff function is `w`.
    #[inline]
    fn spread(&self, w: f64, r: f64) -> Spread {
        Spread {
            density: w * self.density * (-self.density_decay * r).exp(),
            tail: w * self.tail * (-self.tail_decay * r).exp(),
        }
    }

    /// F(n) and F'(n) at the density `n` (1/Å³): the cohesive function and the repulsion of the neutral sphere, relative to
    /// the equilibrium crystal; F(0) = −E0, the isolated atom.
    #[inline]
    pub fn embed(&self, n: f64) -> (f64, f64) {
        if n == 0.0 {
            return (-self.cohesive, 0.0);
        }
        // δs = −ln(n/n_eq)/(βη); cohesive E0 (1 + λδs) exp(−λδs), repulsive 6 V0 exp(−κδs).
        let log = (n / self.equilibrium_density).ln();
        let x = -self.cohesive_shape * log;
        let cohesive = self.cohesive * (-x).exp();
        let repulsive = self.repulsive * (self.repulsive_shape * log).exp();
        let energy = cohesive * (1.0 + x) + repulsive - self.cohesive;
        let slope = (cohesive * x * self.cohesive_shape + repulsive * self.repulsive_shape) / n;
        (energy, slope)
    }
}
