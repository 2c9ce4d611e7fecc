//! Start positions of the free atoms in the reverse process.

use super::reverse::{normal_vector, remove_centre};
use crate::error::{Error, Result};
use crate::random::Noise;
use crate::system::vector::{add, scale};
use crate::system::{Cell, System, Vec3};

/// Start positions, Å, of the n moving atoms of `structure`. Mobile atoms start around their places in the template. A free
/// cluster is centred at the origin.
pub fn prior(system: &System, noise: &Noise, structure: u32) -> Vec<Vec3> {
    let start = |atom: usize| match system.mobile.homes.get(atom) {
        Some(&home) => {
            let normal = normal_vector(noise.uniforms(structure, 0, atom as u32, 0));
            add(home, scale(system.mobile.noise_angstrom, normal))
        }
        None => prior_position(system, noise, structure, atom as u32),
    };
    let mut positions: Vec<Vec3> = (0..system.n_free()).map(start).collect();
    if system.is_free_cluster() {
        remove_centre(&mut positions);
    }
    positions
}

/// A random place, Å, for a free atom of `structure`; `atom` numbers the draws. Under confinement it is uniform over the cell in the plane and over the
/// allowed heights. For a free cluster it is normal with standard deviation 0.8·n^(1/3) Å (before its centre is removed).
/// Otherwise it is uniform over the cell. The system must pass [`check_prior`].
pub fn prior_position(system: &System, noise: &Noise, structure: u32, atom: u32) -> Vec3 {
    let uniforms = noise.uniforms(structure, 0, atom, 0);
    if let Some(confinement) = system.confinement {
        let [x, y, _] = in_cell(&system.cell, [uniforms[0], uniforms[1], 0.0]);
        return [x, y, confinement.z_lo + (confinement.z_hi - confinement.z_lo) * uniforms[2]];
    }
    if system.is_free_cluster() {
        let spread = 0.8 * (system.n_free() as f64).cbrt();
        return normal_vector(uniforms).map(|x| spread * x);
    }
    in_cell(&system.cell, [uniforms[0], uniforms[1], uniforms[2]])
}

/// Whether the prior of `system` exists: a bounded region in which free atoms can start.
///
/// # Errors
/// `BadInput` if the confinement is empty or not a number. Also if its cell has no area in the plane or has in-plane vectors that
/// leave the plane, or if a system that needs a whole cell has a cell without volume.
pub fn check_prior(system: &System) -> Result<()> {
    let [a, b, c] = system.cell.vectors;
    if system.cell.vectors.iter().flatten().any(|x| !x.is_finite()) {
        return Err(Error::bad_input(
            "the cell has entries that are not finite numbers: give three lattice vectors in Å",
        ));
    }
    if let Some(confinement) = system.confinement {
        let (lo, hi) = (confinement.z_lo, confinement.z_hi);
        if !(lo.is_finite() && hi.is_finite() && lo < hi) {
            return Err(Error::bad_input(format!(
                "the confinement must be an interval of heights in Å, the lower bound first, not [{lo}, {hi}]"
            )));
        }
        let tilt = 1e-6 * (norm(a) + norm(b));
        if a[2].abs() > tilt || b[2].abs() > tilt {
            return Err(Error::bad_input(
                "under confinement the first two lattice vectors must lie in the xy plane: turn the cell",
            ));
        }
        if cross(a, b)[2].abs() <= 1e-9 * norm(a) * norm(b) {
            return Err(Error::bad_input(
                "under confinement the cell needs two lattice vectors that span an area: without it there is no region \
                 for the free atoms to start in",
            ));
        }
    } else if !system.is_free_cluster() {
        let normal = cross(a, b);
        let volume = normal[0] * c[0] + normal[1] * c[1] + normal[2] * c[2];
        if volume.abs() <= 1e-9 * norm(a) * norm(b) * norm(c) {
            return Err(Error::bad_input(
                "the cell has no volume, so there is no region for the free atoms to start in: give three independent \
                 lattice vectors or a confinement",
            ));
        }
    }
    Ok(())
}

fn in_cell(cell: &Cell, fractional: Vec3) -> Vec3 {
    std::array::from_fn(|x| (0..3).map(|axis| fractional[axis] * cell.vectors[axis][x]).sum())
}

fn norm(v: Vec3) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn cross(a: Vec3, b: Vec3) -> Vec3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;
    use crate::system::Confinement;

    fn system(vectors: [Vec3; 3], periodic: [bool; 3], confinement: Option<Confinement>, n_template: usize) -> System {
        System {
            cell: Cell { vectors, periodic },
            template_numbers: vec![78; n_template],
            template_positions: (0..n_template).map(|k| [0.0, 0.0, k as f64]).collect(),
            free_numbers: vec![78; 7],
            mobile: Default::default(),
            extras: None,
            molecules: Default::default(),
            confinement,
        }
    }

    fn noise() -> Noise {
        Noise::new(5, Purpose::Prior, 0)
    }

    const SLAB: [Vec3; 3] = [[4.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.5, 20.0]];

    #[test]
    fn confined_atoms_fill_the_plane_and_the_heights() {
        let heights = Some(Confinement { z_lo: 5.0, z_hi: 9.0 });
        let slab = system(SLAB, [true, true, false], heights, 3);
        check_prior(&slab).unwrap();
        let atoms: Vec<Vec3> = (0..1000).flat_map(|s| prior(&slab, &noise(), s)).collect();
        let n = atoms.len() as f64;
        // y = 3·v and x = 4·u + v with u, v uniform: fractional coordinates have mean 1/2 and variance 1/12
        for fraction in [|r: &Vec3| r[1] / 3.0, |r: &Vec3| (r[0] - r[1] / 3.0) / 4.0, |r: &Vec3| (r[2] - 5.0) / 4.0] {
            let values: Vec<f64> = atoms.iter().map(fraction).collect();
            assert!(values.iter().all(|x| (0.0..1.0).contains(x)));
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
            assert!((mean - 0.5).abs() < 0.02 && (variance - 1.0 / 12.0).abs() < 0.005, "{mean} {variance}");
        }
    }

    #[test]
    fn unconfined_atoms_fill_the_cell() {
        let bulk = system(SLAB, [true; 3], None, 0);
        check_prior(&bulk).unwrap();
        let heights: Vec<f64> = (0..500).flat_map(|s| prior(&bulk, &noise(), s)).map(|r| r[2]).collect();
        assert!(heights.iter().all(|z| (0.0..20.0).contains(z)));
        assert!(heights.iter().any(|z| *z < 1.0) && heights.iter().any(|z| *z > 19.0));
    }

    #[test]
    fn free_clusters_are_centred_normals() {
        let cluster = system([[0.0; 3]; 3], [false; 3], None, 0);
        check_prior(&cluster).unwrap();
        let (mut squares, mut n) = (0.0, 0.0);
        for s in 0..2000 {
            let positions = prior(&cluster, &noise(), s);
            for x in 0..3 {
                assert!(positions.iter().map(|r| r[x]).sum::<f64>().abs() < 1e-12);
            }
            squares += positions.iter().flatten().map(|x| x * x).sum::<f64>();
            n += 3.0 * 6.0; // seven atoms less the centre
        }
        let expected = 0.64 * 7f64.powf(2.0 / 3.0);
        assert!((squares / n / expected - 1.0).abs() < 0.03, "{}", squares / n / expected);
    }

    #[test]
    fn a_structure_depends_on_its_index_alone() {
        let bulk = system(SLAB, [true; 3], None, 0);
        assert_eq!(prior(&bulk, &noise(), 3), prior(&bulk, &noise(), 3));
        assert_ne!(prior(&bulk, &noise(), 3), prior(&bulk, &noise(), 4));
    }

    #[test]
    fn systems_without_a_prior_are_refused() {
        let heights = |z_lo, z_hi| Some(Confinement { z_lo, z_hi });
        let tilted = [[4.0, 0.0, 1.0], SLAB[1], SLAB[2]];
        let line = [SLAB[0], [8.0, 0.0, 0.0], SLAB[2]];
        let flat = [SLAB[0], SLAB[1], [0.0; 3]];
        for (bad, sentence) in [
            (system(SLAB, [true, true, false], heights(9.0, 5.0), 3), "not [9, 5]"),
            (system(SLAB, [true, true, false], heights(f64::NAN, 5.0), 3), "not [NaN, 5]"),
            (system(tilted, [true, true, false], heights(5.0, 9.0), 3), "must lie in the xy plane"),
            (system(line, [true, true, false], heights(5.0, 9.0), 3), "span an area"),
            (system(flat, [true, true, false], None, 3), "the cell has no volume"),
            (system([[f64::NAN; 3]; 3], [true; 3], None, 0), "not finite numbers"),
        ] {
            let error = check_prior(&bad).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(sentence), "{error}");
        }
        check_prior(&system(flat, [true, true, false], heights(5.0, 9.0), 3)).unwrap();
    }
}
