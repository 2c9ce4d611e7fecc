//! Counter-based noise (Philox4x32-10) and seeded host generators.
//!
//! Noise inside engines is a pure function of (seed, purpose, iteration, structure, step, atom). So a structure does not depend
//! on how a batch was split, and every engine draws the same integers. Host decisions (shuffles, initial weights) use
//! xoshiro256++ seeded from the same key, so a checkpoint never holds random state.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

/// The use of a stream of random numbers; streams of different purposes never overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Start positions of the reverse process.
    Prior = 1,
    /// Noise of the reverse process.
    Reverse = 2,
    /// Diffusion times of a training batch.
    Time = 3,
    /// Forward noise of a training batch.
    Forward = 4,
    /// Order in which an epoch visits the buffer.
    Shuffle = 5,
    /// Keys of the weighted reservoir.
    Reservoir = 6,
    /// Start values of the parameters.
    Weights = 7,
    /// The choice of structures whose forces a training step compares.
    ForceBatch = 8,
    /// Random structures of the baselines.
    Placement = 9,
    /// Moves, crossings and choices of the baselines.
    Move = 10,
    /// The choice among the candidates of a round.
    Screening = 11,
    /// Moves of simulated annealing.
    Annealing = 15,
}

/// A keyed family of counter-based random numbers.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    key: [u32; 2],
}

impl Noise {
    /// The stream of `purpose` in `iteration` of the run with `seed`.
    pub fn new(seed: u64, purpose: Purpose, iteration: u64) -> Self {
        let key = stream_key(seed, purpose, iteration);
        Noise { key: [key as u32, (key >> 32) as u32] }
    }

    /// The two key words of every draw, for engines that count on their own.
    pub fn key(&self) -> [u32; 2] {
        self.key
    }

    /// Four random words for (structure, step, atom, draw).
    pub fn words(&self, structure: u32, step: u32, atom: u32, draw: u32) -> [u32; 4] {
        philox4x32_10([structure, step, atom, draw], self.key)
    }

    /// Four uniform numbers in (0, 1), never 0 or 1.
    pub fn uniforms(&self, structure: u32, step: u32, atom: u32, draw: u32) -> [f64; 4] {
        self.words(structure, step, atom, draw).map(open_unit)
    }
}

/// A host generator for `purpose` in `iteration` of the run with `seed`.
pub fn host_generator(seed: u64, purpose: Purpose, iteration: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(stream_key(seed, purpose, iteration))
}

/// Two independent standard normal numbers from two uniform ones in (0, 1) (Box and Muller).
pub fn normal_pair(u: f64, v: f64) -> [f64; 2] {
    let radius = (-2.0 * u.ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * v).sin_cos();
    [radius * cos, radius * sin]
}

fn open_unit(word: u32) -> f64 {
    (f64::from(word) + 0.5) / 4294967296.0
}

/// Mixes the three words with the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
fn stream_key(seed: u64, purpose: Purpose, iteration: u64) -> u64 {
    let mut state = 0;
    for word in [seed, purpose as u64, iteration] {
        state = splitmix(state ^ splitmix(word));
    }
    state
}

fn splitmix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Philox4x32 with ten rounds (Salmon et al., SC 2011).
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let p0 = u64::from(c0) * 0xd251_1f53;
        let p1 = u64::from(c2) * 0xcd9e_8d57;
        (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        k0 = k0.wrapping_add(0x9e37_79b9);
        k1 = k1.wrapping_add(0xbb67_ae85);
    }
    [c0, c1, c2, c3]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with Random123 (kat_vectors).
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox4x32_10([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox4x32_10([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        assert_eq!(
            philox4x32_10([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn streams_differ() {
        let base = Noise::new(1, Purpose::Prior, 0).words(0, 0, 0, 0);
        for other in
            [Noise::new(2, Purpose::Prior, 0), Noise::new(1, Purpose::Reverse, 0), Noise::new(1, Purpose::Prior, 1)]
        {
            assert_ne!(base, other.words(0, 0, 0, 0));
        }
        assert_ne!(base, Noise::new(1, Purpose::Prior, 0).words(1, 0, 0, 0));
    }

    #[test]
    fn normals_have_unit_variance() {
        let noise = Noise::new(7, Purpose::Forward, 3);
        let n = 20_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for k in 0..n {
            let [u, v, ..] = noise.uniforms(k, 0, 0, 0);
            let [x, y] = normal_pair(u, v);
            sum += x + y;
            squares += x * x + y * y;
        }
        let mean = sum / f64::from(2 * n);
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((squares / f64::from(2 * n) - 1.0).abs() < 0.03);
    }
}
