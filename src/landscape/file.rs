//! A landscape read back from its file, and its energy between the points of the grid.

use super::{Landscape, MOST_POINTS};
use crate::error::{Error, Result, in_plain_words};
use std::path::Path;

impl Landscape {
    /// Reads the JSON file at `path`.
    ///
    /// # Errors
    /// `BadInput` if it cannot be read or is not a landscape.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| Error::bad_file(path, format!("cannot be read ({cause}); check the path")))?;
        let landscape: Landscape = serde_json::from_str(&text).map_err(|cause| {
            let cause = in_plain_words(&cause.to_string());
            Error::bad_file(path, format!("is no landscape ({cause}); make one with `godiff scan … -o scan.json`"))
        })?;
        let [n, m] = landscape.grid;
        let n_points = n.saturating_mul(m);
        let (n_energies, n_heights) = (landscape.energies_ev.len(), landscape.heights_angstrom.len());
        if !(1..=MOST_POINTS).contains(&n_points) || n_energies != n_points || n_heights != n_points {
            let message = format!(
                "is no landscape: a grid of {n} × {m} points with {n_energies} energies and {n_heights} heights; make it again \
                 with `godiff scan`"
            );
            return Err(Error::bad_file(path, message));
        }
        Ok(landscape)
    }

    /// Lowest and highest energy, eV; `None` without any.
    pub fn range(&self) -> Option<[f64; 2]> {
        let known = || self.energies_ev.iter().copied().filter(|energy| energy.is_finite());
        let low = known().reduce(f64::min)?;
        Some([low, known().fold(low, f64::max)])
    }

    /// Energy (eV) at the fractions (u, v) of a and b, linear between the four points around; `None` if one of them has no
    /// energy.
    pub fn at(&self, u: f64, v: f64) -> Option<f64> {
        let [n, m] = self.grid;
        let split = |fraction: f64, n: usize| {
            let place = fraction.rem_euclid(1.0) * n as f64;
            let low = (place.floor() as usize).min(n - 1);
            (low, (low + 1) % n, place - low as f64)
        };
        let ((i0, i1, s), (j0, j1, t)) = (split(u, n), split(v, m));
        let energy = |i: usize, j: usize| self.energies_ev[i * m + j];
        let along = |a: f64, b: f64, part: f64| a + part * (b - a);
        let [low, high] = [j0, j1].map(|j| along(energy(i0, j), energy(i1, j), s));
        Some(along(low, high, t)).filter(|energy| energy.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_landscape_is_interpolated_between_its_points() {
        let landscape = Landscape {
            grid: [2, 3],
            a: [8.0, 0.0, 0.0],
            b: [4.0, 7.0, 0.0],
            energies_ev: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            heights_angstrom: vec![1.0; 6],
            mobile_angstrom: vec![],
            n_unconverged: 0,
            n_evaluations: 6,
        };
        assert_eq!(landscape.at(0.0, 0.0), Some(1.0));
        assert_eq!(landscape.at(0.5, 1.0 / 3.0), Some(5.0));
        assert_eq!(landscape.at(0.25, 0.0), Some(2.5), "between rows");
        assert_eq!(landscape.at(-1.0, 1.0), Some(1.0), "periodic");
        assert_eq!(landscape.range(), Some([1.0, 6.0]));
        let mut gap = landscape;
        gap.energies_ev[0] = f64::NAN;
        assert_eq!((gap.at(0.1, 0.1), gap.range()), (None, Some([2.0, 6.0])));
    }

    #[test]
    fn a_broken_landscape_is_refused_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.json");
        let vectors = r#""a":[1,0,0],"b":[0,1,0],"n_evaluations":1"#;
        for (text, sentence) in [
            ("{".to_owned(), "is no landscape"),
            (
                format!(r#"{{"grid":[2,2],{vectors},"energies_ev":[1.0],"heights_angstrom":[]}}"#),
                "2 × 2 points with 1 energies",
            ),
            (format!(r#"{{"grid":[0,2],{vectors},"energies_ev":[],"heights_angstrom":[]}}"#), "0 × 2 points"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Landscape::read(&path).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(sentence), "{error}");
        }
        assert!(Landscape::read(&folder.path().join("none")).unwrap_err().to_string().contains("cannot be read"));
    }
}
